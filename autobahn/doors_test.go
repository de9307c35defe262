package main

import (
	"context"
	"crypto/tls"
	"flag"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/autobahn/suite"
	gorilla "github.com/seed70bc5565/websocket/gorilla"
)

// full asks for all 517 cases: go test ./autobahn -run Doors -timeout 30m -args
// -full
var full = flag.Bool("full", false, "run all cases through each door")

// some is what go test ./... has the time for. With full, the doors that echo
// as a stream leave out the long compressed messages: doors with the same
// compression have them.
func some(t *testing.T, short bool) []*suite.Case {
	if *full {
		exclude := ""
		if short {
			exclude = "12.*.8-18,13.*.8-18"
		}
		cases, err := suite.Select(suite.Cases(), "", exclude)
		if err != nil {
			t.Fatal(err)
		}
		return append(cases, suite.Beyond()...)
	}
	cases, err := suite.Select(suite.Cases(), "1.*.1-2,2.1-6,3.1-2,4.1.3,5.1-3,6.2.1,6.6.1-2,7.1.1-2,7.3.2,7.9.1,9.1.1,12.1.2,13.3.1", "")
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

const longest = 32 << 20

// The ways to echo: each goes another way through the library.
var echoes = map[string]func(ctx context.Context, c *websocket.Conn) error{
	"message": func(ctx context.Context, c *websocket.Conn) error {
		var buf []byte
		for {
			typ, msg, err := c.ReadInto(ctx, buf)
			if err != nil {
				return err
			}
			if err := c.Write(ctx, typ, msg); err != nil {
				return err
			}
			buf = msg[:0]
		}
	},
	"stream": func(ctx context.Context, c *websocket.Conn) error {
		for {
			typ, r, err := c.Reader(ctx)
			if err != nil {
				return err
			}
			w, err := c.Writer(ctx, typ)
			if err != nil {
				return err
			}
			buf := make([]byte, 4096)
			for {
				n, err := r.Read(buf)
				if n > 0 {
					if _, err := w.Write(buf[:n]); err != nil {
						return err
					}
				}
				if err != nil {
					break
				}
			}
			if err := w.Close(); err != nil {
				return err
			}
		}
	},
	"lent": func(ctx context.Context, c *websocket.Conn) error {
		for msg, err := range c.Messages(ctx) {
			if err != nil {
				return err
			}
			if err := c.Write(ctx, msg.Type, msg.Data); err != nil {
				return err
			}
		}
		return nil
	},
}

func acceptOptions() *websocket.AcceptOptions {
	return &websocket.AcceptOptions{ReadLimit: longest, CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: 1}
}

func dialOptions() *websocket.DialOptions {
	return &websocket.DialOptions{ReadLimit: longest, CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: 1,
		CompressionSendWindowBits: 15} // some cases choose the client's window
}

// handler hands connections to an echo by way of Handler.
func handler(way string) http.Handler {
	return websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		defer c.CloseNow()
		echoes[way](r.Context(), c)
	}, acceptOptions())
}

// eventful echoes by an EventHandler.
func eventful() http.Handler {
	return websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
		return echoEvents{c}
	}, &websocket.ServerOptions{AcceptOptions: *acceptOptions()})
}

type echoEvents struct{ c *websocket.Conn }

func (e echoEvents) Message(m websocket.Message) { e.c.Write(context.Background(), m.Type, m.Data) }
func (e echoEvents) Close(error)                 {}

// accepting calls Accept in a handler of its own.
func accepting(way string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, acceptOptions())
		if err != nil {
			return
		}
		defer c.CloseNow()
		echoes[way](context.Background(), c)
	})
}

func gorillaEcho(c *gorilla.Conn) error {
	defer c.Close()
	c.SetReadLimit(longest)
	for {
		typ, msg, err := c.ReadMessage()
		if err != nil {
			return err
		}
		if err := c.WriteMessage(typ, msg); err != nil {
			return err
		}
	}
}

func TestDoorsOfServers(t *testing.T) {
	for _, door := range []struct {
		name    string
		handler http.Handler
		tls     bool
		short   bool
		takes   []string // cases of requests that the door takes, though they ask it to refuse
	}{
		{"Handler", handler("message"), false, false, nil},
		{"Handler/stream", handler("stream"), false, true, nil},
		{"Accept/Messages", accepting("lent"), false, false, nil},
		{"Events", eventful(), false, true, nil},
		{"TLS", handler("message"), true, false, nil},
		{"gorilla", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u := gorilla.Upgrader{EnableCompression: true}
			if c, err := u.Upgrade(w, r, nil); err == nil {
				gorillaEcho(c)
			}
			// As the original package, it takes a list of versions, two keys, and
			// an HTTP/1.0 request.
		}), false, false, []string{"b.8.5", "b.8.11", "b.8.18"}},
	} {
		t.Run(door.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(door.handler)
			var o suite.Options
			if door.tls {
				server.StartTLS()
				o.TLS = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
			} else {
				server.Start()
			}
			defer server.Close()
			cases := slices.DeleteFunc(some(t, door.short), func(c *suite.Case) bool { return slices.Contains(door.takes, c.ID) })
			suite.Server(t, "ws"+strings.TrimPrefix(server.URL, "http"), suite.WithOptions(o), suite.WithCases(cases))
		})
	}
}

// AcceptConn serves a listener of its own, without net/http.
func TestDoorsAcceptConn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				c, r, err := websocket.AcceptConn(context.Background(), conn, acceptOptions())
				if err != nil {
					return
				}
				defer c.CloseNow()
				echoes["message"](r.Context(), c)
			}()
		}
	}()
	suite.Server(t, "ws://"+l.Addr().String(), suite.WithCases(some(t, true)))
}

func TestDoorsOfClients(t *testing.T) {
	// The certificate of httptest, and the client that trusts it.
	certified := httptest.NewUnstartedServer(nil)
	certified.StartTLS()
	defer certified.Close()
	for _, door := range []struct {
		name  string
		dial  func(url string) error
		tls   *tls.Config
		short bool
		allow []string
	}{
		{"Dial", dialing("message", dialOptions()), nil, false, nil},
		{"Dial/stream", dialing("stream", dialOptions()), nil, true, nil},
		{"Dial/TLS", dialing("lent", func() *websocket.DialOptions {
			o := dialOptions()
			o.HTTPClient = certified.Client()
			return o
		}()), certified.TLS, false, nil},
		{"DialConn", dialingConn, nil, true, nil},
		{"gorilla", func(url string) error {
			d := gorilla.Dialer{EnableCompression: true}
			c, _, err := d.Dial(url, nil)
			if err != nil {
				return err
			}
			gorillaEcho(c)
			return nil
			// As the original package, it does not offer
			// client_max_window_bits, which 13.3 to 13.6 ask of it.
		}, nil, false, []string{suite.Unimplemented}},
	} {
		t.Run(door.name, func(t *testing.T) {
			suite.Client(t, door.dial, suite.WithOptions(suite.Options{TLS: door.tls}), suite.WithCases(some(t, door.short)),
				suite.Allow(door.allow...))
		})
	}
}

func dialing(way string, o *websocket.DialOptions) func(url string) error {
	return func(url string) error {
		c, _, err := websocket.Dial(context.Background(), url, o)
		if err != nil {
			return err
		}
		defer c.CloseNow()
		echoes[way](context.Background(), c)
		return nil
	}
}

// dialingConn brings its own connection.
func dialingConn(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return err
	}
	c, _, err := websocket.DialConn(context.Background(), conn, address, dialOptions())
	if err != nil {
		return err
	}
	defer c.CloseNow()
	echoes["message"](context.Background(), c)
	return nil
}
