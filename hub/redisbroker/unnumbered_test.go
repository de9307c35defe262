package redisbroker

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// A plain broker has only the methods of the base interface.
type plain struct{ hub.Broker }

// Hubs whose options differ publish to one topic. From the first message of a
// hub with a history on, each message has a position, and no two have the same.
func TestUnlikePublishers(t *testing.T) {
	e := brokertest.Start(t, kind)
	start := func(o hub.Options, wrap func(hub.Broker) hub.Broker) *hub.Hub {
		b := New(&redis.Options{Addr: e.Addr}, nil)
		t.Cleanup(func() { b.Close() })
		o.Broker = wrap(b)
		h := hub.New(&o)
		t.Cleanup(func() { h.Close() })
		return h
	}
	asIs := func(b hub.Broker) hub.Broker { return b }
	asPlain := func(b hub.Broker) hub.Broker { return plain{b} }
	hubs := map[string]*hub.Hub{
		"none":        start(hub.Options{}, asIs),
		"plain none":  start(hub.Options{}, asPlain),
		"plain":       start(hub.Options{History: hub.History{Messages: 50}}, asPlain),
		"few":         start(hub.Options{History: hub.History{Messages: 20}}, asIs),
		"bytes":       start(hub.Options{History: hub.History{Messages: 100, Bytes: 500}}, asIs),
		"age":         start(hub.Options{History: hub.History{Messages: 100, Age: time.Minute}}, asIs),
		"forever":     start(hub.Options{History: hub.History{Messages: 100, Age: -1, Bytes: -1}}, asIs),
		"of a topic":  start(hub.Options{HistoryOf: func(string) hub.History { return hub.History{Messages: 30} }}, asIs),
		"long encode": start(hub.Options{Encode: func(dst []byte, m hub.Message) []byte { return append(append(dst, m.Data...), make([]byte, 500)...) }}, asIs),
	}
	doors := []func(h *hub.Hub, id string) error{
		func(h *hub.Hub, id string) error {
			return h.Publish(t.Context(), "x", websocket.MessageText, []byte(id))
		},
		func(h *hub.Hub, id string) error {
			return h.PublishOnce(t.Context(), "x", id, websocket.MessageText, []byte(id))
		},
	}
	receiver := New(&redis.Options{Addr: e.Addr}, nil)
	defer receiver.Close()
	if err := receiver.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	publish := func(name string, door int) hub.Position {
		t.Helper()
		text := fmt.Sprint(name, door)
		if err := doors[door](hubs[name], text+fmt.Sprint(time.Now())); err != nil {
			t.Fatal(err)
		}
		return nextMessage(t, receiver).Position
	}
	for door := range doors { // the topic is made without a history
		if at := publish("none", door); !at.IsZero() {
			t.Errorf("%v", at)
		}
	}
	last := publish("few", 0)
	for round := range 3 {
		for name := range hubs {
			for door := range doors {
				at := publish(name, door)
				if at.Epoch != last.Epoch || at.Offset != last.Offset+1 {
					t.Errorf("round %d, %s, door %d: %v behind %v", round, name, door, at, last)
				}
				got, err := receiver.Missed(t.Context(), "x", last, kept)
				if err != nil || got.Top != at || !got.Complete || len(got.Messages) != 1 {
					t.Errorf("round %d, %s, door %d: %+v, %v", round, name, door, got, err)
				}
				last = at
			}
		}
	}
}

// A publisher without a history publishes while no process is subscribed. A
// process that starts later tells a client of the message, if the server knows
// that the topic has a history. Else it tells the client to start afresh.
func TestUnlikePublisherAlone(t *testing.T) {
	e := brokertest.Start(t, kind)
	start := func() *Broker {
		b := New(&redis.Options{Addr: e.Addr}, nil)
		t.Cleanup(func() { b.Close() })
		return b
	}
	b := start()
	for name, forget := range map[string]bool{"known": false, "forgotten": true} {
		publish(t, b, name, "\x111", kept)
		first, err := b.Positions(t.Context(), []hub.KeptTopic{{Topic: name, History: kept}})
		if err != nil {
			t.Fatal(err)
		}
		if forget { // as PositionAge does
			if err := b.client.Del(t.Context(), b.keys(name, "")[:2]...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, start(), name, "\x112", hub.History{})
		got, err := start().Missed(t.Context(), name, first[0], kept)
		if err != nil || got.Complete == forget || !forget && len(got.Messages) != 1 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		publish(t, b, name, "\x113", kept)
		got, err = start().Missed(t.Context(), name, first[0], kept)
		if err != nil || got.Complete == forget || !forget && len(got.Messages) != 2 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
