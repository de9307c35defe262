package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A storeBroker is a scriptBroker with an engine that keeps what the test
// stores.
type storeBroker struct {
	*scriptBroker

	mu    sync.Mutex
	epoch uint64
	kept  []BrokerEvent
	top   uint64
	fail  error
	reads atomic.Int32
	asked []Position // behind which reads were
	gate  chan bool  // if not nil, a read waits for it
}

func newStoreBroker() *storeBroker {
	return &storeBroker{scriptBroker: &scriptBroker{events: make(chan BrokerEvent, 10000)}, epoch: 7}
}

// store makes the engine keep n more messages, and returns them. The text of
// each is its offset.
func (b *storeBroker) store(n int) []BrokerEvent {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range n {
		b.top++
		payload := appendEnvelope(nil, websocket.MessageText, fmt.Append(nil, b.top))
		b.kept = append(b.kept, BrokerEvent{Topic: "x", Position: Position{b.epoch, b.top}, Payload: payload})
	}
	return slices.Clone(b.kept[len(b.kept)-n:])
}

// bring stores n more messages, and brings those that pass.
func (b *storeBroker) bring(n int, pass func(i int) bool) {
	for i, ev := range b.store(n) {
		if pass == nil || pass(i) {
			b.events <- ev
		}
	}
}

func (b *storeBroker) Positions(ctx context.Context, topics []KeptTopic) ([]Position, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	positions := make([]Position, len(topics))
	for i, topic := range topics {
		if topic.Topic == "x" && b.top > 0 {
			positions[i] = Position{b.epoch, b.top}
		}
	}
	return positions, b.fail
}

func (b *storeBroker) Missed(ctx context.Context, topic string, after Position, limits History) (Backlog, error) {
	b.reads.Add(1)
	if b.gate != nil {
		select {
		case <-b.gate:
		case <-ctx.Done():
			return Backlog{}, ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, after)
	if b.fail != nil || topic != "x" || b.top == 0 {
		return Backlog{}, b.fail
	}
	if after.Epoch != b.epoch {
		after = Position{}
	}
	missed := b.kept
	for len(missed) > 0 && missed[0].Position.Offset <= after.Offset {
		missed = missed[1:]
	}
	missed = missed[max(0, len(missed)-limits.Messages):]
	complete := after.Epoch != 0 && after.Offset+uint64(len(missed)) == b.top
	return Backlog{Top: Position{b.epoch, b.top}, Messages: slices.Clone(missed), Complete: complete}, nil
}

// forget makes the engine lose all but the latest n messages.
func (b *storeBroker) forget(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept = b.kept[len(b.kept)-n:]
}

func (b *storeBroker) setFail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

// wantOffsets reads messages whose positions have these offsets.
func (c *client) wantOffsets(t *testing.T, epoch uint64, offsets ...uint64) {
	t.Helper()
	for _, want := range offsets {
		at, text := split(t, c.ReadFrame())
		if at != (Position{epoch, want}) || text != fmt.Sprint(want) {
			t.Fatalf("got %v %q, want offset %d", at, text, want)
		}
	}
}

func storeHub(b Broker, onBroker func(BrokerEvent)) *Hub {
	return New(&Options{Broker: b, History: History{Messages: 100}, Encode: withPositions, OnBroker: onBroker,
		QueueMessages: -1, QueueBytes: -1})
}

// A process that had no subscriber of the topic, or was just started, replays
// from what the engine keeps.
func TestHistoryInEngine(t *testing.T) {
	for _, tt := range []struct {
		name     string
		stored   int
		forget   int // all but these
		after    Position
		recent   int
		complete bool
		want     []uint64
	}{
		{name: "all there", stored: 5, forget: 5, after: Position{7, 2}, complete: true, want: []uint64{3, 4, 5}},
		{name: "from the beginning", stored: 3, forget: 3, after: Position{7, 0}, complete: true, want: []uint64{1, 2, 3}},
		{name: "nothing missed", stored: 5, forget: 5, after: Position{7, 5}, complete: true},
		{name: "too much missed", stored: 5, forget: 2, after: Position{7, 2}},
		{name: "just enough", stored: 5, forget: 2, after: Position{7, 3}, complete: true, want: []uint64{4, 5}},
		{name: "another epoch", stored: 5, forget: 5, after: Position{6, 2}},
		{name: "recent", stored: 5, forget: 5, recent: 2, want: []uint64{4, 5}},
		{name: "ahead of the engine", stored: 5, forget: 5, after: Position{7, 9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newStoreBroker()
				b.store(tt.stored)
				b.forget(tt.forget)
				h := storeHub(b, nil)
				defer h.Close()
				c := connect(t, h, netfake.Options{}, nil)
				st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: tt.after, Recent: tt.recent})
				if err != nil || st.Complete != tt.complete || st.Messages != len(tt.want) {
					t.Errorf("%+v, %v", st, err)
				}
				c.wantOffsets(t, 7, tt.want...)
				b.bring(1, nil)
				c.wantOffsets(t, 7, uint64(tt.stored)+1)
			})
		})
	}
}

// Those who come back at the same time cost two reads at most: what the first
// one missed, and what the others missed.
func TestHistoryInEngineOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newStoreBroker()
		b.gate = make(chan bool)
		b.store(50)
		h := storeHub(b, nil)
		defer h.Close()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				s := h.Join(nil)
				st, err := s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, 50}})
				if i%2 == 0 { // these have missed something
					s.Leave()
					s = connect(t, h, netfake.Options{}, nil).s
					st, err = s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, uint64(i)/2 + 1}})
				}
				if err != nil || !st.Complete {
					t.Errorf("%d: %+v, %v", i, st, err)
				}
			})
		}
		synctest.Wait()
		close(b.gate)
		wg.Wait()
		if n := b.reads.Load(); n > 2 {
			t.Errorf("%d reads of the engine", n)
		}
	})
}

// A client costs a read of what it missed, and not of all that the engine
// keeps. Those that missed more, while that is read, cost one more. After a few
// such reads all is read, and then the engine is left alone.
func TestHistoryInEngineInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newStoreBroker()
		b.gate = make(chan bool)
		b.store(90)
		h := storeHub(b, nil)
		defer h.Close()
		var results []<-chan SubscribeResult
		resume := func(after uint64, missed int) {
			c := connect(t, h, netfake.Options{}, nil)
			started := c.resume(t, Position{7, after})
			results = append(results, started)
			t.Cleanup(func() {
				if st := <-started; !st.Complete || st.Messages != missed {
					t.Errorf("behind %d: %+v", after, st)
				}
			})
			synctest.Wait()
		}
		resume(85, 5) // is read
		resume(88, 2) // with it
		resume(60, 30)
		resume(50, 40) // with the one before
		close(b.gate)
		synctest.Wait()
		resume(70, 20)
		resume(90, 0)
		for _, after := range []uint64{49, 48, 47, 46, 1, 3} {
			resume(after, 90-int(after))
		}
		want := []Position{{7, 85}, {7, 50}, {7, 49}, {}}
		if !slices.Equal(b.asked, want) {
			t.Errorf("reads behind %v, want %v", b.asked, want)
		}
	})
}

// A read brings the live messages which were lost. It does not stand for what
// lies before them: a client that missed more than that gets it.
func TestHistoryInEngineAfterCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newStoreBroker()
		b.store(20)
		h := storeHub(b, nil)
		defer h.Close()
		c := join(t, h, "x")
		b.bring(5, func(i int) bool { return i > 2 })
		c.wantOffsets(t, 7, 21, 22, 23, 24, 25)
		synctest.Wait()
		again := connect(t, h, netfake.Options{}, nil)
		st, err := again.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, 18}})
		if err != nil || !st.Complete || st.Messages != 7 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// The hub reads messages that got lost on the way from the engine, before or
// without the next message. None comes twice.
func TestCatchUp(t *testing.T) {
	all := func(from, to uint64) (offsets []uint64) {
		for ; from <= to; from++ {
			offsets = append(offsets, from)
		}
		return offsets
	}
	for _, tt := range []struct {
		name string
		do   func(b *storeBroker)
		want []uint64
	}{
		{"a jump", func(b *storeBroker) { b.bring(10, func(i int) bool { return i < 3 || i > 6 }) }, all(1, 10)},
		{"the last ones", func(b *storeBroker) {
			b.bring(10, func(i int) bool { return i < 8 })
			time.Sleep(compareEvery + 2*comparePause)
		}, all(1, 10)},
		{"the engine was lost", func(b *storeBroker) {
			b.bring(3, nil)
			b.events <- BrokerEvent{Kind: BrokerLost}
			b.store(4)
			b.events <- BrokerEvent{Kind: BrokerRecovered}
		}, all(1, 7)},
		{"and live messages are quicker", func(b *storeBroker) {
			b.bring(3, nil)
			b.events <- BrokerEvent{Kind: BrokerLost}
			b.store(4)
			b.events <- BrokerEvent{Kind: BrokerRecovered}
			b.bring(5, nil)
		}, all(1, 12)},
		{"a topic was too slow", func(b *storeBroker) {
			b.bring(3, nil)
			b.store(4)
			b.events <- BrokerEvent{Kind: BrokerMissed, Topic: "x"}
			b.bring(1, nil)
		}, all(1, 8)},
		{"twice and late", func(b *storeBroker) {
			evs := b.store(5)
			for _, i := range []int{0, 1, 1, 0, 2, 3, 2, 4, 4} {
				b.events <- evs[i]
			}
		}, all(1, 5)},
		{"more than waits", func(b *storeBroker) {
			b.bring(90, func(i int) bool { return i != 2 })
		}, all(1, 90)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newStoreBroker()
				h := storeHub(b, func(ev BrokerEvent) {
					if ev.Kind == BrokerFailed {
						t.Errorf("%+v", ev)
					}
				})
				defer h.Close()
				c := join(t, h, "x")
				tt.do(b)
				c.wantOffsets(t, 7, tt.want...)
				synctest.Wait()
				c.WantIdle()
				again := connect(t, h, netfake.Options{}, nil)
				last := tt.want[len(tt.want)-1]
				st, err := again.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, last - 1}})
				if err != nil || !st.Complete || st.Messages != 1 {
					t.Errorf("%+v, %v", st, err)
				}
			})
		})
	}
}

// An engine that cannot be read does not stop what comes live, and the clients
// see that messages are missing.
func TestCatchUpFails(t *testing.T) {
	for _, slow := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newStoreBroker()
			var failures atomic.Int32
			h := storeHub(b, func(ev BrokerEvent) {
				if ev.Kind == BrokerFailed && ev.Topic == "x" && ev.Err != nil {
					failures.Add(1)
				}
			})
			defer h.Close()
			c := join(t, h, "x")
			b.bring(1, nil)
			c.wantOffsets(t, 7, 1)
			if slow {
				b.gate = make(chan bool)
			} else {
				b.setFail(errors.New("broken"))
			}
			b.bring(3, func(i int) bool { return i > 0 })
			c.wantOffsets(t, 7, 3, 4)
			synctest.Wait()
			if failures.Load() == 0 {
				t.Error("OnBroker was not told")
			}
			again := connect(t, h, netfake.Options{}, nil)
			st, err := again.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, 1}})
			if err != nil || st.Complete {
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
}

// An engine that has lost its data begins another epoch: all are told, whether
// or not a message follows.
func TestEngineLosesData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newStoreBroker()
		h := storeHub(b, nil)
		defer h.Close()
		c := join(t, h, "x")
		b.bring(5, nil)
		c.wantOffsets(t, 7, 1, 2, 3, 4, 5)
		b.events <- BrokerEvent{Kind: BrokerLost}
		b.mu.Lock()
		b.epoch, b.kept, b.top = 8, nil, 0
		b.mu.Unlock()
		b.store(2)
		b.events <- BrokerEvent{Kind: BrokerRecovered}
		c.wantOffsets(t, 8, 1, 2)
		again := connect(t, h, netfake.Options{}, nil)
		st, err := again.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, 5}})
		if err != nil || st.Complete || st.Position != (Position{8, 2}) {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// A panic of Encode costs the message, is counted, and told.
func TestEncodePanics(t *testing.T) {
	encode := func(dst []byte, m Message) []byte { return append(dst, m.Data[0]) } // an empty text is too short
	synctest.Test(t, func(t *testing.T) {
		b := &scriptBroker{events: make(chan BrokerEvent)}
		var mu sync.Mutex
		var told []BrokerEvent
		h := New(&Options{Broker: b, Encode: encode, OnBroker: func(ev BrokerEvent) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, ev)
		}})
		defer h.Close()
		c := join(t, h, "x")
		for _, text := range []string{"a", "", "b"} {
			b.events <- BrokerEvent{Topic: "x", Payload: appendEnvelope(nil, websocket.MessageText, []byte(text))}
		}
		c.want("a", "b")
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(told) != 1 || told[0].Kind != BrokerFailed || told[0].Topic != "x" || !errors.Is(told[0].Err, ErrEncode) {
			t.Errorf("OnBroker was told %+v", told)
		}
		if n := h.Stats().Panicked; n != 1 {
			t.Errorf("%d panics counted", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h := New(&Options{Encode: encode, History: History{Messages: 10}})
		c := join(t, h, "x")
		publish(t, h, "x", "a")
		if err := h.Publish(t.Context(), "x", websocket.MessageText, nil); !errors.Is(err, ErrEncode) {
			t.Errorf("Publish: %v", err)
		}
		publish(t, h, "x", "b")
		c.want("a", "b")
	})
}

// A broker that refuses one topic has the others.
func TestTopicErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &scriptBroker{events: make(chan BrokerEvent), gate: make(chan error, 9)}
		h := New(&Options{Broker: b})
		defer h.Close()
		errs := map[string]error{}
		var mu sync.Mutex
		for _, topic := range []string{"first", "good", "bad", "other"} {
			c := connect(t, h, netfake.Options{}, nil)
			go func() {
				err := c.s.Subscribe(t.Context(), topic)
				mu.Lock()
				defer mu.Unlock()
				errs[topic] = err
			}()
			synctest.Wait() // all but the first wait for their turn together
		}
		b.gate <- nil
		b.gate <- TopicErrors{"bad": errRefused}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for topic, err := range errs {
			if refused := topic == "bad"; refused != errors.Is(err, errRefused) || !refused && err != nil {
				t.Errorf("%s: %v", topic, err)
			}
		}
		if len(errs) != 4 || h.Stats().Topics != 3 {
			t.Errorf("%v, %+v", errs, h.Stats())
		}
	})
}

// Two messages never have one position, though a hub without History publishes
// into a topic that has one.
func TestUnnumberedAmongNumbered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &scriptBroker{events: make(chan BrokerEvent)}
		h := New(&Options{Broker: b, History: History{Messages: 10}, Encode: withPositions})
		defer h.Close()
		c := join(t, h, "x")
		seen := map[Position]bool{}
		for _, offset := range []uint64{1, 2, 0, 3, 0, 4} {
			ev := BrokerEvent{Topic: "x", Payload: appendEnvelope(nil, websocket.MessageText, nil)}
			if offset > 0 {
				ev.Position = Position{7, offset}
			}
			b.events <- ev
			at, _ := split(t, c.ReadFrame())
			if at != ev.Position || seen[at] && !at.IsZero() {
				t.Errorf("got %v, the engine said %v", at, ev.Position)
			}
			seen[at] = true
		}
		again := connect(t, h, netfake.Options{}, nil)
		st, err := again.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{Recent: 10})
		if err != nil || st.Messages != 4 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// OnBroker may do what waits for the engine.
func TestOnBrokerSubscribes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &scriptBroker{events: make(chan BrokerEvent), gate: make(chan error)}
		var h *Hub
		done := make(chan error, 1)
		h = New(&Options{Broker: b, OnBroker: func(BrokerEvent) { done <- h.Join(nil).Subscribe(t.Context(), "y") }})
		defer h.Close()
		b.events <- BrokerEvent{Kind: BrokerLost}
		synctest.Wait()
		b.events <- BrokerEvent{Topic: "z"} // the goroutine that receives goes on
		b.gate <- nil
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A panic of HistoryOf leaves no topic behind.
func TestHistoryOfPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &scriptBroker{events: make(chan BrokerEvent)}
		h := New(&Options{Broker: b, HistoryOf: func(topic string) History {
			if topic == "bad" {
				panic("bad")
			}
			return History{}
		}})
		defer h.Close()
		if err := h.Join(nil).Subscribe(t.Context(), "a", "b", "bad"); !errors.Is(err, ErrCallbackPanicked) {
			t.Errorf("Subscribe: %v", err)
		}
		synctest.Wait()
		if n := h.Stats().Topics; n != 0 {
			t.Errorf("%d topics stay", n)
		}
	})
}

// A panic of Encode for a message that was read costs that message: who needs
// it is told, and the others are there. It is so for a message of each type,
// before the history and behind it.
func TestEncodePanicsInRead(t *testing.T) {
	for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
		synctest.Test(t, func(t *testing.T) {
			b := newStoreBroker()
			b.store(6)
			b.mu.Lock()
			b.kept[2].Payload = appendEnvelope(nil, typ, nil) // offset 3
			b.mu.Unlock()
			h := New(&Options{Broker: b, History: History{Messages: 10}, Encode: func(dst []byte, m Message) []byte {
				return append(dst, m.Data[0]) // panics if there is none
			}})
			defer h.Close()
			for _, tt := range []struct {
				after    uint64
				complete bool
				want     []string
			}{{1, false, nil}, {3, true, []string{"4", "5", "6"}}, {2, false, nil}} {
				c := connect(t, h, netfake.Options{}, nil)
				st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, tt.after}})
				if err != nil || st.Complete != tt.complete {
					t.Errorf("after %d: %+v, %v", tt.after, st, err)
				}
				c.want(tt.want...)
				c.s.Leave()
			}
			if h.Stats().Panicked == 0 {
				t.Error("no panic is counted")
			}
			// The same message, behind what is known.
			c := join(t, h, "x")
			b.mu.Lock()
			b.top++
			b.kept = append(b.kept, BrokerEvent{Topic: "x", Position: Position{7, 7}, Payload: appendEnvelope(nil, typ, nil)})
			b.mu.Unlock()
			b.bring(1, nil) // offset 8: the one before was not seen
			c.want("8")
		})
	}
}
