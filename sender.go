package websocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed70bc5565/websocket/internal/bufpool"
)

// gatherMax is the longest payload that is copied into the gather buffer. The
// writer of a longer one waits for the wire, and writes it from where it is.
const gatherMax = 4 << 10

// A sender is the writing half of a Conn.
//
// Writers append frames, whole, to the gather buffer. One goroutine at a time
// owns the wire: it takes what has gathered and writes it to the transport. A
// writer that finds the wire free takes it. A writer that finds the wire owned
// leaves its frame to the next owner, and returns. The writer of a long payload
// waits for the wire.
//
// The lock is never held across I/O or a wait. Methods that need it end in
// Locked. They return with the lock held, whatever they return. The lock is
// given back by unlock, which decides who is woken and whether the flusher must
// run. Only admitShort, and readers that change nothing, do without it.
//
// Invariant: when the lock is free and frames have gathered, one of four
// goroutines will write them. That is the owner of the wire, a writer that
// waits for it, the flusher, or the goroutine for which held is set. For a
// moment it may be none of them, while a writer goes from admitShort to admit.
//
// Invariant: inflight and the gather buffer together are no longer than limit,
// or hold one message and the close frame.
type sender struct {
	t     *transport // immutable
	limit int32      // immutable: the most bytes that gather, less than 2 GiB; negative: no bound

	corked  atomic.Bool // the reading goroutine has more whole frames at hand, so replies gather. Written by it
	pending atomic.Bool // frames may have gathered: lets the reading goroutine skip the lock

	mu       sync.Mutex // guards what follows
	half     sendHalf
	slow     bool   // immutable: writes are timed, see Trace.SlowWrite
	owned    bool   // a goroutine owns the wire
	owner    owner  // what kind of goroutine that is, or was last
	armed    bool   // the flusher is on its way, or at work
	held     bool   // a goroutine will come back for all that has gathered: for its next frame, or to flush
	news     bool   // something has changed that waiters wait for
	stream   bool   // a messageWriter is open: other messages wait
	alone    uint16 // how many writes in a row have met no other writer; see crowdedLocked
	inflight int32  // gathered bytes that the owner of the wire has taken, 2 GiB at most. They come back if it cannot write them
	wanted   int32  // writers that wait for the wire. Its owner leaves to them what has gathered

	end  position // of the gathered bytes
	pong position // behind the oldest unsent pong

	gave gaveCounts // what has gone, or is about to

	buf  []byte      // the gather buffer: whole frames. Pooled; nil when empty
	rest *senderRest // nil until it is needed: see restLocked
}

// An owner is a kind of goroutine that owns the wire.
type owner uint8

const (
	aWriter  owner = iota // or the reading goroutine, for an attempt to write
	aYielder              // a writer that does not use the wire yet: see yieldLocked
	theFlusher
)

// A senderRest is what few senders need. sender.mu guards it.
type senderRest struct {
	late    *latePong     // the latest pong that found no room; nil: none
	err     error         // why no more frames are taken; the first one sticks
	changed chan struct{} // closed and dropped by unlock when there is news; nil: no goroutine waits
	flusher func()        // the flusher's body, made once
	pings   *pingList     // made by the first Ping
}

// restLocked returns the rest, which it makes if there is none.
func (w *sender) restLocked() *senderRest {
	if w.rest == nil {
		w.rest = new(senderRest)
	}
	return w.rest
}

// errLocked returns why no more frames are taken, or nil.
func (w *sender) errLocked() error {
	if w.rest == nil {
		return nil
	}
	return w.rest.err
}

// lateLocked returns the latest pong that found no room, or nil.
func (w *sender) lateLocked() *latePong {
	if w.rest == nil {
		return nil
	}
	return w.rest.late
}

// A latePong is the payload of a pong.
type latePong struct {
	n       int
	payload [maxControlPayload]byte
}

func (w *sender) init(t *transport, cfg *connConfig) {
	w.t = t
	w.alone = crowdFirst
	w.limit = clamp32(orDefault(cfg.writeBufferLimit, defaultWriteBufferLimit))
	w.half.client = cfg.client
	w.slow = cfg.trace != nil && cfg.trace.SlowWrite != nil
}

// unlock gives the lock back. It computes the next steps from the state that
// the caller leaves. A late pong gathers if there is room now. Waiters look
// again if there is news. The flusher starts if no other goroutine will write
// what has gathered.
func (w *sender) unlock() {
	if late := w.lateLocked(); late != nil && !w.owned && w.rest.err == nil && w.fitsLocked(maxControlFrame, w.pongLimit()) {
		w.rest.late = nil
		w.appendPongLocked(late.payload[:late.n], false)
	}
	if w.news {
		w.news = false
		if w.rest != nil && w.rest.changed != nil {
			close(w.rest.changed)
			w.rest.changed = nil
		}
	}
	if len(w.buf) > 0 && !w.pending.Load() { // a store costs more
		w.pending.Store(true)
	}
	var flusher func()
	if len(w.buf) > 0 && w.freeLocked() && !w.armed && !w.held {
		w.armed = true
		rest := w.restLocked()
		if rest.flusher == nil {
			rest.flusher = w.flush
		}
		flusher = rest.flusher
	}
	w.mu.Unlock()
	if flusher != nil {
		go flusher()
	}
}

// freeLocked reports whether no goroutine owns the wire or waits for it.
func (w *sender) freeLocked() bool { return !w.owned && w.wanted == 0 }

// takeLocked makes its caller the owner of the wire and of what has gathered.
// The wire must be free to take.
func (w *sender) takeLocked() []byte {
	out := w.buf
	w.buf, w.owned, w.held, w.inflight = nil, true, false, clamp32(len(out))
	return out
}

// leaveLocked is called by the owner of the wire when it has written all it
// took.
func (w *sender) leaveLocked() {
	w.owned, w.inflight, w.news = false, 0, true
}

// putBackLocked is leaveLocked for an owner that could not write left, a part
// of what it took. That part goes before what has gathered since.
func (w *sender) putBackLocked(left []byte) {
	if len(left) > 0 {
		b := append(bufpool.Get(len(left) + len(w.buf))[:0], left...)
		b = append(b, w.buf...)
		bufpool.Put(w.buf)
		w.buf = b
	}
	w.leaveLocked()
}

// stopLocked ends the half: no more frames are taken, and what has gathered is
// dropped. Writers get the error cause: see toWriters.
func (w *sender) stopLocked(cause error) {
	rest := w.restLocked()
	if rest.err == nil {
		rest.err = cause
	}
	bufpool.Put(w.buf)
	w.buf, rest.late, w.news = nil, nil, true
}

// stop ends the half because of cause.
func (w *sender) stop(cause error) {
	cause = toWriters(cause) // here and not below, where it would make the stack grow
	w.mu.Lock()
	defer w.unlock()
	w.stopLocked(cause)
}

// halt is stop for the owner of the wire, which leaves it.
func (w *sender) halt(cause error) {
	cause = toWriters(cause)
	w.mu.Lock()
	defer w.unlock()
	w.leaveLocked()
	w.stopLocked(cause)
}

// stopped returns why no more frames are taken, or nil.
func (w *sender) stopped() error {
	w.mu.Lock()
	defer w.unlock()
	return w.errLocked()
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
	plain   int    // the bytes of payload before they were compressed, if rsv says so

	// admit leaves these for the owner of the wire:
	long       bool   // the payload was not gathered
	unfinished bool   // sendHalf.unfinished before this frame
	untried    bool   // the transport was not given anything
	returned   bool   // no call of the application's has panicked
	key        uint32 // masking key
	own        int    // where in out this frame begins; -1: the library writes on its own
	out        []byte // what the owner of the wire has taken: pooled
}

// send sends one frame. It returns when the frame is on its way: written, or
// left to the owner of the wire.
//
// ctx bounds the waiting. If ctx or the write deadline ends before the first
// byte of the frame is out, nothing is sent and the connection lives on.
func (w *sender) send(ctx context.Context, f *outgoing) error {
	if w.slow {
		return w.sendTimed(ctx, f)
	}
	out, err := w.admit(ctx, f)
	if out != nil {
		err = w.write(ctx, out, f)
	}
	return err
}

// sendTimed is send for a Trace that wants to know of slow writes.
func (w *sender) sendTimed(ctx context.Context, f *outgoing) error {
	start := time.Now()
	out, err := w.admit(ctx, f)
	if out != nil {
		err = w.write(ctx, out, f)
	}
	if took := time.Since(start); took >= slowWrite {
		w.t.c.traceSlowWrite(took)
	}
	return err
}

// sendMessage is send for a whole message that is not compressed.
//
// From here down to the system call the stack of a connection that answers is
// deepest. So the functions on the way are few, and their frames small.
func (w *sender) sendMessage(ctx context.Context, op opcode, p []byte) error {
	own, ok := w.admitShort(op, p)
	switch {
	case !ok:
		return w.sendWhole(ctx, op, p)
	case !own:
		return nil
	}
	out := newShort(op, p) // here, where the stack is less deep
	if !w.t.writesRaw() {
		return w.writeShort(ctx, out)
	}
	w.watchShort(ctx)
	n, err := w.t.raw.write(out)
	return w.wroteShort(ctx, out, n, err)
}

// sendWhole is sendMessage for what admitShort does not admit.
//
//go:noinline
func (w *sender) sendWhole(ctx context.Context, op opcode, p []byte) error {
	return w.send(ctx, &outgoing{op: op, fin: true, payload: p})
}

// readShort makes f the frame that out holds, which newShort has made.
func (f *outgoing) readShort(out []byte) {
	n, size := wholeFrame(out)
	f.op, f.fin, f.payload, f.out = opcode(out[0]&opBits), true, out[n:n+size], out
}

// writeShort is write for a frame of newShort.
//
//go:noinline
func (w *sender) writeShort(ctx context.Context, out []byte) error {
	f := &outgoing{}
	f.readShort(out)
	return w.write(ctx, out, f)
}

// watchShort is watchWrite for a frame of newShort.
//
//go:noinline
func (w *sender) watchShort(ctx context.Context) {
	returned := false
	defer func() {
		if !returned {
			w.writePanicked()
		}
	}()
	w.t.out.begin(w.t, ctx)
	returned = true
}

// wroteShort is wrote for a frame of newShort.
//
//go:noinline
func (w *sender) wroteShort(ctx context.Context, out []byte, n int, err error) error {
	w.t.accepted.Add(int64(n))
	interrupted := w.t.out.settle()
	if err != nil {
		return w.failedShort(ctx, out, n, err, interrupted)
	}
	w.leave(out)
	return nil
}

// failedShort is failed for a frame of newShort.
//
//go:noinline
func (w *sender) failedShort(ctx context.Context, out []byte, n int, err error, interrupted bool) error {
	f := &outgoing{}
	f.readShort(out)
	return w.failed(ctx, f, n, w.t.opError("write", err), interrupted)
}

// admitShort is admit for what most messages of a server meet. The wire is free
// and nothing has gathered: then own says that its caller owns the wire, and
// writes the frame that newShort makes. Or it is a reply in a burst, behind
// others that the flusher will write. If admit must look closer, ok is false,
// and the caller calls it.
//
// It takes a third of admit's instructions: see TestAdmitShort.
func (w *sender) admitShort(op opcode, p []byte) (own, ok bool) {
	if w.half.client || w.slow || len(p) > gatherMax {
		return false, false
	}
	w.mu.Lock()
	for yielded := false; ; yielded = true {
		switch {
		case !w.freeLocked(), w.held, w.stream, w.half.unfinished, w.half.closed:
		case w.rest != nil && (w.rest.err != nil || w.rest.late != nil):
		case len(w.buf) == 0:
			if w.corked.Load() || w.alone < crowdTurns {
				break
			}
			if !yielded && w.crowdedLocked() {
				w.yieldLocked() // mostly in vain. If others came, admit goes on with their frames
				continue
			}
			w.owned, w.inflight = true, int32(shortFrameSize(len(p)))
			w.endFrameLocked(int(w.inflight), len(p))
			w.mu.Unlock() // unlock would find nothing to do: nothing has gathered, nor is a pong late
			return true, true
		case w.corked.Load() && w.armed && maxHeaderSize+len(p) <= cap(w.buf)-len(w.buf) && w.fitsLocked(maxHeaderSize+len(p), w.limit):
			n := len(w.buf)
			w.buf = appendShort(w.buf, op, p)
			w.endFrameLocked(len(w.buf)-n, len(p))
			w.mu.Unlock() // unlock would find nothing to do: the flusher is on its way
			return false, true
		}
		w.mu.Unlock() // not unlock: admit follows, and gives the lock back by it
		return false, false
	}
}

// newShort returns a pooled buffer with a frame of appendShort. It is not
// inlined, to keep the frame of its caller small.
//
//go:noinline
func newShort(op opcode, p []byte) []byte {
	if size := shortFrameSize(len(p)); size > bufpool.Small {
		return fillShort(bufpool.Get(size), op, p)
	}
	return fillShort(bufpool.GetSmall(), op, p)
}

// fillShort returns out with a frame of appendShort. It is not inlined, for the
// same reason.
//
//go:noinline
func fillShort(out []byte, op opcode, p []byte) []byte {
	return appendShort(out[:0], op, p)
}

// endFrameLocked counts a frame of size bytes, which is a whole message of n
// bytes.
func (w *sender) endFrameLocked(size, n int) {
	w.end = w.end.plus(size)
	w.gave.messages++
	w.gave.payload += int64(n)
}

// admit is send up to the write. It returns what its caller, which then owns
// the wire, must write, or nil.
//
// It is a function of its own so that its frame is off the stack while a write
// goes down to the system call.
func (w *sender) admit(ctx context.Context, f *outgoing) ([]byte, error) {
	if w.half.client { // immutable, so it may be read without the lock
		f.key = newMaskingKey()
	}
	f.long = f.direct || len(f.payload) > gatherMax
	w.mu.Lock()
	defer w.unlock()
	if err := w.awaitPlaceLocked(ctx, f); err != nil {
		return nil, err
	}
	if w.buf == nil { // here, where the stack is less deep
		w.buf = bufpool.Get(w.firstLocked(f))[:0]
	}
	if err := w.placeLocked(f); err != nil {
		return nil, err
	}
	switch {
	case f.long:
		return w.takeLocked(), nil
	case !w.freeLocked():
		w.alone = 0 // its owner, or the writer that waits for it, takes the frame along
		return nil, nil
	case f.more, w.corked.Load():
		return nil, nil
	case f.own > 0 && w.leavesGatheredLocked(ctx):
		return nil, nil // with what gathered before it
	}
	return w.takeLocked(), nil
}

// firstLocked returns how large the gather buffer must be when it begins with
// f.
func (w *sender) firstLocked(f *outgoing) int {
	switch {
	case w.corked.Load():
		return bufpool.Medium // much will follow
	case f.long:
		return maxHeaderSize
	}
	return maxHeaderSize + len(f.payload)
}

// placeLocked appends f to the gather buffer, or its header if f is long.
//
//go:noinline
func (w *sender) placeLocked(f *outgoing) error {
	f.own, f.unfinished = len(w.buf), w.half.unfinished
	h, err := w.half.header(f.op, f.fin, f.rsv, len(f.payload), f.key)
	if err != nil {
		if f.own == 0 {
			bufpool.Put(w.buf)
			w.buf = nil
		}
		return errClosed // header refuses nothing else
	}
	w.countLocked(f, 1)
	if f.long {
		w.reserveLocked(maxHeaderSize)
		w.buf = appendHeader(w.buf, h)
		w.end = w.end.plus(len(w.buf) - f.own)
		return nil
	}
	w.appendFrameLocked(h, f.payload, f.more)
	return nil
}

// awaitPlaceLocked waits until f may be appended. If f is long, the wire is the
// caller's to take then.
func (w *sender) awaitPlaceLocked(ctx context.Context, f *outgoing) error {
	yielded := false
	for {
		switch {
		case w.errLocked() != nil:
			return w.errLocked()
		case w.stream && !f.stream && !f.op.isControl():
			// Section 5.4: the fragments of one message are not interleaved
			// with another.
			if err := w.waitLocked(ctx, w.t.out.applicationDeadline()); err != nil {
				return err
			}
		case f.long && !w.owned && w.leavesGatheredLocked(ctx):
			if err := w.waitLocked(ctx, w.t.out.applicationDeadline()); err != nil {
				return err
			}
		case f.long && !w.owned:
			return nil
		case f.long:
			if err := w.waitForWireLocked(ctx, f.direct); err != nil {
				return err
			}
		case w.fitsLocked(maxHeaderSize+len(f.payload), w.limit):
			if yielded || f.more || !w.freeLocked() || w.corked.Load() || !w.crowdedLocked() {
				return nil
			}
			yielded = true
			w.yieldLocked()
		case w.owned || w.leavesGatheredLocked(ctx):
			if err := w.waitLocked(ctx, w.t.out.applicationDeadline()); err != nil {
				return err
			}
		default:
			// Full of frames that gathered for a flusher which has not run yet.
			if err := w.writeGatheredLocked(ctx); err != nil {
				return err
			}
		}
	}
}

// leavesGatheredLocked reports whether a writer with ctx leaves to the flusher
// what has gathered. It does so where a cut write ruins the transport. There
// the end of ctx would end the connection before the first byte of the writer's
// own frame.
func (w *sender) leavesGatheredLocked(ctx context.Context) bool {
	return w.t.out.ruins && len(w.buf) > 0 && (ctx.Done() != nil || !w.t.out.applicationDeadline().IsZero())
}

// writeGatheredLocked takes the wire and writes what has gathered, as far as
// ctx allows.
func (w *sender) writeGatheredLocked(ctx context.Context) error {
	out := w.takeLocked()
	w.unlock()
	defer w.mu.Lock()
	return w.write(ctx, out, &outgoing{own: len(out)})
}

// fitsLocked reports whether n more bytes may gather within limit. A frame that
// is longer than limit may, when nothing else waits. Frames that the owner of
// the wire has taken count, because they may come back.
func (w *sender) fitsLocked(n int, limit int32) bool {
	queued := int(w.inflight) + len(w.buf)
	return queued == 0 || limit < 0 || queued+n <= int(limit)
}

// A position is a place in the stream of gathered bytes. It wraps around.
type position uint32

// plus returns the position n bytes behind p.
func (p position) plus(n int) position { return p + position(n) }

// before reports whether p comes before q. They must be less than 2 GiB apart.
func (p position) before(q position) bool { return int32(p-q) < 0 }

// passedLocked reports whether all bytes before mark have left.
func (w *sender) passedLocked(mark position) bool {
	queued := int(w.inflight) + len(w.buf)
	return queued == 0 || !w.end.plus(-queued).before(mark)
}

// appendFrameLocked appends a frame to the gather buffer. held says that the
// caller will come back for it.
func (w *sender) appendFrameLocked(h header, payload []byte, held bool) {
	w.held = held && (w.held || len(w.buf) == 0)
	if size := maxHeaderSize + len(payload); size > cap(w.buf)-len(w.buf) {
		w.reserveLocked(size)
	}
	n := len(w.buf)
	buf := w.buf[:n+maxHeaderSize+len(payload)]
	n += putHeader(buf[n:], h)
	buf = buf[:n+len(payload)]
	if h.masked {
		copyMask(buf[n:], payload, h.key)
	} else {
		copy(buf[n:], payload)
	}
	w.end = w.end.plus(len(buf) - len(w.buf))
	w.buf = buf
}

// reserveLocked makes room for n more bytes in the gather buffer.
func (w *sender) reserveLocked(n int) {
	switch need := len(w.buf) + n; {
	case w.buf == nil:
		if w.corked.Load() {
			need = bufpool.Medium // much will follow
		}
		w.buf = bufpool.Get(need)[:0]
	case need > cap(w.buf):
		w.buf = bufpool.Grow(w.buf, max(need, 2*cap(w.buf)))
	}
}

// openStream waits until no message is being streamed, and begins one: other
// messages wait until closeStream.
func (w *sender) openStream(ctx context.Context) error {
	w.mu.Lock()
	defer w.unlock()
	for w.stream && w.errLocked() == nil {
		if err := w.waitLocked(ctx, w.t.out.applicationDeadline()); err != nil {
			return err
		}
	}
	w.stream = w.stream || w.errLocked() == nil
	return w.errLocked()
}

// closeStream ends what openStream began.
func (w *sender) closeStream() {
	w.mu.Lock()
	defer w.unlock()
	w.stream, w.news = false, true
}

// Waiting.

// waitLocked waits until there is news, ctx ends or deadline passes. The zero
// deadline means never.
func (w *sender) waitLocked(ctx context.Context, deadline time.Time) error {
	rest := w.restLocked()
	if rest.changed == nil {
		rest.changed = make(chan struct{})
	}
	changed := rest.changed
	w.held = false // a goroutine that waits does not come back soon
	w.unlock()
	defer w.mu.Lock() // ctx is the application's, and may panic
	var timeout <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return w.t.c.life.interrupted("write", ctx, nil)
	case <-timeout:
		return w.t.c.life.interrupted("write", ctx, os.ErrDeadlineExceeded)
	}
}

// waitForWireLocked is waitLocked for a goroutine that wants the wire itself.
// Meanwhile the owner leaves to it what gathers. The argument apart says that
// the application's deadline does not concern it.
func (w *sender) waitForWireLocked(ctx context.Context, apart bool) error {
	var deadline time.Time
	if !apart {
		deadline = w.t.out.applicationDeadline()
	}
	w.wanted++
	defer func() { w.wanted-- }()
	return w.waitLocked(ctx, deadline)
}

// A writer that is about to write lets other goroutines run first, so that
// their frames gather and go out with its own. On one processor a write that
// does not wait leaves the others no time for that. It does so while others
// have been met lately. After that it does so now and then to find out, ever
// more seldom. On several processors a yield costs as much as some writes.
const (
	crowdTurns = 4    // how many writes in a row that met no other writer end it
	crowdFirst = 32   // where the count begins: a connection of a few writes never tries
	crowdProbe = 8192 // every how many writes it is tried at least
)

// crowdedLocked reports whether a writer should let others run first.
func (w *sender) crowdedLocked() bool {
	if w.alone++; w.alone == 0 {
		w.alone = 4 * crowdProbe // it has wrapped around
	}
	return w.alone <= crowdTurns || w.alone&(w.alone-1) == 0 || w.alone%crowdProbe == 0
}

// yieldLocked lets other goroutines run while its caller owns the wire without
// using it. The caller must not have appended its frame. Frames that come
// behind it would share its fate if it is given up. The end of the connection
// may take the wire meanwhile: see tryFlush.
func (w *sender) yieldLocked() {
	w.owned, w.owner = true, aYielder
	w.unlock()
	runtime.Gosched()
	w.mu.Lock()
	if w.owner != aYielder {
		return // tryFlush has taken the wire
	}
	w.owned, w.owner = false, aWriter
	if w.wanted > 0 || w.errLocked() != nil {
		w.news = true // the caller does not take the wire from those that wait for it
	}
}

// Writing to the transport, by the owner of the wire.

// write writes out, which its caller took and f is a part of, and leaves the
// wire.
func (w *sender) write(ctx context.Context, out []byte, f *outgoing) error {
	f.out = out
	if f.long || !w.t.writesRaw() {
		return w.writeOther(ctx, f)
	}
	w.watchWrite(ctx, f)
	n, err := w.t.raw.write(f.out)
	return w.wrote(ctx, f, n, w.t.took(n, err))
}

// writeOther is write for payloads that were not gathered, and for transports
// that are not sockets.
func (w *sender) writeOther(ctx context.Context, f *outgoing) error {
	defer w.endWrite(f)
	w.beginWrite(ctx, f)
	var n int
	var err error
	if f.long || w.t.out.ruins || w.t.out.foreign {
		n, f.out, err = w.writeLong(ctx, f.out, f)
	} else {
		n, err = w.t.write(f.out)
	}
	err = w.wrote(ctx, f, n, err)
	f.returned = true
	return err
}

// beginWrite makes ctx the context whose end interrupts the write that follows,
// and the application's deadline another limit of it, unless the library
// writes.
func (w *sender) beginWrite(ctx context.Context, f *outgoing) {
	if f.own < 0 || f.direct {
		w.t.out.beginOwn(w.t, ctx)
	} else {
		w.t.out.begin(w.t, ctx)
	}
}

// watchWrite is beginWrite before a write that does not panic.
//
//go:noinline
func (w *sender) watchWrite(ctx context.Context, f *outgoing) {
	defer w.endWrite(f)
	w.beginWrite(ctx, f)
	f.returned = true
}

// wrote leaves the wire after a write of n bytes that ended with err.
//
// It and watchWrite are not inlined, to keep the frame of write small. That
// frame is on the stack while the system call is made.
//
//go:noinline
func (w *sender) wrote(ctx context.Context, f *outgoing, n int, err error) error {
	interrupted := w.t.out.settle()
	if err != nil {
		return w.failed(ctx, f, n, err, interrupted)
	}
	w.leave(f.out)
	return nil
}

// leave leaves the wire after all of out was written.
func (w *sender) leave(out []byte) {
	bufpool.Put(out)
	w.mu.Lock()
	w.leaveLocked()
	w.unlock()
}

// failed is wrote for a write that failed. The argument interrupted says that
// this side has interrupted it.
func (w *sender) failed(ctx context.Context, f *outgoing, n int, err error, interrupted bool) error {
	f.returned = false
	defer w.endWrite(f)
	if interrupted && !errors.Is(err, os.ErrDeadlineExceeded) {
		err = os.ErrDeadlineExceeded // by whatever name; another error comes again
	}
	err = w.cut(ctx, f.out, n, f, err)
	f.returned = true
	return err
}

// endWrite is deferred where the owner of the wire calls the application's
// context or transport. If these panic, it ends the connection, because how
// much is out is unknown.
func (w *sender) endWrite(f *outgoing) {
	if !f.returned {
		w.writePanicked()
	}
}

func (w *sender) writePanicked() {
	w.halt(errWritePanicked)
	w.t.c.end(errWritePanicked)
}

// writeLong is the part of write for payloads that were not gathered, and for
// transports that a cut write ruins. It returns the buffer in place of out.
func (w *sender) writeLong(ctx context.Context, out []byte, f *outgoing) (n int, buf []byte, err error) {
	switch {
	case (w.t.out.ruins || w.t.out.foreign) && f.own >= 0 && w.t.out.tooLate(ctx, f.direct):
		f.untried = true
		return 0, out, os.ErrDeadlineExceeded
	case !f.long:
		n, err = w.t.write(out)
		return n, out, err
	case !w.half.client && w.t.writesRaw():
		n, err = w.t.writeBoth(out, f.payload)
		return n, out, err
	case !w.half.client && !w.t.out.ruins && len(f.payload) > copyMax:
		// A write more costs less than the copy.
		if n, err = w.t.write(out); err != nil {
			return n, out, err
		}
		m, err := w.t.write(f.payload)
		return n + m, out, err
	}
	return w.writeChunks(out, f.payload, f.key)
}

// copyMax is how much a server copies to send a header and the start of its
// payload in one piece. It is as much as goes into one record of TLS.
const copyMax = 16 << 10

// writeChunks writes out and rest, the payload of the frame that out ends with,
// through one buffer. A client masks it there. A server copies the first chunk
// only, so that the header does not go by itself. It returns the buffer in
// place of out.
func (w *sender) writeChunks(out, rest []byte, key uint32) (n int, buf []byte, err error) {
	chunk := bufpool.Large
	if !w.half.client {
		chunk = copyMax
	}
	chunk = max(chunk, len(out)) // without a limit any amount may have gathered
	if size := min(len(out)+len(rest), chunk); size > cap(out) {
		out = bufpool.Grow(out, size)
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
		m, err := w.t.write(out)
		n += m
		if err != nil || len(rest) == 0 {
			return n, out, err
		}
		out = out[:0]
		if !w.half.client {
			m, err = w.t.write(rest)
			return n + m, out, err
		}
	}
}

// cut deals with a write that ended after n bytes with err, and leaves the
// wire.
func (w *sender) cut(ctx context.Context, out []byte, n int, f *outgoing, err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		bufpool.Put(out)
		cause := apiError("write", err)
		err = w.t.c.writeBroke(cause) // before other writers learn of it, and close
		w.halt(cause)
		return err
	}
	if ctxErr := ctx.Err(); ctxErr != nil {
		err = ctxErr
	}
	if (!w.t.out.ruins || f.untried) && n <= f.own && !(f.stream && f.unfinished) {
		w.giveUp(out[n:f.own], f)
		bufpool.Put(out)
		return w.t.c.life.interrupted("write", ctx, err)
	}
	bufpool.Put(out)
	over := cutShort(err)
	w.halt(over)
	w.t.c.end(over)
	return fmt.Errorf("websocket: write cut short inside a frame: %w", err)
}

// giveUp leaves the wire as if f had never been made, because no byte of it is
// out. left is what others gave before it.
func (w *sender) giveUp(left []byte, f *outgoing) {
	w.mu.Lock()
	defer w.unlock()
	if f.stream {
		// No other goroutine has begun or ended a message meanwhile.
		w.half.unfinished = false
	}
	w.countLocked(f, -1)
	w.putBackLocked(left)
}

// cutShort is why a connection is over on which a message cannot be finished
// because of err. That is the end of a context, or a deadline. cutShort does
// not match err, which is the matter of one call. To the other calls this side
// has closed the connection.
func cutShort(err error) error {
	return interruptedEnd(fmt.Sprintf("websocket: the connection is closed: a write was cut short (%v): %v", err, net.ErrClosed))
}

// Control frames.

// appendControlLocked appends a control frame to the gather buffer. held is as
// in appendFrameLocked.
func (w *sender) appendControlLocked(op opcode, payload []byte, held bool) error {
	var key uint32
	if w.half.client {
		key = newMaskingKey()
	}
	h, err := w.half.header(op, true, 0, len(payload), key)
	if err == nil {
		w.appendFrameLocked(h, payload, held)
		w.t.c.controls.sent.Add(1)
	}
	return err
}

// appendPongLocked appends a pong to the gather buffer. held is as in
// appendFrameLocked.
func (w *sender) appendPongLocked(payload []byte, held bool) {
	first := w.passedLocked(w.pong)
	w.appendControlLocked(opPong, payload, held)
	if first {
		w.pong = w.end
	}
}

// pongLimit is the bound within which pongs gather. There is one even where
// messages have none.
func (w *sender) pongLimit() int32 {
	if w.limit < 0 {
		return defaultWriteBufferLimit
	}
	return w.limit
}

// gatherPong answers a ping (section 5.5.3). While there is room every ping is
// answered, in order. After that only the latest is: "MAY elect to send a Pong
// frame for only the most recently processed Ping frame".
func (w *sender) gatherPong(payload []byte) {
	w.mu.Lock()
	defer w.unlock()
	switch {
	case w.errLocked() != nil:
		return
	case w.lateLocked() == nil && w.fitsLocked(maxControlFrame, w.pongLimit()):
		w.appendPongLocked(payload, true) // the reading goroutine flushes before it waits
		return
	}
	rest := w.restLocked()
	if rest.late == nil {
		rest.late = new(latePong)
	}
	rest.late.n = copy(rest.late.payload[:], payload)
}

// gatherCloseLocked appends the close frame, behind all that was written
// before. No frame is taken after it. The connection must be over, and
// errLocked nil.
func (w *sender) gatherCloseLocked(payload []byte) error {
	rest := w.restLocked()
	rest.err, rest.late, w.news = toWriters(w.t.c.life.reason()), nil, true
	if err := w.appendControlLocked(opClose, payload, false); err != nil {
		return err
	}
	w.t.c.life.move(closeFrameSent)
	return nil
}

// gatherClose is gatherCloseLocked, unless the sender has stopped. The flusher
// does not start for the close frame alone: the caller flushes, or ends the
// connection.
func (w *sender) gatherClose(payload []byte) {
	w.mu.Lock()
	defer w.unlock()
	if w.errLocked() == nil {
		w.gatherCloseLocked(payload)
		w.held = true
	}
}

// postClose is sendClose without any waiting: what the transport does not take
// at once is left to the flusher.
func (w *sender) postClose(payload []byte) {
	w.mu.Lock()
	defer w.unlock()
	if w.errLocked() == nil && w.gatherCloseLocked(payload) == nil {
		w.tryWriteLocked() // in vain if the application's deadline has passed: then the flusher writes it
	}
}

// sendClose sends the close frame, behind all that was written before, and
// takes no frame after it. A second close frame is not sent. In its place
// sendClose waits until the first is out, and returns an error. The bound is
// ctx, not the application's deadline.
func (w *sender) sendClose(ctx context.Context, payload []byte) error {
	out, err := w.admitClose(ctx, payload)
	if out != nil {
		err = w.write(ctx, out, &outgoing{own: -1})
	}
	return err
}

// admitClose is sendClose up to the write.
func (w *sender) admitClose(ctx context.Context, payload []byte) ([]byte, error) {
	w.mu.Lock()
	defer w.unlock()
	if err := w.errLocked(); err != nil {
		for w.half.closed && (w.owned || len(w.buf) > 0) {
			if err := w.waitLocked(ctx, time.Time{}); err != nil {
				return nil, err
			}
		}
		return nil, err
	}
	if err := w.gatherCloseLocked(payload); err != nil {
		return nil, err
	}
	for w.owned {
		if err := w.waitForWireLocked(ctx, true); err != nil {
			return nil, err
		}
	}
	if len(w.buf) == 0 {
		// The last owner took it along, or the transport broke: its reader
		// learns why.
		return nil, nil
	}
	return w.takeLocked(), nil
}

// Flushing.

// cork says whether replies may gather, because the reading goroutine has more
// whole frames in its buffer.
func (w *sender) cork(on bool) {
	if w.corked.Load() != on {
		w.corked.Store(on)
	}
}

// flush writes what has gathered, until there is nothing left or another
// goroutine owns the wire. It is the body of the flusher. Its caller has set
// armed.
func (w *sender) flush() {
	w.mu.Lock()
	defer w.unlock()
	for len(w.buf) > 0 && w.freeLocked() {
		w.flushOnceLocked()
	}
	w.armed = false
}

func (w *sender) flushOnceLocked() {
	out := w.takeLocked()
	w.owner = theFlusher
	w.unlock()
	defer func() {
		w.mu.Lock()
		w.news = true
		if w.owner == theFlusher { // else a writer has begun to yield
			w.owner = aWriter
		}
	}()
	w.write(context.Background(), out, &outgoing{own: -1}) // an error sticks
}

// flushSoon has the flusher write what its caller gathered and does not come
// back for.
func (w *sender) flushSoon() {
	w.mu.Lock()
	defer w.unlock()
	w.held = false
}

// flushForReader writes what has gathered, before the reading goroutine waits.
// It does not wait itself: a peer that does not read must not keep us from
// reading.
func (w *sender) flushForReader() {
	if !w.pending.Load() {
		return
	}
	w.mu.Lock()
	defer w.unlock()
	w.pending.Store(false)
	w.tryWriteLocked()
}

// tryWriteLocked writes what the transport takes at once of what has gathered,
// if the wire is free. It leaves the rest to the flusher.
func (w *sender) tryWriteLocked() {
	w.held = false
	if len(w.buf) == 0 || !w.freeLocked() || !w.t.triesWrites() {
		return
	}
	out := w.takeLocked()
	w.unlock()
	n := w.t.tryWrite(out)
	w.mu.Lock()
	w.putBackLocked(out[n:])
	bufpool.Put(out)
}

// tryFor is how long an attempt may take on a transport that cannot try without
// waiting.
const tryFor = time.Millisecond

// tryFlush makes one attempt, which does not block, to write what has gathered.
// The connection ends after it.
func (w *sender) tryFlush() {
	w.mu.Lock()
	defer w.unlock()
	if w.owner == theFlusher {
		// The flusher has begun to write what this call is for. Let it go on
		// for as long as the attempt below may take.
		w.t.conn.SetWriteDeadline(time.Now().Add(tryFor))
		ctx, cancel := context.WithTimeout(context.Background(), tryFor)
		defer cancel()
		for w.owner == theFlusher {
			if w.waitLocked(ctx, time.Time{}) != nil {
				return
			}
		}
	}
	if len(w.buf) == 0 || w.owned && w.owner != aYielder {
		return
	}
	w.owner = aWriter // a writer that yields finds that the wire is not its own any more
	out := w.takeLocked()
	w.unlock()
	n := len(out)
	if w.t.triesWrites() {
		w.t.out.beginOwn(w.t, context.Background()) // the application's deadline may have passed
		n = w.t.tryWrite(out)
		w.t.out.settle()
	} else {
		// As near as this transport comes to an attempt that does not block.
		ctx, cancel := context.WithTimeout(context.Background(), tryFor)
		w.t.out.beginOwn(w.t, ctx)
		w.t.write(out)
		w.t.out.settle()
		cancel()
	}
	w.mu.Lock()
	w.putBackLocked(out[n:])
	bufpool.Put(out)
}

// closeWaits reports whether the close frame has gathered and is not out.
func (w *sender) closeWaits() bool {
	w.mu.Lock()
	defer w.unlock()
	return w.half.closed && (w.owned || len(w.buf) > 0)
}

// waits reports whether frames wait for the transport to take them, and whether
// a pong is one of them. Each look of the heartbeat calls it. It moves marks
// along behind which all has left, among them the caller's. Else they would lie
// ahead again after 2 GiB.
func (w *sender) waits(mark *position) (any, pong bool) {
	w.mu.Lock()
	defer w.unlock()
	for _, m := range []*position{&w.pong, mark} {
		if w.passedLocked(*m) {
			*m = w.end.plus(-int(w.inflight) - len(w.buf))
		}
	}
	return w.owned || len(w.buf) > 0, w.lateLocked() != nil || !w.passedLocked(w.pong)
}

// countLocked counts f, or takes it back if sign is -1.
func (w *sender) countLocked(f *outgoing, sign int64) {
	switch {
	case f.op.isControl():
		w.t.c.controls.sent.Add(uint32(sign))
		return
	case f.rsv != 0:
		z := w.t.c.deflate
		z.from += sign * int64(f.plain)
		z.to += sign * int64(len(f.payload))
		w.gave.payload += sign * int64(f.plain)
	default:
		w.gave.payload += sign * int64(len(f.payload))
	}
	if f.fin {
		w.gave.messages += sign
	}
}
