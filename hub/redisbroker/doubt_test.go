package redisbroker

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// The two minutes in which an id counts once are those of the server's clock.
// docs/scaling.md says what a jump of it does.
func TestOnceAcrossJump(t *testing.T) {
	clock := brokertest.NewClock(t, 0)
	e := brokertest.StartWithClock(t, kind, clock)
	b := New(&redis.Options{Addr: e.Addr}, nil)
	defer b.Close()
	messages := func() uint64 {
		t.Helper()
		m := hub.Publication{Topic: "x", ID: "id", Payload: []byte("m"), History: kept}
		if err := b.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		at, err := b.Positions(t.Context(), []hub.KeptTopic{{Topic: "x", History: kept}})
		if err != nil {
			t.Fatal(err)
		}
		return at[0].Offset
	}
	for _, step := range []struct {
		skew time.Duration
		want uint64
	}{{0, 1}, {0, 1}, {time.Minute, 1}, {-time.Hour, 1}, {3 * time.Minute, 2}} {
		clock.Set(t, step.skew)
		if got := messages(); got != step.want {
			t.Errorf("the clock is set to %v: %d messages, want %d", step.skew, got, step.want)
		}
	}
}
