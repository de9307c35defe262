package hub

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A countingSink takes everything, and notes how many goroutines there are.
type countingSink struct {
	sink
	most *atomic.Int64
}

func (c countingSink) Write(p []byte) (int, error) {
	n := int64(runtime.NumGoroutine())
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	return len(p), nil
}

// A broadcast needs no goroutine for each subscriber.
func TestFewFlushers(t *testing.T) {
	const subscribers = 2000
	h := New(nil)
	var most atomic.Int64
	for range subscribers {
		if err := h.Join(accept(t, countingSink{most: &most}, nil)).Subscribe(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	publishAndWait(t, h, []byte("to all"), subscribers) // what handshakes left has time to end
	before := int64(runtime.NumGoroutine())
	most.Store(0)
	for range 10 {
		publishAndWait(t, h, []byte("to all"), subscribers)
	}
	if got := most.Load() - before; got > subscribers/10 {
		t.Errorf("%d goroutines for %d subscribers", got, subscribers)
	}
}

// Flushers that block do not keep the other subscribers waiting, however many
// block.
func TestFlushersBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 40
		h := New(nil)
		var stalled []*client
		for range slow {
			c := connect(t, h, netfake.Options{A: netfake.End{Buffer: 1 << 10}}, nil)
			if err := c.s.Subscribe(t.Context(), "x"); err != nil {
				t.Fatal(err)
			}
			stalled = append(stalled, c)
		}
		quick := join(t, h, "x")
		long := strings.Repeat("long ", 1000)
		publish(t, h, "x", long)
		quick.want(long)
		synctest.Wait()
		if got := goroutines(); got != slow {
			t.Errorf("%d goroutines for %d writes that block", got, slow)
		}
		for _, c := range stalled {
			c.want(long)
		}
		synctest.Wait()
		if got := goroutines(); got != 0 {
			t.Errorf("%d goroutines when nothing waits", got)
		}
	})
}
