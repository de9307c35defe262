package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// configured is kind with a configuration file, which a test may write again.
func configured(t *testing.T, config string) (k brokertest.Kind, rewrite func(string)) {
	file := filepath.Join(t.TempDir(), "config")
	rewrite = func(config string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(config)
	k = kind
	k.Args = func(port, dir string) []string { return []string{"-a", "127.0.0.1", "-p", port, "-c", file} }
	return k, rewrite
}

// connect makes a broker that tries again soon.
func connect(t *testing.T, addr string, opts ...nats.Option) *Broker {
	t.Helper()
	opts = append(opts, nats.ReconnectWait(20*time.Millisecond))
	b, err := New("nats://"+addr, &Options{Connection: opts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// echo publishes to a topic until the message comes back.
func echo(t *testing.T, b *Broker, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := b.Publish(ctx, hub.Publication{Topic: topic, Payload: []byte("echo")}); err != nil {
		t.Fatalf("Publish: %v", err)
	}
	for {
		ev, err := b.Receive(ctx)
		if err != nil {
			t.Fatalf("topic of %d bytes: no message: %v", len(topic), err)
		}
		if ev.Kind == hub.BrokerMessage && ev.Topic == topic {
			return
		}
	}
}

// A topic that a client has named may be of any length and any bytes.
func TestLongTopics(t *testing.T) {
	e := brokertest.Start(t, kind)
	b := connect(t, e.Addr)
	for _, n := range []int{1, 100, 700, 2000, 100_000} {
		for _, unit := range []string{"x", "é", "\x00"} {
			topic, other := strings.Repeat(unit, n), strings.Repeat(unit, n)+"2"
			if err := b.Subscribe(t.Context(), []string{topic, other}); err != nil {
				t.Fatalf("%d times %q: %v", n, unit, err)
			}
			echo(t, b, topic)
			echo(t, b, other)
			if err := b.Unsubscribe(t.Context(), []string{topic, other}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The password is refused for a while: at the beginning, and again when the
// server was restarted.
func TestRefusedPassword(t *testing.T) {
	const config = `authorization { user: "u", password: %q }`
	k, rewrite := configured(t, fmt.Sprintf(config, "another"))
	e := brokertest.Start(t, k)
	b := connect(t, e.Addr, nats.UserInfo("u", "right"))
	for range 2 {
		if ev := next(t, b); ev.Kind != hub.BrokerLost || !errors.Is(ev.Err, nats.ErrAuthorization) && ev.Err == nil {
			t.Fatalf("%+v", ev)
		}
		if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // refused some ten times
		e.Kill()
		rewrite(fmt.Sprintf(config, "right"))
		e.Run(t)
		if ev := next(t, b); ev.Kind != hub.BrokerRecovered {
			t.Fatalf("%+v", ev)
		}
		echo(t, b, "x")
		if err := b.Unsubscribe(t.Context(), []string{"x"}); err != nil {
			t.Fatal(err)
		}
		e.Kill()
		rewrite(fmt.Sprintf(config, "another"))
		e.Run(t)
	}
}

// An error of the server that the client takes for the end of all: the broker
// dials again, and has its topics.
func TestClosedByServer(t *testing.T) {
	e := brokertest.Start(t, kind)
	proxy := injector(t, e.Addr)
	b := connect(t, proxy.addr)
	if err := b.Subscribe(t.Context(), []string{"x", "y"}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		echo(t, b, "x")
		proxy.inject <- "-ERR 'Secure Connection - TLS Required'\r\n"
		if ev := next(t, b); ev.Kind != hub.BrokerLost || ev.Err == nil {
			t.Fatalf("%+v", ev)
		}
		if err := b.Subscribe(t.Context(), []string{"while lost"}); err != nil {
			t.Fatal(err)
		}
		if ev := next(t, b); ev.Kind != hub.BrokerRecovered {
			t.Fatalf("%+v", ev)
		}
		echo(t, b, "while lost")
		echo(t, b, "y")
		if err := b.Unsubscribe(t.Context(), []string{"while lost"}); err != nil {
			t.Fatal(err)
		}
	}
}

type injecting struct {
	addr   string
	inject chan string // goes to the client of the latest connection
}

// injector forwards connections to addr, and says more to the client.
func injector(t *testing.T, addr string) *injecting {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &injecting{addr: l.Addr().String(), inject: make(chan string)}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				client.Close()
				continue
			}
			ended := make(chan struct{})
			toClient := make(chan []byte)
			go func() {
				defer close(ended)
				buf := make([]byte, 64<<10)
				for {
					n, err := client.Read(buf)
					if err != nil {
						server.Close()
						return
					}
					server.Write(buf[:n])
				}
			}()
			go func() {
				for {
					buf := make([]byte, 64<<10)
					n, err := server.Read(buf)
					if err != nil {
						client.Close()
						return
					}
					select {
					case toClient <- buf[:n]:
					case <-ended:
						return
					}
				}
			}()
			go func() {
				for {
					select {
					case data := <-toClient:
						client.Write(data)
					case text := <-p.inject:
						client.Write([]byte(text))
					case <-ended:
						return
					}
				}
			}()
		}
	}()
	return p
}

// Each topic that the server refuses has its error; the others live.
func TestRefusedTopics(t *testing.T) {
	k, _ := configured(t, `authorization { users: [ { user: "u", password: "p", permissions: {
		subscribe: { deny: ["websocket.topic.no1", "websocket.topic.no2"] },
		publish: { deny: ["websocket.topic.mute"] } } } ] }`)
	e := brokertest.Start(t, k)
	b := connect(t, e.Addr, nats.UserInfo("u", "p"))
	for range 20 {
		err := b.Subscribe(t.Context(), []string{"no1", "yes1", "no2", "yes2"})
		var refused hub.TopicErrors
		if !errors.As(err, &refused) || len(refused) != 2 {
			t.Fatalf("Subscribe: %v", err)
		}
		for _, topic := range []string{"no1", "no2"} {
			if !errors.Is(refused[topic], nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", topic, refused[topic])
			}
		}
		echo(t, b, "yes1")
		echo(t, b, "yes2")
		if err := b.Unsubscribe(t.Context(), []string{"yes1", "yes2"}); err != nil {
			t.Fatal(err)
		}
	}
	// NATS tells of a message that it does not take when Publish has returned.
	if err := b.Subscribe(t.Context(), []string{"mute"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), hub.Publication{Topic: "mute"}); err != nil {
		t.Fatal(err)
	}
	ev := next(t, b)
	if ev.Kind != hub.BrokerFailed || ev.Topic != "mute" || !errors.Is(ev.Err, nats.ErrPermissionViolation) {
		t.Errorf("%+v", ev)
	}
}

// A topic that is asked for again has its messages once.
func TestSubscribeTwice(t *testing.T) {
	e := brokertest.Start(t, kind)
	b := connect(t, e.Addr)
	for range 2 {
		if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, payload := range []string{"1", "2"} {
		if err := b.Publish(t.Context(), hub.Publication{Topic: "x", Payload: []byte(payload)}); err != nil {
			t.Fatal(err)
		}
		if ev := next(t, b); string(ev.Payload) != payload {
			t.Errorf("%+v, want %s", ev, payload)
		}
	}
}

// The server takes so many subscriptions, and no more. One is for beats.
func TestMaxSubscriptions(t *testing.T) {
	k, _ := configured(t, "max_subscriptions: 10")
	e := brokertest.Start(t, k)
	b := connect(t, e.Addr)
	var topics []string
	for i := range 25 {
		topics = append(topics, fmt.Sprint("topic", i))
	}
	for range 3 {
		err := b.Subscribe(t.Context(), topics)
		var refused hub.TopicErrors
		if !errors.As(err, &refused) || len(refused) != 16 {
			t.Fatalf("Subscribe: %v (%d)", err, len(refused))
		}
		var taken []string
		for _, topic := range topics {
			if err, ok := refused[topic]; !ok {
				taken = append(taken, topic)
			} else if !errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
				t.Errorf("%s: %v", topic, err)
			}
		}
		for _, topic := range taken {
			echo(t, b, topic)
		}
		if err := b.Unsubscribe(t.Context(), taken); err != nil {
			t.Fatal(err)
		}
	}
}

// A server that stands still, behind a connection that takes no more: the
// deadline of the context holds.
func TestPublishContext(t *testing.T) {
	e := brokertest.Start(t, kind)
	b := connect(t, e.Addr)
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil { // it is connected
		t.Fatal(err)
	}
	if err := e.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer e.Signal(syscall.SIGCONT)
	payload := make([]byte, 512<<10)
	failed := 0
	for range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		begin := time.Now()
		err := b.Publish(ctx, hub.Publication{Topic: "y", Payload: payload})
		cancel()
		if took := time.Since(begin); took > 30*time.Second {
			t.Fatalf("Publish took %v: %v", took, err)
		}
		if err != nil {
			failed++
		}
	}
	if failed == 0 {
		t.Error("20 MiB went to a server that stands still")
	}
}
