package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// hubs returns n hubs on one engine.
func hubs(t *testing.T, m *MemoryEngine, n int, opts Options) []*Hub {
	var all []*Hub
	for range n {
		opts.Broker = m.Connect()
		h := New(&opts)
		t.Cleanup(func() { h.Close() })
		all = append(all, h)
	}
	return all
}

func TestBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryEngine()
		all := hubs(t, m, 3, Options{})
		a, b := join(t, all[0], "x", "y"), join(t, all[1], "x")
		publish(t, all[0], "x", "1")
		publish(t, all[1], "x", "2")
		publish(t, all[2], "x", "3")
		publish(t, all[1], "y", "4")
		if err := all[2].Publish(t.Context(), "x", websocket.MessageBinary, []byte("5")); err != nil {
			t.Fatal(err)
		}
		a.want("1", "2", "3", "4")
		b.want("1", "2", "3")
		a.WantFrame(wstest.Binary, "5")
		b.WantFrame(wstest.Binary, "5")

		a.s.Unsubscribe("y")
		b.s.Leave()
		synctest.Wait()
		publish(t, all[1], "y", "6")
		publish(t, all[1], "x", "7")
		a.want("7")
		synctest.Wait()
		for i, h := range all {
			h.link.mu.Lock()
			if got, want := len(h.link.interests), []int{1, 0, 0}[i]; got != want {
				t.Errorf("hub %d is interested in %d topics, want %d", i, got, want)
			}
			h.link.mu.Unlock()
		}
		m.mu.Lock()
		m.brokers[0].bring(BrokerEvent{Topic: "x", Payload: []byte("what?")})
		m.mu.Unlock()
		synctest.Wait()
		a.WantIdle()
		if st := all[0].Stats(); st.Invalid != 1 || st.Published != 6 {
			t.Errorf("%+v", st)
		}
		if err := all[0].Close(); err != nil {
			t.Error(err)
		}
		if err := all[0].Close(); !errors.Is(err, ErrClosed) {
			t.Errorf("Close again: %v", err)
		}
		if err := all[0].Publish(t.Context(), "x", websocket.MessageText, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Publish after Close: %v", err)
		}
		if err := a.s.Err(); !errors.Is(err, ErrClosed) {
			t.Errorf("Err after Close: %v", err)
		}
	})
}

// A client that comes back to another process goes on there; when the engine
// has forgotten all, it is told.
func TestBrokerResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryEngine()
		var mu sync.Mutex
		var events []string
		onBroker := func(ev BrokerEvent) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, fmt.Sprint(ev.Kind, " ", ev.Err))
		}
		opts := Options{History: History{Messages: 100}, Encode: withPositions, OnBroker: onBroker}
		all := hubs(t, m, 2, opts)
		a, b := join(t, all[0], "x"), join(t, all[1], "x")
		publish(t, all[0], "x", "1", "2", "3")
		var last Position
		for _, c := range []*client{a, b} {
			for i := uint64(1); i <= 3; i++ {
				at, text := split(t, c.ReadFrame())
				if at.Offset != i || text != fmt.Sprint(i) || i > 1 && at.Epoch != last.Epoch {
					t.Errorf("%v %q", at, text)
				}
				last = at
			}
		}
		resume := func(h *Hub, after Position) (*client, SubscribeResult) {
			c := connect(t, h, netfake.Options{}, nil)
			st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: after})
			if err != nil {
				t.Fatal(err)
			}
			return c, st
		}
		c, st := resume(all[1], Position{last.Epoch, 1}) // it has seen the first on the other
		if want := (SubscribeResult{Position: last, Complete: true, Messages: 2}); st != want {
			t.Errorf("%+v, want %+v", st, want)
		}
		for i := range 2 {
			if at, _ := split(t, c.ReadFrame()); at.Offset != uint64(2+i) {
				t.Errorf("%v", at)
			}
		}

		m.Stop()
		synctest.Wait()
		if err := all[0].Publish(t.Context(), "x", websocket.MessageText, nil); !errors.Is(err, errStopped) {
			t.Errorf("Publish without an engine: %v", err)
		}
		if _, st := resume(all[1], last); st.Complete {
			t.Errorf("without an engine: %+v", st)
		}
		m.Start()
		synctest.Wait()
		if _, st := resume(all[1], last); st.Complete {
			t.Errorf("after the engine came back: %+v", st)
		}
		publish(t, all[1], "x", "4")
		at, _ := split(t, a.ReadFrame())
		if at.Epoch == last.Epoch {
			t.Errorf("%v follows on %v", at, last)
		}
		synctest.Wait()
		if _, st := resume(all[1], Position{at.Epoch, 0}); st.Messages != 1 || !st.Complete {
			t.Errorf("in the new epoch: %+v", st)
		}
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(events)
		want := []string{"BrokerLost " + errStopped.Error(), "BrokerRecovered <nil>"}
		if got := slices.Compact(events); !slices.Equal(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
	})
}

// A client of an engine that is gone has missed something of the next one,
// however many messages that has had.
func TestBrokerAnotherEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := Options{History: History{Messages: 100}, Encode: withPositions}
		last := Position{}
		for round := range 2 {
			h := hubs(t, NewMemoryEngine(), 1, opts)[0]
			c := join(t, h, "x")
			publish(t, h, "x", "1", "2", "3")
			for range 3 {
				at, _ := split(t, c.ReadFrame())
				if round == 0 && at.Offset == 2 {
					last = at
				}
			}
			again := connect(t, h, netfake.Options{}, nil)
			st, err := again.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: last})
			if err != nil || st.Complete != (round == 0) {
				t.Errorf("round %d: %+v, %v", round, st, err)
			}
		}
	})
}

// A scriptBroker does what a test wants, and notes what it is told.
type scriptBroker struct {
	events chan BrokerEvent
	gate   chan error // what Subscribe returns, if not nil

	mu  sync.Mutex
	log []string
}

func (b *scriptBroker) note(what string, topics []string) {
	slices.Sort(topics)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, what+" "+strings.Join(topics, " "))
}

func (b *scriptBroker) Publish(ctx context.Context, p Publication) error {
	b.note(fmt.Sprintf("publish %t %q", p.History.Messages > 0, p.Payload), []string{p.Topic})
	return ctx.Err()
}

func (b *scriptBroker) Subscribe(ctx context.Context, topics []string) error {
	b.note("on", topics)
	if b.gate == nil {
		return nil
	}
	select {
	case err := <-b.gate:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *scriptBroker) Unsubscribe(ctx context.Context, topics []string) error {
	b.note("off", topics)
	return nil
}

func (b *scriptBroker) Receive(ctx context.Context) (BrokerEvent, error) {
	select {
	case ev, ok := <-b.events:
		if !ok {
			return ev, errors.New("closed")
		}
		return ev, nil
	case <-ctx.Done():
		return BrokerEvent{}, ctx.Err()
	}
}

func (b *scriptBroker) wantLog(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if strings.Join(b.log, "\n") != strings.Join(want, "\n") {
		t.Errorf("the broker was told\n%q\nwant\n%q", b.log, want)
	}
	b.log = nil
}

// The broker hears once of a topic, however many subscribe, and of many topics
// at once.
func TestBrokerBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &scriptBroker{events: make(chan BrokerEvent), gate: make(chan error)}
		h := New(&Options{Broker: b})
		defer h.Close()
		var clients []*client
		for range 4 {
			clients = append(clients, connect(t, h, netfake.Options{}, nil))
		}
		var wg sync.WaitGroup
		done := make([]bool, len(clients))
		subscribe := func(i int, topics ...string) {
			wg.Go(func() {
				if err := clients[i].s.Subscribe(t.Context(), topics...); err != nil {
					t.Error(err)
				}
				done[i] = true
			})
			synctest.Wait()
		}
		subscribe(0, "a")
		b.wantLog(t, "on a")
		subscribe(1, "a", "b")
		subscribe(2, "a", "b", "c")
		subscribe(3, "d")
		b.wantLog(t) // one batch at a time
		if done[0] {
			t.Error("Subscribe did not wait for the engine")
		}
		b.gate <- nil
		b.wantLog(t, "on b c d")
		if !done[0] || done[1] {
			t.Errorf("%v", done)
		}
		b.gate <- nil
		wg.Wait()
		subscribe(0, "b")
		clients[3].s.Leave()
		clients[2].s.Unsubscribe("a")
		clients[1].s.Unsubscribe("a")
		b.wantLog(t, "off d")
		clients[0].s.Unsubscribe("a")
		b.wantLog(t, "off a")
		if err := clients[3].s.Subscribe(t.Context(), "e"); !errors.Is(err, ErrLeft) {
			t.Errorf("Subscribe after Leave: %v", err)
		}
		b.wantLog(t)
	})
}

// Changes while the broker is busy are settled afterwards.
func TestBrokerChangesMind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &scriptBroker{events: make(chan BrokerEvent), gate: make(chan error)}
		h := New(&Options{Broker: b})
		defer h.Close()
		c := connect(t, h, netfake.Options{}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.s.Subscribe(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) || h.Stats().Topics != 0 {
			t.Errorf("%v, %+v", err, h.Stats())
		}
		b.wantLog(t, "on a")
		b.gate <- nil
		b.wantLog(t, "off a")

		// While the broker is busy with c, a and b gather, so that they go to
		// it as one batch.
		broken := errors.New("broken")
		var busy, both error
		go func() { busy = c.s.Subscribe(t.Context(), "c") }()
		synctest.Wait()
		go func() { both = c.s.Subscribe(t.Context(), "a", "b") }()
		synctest.Wait()
		b.gate <- nil
		b.gate <- broken
		synctest.Wait()
		if busy != nil || !errors.Is(both, broken) || h.Stats().Topics != 1 {
			t.Errorf("%v, %v, %+v", busy, both, h.Stats())
		}
		b.wantLog(t, "on c", "on a b")
		go func() { b.gate <- nil }()
		if err := c.s.Subscribe(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		b.wantLog(t, "on a")
		publish(t, h, "a", "text")
		b.wantLog(t, `publish false "\x11text" a`)
	})
}

// A process that had no subscriber of a topic knows from the engine whether a
// client has missed anything.
func TestBrokerPositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryEngine()
		all := hubs(t, m, 2, Options{History: History{Messages: 100}, Encode: withPositions})
		a := join(t, all[0], "x")
		publish(t, all[0], "x", "1", "2")
		a.ReadFrame()
		last, _ := split(t, a.ReadFrame())
		for _, tt := range []struct {
			after uint64
			want  bool
		}{{1, false}, {2, true}, {3, false}} {
			c := connect(t, all[1], netfake.Options{}, nil)
			st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{last.Epoch, tt.after}})
			if want := (SubscribeResult{Position: last, Complete: tt.want}); err != nil || st != want {
				t.Errorf("after %d: %+v, %v; want %+v", tt.after, st, err, want)
			}
		}
		publish(t, all[0], "x", "3")
		c := connect(t, all[1], netfake.Options{}, nil)
		synctest.Wait()
		st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: last})
		if err != nil || !st.Complete || st.Messages != 1 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// positionBroker is a scriptBroker that knows positions.
type positionBroker struct {
	*scriptBroker
	positions func(topics []KeptTopic) ([]Position, error)
}

func (b positionBroker) Positions(ctx context.Context, topics []KeptTopic) ([]Position, error) {
	return b.positions(topics)
}

// Messages that were on their way when the engine said where the topic is come
// once.
func TestBrokerPositionsMeetMessages(t *testing.T) {
	type events []uint64 // offsets of messages
	for _, tt := range []struct {
		name            string
		before          events // come before the engine's answer
		answer          Position
		err             error
		after           events // come after it
		resume          uint64
		replayed        int
		complete        bool
		wantLive        events
		wantStartOffset uint64
	}{
		{name: "none under way", answer: Position{7, 5}, after: events{6, 7}, resume: 5, complete: true, wantLive: events{6, 7}, wantStartOffset: 5},
		{name: "two under way", answer: Position{7, 5}, after: events{4, 5, 6}, resume: 5, complete: true, wantLive: events{6}, wantStartOffset: 5},
		{name: "two were quicker", before: events{4, 5}, answer: Position{7, 5}, after: events{6}, resume: 3, complete: true, replayed: 2, wantLive: events{6}, wantStartOffset: 5},
		{name: "one was quicker, or of an earlier subscription", before: events{4}, answer: Position{7, 5}, after: events{5, 6}, resume: 4, wantLive: events{6}, wantStartOffset: 5},
		{name: "no position", after: events{1, 2}, resume: 0, wantLive: events{1, 2}},
		{name: "an error", err: errors.New("no"), answer: Position{7, 5}, after: events{6}, resume: 5, wantLive: events{6}},
		{name: "another epoch", answer: Position{6, 5}, after: events{1, 2}, resume: 5, wantLive: events{1, 2}, wantStartOffset: 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				script := &scriptBroker{events: make(chan BrokerEvent)}
				bring := func(offsets events) {
					for _, offset := range offsets {
						payload := appendEnvelope(nil, websocket.MessageText, nil)
						script.events <- BrokerEvent{Topic: "x", Position: Position{7, offset}, Payload: payload}
					}
					synctest.Wait()
				}
				answer := make(chan bool)
				b := positionBroker{script, func(topics []KeptTopic) ([]Position, error) {
					<-answer
					return []Position{tt.answer}, tt.err
				}}
				h := New(&Options{History: History{Messages: 10}, Encode: withPositions, Broker: b})
				defer h.Close()
				c := connect(t, h, netfake.Options{}, nil)
				var st SubscribeResult
				done := make(chan error)
				go func() {
					var err error
					st, err = c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, tt.resume}})
					done <- err
				}()
				synctest.Wait()
				bring(tt.before)
				answer <- true
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if st.Complete != tt.complete || st.Messages != tt.replayed || st.Position.Offset != tt.wantStartOffset {
					t.Errorf("%+v", st)
				}
				for range tt.replayed {
					c.ReadFrame()
				}
				bring(tt.after)
				for _, want := range tt.wantLive {
					if at, _ := split(t, c.ReadFrame()); at != (Position{7, want}) {
						t.Errorf("got %v, want offset %d", at, want)
					}
				}
				c.WantIdle()
			})
		})
	}
}

// Without positions from the engine the hub has its own, and begins an epoch
// whenever messages may be lost.
func TestBrokerGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &scriptBroker{events: make(chan BrokerEvent)}
		var events []BrokerEventKind
		h := New(&Options{Broker: b, History: History{Messages: 10}, Encode: withPositions, OnBroker: func(ev BrokerEvent) {
			events = append(events, ev.Kind)
		}})
		defer h.Close()
		c := join(t, h, "x")
		message := func(at Position) Position {
			b.events <- BrokerEvent{Topic: "x", Position: at, Payload: appendEnvelope(nil, websocket.MessageText, nil)}
			got, _ := split(t, c.ReadFrame())
			return got
		}
		start := func(after Position) SubscribeResult {
			c := connect(t, h, netfake.Options{}, nil)
			st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: after})
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		p1 := message(Position{})
		p2 := message(Position{})
		if p1.Offset != 1 || p2 != (Position{p1.Epoch, 2}) {
			t.Errorf("%v, %v", p1, p2)
		}
		b.events <- BrokerEvent{Kind: BrokerLost}
		synctest.Wait()
		during := start(p2)
		b.events <- BrokerEvent{Kind: BrokerRecovered}
		synctest.Wait()
		if st := start(p2); st.Complete || during.Complete || start(during.Position).Complete {
			t.Errorf("%+v, %+v", during, st)
		}
		p3 := message(Position{})
		if p3.Offset != 1 || p3.Epoch == p2.Epoch || p3.Epoch == during.Position.Epoch {
			t.Errorf("%v behind %v and %v", p3, p2, during.Position)
		}

		// With positions from the engine it is sure.
		message(Position{7, 1})
		message(Position{7, 2})
		b.events <- BrokerEvent{Kind: BrokerLost}
		b.events <- BrokerEvent{Kind: BrokerRecovered}
		synctest.Wait()
		if st := start(Position{7, 2}); st.Complete {
			t.Errorf("before the next message: %+v", st)
		}
		message(Position{7, 3})
		if st := start(Position{7, 1}); !st.Complete || st.Messages != 2 {
			t.Errorf("nothing was lost: %+v", st)
		}
		message(Position{7, 5})
		if st := start(Position{7, 3}); st.Complete {
			t.Errorf("one was lost: %+v", st)
		}
		if st := start(Position{7, 4}); !st.Complete || st.Messages != 1 {
			t.Errorf("it was the one before: %+v", st)
		}
		close(b.events)
		synctest.Wait()
		want := []BrokerEventKind{BrokerLost, BrokerRecovered, BrokerLost, BrokerRecovered, BrokerLost}
		if !slices.Equal(events, want) {
			t.Errorf("events %v, want %v", events, want)
		}
	})
}

// A refuser is a broker that refuses topics that begin with "bad", at once.
type refuser struct{ scriptBroker }

var errRefused = errors.New("refused")

func (b *refuser) Subscribe(ctx context.Context, topics []string) error {
	for _, topic := range topics {
		if strings.HasPrefix(topic, "bad") {
			return errRefused
		}
	}
	return nil
}

// The broker may have refused a topic before Subscribe waits for its answer:
// Subscribe asks for one topic after the other.
func TestBrokerRefuses(t *testing.T) {
	h := New(&Options{Broker: &refuser{scriptBroker{events: make(chan BrokerEvent)}}})
	defer h.Close()
	topics := []string{"bad"}
	for i := range 50 {
		topics = append(topics, fmt.Sprint("good", i))
	}
	accepted := 0
	const rounds = 1000
	for range rounds {
		s := h.Join(nil)
		if err := s.Subscribe(t.Context(), topics...); !errors.Is(err, errRefused) {
			accepted++
		}
		s.Leave()
	}
	if accepted > 0 {
		t.Errorf("%d of %d calls of Subscribe returned nil though the broker refused", accepted, rounds)
	}
}

// A broker's event about one topic reaches the application, and leaves the
// topics as they are.
func TestBrokerFailed(t *testing.T) {
	b := &scriptBroker{events: make(chan BrokerEvent)}
	told := make(chan BrokerEvent, 1)
	h := New(&Options{Broker: b, OnBroker: func(ev BrokerEvent) { told <- ev }})
	defer h.Close()
	b.events <- BrokerEvent{Kind: BrokerFailed, Topic: "x", Err: errRefused}
	select {
	case ev := <-told:
		if ev.Kind != BrokerFailed || ev.Topic != "x" || ev.Err != errRefused {
			t.Errorf("%+v", ev)
		}
	case <-time.After(time.Minute):
		t.Error("the application was not told")
	}
}

// An idBroker is a broker that is in doubt of the first attempt of each
// message.
type idBroker struct {
	scriptBroker
	ids []string
}

func (b *idBroker) Publish(ctx context.Context, p Publication) error {
	b.ids = append(b.ids, p.ID)
	if len(b.ids) == 1 {
		return fmt.Errorf("broker: %w", ErrUnconfirmed)
	}
	return nil
}

// The broker gets the id of a message, and its doubt reaches the caller.
func TestPublishOnce(t *testing.T) {
	b := &idBroker{scriptBroker: scriptBroker{events: make(chan BrokerEvent)}}
	h := New(&Options{Broker: b})
	defer h.Close()
	err := h.PublishOnce(t.Context(), "x", "id", websocket.MessageText, nil)
	if !errors.Is(err, ErrUnconfirmed) {
		t.Errorf("the first attempt: %v", err)
	}
	if err := h.PublishOnce(t.Context(), "x", "id", websocket.MessageText, nil); err != nil {
		t.Error(err)
	}
	if err := h.Publish(t.Context(), "x", websocket.MessageText, nil); err != nil {
		t.Error(err)
	}
	if want := []string{"id", "id", ""}; !slices.Equal(b.ids, want) {
		t.Errorf("ids %q, want %q", b.ids, want)
	}
}
