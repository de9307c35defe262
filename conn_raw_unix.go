//go:build unix

package websocket

import (
	"io"
	"net"
	"syscall"
)

// A rawConn reads from a socket with a buffer that is taken from the pool only when there is something to read: an idle
// connection holds none. It also writes without waiting.
//
// It serves TCP and Unix sockets themselves, not types that embed them: those may have a Read of their own.
type rawConn struct {
	c    *Conn
	sock syscall.RawConn

	// The closures are built once a connection: passing them allocates nothing. Their arguments and results:
	readFn func(fd uintptr) bool
	dst    []byte // owner: the reader
	n      int
	err    error

	writeFn func(fd uintptr) bool
	src     []byte // owner: the owner of the wire
	wrote   int
}

// newRawConn returns nil if c's transport has no descriptor of its own.
func newRawConn(c *Conn) *rawConn {
	switch c.conn.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return nil
	}
	sock, err := c.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	x := &rawConn{c: c, sock: sock}
	// It reads once, and returns false if there is nothing to read: it is called again when there is. The runtime forgets an earlier readiness before the
	// call, so false without a try could wait for ever.
	//
	// The buffer comes from the pool here, at the bottom of the stack that an idle connection keeps: calls that can be spared are.
	x.readFn = func(fd uintptr) bool {
		p, r := x.dst, &x.c.r
		if p == nil {
			if len(r.buf) == len(r.small) {
				r.adopt(getBuf(r.size()))
			}
			p = r.buf[r.w:]
		}
		for {
			n, err := syscall.Read(int(fd), p)
			switch {
			case err == syscall.EINTR:
				continue
			case err == syscall.EAGAIN:
				if x.dst == nil {
					putBuf(r.shrink())
				}
				return false
			case n == 0 && err == nil:
				err = io.EOF
			}
			x.n, x.err = max(n, 0), err
			return true
		}
	}
	return x
}

// read waits until there is something to read and reads it into p, or if p is nil behind what is in the receiver's buffer.
func (x *rawConn) read(p []byte) (int, error) {
	x.dst, x.n, x.err = p, 0, nil
	err := x.sock.Read(x.readFn)
	x.dst = nil
	if err == nil {
		err = x.err
	}
	return x.n, err
}

// tryWrite writes as much of p as the socket takes at once. Its caller owns the wire.
func (x *rawConn) tryWrite(p []byte) int {
	if x.writeFn == nil {
		x.writeFn = func(fd uintptr) bool {
			for x.wrote < len(x.src) {
				n, err := syscall.Write(int(fd), x.src[x.wrote:])
				if err == syscall.EINTR {
					continue
				}
				if n <= 0 || err != nil {
					break
				}
				x.wrote += n
			}
			return true
		}
	}
	x.src, x.wrote = p, 0
	x.sock.Write(x.writeFn) // its errors come up again at the next write that waits
	x.src = nil
	return x.wrote
}
