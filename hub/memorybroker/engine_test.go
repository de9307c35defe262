package memorybroker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/hub"
)

// A message that is published again under its id counts once, for two minutes.
func TestPublishOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New()
		b := m.Connect().(*broker)
		if err := b.Subscribe(t.Context(), []string{"x", "y"}); err != nil {
			t.Fatal(err)
		}
		publish := func(topic, id string) int {
			t.Helper()
			before := len(b.events)
			p := hub.Publication{Topic: topic, ID: id, Payload: []byte("m"), History: hub.History{Messages: 10}}
			if err := b.Publish(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			return len(b.events) - before
		}
		for _, tt := range []struct {
			topic, id string
			wait      time.Duration
			want      int
		}{
			{"x", "1", 0, 1}, {"x", "1", 0, 0}, {"y", "1", 0, 1}, {"x", "2", 0, 1}, {"x", "", 0, 1}, {"x", "", 0, 1},
			{"x", "1", time.Minute, 0}, {"x", "1", time.Minute + time.Second, 1}, {"x", "1", 0, 0},
		} {
			time.Sleep(tt.wait)
			if got := publish(tt.topic, tt.id); got != tt.want {
				t.Errorf("topic %s, id %q, after %v: %d messages, want %d", tt.topic, tt.id, tt.wait, got, tt.want)
			}
		}
		if len(m.seen) != 1 || len(m.ids) != 1 {
			t.Errorf("%d and %d ids are known", len(m.seen), len(m.ids))
		}
		m.Stop()
		m.Start()
		if got := publish("x", "1"); got != 1 {
			t.Errorf("%d messages after the engine forgot all", got)
		}
	})
}
