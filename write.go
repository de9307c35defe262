package websocket

import (
	"context"
	"errors"
	"io"

	"github.com/seed70bc5565/websocket/internal/bufpool"
)

// Write sends one message, as one frame. The caller may change p when Write
// returns. Text must be UTF-8, which Write does not check. A typ that is
// neither MessageText nor MessageBinary is an error, and nothing is sent.
//
// Any number of goroutines may write. Each message goes out whole. If no other
// goroutine is writing, the operating system has the message when Write
// returns. There is one exception: while the reading goroutine has more
// messages in its buffer, replies are gathered, and go out together soon after.
// If another goroutine is writing, that goroutine also writes a short message
// of this one. Where the gathered bytes reach their bound (WriteBufferLimit in
// the options), Write waits.
//
// If ctx or the write deadline ends before the first byte of the message is
// out, nothing is sent and the connection lives on. The error matches ctx.Err()
// or [os.ErrDeadlineExceeded]. A write that is cut short inside its frame ends
// the connection. When the connection is over, the error is the reason why (see
// the package documentation), and matches [net.ErrClosed] too.
func (c *Conn) Write(ctx context.Context, typ MessageType, p []byte) error {
	op, err := typ.opcode()
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return c.interruptedWrite(ctx)
	}
	if c.deflate != nil && len(p) >= c.deflate.threshold {
		return c.writeMessageDeflated(ctx, op, p)
	}
	return c.w.sendMessage(ctx, op, p)
}

// writeMessageDeflated is not inlined, to keep the frame of Write small.
//
//go:noinline
func (c *Conn) writeMessageDeflated(ctx context.Context, op opcode, p []byte) error {
	return c.writeDeflated(ctx, &outgoing{op: op, fin: true, payload: p})
}

// interruptedWrite is [Conn.interrupted] in fewer words of the caller's stack,
// which is deepest while it writes.
//
//go:noinline
func (c *Conn) interruptedWrite(ctx context.Context) error {
	return c.interrupted("write", ctx, nil)
}

// Writer returns a writer for one message, which ends with the writer's Close.
// It is sent in fragments as it grows, or in one frame if it is short (RFC
// 6455, section 5.4). ctx bounds all of it.
//
// Other messages wait until the writer is closed; pings, pongs and the closing
// handshake do not. The writer must be closed, after an error too, and is for
// one goroutine at a time. A message that ctx cuts short after its first
// fragment has been sent ends the connection.
func (c *Conn) Writer(ctx context.Context, typ MessageType) (io.WriteCloser, error) {
	op, err := typ.opcode()
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, c.interrupted("write", ctx, nil)
	}
	m := &messageWriter{c: c, ctx: ctx, op: op, z: c.deflate}
	if err := m.open(); err != nil {
		return nil, err
	}
	return m, nil
}

// fragmentSize is the payload that a messageWriter gathers before it sends a
// fragment.
const fragmentSize = bufpool.Small

// A messageWriter sends one message as it is written.
type messageWriter struct {
	c     *Conn
	ctx   context.Context
	op    opcode
	buf   []byte // pooled; what is neither sent nor compressed yet
	begun bool   // a fragment has been sent
	err   error

	z       *deflater // nil if the message is not compressed; the writer holds its turn
	deflate bool      // the message is compressed: decided when its first fragment is full, or at its end
	out     []byte    // pooled; what is compressed and not sent yet
	plain   int       // how many bytes that was
}

// open waits until no other message is being sent.
func (m *messageWriter) open() error {
	c, w := m.c, &m.c.w
	if m.z != nil {
		if err := c.lockDeflate(m.ctx); err != nil {
			return err
		}
	}
	err := w.openStream(m.ctx)
	if err != nil {
		m.leave()
	}
	return err
}

// leave gives the deflater back. It forgets a message that entered its history
// and was not sent.
func (m *messageWriter) leave() {
	if m.z == nil {
		return
	}
	if m.deflate && m.err != nil {
		m.z.forget()
	}
	m.c.unlockDeflate()
	m.z = nil
}

var errWriterClosed = errors.New("websocket: write: the message is closed")

func (m *messageWriter) Write(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	if m.ctx.Err() != nil {
		return 0, m.fail(m.c.interrupted("write", m.ctx, nil))
	}
	total := len(p)
	if m.buf == nil {
		m.buf = bufpool.Get(fragmentSize)[:0]
	}
	for len(p) > cap(m.buf)-len(m.buf) {
		fragment := p
		if len(m.buf) > 0 {
			n := cap(m.buf) - len(m.buf)
			m.buf = append(m.buf, p[:n]...)
			p = p[n:]
			fragment = m.buf
		} else if m.z != nil {
			// Piece by piece: what is compressed is kept until it is sent.
			fragment = p[:min(len(p), bufpool.Medium)]
			p = p[len(fragment):]
		} else {
			p = nil
		}
		if err := m.send(fragment, false); err != nil {
			return 0, err
		}
		m.buf = m.buf[:0]
	}
	m.buf = append(m.buf, p...)
	return total, nil
}

// Close sends the end of the message.
func (m *messageWriter) Close() error {
	if m.err == errWriterClosed {
		return errWriterClosed
	}
	err := m.err
	if err == nil {
		if m.ctx.Err() != nil {
			err = m.fail(m.c.interrupted("write", m.ctx, nil))
		} else {
			err = m.send(m.buf, true)
		}
	}
	m.leave()
	m.err = errWriterClosed
	bufpool.Put(m.buf)
	bufpool.Put(m.out)
	m.buf, m.out = nil, nil
	m.c.w.closeStream()
	return err
}

// send sends p, which ends the message if fin is set, or takes it into what is
// compressed.
func (m *messageWriter) send(p []byte, fin bool) error {
	f := &outgoing{op: m.op, fin: fin, stream: true, payload: p}
	if m.z != nil && m.out == nil {
		m.out = bufpool.Get(2 * fragmentSize)[:0]
	}
	switch {
	case m.z == nil:
	case fin && !m.deflate: // it is the whole message
		if len(p) >= m.z.threshold {
			m.out, m.deflate = m.z.enc.AppendMessage(m.out, p)
			m.plain = len(p)
		}
	default:
		m.deflate = true
		m.plain += len(p)
		out := m.z.enc.AppendChunk(m.out, p, fin)
		if cap(out) != cap(m.out) { // it has moved
			bufpool.Put(m.out)
		}
		m.out = out
		if !fin && len(m.out) < fragmentSize {
			return nil
		}
	}
	if m.deflate {
		f.rsv, f.payload, f.plain = rsv1Bit, m.out, m.plain
	}
	if err := m.c.w.send(m.ctx, f); err != nil {
		return m.fail(err)
	}
	if m.deflate {
		m.out, m.plain = m.out[:0], 0
	}
	m.begun = true
	return nil
}

// fail makes err stick. A message that has begun and cannot be finished leaves
// the connection without use.
func (m *messageWriter) fail(err error) error {
	m.err = err
	if m.begun && m.c.w.stopped() == nil {
		over := cutShort(err)
		m.c.w.stop(over)
		m.c.end(over)
	}
	return err
}
