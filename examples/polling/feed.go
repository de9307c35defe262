package main

import (
	"context"
	"sync"
	"time"
)

const kept = 500 // events

// An event is what all four ways carry.
type event struct {
	Number int   `json:"number"` // 1, 2, 3, and so on
	At     int64 `json:"at"`     // when it happened, in microseconds since 1970
}

// A feed makes events.
type feed struct {
	mu     sync.Mutex
	events []event       // guarded by mu: the last ones
	last   int           // guarded by mu: the number of the last one
	more   chan struct{} // guarded by mu: closed, and replaced, when there is another event
	every  time.Duration // guarded by mu

	rate chan struct{} // tells play that every has changed; room for one
}

func newFeed(every time.Duration) *feed {
	return &feed{every: every, more: make(chan struct{}), rate: make(chan struct{}, 1)}
}

// publish makes an event, and wakes all requests that wait for one.
func (f *feed) publish(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	if len(f.events) == kept {
		f.events = f.events[:copy(f.events, f.events[1:])]
	}
	f.events = append(f.events, event{f.last, now.UnixMicro()})
	close(f.more)
	f.more = make(chan struct{})
}

// after returns the events that are kept with a number greater than n, and what
// is closed when there are more. A negative n stands for the number of the last
// event.
func (f *feed) after(n int) (events []event, last int, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n < 0 || n > f.last { // greater: from an earlier run of the server
		n = f.last
	}
	missed := min(f.last-n, len(f.events))
	return append(events, f.events[len(f.events)-missed:]...), f.last, f.more
}

// follow calls send with all events after n, as they come, until ctx ends or
// send fails. It is as fast as send: who is slow gets more events at once, and
// none that are kept no longer.
func (f *feed) follow(ctx context.Context, n int, send func([]event) error) error {
	for {
		events, last, more := f.after(n)
		n = last
		if len(events) > 0 {
			if err := send(events); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
	}
}

func (f *feed) setRate(every time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.every = every
	select {
	case f.rate <- struct{}{}:
	default: // play has not seen the last change yet, and will see this one
	}
}

func (f *feed) interval() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.every
}

// play makes events at the rate that is set, until ctx ends.
func (f *feed) play(ctx context.Context) {
	for {
		var tick <-chan time.Time
		if every := f.interval(); every > 0 {
			tick = time.After(every)
		}
		select {
		case <-ctx.Done():
			return
		case <-f.rate:
		case now := <-tick:
			f.publish(now)
		}
	}
}
