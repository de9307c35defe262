package natsbroker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// split starts servers of one cluster, and a proxy that is the network between
// the first one and the others.
func split(t *testing.T, k brokertest.Kind, servers int) (addrs []string, between *brokertest.Proxy) {
	t.Helper()
	routes := freePorts(t, servers)
	between = brokertest.NewProxy(t, "127.0.0.1:"+routes[0])
	for i, route := range routes {
		own := k
		own.Args = func(port, dir string) []string {
			args := append(k.Args(port, dir), "-n", fmt.Sprint("server", i), "-cluster_name", "test", "-cluster", "nats://127.0.0.1:"+route)
			if i == 0 {
				return append(args, "-cluster_advertise", between.Addr) // the others connect to it
			}
			to := []string{"nats://" + between.Addr}
			for _, other := range routes[1:i] {
				to = append(to, "nats://127.0.0.1:"+other)
			}
			return append(args, "-routes", strings.Join(to, ","))
		}
		addrs = append(addrs, brokertest.Start(t, own).Addr)
	}
	return addrs, between
}

// The server of the receiver is cut off from that of a publisher, whose messages
// are lost without an error. The receiver is told when the servers have met
// again.
func TestServersApart(t *testing.T) {
	addrs, between := split(t, kind, 2)
	receiver, publisher := beating(t, addrs[0]), beating(t, addrs[1])
	if err := receiver.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	send := func(text string) {
		t.Helper()
		if err := publisher.Publish(t.Context(), hub.Publication{Topic: "x", Payload: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	arrives := func(text string) {
		t.Helper()
		eventually(t, "no message", func() error { // the servers may not have met yet
			send(text)
			select {
			case <-receiver.backlog.ready:
				for {
					ev, ok := receiver.backlog.take()
					if !ok {
						return errors.New("no message")
					}
					if ev.Kind != hub.BrokerMessage {
						t.Fatalf("%+v", ev)
					}
					if string(ev.Payload) == text {
						return nil
					}
				}
			case <-time.After(100 * time.Millisecond):
				return errors.New("no event")
			}
		})
	}
	arrives("before")
	hears := func() bool {
		receiver.mu.Lock()
		defer receiver.mu.Unlock()
		return len(receiver.peers) == 1
	}
	eventually(t, "the publisher is not heard", func() error {
		if !hears() {
			return errors.New("no peer")
		}
		return nil
	})
	for range 2 {
		between.Cut(true)
		send("lost")
		time.Sleep(5 * shortBeat)
		between.Reset() // what was on its way is lost
		between.Cut(false)
		for _, want := range []hub.BrokerEventKind{hub.BrokerLost, hub.BrokerRecovered} {
			ev := next(t, receiver)
			for ev.Kind == hub.BrokerMessage { // after the servers have met again
				ev = next(t, receiver)
			}
			if ev.Kind != want || want == hub.BrokerLost && !errors.Is(ev.Err, errMissedBeat) {
				t.Fatalf("%+v, want %v", ev, want)
			}
		}
		arrives("after")
	}
}

// shortBeat is in place of defaultBeat in tests.
const shortBeat = 200 * time.Millisecond

func beating(t *testing.T, addr string) *Broker {
	t.Helper()
	b, err := newBroker("nats://"+addr, nil, nil, shortBeat)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// Which beats say that messages may be missing.
func TestHear(t *testing.T) {
	begin := time.Now()
	b := &Broker{every: defaultBeat, id: "own", peers: map[string]peer{}, listens: begin}
	for _, tt := range []struct {
		beat   string
		after  time.Duration
		missed bool
	}{
		{"own 7", 0, false},
		{"", 0, false},
		{"a", 0, false},
		{"a x", 0, false},
		{"a 5", time.Second, false}, // the one before came when this process did not listen
		{"a 6", 6 * time.Second, false},
		{"a 6", 6 * time.Second, false},
		{"a 5", 6 * time.Second, false},
		{"a 8", 16 * time.Second, true},
		{"a 9", 21 * time.Second, false},
		{"b 1", 22 * time.Second, false},
		{"b 2", 27 * time.Second, false},
		{"c 2", 27 * time.Second, true}, // the one before must have come
		{"c 3", 32 * time.Second, false},
	} {
		if got := b.hear(tt.beat, begin.Add(tt.after)); got != tt.missed {
			t.Errorf("%q after %v: missed %t", tt.beat, tt.after, got)
		}
	}
	for i := range 2 * maxPeers {
		b.hear(fmt.Sprint(i, " 1"), begin.Add(time.Minute))
	}
	if n := len(b.peers); n != maxPeers {
		t.Errorf("%d processes are known, want %d", n, maxPeers)
	}
}
