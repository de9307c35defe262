package natsbroker

import (
	"context"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// The connections of a process are dead in one direction, or both, and nothing
// ends them. Messages may go on coming. The process connects again, and
// Subscribe does not wait for the dead ones.
func TestHeld(t *testing.T) {
	for kindName, k := range map[string]brokertest.Kind{"core": kind, "JetStream": jetKind} {
		e := brokertest.Start(t, k)
		for name, dead := range map[string]struct{ toEngine, fromEngine bool }{
			"both": {true, true}, "to the server": {true, false}, "from the server": {false, true},
		} {
			t.Run(kindName+" "+name, func(t *testing.T) {
				t.Parallel()
				network := brokertest.NewProxy(t, e.Addr)
				var b, publisher *Broker
				var js *JetStream
				if k.Keeps {
					js = connectJetStream(t, network.Addr)
					js.mustPublish(t, name, "1")
					b, publisher = js.Broker, connectJetStream(t, e.Addr).Broker
				} else {
					b, publisher = connect(t, network.Addr), connect(t, e.Addr)
				}
				busy, fresh := "busy "+name, "new "+name
				if err := b.Subscribe(t.Context(), []string{busy}); err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				published := make(chan struct{})
				go func() {
					defer close(published)
					for ctx.Err() == nil {
						publisher.Publish(ctx, hub.Publication{Topic: busy, Payload: []byte("busy")})
						time.Sleep(100 * time.Millisecond)
					}
				}()
				defer func() { stop(); <-published }()
				wait := func(want hub.BrokerEventKind) {
					t.Helper()
					for begin := time.Now(); time.Since(begin) < 2*time.Minute; {
						if next(t, b).Kind == want {
							return
						}
					}
					t.Fatalf("no %v", want)
				}
				wait(hub.BrokerMessage)
				network.Hold(dead.toEngine, dead.fromEngine)
				subscribed := make(chan struct{})
				go func() {
					defer close(subscribed)
					b.Subscribe(t.Context(), []string{fresh}) // its error says that the server does not confirm it
				}()
				wait(hub.BrokerLost)
				<-subscribed
				wait(hub.BrokerRecovered)
				if err := b.Subscribe(t.Context(), []string{fresh}); err != nil {
					t.Fatal(err)
				}
				if js != nil {
					if got, err := js.Missed(t.Context(), name, hub.Position{}, history); err != nil || len(got.Messages) != 1 {
						t.Errorf("%+v, %v", got, err)
					}
				}
				if err := publisher.Publish(t.Context(), hub.Publication{Topic: fresh, Payload: []byte("new")}); err != nil {
					t.Fatal(err)
				}
				for {
					if ev := next(t, b); ev.Topic == fresh {
						break
					}
				}
			})
		}
	}
}
