package websocket

import (
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/seed70bc5565/websocket/internal/bufpool"
	"github.com/seed70bc5565/websocket/internal/poller"
)

// A polledConn is a socket that a poller of our own waits for, in place of a
// goroutine that reads: see [Events].
type polledConn struct {
	poller.Socket
	c      *Conn
	shared *sharedAddrs
	remote remoteAddr // of TCP
}

// sharedAddrs are addresses that many connections have. They are immutable.
type sharedAddrs struct {
	local net.Addr
	named net.Addr // the peer's, over a Unix socket; else nil
}

// A remoteAddr is a [net.TCPAddr] in a third of the memory.
type remoteAddr struct {
	ip   [16]byte
	zone uint32 // index of an interface; 0: none
	port uint16
	is   uint8 // length of ip: 4 or 16
}

func packRemote(t *net.TCPAddr) (a remoteAddr) {
	a.port, a.is = uint16(t.Port), 16
	if ip := t.IP.To4(); ip != nil {
		a.is = uint8(copy(a.ip[:], ip))
	} else {
		copy(a.ip[:], t.IP)
	}
	if t.Zone != "" {
		if i, err := net.InterfaceByName(t.Zone); err == nil {
			a.zone = uint32(i.Index)
		} else if n, err := strconv.ParseUint(t.Zone, 10, 32); err == nil {
			a.zone = uint32(n)
		}
	}
	return a
}

func (a *remoteAddr) addr() net.Addr {
	t := &net.TCPAddr{IP: net.IP(append([]byte(nil), a.ip[:a.is]...)), Port: int(a.port)}
	if a.zone != 0 {
		t.Zone = strconv.FormatUint(uint64(a.zone), 10)
		if i, err := net.InterfaceByIndex(int(a.zone)); err == nil {
			t.Zone = i.Name
		}
	}
	return t
}

// A stepper does the work of a polledConn.
type stepper = poller.Stepper

// A polledGroup is the pollers of a server. They run while it has connections.
type polledGroup struct {
	g poller.Group // has its own locks

	mu    sync.Mutex                 // guards what follows
	addrs map[[3]string]*sharedAddrs // by network and addresses; maxAddrs at most
}

// maxAddrs bounds the pairs of addresses that are shared. A listener has few,
// and most clients of a Unix socket have no name.
const maxAddrs = 256

// share returns local and named, the same for all connections that have both.
func (p *polledGroup) share(local, named net.Addr) *sharedAddrs {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := [3]string{local.Network(), local.String()}
	if named != nil {
		key[2] = named.String()
	}
	if a, ok := p.addrs[key]; ok {
		return a
	}
	a := &sharedAddrs{local, named}
	if p.addrs == nil {
		p.addrs = map[[3]string]*sharedAddrs{}
	}
	if len(p.addrs) < maxAddrs {
		p.addrs[key] = a
	}
	return a
}

// adopt moves the socket of cfg from Go's poller to x and a poller of this
// package. The argument work does what must be done when the socket is
// readable. If that cannot be had, all is as it was.
func (p *polledGroup) adopt(cfg *connConfig, x *polledConn, work stepper) {
	switch cfg.transport.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return
	}
	if asStream(cfg.transport) != cfg.transport {
		return
	}
	sock, err := cfg.transport.(syscall.Conn).SyscallConn()
	if err != nil {
		return
	}
	fd, dupErr := -1, error(nil)
	err = sock.Control(func(old uintptr) {
		n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		if fd = int(n); errno != 0 {
			dupErr = errno
		}
	})
	if err != nil || dupErr != nil {
		return
	}
	named := cfg.transport.RemoteAddr()
	if a, ok := named.(*net.TCPAddr); ok {
		x.remote, named = packRemote(a), nil
	}
	x.shared = p.share(cfg.transport.LocalAddr(), named)
	if x.Socket.Init(&p.g, fd, work) != nil {
		return
	}
	cfg.transport.Close() // its copy of the descriptor
	cfg.transport = x
}

// asPolled returns the transport of c if a poller waits for it, else nil.
func asPolled(c *Conn) rawSocket {
	x, ok := c.t.conn.(*polledConn)
	if !ok {
		return nil
	}
	x.c = c
	return x
}

func isPolled(conn net.Conn) bool {
	_, ok := conn.(*polledConn)
	return ok
}

func (x *polledConn) start() { _ = x.Socket.Start() } // else it is closed: calls fail

func (x *polledConn) wake() { x.Socket.Wake() }

// read implements rawSocket.
func (x *polledConn) read(r *receiver, p []byte) (int, error) {
	for {
		if x.Socket.ReadTimedOut() { // though there may be more to read without end
			return 0, os.ErrDeadlineExceeded
		}
		if x.Socket.Readable() {
			into := p
			if into == nil {
				r.in.unshrink()
				into = r.in.free()
			}
			n, err := x.Socket.TryRead(into)
			if err != poller.ErrNotNow {
				return n, err
			}
			if p == nil {
				bufpool.Put(r.in.shrink())
			}
		}
		r.publish()
		if r.now {
			return 0, errNotNow
		}
		if err := x.Socket.AwaitRead(); err != nil {
			return 0, err
		}
	}
}

// write implements rawSocket.
func (x *polledConn) write(p []byte) (int, error) { return x.Socket.Write(p) }

// writeBoth implements rawSocket.
func (x *polledConn) writeBoth(a, b []byte) (int, error) { return x.Socket.WriteBoth(a, b) }

// tryWrite implements rawSocket.
func (x *polledConn) tryWrite(p []byte) int {
	n, _ := x.Socket.TryWrite(p) // an error comes up again at the next write that waits
	return n
}

// LocalAddr implements net.Conn.
func (x *polledConn) LocalAddr() net.Addr { return x.shared.local }

// RemoteAddr implements net.Conn.
func (x *polledConn) RemoteAddr() net.Addr {
	if named := x.shared.named; named != nil {
		return named
	}
	return x.remote.addr()
}

// SetDeadline implements net.Conn.
func (x *polledConn) SetDeadline(t time.Time) error {
	_ = x.SetReadDeadline(t)
	return x.SetWriteDeadline(t)
}

// SyscallConn implements [syscall.Conn], of whose result only Control works.
func (x *polledConn) SyscallConn() (syscall.RawConn, error) { return controlOnly{x}, nil }

type controlOnly struct{ x *polledConn }

func (c controlOnly) Control(f func(fd uintptr)) error  { return c.x.Socket.Control(f) }
func (c controlOnly) Read(func(fd uintptr) bool) error  { return os.ErrInvalid }
func (c controlOnly) Write(func(fd uintptr) bool) error { return os.ErrInvalid }

var _ net.Conn = (*polledConn)(nil)
