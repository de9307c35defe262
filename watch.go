package websocket

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A watch ends the blocking I/O of one direction of a transport when the context of the call in progress ends, by moving
// that direction's deadline into the past. It also keeps the deadline that the application set, to put it back afterwards.
//
// A context is watched once, and stays watched while calls come with the same one: what a call costs is then one
// comparison. Two contexts are the same if they share their Done channel, for they end at the same moment.
type watch struct {
	write bool            // immutable: which direction
	own   atomic.Bool     // the I/O in progress is the library's, whom the application's deadline does not concern. Written by the direction's owner
	done  <-chan struct{} // belongs to whoever owns the direction: the reader, or the owner of the wire

	// guard is made when there is something to guard: a context that can end, or a deadline. Most connections never
	// have any.
	guard atomic.Pointer[guard]
}

// A guard is what a watch needs when there is something that ends I/O.
type guard struct {
	w    *watch   // immutable
	conn net.Conn // immutable

	mu       sync.Mutex // guards what follows
	stop     func() bool
	gen      uint32    // counts the registrations: an old one that fires late is told by it
	fired    bool      // the deadline is in the past because the context ended
	applied  bool      // whether own was set when the deadline was last decided on
	deadline time.Time // the application's
}

// unguarded is the guard of all watches that have ended.
var unguarded guard

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// begin makes ctx the context whose end interrupts the I/O on conn that follows, and the application's deadline
// another limit of it. Its caller owns the direction.
func (w *watch) begin(conn net.Conn, ctx context.Context) {
	if done := ctx.Done(); done != w.done || w.own.Load() {
		w.change(conn, ctx, done, false)
	}
}

// beginOwn is begin for I/O of the library's own.
func (w *watch) beginOwn(conn net.Conn, ctx context.Context) {
	if done := ctx.Done(); done != w.done || !w.own.Load() {
		w.change(conn, ctx, done, true)
	}
}

func (w *watch) change(conn net.Conn, ctx context.Context, done <-chan struct{}, own bool) {
	w.done = done
	// Whoever makes a guard looks at own afterwards: either it sees this, or its guard is seen here.
	w.own.Store(own)
	g := w.guard.Load()
	if g == nil && done != nil {
		g = w.makeGuard(conn)
	}
	if g != nil && g != &unguarded {
		g.change(ctx)
	}
}

// makeGuard returns the guard, which it makes if there is none.
func (w *watch) makeGuard(conn net.Conn) *guard {
	w.guard.CompareAndSwap(nil, &guard{w: w, conn: conn})
	return w.guard.Load()
}

// change watches ctx, in place of what was watched before.
func (g *guard) change(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stop != nil {
		g.stop()
		g.stop = nil
	}
	g.gen++
	gen := g.gen
	if g.fired || g.applied != g.w.own.Load() && !g.deadline.IsZero() {
		g.fired = false
		g.apply(g.limit())
	}
	if ctx.Done() != nil && g.w.guard.Load() == g {
		g.stop = context.AfterFunc(ctx, func() { g.fire(gen) })
	}
}

func (g *guard) fire(gen uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if gen == g.gen {
		g.fired = true
		g.apply(past)
	}
}

// setDeadline sets the application's deadline for I/O on conn.
func (w *watch) setDeadline(conn net.Conn, t time.Time) error {
	g := w.guard.Load()
	if g == nil {
		if t.IsZero() {
			return nil // as it is
		}
		g = w.makeGuard(conn)
	}
	if g == &unguarded {
		return net.ErrClosed
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline = t
	if g.fired {
		return nil
	}
	return g.apply(g.limit())
}

// limit returns the deadline that holds for the I/O in progress. The lock is held.
func (g *guard) limit() time.Time {
	if g.applied = g.w.own.Load(); g.applied {
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
	g.gen++
}

// apply sets the transport's deadline. It does not wait for I/O.
func (g *guard) apply(t time.Time) error {
	if g.w.write {
		return g.conn.SetWriteDeadline(t)
	}
	return g.conn.SetReadDeadline(t)
}
