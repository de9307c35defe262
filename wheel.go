package websocket

import (
	"iter"
	"math"
	"time"
)

// A wheel holds connections with the options of a Server, in lists. A connection
// whose heartbeat waits for its next look is in the list of the slot of time in
// which the look is due. So one timer of package time serves all of them, and
// it is set only for slots that have a connection.
//
// The lock of the connSet guards it: all methods end in Locked. No look is made
// with the lock held.
type wheel struct {
	slot time.Duration // immutable: how long a slot is; 0: no connection waits for a look

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
	// Each look may be a slot late, and a dead peer is found after eight or so.
	return min(max(finest/16, time.Millisecond), 50*time.Millisecond)
}

// longest returns how long a connection can wait for a look.
func (w *wheel) longest() time.Duration { return (slots - 2) * w.slot }

// enterLocked takes c in. Its first look is after c.beat.wait.
func (w *wheel) enterLocked(c *Conn, tick func()) {
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
		w.lookLocked(c, c.beat.wait, tick)
	}
}

// leaveLocked forgets c. Without connections a wheel has no timer: it might be
// of a bubble of testing/synctest.
func (w *wheel) leaveLocked(c *Conn) {
	w.moveLocked(c, noList)
	if w.n--; w.n == 0 && w.timer != nil {
		w.timer.Stop()
		w.timer, w.next = nil, noSlot
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

// lookLocked has c looked at after d, or up to a slot later. It does nothing if
// c has left.
func (w *wheel) lookLocked(c *Conn, d time.Duration, tick func()) {
	if c.beat.list == noList {
		return
	}
	now := time.Since(w.begin)
	w.turnLocked(now)
	at := int64((now + min(d, w.longest()) + w.slot - 1) / w.slot)
	at = max(at, w.now+1)
	w.moveLocked(c, listOf(at))
	if at < w.next {
		w.setLocked(at, tick)
	}
}

// listOf returns the list of a slot.
func listOf(slot int64) uint16 { return slotLists + uint16(slot%slots) }

// setLocked sets the timer for a slot.
func (w *wheel) setLocked(slot int64, tick func()) {
	w.next = slot
	d := time.Duration(slot)*w.slot - time.Since(w.begin)
	if w.timer == nil {
		w.timer = time.AfterFunc(d, tick)
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

// tickLocked begins a tick: it takes a connection whose look is due. After the
// last one it sets the timer, and returns nil.
func (w *wheel) tickLocked(tick func()) *Conn {
	w.next = 0
	w.turnLocked(time.Since(w.begin))
	if c := w.first[dueList]; c != nil {
		w.moveLocked(c, restList)
		return c
	}
	w.next = noSlot
	for s := w.now + 1; s < w.now+slots; s++ {
		if w.first[listOf(s)] != nil {
			w.setLocked(s, tick)
			break
		}
	}
	return nil
}

// allLocked returns an iterator over all connections.
func (w *wheel) allLocked() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		if w.first == nil {
			return
		}
		for _, c := range w.first {
			for ; c != nil; c = c.beat.after {
				if !yield(c) {
					return
				}
			}
		}
	}
}
