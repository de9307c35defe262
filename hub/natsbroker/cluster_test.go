package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

var clusterKind = brokertest.Kind{
	Name:    "jetstream cluster",
	Program: "nats-server",
	Module:  module,
	Connect: func(addr string) (hub.Broker, func() error) {
		opts := &JetStreamOptions{Replicas: 3, Options: Options{Connection: []nats.Option{nats.ReconnectWait(50 * time.Millisecond)}}}
		b, err := NewJetStream(addr, opts)
		if err != nil {
			panic(err)
		}
		return b, b.Close
	},
	Numbers: true,
	Keeps:   true,
}

// freePorts returns ports that nothing listens on.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		ports = append(ports, brokertest.FreePort(t))
	}
	return ports
}

// startCluster starts three servers with JetStream, whose clocks are ahead by
// skews. It returns when they take streams.
func startCluster(t *testing.T, skews ...time.Duration) (engines map[string]*brokertest.Engine, addr string) {
	t.Helper()
	routes := freePorts(t, 3)
	engines = map[string]*brokertest.Engine{}
	var urls []string
	for i, route := range routes {
		name := fmt.Sprint("server", i)
		k := clusterKind
		k.Args = func(port, dir string) []string {
			return []string{"-a", "127.0.0.1", "-p", port, "-js", "-sd", dir, "-n", name, "-cluster_name", "test",
				"-cluster", "nats://127.0.0.1:" + route,
				"-routes", "nats://127.0.0.1:" + strings.Join(routes, ",nats://127.0.0.1:")}
		}
		if i < len(skews) {
			engines[name] = brokertest.StartWithClock(t, k, brokertest.NewClock(t, skews[i]))
		} else {
			engines[name] = brokertest.Start(t, k)
		}
		urls = append(urls, "nats://"+engines[name].Addr)
	}
	addr = strings.Join(urls, ",")
	js := clusterAdmin(t, addr)
	awaitStreams(t, js)
	return engines, addr
}

// awaitStreams waits until three servers of a cluster take streams.
func awaitStreams(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	eventually(t, "no stream can be made", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "probe", Subjects: []string{"probe"}, Replicas: 3})
		return err
	})
}

func clusterAdmin(t *testing.T, addr string) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(addr, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(50 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// The leader of the stream is killed, again and again: no client misses a
// message, or it is told so. It is if a hub cannot read the stream within 5 s,
// because an election takes longer.
func TestLeaderKilled(t *testing.T) { leaderKilled(t, "LeaderKilled") }

// The same while the clocks of the servers differ.
func TestLeaderKilledClocks(t *testing.T) {
	leaderKilled(t, "LeaderKilledClocks", 0, 10*time.Minute, -10*time.Minute)
}

// leaderKilled is TestLeaderKilled for servers whose clocks are ahead by skews.
func leaderKilled(t *testing.T, name string, skews ...time.Duration) {
	engines, addr := startCluster(t, skews...)
	js := clusterAdmin(t, addr)
	info := func() (*jetstream.StreamInfo, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		for s := range js.ListStreams(ctx).Info() {
			if strings.HasPrefix(s.Config.Name, "websocket_topic_") && !strings.HasSuffix(s.Config.Name, "epochs") {
				return s, nil
			}
		}
		return nil, jetstream.ErrStreamNotFound
	}
	// leader returns the leader once the others are current.
	leader := func() (*brokertest.Engine, error) {
		s, err := info()
		if err != nil {
			return nil, err
		}
		if s.Cluster == nil || engines[s.Cluster.Leader] == nil {
			return nil, errors.New("an election is under way")
		}
		for _, r := range s.Cluster.Replicas {
			if !r.Current || r.Offline {
				return nil, fmt.Errorf("%s is behind", r.Name)
			}
		}
		return engines[s.Cluster.Leader], nil
	}
	killed := 0
	brokertest.ClusterFault(t, clusterKind, addr, name, *full, false, func() {
		eventually(t, "the cluster is not whole", func() error {
			e, err := leader()
			if err != nil {
				return err
			}
			killed++
			e.Kill()
			time.Sleep(500 * time.Millisecond)
			e.Run(t)
			return nil
		})
	})
	if killed == 0 {
		t.Error("no leader was killed")
	}
	t.Logf("%d leaders were killed", killed)
}
