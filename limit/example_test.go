package limit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/limit"
	"github.com/seed70bc5565/websocket/relay"
)

// Two messages a second from each connection, five at once; and one connection
// for each address.
func Example() {
	var exceeded atomic.Int64
	perClient := &limit.Connections{
		Max:       1,
		OnRefused: func(key string, r *http.Request) { fmt.Println("refused:", r.URL.Path) },
	}
	serve := func(c *websocket.Conn, r *http.Request) {
		limiter := limit.New(limit.Limits{
			Messages:   limit.Rate{PerSecond: 2, Burst: 5},
			Bytes:      limit.Rate{PerSecond: 64 << 10},
			OnExceeded: func(*limit.ExceededError) { exceeded.Add(1) },
		})
		for m, err := range limiter.Messages(r.Context(), c) {
			if err != nil {
				return // c is closed if a limit was exceeded
			}
			c.Write(r.Context(), m.Type, m.Data)
		}
	}
	s := httptest.NewServer(websocket.Handler(perClient.Serve(serve), nil))
	defer s.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, s.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Write(ctx, websocket.MessageText, []byte("0"))
	c.Read(ctx) // serve runs

	second, _, err := websocket.Dial(ctx, s.URL+"/second", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _, err = second.Read(ctx)
	fmt.Println(err)

	for i := range 5 {
		c.Write(ctx, websocket.MessageText, []byte{byte('1' + i)})
	}
	for {
		_, data, err := c.Read(ctx)
		if err != nil {
			fmt.Println(err, exceeded.Load())
			return
		}
		fmt.Println("echo", string(data))
	}
	// Output:
	// refused: /second
	// websocket: closed by the peer: 1013 StatusTryAgainLater: "too many connections"
	// echo 1
	// echo 2
	// echo 3
	// echo 4
	// websocket: closed by the peer: 1008 StatusPolicyViolation: "more than 2 messages a second" 1
}

// A handler that refuses with a status, before the upgrade.
func ExampleConnections_Acquire() {
	perUser := &limit.Connections{Max: 3, Key: func(r *http.Request) string { return r.URL.Query().Get("user") }}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		release, ok := perUser.Acquire(r)
		if !ok {
			w.Header().Set("Retry-After", "60")
			http.Error(w, "too many connections", http.StatusTooManyRequests)
			return
		}
		defer release()
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		<-c.CloseRead(context.Background()).Done()
	})
	s := httptest.NewServer(handler)
	defer s.Close()

	for range 4 {
		c, _, err := websocket.Dial(context.Background(), s.URL+"/?user=ada", nil)
		if err != nil {
			fmt.Println(err)
			continue
		}
		defer c.CloseNow()
	}
	// Output: websocket: dial: the server answered with status 429 Too Many Requests, not 101: "too many connections"
}

// The limits of a relay: its hook closes both sides.
func ExampleLimiter_Check() {
	limiter := limit.New(limit.Limits{Messages: limit.Rate{PerSecond: 1}})
	opts := &relay.Options{ToServer: func(_ context.Context, m *websocket.Message) error { return limiter.Check(len(m.Data)) }}

	m := websocket.Message{Type: websocket.MessageText, Data: []byte("hello")}
	fmt.Println(opts.ToServer(context.Background(), &m))
	err := opts.ToServer(context.Background(), &m)
	fmt.Println(err, websocket.CloseStatus(err))
	// Output:
	// <nil>
	// limit: more than 1 messages a second (burst 1) StatusPolicyViolation
}
