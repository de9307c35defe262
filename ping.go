package websocket

import (
	"context"
	"encoding/binary"
	"sync"
)

// Ping sends a ping and waits for its pong (RFC 6455, section 5.5.2). The
// reading goroutine takes the pong, so a goroutine must be reading (see
// [Conn.CloseRead]). Else Ping waits until ctx ends. Then the error matches
// ctx.Err(), and the connection lives on. When the connection is over, the
// error is the reason why. Any number of goroutines may ping.
func (c *Conn) Ping(ctx context.Context) error {
	if ctx.Err() != nil {
		return c.interrupted("ping", ctx, nil)
	}
	if err := platformPings(c.t.conn); err != nil {
		return apiError("ping", err)
	}
	l := c.w.pingList()
	id, pong := l.add(sinceEpoch())
	defer l.drop(id)
	var payload [8]byte
	binary.BigEndian.PutUint64(payload[:], id)
	if err := c.w.send(ctx, &outgoing{op: opPing, fin: true, payload: payload[:]}); err != nil {
		return err
	}
	select {
	case <-pong:
		return nil
	case <-ctx.Done():
		return c.interrupted("ping", ctx, nil)
	case <-c.life.closed():
		return toWriters(c.life.reason())
	}
}

// A pingList knows the pings that wait for their pongs. Their payloads are
// numbers that grow.
type pingList struct {
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]waitingPing
}

// A waitingPing is a ping that waits for its pong.
type waitingPing struct {
	pong chan struct{} // closed when it comes
	sent int64         // see sinceEpoch
}

// pingList returns the pings that wait for their pongs. The first call makes it.
func (w *sender) pingList() *pingList {
	w.mu.Lock()
	defer w.mu.Unlock() // nothing was changed that concerns unlock
	rest := w.restLocked()
	if rest.pings == nil {
		rest.pings = new(pingList)
	}
	return rest.pings
}

// pinged is pingList, or nil if there was no Ping yet.
func (w *sender) pinged() *pingList {
	w.mu.Lock()
	defer w.mu.Unlock() // nothing was changed
	if w.rest == nil {
		return nil
	}
	return w.rest.pings
}

func (l *pingList) add(now int64) (id uint64, pong <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	ch := make(chan struct{})
	if l.waiting == nil {
		l.waiting = make(map[uint64]waitingPing)
	}
	l.waiting[l.last] = waitingPing{ch, now}
	return l.last, ch
}

func (l *pingList) drop(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, id)
	if len(l.waiting) == 0 {
		l.waiting = nil
	}
}

// pong takes note of a pong. It answers the ping whose payload it carries and
// all those before it. A peer may answer only the latest of several pings
// (section 5.5.3). It returns when that ping was sent. Unsolicited pongs are
// nothing.
func (l *pingList) pong(payload []byte) (sent int64, ok bool) {
	if l == nil || len(payload) != 8 {
		return 0, false
	}
	id := binary.BigEndian.Uint64(payload)
	l.mu.Lock()
	defer l.mu.Unlock()
	answered, ok := l.waiting[id]
	if !ok {
		return 0, false
	}
	for i, p := range l.waiting {
		if i <= id {
			close(p.pong)
			delete(l.waiting, i)
		}
	}
	return answered.sent, true
}

// pong takes note of a pong. It reports whether it is the application's: those
// that answer a heartbeat are not.
func (c *Conn) pong(payload []byte) bool {
	h := &c.beat
	if len(payload) == 4 && h.answered(binary.BigEndian.Uint32(payload)) {
		return false
	}
	if sent, ok := c.w.pinged().pong(payload); ok {
		h.measured(sent)
	}
	return true
}
