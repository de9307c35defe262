package websocket

import (
	"bytes"
	"context"
	"io"
)

// Reader waits for a message and returns its type and a reader of its content, which streams: it returns bytes as
// they arrive, and [io.EOF] at the end of the message. ctx bounds all of it.
//
// Text is validated as it streams: bytes are returned before the whole is known to be valid. An error of the reader's
// is one of the connection's, as with [Conn.Read]; when the connection ends inside the message it matches
// [io.ErrUnexpectedEOF], never io.EOF.
//
// A message need not be read to its end: the next reading call discards the rest, and the old reader then returns an error.
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
		whole, err := c.collect(ctx, r.partial, false)
		if err != nil {
			c.keepPartial(whole)
			return nil, err
		}
		r.partial = nil
		m.whole = bytes.NewReader(whole)
	} else {
		r.byReader = true
	}
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

// read is Read with the reader's turn.
func (m *messageReader) read(p []byte) (int, error) {
	c, r := m.c, &m.c.r
	if r.message != m.message || !r.byReader {
		m.err = apiError("read", errStaleReader)
		return 0, m.err
	}
	if len(r.partial) > 0 {
		n := copy(p, r.partial)
		if r.partial = r.partial[n:]; len(r.partial) == 0 {
			r.partial = nil
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
	for r.remain == 0 {
		if r.fin {
			if err := c.endMessage(m.ctx); err != nil {
				return 0, err
			}
			m.err = io.EOF
			c.handOver()
			return 0, io.EOF
		}
		if err := c.nextFrame(m.ctx); err != nil {
			return 0, err
		}
	}
	n, err := c.readPayload(m.ctx, p)
	if err == nil {
		c.handOver()
	}
	return n, err
}
