package hub

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A panicBroker panics in one method, once.
type panicBroker struct {
	scriptBroker

	panicMu sync.Mutex
	next    string // the method
}

func (b *panicBroker) arm(method string) {
	b.panicMu.Lock()
	defer b.panicMu.Unlock()
	b.next = method
}

func (b *panicBroker) armed() bool {
	b.panicMu.Lock()
	defer b.panicMu.Unlock()
	return b.next != ""
}

func (b *panicBroker) enter(method string) {
	b.panicMu.Lock()
	defer b.panicMu.Unlock()
	if b.next == method {
		b.next = ""
		panic("boom")
	}
}

func (b *panicBroker) Publish(ctx context.Context, p Publication) error {
	b.enter("Publish")
	return b.scriptBroker.Publish(ctx, p)
}

func (b *panicBroker) Subscribe(ctx context.Context, topics []string) error {
	b.enter("Subscribe")
	return b.scriptBroker.Subscribe(ctx, topics)
}

func (b *panicBroker) Unsubscribe(ctx context.Context, topics []string) error {
	b.enter("Unsubscribe")
	return b.scriptBroker.Unsubscribe(ctx, topics)
}

func (b *panicBroker) Receive(ctx context.Context) (BrokerEvent, error) {
	ev, err := b.scriptBroker.Receive(ctx)
	if err == nil {
		b.enter("Receive")
	}
	return ev, err
}

func (b *panicBroker) Positions(ctx context.Context, topics []KeptTopic) ([]Position, error) {
	b.enter("Positions")
	return make([]Position, len(topics)), nil
}

func (b *panicBroker) Missed(ctx context.Context, topic string, after Position, limits History) (Backlog, error) {
	b.enter("Missed")
	return Backlog{}, nil
}

// A panic in a method of the Broker costs that call. It is told to the caller
// or to OnBroker. Later calls work, so no lock is held.
func TestBrokerPanics(t *testing.T) {
	for _, tt := range []struct {
		method string
		fails  func(t *testing.T, h *Hub, c *client, b *panicBroker) error // nil: OnBroker is told
		topic  string                                                      // that OnBroker is told of
	}{
		{"Publish", func(t *testing.T, h *Hub, c *client, b *panicBroker) error {
			err := h.Publish(t.Context(), "x", websocket.MessageText, nil)
			if !errors.Is(err, ErrUnconfirmed) {
				t.Errorf("Publish: %v, want that the engine may have the message", err)
			}
			return err
		}, ""},
		{"Subscribe", func(t *testing.T, h *Hub, c *client, b *panicBroker) error {
			return c.s.Subscribe(t.Context(), "other", "another")
		}, ""},
		{"Unsubscribe", func(t *testing.T, h *Hub, c *client, b *panicBroker) error {
			if err := c.s.Subscribe(t.Context(), "other"); err != nil {
				t.Error(err)
			}
			c.s.Unsubscribe("other")
			time.Sleep(2 * defaultHistoryAge)
			return nil
		}, ""},
		{"Receive", func(t *testing.T, h *Hub, c *client, b *panicBroker) error {
			b.events <- BrokerEvent{Topic: "x", Payload: appendEnvelope(nil, websocket.MessageText, []byte("lost"))}
			return nil
		}, ""},
		{"Positions", func(t *testing.T, h *Hub, c *client, b *panicBroker) error {
			return c.s.Subscribe(t.Context(), "other")
		}, ""},
		{"Positions", func(t *testing.T, h *Hub, c *client, b *panicBroker) error {
			b.events <- BrokerEvent{Topic: "x", Position: Position{1, 1}, Payload: appendEnvelope(nil, websocket.MessageText, []byte("1"))}
			c.want("1")
			time.Sleep(2 * compareEvery) // all positions are compared
			return nil
		}, ""},
		{"Missed", func(t *testing.T, h *Hub, c *client, b *panicBroker) error {
			st, err := c.s.SubscribeFrom(t.Context(), "other", SubscribeOptions{After: Position{1, 1}})
			if st.Complete {
				t.Error("the engine was not read")
			}
			return err
		}, "other"},
		{"Missed", func(t *testing.T, h *Hub, c *client, b *panicBroker) error {
			for _, n := range []uint64{1, 3} { // the second is not the next one
				b.events <- BrokerEvent{Topic: "x", Position: Position{1, n}, Payload: appendEnvelope(nil, websocket.MessageText, []byte("m"))}
				c.want("m")
			}
			return nil
		}, "x"},
	} {
		t.Run(tt.method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &panicBroker{scriptBroker: scriptBroker{events: make(chan BrokerEvent)}}
				var mu sync.Mutex
				var told []BrokerEvent
				h := New(&Options{Broker: b, History: History{Messages: 10}, OnBroker: func(ev BrokerEvent) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, ev)
				}})
				defer h.Close()
				c := connect(t, h, netfake.Options{}, nil)
				if err := c.s.Subscribe(t.Context(), "x"); err != nil {
					t.Fatal(err)
				}
				b.arm(tt.method)
				err := tt.fails(t, h, c, b)
				synctest.Wait()
				mu.Lock()
				switch {
				case err != nil && (!errors.Is(err, ErrBrokerPanicked) || len(told) > 0):
					t.Errorf("%v; OnBroker was told %+v", err, told)
				case err == nil && (len(told) != 1 || told[0].Kind != BrokerFailed || told[0].Topic != tt.topic || !errors.Is(told[0].Err, ErrBrokerPanicked)):
					t.Errorf("OnBroker was told %+v", told)
				}
				mu.Unlock()
				if b.armed() {
					t.Errorf("%s was not called", tt.method)
				}
				c.s.Unsubscribe("other")
				if err := c.s.Subscribe(t.Context(), "x", "another"); err != nil {
					t.Error(err)
				}
				if err := h.Publish(t.Context(), "x", websocket.MessageText, []byte("m")); err != nil {
					t.Error(err)
				}
				b.events <- BrokerEvent{Topic: "another", Payload: appendEnvelope(nil, websocket.MessageText, []byte("after"))}
				c.want("after")
				c.s.Unsubscribe("x", "another")
				time.Sleep(2 * defaultHistoryAge)
				synctest.Wait()
				h.link.mu.Lock()
				defer h.link.mu.Unlock()
				if n := len(h.link.interests); n != 0 {
					t.Errorf("%d topics are left", n)
				}
			})
		})
	}
}

// A Receive that always panics is called ten times a second, and Close ends it.
func TestBrokerReceivePanicsAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &deafBroker{}
		h := New(&Options{Broker: b})
		time.Sleep(10 * time.Second)
		h.Close()
		synctest.Wait()
		if b.calls < 90 || b.calls > 110 {
			t.Errorf("Receive was called %d times in 10 s", b.calls)
		}
	})
}

type deafBroker struct {
	scriptBroker
	calls int
}

func (b *deafBroker) Receive(context.Context) (BrokerEvent, error) {
	b.calls++
	panic("boom")
}
