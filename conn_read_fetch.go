package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
)

// Fetching: the receiver and its buffer.

// makeRoom prepares the buffer for a fetch into it.
func (r *receiver) makeRoom() {
	r.detach()
	switch {
	case r.r < r.w:
		r.unshrink()
		if r.r > 0 && len(r.buf)-r.w < maxControlFrame {
			r.w = copy(r.buf, r.buf[r.r:r.w])
			r.r = 0
		}
		return
	case r.raw != nil:
		// It takes a buffer when there is something to read.
	case r.remain > 0:
		r.unshrink()
	default:
		// The transport can only wait inside a Read. Between frames that is done with a few bytes of ours, not with a
		// pooled buffer: whatever else has come then waits in the transport's own buffers, as in those of crypto/tls.
		r.release()
	}
	r.r, r.w = 0, 0
}

// fetch waits for bytes from the transport and puts them into its argument, or if that is nil behind those in the
// buffer. It gets some, or fails.
//
// It and what it calls are what an idle connection has on its stack: few frames, and small ones.
func (c *Conn) fetch(ctx context.Context, into []byte) (n int, err error) {
	r := &c.r
	p := into
	if p == nil {
		r.makeRoom()
	}
	// The reader is about to wait: what has gathered goes out now.
	r.ponged = false
	c.w.cork(false)
	c.w.flushForReader()

	r.watch.begin(c.conn, ctx)
	if r.raw != nil {
		n, err = r.raw.read(p)
	} else {
		if p == nil {
			p = r.buf[r.w:]
		}
		n, err = c.conn.Read(p)
	}
	if n <= 0 {
		return 0, c.fetchFailed(ctx, err)
	}
	// It got some: an error does not matter, it comes again.
	c.beat.hear()
	if into == nil {
		r.gained(n)
	}
	return n, nil
}

// gained counts in what was fetched into the buffer.
func (r *receiver) gained(n int) {
	r.w += n
	switch {
	case len(r.buf) == len(r.small):
	case r.w == len(r.buf):
		r.busy = true
	case len(r.buf) > bufSmall && n < bufSmall/2:
		// A short fetch into a small buffer says nothing: it may be the rest of the burst that filled it just before.
		r.busy = false
	}
}

// fetchFailed makes err, with which fetch got nothing, fit for the API.
func (c *Conn) fetchFailed(ctx context.Context, err error) error {
	if err == nil {
		err = io.EOF // a Read of nothing without an error
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// The connection lives on, unless somebody ended it meanwhile.
		return c.interrupted("read", ctx, err)
	}
	return c.ended(err)
}

// drain reads and discards once. The buffer must hold nothing that is still wanted.
func (r *receiver) drain(conn net.Conn) error {
	r.release()
	buf := getBuf(bufSmall)
	defer putBuf(buf)
	n, err := conn.Read(buf)
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// unshrink makes sure that buf is a pooled buffer.
func (r *receiver) unshrink() {
	if len(r.buf) == len(r.small) {
		r.adopt(getBuf(r.size()))
	}
}

// size returns the size of the next pooled buffer.
func (r *receiver) size() int {
	if r.busy {
		return bufMedium
	}
	return bufSmall
}

// adopt makes b, from the pool, the buffer in place of small.
//
// It and shrink are not inlined, to keep the frame of their caller in a rawConn small.
//
//go:noinline
func (r *receiver) adopt(b []byte) {
	r.w = copy(b, r.buf[r.r:r.w])
	r.r = 0
	r.buf = b
}

// shrink returns the pooled buffer, to be given back, if there is one and what it holds fits small; else nil.
//
//go:noinline
func (r *receiver) shrink() []byte {
	if len(r.buf) == len(r.small) || r.w-r.r > len(r.small) {
		return nil
	}
	b := r.buf
	r.w = copy(r.small[:], b[r.r:r.w])
	r.r = 0
	r.buf = r.small[:]
	return b
}

// release gives the pooled buffer back, with all that is in it.
func (r *receiver) release() {
	r.detach()
	if len(r.buf) > len(r.small) {
		putBuf(r.buf)
	}
	r.buf = r.small[:]
	r.r, r.w = 0, 0
}

// finish is release for a connection that is over: what a message in progress has taken to be inflated is given back
// too.
func (r *receiver) finish() {
	r.release()
	if r.inflate != nil {
		r.inflate.Drop()
	}
}

// detach makes sure that no step of Messages shares buf: it is left to the step, and the receiver goes on with another.
func (r *receiver) detach() {
	l := r.lent
	if l == nil {
		return
	}
	l.buf, r.lent = r.buf, nil
	left := r.buf[r.r:r.w]
	next := r.small[:]
	if len(left) > len(next) {
		next = getBuf(len(left))
	}
	r.buf, r.r, r.w = next, 0, copy(next, left)
	l.part()
}
