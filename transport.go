package websocket

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// A transport is what a Conn stands on. It alone knows sockets, TLS and
// streams: what differs between them is a field or a method here.
type transport struct {
	conn net.Conn  // immutable
	raw  rawSocket // immutable; nil if conn has no descriptor to wait on

	accepted atomic.Int64 // bytes that conn has taken. Written by the owner of the wire

	c *Conn // immutable: what stands on it

	in  watch // interrupts reads. Its owner is the reading goroutine
	out watch // interrupts writes. Its owner is the owner of the wire
}

// A rawSocket is a socket that is waited for without a buffer.
type rawSocket interface {
	// read waits until there is something to read, and reads it into p. If p is
	// nil, it reads behind what is in the buffer of r, the receiver of the
	// connection.
	read(r *receiver, p []byte) (int, error)
	// write writes p, which is not empty. It waits for the socket to take all
	// of it. Two slices as arguments would make its caller's frame larger.
	write(p []byte) (int, error)
	// writeBoth is write for a, which is not empty, and then b.
	writeBoth(a, b []byte) (int, error)
	// tryWrite writes as much of p as the socket takes at once.
	tryWrite(p []byte) int
}

func (t *transport) init(conn net.Conn, c *Conn) {
	t.conn, t.c = conn, c
	foreign := !honoursDeadlines(conn)
	t.in.foreign, t.out.foreign = foreign, foreign
	t.in.timed, t.out.timed = foreign, foreign
	t.out.pieces = !tellsQueue(conn)
	switch conn.(type) {
	case *tls.Conn:
		t.out.ruins = true
		t.out.timed = true // crypto/tls may write inside Read: a deadline that is left behind would end the connection
	case *bodyConn, *http2Conn:
		t.out.ruins = true
		t.out.foreign = true // a write takes its time to heed a deadline: see writeGrace
	}
}

// pieceSize is how much one write gives to a transport of which only the writes
// that have returned tell what the peer has taken. A peer that takes so much in
// PingInterval and PongTimeout is alive. It is what a record of TLS holds.
const pieceSize = 16 << 10

// write writes p. It returns when all of p is written, or with an error.
func (t *transport) write(p []byte) (n int, err error) {
	if t.writesRaw() {
		n, err = t.raw.write(p)
		return n, t.took(n, err)
	}
	return t.writePieces(p)
}

// writesRaw reports whether writes need not go through the net.Conn.
func (t *transport) writesRaw() bool { return t.raw != nil && !t.out.pieces }

// took counts what a write of the socket has given to it, and dresses its
// error. It is not inlined, to keep the frame of write small.
//
//go:noinline
func (t *transport) took(n int, err error) error {
	t.accepted.Add(int64(n))
	if err != nil {
		err = t.opError("write", err)
	}
	return err
}

// opError gives an error of the socket the addresses, as package net does.
func (t *transport) opError(op string, err error) error {
	switch e := err.(type) {
	case syscall.Errno:
		err = os.NewSyscallError(op, e)
	case *net.OpError: // of a syscall.RawConn, whose name for op is another
		err = e.Err
	}
	local := t.conn.LocalAddr()
	return &net.OpError{Op: op, Net: local.Network(), Source: local, Addr: t.conn.RemoteAddr(), Err: err}
}

// writeTo writes p to conn. A net.Conn that takes less of p without an error
// breaks the contract of io.Writer, and would leave a hole in the stream.
func writeTo(conn net.Conn, p []byte) (int, error) {
	n, err := conn.Write(p)
	if n < len(p) && err == nil {
		err = io.ErrShortWrite
	}
	return n, err
}

// maxEmptyReads is how many reads one after the other may return nothing, and
// no error. One such read is no end (io.Reader).
const maxEmptyReads = 100

// readSome reads from conn until it has got bytes or an error. After too many
// reads of nothing the error is io.ErrNoProgress.
func readSome(conn net.Conn, p []byte) (n int, err error) {
	for range maxEmptyReads + 1 {
		if n, err = conn.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// writePieces is write through the net.Conn.
func (t *transport) writePieces(p []byte) (n int, err error) {
	for {
		piece := p[n:]
		last := !t.out.pieces || len(piece) <= pieceSize
		if !last {
			piece = piece[:pieceSize]
		}
		k, err := writeTo(t.conn, piece)
		t.accepted.Add(int64(k))
		if err != nil && t.out.ruins {
			t.out.call.set(callRuined, true)
		}
		if n += k; err != nil || last {
			return n, err
		}
	}
}

// writeBoth is write for a and then b, with one system call if the socket takes
// them. The transport must be one that writesRaw.
func (t *transport) writeBoth(a, b []byte) (int, error) {
	n, err := t.raw.writeBoth(a, b)
	return n, t.took(n, err)
}

// triesWrites reports whether tryWrite works on this transport.
func (t *transport) triesWrites() bool { return t.raw != nil }

// tryWrite writes as much of p as the transport takes without waiting.
func (t *transport) tryWrite(p []byte) int {
	n := t.raw.tryWrite(p)
	t.accepted.Add(int64(n))
	return n
}

// queued returns how many accepted bytes the peer's side has not taken, as far
// as the transport tells.
func (t *transport) queued() int { return queueLen(t.conn) }

// end closes the transport. Calls in progress return.
func (t *transport) end() {
	if c, ok := t.conn.(*tls.Conn); ok && t.out.call.has(callRuined) {
		// The alert would be a record that the peer cannot verify.
		c.NetConn().Close()
	} else if ok {
		closeTLS(c)
	} else {
		t.conn.Close()
	}
	t.in.end()
	t.out.end()
}

// polled returns conn if a poller of our own waits for it, else nil.
func (t *transport) polled() *polledConn {
	x, _ := t.raw.(*polledConn)
	return x
}

// endWrites ends the sending direction, if conn can do that by itself. It
// reports whether the peer may still be sending. The end of ctx closes a TLS
// connection whose peer does not take the goodbye.
func (t *transport) endWrites(ctx context.Context) bool {
	half := t.halfCloser()
	if half == nil {
		return true // the peer ends the connection when it has read the close frame
	}
	if c, ok := t.conn.(*tls.Conn); ok {
		// crypto/tls would wait 5 s for a peer that does not take the alert.
		stop := context.AfterFunc(ctx, func() { c.NetConn().Close() })
		defer stop()
	}
	return half.CloseWrite() == nil
}

// halfCloses reports whether endWrites can end the sending direction alone.
func (t *transport) halfCloses() bool { return t.halfCloser() != nil }

type halfCloser interface{ CloseWrite() error }

// halfCloser returns what can end the sending direction alone, or nil.
func (t *transport) halfCloser() halfCloser {
	conn := t.conn
	if s, ok := conn.(*switchedConn); ok {
		conn = s.Conn
	}
	half, _ := conn.(halfCloser)
	return half
}

// goodbyeTimeout bounds what closing a transport may send of its own, where the
// peer may take nothing. See also goodbyeBound.
const goodbyeTimeout = 10 * time.Millisecond

// closeTLS closes t. The package crypto/tls sends an alert first. It would wait
// 5 s for that if the peer takes nothing.
func closeTLS(t *tls.Conn) {
	timer := time.AfterFunc(goodbyeBound(t), func() { t.NetConn().Close() })
	t.Close()
	timer.Stop()
}

// goodbyeBound returns how long closing t may take. A socket that holds little
// takes the alert at once, so only this machine can be slow. It gets more time
// then, because closing the socket in the middle would reset the connection.
func goodbyeBound(t *tls.Conn) time.Duration {
	if tellsQueue(t) && queueLen(t) < 1024 {
		return lingerTimeout
	}
	return goodbyeTimeout
}

// honoursDeadlines reports whether conn is one of the standard library's, or of
// our own. Any other type is not probed: a deadline that it does not heed as
// they do may break it.
func honoursDeadlines(conn net.Conn) bool {
	if isPolled(conn) {
		return true
	}
	switch c := conn.(type) {
	case *net.TCPConn, *net.UnixConn, *packetConn, *bodyConn, *http2Conn:
		return true
	case *tls.Conn:
		return honoursDeadlines(c.NetConn())
	}
	return false
}
