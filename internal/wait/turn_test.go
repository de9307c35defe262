package wait

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// A waiter gives up when its context ends, and the next one still gets the
// turn.
func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turn Turn
		if turn.Held() || turn.Lock(context.Background()) != nil || !turn.Held() || turn.TryLock() {
			t.Fatal("a free turn was not taken, or taken twice")
		}
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp, took := make(chan error, 1), make(chan error, 1)
		go func() { gaveUp <- turn.Lock(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Fatalf("a waiter whose context ended: %v", err)
		}
		go func() { took <- turn.Lock(t.Context()) }()
		synctest.Wait()
		turn.Unlock()
		if err := <-took; err != nil || !turn.Held() {
			t.Fatalf("the next waiter: %v", err)
		}
		turn.Unlock()
		if turn.Held() {
			t.Fatal("still held")
		}
	})
}

// Of many goroutines, one at a time has the turn.
func TestTurnExcludes(t *testing.T) {
	var turn Turn
	n, done := 0, make(chan struct{})
	for range 8 {
		go func() {
			for range 1000 {
				turn.Lock(context.Background())
				n++
				turn.Unlock()
			}
			done <- struct{}{}
		}()
	}
	for range 8 {
		<-done
	}
	if n != 8000 {
		t.Errorf("got %d, want 8000", n)
	}
}

// A Peek does not count as a holder. A waiter, and one that only tried, learn
// when it is over.
func TestTurnPeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turn Turn
		if !turn.Peek() || turn.Held() || turn.TryLock() || turn.Unpeek() || turn.Held() {
			t.Fatal("a free turn")
		}
		turn.Peek()
		if turn.TryLockOrNote() || !turn.Unpeek() {
			t.Error("a try that failed was not told of")
		}
		if !turn.TryLockOrNote() || turn.Peek() || turn.TryLockOrNote() || !turn.Held() {
			t.Error("a turn that is held")
		}
		turn.Unlock()

		turn.Peek()
		got := make(chan error, 1)
		go func() { got <- turn.Lock(t.Context()) }()
		synctest.Wait()
		turn.Unpeek()
		if err := <-got; err != nil || !turn.Held() {
			t.Errorf("a waiter: %v", err)
		}
		turn.Unlock()
	})
}
