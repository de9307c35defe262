// Package wait has the lock that the two halves of a connection wait for. Its
// waiters can give up.
package wait

import (
	"context"
	"runtime"
	"sync/atomic"
)

// A Turn is a lock whose waiters can give up, and that may be held across I/O:
// waiting is on a channel. Its zero value is free. Without contention it costs
// two atomic operations and no memory.
type Turn struct {
	state atomic.Int32 // turnFree, turnHeld, turnContended
	// wake passes one token to a waiter. The first waiter makes it.
	wake atomic.Pointer[chan struct{}]
}

const (
	turnFree      = iota
	turnHeld      // no goroutine waits
	turnContended // held, and a goroutine may wait
	turnPeeked    // held for a moment, by Peek
)

// Held reports whether a goroutine holds the turn, other than by Peek.
func (t *Turn) Held() bool {
	switch t.state.Load() {
	case turnFree, turnPeeked:
		return false
	}
	return true
}

// Peek takes the turn if it is free, for a moment: its holder waits for
// nothing, and does not count in Held. Another Peek is waited for. Unpeek gives
// the turn back.
func (t *Turn) Peek() bool {
	for !t.state.CompareAndSwap(turnFree, turnPeeked) {
		switch t.state.Load() {
		case turnHeld, turnContended:
			return false
		case turnPeeked:
			runtime.Gosched()
		}
	}
	return true
}

// Unpeek gives back what Peek took. It reports whether a TryLockOrNote failed
// meanwhile.
func (t *Turn) Unpeek() (tried bool) {
	if tried = t.state.Swap(turnFree) == turnContended; tried {
		t.post()
	}
	return tried
}

// TryLockOrNote is TryLock. If it fails because of a Peek, Unpeek says so.
func (t *Turn) TryLockOrNote() bool {
	for {
		switch t.state.Load() {
		case turnFree:
			if t.TryLock() {
				return true
			}
		case turnPeeked:
			if t.state.CompareAndSwap(turnPeeked, turnContended) {
				return false
			}
		default:
			return false
		}
	}
}

// TryLock takes the turn if it is free.
func (t *Turn) TryLock() bool { return t.state.CompareAndSwap(turnFree, turnHeld) }

// Lock takes the turn, or returns ctx's error when ctx ends first.
func (t *Turn) Lock(ctx context.Context) error {
	if t.TryLock() {
		return nil
	}
	return t.lockSlow(ctx)
}

func (t *Turn) lockSlow(ctx context.Context) error {
	wake := t.wake.Load()
	if wake == nil {
		ch := make(chan struct{}, 1)
		t.wake.CompareAndSwap(nil, &ch)
		wake = t.wake.Load()
	}
	for {
		// A waiter leaves the state contended, so that the holder's Unlock
		// posts a token. A waiter that gives up leaves it contended too. The
		// token is then spare, and the next waiter looks once in vain.
		if t.state.Swap(turnContended) == turnFree {
			return nil
		}
		select {
		case <-*wake:
		case <-ctx.Done():
			if err := ctx.Err(); err != nil {
				return err
			}
			return context.Canceled // in no case nil: the turn is not the caller's
		}
	}
}

// Unlock gives the turn back.
func (t *Turn) Unlock() {
	if t.state.Swap(turnFree) == turnContended {
		t.post()
	}
}

// post wakes a waiter, if there is one.
func (t *Turn) post() {
	wake := t.wake.Load()
	if wake == nil {
		return // only a TryLockOrNote
	}
	select {
	case *wake <- struct{}{}:
	default:
	}
}
