package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

var kind = brokertest.Kind{
	Program: "redis-server",
	Args: func(port, dir string) []string {
		return []string{"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "no"}
	},
	Connect: func(addr string) (hub.Broker, func() error) {
		b := New(&redis.Options{Addr: addr}, nil)
		return b, b.Close
	},
	Numbers: true,
	Keeps:   true,
}

func TestMain(m *testing.M) { os.Exit(brokertest.Main(m, kind, clusterKind, sentinelKind)) }

func TestRedis(t *testing.T) { brokertest.Run(t, kind) }

// shortSilence is in place of defaultSilence in tests that wait until a server
// is taken for lost. On a busy machine a live one must not be.
const shortSilence = time.Second

// patience is how long anything may take.
const patience = time.Minute

// next waits for an event.
func next(t *testing.T, b *Broker) hub.BrokerEvent {
	t.Helper()
	events := make(chan hub.BrokerEvent, 1)
	go func() {
		ev, _ := b.Receive(t.Context())
		events <- ev
	}()
	select {
	case ev := <-events:
		return ev
	case <-time.After(patience):
		t.Fatal("no event")
		panic("unreachable")
	}
}

// A server that is there and says nothing is lost all the same.
func TestSilence(t *testing.T) {
	e := brokertest.Start(t, kind)
	client := redis.NewClient(&redis.Options{
		Addr: e.Addr, MaxRetries: -1, Protocol: 2, ReadTimeout: 2 * time.Second,
	})
	defer client.Close()
	b := newBroker(client, nil, shortSilence)
	defer b.Close()
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	if err := e.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if ev := next(t, b); ev.Kind != hub.BrokerLost || ev.Err == nil {
		t.Errorf("%+v", ev)
	}
	if err := e.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if ev := next(t, b); ev.Kind != hub.BrokerRecovered {
		t.Errorf("%+v", ev)
	}
	if err := b.Publish(t.Context(), hub.Publication{Topic: "x", Payload: []byte("payload")}); err != nil {
		t.Fatal(err)
	}
	if ev := next(t, b); ev.Topic != "x" || string(ev.Payload) != "payload" || !ev.Position.IsZero() {
		t.Errorf("%+v", ev)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// The answer to a subscription that is not wanted any more meets a new one. A
// session that begins asks for all topics on its own, so that some are asked
// for twice.
func TestLateAnswer(t *testing.T) {
	e := brokertest.Start(t, kind)
	b := New(&redis.Options{Addr: e.Addr}, nil)
	defer b.Close()
	topics := []string{"x"}
	for round := range 3000 {
		if err := b.Subscribe(t.Context(), topics); err != nil {
			t.Fatal(err)
		}
		b.mu.Lock()
		current := b.session
		b.mu.Unlock()
		if round%2 == 0 {
			current.send(subscribe, topics)
		}
		if err := b.Unsubscribe(t.Context(), topics); err != nil {
			t.Fatal(err)
		}
		for range round % 300 { // the answer is on its way: meet it at many places
			b.channel("x")
		}
		if err := b.Subscribe(t.Context(), topics); err != nil {
			t.Fatal(err)
		}
		if err := b.Subscribe(t.Context(), []string{"y"}); err != nil { // behind all that
			t.Fatal(err)
		}
		b.Unsubscribe(t.Context(), []string{"y"})
		want := fmt.Sprint(round)
		if err := b.Publish(t.Context(), hub.Publication{Topic: "x", Payload: []byte(want)}); err != nil {
			t.Fatal(err)
		}
		if ev := next(t, b); string(ev.Payload) != want {
			t.Fatalf("%+v, want %s", ev, want)
		}
		b.Unsubscribe(t.Context(), topics)
	}
}

// The deadline of the context bounds how long Publish waits for a server that
// does not answer.
func TestPublishContext(t *testing.T) {
	e := brokertest.Start(t, kind)
	b := New(&redis.Options{Addr: e.Addr, ReadTimeout: time.Minute}, nil)
	defer b.Close()
	for _, number := range []int{0, 10} {
		if err := b.Publish(t.Context(), hub.Publication{Topic: "x", History: hub.History{Messages: number}}); err != nil { // it is connected
			t.Fatal(err)
		}
	}
	if err := e.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 2)
	for _, number := range []int{0, 10} {
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			failed <- b.Publish(ctx, hub.Publication{Topic: "x", History: hub.History{Messages: number}})
		}()
	}
	for range 2 {
		select {
		case err := <-failed:
			if err == nil {
				t.Error("a server that stands still has taken a message")
			}
		case <-time.After(patience):
			t.Error("Publish waits")
		}
	}
	e.Signal(syscall.SIGCONT)
}

// One connection receives all topics; positions last as
// long as they should.
func TestServerSide(t *testing.T) {
	e := brokertest.Start(t, kind)
	b := New(&redis.Options{Addr: e.Addr}, &Options{Prefix: "p:", PositionAge: time.Hour})
	defer b.Close()
	admin := redis.NewClient(&redis.Options{Addr: e.Addr})
	defer admin.Close()
	if err := b.Subscribe(t.Context(), []string{"a", "b", "c"}); err != nil {
		t.Fatal(err)
	}
	clients, err := admin.Do(t.Context(), "CLIENT", "LIST", "TYPE", "PUBSUB").Text()
	if err != nil || strings.Count(clients, "\n") != 1 || !strings.Contains(clients, "sub=4") {
		t.Errorf("subscribed connections: %s, %v", clients, err)
	}
	for i := range uint64(3) {
		if err := b.Publish(t.Context(), hub.Publication{Topic: "a", Payload: []byte("x"), History: hub.History{Messages: 10}}); err != nil {
			t.Fatal(err)
		}
		ev := next(t, b)
		at := ev.Position
		if ev.Topic != "a" || string(ev.Payload) != "x" || at.Offset != i+1 || at.Epoch == 0 {
			t.Errorf("%+v", ev)
		}
	}
	got, err := b.Positions(t.Context(), []hub.KeptTopic{{Topic: "none"}, {Topic: "a"}})
	if err != nil || len(got) != 2 || !got[0].IsZero() || got[1].Offset != 3 || got[1].Epoch == 0 {
		t.Errorf("Positions: %v, %v", got, err)
	}
	if ttl := admin.PTTL(t.Context(), "p:position:{t:a}").Val(); ttl <= 50*time.Minute || ttl > time.Hour {
		t.Errorf("the position is kept for %v", ttl)
	}
	if err := b.Unsubscribe(t.Context(), []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Subscribe(t.Context(), []string{"d"}); err != nil { // behind that
		t.Fatal(err)
	}
	if got := admin.PubSubChannels(t.Context(), "p:topic:*").Val(); len(got) != 2 {
		t.Errorf("channels %q", got)
	}
	// A message that is not ours does no harm.
	for _, strange := range []string{"", "x", "1-", "1-x y"} {
		admin.Publish(t.Context(), "p:topic:c", strange)
		if ev := next(t, b); ev.Topic != "c" || ev.Payload != nil {
			t.Errorf("%q: %+v", strange, ev)
		}
	}
	b.Close()
	if err := b.Subscribe(t.Context(), []string{"x"}); err == nil {
		t.Error("Subscribe after Close")
	}
	if err := b.Publish(t.Context(), hub.Publication{Topic: "x", History: hub.History{Messages: 10}}); err == nil {
		t.Error("Publish after Close")
	}
	if _, err := b.Receive(t.Context()); err == nil {
		t.Error("Receive after Close")
	}
}

// A PositionAge that would delete each position at once is an error of all
// methods.
func TestPositionAge(t *testing.T) {
	for _, age := range []time.Duration{-1, 1, time.Second - 1} {
		b := New(&redis.Options{Addr: "127.0.0.1:1"}, &Options{PositionAge: age})
		err := b.Publish(t.Context(), hub.Publication{Topic: "x", History: kept})
		if err == nil || !strings.Contains(err.Error(), "PositionAge") || errors.Is(err, hub.ErrUnconfirmed) {
			t.Errorf("%v: %v", age, err)
		}
		if ev := next(t, b); ev.Kind != hub.BrokerLost || ev.Err == nil {
			t.Errorf("%v: %+v", age, ev)
		}
		b.Close()
	}
}

// The script takes ages in milliseconds. None may become 0, which deletes the
// stream at once, unless it is 0.
func TestMilliseconds(t *testing.T) {
	for age, want := range map[time.Duration]int64{
		-time.Hour: -1, -1: -1, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Hour: 3_600_000,
		math.MaxInt64: 9223372036855, math.MinInt64: -1,
	} {
		if got := milliseconds(age); got != want {
			t.Errorf("%d ns: %d, want %d", age, got, want)
		}
	}
}

// The servers of a Ring do not know each other: each method says that it cannot
// be used, and so does the event.
func TestRing(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	b := NewClient(ring, nil)
	for name, err := range map[string]error{
		"Publish":   b.Publish(t.Context(), hub.Publication{Topic: "x", History: kept}),
		"Subscribe": b.Subscribe(t.Context(), []string{"x"}),
		"Positions": func() error { _, err := b.Positions(t.Context(), []hub.KeptTopic{{Topic: "x"}}); return err }(),
		"Missed":    func() error { _, err := b.Missed(t.Context(), "x", hub.Position{}, kept); return err }(),
	} {
		if !errors.Is(err, errRing) || errors.Is(err, hub.ErrUnconfirmed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if ev := next(t, b); ev.Kind != hub.BrokerLost || !errors.Is(ev.Err, errRing) {
		t.Errorf("%+v", ev)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
