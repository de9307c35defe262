package websocket

import (
	"bytes"
	"context"
	"io"
	"math"
)

// Read reads one message. The slice is the caller's, and not nil even if the
// message is empty.
//
// When ctx ends first, or the read deadline passes, the error matches ctx.Err()
// or [os.ErrDeadlineExceeded]. Nothing is lost: the connection lives on. The
// next read delivers the message, even if half of it had arrived. Any other
// error is permanent and tells why the connection is over: see the package
// documentation.
//
// The message is at most as long as the read limit (see [Conn.SetReadLimit]).
// Its buffer grows as bytes arrive, whatever length the peer declares. Text is
// valid UTF-8 (section 8.1), unless SkipUTF8Validation was set.
func (c *Conn) Read(ctx context.Context) (MessageType, []byte, error) {
	if err := c.beginRead(ctx); err != nil {
		return 0, nil, err
	}
	if err := c.nextMessage(ctx); err != nil {
		c.endRead()
		return 0, nil, err
	}
	typ, data, err := c.restOfMessage(ctx, nil)
	if err != nil {
		return 0, nil, err
	}
	if data == nil {
		data = []byte{}
	}
	return typ, data, nil
}

// ReadInto is [Conn.Read] into the caller's buffer. It appends the message to
// buf[:0] and returns the result. If the message fits the capacity of buf, the
// result shares the memory of buf, and ReadInto allocates nothing. With an
// error it returns buf[:0].
func (c *Conn) ReadInto(ctx context.Context, buf []byte) (MessageType, []byte, error) {
	if err := c.beginRead(ctx); err != nil {
		return 0, buf[:0], err
	}
	if err := c.nextMessage(ctx); err != nil {
		c.endRead()
		return 0, buf[:0], err
	}
	typ, data, err := c.restOfMessage(ctx, buf[:0])
	if err != nil {
		return 0, buf[:0], err
	}
	return typ, data, nil
}

// beginRead takes the reader's turn for a reading method of the API.
func (c *Conn) beginRead(ctx context.Context) error {
	if ctx.Err() == nil && c.r.turn.TryLock() {
		if !c.r.taken.Load() && !c.life.isOver() {
			return nil
		}
		c.endRead()
	}
	return c.beginReadSlow(ctx)
}

// beginReadSlow is beginRead where it must wait or fail.
func (c *Conn) beginReadSlow(ctx context.Context) error {
	if c.r.taken.Load() && c.life.reason() == nil {
		return apiError("read", errReadsTaken)
	}
	if err := c.lockRead(ctx); err != nil {
		return err
	}
	if c.r.taken.Load() { // meanwhile
		c.endRead()
		return apiError("read", errReadsTaken)
	}
	return nil
}

// lockRead takes the reader's turn.
func (c *Conn) lockRead(ctx context.Context) error {
	if ctx.Err() != nil || c.r.turn.Lock(ctx) != nil {
		return c.interrupted("read", ctx, nil)
	}
	if err := c.life.reason(); err != nil {
		c.endRead() // if Close is at work, it reads on from where the buffer stands
		return err
	}
	return nil
}

// endRead gives the reader's turn back. If the connection has ended meanwhile,
// the goroutine that ended it could not release what the reader holds.
func (c *Conn) endRead() {
	c.r.turn.Unlock()
	if c.life.at().isEnding() {
		c.finishRead()
	}
}

// finishRead releases what the reader of a connection that has ended holds,
// unless another goroutine reads: then that does it.
func (c *Conn) finishRead() {
	if c.r.turn.TryLock() {
		c.r.finish()
		c.r.turn.Unlock()
	}
}

// nextMessage goes to the next message, or to the one that a read which was cut
// short has left. It discards the rest of a message that was begun with Reader.
//
// It does what nextFrame and fetch do, in one function. So an idle connection,
// which waits in it, has one frame on its stack in place of three.
func (c *Conn) nextMessage(ctx context.Context) error {
	err := c.skipRest(ctx)
	for err == nil && c.r.opcode == opContinuation {
		var found bool
		var n int
		if found, err = c.takeFrame(ctx); found || err != nil {
			break
		}
		if c.t.raw == nil {
			_, err = c.fetch(ctx, nil)
		} else if err = c.beginFetch(ctx, true); err == nil {
			n, err = c.t.raw.read(&c.r, nil)
			_, err = c.endFetch(ctx, n, err, true)
		}
	}
	return err
}

// skipRest discards the rest of a message that was begun with Reader.
func (c *Conn) skipRest(ctx context.Context) error {
	r := &c.r
	switch {
	case r.opcode == opContinuation:
	case r.spoiled:
		return c.fail(ctx, errMessageLost)
	case r.byReader:
		r.passed = true // its reader must not go on behind the gap, if this is cut short
		return c.discardRest(ctx)
	}
	return nil
}

// discardRest discards what is left of the message in progress. It is validated
// all the same.
func (c *Conn) discardRest(ctx context.Context) error {
	r := &c.r
	r.dropPartial()
	if r.half.compressed {
		return c.discardInflated(ctx)
	}
	for {
		more, err := c.nextPayload(ctx)
		if err != nil {
			return err
		}
		if !more {
			return c.endMessage(ctx)
		}
		p, err := c.peekPayload(ctx)
		if err != nil {
			return err
		}
		// In place: the bytes are not wanted elsewhere.
		if _, err := c.readPayload(ctx, p); err != nil {
			return err
		}
	}
}

// discardMessage reads a message, or what is left of one, and discards it while
// the connection is being closed. It looks at no byte of the message. Its
// caller holds the reader's turn.
func (c *Conn) discardMessage(ctx context.Context) error {
	r := &c.r
	if r.opcode == opContinuation {
		if err := c.nextFrame(ctx); err != nil {
			return err
		}
	}
	r.passed = true // a messageReader of it is stale
	r.dropPartial()
	if r.half.deflate {
		r.rest.clear = 0
	}
	for {
		more, err := c.nextPayload(ctx)
		if err != nil {
			return err
		}
		if !more {
			r.opcode = opContinuation // it does not count as received
			return nil
		}
		p, err := c.peekPayload(ctx)
		if err != nil {
			return err
		}
		r.in.use(len(p))
		r.remain -= int64(len(p))
	}
}

// restOfMessage reads the message that nextMessage has found, and appends it
// to dst, which is empty.
//
//go:noinline
func (c *Conn) restOfMessage(ctx context.Context, dst []byte) (MessageType, []byte, error) {
	r := &c.r
	typ := MessageType(r.opcode)
	dst = append(dst, r.partial()...)
	r.dropPartial()
	dst, err := c.collect(ctx, dst, false)
	if err == nil {
		c.handOver()
	} else {
		c.keepPartial(dst)
	}
	c.endRead()
	return typ, dst, err
}

// keepPartial keeps what a read that was cut short has got of its message, for
// the next one.
func (c *Conn) keepPartial(b []byte) {
	if c.life.reason() == nil {
		c.r.keep(append([]byte(nil), b...), false)
	}
}

// collect appends what is left of the message in progress to dst. It grows dst
// as bytes arrive, from the pool or as the caller's own. When it fails, the
// result holds what it has got.
func (c *Conn) collect(ctx context.Context, dst []byte, pooled bool) ([]byte, error) {
	r := &c.r
	if r.half.compressed {
		return c.inflateRest(ctx, dst, pooled)
	}
	for {
		more, err := c.nextPayload(ctx)
		if err != nil {
			return dst, err
		}
		if !more {
			break
		}
		if len(dst) == cap(dst) {
			dst = r.grow(dst, pooled)
		}
		n, err := c.readPayload(ctx, dst[len(dst):cap(dst)])
		if err != nil {
			return dst, err
		}
		dst = dst[:len(dst)+n]
	}
	r.lastSize = clamp32(len(dst))
	r.in.expect(0) // a long buffer would be one copy more: this dst is filled from the transport
	return dst, c.endMessage(ctx)
}

// trustedSize is how much memory a frame header alone can make us take.
const trustedSize = 16 << 10

// moreRoom returns by how much a slice of n bytes grows. That is twice as much,
// or least if that is more. The sum with n is no larger than an int. With 32
// bits the double of a long message may be larger.
func moreRoom(n, least int) int {
	if most := math.MaxInt - n; n > most/2 {
		return most
	}
	return max(least, 2*n)
}

// Reader waits for a message and returns its type and a reader of its content.
// The reader streams: it returns bytes as they arrive, and [io.EOF] at the end
// of the message. The context bounds all of it.
//
// Text is validated as it streams: bytes are returned before the whole is known
// to be valid. An error of the reader is an error of the connection, as with
// [Conn.Read]. When the connection ends inside the message, the error matches
// [io.ErrUnexpectedEOF], never io.EOF.
//
// A message need not be read to its end. The next reading call discards the
// rest, and the old reader then returns an error.
func (c *Conn) Reader(ctx context.Context) (MessageType, io.Reader, error) {
	if err := c.beginRead(ctx); err != nil {
		return 0, nil, err
	}
	m, err := c.openMessage(ctx)
	c.endRead()
	if err != nil {
		return 0, nil, err
	}
	return m.typ, m, nil
}

// openMessage is Reader with the reader's turn.
func (c *Conn) openMessage(ctx context.Context) (*messageReader, error) {
	r := &c.r
	resumed := r.opcode != opContinuation && !r.byReader
	if err := c.nextMessage(ctx); err != nil {
		return nil, err
	}
	m := &messageReader{c: c, typ: MessageType(r.opcode), ctx: ctx, message: r.message}
	if resumed && r.half.compressed {
		// A read that was cut short has begun to inflate it whole.
		whole, err := c.collect(ctx, r.partial(), false)
		if err != nil {
			c.keepPartial(whole)
			return nil, err
		}
		r.dropPartial()
		m.whole = bytes.NewReader(whole)
	} else {
		r.byReader = true
	}
	r.in.expect(0)
	c.handOver()
	return m, nil
}

// A messageReader reads one message.
type messageReader struct {
	c       *Conn
	typ     MessageType
	ctx     context.Context
	message uint32        // receiver.message while it is in progress
	whole   *bytes.Reader // the message, if it is no longer in progress
	err     error         // io.EOF at the end; sticks
}

func (m *messageReader) Read(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if m.whole != nil {
		return m.whole.Read(p)
	}
	if err := m.c.beginRead(m.ctx); err != nil {
		return 0, err
	}
	n, err := m.read(p)
	m.c.endRead()
	return n, err
}

// isStaleLocked reports whether a later read has left the message. Its caller
// holds the reader's turn.
func (m *messageReader) isStaleLocked() bool {
	r := &m.c.r
	return r.message != m.message || !r.byReader || r.passed
}

// read is Read with the reader's turn.
func (m *messageReader) read(p []byte) (int, error) {
	c, r := m.c, &m.c.r
	if m.isStaleLocked() {
		m.err = apiError("read", errStaleReader)
		return 0, m.err
	}
	if partial := r.partial(); len(partial) > 0 {
		n := copy(p, partial)
		if r.keep(partial[n:], false); n == len(partial) {
			r.dropPartial()
		}
		return n, nil
	}
	if r.half.compressed {
		n, err := c.inflateInto(m.ctx, p)
		if err == nil || err == io.EOF {
			c.handOver()
		}
		if err == io.EOF {
			m.err = io.EOF
			if n > 0 {
				err = nil
			}
		}
		return n, err
	}
	more, err := c.nextPayload(m.ctx)
	if err != nil {
		return 0, err
	}
	if !more {
		if err := c.endMessage(m.ctx); err != nil {
			return 0, err
		}
		m.err = io.EOF
		c.handOver()
		return 0, io.EOF
	}
	n, err := c.readPayload(m.ctx, p)
	if err == nil && r.remain == 0 && r.fin {
		// Its end is known: the next Read need not look for it.
		if err = c.endMessage(m.ctx); err == nil {
			m.err = io.EOF
		}
	}
	if err == nil {
		c.handOver()
	}
	return n, err
}

// isStale is isStaleLocked, unless another goroutine reads.
func (m *messageReader) isStale() bool {
	if m.whole != nil || !m.c.r.turn.TryLock() {
		return false
	}
	defer m.c.endRead()
	return m.isStaleLocked()
}
