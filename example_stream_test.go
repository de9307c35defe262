package websocket_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket"
)

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
