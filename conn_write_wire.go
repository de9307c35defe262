package websocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// Writing to the transport, by whoever owns the wire.

// write writes out, which its caller took and which f is a part of, and leaves the wire.
func (w *sender) write(ctx context.Context, out []byte, f *outgoing) error {
	returned := false
	defer func() {
		if !returned {
			w.panicked()
		}
	}()
	if f.own < 0 || f.direct {
		w.watch.beginOwn(w.c.conn, ctx)
	} else {
		w.watch.begin(w.c.conn, ctx)
	}
	var n int
	var err error
	if f.long || w.fragile {
		n, out, err = w.writeLong(ctx, out, f)
	} else {
		n, err = w.writeAll(out)
	}
	returned = true
	if err != nil {
		return w.cut(ctx, out, n, f, err)
	}
	putBuf(out)
	w.mu.Lock()
	w.owned, w.inflight = false, 0
	w.leave()
	w.mu.Unlock()
	return nil
}

// pieceSize is how much one write gives to a transport of which only the writes that have returned tell what the peer has
// taken: a peer that takes so much in PingInterval and PongTimeout is alive. It is what a record of TLS holds.
const pieceSize = 16 << 10

// writeAll writes p to the transport, and counts what it takes.
func (w *sender) writeAll(p []byte) (n int, err error) {
	for w.pieces && len(p)-n > pieceSize {
		k, err := w.c.conn.Write(p[n : n+pieceSize])
		w.accepted.Add(int64(k))
		if n += k; err != nil {
			return n, err
		}
	}
	k, err := w.c.conn.Write(p[n:])
	w.accepted.Add(int64(k))
	return n + k, err
}

// panicked is called while the application's context or transport panics under the owner of the wire. How much of what
// was to be written is out is not known: the connection is over.
func (w *sender) panicked() {
	w.halt(errWritePanicked)
	w.c.end(errWritePanicked)
}

// writeLong is write's part for payloads that were not gathered, and for transports that need care. It returns the
// buffer in place of out.
func (w *sender) writeLong(ctx context.Context, out []byte, f *outgoing) (n int, buf []byte, err error) {
	switch {
	case w.fragile && f.own >= 0 && (ctx.Err() != nil || !f.direct && w.tooLate()):
		f.untried = true
		return 0, out, os.ErrDeadlineExceeded
	case !f.long:
		n, err = w.writeAll(out)
		return n, out, err
	case !w.half.client && w.vectored && !w.pieces:
		n64, err := writeVec(w.c.conn, out, f.payload)
		w.accepted.Add(n64)
		return int(n64), out, err
	case !w.half.client && !w.fragile && len(f.payload) > copyMax:
		// A write more costs less than the copy.
		if n, err = w.writeAll(out); err != nil {
			return n, out, err
		}
		m, err := w.writeAll(f.payload)
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
		m, err := w.writeAll(out)
		n += m
		if err != nil || len(rest) == 0 {
			return n, out, err
		}
		out = out[:0]
		if !w.half.client {
			m, err = w.writeAll(rest)
			return n + m, out, err
		}
	}
}

// tooLate reports whether the application's deadline has passed.
func (w *sender) tooLate() bool {
	deadline := w.watch.applicationDeadline()
	return !deadline.IsZero() && !time.Now().Before(deadline)
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
	w.owned, w.inflight = false, 0
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
