package websocket

import (
	"context"
	"sync"

	"github.com/seed70bc5565/websocket/internal/bufpool"
	"github.com/seed70bc5565/websocket/internal/flate"
)

// A PreparedMessage is a message that was encoded once, to be sent to any
// number of connections, by any number of goroutines. It is compressed once for
// each size of window that those connections have agreed on.
//
// Its compressed form refers to no earlier message, so that connections with
// different histories can share it. With context takeover it still becomes a
// part of the history.
type PreparedMessage struct {
	op   opcode
	data []byte // immutable

	mu       sync.Mutex                                          // guards deflated
	deflated [maxWindowBits - minWindowBits + 1]*preparedDeflate // by window
}

// preparedDeflate is the compressed form of a PreparedMessage for one window.
type preparedDeflate struct {
	once sync.Once
	data []byte // nil if it would not be shorter
}

// NewPreparedMessage prepares a message. It copies data. The only error is a
// typ that is neither MessageText nor MessageBinary.
func NewPreparedMessage(typ MessageType, data []byte) (*PreparedMessage, error) {
	op, err := typ.opcode()
	if err != nil {
		return nil, err
	}
	m := &PreparedMessage{op: op}
	if len(data) > 0 {
		m.data = make([]byte, len(data)) // it takes less stack than append
		copy(m.data, data)
	}
	return m, nil
}

// forWindow returns m compressed for a window of the given size, or nil if that
// would not be shorter.
func (m *PreparedMessage) forWindow(bits int) []byte {
	m.mu.Lock()
	p := m.deflated[bits-minWindowBits]
	if p == nil {
		p = new(preparedDeflate)
		m.deflated[bits-minWindowBits] = p
	}
	m.mu.Unlock()
	p.once.Do(func() {
		buf := bufpool.Get(len(m.data))
		if out, ok := flate.NewEncoder(bits, false).AppendMessage(buf[:0], m.data); ok {
			p.data = append([]byte(nil), out...)
		}
		bufpool.Put(buf)
	})
	return p.data
}

// WritePrepared sends messages as [Conn.Write] would send each of them, in
// order, but together. Short ones leave with one write to the transport, as far
// as WriteBufferLimit allows. Another goroutine's messages may come between
// them.
//
// If ctx or the write deadline ends on the way, or anything else fails, the
// messages before the one that failed are sent. Those behind it are not.
func (c *Conn) WritePrepared(ctx context.Context, ms ...*PreparedMessage) error {
	sent := false
	defer func() {
		if !sent {
			c.w.flushSoon() // the messages before the one that failed
		}
	}()
	for i, m := range ms {
		if err := c.writePrepared(ctx, m, i < len(ms)-1); err != nil {
			return err
		}
	}
	sent = true
	return nil
}

// writePrepared sends m. If more is set its caller sends another message at
// once, and m may wait for it.
func (c *Conn) writePrepared(ctx context.Context, m *PreparedMessage, more bool) error {
	if ctx.Err() != nil {
		return c.interrupted("write", ctx, nil)
	}
	switch z := c.deflate; {
	case z != nil && len(m.data) >= z.threshold:
		return c.writePreparedDeflated(ctx, m, more)
	case more:
		return c.w.send(ctx, &outgoing{op: m.op, fin: true, more: true, payload: m.data})
	}
	return c.w.sendMessage(ctx, m.op, m.data)
}

// writePreparedDeflated is writePrepared for a message that is long enough to
// be compressed.
func (c *Conn) writePreparedDeflated(ctx context.Context, m *PreparedMessage, more bool) error {
	f := &outgoing{op: m.op, fin: true, more: more, payload: m.data}
	z := c.deflate
	out := m.forWindow(z.bits)
	if out == nil {
		return c.w.send(ctx, f)
	}
	f.rsv, f.payload, f.plain = rsv1Bit, out, len(m.data)
	if !z.takeover {
		return c.w.send(ctx, f)
	}
	if err := c.lockDeflate(ctx); err != nil {
		return err
	}
	defer c.unlockDeflate()
	err := c.w.send(ctx, f)
	if err == nil {
		z.enc.Learn(m.data)
	}
	return err
}
