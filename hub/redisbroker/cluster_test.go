package redisbroker

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

var clusterKind = brokertest.Kind{
	Name:    "cluster",
	Program: "redis-server",
	Args: func(port, dir string) []string {
		return []string{"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "yes",
			"--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", busPort(port)}
	},
	Second: busPort,
	Connect: func(addr string) (hub.Broker, func() error) {
		client := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: strings.Split(addr, ","), MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true,
		})
		b := NewClient(client, nil)
		return b, func() error { b.Close(); return client.Close() }
	},
	Numbers: true,
	Keeps:   true,
}

// busPort is the port of the cluster's bus: 10,000 above or below.
func busPort(port string) string {
	n, _ := strconv.Atoi(port)
	if n += 10_000; n > 65_535 {
		n -= 20_000
	}
	return strconv.Itoa(n)
}

// eventually waits until f reports true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for begin := time.Now(); !f(); time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal(what)
		}
	}
}

// A cluster of three masters and a replica of each: masters are killed, and
// replicas promoted. Apart from what a client was told, it misses nothing.
func TestClusterFailover(t *testing.T) {
	c := startCluster(t, 1)
	killed := 0
	brokertest.ClusterFault(t, clusterKind, strings.Join(c.addrs, ","), "MasterKilled", *full, false, func() {
		masters, ok := c.masters()
		if !ok || len(masters) != 3 {
			return
		}
		e := c.engines[masters[killed%3]]
		killed++
		e.Kill()
		time.Sleep(3 * time.Second) // a replica is promoted
		e.Run(t)
	})
	if killed == 0 {
		t.Error("no master was killed")
	}
	t.Logf("%d masters were killed", killed)
}

// A cluster of three masters, between which the slots of the topics move. A
// node that gets a topic begins an epoch, as one that was promoted does.
func TestClusterResharding(t *testing.T) {
	c := startCluster(t, 0)
	b := c.connect(t, defaultSilence)
	moves := 0
	brokertest.ClusterFault(t, clusterKind, strings.Join(c.addrs, ","), "SlotsMove", *full, false, func() {
		for topic := range brokertest.Topics {
			c.moveOn(t, c.admin.ClusterKeySlot(t.Context(), b.channel(strconv.Itoa(topic))).Val())
			moves++
		}
	})
	if moves == 0 {
		t.Error("no slot has moved")
	}
	t.Logf("%d times a slot has moved", moves)
}

var sentinelKind = brokertest.Kind{
	Name:    "sentinel",
	Program: "redis-server",
	Connect: func(addr string) (hub.Broker, func() error) {
		client := redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: "m", SentinelAddrs: strings.Split(addr, ","), MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true,
		})
		b := NewClient(client, nil)
		return b, func() error { b.Close(); return client.Close() }
	},
	Numbers: true,
	Keeps:   true,
}

// A master, two replicas and three sentinels: the master is killed, and a
// replica promoted.
func TestSentinelFailover(t *testing.T) { sentinelFailover(t, "Sentinel", nil) }

// The same while the clocks of the servers differ.
func TestSentinelFailoverClocks(t *testing.T) {
	sentinelFailover(t, "SentinelClocks", []time.Duration{0, 10 * time.Minute, -10 * time.Minute})
}

// sentinelFailover is TestSentinelFailover for servers whose clocks are ahead
// by skews.
func sentinelFailover(t *testing.T, name string, skews []time.Duration) {
	var engines []*brokertest.Engine
	var sentinels []string
	for i := range 6 {
		k := sentinelKind
		k.Args = func(port, dir string) []string {
			args := []string{"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "yes"}
			if i > 0 && i < 3 {
				args = append(args, "--replicaof", "127.0.0.1 "+portOf(engines[0].Addr))
			}
			if i >= 3 {
				config := filepath.Join(dir, "sentinel.conf")
				if _, err := os.Stat(config); err != nil {
					text := fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %s\nsentinel monitor m 127.0.0.1 %s 2\n"+
						"sentinel down-after-milliseconds m 1000\nsentinel failover-timeout m 5000\n", port, dir, portOf(engines[0].Addr))
					if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				args = []string{config, "--sentinel"}
			}
			return args
		}
		var e *brokertest.Engine
		if i < len(skews) {
			e = brokertest.StartWithClock(t, k, brokertest.NewClock(t, skews[i]))
		} else {
			e = brokertest.Start(t, k)
		}
		engines = append(engines, e)
		if i >= 3 {
			sentinels = append(sentinels, e.Addr)
		}
	}
	admin := redis.NewSentinelClient(&redis.Options{Addr: sentinels[0]})
	defer admin.Close()
	// master returns the address of the master, if the sentinels know enough
	// for a failover.
	master := func() string {
		replicas, err1 := admin.Replicas(t.Context(), "m").Result()
		others, err2 := admin.Sentinels(t.Context(), "m").Result()
		at, err3 := admin.GetMasterAddrByName(t.Context(), "m").Result()
		if err1 != nil || err2 != nil || err3 != nil || len(others) != 2 || len(replicas) != 2 || len(at) != 2 {
			return ""
		}
		for _, r := range replicas {
			if r["flags"] != "slave" || r["master-link-status"] != "ok" {
				return ""
			}
		}
		return at[0] + ":" + at[1]
	}
	eventually(t, "no sentinels", func() bool { return master() != "" })
	killed := 0
	brokertest.ClusterFault(t, sentinelKind, strings.Join(sentinels, ","), name, *full, false, func() {
		at := master()
		for _, e := range engines[:3] {
			if e.Addr == at {
				killed++
				e.Kill()
				time.Sleep(3 * time.Second) // a replica is promoted
				e.Run(t)
			}
		}
	})
	if killed == 0 {
		t.Error("no master was killed")
	}
	t.Logf("%d masters were killed", killed)
}

func portOf(addr string) string {
	_, port, _ := strings.Cut(addr, ":")
	return port
}
