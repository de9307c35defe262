package hub

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A quietBroker has an engine that counts the messages of all topics together.
// It has none of the topic, so the topic is where the count is. It knows that
// there was none behind the offset since.
type quietBroker struct {
	*scriptBroker

	mu         sync.Mutex
	since, top uint64
	reads      int
}

func (b *quietBroker) set(since, top uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.since, b.top = since, top
}

func (b *quietBroker) Positions(ctx context.Context, topics []KeptTopic) ([]Position, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	positions := make([]Position, len(topics))
	for i := range positions {
		positions[i] = Position{7, b.top}
	}
	return positions, nil
}

func (b *quietBroker) Missed(ctx context.Context, topic string, after Position, limits History) (Backlog, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	l := Backlog{Top: Position{7, b.top}, Complete: after.Epoch == 7 && b.since <= after.Offset && after.Offset <= b.top}
	if !l.Complete {
		l.Since = b.since
	}
	return l, nil
}

// A topic without messages is in another place for each process, because the
// engine counts on. A client that comes from another one has missed nothing if
// the engine says so. If the engine does not know, the client is told that it
// may have.
func TestQuietTopic(t *testing.T) {
	for _, tt := range []struct {
		name       string
		since, top uint64 // when the client comes; the process knows the topic at 50
		after      uint64
		complete   bool
		at         uint64 // where the client is then
	}{
		{"from a process that was earlier", 10, 50, 30, true, 50},
		{"from one that was later", 10, 80, 70, true, 80},
		{"the same place", 10, 50, 50, true, 50},
		{"the engine does not know", 40, 80, 30, false, 80},
		{"it knows of less than the process", 60, 80, 30, false, 80},
		{"the future", 10, 80, 90, false, 80},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &quietBroker{scriptBroker: &scriptBroker{events: make(chan BrokerEvent)}}
				b.set(10, 50)
				var previous []uint64
				h := New(&Options{Broker: b, History: History{Messages: 10}, Encode: func(dst []byte, m Message) []byte {
					previous = append(previous, m.Previous)
					return append(dst, m.Data...)
				}})
				defer h.Close()
				there := join(t, h, "x")
				b.set(tt.since, tt.top)
				c := connect(t, h, netfake.Options{}, nil)
				for range 2 { // the second time the process knows
					st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, tt.after}})
					if err != nil || st.Complete != tt.complete || st.Position != (Position{7, tt.at}) {
						t.Errorf("%+v, %v; want complete %t, position %d", st, err, tt.complete, tt.at)
					}
					c.s.Unsubscribe("x")
				}
				b.mu.Lock()
				if b.reads > 2 || tt.complete && b.reads > 1 {
					t.Errorf("%d reads", b.reads)
				}
				b.mu.Unlock()
				if _, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, tt.after}}); err != nil {
					t.Fatal(err)
				}
				// The engine says of the first message: there was none since
				// 50.
				b.events <- BrokerEvent{Topic: "x", Position: Position{7, 100}, Previous: 50,
					Payload: appendEnvelope(nil, websocket.MessageText, []byte("first"))}
				c.want("first")
				there.want("first")
				if tt.complete && previous[0] > tt.after || previous[0] > 50 {
					t.Errorf("a client at %d was told that it missed some behind %d", tt.after, previous[0])
				}
				st, err := connect(t, h, netfake.Options{}, nil).s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, tt.after}})
				if err != nil || tt.after <= tt.top && (st.Complete != tt.complete || tt.complete && st.Messages != 1) {
					t.Errorf("behind the message: %+v, %v", st, err)
				}
			})
		})
	}
}

// A process compares where a topic is. If the engine does not know whether it
// had messages, those who are there are told with the next one.
func TestQuietTopicCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &quietBroker{scriptBroker: &scriptBroker{events: make(chan BrokerEvent)}}
		b.set(10, 50)
		h := New(&Options{Broker: b, History: History{Messages: 10}})
		defer h.Close()
		join(t, h, "x")
		wantAt := func(offset, since uint64) {
			t.Helper()
			topic := h.find("x")
			defer topic.unlock()
			if topic.last != (Position{7, offset}) || topic.sinceLocked() != since || topic.stale {
				t.Errorf("the topic is at %v, all since %d, stale %t; want %d, %d", topic.last, topic.sinceLocked(), topic.stale, offset, since)
			}
		}
		wantAt(50, 50)
		b.set(10, 80)
		time.Sleep(compareEvery + 2*comparePause)
		wantAt(80, 50)
		b.set(90, 100)
		time.Sleep(compareEvery)
		wantAt(100, 90)
		reads := b.reads
		time.Sleep(3 * compareEvery)
		if b.reads != reads {
			t.Errorf("read again %d times", b.reads-reads)
		}
	})
}
