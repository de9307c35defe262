package websocket_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"expvar"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket"
)

// connect serves one connection with serve, on a server of its own, and returns
// the client's end of it. The function end closes that, and returns when serve
// has returned.
func connect(serve func(c *websocket.Conn, r *http.Request)) (c *websocket.Conn, end func()) {
	returned := make(chan struct{})
	s := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		defer close(returned)
		serve(c, r)
	}, nil))
	c, _, err := websocket.Dial(context.Background(), s.URL, nil)
	if err != nil {
		panic(err)
	}
	return c, func() {
		c.CloseNow()
		<-returned
		s.Close()
	}
}

// greet sends one message and closes the connection.
func greet(c *websocket.Conn, r *http.Request) {
	c.Write(r.Context(), websocket.MessageText, []byte("hello"))
	c.Close(websocket.StatusNormalClosure, "that was all")
}

// echo sends everything back.
func echo(c *websocket.Conn, r *http.Request) {
	for m, err := range c.Messages(r.Context()) {
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), m.Type, m.Data); err != nil {
			return
		}
	}
}

// printMessages prints what comes in, until the peer closes.
func printMessages(c *websocket.Conn, r *http.Request) {
	for m, err := range c.Messages(r.Context()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%v: %s\n", m.Type, m.Data)
	}
	fmt.Println("closed by the peer")
}

func ExampleConn_Read() {
	c, end := connect(greet)
	defer end()

	typ, data, err := c.Read(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v: %s\n", typ, data)
	// Output: MessageText: hello
}

// A read whose context ends loses nothing: the next one goes on.
func ExampleConn_Read_cancelled() {
	c, end := connect(echo)
	defer end()

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, _, err := c.Read(ctx) // nothing has been sent yet
	fmt.Println(errors.Is(err, context.DeadlineExceeded))

	if err := c.Write(context.Background(), websocket.MessageText, []byte("still here")); err != nil {
		fmt.Println(err)
		return
	}
	_, data, err := c.Read(context.Background())
	fmt.Printf("%s %v\n", data, err)
	// Output:
	// true
	// still here <nil>
}

// One buffer serves for all messages; it grows to the longest of them.
func ExampleConn_ReadInto() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		for _, word := range []string{"one", "two", "three"} {
			c.Write(r.Context(), websocket.MessageText, []byte(word))
		}
		c.Close(websocket.StatusNormalClosure, "")
	})
	defer end()

	buf := make([]byte, 0, 1024)
	for {
		_, data, err := c.ReadInto(context.Background(), buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", data)
		buf = data
	}
	// Output:
	// one
	// two
	// three
}

// A long message is read as a stream, and never in memory as a whole.
func ExampleConn_Reader() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		c.Write(r.Context(), websocket.MessageBinary, make([]byte, 1<<20))
		c.Close(websocket.StatusNormalClosure, "")
	})
	defer end()

	typ, r, err := c.Reader(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := io.Copy(io.Discard, r)
	fmt.Println(typ, n, err)
	// Output: MessageBinary 1048576 <nil>
}

// The range ends when the peer closes the connection in order. m.Data is lent
// for one step.
func ExampleConn_Messages() {
	c, end := connect(greet)
	defer end()

	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%v: %s\n", m.Type, m.Data)
	}
	fmt.Println("closed")
	// Output:
	// MessageText: hello
	// closed
}

func ExampleConn_Write() {
	c, end := connect(printMessages)
	defer end()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		fmt.Println(err)
		return
	}
	c.Close(websocket.StatusNormalClosure, "")
	end()
	// Output:
	// MessageText: hello
	// closed by the peer
}

// Compression is off unless both sides ask for it. A secret is sent without it.
func ExampleConn_WriteUncompressed() {
	s := httptest.NewServer(websocket.Handler(echo, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover}))
	defer s.Close()
	c, _, err := websocket.Dial(context.Background(), s.URL, &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()

	for _, write := range []func(context.Context, websocket.MessageType, []byte) error{c.Write, c.WriteUncompressed} {
		if err := write(context.Background(), websocket.MessageText, bytes.Repeat([]byte("ab"), 1000)); err != nil {
			fmt.Println(err)
			return
		}
		_, data, err := c.Read(context.Background())
		fmt.Println(len(data), err)
	}
	// Output:
	// 2000 <nil>
	// 2000 <nil>
}

// A message of unknown length is written as a stream.
func ExampleConn_Writer() {
	c, end := connect(printMessages)
	defer end()

	w, err := c.Writer(context.Background(), websocket.MessageText)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 3 {
		fmt.Fprintf(w, "%d;", i)
	}
	if err := w.Close(); err != nil { // sends the end of the message
		fmt.Println(err)
		return
	}
	c.Close(websocket.StatusNormalClosure, "")
	end()
	// Output:
	// MessageText: 0;1;2;
	// closed by the peer
}

// A message for many connections is encoded once. Several go out together.
func ExampleConn_WritePrepared() {
	m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte("news"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		c, end := connect(printMessages)
		if err := c.WritePrepared(context.Background(), m); err != nil {
			fmt.Println(err)
		}
		c.Close(websocket.StatusNormalClosure, "")
		end()
	}
	// Output:
	// MessageText: news
	// closed by the peer
	// MessageText: news
	// closed by the peer
}

// The reading goroutine takes the pong: here that of CloseRead.
func ExampleConn_Ping() {
	c, end := connect(echo)
	defer end()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c.CloseRead(ctx)
	if err := c.Ping(ctx); err != nil {
		fmt.Println("the peer has vanished:", err)
		return
	}
	fmt.Println("the peer answers")
	// Output: the peer answers
}

func ExampleConn_Close() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		_, _, err := c.Read(r.Context())
		fmt.Println(err)
	})
	defer end()

	// A deferred CloseNow cleans up on every way out; on this one it has
	// nothing left to do.
	defer c.CloseNow()

	err := c.Close(websocket.StatusGoingAway, "restarting")
	end()
	fmt.Println(err)
	// Output:
	// websocket: closed by the peer: 1001 StatusGoingAway: "restarting"
	// <nil>
}

// A connection that only sends: the context ends when the peer is gone.
func ExampleConn_CloseRead() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		c.Close(websocket.StatusNormalClosure, "seen enough")
	})
	defer end()

	ctx := c.CloseRead(context.Background())
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.Write(ctx, websocket.MessageText, []byte("tick"))
		case <-ctx.Done():
			fmt.Println("the client has gone")
			return
		}
	}
	// Output: the client has gone
}

func ExampleConn_SetReadLimit() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		c.SetReadLimit(10)
		_, _, err := c.Read(r.Context())
		fmt.Println("server:", errors.Is(err, websocket.ErrMessageTooBig))
	})
	defer end()

	if err := c.Write(context.Background(), websocket.MessageText, []byte("more than ten bytes")); err != nil {
		fmt.Println(err)
		return
	}
	_, _, err := c.Read(context.Background())
	end()
	fmt.Println("client:", websocket.CloseStatus(err))
	// Output:
	// server: true
	// client: StatusMessageTooBig
}

// A deadline is the cheap alternative to a context for each call.
func ExampleConn_SetReadDeadline() {
	c, end := connect(echo)
	defer end()

	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, _, err := c.Read(context.Background())
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))

	c.SetReadDeadline(time.Time{}) // none: the connection can be used as before
	c.Write(context.Background(), websocket.MessageText, []byte("hello"))
	_, data, err := c.Read(context.Background())
	fmt.Printf("%s %v\n", data, err)
	// Output:
	// true
	// hello <nil>
}

// A protocol that is made for streams runs over a WebSocket.
func ExampleNetConn() {
	c, end := connect(echo)
	defer end()

	stream := websocket.NetConn(context.Background(), c, websocket.MessageBinary)
	defer stream.Close()
	fmt.Fprintf(stream, "one ")
	fmt.Fprintf(stream, "stream")
	buf := make([]byte, len("one stream"))
	_, err := io.ReadFull(stream, buf) // not one message, but as many as it takes
	fmt.Printf("%s %v\n", buf, err)
	// Output: one stream <nil>
}

// CloseStatus is short for errors.As where the code is all that matters.
func ExampleCloseStatus() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		c.Close(websocket.StatusTryAgainLater, "overloaded")
	})
	defer end()

	_, _, err := c.Read(context.Background())
	switch websocket.CloseStatus(err) {
	case websocket.StatusTryAgainLater, websocket.StatusServiceRestart:
		fmt.Println("reconnect in a moment")
	case -1:
		fmt.Println("no close frame:", err)
	}
	// Output: reconnect in a moment
}

// The peer's close code and reason.
func ExampleCloseError() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		c.Close(websocket.StatusPolicyViolation, "not on Sundays")
	})
	defer end()

	_, _, err := c.Read(context.Background())
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		fmt.Printf("%d, %s\n", closed.Code, closed.Reason)
	}
	fmt.Println("in order:", errors.Is(err, io.EOF))
	// Output:
	// 1008, not on Sundays
	// in order: false
}

// An orderly end, with StatusNormalClosure, StatusGoingAway or no code at all,
// matches io.EOF.
func ExampleCloseError_normal() {
	c, end := connect(greet)
	defer end()

	for {
		_, data, err := c.Read(context.Background())
		if errors.Is(err, io.EOF) {
			fmt.Println("the peer is done")
			return
		}
		if err != nil {
			fmt.Println("broken:", err)
			return
		}
		fmt.Printf("%s\n", data)
	}
	// Output:
	// hello
	// the peer is done
}

// Calls on a connection that this side has closed match net.ErrClosed.
func ExampleConn_CloseNow() {
	c, end := connect(echo)
	defer end()

	c.CloseNow()
	_, _, err := c.Read(context.Background())
	fmt.Println(errors.Is(err, net.ErrClosed))
	err = c.Write(context.Background(), websocket.MessageText, nil)
	fmt.Println(errors.Is(err, net.ErrClosed))
	// Output:
	// true
	// true
}

// The peer broke off in the middle of things: there was no close frame.
func Example_abruptEnd() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) { c.CloseNow() })
	defer end()

	_, _, err := c.Read(context.Background())
	fmt.Println(errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF))
	// Output: true false
}

// A client that vanishes is noticed: here one that does not read, and so
// answers no ping.
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

// http.Server.Shutdown does not know of WebSocket connections: it calls
// Server.Shutdown, and the program waits for both.
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

// A server that greets, and a client. serve runs on a goroutine of its own for
// each connection.
func ExampleHandler() {
	greet := func(c *websocket.Conn, r *http.Request) {
		// r.Context() lives as long as the connection.
		for m, err := range c.Messages(r.Context()) {
			if err != nil {
				return // returning closes the connection, if it is still open
			}
			if err := c.Write(r.Context(), m.Type, []byte("Hello, "+string(m.Data)+"!")); err != nil {
				return
			}
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/greet", websocket.Handler(greet, nil))
	server := httptest.NewServer(mux)
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, server.URL+"/greet", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte("Gopher")); err != nil {
		fmt.Println(err)
		return
	}
	_, reply, err := c.Read(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(reply))
	c.Close(websocket.StatusNormalClosure, "")
	// Output: Hello, Gopher!
}

// A handler that decides before it accepts, and uses the connection itself.
// A greeter is what the program keeps for one connection.
type greeter struct {
	c     *websocket.Conn
	count int // no lock: no two methods run at the same time
}

func (g *greeter) Message(m websocket.Message) {
	g.count++
	reply := fmt.Sprintf("Hello, %s! You are number %d.", m.Data, g.count)
	_ = g.c.Write(context.Background(), m.Type, []byte(reply)) // Close tells of an error
}

func (g *greeter) Close(err error) {
	fmt.Println("ended after", g.count, "messages, with code", int(websocket.CloseStatus(err)))
}

// A connection on which nothing happens has no goroutine.
func ExampleEvents() {
	server := websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
		return &greeter{c: c}
	}, nil)
	web := httptest.NewServer(server)
	defer web.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, web.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	for _, name := range []string{"Ada", "Grace"} {
		if err := c.Write(ctx, websocket.MessageText, []byte(name)); err != nil {
			fmt.Println(err)
			return
		}
		_, reply, err := c.Read(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(string(reply))
	}
	c.Close(websocket.StatusNormalClosure, "")
	if err := server.Shutdown(ctx); err != nil { // waits until Close has returned
		fmt.Println(err)
	}
	// Output:
	// Hello, Ada! You are number 1.
	// Hello, Grace! You are number 2.
	// ended after 2 messages, with code 1000
}

func ExampleAccept() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Set-Cookie", "seen=yes") // sent with the 101
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols:   []string{"chat.v2", "chat.v1"}, // the best first
			OriginPatterns: []string{"*.example.com"},      // whose pages may connect too
		})
		if err != nil {
			return // the client has been told
		}
		defer c.CloseNow()
		c.Write(r.Context(), websocket.MessageText, []byte("you speak "+c.Subprotocol()))
		c.Close(websocket.StatusNormalClosure, "bye")
	}))
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, server.URL, &websocket.DialOptions{
		HTTPHeader:   http.Header{"Authorization": {"Bearer 123"}},
		Subprotocols: []string{"chat.v1"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	fmt.Println(resp.Header.Get("Set-Cookie"))
	_, message, err := c.Read(ctx)
	fmt.Println(string(message), err)
	_, _, err = c.Read(ctx)
	fmt.Println(websocket.CloseStatus(err))
	// Output:
	// seen=yes
	// you speak chat.v1 <nil>
	// StatusNormalClosure
}

// A server says why it refuses: in the response, and to the handler as the
// error of Accept.
func ExampleAccept_refused() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := websocket.Accept(w, r, nil)
		fmt.Println("server:", err)
	}))
	defer server.Close()

	resp, err := http.Get(server.URL) // no WebSocket handshake
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Print("client: ", resp.Status, ": ", string(body))
	// Output:
	// server: websocket: this is not a WebSocket handshake: there is no Upgrade header
	// client: 426 Upgrade Required: this is not a WebSocket handshake: there is no Upgrade header
}

// A client whose handshake is bounded. The connection outlives the context.
func ExampleDial() {
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.Read(r.Context())
	}, nil))
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	c, _, err := websocket.Dial(ctx, server.URL, &websocket.DialOptions{
		HTTPClient: &http.Client{
			// Proxies, TLS, dialers and cookies are set here as for every other
			// request.
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment},
		},
		ReadLimit: 64 << 10, // bytes of a message
	})
	cancel()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	fmt.Println(c.Write(context.Background(), websocket.MessageText, []byte("still here")))
	// Output: <nil>
}

// When the server refuses, the error tells its status, and what it said.
func ExampleHandshakeError() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "come back later", http.StatusServiceUnavailable)
	}))
	defer server.Close()

	_, _, err := websocket.Dial(context.Background(), server.URL, nil)
	fmt.Println(err)
	var refused *websocket.HandshakeError
	if errors.As(err, &refused) { // it is another error if no server answered
		fmt.Println(refused.StatusCode, refused.Header.Get("Retry-After"))
		fmt.Printf("%s", refused.Body) // the first 1024 bytes, at most
	}

	// The end of the context, as that of any other call.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err = websocket.Dial(ctx, server.URL, nil)
	fmt.Println(errors.Is(err, context.Canceled))
	// Output:
	// websocket: dial: the server answered with status 503 Service Unavailable, not 101: "come back later"
	// 503 30
	// come back later
	// true
}

// Limits, compression and hooks. A field that is left out has its default.
func ExampleAcceptOptions() {
	server := httptest.NewServer(websocket.Handler(echo, &websocket.AcceptOptions{
		ReadLimit:                    64 << 10, // bytes of a message
		WriteBufferLimit:             16 << 10, // bytes that wait for a slow client
		CloseTimeout:                 time.Second,
		CompressionMode:              websocket.CompressionContextTakeover,
		CompressionThreshold:         256, // bytes; shorter messages go out as they are
		CompressionSendWindowBits:    12,  // 4 KiB of history
		CompressionReceiveWindowBits: 12,
		OnPingReceived: func(ctx context.Context, payload []byte) bool {
			fmt.Println("the server has a ping")
			return true // it is answered
		},
	}))
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ponged := make(chan struct{})
	c, _, err := websocket.Dial(ctx, server.URL, &websocket.DialOptions{
		CompressionMode: websocket.CompressionContextTakeover,
		OnPongReceived: func(ctx context.Context, payload []byte) {
			fmt.Println("the client has a pong")
			close(ponged)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	c.CloseRead(ctx) // reads
	err = c.Ping(ctx)
	<-ponged // Ping may return while the reading goroutine is still in the callback
	fmt.Println(err)
	// Output:
	// the server has a ping
	// the client has a pong
	// <nil>
}

// A client of its own for the handshake, with a timeout, a proxy, cookies, or
// another way to connect. Host names another host than the one that is
// connected to.
func ExampleDialOptions() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Host, r.Header.Get("Origin"))
		if c, err := websocket.Accept(w, r, nil); err == nil {
			c.Close(websocket.StatusNormalClosure, "")
		}
	}))
	defer server.Close()

	c, _, err := websocket.Dial(context.Background(), server.URL, &websocket.DialOptions{
		HTTPClient: &http.Client{
			Timeout:   10 * time.Second, // for the handshake only
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment},
		},
		Host:       "chat.example.com",
		HTTPHeader: http.Header{"Origin": {"https://chat.example.com"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	fmt.Println(c.RemoteAddr().String() == server.Listener.Addr().String())
	_, _, err = c.Read(context.Background())
	fmt.Println(websocket.CloseStatus(err))
	// Output:
	// chat.example.com https://chat.example.com
	// true
	// StatusNormalClosure
}

// Behind a router that reuses what it put into the context, Detach copies what
// serve needs while the request is still its own.
func ExampleNewServer_detach() {
	type roomKey struct{}
	ws := websocket.NewServer(func(c *websocket.Conn, r *http.Request) {
		room := r.Context().Value(roomKey{}).(string)
		c.Write(r.Context(), websocket.MessageText, []byte("welcome to "+room))
	}, &websocket.ServerOptions{
		Detach: func(r *http.Request) context.Context {
			return context.WithValue(context.Background(), roomKey{}, r.PathValue("room"))
		},
	})
	mux := http.NewServeMux()
	mux.Handle("/rooms/{room}", ws)
	s := httptest.NewServer(mux)
	defer s.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, s.URL+"/rooms/blue", nil)
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	_, data, _ := c.Read(ctx)
	fmt.Println(string(data))
	// Output: welcome to blue
}

// A deadline for reads and writes costs less than a context for each call. A
// read that meets it loses nothing.
func ExampleConn_SetDeadline() {
	c, end := connect(echo)
	defer end()
	ctx := context.Background()

	c.SetDeadline(time.Now().Add(-time.Second))
	_, _, err := c.Read(ctx)
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))

	c.SetDeadline(time.Now().Add(time.Minute))
	c.Write(ctx, websocket.MessageText, []byte("still here"))
	_, data, err := c.Read(ctx)
	fmt.Printf("%s %v\n", data, err)
	// Output:
	// true
	// still here <nil>
}

// A write that meets its deadline before the first byte is out sends nothing,
// and the connection lives on.
func ExampleConn_SetWriteDeadline() {
	c, end := connect(echo)
	defer end()
	ctx := context.Background()

	c.SetWriteDeadline(time.Now().Add(-time.Second))
	err := c.Write(ctx, websocket.MessageText, []byte("too late"))
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))

	c.SetWriteDeadline(time.Time{}) // none
	c.Write(ctx, websocket.MessageText, []byte("in time"))
	_, data, err := c.Read(ctx)
	fmt.Printf("%s %v\n", data, err)
	// Output:
	// true
	// in time <nil>
}

// The addresses are those of the transport.
func ExampleConn_LocalAddr() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		same := c.RemoteAddr().String() == r.RemoteAddr
		c.Write(r.Context(), websocket.MessageText, fmt.Appendf(nil, "%s, %t", c.RemoteAddr().Network(), same))
		c.Read(r.Context())
	})
	defer end()
	_, data, _ := c.Read(context.Background())
	fmt.Println(c.LocalAddr().(*net.TCPAddr).IP.IsLoopback())
	fmt.Println(string(data))
	// Output:
	// true
	// tcp, true
}

// A client that comes when there are enough connections is told when to come
// again.
func ExampleServerOptions_maxConnections() {
	s := httptest.NewServer(websocket.NewServer(echo, &websocket.ServerOptions{MaxConnections: 1}))
	defer s.Close()
	ctx := context.Background()

	first, _, err := websocket.Dial(ctx, s.URL, nil)
	if err != nil {
		panic(err)
	}
	defer first.CloseNow()

	_, _, err = websocket.Dial(ctx, s.URL, nil)
	var refused *websocket.HandshakeError
	if errors.As(err, &refused) {
		fmt.Println(refused.StatusCode, refused.Header.Get("Retry-After") != "")
	}
	// Output: 503 true
}

// A public feed that knows no cookies may let the pages of every site connect.
func ExampleAcceptOptions_insecureSkipVerify() {
	s := httptest.NewServer(websocket.Handler(echo, &websocket.AcceptOptions{InsecureSkipVerify: true}))
	defer s.Close()
	c, _, err := websocket.Dial(context.Background(), s.URL, &websocket.DialOptions{
		HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}},
	})
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	fmt.Println("connected")
	// Output: connected
}

// A server that only hands text on may leave the check to the readers of the
// text.
func ExampleAcceptOptions_skipUTF8Validation() {
	s := httptest.NewServer(websocket.Handler(echo, &websocket.AcceptOptions{SkipUTF8Validation: true}))
	defer s.Close()
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, s.URL, &websocket.DialOptions{SkipUTF8Validation: true})
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	c.Write(ctx, websocket.MessageText, []byte("caf\xe9")) // Latin-1
	_, data, err := c.Read(ctx)
	fmt.Printf("%q %v\n", data, err)
	// Output: "caf\xe9" <nil>
}

// The server greets each client, and closes the connection. The client comes
// back, until the server has greeted it three times.
func ExampleRedialer() {
	server := httptest.NewServer(websocket.Handler(greet, nil))
	defer server.Close()

	client := websocket.Redialer{
		URL:       server.URL,
		BaseDelay: time.Millisecond, // for the example: the default is 500 ms
		OnState: func(s websocket.RedialStatus) {
			if s.State == websocket.RedialWaiting {
				fmt.Println("waiting:", s.Err)
			}
		},
	}
	greetings := 0
	err := client.Run(context.Background(), func(ctx context.Context, c *websocket.Conn) error {
		for m, err := range c.Messages(ctx) {
			if err != nil {
				return err
			}
			fmt.Printf("%s\n", m.Data)
			if greetings++; greetings == 3 {
				return nil // while the connection is alive: that was all
			}
		}
		return nil // the server has closed the connection: the next one, please
	})
	fmt.Println(err)
	// Output:
	// hello
	// waiting: websocket: closed by the peer: 1000 StatusNormalClosure: "that was all"
	// hello
	// waiting: websocket: closed by the peer: 1000 StatusNormalClosure: "that was all"
	// hello
	// <nil>
}

// The state of the connection, as a user of the program sees it. The first
// attempt fails, because the server is too busy.
func ExampleRedialStatus() {
	busy := true
	accept := websocket.Handler(greet, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if busy {
			busy = false
			http.Error(w, "too busy", http.StatusServiceUnavailable)
			return
		}
		accept.ServeHTTP(w, r)
	}))
	defer server.Close()

	client := websocket.Redialer{
		URL:       server.URL,
		BaseDelay: time.Millisecond, // for the example: the default is 500 ms
		OnState: func(s websocket.RedialStatus) {
			switch s.State {
			case websocket.RedialDialing:
				fmt.Println("connecting")
			case websocket.RedialConnected:
				fmt.Println("connected:", s.Response.Status)
			case websocket.RedialWaiting:
				var refused *websocket.HandshakeError
				errors.As(s.Err, &refused)
				fmt.Println("failed", s.Failures, "time with", refused.StatusCode, s.Wait < time.Second)
			case websocket.RedialStopped:
				fmt.Println("stopped:", s.Err)
			}
		},
	}
	client.Run(context.Background(), func(ctx context.Context, c *websocket.Conn) error {
		_, data, err := c.Read(ctx)
		fmt.Printf("%s\n", data)
		if err != nil {
			return err
		}
		return c.Close(websocket.StatusNormalClosure, "")
	})
	// Output:
	// connecting
	// failed 1 time with 503 true
	// connecting
	// connected: 101 Switching Protocols
	// hello
	// stopped: <nil>
}

// A feed that goes on where it stopped. Each connection asks for what follows
// the last message that the application has done its work with, and brings a
// fresh token.
func ExampleRedialer_resume() {
	feed := []string{"goal", "corner", "foul", "penalty", "goal"}
	// The server restarts after every second message.
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		from, err := strconv.Atoi(r.URL.Query().Get("from"))
		if err != nil || from < 0 || from > len(feed) {
			c.Close(websocket.StatusPolicyViolation, "no such offset") // final: there is no use in coming back
			return
		}
		for _, text := range feed[from:min(from+2, len(feed))] {
			if err := c.Write(r.Context(), websocket.MessageText, []byte(text)); err != nil {
				return
			}
		}
		c.Close(websocket.StatusServiceRestart, "")
	}, nil))
	defer server.Close()

	offset := 0
	client := websocket.Redialer{
		BaseDelay: time.Millisecond,
		BeforeDial: func(ctx context.Context, a *websocket.RedialAttempt) error {
			a.URL = fmt.Sprintf("%s?from=%d", server.URL, offset)
			a.Options.HTTPHeader.Set("Authorization", "Bearer "+freshToken())
			fmt.Println("from", offset)
			return nil
		},
	}
	err := client.Run(context.Background(), func(ctx context.Context, c *websocket.Conn) error {
		for m, err := range c.Messages(ctx) {
			if err != nil {
				return err
			}
			fmt.Printf("%d %s\n", offset, m.Data)
			if offset++; offset == len(feed) { // only now: what was not done is asked for again
				return nil
			}
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// from 0
	// 0 goal
	// 1 corner
	// from 2
	// 2 foul
	// 3 penalty
	// from 4
	// 4 goal
	// <nil>
}

func freshToken() string { return "secret" }

// A program on a phone gives up an attempt soon, and comes back soon. It does
// not stay away for as long as a server may ask for.
func ExampleRedialer_times() {
	s := httptest.NewServer(websocket.Handler(greet, nil))
	defer s.Close()
	r := &websocket.Redialer{
		URL:           s.URL,
		DialTimeout:   5 * time.Second,
		BaseDelay:     100 * time.Millisecond,
		MaxDelay:      10 * time.Second,
		StableAfter:   time.Minute,
		MaxRetryAfter: 30 * time.Second,
	}
	err := r.Run(context.Background(), func(ctx context.Context, c *websocket.Conn) error {
		_, data, err := c.Read(ctx)
		fmt.Printf("%s\n", data)
		c.Close(websocket.StatusNormalClosure, "")
		return err
	})
	fmt.Println(err)
	// Output:
	// hello
	// <nil>
}

// The application says which errors are final. Here the server's own code 4001
// is final, in addition to what is by default.
func ExampleIsPermanent() {
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.Close(4001, "your account is closed")
	}, nil))
	defer server.Close()

	client := websocket.Redialer{
		URL: server.URL,
		IsPermanent: func(err error) bool {
			return websocket.CloseStatus(err) == 4001 || websocket.IsPermanent(err)
		},
	}
	err := client.Run(context.Background(), func(ctx context.Context, c *websocket.Conn) error {
		_, _, err := c.Read(ctx)
		return err
	})
	var ce websocket.CloseError
	fmt.Println(errors.As(err, &ce), ce.Code, ce.Reason)
	// Output: true StatusCode(4001) your account is closed
}

// CheckOrigin has the last word where patterns do not say enough: here each
// customer has a page of its own.
func ExampleAcceptOptions_checkOrigin() {
	customers := map[string]bool{"https://shop.example": true}
	server := httptest.NewServer(websocket.Handler(echo, &websocket.AcceptOptions{
		CheckOrigin: func(r *http.Request, allowed bool) bool {
			return allowed || customers[r.Header.Get("Origin")]
		},
	}))
	defer server.Close()

	for _, origin := range []string{"https://shop.example", "https://elsewhere.example"} {
		c, _, err := websocket.Dial(context.Background(), server.URL, &websocket.DialOptions{
			HTTPHeader: http.Header{"Origin": {origin}},
		})
		var refused *websocket.HandshakeError
		if errors.As(err, &refused) {
			fmt.Println(origin, refused.StatusCode)
			continue
		}
		fmt.Println(origin, "connected")
		c.CloseNow()
	}
	// Output:
	// https://shop.example connected
	// https://elsewhere.example 403
}

// A server with limits of its own, which ends in an orderly way.
func ExampleNewServer() {
	chat := websocket.NewServer(echo, &websocket.ServerOptions{
		AcceptOptions:  websocket.AcceptOptions{ReadLimit: 16 << 10, Subprotocols: []string{"chat.v1"}},
		MaxConnections: 10_000,
	})
	server := httptest.NewServer(chat)
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, server.URL, &websocket.DialOptions{Subprotocols: []string{"chat.v1"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	fmt.Println(c.Subprotocol(), chat.Connections())

	ended := make(chan error)
	go func() {
		_, _, err := c.Read(ctx)
		ended <- err
	}()
	fmt.Println(chat.Shutdown(ctx), websocket.CloseStatus(<-ended), chat.Connections())
	// Output:
	// chat.v1 1
	// <nil> StatusGoingAway 0
}

// A metric of the close codes takes three lines.
func ExampleTrace() {
	ended, done := new(expvar.Map), make(chan struct{})
	opts := &websocket.AcceptOptions{Trace: &websocket.Trace{
		Ended: func(_ context.Context, _ *websocket.Conn, end websocket.End) {
			ended.Add(end.Cause.String()+" "+strconv.Itoa(int(end.Code)), 1)
			close(done)
		},
	}}
	s := httptest.NewServer(websocket.Handler(echo, opts))
	defer s.Close()

	c, _, err := websocket.Dial(context.Background(), s.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Close(websocket.StatusGoingAway, "")
	<-done
	fmt.Println(ended)
	// Output: {"peer 1001": 1}
}

// One line a connection, and one for each request that is refused. Handshake
// keeps what the lines need of the request.
func ExampleTrace_slog() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	done := make(chan struct{}, 2)

	type keptKey struct{}
	trace := &websocket.Trace{
		Handshake: func(r *http.Request) context.Context {
			return context.WithValue(r.Context(), keptKey{}, log.With("path", r.URL.Path))
		},
		Refused: func(ctx context.Context, status int, err error) {
			ctx.Value(keptKey{}).(*slog.Logger).WarnContext(ctx, "refused", "status", status, "err", err)
			done <- struct{}{}
		},
		Ended: func(ctx context.Context, c *websocket.Conn, end websocket.End) {
			ctx.Value(keptKey{}).(*slog.Logger).InfoContext(ctx, "ended", "cause", end.Cause, "code", end.Code, "reason", end.Reason)
			done <- struct{}{}
		},
	}
	s := httptest.NewServer(websocket.Handler(echo, &websocket.AcceptOptions{Trace: trace}))
	defer s.Close()

	http.Get(s.URL + "/page") // no handshake
	<-done
	c, _, err := websocket.Dial(context.Background(), s.URL+"/chat", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Close(4000, "done")
	<-done
	// Output:
	// level=WARN msg=refused path=/page status=426 err="websocket: this is not a WebSocket handshake: there is no Upgrade header"
	// level=INFO msg=ended path=/chat cause=peer code=StatusCode(4000) reason=done
}

// An operator wants to know these at once, in addition to the counts.
func ExampleTrace_alarms() {
	told := make(chan string, 1)
	trace := &websocket.Trace{
		Accepted: func(_ context.Context, c *websocket.Conn) {
			fmt.Println("accepted", c.RemoteAddr().Network())
		},
		MessageTooBig: func(_ context.Context, _ *websocket.Conn, limit int64) {
			told <- fmt.Sprint("a message of more than ", limit, " bytes")
		},
		SlowWrite: func(_ context.Context, c *websocket.Conn, took time.Duration) {
			told <- fmt.Sprint("a write took ", took, ", ", c.Stats().Waiting, " bytes wait")
		},
		HeartbeatLost: func(_ context.Context, c *websocket.Conn) {
			told <- fmt.Sprint("no life from ", c.RemoteAddr())
		},
	}
	opts := &websocket.AcceptOptions{ReadLimit: 5, Trace: trace}
	s := httptest.NewServer(websocket.Handler(echo, opts))
	defer s.Close()

	c, _, err := websocket.Dial(context.Background(), s.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	c.Write(context.Background(), websocket.MessageText, []byte("too long"))
	fmt.Println(<-told)
	_, _, err = c.Read(context.Background())
	fmt.Println(websocket.CloseStatus(err) == websocket.StatusMessageTooBig)
	// Output:
	// accepted tcp
	// a message of more than 5 bytes
	// true
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// End says which side ended a connection and why. It does so after an iterator
// too, which ends without an error when the peer closes in an orderly way.
func ExampleConn_End() {
	c, end := connect(greet)
	defer end()
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", m.Data)
	}
	how := c.End()
	fmt.Println("by the", how.Cause.By())
	fmt.Println(int(how.Code), how.Reason)
	// Output:
	// hello
	// by the peer
	// 1000 that was all
}

// Which ends of connections a server should log, and how loudly.
func ExampleEndCause() {
	level := func(cause websocket.EndCause) slog.Level {
		switch cause {
		case websocket.EndByPeer, websocket.EndByClose, websocket.EndByCloseNow, websocket.EndByShutdown:
			return slog.LevelDebug // as it should be
		case websocket.EndTransport, websocket.EndHeartbeat:
			return slog.LevelInfo // a network, or a device that sleeps
		case websocket.EndProtocolError:
			return slog.LevelWarn // a faulty client, or an attack
		case websocket.EndInterrupted:
			return slog.LevelError // our own timeout cut a message
		}
		return slog.LevelDebug // EndNone: it is not over
	}
	c, end := connect(greet)
	defer end()
	fmt.Println(level(c.End().Cause), c.End().Cause == websocket.EndNone)
	for { // until the peer closes
		if _, _, err := c.Read(context.Background()); err != nil {
			break
		}
	}
	text, err := c.End().Cause.MarshalText() // a label of a metric
	fmt.Println(level(c.End().Cause), string(text), err)
	// Output:
	// DEBUG true
	// DEBUG peer <nil>
}

// The rule that the peer broke. The close code of this side told it.
func ExampleProtocolError() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		c.Write(r.Context(), websocket.MessageText, []byte("caf\xe9")) // Latin-1
		c.Read(r.Context())
	})
	defer end()
	_, _, err := c.Read(context.Background())
	var broke websocket.ProtocolError
	if errors.As(err, &broke) {
		fmt.Println(int(broke.Code), broke.Reason)
	}
	// Output: 1007 text is not UTF-8
}

// Counts of one connection.
func ExampleConn_Stats() {
	c, end := connect(echo)
	defer end()
	ctx := context.Background()
	c.Write(ctx, websocket.MessageText, []byte("hello"))
	if _, _, err := c.Read(ctx); err != nil {
		fmt.Println(err)
		return
	}
	s := c.Stats()
	fmt.Println("sent", s.Sent.Messages, "message,", s.Sent.Payload, "bytes,", s.Sent.Wire, "on the wire")
	fmt.Println("received", s.Received.Messages, "message,", s.Received.Payload, "bytes,", s.Received.Wire, "on the wire")
	// Output:
	// sent 1 message, 5 bytes, 11 on the wire
	// received 1 message, 5 bytes, 7 on the wire
}

// A server's counts at /debug/vars, in a line.
func ExampleServer_Stats() {
	s := websocket.NewServer(echo, nil)
	expvar.Publish("websocket", expvar.Func(func() any { return s.Stats() }))
	h := httptest.NewServer(s)
	defer h.Close()

	c, _, err := websocket.Dial(context.Background(), h.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Close(websocket.StatusNormalClosure, "")
	s.Shutdown(context.Background()) // the connection has ended for the server too

	fmt.Println(expvar.Get("websocket"))
	// Output: {"open":0,"handshaking":0,"accepted":1,"refused":{},"ended":[{"cause":"peer","code":1000,"count":1}],"waiting":0,"received":{"messages":0,"payload":0,"compressed":0,"compressed_to":0,"control":1,"wire":8},"sent":{"messages":0,"payload":0,"compressed":0,"compressed_to":0,"control":1,"wire":4}}
}

// A server and a client without net/http: a listener, and a goroutine for each
// connection.
func ExampleAcceptConn() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				c, r, err := websocket.AcceptConn(ctx, conn, nil) // closes conn if it fails
				if err != nil {
					return
				}
				defer c.CloseNow()
				c.Write(context.Background(), websocket.MessageText, []byte("you asked for "+r.URL.Path))
				c.Close(websocket.StatusNormalClosure, "")
			}()
		}
	}()

	c, _, err := websocket.Dial(context.Background(), "ws://"+listener.Addr().String()+"/room", nil)
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	_, data, err := c.Read(context.Background())
	fmt.Println(string(data), err)
	// Output:
	// you asked for /room <nil>
}

// The other end of a stream that is there already. Here it is a pipe: it may be
// a tunnel, an SSH channel, a Unix socket.
func ExampleDialConn() {
	near, far := net.Pipe()
	go func() {
		c, _, err := websocket.AcceptConn(context.Background(), far, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.Write(context.Background(), websocket.MessageText, []byte("hello"))
		c.Read(context.Background()) // the close frame
	}()
	c, _, err := websocket.DialConn(context.Background(), near, "ws://example.com/", nil)
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	_, data, err := c.Read(context.Background())
	fmt.Println(string(data), err)
	// Output:
	// hello <nil>
}

// Two programs that agree on the protocol by other means need no handshake.
func ExampleNewConn() {
	near, far := net.Pipe()
	server, err := websocket.NewConn(far, &websocket.ConnOptions{Extensions: "permessage-deflate"})
	if err != nil {
		panic(err)
	}
	client, err := websocket.NewConn(near, &websocket.ConnOptions{Client: true, Extensions: "permessage-deflate"})
	if err != nil {
		panic(err)
	}
	defer client.CloseNow()
	defer server.CloseNow()
	go server.Write(context.Background(), websocket.MessageText, []byte("hello"))
	_, data, err := client.Read(context.Background())
	fmt.Println(string(data), err)
	// Output:
	// hello <nil>
}

// The options of one request depend on which client asks, and on what it
// offers.
func ExampleAcceptOptions_configure() {
	s := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.Close(websocket.StatusNormalClosure, "you speak "+c.Subprotocol())
	}, &websocket.AcceptOptions{
		Configure: func(r *http.Request, opts *websocket.AcceptOptions) error {
			if r.Header.Get("Authorization") == "" {
				return &websocket.HandshakeError{StatusCode: http.StatusUnauthorized, Body: []byte("who are you?")}
			}
			for _, name := range websocket.Subprotocols(r) {
				if strings.HasPrefix(name, "chat.v") {
					opts.Subprotocols = []string{name}
					break
				}
			}
			return nil
		},
	}))
	defer s.Close()

	ctx := context.Background()
	_, _, err := websocket.Dial(ctx, s.URL, nil)
	var refused *websocket.HandshakeError
	fmt.Println(errors.As(err, &refused), refused.StatusCode)

	c, _, err := websocket.Dial(ctx, s.URL, &websocket.DialOptions{
		HTTPHeader:   http.Header{"Authorization": {"Bearer token"}},
		Subprotocols: []string{"news", "chat.v7"},
	})
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	_, _, err = c.Read(ctx)
	fmt.Println(err)
	// Output:
	// true 401
	// websocket: closed by the peer: 1000 StatusNormalClosure: "you speak chat.v7"
}

func ExampleSubprotocols() {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Sec-WebSocket-Protocol", "chat.v2, chat.v1")
	fmt.Println(websocket.Subprotocols(r))
	// Output:
	// [chat.v2 chat.v1]
}

// Clients that see 1012 know that the server comes back.
func ExampleServer_ShutdownWith() {
	server := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.Read(r.Context())
	}, nil)
	s := httptest.NewServer(server)
	defer s.Close()
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, s.URL, nil)
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	go server.ShutdownWith(ctx, websocket.StatusServiceRestart, "new version")
	_, _, err = c.Read(ctx)
	fmt.Println(websocket.CloseStatus(err) == websocket.StatusServiceRestart)
	// Output:
	// true
}

// A handler that calls Accept by itself has its connections ended by a Server
// too.
func ExampleServer_Adopt() {
	var server websocket.Server
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		if err := server.Adopt(c); err != nil {
			c.Close(websocket.StatusGoingAway, "")
			return
		}
		c.Read(context.Background())
	}))
	defer s.Close()
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, s.URL, nil)
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	for server.Connections() == 0 {
		time.Sleep(time.Millisecond)
	}
	go server.Shutdown(ctx)
	_, _, err = c.Read(ctx)
	fmt.Println(errors.Is(err, io.EOF), websocket.CloseStatus(err) == websocket.StatusGoingAway)
	// Output:
	// true true
}

func ExampleServer_All() {
	accepted := make(chan struct{})
	server := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		close(accepted)
		c.Read(r.Context())
	}, nil)
	s := httptest.NewServer(server)
	defer s.Close()
	ctx := context.Background()
	client, _, err := websocket.Dial(ctx, s.URL, nil)
	if err != nil {
		panic(err)
	}
	defer client.CloseNow()
	<-accepted
	for c := range server.All() {
		c.Write(ctx, websocket.MessageText, []byte("to each"))
	}
	_, data, err := client.Read(ctx)
	fmt.Println(string(data), err)
	// Output:
	// to each <nil>
}

func ExampleConn_ConnectionState() {
	s := httptest.NewTLSServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.Read(r.Context())
	}, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover}))
	defer s.Close()
	c, _, err := websocket.Dial(context.Background(), s.URL, &websocket.DialOptions{
		HTTPClient:      s.Client(),
		CompressionMode: websocket.CompressionNoContextTakeover,
	})
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	state := c.ConnectionState()
	fmt.Println(state.Proto)
	fmt.Println(state.Extensions)
	fmt.Println(state.TLS != nil)
	// Output:
	// HTTP/1.1
	// permessage-deflate; server_no_context_takeover; client_no_context_takeover
	// true
}

// A stream to a peer whose read limit is 32 KiB.
func ExampleNetConnSize() {
	s := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		conn := websocket.NetConnSize(r.Context(), c, websocket.MessageBinary, 32<<10)
		defer conn.Close()
		fmt.Fprintln(conn, strings.Repeat("x", 100_000))
	}, nil))
	defer s.Close()
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, s.URL, &websocket.DialOptions{ReadLimit: 32 << 10})
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	messages := 0
	for m, err := range c.Messages(ctx) {
		if err != nil {
			panic(err)
		}
		messages++
		if len(m.Data) > 32<<10 {
			panic("too long")
		}
	}
	fmt.Println(messages, "messages")
	// Output:
	// 4 messages
}

// One listener for WebSocket without net/http and for HTTP: the first request
// of a connection decides.
func ExampleAcceptConn_andHTTP() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()

	pages := &handedListener{Listener: listener, conns: make(chan net.Conn)}
	go http.Serve(pages, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "a page")
	}))
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				close(pages.conns)
				return
			}
			go func() {
				conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				seen := &recorder{from: conn}
				r, err := http.ReadRequest(bufio.NewReader(seen))
				conn.SetReadDeadline(time.Time{})
				replayed := &replayedConn{Conn: conn, seen: seen.bytes}
				switch {
				case err != nil:
					conn.Close()
				case r.Header.Get("Upgrade") == "":
					pages.conns <- replayed
				default:
					c, _, err := websocket.AcceptConn(context.Background(), replayed, nil)
					if err != nil {
						return
					}
					c.Close(websocket.StatusNormalClosure, "hello")
				}
			}()
		}
	}()

	resp, err := http.Get("http://" + listener.Addr().String())
	if err != nil {
		panic(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	fmt.Print(string(body))
	c, _, err := websocket.Dial(context.Background(), "ws://"+listener.Addr().String(), nil)
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	_, _, err = c.Read(context.Background())
	fmt.Println(err)
	// Output:
	// a page
	// websocket: closed by the peer: 1000 StatusNormalClosure: "hello"
}

// A recorder keeps what is read from a connection.
type recorder struct {
	from  io.Reader
	bytes []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.bytes = append(r.bytes, p[:n]...)
	return n, err
}

// A replayedConn is read from the begin again.
type replayedConn struct {
	net.Conn
	seen []byte
}

func (c *replayedConn) Read(p []byte) (int, error) {
	if len(c.seen) > 0 {
		n := copy(p, c.seen)
		c.seen = c.seen[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// A handedListener accepts the connections that it is handed.
type handedListener struct {
	net.Listener
	conns chan net.Conn
}

func (l *handedListener) Accept() (net.Conn, error) {
	conn, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
