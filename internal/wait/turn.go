// Package wait has the lock that the two halves of a connection wait for. Its
// waiters can give up.
package wait

import (
	"context"
	"sync/atomic"
)

// A Turn is a lock whose waiters can give up, and that may be held across I/O: waiting is on a channel. Its zero
// value is free. Without contention it costs two atomic operations and no memory.
type Turn struct {
	state atomic.Int32 // turnFree, turnHeld, turnContended
	// wake passes one token to a waiter. The first waiter makes it.
	wake atomic.Pointer[chan struct{}]
}

const (
	turnFree      = iota
	turnHeld      // no goroutine waits
	turnContended // held, and a goroutine may wait
)

// Held reports whether a goroutine holds the turn.
func (t *Turn) Held() bool { return t.state.Load() != turnFree }

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
		select {
		case *t.wake.Load() <- struct{}{}:
		default:
		}
	}
}
