package websocket

import (
	"crypto/tls"
	"net"
	"syscall"
	"unsafe"

	"github.com/seed70bc5565/websocket/internal/poller"
)

// tellsQueue reports whether queueLen knows how much the socket below conn has
// not delivered.
func tellsQueue(conn net.Conn) bool { return socketBelow(conn) != nil }

// socketBelow returns the socket that conn is or, with TLS, stands on; else
// nil.
func socketBelow(conn net.Conn) syscall.Conn {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	switch conn := conn.(type) {
	case *net.TCPConn:
		return conn
	case *net.UnixConn:
		return conn
	case *polledConn:
		return conn
	}
	return nil
}

// queueLen returns how many bytes the socket below conn has accepted and the
// peer's side has not taken. TCP has not acknowledged them, or the other end of
// a Unix socket has not read them. It is 0 where that is not known.
func queueLen(conn net.Conn) (n int) {
	sock := socketBelow(conn)
	if sock == nil {
		return 0
	}
	raw, err := sock.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) {
		var queued int32
		// SIOCOUTQ, which has the number of TIOCOUTQ.
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&queued)))
		if errno == 0 {
			n = int(queued)
		}
	})
	return n
}

// sysWritev writes a and then b with one system call.
func sysWritev(fd uintptr, a, b []byte) (int, syscall.Errno) { return poller.Writev(fd, a, b) }
