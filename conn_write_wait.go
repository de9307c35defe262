package websocket

import (
	"context"
	"os"
	"runtime"
	"time"
)

// Writers that wait, and those that let others go first.

// A writer that is about to write lets other goroutines run first, so that their frames gather and go out with its
// own: on one processor a write that does not wait leaves nobody else the time for it. It does so while others have
// been met lately, and after that now and then to find out: soon at first, then ever more seldom, for on several
// processors it costs as much as some writes.
const (
	crowdTurns = 4    // how many writes in a row that met nobody end it
	crowdFirst = 32   // where the count begins: a connection of a few writes never tries
	crowdProbe = 8192 // every how many writes it is tried at least
)

// crowded reports whether a writer should let others run first. The lock is held.
func (w *sender) crowded() bool {
	w.alone++
	return w.alone <= crowdTurns || w.alone&(w.alone-1) == 0 || w.alone%crowdProbe == 0
}

// yield lets other goroutines run while its caller owns the wire without using it. The caller's frame must not have
// been appended: behind it those that come meanwhile would share its fate if it is given up.
//
// The lock is held, and the wire is free. All may have changed when it returns.
func (w *sender) yield() {
	w.owned = true
	w.mu.Unlock()
	runtime.Gosched()
	w.mu.Lock()
	w.owned = false
	if w.wanted > 0 || w.err != nil {
		w.leave() // these have been waiting for the wire, and the caller does not take it from them
	}
}

// free reports whether nobody owns the wire or waits for it. The lock is held.
func (w *sender) free() bool { return !w.owned && w.wanted == 0 }

// wait waits until something has changed, ctx ends or the write deadline passes. The lock is held when it is called,
// and when it returns nil.
func (w *sender) wait(ctx context.Context) error {
	return w.waitUntil(ctx, w.watch.applicationDeadline())
}

// waitUntil is wait with a deadline in place of the application's; the zero time means never.
func (w *sender) waitUntil(ctx context.Context, deadline time.Time) error {
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	changed := w.changed
	w.armIfFree() // what others left to this writer, or it to its next frame, need not wait with it
	w.mu.Unlock()
	var timeout <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-changed:
		w.mu.Lock()
		return nil
	case <-ctx.Done():
		return w.c.interrupted("write", ctx, nil)
	case <-timeout:
		return w.c.interrupted("write", ctx, os.ErrDeadlineExceeded)
	}
}

// waitForWire is wait for one who wants the wire itself. While it waits the owner of the wire leaves to it what has
// gathered, so if it gives up, it sees to that. The
// application's deadline does not concern it if apart is set.
func (w *sender) waitForWire(ctx context.Context, apart bool) error {
	w.wanted++
	locked := false
	defer func() { // ctx is the application's, and may panic
		if locked {
			w.wanted--
			return
		}
		w.mu.Lock()
		w.wanted--
		w.leave()
		w.mu.Unlock()
	}()
	var deadline time.Time
	if !apart {
		deadline = w.watch.applicationDeadline()
	}
	err := w.waitUntil(ctx, deadline)
	locked = err == nil
	return err
}

// wake lets all who wait look again. The lock is held.
func (w *sender) wake() {
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}
