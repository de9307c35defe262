package hub_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/memorybroker"
)

// A service tells its pages that messages may be late while the engine is lost.
// An event of another kind is neither a loss nor a recovery: use a switch.
func ExampleOptions_onBroker() {
	engine := memorybroker.New()
	told := make(chan string)
	h := hub.New(&hub.Options{
		Broker: engine.Connect(),
		OnBroker: func(ev hub.BrokerEvent) {
			switch ev.Kind {
			case hub.BrokerLost:
				told <- fmt.Sprint("lost: ", ev.Err)
			case hub.BrokerRecovered:
				told <- "back"
			case hub.BrokerMissed:
				told <- "messages may be missing in " + ev.Topic
			case hub.BrokerFailed:
				told <- fmt.Sprint("failed: ", ev.Topic, ev.Err)
			}
		},
	})
	defer h.Close()
	engine.Stop()
	fmt.Println(<-told)
	engine.Start()
	fmt.Println(<-told)
	// Output:
	// lost: memorybroker: the engine is stopped
	// back
}

// counted is a Broker that counts what is published. It has the methods of the
// broker that it wraps, those of a Historian included. Without them the hub
// would not ask the engine for what clients missed.
type counted struct {
	hub.Broker
	hub.Historian
	published atomic.Int64
}

func (c *counted) Publish(ctx context.Context, p hub.Publication) error {
	err := c.Broker.Publish(ctx, p)
	if err == nil {
		c.published.Add(1)
	}
	return err
}

// A Broker may wrap another one, to count, to log, or to encrypt.
func ExampleBroker() {
	inner := memorybroker.New().Connect()
	b := &counted{Broker: inner, Historian: inner.(hub.Historian)}
	h := hub.New(&hub.Options{Broker: b, History: hub.History{Messages: 10}})
	defer h.Close()
	for range 3 {
		h.Publish(context.Background(), "news", websocket.MessageText, []byte("hello"))
	}
	fmt.Println(b.published.Load())
	// Output: 3
}

// A client that takes nothing has a full queue at last. The Policy decides what
// it gets later: here the latest prices, because the oldest were dropped.
func ExamplePolicy() {
	h := hub.New(&hub.Options{QueueMessages: 2, WhenFull: hub.DropOldest})
	url, stop, joined := serveJoined(h)
	defer stop()
	c := dial(url)
	defer c.CloseNow()
	c.SetReadLimit(-1)
	s := <-joined
	fillConnection(s)

	for _, price := range []string{"101", "102", "103", "104"} {
		s.Send(websocket.MessageText, []byte(price))
	}
	fmt.Println(s.Stats().Queued, "wait,", s.Stats().Dropped, "dropped")

	read(c) // what filled the connection
	fmt.Println(read(c), read(c))
	// Output:
	// 2 wait, 2 dropped
	// 103 104
}

// By default a subscriber whose queue is full is disconnected. Send says so,
// and Err does from then on.
func ExampleErrFull() {
	h := hub.New(&hub.Options{QueueMessages: 2})
	url, stop, joined := serveJoined(h)
	defer stop()
	c := dial(url)
	defer c.CloseNow()
	s := <-joined
	fillConnection(s)

	for n := 1; ; n++ {
		if err := s.Send(websocket.MessageText, []byte("hello")); errors.Is(err, hub.ErrFull) {
			fmt.Println("message", n, err)
			break
		}
	}
	fmt.Println(errors.Is(s.Err(), hub.ErrFull), h.Stats().Disconnected)
	// Output:
	// message 3 hub: the subscriber's queue is full
	// true 1
}

// serveJoined serves subscribers of h for an example.
func serveJoined(h *hub.Hub) (url string, stop func(), joined chan *hub.Subscriber) {
	joined = make(chan *hub.Subscriber, 1)
	url, stop = serve(func(c *websocket.Conn, r *http.Request) {
		s := h.Join(c)
		defer s.Leave()
		joined <- s
		<-c.CloseRead(r.Context()).Done()
	})
	return url, stop, joined
}

// fillConnection sends more than the system takes for a peer that does not
// read: it is being written, and what follows waits in the queue.
func fillConnection(s *hub.Subscriber) {
	s.Send(websocket.MessageBinary, make([]byte, 24<<20))
	for s.Stats().Queued > 0 {
		time.Sleep(time.Millisecond)
	}
}
