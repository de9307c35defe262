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

// The thresholds of compression.
const (
	everyEcho = 1
	noEcho    = 1 << 30
)

// Compressing the echoes of groups 12 and 13 is most of the work of a door.
// Behind doors that write by the same calls it is the same work. So one of them
// compresses every echo. The others compress the echoes of shorter: cases of
// messages of up to 16 KiB. All of them read all messages.
const shorter = "12.*.1-7,13.*.1-7"

// A pass is a run of cases with a threshold.
type pass struct {
	threshold int
	cases     []*suite.Case
}

// passes are the passes of a door. A light door is one of those that share the
// work. The door does not run the cases of not.
func passes(t *testing.T, light bool, not string) []pass {
	cases := some(t)
	if !*full {
		return []pass{{everyEcho, cases}}
	}
	choose := func(include, exclude string) []*suite.Case {
		chosen, err := suite.Select(cases, include, exclude)
		if err != nil {
			t.Fatal(err)
		}
		return chosen
	}
	if !light {
		return []pass{{everyEcho, choose("", not)}}
	}
	return []pass{{noEcho, choose("", shorter+","+not)}, {everyEcho, choose(shorter, "")}}
}

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
func handler(way string) func(threshold int) http.Handler {
	return func(threshold int) http.Handler {
		return websocket.Handler(func(c *websocket.Conn, r *http.Request) {
			defer c.CloseNow()
			echoes[way](r.Context(), c)
		}, acceptOptions(threshold))
	}
}

// eventful echoes by an EventHandler.
func eventful(threshold int) http.Handler {
	return websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
		return echoEvents{c}
	}, &websocket.ServerOptions{AcceptOptions: *acceptOptions(threshold)})
}

type echoEvents struct{ c *websocket.Conn }

func (e echoEvents) Message(m websocket.Message) { e.c.Write(context.Background(), m.Type, m.Data) }
func (e echoEvents) Close(error)                 {}

// accepting calls Accept in a handler of its own.
func accepting(threshold int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, acceptOptions(threshold))
		if err != nil {
			return
		}
		defer c.CloseNow()
		echoes["lent"](context.Background(), c)
	})
}

// handedOver gives NewConn a connection whose handshake is done by hand.
func handedOver(threshold int) http.Handler {
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
			CompressionThreshold: threshold})
		if err != nil {
			conn.Close()
			return
		}
		defer c.CloseNow()
		echoes["message"](context.Background(), c)
	})
}

func gorillaHandler(threshold int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := gorilla.Upgrader{EnableCompression: true}
		if c, err := u.Upgrade(w, r, nil); err == nil {
			gorillaEcho(c, threshold)
		}
	})
}

func gorillaEcho(c *gorilla.Conn, threshold int) error {
	defer c.Close()
	c.EnableWriteCompression(threshold == everyEcho)
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
		handler func(threshold int) http.Handler
		tls     bool
		light   bool
		not     string // cases that do not concern the door
	}{
		{"Handler", handler("message"), false, false, ""},
		{"Handler/stream", handler("stream"), false, false, ""},
		{"Accept/Messages", accepting, false, true, ""},
		{"Events", eventful, false, true, ""},
		{"TLS", handler("message"), true, true, ""},
		// NewConn sees no request.
		{"NewConn", handedOver, false, true, "b.7.14-23,b.8"},
		// As the original package, gorilla takes a list of versions, two keys,
		// and an HTTP/1.0 request.
		{"gorilla", gorillaHandler, false, true, "b.8.5,b.8.11,b.8.18"},
	} {
		t.Run(door.name, func(t *testing.T) {
			for _, pass := range passes(t, door.light, door.not) {
				server := httptest.NewUnstartedServer(door.handler(pass.threshold))
				var o suite.Options
				if door.tls {
					server.StartTLS()
					o.TLS = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
				} else {
					server.Start()
				}
				defer server.Close()
				suite.Server(t, "ws"+strings.TrimPrefix(server.URL, "http"), suite.WithOptions(o), suite.WithCases(pass.cases))
			}
		})
	}
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
			for _, pass := range passes(t, true, "") {
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
							c, r, err := websocket.AcceptConn(context.Background(), door.over(conn), acceptOptions(pass.threshold))
							if err != nil {
								return
							}
							defer c.CloseNow()
							echoes["message"](r.Context(), c)
						}()
					}
				}()
				suite.Server(t, "ws://"+l.Addr().String(), suite.WithCases(pass.cases))
			}
		})
	}
}

// throughPipe returns the far end of a pipe of package wstest. Bytes of conn go
// through it, and the other way.
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
		dial  func(threshold int) func(url string) error
		tls   *tls.Config
		light bool
		allow []string
	}{
		{"Dial", dialing("message", nil), nil, false, nil},
		{"Dial/stream", dialing("stream", nil), nil, false, nil},
		{"Dial/TLS", dialing("lent", certified.Client()), certified.TLS, true, nil},
		{"DialConn", dialingConn, nil, true, nil},
		// As the original package, gorilla does not offer
		// client_max_window_bits, which 13.3 to 13.6 ask of it.
		{"gorilla", gorillaDialing, nil, true, []string{suite.Unimplemented}},
	} {
		t.Run(door.name, func(t *testing.T) {
			for _, pass := range passes(t, door.light, "") {
				suite.Client(t, door.dial(pass.threshold), suite.WithOptions(suite.Options{TLS: door.tls}), suite.WithCases(pass.cases),
					suite.Allow(door.allow...))
			}
		})
	}
}

func dialing(way string, client *http.Client) func(threshold int) func(url string) error {
	return func(threshold int) func(url string) error {
		o := dialOptions(threshold)
		o.HTTPClient = client
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
}

// dialingConn brings its own connection.
func dialingConn(threshold int) func(url string) error {
	return func(address string) error {
		u, err := url.Parse(address)
		if err != nil {
			return err
		}
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			return err
		}
		c, _, err := websocket.DialConn(context.Background(), conn, address, dialOptions(threshold))
		if err != nil {
			return err
		}
		defer c.CloseNow()
		echoes["message"](context.Background(), c)
		return nil
	}
}

func gorillaDialing(threshold int) func(url string) error {
	return func(url string) error {
		d := gorilla.Dialer{EnableCompression: true}
		c, _, err := d.Dial(url, nil)
		if err != nil {
			return err
		}
		gorillaEcho(c, threshold)
		return nil
	}
}
