// Command cluster is a chat on several servers, whose users see each other.
// What is said on one node goes through an engine to all others.
//
//	go run -C examples/cluster .
//
// needs nothing: the engine is in memory, and the process has two nodes, on two
// ports. With a real engine a process is one node, and there are as many as are
// started:
//
//	go run -C examples/cluster . -engine redis -addr localhost:8088
//	go run -C examples/cluster . -engine redis -addr localhost:8089
//
// The same with -engine jetstream. Stop the engine, and start it again, to see
// what happens.
//
// In front of them a balancer gives both one address:
//
//	go run -C examples/cluster . -front localhost:8088,localhost:8089 -addr localhost:8080
//
// Open that, and kill the node that the page names: the page comes back to the
// other one, and has missed nothing.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/examples/internal/site"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/memorybroker"
	"github.com/seed70bc5565/websocket/hub/natsbroker"
	"github.com/seed70bc5565/websocket/hub/redisbroker"
)

//go:embed page
var page embed.FS

func main() {
	var engine, url, name, second, nodes string
	flag.StringVar(&engine, "engine", "memory", "what connects the nodes: memory, redis, jetstream (NATS with history) or nats (without)")
	flag.StringVar(&url, "url", "", "`address` of the engine: localhost:6379 or redis://user:password@localhost:6379/0 for redis, nats://localhost:4222 for jetstream and nats")
	flag.StringVar(&nodes, "front", "", "be no node, but the way to those at these `addresses`, such as localhost:8088,localhost:8089")
	flag.StringVar(&name, "node", "", "`name` of this node (default: its port)")
	flag.StringVar(&second, "second", "localhost:8089", "with the engine in memory: `address` of the second node")
	site.Main("cluster", "localhost:8088", func() (*site.Program, error) {
		if nodes != "" {
			return front(strings.Split(nodes, ",")), nil
		}
		if engine == "memory" {
			return inMemory(second)
		}
		b, err := connect(engine, url)
		if err != nil {
			return nil, err
		}
		return program(newNode(name, engine, b), b), nil
	})
}

// A broker can be closed, as all have it that speak to a server.
type broker interface {
	hub.Broker
	Close() error
}

// connect returns the broker of a real engine, which connects in the
// background.
func connect(engine, url string) (broker, error) {
	switch engine {
	case "redis":
		if url == "" {
			url = "localhost:6379"
		}
		options := &redis.Options{Addr: url}
		if strings.Contains(url, "://") {
			var err error
			if options, err = redis.ParseURL(url); err != nil {
				return nil, err
			}
		}
		redis.SetLogger(quiet{}) // the hub says when the engine is lost
		return redisbroker.New(options, nil), nil
	case "jetstream":
		if url == "" {
			url = "nats://localhost:4222"
		}
		return natsbroker.NewJetStream(url, nil)
	case "nats":
		if url == "" {
			url = "nats://localhost:4222"
		}
		return natsbroker.New(url, nil)
	}
	return nil, fmt.Errorf("unknown engine %q: there are memory, redis, jetstream and nats", engine)
}

// quiet is a logger of go-redis that logs nothing.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// program is one node. b, if there is one, is closed in the end.
func program(n *node, b broker) *site.Program {
	opts := &websocket.AcceptOptions{ReadLimit: maxInput}
	return &site.Program{
		Page:   page,
		Routes: map[string]http.Handler{"/ws": websocket.Handler(n.serve, opts)},
		Work: func(ctx context.Context) {
			<-ctx.Done()
			n.hub.Close() // the others are told that its people are gone
			if b != nil {
				b.Close()
			}
		},
		Prepare: func(s *http.Server, l net.Listener) net.Listener {
			if n.name == "" {
				_, n.name, _ = net.SplitHostPort(l.Addr().String())
			}
			return l
		},
	}
}

// inMemory is two nodes in one process. The second one runs as long as the
// first.
func inMemory(addr string) (*site.Program, error) {
	l, url, err := site.Listen(addr)
	if err != nil {
		return nil, errors.Join(err, errors.New("-second chooses the address of the second node"))
	}
	engine := memorybroker.New()
	first := program(newNode("A", "memory", engine.Connect()), nil)
	second := program(newNode("B", "memory", engine.Connect()), nil)
	first.Notes = func(string) string { return fmt.Sprintf("The second node: open %s too.\n", url) }
	work := first.Work
	first.Work = func(ctx context.Context) {
		var nodes sync.WaitGroup
		nodes.Go(func() { work(ctx) })
		nodes.Go(func() {
			if err := site.Serve(ctx, second, l); err != nil {
				log.Printf("cluster: the second node: %v", err)
			}
		})
		nodes.Wait()
	}
	return first, nil
}
