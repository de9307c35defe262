package apitest

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A recycler is a router that reuses what it puts into the context of a
// request, or into the ResponseWriter, for the next request.
type recycler struct {
	mu   sync.Mutex
	free []*recycled
	wrap func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request)
	next http.Handler
}

type recycled struct {
	http.ResponseWriter
	room string
}

func (v *recycled) Unwrap() http.ResponseWriter { return v.ResponseWriter }

type recycledKey struct{}

func roomOf(r *http.Request) string {
	if v, ok := r.Context().Value(recycledKey{}).(*recycled); ok {
		return v.room
	}
	return ""
}

func (c *recycler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	v := &recycled{}
	if n := len(c.free); n > 0 {
		v, c.free = c.free[n-1], c.free[:n-1]
	}
	v.ResponseWriter, v.room = w, r.URL.Path
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		v.ResponseWriter, v.room = nil, ""
		c.free = append(c.free, v)
	}()
	w, r = c.wrap(w, r, v)
	c.next.ServeHTTP(w, r)
}

// The values that a router put into the context of a request stay there as long
// as serve runs. That holds though the router reuses it when ServeHTTP returns.
func TestServeHTTPRecycledContext(t *testing.T) {
	type own struct{}
	value := func(r *http.Request, v *recycled) context.Context {
		return context.WithValue(r.Context(), recycledKey{}, v)
	}
	for _, tt := range []struct {
		name string
		wrap func(http.ResponseWriter, *http.Request, *recycled) (http.ResponseWriter, *http.Request)
	}{
		{"a value", func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request) {
			return w, r.WithContext(value(r, v))
		}},
		{"a value below others", func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request) {
			return w, r.WithContext(context.WithValue(value(r, v), own{}, 1))
		}},
		{"a value below WithCancel", func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request) {
			ctx, cancel := context.WithCancel(value(r, v))
			context.AfterFunc(r.Context(), cancel)
			return w, r.WithContext(ctx)
		}},
		{"a value below WithTimeout", func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request) {
			ctx, cancel := context.WithTimeout(value(r, v), time.Hour)
			context.AfterFunc(r.Context(), cancel)
			return w, r.WithContext(ctx)
		}},
		{"a value below WithoutCancel", func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request) {
			return w, r.WithContext(context.WithoutCancel(value(r, v)))
		}},
		{"a value of net/http's key", func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request) {
			return w, r.WithContext(context.WithValue(value(r, v), http.LocalAddrContextKey, &net.TCPAddr{}))
		}},
		{"net/http's keys above another context", func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request) {
			ctx := context.WithValue(context.Background(), recycledKey{}, v)
			for _, key := range []any{http.ServerContextKey, http.LocalAddrContextKey} {
				ctx = context.WithValue(ctx, key, r.Context().Value(key))
			}
			ctx, cancel := context.WithCancel(ctx)
			context.AfterFunc(r.Context(), cancel)
			return w, r.WithContext(ctx)
		}},
		{"a value, in net/http's own request", func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request) {
			*r = *r.WithContext(value(r, v))
			return w, r
		}},
		{"a value below WithCancel, in net/http's own request", func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request) {
			ctx, cancel := context.WithCancel(value(r, v))
			context.AfterFunc(r.Context(), cancel)
			*r = *r.WithContext(ctx)
			return w, r
		}},
		{"a context of its own", func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request) {
			return w, r.WithContext(recycledContext{r.Context(), v})
		}},
		{"a pointer to a context of its own", func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request) {
			return w, r.WithContext(&recycledContext{r.Context(), v})
		}},
		{"below WithCancel, a context of its own", func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request) {
			ctx, cancel := context.WithCancel(&recycledContext{r.Context(), v})
			context.AfterFunc(r.Context(), cancel)
			return w, r.WithContext(ctx)
		}},
		{"a wrapped writer", func(w http.ResponseWriter, r *http.Request, v *recycled) (http.ResponseWriter, *http.Request) {
			return v, r.WithContext(value(r, v))
		}},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", tt.name, secure), func(t *testing.T) {
				saw := make(chan string)
				router := &recycler{wrap: tt.wrap, next: websocket.NewServer(func(c *websocket.Conn, r *http.Request) {
					if _, _, err := c.Read(context.Background()); err == nil {
						t.Error("there was a message")
					}
					saw <- r.URL.Path + " " + roomOf(r)
				}, nil)}
				s := httptest.NewUnstartedServer(router)
				if secure {
					s.StartTLS()
				} else {
					s.Start()
				}
				defer s.Close()
				var conns []*websocket.Conn
				const n = 10
				for i := range n {
					c, _, err := websocket.Dial(t.Context(), fmt.Sprintf("%s/room%d", s.URL, i), &websocket.DialOptions{HTTPClient: s.Client()})
					if err != nil {
						t.Fatal(err)
					}
					conns = append(conns, c)
				}
				for i, c := range conns {
					c.CloseNow()
					if got, want := <-saw, fmt.Sprintf("/room%d /room%[1]d", i); got != want {
						t.Errorf("path and room of connection %d: got %q, want %q", i, got, want)
					}
				}
			})
		}
	}
}

type recycledContext struct {
	context.Context
	v *recycled
}

func (c recycledContext) Value(key any) any {
	if key == (recycledKey{}) {
		return c.v
	}
	return c.Context.Value(key)
}

// Straight behind net/http, ServeHTTP returns while the connection lives: on
// every version of Go that the module supports.
func TestServeHTTPReturns(t *testing.T) {
	type key struct{}
	unwrap := func(h http.Handler) http.Handler { return h }
	detached := func(r *http.Request) context.Context { return context.WithValue(context.Background(), key{}, "kept") }
	for _, tt := range []struct {
		name    string
		around  func(http.Handler) http.Handler
		server  func(*http.Server)
		detach  func(*http.Request) context.Context
		value   any
		returns bool
	}{
		{"plain", unwrap, nil, nil, nil, true},
		{"ServeMux", func(h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("GET /room/{name}", h)
			return mux
		}, nil, nil, nil, true},
		{"StripPrefix", func(h http.Handler) http.Handler { return http.StripPrefix("/room", h) }, nil, nil, nil, true},
		{"BaseContext and ConnContext", unwrap, func(s *http.Server) {
			s.BaseContext = func(net.Listener) context.Context { return context.WithValue(context.Background(), key{}, "base") }
			s.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return context.WithValue(ctx, key{}, "conn") }
		}, nil, "conn", true},
		{"only WithCancel", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithCancel(r.Context())
				defer cancel()
				h.ServeHTTP(w, r.WithContext(ctx))
			})
		}, nil, nil, nil, true},

		{"a value", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, "middleware")))
			})
		}, nil, nil, "middleware", false},
		{"a wrapper", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(wrapper{w}, r) })
		}, nil, nil, nil, false},

		{"Detach", unwrap, nil, detached, "kept", true},
		{"a value and a wrapper, but Detach", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(wrapper{w}, r.WithContext(context.WithValue(r.Context(), key{}, "middleware")))
			})
		}, nil, detached, "kept", true},
		{"Detach to the same context", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, "middleware")))
			})
		}, nil, (*http.Request).Context, "middleware", true},
		{"Detach to nil", unwrap, nil, func(*http.Request) context.Context { return nil }, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			returned, started, finished := make(chan struct{}), make(chan struct{}), make(chan struct{})
			h := websocket.NewServer(func(c *websocket.Conn, r *http.Request) {
				defer close(finished)
				close(started)
				if tt.returns {
					<-returned
				}
				c.Read(r.Context())
				if v := r.Context().Value(key{}); v != tt.value {
					t.Errorf("got the value %v, want %v", v, tt.value)
				}
				select {
				case <-returned:
					if !tt.returns {
						t.Error("ServeHTTP has returned")
					}
				default:
				}
			}, &websocket.ServerOptions{Detach: tt.detach})
			s := httptest.NewUnstartedServer(tt.around(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(returned)
				h.ServeHTTP(w, r)
			})))
			if tt.server != nil {
				tt.server(s.Config)
			}
			s.Start()
			defer s.Close()
			c, _, err := websocket.Dial(t.Context(), s.URL+"/room/one", nil)
			if err != nil {
				t.Fatal(err)
			}
			<-started
			c.CloseNow()
			<-finished
			<-returned
		})
	}
}

// A Detach that panics is a handler that panics: no connection is left.
func TestDetachPanics(t *testing.T) {
	h := websocket.NewServer(func(*websocket.Conn, *http.Request) { t.Error("serve was called") },
		&websocket.ServerOptions{Detach: func(*http.Request) context.Context { panic(http.ErrAbortHandler) }})
	s := httptest.NewServer(h)
	defer s.Close()
	if _, _, err := websocket.Dial(t.Context(), s.URL, nil); err == nil {
		t.Error("there is a connection")
	}
	if n := h.Connections(); n != 0 {
		t.Errorf("%d connections are counted", n)
	}
}

// A statusWriter is what most middleware wraps a ResponseWriter in.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	http.SetCookie(w, &http.Cookie{Name: "session", Value: "fresh"})
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.ResponseWriter.(http.Hijacker).Hijack()
}

// An unwrapWriter has Unwrap in place of Hijack.
type unwrapWriter struct{ statusWriter }

func (w *unwrapWriter) Unwrap() http.ResponseWriter { return w.statusWriter.ResponseWriter }

func (w *unwrapWriter) Hijack() {} // not that of http.Hijacker

// A fieldWriter has neither, and keeps what it wraps to itself.
type fieldWriter struct {
	status *int
	w      http.ResponseWriter
}

func (w fieldWriter) Header() http.Header { return w.w.Header() }

func (w fieldWriter) Write(p []byte) (int, error) { return w.w.Write(p) }

func (w fieldWriter) WriteHeader(status int) {
	*w.status = status
	http.SetCookie(w, &http.Cookie{Name: "session", Value: "fresh"})
	w.w.WriteHeader(status)
}

func (w fieldWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.w.(http.Hijacker).Hijack()
}

// A lateWriter keeps the status back until there is a body, as compressors do.
type lateWriter struct{ statusWriter }

func (w *lateWriter) WriteHeader(status int) {
	w.status = status
	http.SetCookie(w, &http.Cookie{Name: "session", Value: "fresh"})
}

// An otherWriter makes another status of each.
type otherWriter struct{ statusWriter }

func (w *otherWriter) WriteHeader(status int) {
	w.status = status
	w.statusWriter.ResponseWriter.WriteHeader(http.StatusTeapot)
}

// Middleware sees the status of an upgrade, and what it puts into the header
// reaches the client. The connection works whether a wrapper passes the status
// on or keeps it back.
func TestAcceptThroughWrappers(t *testing.T) {
	for name, wrap := range map[string]func(http.ResponseWriter) (http.ResponseWriter, *int){
		"Hijack": func(w http.ResponseWriter) (http.ResponseWriter, *int) {
			s := &statusWriter{ResponseWriter: w}
			return s, &s.status
		},
		"Unwrap": func(w http.ResponseWriter) (http.ResponseWriter, *int) {
			s := &unwrapWriter{statusWriter{ResponseWriter: w}}
			return s, &s.status
		},
		"a field": func(w http.ResponseWriter) (http.ResponseWriter, *int) {
			s := new(int)
			return fieldWriter{s, w}, s
		},
		"status kept back": func(w http.ResponseWriter) (http.ResponseWriter, *int) {
			s := &lateWriter{statusWriter{ResponseWriter: w}}
			return s, &s.status
		},
		"several": func(w http.ResponseWriter) (http.ResponseWriter, *int) {
			s := &unwrapWriter{statusWriter{ResponseWriter: fieldWriter{new(int), &statusWriter{ResponseWriter: wrapper{w}}}}}
			s.statusWriter.ResponseWriter = &struct{ *statusWriter }{&statusWriter{ResponseWriter: w}}
			return s, &s.status
		},
		"several, the innermost keeps back": func(w http.ResponseWriter) (http.ResponseWriter, *int) {
			s := &statusWriter{ResponseWriter: &lateWriter{statusWriter{ResponseWriter: w}}}
			return s, &s.status
		},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, secure), func(t *testing.T) {
				status := make(chan int, 1)
				var logged strings.Builder
				s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w, saw := wrap(w)
					w.Header().Set("Connection", "close") // the handshake's own are ours
					w.Header()["sec-websocket-protocol"] = []string{"x"}
					w.Header().Set("Content-Length", "5")
					w.Header().Set("X-Own", "yes")
					c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"v1"}, CompressionMode: websocket.CompressionContextTakeover})
					status <- *saw
					if err != nil {
						t.Error(err)
						return
					}
					serveEcho(c, r)
				}))
				s.Config.ErrorLog = log.New(&logged, "", 0)
				if secure {
					s.StartTLS()
				} else {
					s.Start()
				}
				defer s.Close()
				c, resp, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{HTTPClient: s.Client(), Subprotocols: []string{"v1"}, CompressionMode: websocket.CompressionContextTakeover})
				if err != nil {
					t.Fatal(err)
				}
				if got := <-status; got != 101 {
					t.Errorf("the wrapper saw the status %d", got)
				}
				if len(resp.Cookies()) == 0 || resp.Header.Get("X-Own") != "yes" || c.Subprotocol() != "v1" || resp.Header.Get("Sec-WebSocket-Extensions") == "" {
					t.Errorf("the client got %v", resp.Header)
				}
				checkEcho(t, c)
				s.Close()
				if logged.Len() > 0 {
					t.Errorf("the log is %q", &logged)
				}
			})
		}
	}
}

// A refusal is a refusal behind wrappers too.
func TestAcceptRefusesThroughWrappers(t *testing.T) {
	for name, tt := range map[string]struct {
		wrap   func(http.ResponseWriter) http.ResponseWriter
		before func(http.ResponseWriter)
		origin string
		status int
		err    string
	}{
		"forbidden": {func(w http.ResponseWriter) http.ResponseWriter { return &statusWriter{ResponseWriter: w} }, nil,
			"https://evil.example", 403, "is not allowed for the host"},
		"no Hijack": {func(w http.ResponseWriter) http.ResponseWriter { return struct{ http.ResponseWriter }{w} }, nil,
			"", 501, "no http.Hijacker): struct { http.ResponseWriter } has neither a method Hijack nor Unwrap"},
		"no Hijack behind Unwrap": {func(w http.ResponseWriter) http.ResponseWriter { return wrapper{struct{ http.ResponseWriter }{w}} }, nil,
			"", 501, "no http.Hijacker): struct { http.ResponseWriter } has neither"},
		"another status": {func(w http.ResponseWriter) http.ResponseWriter { return &otherWriter{statusWriter{ResponseWriter: w}} }, nil,
			"", 418, "middleware has responded with status 418 in place of 101"},
		"responded already": {func(w http.ResponseWriter) http.ResponseWriter { return &statusWriter{ResponseWriter: w} },
			func(w http.ResponseWriter) { w.WriteHeader(202) }, "", 202, "the handler has responded already, with status 202"},
		"responded already, no wrapper": {func(w http.ResponseWriter) http.ResponseWriter { return w },
			func(w http.ResponseWriter) { w.WriteHeader(202) }, "", 202, "the handler has responded already, with status 202"},
	} {
		t.Run(name, func(t *testing.T) {
			errs := make(chan error, 1)
			s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w = tt.wrap(w)
				if tt.before != nil {
					tt.before(w)
				}
				_, err := websocket.Accept(w, r, nil)
				errs <- err
			}), false)
			opts := &websocket.DialOptions{}
			if tt.origin != "" {
				opts.HTTPHeader = http.Header{"Origin": {tt.origin}}
			}
			_, resp, err := websocket.Dial(t.Context(), s.URL, opts)
			if err == nil || resp == nil || resp.StatusCode != tt.status {
				t.Errorf("Dial: %v, %v, want status %d", resp, err, tt.status)
			}
			if err := <-errs; !matches(err, tt.err) {
				t.Errorf("Accept: %v, want %q", err, tt.err)
			}
		})
	}
}
