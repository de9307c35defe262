package websocket

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
	"time"
)

// A heartbeat finds out whether the peer is still there. When bytes arrive, the
// reading goroutine sets a flag, which costs one atomic load if the flag is set
// already. Four times in an interval look looks at the flag. The wheel of a
// Server has that done for its connections, and a timer for each other
// connection.
//
// A peer that sends bytes or takes them is alive. After an interval without
// either a ping goes out, if a goroutine is reading, and the looks come closer
// together. Two rules give up a peer:
//
//   - It has not sent and not taken anything for PingInterval and PongTimeout,
//     a ping waits for its pong, and each look found a goroutine reading.
//   - Frames wait to be written, and it has taken nothing for PingInterval and
//     PongTimeout. Each arrival of bytes starts that time anew, unless pongs
//     for the peer's pings are among the frames that wait.
//
// Time is counted from look to look. So a process that was stopped for a while
// does not end its connections at the first look after that. Their readers
// first get to what waits.
type heartbeat struct {
	heard atomic.Bool   // something has arrived since the last look. The reader sets it, look clears it
	id    atomic.Uint32 // payload of the last ping, 0 when its pong has come

	// Owner of this group: look, which is not called again until it has called
	// lookAgain.
	wait   time.Duration // from the last look to this one
	silent time.Duration // for how long the peer has sent nothing and taken nothing
	stuck  time.Duration // for how long it has taken no byte of what waits
	taken  int64         // what the peer had taken at the last look, of transport.accepted
	mark   position      // behind the last ping
	pinged bool          // a ping waits for its pong
	waited bool          // at the last look something waited to be taken

	// The place in the wheel, whose lock guards it.
	list          uint16 // 0: the connection is in none
	after, before *Conn  // in the list; before is nil for the first

	sent  atomic.Int64 // when the last ping was made: see sinceEpoch
	rtt   atomic.Int64 // the last round-trip time, in nanoseconds; 0: none
	timer *time.Timer  // guarded by lifetime.mu; nil if there is no heartbeat, or a wheel has looks made
}

// epoch is what the times of pings are relative to: a difference is half the
// size of a [time.Time], and monotonic.
var epoch = time.Now()

// longestBeat bounds pingInterval and pongTimeout, so that sums of them do not
// overflow. It is 36 years.
const longestBeat time.Duration = 1 << 60

func sinceEpoch() int64 { return int64(time.Since(epoch)) }

// RoundTripTime returns the time between the last ping that was answered and
// its pong. It is 0 if no ping was answered yet. Pings of [Conn.Ping] and those
// of PingInterval count. The time includes that for frames that had to go out
// before the ping.
func (c *Conn) RoundTripTime() time.Duration { return time.Duration(c.beat.rtt.Load()) }

// hear is called by the reader when something has arrived.
func (h *heartbeat) hear() {
	if !h.heard.Load() { // a store costs more
		h.heard.Store(true)
	}
}

// startHeartbeat is the last step of making a Conn.
func (c *Conn) startHeartbeat() {
	h, interval := &c.beat, c.pingInterval
	if interval < 0 {
		return
	}
	// The first interval is shorter, by half at most. So connections that were
	// made together do not ping together for ever. The looks before the first
	// ping are counted back from it, for the same reason.
	early, _ := bits.Mul64(uint64(interval/2), uint64(newMaskingKey())<<32)
	h.silent = time.Duration(early)
	h.wait = (interval-h.silent-1)%c.quarter() + 1
	if c.wheel != nil {
		return // it goes on when the Server has taken c in
	}
	c.life.mu.Lock()
	h.timer = time.AfterFunc(h.wait, func() { c.follow(c.look()) })
	c.life.mu.Unlock()
}

// lookAside is look for a goroutine that must not wait.
func (c *Conn) lookAside() {
	if flush, dead := c.look(); flush || dead != nil {
		go c.follow(flush, dead)
	}
}

// follow does what look asks for. It may wait for the peer, but the next look
// does not wait with it.
func (c *Conn) follow(flush bool, dead *localEnd) {
	switch {
	case dead != nil:
		c.endDead(dead)
	case flush:
		c.w.flush()
	}
}

// look looks whether the peer is still there. It asks its caller to flush, or
// to end the connection because the peer is dead. It does not wait.
func (c *Conn) look() (flush bool, dead *localEnd) {
	if c.life.isOver() {
		return false, nil
	}
	h := &c.beat
	heard := h.heard.Swap(false)
	reading := (c.r.turn.Held() || c.t.polled() != nil) && !c.life.away.Load()
	waits, pongWaits := c.w.waits(&h.mark)
	taken := h.taken
	if accepted := c.t.accepted.Load(); waits || h.waited || accepted != h.taken {
		queued := c.t.queued()
		waits = waits || queued > 0
		taken = accepted - int64(queued)
	}
	took := h.waited && taken > h.taken
	h.taken = taken

	switch {
	case !waits, !h.waited, took, heard && !pongWaits:
		h.stuck = 0
	default:
		h.stuck += h.wait
	}
	h.waited = waits
	switch {
	case h.pinged && (heard || !reading):
		h.pinged, h.silent = false, h.wait
	case heard || took:
		h.silent = 0
	default:
		h.silent += h.wait
	}

	if c.pongTimeout >= 0 {
		switch bound := c.pingInterval + c.pongTimeout; {
		case h.pinged && h.silent >= bound:
			return false, errDeadPeer
		case h.stuck >= bound:
			return false, errTakesNothing
		}
	}
	if (!h.pinged || c.pongTimeout < 0) && h.silent >= c.pingInterval && reading {
		h.silent, h.pinged = c.pingInterval, true
		if waits || c.pongTimeout < 0 {
			h.silent = 0 // what waits goes out before the ping; and without a timeout the next ping waits for no pong
		}
		flush = c.makePing()
	}
	h.wait = h.next(c.settings)
	c.lookAgain(h.wait)
	return flush, nil
}

// next returns how long after this look the next one is. In the pong timeout
// there are four at least.
func (h *heartbeat) next(s *settings) time.Duration {
	interval, timeout := s.pingInterval, s.pongTimeout
	next := s.quarter()
	if left := interval - h.silent; left > 0 {
		next = min(next, left)
	}
	if h.pinged && timeout >= 0 {
		next = min(next, (interval+7)/8, (timeout+3)/4)
		if left := interval + timeout - h.silent; left > 0 {
			next = min(next, left)
		}
	}
	if left := interval + timeout - h.stuck; h.stuck > 0 && timeout >= 0 {
		next = min(next, left)
	}
	return max(1, next)
}

// lookAgain has the next look made after d, unless the connection has ended.
func (c *Conn) lookAgain(d time.Duration) {
	if c.wheel != nil {
		c.wheel.look(c, d)
		return
	}
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if !c.life.isOver() {
		c.beat.timer.Reset(d)
	}
}

// makePing gathers a ping, unless the last one has not left yet. It reports
// whether the caller must flush.
func (c *Conn) makePing() (flush bool) {
	h, w := &c.beat, &c.w
	id := newMaskingKey() | 1 // not 0. No peer can answer it before it has come
	w.mu.Lock()
	defer w.unlock()
	if w.errLocked() != nil || !w.passedLocked(h.mark) {
		return false
	}
	h.id.Store(0) // see answered
	h.sent.Store(sinceEpoch())
	h.id.Store(id)
	var payload [4]byte
	binary.BigEndian.PutUint32(payload[:], id)
	w.appendControlLocked(opPing, payload[:], false) // cannot fail: there is no close frame yet
	h.mark = w.end
	if flush = w.freeLocked() && !w.armed; flush {
		w.armed = true // the caller is the flusher
	}
	return flush
}

// endDead ends the connection, because the peer is dead. If the peer is not
// dead, it may as well know why. So the close frame gets one attempt that does
// not block.
func (c *Conn) endDead(cause *localEnd) {
	if _, first := c.life.over(cause); !first {
		return
	}
	c.traceHeartbeatLost()
	w := &c.w
	w.gatherClose(cause.payload())
	w.tryFlush()
	c.end(nil)
}

// answered reports whether id is that of the last ping, which had no answer so
// far.
func (h *heartbeat) answered(id uint32) bool {
	sent := h.sent.Load() // of a later ping? Then id is not h.id any more
	if id == 0 || !h.id.CompareAndSwap(id, 0) {
		return false
	}
	h.measured(sent)
	return true
}

// measured notes the round trip of a ping that was sent at the time given, and
// has come back now.
func (h *heartbeat) measured(sent int64) { h.rtt.Store(max(1, sinceEpoch()-sent)) }
