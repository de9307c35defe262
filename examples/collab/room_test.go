package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/wsjson"
)

func TestMove(t *testing.T) {
	for _, test := range []struct {
		at   int
		op   string
		want int
	}{
		{2, `[1,"xyz",3]`, 5}, {2, `[2,"xyz",2]`, 2}, {2, `[-4]`, 0}, {2, `[1,-2,3]`, 1}, {4, `["x",-1,3]`, 4}, {1, `[3,"x"]`, 1},
	} {
		if got := parseOp(t, test.op).move(test.at); got != test.want {
			t.Errorf("%d after %s is %d, want %d", test.at, test.op, got, test.want)
		}
	}
}

// A tab is a page without a browser.
type tab struct {
	t *testing.T
	c *websocket.Conn
}

func open(t *testing.T, url, query string) *tab {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url+"/ws?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return &tab{t, c}
}

func (b *tab) send(message string) {
	b.t.Helper()
	if err := b.c.Write(b.t.Context(), websocket.MessageText, []byte(message)); err != nil {
		b.t.Fatal(err)
	}
}

// want reads one message, which must be this one.
func (b *tab) want(message string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	var got, want any
	if err := json.Unmarshal([]byte(message), &want); err != nil {
		b.t.Fatal(err)
	}
	if err := wsjson.Read(ctx, b.c, &got); err != nil || !reflect.DeepEqual(got, want) {
		b.t.Fatalf("got %v, %v, want %v", got, err, want)
	}
}

func serveRoom(t *testing.T) (rm *room, url string) {
	rm = newRoom()
	rm.epoch = "E"
	s := httptest.NewServer(program(rm).Handler())
	t.Cleanup(s.Close)
	return rm, s.URL
}

func TestTwoWriters(t *testing.T) {
	_, url := serveRoom(t)
	ada := open(t, url, "client=a")
	ada.want(`{"type":"start","epoch":"E","revision":0,"number":1,"text":""}`)
	ada.want(`{"type":"people","people":[{"client":"a","number":1}]}`)
	bob := open(t, url, "client=b")
	bob.want(`{"type":"start","epoch":"E","revision":0,"number":2,"text":""}`)
	for _, b := range []*tab{ada, bob} {
		b.want(`{"type":"people","people":[{"client":"a","number":1},{"client":"b","number":2}]}`)
	}

	// Both on the same revision: the second is transformed.
	ada.send(`{"type":"change","revision":0,"seq":1,"op":["Ada"]}`)
	for _, b := range []*tab{ada, bob} {
		b.want(`{"type":"change","revision":1,"client":"a","seq":1,"op":["Ada"]}`)
	}
	bob.send(`{"type":"change","revision":0,"seq":1,"op":["Bob"]}`)
	bob.send(`{"type":"caret","revision":0,"at":0}`)
	for _, b := range []*tab{ada, bob} {
		b.want(`{"type":"change","revision":2,"client":"b","seq":1,"op":[3,"Bob"]}`)
		b.want(`{"type":"caret","client":"b","at":0}`)
	}
	eve := open(t, url, "client=e")
	eve.want(`{"type":"start","epoch":"E","revision":2,"number":3,"text":"AdaBob"}`)
}

// A page that comes back gets what it missed, its own change among it if that
// had arrived; or the whole text.
func TestComingBack(t *testing.T) {
	rm, url := serveRoom(t)
	for i := range 3 {
		if err := rm.receive("a", input{Type: "change", Seq: i, Revision: i, Op: parseOp(t, fmt.Sprintf(`["x",%d]`, i))}); err != nil {
			t.Fatal(err)
		}
	}
	back := open(t, url, "client=a&epoch=E&revision=1")
	back.want(`{"type":"changes","changes":[{"revision":2,"client":"a","seq":1,"op":["x",1]},{"revision":3,"client":"a","seq":2,"op":["x",2]}]}`)
	back.want(`{"type":"start","epoch":"E","revision":3,"number":1}`)
	open(t, url, "client=a&epoch=E&revision=3").want(`{"type":"start","epoch":"E","revision":3,"number":2}`)
	for i, query := range []string{"epoch=F&revision=3", "epoch=E&revision=4", "epoch=E&revision=", "revision=1"} {
		b := open(t, url, "client=a&"+query)
		b.want(fmt.Sprintf(`{"type":"start","epoch":"E","revision":3,"number":%d,"text":"xxx"}`, 3+i))
	}
}

func TestBadInput(t *testing.T) {
	_, url := serveRoom(t)
	for _, test := range []struct {
		query, message string
		code           websocket.StatusCode
	}{
		{"", "", websocket.StatusPolicyViolation},
		{"client=a", `{"type":"other"}`, websocket.StatusPolicyViolation},
		{"client=a", `{"type":"change","revision":7,"op":[]}`, websocket.StatusPolicyViolation},
		{"client=a", `{"type":"caret","revision":-1}`, websocket.StatusPolicyViolation},
		{"client=a", `{"type":"change","op":[1]}`, websocket.StatusPolicyViolation},
		{"client=a", `{"type":"change","op":[{}]}`, websocket.StatusInvalidFramePayloadData},
	} {
		b := open(t, url, test.query)
		if test.message != "" {
			b.send(test.message)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var err error
		for err == nil {
			_, _, err = b.c.Read(ctx)
		}
		if websocket.CloseStatus(err) != test.code {
			t.Errorf("%s: %v, want %v", test.message, err, test.code)
		}
		cancel()
	}
}
