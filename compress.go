package websocket

import (
	"context"

	"github.com/seed70bc5565/websocket/internal/bufpool"
	"github.com/seed70bc5565/websocket/internal/flate"
)

// The sizes from which on messages are compressed, if CompressionThreshold does
// not say.
const (
	thresholdTakeover = 128
	thresholdAlone    = 512
)

// A deflater compresses what a Conn sends. Messages enter the window in the
// order in which they go out. Only the goroutine that holds the turn
// compresses. It keeps the turn until its message has its place in that order.
type deflater struct {
	bits      int  // immutable
	takeover  bool // immutable
	threshold int  // immutable

	taken    bool           // a goroutine holds the turn; guarded by sender.mu
	from, to int64          // bytes of what was sent, before and after; guarded by sender.mu
	enc      *flate.Encoder // owner: the holder of the turn
}

// initDeflate sets up what was agreed on. It is a part of newConn.
func (c *Conn) initDeflate(p deflateParams, threshold int) {
	sendBits, sendTakeover := p.serverBits, !p.serverNoTakeover
	recvBits, recvTakeover := p.clientBits, !p.clientNoTakeover
	if c.r.half.client {
		sendBits, recvBits = recvBits, sendBits
		sendTakeover, recvTakeover = recvTakeover, sendTakeover
	}
	c.agreement.deflate = newDeflater(sendBits, sendTakeover, threshold)
	c.r.half.deflate = true
	c.r.rest = &receiverRest{inflation: inflation{dec: flate.NewDecoder(recvBits, recvTakeover)}}
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

// forget starts over with an empty history: the peer's window holds more, which
// is no longer referred to. It is called when a message that entered the
// history was not sent.
func (z *deflater) forget() {
	if z.enc != nil {
		z.enc.Drop()
	}
	z.enc = flate.NewEncoder(z.bits, z.takeover)
}

// lockDeflate takes the turn to compress. It waits as long as ctx, the write
// deadline and the connection let it.
func (c *Conn) lockDeflate(ctx context.Context) error {
	w, z := &c.w, c.deflate
	w.mu.Lock()
	defer w.unlock()
	for z.taken && w.errLocked() == nil {
		if err := w.waitLocked(ctx, c.t.out.applicationDeadline()); err != nil {
			return err
		}
	}
	z.taken = z.taken || w.errLocked() == nil
	return w.errLocked()
}

// unlockDeflate gives the turn back.
func (c *Conn) unlockDeflate() {
	w := &c.w
	w.mu.Lock()
	defer w.unlock()
	c.deflate.taken, w.news = false, true
}

// writeDeflated sends the one frame of a message, compressed unless it would
// grow.
func (c *Conn) writeDeflated(ctx context.Context, f *outgoing) error {
	z := c.deflate
	if err := c.lockDeflate(ctx); err != nil {
		return err
	}
	defer c.unlockDeflate()
	buf := bufpool.Get(len(f.payload))
	defer bufpool.Put(buf)
	out, ok := z.enc.AppendMessage(buf[:0], f.payload)
	if !ok {
		return c.w.send(ctx, f)
	}
	sent := false
	defer func() {
		if !sent && z.takeover { // ctx may have panicked
			z.forget()
		}
	}()
	f.rsv, f.payload, f.plain = rsv1Bit, out, len(f.payload)
	err := c.w.send(ctx, f)
	sent = err == nil
	return err
}

// WriteUncompressed is [Conn.Write] without compression, whatever was agreed
// on. It is for secrets next to text that an attacker chooses, and for data
// that is compressed already. The message does not enter the history of those
// that are compressed.
func (c *Conn) WriteUncompressed(ctx context.Context, typ MessageType, p []byte) error {
	op, err := typ.opcode()
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return c.interrupted("write", ctx, nil)
	}
	return c.w.sendMessage(ctx, op, p)
}
