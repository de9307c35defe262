package hub

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A recorder is a transport that keeps what is written.
type recorder struct {
	sink
	mu  sync.Mutex
	buf []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf = append(r.buf, p...)
	return len(p), nil
}

// texts returns the text messages that were written since the last call.
func (r *recorder) texts() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.buf
	if i := strings.Index(string(b), "\r\n\r\n"); strings.HasPrefix(string(b), "HTTP/") && i >= 0 {
		b = b[i+4:]
	}
	for len(b) > 0 {
		n, head := int(b[1]), 2
		switch n {
		case 126:
			n, head = int(binary.BigEndian.Uint16(b[2:])), 4
		case 127:
			n, head = int(binary.BigEndian.Uint64(b[2:])), 10
		}
		if b[0] == 0x81 {
			all = append(all, string(b[head:head+n]))
		}
		b = b[head+n:]
	}
	r.buf = nil
	return all
}

// A page is a subscriber whose messages are recorded.
type page struct {
	*recorder
	s *Subscriber
}

// open makes a page of a member with topics; of a subscriber that is none if id
// is empty.
func open(t testing.TB, h *Hub, id string, topics ...string) *page {
	t.Helper()
	r := &recorder{}
	c, err := websocket.Accept(&hijacker{conn: r}, upgrade(t), &websocket.AcceptOptions{PingInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	p := &page{recorder: r}
	if id == "" {
		p.s = h.Join(c)
	} else {
		p.s = h.JoinAs(c, Member{ID: id, Data: []byte("data of " + id)})
	}
	if err := p.s.Subscribe(t.Context(), topics...); err != nil {
		t.Fatal(err)
	}
	return p
}

// want compares what the page was told since the last call.
func (p *page) want(t testing.TB, texts ...string) {
	t.Helper()
	time.Sleep(time.Second) // all that is gathered has come
	synctest.Wait()
	if got := p.texts(); !slices.Equal(got, texts) {
		t.Errorf("told %q, want %q", got, texts)
	}
}

// tellText is an OnPresence for tests.
func tellText(ev PresenceEvent) (websocket.MessageType, []byte) {
	var text string
	switch ev.Kind {
	case PresenceState:
		text = fmt.Sprintf("%d: %s", ev.Count, ids(ev.Members))
	case PresenceJoin:
		text = fmt.Sprintf("+%s %d/%d", ev.Member.ID, ev.Same, ev.Count)
	case PresenceLeave:
		text = fmt.Sprintf("-%s %d/%d", ev.Member.ID, ev.Same, ev.Count)
	}
	return websocket.MessageText, []byte(text)
}

func ids(members []Member) string {
	var all []string
	for _, m := range members {
		all = append(all, m.ID)
	}
	return strings.Join(all, " ")
}

func withPresence() *Options {
	return &Options{
		PresenceOf: func(topic string) bool { return topic != "quiet" },
		OnPresence: tellText,
	}
}

// who returns the members of a topic as text.
func who(t testing.TB, h *Hub, topic string) string {
	t.Helper()
	v, err := h.Presence(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	text := ids(v.Members)
	if v.Members == nil && v.Count > 0 {
		text = fmt.Sprint(v.Count)
	} else if len(v.Members) != v.Count {
		t.Errorf("%d members of %d", len(v.Members), v.Count)
	}
	if !v.Complete {
		text += "?"
	}
	return text
}

func wantWho(t testing.TB, h *Hub, topic, want string) {
	t.Helper()
	if got := who(t, h, topic); got != want {
		t.Errorf("%q is there, want %q", got, want)
	}
}

func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(withPresence())
		wantWho(t, h, "x", "")
		ada := open(t, h, "ada", "x", "quiet")
		ada.want(t, "1: ada")
		lurker := open(t, h, "", "x")
		bob := open(t, h, "bob", "y")
		bob.want(t, "1: bob")
		if err := bob.s.Subscribe(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		bob2 := open(t, h, "bob", "x")
		ada.want(t, "+bob 1/2", "+bob 2/3")
		lurker.want(t, "1: ada", "+bob 1/2", "+bob 2/3")
		bob.want(t, "2: ada bob", "+bob 2/3")
		bob2.want(t, "3: ada bob bob")
		wantWho(t, h, "x", "ada bob bob")
		wantWho(t, h, "y", "bob")
		if v, err := h.Presence(t.Context(), "x"); err != nil || string(v.Members[0].Data) != "data of ada" {
			t.Errorf("%+v, %v", v, err)
		}

		// A leave is held back.
		bob.s.Leave()
		time.Sleep(3 * time.Second)
		ada.want(t)
		wantWho(t, h, "x", "ada bob bob")
		time.Sleep(2 * time.Second)
		ada.want(t, "-bob 1/2")
		wantWho(t, h, "x", "ada bob")
		wantWho(t, h, "y", "")

		// Who comes back has not left.
		bob2.s.Unsubscribe("x")
		time.Sleep(4 * time.Second)
		bob = open(t, h, "bob", "x")
		time.Sleep(time.Minute)
		ada.want(t)
		bob.want(t, "2: ada bob")

		// Other data is another member.
		bob.s.Leave()
		c := sinkConns(t, 1, nil)[0]
		other := h.JoinAs(c, Member{ID: "bob", Data: []byte("other")})
		if err := other.Subscribe(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		ada.want(t, "+bob 2/3", "-bob 1/2")
		other.Leave()
		bob2.s.Leave()
		ada.s.Leave()
		lurker.s.Leave()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		p := h.presence
		if len(p.rooms)+len(p.named)+len(p.dirty)+len(p.leaving)+len(p.self.rosters) != 0 {
			t.Errorf("left behind: %+v", p)
		}
	})
}

func TestPresenceErrors(t *testing.T) {
	c := sinkConns(t, 2, nil)
	h := New(withPresence())
	if _, err := h.Presence(t.Context(), "quiet"); !errors.Is(err, ErrNoPresence) {
		t.Error(err)
	}
	if _, err := New(nil).Presence(t.Context(), "x"); !errors.Is(err, ErrNoPresence) {
		t.Error(err)
	}
	s := h.JoinAs(c[0], Member{ID: "x", Data: make([]byte, MaxMemberBytes)})
	if err := s.Subscribe(t.Context(), "x"); !errors.Is(err, ErrMemberSize) {
		t.Error(err)
	}
	for _, topic := range []string{presenceTopic, inbox(1)} {
		for _, h := range []*Hub{h, New(nil)} {
			if err := h.Join(c[1]).Subscribe(t.Context(), "x", topic); !errors.Is(err, ErrReserved) {
				t.Error(err)
			}
			if err := h.Publish(t.Context(), topic, websocket.MessageText, nil); !errors.Is(err, ErrReserved) {
				t.Error(err)
			}
		}
	}
	h.Close()
	if _, err := h.Presence(t.Context(), "x"); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := h.JoinAs(c[0], Member{}).Err(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// A panic of OnPresence costs a message; a nil message is none.
func TestOnPresencePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := withPresence()
		opts.OnPresence = func(ev PresenceEvent) (websocket.MessageType, []byte) {
			switch ev.Member.ID {
			case "evil":
				panic("evil")
			case "none":
				return 0, nil
			case "wrong":
				return 77, []byte("text")
			}
			return tellText(ev)
		}
		h := New(opts)
		ada := open(t, h, "ada", "x")
		ada.want(t, "1: ada")
		for _, id := range []string{"evil", "none", "wrong", "bob"} {
			open(t, h, id, "x")
		}
		ada.want(t, "+bob 1/5")
		if got := h.Stats().Panicked; got != 1 {
			t.Errorf("%d panics", got)
		}
	})
}

// An OnPresence that does not return keeps what it would tell, and nothing
// else.
func TestOnPresenceBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := withPresence()
		blocked := make(chan struct{})
		opts.OnPresence = func(ev PresenceEvent) (websocket.MessageType, []byte) {
			<-blocked
			return tellText(ev)
		}
		for _, h := range []*Hub{New(opts), hubs(t, NewMemoryEngine(), 1, *opts)[0]} {
			ada := open(t, h, "ada", "x")
			bob := open(t, h, "bob", "x", "y")
			time.Sleep(time.Minute) // the hub waits for OnPresence meanwhile
			for _, topic := range []string{"x", "y"} {
				if err := h.Publish(t.Context(), topic, websocket.MessageText, []byte(topic)); err != nil {
					t.Fatal(err)
				}
			}
			ada.want(t, "x")
			bob.want(t, "x", "y")
			wantWho(t, h, "x", "ada bob")
			bob.s.Leave()
			h.Close()
		}
		close(blocked)
	})
}

// Beyond a number, members are counted only; and the subscribers are told not
// too often.
func TestPresenceCounts(t *testing.T) {
	for _, processes := range []int{0, 1, 2} {
		t.Run(fmt.Sprint(processes, " processes"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := []*Hub{New(withPresence())}
				if processes > 0 {
					all = hubs(t, NewMemoryEngine(), processes, *withPresence())
				}
				a := all[0]
				b := all[len(all)-1]
				lurker := open(t, b, "", "x")
				lurker.want(t, "0: ")
				conns := sinkConns(t, MaxPresenceMembers+1, nil)
				subs := make([]*Subscriber, len(conns))
				add := func(from, to int) {
					for i := from; i < to; i++ {
						subs[i] = a.JoinAs(conns[i], Member{ID: fmt.Sprintf("m%04d", i)})
						if err := subs[i].Subscribe(t.Context(), "x"); err != nil {
							t.Fatal(err)
						}
					}
				}
				add(0, MaxPresenceMembers)
				time.Sleep(gatherMany)
				synctest.Wait()
				got := lurker.texts()
				// Whether the last news is a list or a few joins depends on how
				// they gathered.
				last := got[len(got)-1]
				if !strings.HasPrefix(last, "1000: m0000 m0001 ") && !strings.HasSuffix(last, "/1000") || len(got) > maxPresenceEvents+2 {
					t.Errorf("%d texts, the last %.100q", len(got), last)
				}
				if v, _ := b.Presence(t.Context(), "x"); len(v.Members) != MaxPresenceMembers || v.Count != MaxPresenceMembers || !v.Complete {
					t.Errorf("%d of %d, %t", len(v.Members), v.Count, v.Complete)
				}
				add(MaxPresenceMembers, MaxPresenceMembers+1)
				time.Sleep(gatherMany)
				lurker.want(t, "1001: ")
				wantWho(t, b, "x", "1001")
				for i := range 51 {
					subs[i].Leave()
				}
				time.Sleep(holdLeave + gatherMany)
				synctest.Wait()
				if processes == 2 { // the other process is not told who is there yet
					lurker.want(t, "950: ")
					wantWho(t, b, "x", "950")
				}
				for i := range 130 {
					subs[i].Leave()
				}
				time.Sleep(holdLeave + gatherMany)
				synctest.Wait()
				got = lurker.texts()
				if last := got[len(got)-1]; !strings.HasPrefix(last, "-") && !strings.HasPrefix(last, "871: m0130 ") {
					t.Errorf("told %.100q", last)
				}
				if v, _ := b.Presence(t.Context(), "x"); len(v.Members) != 871 || v.Count != 871 {
					t.Errorf("%d of %d", len(v.Members), v.Count)
				}
			})
		})
	}
}

// A cutBroker can lose messages, lose the engine, and be killed.
type cutBroker struct {
	Broker
	cut  atomic.Bool                 // nothing comes in or goes out, and nothing is told
	lose atomic.Pointer[func() bool] // reports whether the next message that is published is lost
	sent atomic.Int64
	size atomic.Int64
	told chan BrokerEvent // events of the test

	once   sync.Once
	events chan BrokerEvent
}

var errCut = errors.New("cut")

func (b *cutBroker) Publish(ctx context.Context, p Publication) error {
	if b.cut.Load() {
		<-ctx.Done()
		return errCut
	}
	b.sent.Add(1)
	b.size.Add(int64(len(p.Payload)))
	if lose := b.lose.Load(); lose != nil && (*lose)() {
		return nil
	}
	return b.Broker.Publish(ctx, p)
}

// Receive is called by one goroutine. The engine forgets a broker whose Receive
// was cancelled, so a goroutine of its own calls it.
func (b *cutBroker) Receive(ctx context.Context) (BrokerEvent, error) {
	b.once.Do(func() {
		b.events = make(chan BrokerEvent)
		go func() {
			for {
				ev, err := b.Broker.Receive(ctx)
				if err != nil {
					return
				}
				if b.cut.Load() && ev.Kind == BrokerMessage {
					continue
				}
				select {
				case b.events <- ev:
				case <-ctx.Done():
					return
				}
			}
		}()
	})
	select {
	case ev := <-b.events:
		return ev, nil
	case ev := <-b.told:
		return ev, nil
	case <-ctx.Done():
		return BrokerEvent{}, ctx.Err()
	}
}

// cutHubs returns hubs with presence on one engine, and their brokers.
func cutHubs(t *testing.T, m *MemoryEngine, n int) (all []*Hub, brokers []*cutBroker) {
	for range n {
		b := &cutBroker{Broker: m.Connect(), told: make(chan BrokerEvent)}
		opts := withPresence()
		opts.Broker = b
		h := New(opts)
		t.Cleanup(func() { h.Close() })
		all, brokers = append(all, h), append(brokers, b)
	}
	return all, brokers
}

func TestPresenceProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryEngine()
		all, _ := cutHubs(t, m, 3)
		a := open(t, all[0], "ada", "x")
		a2 := open(t, all[1], "ada", "x", "y")
		b := open(t, all[2], "bob", "x")
		time.Sleep(2 * time.Second)
		for _, h := range all {
			wantWho(t, h, "x", "ada ada bob")
			wantWho(t, h, "y", "ada")
		}
		a.texts()
		a2.texts()
		b.texts()

		// A newcomer knows all, before anything happens.
		late, _ := cutHubs(t, m, 1)
		start := time.Now()
		wantWho(t, late[0], "x", "ada ada bob")
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("it took %v", d)
		}
		lurker := open(t, late[0], "", "x")
		lurker.want(t, "3: ada ada bob")

		// A reconnect to another process is none, also when the process ends.
		b.s.Leave()
		time.Sleep(4 * time.Second)
		open(t, all[1], "bob", "x")
		all[2].Close()
		time.Sleep(time.Minute)
		lurker.want(t)
		a.want(t)
		wantWho(t, all[0], "x", "ada ada bob")
		all[1].Close()
		time.Sleep(3 * time.Second)
		a.want(t)
		time.Sleep(2 * time.Second)
		got := a.texts()
		slices.Sort(got)
		if !slices.Equal(got, []string{"-ada 1/2", "-bob 0/1"}) && !slices.Equal(got, []string{"-ada 1/1", "-bob 0/2"}) {
			t.Errorf("told %q", got)
		}
		for _, h := range []*Hub{all[0], late[0]} {
			h.presence.mu.Lock()
			if n := len(h.presence.others); n != 1 {
				t.Errorf("%d processes are known", n)
			}
			h.presence.mu.Unlock()
		}
	})
}

// The members of a process that is killed are gone within 15 s. If it starts
// again, and they come back to it, they are there twice meanwhile.
func TestPresenceKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for after := range 5 {
			m := NewMemoryEngine()
			all, brokers := cutHubs(t, m, 3)
			a := open(t, all[0], "ada", "x")
			open(t, all[1], "bob", "x")
			open(t, all[2], "eve", "x")
			a.texts()
			time.Sleep(20*time.Second + time.Duration(after)*time.Second)
			brokers[2].cut.Store(true)
			start := time.Now()
			again, _ := cutHubs(t, m, 1) // another incarnation
			open(t, again[0], "eve", "x")
			time.Sleep(2 * time.Second)
			wantWho(t, all[0], "x", "ada bob eve eve")
			for who(t, all[0], "x") != "ada bob eve" || who(t, all[1], "x") != "ada bob eve" {
				time.Sleep(100 * time.Millisecond)
				if time.Since(start) > 15*time.Second {
					t.Fatalf("after %v: %q", time.Since(start), who(t, all[0], "x"))
				}
			}
			time.Sleep(time.Second)
			got := a.texts()
			if want := []string{"+eve 2/4", "-eve 1/3"}; !slices.Equal(got[len(got)-2:], want) {
				t.Errorf("told %q", got)
			}
			for _, h := range append(all, again...) {
				h.Close()
			}
		}
	})
}

// Nothing expires while the engine is lost.
func TestPresenceEngineLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryEngine()
		all, _ := cutHubs(t, m, 3)
		a := open(t, all[0], "ada", "x")
		b := open(t, all[1], "bob", "x")
		open(t, all[2], "eve", "x")
		time.Sleep(2 * time.Second)
		a.texts()
		m.Stop()
		time.Sleep(time.Minute)
		open(t, all[1], "zoe", "x")
		b.s.Leave()
		time.Sleep(time.Minute)
		a.want(t)
		wantWho(t, all[0], "x", "ada bob eve?")
		wantWho(t, all[1], "x", "ada eve zoe?")
		m.Start()
		time.Sleep(10 * time.Second)
		a.want(t, "+zoe 1/4", "-bob 0/3")
		for _, h := range all {
			wantWho(t, h, "x", "ada eve zoe")
		}
	})
}

// After the engine is back, the others have time to say so.
func TestPresenceEngineBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryEngine()
		all, brokers := cutHubs(t, m, 2)
		a := open(t, all[0], "ada", "x")
		open(t, all[1], "bob", "x")
		time.Sleep(2 * time.Second)
		a.texts()
		m.Stop()
		time.Sleep(time.Minute)
		brokers[1].cut.Store(true)
		m.Start()
		time.Sleep(8 * time.Second)
		wantWho(t, all[0], "x", "ada bob")
		brokers[1].cut.Store(false)
		time.Sleep(20 * time.Second)
		a.want(t)
		wantWho(t, all[0], "x", "ada bob")
	})
}

// Changes that come while the state is waited for count, if they are newer.
func TestPresenceHeldChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryEngine()
		all, _ := cutHubs(t, m, 1)
		lurker := open(t, all[0], "", "x")
		time.Sleep(2 * time.Second)
		lurker.texts()
		other := m.Connect()
		send := func(topic string, kind byte, head []byte, members ...string) {
			b := append(appendGossip(nil, kind, 5), head...)
			b = appendText(append(b, opTopic), "x")
			for _, id := range members {
				b = appendAdd(b, uint64(id[0]), &Member{ID: id})
			}
			if err := other.Publish(t.Context(), Publication{Topic: topic, Payload: b}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		mine := inbox(all[0].presence.self.id)
		send(presenceTopic, kindChange, []byte{4}, "b") // the first that is heard of
		wantWho(t, all[0], "x", "?")
		send(presenceTopic, kindChange, []byte{5}, "c")
		send(presenceTopic, kindChange, []byte{6}, "d")
		send(mine, kindState, []byte{4, 1, 2}, "z") // its first part was lost
		send(mine, kindState, []byte{4, 0, 2}, "a")
		send(mine, kindState, []byte{4, 1, 2}, "b")
		wantWho(t, all[0], "x", "a b c d")
		send(presenceTopic, kindChange, []byte{6}, "y") // it has been there
		send(mine, kindState, []byte{6, 0, 1}, "a")
		wantWho(t, all[0], "x", "a b c d")
		send(presenceTopic, kindChange, []byte{8}, "g") // one is missing
		wantWho(t, all[0], "x", "a b c d?")
		send(mine, kindState, []byte{8, 0, 1}, "a", "g")
		wantWho(t, all[0], "x", "a b c d g") // three are leaving
		time.Sleep(6 * time.Second)
		wantWho(t, all[0], "x", "a g")
		got := lurker.texts()
		for i := range got {
			got[i], _, _ = strings.Cut(got[i], " ")
		}
		slices.Sort(got)
		if want := []string{"+a", "+b", "+c", "+d", "+g", "-b", "-c", "-d"}; !slices.Equal(got, want) {
			t.Errorf("told %q", got)
		}
	})
}

// A process that lost the engine alone is gone for the others, and comes back
// with it. For itself the others stay. That the engine is lost may not be
// known.
func TestPresenceCut(t *testing.T) {
	for _, known := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			m := NewMemoryEngine()
			all, brokers := cutHubs(t, m, 3)
			a := open(t, all[0], "ada", "x")
			open(t, all[1], "bob", "x")
			e := open(t, all[2], "eve", "x")
			time.Sleep(2 * time.Second)
			brokers[2].cut.Store(true)
			if known {
				brokers[2].told <- BrokerEvent{Kind: BrokerLost, Err: errCut}
			}
			a.texts()
			e.texts()
			time.Sleep(time.Minute)
			a.want(t, "-eve 0/2")
			open(t, all[1], "zoe", "x")
			e.want(t)
			wantWho(t, all[2], "x", "ada bob eve?")
			brokers[2].cut.Store(false)
			if known {
				brokers[2].told <- BrokerEvent{Kind: BrokerRecovered}
			}
			time.Sleep(10 * time.Second)
			a.want(t, "+zoe 1/3", "+eve 1/4")
			e.want(t, "+zoe 1/4")
			for _, h := range all {
				wantWho(t, h, "x", "ada bob eve zoe")
			}
		})
	}
}

// A lost message is found by the numbers: of the next change, or of the beat.
func TestPresenceLostMessages(t *testing.T) {
	for _, next := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			all, brokers := cutHubs(t, NewMemoryEngine(), 2)
			a := open(t, all[0], "ada", "x")
			time.Sleep(5 * time.Second)
			a.texts()
			lose := func() bool { brokers[1].lose.Store(nil); return true }
			brokers[1].lose.Store(&lose)
			open(t, all[1], "bob", "x")
			if next {
				time.Sleep(500 * time.Millisecond)
				open(t, all[1], "eve", "x")
			}
			time.Sleep(5 * time.Second)
			want := "ada bob"
			if next {
				want = "ada bob eve"
			}
			wantWho(t, all[0], "x", want)
			if got := a.texts(); len(got) != strings.Count(want, " ") {
				t.Errorf("told %q", got)
			}
		})
	}
}

// Members of many topics, on several processes, come and go, while messages are
// lost, processes lose the engine, and the engine is lost. In the end all know
// the same, and each page that adds up what it was told does.
func TestPresenceRandom(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			m := NewMemoryEngine()
			all, brokers := cutHubs(t, m, 4)
			topics := []string{"a", "b", "c"}
			type watched struct {
				*page
				h     *Hub
				topic string
			}
			var watches []watched
			for _, h := range all {
				for _, topic := range topics {
					watches = append(watches, watched{open(t, h, "", topic), h, topic})
				}
			}
			var pages []*page
			truth := func(topic string) string {
				var all []Member
				for _, p := range pages {
					if slices.Contains(p.s.Topics(), topic) {
						all = append(all, Member{ID: p.s.hub.presence.named[p.s].member.ID})
					}
				}
				slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
				return ids(all)
			}
			for range 150 {
				time.Sleep(time.Duration(rnd.IntN(int(700 * time.Millisecond))))
				i := rnd.IntN(len(all))
				switch n := rnd.IntN(100); {
				case n < 50:
					pages = append(pages, open(t, all[i], fmt.Sprint("u", rnd.IntN(8)), topics[:1+rnd.IntN(3)]...))
				case n < 80 && len(pages) > 0:
					k := rnd.IntN(len(pages))
					pages[k].s.Leave()
					pages = slices.Delete(pages, k, k+1)
				case n < 85 && len(pages) > 0:
					pages[rnd.IntN(len(pages))].s.Unsubscribe(topics[rnd.IntN(3)])
				case n < 93:
					lost := rnd.IntN(4)
					lose := func() bool { lost--; return lost >= 0 }
					brokers[i].lose.Store(&lose)
				case n < 96:
					brokers[i].cut.Store(true)
				case n < 99:
					brokers[i].cut.Store(false)
				case n == 99 && rnd.IntN(2) == 0:
					m.Stop()
				case n == 99:
					m.Start()
				}
			}
			m.Start()
			for _, b := range brokers {
				b.cut.Store(false)
				b.lose.Store(nil)
			}
			time.Sleep(30 * time.Second)
			for _, topic := range topics {
				for i, h := range all {
					if got, want := who(t, h, topic), truth(topic); got != want {
						t.Errorf("seed %d: hub %d, topic %s: %q, want %q", seed, i, topic, got, want)
					}
				}
			}
			for i, w := range watches {
				synctest.Wait()
				counts := map[string]int{}
				for _, text := range w.texts() {
					id, _, _ := strings.Cut(text[1:], " ")
					switch text[0] {
					case '+':
						counts[id]++
					case '-':
						counts[id]--
					default:
						clear(counts)
						_, list, _ := strings.Cut(text, ": ")
						for _, id := range strings.Fields(list) {
							counts[id]++
						}
					}
				}
				var got []string
				for _, id := range slices.Sorted(maps.Keys(counts)) {
					if counts[id] < 0 {
						t.Errorf("seed %d: page %d: %d of %s", seed, i, counts[id], id)
					}
					got = append(got, slices.Repeat([]string{id}, max(0, counts[id]))...)
				}
				if got, want := strings.Join(got, " "), truth(w.topic); got != want {
					t.Errorf("seed %d: page %d adds up to %q, want %q", seed, i, got, want)
				}
			}
		})
	}
}

// A process with many members tells them in many messages; those who come at
// once are told once.
func TestPresenceLargeState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryEngine()
		all, brokers := cutHubs(t, m, 1)
		const topics, members = 50, 100
		for i := range topics {
			for j := range members {
				c := sinkConns(t, 1, &websocket.AcceptOptions{PingInterval: -1})[0]
				s := all[0].JoinAs(c, Member{ID: fmt.Sprintf("m%03d", j), Data: make([]byte, 50)})
				if err := s.Subscribe(t.Context(), fmt.Sprint("t", i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(5 * time.Second)
		brokers[0].sent.Store(0)
		brokers[0].size.Store(0)
		late, _ := cutHubs(t, m, 5)
		for _, h := range late {
			v, err := h.Presence(t.Context(), "t7")
			if err != nil || len(v.Members) != members || !v.Complete {
				t.Errorf("%d, %t, %v", len(v.Members), v.Complete, err)
			}
		}
		sent, size := brokers[0].sent.Load(), brokers[0].size.Load()
		t.Logf("%d messages, %d bytes, for %d members", sent, size, topics*members)
		if sent < 5 || size > 3*topics*members*70 { // to two, and to the others at once, or the other way round
			t.Errorf("%d messages, %d bytes", sent, size)
		}
	})
}

// An idle process publishes a beat every 4 s, however many members it has.
// Those who come and go are gathered: ten messages a second.
func TestPresenceTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, brokers := cutHubs(t, NewMemoryEngine(), 2)
		for i := range 500 {
			open(t, all[0], fmt.Sprint("m", i), "x", fmt.Sprint("own", i))
		}
		time.Sleep(5 * time.Second)
		b := brokers[0]
		b.sent.Store(0)
		b.size.Store(0)
		time.Sleep(40 * time.Second)
		if sent, size := b.sent.Load(), b.size.Load(); sent < 9 || sent > 11 || size > 130 {
			t.Errorf("%d messages, %d bytes in 40 s", sent, size)
		}
		b.sent.Store(0)
		b.size.Store(0)
		for i := range 1000 {
			open(t, all[0], fmt.Sprint("user-", i), "y")
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(time.Second)
		sent, size := b.sent.Load(), b.size.Load()
		t.Logf("1,000 joins in 2 s: %d messages, %d bytes", sent, size)
		if sent > 25 {
			t.Errorf("%d messages", sent)
		}
	})
}

// An engine that answers nothing does not hold up who subscribes and who closes
// the hub, and one that refuses the topics is asked again.
func TestPresenceEngineHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, brokers := cutHubs(t, NewMemoryEngine(), 1)
		brokers[0].cut.Store(true)
		a := open(t, all[0], "ada", "x")
		start := time.Now()
		wantWho(t, all[0], "x", "ada?")
		if d := time.Since(start); d > settleWait {
			t.Errorf("Presence took %v", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start = time.Now()
		if v, err := all[0].Presence(ctx, "x"); v.Count != 1 || v.Complete || err != nil || time.Since(start) > 0 {
			t.Errorf("%+v, %v after %v", v, err, time.Since(start))
		}
		a.want(t, "1: ada")
		start = time.Now()
		all[0].Close()
		if d := time.Since(start); d > byeTimeout {
			t.Errorf("Close took %v", d)
		}
	})
}

type refusingBroker struct {
	Broker
	times atomic.Int32
}

func (b *refusingBroker) Subscribe(ctx context.Context, topics []string) error {
	for _, topic := range topics {
		if topic == presenceTopic && b.times.Add(1) <= 3 {
			return TopicErrors{topic: errors.New("refused")}
		}
	}
	return b.Broker.Subscribe(ctx, topics)
}

func TestPresenceRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryEngine()
		opts := withPresence()
		opts.Broker = &refusingBroker{Broker: m.Connect()}
		var told atomic.Int32
		opts.OnBroker = func(ev BrokerEvent) {
			if ev.Kind == BrokerFailed && ev.Topic == presenceTopic && ev.Err != nil {
				told.Add(1)
			}
		}
		h := New(opts)
		defer h.Close()
		other, _ := cutHubs(t, m, 1)
		open(t, other[0], "ada", "x")
		time.Sleep(10 * time.Second)
		wantWho(t, h, "x", "?")
		time.Sleep(10 * time.Second)
		wantWho(t, h, "x", "ada")
		if n := told.Load(); n != 3 {
			t.Errorf("told %d times", n)
		}
	})
}

// What a member adds to a subscriber in its own process, and what it takes in
// each other one.
func BenchmarkPresenceMemory(b *testing.B) {
	const topics, each = 100, 100
	conns := sinkConns(b, topics*each, nil)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	measure := func(h *Hub) float64 {
		before := heap()
		for i, c := range conns {
			s := h.JoinAs(c, Member{ID: fmt.Sprintf("user-%06d", i), Data: []byte(`{"name":"Ada Lovelace"}`)})
			if err := s.Subscribe(b.Context(), fmt.Sprint("t", i%topics)); err != nil {
				b.Fatal(err)
			}
		}
		return float64(heap()-before) / topics / each
	}
	for b.Loop() {
		h := New(nil)
		without := measure(h)
		h.Close()
		opts := Options{PresenceOf: func(string) bool { return true }}
		h = New(&opts)
		own := measure(h) - without
		h.Close()

		m := NewMemoryEngine()
		opts.Broker = m.Connect()
		owner := New(&opts)
		measure(owner)
		time.Sleep(3 * time.Second)
		before := heap()
		opts.Broker = m.Connect()
		other := New(&opts)
		if v, _ := other.Presence(b.Context(), "t1"); len(v.Members) != each {
			b.Fatalf("%d members", len(v.Members))
		}
		b.ReportMetric(own, "B/member")
		b.ReportMetric(float64(heap()-before)/topics/each, "B/member-elsewhere")
		owner.Close()
		other.Close()
	}
}

// BenchmarkPresenceJoin measures Subscribe of members, with and without
// presence: 100 topics of 100, and one topic of 10,000.
func BenchmarkPresenceJoin(b *testing.B) {
	const n = 10_000
	for _, topics := range []int{100, 1} {
		for _, present := range []bool{false, true} {
			b.Run(fmt.Sprintf("topics=%d/presence=%t", topics, present), func(b *testing.B) {
				conns := sinkConns(b, n, nil)
				for b.Loop() {
					opts := withPresence()
					opts.PresenceOf = func(string) bool { return present }
					h := New(opts)
					start := time.Now()
					for i, c := range conns {
						s := h.JoinAs(c, Member{ID: fmt.Sprint("user-", i)})
						if err := s.Subscribe(b.Context(), fmt.Sprint(i%topics)); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(time.Since(start).Nanoseconds())/n, "ns/join")
					h.Close()
				}
			})
		}
	}
}

// A rolling restart: one process after the other ends, or is killed, and all
// its members come back to the others within seconds. No page sees a user
// leave, and in the end all processes know all members, once.
func TestPresenceReconnectStorm(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprint("killed ", kill), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const processes, members, topics = 4, 600, 5
				m := NewMemoryEngine()
				all, brokers := cutHubs(t, m, processes)
				pages, at := make([]*page, members), make([]int, members)
				topic := func(i int) string { return fmt.Sprint("topic", i%topics) }
				for i := range members {
					at[i] = 1 + i%(processes-1)
					pages[i] = open(t, all[at[i]], fmt.Sprintf("m%03d", i), topic(i))
				}
				time.Sleep(10 * time.Second)
				var lurkers []*page // of a process that stays
				for i := range topics {
					lurkers = append(lurkers, open(t, all[0], "", topic(i)))
				}
				for round := range 3 {
					gone := 1 + round%(processes-1)
					if kill {
						brokers[gone].cut.Store(true)
					} else {
						all[gone].Close()
					}
					for i := range members {
						if at[i] != gone {
							continue
						}
						at[i] = (gone + 1 + i%(processes-1)) % processes
						time.Sleep(5 * time.Millisecond)
						pages[i] = open(t, all[at[i]], fmt.Sprintf("m%03d", i), topic(i))
					}
					all[gone].Close()
					fresh, b := cutHubs(t, m, 1)
					all[gone], brokers[gone] = fresh[0], b[0]
					time.Sleep(30 * time.Second)
				}
				var want []string
				for i := range members {
					if i%topics == 0 {
						want = append(want, fmt.Sprintf("m%03d", i))
					}
				}
				for _, h := range all {
					wantWho(t, h, topic(0), strings.Join(want, " "))
				}
				for i, lurker := range lurkers {
					for _, text := range lurker.texts() {
						if strings.HasPrefix(text, "-") && strings.Contains(text, " 0/") {
							t.Errorf("topic %d: told %q", i, text)
						}
					}
				}
			})
		})
	}
}

// A frugalBroker has an engine that takes messages of 1 MB at most, as NATS
// does.
type frugalBroker struct {
	Broker
	most atomic.Int64 // bytes of the longest message
}

func (b *frugalBroker) Publish(ctx context.Context, p Publication) error {
	b.most.Store(max(b.most.Load(), int64(len(p.Payload))))
	if len(p.Payload) > 1<<20 {
		return errRefused
	}
	return b.Broker.Publish(ctx, p)
}

// A topic with a very long name, which a client may have chosen, does not keep
// the members of other topics from being known.
func TestPresenceLongTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryEngine()
		var all []*Hub
		var brokers []*frugalBroker
		for range 2 {
			b := &frugalBroker{Broker: m.Connect()}
			opts := withPresence()
			opts.Broker = b
			h := New(opts)
			defer h.Close()
			all, brokers = append(all, h), append(brokers, b)
		}
		long := strings.Repeat("x", 2<<20)
		longest := strings.Repeat("y", maxPresenceTopic)
		for i := range 20 {
			open(t, all[0], fmt.Sprintf("ada%02d", i), long, longest)
		}
		open(t, all[0], "bob", "x")
		open(t, all[1], "eve", "x")
		time.Sleep(10 * time.Second)
		wantWho(t, all[1], "x", "bob eve")
		if v, err := all[1].Presence(t.Context(), longest); err != nil || v.Count != 20 || !v.Complete {
			t.Errorf("%d members, complete %t, %v", v.Count, v.Complete, err)
		}
		for i, h := range all {
			if v, err := h.Presence(t.Context(), long); err != nil || v.Count != 20*(1-i) || v.Complete {
				t.Errorf("process %d: %d members of the topic with the long name, complete %t, %v", i, v.Count, v.Complete, err)
			}
			if n := brokers[i].most.Load(); n > maxGossip+2*maxPresenceTopic {
				t.Errorf("process %d: a message of %d bytes", i, n)
			}
		}
	})
}
