package hub

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A partBroker has an engine with two topics, "good" and "bad". While broken is
// set, it cannot say where "bad" is.
type partBroker struct {
	*scriptBroker

	mu     sync.Mutex
	broken bool
	at     Position // of both
	asked  [][]string
}

func (b *partBroker) set(broken bool, at Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken, b.at = broken, at
}

// takeAsked returns what was asked since the last call.
func (b *partBroker) takeAsked() [][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked := b.asked
	b.asked = nil
	return asked
}

func (b *partBroker) Positions(ctx context.Context, topics []KeptTopic) ([]Position, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	positions, refused, names := make([]Position, len(topics)), TopicErrors{}, []string{}
	for i, topic := range topics {
		positions[i] = b.at
		names = append(names, topic.Topic)
		if topic.Topic == "bad" && b.broken {
			positions[i], refused["bad"] = Position{}, errRefused
		}
	}
	slices.Sort(names)
	b.asked = append(b.asked, names)
	if len(refused) > 0 {
		return positions, refused
	}
	return positions, nil
}

func (b *partBroker) Missed(ctx context.Context, topic string, after Position, limits History) (Backlog, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := Backlog{Top: b.at, Complete: after.Epoch == b.at.Epoch && after.Offset+1 == b.at.Offset}
	payload := appendEnvelope(nil, websocket.MessageText, []byte("read"))
	l.Messages = []BrokerEvent{{Topic: topic, Position: b.at, Payload: payload}}
	return l, nil
}

// Topics whose positions the engine cannot say do not keep the others from
// being compared. They alone are asked for again.
func TestPositionsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &partBroker{scriptBroker: &scriptBroker{events: make(chan BrokerEvent)}}
		b.set(true, Position{7, 1})
		h := New(&Options{Broker: b, History: History{Messages: 10}})
		defer h.Close()
		good, bad := connect(t, h, netfake.Options{}, nil), join(t, h, "bad")
		if err := good.s.Subscribe(t.Context(), "good"); err != nil {
			t.Fatal(err)
		}
		b.events <- BrokerEvent{Topic: "bad", Position: Position{7, 1}, Payload: appendEnvelope(nil, websocket.MessageText, []byte("live"))}
		bad.want("live")
		synctest.Wait()
		b.set(true, Position{7, 2}) // the second message is lost on its way
		time.Sleep(compareEvery)
		synctest.Wait()
		time.Sleep(2 * comparePause)
		good.want("read")
		b.takeAsked()
		time.Sleep(5 * comparePause)
		synctest.Wait()
		for _, names := range b.takeAsked() {
			if !slices.Equal(names, []string{"bad"}) {
				t.Errorf("asked again for %q", names)
			}
		}
		time.Sleep(compareEvery)
		synctest.Wait()
		if !slices.ContainsFunc(b.takeAsked(), func(names []string) bool { return slices.Equal(names, []string{"bad", "good"}) }) {
			t.Error("not all were compared after 30 s")
		}
		b.set(false, Position{7, 2})
		time.Sleep(3 * comparePause)
		bad.want("read")
		b.takeAsked()
		time.Sleep(5 * comparePause)
		if asked := b.takeAsked(); len(asked) > 0 {
			t.Errorf("asked for %q, though all are known", asked)
		}
	})
}

// A subscription to some topics is whole, though the engine cannot say where
// one of them is.
func TestPositionsApartAtSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &partBroker{scriptBroker: &scriptBroker{events: make(chan BrokerEvent)}}
		b.set(true, Position{7, 1})
		h := New(&Options{Broker: b, History: History{Messages: 10}})
		defer h.Close()
		join(t, h, "good", "bad")
		for name, want := range map[string]Position{"good": {7, 1}, "bad": {}} {
			topic := h.find(name)
			if topic.last != want {
				t.Errorf("%s is at %v, want %v", name, topic.last, want)
			}
			topic.unlock()
		}
	})
}
