package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/wsjson"
)

// A visitor is a client in the room.
type visitor struct {
	t *testing.T
	c *websocket.Conn
}

func visit(t *testing.T, pageURL, name string) *visitor {
	t.Helper()
	wsURL := "ws" + strings.TrimPrefix(pageURL, "http") + "ws?name=" + url.QueryEscape(name)
	c, _, err := websocket.Dial(t.Context(), wsURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return &visitor{t, c}
}

func (v *visitor) say(text string) {
	v.t.Helper()
	if err := wsjson.Write(v.t.Context(), v.c, map[string]string{"text": text}); err != nil {
		v.t.Fatal(err)
	}
}

func (v *visitor) want(want event) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), 10*time.Second)
	defer cancel()
	var got event
	if err := wsjson.Read(ctx, v.c, &got); err != nil {
		v.t.Fatalf("waiting for %+v: %v", want, err)
	}
	if !reflect.DeepEqual(got, want) {
		v.t.Fatalf("got %+v, want %+v", got, want)
	}
}

// wantClose reads until the connection ends, which must be with the given code.
func (v *visitor) wantClose(code websocket.StatusCode) websocket.CloseError {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), 10*time.Second)
	defer cancel()
	for {
		_, _, err := v.c.Read(ctx)
		if err == nil {
			continue
		}
		var closed websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != code {
			v.t.Fatalf("the connection ended with %v, want close code %v", err, code)
		}
		return closed
	}
}

// serveRoom serves a chat for the time of the test and returns its room and its URL, with a slash at the end.
func serveRoom(t *testing.T) (*room, string) {
	room := newRoom()
	s := httptest.NewServer(handler(room))
	t.Cleanup(s.Close)
	t.Cleanup(room.close)
	return room, s.URL + "/"
}

func TestJoinTalkLeave(t *testing.T) {
	_, url := serveRoom(t)
	ada := visit(t, url, "Ada")
	ada.want(event{Type: "hello", Name: "Ada", People: []string{"Ada"}})
	bob := visit(t, url, " Bob ")
	bob.want(event{Type: "hello", Name: "Bob", People: []string{"Ada", "Bob"}})
	ada.want(event{Type: "joined", Name: "Bob"})

	ada.say("hello <b>Bob</b>")
	for _, v := range []*visitor{ada, bob} {
		v.want(event{Type: "message", Name: "Ada", Text: "hello <b>Bob</b>"})
	}
	bob.say("   ") // says nothing, so nobody hears it
	bob.say("grüß dich, 世界")
	for _, v := range []*visitor{ada, bob} {
		v.want(event{Type: "message", Name: "Bob", Text: "grüß dich, 世界"})
	}

	if err := bob.c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("Close: %v", err)
	}
	ada.want(event{Type: "left", Name: "Bob"})
}

func TestOneNameTwice(t *testing.T) {
	_, url := serveRoom(t)
	first := visit(t, url, "Ada")
	first.want(event{Type: "hello", Name: "Ada", People: []string{"Ada"}})
	second := visit(t, url, "Ada")
	second.want(event{Type: "hello", Name: "Ada (2)", People: []string{"Ada", "Ada (2)"}})
}

func TestBadNames(t *testing.T) {
	_, url := serveRoom(t)
	for _, name := range []string{"", "  ", "a\x00b", "a\nb", "\xff", "right\u202eleft", strings.Repeat("n", maxName+1)} {
		closed := visit(t, url, name).wantClose(websocket.StatusPolicyViolation)
		if closed.Reason == "" {
			t.Errorf("name %q: no reason given", name)
		}
	}
	// As long as it may be, in characters and not in bytes.
	name := strings.Repeat("ü", maxName)
	visit(t, url, name).want(event{Type: "hello", Name: name, People: []string{name}})
}

func TestBadMessages(t *testing.T) {
	_, url := serveRoom(t)
	watch := visit(t, url, "watch")
	watch.want(event{Type: "hello", Name: "watch", People: []string{"watch"}})
	for _, test := range []struct {
		name string
		typ  websocket.MessageType
		data string
		code websocket.StatusCode
	}{
		{"longer than the limit", websocket.MessageText, `{"text":"` + strings.Repeat("x", maxMessage) + `"}`, websocket.StatusMessageTooBig},
		{"no JSON", websocket.MessageText, "hello", websocket.StatusInvalidFramePayloadData},
	} {
		v := visit(t, url, test.name)
		watch.want(event{Type: "joined", Name: test.name})
		if err := v.c.Write(t.Context(), test.typ, []byte(test.data)); err != nil {
			t.Fatal(err)
		}
		v.wantClose(test.code)
		watch.want(event{Type: "left", Name: test.name})
	}
}

// A member whose queue is full is dropped; nobody waits for it and nobody else misses anything.
func TestSlowMemberIsDropped(t *testing.T) {
	room := newRoom()
	var dropped []websocket.StatusCode
	newMember := func(name string) *member {
		m := &member{name: name, queue: make(chan *websocket.PreparedMessage, queueLength)}
		m.drop = func(code websocket.StatusCode, reason string) { dropped = append(dropped, code) }
		room.join(m)
		return m
	}
	slow := newMember("slow") // its queue has hello, and joined of the other
	quick := newMember("quick")
	received := 0
	drain := func() {
		for len(quick.queue) > 0 {
			<-quick.queue
			received++
		}
	}
	for range queueLength - 2 {
		room.tell(event{Type: "message", Name: "quick", Text: "x"})
		drain()
	}
	if len(dropped) != 0 || len(slow.queue) != queueLength {
		t.Fatalf("dropped %v with %d messages in the queue", dropped, len(slow.queue))
	}
	room.tell(event{Type: "message", Name: "quick", Text: "one too many"})
	drain()
	if len(dropped) != 1 || dropped[0] != websocket.StatusTryAgainLater {
		t.Fatalf("dropped with %v, want StatusTryAgainLater once", dropped)
	}
	if got := room.names(); !reflect.DeepEqual(got, []string{"quick"}) {
		t.Errorf("members now: %v", got)
	}
	if want := 1 + (queueLength - 2) + 1 + 1; received != want { // hello, the messages, the last, left
		t.Errorf("the quick member received %d messages, want %d", received, want)
	}
	room.leave(slow) // as its serve does in the end: not told twice
	if drain(); received != 1+(queueLength-2)+1+1 {
		t.Error("told twice that a member left")
	}
}

func TestRunPrintsURLAndSaysGoodbye(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "localhost:0", w); w.Close() }()
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, lines)
	var url string
	if _, err := fmt.Sscanf(line, "Open %s in two windows.", &url); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	ada := visit(t, url, "Ada")
	ada.want(event{Type: "hello", Name: "Ada", People: []string{"Ada"}})
	cancel()
	ada.wantClose(websocket.StatusGoingAway)
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = run(t.Context(), l.Addr().String(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "taken") {
		t.Errorf("run with a port that is taken: %v", err)
	}
}

func TestPageURL(t *testing.T) {
	for _, test := range []struct{ addr, want string }{
		{"localhost:8080", "http://localhost:99/"},
		{"127.0.0.1:0", "http://127.0.0.1:99/"},
		{":8080", "http://localhost:99/"},
		{"0.0.0.0:8080", "http://localhost:99/"},
		{"[::]:8080", "http://localhost:99/"},
		{"[::1]:8080", "http://[::1]:99/"},
	} {
		if got := pageURL(test.addr, &net.TCPAddr{IP: net.IPv4zero, Port: 99}); got != test.want {
			t.Errorf("pageURL(%q) = %q, want %q", test.addr, got, test.want)
		}
	}
}

// The page and what it loads are all in the program, and loaded from it alone.
func TestPage(t *testing.T) {
	_, url := serveRoom(t)
	for path, contentType := range map[string]string{"": "text/html", "chat.css": "text/css", "chat.js": "text/javascript"} {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), contentType) {
			t.Errorf("GET /%s: %v, %s, %v", path, resp.Status, resp.Header.Get("Content-Type"), err)
		}
		if !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("GET /%s: Content-Security-Policy is %q", path, resp.Header.Get("Content-Security-Policy"))
		}
		for _, foreign := range []string{"https://", "src=\"http", "innerHTML", "@import"} {
			if strings.Contains(string(body), foreign) {
				t.Errorf("/%s has %q in it", path, foreign)
			}
		}
	}
}
