package websocket

import (
	"context"
	"sync/atomic"
)

// A turn is a lock whose waiters can give up, and that may be held across I/O: waiting is on a channel. Its zero
// value is free. Without contention it costs two atomic operations and no memory.
type turn struct {
	state atomic.Int32 // turnFree, turnHeld, turnContended
	// wake passes one token to a waiter. The first waiter makes it.
	wake atomic.Pointer[chan struct{}]
}

const (
	turnFree      = iota
	turnHeld      // no goroutine waits
	turnContended // held, and a goroutine may wait
)

// held reports whether a goroutine holds the turn.
func (t *turn) held() bool { return t.state.Load() != turnFree }

// tryLock takes the turn if it is free.
func (t *turn) tryLock() bool { return t.state.CompareAndSwap(turnFree, turnHeld) }

// lock takes the turn, or returns ctx's error when ctx ends first.
func (t *turn) lock(ctx context.Context) error {
	if t.tryLock() {
		return nil
	}
	return t.lockSlow(ctx)
}

func (t *turn) lockSlow(ctx context.Context) error {
	wake := t.wake.Load()
	if wake == nil {
		ch := make(chan struct{}, 1)
		t.wake.CompareAndSwap(nil, &ch)
		wake = t.wake.Load()
	}
	for {
		// A waiter leaves the state contended, so that the holder's unlock
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

// unlock gives the turn back.
func (t *turn) unlock() {
	if t.state.Swap(turnFree) == turnContended {
		select {
		case *t.wake.Load() <- struct{}{}:
		default:
		}
	}
}
