package websocket

import (
	"context"
	"crypto/tls"

	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// gatherMax is the longest payload that is copied into the gather buffer. A longer one is written from where it is, or masked in chunks.
const gatherMax = 4 << 10

// A sender is the writing half of a Conn.
//
// Frames are appended, whole, to a gather buffer under a short lock. Then one goroutine at a time owns the wire: it takes all that has gathered and
// writes it. A writer that finds the wire free writes at once; one that finds it taken leaves its frame to the next write, and returns. Long
// payloads are not gathered: their writer waits for the wire, and writes them behind what has gathered.
//
// The gather buffer is bounded. Where it is full, writers wait; pongs do not: only the latest is kept.
type sender struct {
	c        *Conn    // immutable
	conn     net.Conn // immutable
	raw      *rawConn // immutable; nil if the transport cannot write without waiting
	vectored bool     // immutable: the transport has writev
	fragile  bool     // immutable: a write that was cut short ruins the transport, even one of nothing (crypto/tls, bodyConn)
	limit    int      // immutable: the most bytes that gather, or negative

	// corked is set by the reader: more whole frames wait in its buffer, so replies may gather.
	corked atomic.Bool
	// pending says that frames may have gathered: lets the reader skip the lock.
	pending atomic.Bool

	mu      sync.Mutex // guards what follows; never held across I/O or a wait
	half    sendHalf
	buf     []byte        // the gather buffer: whole frames. Pooled; nil when empty
	owned   bool          // somebody owns the wire
	armed   bool          // a flusher goroutine is on its way, or at work
	flusher func()        // its body, made once
	wanted  int           // writers that wait for the wire: its owner leaves to them what has gathered meanwhile
	stream  bool          // a messageWriter is open: other messages wait
	late    []byte        // payload of the latest pong that found no room; nil: none
	changed chan struct{} // closed, and dropped, when something changes that a writer may wait for; nil: nobody waits
	err     error         // why no more frames are taken; the first one sticks

	watch watch // belongs to the owner of the wire, apart from its own lock
}

func (w *sender) init(c *Conn, raw *rawConn, cfg connConfig) {
	w.c = c
	w.conn = cfg.transport
	w.raw = raw
	w.limit = orDefault(cfg.writeBufferLimit, defaultWriteBufferLimit)
	w.half.client = cfg.client
	w.watch.conn, w.watch.write = cfg.transport, true
	switch cfg.transport.(type) {
	case *net.TCPConn, *net.UnixConn:
		w.vectored = true
	case *tls.Conn, *bodyConn:
		w.fragile = true
	}
}

// outgoing is a frame to be sent.
type outgoing struct {
	op      opcode
	fin     bool
	rsv     byte
	stream  bool   // a part of the message of the messageWriter that is open
	payload []byte // the caller's
}

// send sends one frame. It returns when the frame is on its way: written, or left to the goroutine that is writing.
//
// ctx bounds the waiting. If it, or the write deadline, ends before the first byte of the frame is out, nothing is sent and the connection lives on.
func (w *sender) send(ctx context.Context, f outgoing) error {
	var key uint32
	if w.half.client { // never changes, so it may be read without the lock
		key = newMaskingKey()
	}
	long := len(f.payload) > gatherMax
	w.mu.Lock()
	for {
		if w.err != nil {
			err := w.err
			w.mu.Unlock()
			return err
		}
		if w.stream && !f.stream && !f.op.isControl() {
			// Section 5.4: the fragments of one message are not interleaved with another. Who waited for the wire, and now waits for this,
			// must not keep what others left to it.
			w.armIfFree()
			if err := w.wait(ctx); err != nil {
				return err
			}
			continue
		}
		if long {
			if !w.owned {
				break
			}
			if err := w.waitForWire(ctx); err != nil {
				return err
			}
			continue
		}
		if len(w.buf) == 0 || w.limit < 0 || len(w.buf)+maxHeaderSize+len(f.payload) <= w.limit {
			break
		}
		if w.owned {
			if err := w.wait(ctx); err != nil {
				return err
			}
			continue
		}
		// Full of frames that gathered for a flusher which has not run yet.
		out := w.take()
		w.mu.Unlock()
		if err := w.write(ctx, out, written{own: len(out)}); err != nil {
			return err
		}
		w.mu.Lock()
	}

	job := written{own: len(w.buf), stream: f.stream, unfinished: w.half.unfinished}
	h, err := w.half.header(f.op, f.fin, f.rsv, len(f.payload), key)
	if err != nil {
		w.mu.Unlock()
		return errClosed // header refuses nothing else
	}
	if long {
		job.rest, job.key = f.payload, key
		w.reserve(maxHeaderSize)
		w.buf = appendHeader(w.buf, h)
	} else {
		w.appendFrame(h, f.payload)
		if w.owned || w.wanted > 0 {
			w.mu.Unlock() // whoever has the wire next takes it along
			return nil
		}
		if w.corked.Load() {
			w.arm()
			w.mu.Unlock()
			return nil
		}
	}
	out := w.take()
	w.mu.Unlock()
	return w.write(ctx, out, job)
}

// appendFrame appends a frame to the gather buffer. The lock is held.
func (w *sender) appendFrame(h header, payload []byte) {
	w.reserve(maxHeaderSize + len(payload))
	w.buf = appendHeader(w.buf, h)
	n := len(w.buf)
	w.buf = w.buf[:n+len(payload)]
	if h.masked {
		copyMask(w.buf[n:], payload, h.key)
	} else {
		copy(w.buf[n:], payload)
	}
}

// reserve makes room for n more bytes in the gather buffer. The lock is held.
func (w *sender) reserve(n int) {
	switch need := len(w.buf) + n; {
	case w.buf == nil:
		if w.corked.Load() {
			need = bufMedium // much will follow
		}
		w.buf = getBuf(need)[:0]
	case need > cap(w.buf):
		w.buf = growBuf(w.buf, max(need, 2*cap(w.buf)))
	}
}

// take makes its caller the owner of the wire, and of what has gathered. The lock is held; nobody owns the wire.
func (w *sender) take() []byte {
	out := w.buf
	w.buf, w.owned = nil, true
	return out
}

// putBack returns to the gather buffer what its owner could not write, and leaves the wire. The lock is held.
func (w *sender) putBack(left []byte) {
	if len(left) > 0 && w.buf == nil {
		w.buf = append(getBuf(len(left))[:0], left...)
	} else if len(left) > 0 {
		b := append(getBuf(len(left) + len(w.buf))[:0], left...)
		b = append(b, w.buf...)
		putBuf(w.buf)
		w.buf = b
	}
	w.owned = false
	w.leave()
}

// leave is called, with the lock held, when the wire has become free: what has gathered must not be stranded.
func (w *sender) leave() {
	if w.late != nil && w.err == nil {
		late := w.late
		w.late = nil
		w.appendPong(late)
	}
	w.armIfFree()
	w.wake()
}

// wait waits until something has changed, ctx ends or the write deadline passes. The lock is held when it is called, and when it returns nil.
func (w *sender) wait(ctx context.Context) error {
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	changed := w.changed
	w.mu.Unlock()
	var timeout <-chan time.Time
	if deadline := w.watch.applicationDeadline(); !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-changed:
		w.mu.Lock()
		return nil
	case <-ctx.Done():
		return w.c.interrupted("write", ctx, nil)
	case <-timeout:
		return w.c.interrupted("write", ctx, os.ErrDeadlineExceeded)
	}
}

// waitForWire is wait for one who wants the wire itself.
func (w *sender) waitForWire(ctx context.Context) error {
	w.wanted++
	err := w.wait(ctx)
	if err == nil {
		w.wanted--
		return nil
	}
	w.mu.Lock()
	w.wanted--
	w.leave()
	w.mu.Unlock()
	return err
}

// wake lets all who wait look again. The lock is held.
func (w *sender) wake() {
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}
