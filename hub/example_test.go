package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
)

// serve serves connections for an example, and returns the URL.
func serve(f func(c *websocket.Conn, r *http.Request)) (url string, stop func()) {
	s := httptest.NewServer(websocket.Handler(f, nil))
	return "ws" + strings.TrimPrefix(s.URL, "http"), s.Close
}

// dial connects a client for an example.
func dial(url string) *websocket.Conn {
	c, _, err := websocket.Dial(context.Background(), url, nil)
	if err != nil {
		log.Fatal(err)
	}
	return c
}

// read reads one message for an example.
func read(c *websocket.Conn) string {
	_, data, err := c.Read(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	return string(data)
}

// What one says, all hear.
func Example() {
	h := hub.New(nil)
	url, stop := serve(func(c *websocket.Conn, r *http.Request) {
		s := h.Join(c)
		defer s.Leave()
		if err := s.Subscribe(r.Context(), "room"); err != nil {
			return
		}
		s.Send(websocket.MessageText, []byte("welcome"))
		for m, err := range c.Messages(r.Context()) {
			if err != nil {
				return
			}
			h.Publish(r.Context(), "room", m.Type, m.Data)
		}
	})
	defer stop()

	ada, bob := dial(url), dial(url)
	defer ada.CloseNow()
	defer bob.CloseNow()
	fmt.Println("ada:", read(ada))
	fmt.Println("bob:", read(bob))
	ada.Write(context.Background(), websocket.MessageText, []byte("hello"))
	fmt.Println("ada:", read(ada))
	fmt.Println("bob:", read(bob))
	// Output:
	// ada: welcome
	// bob: welcome
	// ada: hello
	// bob: hello
}

// A client comes back with the last position that it saw, and gets what it has
// missed.
func ExampleSubscriber_SubscribeFrom() {
	h := hub.New(&hub.Options{
		History: hub.History{Messages: 100},
		Encode: func(dst []byte, m hub.Message) []byte {
			return fmt.Appendf(dst, "%s %s", m.Position, m.Data)
		},
	})
	url, stop := serve(func(c *websocket.Conn, r *http.Request) {
		s := h.Join(c)
		defer s.Leave()
		last, err := hub.ParsePosition(r.URL.Query().Get("last"))
		if err != nil {
			c.Close(websocket.StatusPolicyViolation, "bad position")
			return
		}
		_, err = s.SubscribeFrom(r.Context(), "scores", hub.SubscribeOptions{
			After: last,
			Greet: func(st hub.SubscribeResult) (websocket.MessageType, []byte) {
				if st.Complete {
					return websocket.MessageText, []byte("go on")
				}
				return websocket.MessageText, []byte("start afresh")
			},
		})
		if err != nil {
			return
		}
		<-c.CloseRead(r.Context()).Done()
	})
	defer stop()
	publish := func(score string) {
		h.Publish(context.Background(), "scores", websocket.MessageText, []byte(score))
	}

	c := dial(url)
	fmt.Println(read(c))
	publish("1:0")
	last, score, _ := strings.Cut(read(c), " ")
	fmt.Println(score)
	c.CloseNow()

	publish("1:1")
	publish("2:1")

	c = dial(url + "?last=" + last)
	defer c.CloseNow()
	fmt.Println(read(c))
	for range 2 {
		_, score, _ = strings.Cut(read(c), " ")
		fmt.Println(score)
	}
	// Output:
	// start afresh
	// 1:0
	// go on
	// 1:1
	// 2:1
}

// A user signs in a second time: the first connection is told so, and closed
// behind that.
func ExampleSubscriber_Close() {
	h := hub.New(nil)
	subscribers := make(chan *hub.Subscriber, 1)
	url, stop := serve(func(c *websocket.Conn, r *http.Request) {
		s := h.Join(c)
		defer s.Leave()
		subscribers <- s
		<-c.CloseRead(r.Context()).Done()
	})
	defer stop()
	c := dial(url)
	defer c.CloseNow()

	s := <-subscribers
	s.Send(websocket.MessageText, []byte("you signed in elsewhere"))
	s.Close(4001, "replaced")
	fmt.Println(s.Send(websocket.MessageText, []byte("too late")))

	fmt.Println(read(c))
	_, _, err := c.Read(context.Background())
	fmt.Println(int(websocket.CloseStatus(err)))
	// Output:
	// hub: the subscriber has left
	// you signed in elsewhere
	// 4001
}

// Topics differ: of positions in a game only the latest counts, what was said
// in the chat is kept.
func ExampleOptions() {
	h := hub.New(&hub.Options{
		QueueMessages: 64,
		QueueBytes:    256 << 10,
		WhenFull:      hub.DropOldest,
		HistoryOf: func(topic string) hub.History {
			if strings.HasPrefix(topic, "chat/") {
				return hub.History{Messages: 200, Age: time.Hour}
			}
			return hub.History{}
		},
		Encode: func(dst []byte, m hub.Message) []byte {
			if m.Position.IsZero() {
				return append(dst, m.Data...)
			}
			return fmt.Appendf(dst, `{"at":"%s","said":%q}`, m.Position, m.Data)
		},
	})
	ctx := context.Background()
	h.Publish(ctx, "game/1", websocket.MessageBinary, []byte{1, 2, 3}) // no one is there, nothing is kept
	h.Publish(ctx, "chat/1", websocket.MessageText, []byte("hello"))   // kept
	st := h.Stats()
	fmt.Println(st.Topics, st.Published, st.Dropped)
	// Output: 1 1 0
}

// A Position travels as text.
func ExamplePosition() {
	p, err := hub.ParsePosition("9f3c01d2a4b5e677-42")
	fmt.Println(p.Offset, err)
	text, err := json.Marshal(map[string]any{"at": p})
	fmt.Println(string(text), err)
	_, err = hub.ParsePosition("42")
	fmt.Println(err)
	// Output:
	// 42 <nil>
	// {"at":"9f3c01d2a4b5e677-42"} <nil>
	// hub: "42": not a position (epoch-offset)
}

// A client chooses what it hears. Between topics it keeps its connection, and
// its place in the queue.
func ExampleSubscriber_Unsubscribe() {
	h := hub.New(nil)
	url, stop := serve(func(c *websocket.Conn, r *http.Request) {
		s := h.Join(c)
		defer s.Leave()
		for m, err := range c.Messages(r.Context()) {
			if err != nil {
				return
			}
			if topic, ok := strings.CutPrefix(string(m.Data), "-"); ok {
				s.Unsubscribe(topic)
			} else if s.Subscribe(r.Context(), topic) != nil {
				return
			}
			s.Send(websocket.MessageText, fmt.Appendf(nil, "weather %d, sport %d", h.Subscriptions("weather"), h.Subscriptions("sport")))
		}
	})
	defer stop()

	c := dial(url)
	defer c.CloseNow()
	for _, order := range []string{"weather", "sport", "-weather"} {
		c.Write(context.Background(), websocket.MessageText, []byte(order))
		fmt.Println(read(c))
	}
	// Output:
	// weather 1, sport 0
	// weather 1, sport 1
	// weather 0, sport 1
}
