package load

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// The system calls of the hot loop go around Go's scheduler: none of them
// blocks.

func rawRead(fd int, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), e
}

func rawWrite(fd int, b []byte) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), e
}

// rawPoll asks an epoll set for events and does not wait.
func rawPoll(epfd int, events []syscall.EpollEvent) (int, syscall.Errno) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	return int(n), e
}

const ipBindAddressNoPort = 24 // package syscall does not have it

// open connects to addr and returns a socket that does not block.
func open(addr netip.AddrPort) (int, error) { return openFrom(netip.IPv4Unspecified(), addr) }

// openFrom is open from an address of this machine, each of which has the ports
// for some 28,000 connections to addr.
func openFrom(from netip.Addr, addr netip.AddrPort) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if !from.IsUnspecified() {
		// Without this option bind would choose a port that is free whatever it
		// is connected to.
		if err = syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1); err == nil {
			err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: from.As4()})
		}
		if err != nil {
			syscall.Close(fd)
			return 0, err
		}
	}
	for {
		err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
		if err != syscall.EINTR {
			break
		}
	}
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	if err == nil {
		err = syscall.SetNonblock(fd, true)
	}
	if err != nil {
		syscall.Close(fd)
		return 0, err
	}
	return fd, nil
}

// reset ends a connection without leaving its port in TIME_WAIT: there are too
// few ports for that.
func reset(fd int) {
	syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	syscall.Close(fd)
}

const (
	request = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://127.0.0.1\r\n\r\n"
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// patience bounds every wait for the server.
const patience = 30 * time.Second

// upgraded reports whether b is a whole answer to request, and an error if it
// refuses.
func upgraded(b []byte) (bool, error) {
	if !bytes.HasSuffix(b, []byte("\r\n\r\n")) {
		return false, nil
	}
	if !bytes.HasPrefix(b, []byte("HTTP/1.1 101 ")) || !bytes.Contains(b, []byte(accept)) {
		return false, fmt.Errorf("the upgrade failed: %q", b)
	}
	return true, nil
}

// upgrade does the opening handshake, polling.
func upgrade(fd int, buf []byte) error { return upgradeWith(fd, request, buf) }

func upgradeWith(fd int, request string, buf []byte) error {
	if n, e := rawWrite(fd, []byte(request)); e != 0 || n != len(request) {
		return fmt.Errorf("sending the upgrade: %w", e)
	}
	n := 0
	for start := time.Now(); time.Since(start) < patience; {
		m, e := rawRead(fd, buf[n:])
		switch {
		case e == syscall.EAGAIN || e == syscall.EINTR:
			continue
		case e != 0:
			return fmt.Errorf("awaiting the upgrade: %w", e)
		case m == 0:
			return errors.New("the server ended the connection during the upgrade")
		}
		n += m
		if ok, err := upgraded(buf[:n]); ok || err != nil {
			return err
		}
	}
	return errors.New("no answer to the upgrade")
}

// systemCalls returns how often process pid has read and written. Where the
// kernel does not say, it returns zeros.
func systemCalls(pid int) (calls [2]int64) {
	io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return calls
	}
	var c [4]int64
	if _, err := fmt.Sscanf(string(io), "rchar: %d\nwchar: %d\nsyscr: %d\nsyscw: %d\n", &c[0], &c[1], &c[2], &c[3]); err != nil {
		return calls
	}
	return [2]int64{c[2], c[3]}
}
