package websocket

import (
	"context"
	"net"
	"sync"
	"time"
)

// A watch ends the blocking I/O of one direction of a transport when the context of the call in progress ends, by moving
// that direction's deadline into the past. It also keeps the deadline that the application set, to put it back afterwards.
//
// A context is watched once, and stays watched while calls come with the same one: what a call costs is then one
// comparison. Two contexts are the same if they share their Done channel, for they end at the same moment.
type watch struct {
	conn  net.Conn // immutable
	write bool     // immutable: which direction

	// done belongs to whoever owns the direction: the reader, or the owner of the wire. Nobody else writes own.
	done <-chan struct{}
	own  bool // the I/O in progress is the library's, whom the application's deadline does not concern; also guarded by mu

	mu       sync.Mutex // guards what follows
	stop     func() bool
	gen      uint32    // counts the registrations: an old one that fires late is told by it
	fired    bool      // the deadline is in the past because the context ended
	ended    bool      // no context is watched any more
	deadline time.Time // the application's
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// begin makes ctx the context whose end interrupts the I/O that follows, and the application's deadline another limit of it.
// Its caller owns the direction.
func (w *watch) begin(ctx context.Context) {
	if done := ctx.Done(); done != w.done || w.own {
		w.change(ctx, done, false)
	}
}

// beginOwn is begin for I/O of the library's own.
func (w *watch) beginOwn(ctx context.Context) {
	if done := ctx.Done(); done != w.done || !w.own {
		w.change(ctx, done, true)
	}
}

func (w *watch) change(ctx context.Context, done <-chan struct{}, own bool) {
	w.mu.Lock()
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
	w.gen++
	gen := w.gen
	other := w.own != own
	w.own = own
	if w.fired || other && !w.deadline.IsZero() {
		w.fired = false
		w.apply(w.limit())
	}
	if done != nil && !w.ended {
		w.stop = context.AfterFunc(ctx, func() { w.fire(gen) })
	}
	w.mu.Unlock()
	w.done = done
}

func (w *watch) fire(gen uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if gen == w.gen {
		w.fired = true
		w.apply(past)
	}
}

// setDeadline sets the application's deadline.
func (w *watch) setDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	if w.fired {
		return nil
	}
	return w.apply(w.limit())
}

// limit returns the deadline that holds for the I/O in progress. The lock is held.
func (w *watch) limit() time.Time {
	if w.own {
		return time.Time{}
	}
	return w.deadline
}

// applicationDeadline returns the deadline that the application set.
func (w *watch) applicationDeadline() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deadline
}

// end drops the context that is watched: the connection has ended.
func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
	w.gen++
	w.ended = true
}

// apply sets the transport's deadline. It does not wait for I/O.
func (w *watch) apply(t time.Time) error {
	if w.write {
		return w.conn.SetWriteDeadline(t)
	}
	return w.conn.SetReadDeadline(t)
}
