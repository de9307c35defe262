package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/benchmarks/load"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/redisbroker"
)

// The topic that every connection subscribes to, and the one that some do.
const (
	topicAll = "all"
	topicFew = "few"
)

// topics returns what the connection of r subscribes to.
func topics(r *http.Request) []string {
	if r.URL.Path == load.PathFew {
		return []string{topicAll, topicFew}
	}
	return []string{topicAll}
}

// A member is a connection in the event way.
type member struct {
	s    *hub.Subscriber
	dead *atomic.Int64
}

func (m *member) Message(msg websocket.Message) {
	m.s.Conn().Write(context.Background(), msg.Type, msg.Data)
}

func (m *member) Close(err error) {
	m.s.Leave()
	if errors.Is(err, websocket.ErrPongTimeout) {
		m.dead.Add(1)
	}
}

// status is what a server answers to each order.
type status struct {
	Connections int // of the Server
	Subscribers int // of the hub
	Delivered   uint64
	Dead        int64 // connections that ended for a pong did not come
	Heap        uint64
	Stacks      uint64
	Err         string
}

// serverMain is a server's process: an application with a hub, and nothing that
// is tuned. It prints its address first, then obeys orders until its input
// ends.
func serverMain(addr, mode, redis string) error {
	var dead atomic.Int64
	var opts hub.Options
	if redis != "" {
		opts.Broker = redisbroker.New(&goredis.Options{Addr: redis}, nil)
	}
	h := hub.New(&opts)
	ctx := context.Background()
	srv := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		s := h.Join(c)
		defer s.Leave()
		if s.Subscribe(ctx, topics(r)...) != nil {
			return
		}
		for m, err := range c.Messages(ctx) {
			if err != nil {
				if errors.Is(err, websocket.ErrPongTimeout) {
					dead.Add(1)
				}
				return
			}
			if c.Write(ctx, m.Type, m.Data) != nil {
				return
			}
		}
	}, nil)
	if mode == "events" {
		srv = websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
			s := h.Join(c)
			if s.Subscribe(ctx, topics(r)...) != nil {
				s.Leave()
				return nil
			}
			return &member{s, &dead}
		}, nil)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go http.Serve(l, srv)

	out := json.NewEncoder(os.Stdout)
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		var st status
		order, arg, _ := strings.Cut(orders.Text(), " ")
		switch order {
		case "status":
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			st.Heap, st.Stacks = m.HeapAlloc, m.StackInuse
		case "gc": // give back what is not in use, so that RSS shows what is
			for range 2 {
				runtime.GC()
				time.Sleep(10 * time.Millisecond)
			}
			debug.FreeOSMemory()
		case "broadcast":
			var tick uint32
			var size int
			var topic string
			if _, err := fmt.Sscan(arg, &topic, &tick, &size); err != nil {
				st.Err = err.Error()
			} else if err := h.Publish(ctx, topic, websocket.MessageBinary, load.AppendTick(nil, tick, size)); err != nil {
				st.Err = err.Error()
			}
		default:
			st.Err = fmt.Sprintf("unknown order %q", order)
		}
		stats := h.Stats()
		st.Connections, st.Dead = srv.Connections(), dead.Load()
		st.Subscribers, st.Delivered = stats.Subscribers, stats.Delivered
		if err := out.Encode(st); err != nil {
			log.Print(err)
		}
	}
	// The kernel closes what is open.
	return nil
}
