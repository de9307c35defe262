package apitest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

type traceKey struct{}

// traced returns a Trace that notes in calls what it is told, with the value
// that the context of the handshake has.
func traced(calls *[]string, value string) *websocket.Trace {
	note := func(ctx context.Context, what string) {
		*calls = append(*calls, fmt.Sprintf("%s:%v", what, ctx.Value(traceKey{})))
	}
	return &websocket.Trace{
		Handshake: func(r *http.Request) context.Context {
			*calls = append(*calls, "handshake")
			r.Header.Set("X-Trace", value)
			return context.WithValue(r.Context(), traceKey{}, value)
		},
		Accepted: func(ctx context.Context, _ *websocket.Conn) { note(ctx, "accepted") },
		Refused: func(ctx context.Context, status int, err error) {
			note(ctx, fmt.Sprintf("refused %d %v", status, err))
		},
		Ended: func(ctx context.Context, _ *websocket.Conn, end websocket.End) {
			note(ctx, "ended "+end.Cause.String())
		},
	}
}

// Each door tells of the handshake and of the end, with the context that
// Handshake returned. A client's Handshake adds to the request.
func TestTraceDoors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server, client []string
		opts := &websocket.AcceptOptions{Trace: traced(&server, "s")}
		dial := &websocket.DialOptions{Trace: traced(&client, "c")}

		near, far := netfake.Pipe(netfake.Options{})
		accepted := start(func() error {
			c, r, err := websocket.AcceptConn(t.Context(), near, opts)
			if err != nil {
				return err
			}
			if got := fmt.Sprint(r.Context().Value(traceKey{}), r.Header.Get("X-Trace")); got != "ss" {
				t.Errorf("the request has %q", got)
			}
			return c.CloseNow()
		})
		c, _, err := websocket.DialConn(t.Context(), far, "ws://example.com/", dial)
		if err != nil {
			t.Fatal(err)
		}
		c.CloseNow()
		if err := <-accepted; err != nil {
			t.Fatal(err)
		}
		wantCalls(t, server, "handshake", "accepted:s", "ended close_now:s")
		wantCalls(t, client, "handshake", "accepted:c", "ended close_now:c")

		near, far = netfake.Pipe(netfake.Options{})
		defer far.Close()
		var made []string
		c, err = websocket.NewConn(near, &websocket.ConnOptions{Trace: traced(&made, "")})
		if err != nil {
			t.Fatal(err)
		}
		c.CloseNow()
		wantCalls(t, made, "accepted:<nil>", "ended close_now:<nil>")
	})
}

// A handshake that fails is told of with its status, on both sides.
func TestTraceRefused(t *testing.T) {
	get := func(s http.Handler, lines string) int {
		w := httptest.NewRecorder()
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: example.com\r\n" + lines + "\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		s.ServeHTTP(w, r)
		return w.Code
	}
	const good = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	nothing := func(*websocket.Conn, *http.Request) {}
	down := func(s *websocket.Server) *websocket.Server { s.Close(); return s }
	keepsNothing := func(*http.Request) context.Context { return context.Background() }
	var calls []string
	opts := websocket.AcceptOptions{Trace: traced(&calls, "s")}
	asks := opts
	asks.Configure = func(*http.Request, *websocket.AcceptOptions) error { return &websocket.HandshakeError{StatusCode: 401} }
	for _, tt := range []struct {
		s     *websocket.Server
		lines string
		code  int
	}{
		{websocket.Handler(nothing, &opts), "", 426},
		{websocket.Handler(nothing, &opts), good + "Origin: http://evil.example\r\n", 403},
		{websocket.Handler(nothing, &opts), good, 501}, // a recorder has no connection
		{websocket.Handler(nothing, &asks), good, 401},
		{down(websocket.Handler(nothing, &opts)), good, 503},
		{websocket.NewServer(nothing, &websocket.ServerOptions{AcceptOptions: opts, Detach: keepsNothing}), "", 426},
	} {
		calls = nil
		if code := get(tt.s, tt.lines); code != tt.code {
			t.Errorf("answered with %d, want %d", code, tt.code)
		}
		wantCalls(t, calls, "handshake", fmt.Sprintf("refused %d websocket: ", tt.code))
		if !strings.HasSuffix(calls[1], ":s") {
			t.Errorf("Refused has another context than that of Handshake: %q", calls[1])
		}
	}
	calls = nil
	w := httptest.NewRecorder()
	if _, err := websocket.Accept(w, httptest.NewRequest("GET", "/", nil), &opts); err == nil {
		t.Error("accepted")
	}
	wantCalls(t, calls, "handshake", "refused 426 websocket: ")

	// AcceptConn, with a request that is none, one that is refused, and no
	// request.
	for _, tt := range []struct {
		request string
		want    []string
	}{
		{"nonsense\r\n\r\n", []string{"refused 400 websocket: the request is not valid HTTP"}},
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", []string{"handshake", "refused 426"}},
		{"", []string{"refused 0 websocket: reading the request"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			calls = nil
			near, far := netfake.Pipe(netfake.Options{})
			go func() {
				far.Write([]byte(tt.request))
				far.CloseWrite()
				io.Copy(io.Discard, far)
				far.Close()
			}()
			if _, _, err := websocket.AcceptConn(t.Context(), near, &opts); err == nil {
				t.Error("accepted")
			}
			wantCalls(t, calls, tt.want...)
		})
	}

	// Dial: refused, no server, and a header that may not be.
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }))
	defer h.Close()
	var client []string
	dial := &websocket.DialOptions{Trace: traced(&client, "c")}
	for _, tt := range []struct {
		url   string
		value string
		want  string
	}{
		{h.URL, "c", "refused 404 "},
		{"ws://127.0.0.1:1/", "c", "refused 0 "},
		{h.URL, "c\r\nX-Smuggled: 1", "refused 0 "},
	} {
		client = nil
		dial.Trace = traced(&client, tt.value)
		if _, _, err := websocket.Dial(t.Context(), tt.url, dial); err == nil {
			t.Error("connected")
		}
		wantCalls(t, client, "handshake", tt.want)
	}
}

// A callback that panics inside a handshake makes it one that was refused, and
// that no response tells of.
func TestTracePanic(t *testing.T) {
	for _, door := range []string{"NewServer", "Accept", "AcceptConn"} {
		var calls []string
		opts := &websocket.AcceptOptions{Trace: traced(&calls, "s"), Configure: func(*http.Request, *websocket.AcceptOptions) error { panic(http.ErrAbortHandler) }}
		s := websocket.Handler(func(*websocket.Conn, *http.Request) {}, opts)
		wantPanic(t, door, func() {
			w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
			switch door {
			case "Accept":
				websocket.Accept(w, r, opts)
			case "AcceptConn":
				near, far := net.Pipe()
				defer func() { // deferred first: it runs behind the panic
					if _, err := far.Read(make([]byte, 1)); err != io.EOF {
						t.Errorf("AcceptConn has not closed the net.Conn: %v", err)
					}
				}()
				defer far.SetDeadline(time.Now().Add(time.Second))
				go io.WriteString(far, wstest.Request("/", "host"))
				websocket.AcceptConn(t.Context(), near, opts)
			default:
				s.ServeHTTP(w, r)
			}
		})
		wantCalls(t, calls, "handshake", "refused 0 websocket: the opening handshake: a callback has panicked:s")
		if door == "NewServer" && (s.Connections() != 0 || s.Stats().Refused[0] != 1) {
			t.Errorf("%+v", s.Stats())
		}
	}
}
