package websocket

import (
	"context"
	"math"
	"net"
	"os"
	"sync/atomic"

	"github.com/seed70bc5565/websocket/internal/bufpool"
	"github.com/seed70bc5565/websocket/internal/flate"
	"github.com/seed70bc5565/websocket/internal/utf8"
	"github.com/seed70bc5565/websocket/internal/wait"
)

// A receiver is the reading half of a Conn. It fetches bytes from the transport
// and takes frames off them. It answers control frames, and hands out the
// payload of data frames.
//
// Nothing is lost when a read is cut short by its context or deadline.
// Invariant: everything below is consistent between any two fetches. So the
// next read goes on from there.
type receiver struct {
	turn  wait.Turn    // the goroutine that holds it owns all that is not marked otherwise
	limit atomic.Int64 // most bytes a message may have
	in    readBuffer

	now    bool        // a read that would wait returns errNotNow
	apart  bool        // the library reads: the application's deadline does not concern it
	ponged bool        // a pong was gathered since the last flush
	passed bool        // another read has begun to discard what its messageReader has left
	taken  atomic.Bool // CloseRead was called: its goroutine alone reads

	// The message in progress. opcode is opContinuation when there is none.
	opcode   opcode
	byReader bool // it is handed out by a messageReader: what is left of it is discarded
	fin      bool // the current frame is its last
	validate bool // it is text, to be checked
	spoiled  bool // a callback has panicked under the read that collected it
	text     utf8.Validator
	key      uint32 // masking key of the current frame, rotated for the next byte
	message  uint32 // counts the messages: tells a messageReader whether its own is still the one in progress
	lastSize int32  // of the last message, 2 GiB at most: what a buffer for the next may trust its header with
	payload  uint32 // of whole messages, since it was published
	half     recvHalf
	remain   int64         // payload bytes of the current frame that are still to come
	rest     *receiverRest // made if compression was agreed on, else by the first read that is cut short

	got gotCounts // what has come. Written by the reader, when it is about to wait
}

// A receiverRest is what few receivers need.
type receiverRest struct {
	// The part of the message in progress that a read has collected which was
	// cut short. The next read goes on with it.
	partial []byte
	pooled  bool // partial is from the pool

	inflation // zero if no compression was agreed on
}

// An inflation is what the receiver needs to inflate messages.
type inflation struct {
	dec *flate.Decoder // immutable

	// Of the message in progress:
	clear    int   // how many of the bytes in the buffer are unmasked already
	inflated int64 // bytes that messageReader has inflated, or at the end any read

	// Of all messages, compressed and inflated: what is published, and what is
	// not.
	from, to           atomic.Int64
	freshFrom, freshTo int64
}

// keep makes b what has been collected of the message in progress.
func (r *receiver) keep(b []byte, pooled bool) {
	if r.rest == nil {
		r.rest = new(receiverRest)
	}
	r.rest.partial, r.rest.pooled = b, pooled
}

// partial returns what a read that was cut short has collected of the message
// in progress.
func (r *receiver) partial() []byte {
	if r.rest == nil {
		return nil
	}
	return r.rest.partial
}

// takePartial is partial, which becomes the caller's.
func (r *receiver) takePartial() (b []byte, pooled bool) {
	z := r.rest
	if z == nil {
		return nil, false
	}
	b, pooled = z.partial, z.pooled
	z.partial, z.pooled = nil, false
	return b, pooled
}

// dropPartial forgets what was collected of the message in progress.
func (r *receiver) dropPartial() {
	if b, pooled := r.takePartial(); pooled {
		bufpool.Put(b)
	}
}

func (r *receiver) init(t *transport, cfg *connConfig) {
	r.in.init(cfg.received, t.raw != nil)
	r.limit.Store(orDefault(cfg.readLimit, defaultReadLimit))
	r.half.client = cfg.client
	r.countWire(len(cfg.received))
}

// nextFrame takes frames off the transport until it has the header of a data
// frame, and takes note of it in c.r.
func (c *Conn) nextFrame(ctx context.Context) error {
	for {
		found, err := c.takeFrame(ctx)
		if found || err != nil {
			return err
		}
		if _, err := c.fetch(ctx, nil); err != nil {
			return err
		}
	}
}

// takeFrame is nextFrame as far as what is in the buffer goes. It reports
// whether it found the header of a data frame.
//
// It is a function of its own so that its frame is off the stack while the
// reader waits.
func (c *Conn) takeFrame(ctx context.Context) (found bool, err error) {
	r := &c.r
	for {
		unread := r.in.unread()
		h, n, err := parseHeader(unread)
		if err != nil {
			return false, c.fail(ctx, err)
		}
		if n == 0 {
			return false, nil
		}
		// A control frame may be judged more than once, because the reader may
		// have to wait for its payload. That changes nothing.
		if err := r.half.judge(h, r.limit.Load()); err != nil {
			if err == errControlTooLong && h.opcode == opClose {
				err = tooLongClose(h, unread[n:])
			}
			return false, c.fail(ctx, err)
		}
		if !h.opcode.isControl() {
			r.in.use(n)
			r.key, r.remain, r.fin = h.key, h.length, h.fin
			if h.opcode != opContinuation {
				r.opcode = h.opcode
				r.byReader, r.spoiled, r.passed = false, false, false
				r.validate = h.opcode == opText && !c.skipUTF8
				r.text = utf8.Validator{}
				if r.half.deflate {
					r.rest.inflated = 0
				}
			}
			return true, nil
		}
		end := n + int(h.length)
		if len(unread) < end {
			return false, nil
		}
		payload := unread[n:end]
		if h.masked {
			mask(payload, h.key)
		}
		r.in.use(end)
		if err := c.control(ctx, h.opcode, payload); err != nil {
			return false, err
		}
	}
}

// control deals with a control frame (section 5.5). payload is in the read
// buffer.
func (c *Conn) control(ctx context.Context, op opcode, payload []byte) error {
	c.controls.received.Add(1)
	if c.door != nil {
		return c.doorControl(ctx, op, payload)
	}
	switch op {
	case opPing:
		answer := true
		if c.onPing != nil {
			c.callBack(func() { answer = c.onPing(ctx, payload) })
		}
		if answer {
			c.w.gatherPong(payload)
			c.r.ponged = true
		}
	case opPong:
		if c.pong(payload) && c.onPong != nil {
			c.callBack(func() { c.onPong(ctx, payload) })
		}
	case opClose:
		code, reason, err := parseClosePayload(payload)
		if err != nil {
			return c.fail(ctx, err)
		}
		return c.peerClosed(ctx, CloseError{code, reason})
	}
	return nil
}

// doorControl is control for a Conn whose control frames go to a handler.
func (c *Conn) doorControl(ctx context.Context, op opcode, payload []byte) (err error) {
	switch op {
	case opPing:
		answer := false
		c.callBack(func() { answer, err = c.door.Ping(payload) })
		if answer && err == nil {
			c.w.gatherPong(payload)
			c.r.ponged = true
		}
	case opPong:
		if c.pong(payload) {
			c.callBack(func() { err = c.door.Pong(payload) })
		}
	case opClose:
		code, reason, bad := parseClosePayload(payload)
		if bad != nil {
			return c.fail(ctx, bad)
		}
		c.life.move(closeFrameReceived)
		c.life.noteFrame(CloseError{code, reason})
		c.callBack(func() { err = c.door.Close(int(code), reason) })
	}
	return err
}

// callBack calls the application, which may panic. Then the reader's turn is
// given back here. The functions that took it do not defer that, because their
// frames are on the stack that an idle connection keeps.
func (c *Conn) callBack(f func()) {
	if c.r.ponged {
		c.r.ponged = false
		c.w.flushSoon() // pongs to earlier pings do not wait for f
	}
	returned := false
	c.r.publish()
	c.life.away.Store(true)
	defer func() {
		c.life.away.Store(false)
		if !returned {
			c.w.flushSoon() // pongs to earlier pings: the next read may never come
			c.r.apart, c.r.now = false, false
			c.r.spoiled = c.r.opcode != opContinuation && !c.r.byReader
			c.r.turn.Unlock()
		}
	}()
	f()
	returned = true
}

// nextPayload goes to the next payload of the message in progress. It reports
// whether the current frame has some left; if not, the message has been read to
// its end. All that read payload go from frame to frame by it: what they do
// with the payload differs.
func (c *Conn) nextPayload(ctx context.Context) (more bool, err error) {
	r := &c.r
	for r.remain == 0 {
		if r.fin {
			return false, nil
		}
		if err := c.nextFrame(ctx); err != nil {
			return false, err
		}
	}
	return true, nil
}

// peekPayload returns the payload of the current frame that is in the buffer,
// and leaves it there. It fetches some if there is none. The frame must have
// payload left.
func (c *Conn) peekPayload(ctx context.Context) ([]byte, error) {
	r := &c.r
	if r.in.buffered() == 0 {
		if _, err := c.fetch(ctx, nil); err != nil {
			return nil, err
		}
	}
	p := r.in.unread()
	return p[:min(int64(len(p)), r.remain)], nil
}

// readPayload moves payload of the current frame, of which some must remain, to
// the start of p, unmasks and validates it. It returns as soon as it has some.
func (c *Conn) readPayload(ctx context.Context, p []byte) (int, error) {
	r := &c.r
	if int64(len(p)) > r.remain {
		p = p[:r.remain]
	}
	var n int
	if r.in.buffered() == 0 && len(p) >= bufpool.Small {
		// Much to come and nothing here: straight to where it is wanted.
		r.in.release()
		var err error
		if n, err = c.fetch(ctx, p); err != nil {
			return 0, err
		}
		if !c.r.half.client {
			r.key = mask(p[:n], r.key)
		}
	} else {
		if r.in.buffered() == 0 {
			if _, err := c.fetch(ctx, nil); err != nil {
				return 0, err
			}
		}
		unread := r.in.unread()
		n = min(len(p), len(unread))
		if c.r.half.client {
			copy(p[:n], unread)
		} else {
			r.key = copyMask(p, unread[:n], r.key)
		}
		r.in.use(n)
	}
	if err := c.passPayload(ctx, p[:n]); err != nil {
		return 0, err
	}
	return n, nil
}

// passPayload counts and validates payload of the current frame, which is
// unmasked.
func (c *Conn) passPayload(ctx context.Context, p []byte) error {
	r := &c.r
	r.remain -= int64(len(p))
	// Section 8.1. As it streams in, so that a long message fails with its
	// first bad byte.
	if r.validate && !r.checkText(p) {
		return c.fail(ctx, errTextUTF8)
	}
	return nil
}

// checkText checks the next piece of a text.
func (r *receiver) checkText(p []byte) bool {
	if r.fin && r.remain == 0 && r.text == (utf8.Validator{}) {
		return utf8.Valid(p) // the end of it, from one code point on: no state to keep
	}
	return r.text.Write(p)
}

// endMessage ends the message whose last frame has been read to its end.
func (c *Conn) endMessage(ctx context.Context) error {
	r := &c.r
	if r.validate && !r.text.End() {
		return c.fail(ctx, errTextUTF8)
	}
	r.opcode = opContinuation
	r.countMessage()
	return nil
}

// handOver is called when a message goes to the application, which may now do
// something else for any time. Pongs must not wait for it, and no buffer may.
func (c *Conn) handOver() {
	r := &c.r
	if r.ponged {
		r.ponged = false
		c.w.flushSoon()
	}
	n := 0
	switch {
	case r.in.buffered() == 0:
		if r.in.lent == nil {
			r.in.release()
		}
	case r.remain > 0: // the bytes here are of a message that is not finished
	default:
		n, _ = wholeFrame(r.in.unread())
	}
	// While whole frames wait here, the replies to those before gather: the
	// reader will flush them.
	c.w.cork(n > 0)
}

// Fetching: the receiver and its buffer.

// fetch waits for bytes from the transport and puts them into its argument, or
// if that is nil behind those in the buffer. It gets some, or fails.
//
// An idle connection waits below this, or below nextMessage, which does the
// same. So the frame of fetch is small: all that does not wait is in functions
// of its own.
func (c *Conn) fetch(ctx context.Context, into []byte) (n int, err error) {
	if err := c.beginFetch(ctx, into == nil); err != nil {
		return 0, err
	}
	if c.t.raw != nil {
		n, err = c.t.raw.read(&c.r, into)
	} else {
		p := into
		if p == nil {
			p = c.r.in.free()
		}
		c.r.publish() // it may wait
		n, err = readSome(c.t.conn, p)
	}
	return c.endFetch(ctx, n, err, into == nil)
}

// beginFetch is fetch up to the wait. The bytes go into the buffer if buffered
// is set.
//
//go:noinline
func (c *Conn) beginFetch(ctx context.Context, buffered bool) error {
	r := &c.r
	if buffered {
		r.in.makeRoom(r.remain > 0)
	}
	// The reader is about to wait: what has gathered goes out now.
	r.ponged = false
	c.w.cork(false)
	c.w.flushForReader()

	if c.t.in.foreign && c.t.in.tooLate(ctx, r.apart) {
		return c.cutShort(ctx, os.ErrDeadlineExceeded, true)
	}
	c.watchRead(ctx)
	return nil
}

// watchRead makes ctx the context whose end interrupts the read that follows,
// and the application's deadline another limit of it, unless the library reads.
func (c *Conn) watchRead(ctx context.Context) {
	if c.r.apart {
		c.t.in.beginOwn(&c.t, ctx)
	} else {
		c.t.in.begin(&c.t, ctx)
	}
}

// endFetch is fetch after the wait, which got n bytes and err.
//
//go:noinline
func (c *Conn) endFetch(ctx context.Context, n int, err error, buffered bool) (int, error) {
	interrupted := c.t.in.settle()
	if n > 0 {
		c.beat.hear()
		c.r.countWire(n)
		if buffered {
			c.r.in.gained(n)
		}
		return n, nil // an error does not matter, it comes again
	}
	return 0, c.fetchFailed(ctx, err, interrupted)
}

// fetchFailed makes the error of a fetch that got nothing. interrupted says
// that this side has interrupted it.
//
//go:noinline
func (c *Conn) fetchFailed(ctx context.Context, err error, interrupted bool) error {
	if cut := c.cutShort(ctx, err, interrupted); cut != nil {
		return cut
	}
	return c.ended(err)
}

// cutShort makes err, with which fetch got nothing, fit for the API. It returns
// nil if the transport ended or broke. interrupted says that this side has
// interrupted the read.
func (c *Conn) cutShort(ctx context.Context, err error, interrupted bool) error {
	if err == errNotNow {
		return err
	}
	if raw, ok := err.(*net.OpError); ok && c.t.raw != nil {
		raw.Op = "read" // of a syscall.RawConn, which says "raw-read"
	}
	if interrupted && !isErr(err, os.ErrDeadlineExceeded) {
		// A transport may have a name of its own for it. If it is another
		// error, it comes again.
		err = os.ErrDeadlineExceeded
	}
	if isErr(err, os.ErrDeadlineExceeded) {
		// The connection lives on, unless another goroutine ended it meanwhile.
		return c.interrupted("read", ctx, err)
	}
	return nil
}

// drain reads and discards once. The buffer must hold nothing that is still
// wanted.
func (r *receiver) drain(conn net.Conn) error {
	r.in.release()
	buf := bufpool.Get(bufpool.Small)
	defer bufpool.Put(buf)
	_, err := readSome(conn, buf)
	return err
}

// finish gives back what the receiver of a connection that is over holds. That
// includes what a message in progress has taken to be inflated.
func (r *receiver) finish() {
	r.in.release()
	r.dropPartial()
	if r.half.deflate {
		r.rest.dec.Drop()
	}
}

// publish adds what was counted to what others see. Its caller holds the
// reader's turn.
func (r *receiver) publish() {
	if n := r.message - uint32(r.got.messages.Load()); n > 0 {
		r.got.messages.Add(int64(n))
	}
	if r.payload > 0 {
		r.got.payload.Add(int64(r.payload))
	}
	if r.in.fetched > 0 {
		r.got.wire.Add(int64(r.in.fetched))
	}
	r.payload, r.in.fetched = 0, 0
	if z := r.rest; r.half.deflate && z.freshFrom > 0 {
		z.from.Add(z.freshFrom)
		z.to.Add(z.freshTo)
		z.freshFrom, z.freshTo = 0, 0
	}
}

// countMessage counts the message in progress, which has come whole.
func (r *receiver) countMessage() {
	n := r.half.size
	if r.half.compressed {
		z := r.rest
		z.freshFrom += n
		z.freshTo += z.inflated
		n = z.inflated
	}
	r.count(n)
}

// count counts a message of n bytes, inflated.
func (r *receiver) count(n int64) {
	r.message++
	if sum := int64(r.payload) + n; sum < maxFresh {
		r.payload = uint32(sum)
	} else {
		r.got.payload.Add(n)
	}
}

// countWire counts n bytes that were fetched, less than 2^31.
func (r *receiver) countWire(n int) {
	if r.in.fetched += uint32(n); r.in.fetched >= maxFresh {
		r.publish()
	}
}

// usePayload takes n bytes of what clearPayload returned.
func (r *receiver) usePayload(n int) {
	r.in.use(n)
	r.rest.clear -= n
	r.remain -= int64(n)
}

// inflateLimit returns the read limit as package flate takes it.
func (r *receiver) inflateLimit() int {
	limit := r.limit.Load()
	if limit > math.MaxInt {
		return -1
	}
	return int(max(limit, -1))
}

// grow makes room in dst for payload. The room is for all that is left of the
// message if that is here already, or no longer than the last message or
// trustedSize. Else the room is for twice as much as has come, so that a
// message of many frames is not copied for each of them.
func (r *receiver) grow(dst []byte, pooled bool) []byte {
	room := moreRoom(len(dst), max(r.in.buffered(), int(r.lastSize)-len(dst), trustedSize))
	if r.fin && r.remain < int64(room) {
		room = int(r.remain) // nothing comes after it
	}
	if pooled {
		return bufpool.Grow(dst, len(dst)+room)
	}
	if dst == nil {
		return make([]byte, 0, room)
	}
	return append(make([]byte, 0, len(dst)+room), dst...)
}
