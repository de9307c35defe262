package redisbroker

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// The connections of a process are dead in one direction, or both, and nothing
// ends them. Messages may go on coming. The process begins another session, and
// Subscribe does not wait for the dead one.
func TestHeld(t *testing.T) {
	e := brokertest.Start(t, kind)
	for name, dead := range map[string]struct{ toEngine, fromEngine bool }{
		"both": {true, true}, "to the server": {true, false}, "from the server": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			network := brokertest.NewProxy(t, e.Addr)
			client := redis.NewClient(&redis.Options{Addr: network.Addr, MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true})
			defer client.Close()
			b := newBroker(client, nil, shortSilence)
			defer b.Close()
			publisher := New(&redis.Options{Addr: e.Addr}, &Options{})
			defer publisher.Close()
			if err := b.Subscribe(t.Context(), []string{"busy"}); err != nil {
				t.Fatal(err)
			}
			publish(t, b, "other", "the pool has a connection", hub.History{})
			ctx, stop := context.WithCancel(t.Context())
			published := make(chan struct{})
			go func() {
				defer close(published)
				for ctx.Err() == nil {
					publisher.Publish(ctx, hub.Publication{Topic: "busy", Payload: []byte("busy")})
					time.Sleep(10 * time.Millisecond)
				}
			}()
			defer func() { stop(); <-published }()
			wait := func(want hub.BrokerEventKind) {
				t.Helper()
				for {
					if ev := next(t, b); ev.Kind == want {
						return
					} else if ev.Kind != hub.BrokerMessage {
						t.Fatalf("%+v, want %v", ev, want)
					}
				}
			}
			wait(hub.BrokerMessage)
			network.Hold(dead.toEngine, dead.fromEngine)
			subscribed := make(chan error)
			go func() { subscribed <- b.Subscribe(t.Context(), []string{"new"}) }()
			wait(hub.BrokerLost)
			if err := <-subscribed; err != nil {
				t.Error(err)
			}
			wait(hub.BrokerRecovered)
			publish(t, publisher, "new", "new", hub.History{})
			for {
				if ev := next(t, b); ev.Topic == "new" {
					break
				}
			}
		})
	}
}
