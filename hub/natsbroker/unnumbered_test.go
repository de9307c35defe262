package natsbroker

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// subscribeFrom subscribes a new client of a hub behind a position.
func subscribeFrom(t *testing.T, h *hub.Hub, topic string, after hub.Position) hub.SubscribeResult {
	t.Helper()
	near, far := net.Pipe()
	go io.Copy(io.Discard, far)
	t.Cleanup(func() { near.Close(); far.Close() })
	c, err := websocket.NewConn(near, &websocket.ConnOptions{PingInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.Join(c).SubscribeFrom(t.Context(), topic, hub.SubscribeOptions{After: after})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A publisher without a history publishes to a topic that has one elsewhere. A
// process that hears the message tells a client which may have missed it. A
// process that did not hear it cannot know: docs/scaling.md says so.
func TestUnnumberedPublisher(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	for name, bare := range map[string]hub.Broker{"core": connect(t, e.Addr), "JetStream": connectJetStream(t, e.Addr)} {
		t.Run(name, func(t *testing.T) {
			told := make(chan hub.BrokerEvent, 10)
			start := func(b hub.Broker, kept hub.History) *hub.Hub {
				h := hub.New(&hub.Options{Broker: b, History: kept, OnBroker: func(ev hub.BrokerEvent) { told <- ev }})
				t.Cleanup(func() { h.Close() })
				return h
			}
			hears, publisher := start(connectJetStream(t, e.Addr), history), start(bare, hub.History{})
			if err := hears.Publish(t.Context(), name, websocket.MessageText, []byte("1")); err != nil {
				t.Fatal(err)
			}
			at := subscribeFrom(t, hears, name, hub.Position{}).Position
			if got := subscribeFrom(t, hears, name, at); !got.Complete {
				t.Errorf("nothing was missed: %+v", got)
			}
			if err := publisher.Publish(t.Context(), name, websocket.MessageText, []byte("2")); err != nil {
				t.Fatal(err)
			}
			if ev := <-told; ev.Kind != hub.BrokerFailed || ev.Topic != name {
				t.Fatalf("%+v", ev)
			}
			if got := subscribeFrom(t, hears, name, at); got.Complete {
				t.Errorf("a process that heard the message: %+v", got)
			}
			other := start(connectJetStream(t, e.Addr), history)
			if got := subscribeFrom(t, other, name, at); !got.Complete || got.Position != at {
				t.Errorf("a process that did not hear it: %+v: is docs/scaling.md right?", got)
			}
			// The next message of a publisher with a history ends the doubt for
			// those who have it.
			if err := hears.Publish(t.Context(), name, websocket.MessageText, []byte("3")); err != nil {
				t.Fatal(err)
			}
			var later hub.Position
			eventually(t, "no message", func() error {
				if later = subscribeFrom(t, other, name, at).Position; later == at {
					return errors.New("it is not there yet")
				}
				return nil
			})
			if got := subscribeFrom(t, hears, name, later); !got.Complete {
				t.Errorf("a client that is behind the message: %+v", got)
			}
		})
	}
}
