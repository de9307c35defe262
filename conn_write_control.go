package websocket

import (
	"context"
	"time"
)

// Control frames among what gathers.

// appendPong appends a pong to the gather buffer. The lock is held.
func (w *sender) appendPong(payload []byte) {
	first := w.passed(w.pong)
	w.appendControl(opPong, payload)
	if first {
		w.pong = w.end
	}
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

// pongLimit is the bound within which pongs gather: there is one even where messages have none.
func (w *sender) pongLimit() int {
	if w.limit < 0 {
		return defaultWriteBufferLimit
	}
	return w.limit
}

// gatherPong answers a ping (section 5.5.3). While there is room every ping is answered, in order; after that only
// the latest: "MAY elect to send a Pong frame for only the most recently processed Ping frame".
func (w *sender) gatherPong(payload []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	if w.late == nil && w.fits(maxControlFrame, w.pongLimit()) {
		w.appendPong(payload)
		return
	}
	if w.late == nil {
		w.late = new(latePong)
	}
	w.late.n = copy(w.late.payload[:], payload)
}

// gatherClose appends the close frame to the gather buffer, behind all that was written before: no frame is taken after
// it. There is a reason why the connection is over by now, and w.err is nil. The lock is held.
func (w *sender) gatherClose(payload []byte) error {
	w.err, w.late = w.c.life.reason(), nil
	if err := w.appendControl(opClose, payload); err != nil {
		return err
	}
	w.c.life.move(closeFrameSent)
	w.wake()
	return nil
}

// postClose is sendClose without any waiting: what the transport does not take at once is left to the flusher.
func (w *sender) postClose(payload []byte) {
	w.watch.setDeadline(w.c.conn, time.Time{})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || w.gatherClose(payload) != nil {
		return
	}
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
	if err := w.gatherClose(payload); err != nil {
		w.mu.Unlock()
		return err
	}
	for w.owned {
		if err := w.waitForWire(ctx, false); err != nil {
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
