//go:build unix

package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// withJetStream is a kind with JetStream.
func withJetStream(k brokertest.Kind) brokertest.Kind {
	args := k.Args
	k.Args = func(port, dir string) []string { return append(args(port, dir), "-js", "-sd", dir) }
	return k
}

// JetStream refuses the password for a while: at the beginning, and again when
// the server was restarted.
func TestJetStreamRefusedPassword(t *testing.T) {
	const config = `authorization { user: "u", password: %q }`
	k, rewrite := configured(t, fmt.Sprintf(config, "another"))
	e := brokertest.Start(t, withJetStream(k))
	b := connectEvery(t, "nats://"+e.Addr, &JetStreamOptions{Options: Options{Connection: []nats.Option{
		nats.UserInfo("u", "right"), nats.ReconnectWait(20 * time.Millisecond),
	}}}, defaultBeat)
	message := hub.Publication{Topic: "x", Payload: []byte("m"), History: history}
	for range 2 {
		if err := b.Publish(t.Context(), message); err == nil || errors.Is(err, hub.ErrUnconfirmed) {
			t.Errorf("Publish: %v", err)
		}
		if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
			t.Fatal(err)
		}
		e.Kill()
		rewrite(fmt.Sprintf(config, "right"))
		e.Run(t)
		for next(t, b.Broker).Kind != hub.BrokerRecovered {
		}
		b.mustPublish(t, "x", "m")
		if ev := nextOf(t, b); ev.Position.IsZero() {
			t.Errorf("%+v", ev)
		}
		if err := b.Unsubscribe(t.Context(), []string{"x"}); err != nil {
			t.Fatal(err)
		}
		e.Kill()
		rewrite(fmt.Sprintf(config, "another"))
		e.Run(t)
		for next(t, b.Broker).Kind != hub.BrokerLost {
		}
	}
}

// Topics of any length have a history.
func TestJetStreamLongTopics(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	b := connectJetStream(t, e.Addr)
	for _, topic := range []string{strings.Repeat("é", 700), strings.Repeat("x", 100_000), strings.Repeat("\x00", 512), ""} {
		if err := b.Subscribe(t.Context(), []string{topic}); err != nil {
			t.Fatal(err)
		}
		p := hub.Publication{Topic: topic, ID: strings.Repeat("i", 10_000), Payload: []byte("m"), History: history}
		for range 2 {
			if err := b.Publish(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		ev := nextOf(t, b)
		at, err := b.Positions(t.Context(), []hub.KeptTopic{{Topic: topic, History: history}})
		if err != nil || ev.Topic != topic || at[0] != ev.Position {
			t.Errorf("%d bytes: %v, %v, %v", len(topic), at, ev.Position, err)
		}
		got, err := b.Missed(t.Context(), topic, hub.Position{}, history)
		if err != nil || len(got.Messages) != 1 {
			t.Errorf("%d bytes: %+v, %v", len(topic), got, err)
		}
	}
}

// The permissions change while the server runs: the topic that is taken away is
// told, and lives again when it is given back.
func TestPermissionsChange(t *testing.T) {
	const config = `authorization { users: [ { user: "u", password: "p", permissions: { subscribe: { deny: [%s] } } } ] }`
	k, rewrite := configured(t, fmt.Sprintf(config, `"none"`))
	e := brokertest.Start(t, k)
	b := connect(t, e.Addr, nats.UserInfo("u", "p"))
	b.pause = 200 * time.Millisecond
	if err := b.Subscribe(t.Context(), []string{"x", "y"}); err != nil {
		t.Fatal(err)
	}
	echo(t, b, "x")
	reload := func(deny string) {
		rewrite(fmt.Sprintf(config, deny))
		if err := e.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	reload(`"websocket.topic.x"`)
	deadline := time.After(time.Minute)
	for told := false; !told; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		ev, err := b.Receive(ctx)
		cancel()
		if err != nil {
			t.Fatal("the hub is not told that a topic was taken away: ", err)
		}
		t.Logf("%+v", ev)
		told = ev.Topic == "x" && (ev.Kind == hub.BrokerMissed || ev.Kind == hub.BrokerFailed)
		select {
		case <-deadline:
			t.Fatal("the hub is not told")
		default:
		}
	}
	echo(t, b, "y")
	reload(`"none"`)
	begin := time.Now()
	for heard := false; !heard; {
		if time.Since(begin) > time.Minute {
			t.Fatal("the topic was given back, and is silent")
		}
		if err := b.Publish(t.Context(), hub.Publication{Topic: "x", Payload: []byte("again")}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		for {
			ev, err := b.Receive(ctx)
			if err != nil {
				break
			}
			t.Logf("after %v: %+v", time.Since(begin), ev)
			heard = heard || ev.Kind == hub.BrokerMessage && ev.Topic == "x"
		}
		cancel()
	}
}

// A server that stands still: the contexts of all calls hold.
func TestJetStreamContexts(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	b := connectJetStream(t, e.Addr)
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	b.mustPublish(t, "x", "m")
	if err := e.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer e.Signal(syscall.SIGCONT)
	other := hub.History{Messages: 1000} // its stream is not known yet
	for name, call := range map[string]func(ctx context.Context) error{
		"Publish": func(ctx context.Context) error {
			return b.Publish(ctx, hub.Publication{Topic: "x", Payload: make([]byte, 512<<10), History: history})
		},
		"Publish to a new class": func(ctx context.Context) error {
			return b.Publish(ctx, hub.Publication{Topic: "x", Payload: []byte("m"), History: other})
		},
		"Positions": func(ctx context.Context) error {
			_, err := b.Positions(ctx, []hub.KeptTopic{{Topic: "x", History: history}, {Topic: "y", History: other}})
			return err
		},
		"Missed": func(ctx context.Context) error {
			_, err := b.Missed(ctx, "x", hub.Position{}, history)
			return err
		},
	} {
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			begin := time.Now()
			err := call(ctx)
			cancel()
			if took := time.Since(begin); took > 30*time.Second || err == nil {
				t.Fatalf("%s: %v after %v", name, err, took)
			}
			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(20*time.Millisecond, cancel)
			begin = time.Now()
			err = call(ctx)
			if took := time.Since(begin); took > 30*time.Second || err == nil {
				t.Fatalf("%s, cancelled: %v after %v", name, err, took)
			}
		}
	}
}

// A function in the options of the connection that panics costs one attempt,
// not the process.
func TestOptionPanics(t *testing.T) {
	k, _ := configured(t, `authorization { token: "t" }`)
	e := brokertest.Start(t, withJetStream(k))
	var armed atomic.Int64
	token := func() string {
		if armed.Add(-1) >= 0 {
			panic("boom")
		}
		return "t"
	}
	b := connectEvery(t, "nats://"+e.Addr, &JetStreamOptions{Options: Options{Connection: []nats.Option{
		nats.TokenHandler(token), nats.ReconnectWait(20 * time.Millisecond),
	}}}, defaultBeat)
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	armed.Store(1)
	message := hub.Publication{Topic: "x", Payload: []byte("m"), History: history}
	if err := b.Publish(t.Context(), message); !errors.Is(err, hub.ErrBrokerPanicked) || errors.Is(err, hub.ErrUnconfirmed) {
		t.Errorf("Publish: %v", err)
	}
	b.mustPublish(t, "x", "m")
	if ev := nextOf(t, b); ev.Position.IsZero() {
		t.Errorf("%+v", ev)
	}
}

// The server has no room for more: each publication that it refuses has an
// error that says so, and what was taken is there.
func TestJetStreamNoRoom(t *testing.T) {
	k, _ := configured(t, `jetstream { max_file_store: 200000 }`)
	args := k.Args
	k.Args = func(port, dir string) []string { return append(args(port, dir), "-sd", dir) }
	e := brokertest.Start(t, k)
	b := connectJetStream(t, e.Addr)
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	large := hub.History{Messages: 1000, Bytes: -1}
	var last hub.Position
	refused := 0
	for range 60 {
		p := hub.Publication{Topic: "x", Payload: make([]byte, 5000), History: large}
		err := b.Publish(t.Context(), p)
		switch {
		case err == nil:
			last = nextOf(t, b).Position
		case errors.Is(err, hub.ErrUnconfirmed):
			t.Fatal(err)
		default:
			refused++
		}
	}
	if refused == 0 || last.IsZero() {
		t.Errorf("%d were refused, the last one is %v", refused, last)
	}
	got, err := b.Missed(t.Context(), "x", hub.Position{}, large)
	if err != nil || len(got.Messages) == 0 || got.Top != last {
		t.Errorf("%d messages, top %v, want %v: %v", len(got.Messages), got.Top, last, err)
	}
	t.Logf("%d of 60 were refused, %d are kept", refused, len(got.Messages))
}
