package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A client that vanishes is noticed: here one that does not read, and so answers no ping.
func ExampleAcceptOptions_heartbeat() {
	gone := make(chan error)
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, _ *http.Request) {
		_, _, err := c.Read(context.Background())
		gone <- err
	}, &websocket.AcceptOptions{
		PingInterval: 20 * time.Millisecond, // mind that the defaults are 30 and 10 seconds
		PongTimeout:  50 * time.Millisecond,
	}))
	defer server.Close()

	c, _, err := websocket.Dial(context.Background(), server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()

	err = <-gone
	fmt.Println(err)
	fmt.Println(errors.Is(err, websocket.ErrPongTimeout))
	// Output:
	// websocket: the connection is over: the peer did not answer a ping in time
	// true
}

func ExampleConn_RoundTripTime() {
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, _ *http.Request) {
		<-c.CloseRead(context.Background()).Done()
	}, nil))
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	c.CloseRead(ctx)
	fmt.Println("before:", c.RoundTripTime())
	if err := c.Ping(ctx); err != nil { // or wait for the heartbeat
		log.Fatal(err)
	}
	fmt.Println("measured:", c.RoundTripTime() > 0)
	// Output:
	// before: 0s
	// measured: true
}

// http.Server.Shutdown does not know of WebSocket connections: it calls Server.Shutdown, and the program waits for
// both.
func ExampleServer_Shutdown() {
	ws := websocket.Handler(func(c *websocket.Conn, _ *http.Request) {
		for m, err := range c.Messages(context.Background()) {
			if err != nil || c.Write(context.Background(), m.Type, m.Data) != nil {
				return
			}
		}
	}, nil)
	server := &http.Server{Handler: ws}
	done := make(chan struct{})
	server.RegisterOnShutdown(func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := ws.Shutdown(ctx); err != nil {
			log.Print("not all clients said goodbye: ", err)
		}
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(ln)

	c, _, err := websocket.Dial(context.Background(), "ws://"+ln.Addr().String(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	told := make(chan error)
	go func() {
		_, _, err := c.Read(context.Background())
		told <- err
	}()

	// Somewhere else: the program is told to end.
	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-told)
	<-done
	fmt.Println(ws.Connections(), "connections left")
	// Output:
	// websocket: closed by the peer: 1001 StatusGoingAway
	// 0 connections left
}
