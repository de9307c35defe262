package websocket

import (
	"context"
	"sync"

	"github.com/seed70bc5565/websocket/internal/flate"
)

// The sizes from which on messages are compressed, if CompressionThreshold does not say.
const (
	thresholdTakeover = 128
	thresholdAlone    = 512
)

// A deflater compresses what a Conn sends. Messages enter the window in the order in which they go out: whoever holds
// the turn compresses, and keeps it until the message has its place in that order.
type deflater struct {
	bits      int  // immutable
	takeover  bool // immutable
	threshold int  // immutable

	taken bool           // somebody has the turn; guarded by sender.mu
	enc   *flate.Encoder // owner: the holder of the turn
}

// initDeflate sets up what was agreed on. It is a part of newConn.
func (c *Conn) initDeflate(p deflateParams, threshold int) {
	sendBits, sendTakeover := p.serverBits, !p.serverNoTakeover
	recvBits, recvTakeover := p.clientBits, !p.clientNoTakeover
	if c.client {
		sendBits, recvBits = recvBits, sendBits
		sendTakeover, recvTakeover = recvTakeover, sendTakeover
	}
	c.deflate = newDeflater(sendBits, sendTakeover, threshold)
	c.r.half.deflate = true
	c.r.inflate = flate.NewDecoder(recvBits, recvTakeover)
}

func newDeflater(bits int, takeover bool, threshold int) *deflater {
	if threshold == 0 {
		threshold = thresholdAlone
		if takeover {
			threshold = thresholdTakeover
		}
	}
	z := &deflater{bits: bits, takeover: takeover, threshold: threshold}
	z.forget()
	return z
}

// forget starts over with an empty history: the peer's window holds more, which is no longer referred to. It is
// called when a message that entered the history was not sent.
func (z *deflater) forget() {
	if z.enc != nil {
		z.enc.Drop()
	}
	z.enc = flate.NewEncoder(z.bits, z.takeover)
}

// lockDeflate takes the turn to compress. It waits as long as ctx, the write deadline and the connection let it.
func (c *Conn) lockDeflate(ctx context.Context) error {
	w, z := &c.w, c.deflate
	w.mu.Lock()
	for z.taken && w.err == nil {
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
	err := w.err
	if err == nil {
		z.taken = true
	}
	w.mu.Unlock()
	return err
}

// unlockDeflate gives the turn back.
func (c *Conn) unlockDeflate() {
	w := &c.w
	w.mu.Lock()
	c.deflate.taken = false
	w.wake()
	w.mu.Unlock()
}

// writeDeflated sends one message, compressed with z unless it would grow.
func (c *Conn) writeDeflated(ctx context.Context, z *deflater, op opcode, p []byte) error {
	if err := c.lockDeflate(ctx); err != nil {
		return err
	}
	defer c.unlockDeflate()
	buf := getBuf(len(p))
	defer putBuf(buf)
	out, ok := z.enc.AppendMessage(buf[:0], p)
	if !ok {
		return c.w.send(ctx, &outgoing{op: op, fin: true, payload: p})
	}
	err := c.w.send(ctx, &outgoing{op: op, fin: true, rsv: rsv1Bit, payload: out})
	if err != nil && z.takeover {
		z.forget()
	}
	return err
}

// WriteUncompressed is [Conn.Write] without compression, whatever was agreed on: for secrets beside text that an
// attacker chooses, and for data that is compressed already. The message does not enter the history of those that are
// compressed.
func (c *Conn) WriteUncompressed(ctx context.Context, typ MessageType, p []byte) error {
	op, err := typ.opcode()
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return c.interrupted("write", ctx, nil)
	}
	return c.w.send(ctx, &outgoing{op: op, fin: true, payload: p})
}

// A PreparedMessage is a message that was encoded once, to be sent to any number of connections, by any number of
// goroutines. It is compressed once for each size of window that those connections have agreed on.
//
// Its compressed form refers to no earlier message: that is what lets connections with different histories share it.
// Where the history is kept, it still becomes a part of it.
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

// NewPreparedMessage prepares a message. It copies data. The only error is a typ that is neither MessageText nor
// MessageBinary.
func NewPreparedMessage(typ MessageType, data []byte) (*PreparedMessage, error) {
	op, err := typ.opcode()
	if err != nil {
		return nil, err
	}
	return &PreparedMessage{op: op, data: append([]byte(nil), data...)}, nil
}

// forWindow returns m compressed for a window of the given size, or nil if that would not be shorter.
func (m *PreparedMessage) forWindow(bits int) []byte {
	m.mu.Lock()
	p := m.deflated[bits-minWindowBits]
	if p == nil {
		p = new(preparedDeflate)
		m.deflated[bits-minWindowBits] = p
	}
	m.mu.Unlock()
	p.once.Do(func() {
		buf := getBuf(len(m.data))
		if out, ok := flate.NewEncoder(bits, false).AppendMessage(buf[:0], m.data); ok {
			p.data = append([]byte(nil), out...)
		}
		putBuf(buf)
	})
	return p.data
}

// WritePrepared sends messages as [Conn.Write] would send each of them, in order, but together: short ones leave with
// one write to the transport, as far as WriteBufferLimit allows. Another goroutine's messages may come between them.
//
// If ctx or the write deadline ends, or anything else fails, on the way, the messages before the one that failed are
// sent, those behind it are not.
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

// writePrepared sends m. If more is set its caller sends another message at once, and m may wait for it.
func (c *Conn) writePrepared(ctx context.Context, m *PreparedMessage, more bool) error {
	if ctx.Err() != nil {
		return c.interrupted("write", ctx, nil)
	}
	f := &outgoing{op: m.op, fin: true, more: more, payload: m.data}
	z := c.deflate
	if z == nil || len(m.data) < z.threshold {
		return c.w.send(ctx, f)
	}
	out := m.forWindow(z.bits)
	if out == nil {
		return c.w.send(ctx, f)
	}
	f.rsv, f.payload = rsv1Bit, out
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
