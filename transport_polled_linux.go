package websocket

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/seed70bc5565/websocket/internal/poller"
)

// A polledConn is a socket that a poller of our own waits for, in place of a
// goroutine that reads: see [Events].
type polledConn struct {
	poller.Socket
	c      *Conn
	local  net.Addr
	remote netip.AddrPort // not valid: local tells the network
}

// A stepper does the work of a polledConn.
type stepper = poller.Stepper

// A polledGroup is the pollers of a server. They run while it has connections.
type polledGroup struct{ g *poller.Group }

func (p *polledGroup) init(opts *AcceptOptions) {
	// Looks of a heartbeat are a quarter of an interval apart at most, and a
	// quarter of PongTimeout at least.
	finest := orDefault(opts.PingInterval, defaultPingInterval) / 8
	if t := orDefault(opts.PongTimeout, defaultPongTimeout); t >= 0 {
		finest = min(finest, t/4)
	}
	p.g = poller.NewGroup(min(max(finest/4, time.Millisecond), 250*time.Millisecond))
}

// adopt moves the socket of cfg to x and a poller, in place of Go's. work does what
// is to be done when the socket is readable. If that cannot be had, all is as it
// was.
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
	x.local = cfg.transport.LocalAddr()
	if a, ok := cfg.transport.RemoteAddr().(*net.TCPAddr); ok {
		x.remote = a.AddrPort()
	}
	if x.Socket.Init(p.g, fd, work) != nil {
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

func (x *polledConn) start() { _ = x.Socket.Start() } // else it is closed: calls fail

func (x *polledConn) wake() { x.Socket.Wake() }

// Tick is called by the timer of the heartbeat: see [poller.Stepper].
func (x *polledConn) Tick() {
	if x.c.look() {
		go x.c.w.flush()
	}
}

// Reset makes x a beatTimer.
func (x *polledConn) Reset(d time.Duration) bool {
	x.Socket.SetTimer(d)
	return true
}

// Stop makes x a beatTimer.
func (x *polledConn) Stop() bool {
	x.Socket.StopTimer()
	return true
}

// read implements rawSocket.
func (x *polledConn) read(p []byte) (int, error) {
	r := &x.c.r
	for {
		if x.Socket.Readable() {
			into := p
			if into == nil {
				r.unshrink()
				into = r.buf[r.w:]
			}
			n, err := x.Socket.TryRead(into)
			if err != poller.ErrNotNow {
				return n, err
			}
			if p == nil {
				putBuf(r.shrink())
			}
		}
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

// tryWrite implements rawSocket.
func (x *polledConn) tryWrite(p []byte) int {
	n, _ := x.Socket.TryWrite(p) // an error comes up again at the next write that waits
	return n
}

// LocalAddr implements net.Conn.
func (x *polledConn) LocalAddr() net.Addr { return x.local }

// RemoteAddr implements net.Conn.
func (x *polledConn) RemoteAddr() net.Addr {
	if x.remote.IsValid() {
		return net.TCPAddrFromAddrPort(x.remote)
	}
	return &net.UnixAddr{Net: x.local.Network()}
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
