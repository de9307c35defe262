package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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
				// The others connect to it. JetStream wants a route: to itself.
				return append(args, "-cluster_advertise", between.Addr, "-routes", "nats://"+between.Addr)
			}
			to := []string{"nats://" + between.Addr}
			for _, other := range routes[1:i] {
				to = append(to, "nats://127.0.0.1:"+other)
			}
			// The first one cannot connect to them: nothing listens there.
			return append(args, "-cluster_advertise", "127.0.0.1:1", "-routes", strings.Join(to, ","))
		}
		addrs = append(addrs, brokertest.Start(t, own).Addr)
	}
	return addrs, between
}

// The server of the receiver is cut off from that of a publisher. Its messages
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

// The server of a process is cut off from the other two, which have JetStream.
// The process moves to one of these, with the connections that were there.
func TestJetStreamApart(t *testing.T) {
	for _, tt := range []apart{
		{name: "receiving", receiving: true},
		{name: "session", session: true},
		{name: "led", receiving: true, session: true, leads: []string{"8"}},
		{name: "epochs", receiving: true, session: true, leads: []string{"epochs"}},
		{name: "all", receiving: true, session: true, leads: []string{"8", "epochs"}},
		{name: "listening", receiving: true, session: true, listens: true},
		{name: "listens_all", receiving: true, session: true, listens: true, leads: []string{"8", "epochs"}},
		{name: "starts", receiving: true, session: true, starts: true},
		{name: "starts_listening", receiving: true, session: true, starts: true, listens: true},
	} {
		t.Run(tt.name, tt.test)
	}
}

// An apart says what a server has when it is cut off from the two others.
type apart struct {
	name               string   // the Prefix too
	receiving, session bool     // the connections of the process
	leads              []string // the streams that it leads, without the Prefix
	listens            bool     // another process publishes, in place of this one
	starts             bool     // the process begins when the server is cut off
}

func (tt apart) test(t *testing.T) {
	t.Parallel() // it waits for the most part
	k := clusterKind
	k.Args = jetKind.Args
	addrs, between := split(t, k, 3)
	js := clusterAdmin(t, "nats://"+addrs[1])
	awaitStreams(t, js)
	if tt.starts {
		between.Cut(true)
	}
	defer func() { between.Reset(); between.Cut(false) }()
	var at dialer
	at.lead(addrs[0], !tt.receiving, addrs[1])
	b := tt.connect(t, addrs[0], nats.SetCustomDialer(&at))
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	at.lead(addrs[0], !tt.session, addrs[1])
	publisher := b
	if tt.listens {
		publisher = tt.connect(t, addrs[1])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := b.Positions(ctx, []hub.KeptTopic{{Topic: "x", History: history}}); (err != nil) != tt.starts {
		t.Fatal(err)
	}
	send := func(text string) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return publisher.Publish(ctx, hub.Publication{Topic: "x", Payload: []byte(text), History: history})
	}
	if !tt.starts {
		arrives(t, b, "before", send)
		eventually(t, "the broker does not hear its own call", func() error {
			if !b.watch.heard.Load() {
				return errors.New("no call")
			}
			return nil
		})
	}
	for _, stream := range tt.leads {
		makeLeader(t, js, b.streamName(stream), "server0")
	}
	at.lead(addrs[0], true, addrs[1])
	between.Cut(true)
	eventually(t, "Publish fails while a server is apart", func() error { return send("apart") })
	events := arrives(t, b, "after", send)
	want := []hub.BrokerEventKind(nil)
	if tt.receiving {
		want = []hub.BrokerEventKind{hub.BrokerLost, hub.BrokerRecovered}
	}
	if !slices.Equal(events, want) {
		t.Errorf("%v, want %v", events, want)
	}
}

func (tt apart) connect(t *testing.T, addr string, own ...nats.Option) *JetStream {
	t.Helper()
	own = append(own, nats.ReconnectWait(50*time.Millisecond))
	opts := &JetStreamOptions{Replicas: 3, Options: Options{Prefix: tt.name, Connection: own}}
	return connectEvery(t, "nats://"+addr, opts, time.Second)
}

// arrives sends until a message arrives. The connection that receives may not
// be where JetStream is. It returns what else came.
func arrives(t *testing.T, b *JetStream, text string, send func(string) error) (events []hub.BrokerEventKind) {
	t.Helper()
	arrived, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			send(text)
			select {
			case <-arrived:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	defer func() { close(arrived); <-done }()
	for {
		ev := next(t, b.Broker)
		if ev.Kind == hub.BrokerMessage && string(ev.Payload) == text {
			return events
		}
		if ev.Kind != hub.BrokerMessage {
			events = append(events, ev.Kind)
		}
	}
}

// makeLeader has a stream elect leaders until a server is one.
func makeLeader(t *testing.T, js jetstream.JetStream, stream, server string) {
	t.Helper()
	eventually(t, server+" does not lead "+stream, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		s, err := js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		leader := s.CachedInfo().Cluster.Leader
		if leader == server {
			return nil
		}
		_, err = js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil)
		return fmt.Errorf("%s leads, %w", leader, err)
	})
}

// A dialer is the network: it leads connections to a server.
type dialer struct{ to atomic.Value }

func (d *dialer) lead(to string, instead bool, other string) {
	if instead {
		to = other
	}
	d.to.Store(to)
}

func (d *dialer) Dial(network, _ string) (net.Conn, error) {
	return net.Dial(network, d.to.Load().(string))
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
