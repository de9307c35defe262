package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/examples/internal/site"
	"github.com/seed70bc5565/websocket/wsjson"
)

// A visitor is a client in a room.
type visitor struct {
	t *testing.T
	c *websocket.Conn
}

func visit(t *testing.T, pageURL, name string) *visitor {
	t.Helper()
	return visitRoom(t, pageURL, url.Values{"name": {name}})
}

func visitRoom(t *testing.T, pageURL string, query url.Values) *visitor {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), pageURL+"ws?"+query.Encode(), nil)
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

// next returns the next event, without those of type rooms, unless that is
// wanted, and without its time and position.
func (v *visitor) next(kind string) (got event, at string) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
	defer cancel()
	for {
		var got event
		if err := wsjson.Read(ctx, v.c, &got); err != nil {
			v.t.Fatalf("waiting for %s: %v", kind, err)
		}
		if got.Type == "rooms" && kind != "rooms" {
			continue
		}
		if got.Type == "message" && (got.At == 0 || got.Position == "") {
			v.t.Fatalf("%+v: no time, or no position", got)
		}
		at, got.At, got.Position = got.Position, 0, ""
		return got, at
	}
}

// want waits for an event, and returns its position.
func (v *visitor) want(want event) (at string) {
	v.t.Helper()
	got, at := v.next(want.Type)
	if want.Type == "hello" && want.Room == "" {
		want.Room = firstRoom
	}
	if !reflect.DeepEqual(got, want) {
		v.t.Fatalf("got %+v, want %+v", got, want)
	}
	return at
}

// wantClose reads until the connection ends, which must be with the given code.
func (v *visitor) wantClose(code websocket.StatusCode) websocket.CloseError {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
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

// serveRoom serves a chat for the time of the test and returns its URL, with a
// slash at the end.
func serveRoom(t *testing.T) string {
	s := httptest.NewServer(program(newChat()).Handler())
	t.Cleanup(s.Close)
	return s.URL + "/"
}

func TestJoinTalkLeave(t *testing.T) {
	url := serveRoom(t)
	ada := visit(t, url, "Ada")
	ada.want(event{Type: "hello", Name: "Ada", People: []string{"Ada"}})
	bob := visit(t, url, " Bob ")
	bob.want(event{Type: "hello", Name: "Bob", People: []string{"Ada", "Bob"}})
	ada.want(event{Type: "joined", Name: "Bob"})

	ada.say("hello <b>Bob</b>")
	for _, v := range []*visitor{ada, bob} {
		v.want(event{Type: "message", Name: "Ada", Text: "hello <b>Bob</b>"})
	}
	bob.say("   ") // says nothing, so no member hears it
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
	url := serveRoom(t)
	first := visit(t, url, "Ada")
	first.want(event{Type: "hello", Name: "Ada", People: []string{"Ada"}})
	second := visit(t, url, "Ada")
	second.want(event{Type: "hello", Name: "Ada (2)", People: []string{"Ada", "Ada (2)"}})
}

func TestBadNames(t *testing.T) {
	url := serveRoom(t)
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
	url := serveRoom(t)
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

func TestRooms(t *testing.T) {
	url := serveRoom(t)
	ada := visit(t, url, "Ada")
	ada.want(event{Type: "hello", Name: "Ada", People: []string{"Ada"}})
	bob := visitRoom(t, url, map[string][]string{"name": {"Ada"}, "room": {" Garden "}})
	bob.want(event{Type: "hello", Name: "Ada", Room: "Garden", People: []string{"Ada"}}) // one in each room
	for _, want := range [][]room{{{"Lobby", 1}}, {{"Garden", 1}, {"Lobby", 1}}} {
		ada.want(event{Type: "rooms", Rooms: want})
	}
	bob.say("here")
	bob.want(event{Type: "message", Name: "Ada", Text: "here"})
	ada.say("there")
	ada.want(event{Type: "message", Name: "Ada", Text: "there"})

	// Into the other room, where another member has the name, and where
	// something was said.
	if err := wsjson.Write(t.Context(), ada.c, map[string]string{"enter": "Garden"}); err != nil {
		t.Fatal(err)
	}
	ada.want(event{Type: "hello", Name: "Ada (2)", Room: "Garden", People: []string{"Ada", "Ada (2)"}, Missed: 1})
	ada.want(event{Type: "message", Name: "Ada", Text: "here"})
	ada.want(event{Type: "rooms", Rooms: []room{{"Garden", 2}}})
	bob.want(event{Type: "joined", Name: "Ada (2)"})
	if err := wsjson.Write(t.Context(), ada.c, map[string]string{"enter": "a\nb"}); err != nil {
		t.Fatal(err)
	}
	ada.wantClose(websocket.StatusPolicyViolation)
	bob.want(event{Type: "left", Name: "Ada (2)"})
	bob.want(event{Type: "rooms", Rooms: []room{{"Garden", 1}}})
}

// A member who comes back gets what was said meanwhile.
func TestComingBack(t *testing.T) {
	url := serveRoom(t)
	ada := visit(t, url, "Ada")
	ada.want(event{Type: "hello", Name: "Ada", People: []string{"Ada"}})
	var at string
	for _, text := range []string{"one", "two", "three"} {
		ada.say(text)
		if p := ada.want(event{Type: "message", Name: "Ada", Text: text}); text == "one" {
			at = p
		}
	}
	back := visitRoom(t, url, map[string][]string{"name": {"Bob"}, "after": {at}})
	back.want(event{Type: "hello", Name: "Bob", People: []string{"Ada", "Bob"}, Resumed: true, Missed: 2})
	for _, text := range []string{"two", "three"} {
		back.want(event{Type: "message", Name: "Ada", Text: text})
	}
	visitRoom(t, url, map[string][]string{"name": {"Eve"}, "after": {"nonsense"}}).wantClose(websocket.StatusPolicyViolation)
	// Of another run of the server: the latest messages, and it is not told
	// that they are all.
	other := visitRoom(t, url, map[string][]string{"name": {"Eve"}, "after": {"1-1"}})
	other.want(event{Type: "hello", Name: "Eve", People: []string{"Ada", "Bob", "Eve"}, Missed: 3})
}

// A member that does not read is dropped; no other waits for it or misses
// anything.
func TestSlowMemberIsDropped(t *testing.T) {
	// The server waits less long for the answer to its close frame, which does
	// not come.
	opts := &websocket.AcceptOptions{ReadLimit: maxMessage, CloseTimeout: 50 * time.Millisecond}
	s := httptest.NewServer(websocket.Handler(newChat().serve, opts))
	defer s.Close()
	url := s.URL + "/"
	quick := visit(t, url, "quick")
	quick.want(event{Type: "hello", Name: "quick", People: []string{"quick"}})
	visit(t, url, "slow") // reads nothing
	quick.want(event{Type: "joined", Name: "slow"})
	text := strings.Repeat("x", maxMessage-100)
	for sent := 1; ; sent++ { // until the buffers of the operating system are full, and then the queue
		quick.say(text)
		if got, _ := quick.next("message"); got.Type == "left" && got.Name == "slow" {
			return
		} else if got.Text != text {
			t.Fatalf("message %d: %+v", sent, got)
		}
	}
}

func TestRunPrintsURLAndSaysGoodbye(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- site.Run(ctx, program(newChat()), "localhost:0", w); w.Close() }()
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
