package wstest_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/wstest"
)

// run does what go test does with a test, once and in silence, whatever the
// flags of go test are.
func run(test func(t *testing.T)) {
	for name, value := range map[string]string{"test.run": "", "test.skip": "", "test.count": "1", "test.v": "false"} {
		f := flag.Lookup(name).Value
		before := f.String()
		f.Set(value)
		defer f.Set(before)
	}
	match := func(string, string) (bool, error) { return true, nil }
	testing.RunTests(match, []testing.InternalTest{{Name: "Test", F: test}})
}

// remind is the handler under test: it sends a message when the client has been
// quiet for an hour.
func remind(c *websocket.Conn, r *http.Request) {
	for {
		c.SetReadDeadline(time.Now().Add(time.Hour))
		_, _, err := c.Read(r.Context())
		if err == nil {
			continue
		}
		if websocket.CloseStatus(err) != -1 || c.Write(r.Context(), websocket.MessageText, []byte("still there?")) != nil {
			return
		}
	}
}

// A handler that waits for an hour is tested in no time, without a port.
func ExampleDial() {
	test := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := wstest.Dial(t, websocket.Handler(remind, nil), nil)
			begin := time.Now()
			_, data, err := c.Read(t.Context())
			fmt.Printf("after %v: %s, %v\n", time.Since(begin), data, err)
		})
	}
	run(test)
	// Output: after 1h0m0s: still there?, <nil>
}

// Both ends of a connection, to test a function of one of them.
func ExamplePipe() {
	greet := func(c *websocket.Conn) error {
		return c.Write(context.Background(), websocket.MessageText, []byte("hello"))
	}
	test := func(t *testing.T) {
		client, server := wstest.Pipe(t, nil)
		if err := greet(server); err != nil {
			t.Fatal(err)
		}
		_, data, err := client.Read(t.Context())
		fmt.Printf("%s, %v\n", data, err)
	}
	run(test)
	// Output: hello, <nil>
}

// A client whose network vanishes without a word is noticed by the heartbeat.
func ExampleTransport() {
	test := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, server := wstest.Pipe(t, &wstest.Options{
				Accept:          &websocket.AcceptOptions{PingInterval: 20 * time.Second},
				ClientTransport: wstest.Transport{Fault: wstest.Silence},
			})
			begin := time.Now()
			_, _, err := server.Read(t.Context())
			fmt.Println(errors.Is(err, websocket.ErrPongTimeout), time.Since(begin) < time.Minute)
		})
	}
	run(test)
	// Output: true true
}

// A peer that breaks the protocol, frame by frame.
func ExampleServerWithPeer() {
	test := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, p := wstest.ServerWithPeer(t, nil)
			c.CloseRead(t.Context())
			p.WriteFrame(wstest.Ping, "are you there?")
			p.WantFrame(wstest.Pong, "are you there?")
			p.WriteFrames(wstest.Frame{Fin: true, Op: wstest.Text, Mask: wstest.Unmasked})
			fmt.Println(p.WantClose(websocket.StatusProtocolError))
		})
	}
	run(test)
	// Output: unmasked frame from a client
}

// A client that dials by itself, and a server that goes away for an hour.
func ExampleServer() {
	test := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := wstest.NewServer(t, websocket.Handler(remind, nil))
			ctx, cancel := context.WithCancel(t.Context())
			client := &websocket.Redialer{URL: s.URL, Options: &websocket.DialOptions{HTTPClient: s.Client()}}
			connections := 0
			done := make(chan error)
			go func() {
				done <- client.Run(ctx, func(ctx context.Context, c *websocket.Conn) error {
					connections++
					_, _, err := c.Read(ctx)
					return err
				})
			}()
			time.Sleep(time.Minute)
			s.Stop()
			time.Sleep(time.Hour)
			s.Start()
			time.Sleep(time.Hour)
			cancel()
			<-done
			fmt.Println(connections, "connections")
		})
	}
	run(test)
	// Output: 2 connections
}
