package websocket_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	native "github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/gorilla"
)

// The Trace of both roles is told of handshakes and ends.
func TestTraceField(t *testing.T) {
	told := make(chan string, 20)
	trace := func(role string) *native.Trace {
		type key struct{}
		note := func(ctx context.Context, what string) { told <- fmt.Sprint(role, " ", what, " ", ctx.Value(key{})) }
		return &native.Trace{
			Handshake: func(r *http.Request) context.Context { return context.WithValue(r.Context(), key{}, r.URL.Path) },
			Accepted:  func(ctx context.Context, _ *native.Conn) { note(ctx, "accepted") },
			Refused:   func(ctx context.Context, status int, _ error) { note(ctx, fmt.Sprint("refused ", status)) },
			Ended:     func(ctx context.Context, _ *native.Conn, _ native.End) { note(ctx, "ended") },
		}
	}
	up := websocket.Upgrader{Trace: trace("server")}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := up.Upgrade(w, r, nil); err == nil {
			c.ReadMessage()
			c.Close()
		}
	}))
	defer s.Close()
	dialer := websocket.Dialer{Trace: trace("client")}
	url := "ws" + strings.TrimPrefix(s.URL, "http")
	if _, _, err := dialer.Dial(url+"/no", http.Header{"Origin": {"http://evil.example"}}); err == nil {
		t.Fatal("connected")
	}
	c, _, err := dialer.Dial(url+"/yes", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	want := []string{"client accepted /yes", "client ended /yes", "client refused 403 /no", "server accepted /yes", "server ended /yes", "server refused 403 /no"}
	var got []string
	for range want {
		got = append(got, <-told)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

// End of the connection below says who sent the first close frame, although it
// is the program that closes the transport.
func TestEndOfNative(t *testing.T) {
	ends := make(chan native.End, 2)
	trace := &native.Trace{Ended: func(_ context.Context, _ *native.Conn, end native.End) { ends <- end }}
	up := websocket.Upgrader{Trace: trace}
	for _, client := range []bool{true, false} {
		closes := func(c *websocket.Conn) {
			c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4001, "enough"))
		}
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := up.Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if !client {
				closes(c)
			}
			c.ReadMessage()
		}))
		c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.URL, "http"), nil)
		if err != nil {
			t.Fatal(err)
		}
		want := native.EndByClose
		if client {
			closes(c)
			want = native.EndByPeer
		}
		c.ReadMessage()
		if end := <-ends; end.Cause != want || end.Code != 4001 || end.Reason != "enough" {
			t.Errorf("the server's end is %v, want %v", end, want)
		}
		c.Close()
		s.Close()
	}
}

// A callback that panics inside Upgrade makes the handshake one that was
// refused, once, and that no response tells of.
func TestTraceOfPanic(t *testing.T) {
	boom := func() { panic(http.ErrAbortHandler) }
	for name, u := range map[string]*websocket.Upgrader{
		"0":   {CheckOrigin: func(*http.Request) bool { boom(); return true }},
		"403": {CheckOrigin: func(*http.Request) bool { return false }, Error: func(http.ResponseWriter, *http.Request, int, error) { boom() }},
	} {
		var told []string
		u.Trace = &native.Trace{Refused: func(_ context.Context, status int, err error) {
			told = append(told, fmt.Sprint(status))
		}}
		r := httptest.NewRequest("GET", "/", nil)
		for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13"} {
			r.Header.Set(name, value)
		}
		func() {
			defer func() {
				if v := recover(); v != http.ErrAbortHandler {
					t.Errorf("panicked with %v", v)
				}
			}()
			u.Upgrade(httptest.NewRecorder(), r, nil)
		}()
		if !slices.Equal(told, []string{name}) {
			t.Errorf("told %q, want %s", told, name)
		}
	}
}
