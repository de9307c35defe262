package main

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
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
	"github.com/seed70bc5565/websocket/wstest"
)

// full asks for all 517 cases: go test ./autobahn -run Doors -timeout 30m -args
// -full
var full = flag.Bool("full", false, "run all cases through each door")

// some is what go test ./... has the time for. With full it is all cases, and
// those beyond the original.
func some(t *testing.T) []*suite.Case {
	if *full {
		return append(slices.Clip(suite.Cases()), suite.Beyond()...)
	}
	cases, err := suite.Select(suite.Cases(), "1.*.1-2,2.1-6,3.1-2,4.1.3,5.1-3,6.2.1,6.6.1-2,7.1.1-2,7.3.2,7.9.1,9.1.1,12.1.2,13.3.1", "")
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

const longest = 32 << 20

// The thresholds of compression. Compressing the echoes of groups 12 and 13 is
// most of the work of a door, and the same work behind many of them. So doors
// that write by the same calls share it: one of them compresses every echo, and
// the others only echoes of up to 16 KiB. All of them read all messages.
const (
	everyEcho   = 1
	shortEchoes = 16<<10 + 1
)

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

func acceptOptions(threshold int) *websocket.AcceptOptions {
	return &websocket.AcceptOptions{ReadLimit: longest, CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: threshold}
}

func dialOptions(threshold int) *websocket.DialOptions {
	return &websocket.DialOptions{ReadLimit: longest, CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: threshold,
		CompressionSendWindowBits: 15} // some cases choose the client's window
}

// handler hands connections to an echo by way of Handler.
func handler(way string, threshold int) http.Handler {
	return websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		defer c.CloseNow()
		echoes[way](r.Context(), c)
	}, acceptOptions(threshold))
}

// eventful echoes by an EventHandler.
func eventful() http.Handler {
	return websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
		return echoEvents{c}
	}, &websocket.ServerOptions{AcceptOptions: *acceptOptions(shortEchoes)})
}

type echoEvents struct{ c *websocket.Conn }

func (e echoEvents) Message(m websocket.Message) { e.c.Write(context.Background(), m.Type, m.Data) }
func (e echoEvents) Close(error)                 {}

// accepting calls Accept in a handler of its own.
func accepting(way string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, acceptOptions(shortEchoes))
		if err != nil {
			return
		}
		defer c.CloseNow()
		echoes[way](context.Background(), c)
	})
}

// handedOver gives NewConn a connection whose handshake is done by hand.
func handedOver() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		received := make([]byte, rw.Reader.Buffered())
		rw.Reader.Read(received)
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		response := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
			base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
		// The first offer of permessage-deflate is accepted as it is, except
		// that the client need not be told which window it may use.
		extensions, _, _ := strings.Cut(r.Header.Get("Sec-WebSocket-Extensions"), ",")
		extensions = strings.ReplaceAll(extensions, "; client_max_window_bits", "")
		if extensions != "" {
			response += "Sec-WebSocket-Extensions: " + extensions + "\r\n"
		}
		fmt.Fprintf(conn, "%s\r\n", response)
		c, err := websocket.NewConn(conn, &websocket.ConnOptions{ReadLimit: longest, Extensions: extensions, Received: received,
			CompressionThreshold: shortEchoes})
		if err != nil {
			conn.Close()
			return
		}
		defer c.CloseNow()
		echoes["message"](context.Background(), c)
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
		not     string // cases that do not concern the door
	}{
		{"Handler", handler("message", everyEcho), false, ""},
		{"Handler/stream", handler("stream", everyEcho), false, ""},
		{"Accept/Messages", accepting("lent"), false, ""},
		{"Events", eventful(), false, ""},
		{"TLS", handler("message", shortEchoes), true, ""},
		// NewConn sees no request.
		{"NewConn", handedOver(), false, "b.7.14-23,b.8"},
		{"gorilla", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u := gorilla.Upgrader{EnableCompression: true}
			if c, err := u.Upgrade(w, r, nil); err == nil {
				gorillaEcho(c)
			}
			// As the original package, it takes a list of versions, two keys, and
			// an HTTP/1.0 request.
		}), false, "b.8.5,b.8.11,b.8.18"},
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
			suite.Server(t, "ws"+strings.TrimPrefix(server.URL, "http"), suite.WithOptions(o), suite.WithCases(without(t, some(t), door.not)))
		})
	}
}

// without leaves out cases by their patterns.
func without(t *testing.T, cases []*suite.Case, not string) []*suite.Case {
	if not == "" || !*full {
		return cases
	}
	cases, err := suite.Select(cases, "", not)
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

// Doors without net/http. They serve a listener of their own.
func TestDoorsAcceptConn(t *testing.T) {
	for _, door := range []struct {
		name string
		over func(net.Conn) net.Conn
	}{
		{"TCP", func(conn net.Conn) net.Conn { return conn }},
		{"NetPipe", throughPipe},
	} {
		t.Run(door.name, func(t *testing.T) {
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
						c, r, err := websocket.AcceptConn(context.Background(), door.over(conn), acceptOptions(shortEchoes))
						if err != nil {
							return
						}
						defer c.CloseNow()
						echoes["message"](r.Context(), c)
					}()
				}
			}()
			suite.Server(t, "ws://"+l.Addr().String(), suite.WithCases(some(t)))
		})
	}
}

// throughPipe returns the far end of a pipe of package wstest. What comes on
// conn goes through it, and the other way.
func throughPipe(conn net.Conn) net.Conn {
	near, far := wstest.NetPipe(wstest.Transport{}, wstest.Transport{})
	go func() {
		io.Copy(near, conn)
		near.(interface{ CloseWrite() error }).CloseWrite()
	}()
	go func() {
		io.Copy(conn, near)
		conn.Close()
		near.Close()
	}()
	return far
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
		allow []string
	}{
		{"Dial", dialing("message", dialOptions(everyEcho)), nil, nil},
		{"Dial/stream", dialing("stream", dialOptions(everyEcho)), nil, nil},
		{"Dial/TLS", dialing("lent", func() *websocket.DialOptions {
			o := dialOptions(shortEchoes)
			o.HTTPClient = certified.Client()
			return o
		}()), certified.TLS, nil},
		{"DialConn", dialingConn, nil, nil},
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
		}, nil, []string{suite.Unimplemented}},
	} {
		t.Run(door.name, func(t *testing.T) {
			suite.Client(t, door.dial, suite.WithOptions(suite.Options{TLS: door.tls}), suite.WithCases(some(t)), suite.Allow(door.allow...))
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
	c, _, err := websocket.DialConn(context.Background(), conn, address, dialOptions(shortEchoes))
	if err != nil {
		return err
	}
	defer c.CloseNow()
	echoes["message"](context.Background(), c)
	return nil
}
