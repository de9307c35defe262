package websocket

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
	"time"
)

// A heartbeat finds out whether a silent peer is still there. It costs one timer a connection, and the reader one
// load each time that it has waited for bytes: the reader raises a flag, and the timer looks at it now and then, at
// most half an interval apart.
//
// After an interval without a byte a ping goes out, if somebody is reading, and the looks come closer together. The
// peer is dead if each of them, until the pong timeout is over, finds that nothing has arrived while somebody is
// reading. There are four looks at least, each set when the one before is done: a process that was stopped for a
// while does not end its connections at the first look after it, before their readers have got to what waits.
//
// A peer that pings, and takes nothing of what is sent to it, seems alive in this way for ever: see heldUp.
type heartbeat struct {
	interval time.Duration // immutable; negative: none of this happens
	timeout  time.Duration // immutable; negative: nobody is judged

	heard atomic.Bool   // something has arrived since the last look. The reader sets it, the timer clears it
	id    atomic.Uint32 // payload of the last ping, 0 when its pong has come

	// The timer's function, which is not called again until it has set the timer, owns these.

	begun  bool          // there was a look
	pinged bool          // the next look is for the answer to a ping
	out    bool          // that ping has left, or nothing was before it
	taken  bool          // at the last look it was on its way, in the hands of the owner of the wire
	mark   uint32        // sender.takes when the last ping was made
	silent time.Duration // how long nothing has come, as far as the looks can tell; since the ping, if there is one
	write  uint32        // sender.takes of the write that held up a pong at the last look
	held   time.Duration // how long it has done so, as far as the looks can tell

	sent  atomic.Int64 // when the last ping was made: see sinceEpoch
	rtt   atomic.Int64 // the last round-trip time, in nanoseconds; 0: none
	timer *time.Timer  // guarded by lifetime.mu; nil if there is no heartbeat
}

// epoch is what the times of pings are relative to: a difference is half the size of a [time.Time], and monotonic.
var epoch = time.Now()

func sinceEpoch() int64 { return int64(time.Since(epoch)) }

// RoundTripTime returns how long the last ping that was answered had to wait for its pong, be it one of [Conn.Ping]
// or of PingInterval: 0 if there was none yet. What was written before the ping, and had to go out first, is part of
// it.
func (c *Conn) RoundTripTime() time.Duration { return time.Duration(c.beat.rtt.Load()) }

// hear is called by the reader when something has arrived.
func (h *heartbeat) hear() {
	if !h.heard.Load() { // a store costs more
		h.heard.Store(true)
	}
}

// startHeartbeat is the last step of making a Conn.
func (c *Conn) startHeartbeat(cfg *connConfig) {
	h := &c.beat
	h.interval = orDefault(cfg.pingInterval, defaultPingInterval)
	h.timeout = orDefault(cfg.pongTimeout, defaultPongTimeout)
	if h.interval < 0 {
		return
	}
	// The first interval is shorter, by half at most, and so is its first half: connections that were made at once do
	// not ping at once for ever.
	early, _ := bits.Mul64(uint64(h.interval/2), uint64(newMaskingKey())<<32)
	h.silent, h.out = time.Duration(early), true
	c.life.mu.Lock()
	h.timer = time.AfterFunc(h.gap(), c.look)
	c.life.mu.Unlock()
}

// look is called by the timer.
func (c *Conn) look() {
	if c.life.isOver.Load() {
		return
	}
	h := &c.beat
	heard := h.heard.Swap(false)
	reading := c.r.turn.held() && !c.away.Load()
	if reading && h.timeout >= 0 && c.heldUp() {
		c.endDead(errTakesNothing, "pongs are not taken")
		return
	}
	if h.pinged {
		c.lookForAnswer(heard, reading)
		return
	}
	h.silent += h.gap()
	h.begun = true
	if heard {
		h.silent = 0
	}
	if h.silent < h.interval || !reading {
		c.lookAgain(h.gap())
		return
	}
	h.pinged, h.silent = true, 0
	flush := c.makePing()
	c.lookAgain(h.step())
	if flush {
		c.w.flush() // it may wait for the peer: the next look does not wait with it
	}
}

// lookForAnswer is look after a ping.
func (c *Conn) lookForAnswer(heard, reading bool) {
	h := &c.beat
	step := h.step()
	h.silent += step
	if heard || !reading || h.timeout < 0 {
		// Alive, or not to be judged.
		h.pinged, h.silent = false, step
		c.lookAgain(h.gap())
		return
	}
	if !h.out {
		// What was before the ping goes first. A peer that takes nothing of it is judged like one that does not
		// answer; but how much of a long payload it has taken nobody knows.
		out, taken, long := c.w.pingOut(h.mark)
		if out || long || taken != h.taken {
			h.out, h.taken, h.silent = out, taken, 0
		}
	}
	if h.silent >= h.timeout {
		c.endDead(errDeadPeer, "no pong in time")
		return
	}
	c.lookAgain(h.step())
}

// pieceSize is how much a peer must take, in an interval and the pong timeout, of what holds up a pong. What the
// transport has taken of a write nobody knows before all of it is taken, so a longer write gets the more time.
const pieceSize = 16 << 10

// heldUp reports whether the peer is to be given up because it pings and takes nothing: one and the same write has
// held up a pong for an interval and the pong timeout, times its pieces. A write that the application has bounded is
// not judged, nor is a long payload. It is called while somebody is reading, for else there are no pings.
func (c *Conn) heldUp() bool {
	h := &c.beat
	elapsed := h.gap()
	if h.pinged {
		elapsed = h.step()
	}
	write, pieces, held := c.w.holdsUpPong()
	if !held || write != h.write {
		h.write, h.held = write, 0
		return false
	}
	h.held += elapsed
	return h.held/time.Duration(1+pieces)-h.interval >= h.timeout
}

// holdsUpPong reports whether what is being written holds up a pong, which write that is, as a count of takes, and
// how many pieces it has, its last one aside.
func (w *sender) holdsUpPong() (write, pieces uint32, held bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	held = w.owned && !w.passed(w.owed) && !w.long && !w.bounded &&
		(w.flushing || w.watch.applicationDeadline().IsZero())
	return w.takes, w.pieces, held
}

// gap returns how long after the last look the next one is, while there is no ping to be answered.
func (h *heartbeat) gap() time.Duration {
	left := h.interval - h.silent
	switch {
	case !h.begun:
		return (left + 1) / 2
	case left > 0:
		return min(left, (h.interval+1)/2)
	}
	return (h.interval + 1) / 2 // nobody reads
}

// step returns how long after a ping, or after the last look for its answer, the next look is.
func (h *heartbeat) step() time.Duration {
	step := h.interval / 8
	if h.timeout >= 0 {
		step = min(step, h.timeout/4, h.timeout-h.silent)
	}
	return max(1, step)
}

// lookAgain sets the timer, unless the connection has ended.
func (c *Conn) lookAgain(d time.Duration) {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if !c.life.isOver.Load() {
		c.beat.timer.Reset(d)
	}
}

// makePing gathers a ping, unless the last one has not left yet. It reports whether the caller must flush.
func (c *Conn) makePing() (flush bool) {
	h, w := &c.beat, &c.w
	id := newMaskingKey() | 1 // not 0. Nobody can answer it before it has come
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || !h.out && !w.passed(h.mark) {
		return false
	}
	h.id.Store(0) // see answered
	h.sent.Store(sinceEpoch())
	h.id.Store(id)
	h.mark, h.out, h.taken = w.takes, w.free(), false
	var payload [4]byte
	binary.BigEndian.PutUint32(payload[:], id)
	w.appendControl(opPing, payload[:]) // cannot fail: there is no close frame yet
	if flush = w.free() && !w.armed; flush {
		w.armed = true // the caller is the flusher
	}
	return flush
}

// passed reports whether what gathered when the wire had been taken so many times has been written. The lock is held.
func (w *sender) passed(takes uint32) bool {
	n := w.takes - takes
	return n > 1 || n == 1 && !w.owned
}

// pingOut reports whether the ping has left that was made when the wire had been taken mark times, whether it is on
// its way at least, and whether a long payload is being written.
func (w *sender) pingOut(mark uint32) (out, taken, long bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passed(mark), w.takes != mark, w.owned && w.long
}

// endDead ends the connection, for the peer is dead. If it is not, it may as well know why: the close frame gets one
// attempt that does not block.
func (c *Conn) endDead(cause error, reason string) {
	if _, first := c.life.over(cause); !first {
		return
	}
	payload, _ := appendClosePayload(nil, StatusInternalError, reason)
	w := &c.w
	w.mu.Lock()
	if w.err == nil {
		w.err, w.late = cause, nil
		w.appendControl(opClose, payload)
	}
	w.mu.Unlock()
	w.tryFlush()
	c.end(cause)
}

// pong takes note of a pong. It reports whether it is the application's: those that answer a heartbeat are not.
func (c *Conn) pong(payload []byte) bool {
	h := &c.beat
	if len(payload) == 4 && h.answered(binary.BigEndian.Uint32(payload)) {
		return false
	}
	if sent, ok := c.pings.Load().pong(payload); ok {
		h.measured(sent)
	}
	return true
}

// answered reports whether id is that of the last ping, which had no answer so far.
func (h *heartbeat) answered(id uint32) bool {
	sent := h.sent.Load() // of a later ping? Then id is not h.id any more
	if id == 0 || !h.id.CompareAndSwap(id, 0) {
		return false
	}
	h.measured(sent)
	return true
}

// measured notes the round trip of a ping that was sent at the time given, and has come back now.
func (h *heartbeat) measured(sent int64) { h.rtt.Store(max(1, sinceEpoch()-sent)) }
