package websocket

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A watch interrupts the I/O of one direction of a transport when the context
// of the call in progress ends. It moves that direction's deadline into the
// past. It also keeps the deadline that the application set.
//
// A call stands between begin and settle. Invariant: when no call is in
// progress, the transport's deadline is the application's, or none if timed is
// set.
//
// A context is watched once, and stays watched while calls come with the same
// one. A call then costs one comparison. Two contexts are the same if they
// share their Done channel, because they end at the same moment.
type watch struct {
	timed   bool // immutable: the application's deadline is kept by a timer of the guard
	foreign bool // immutable: whether the transport heeds deadlines is not known
	ruins   bool // immutable: a call that was cut short ruins the transport, even one of nothing
	pieces  bool // immutable: only calls that have returned tell what the peer has taken

	call callFlags

	// guard is made when there is something to guard: a context that can end,
	// or a deadline. Most connections never have any.
	guard atomic.Pointer[guard]
}

// callFlags tell what is known of the call in progress.
type callFlags struct{ bits atomic.Uint32 }

const (
	callOwn    = 1 << iota // the application's deadline does not concern it. Written by the direction's owner
	callBusy               // it may have to be interrupted. Written by the direction's owner
	callStuck              // it could not be interrupted: the connection has ended for that
	callRuined             // a call was cut short, and ruins is set. Written by the direction's owner
)

func (f *callFlags) has(bit uint32) bool { return f.bits.Load()&bit != 0 }

func (f *callFlags) set(bit uint32, on bool) {
	if on {
		f.bits.Or(bit)
	} else {
		f.bits.And(^bit)
	}
}

// A guard is what a watch needs when there is something that ends I/O.
type guard struct {
	w    *watch          // immutable
	t    *transport      // immutable
	done <-chan struct{} // of the context that is watched; nil: none. Its owner is that of the direction

	ended atomic.Bool // the context that is watched has ended. Written with mu
	late  atomic.Bool // the application's deadline has passed, if timed. Written with mu
	fired atomic.Bool // the call in progress is interrupted, or about to be. Written with mu

	mu       sync.Mutex // guards what follows
	stop     func() bool
	gen      uint32      // counts the contexts: one that ends late is told by it
	calls    uint32      // counts the calls that were interrupted: a closer that is late is told by it
	applied  bool        // value of callOwn when the deadline was last decided on
	deadline time.Time   // the application's
	timer    *time.Timer // of the deadline, if timed
	closer   *time.Timer // ends the connection if the interruption does not help
	bounds   []*bound    // what ends with the deadline, in addition to calls of the transport
}

// A bound ends a context when the application's deadline passes.
type bound struct {
	cancel context.CancelFunc
	timer  *time.Timer // nil without a deadline
}

// unguarded is the guard of all watches that have ended.
var unguarded guard

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// How long a transport of a foreign type may take to heed a deadline in the
// past, before the connection is ended. Also how long a write over TLS goes on
// that is interrupted. The library's own calls end with the connection in any
// case.
const (
	interruptGrace    = 100 * time.Millisecond
	interruptGraceOwn = 10 * time.Millisecond
)

// errNotInterrupted is why a connection is over whose transport could not be
// interrupted in another way.
var errNotInterrupted = interruptedEnd("websocket: the connection is closed: a call of the transport had to be interrupted, and the transport does not heed deadlines")

// begin makes ctx the context whose end interrupts the call that follows, and
// the application's deadline another limit of it. Its caller owns the
// direction.
func (w *watch) begin(t *transport, ctx context.Context) { w.beginCall(t, ctx, false) }

// beginOwn is begin for a call of the library itself.
func (w *watch) beginOwn(t *transport, ctx context.Context) { w.beginCall(t, ctx, true) }

func (w *watch) beginCall(t *transport, ctx context.Context, own bool) {
	if isContextOf(t, ctx) {
		ctx = context.Background() // the end of t interrupts the call
	}
	done := ctx.Done()
	g := w.guard.Load()
	if done != g.watched() || own != w.call.has(callOwn) {
		w.change(t, ctx, done, own)
		return
	}
	if done == nil && !w.timed {
		return
	}
	w.call.set(callBusy, true)
	if g = w.guard.Load(); g != nil && (g.ended.Load() || g.late.Load() && !own) {
		g.mu.Lock()
		g.interruptLocked()
		g.mu.Unlock()
	}
}

// change begins a call that has another context than the last one, or another
// value of own. The call is in progress when no interruption of the last one
// can reach it any more. The context of the last one may end just now.
func (w *watch) change(t *transport, ctx context.Context, done <-chan struct{}, own bool) {
	// A goroutine that makes a guard looks at own and busy afterwards. Either
	// it sees them, or its guard is seen here.
	w.call.set(callOwn, own)
	g := w.guard.Load()
	if g == nil && done != nil {
		g = w.makeGuard(t)
	}
	if g == nil && w.timed {
		w.call.set(callBusy, true)
		g = w.guard.Load()
	}
	if g != nil && g != &unguarded {
		g.done = done
		g.change(ctx)
	}
}

// settle ends the call that begin began. It reports whether the call was
// interrupted: then its error, if it moved nothing, is that of the
// interruption.
func (w *watch) settle() (interrupted bool) {
	if !w.call.has(callBusy) {
		return false
	}
	w.call.set(callBusy, false)
	g := w.guard.Load()
	if g == nil || g == &unguarded || !g.fired.Load() {
		return w.call.has(callStuck)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.fired.Load() {
		return false
	}
	g.relieveLocked()
	return true
}

// relieveLocked takes the interruption of a call back.
func (g *guard) relieveLocked() {
	g.fired.Store(false)
	g.calls++
	if g.closer != nil {
		g.closer.Stop()
	}
	g.apply(g.limitLocked())
}

// makeGuard returns the guard, which it makes if there is none.
func (w *watch) makeGuard(t *transport) *guard {
	w.guard.CompareAndSwap(nil, &guard{w: w, t: t})
	return w.guard.Load()
}

// watched returns the Done channel of the context that is watched, or nil.
func (g *guard) watched() <-chan struct{} {
	if g == nil {
		return nil
	}
	return g.done
}

// change watches ctx for a call that begins, in place of what was watched
// before.
func (g *guard) change(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stop != nil {
		g.stop()
		g.stop = nil
	}
	g.gen++
	gen := g.gen
	g.ended.Store(false)
	own := g.w.call.has(callOwn)
	switch {
	case g.fired.Load():
		g.relieveLocked()
	case g.applied != own && !g.deadline.IsZero():
		g.apply(g.limitLocked())
	}
	g.w.call.set(callBusy, ctx.Done() != nil || g.w.timed)
	if g.late.Load() && !own {
		g.interruptLocked()
	}
	if ctx.Done() != nil && g.w.guard.Load() == g {
		g.stop = context.AfterFunc(ctx, func() { g.contextEnded(gen) })
	}
}

// contextEnded is called when a context has ended.
func (g *guard) contextEnded(gen uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if gen == g.gen {
		g.ended.Store(true)
		g.interruptLocked()
	}
}

// deadlinePassed is called by the timer of the application's deadline.
func (g *guard) deadlinePassed(deadline time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !deadline.Equal(g.deadline) || g.w.guard.Load() != g {
		return
	}
	g.late.Store(true)
	if !g.w.call.has(callOwn) {
		g.interruptLocked()
	}
}

// interruptLocked interrupts the call in progress, if there is one.
func (g *guard) interruptLocked() {
	if g.fired.Load() {
		return
	}
	// Before the look at busy: either settle sees it, or the call is over here.
	g.fired.Store(true)
	if !g.w.call.has(callBusy) || g.w.guard.Load() != g {
		g.fired.Store(false)
		return
	}
	grace := interruptGrace
	if g.w.call.has(callOwn) {
		grace = interruptGraceOwn
	}
	if g.w.ruins && !g.w.foreign {
		// A write that does not wait for the peer goes through. If it were cut
		// before its first byte, or behind its last, it would end the
		// connection for nothing.
		g.apply(time.Now().Add(grace))
		return
	}
	err := g.apply(past)
	if !g.w.foreign {
		return
	}
	if err != nil {
		grace = 0
	}
	calls := g.calls
	g.closer = time.AfterFunc(grace, func() { g.abandon(calls) })
}

// abandon ends the connection, unless the call that was interrupted has
// returned.
func (g *guard) abandon(calls uint32) {
	g.mu.Lock()
	stuck := g.fired.Load() && g.calls == calls
	if stuck {
		g.w.call.set(callStuck, true)
	}
	g.mu.Unlock()
	if stuck {
		g.t.c.end(errNotInterrupted)
	}
}

// setDeadline sets the application's deadline.
func (w *watch) setDeadline(t *transport, deadline time.Time) error {
	g := w.guard.Load()
	if g == nil {
		if deadline.IsZero() {
			return nil // as it is
		}
		g = w.makeGuard(t)
	}
	if g == &unguarded {
		return net.ErrClosed
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline = deadline
	for _, b := range g.bounds {
		b.set(deadline)
	}
	if w.timed {
		if g.timer != nil {
			g.timer.Stop()
			g.timer = nil
		}
		g.late.Store(!deadline.IsZero() && !time.Now().Before(deadline))
		switch {
		case w.guard.Load() != g:
			return net.ErrClosed
		case g.late.Load() && !w.call.has(callOwn):
			g.interruptLocked()
		case !g.late.Load() && !deadline.IsZero():
			g.timer = time.AfterFunc(time.Until(deadline), func() { g.deadlinePassed(deadline) })
		}
		return nil
	}
	if g.fired.Load() {
		return nil
	}
	return g.apply(g.limitLocked())
}

// bound returns a child of ctx that also ends when the application's deadline
// passes, even if it is set meanwhile.
func (w *watch) bound(t *transport, ctx context.Context) (context.Context, context.CancelFunc) {
	g := w.guard.Load()
	if g == nil {
		g = w.makeGuard(t)
	}
	if g == &unguarded {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &bound{cancel: cancel}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bounds = append(g.bounds, b)
	b.set(g.deadline)
	return ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.bounds = slices.DeleteFunc(g.bounds, func(x *bound) bool { return x == b })
		b.set(time.Time{})
		cancel()
	}
}

// set has b end at deadline. The zero time means never.
func (b *bound) set(deadline time.Time) {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if deadline.IsZero() {
		return
	}
	left := time.Until(deadline)
	if left <= 0 {
		b.cancel() // at once: a write must not begin and then be cut
		return
	}
	b.timer = time.AfterFunc(left, b.cancel)
}

// limitLocked returns the deadline that the transport is to have.
func (g *guard) limitLocked() time.Time {
	if g.applied = g.w.call.has(callOwn); g.applied || g.w.timed {
		return time.Time{}
	}
	return g.deadline
}

// applicationDeadline returns the deadline that the application set.
func (w *watch) applicationDeadline() time.Time {
	g := w.guard.Load()
	if g == nil || g == &unguarded {
		return time.Time{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.deadline
}

// tooLate reports whether a call with ctx would be interrupted at once.
func (w *watch) tooLate(ctx context.Context, own bool) bool {
	if ctx.Err() != nil {
		return true
	}
	if own {
		return false
	}
	deadline := w.applicationDeadline()
	return !deadline.IsZero() && !time.Now().Before(deadline)
}

// end drops the context that is watched: the connection has ended.
func (w *watch) end() {
	g := w.guard.Swap(&unguarded)
	if g == nil || g == &unguarded {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stop != nil {
		g.stop()
		g.stop = nil
	}
	if g.timer != nil {
		g.timer.Stop()
	}
	if g.closer != nil {
		g.closer.Stop()
	}
	g.gen++
}

// apply sets the transport's deadline. It does not wait for I/O.
func (g *guard) apply(t time.Time) error {
	if g.w == &g.t.out {
		return g.t.conn.SetWriteDeadline(t)
	}
	return g.t.conn.SetReadDeadline(t)
}
