// Package netfake provides a pair of connected, buffered net.Conns in memory,
// for tests.
//
// Unlike net.Pipe it has buffers, as a socket has. A write returns before the
// peer has read. If a peer does not read, writes block once the buffer is full.
// It works in a testing/synctest bubble. No call blocks with a mutex held.
// Blocked calls wait on channels that they make themselves, and time comes from
// package time only. Both ends must be used in the same bubble.
package netfake

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// DefaultBuffer is the buffer of one direction, in bytes, when Options.Buffer
// is 0.
const DefaultBuffer = 64 << 10

// Options are the options of [Pipe].
type Options struct {
	// Buffer is the number of bytes that each direction holds. Default
	// DefaultBuffer. With a buffer of 1 every byte reaches the reader by
	// itself, and only when the one before has been taken.
	Buffer int
	// A and B are the options of each end.
	A, B End
}

// End holds the options of one end of a pipe.
type End struct {
	// Buffer is the number of bytes this end may write ahead of its peer's
	// reads. Default Options.Buffer.
	Buffer int
	// ReadMax is the most bytes that one Read of this end returns. Default: no
	// bound.
	ReadMax int
	// OnWrite is called at the start of each Write of this end, with its
	// argument, on the caller's goroutine.
	OnWrite func(p []byte)
}

// Stats counts what was done at one end.
type Stats struct {
	Reads          int   // calls of Read
	Writes         int   // calls of Write
	BytesRead      int64 // returned by Read
	BytesWritten   int64 // taken by Write
	MaxWrite       int   // the longest argument of a Write
	ReadDeadlines  int   // calls of SetReadDeadline and SetDeadline
	WriteDeadlines int   // calls of SetWriteDeadline and SetDeadline
	Closes         int   // calls of Close and Reset
}

// Conn is one end of a pipe. It implements net.Conn; any number of goroutines
// may use it.
type Conn struct {
	name string
	peer *Conn
	opts End

	in, out *half // in: from the peer to this end

	mu    sync.Mutex // held for a few instructions, never while waiting
	stats Stats
}

// Pipe returns the two ends of a new pipe.
func Pipe(opts Options) (a, b *Conn) {
	if opts.Buffer <= 0 {
		opts.Buffer = DefaultBuffer
	}
	if opts.A.Buffer <= 0 {
		opts.A.Buffer = opts.Buffer
	}
	if opts.B.Buffer <= 0 {
		opts.B.Buffer = opts.Buffer
	}
	ab, ba := &half{max: opts.A.Buffer}, &half{max: opts.B.Buffer}
	a = &Conn{name: "a", opts: opts.A, in: ba, out: ab}
	b = &Conn{name: "b", opts: opts.B, in: ab, out: ba}
	a.peer, b.peer = b, a
	return a, b
}

// Read implements net.Conn. When the deadline has passed it fails even if there
// are bytes to read, as sockets do; they stay for a later Read.
func (c *Conn) Read(p []byte) (int, error) {
	c.count(func(s *Stats) { s.Reads++ })
	if max := c.opts.ReadMax; max > 0 && len(p) > max {
		p = p[:max]
	}
	n, err := c.in.read(p)
	c.count(func(s *Stats) { s.BytesRead += int64(n) })
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	return n, err
}

// Write implements net.Conn. It blocks while the buffer is full; when it fails,
// n says how many bytes were taken.
func (c *Conn) Write(p []byte) (int, error) {
	c.count(func(s *Stats) {
		s.Writes++
		s.MaxWrite = max(s.MaxWrite, len(p))
	})
	if c.opts.OnWrite != nil {
		c.opts.OnWrite(p)
	}
	n, err := c.out.write(p)
	c.count(func(s *Stats) { s.BytesWritten += int64(n) })
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// Close closes this end: the peer reads what is buffered, then io.EOF, and its
// writes fail.
func (c *Conn) Close() error {
	c.count(func(s *Stats) { s.Closes++ })
	first := c.in.closeRead()
	c.out.closeWrite(true)
	if !first {
		return c.opError("close", net.ErrClosed)
	}
	return nil
}

// CloseWrite closes the writing side only: the peer reads what is buffered,
// then io.EOF.
func (c *Conn) CloseWrite() error {
	if c.in.isClosed() {
		return c.opError("close", net.ErrClosed)
	}
	c.out.closeWrite(false)
	return nil
}

// Reset closes this end as a TCP reset does. The peer's reads and writes fail
// with ECONNRESET, and what it has not read is lost.
func (c *Conn) Reset() {
	c.count(func(s *Stats) { s.Closes++ })
	c.in.closeRead()
	c.out.closeWrite(true)
	c.in.reset(false)
	c.out.reset(true)
}

// Buffered returns the number of bytes that this end could read now.
func (c *Conn) Buffered() int { return c.in.buffered() }

// Stats returns the counts so far.
func (c *Conn) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

func (c *Conn) count(f func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.stats)
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn. It reaches calls that are blocked
// already.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.count(func(s *Stats) { s.ReadDeadlines++ })
	if !c.in.setReadDeadline(t) {
		return c.opError("set", net.ErrClosed)
	}
	return nil
}

// SetWriteDeadline implements net.Conn. It reaches calls that are blocked
// already.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.count(func(s *Stats) { s.WriteDeadlines++ })
	if c.in.isClosed() {
		return c.opError("set", net.ErrClosed)
	}
	c.out.setWriteDeadline(t)
	return nil
}

// An Addr is the address of one end.
type Addr string

func (Addr) Network() string  { return "fake" }
func (a Addr) String() string { return string(a) }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return Addr("fake:" + c.name) }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return Addr("fake:" + c.peer.name) }

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "fake", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// A half is one direction: bytes that one end has written and the other has not
// read.
type half struct {
	mu  sync.Mutex // held for a few instructions, never while waiting
	buf []byte     // buf[off:] is written and not read yet
	off int
	max int

	changed chan struct{} // closed at the next change; made by those who wait
	writing bool          // a Write is under way: writes do not interleave

	readDeadline, writeDeadline time.Time

	writeClosed bool // no more writes: end of file behind buf
	writeGone   bool // the writing end is closed altogether
	readClosed  bool // the reading end is closed
	isReset     bool // by the writing end
	wasReset    bool // by the reading end
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readClosed:
			return 0, net.ErrClosed
		case h.isReset:
			return 0, syscall.ECONNRESET
		case len(p) == 0:
			return 0, nil
		case passed(h.readDeadline):
			return 0, os.ErrDeadlineExceeded
		case h.off < len(h.buf):
			n := copy(p, h.buf[h.off:])
			if h.off += n; h.off == len(h.buf) {
				h.buf, h.off = h.buf[:0], 0
			}
			h.signalLocked()
			return n, nil
		case h.writeClosed:
			return 0, io.EOF
		}
		h.waitLocked(h.readDeadline)
	}
}

func (h *half) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	mine := false // h.writing is set by this call
	for {
		switch {
		case h.writeGone:
			err = net.ErrClosed
		case h.wasReset:
			err = syscall.ECONNRESET
		case h.writeClosed, h.readClosed:
			err = syscall.EPIPE
		case passed(h.writeDeadline):
			err = os.ErrDeadlineExceeded
		}
		if err == nil && (mine || !h.writing) {
			mine, h.writing = true, true
			if k := min(len(p)-n, h.max-(len(h.buf)-h.off)); k > 0 {
				if len(h.buf)+k > max(h.max, cap(h.buf)) { // move what is left to the front, now and then
					h.buf, h.off = h.buf[:copy(h.buf, h.buf[h.off:])], 0
				}
				h.buf = append(h.buf, p[n:n+k]...)
				n += k
				h.signalLocked()
			}
		}
		if err != nil || mine && n == len(p) {
			if mine {
				h.writing = false
				h.signalLocked()
			}
			return n, err
		}
		h.waitLocked(h.writeDeadline)
	}
}

// waitLocked gives h.mu up until something changes or the deadline passes.
func (h *half) waitLocked(deadline time.Time) {
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	changed := h.changed
	h.mu.Unlock()
	defer h.mu.Lock()
	if deadline.IsZero() {
		<-changed
		return
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
}

// signalLocked wakes all who wait.
func (h *half) signalLocked() {
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

func passed(deadline time.Time) bool {
	return !deadline.IsZero() && !time.Now().Before(deadline)
}

func (h *half) closeRead() (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first = !h.readClosed
	h.readClosed = true
	h.buf, h.off = nil, 0
	h.signalLocked()
	return first
}

func (h *half) closeWrite(gone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writeClosed = true
	h.writeGone = h.writeGone || gone
	h.signalLocked()
}

func (h *half) reset(byWriter bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf, h.off = nil, 0
	if byWriter {
		h.isReset = true
	} else {
		h.wasReset = true
	}
	h.signalLocked()
}

func (h *half) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.readClosed
}

func (h *half) buffered() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.buf) - h.off
}

func (h *half) setReadDeadline(t time.Time) (open bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readDeadline = t
	h.signalLocked()
	return !h.readClosed
}

func (h *half) setWriteDeadline(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writeDeadline = t
	h.signalLocked()
}
