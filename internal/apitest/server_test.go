package apitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// handlerPeer serves serve and returns a raw client that has done its
// handshake, and what the server logs.
func handlerPeer(t *testing.T, serve func(*websocket.Conn, *http.Request)) (p *wstest.Peer, logged func() string) {
	t.Helper()
	var out bytes.Buffer
	done := make(chan struct{})
	s := httptest.NewUnstartedServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		// The context ends when everything else is done.
		context.AfterFunc(r.Context(), func() { close(done) })
		serve(c, r)
	}, nil))
	s.Config.ErrorLog = log.New(&out, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p = wstest.NewPeer(t, conn, wstest.Client)
	p.ClientHandshake("/", "example.com")
	return p, func() string {
		<-done
		return out.String()
	}
}

func TestHandlerPanic(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  string
	}{
		{"boom", ": boom\n"},
		{fmt.Errorf("an error"), ": an error\n"},
		{http.ErrAbortHandler, ""},
	} {
		p, logged := handlerPeer(t, func(*websocket.Conn, *http.Request) { panic(tt.value) })
		p.WantClose(int(websocket.StatusInternalError))
		p.WriteClose(int(websocket.StatusInternalError), "")
		p.WantEnd()
		got := logged()
		if tt.want == "" && got != "" || tt.want != "" && !strings.HasPrefix(got, "http: panic serving "+p.Conn.LocalAddr().String()+tt.want+"goroutine ") {
			t.Errorf("panic(%v): the log is %.200q", tt.value, got)
		}
		if tt.want != "" && !strings.Contains(got, "TestHandlerPanic") {
			t.Errorf("panic(%v): the place of the panic is not in the log: %s", tt.value, got)
		}
	}
}

// When serve returns, the connection ends. If serve has closed it, that was it.
func TestHandlerReturns(t *testing.T) {
	for _, tt := range []struct {
		serve func(*websocket.Conn, *http.Request)
		code  int
	}{
		{func(*websocket.Conn, *http.Request) {}, 1000},
		{func(c *websocket.Conn, _ *http.Request) { c.Close(4000, "") }, 4000},
		{func(c *websocket.Conn, _ *http.Request) { runtime.Goexit() }, 1000},
	} {
		p, logged := handlerPeer(t, tt.serve)
		p.WantClose(tt.code)
		p.WriteClose(tt.code, "")
		p.WantEnd()
		if s := logged(); s != "" {
			t.Errorf("the log is %q", s)
		}
	}
	p, _ := handlerPeer(t, func(c *websocket.Conn, _ *http.Request) { c.CloseNow() })
	p.WantEnd()
}

// The context of the request has its values, and lives as long as the
// connection.
func TestHandlerContext(t *testing.T) {
	type key struct{}
	returned := make(chan struct{})
	result := make(chan error, 1)
	h := websocket.NewServer(func(c *websocket.Conn, r *http.Request) {
		<-returned
		ctx := r.Context()
		if ctx.Value(key{}) != "value" || ctx.Value(http.ServerContextKey) == nil {
			t.Errorf("the values are gone: %v", ctx)
		}
		if err := ctx.Err(); err != nil {
			t.Errorf("the context has ended with the handler: %v", err)
		}
		if _, ok := ctx.Deadline(); ok {
			t.Error("the context has a deadline")
		}
		if r.URL.Path != "/path" || r.Host != "example.com" {
			t.Errorf("got the request %v", r)
		}
		go c.Read(context.Background()) // notices that the peer is gone
		<-ctx.Done()
		result <- ctx.Err()
	}, &websocket.ServerOptions{Detach: (*http.Request).Context})
	conn := rawServer(t, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), key{}, "value"), time.Hour)
		h.ServeHTTP(w, r.WithContext(ctx))
		cancel()
		close(returned)
	})
	wstest.NewPeer(t, conn, wstest.Client).ClientHandshake("/path", "example.com")
	conn.Close()
	if err := <-result; err != context.Canceled {
		t.Errorf("the context ended with %v", err)
	}
}

// The context that no caller asked for until the connection had ended has ended
// too. So has one that was derived from it.
func TestHandlerContextAfterTheEnd(t *testing.T) {
	result := make(chan []error, 1)
	h := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.CloseNow()
		child, cancel := context.WithCancel(r.Context())
		defer cancel()
		result <- []error{r.Context().Err(), child.Err(), context.Cause(child)}
	}, nil)
	wstest.NewPeer(t, rawServer(t, h.ServeHTTP), wstest.Client).ClientHandshake("/", "example.com")
	for _, err := range <-result {
		if err != context.Canceled {
			t.Errorf("got %v", err)
		}
	}
}

// CloseRead with the request's context, which it is the first to use.
func TestHandlerCloseRead(t *testing.T) {
	ended := make(chan struct{})
	h := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		ctx := c.CloseRead(r.Context())
		if err := c.Write(ctx, websocket.MessageText, []byte("a")); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		close(ended)
	}, nil)
	p := wstest.NewPeer(t, rawServer(t, h.ServeHTTP), wstest.Client)
	p.ClientHandshake("/", "example.com")
	p.WantFrame(wstest.Text, "a")
	p.WriteClose(1000, "")
	p.WantClose(1000)
	<-ended
}

// While serve runs, no memory of net/http is kept; and once it has dropped the
// request, neither is that.
func TestServeHTTPFreesMemory(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testServeHTTPFreesMemory(t, false) })
	t.Run("with Detach", func(t *testing.T) { testServeHTTPFreesMemory(t, true) })
}

func testServeHTTPFreesMemory(t *testing.T, wrapped bool) {
	all := map[string]func() bool{}
	returned := make(chan struct{})
	result := make(chan string, 1)
	var opts websocket.ServerOptions
	if wrapped {
		opts.Detach = (*http.Request).Context
	}
	h := websocket.NewServer(func(c *websocket.Conn, r *http.Request) {
		<-returned
		p := weak.Make(r)
		all["the request of serve"] = func() bool { return p.Value() != nil }
		var left []string
		for end := time.Now().Add(30 * time.Second); ; { // net/http is still at its return
			left = left[:0]
			runtime.GC()
			for name, inMemory := range all {
				if inMemory() {
					left = append(left, name)
				}
			}
			if len(left) == 0 || time.Now().After(end) {
				break
			}
		}
		result <- strings.Join(left, ", ")
		c.Read(context.Background())
	}, &opts)
	conn := rawServer(t, func(w http.ResponseWriter, r *http.Request) {
		pr := weak.Make(r)
		all["the request"] = func() bool { return pr.Value() != nil }
		if wrapped {
			ww := &hijackerOnly{w}
			pw := weak.Make(ww)
			all["the ResponseWriter"] = func() bool { return pw.Value() != nil }
			w = ww
		}
		h.ServeHTTP(w, r)
		close(returned)
	})
	wstest.NewPeer(t, conn, wstest.Client).ClientHandshake("/", "example.com")
	if left := <-result; left != "" {
		t.Errorf("still in memory: %s", left)
	}
}

type hijackerOnly struct{ http.ResponseWriter }

func (h *hijackerOnly) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// A refused request does not reach serve.
func TestHandlerRefuses(t *testing.T) {
	h := websocket.Handler(func(*websocket.Conn, *http.Request) { t.Error("serve was called") }, nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 426 {
		t.Errorf("got %d", w.Code)
	}
}

// byRequest is a Configure that decides by the path and the offer.
func byRequest(r *http.Request, opts *websocket.AcceptOptions) error {
	switch r.URL.Path {
	case "/private":
		return &websocket.HandshakeError{StatusCode: 401, Body: []byte("who are you?\n"), Header: http.Header{"Www-Authenticate": {"Basic"}, "Upgrade": {"x"}, "Content-Length": {"1"}}}
	case "/moved":
		return &websocket.HandshakeError{StatusCode: 307, Header: http.Header{"Location": {"/elsewhere"}}}
	case "/odd":
		return &websocket.HandshakeError{StatusCode: 101}
	case "/secret":
		return errors.New("the database says no")
	case "/invalid":
		opts.ReadLimit, opts.OriginPatterns = 1, []string{"["}
	case "/small":
		opts.ReadLimit, opts.CompressionMode = 3, websocket.CompressionNoContextTakeover
	}
	if i := slices.IndexFunc(websocket.Subprotocols(r), func(s string) bool { return strings.HasPrefix(s, "chat.") }); i >= 0 {
		opts.Subprotocols = websocket.Subprotocols(r)[i : i+1]
	}
	return nil
}

// A decision of Configure holds through all doors of a server, for its request
// only.
func TestConfigure(t *testing.T) {
	opts := &websocket.AcceptOptions{Configure: byRequest}
	doors := map[string]func(far net.Conn) (stop func()){
		"Accept": func(far net.Conn) func() {
			l := &pipeListener{Conns: make(chan net.Conn, 1), Closed: make(chan struct{})}
			l.Conns <- far
			s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c, err := websocket.Accept(w, r, opts); err == nil {
					serveEcho(c, r)
				} else if r.URL.Path == "/secret" && !strings.Contains(err.Error(), "database") {
					t.Errorf("got the error %v", err)
				}
			})}
			go s.Serve(l)
			return func() { s.Close() }
		},
		"Handler": func(far net.Conn) func() {
			l := &pipeListener{Conns: make(chan net.Conn, 1), Closed: make(chan struct{})}
			l.Conns <- far
			s := &http.Server{Handler: websocket.Handler(serveEcho, opts)}
			go s.Serve(l)
			return func() { s.Close() }
		},
		"AcceptConn": func(far net.Conn) func() {
			go func() {
				c, r, err := websocket.AcceptConn(context.Background(), far, opts)
				if err == nil {
					serveEcho(c, r)
				} else if r.URL.Path == "/secret" && !strings.Contains(err.Error(), "database") {
					t.Errorf("got the error %v", err)
				}
			}()
			return func() {}
		},
	}
	for name, door := range doors {
		for _, tt := range []struct {
			path   string
			status int
			body   string
			header string
		}{
			{"/private", 401, "who are you?\n", "Www-Authenticate"},
			{"/moved", 307, "Temporary Redirect\n", "Location"},
			{"/odd", 403, "the server refuses the request\n", ""},
			{"/secret", 403, "the server refuses the request\n", ""},
			{"/invalid", 500, "the server's options for WebSocket are invalid\n", ""},
			{"/small", 101, "", ""},
			{"/", 101, "", ""},
		} {
			t.Run(name+tt.path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					near, far := netfake.Pipe(netfake.Options{})
					stop := door(far)
					defer func() { stop(); near.Close(); time.Sleep(time.Minute) }()
					c, resp, err := websocket.DialConn(t.Context(), near, "ws://example.com"+tt.path, &websocket.DialOptions{Subprotocols: []string{"x", "chat.2", "chat.1"}, CompressionMode: websocket.CompressionContextTakeover})
					if resp == nil || resp.StatusCode != tt.status {
						t.Fatalf("got %v, %v", resp, err)
					}
					if tt.status != 101 {
						body, _ := io.ReadAll(resp.Body)
						if string(body) != tt.body || tt.header != "" && resp.Header.Get(tt.header) == "" {
							t.Errorf("got %q, %v", body, resp.Header)
						}
						return
					}
					state := c.ConnectionState()
					want := ""
					if tt.path == "/small" {
						want = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
					}
					if state.Subprotocol != "chat.2" || state.Extensions != want || state.Proto != "HTTP/1.1" || state.TLS != nil {
						t.Errorf("got %+v", state)
					}
					c.Write(t.Context(), websocket.MessageText, []byte("long"))
					_, data, err := c.Read(t.Context())
					if tt.path == "/small" && websocket.CloseStatus(err) != websocket.StatusMessageTooBig || tt.path == "/" && string(data) != "long" {
						t.Errorf("got %q, %v", data, err)
					}
					c.CloseNow()
				})
			})
		}
	}
	if opts.ReadLimit != 0 || opts.Subprotocols != nil {
		t.Errorf("the caller's options are changed: %+v", opts)
	}
}

func TestSubprotocols(t *testing.T) {
	for _, tt := range []struct{ lines, want []string }{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{"a, b"}, []string{"a", "b"}},
		{[]string{"a", "b,,c"}, []string{"a", "b", "c"}},
		{[]string{"a b"}, nil},
		{[]string{"a, a"}, nil},
	} {
		r := &http.Request{Header: http.Header{"Sec-Websocket-Protocol": tt.lines}}
		if got := websocket.Subprotocols(r); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.lines, got, tt.want)
		}
	}
}

// A blockedContext has a value that is looked at for as long as the test wants.
type blockedContext struct {
	context.Context
	entered, release chan struct{}
}

func (x blockedContext) Value(key any) any {
	if key != "key" {
		return x.Context.Value(key)
	}
	close(x.entered)
	<-x.release
	return "value"
}

type noEvents struct{}

func (noEvents) Message(websocket.Message) {}

func (noEvents) Close(error) {}

// While a goroutine that open has started looks at a value, ServeHTTP does not
// return: a router could give the values to another request.
func TestEventsValuesInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		values := blockedContext{context.Background(), make(chan struct{}), make(chan struct{})}
		var value any
		looked := make(chan struct{})
		s := websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
			go func() {
				value = r.Context().Value("key")
				close(looked)
			}()
			<-values.entered
			return noEvents{}
		}, nil)
		near, far := netfake.Pipe(netfake.Options{})
		defer far.Close()
		served := start(func() error {
			s.ServeHTTP(&hijacker{ResponseWriter: httptest.NewRecorder(), Conn: near}, request(t, goodRequest+"\n").WithContext(values))
			return nil
		})
		wstest.NewPeer(t, far, wstest.Client).ReadHead()
		if !running(served) {
			t.Error("ServeHTTP returns while a value is looked at")
		}
		close(values.release)
		<-served
		if <-looked; value != "value" {
			t.Errorf("the value is %v", value)
		}
		s.Close()
	})
}
