//go:build unix

package websocket

import (
	"io"
	"net"
	"sync"
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

	// Owner: the reader. readFn is built once a connection: passing it
	// allocates nothing.
	readFn func(fd uintptr) bool
	dst    []byte
	n      int32
	err    sysErr // what replaced bytes, or came behind them
	waited bool   // the read in progress has found nothing at first
	more   bool   // the read in progress needs a larger buffer
	eager  bool   // the last read has found something at once
}

// A sysErr is a syscall.Errno in half the memory, or sysEOF; 0: no error.
type sysErr int32

// sysEOF says that the peer has ended its direction.
const sysEOF sysErr = -1

// err returns e as an error.
func (e sysErr) err() error {
	switch e {
	case 0:
		return nil
	case sysEOF:
		return io.EOF
	}
	return syscall.Errno(e)
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
		x, in := c.t.raw.(*rawConn), &c.r.in // a closure of one pointer is the smallest
		p := x.dst[:min(len(x.dst), maxRaw)]
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
				x.err = sysErr(errno)
			case n == 0:
				x.err = sysEOF
			}
			x.n += int32(max(n, 0))
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
	if x.n > 0 && x.err != 0 && x.err != sysErr(syscall.EAGAIN) {
		// It stood behind what the last read got. A reset comes but once: after
		// it the socket says that it has ended.
		x.n = 0
		return 0, x.err.err()
	}
	x.dst, x.n, x.err, x.waited = p, 0, 0, false
	if p == nil && x.eager {
		r.in.unshrink()
	}
	err := x.sock.Read(x.readFn)
	for x.more && err == nil {
		x.more = false
		r.in.unshrinkBehind(int(x.n))
		err = x.sock.Read(x.readFn)
	}
	x.dst, x.more, x.eager = nil, false, !x.waited
	if err == nil {
		err = x.err.err()
	}
	return int(x.n), err
}

// tryWrite writes as much of p as the socket takes at once.
func (x *rawConn) tryWrite(p []byte) int {
	w := startWrite()
	w.a, w.try = p, true
	w.failed = x.sock.Write(w.step)
	n, _ := w.finish() // an error comes up again at the next write that waits
	return n
}

// write implements rawSocket.
//
// It gains 2 KiB of stack on a connection whose handler writes. Below it are
// fewer and smaller frames than below net.Conn's Write.
func (x *rawConn) write(p []byte) (int, error) {
	w := startWrite()
	w.a = p
	w.failed = x.sock.Write(w.step)
	return w.finish()
}

// writeBoth implements rawSocket.
func (x *rawConn) writeBoth(a, b []byte) (int, error) {
	w := startWrite()
	w.a, w.b = a, b
	w.failed = x.sock.Write(w.step)
	return w.finish()
}

// A rawWrite is a write of a rawConn in progress. Few connections have one at a
// time, so it comes from a pool. That saves 80 bytes a connection.
type rawWrite struct {
	// step is called when the socket may take bytes. It returns false to be
	// called again when the socket takes more. It is built once: passing it
	// allocates nothing.
	step func(fd uintptr) bool

	a, b   []byte // what is left: a, and then b
	try    bool   // stop where the socket takes no more
	wrote  int
	err    sysErr // of the socket
	failed error  // of the runtime's poller
}

var rawWrites = sync.Pool{New: func() any { return newRawWrite() }}

// startWrite returns a write of nothing yet.
//
// It and finish are not inlined, and take few arguments, to keep the frame of
// write small.
//
//go:noinline
func startWrite() *rawWrite { return rawWrites.Get().(*rawWrite) }

// finish returns what came of the write, which is over.
//
//go:noinline
func (w *rawWrite) finish() (n int, err error) {
	n, err = w.wrote, w.failed
	if err == nil {
		err = w.err.err()
	}
	*w = rawWrite{step: w.step}
	rawWrites.Put(w)
	return n, err
}

// maxRaw is the most bytes of one system call: some systems refuse more than 2
// GB.
const maxRaw = 1 << 30

func newRawWrite() *rawWrite {
	w := new(rawWrite)
	w.step = func(fd uintptr) bool {
		for len(w.a) > 0 {
			var n int
			var errno syscall.Errno
			if len(w.b) > 0 {
				n, errno = sysWritev(fd, w.a, w.b)
			} else {
				n, errno = sysWrite(fd, w.a[:min(len(w.a), maxRaw)])
			}
			switch errno {
			case 0:
				w.wrote += n
				if n < len(w.a) {
					w.a = w.a[n:]
				} else {
					w.a, w.b = w.b[n-len(w.a):], nil
				}
			case syscall.EINTR:
			case syscall.EAGAIN:
				return w.try
			default:
				w.err = sysErr(errno)
				return true
			}
		}
		return true
	}
	return w
}
