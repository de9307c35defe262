package hub

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A trap makes one function of the application panic while it is set.
type trap struct {
	mu  sync.Mutex
	set string // which function, and the topic
}

func (p *trap) arm(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set = name
}

func (p *trap) enter(name, topic string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set == name+" "+topic {
		panic("boom")
	}
}

// A panic of HistoryOf, PresenceOf or Greet costs the call that it is a part
// of. It is counted, no lock is held behind it, and no topic stays.
func TestCallbackPanics(t *testing.T) {
	publishTo := func(t *testing.T, h *Hub, s *Subscriber) error {
		return h.Publish(t.Context(), "new", websocket.MessageText, nil)
	}
	subscribeTo := func(t *testing.T, h *Hub, s *Subscriber) error {
		return s.Subscribe(t.Context(), "x", "first", "new", "newer")
	}
	var p trap
	for _, tt := range []struct {
		name string // of the function
		call func(t *testing.T, h *Hub, s *Subscriber) error
	}{
		{"HistoryOf", publishTo},
		{"HistoryOf", subscribeTo},
		{"PresenceOf", subscribeTo},
		{"PresenceOf", func(t *testing.T, h *Hub, s *Subscriber) error {
			_, err := h.Presence(t.Context(), "new")
			return err
		}},
		{"Greet", func(t *testing.T, h *Hub, s *Subscriber) error {
			_, err := s.SubscribeFrom(t.Context(), "new", SubscribeOptions{Greet: func(SubscribeResult) (websocket.MessageType, []byte) {
				p.enter("Greet", "new")
				return 0, nil
			}})
			return err
		}},
	} {
		for _, opts := range []struct {
			name string
			Options
		}{
			{"alone", Options{}},
			{"Encode", Options{Encode: withPositions}},
			{"Broker", Options{Broker: &scriptBroker{events: make(chan BrokerEvent)}}},
		} {
			t.Run(tt.name+" "+opts.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					opts := opts.Options
					if opts.Broker != nil {
						opts.Broker = &scriptBroker{events: make(chan BrokerEvent)}
					}
					opts.HistoryOf = func(topic string) History { p.enter("HistoryOf", topic); return History{Messages: 5} }
					opts.PresenceOf = func(topic string) bool { p.enter("PresenceOf", topic); return true }
					h := New(&opts)
					defer h.Close()
					c := connect(t, h, netfake.Options{}, nil)
					if err := c.s.Subscribe(t.Context(), "x"); err != nil {
						t.Fatal(err)
					}
					p.arm(tt.name + " new")
					err := tt.call(t, h, c.s)
					p.arm("")
					if !errors.Is(err, ErrCallbackPanicked) {
						t.Errorf("the error is %v", err)
					}
					if n := h.Stats().Panicked; n != 1 {
						t.Errorf("%d panics are counted", n)
					}
					if h.lookup("new") != nil {
						t.Error("the topic is there")
					}
					if got := c.s.Topics(); len(got) != 1 {
						t.Errorf("the subscriber has %q", got)
					}
					if err := tt.call(t, h, c.s); err != nil {
						t.Errorf("the next call: %v", err)
					}
					for _, name := range c.s.Topics() {
						topic := h.find(name)
						if topic.pins != 0 {
							t.Errorf("%s is pinned", name)
						}
						topic.unlock()
					}
					c.s.Leave()
					time.Sleep(2 * defaultHistoryAge)
					synctest.Wait()
					if n := h.Stats().Topics; n != 0 {
						t.Errorf("%d topics stay", n)
					}
				})
			})
		}
	}
}

// A panic of OnBroker costs that call. It is counted, and what follows is told.
func TestOnBrokerPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &scriptBroker{events: make(chan BrokerEvent)}
		var mu sync.Mutex
		var told []BrokerEventKind
		h := New(&Options{Broker: b, OnBroker: func(ev BrokerEvent) {
			if ev.Kind == BrokerLost {
				panic("boom")
			}
			mu.Lock()
			defer mu.Unlock()
			told = append(told, ev.Kind)
		}})
		defer h.Close()
		b.events <- BrokerEvent{Kind: BrokerLost}
		b.events <- BrokerEvent{Kind: BrokerRecovered}
		synctest.Wait()
		b.events <- BrokerEvent{Kind: BrokerFailed}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(told) != 2 || told[0] != BrokerRecovered || told[1] != BrokerFailed {
			t.Errorf("OnBroker was told %v", told)
		}
		if n := h.Stats().Panicked; n != 1 {
			t.Errorf("%d panics are counted", n)
		}
	})
}
