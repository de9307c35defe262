// Package sendermodel is a model of the sender, the writing half of a Conn,
// small enough to try all interleavings. See README.md.
package sendermodel

import (
	"fmt"
	"strings"
)

// A Fault is a mistake that can be put into the model.
type Fault int

const (
	// None is the sender as it is.
	None Fault = iota
	// Strand: a writer waits for the wire, and finds that the sender has
	// stopped. It gives the lock back without a look at what has gathered.
	Strand
	// Unbounded: what the owner of the wire has taken does not count to the
	// bound.
	Unbounded
	// Forget: a reader that gathers pongs does not come back for them.
	Forget
	// Sleep: the owner of the wire leaves it without waking those that wait.
	Sleep
)

// An Op is what a goroutine does in one call.
type Op int

const (
	Short    Op = iota + 1 // a short message without a context
	ShortCtx               // a short message whose context may end
	Long                   // a long payload without a context
	LongCtx                // a long payload whose context may end
	More                   // a short message whose writer sends another at once
	Pong                   // the reading goroutine answers a ping
	Fetch                  // the reading goroutine is about to wait for bytes
	HandOver               // the reading goroutine returns a message
	Close                  // the close frame, without waiting
)

// A Setup is a number of goroutines and what each of them does in turn. It also
// has the bound of the gather buffer, in frames.
type Setup struct {
	Limit   int
	Scripts [][]Op
	Tries   bool // the transport can try to write without waiting
}

const (
	maxProcs  = 5
	maxFrames = 12
)

// A frame is the number of the goroutine and of its call, from 1 on.
type frame uint8

func frameOf(proc, call int) frame { return frame(proc*4 + call + 1) }

// frames is a queue of frames: a value that can be compared.
type frames struct {
	n  uint8
	at [maxFrames]frame
}

func (q *frames) push(f frame) { q.at[q.n] = f; q.n++ }

func (q *frames) prepend(p frames) {
	for i := range q.n {
		p.push(q.at[i])
	}
	*q = p
}

// after returns the frames behind the first k.
func (q frames) after(k uint8) (rest frames) {
	for i := k; i < q.n; i++ {
		rest.push(q.at[i])
	}
	return rest
}

// The places at which a goroutine can be between two sections of the lock.
type place uint8

const (
	ready          place = iota
	waits                // for news
	waitsForWire         // for news, counted in wanted
	yields               // owns the wire without using it
	writes               // owns the wire, with a frame of its own
	writesGathered       // owns the wire, to make room
	tries                // owns the wire, for an attempt that does not wait
	done
)

type proc struct {
	at      place
	call    uint8
	woken   bool
	yielded bool
}

// A state is all that the goroutines share, and where each of them is.
type state struct {
	owned, armed, held, pending, stopped, over bool

	wanted uint8
	buf    frames
	fly    frames // what the owner of the wire has taken
	late   frame
	out    [32]bool // frames that the transport has
	acked  [32]bool // frames whose call returned nil
	flush  place    // of the flusher; done when there is none
	procs  [maxProcs]proc
}

// A Report says what a search has found.
type Report struct {
	States    int
	Violation string   // "" if every invariant held in every state
	Trace     []string // how it came to that
}

type search struct {
	setup Setup
	fault Fault
	from  map[state]step
	queue []state
	bad   string
}

type step struct {
	before state
	what   string
}

// Check tries all interleavings of setup and returns the first violation.
func Check(setup Setup, fault Fault) Report {
	s := &search{setup: setup, fault: fault, from: map[state]step{}}
	var first state
	first.flush = done
	for i := range first.procs {
		if i >= len(setup.Scripts) {
			first.procs[i].at = done
		}
	}
	s.from[first] = step{}
	s.queue = append(s.queue, first)
	for len(s.queue) > 0 {
		now := s.queue[0]
		s.queue = s.queue[1:]
		if moved := s.expand(now); !moved {
			s.bad = s.quiescent(now)
		}
		if s.bad == "" {
			s.bad = s.bounded(now)
		}
		if s.bad != "" {
			return Report{len(s.from), s.bad, s.trace(now)}
		}
	}
	return Report{States: len(s.from)}
}

func (s *search) trace(end state) (lines []string) {
	for {
		st := s.from[end]
		if st.what == "" {
			break
		}
		lines = append([]string{st.what}, lines...)
		end = st.before
	}
	return lines
}

// bounded is the invariant of memory: the limit and one message. The close
// frame and one pong may come in addition.
func (s *search) bounded(now state) string {
	if n := int(now.buf.n + now.fly.n); n > s.setup.Limit+2 {
		return fmt.Sprintf("%d frames wait within a limit of %d", n, s.setup.Limit)
	}
	return ""
}

// quiescent is the invariant of states in which no goroutine can go on.
func (s *search) quiescent(now state) string {
	if now.over {
		return ""
	}
	if now.buf.n > 0 || now.late != 0 {
		return fmt.Sprintf("stranded: %d gathered frames that no goroutine will write", now.buf.n)
	}
	for i, p := range now.procs {
		if p.at != done {
			return fmt.Sprintf("goroutine %d waits for ever", i)
		}
	}
	for f, acked := range now.acked {
		if acked && !now.out[f] {
			return fmt.Sprintf("frame %d was lost, though its call returned nil", f)
		}
	}
	return ""
}

// reach notes that what leads from before to after.
func (s *search) reach(before, after state, what string) {
	if _, known := s.from[after]; !known {
		s.from[after] = step{before, what}
		s.queue = append(s.queue, after)
	}
}

// expand adds all states that follow now. It reports whether there is a step
// that a goroutine takes without the end of a context.
func (s *search) expand(now state) (moved bool) {
	for i := range s.setup.Scripts {
		moved = s.expandProc(now, i) || moved
	}
	return s.expandFlusher(now) || moved
}

// unlock mirrors sender.unlock.
func (s *search) unlock(w *state, news bool) {
	if w.late != 0 && !w.owned && !w.stopped && s.fits(w) {
		gather(w, w.late, false)
		w.late = 0
	}
	if news {
		for i := range w.procs {
			if w.procs[i].at == waits || w.procs[i].at == waitsForWire {
				w.procs[i].woken = true
			}
		}
	}
	if w.buf.n > 0 {
		w.pending = true
	}
	if w.buf.n > 0 && !w.owned && w.wanted == 0 && !w.armed && !w.held {
		w.armed, w.flush = true, ready
	}
}

func (s *search) fits(w *state) bool {
	queued := int(w.buf.n)
	if s.fault != Unbounded {
		queued += int(w.fly.n)
	}
	return queued == 0 || queued+1 <= s.setup.Limit
}

func free(w *state) bool { return !w.owned && w.wanted == 0 }

func take(w *state) {
	w.fly, w.buf, w.owned, w.held = w.buf, frames{}, true, false
}

func gather(w *state, f frame, held bool) {
	w.held = held && (w.held || w.buf.n == 0)
	w.buf.push(f)
}

// leave mirrors leaveLocked and unlock: left is what could not be written.
func (s *search) leave(w *state, left frames) {
	w.buf.prepend(left)
	w.owned, w.fly = false, frames{}
	s.unlock(w, s.fault != Sleep)
}

// written marks the first k frames in flight as written.
func written(w *state, k uint8) {
	for i := range k {
		w.out[w.fly.at[i]] = true
	}
}

// next ends a call of goroutine i.
func (s *search) next(w *state, i int, ok bool) {
	p := &w.procs[i]
	if ok {
		w.acked[frameOf(i, int(p.call))] = true
	}
	*p = proc{call: p.call + 1}
	if int(p.call) == len(s.setup.Scripts[i]) {
		p.at = done
	}
}

func (s *search) expandProc(now state, i int) (moved bool) {
	p := now.procs[i]
	if p.at == done {
		return false
	}
	op := s.setup.Scripts[i][p.call]
	name := func(what string) string { return fmt.Sprintf("%d.%d %v: %s", i, p.call, op, what) }
	switch p.at {
	case ready:
		w := now
		s.begin(&w, i, op)
		s.reach(now, w, name("begins"))
		return true
	case waits, waitsForWire:
		if op == ShortCtx || op == LongCtx {
			w := now
			if p.at == waitsForWire {
				w.wanted--
			}
			s.next(&w, i, false)
			s.unlock(&w, false)
			s.reach(now, w, name("its context ends while it waits"))
		}
		if !p.woken {
			return false
		}
		w := now
		if p.at == waitsForWire {
			w.wanted--
		}
		w.procs[i].at, w.procs[i].woken = ready, false
		if w.stopped && p.at == waitsForWire && s.fault == Strand {
			s.next(&w, i, false) // and no unlock
		} else {
			s.begin(&w, i, op)
		}
		s.reach(now, w, name("is woken"))
		return true
	case yields:
		w := now
		w.owned = false
		w.procs[i].at, w.procs[i].yielded = ready, true
		s.section(&w, i, op, w.wanted > 0 || w.stopped)
		s.reach(now, w, name("has yielded"))
		return true
	case tries:
		for k := range now.fly.n + 1 {
			w := now
			written(&w, k)
			s.next(&w, i, false)
			s.leave(&w, now.fly.after(k))
			s.reach(now, w, name(fmt.Sprintf("writes %d without waiting", k)))
		}
		return true
	case writes, writesGathered:
		w := now
		written(&w, now.fly.n)
		if p.at == writes {
			w.out[frameOf(i, int(p.call))] = true
			s.next(&w, i, true)
			s.leave(&w, frames{})
		} else {
			w.procs[i].at = ready
			s.leave(&w, frames{})
		}
		s.reach(now, w, name("writes all"))
		if op == ShortCtx || op == LongCtx {
			s.cut(now, i, name)
		}
		return true
	}
	return false
}

// cut is the end of a write's context, between any two frames.
func (s *search) cut(now state, i int, name func(string) string) {
	p := now.procs[i]
	others := now.fly
	own := frameOf(i, int(p.call))
	if p.at == writes && others.n > 0 && others.at[others.n-1] == own {
		others.n--
		others.at[others.n] = 0
	}
	for k := range others.n + 1 {
		w := now
		written(&w, k)
		s.next(&w, i, false)
		s.leave(&w, others.after(k))
		s.reach(now, w, name(fmt.Sprintf("its context ends when %d are written", k)))
	}
	w := now // inside a frame
	w.stopped, w.over, w.owned = true, true, false
	w.buf, w.fly, w.late = frames{}, frames{}, 0
	s.next(&w, i, false)
	s.unlock(&w, true)
	s.reach(now, w, name("its context ends inside a frame"))
}

func (s *search) begin(w *state, i int, op Op) { s.section(w, i, op, false) }

// section is a section of the lock, from its begin or from where the goroutine
// was woken. It ends with unlock.
func (s *search) section(w *state, i int, op Op, news bool) {
	p := &w.procs[i]
	own := frameOf(i, int(p.call))
	switch op {
	case Pong:
		if !w.stopped {
			if w.late == 0 && s.fits(w) {
				gather(w, own, true)
			} else {
				w.late = own
			}
		}
		s.next(w, i, false)
	case HandOver:
		if s.fault != Forget {
			w.held = false
		}
		s.next(w, i, false)
	case Fetch:
		if !w.pending {
			s.next(w, i, false)
			return
		}
		w.pending = false
		if s.fault == Forget {
			s.next(w, i, false)
			break
		}
		s.tryWrite(w, i)
	case Close:
		if w.stopped {
			s.next(w, i, false)
			break
		}
		w.stopped, w.late, news = true, 0, true
		gather(w, own, false)
		w.acked[own] = true
		s.tryWrite(w, i)
	default:
		news = s.admit(w, i, op) || news
	}
	s.unlock(w, news)
}

// tryWrite mirrors tryWriteLocked up to the attempt.
func (s *search) tryWrite(w *state, i int) {
	w.held = false
	if w.buf.n == 0 || !free(w) || !s.setup.Tries {
		s.next(w, i, false)
		return
	}
	take(w)
	w.procs[i].at = tries
}

// admit mirrors sender.admit.
func (s *search) admit(w *state, i int, op Op) (news bool) {
	p := &w.procs[i]
	long := op == Long || op == LongCtx
	own := frameOf(i, int(p.call))
	switch {
	case w.stopped:
		s.next(w, i, false)
	case long && w.owned:
		w.held = false
		w.wanted++
		p.at, p.woken = waitsForWire, false
	case long:
		take(w)
		p.at = writes
	case !s.fits(w) && w.owned:
		w.held = false
		p.at, p.woken = waits, false
	case !s.fits(w):
		take(w)
		p.at = writesGathered
	case !p.yielded && op != More && free(w):
		w.owned = true
		p.at = yields
	default:
		wasFree := free(w)
		gather(w, own, op == More)
		if !wasFree || op == More {
			s.next(w, i, true)
			break
		}
		take(w)
		p.at = writes
	}
	return false
}

func (s *search) expandFlusher(now state) bool {
	switch now.flush {
	case ready:
		w := now
		if w.buf.n > 0 && free(&w) {
			take(&w)
			w.flush = writes
		} else {
			w.armed, w.flush = false, done
		}
		s.unlock(&w, true)
		s.reach(now, w, "the flusher looks")
		return true
	case writes:
		w := now
		written(&w, now.fly.n)
		w.flush = ready
		s.leave(&w, frames{})
		s.reach(now, w, "the flusher writes all")
		return true
	}
	return false
}

func (o Op) String() string {
	return [...]string{"", "short", "short with context", "long", "long with context", "more", "pong", "fetch", "hand over", "close"}[o]
}

// String prints the violation and how it came to it.
func (r Report) String() string {
	if r.Violation == "" {
		return fmt.Sprintf("%d states, no violation", r.States)
	}
	return r.Violation + "\n  " + strings.Join(r.Trace, "\n  ")
}
