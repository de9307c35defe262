package natsbroker

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

var kind = brokertest.Kind{
	Program: "nats-server",
	Module:  module,
	Args: func(port, dir string) []string {
		return []string{"-a", "127.0.0.1", "-p", port}
	},
	Connect: func(addr string) (hub.Broker, func() error) {
		b, err := New("nats://"+addr, &Options{Connection: []nats.Option{nats.ReconnectWait(50 * time.Millisecond)}})
		if err != nil {
			panic(err)
		}
		return b, b.Close
	},
}

// module is the module of the server, which is written in Go.
const module = "github.com/nats-io/nats-server/v2"

func TestMain(m *testing.M) { os.Exit(brokertest.Main(m, kind, jetKind, clusterKind)) }

func TestNATS(t *testing.T) { brokertest.Run(t, kind) }

func TestSubject(t *testing.T) {
	b := &Broker{prefix: "p"}
	seen := map[string]string{}
	for topic, want := range map[string]string{
		"":         "p.%",
		"%":        "p.%25",
		"news":     "p.news",
		"room/1:a": "p.room/1:a",
		"a.b *>":   "p.a%2Eb%20%2A%3E",
		"grüß":     "p.gr%C3%BC%C3%9F",
		"\x00\xff": "p.%00%FF",
		"_-A9":     "p._-A9",
	} {
		got := b.subject(topic)
		if got != want {
			t.Errorf("%q: %q, want %q", topic, got, want)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q have one subject", topic, other)
		}
		seen[got] = topic
	}
}

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
	case <-time.After(time.Minute):
		t.Fatal("no event")
		panic("unreachable")
	}
}

// A hub that does not keep up is told which topic has lost messages, and has
// all messages of the others.
func TestSlow(t *testing.T) {
	e := brokertest.Start(t, kind)
	b, err := New("nats://"+e.Addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Subscribe(t.Context(), []string{"busy", "quiet"}); err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, 64<<10)
	const sent = 2 * maxBacklogBytes / (64 << 10)
	for i := range sent {
		topic := "busy"
		if i%100 == 99 {
			topic = "quiet"
		}
		if err := b.Publish(t.Context(), hub.Publication{Topic: topic, Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.conn.Flush(); err != nil { // all are back
		t.Fatal(err)
	}
	for len(b.messages) > 0 {
		time.Sleep(time.Millisecond)
	}
	b.backlog.mu.Lock()
	n := b.backlog.bytes
	b.backlog.mu.Unlock()
	if n > maxBacklogBytes {
		t.Errorf("%d bytes wait for the hub", n)
	}
	if err := b.Publish(t.Context(), hub.Publication{Topic: "quiet", Payload: []byte("end")}); err != nil {
		t.Fatal(err)
	}
	got, missed := map[string]int{}, map[string]int{}
	for end := false; !end; {
		switch ev := next(t, b); ev.Kind {
		case hub.BrokerMessage:
			got[ev.Topic]++
			end = string(ev.Payload) == "end"
		case hub.BrokerMissed:
			missed[ev.Topic]++
			if !errors.Is(ev.Err, nats.ErrSlowConsumer) {
				t.Errorf("%+v", ev)
			}
		default:
			t.Errorf("%+v", ev)
		}
	}
	if got["quiet"] != sent/100+1 || missed["quiet"] != 0 || missed["busy"] == 0 || got["busy"] == 0 {
		t.Errorf("of %d messages got %v, missed %v", sent, got, missed)
	}
}

// A subscription that the server did not confirm in time is none, so that
// asking again does not make two.
func TestUnconfirmed(t *testing.T) {
	e := brokertest.Start(t, kind)
	b, err := New("nats://"+e.Addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Subscribe(t.Context(), []string{"y"}); err != nil { // it is connected
		t.Fatal(err)
	}
	if err := e.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Subscribe(ctx, []string{"x"}); err == nil {
		t.Error("a server that stands still has confirmed a subscription")
	}
	if err := e.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"x", "y"} {
		if err := b.Publish(t.Context(), hub.Publication{Topic: topic, Payload: []byte("payload")}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"x", "y"} {
		if ev := next(t, b); ev.Topic != want {
			t.Errorf("%+v, want a message of %s", ev, want)
		}
	}
}

func TestClosed(t *testing.T) {
	if _, err := New("nats://%", nil); err == nil {
		t.Error("a bad URL is taken")
	}
	e := brokertest.Start(t, kind)
	b, err := New("nats://"+e.Addr, &Options{Prefix: "other"})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	b.Close()
	if err := b.Subscribe(t.Context(), []string{"x"}); err == nil {
		t.Error("Subscribe after Close")
	}
	if err := b.Publish(t.Context(), hub.Publication{Topic: "x", History: hub.History{Messages: 10}}); err == nil {
		t.Error("Publish after Close")
	}
	if _, err := b.Receive(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Receive after Close: %v", err)
	}
}
