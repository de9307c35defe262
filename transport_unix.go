//go:build unix

package websocket

import (
	"io"
	"net"
	"syscall"

	"github.com/seed70bc5565/websocket/internal/bufpool"
)

// A rawConn reads from a socket with a buffer that is taken from the pool only
// when there is something to read. An idle connection holds none. It also
// writes without waiting.
//
// It serves TCP and Unix sockets themselves, not types that embed them. Those
// may have a Read of their own.
type rawConn struct {
	sock syscall.RawConn
	w    rawWriter

	// Owner of the rest: the reader. readFn is built once a connection: passing
	// it allocates nothing.
	readFn func(fd uintptr) bool
	dst    []byte
	n      int
	err    error
	waited bool // the read in progress has found nothing at first
	more   bool // the read in progress needs a larger buffer
	eager  bool // the last read has found something at once
}

// A rawWriter is what a rawConn needs to write. Its owner is the owner of the
// wire.
type rawWriter struct {
	fn    func(fd uintptr) bool // built once: passing it allocates nothing
	src   []byte                // what is left
	next  []byte                // what follows it
	wrote int
	err   error
	try   bool // stop where the socket takes no more
}

// newRawSocket returns nil if c's transport has no descriptor of its own.
func newRawSocket(c *Conn) rawSocket {
	if x := asPolled(c); x != nil {
		return x
	}
	switch c.t.conn.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return nil
	}
	sock, err := c.t.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	x := &rawConn{sock: sock}
	// It reads, and returns false if there is nothing to read: it is called
	// again when there is. The runtime forgets an earlier readiness before the
	// call, so false without a try could wait for ever.
	//
	// The first try is mostly in vain. So it is made with the few bytes of
	// readBuffer.small, because a buffer from the pool would be given back at
	// once. The buffer is taken by read, not here, because this is the bottom
	// of the stack that an idle connection keeps.
	x.readFn = func(fd uintptr) bool {
		p, in := x.dst, &c.r.in
		if p == nil {
			if x.waited && in.isSmall() {
				x.more = true
				return true
			}
			p = in.free()[x.n:]
		}
		for {
			n, errno := sysRead(fd, p)
			switch {
			case errno == syscall.EINTR:
				continue
			case errno == syscall.EAGAIN && x.n == 0:
				x.waited = true
				c.r.publish()
				if x.dst == nil {
					bufpool.Put(in.shrink())
				}
				return false
			case errno != 0:
				x.err = errno
			case n == 0:
				x.err = io.EOF
			}
			x.n += max(n, 0)
			// If small is full there is more. All that has come is taken,
			// because closing a socket resets the connection if there is unread
			// input.
			x.more = n == len(p) && x.dst == nil && in.isSmall()
			return true
		}
	}
	return x
}

// read implements rawSocket.
func (x *rawConn) read(r *receiver, p []byte) (int, error) {
	if x.n > 0 && x.err != nil && x.err != syscall.EAGAIN {
		// It stood behind what the last read got. A reset comes but once: after
		// it the socket says that it has ended.
		x.n = 0
		return 0, x.err
	}
	x.dst, x.n, x.err, x.waited = p, 0, nil, false
	if p == nil && x.eager {
		r.in.unshrink()
	}
	err := x.sock.Read(x.readFn)
	for x.more && err == nil {
		x.more = false
		r.in.unshrinkBehind(x.n)
		err = x.sock.Read(x.readFn)
	}
	x.dst, x.more, x.eager = nil, false, !x.waited
	if err == nil {
		err = x.err
	}
	return x.n, err
}

// tryWrite writes as much of p as the socket takes at once.
func (x *rawConn) tryWrite(p []byte) int {
	x.w.try = true
	n, _ := x.write(p, nil) // an error comes up again at the next write that waits
	x.w.try = false
	return n
}

// write implements rawSocket.
//
// It gains 2 KiB of stack on a connection whose handler writes. Below it are
// fewer and smaller frames than below net.Conn's Write.
func (x *rawConn) write(a, b []byte) (int, error) {
	w := &x.w
	if w.fn == nil {
		w.fn = w.writer()
	}
	w.src, w.next, w.wrote, w.err = a, b, 0, nil
	err := x.sock.Write(w.fn)
	w.src, w.next = nil, nil
	if err == nil {
		err = w.err
	}
	return w.wrote, err
}

// maxRawWrite is the most bytes of one system call: some systems refuse more
// than 2 GB.
const maxRawWrite = 1 << 30

// writer returns what is called when the socket may take bytes. It returns
// false to be called again when the socket takes more.
func (w *rawWriter) writer() func(fd uintptr) bool {
	return func(fd uintptr) bool {
		for len(w.src) > 0 {
			var n int
			var errno syscall.Errno
			if len(w.next) > 0 {
				n, errno = sysWritev(fd, w.src, w.next)
			} else {
				n, errno = sysWrite(fd, w.src[:min(len(w.src), maxRawWrite)])
			}
			switch errno {
			case 0:
				w.wrote += n
				if n < len(w.src) {
					w.src = w.src[n:]
				} else {
					w.src, w.next = w.next[n-len(w.src):], nil
				}
			case syscall.EINTR:
			case syscall.EAGAIN:
				return w.try
			default:
				w.err = errno
				return true
			}
		}
		return true
	}
}
