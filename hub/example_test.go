package hub_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

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

// A client comes back with the last position that it saw, and gets what it has missed.
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
		_, err = s.SubscribeFrom(r.Context(), "scores", hub.From{
			After: last,
			Greet: func(st hub.Start) (websocket.MessageType, []byte) {
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
