package redisbroker

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
)

// A quietConn is a connection whose peer takes all and says nothing.
type quietConn struct{ net.Conn }

func (quietConn) Read(p []byte) (int, error)       { select {} }
func (quietConn) Write(p []byte) (int, error)      { return len(p), nil }
func (quietConn) Close() error                     { return nil }
func (quietConn) SetDeadline(time.Time) error      { return nil }
func (quietConn) SetReadDeadline(time.Time) error  { return nil }
func (quietConn) SetWriteDeadline(time.Time) error { return nil }
func (quietConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (quietConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// Many clients come back at once to a process that does not know their topics:
// they share the reads of a cluster.
func TestShardStorm(t *testing.T) {
	const clients, topics, missed = 4_000, 10, 100 // under the race detector no more than 8,128 goroutines live
	c := startCluster(t, 0)
	publisher := c.connect(t, defaultSilence)
	limits := hub.History{Messages: 1000}
	var names []string
	var kept []hub.KeptTopic
	for i := range topics {
		names = append(names, fmt.Sprint("topic", i))
		kept = append(kept, hub.KeptTopic{Topic: names[i], History: limits})
		publish(t, publisher, names[i], "\x11first", limits)
	}
	at, err := publisher.Positions(t.Context(), kept)
	if err != nil {
		t.Fatal(err)
	}
	for range missed {
		for _, name := range names {
			publish(t, publisher, name, "\x11"+strings.Repeat("x", 1000), limits)
		}
	}
	for _, addr := range c.addrs {
		c.nodes[addr].ConfigResetStat(t.Context())
	}
	h := hub.New(&hub.Options{Broker: c.connect(t, defaultSilence), History: limits, QueueMessages: -1, QueueBytes: -1})
	defer h.Close()
	conns := make([]*websocket.Conn, clients)
	for i := range conns {
		if conns[i], err = websocket.NewConn(quietConn{}, &websocket.ConnOptions{PingInterval: -1}); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	var wg sync.WaitGroup
	var afresh atomic.Int64
	for i, conn := range conns {
		wg.Go(func() {
			st, err := h.Join(conn).SubscribeFrom(t.Context(), names[i%topics], hub.SubscribeOptions{After: at[i%topics]})
			if err != nil || !st.Complete || st.Messages != missed {
				afresh.Add(1)
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	reads := 0
	for _, addr := range c.addrs {
		_, stats, _ := strings.Cut(c.nodes[addr].Info(t.Context(), "commandstats").Val(), "cmdstat_xrevrange:calls=")
		calls, _, _ := strings.Cut(stats, ",")
		n, _ := strconv.Atoi(calls)
		reads += n
	}
	t.Logf("%d clients after %v, %d reads", clients, took, reads)
	if afresh.Load() > 0 || reads > 3*topics {
		t.Errorf("%d clients start afresh, and there were %d reads of %d topics", afresh.Load(), reads, topics)
	}
}
