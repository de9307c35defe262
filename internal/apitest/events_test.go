package apitest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

// An events is an EventHandler of functions.
type events struct {
	message func(m websocket.Message)
	closed  func(err error)
}

func (e events) Message(m websocket.Message) { e.message(m) }
func (e events) Close(err error) {
	if e.closed != nil {
		e.closed(err)
	}
}

// An eventServer runs a Server of Events over plain TCP or TLS: with a poller,
// where there is one, or with goroutines.
type eventServer struct {
	*websocket.Server
	http *httptest.Server
}

// forEvents runs test with both kinds of eventServer.
func forEvents(t *testing.T, test func(t *testing.T, start func(open func(c *websocket.Conn, r *http.Request) websocket.EventHandler, opts *websocket.ServerOptions) eventServer)) {
	for _, name := range []string{"TCP", "TLS"} {
		t.Run(name, func(t *testing.T) {
			test(t, func(open func(c *websocket.Conn, r *http.Request) websocket.EventHandler, opts *websocket.ServerOptions) eventServer {
				s := websocket.Events(open, opts)
				h := httptest.NewUnstartedServer(s)
				if h.Start(); name == "TLS" {
					h.Close()
					h = httptest.NewUnstartedServer(s)
					h.StartTLS()
				}
				t.Cleanup(func() {
					s.Close()
					h.Close()
					if err := s.Shutdown(context.Background()); err != nil || s.Connections() != 0 {
						t.Errorf("%v, %d connections left", err, s.Connections())
					}
				})
				return eventServer{s, h}
			})
		})
	}
}

func (s eventServer) dial(t *testing.T, opts *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	if opts == nil {
		opts = &websocket.DialOptions{}
	}
	opts.HTTPClient = s.http.Client()
	c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.http.URL, "http"), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c
}

type openFunc = func(c *websocket.Conn, r *http.Request) websocket.EventHandler

// eventStarter is what forEvents gives a test.
type eventStarter = func(open openFunc, opts *websocket.ServerOptions) eventServer

// Messages of any size, in any pieces, come in order, one at a time, and the
// replies too.
func TestEventsEcho(t *testing.T) {
	forEvents(t, func(t *testing.T, start eventStarter) {
		s := start(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
			var inside atomic.Int32
			return events{message: func(m websocket.Message) {
				if inside.Add(1) != 1 {
					t.Error("two callbacks at once")
				}
				defer inside.Add(-1)
				if err := c.Write(context.Background(), m.Type, m.Data); err != nil {
					t.Error(err)
				}
			}}
		}, &websocket.ServerOptions{AcceptOptions: websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover}})
		var all sync.WaitGroup
		for i := range 8 {
			opts := &websocket.DialOptions{}
			if i%2 == 0 {
				opts.CompressionMode = websocket.CompressionContextTakeover
			}
			c := s.dial(t, opts)
			var sent [][]byte
			for n := range 100 {
				p := bytes.Repeat([]byte(fmt.Sprint(i, n, " ")), n*n/10*(1+n%3*10))
				sent = append(sent, p[:min(len(p), 1<<20)])
			}
			all.Go(func() {
				for _, p := range sent {
					if err := c.Write(t.Context(), websocket.MessageBinary, p); err != nil {
						t.Error(err)
					}
				}
			})
			all.Go(func() {
				for n, p := range sent {
					if _, got, err := c.Read(t.Context()); err != nil || !bytes.Equal(got, p) {
						t.Errorf("message %d: %d bytes of %d, %v", n, len(got), len(p), err)
						return
					}
				}
			})
		}
		all.Wait()
	})
}

// Close tells how the connection ended, once, whatever ended it.
func TestEventsClose(t *testing.T) {
	gone := errors.New("no close frame")
	for _, tt := range []struct {
		name string
		// end ends the connection: the client's c, or the server's, which gets
		// "end" as a message.
		end    func(c *websocket.Conn)
		server func(c *websocket.Conn)
		want   error // matched by the error
		code   websocket.StatusCode
		client websocket.StatusCode // what the client's Read tells; 0: is not asked
	}{
		{name: "the peer closes", end: func(c *websocket.Conn) { c.Close(websocket.StatusNormalClosure, "") }, want: io.EOF, code: 1000},
		{name: "the peer closes with a code", end: func(c *websocket.Conn) { c.Close(4001, "why") }, want: nil, code: 4001},
		{name: "the peer goes", end: func(c *websocket.Conn) { c.CloseNow() }, want: io.ErrUnexpectedEOF, code: -1},
		{name: "a read limit", end: func(c *websocket.Conn) { c.Write(context.Background(), websocket.MessageBinary, make([]byte, 2<<20)) },
			want: websocket.ErrMessageTooBig, code: -1, client: 1009},
		{name: "Close", server: func(c *websocket.Conn) { c.Close(4002, "") }, want: net.ErrClosed, code: -1, client: 4002},
		{name: "Close elsewhere", server: func(c *websocket.Conn) { go c.Close(4002, "") }, want: net.ErrClosed, code: -1, client: 4002},
		{name: "CloseNow", server: func(c *websocket.Conn) { c.CloseNow() }, want: net.ErrClosed, code: -1, client: -1},
		{name: "CloseNow elsewhere", server: func(c *websocket.Conn) { go c.CloseNow() }, want: net.ErrClosed, code: -1, client: -1},
		{name: "a panic", server: func(c *websocket.Conn) { panic(http.ErrAbortHandler) }, want: net.ErrClosed, code: -1, client: 1011},
	} {
		t.Run(tt.name, func(t *testing.T) {
			forEvents(t, func(t *testing.T, start eventStarter) {
				result := make(chan error, 2)
				s := start(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
					return events{func(m websocket.Message) { tt.server(c) }, func(err error) {
						result <- err
						panic(http.ErrAbortHandler) // costs nothing
					}}
				}, nil)
				c := s.dial(t, nil)
				if tt.server != nil {
					c.Write(t.Context(), websocket.MessageText, []byte("end"))
				} else {
					tt.end(c)
				}
				if tt.client != 0 {
					if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != tt.client {
						t.Errorf("client: %v", err)
					}
				}
				err := <-result
				if tt.want != nil && !errors.Is(err, tt.want) || websocket.CloseStatus(err) != tt.code || err == nil {
					t.Errorf("%v, want %v", err, cmp(tt.want, gone))
				}
				s.Server.Close()
				if err := s.Shutdown(t.Context()); err != nil || len(result) != 0 {
					t.Errorf("%v, %d more calls of Close", err, len(result))
				}
			})
		})
	}
}

func cmp(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// open decides: it may write, close, return nil, or panic.
func TestEventsOpen(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(c *websocket.Conn) websocket.EventHandler
		want websocket.StatusCode
	}{
		{"nil", func(*websocket.Conn) websocket.EventHandler { return nil }, 1000},
		{"a panic", func(*websocket.Conn) websocket.EventHandler { panic(http.ErrAbortHandler) }, 1011},
		{"closed", func(c *websocket.Conn) websocket.EventHandler { go c.Close(4003, ""); return nil }, 0},
		{"closed before", func(c *websocket.Conn) websocket.EventHandler {
			c.Close(4003, "")
			return events{}
		}, 4003},
	} {
		t.Run(tt.name, func(t *testing.T) {
			forEvents(t, func(t *testing.T, start eventStarter) {
				s := start(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
					if err := c.Write(r.Context(), websocket.MessageText, []byte("hello")); err != nil {
						t.Error(err)
					}
					if _, _, err := c.Read(r.Context()); err == nil {
						t.Error("Read in open")
					}
					return tt.open(c)
				}, nil)
				c := s.dial(t, nil)
				if _, p, err := c.Read(t.Context()); err != nil || string(p) != "hello" {
					t.Errorf("%q, %v", p, err)
				}
				if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != tt.want && tt.want != 0 {
					t.Errorf("%v, want %d", err, tt.want)
				}
			})
		})
	}
}

// A panic of OnPingReceived or OnPongReceived ends its own connection, as one
// in a method of the handler does.
func TestEventsCallbackPanics(t *testing.T) {
	opts := &websocket.ServerOptions{}
	opts.OnPingReceived = func(context.Context, []byte) bool { panic(http.ErrAbortHandler) }
	opts.OnPongReceived = func(context.Context, []byte) { panic(http.ErrAbortHandler) }
	for _, pong := range []bool{false, true} {
		forEvents(t, func(t *testing.T, start eventStarter) {
			result := make(chan error, 1)
			s := start(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
				if pong {
					go c.Ping(context.Background())
				}
				return events{nil, func(err error) { result <- err }}
			}, opts)
			c := s.dial(t, nil)
			if !pong {
				go c.Ping(t.Context())
			}
			if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusInternalError {
				t.Errorf("client: %v", err)
			}
			if err := <-result; !errors.Is(err, net.ErrClosed) {
				t.Errorf("server: %v", err)
			}
		})
	}
}

// Callbacks that block hold up their own connections only, and pings of those
// go on when they return.
func TestEventsBlock(t *testing.T) {
	forEvents(t, func(t *testing.T, start eventStarter) {
		release := make(chan struct{})
		s := start(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
			return events{message: func(m websocket.Message) {
				if string(m.Data) == "block" {
					<-release
				}
				c.Write(context.Background(), m.Type, m.Data)
			}}
		}, nil)
		var blocked []*websocket.Conn
		for range 50 {
			c := s.dial(t, nil)
			c.Write(t.Context(), websocket.MessageText, []byte("block"))
			blocked = append(blocked, c)
		}
		for range 10 {
			c := s.dial(t, nil)
			c.Write(t.Context(), websocket.MessageText, []byte("quick"))
			if _, p, err := c.Read(t.Context()); err != nil || string(p) != "quick" {
				t.Errorf("%q, %v", p, err)
			}
		}
		close(release)
		for _, c := range blocked {
			if _, p, err := c.Read(t.Context()); err != nil || string(p) != "block" {
				t.Errorf("%q, %v", p, err)
			}
		}
	})
}

// A peer that is silent is given up, one that answers pings is not, and pings
// of the application are answered. The live peer has as long as the silent one:
// a busy machine may hold up its answers for a second.
func TestEventsHeartbeat(t *testing.T) {
	forEvents(t, func(t *testing.T, start eventStarter) {
		t.Parallel()
		ended := make(chan error, 2)
		conns := make(chan *websocket.Conn, 2)
		s := start(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
			conns <- c
			return events{func(websocket.Message) {}, func(err error) { ended <- err }}
		}, &websocket.ServerOptions{AcceptOptions: websocket.AcceptOptions{PingInterval: 20 * time.Millisecond, PongTimeout: 5 * time.Second}})
		alive := s.dial(t, nil)
		alive.CloseRead(t.Context())
		if err := (<-conns).Ping(t.Context()); err != nil {
			t.Error(err)
		}
		s.dial(t, nil) // reads nothing
		if err := <-ended; !errors.Is(err, websocket.ErrPongTimeout) {
			t.Error(err)
		}
		if err := alive.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if len(ended) > 0 {
			t.Error("a live peer was given up")
		}
	})
}

// Shutdown sends 1001 to all, and waits until Close has returned for each.
func TestEventsShutdown(t *testing.T) {
	forEvents(t, func(t *testing.T, start eventStarter) {
		var opened, closed atomic.Int32
		s := start(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
			opened.Add(1)
			return events{func(websocket.Message) {}, func(err error) { closed.Add(1) }}
		}, &websocket.ServerOptions{AcceptOptions: websocket.AcceptOptions{CloseTimeout: 100 * time.Millisecond}})
		var all sync.WaitGroup
		for i := range 20 {
			c := s.dial(t, nil)
			if i == 0 {
				continue // never answers
			}
			all.Go(func() {
				if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
					t.Error(err)
				}
			})
		}
		if err := s.Shutdown(t.Context()); err != nil || closed.Load() != opened.Load() {
			t.Errorf("%v, %d closed of %d", err, closed.Load(), opened.Load())
		}
		all.Wait()
	})
}

// A write to a peer that takes nothing waits, and its context ends it.
func TestEventsSlowPeer(t *testing.T) {
	forEvents(t, func(t *testing.T, start eventStarter) {
		result := make(chan error, 1)
		s := start(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
			return events{message: func(m websocket.Message) {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
				defer cancel()
				result <- c.Write(ctx, websocket.MessageBinary, make([]byte, 16<<20))
			}}
		}, nil)
		c := s.dial(t, nil)
		c.Write(t.Context(), websocket.MessageText, []byte("go"))
		if err := <-result; !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// The context of the request has its values in open. Afterwards it has those of
// net/http itself, and none that a router may have given to another request.
func TestEventsContext(t *testing.T) {
	type key struct{}
	contexts := make(chan context.Context, 1)
	s := websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
		if r.URL.Path == "/routed" && r.Context().Value(key{}) != "value" {
			t.Error("no value in open")
		}
		contexts <- r.Context()
		return events{message: func(websocket.Message) {}}
	}, nil)
	defer s.Close()
	mux := http.NewServeMux()
	mux.Handle("/plain", s)
	mux.HandleFunc("/routed", func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, "value")))
	})
	returned := make(chan struct{}, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r)
		returned <- struct{}{}
	}))
	defer server.Close()
	for _, path := range []string{"/plain", "/routed"} {
		c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http")+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		<-returned
		ctx := <-contexts
		plain := ctx.Value(http.ServerContextKey) != nil
		if plain != (path == "/plain") || ctx.Value(key{}) != nil || ctx.Err() != nil {
			t.Errorf("%s: net/http's values %t, %v, %v", path, plain, ctx.Value(key{}), ctx.Err())
		}
		c.CloseNow()
		<-ctx.Done()
	}
}

// A thousand idle connections have no goroutine of the server.
func TestEventsGoroutines(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no poller on this system")
	}
	s := websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
		return events{message: func(m websocket.Message) { c.Write(context.Background(), m.Type, m.Data) }}
	}, nil)
	defer s.Close()
	server := httptest.NewServer(s)
	defer server.Close()
	transport := server.Client().Transport.(*http.Transport)
	transport.DisableKeepAlives = true
	before := runtime.NumGoroutine()
	for range 200 {
		c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http"), &websocket.DialOptions{PingInterval: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		c.Write(t.Context(), websocket.MessageText, []byte("x"))
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for n := runtime.NumGoroutine(); n > before+50; n = runtime.NumGoroutine() {
		runtime.Gosched() // net/http's goroutines are about to end
	}
}

// The arguments that Events refuses.
func TestEventsInvalid(t *testing.T) {
	for name, f := range map[string]func(){
		"open is nil": func() { websocket.Events(nil, nil) },
		"OriginPatterns": func() {
			websocket.Events(func(*websocket.Conn, *http.Request) websocket.EventHandler { return nil },
				&websocket.ServerOptions{AcceptOptions: websocket.AcceptOptions{OriginPatterns: []string{"["}}})
		},
	} {
		func() {
			defer func() {
				if v := fmt.Sprint(recover()); !strings.Contains(v, name) {
					t.Errorf("%s: %s", name, v)
				}
			}()
			f()
		}()
	}
}

// Addresses are those of the socket, after its end too, over TCP and Unix
// sockets.
func TestEventsAddresses(t *testing.T) {
	for _, listen := range [][2]string{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"unix", filepath.Join(t.TempDir(), "s")}} {
		t.Run(listen[0], func(t *testing.T) {
			l, err := net.Listen(listen[0], listen[1])
			if err != nil {
				t.Skip(err)
			}
			closed := make(chan [2]net.Addr, 1)
			s := websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
				local := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
				if got := c.LocalAddr(); got.String() != local.String() || got.Network() != local.Network() {
					t.Errorf("local %v, want %v", got, local)
				}
				if got := c.RemoteAddr(); got.String() != r.RemoteAddr {
					t.Errorf("remote %v, want %v", got, r.RemoteAddr)
				}
				return events{func(m websocket.Message) { c.Write(context.Background(), m.Type, m.Data) }, func(error) {
					closed <- [2]net.Addr{c.LocalAddr(), c.RemoteAddr()}
				}}
			}, nil)
			defer s.Close()
			go http.Serve(l, s)
			defer l.Close()
			dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
				return net.Dial(l.Addr().Network(), l.Addr().String())
			}
			c, _, err := websocket.Dial(t.Context(), "ws://host/", &websocket.DialOptions{
				HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dial}}})
			if err != nil {
				t.Fatal(err)
			}
			c.Write(t.Context(), websocket.MessageText, []byte("x"))
			if _, _, err := c.Read(t.Context()); err != nil {
				t.Error(err)
			}
			local := c.RemoteAddr().String()
			c.CloseNow()
			if got := <-closed; got[0].String() != local || got[1] == nil {
				t.Errorf("afterwards %v, want local %s", got, local)
			}
		})
	}
}

// A Server of Events has connections of AcceptConn too, which it adopts: they
// count, and end with the others. A goroutine of the program serves them.
func TestEventsAdopt(t *testing.T) {
	forEvents(t, func(t *testing.T, start eventStarter) {
		s := start(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
			return events{message: func(m websocket.Message) { c.Write(context.Background(), m.Type, m.Data) }}
		}, &websocket.ServerOptions{MaxConnections: 3})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var served sync.WaitGroup
		var adopted []*websocket.Conn
		// bare dials a connection of AcceptConn, and returns what Adopt did.
		bare := func() (client *websocket.Conn, err error) {
			t.Helper()
			near, dialErr := net.Dial("tcp", l.Addr().String())
			far, acceptErr := l.Accept()
			if err := errors.Join(dialErr, acceptErr); err != nil {
				t.Fatal(err)
			}
			if s.http.TLS != nil {
				near = tls.Client(near, &tls.Config{InsecureSkipVerify: true})
				far = tls.Server(far, s.http.TLS)
			}
			done := make(chan error, 1)
			served.Go(func() {
				c, _, err := websocket.AcceptConn(context.Background(), far, nil)
				if err != nil {
					t.Error(err)
					done <- err
					return
				}
				defer c.CloseNow()
				err = s.Adopt(c)
				if err == nil {
					adopted = append(adopted, c)
				}
				if done <- err; err == nil {
					_ = echo(c)
				}
			})
			client, _, err = websocket.DialConn(t.Context(), near, "ws://example.com/", nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { client.CloseNow() })
			return client, <-done
		}
		exchange := func(c *websocket.Conn) {
			t.Helper()
			err := c.Write(t.Context(), websocket.MessageText, []byte("hello"))
			if err != nil {
				t.Fatal(err)
			}
			if _, data, err := c.Read(t.Context()); string(data) != "hello" || err != nil {
				t.Fatalf("Read = %q, %v", data, err)
			}
		}

		first, err1 := bare()
		second, err2 := bare()
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		own := s.dial(t, nil)
		for _, c := range []*websocket.Conn{first, own, second, own, first} {
			exchange(c)
		}
		if stats := s.Stats(); stats.Open != 3 || stats.Accepted != 3 || s.Connections() != 3 {
			t.Errorf("the server has %+v", stats)
		}
		all := 0
		for c := range s.All() {
			if all++; s.Adopt(c) == nil {
				t.Error("a connection was adopted twice")
			}
		}
		if all != 3 {
			t.Errorf("All yields %d connections", all)
		}

		// The limit is for both kinds, and a place is free again for both.
		if _, err := bare(); err == nil {
			t.Error("a fourth connection was adopted")
		}
		_, resp, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.http.URL, "http"), &websocket.DialOptions{HTTPClient: s.http.Client()})
		if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a fourth connection: %v, %v", resp, err)
		}
		if err := second.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		await(t, func() bool { return s.Connections() == 2 })
		third := s.dial(t, nil)
		exchange(third)

		clients := []*websocket.Conn{first, own, third}
		ends := make([]websocket.End, len(clients))
		var reads sync.WaitGroup
		for i, c := range clients {
			reads.Go(func() {
				c.Read(context.Background())
				ends[i] = c.End()
			})
		}
		if err := s.ShutdownWith(t.Context(), websocket.StatusServiceRestart, "new version"); err != nil || s.Connections() != 0 {
			t.Errorf("ShutdownWith = %v, %d connections left", err, s.Connections())
		}
		reads.Wait()
		for i, end := range ends {
			if end.Code != websocket.StatusServiceRestart || end.Reason != "new version" {
				t.Errorf("connection %d ended with %+v", i, end)
			}
		}
		if _, err := bare(); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Adopt after the end: %v", err)
		}
		served.Wait()
		if len(adopted) != 2 {
			t.Errorf("%d connections were adopted", len(adopted))
		}
	})
}
