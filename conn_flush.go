package websocket

import (
	"context"
	"time"
)

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
	w.accepted.Add(int64(n))
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
	w.owned, w.inflight = false, 0
}
