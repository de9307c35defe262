package websocket

import (
	"context"
	"errors"
	"io"
	"iter"
)

// Message is a message that [Conn.Messages] lends.
type Message struct {
	Type MessageType
	// Data is valid until the next step of the range. Until then it may be changed, and passed to Write.
	Data []byte
}

// Messages returns an iterator over the messages that come in, for use with range:
//
//	for m, err := range c.Messages(ctx) {
//		if err != nil {
//			return err
//		}
//		...
//	}
//
// It lends each message from memory of its own for one step, which costs no allocation, and mostly no copy. Keep a copy of what is needed for longer.
//
// The range ends by itself, without an error, when the peer closes the connection in an orderly way, that is where Read's error matches [io.EOF] (a later
// Read still returns it). Any other error is its last step. After one that is not permanent (ctx ended, or the read deadline
// passed) the connection may be read again, and nothing is lost.
//
// The loop's body may use all methods of the connection.
func (c *Conn) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		var l lease
		for {
			m, err := c.borrow(ctx, &l)
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(Message{}, err)
				}
				return
			}
			more := yield(m, nil)
			c.giveBack(&l)
			if !more {
				return
			}
		}
	}
}

// A lease is the memory that one step of Messages uses.
type lease struct {
	// buf is pooled; nil if the step uses none. While shared is set it is also the receiver's buffer, and receiver.lent says so. If the receiver
	// must fetch meanwhile it takes another and leaves this one to the lease. Whoever changes receiver.lent from this lease to nil
	// decides: giveBack, and the buffer stays with the receiver; or detach, and it is the lease's.
	buf    []byte
	shared bool
	tiny   [16]byte // a copy of what lay in receiver.small
}

// borrow reads one message for l.
func (c *Conn) borrow(ctx context.Context, l *lease) (Message, error) {
	if err := c.beginRead(ctx); err != nil {
		return Message{}, err
	}
	defer c.r.turn.unlock()
	r := &c.r
	if err := c.nextMessage(ctx); err != nil {
		return Message{}, err
	}
	m := Message{Type: MessageType(r.opcode)}
	var err error
	if r.fin && !r.half.compressed && r.partial == nil && r.remain <= int64(r.w-r.r) {
		// All of it is here, in one piece: it need not move.
		m.Data, err = c.lend(ctx, l)
	} else {
		l.buf = append(getBuf(len(r.partial))[:0], r.partial...)
		r.partial = nil
		l.buf, err = c.collect(ctx, l.buf, true)
		if err != nil {
			c.keepPartial(l.buf)
			putBuf(l.buf)
			l.buf = nil
		}
		m.Data = l.buf
	}
	if err == nil {
		c.handOver()
	}
	return m, err
}

// lend unmasks and validates the message that lies in the receiver's buffer, where it is.
func (c *Conn) lend(ctx context.Context, l *lease) ([]byte, error) {
	r := &c.r
	n := int(r.remain)
	data := r.buf[r.r : r.r+n : r.r+n]
	if n > 0 {
		if _, err := c.readPayload(ctx, data); err != nil {
			return nil, err
		}
	}
	r.lastSize = n
	if err := c.endMessage(ctx); err != nil {
		return nil, err
	}
	if len(r.buf) == len(r.small) {
		return append(l.tiny[:0], data...), nil
	}
	if r.lent.Load() != nil {
		// An outer range over the same connection is still at its step with this buffer.
		l.buf = append(getBuf(n)[:0], data...)
		return l.buf, nil
	}
	l.buf, l.shared = r.buf, true
	r.lent.Store(l)
	return data, nil
}

// giveBack ends l's step.
func (c *Conn) giveBack(l *lease) {
	r := &c.r
	if l.shared {
		l.shared = false
		if r.lent.CompareAndSwap(l, nil) {
			l.buf = nil
			// Nobody reads, or whoever does looks after the buffer.
			if r.turn.tryLock() {
				if r.r == r.w {
					r.release()
				}
				r.turn.unlock()
			}
			return
		}
	}
	putBuf(l.buf)
	l.buf = nil
}
