package redisbroker

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

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

var kept = hub.History{Messages: 100}

func publish(t *testing.T, b *Broker, topic, payload string, history hub.History) {
	t.Helper()
	if err := b.Publish(t.Context(), hub.Publication{Topic: topic, Payload: []byte(payload), History: history}); err != nil {
		t.Fatal(err)
	}
}

// nextMessage waits for a message.
func nextMessage(t *testing.T, b *Broker) hub.BrokerEvent {
	t.Helper()
	for {
		if ev := next(t, b); ev.Kind == hub.BrokerMessage {
			return ev
		}
	}
}

// Topics that the server forbids to its user have errors, and the others live.
// It is so with the session that they meet, and with the one after it.
func TestForbiddenTopics(t *testing.T) {
	e := brokertest.Start(t, kind)
	admin := redis.NewClient(&redis.Options{Addr: e.Addr})
	defer admin.Close()
	acl := []any{"ACL", "SETUSER", "u", "on", ">p", "+@all", "~*", "resetchannels", "&websocket:topic:yes*", "&websocket:alive:*"}
	if err := admin.Do(t.Context(), acl...).Err(); err != nil {
		t.Fatal(err)
	}
	b := New(&redis.Options{Addr: e.Addr, Username: "u", Password: "p"}, nil)
	defer b.Close()
	for round := range 20 {
		err := b.Subscribe(t.Context(), []string{"yes1", "no1", "yes2", "no2"})
		var refused hub.TopicErrors
		if !errors.As(err, &refused) || len(refused) != 2 || refused["no1"] == nil || refused["no2"] == nil {
			t.Fatalf("round %d: Subscribe: %v", round, err)
		}
		for _, topic := range []string{"yes1", "yes2"} {
			publish(t, b, topic, topic, hub.History{})
			if ev := nextMessage(t, b); ev.Topic != topic {
				t.Fatalf("round %d: %+v, want a message of %s", round, ev, topic)
			}
		}
		if err := b.Unsubscribe(t.Context(), []string{"yes1", "yes2"}); err != nil {
			t.Fatal(err)
		}
	}
}

// The user of the broker may not have a topic any more: OnBroker is told, and
// the others live.
func TestForbiddenLater(t *testing.T) {
	e := brokertest.Start(t, kind)
	b := New(&redis.Options{Addr: e.Addr, Username: "u", Password: "p"}, nil)
	defer b.Close()
	forbidLater(t, b, []string{e.Addr})
}

func forbidLater(t *testing.T, b *Broker, addrs []string) {
	t.Helper()
	set := func(channels ...any) {
		t.Helper()
		for _, addr := range addrs {
			admin := redis.NewClient(&redis.Options{Addr: addr})
			defer admin.Close()
			acl := append([]any{"ACL", "SETUSER", "u", "reset", "on", ">p", "+@all", "~*", "&websocket:alive:*"}, channels...)
			if err := admin.Do(t.Context(), acl...).Err(); err != nil {
				t.Fatal(err)
			}
			admin.Do(t.Context(), "CLIENT", "KILL", "USER", "u")
		}
	}
	set("&*")
	eventually(t, "the broker does not connect", func() bool {
		return b.Publish(t.Context(), hub.Publication{Topic: "x"}) == nil
	})
	topics := []string{"a", "b", "c"}
	if err := b.Subscribe(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	for len(b.events) > 0 {
		next(t, b) // the password was refused before
	}
	set("&websocket:topic:a", "&websocket:topic:c", "&websocket:topic:{t:a}", "&websocket:topic:{t:c}")
	failed, recovered := false, false
	for !failed || !recovered {
		switch ev := next(t, b); ev.Kind {
		case hub.BrokerFailed:
			if failed = true; ev.Topic != "b" || !isForbidden(ev.Err) {
				t.Errorf("%+v", ev)
			}
		case hub.BrokerRecovered:
			recovered = true
		}
	}
	for _, topic := range []string{"a", "c"} {
		publish(t, b, topic, topic, hub.History{})
		if ev := nextMessage(t, b); ev.Topic != topic {
			t.Errorf("%+v", ev)
		}
	}
}

// The server is killed, and comes back with what it had saved: numbers that it
// gives again are of another epoch.
func TestRollback(t *testing.T) {
	k := kind
	k.Args = func(port, dir string) []string {
		return []string{"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--appendonly", "no"}
	}
	e := brokertest.Start(t, k)
	b := New(&redis.Options{Addr: e.Addr}, nil)
	defer b.Close()
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	admin := redis.NewClient(&redis.Options{Addr: e.Addr})
	defer admin.Close()
	for n := range 10 {
		if n == 5 {
			if err := admin.Save(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, b, "x", fmt.Sprint(n), kept)
	}
	var last hub.Position
	for range 10 {
		last = nextMessage(t, b).Position
	}
	e.Kill()
	if ev := next(t, b); ev.Kind != hub.BrokerLost {
		t.Fatalf("%+v", ev)
	}
	e.Run(t)
	if ev := next(t, b); ev.Kind != hub.BrokerRecovered {
		t.Fatalf("%+v", ev)
	}
	if at, err := b.Positions(t.Context(), []hub.KeptTopic{{Topic: "x"}}); err != nil || at[0].Epoch == last.Epoch {
		t.Errorf("the position is %v, of the epoch of %v: %v", at, last, err)
	}
	publish(t, b, "x", "after", kept)
	ev := nextMessage(t, b)
	if ev.Position.Epoch == last.Epoch || string(ev.Payload) != "after" {
		t.Errorf("%v %q behind %v", ev.Position, ev.Payload, last)
	}
	got, err := b.Missed(t.Context(), "x", last, kept)
	if err != nil || got.Complete || got.Top != ev.Position {
		t.Errorf("Missed: %+v, %v", got, err)
	}
}

// Publishers go to another server than the session, as after a failover that
// cut off only them: the broker notices, and follows.
func TestSplitFailover(t *testing.T) {
	old, promoted := brokertest.Start(t, kind), brokertest.Start(t, kind)
	var master atomic.Value
	master.Store(old.Addr)
	client := redis.NewClient(&redis.Options{
		Addr: "master", MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true, ConnMaxLifetime: 100 * time.Millisecond,
		Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, master.Load().(string))
		},
	})
	defer client.Close()
	b := newBroker(client, nil, shortSilence)
	defer b.Close()
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "x", "1", hub.History{})
	if ev := next(t, b); string(ev.Payload) != "1" {
		t.Fatalf("%+v", ev)
	}
	master.Store(promoted.Addr)
	for _, want := range []hub.BrokerEventKind{hub.BrokerLost, hub.BrokerRecovered} {
		if ev := next(t, b); ev.Kind != want {
			t.Fatalf("%+v, want %v", ev, want)
		}
	}
	publish(t, b, "x", "2", hub.History{})
	if ev := next(t, b); string(ev.Payload) != "2" {
		t.Fatalf("%+v", ev)
	}
}

// The master becomes a replica, as in a failover by hand behind an address that
// leads to the master. The connections that it has stay. One of two processes
// has only new connections. The session of the other one hears messages through
// the replica, and perhaps not all of them: it goes where publishers are.
func TestSplitReplica(t *testing.T) {
	old, promoted := brokertest.Start(t, kind), brokertest.Start(t, kind)
	admin := map[string]*redis.Client{}
	for _, e := range []*brokertest.Engine{old, promoted} {
		admin[e.Addr] = redis.NewClient(&redis.Options{Addr: e.Addr})
		defer admin[e.Addr].Close()
	}
	follow := func(e, master *brokertest.Engine) {
		t.Helper()
		if err := admin[e.Addr].SlaveOf(t.Context(), "127.0.0.1", portOf(master.Addr)).Err(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "no replica", func() bool {
			return strings.Contains(admin[e.Addr].Info(t.Context(), "replication").Val(), "master_link_status:up")
		})
	}
	follow(promoted, old)
	address := brokertest.NewProxy(t, old.Addr)
	start := func() *Broker {
		client := redis.NewClient(&redis.Options{Addr: address.Addr, MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true,
			ConnMaxLifetime: 100 * time.Millisecond})
		t.Cleanup(func() { client.Close() })
		b := newBroker(client, nil, shortSilence)
		t.Cleanup(func() { b.Close() })
		if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
			t.Fatal(err)
		}
		return b
	}
	behind := start()
	publish(t, behind, "x", "1", hub.History{})
	if ev := next(t, behind); string(ev.Payload) != "1" {
		t.Fatalf("%+v", ev)
	}
	address.Lead(promoted.Addr)
	if err := admin[promoted.Addr].SlaveOf(t.Context(), "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	follow(old, promoted)
	follows := start()
	for _, want := range []hub.BrokerEventKind{hub.BrokerLost, hub.BrokerRecovered} {
		if ev := next(t, behind); ev.Kind != want {
			t.Fatalf("%+v, want %v", ev, want)
		}
	}
	publish(t, follows, "x", "2", hub.History{})
	for _, b := range []*Broker{behind, follows} {
		if ev := next(t, b); string(ev.Payload) != "2" {
			t.Fatalf("%+v", ev)
		}
	}
	if n := admin[old.Addr].PubSubNumSub(t.Context(), "websocket:topic:x").Val(); n["websocket:topic:x"] != 0 {
		t.Errorf("the replica has subscribers: %v", n)
	}
}

// A hub that takes no event for a while has not lost the server, which speaks.
func TestSlowHub(t *testing.T) {
	e := brokertest.Start(t, kind)
	client := redis.NewClient(&redis.Options{Addr: e.Addr, MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true})
	defer client.Close()
	b := newBroker(client, nil, shortSilence)
	defer b.Close()
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	const n = 500
	for i := range n {
		publish(t, b, "x", fmt.Sprint(i), hub.History{})
	}
	time.Sleep(4 * shortSilence)
	for i := range n {
		if ev := next(t, b); ev.Kind != hub.BrokerMessage || string(ev.Payload) != fmt.Sprint(i) {
			t.Fatalf("%+v, want message %d", ev, i)
		}
	}
	publish(t, b, "x", "end", hub.History{})
	if ev := next(t, b); string(ev.Payload) != "end" {
		t.Errorf("%+v", ev)
	}
}

// The topic has a history somewhere: a publisher without one does not give two
// messages one position.
func TestPublisherWithoutHistory(t *testing.T) {
	e := brokertest.Start(t, kind)
	b := New(&redis.Options{Addr: e.Addr}, nil)
	defer b.Close()
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(6) {
		history := kept
		if i%2 == 1 {
			history = hub.History{}
		}
		publish(t, b, "x", "m", history)
		if ev := nextMessage(t, b); ev.Position.Offset != i+1 {
			t.Errorf("message %d has position %v", i, ev.Position)
		}
	}
}

// The answer to a message is lost behind the server: the cluster client of
// go-redis sends again, though MaxRetries is -1. The message comes once.
func TestClusterLostReply(t *testing.T) {
	k := kind
	k.Args = func(port, dir string) []string {
		return []string{"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--cluster-enabled", "yes", "--cluster-port", busPort(port)}
	}
	k.Second = busPort
	e := brokertest.Start(t, k)
	admin := redis.NewClient(&redis.Options{Addr: e.Addr})
	defer admin.Close()
	if err := admin.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no cluster", func() bool {
		return strings.Contains(admin.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
	})
	var cut atomic.Int32
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{e.Addr}, MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true, ReadOnly: false, Dialer: dialCut(&cut),
	})
	defer client.Close()
	loseReplies(t, client, &cut)
}

// The same with a client of one server, whose caller has left MaxRetries at its
// default.
func TestLostReply(t *testing.T) {
	e := brokertest.Start(t, kind)
	var cut atomic.Int32
	client := redis.NewClient(&redis.Options{Addr: e.Addr, Protocol: 2, Dialer: dialCut(&cut)})
	defer client.Close()
	loseReplies(t, client, &cut)
}

func dialCut(cut *atomic.Int32) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &cutConn{Conn: c, cut: cut}, err
	}
}

// loseReplies publishes messages whose answers are lost. None may come twice.
func loseReplies(t *testing.T, client redis.UniversalClient, cut *atomic.Int32) {
	b := NewClient(client, nil)
	defer b.Close()
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	for _, history := range []hub.History{{}, kept} {
		publish(t, b, "x", "first", history) // the script is loaded
		if ev := nextMessage(t, b); string(ev.Payload) != "first" {
			t.Fatalf("%+v", ev)
		}
		twice := 0
		for i := range 20 {
			cut.Store(1)
			want := fmt.Sprint("lost reply ", i)
			b.Publish(t.Context(), hub.Publication{Topic: "x", Payload: []byte(want), History: history})
			cut.Store(0)
			publish(t, b, "x", "end", history)
			got := 0
			for {
				ev := nextMessage(t, b)
				if string(ev.Payload) == "end" {
					break
				}
				if string(ev.Payload) == want {
					got++
				}
			}
			if got > 1 {
				twice++
			}
		}
		if twice > 0 {
			t.Errorf("history %v: %d of 20 messages came more than once", history.Messages, twice)
		}
	}
}

// A cutConn loses the next answer to a publication.
type cutConn struct {
	net.Conn
	cut  *atomic.Int32
	lose atomic.Bool
}

func (c *cutConn) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "lost reply") && c.cut.CompareAndSwap(1, 0) {
		c.lose.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.lose.Load() {
		c.Conn.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// A message that the server did not confirm is repeated under its id, and
// counts once.
func TestPublishOnce(t *testing.T) {
	e := brokertest.Start(t, kind)
	b := New(&redis.Options{Addr: e.Addr}, nil)
	defer b.Close()
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	for _, history := range []hub.History{{}, kept} {
		id := fmt.Sprint("id ", history.Messages)
		publish(t, b, "x", "first", history)
		message := hub.Publication{Topic: "x", ID: id, Payload: []byte(id), History: history}
		brokertest.PublishInDoubt(t, e, b, message)
		publish(t, b, "x", "end", history)
		var got []string
		for len(got) == 0 || got[len(got)-1] != "end" {
			got = append(got, string(nextMessage(t, b).Payload))
		}
		if want := []string{"first", id, "end"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// What the server keeps: within the bounds of the history, from a position on,
// and once more after all of it has expired.
func TestMissed(t *testing.T) {
	e := brokertest.Start(t, kind)
	b := New(&redis.Options{Addr: e.Addr}, nil)
	defer b.Close()
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	limits := hub.History{Messages: 5, Bytes: 1000}
	var at []hub.Position
	for n := range 8 {
		publish(t, b, "x", fmt.Sprint(n), limits)
		at = append(at, nextMessage(t, b).Position)
	}
	for _, tt := range []struct {
		after    hub.Position
		want     string
		complete bool
	}{
		{hub.Position{}, "34567", false},
		{at[7], "", true},
		{at[5], "67", true},
		{at[2], "34567", true},
		{at[1], "34567", false},
		{hub.Position{Epoch: 1, Offset: 5}, "34567", false},
	} {
		got, err := b.Missed(t.Context(), "x", tt.after, limits)
		text := ""
		for _, ev := range got.Messages {
			text += string(ev.Payload)
			if ev.Topic != "x" || ev.Position.Epoch != at[0].Epoch || ev.Time.IsZero() {
				t.Errorf("%+v", ev)
			}
		}
		if d := time.Since(got.Now); d < -time.Minute || d > time.Minute { // the server is on this machine
			t.Errorf("the server's clock is %v behind", d)
		}
		if err != nil || text != tt.want || got.Complete != tt.complete || got.Top != at[7] {
			t.Errorf("after %v: %q, complete %t, top %v, %v; want %q, %t", tt.after, text, got.Complete, got.Top, err,
				tt.want, tt.complete)
		}
	}
	publish(t, b, "x", strings.Repeat("8", 998), limits) // the bound in bytes
	if got, err := b.Missed(t.Context(), "x", at[5], limits); err != nil || len(got.Messages) != 3 || !got.Complete {
		t.Errorf("within 1,000 bytes: %d messages, complete %t, %v", len(got.Messages), got.Complete, err)
	}
	if got, err := b.Missed(t.Context(), "none", hub.Position{}, limits); err != nil || !got.Top.IsZero() || len(got.Messages) != 0 {
		t.Errorf("no such topic: %+v, %v", got, err)
	}
}

// A session that ends is followed by one: the client does not make another of
// its own, which asks for all topics, too.
func TestReconnectsOnce(t *testing.T) {
	e := brokertest.Start(t, kind)
	admin := redis.NewClient(&redis.Options{Addr: e.Addr})
	defer admin.Close()
	b := New(&redis.Options{Addr: e.Addr}, nil)
	defer b.Close()
	var topics []string
	for i := range 100 {
		topics = append(topics, fmt.Sprint("topic", i))
	}
	if err := b.Subscribe(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := admin.ConfigResetStat(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if err := admin.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
		for _, want := range []hub.BrokerEventKind{hub.BrokerLost, hub.BrokerRecovered} {
			if ev := next(t, b); ev.Kind != want {
				t.Fatalf("%+v, want %v", ev, want)
			}
		}
		stats := admin.Info(t.Context(), "commandstats").Val()
		if want := "cmdstat_subscribe:calls=2,"; !strings.Contains(stats, want) { // the topics, and the session's own channel
			t.Errorf("%s, want %s", stats, want)
		}
	}
}

// The keys of one topic are forbidden: where the other topics are is known all
// the same, and what they keep is read.
func TestForbiddenKeys(t *testing.T) {
	e := brokertest.Start(t, kind)
	admin := redis.NewClient(&redis.Options{Addr: e.Addr})
	defer admin.Close()
	acl := []any{"ACL", "SETUSER", "u", "on", ">p", "+@all", "allchannels", "resetkeys", "~websocket:*:{t:yes}*"}
	if err := admin.Do(t.Context(), acl...).Err(); err != nil {
		t.Fatal(err)
	}
	b := New(&redis.Options{Addr: e.Addr, Username: "u", Password: "p"}, nil)
	defer b.Close()
	publish(t, b, "yes", "1", kept)
	message := hub.Publication{Topic: "no", Payload: []byte("1"), History: kept}
	if err := b.Publish(t.Context(), message); err == nil || errors.Is(err, hub.ErrUnconfirmed) {
		t.Errorf("Publish: %v", err)
	}
	topics := []hub.KeptTopic{{Topic: "no", History: kept}, {Topic: "yes", History: kept}}
	at, err := b.Positions(t.Context(), topics)
	if err != nil || !at[0].IsZero() || at[1].Offset != 1 {
		t.Errorf("%v, %v", at, err)
	}
	if got, err := b.Missed(t.Context(), "yes", hub.Position{}, kept); err != nil || len(got.Messages) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := b.Missed(t.Context(), "no", hub.Position{}, kept); err == nil {
		t.Error("no error of Missed")
	}
}

// Messages of two topics count both, however much their topics and ids look
// alike.
func TestPublishOnceLooksAlike(t *testing.T) {
	e := brokertest.Start(t, kind)
	b := New(&redis.Options{Addr: e.Addr}, nil)
	defer b.Close()
	topics := []string{"a", "a}", "a}1:", "", "}"}
	if err := b.Subscribe(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	for _, history := range []hub.History{{}, kept} {
		for _, p := range []hub.Publication{
			{Topic: "a", ID: "}b"}, {Topic: "a}", ID: "b"}, {Topic: "a}1:", ID: "b"}, {Topic: "a", ID: "1:}b"},
			{Topic: "", ID: "}}x"}, {Topic: "}", ID: "}x"}, {Topic: "a", ID: "b"}, {Topic: "a", ID: "b "}, {Topic: "a", ID: "b\n"},
		} {
			p.ID += fmt.Sprint(history.Messages)
			p.History, p.Payload = history, []byte(p.ID)
			for range 2 {
				if err := b.Publish(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			if ev := nextMessage(t, b); ev.Topic != p.Topic || string(ev.Payload) != p.ID {
				t.Fatalf("%q %q, want %q %q", ev.Topic, ev.Payload, p.Topic, p.ID)
			}
		}
	}
}
