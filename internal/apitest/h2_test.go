package apitest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/httpfake"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// These tests give a handler what net/http gives it for an extended CONNECT.
// Those with net/http itself, and frames of HTTP/2, are in the module
// internal/h2peer.

// How long a write may take beyond its bound, and how long the end of a stream.
const (
	writeGrace     = 100 * time.Millisecond
	goodbyeTimeout = 10 * time.Millisecond
)

// connectRequest is the request of an extended CONNECT, and its response, over
// one end of a transport; far is the other.
func connectRequest(opts netfake.Options) (r *http.Request, w *httpfake.StreamWriter, far net.Conn) {
	near, far := netfake.Pipe(opts)
	r = httptest.NewRequest("CONNECT", "/room", near)
	r.Proto, r.ProtoMajor, r.ProtoMinor, r.ContentLength, r.Host = "HTTP/2.0", 2, 0, -1, "example.com"
	r.Body = near
	r.Header = http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}}
	return r, &httpfake.StreamWriter{Conn: near, Fields: http.Header{}}, far
}

// A deafWrapper passes on nothing but the status. It has a method Unwrap.
type deafWrapper struct {
	http.ResponseWriter
	t      *testing.T
	status int
}

func (w *deafWrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *deafWrapper) WriteHeader(status int)      { w.status = status }
func (w *deafWrapper) Flush()                      { w.t.Error("the wrapper is flushed") }
func (w *deafWrapper) Write([]byte) (int, error) {
	w.t.Error("a frame goes through the wrapper")
	return 0, io.ErrClosedPipe
}

func TestHTTP2Stream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w, far := connectRequest(netfake.Options{Buffer: 1 << 20})
		w.Fields["X-Own"] = []string{"yes"}
		w.Fields["Upgrade"] = []string{"x"}
		w.Fields["Content-Length"] = []string{"1"}
		r.Header["Sec-Websocket-Protocol"] = []string{"a, b"}
		wrapped := &deafWrapper{ResponseWriter: w, t: t}
		c, err := websocket.Accept(wrapped, r, &websocket.AcceptOptions{Subprotocols: []string{"b"}})
		if err != nil {
			t.Fatal(err)
		}
		want := http.Header{"X-Own": {"yes"}, "Sec-WebSocket-Protocol": {"b"}}
		if wrapped.status != 200 || !reflect.DeepEqual(w.Fields, want) || w.Flushes.Load() != 1 {
			t.Errorf("status %d, header %v, %d flushes", wrapped.status, w.Fields, w.Flushes.Load())
		}
		if c.Subprotocol() != "b" || c.RemoteAddr().String() != r.RemoteAddr || c.LocalAddr() == nil {
			t.Errorf("%q, %v, %v", c.Subprotocol(), c.RemoteAddr(), c.LocalAddr())
		}
		p := wstest.NewPeer(t, far, wstest.Client)
		if err := c.Write(context.Background(), websocket.MessageText, []byte("hello")); err != nil {
			t.Error(err)
		}
		p.WantFrame(wstest.Text, "hello")
		if w.Flushes.Load() != 2 {
			t.Errorf("%d flushes", w.Flushes.Load())
		}
		done := start(func() error { return c.Close(websocket.StatusNormalClosure, "") })
		p.WantClose(1000)
		p.WriteClose(1000, "")
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := w.Resets.Load(); n != 0 {
			t.Errorf("an orderly end resets the stream")
		}
	})
}

// A hidingWrapper is one as of http.TimeoutHandler.
type hidingWrapper struct{ inner http.ResponseWriter }

func (w *hidingWrapper) Header() http.Header         { return w.inner.Header() }
func (w *hidingWrapper) Write(p []byte) (int, error) { return w.inner.Write(p) }
func (w *hidingWrapper) WriteHeader(status int)      { w.inner.WriteHeader(status) }

func TestHTTP2Refusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		edit   func(r *http.Request)
		status int
		text   string
	}{
		{"no :protocol", func(r *http.Request) { delete(r.Header, ":protocol") }, 400, "has no :protocol"},
		{"another :protocol", func(r *http.Request) { r.Header[":protocol"] = []string{"connect-ip"} }, 501, `the :protocol is not websocket: "connect-ip"`},
		{"HTTP/1.1", func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1 }, 405, "the method of a WebSocket handshake is GET"},
		{"version", func(r *http.Request) { r.Header["Sec-Websocket-Version"] = []string{"8"} }, 426, "must be 13"},
		{"no :authority", func(r *http.Request) { r.Host = "" }, 400, "there is no :authority"},
		{"a length", func(r *http.Request) { r.ContentLength = 5 }, 400, "an extended CONNECT has no Content-Length"},
		{"subprotocols", func(r *http.Request) { r.Header["Sec-Websocket-Protocol"] = []string{"a b"} }, 400, "invalid Sec-WebSocket-Protocol"},
		{"extensions", func(r *http.Request) { r.Header["Sec-Websocket-Extensions"] = []string{"="} }, 400, "invalid Sec-WebSocket-Extensions"},
		{"origin", func(r *http.Request) { r.Header["Origin"] = []string{"https://evil.example"} }, 403, "evil.example"},
		// A wrapper hides what it wraps, and has no method Unwrap.
		{"no Flusher", func(*http.Request) {}, 501, "the HTTP server cannot send frames at once"},
	} {
		r, _, far := connectRequest(netfake.Options{})
		far.Close()
		tt.edit(r)
		rec := httptest.NewRecorder()
		_, err := websocket.Accept(&hidingWrapper{rec}, r, nil)
		if rec.Code != tt.status || !matches(err, tt.text) || !strings.Contains(rec.Body.String(), strings.SplitN(tt.text, ":", 2)[0]) {
			t.Errorf("%s: status %d, body %q, %v", tt.name, rec.Code, rec.Body, err)
		}
		if tt.name != "HTTP/1.1" && (rec.Header()["Connection"] != nil || rec.Header()["Upgrade"] != nil) {
			t.Errorf("%s: header %v", tt.name, rec.Header())
		}
	}
}

// A write that the peer's window holds back ends at its bound, by a reset of
// the stream, and the handler returns.
func TestHTTP2WriteCut(t *testing.T) {
	for _, accept := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r, w, far := connectRequest(netfake.Options{Buffer: 1000})
			defer far.Close()
			serve := func(c *websocket.Conn, _ *http.Request) {
				start := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if err := c.Write(ctx, websocket.MessageBinary, make([]byte, 5000)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Write: %v", err)
				}
				if d := time.Since(start); d < time.Second || d > time.Second+writeGrace {
					t.Errorf("Write took %v", d)
				}
				if err := c.Write(context.Background(), websocket.MessageBinary, []byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("the next Write: %v", err)
				}
			}
			if accept {
				c, err := websocket.Accept(w, r, nil)
				if err != nil {
					t.Fatal(err)
				}
				serve(c, r)
				c.CloseNow()
			} else {
				websocket.Handler(serve, nil).ServeHTTP(w, r)
			}
			if n := w.Resets.Load(); n != 1 {
				t.Errorf("%d resets", n)
			}
		})
	}
}

// A write is stuck inside the HTTP server: the calls of the Conn return, serve
// returns, and ServeHTTP waits. The reads of a Conn of Accept wait in its
// place.
func TestHTTP2WriteStuck(t *testing.T) {
	for _, accept := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r, w, far := connectRequest(netfake.Options{Buffer: 1000})
			defer far.Close()
			w.Stuck = make(chan struct{})
			var served, returned atomic.Bool
			write := func(c *websocket.Conn) {
				begin := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if err := c.Write(ctx, websocket.MessageBinary, make([]byte, 5000)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Write: %v", err)
				}
				if err := c.CloseNow(); err != nil && !errors.Is(err, net.ErrClosed) {
					t.Errorf("CloseNow: %v", err)
				}
				if d := time.Since(begin); d > time.Second+writeGrace+goodbyeTimeout {
					t.Errorf("it took %v", d)
				}
			}
			done := start(func() error {
				defer returned.Store(true)
				if !accept {
					websocket.Handler(func(c *websocket.Conn, _ *http.Request) { write(c); served.Store(true) }, nil).ServeHTTP(w, r)
					return nil
				}
				c, err := websocket.Accept(w, r, nil)
				if err != nil {
					return err
				}
				go func() { write(c); served.Store(true) }()
				_, _, err = c.Read(context.Background())
				return err
			})
			time.Sleep(time.Minute)
			if !served.Load() || returned.Load() {
				t.Errorf("accept %v: the Conn's calls have returned: %v, the handler: %v", accept, served.Load(), returned.Load())
			}
			close(w.Stuck)
			if err := <-done; accept != errors.Is(err, net.ErrClosed) && accept != errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A handler that returns too early breaks its connection, and nothing else.
func TestHTTP2HandlerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w, far := connectRequest(netfake.Options{Buffer: 1000})
		defer far.Close()
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		w.Gone.Store(true)
		if err := c.Write(context.Background(), websocket.MessageBinary, []byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
	})
}

// ServeHTTP stays with each way to serve.
func TestHTTP2Stays(t *testing.T) {
	for name, s := range map[string]*websocket.Server{
		"Handler": websocket.Handler(func(c *websocket.Conn, r *http.Request) { c.Read(context.Background()) }, nil),
		"Detach": websocket.NewServer(func(c *websocket.Conn, r *http.Request) { c.Read(context.Background()) },
			&websocket.ServerOptions{Detach: func(*http.Request) context.Context { return context.Background() }}),
		"returns early": websocket.Handler(func(c *websocket.Conn, r *http.Request) {
			go c.Close(websocket.StatusNormalClosure, "") // serve returns while that is at work
			time.Sleep(time.Millisecond)
		}, nil),
		"Events": websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler { return ignoreEvents{} }, nil),
	} {
		synctest.Test(t, func(t *testing.T) {
			r, w, far := connectRequest(netfake.Options{Buffer: 1000})
			var returned atomic.Bool
			done := start(func() error { s.ServeHTTP(w, r); returned.Store(true); return nil })
			time.Sleep(time.Second)
			if returned.Load() {
				t.Errorf("%s: ServeHTTP has returned", name)
			}
			far.Close()
			<-done
			if n := s.Connections(); n != 0 {
				t.Errorf("%s: %d connections", name, n)
			}
		})
	}
}

type ignoreEvents struct{}

func (ignoreEvents) Message(websocket.Message) {}
func (ignoreEvents) Close(error)               {}
