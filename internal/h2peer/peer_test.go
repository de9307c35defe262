package h2peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/wstest"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func TestMain(m *testing.M) {
	WithConnect()
	os.Exit(wstest.Main(m))
}

// A server is an HTTP/2 server, with TLS or without.
type server struct {
	*httptest.Server
	secure bool
	errors *lockedLog
}

type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func serve(t testing.TB, secure bool, h http.Handler, configure ...func(*http.Server)) *server {
	t.Helper()
	s := &server{Server: httptest.NewUnstartedServer(h), secure: secure, errors: new(lockedLog)}
	s.Config.ErrorLog = log.New(s.errors, "", 0)
	for _, f := range configure {
		f(s.Config)
	}
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Config.Protocols.SetHTTP1(true)
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// peer connects to s. window is what each stream lets the server send at first.
func (s *server) peer(t testing.TB, window uint32) *Peer {
	t.Helper()
	var config *tls.Config
	if s.secure {
		config = &tls.Config{InsecureSkipVerify: true}
	}
	p, err := Dial(s.Listener.Addr().String(), config, window)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if !p.Connect() {
		t.Fatal("the server does not take an extended CONNECT")
	}
	return p
}

// open opens a WebSocket, which the server must accept.
func (p *Peer) open(t testing.TB, more ...string) *Stream {
	t.Helper()
	s, err := p.Open(Handshake("example.com", "/", more...), false, false)
	return accepted(t, s, err)
}

// openStingy is open for a stream whose window never grows by itself.
func (p *Peer) openStingy(t testing.TB, more ...string) *Stream {
	t.Helper()
	s, err := p.Open(Handshake("example.com", "/", more...), true, false)
	return accepted(t, s, err)
}

func accepted(t testing.TB, s *Stream, err error) *Stream {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.Header()
	if err != nil || !reflect.DeepEqual(h[":status"], []string{"200"}) {
		t.Fatalf("the response: %v, %v", h, err)
	}
	s.SetDeadline(time.Now().Add(30 * time.Second))
	return s
}

// script returns a scripted client over s.
func script(t testing.TB, s *Stream) *wstest.Peer { return wstest.NewPeer(t, s, wstest.Client) }

func echo(c *websocket.Conn, _ *http.Request) {
	for m, err := range c.Messages(context.Background()) {
		if err != nil || c.Write(context.Background(), m.Type, m.Data) != nil {
			return
		}
	}
}

// both runs f with a server over TLS, and with one in the clear.
func both(t *testing.T, f func(t *testing.T, secure bool)) {
	t.Run("h2", func(t *testing.T) { f(t, true) })
	t.Run("h2c", func(t *testing.T) { f(t, false) })
}

// doors are the ways to serve, each with a function that echoes.
var doors = []struct {
	name    string
	handler func() http.Handler
}{
	{"Handler", func() http.Handler { return websocket.Handler(echo, nil) }},
	{"Accept", func() http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer c.CloseNow()
			echo(c, r)
		})
	}},
	{"Detach", func() http.Handler {
		return websocket.NewServer(echo, &websocket.ServerOptions{
			Detach: func(*http.Request) context.Context { return context.Background() }})
	}},
	{"Events", func() http.Handler {
		return websocket.Events(func(c *websocket.Conn, _ *http.Request) websocket.EventHandler { return echoEvents{c} }, nil)
	}},
}

type echoEvents struct{ c *websocket.Conn }

func (e echoEvents) Message(m websocket.Message) { e.c.Write(context.Background(), m.Type, m.Data) }
func (echoEvents) Close(error)                   {}

func TestEcho(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		for _, door := range doors {
			t.Run(door.name, func(t *testing.T) {
				p := serve(t, secure, door.handler()).peer(t, Window)
				ws := p.open(t)
				c := script(t, ws)
				for _, n := range []int{0, 1, 125, 5000, 300_000} {
					text := strings.Repeat("x", n)
					c.WriteFrame(wstest.Text, text)
					c.WantMessage(wstest.Text, text)
				}
				for i := range 100 {
					c.WritePieces(c.Encode(wstest.Final(wstest.Binary, fmt.Sprint(i))), 2)
				}
				for i := range 100 {
					c.WantFrame(wstest.Binary, fmt.Sprint(i))
				}
				c.WriteFrame(wstest.Ping, "are you there")
				c.WantFrame(wstest.Pong, "are you there")
				c.WriteClose(1000, "bye")
				c.WantClose(1000)
				c.WantEOF()
			})
		}
	})
}

// The response has status 200, and no field of HTTP/1.1 (RFC 8441, section 5).
func TestResponse(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "a=1")
		w.Header().Set("Content-Length", "0") // would end the response
		w.Header().Set("Connection", "close")
		w.Header().Set("Sec-WebSocket-Accept", "x")
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols: []string{"b", "a"}, CompressionMode: websocket.CompressionContextTakeover})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		if c.Subprotocol() != "b" || c.RemoteAddr().Network() != "tcp" || c.LocalAddr().Network() != "tcp" {
			t.Errorf("subprotocol %q, %v, %v", c.Subprotocol(), c.RemoteAddr(), c.LocalAddr())
		}
		echo(c, r)
	})
	both(t, func(t *testing.T, secure bool) {
		p := serve(t, secure, h).peer(t, Window)
		ws := p.open(t, "sec-websocket-protocol", "a, b", "sec-websocket-extensions", "permessage-deflate", "origin", "https://example.com")
		got, _ := ws.Header()
		delete(got, "date")
		want := map[string][]string{
			":status": {"200"}, "set-cookie": {"a=1"}, "sec-websocket-protocol": {"b"}, "sec-websocket-extensions": {"permessage-deflate"},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the response has %v, want %v", got, want)
		}
		c := script(t, ws)
		// "Hello" compressed, from RFC 7692, section 7.2.3.1.
		c.WriteFrames(wstest.Frame{Fin: true, RSV: 4, Op: wstest.Text, Payload: []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}})
		c.WantFrame(wstest.Text, "Hello")
		c.WriteClose(1000, "")
		c.WantClose(1000)
		c.WantEOF()
	})
}

func TestRefusals(t *testing.T) {
	h := websocket.Handler(func(*websocket.Conn, *http.Request) { t.Error("serve was called") }, &websocket.AcceptOptions{OriginPatterns: []string{"good.example"}})
	both(t, func(t *testing.T, secure bool) {
		p := serve(t, secure, h).peer(t, Window)
		for _, tt := range []struct {
			name   string
			change map[string]string // "" takes the field out
			status string
			body   string
			header string
		}{
			{"another protocol", map[string]string{":protocol": "connect-udp"}, "501", `the :protocol is not websocket: "connect-udp"`, ""},
			{"no version", map[string]string{"sec-websocket-version": ""}, "426", "the Sec-WebSocket-Version must be 13", "sec-websocket-version=13"},
			{"version 8", map[string]string{"sec-websocket-version": "8"}, "426", "the Sec-WebSocket-Version must be 13", "sec-websocket-version=13"},
			{"a bad origin", map[string]string{"origin": "https://evil.example"}, "403", "evil.example", ""},
			{"origin null", map[string]string{"origin": "null"}, "403", "null", ""},
			{"a bad subprotocol", map[string]string{"sec-websocket-protocol": "a b"}, "400", "invalid Sec-WebSocket-Protocol", ""},
			{"a bad extension", map[string]string{"sec-websocket-extensions": ";"}, "400", "invalid Sec-WebSocket-Extensions", ""},
			{"a length", map[string]string{"content-length": "5"}, "400", "Content-Length", ""},
			{"a POST", map[string]string{":protocol": "", ":method": "POST"}, "405", "the method of a WebSocket handshake", ""},
		} {
			var fields []hpack.HeaderField
			for _, f := range Handshake("example.com", "/") {
				if v, ok := tt.change[f.Name]; !ok {
					fields = append(fields, f)
				} else if v != "" {
					fields = append(fields, hpack.HeaderField{Name: f.Name, Value: v})
				}
				delete(tt.change, f.Name)
			}
			for name, v := range tt.change {
				fields = append(fields, hpack.HeaderField{Name: name, Value: v})
			}
			s, err := p.Open(fields, false, false)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Header()
			if err != nil || !reflect.DeepEqual(got[":status"], []string{tt.status}) {
				t.Errorf("%s: %v, %v, want status %s", tt.name, got, err, tt.status)
				continue
			}
			if got["connection"] != nil || got["upgrade"] != nil {
				t.Errorf("%s: %v", tt.name, got)
			}
			if name, v, ok := strings.Cut(tt.header, "="); ok && !reflect.DeepEqual(got[name], []string{v}) {
				t.Errorf("%s: %v, want %s", tt.name, got, tt.header)
			}
			s.SetDeadline(time.Now().Add(10 * time.Second))
			if body, err := io.ReadAll(s); !strings.Contains(string(body), tt.body) || err != nil {
				t.Errorf("%s: the body %q, %v", tt.name, body, err)
			}
		}
		tunnel := []hpack.HeaderField{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: "example.com:80"}}
		s, err := p.Open(tunnel, false, false)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Header(); err != nil || got[":status"][0] != "400" {
			t.Errorf("CONNECT without :protocol: %v, %v", got, err)
		}
		// The connection lives on.
		s, err = p.Open(append(Handshake("example.com", "/"), hpack.HeaderField{Name: "origin", Value: "https://other.example"}), false, false)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Header(); err != nil || got[":status"][0] != "403" {
			t.Errorf("%v, %v", got, err)
		}
		if p.GoneAway() {
			t.Error("the server ends the connection after a refusal")
		}
	})
}

// A handler that has responded already has no connection.
func TestRespondedAlready(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		for name, wrap := range map[string]func(w http.ResponseWriter) http.ResponseWriter{
			"no wrapper": func(w http.ResponseWriter) http.ResponseWriter { return w },
			"a wrapper":  func(w http.ResponseWriter) http.ResponseWriter { return unwrapped{w} },
		} {
			errs := make(chan error, 1)
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusAccepted)
				_, err := websocket.Accept(wrap(w), r, nil)
				errs <- err
			})
			s, err := serve(t, secure, h).peer(t, Window).Open(Handshake("example.com", "/"), false, false)
			if err != nil {
				t.Fatal(err)
			}
			if err := <-errs; err == nil || !strings.Contains(err.Error(), "responded already, with status 202") {
				t.Errorf("%s: Accept: %v", name, err)
			}
			if got, err := s.Header(); err != nil || got[":status"][0] != "202" {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
	})
}

type unwrapped struct{ http.ResponseWriter }

func (w unwrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// A served is a Conn of one handler, and what it ended with.
type served struct {
	c    chan *websocket.Conn
	done chan struct{} // closed when the handler has returned
}

// hand returns a handler that hands its connection to the test, and returns
// when the connection is over.
func hand(t testing.TB, opts *websocket.AcceptOptions, plain bool) (http.Handler, *served) {
	s := &served{c: make(chan *websocket.Conn, 1), done: make(chan struct{})}
	run := func(c *websocket.Conn, r *http.Request) {
		s.c <- c
		<-r.Context().Done()
	}
	server := websocket.Handler(run, opts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(s.done)
		if !plain {
			server.ServeHTTP(w, r)
			return
		}
		c, err := websocket.Accept(w, r, opts)
		if err != nil {
			t.Error(err)
			return
		}
		s.c <- c
		<-c.CloseRead(context.Background()).Done()
	}), s
}

func (s *served) wait(t testing.TB) {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		buf := make([]byte, 1<<20)
		t.Fatalf("the handler has not returned\n%s", buf[:runtime.Stack(buf, true)])
	}
}

var ctx = context.Background()

// How a peer ends a stream, and what a read and a write get for it.
func TestAbruptEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, p *Peer, s *Stream)
	}{
		{"CANCEL", func(t *testing.T, p *Peer, s *Stream) { s.Reset(http2.ErrCodeCancel) }},
		{"CANCEL inside a message", func(t *testing.T, p *Peer, s *Stream) {
			c := script(t, s)
			b := c.Encode(wstest.Final(wstest.Text, strings.Repeat("x", 1000)))
			c.WriteRaw(b[:500])
			s.Reset(http2.ErrCodeCancel)
		}},
		{"the end of the stream without a close frame", func(t *testing.T, p *Peer, s *Stream) { s.CloseWrite() }},
		{"the end of the stream inside a message", func(t *testing.T, p *Peer, s *Stream) {
			c := script(t, s)
			b := c.Encode(wstest.Final(wstest.Text, strings.Repeat("x", 1000)))
			c.WriteRaw(b[:500])
			s.CloseWrite()
		}},
		{"the end of TCP", func(t *testing.T, p *Peer, s *Stream) { p.Conn.Close() }},
		{"GOAWAY and the end of TCP", func(t *testing.T, p *Peer, s *Stream) {
			p.frame(func() error { return p.fr.WriteGoAway(0, http2.ErrCodeNo, nil) })
			p.Conn.Close()
		}},
		{"an error of the connection", func(t *testing.T, p *Peer, s *Stream) {
			p.frame(func() error { return p.fr.WriteRawFrame(http2.FrameData, 0, 0, []byte("x")) })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(t *testing.T, secure bool) {
				h, s := hand(t, nil, false)
				p := serve(t, secure, h).peer(t, Window)
				ws := p.open(t)
				c := <-s.c
				script(t, ws).WriteFrame(wstest.Text, "first")
				if _, b, err := c.Read(ctx); string(b) != "first" || err != nil {
					t.Fatalf("Read: %q, %v", b, err)
				}
				tt.end(t, p, ws)
				_, _, err := c.Read(ctx)
				if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Read: %v", err)
				}
				if err := c.Write(ctx, websocket.MessageText, []byte("x")); err == nil ||
					!errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("Write: %v", err)
				}
				s.wait(t)
			})
		})
	}
}

// A writer notices a reset by itself.
func TestResetWrite(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		h, s := hand(t, nil, false)
		p := serve(t, secure, h).peer(t, 1000)
		ws := p.openStingy(t)
		c := <-s.c
		written := make(chan error, 1)
		go func() { written <- c.Write(ctx, websocket.MessageBinary, make([]byte, 100_000)) }()
		for ws.Unread() < 1000 {
			time.Sleep(time.Millisecond)
		}
		ws.Reset(http2.ErrCodeCancel)
		if err := <-written; !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: %v", err)
		}
		if _, _, err := c.Read(ctx); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Read: %v", err)
		}
		s.wait(t)
	})
}

// A read that is cancelled loses nothing, wherever it stands.
func TestReadCancelled(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		h, s := hand(t, nil, false)
		ws := serve(t, secure, h).peer(t, Window).open(t)
		c := <-s.c
		peer := script(t, ws)
		text := strings.Repeat("0123456789", 2000)
		b := peer.Encode(wstest.First(wstest.Text, text[:7000]), wstest.Final(wstest.Continuation, text[7000:]))
		for i, cut := range []int{0, 1, 3, 130, 7010, 20000, len(b)} {
			if i > 0 {
				peer.WriteRaw(b[[]int{0, 1, 3, 130, 7010, 20000, len(b)}[i-1]:cut])
			}
			if cut == len(b) {
				break
			}
			if i%2 == 0 {
				ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
				_, _, err := c.Read(ctx)
				cancel()
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("Read with a context that ends: %v", err)
				}
			} else {
				c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				_, _, err := c.Read(ctx)
				c.SetReadDeadline(time.Time{})
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("Read with a deadline: %v", err)
				}
			}
		}
		if _, got, err := c.Read(ctx); string(got) != text || err != nil {
			t.Fatalf("Read: %d bytes, %v", len(got), err)
		}
		done := make(chan struct{})
		go func() { defer close(done); peer.WriteClose(1000, ""); peer.WantClose(1000); peer.WantEOF() }()
		if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != 1000 {
			t.Errorf("Read: %v", err)
		}
		<-done
		s.wait(t)
	})
}

// One peer opens no window of the stream, and another does not read its
// connection at all. No call of a Conn waits for either.
func TestStalledPeer(t *testing.T) {
	for _, plain := range []bool{false, true} {
		for _, tt := range []struct {
			name string
			opts websocket.AcceptOptions
			run  func(c *websocket.Conn) error
			want error
		}{
			{"a write with a context", websocket.AcceptOptions{}, func(c *websocket.Conn) error {
				ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
				return c.Write(ctx, websocket.MessageBinary, make([]byte, 100_000))
			}, context.DeadlineExceeded},
			{"a write with a deadline", websocket.AcceptOptions{}, func(c *websocket.Conn) error {
				c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
				return c.Write(ctx, websocket.MessageBinary, make([]byte, 100_000))
			}, os.ErrDeadlineExceeded},
			{"CloseNow ends a write", websocket.AcceptOptions{}, func(c *websocket.Conn) error {
				time.AfterFunc(50*time.Millisecond, func() { c.CloseNow() })
				return c.Write(ctx, websocket.MessageBinary, make([]byte, 100_000))
			}, net.ErrClosed},
			{"Close has its timeout", websocket.AcceptOptions{CloseTimeout: 50 * time.Millisecond}, func(c *websocket.Conn) error {
				go c.Write(ctx, websocket.MessageBinary, make([]byte, 100_000))
				time.Sleep(20 * time.Millisecond)
				return c.Close(1000, "")
			}, context.DeadlineExceeded},
			{"the heartbeat ends a write", websocket.AcceptOptions{PingInterval: 40 * time.Millisecond, PongTimeout: 40 * time.Millisecond}, func(c *websocket.Conn) error {
				return c.Write(ctx, websocket.MessageBinary, make([]byte, 100_000))
			}, websocket.ErrPongTimeout},
		} {
			t.Run(fmt.Sprintf("%s/%v", tt.name, plain), func(t *testing.T) {
				both(t, func(t *testing.T, secure bool) {
					opts := tt.opts
					h, s := hand(t, &opts, plain)
					p := serve(t, secure, h).peer(t, 0)
					p.openStingy(t)
					c := <-s.c
					start := time.Now()
					if err := tt.run(c); !errors.Is(err, tt.want) {
						t.Errorf("%v, want %v", err, tt.want)
					}
					if d := time.Since(start); d > 30*time.Second {
						t.Errorf("it took %v", d)
					}
					s.wait(t)
					if p.GoneAway() || p.Err() != nil {
						t.Errorf("the connection below: %v", p.Err())
					}
				})
			})
		}
	}
}

// A peer that gives up on a ping is found, and so is one that reads no byte of
// the connection.
func TestHeartbeat(t *testing.T) {
	h, s := hand(t, &websocket.AcceptOptions{PingInterval: 50 * time.Millisecond, PongTimeout: 50 * time.Millisecond}, false)
	ws := serve(t, false, h).peer(t, Window).open(t)
	c := <-s.c
	if _, _, err := c.Read(ctx); !errors.Is(err, websocket.ErrPongTimeout) {
		t.Errorf("Read: %v", err)
	}
	script(t, ws).ReadFrame() // a ping
	s.wait(t)
}

// A TCP connection that is stalled holds a write back inside net/http until it
// ends. The calls of the Conn return at their bounds all the same; the handler
// waits for net/http.
func TestStalledConnection(t *testing.T) {
	for _, plain := range []bool{false, true} {
		h, s := hand(t, nil, plain)
		near, far := net.Pipe() // holds nothing back, and takes nothing unread
		l := &oneListener{conn: near, done: make(chan struct{})}
		srv := &http.Server{Handler: h, Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
		srv.Protocols.SetUnencryptedHTTP2(true)
		go srv.Serve(l)
		gate := &gatedConn{Conn: far, open: make(chan struct{})}
		close(gate.open)
		p, err := New(gate, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		p.open(t)
		c := <-s.c
		gate.shut()
		start := time.Now()
		wctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		for err == nil {
			err = c.Write(wctx, websocket.MessageBinary, make([]byte, 50_000))
		}
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Write: %v", err)
		}
		c.CloseNow()
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("it took %v", d)
		}
		select {
		case <-s.done:
			t.Error("the handler has returned, and net/http takes its writer back while it is in use")
		case <-time.After(50 * time.Millisecond):
		}
		near.Close()
		s.wait(t)
		gate.Close()
		srv.Close()
		<-p.done
	}
}

// A oneListener has one connection.
type oneListener struct {
	conn net.Conn
	once atomic.Bool
	end  sync.Once
	done chan struct{}
}

func (l *oneListener) Accept() (net.Conn, error) {
	if l.once.CompareAndSwap(false, true) {
		return l.conn, nil
	}
	<-l.done
	return nil, net.ErrClosed
}
func (l *oneListener) Close() error   { l.end.Do(func() { close(l.done) }); return nil }
func (l *oneListener) Addr() net.Addr { return l.conn.LocalAddr() }

// A gatedConn can be told to read nothing.
type gatedConn struct {
	net.Conn
	mu   sync.Mutex
	open chan struct{}
}

func (g *gatedConn) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gatedConn) Close() error {
	g.mu.Lock()
	select {
	case <-g.open:
	default:
		close(g.open)
	}
	g.mu.Unlock()
	return g.Conn.Close()
}

func (g *gatedConn) Read(p []byte) (int, error) {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	<-open
	return g.Conn.Read(p)
}

// The timeouts of the http.Server do not concern a connection.
func TestServerTimeouts(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		s := serve(t, secure, websocket.Handler(echo, nil), func(s *http.Server) {
			s.ReadTimeout, s.WriteTimeout, s.IdleTimeout, s.ReadHeaderTimeout = time.Second, time.Second, time.Second, time.Second
		})
		c := script(t, s.peer(t, Window).open(t))
		time.Sleep(2 * time.Second)
		c.WriteFrame(wstest.Text, "later")
		c.WantFrame(wstest.Text, "later")
		c.WriteClose(1000, "")
		c.WantClose(1000)
		c.WantEOF()
	})
}

// A peer breaks a rule: it reads why before the stream ends.
func TestFailure(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		p := serve(t, secure, websocket.Handler(echo, &websocket.AcceptOptions{ReadLimit: 100})).peer(t, Window)
		for _, tt := range []struct {
			frame wstest.Frame
			code  int
		}{
			{wstest.Frame{Fin: true, Op: wstest.Text, Payload: []byte("x"), Mask: wstest.Unmasked}, 1002},
			{wstest.Final(wstest.Text, "\xff"), 1007},
			{wstest.Final(wstest.Text, strings.Repeat("x", 101)), 1009},
		} {
			// Of a busy machine the fastest of some tries says how long it takes.
			var took time.Duration
			for try := 0; try == 0 || took > 700*time.Millisecond && try < 5; try++ {
				c := script(t, p.open(t))
				c.WriteFrames(tt.frame)
				c.WantClose(tt.code)
				start := time.Now()
				c.WantEOF() // before this side ends its own direction
				took = time.Since(start)
			}
			if took > 700*time.Millisecond {
				t.Errorf("the stream ended %v after the close frame", took)
			}
		}
	})
}

// A panic of serve closes its stream with code 1011, and no other.
func TestPanic(t *testing.T) {
	s := serve(t, true, websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		if _, b, _ := c.Read(ctx); string(b) == "panic" {
			panic("as it was asked to")
		}
		echo(c, r)
	}, nil))
	p := s.peer(t, Window)
	other := script(t, p.open(t))
	other.WriteFrame(wstest.Text, "no panic")
	c := script(t, p.open(t))
	c.WriteFrame(wstest.Text, "panic")
	c.WantClose(1011)
	c.WriteClose(1011, "")
	c.WantEOF()
	other.WriteFrame(wstest.Text, "still here")
	other.WantFrame(wstest.Text, "still here")
	if !strings.Contains(s.errors.String(), "as it was asked to") {
		t.Errorf("the log has %q", s.errors)
	}
}

// Shutdown closes each stream with 1001, and waits for all.
func TestShutdown(t *testing.T) {
	both(t, func(t *testing.T, secure bool) {
		h := websocket.Handler(echo, nil)
		p := serve(t, secure, h).peer(t, Window)
		var wg sync.WaitGroup
		for i := range 50 {
			ws := p.open(t)
			if i%5 == 0 {
				continue // reads nothing more, and answers nothing
			}
			wg.Go(func() {
				c := script(t, ws)
				c.WantClose(1001)
				c.WriteClose(1001, "")
				c.WantEOF()
			})
		}
		for h.Connections() < 50 {
			time.Sleep(time.Millisecond)
		}
		sctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if err := h.Shutdown(sctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown with peers that do not answer: %v", err)
		}
		wg.Wait()
		s, err := p.Open(Handshake("example.com", "/"), false, false)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Header(); err != nil || got[":status"][0] != "503" || len(got["retry-after"]) != 1 {
			t.Errorf("a request after Shutdown: %v, %v", got, err)
		}
		for h.Connections() > 0 {
			time.Sleep(time.Millisecond)
		}
	})
}

// A thousand streams of a few connections at a time. net/http lets a connection
// have 250 unless HTTP2Config.MaxConcurrentStreams says otherwise.
func TestThousandStreams(t *testing.T) {
	before := runtime.NumGoroutine()
	h := websocket.Handler(echo, nil)
	srv := serve(t, false, h)
	var wg sync.WaitGroup
	for range 4 {
		p := srv.peer(t, Window)
		var streams []*Stream
		for range 250 {
			streams = append(streams, p.open(t))
		}
		for i, ws := range streams {
			wg.Go(func() {
				c := script(t, ws)
				for n := range 3 {
					text := fmt.Sprintf("%d of stream %d", n, i)
					c.WriteFrame(wstest.Text, text)
					c.WantFrame(wstest.Text, text)
				}
			})
		}
		wg.Wait()
	}
	if n := h.Connections(); n != 1000 {
		t.Errorf("%d connections", n)
	}
	sctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	go h.Close()
	for h.Connections() > 0 && sctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	srv.CloseClientConnections()
	for runtime.NumGoroutine() > before+5 && sctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before+5 {
		t.Errorf("%d goroutines, before %d", n, before)
	}
}

// The request that serve gets: its context lives as long as the connection, and
// the body is not for it.
func TestRequest(t *testing.T) {
	done := make(chan struct{})
	h := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		defer close(done)
		if r.Method != "CONNECT" || r.ProtoMajor != 2 || r.Host != "example.com" || r.URL.Path != "/room" || r.Body != http.NoBody {
			t.Errorf("%v", r)
		}
		if _, _, err := c.Read(r.Context()); err == nil {
			t.Error("Read succeeds")
		}
		if r.Context().Err() == nil {
			t.Error("the context lives on")
		}
	}, nil)
	mux := http.NewServeMux()
	mux.Handle("/{name}", h)
	p := serve(t, true, mux).peer(t, Window)
	s, err := p.Open(Handshake("example.com", "/room"), false, false)
	accepted(t, s, err)
	s.Reset(http2.ErrCodeCancel)
	<-done
}

// A request that ends its stream at once is a connection that ends at once.
func TestEndedRequest(t *testing.T) {
	h, s := hand(t, nil, false)
	p := serve(t, true, h).peer(t, Window)
	ws, err := p.Open(Handshake("example.com", "/"), false, true)
	accepted(t, ws, err)
	if _, _, err := (<-s.c).Read(ctx); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Read: %v", err)
	}
	s.wait(t)
}

// A bound on the body of a request bounds the connection.
func TestMaxBytesHandler(t *testing.T) {
	h, s := hand(t, nil, false)
	ws := serve(t, true, http.MaxBytesHandler(h, 1000)).peer(t, Window).open(t)
	c := <-s.c
	peer := script(t, ws)
	peer.WriteFrame(wstest.Binary, strings.Repeat("x", 900))
	if _, b, err := c.Read(ctx); len(b) != 900 || err != nil {
		t.Fatalf("Read: %d bytes, %v", len(b), err)
	}
	peer.WriteFrame(wstest.Binary, strings.Repeat("x", 900))
	if _, _, err := c.Read(ctx); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "too large") {
		t.Errorf("Read: %v", err)
	}
	s.wait(t)
}
