package limit_test

import (
	"context"
	"errors"
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

// An operator counts what was exceeded, and sees how many connections a client
// has open.
func ExampleExceededError() {
	var l *limit.Limiter = limit.New(limit.Limits{
		Bytes: limit.Rate{PerSecond: 100},
		Code:  websocket.StatusTryAgainLater,
	})
	err := l.Check(101)
	var exceeded *limit.ExceededError
	if errors.As(err, &exceeded) {
		fmt.Println(exceeded.What, exceeded.Size, exceeded.Limit.PerSecond)
	}
	var closing websocket.CloseError
	if errors.As(err, &closing) { // for the peer
		fmt.Println(int(closing.Code), closing.Reason)
	}
	// Output:
	// bytes 101 100
	// 1013 more than 100 bytes a second
}

// A proxy has put the address of the client into a header. Requests that did
// not come through it count by their own address.
func ExampleConnections_Open() {
	perClient := &limit.Connections{Max: 10, Key: func(r *http.Request) string {
		if ip := r.Header.Get("X-Real-Ip"); ip != "" {
			return ip
		}
		return limit.RemoteHost(r)
	}}
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "192.0.2.1:4711"
	release, ok := perClient.Acquire(r)
	fmt.Println(ok, perClient.Open("192.0.2.1"))
	release()
	fmt.Println(perClient.Open("192.0.2.1"))
	// Output:
	// true 1
	// 0
}
