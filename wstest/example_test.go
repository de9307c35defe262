package wstest_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/wstest"
)

// run does what go test does with a test, once and without output, whatever the
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

// A client whose network vanishes is noticed by the heartbeat.
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

// A server that is played frame by frame: it sends a message in two fragments,
// with a ping between them.
func ExampleServer_AcceptPeer() {
	test := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := wstest.NewServer(t, nil)
			got := make(chan string)
			go func() {
				c, _, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{HTTPClient: s.Client(), Subprotocols: []string{"chat"}})
				if err != nil {
					got <- err.Error()
					return
				}
				defer c.CloseNow()
				_, data, err := c.Read(t.Context())
				got <- fmt.Sprintf("%s: %s, %v", c.Subprotocol(), data, err)
			}()
			p := s.AcceptPeer("Sec-WebSocket-Protocol: chat")
			parts := wstest.Fragments(wstest.Text, "hel", "lo")
			p.WriteFrames(parts[0], wstest.Message(wstest.Ping, "1"), parts[1])
			p.WantFrame(wstest.Pong, "1")
			fmt.Println(<-got)
			p.WantEnd()
		})
	}
	run(test)
	// Output: chat: hello, <nil>
}

// A client that is played frame by frame, to a handler: it sends half a message
// and dies.
func ExampleServer_DialPeer() {
	test := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan error, 1)
			s := wstest.NewServer(t, websocket.Handler(func(c *websocket.Conn, r *http.Request) {
				_, _, err := c.Read(r.Context())
				ended <- err
			}, nil))
			p := s.DialPeer("Origin: http://wstest.test")
			b := p.Encode(wstest.Message(wstest.Text, "hello"))
			p.WriteRaw(b[:len(b)-2])
			p.Close()
			fmt.Println(errors.Is(<-ended, io.ErrUnexpectedEOF))
		})
	}
	run(test)
	// Output: true
}

// A server that breaks the rules of frames. The client must fail the connection
// and say why.
func ExampleClientWithPeer() {
	test := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for _, f := range []wstest.Frame{
				{Fin: true, Op: wstest.Text, Payload: []byte("hello"), LenForm: 64}, // not the shortest form
				{Fin: true, Op: wstest.Text, RSV: 4},                                // compressed, which was not agreed on
				{Fin: true, Op: wstest.Continuation},                                // of no message
				{Fin: true, Op: wstest.Text, Mask: wstest.Masked},
			} {
				c, p := wstest.ClientWithPeer(t, nil)
				c.CloseRead(t.Context())
				p.WriteFrames(f)
				fmt.Println(p.WantClose(websocket.StatusProtocolError))
			}
		})
	}
	run(test)
	// Output:
	// payload length is not in its shortest form
	// reserved bit set
	// continuation frame, but no message to continue
	// masked frame from a server
}

// Both ends see each fault of the server's transport in their own way, on a
// slow network.
func ExampleFault() {
	slow := wstest.Transport{Buffer: 1 << 10, ReadMax: 100, Delay: time.Second, FaultAt: 0}
	test := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for _, fault := range []wstest.Fault{wstest.Fail, wstest.Short, wstest.Reset, wstest.HalfClose} {
				slow.Fault = fault
				client, server := wstest.Pipe(t, &wstest.Options{ServerTransport: slow})
				err := server.Write(t.Context(), websocket.MessageText, []byte("hello"))
				fmt.Println("injected:", errors.Is(err, wstest.ErrFault))
				server.CloseNow()
				_, _, err = client.Read(t.Context())
				if errors.Is(err, syscall.ECONNRESET) {
					err = errors.New("a reset") // each system has a text of its own
				}
				fmt.Println("the client's read:", err)
			}
		})
	}
	run(test)
	// Output:
	// injected: true
	// the client's read: websocket: read: the connection ended without a close frame: unexpected EOF
	// injected: true
	// the client's read: websocket: read: the connection ended inside a message: unexpected EOF
	// injected: false
	// the client's read: a reset
	// injected: false
	// the client's read: websocket: read: the connection ended without a close frame: unexpected EOF
}

// A program that does the opening handshake on a net.Conn by itself.
func ExampleNetPipe() {
	test := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, server := wstest.NetPipe(wstest.Transport{}, wstest.Transport{})
			go func() {
				c, _, err := websocket.AcceptConn(t.Context(), server, nil) // the program under test
				if err == nil {
					c.Write(t.Context(), websocket.MessageText, []byte("hello"))
					c.Close(websocket.StatusNormalClosure, "")
				}
			}()
			p := wstest.NewPeer(t, client, wstest.ClientRole)
			response := p.ClientHandshake("/chat")
			fmt.Println(response.Status)
			p.WantMessage(wstest.Text, "hello")
			p.WantClose(websocket.StatusNormalClosure)
			p.WriteClose(websocket.StatusNormalClosure, "")
			p.WantEnd()
		})
	}
	run(test)
	// Output: 101 Switching Protocols
}
