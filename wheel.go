package websocket

import (
	"math"
	"sync"
	"time"
)

// A wheel holds connections with the options of a Server, in lists. A connection
// whose heartbeat waits for its next look is in the list of the slot of time in
// which the look is due. So one timer of package time serves all of them, and
// it is set only for slots that have a connection.
//
// No look is made with the lock held.
type wheel struct {
	slot time.Duration // immutable: how long a slot is; 0: no connection waits for a look

	mu    sync.Mutex                // guards what follows
	first *[slotLists + slots]*Conn // of each list; nil until there is a connection
	n     int                       // connections in all lists
	begin time.Time                 // of slot 0; set when the first connection enters
	now   int64                     // the slot up to which all has been found due
	next  int64                     // the slot for which timer is set; 0: a tick runs, which will set it; noSlot: it is not set
	timer *time.Timer               // calls tick; nil without connections
}

// The lists of a wheel. The zero value of heartbeat.list says that a connection
// is in no list.
const (
	noList    = iota
	restList  // those that wait for no look, for now or at all
	dueList   // those whose look is due
	slotLists // the first list of a slot
)

// slots is how many slots a wheel has. No look is as many slots away.
const slots = 512

const noSlot = math.MaxInt64

// wheelSlot returns the slot of the wheel of connections with opts, or 0 if
// they have no heartbeats.
func wheelSlot(opts *AcceptOptions) time.Duration {
	// Looks of a heartbeat are a quarter of an interval apart at most, and a
	// quarter of PongTimeout at least.
	interval, timeout := orDefault(opts.PingInterval, defaultPingInterval), orDefault(opts.PongTimeout, defaultPongTimeout)
	if interval < 0 {
		return 0
	}
	finest := interval / 8
	if timeout >= 0 {
		finest = min(finest, timeout/4)
	}
	// Each look may be a slot late. The next one counts that: see lookLocked.
	return min(max(finest/16, time.Millisecond), 50*time.Millisecond)
}

// longest returns how long a connection can wait for a look.
func (w *wheel) longest() time.Duration { return (slots - 2) * w.slot }

// enter takes c in. Its first look is after c.beat.wait, or up to a slot later.
func (w *wheel) enter(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hasLocked(c) {
		return // Trace.Accepted has had it adopted
	}
	if w.first == nil {
		w.first = new([slotLists + slots]*Conn)
		w.next = noSlot
	}
	if w.n == 0 {
		w.begin, w.now = time.Now(), 0
	}
	w.n++
	w.moveLocked(c, restList)
	if c.pingInterval >= 0 {
		w.lookLocked(c, c.beat.wait)
	}
}

// leave forgets c, and reports whether it was there. Without connections a
// wheel has no timer: it might be of a bubble of testing/synctest.
func (w *wheel) leave(c *Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.hasLocked(c) {
		return false
	}
	w.moveLocked(c, noList)
	if w.n--; w.n == 0 && w.timer != nil {
		w.timer.Stop()
		w.timer, w.next = nil, noSlot
	}
	return true
}

// has reports whether c is there.
func (w *wheel) has(c *Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hasLocked(c)
}

func (w *wheel) hasLocked(c *Conn) bool { return c.wheel == w && c.beat.list != noList }

// count returns how many connections are there.
func (w *wheel) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

// appendTo appends the connections to conns.
func (w *wheel) appendTo(conns []*Conn) []*Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n == 0 {
		return conns
	}
	for _, c := range w.first {
		for ; c != nil; c = c.beat.after {
			conns = append(conns, c)
		}
	}
	return conns
}

// look has c looked at after d, or up to a slot later, if it is still there.
func (w *wheel) look(c *Conn, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.beat.list != noList {
		w.lookLocked(c, d)
	}
}

// moveLocked puts c into another list.
func (w *wheel) moveLocked(c *Conn, list uint16) {
	h := &c.beat
	if h.list != noList {
		if h.before != nil {
			h.before.beat.after = h.after
		} else {
			w.first[h.list] = h.after
		}
		if h.after != nil {
			h.after.beat.before = h.before
		}
		h.after, h.before = nil, nil
	}
	if h.list = list; list == noList {
		return
	}
	if h.after = w.first[list]; h.after != nil {
		h.after.beat.before = c
	}
	w.first[list] = c
}

// lookLocked is look for a connection that is there. It notes how long the look
// has to wait for its slot: else many looks that are late would add up.
func (w *wheel) lookLocked(c *Conn, d time.Duration) {
	now := time.Since(w.begin)
	w.turnLocked(now)
	at := int64((now + min(d, w.longest()) + w.slot - 1) / w.slot)
	at = max(at, w.now+1)
	c.beat.wait = time.Duration(at)*w.slot - now
	w.moveLocked(c, listOf(at))
	if at < w.next {
		w.setLocked(at)
	}
}

// listOf returns the list of a slot.
func listOf(slot int64) uint16 { return slotLists + uint16(slot%slots) }

// setLocked sets the timer for a slot.
func (w *wheel) setLocked(slot int64) {
	w.next = slot
	d := time.Duration(slot)*w.slot - time.Since(w.begin)
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.tick)
	} else {
		w.timer.Reset(d)
	}
}

// turnLocked moves to dueList what is due at the time given.
func (w *wheel) turnLocked(now time.Duration) {
	to := int64(now / w.slot)
	for s := max(w.now, to-slots) + 1; s <= to; s++ {
		for c := w.first[listOf(s)]; c != nil; c = w.first[listOf(s)] {
			w.moveLocked(c, dueList)
		}
	}
	w.now = max(w.now, to)
}

// tick is called by the timer. It makes the looks that are due.
func (w *wheel) tick() {
	for c := w.due(); c != nil; c = w.due() {
		c.lookAside()
	}
}

// due takes a connection whose look is due. If there is none, it sets the timer
// and returns nil.
func (w *wheel) due() *Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = 0
	w.turnLocked(time.Since(w.begin))
	if c := w.first[dueList]; c != nil {
		w.moveLocked(c, restList)
		return c
	}
	w.next = noSlot
	for s := w.now + 1; s < w.now+slots; s++ {
		if w.first[listOf(s)] != nil {
			w.setLocked(s)
			break
		}
	}
	return nil
}
