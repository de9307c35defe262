package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// A cluster is one of real servers.
type cluster struct {
	engines map[string]*brokertest.Engine // by address
	addrs   []string
	nodes   map[string]*redis.Client // by address
	admin   *redis.ClusterClient
}

// startCluster starts three masters, and as many replicas of each.
func startCluster(t *testing.T, replicas int) *cluster {
	t.Helper()
	return startClusterOf(t, replicas, func(int) brokertest.Kind { return clusterKind })
}

// startClusterOf is startCluster for servers that differ: kindOf returns the
// kind of each.
func startClusterOf(t *testing.T, replicas int, kindOf func(server int) brokertest.Kind) *cluster {
	t.Helper()
	c := &cluster{engines: map[string]*brokertest.Engine{}, nodes: map[string]*redis.Client{}}
	for i := range 3 * (1 + replicas) {
		e := brokertest.Start(t, kindOf(i))
		c.engines[e.Addr] = e
		c.addrs = append(c.addrs, e.Addr)
		client := redis.NewClient(&redis.Options{Addr: e.Addr})
		t.Cleanup(func() { client.Close() })
		c.nodes[e.Addr] = client
	}
	args := append([]string{"--cluster", "create"}, c.addrs...)
	args = append(args, "--cluster-replicas", fmt.Sprint(replicas), "--cluster-yes")
	if out, err := exec.Command("redis-cli", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.admin = redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.addrs})
	t.Cleanup(func() { c.admin.Close() })
	eventually(t, "no cluster", func() bool {
		masters, ok := c.masters()
		for _, addr := range c.addrs {
			ok = ok && strings.Contains(c.nodes[addr].ClusterInfo(t.Context()).Val(), "cluster_state:ok")
		}
		return ok && len(masters) == 3
	})
	eventually(t, "replicas have no data", func() bool {
		online := 0
		for _, addr := range c.addrs {
			online += strings.Count(c.nodes[addr].Info(t.Context(), "replication").Val(), "state=online")
		}
		return online == 3*replicas
	})
	return c
}

// masters returns the addresses of the masters that have slots. It reports
// whether all nodes are well.
func (c *cluster) masters() (masters []string, ok bool) {
	text, err := c.admin.ClusterNodes(context.Background()).Result()
	if err != nil {
		return nil, false
	}
	nodes := 0
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 || strings.Contains(f[2], "fail") || f[7] != "connected" {
			return nil, false
		}
		addr, _, _ := strings.Cut(f[1], "@")
		nodes++
		if !strings.Contains(f[2], "slave") && len(f) > 8 {
			masters = append(masters, addr)
		}
	}
	return masters, nodes == len(c.addrs)
}

func (c *cluster) connect(t *testing.T, silence time.Duration) *Broker {
	t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.addrs, MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true,
	})
	b := newBroker(client, nil, silence)
	t.Cleanup(func() { b.Close(); client.Close() })
	return b
}

// master returns the address of the master of a topic, as the broker knows it.
func (b *Broker) master(t *testing.T, topic string) string {
	t.Helper()
	node, err := b.shards.cluster.MasterForKey(t.Context(), b.channel(topic))
	if err != nil {
		t.Fatal(err)
	}
	return node.Options().Addr
}

// A clusterView is what a node says of the cluster.
type clusterView struct {
	masters map[string]string // by id: address and config epoch
	owner   string            // the id of the node that has a slot; empty: none
	moving  bool              // the node imports or migrates a slot
}

// parseView reads the answer to CLUSTER NODES.
func parseView(text string, slot int64) clusterView {
	v := clusterView{masters: map[string]string{}}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 || !strings.Contains(f[2], "master") {
			continue
		}
		addr, _, _ := strings.Cut(f[1], "@")
		v.masters[f[0]] = addr + " " + f[6]
		for _, slots := range f[8:] {
			var first, last int64
			n, _ := fmt.Sscanf(slots, "%d-%d", &first, &last)
			switch {
			case strings.HasPrefix(slots, "["):
				v.moving = true
			case n == 1 && slot == first, n == 2 && first <= slot && slot <= last:
				v.owner = f[0]
			}
		}
	}
	return v
}

// epochsDiffer reports whether each master has a config epoch of its own. Of
// two nodes with one epoch that claim a slot, none gives way.
func (v clusterView) epochsDiffer() bool {
	seen := map[string]bool{}
	for _, node := range v.masters {
		_, epoch, _ := strings.Cut(node, " ")
		seen[epoch] = true
	}
	return len(seen) == len(v.masters)
}

// agree waits until all nodes name the same owner of a slot, and the same
// config epochs. It returns the address and the id of the owner. Before that, a
// claim that is still on its way may take the slot from a new owner. Then two
// nodes say for ever that the other one has it.
func (c *cluster) agree(t *testing.T, slot int64) (addr, id string) {
	t.Helper()
	var texts []string
	agreed := func() bool {
		var first clusterView
		texts = nil
		for i, addr := range c.addrs {
			text := c.nodes[addr].ClusterNodes(t.Context()).Val()
			texts = append(texts, text)
			v := parseView(text, slot)
			if i == 0 {
				first = v
			}
			if v.moving || v.owner == "" || v.owner != first.owner || !v.epochsDiffer() || !maps.Equal(v.masters, first.masters) {
				return false
			}
		}
		id = first.owner
		addr, _, _ = strings.Cut(first.masters[id], " ")
		return true
	}
	for begin := time.Now(); !agreed(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("the nodes do not agree about slot %d:\n%s", slot, strings.Join(texts, "\n"))
		}
	}
	return addr, id
}

// moveOn moves a slot to the next node, as a resharding does.
func (c *cluster) moveOn(t *testing.T, slot int64) {
	t.Helper()
	from, fromID := c.agree(t, slot)
	to := c.addrs[(slices.Index(c.addrs, from)+1)%len(c.addrs)]
	source, target := c.nodes[from], c.nodes[to]
	do := func(client *redis.Client, args ...any) any {
		t.Helper()
		reply, err := client.Do(t.Context(), args...).Result()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return reply
	}
	toID := do(target, "CLUSTER", "MYID")
	do(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	do(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	host, port, _ := net.SplitHostPort(to)
	for {
		keys, err := source.ClusterGetKeysInSlot(t.Context(), int(slot), 100).Result()
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) == 0 {
			break
		}
		args := []any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}
		for _, key := range keys {
			args = append(args, key)
		}
		do(source, args...)
	}
	do(target, "CLUSTER", "SETSLOT", slot, "NODE", toID) // its config epoch is the highest then
	do(source, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	if _, owner := c.agree(t, slot); owner != toID {
		t.Fatalf("slot %d is at %s, want %s", slot, owner, toID)
	}
}

// Topics of all nodes: each node has one connection that receives, and only
// the node of a topic has its messages.
func TestSharded(t *testing.T) {
	c := startCluster(t, 0)
	b := c.connect(t, shortSilence)
	var topics []string
	for i := range 1000 {
		topics = append(topics, fmt.Sprint("topic", i))
	}
	begin := time.Now()
	if err := b.Subscribe(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d topics after %v", len(topics), time.Since(begin))
	for _, history := range []hub.History{{}, kept} {
		for i, topic := range topics[:100] {
			want := fmt.Sprint(i, history.Messages)
			publish(t, b, topic, want, history)
			if ev := nextMessage(t, b); ev.Topic != topic || string(ev.Payload) != want || ev.Position.IsZero() != (history.Messages == 0) {
				t.Fatalf("%+v", ev)
			}
		}
	}
	count := func() (connections, channels int) {
		for _, addr := range c.addrs {
			node := c.nodes[addr]
			clients := node.Do(t.Context(), "CLIENT", "LIST", "TYPE", "PUBSUB").Val().(string)
			connections += strings.Count(clients, "ssub=") - strings.Count(clients, "ssub=0")
			channels += len(node.PubSubShardChannels(t.Context(), "websocket:topic:*").Val())
			if plain := node.PubSubChannels(t.Context(), "*").Val(); len(plain) > 0 {
				t.Errorf("%s has %q, which all nodes hear", addr, plain)
			}
		}
		return connections, channels
	}
	if connections, channels := count(); connections != 3 || channels != len(topics) {
		t.Errorf("%d connections and %d channels, want 3 and %d", connections, channels, len(topics))
	}
	// Sessions that have nothing to do end.
	if err := b.Unsubscribe(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	eventually(t, "sessions without topics do not end", func() bool {
		connections, channels := count()
		return connections == 0 && channels == 0
	})
	if err := b.Subscribe(t.Context(), topics[:1]); err != nil {
		t.Fatal(err)
	}
	publish(t, b, topics[0], "again", hub.History{})
	if ev := next(t, b); string(ev.Payload) != "again" {
		t.Errorf("%+v", ev)
	}
}

// The slot of topics moves to another node while messages are published. The
// hub is told about the messages between, and the history has them.
func TestSlotMoves(t *testing.T) {
	c := startCluster(t, 0)
	b, publisher := c.connect(t, defaultSilence), c.connect(t, defaultSilence)
	topics := []string{"plain", "kept"}
	if err := b.Subscribe(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	histories := map[string]hub.History{"plain": {}, "kept": kept}
	for round := range 4 {
		for _, topic := range topics {
			text := fmt.Sprint(topic, round)
			publish(t, publisher, topic, text+"a", histories[topic])
			before := nextMessage(t, b)
			if string(before.Payload) != text+"a" {
				t.Fatalf("round %d: %+v", round, before)
			}
			slot := c.admin.ClusterKeySlot(t.Context(), b.channel(topic)).Val()
			c.moveOn(t, slot)
			publish(t, publisher, topic, text+"b", histories[topic]) // perhaps before the broker has followed
			if ev := next(t, b); ev.Kind != hub.BrokerMissed || ev.Topic != topic {
				t.Fatalf("round %d: %+v, want BrokerMissed", round, ev)
			}
			publish(t, publisher, topic, text+"c", histories[topic])
			ev := nextMessage(t, b)
			if string(ev.Payload) == text+"b" {
				ev = nextMessage(t, b)
			}
			if string(ev.Payload) != text+"c" {
				t.Fatalf("round %d: %+v", round, ev)
			}
			if topic == "kept" {
				got, err := b.Missed(t.Context(), topic, before.Position, kept)
				if err != nil || len(got.Messages) != 2 {
					t.Errorf("round %d: Missed after %v: %+v, %v", round, before.Position, got, err)
				}
			}
		}
	}
}

// The node that has the subscription is killed, and its replica is promoted;
// topics of other nodes go on.
func TestShardFailover(t *testing.T) {
	c := startCluster(t, 1)
	b := c.connect(t, shortSilence)
	var topics []string
	for i := range 20 {
		topics = append(topics, fmt.Sprint("topic", i))
	}
	if err := b.Subscribe(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	dead := b.master(t, topics[0])
	c.engines[dead].Kill()
	if ev := next(t, b); ev.Kind != hub.BrokerLost || ev.Err == nil || !strings.Contains(ev.Err.Error(), dead) {
		t.Fatalf("%+v, want that %s is lost", ev, dead)
	}
	for _, topic := range topics {
		if b.master(t, topic) == dead {
			continue
		}
		publish(t, b, topic, "lives", hub.History{}) // does not wait for the failover
		if ev := next(t, b); ev.Topic != topic || string(ev.Payload) != "lives" {
			t.Fatalf("%+v", ev)
		}
	}
	begin := time.Now()
	if ev := next(t, b); ev.Kind != hub.BrokerRecovered {
		t.Fatalf("%+v, want BrokerRecovered", ev)
	}
	t.Logf("recovered after %v", time.Since(begin))
	for _, topic := range topics {
		publish(t, b, topic, "back", kept)
		if ev := next(t, b); ev.Topic != topic || string(ev.Payload) != "back" {
			t.Fatalf("%+v", ev)
		}
	}
}

// A replica takes over from a master that lives on as its replica: the session
// follows, and messages do not come twice.
func TestShardManualFailover(t *testing.T) {
	c := startCluster(t, 1)
	b := c.connect(t, shortSilence)
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	old := b.master(t, "x")
	text := c.nodes[old].ClusterNodes(t.Context()).Val()
	replica := ""
	id := c.nodes[old].Do(t.Context(), "CLUSTER", "MYID").Val().(string)
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); f[3] == id {
			replica, _, _ = strings.Cut(f[1], "@")
		}
	}
	eventually(t, "no failover", func() bool {
		return c.nodes[replica].Do(t.Context(), "CLUSTER", "FAILOVER").Err() == nil
	})
	eventually(t, "the session stays", func() bool {
		b.shards.cluster.ReloadState(t.Context())
		b.mu.Lock()
		defer b.mu.Unlock()
		s := b.shards.placed["x"]
		return s != nil && s.addr == replica && b.topics["x"]
	})
	for i := range 10 {
		publish(t, b, "x", fmt.Sprint(i), hub.History{})
		if ev := nextMessage(t, b); string(ev.Payload) != fmt.Sprint(i) {
			t.Fatalf("%+v, want message %d", ev, i)
		}
	}
}

// Topics that a cluster forbids to its user have errors, and the others live.
func TestShardForbidden(t *testing.T) {
	c := startCluster(t, 0)
	for _, addr := range c.addrs {
		acl := []any{"ACL", "SETUSER", "u", "on", ">p", "+@all", "~*", "resetchannels", "&websocket:topic:{t:yes*", "&websocket:alive:*"}
		if err := c.nodes[addr].Do(t.Context(), acl...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.addrs, MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true, Username: "u", Password: "p",
	})
	defer client.Close()
	b := NewClient(client, nil)
	defer b.Close()
	for round := range 20 {
		err := b.Subscribe(t.Context(), []string{"yes1", "no1", "yes2", "no2", "yes3"})
		var refused hub.TopicErrors
		if !errors.As(err, &refused) || len(refused) != 2 || refused["no1"] == nil || refused["no2"] == nil {
			t.Fatalf("round %d: Subscribe: %v", round, err)
		}
		for _, topic := range []string{"yes1", "yes2", "yes3"} {
			publish(t, b, topic, topic, hub.History{})
			if ev := nextMessage(t, b); ev.Topic != topic {
				t.Fatalf("round %d: %+v, want a message of %s", round, ev, topic)
			}
		}
		if err := b.Unsubscribe(t.Context(), []string{"yes1", "yes2", "yes3"}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestShardForbiddenLater(t *testing.T) {
	c := startCluster(t, 0)
	for _, addr := range c.addrs {
		if err := c.nodes[addr].Do(t.Context(), "ACL", "SETUSER", "u", "on", ">p", "+@all", "~*", "&*").Err(); err != nil {
			t.Fatal(err)
		}
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.addrs, MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true, Username: "u", Password: "p",
	})
	defer client.Close()
	b := NewClient(client, nil)
	defer b.Close()
	forbidLater(t, b, c.addrs)
}

// Names of topics of every kind of bytes: each is a topic of its own, and its
// keys are in one slot.
func TestShardStrangeTopics(t *testing.T) {
	c := startCluster(t, 0)
	b := c.connect(t, defaultSilence)
	topics := []string{
		"", "\x00", "{", "}", "{}", "{a}", "}{", "{{", "}}", "a{b}c", "{t:}", "a}", "*", ">", ".", " ", "\r\n", "?[x]", "\xff\xfe",
		strings.Repeat("long", 16<<10), strings.Repeat("}", 64<<10),
	}
	if err := b.Subscribe(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	for _, history := range []hub.History{{}, kept} {
		for i, topic := range topics {
			if err := b.Publish(t.Context(), hub.Publication{Topic: topic, Payload: []byte(fmt.Sprint(i)), History: history, ID: "{x}" + fmt.Sprint(history.Messages)}); err != nil {
				t.Fatalf("%.20q: %v", topic, err)
			}
			if ev := next(t, b); ev.Topic != topic || string(ev.Payload) != fmt.Sprint(i) {
				t.Fatalf("%.20q: topic %.20q, %q", topic, ev.Topic, ev.Payload)
			}
			if history.Messages == 0 {
				continue
			}
			if got, err := b.Missed(t.Context(), topic, hub.Position{}, kept); err != nil || len(got.Messages) != 1 {
				t.Errorf("%.20q: %+v, %v", topic, got, err)
			}
		}
	}
}

// The hub subscribes and unsubscribes as the pages of many clients do: what is
// subscribed in the end is delivered, once.
func TestShardChurn(t *testing.T) {
	c := startCluster(t, 0)
	b := c.connect(t, defaultSilence)
	for round := range 1000 {
		topics := []string{"a", "b", "c"}
		if err := b.Subscribe(t.Context(), topics); err != nil {
			t.Fatal(err)
		}
		if err := b.Unsubscribe(t.Context(), topics); err != nil {
			t.Fatal(err)
		}
		if err := b.Subscribe(t.Context(), topics[:1]); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprint(round)
		publish(t, b, "b", want, hub.History{})
		publish(t, b, "a", want, hub.History{})
		if ev := next(t, b); ev.Topic != "a" || string(ev.Payload) != want {
			t.Fatalf("%+v, want %s", ev, want)
		}
		if err := b.Unsubscribe(t.Context(), topics[:1]); err != nil {
			t.Fatal(err)
		}
	}
}

// The hub subscribes and unsubscribes while no server is there. No call waits
// for long, and the hub is told once that the server is lost.
func TestDead(t *testing.T) {
	addrs := []string{"127.0.0.1:1", "127.0.0.1:2"}
	t.Run("server", func(t *testing.T) {
		churnDead(t, New(&redis.Options{Addr: addrs[0]}, nil))
	})
	t.Run("cluster", func(t *testing.T) {
		client := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: addrs, MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true,
		})
		defer client.Close()
		b := NewClient(client, nil)
		churnDead(t, b)
		if sh := b.shards; len(sh.pending)+len(sh.unplaced)+len(sh.placed)+len(sh.missed) > 0 {
			t.Errorf("topics are left: %+v", sh)
		}
	})
}

func churnDead(t *testing.T, b *Broker) {
	t.Helper()
	for begin, n := time.Now(), 0; time.Since(begin) < 3*time.Second; n++ {
		topics := []string{fmt.Sprint(n), fmt.Sprint(n + 1)}
		if err := b.Subscribe(t.Context(), topics); err != nil {
			t.Fatal(err)
		}
		if err := b.Unsubscribe(t.Context(), topics); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := b.Publish(ctx, hub.Publication{Topic: "x"}); err == nil {
		t.Error("Publish has no error")
	}
	if ev := next(t, b); ev.Kind != hub.BrokerLost {
		t.Errorf("%+v", ev)
	}
	if n := len(b.events); n > 0 {
		t.Errorf("%d events more: %+v", n, next(t, b))
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if n := len(b.topics) + len(b.asking) + len(b.refused); n > 0 {
		t.Errorf("%d topics are left", n)
	}
}

// The user has another password, and the client has the old one for a while.
// The broker goes on trying.
func TestShardPassword(t *testing.T) {
	c := startCluster(t, 0)
	set := func(pass string) {
		for _, addr := range c.addrs {
			if err := c.nodes[addr].Do(t.Context(), "ACL", "SETUSER", "u", "reset", "on", ">"+pass, "+@all", "~*", "&*").Err(); err != nil {
				t.Fatal(err)
			}
			c.nodes[addr].Do(t.Context(), "CLIENT", "KILL", "USER", "u")
		}
	}
	set("p")
	var mu sync.Mutex
	pass := "p"
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.addrs, MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true,
		CredentialsProvider: func() (string, string) { mu.Lock(); defer mu.Unlock(); return "u", pass },
	})
	defer client.Close()
	b := NewClient(client, nil)
	defer b.Close()
	topics := []string{"a", "b", "c", "d"}
	if err := b.Subscribe(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		set(fmt.Sprint("q", round))
		if ev := next(t, b); ev.Kind != hub.BrokerLost {
			t.Fatalf("%+v", ev)
		}
		time.Sleep(time.Second) // refused meanwhile
		if err := b.Publish(t.Context(), hub.Publication{Topic: "a"}); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
			t.Error(err)
		}
		mu.Lock()
		pass = fmt.Sprint("q", round)
		mu.Unlock()
		if ev := next(t, b); ev.Kind != hub.BrokerRecovered {
			t.Fatalf("%+v", ev)
		}
		for _, topic := range topics {
			publish(t, b, topic, topic, kept)
			if ev := next(t, b); ev.Topic != topic {
				t.Fatalf("%+v", ev)
			}
		}
	}
}

// A prefix that begins a hash tag must hold all of it.
func TestShardPrefix(t *testing.T) {
	for prefix, ok := range map[string]bool{"chat:": true, "{chat}:": true, "}:": true, "{": false, "a{b": false, "{}": false, "{}{x}": false} {
		if err := checkTag(prefix); (err == nil) != ok {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer client.Close()
	b := NewClient(client, &Options{Prefix: "{"})
	if err := b.Publish(t.Context(), hub.Publication{Topic: "x"}); !errors.Is(err, errTag) {
		t.Errorf("Publish: %v", err)
	}
	if ev := next(t, b); ev.Kind != hub.BrokerLost || !errors.Is(ev.Err, errTag) {
		t.Errorf("%+v", ev)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// A slot that no node has, and a node that is gone, cost the positions of their
// topics. Where the others are is known.
func TestShardPositions(t *testing.T) {
	c := startCluster(t, 0)
	for _, node := range c.nodes {
		if err := node.ConfigSet(t.Context(), "cluster-require-full-coverage", "no").Err(); err != nil {
			t.Fatal(err)
		}
	}
	b := c.connect(t, defaultSilence)
	var topics []hub.KeptTopic
	byNode := map[string][]string{}
	for i := range 30 {
		name := fmt.Sprint("topic", i)
		publish(t, b, name, "m", kept)
		topics = append(topics, hub.KeptTopic{Topic: name, History: kept})
		byNode[b.master(t, name)] = append(byNode[b.master(t, name)], name)
	}
	check := func(what string, lost []string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		at, err := b.Positions(ctx, topics)
		var refused hub.TopicErrors
		if len(lost) > 0 && !errors.As(err, &refused) || len(lost) == 0 && err != nil || len(at) != len(topics) {
			t.Errorf("%s: %v, %v", what, at, err)
			return
		}
		for i, topic := range topics {
			if isLost := slices.Contains(lost, topic.Topic); isLost != (refused[topic.Topic] != nil) || isLost != at[i].IsZero() {
				t.Errorf("%s: %s is at %v: %v", what, topic.Topic, at[i], refused[topic.Topic])
			}
		}
	}
	check("all are there", nil)

	lost := topics[3].Topic
	slot := c.admin.ClusterKeySlot(t.Context(), b.channel(lost)).Val()
	for _, node := range c.nodes {
		if err := node.ClusterDelSlots(t.Context(), int(slot)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	check("a slot is nowhere", []string{lost})
	addr := b.master(t, topics[3].Topic)
	for other := range c.nodes { // another one than the slot's
		if other != addr && len(byNode[other]) > 0 {
			addr = other
			break
		}
	}
	if !slices.Contains(byNode[addr], lost) {
		byNode[addr] = append(byNode[addr], lost)
	}
	c.engines[addr].Kill()
	check("a node is gone", byNode[addr])
}
