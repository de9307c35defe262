package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

type traceKey struct{}

// traced returns a Trace that notes in calls what it is told, with the value
// that the context of the handshake has.
func traced(calls *[]string, value string) *Trace {
	note := func(ctx context.Context, what string) {
		*calls = append(*calls, fmt.Sprintf("%s:%v", what, ctx.Value(traceKey{})))
	}
	return &Trace{
		Handshake: func(r *http.Request) context.Context {
			*calls = append(*calls, "handshake")
			r.Header.Set("X-Trace", value)
			return context.WithValue(r.Context(), traceKey{}, value)
		},
		Accepted: func(ctx context.Context, _ *Conn) { note(ctx, "accepted") },
		Refused: func(ctx context.Context, status int, err error) {
			note(ctx, fmt.Sprintf("refused %d %v", status, err))
		},
		Ended: func(ctx context.Context, _ *Conn, end End) { note(ctx, "ended "+end.Cause.String()) },
	}
}

// The request of a client has what its Handshake added, over a real server. The
// request of serve has the context of the server's Handshake.
func TestTraceOverHTTP(t *testing.T) {
	for name, tt := range map[string]struct {
		detach func(r *http.Request) context.Context
		serve  string // what the request of serve has
	}{
		"plain":   {nil, "s[s]"},
		"detach":  {func(r *http.Request) context.Context { return r.Context() }, "s[s]"},
		"its own": {func(r *http.Request) context.Context { return context.WithValue(context.Background(), traceKey{}, "d") }, "d[s]"},
		"stays":   {func(r *http.Request) context.Context { return nil }, "s[s]"},
	} {
		t.Run(name, func(t *testing.T) {
			var server, client []string
			ended := make(chan struct{})
			trace := traced(&server, "s")
			told := trace.Ended
			trace.Ended = func(ctx context.Context, c *Conn, end End) { told(ctx, c, end); close(ended) }
			clientTrace := traced(&client, "c")
			s := NewServer(func(c *Conn, r *http.Request) {
				c.Write(r.Context(), MessageText, fmt.Append(nil, r.Context().Value(traceKey{}), r.Header["X-Trace"]))
				c.Close(4000, "")
			}, &ServerOptions{AcceptOptions: AcceptOptions{Trace: trace}, Detach: tt.detach})
			// The hook of the server would overwrite the field of the client.
			check := s.opts.Trace.Handshake
			s.opts.Trace.Handshake = func(r *http.Request) context.Context {
				if got := r.Header.Get("X-Trace"); got != "c" {
					t.Errorf("the request has X-Trace %q", got)
				}
				return check(r)
			}
			h := httptest.NewServer(s)
			defer h.Close()
			c, _, err := Dial(t.Context(), h.URL, &DialOptions{Trace: clientTrace})
			if err != nil {
				t.Fatal(err)
			}
			if _, b, err := c.Read(t.Context()); string(b) != tt.serve {
				t.Errorf("serve says %q, %v", b, err)
			}
			c.Read(t.Context())
			<-ended
			wantCalls(t, server, "handshake", "accepted:s", "ended close:s")
			wantCalls(t, client, "handshake", "accepted:c", "ended peer:c")
		})
	}
}

// A function of the Trace that panics ends the connection, whichever goroutine
// calls it. Neither the connection hangs, nor its reader, nor its server.
func TestTraceConnPanic(t *testing.T) {
	boom := func() { panic(http.ErrAbortHandler) }
	for name, tt := range map[string]struct {
		trace Trace
		cause EndCause // with which the connection ends
		code  StatusCode
	}{
		"Accepted":      {Trace{Accepted: func(context.Context, *Conn) { boom() }}, EndByClose, 1011},
		"SlowWrite":     {Trace{SlowWrite: func(context.Context, *Conn, time.Duration) { boom() }}, EndByClose, 1011},
		"HeartbeatLost": {Trace{HeartbeatLost: func(context.Context, *Conn) { boom() }}, EndHeartbeat, 1011},
		"MessageTooBig": {Trace{MessageTooBig: func(context.Context, *Conn, int64) { boom() }}, EndProtocolError, 1009},
		"Ended":         {Trace{Ended: func(context.Context, *Conn, End) { boom() }}, EndByPeer, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				trace := tt.trace
				p := newPair(t, client, connConfig{readLimit: 10, trace: newTracing(&trace, t.Context())}, netfake.Options{A: netfake.End{Buffer: 100}})
				read := start(p.readError)
				switch name {
				case "SlowWrite":
					written := start(func() error { return p.c.Write(t.Context(), MessageText, make([]byte, 1000)) })
					time.Sleep(time.Second)
					p.ReadFrame()
					<-written
				case "HeartbeatLost":
					time.Sleep(time.Minute)
				case "MessageTooBig":
					p.WriteFrame(wstest.Text, "12345678901")
				case "Ended":
					p.WriteClose(1000, "")
				}
				if name != "HeartbeatLost" {
					p.WantClose(int(tt.code))
				}
				p.Close()
				<-read
				<-p.c.life.closed()
				p.wantTurn(t)
				if e := p.c.End(); e.Cause != tt.cause || e.Code != tt.code {
					t.Errorf("End = %v", e)
				}
				if err := p.c.Close(StatusNormalClosure, ""); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Close = %v", err)
				}
			})
		})
	}
	for _, door := range []string{"NewServer", "Events"} {
		for name, trace := range map[string]*Trace{
			"Accepted": {Accepted: func(context.Context, *Conn) { boom() }},
			"Ended":    {Ended: func(context.Context, *Conn, End) { boom() }},
		} {
			t.Run(door+"/"+name, func(t *testing.T) {
				opts := &ServerOptions{AcceptOptions: AcceptOptions{Trace: trace}}
				s := NewServer(func(c *Conn, r *http.Request) { c.Read(r.Context()) }, opts)
				if door == "Events" {
					s = Events(func(*Conn, *http.Request) EventHandler { return ignore{} }, opts)
				}
				h := httptest.NewServer(s)
				defer h.Close()
				for range 2 {
					c, _, err := Dial(t.Context(), h.URL, nil)
					if err != nil {
						t.Fatal(err)
					}
					defer c.CloseNow()
					go c.Read(t.Context())
				}
				if err := s.Shutdown(t.Context()); err != nil || s.Connections() != 0 || s.Stats().Accepted != 2 {
					t.Errorf("Shutdown = %v, %+v", err, s.Stats())
				}
			})
		}
	}
}

// An ignore is an EventHandler that does nothing.
type ignore struct{}

func (ignore) Message(Message) {}
func (ignore) Close(error)     {}

// A callback that panics inside a handshake, without net/http: the net.Conn is
// then closed, and nothing waits for it any more.
func TestTracePanicConn(t *testing.T) {
	panics := func() { panic(http.ErrAbortHandler) }
	for name, opts := range map[string]AcceptOptions{
		"Configure":   {Configure: func(*http.Request, *AcceptOptions) error { panics(); return nil }},
		"CheckOrigin": {CheckOrigin: func(*http.Request, bool) bool { panics(); return true }},
		"Handshake":   {},
	} {
		synctest.Test(t, func(t *testing.T) {
			var calls []string
			opts.Trace = traced(&calls, "s")
			value := "s"
			if name == "Handshake" {
				opts.Trace.Handshake = func(*http.Request) context.Context { panics(); return nil }
				calls, value = []string{"handshake"}, "<nil>"
			}
			near, far := netfake.Pipe(netfake.Options{})
			io.WriteString(near, wstest.Request("/", "example.com"))
			wantPanic(t, name, func() { AcceptConn(t.Context(), far, &opts) })
			if far.Stats().Closes == 0 {
				t.Errorf("%s: the net.Conn is open", name)
			}
			near.Close()
			wantCalls(t, calls, "handshake", "refused 0 websocket: the opening handshake: a callback has panicked:"+value)
		})
	}
	for name, dial := range map[string]func(context.Context, net.Conn, *DialOptions){
		"DialConn": func(ctx context.Context, conn net.Conn, opts *DialOptions) {
			DialConn(ctx, conn, "ws://example.com/", opts)
		},
		"Dial": func(ctx context.Context, conn net.Conn, opts *DialOptions) {
			opts.HTTPClient.Transport = &connTripper{conn}
			defer conn.Close()
			Dial(ctx, "ws://example.com/", opts)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			var calls []string
			near, far := netfake.Pipe(netfake.Options{})
			defer near.Close()
			opts := &DialOptions{Trace: traced(&calls, "c"), HTTPClient: &http.Client{Jar: panickingJar{}, Timeout: time.Hour}}
			wantPanic(t, name, func() { dial(t.Context(), far, opts) })
			if far.Stats().Closes == 0 {
				t.Errorf("%s: the net.Conn is open", name)
			}
			wantCalls(t, calls, "handshake", "refused 0 websocket: the opening handshake: a callback has panicked:c")
		})
	}
}

type panickingJar struct{ http.CookieJar }

func (panickingJar) Cookies(*url.URL) []*http.Cookie { panic(http.ErrAbortHandler) }

// A write that waits for the peer is told of; one that does not is not.
func TestTraceSlowWrite(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		var slow []time.Duration
		trace := &Trace{SlowWrite: func(_ context.Context, c *Conn, took time.Duration) { slow = append(slow, took) }}
		p := newPair(t, client, connConfig{trace: newTracing(trace, t.Context())}, netfake.Options{A: netfake.End{Buffer: 100}})
		if err := p.c.Write(t.Context(), MessageText, []byte("quick")); err != nil || len(slow) > 0 {
			t.Fatalf("Write = %v, told %v", err, slow)
		}
		wrote := start(func() error { return p.c.Write(t.Context(), MessageText, make([]byte, 10000)) })
		time.Sleep(time.Second)
		for range 2 {
			p.ReadFrame()
		}
		if err := <-wrote; err != nil || len(slow) != 1 || slow[0] != time.Second {
			t.Errorf("Write = %v, told %v", err, slow)
		}
	})
}

// Without a Trace a connection has no memory for one.
func TestTraceNone(t *testing.T) {
	near, far := netfake.Pipe(netfake.Options{})
	defer far.Close()
	c, err := NewConn(near, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if c.trace != nil || c.w.slow {
		t.Error("there is a trace")
	}
}
