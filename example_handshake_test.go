package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A server that greets, and a client. serve runs on a goroutine of its own for each connection.
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

// A server says why it refuses: in the response, and to the handler as the error of Accept.
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
			// Proxies, TLS, dialers and cookies are set here as for every other request.
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
	if errors.As(err, &refused) { // it is another error if nobody answered
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

// Limits, compression and hooks. What is left out has its default.
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

// A client of its own for the handshake, with a timeout, a proxy, cookies, or another way to connect. Host names
// another host than the one that is connected to.
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
