package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// A bus is the network between the servers of a cluster. A server is known by
// its number.
type bus struct {
	ports []string // where the others reach each server

	mu    sync.Mutex
	real  []string // where each server listens
	apart int      // the server that is cut off; -1: none
	conns map[net.Conn][2]int
}

// sourceOf is the address from which a server dials. It tells the bus who that
// is.
func sourceOf(server int) string { return fmt.Sprint("127.0.0.", server+2) }

// newBus returns a bus of so many servers, for the time of the test. It skips
// the test where a machine has only one address of its own.
func newBus(t *testing.T, servers int) *bus {
	t.Helper()
	b := &bus{apart: -1, real: make([]string, servers), conns: map[net.Conn][2]int{}}
	if l, err := net.Listen("tcp", sourceOf(0)+":0"); err != nil {
		t.Skipf("no second address of this machine: %v", err)
	} else {
		l.Close()
	}
	listeners := make([]net.Listener, servers)
	for server := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close(); b.reset(server) })
		listeners[server] = l
		b.ports = append(b.ports, portOf(l.Addr().String()))
	}
	for server, l := range listeners { // the ports of all are known now
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go b.serve(c, server)
			}
		}()
	}
	return b
}

// serve passes on what comes on a connection to a server.
func (b *bus) serve(c net.Conn, server int) {
	defer c.Close()
	from := -1
	for i := range b.ports {
		if host, _, _ := net.SplitHostPort(c.RemoteAddr().String()); host == sourceOf(i) {
			from = i
		}
	}
	b.mu.Lock()
	to := "127.0.0.1:" + b.real[server]
	b.mu.Unlock()
	e, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer e.Close()
	b.mu.Lock()
	cut := b.apart >= 0 && (b.apart == from || b.apart == server)
	b.conns[c] = [2]int{from, server}
	b.mu.Unlock()
	if !cut {
		go func() { defer c.Close(); io.Copy(c, e) }()
		io.Copy(e, c)
	}
	b.mu.Lock()
	delete(b.conns, c)
	b.mu.Unlock()
}

// lead says where a server listens.
func (b *bus) lead(server int, port string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.real[server] = port
}

// reset ends the connections of a server.
func (b *bus) reset(server int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c, ends := range b.conns {
		if ends[0] == server || ends[1] == server {
			c.Close()
		}
	}
}

// cut cuts a server off from the others; -1 is none.
func (b *bus) cut(server int) {
	b.mu.Lock()
	b.apart = server
	b.mu.Unlock()
	b.reset(server)
}

// The node that has a topic is cut off from the other nodes, and not from the
// processes. Its replica is promoted. The client of a process asks none but the
// old node for the slots. So its session stays there, where SPUBLISH and
// SSUBSCRIBE go on. The hub is told. The session follows when the client learns
// of the new node.
func TestNodeApart(t *testing.T) {
	between := newBus(t, 6)
	c := startClusterOf(t, 1, func(server int) brokertest.Kind {
		k := clusterKind
		k.Args = func(port, dir string) []string {
			between.lead(server, busPort(port))
			return append(clusterKind.Args(port, dir), "--protected-mode", "no", "--bind-source-addr", sourceOf(server),
				"--cluster-announce-ip", "127.0.0.1", "--cluster-announce-bus-port", between.ports[server])
		}
		return k
	})
	start := func() (b *Broker, ask func(addr string)) {
		var asked atomic.Value
		asked.Store(c.addrs[0])
		client := redis.NewClusterClient(&redis.ClusterOptions{
			MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true,
			ClusterSlots: func(ctx context.Context) ([]redis.ClusterSlot, error) {
				return c.nodes[asked.Load().(string)].ClusterSlots(ctx).Result()
			},
			NewClient: func(o *redis.Options) *redis.Client {
				o.Addr = "127.0.0.1:" + portOf(o.Addr) // without the address of who was asked, the client has only ports
				return redis.NewClient(o)
			},
		})
		b = newBroker(client, nil, shortSilence)
		t.Cleanup(func() { b.Close(); client.Close() })
		return b, func(addr string) { asked.Store(addr) }
	}
	b, ask := start()
	publisher, publisherAsks := start()
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	publish(t, publisher, "x", "1", kept)
	first := nextMessage(t, b)

	old := b.master(t, "x")
	cut := slices.Index(c.addrs, old)
	other := c.addrs[(cut+1)%len(c.addrs)]
	ask(old)
	publisherAsks(other)
	between.cut(cut)
	eventually(t, "no replica is promoted", func() bool {
		publisher.shards.cluster.ReloadState(t.Context())
		return publisher.master(t, "x") != old
	})
	publish(t, publisher, "x", "2", kept)
	if ev := next(t, b); ev.Kind != hub.BrokerLost || !errors.Is(ev.Err, errApart) {
		t.Fatalf("%+v, want BrokerLost", ev)
	}
	if got, err := b.Missed(t.Context(), "x", first.Position, kept); err == nil {
		t.Errorf("a node that is apart: %+v", got)
	}
	time.Sleep(2 * maxPause)
	if n := len(b.events); n > 0 {
		t.Errorf("%d events while the node is apart, the first: %+v", n, <-b.events)
	}

	ask(other)
	kinds := []hub.BrokerEventKind{next(t, b).Kind, next(t, b).Kind}
	if slices.Sort(kinds); !slices.Equal(kinds, []hub.BrokerEventKind{hub.BrokerRecovered, hub.BrokerMissed}) {
		t.Errorf("%v, want BrokerRecovered and BrokerMissed", kinds)
	}
	got, err := b.Missed(t.Context(), "x", first.Position, kept)
	if err != nil || got.Complete || len(got.Messages) != 1 || string(got.Messages[0].Payload) != "2" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"3", "4"} {
		publish(t, publisher, "x", text, kept)
		if ev := next(t, b); string(ev.Payload) != text {
			t.Fatalf("%+v, want message %s", ev, text)
		}
		between.cut(-1) // the old one comes back, as a replica
		c.agree(t, c.admin.ClusterKeySlot(t.Context(), b.channel("x")).Val())
	}
	if n := len(b.events); n > 0 {
		t.Errorf("%d more events, the first: %+v", n, <-b.events)
	}
}

// A master stands still until its replica is promoted, and goes on then. The
// session follows the topic to the new master. The broker does not call the
// messages complete meanwhile, and brings none of them twice.
func TestShardPaused(t *testing.T) {
	c := startCluster(t, 1)
	b, publisher := c.connect(t, shortSilence), c.connect(t, shortSilence)
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	publish(t, publisher, "x", "1", kept)
	first := nextMessage(t, b)
	old := b.master(t, "x")
	if err := c.engines[old].Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var events []hub.BrokerEvent
	eventually(t, "no replica is promoted", func() bool {
		publisher.shards.cluster.ReloadState(t.Context())
		return publisher.master(t, "x") != old
	})
	publish(t, publisher, "x", "2", kept)
	if err := c.engines[old].Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session does not follow", func() bool {
		got, err := b.Missed(t.Context(), "x", first.Position, kept)
		if err == nil && got.Complete {
			t.Fatalf("%+v", got)
		}
		publish(t, publisher, "x", "again", kept)
		for len(b.events) > 0 {
			events = append(events, next(t, b))
		}
		if len(events) == 0 {
			return false
		}
		ev := events[len(events)-1]
		return ev.Kind == hub.BrokerMessage && ev.Position.Epoch != first.Position.Epoch
	})
	told := false
	for _, ev := range events {
		told = told || ev.Kind == hub.BrokerLost || ev.Kind == hub.BrokerMissed
	}
	if !told {
		t.Errorf("the hub is not told: %+v", events)
	}
	c.agree(t, c.admin.ClusterKeySlot(t.Context(), b.channel("x")).Val())
	// On a busy machine another master may be promoted, and the hub is told. Or
	// a message is lost, and the next one shows it by its position.
	last := events[len(events)-1].Position
	for inARow := 0; inARow < 20; {
		publish(t, publisher, "x", "more", kept)
		ev := next(t, b)
		if ev.Kind != hub.BrokerMessage {
			inARow, last = 0, hub.Position{}
			continue
		}
		if !last.IsZero() && (ev.Position.Epoch != last.Epoch || ev.Position.Offset <= last.Offset) {
			t.Fatalf("%v behind %v", ev.Position, last)
		}
		if ev.Position.Offset != last.Offset+1 {
			inARow = 0
		}
		inARow++
		last = ev.Position
	}
}
