package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
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

// Writers that wait, and those that let others go first.

// A writer that is about to write lets other goroutines run first, so that their frames gather and go out with its
// own: on one processor a write that does not wait leaves nobody else the time for it. It does so while others have
// been met lately, and after that now and then to find out: soon at first, then ever more seldom, for on several
// processors it costs as much as some writes.
const (
	crowdTurns = 4    // how many writes in a row that met nobody end it
	crowdFirst = 32   // where the count begins: a connection of a few writes never tries
	crowdProbe = 8192 // every how many writes it is tried at least
)

// crowded reports whether a writer should let others run first. The lock is held.
func (w *sender) crowded() bool {
	w.alone++
	return w.alone <= crowdTurns || w.alone&(w.alone-1) == 0 || w.alone%crowdProbe == 0
}

// yield lets other goroutines run while its caller owns the wire without using it. The caller's frame must not have
// been appended: behind it those that come meanwhile would share its fate if it is given up.
//
// The lock is held, and the wire is free. All may have changed when it returns.
func (w *sender) yield() {
	w.owned = true
	w.mu.Unlock()
	runtime.Gosched()
	w.mu.Lock()
	w.owned = false
	if w.wanted > 0 || w.err != nil {
		w.leave() // these have been waiting for the wire, and the caller does not take it from them
	}
}

// free reports whether nobody owns the wire or waits for it. The lock is held.
func (w *sender) free() bool { return !w.owned && w.wanted == 0 }

// wait waits until something has changed, ctx ends or the write deadline passes. The lock is held when it is called,
// and when it returns nil.
func (w *sender) wait(ctx context.Context) error {
	return w.waitUntil(ctx, w.watch.applicationDeadline())
}

// waitUntil is wait with a deadline in place of the application's; the zero time means never.
func (w *sender) waitUntil(ctx context.Context, deadline time.Time) error {
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	changed := w.changed
	w.armIfFree() // what others left to this writer, or it to its next frame, need not wait with it
	w.mu.Unlock()
	var timeout <-chan time.Time
	if !deadline.IsZero() {
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

// waitForWire is wait for one who wants the wire itself. While it waits the owner of the wire leaves to it what has
// gathered, so if it gives up, it sees to that. The
// application's deadline does not concern it if apart is set.
func (w *sender) waitForWire(ctx context.Context, apart bool) error {
	w.wanted++
	locked := false
	defer func() { // ctx is the application's, and may panic
		if locked {
			w.wanted--
			return
		}
		w.mu.Lock()
		w.wanted--
		w.leave()
		w.mu.Unlock()
	}()
	var deadline time.Time
	if !apart {
		deadline = w.watch.applicationDeadline()
	}
	err := w.waitUntil(ctx, deadline)
	locked = err == nil
	return err
}

// wake lets all who wait look again. The lock is held.
func (w *sender) wake() {
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

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

// waits reports whether frames wait for the transport to take them, and whether a pong is one of them.
func (w *sender) waits() (any, pong bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.owned || len(w.buf) > 0, w.late != nil || !w.passed(w.pong)
}
