package websocket

import (
	"context"
	"encoding/binary"
	"io"
	"iter"
	"sync/atomic"

	"github.com/seed70bc5565/websocket/internal/bufpool"
	"github.com/seed70bc5565/websocket/internal/utf8"
)

// Message is a message that [Conn.Messages] lends.
type Message struct {
	Type MessageType
	// Data is valid until the next step of the range. Until then it may be
	// changed, and passed to Write.
	Data []byte
}

// Messages returns an iterator over the messages that come in, for use with
// range:
//
//	for m, err := range c.Messages(ctx) {
//		if err != nil {
//			return err
//		}
//		...
//	}
//
// It lends each message from memory of its own for one step, which costs no
// allocation, and mostly no copy. Keep a copy of what is needed for longer.
//
// The range ends by itself, without an error, when the peer closes the
// connection in an orderly way. That is where Read's error matches [io.EOF]. A
// later Read still returns it. Any other error is its last step. After one that
// is not permanent (ctx ended, or the read deadline passed) the connection may
// be read again, and nothing is lost.
//
// The loop's body may use all methods of the connection.
func (c *Conn) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		var l lease
		for {
			m, err := c.borrow(ctx, &l)
			if err == nil && yield(m, nil) {
				continue // the next step's borrow gives back what this one used
			}
			c.giveBack(&l)
			if err != nil && !isErr(err, io.EOF) {
				yield(Message{}, err)
			}
			return
		}
	}
}

// A lease is the memory that one step of Messages uses. It belongs to the
// reader's turn, like the receiver.
type lease struct {
	// buf is pooled; nil if the step uses none, or shares the receiver's
	// buffer: then receiver.lent is this lease. If the receiver must fetch
	// meanwhile it takes another buffer, and leaves this one to the lease.
	buf []byte
	// at is where the receiver's buffer stands behind the step's message, if
	// the step began with that buffer, else 0. It belongs to the goroutine of
	// the range.
	at int32
	// parted is set by the first of the two that are done with a shared buffer,
	// the receiver and the range. The second gives it back.
	parted atomic.Bool
}

// part is called by the receiver when it has left its buffer to l.
func (l *lease) part() {
	if l.parted.Swap(true) {
		bufpool.Put(l.buf)
		l.buf = nil
	}
}

// borrow ends l's last step and reads one message for the next.
//
// It is in two parts, because the first one is on the stack of a connection
// that waits.
func (c *Conn) borrow(ctx context.Context, l *lease) (Message, error) {
	if err := c.beginRead(ctx); err != nil {
		return Message{}, err
	}
	if m, ok := c.borrowNext(l); ok {
		c.endRead()
		return m, nil
	}
	c.r.in.takeBack(l)
	if err := c.nextMessage(ctx); err != nil {
		c.endRead()
		return Message{}, err
	}
	return c.borrowRest(ctx, l)
}

// borrowRest is borrow from there on.
//
//go:noinline
func (c *Conn) borrowRest(ctx context.Context, l *lease) (Message, error) {
	m, err := c.borrowMessage(ctx, l)
	c.endRead()
	return m, err
}

// borrowOwn is borrow for the library, which reads for an EventHandler. The
// application's deadline does not concern it. With now it does not wait, and
// returns errNotNow. While this side closes the connection it discards what
// arrives before the answer.
func (c *Conn) borrowOwn(l *lease, now bool) (Message, error) {
	r := &c.r
	if now {
		if !r.turn.TryLockOrNote() {
			return Message{}, c.notNow() // Close reads
		}
	} else if err := r.turn.Lock(context.Background()); err != nil {
		return Message{}, err
	}
	r.apart, r.now = true, now
	m, err := c.borrowAny(l)
	r.apart, r.now = false, false
	c.endRead()
	return m, err
}

// borrowAny is borrowOwn with the reader's turn.
func (c *Conn) borrowAny(l *lease) (Message, error) {
	ctx := context.Background()
	over := c.life.reason() != nil
	if !over {
		if m, ok := c.borrowNext(l); ok {
			return m, nil
		}
	}
	c.r.in.takeBack(l)
	if !over {
		if err := c.nextMessage(ctx); err != nil {
			return Message{}, err
		}
		return c.borrowMessage(ctx, l)
	}
	for !c.life.at().isEnding() {
		if err := c.discardMessage(ctx); err != nil {
			return Message{}, err
		}
	}
	return Message{}, c.life.reason()
}

// notNow is errNotNow, or why the connection is over.
func (c *Conn) notNow() error {
	if c.life.at().isClosed() {
		return c.life.reason()
	}
	return errNotNow
}

// borrowNext is borrow for most messages of a burst. It becomes l's step if the
// next frame lies whole behind the last step's message, and is a message of its
// own. Else borrowNext changes nothing and reports false. It leaves all that
// judge would refuse to the longer way.
//
// Where the last step stands, no message is in progress and no pong waits. That
// need not be looked at again. So a step takes half the instructions that it
// takes by nextMessage and borrowMessage.
func (c *Conn) borrowNext(l *lease) (m Message, ok bool) {
	r := &c.r
	if r.in.lent != l || r.in.r != l.at {
		return Message{}, false // something has been read since, or it needs another buffer
	}
	b := r.in.unread()
	n, size := wholeFrame(b)
	if size == 0 || uint64(size) > uint64(r.limit.Load()) { // a negative limit is none
		return Message{}, false
	}
	op := opcode(b[0] ^ finBit) // neither, if a reserved bit is set or FIN is not
	if op != opText && op != opBinary || b[1]&maskBit != 0 == r.half.client {
		return Message{}, false
	}
	m = Message{MessageType(op), b[n : n+size : n+size]}
	var key uint32
	if !r.half.client {
		key = binary.LittleEndian.Uint32(b[n-4:])
		mask(m.Data, key)
	}
	if op == opText && !c.skipUTF8 && !utf8.Valid(m.Data) {
		mask(m.Data, key) // again, which undoes it
		return Message{}, false
	}
	r.in.use(n + size)
	l.at = r.in.r
	r.lastSize = int32(size)
	r.count(int64(size))
	if !r.now {
		r.in.expect(size)
	}
	if next, _ := wholeFrame(b[n+size:]); next == 0 {
		c.handOver() // else replies gather on
	}
	return m, true
}

// borrowMessage reads the message in progress for l.
func (c *Conn) borrowMessage(ctx context.Context, l *lease) (Message, error) {
	r := &c.r
	m := Message{Type: MessageType(r.opcode)}
	var err error
	whole := -1
	here := r.remain <= int64(r.in.buffered()) || r.in.lazy && !r.now && r.in.holds(r.remain)
	if here && r.fin && !r.half.compressed && r.partial() == nil {
		// It is in one piece where it is, or will be: it need not move.
		if whole, err = c.collectHere(ctx); err != nil {
			return Message{}, err
		}
	}
	if whole >= 0 {
		m.Data, err = c.lend(ctx, l, whole)
	} else {
		m.Data, err = c.collectPooled(ctx, l)
	}
	if err != nil {
		return Message{}, err
	}
	if !r.now { // else the next may have to leave the buffer in the middle
		r.in.expect(len(m.Data))
	}
	c.handOver()
	return m, nil
}

// collectPooled reads the rest of the message into a pooled buffer, which l
// keeps, and returns the whole.
func (c *Conn) collectPooled(ctx context.Context, l *lease) ([]byte, error) {
	r := &c.r
	partial, pooled := r.takePartial()
	if !pooled {
		partial = append(bufpool.Get(len(partial))[:0], partial...)
	}
	var err error
	l.buf, err = c.collect(ctx, partial, true)
	switch {
	case err == errNotNow:
		r.keep(l.buf, true)
		l.buf = nil
	case err != nil:
		c.keepPartial(l.buf)
	}
	return l.buf, err
}

// collectHere reads the rest of the frame in progress into the receiver's
// buffer, and unmasks and validates it there. It returns the length of the
// whole, which lies unused at the start of the buffer. If the buffer has no
// room any more, it returns -1 and leaves what it has got as the partial
// message.
func (c *Conn) collectHere(ctx context.Context) (n int, err error) {
	r := &c.r
	for {
		p := r.in.unread()[n:]
		p = p[:min(int64(len(p)), r.remain)]
		if !r.half.client {
			r.key = mask(p, r.key)
		}
		if err := c.passPayload(ctx, p); err != nil {
			return 0, err
		}
		if n += len(p); r.remain == 0 {
			return n, nil
		}
		_, err = c.fetch(ctx, nil)
		if gone := r.in.buffered() < n; gone { // the connection is over
			return -1, err
		}
		if err != nil || !r.in.holds(int64(n)+r.remain) {
			c.keepPartial(r.in.unread()[:n])
			r.in.use(n)
			return -1, err
		}
	}
}

// lend ends the message of n bytes that lies in the receiver's buffer, and
// returns it.
func (c *Conn) lend(ctx context.Context, l *lease, n int) ([]byte, error) {
	r := &c.r
	data := r.in.unread()[:n:n]
	r.in.use(n)
	r.lastSize = clamp32(n)
	if err := c.endMessage(ctx); err != nil {
		return nil, err
	}
	if n > 0 && !r.in.lend(l) {
		l.buf = append(bufpool.Get(n)[:0], data...)
		data = l.buf
	}
	return data, nil
}

// giveBack ends l's last step. If a goroutine is reading, it may be about to
// leave the buffer to l. Then the one of the two that is done with the buffer
// last gives it back.
func (c *Conn) giveBack(l *lease) {
	r := &c.r
	if !r.turn.TryLock() {
		if l.at == 0 || l.parted.Swap(true) {
			bufpool.Put(l.buf)
			l.buf = nil
		}
		return
	}
	r.in.takeBack(l)
	if r.in.buffered() == 0 && r.in.lent == nil {
		r.in.release()
	}
	c.endRead()
}
