package websocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// write writes out, which its caller took and which f is a part of, and leaves the wire.
func (w *sender) write(ctx context.Context, out []byte, f *outgoing) error {
	if f.own < 0 {
		w.watch.beginOwn(w.c.conn, ctx)
	} else {
		w.watch.begin(w.c.conn, ctx)
	}
	var n int
	var err error
	if f.long || w.fragile {
		n, out, err = w.writeLong(ctx, out, f)
	} else {
		n, err = w.c.conn.Write(out)
	}
	if err != nil {
		return w.cut(ctx, out, n, f, err)
	}
	putBuf(out)
	w.mu.Lock()
	w.owned = false
	w.leave()
	w.mu.Unlock()
	return nil
}

// writeLong is write's part for payloads that were not gathered, and for transports that need care. It returns the
// buffer in place of out.
func (w *sender) writeLong(ctx context.Context, out []byte, f *outgoing) (n int, buf []byte, err error) {
	switch {
	case w.fragile && f.own >= 0 && w.tooLate(ctx):
		f.untried = true
		return 0, out, os.ErrDeadlineExceeded
	case !f.long:
		n, err = w.c.conn.Write(out)
		return n, out, err
	case !w.half.client && w.vectored:
		n64, err := writeVec(w.c.conn, out, f.payload)
		return int(n64), out, err
	case !w.half.client && !w.fragile && len(f.payload) > copyMax:
		// A write more costs less than the copy.
		if n, err = w.c.conn.Write(out); err != nil {
			return n, out, err
		}
		m, err := w.c.conn.Write(f.payload)
		return n + m, out, err
	}
	return w.writeChunks(out, f.payload, f.key)
}

// copyMax is how much a server copies to send a header and the begin of its payload in one piece: as much as goes
// into one record of TLS.
const copyMax = 16 << 10

// writeChunks writes out and the rest of the frame that it ends with, through one buffer: masked if this endpoint is
// the client; else only so that the header does not go by itself. It returns the buffer in place of out.
func (w *sender) writeChunks(out, rest []byte, key uint32) (n int, buf []byte, err error) {
	chunk := bufLarge
	if !w.half.client {
		chunk = copyMax
	}
	chunk = max(chunk, len(out)) // without a limit any amount may have gathered
	if size := min(len(out)+len(rest), chunk); size > cap(out) {
		out = growBuf(out, size)
	}
	for {
		at := len(out)
		k := min(len(rest), min(chunk, cap(out))-at)
		out = out[:at+k]
		if w.half.client {
			key = copyMask(out[at:], rest[:k], key)
		} else {
			copy(out[at:], rest[:k])
		}
		rest = rest[k:]
		m, err := w.c.conn.Write(out)
		n += m
		if err != nil || len(rest) == 0 {
			return n, out, err
		}
		out = out[:0]
		if !w.half.client {
			m, err = w.c.conn.Write(rest)
			return n + m, out, err
		}
	}
}

// tooLate reports whether ctx has ended or the application's deadline has passed.
func (w *sender) tooLate(ctx context.Context) bool {
	deadline := w.watch.applicationDeadline()
	return ctx.Err() != nil || !deadline.IsZero() && !time.Now().Before(deadline)
}

// cut deals with a write that ended after n bytes with err.
func (w *sender) cut(ctx context.Context, out []byte, n int, f *outgoing, err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		putBuf(out)
		cause := apiError("write", err)
		w.halt(cause)
		return w.c.writeBroke(cause)
	}
	if ctxErr := ctx.Err(); ctxErr != nil {
		err = ctxErr
	}
	if (!w.fragile || f.untried) && n <= f.own && !(f.stream && f.unfinished) {
		// Nothing of the caller's frame is out: as if it had never been made. What others gave goes on.
		w.mu.Lock()
		if f.stream {
			// Nobody else has begun or ended a message meanwhile. A frame of any other kind did not change this.
			w.half.unfinished = false
		}
		w.putBack(out[n:f.own])
		w.mu.Unlock()
		putBuf(out)
		return w.c.interrupted("write", ctx, err)
	}
	putBuf(out)
	over := cutShort(err)
	w.halt(over)
	w.c.end(over)
	return fmt.Errorf("websocket: write cut short inside a frame: %w", err)
}

// cutShort is why a connection is over on which a message cannot be finished because of err: the end of a context, or
// a deadline. It does not match err, which is the matter of one call: to the others this side has closed the
// connection.
func cutShort(err error) error {
	return fmt.Errorf("websocket: the connection is closed: a write was cut short (%v): %w", err, net.ErrClosed)
}

// stopped returns why no more frames are taken, or nil.
func (w *sender) stopped() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// stop ends the half: no more frames are taken, those that gathered are dropped, all who wait look again.
func (w *sender) stop(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(cause)
}

// halt is stop for the owner of the wire, who leaves it.
func (w *sender) halt(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owned = false
	w.drop(cause)
}

// drop is stop with the lock held.
func (w *sender) drop(cause error) {
	if w.err == nil {
		w.err = cause
	}
	putBuf(w.buf)
	w.buf, w.late = nil, nil
	w.wake()
}

// cork says whether replies may gather, because the reader has more whole frames in its buffer.
func (w *sender) cork(on bool) {
	if w.corked.Load() != on {
		w.corked.Store(on)
	}
}

// arm starts the flusher, unless it is on its way. The lock is held.
func (w *sender) arm() {
	if !w.pending.Load() { // a store costs more
		w.pending.Store(true)
	}
	if w.armed {
		return
	}
	w.armed = true
	if w.flusher == nil {
		w.flusher = w.flush
	}
	go w.flusher()
}

// flush writes what has gathered, until there is nothing left or somebody else owns the wire. It is the body of the
// flusher goroutine.
func (w *sender) flush() {
	w.mu.Lock()
	for len(w.buf) > 0 && w.free() {
		out := w.take()
		w.flushing = true
		w.mu.Unlock()
		w.write(context.Background(), out, &outgoing{own: -1}) // an error sticks
		w.mu.Lock()
		w.flushing = false
		w.wake()
	}
	w.armed = false
	w.mu.Unlock()
}

// flushSoon sees to it that what has gathered goes out, though its caller has no time for it.
func (w *sender) flushSoon() {
	w.mu.Lock()
	w.armIfFree()
	w.mu.Unlock()
}

// armIfFree starts the flusher if something has gathered and nobody else is there to write it. The lock is held.
func (w *sender) armIfFree() {
	if len(w.buf) > 0 && w.free() {
		w.arm()
	}
}

// flushForReader writes what has gathered, before the reader waits. It does not wait itself: a peer that does not read must
// not keep us from reading.
func (w *sender) flushForReader() {
	if !w.pending.Load() {
		return
	}
	w.mu.Lock()
	w.pending.Store(false)
	if len(w.buf) == 0 || !w.free() {
		w.mu.Unlock()
		return
	}
	if w.c.r.raw == nil {
		w.arm()
		w.mu.Unlock()
		return
	}
	w.flushRaw()
	w.mu.Unlock()
}

// flushRaw writes what the socket takes at once of what has gathered, and leaves the rest to the flusher. The lock is
// held, but not during the attempt; nobody owns the wire.
func (w *sender) flushRaw() {
	out := w.take()
	w.mu.Unlock()
	n := w.c.r.raw.tryWrite(out)
	w.mu.Lock()
	w.putBack(out[n:])
	putBuf(out)
}

// tryFor is how long an attempt may take on a transport that cannot try without waiting.
const tryFor = time.Millisecond

// tryFlush makes one attempt, which does not block, to write what has gathered. The connection ends after it.
func (w *sender) tryFlush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.flushing {
		// The flusher has begun to write what this call is for: let it, for as long as the attempt below may take.
		w.c.conn.SetWriteDeadline(time.Now().Add(tryFor))
		ctx, cancel := context.WithTimeout(context.Background(), tryFor)
		defer cancel()
		for w.flushing {
			if w.wait(ctx) != nil {
				w.mu.Lock()
				return
			}
		}
	}
	if len(w.buf) == 0 || w.owned {
		return
	}
	if w.c.r.raw != nil {
		w.watch.beginOwn(w.c.conn, context.Background()) // the context of an earlier write may have ended
		w.flushRaw()
		return
	}
	out := w.take()
	w.mu.Unlock()
	// As near as this transport comes to an attempt that does not block.
	w.c.conn.SetWriteDeadline(time.Now().Add(tryFor))
	w.c.conn.Write(out)
	putBuf(out)
	w.mu.Lock()
	w.owned = false
}

// appendPong appends a pong to the gather buffer. The lock is held.
func (w *sender) appendPong(payload []byte) {
	w.appendControl(opPong, payload)
	w.pending.Store(true)
}

// appendControl appends a control frame to the gather buffer. The lock is held.
func (w *sender) appendControl(op opcode, payload []byte) error {
	var key uint32
	if w.half.client {
		key = newMaskingKey()
	}
	h, err := w.half.header(op, true, 0, len(payload), key)
	if err == nil {
		w.appendFrame(h, payload)
	}
	return err
}

// gatherPong answers a ping (section 5.5.3). While there is room every ping is answered, in order; after that only
// the latest: "MAY elect to send a Pong frame for only the most recently processed Ping frame".
func (w *sender) gatherPong(payload []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	if w.passed(w.owed) {
		w.owed = w.takes
	}
	bound := w.limit
	if bound < 0 {
		bound = defaultWriteBufferLimit
	}
	if w.late == nil && (len(w.buf) == 0 || len(w.buf)+maxControlFrame <= bound) {
		w.appendPong(payload)
		return
	}
	if w.late == nil {
		w.late = new(latePong)
	}
	w.late.n = copy(w.late.payload[:], payload)
}

// postClose is sendClose without any waiting: what the transport does not take at once is left to the flusher.
func (w *sender) postClose(payload []byte) {
	cause := w.c.life.reason() // there is one by now
	w.watch.setDeadline(w.c.conn, time.Time{})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	w.err = cause
	w.late = nil
	if w.appendControl(opClose, payload) != nil {
		return
	}
	w.c.life.move(closeFrameSent)
	w.wake()
	switch {
	case !w.free(): // its owner does not leave it stranded
	case w.c.r.raw != nil:
		w.flushRaw()
	default:
		w.arm()
	}
}

// sendClose sends the close frame, behind all that was written before, and takes no frame after it. A second one is
// not sent: then it waits until the first is out, and returns an error. It does not heed the application's deadline:
// ctx bounds it.
func (w *sender) sendClose(ctx context.Context, payload []byte) error {
	cause := w.c.life.reason() // there is one by now
	w.watch.setDeadline(w.c.conn, time.Time{})
	w.mu.Lock()
	if w.err != nil {
		err := w.err
		for w.half.closed && (w.owned || len(w.buf) > 0) {
			if err := w.wait(ctx); err != nil {
				return err
			}
		}
		w.mu.Unlock()
		return err
	}
	w.err = cause
	w.late = nil
	if err := w.appendControl(opClose, payload); err != nil {
		w.mu.Unlock()
		return err
	}
	w.c.life.move(closeFrameSent)
	w.wake()
	for w.owned {
		if err := w.waitForWire(ctx); err != nil {
			return err
		}
	}
	if len(w.buf) == 0 { // somebody took it along, or the transport broke: its reader learns why
		w.mu.Unlock()
		return nil
	}
	out := w.take()
	w.mu.Unlock()
	return w.write(ctx, out, &outgoing{own: -1})
}
