package websocket

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
)

// gatherMax is the longest payload that is copied into the gather buffer. A longer one is written from where it is,
// or masked in chunks.
const gatherMax = 4 << 10

// A sender is the writing half of a Conn.
//
// Frames are appended, whole, to a gather buffer under a short lock. Then one goroutine at a time owns the wire: it
// takes all that has gathered and writes it. A writer that finds the wire free writes at once; one that finds it
// taken leaves its frame to the next write, and returns. Long payloads are not gathered: their writer waits for the
// wire, and writes them behind what has gathered.
//
// The gather buffer is bounded. Where it is full, writers wait; pongs do not: only the latest is kept.
type sender struct {
	c        *Conn // immutable
	limit    int   // immutable: the most bytes that gather, or negative
	vectored bool  // immutable: the transport has writev
	fragile  bool  // immutable: a write that was cut short ruins the transport, even one of nothing (crypto/tls, bodyConn)
	pieces   bool  // immutable: what the peer has taken is known only from the writes that have returned

	accepted atomic.Int64 // bytes that the transport has taken. Written by the owner of the wire

	corked  atomic.Bool // set by the reader: more whole frames wait in its buffer, so replies may gather
	pending atomic.Bool // frames may have gathered: lets the reader skip the lock

	mu       sync.Mutex // guards what follows; never held across I/O or a wait
	half     sendHalf
	owned    bool          // somebody owns the wire
	flushing bool          // the flusher owns the wire
	armed    bool          // a flusher goroutine is on its way, or at work
	stream   bool          // a messageWriter is open: other messages wait
	wanted   int32         // writers that wait for the wire: its owner leaves to them what has gathered meanwhile
	inflight int           // gathered bytes that the owner of the wire holds; what it cannot write comes back
	end      uint64        // how many bytes were gathered so far; see passed
	pong     uint64        // value of end when the oldest unsent pong was gathered
	alone    uint32        // how many writes in a row have met no other writer; see crowded
	buf      []byte        // the gather buffer: whole frames. Pooled; nil when empty
	err      error         // why no more frames are taken; the first one sticks
	changed  chan struct{} // closed, and dropped, when something changes that a writer may wait for; nil: nobody waits
	late     *latePong     // the latest pong that found no room; nil: none
	flusher  func()        // the flusher's body, made once

	watch watch // belongs to the owner of the wire, apart from its own lock
}

// A latePong is the payload of a pong.
type latePong struct {
	n       int
	payload [maxControlPayload]byte
}

func (w *sender) init(c *Conn, cfg *connConfig) {
	w.c = c
	w.alone = crowdFirst // nobody has been met yet
	w.limit = orDefault(cfg.writeBufferLimit, defaultWriteBufferLimit)
	w.half.client = cfg.client
	w.watch.write = true
	switch cfg.transport.(type) {
	case *net.TCPConn, *net.UnixConn:
		w.vectored = true
	case *tls.Conn, *bodyConn:
		w.fragile = true
	}
	w.pieces = !tellsQueue(cfg.transport)
}

// outgoing is a frame to be sent.
type outgoing struct {
	op      opcode
	fin     bool
	rsv     byte
	stream  bool   // a part of the message of the messageWriter that is open
	more    bool   // its sender sends another at once: that one takes it along
	direct  bool   // a control frame that its sender wants to see out: see bridged.WriteControl
	payload []byte // the sender's

	// What admit found, for the owner of the wire:
	long       bool   // the payload was not gathered
	unfinished bool   // sendHalf.unfinished before this frame
	untried    bool   // the transport was not given anything
	key        uint32 // masking key
	own        int    // where in the gathered bytes this frame begins; -1: the library writes, for no caller
}

// send sends one frame. It returns when the frame is on its way: written, or left to the goroutine that is writing.
//
// ctx bounds the waiting. If it, or the write deadline, ends before the first byte of the frame is out, nothing is
// sent and the connection lives on.
func (w *sender) send(ctx context.Context, f *outgoing) error {
	out, err := w.admit(ctx, f)
	if out != nil {
		err = w.write(ctx, out, f)
	}
	return err
}

// admit is send up to the write: it returns what the caller, who then owns the wire, must write, or nil.
//
// It is a function of its own so that its frame is off the stack while a write goes down to the system call.
func (w *sender) admit(ctx context.Context, f *outgoing) ([]byte, error) {
	if w.half.client { // never changes, so it may be read without the lock
		f.key = newMaskingKey()
	}
	f.long = f.direct || len(f.payload) > gatherMax
	yielded := false
	w.mu.Lock()
	for {
		if w.err != nil {
			err := w.err
			w.armIfFree() // the owner of the wire may have left to this writer what has gathered, the close frame too
			w.mu.Unlock()
			return nil, err
		}
		if w.stream && !f.stream && !f.op.isControl() {
			// Section 5.4: the fragments of one message are not interleaved with another.
			if err := w.wait(ctx); err != nil {
				return nil, err
			}
			continue
		}
		if f.long {
			if !w.owned {
				break
			}
			if err := w.waitForWire(ctx, f.direct); err != nil {
				return nil, err
			}
			continue
		}
		if w.fits(maxHeaderSize+len(f.payload), w.limit) {
			if yielded || f.more || !w.free() || w.corked.Load() || !w.crowded() {
				break
			}
			yielded = true
			w.yield()
			continue
		}
		if w.owned {
			if err := w.wait(ctx); err != nil {
				return nil, err
			}
			continue
		}
		// Full of frames that gathered for a flusher which has not run yet.
		out := w.take()
		w.mu.Unlock()
		if err := w.write(ctx, out, &outgoing{own: len(out)}); err != nil {
			return nil, err
		}
		w.mu.Lock()
	}

	f.own, f.unfinished = len(w.buf), w.half.unfinished
	h, err := w.half.header(f.op, f.fin, f.rsv, len(f.payload), f.key)
	if err != nil {
		w.mu.Unlock()
		return nil, errClosed // header refuses nothing else
	}
	if f.long {
		w.reserve(maxHeaderSize)
		w.buf = appendHeader(w.buf, h)
		w.end += uint64(len(w.buf) - f.own)
	} else {
		w.appendFrame(h, f.payload)
		switch {
		case !w.free():
			// Whoever has the wire next takes it along.
			w.alone = 0
			w.mu.Unlock()
			return nil, nil
		case w.corked.Load():
			w.arm()
			w.mu.Unlock()
			return nil, nil
		case f.more:
			w.mu.Unlock()
			return nil, nil
		}
	}
	out := w.take()
	w.mu.Unlock()
	return out, nil
}

// appendFrame appends a frame to the gather buffer. The lock is held.
func (w *sender) appendFrame(h header, payload []byte) {
	if size := maxHeaderSize + len(payload); size > cap(w.buf)-len(w.buf) {
		w.reserve(size)
	}
	buf := appendHeader(w.buf, h)
	n := len(buf)
	buf = buf[:n+len(payload)]
	if h.masked {
		copyMask(buf[n:], payload, h.key)
	} else {
		copy(buf[n:], payload)
	}
	w.end += uint64(len(buf) - len(w.buf))
	w.buf = buf
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

// fits reports whether n more bytes may gather within limit. A frame longer than limit may, when nothing else waits.
// What the owner of the wire holds counts: it may come back. The lock is held.
func (w *sender) fits(n, limit int) bool {
	queued := w.inflight + len(w.buf)
	return queued == 0 || limit < 0 || queued+n <= limit
}

// passed reports whether all that had gathered when end was mark has left. The lock is held.
func (w *sender) passed(mark uint64) bool {
	queued := w.inflight + len(w.buf)
	return queued == 0 || w.end-uint64(queued) >= mark
}

// take makes its caller the owner of the wire, and of what has gathered. The lock is held; nobody owns the wire.
func (w *sender) take() []byte {
	out := w.buf
	w.buf, w.owned, w.inflight = nil, true, len(out)
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
	w.owned, w.inflight = false, 0
	w.leave()
}

// leave is called, with the lock held, when the wire has become free: what has gathered must not be stranded.
func (w *sender) leave() {
	if w.late != nil && w.err == nil && w.fits(maxControlFrame, w.pongLimit()) {
		late := w.late
		w.late = nil
		w.appendPong(late.payload[:late.n])
	}
	w.armIfFree()
	w.wake()
}
