package poller

import (
	"sync"
	"time"
)

// A wheel runs the timers of many sockets with one timer of package time. A
// timer is a place in a ring of lists, one for each slot of time.
type wheel struct {
	slot time.Duration // immutable: how long a slot is

	mu    sync.Mutex     // guards what follows; never held while a Tick runs
	slots [slots]*Socket // the first of each list
	n     int            // timers that are set
	now   int64          // the slot up to which all has run
	begin time.Time      // of slot 0
	tick  *time.Timer    // nil until a timer is set
	ticks bool           // tick will run
	ended bool           // no timer runs any more
}

const slots = 512

// A timer is the timer of one socket. Its zero value is not set.
type timer struct {
	next, prev *Socket // in the list of its slot; prev is nil for the first
	at         int64   // the slot in which it is due; 0: it is not set
}

// SetTimer has Tick called once, d from now or up to a slot later, in place of
// what was set before. It does nothing when the socket is closed.
func (s *Socket) SetTimer(d time.Duration) {
	if !s.closed() {
		s.p.wheel.set(s, d)
	}
	if s.closed() {
		s.p.wheel.stop(s)
	}
}

// StopTimer takes back what was set. A Tick that runs already goes on.
func (s *Socket) StopTimer() { s.p.wheel.stop(s) }

func (w *wheel) set(s *Socket, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := &s.timer
	w.stopLocked(s)
	if w.ended {
		return
	}
	if w.begin.IsZero() {
		w.begin = time.Now()
	}
	if w.n == 0 {
		w.now = w.elapsed()
	}
	t.at = max(w.now+1, int64((time.Since(w.begin)+max(d, 0)+w.slot-1)/w.slot))
	head := &w.slots[t.at%slots]
	t.next = *head
	if t.next != nil {
		t.next.timer.prev = s
	}
	*head = s
	w.n++
	if !w.ticks {
		w.ticks = true
		if w.tick == nil {
			w.tick = time.AfterFunc(w.rest(), w.run)
		} else {
			w.tick.Reset(w.rest())
		}
	}
}

// elapsed returns the slot that it is now.
func (w *wheel) elapsed() int64 { return int64(time.Since(w.begin) / w.slot) }

// rest returns how long the slot lasts that it is now.
func (w *wheel) rest() time.Duration { return w.slot - time.Since(w.begin)%w.slot }

func (w *wheel) stop(s *Socket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopLocked(s)
}

func (w *wheel) stopLocked(s *Socket) {
	t := &s.timer
	if t.at == 0 {
		return
	}
	if t.prev != nil {
		t.prev.timer.next = t.next
	} else {
		w.slots[t.at%slots] = t.next
	}
	if t.next != nil {
		t.next.timer.prev = t.prev
	}
	*t = timer{}
	w.n--
}

// run runs what is due. The runtime's timer calls it.
func (w *wheel) run() {
	w.mu.Lock()
	for now := w.elapsed(); w.now < now && !w.ended; {
		w.now++
		// A timer of a later turn of the wheel stays. The list may change while
		// a Tick runs, so each search begins anew, behind those that stay.
		for {
			s := w.slots[w.now%slots]
			for s != nil && s.timer.at > w.now {
				s = s.timer.next
			}
			if s == nil {
				break
			}
			w.stopLocked(s)
			w.mu.Unlock()
			s.work.Tick()
			w.mu.Lock()
		}
	}
	if w.ticks = w.n > 0 && !w.ended; w.ticks {
		w.tick.Reset(w.rest())
	}
	w.mu.Unlock()
}

func (w *wheel) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	if w.tick != nil {
		w.tick.Stop()
	}
}
