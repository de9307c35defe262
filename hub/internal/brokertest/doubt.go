//go:build unix

package brokertest

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/hub"
)

// PublishInDoubt publishes message, which has an ID, while the engine stands
// still, by a deadline and by a context that is cancelled. Both must leave it
// in doubt. Then it publishes message three times to the engine that goes on.
func PublishInDoubt(t *testing.T, e *Engine, b hub.Broker, message hub.Publication) {
	t.Helper()
	if err := e.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	err := b.Publish(ctx, message)
	cancel()
	if !errors.Is(err, hub.ErrUnconfirmed) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that stands still: %v", err)
	}
	// A context that is cancelled is heeded as a deadline is.
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	begin := time.Now()
	if err := b.Publish(ctx, message); !errors.Is(err, context.Canceled) || time.Since(begin) > 30*time.Second {
		t.Errorf("cancelled: %v after %v", err, time.Since(begin))
	}
	if err := e.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := b.Publish(t.Context(), message); err != nil {
			t.Fatal(err)
		}
	}
}
