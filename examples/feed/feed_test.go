package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/wsjson"
)

func TestLeague(t *testing.T) {
	l := newLeague(rand.New(rand.NewPCG(1, 2)))
	u, err := l.goal(1, false)
	if err != nil || u.Text != "Goal for Dunmore: Castle Hill 0, Dunmore 1" || u.Match != l.matches[1] || !u.Goal {
		t.Errorf("goal: %+v, %v", u, err)
	}
	for _, index := range []int{-1, len(l.matches)} {
		if _, err := l.goal(index, true); err == nil {
			t.Errorf("a goal in match %d", index)
		}
	}
	// The updates say how the league is.
	seen := l.state()
	for range 1000 {
		u := l.event()
		seen[u.Index] = u.Match
		if u.Match.Minute < 0 || u.Match.Minute > 90 || u.Text == "" {
			t.Fatalf("%+v", u)
		}
	}
	for i, m := range l.state() {
		if seen[i] != m {
			t.Errorf("match %d: the updates say %+v, the state is %+v", i, seen[i], m)
		}
	}
}

// message is anything that the server sends.
type message struct {
	start
	Position string `json:"position"`
	Update   update `json:"update"`
}

type reader struct {
	t *testing.T
	c *websocket.Conn
}

func dial(t *testing.T, url, after string) *reader {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url+"/ws?after="+after, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return &reader{t, c}
}

func (r *reader) next(kind string) message {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	var m message
	if err := wsjson.Read(ctx, r.c, &m); err != nil || m.Type != kind {
		r.t.Fatalf("got %+v, %v, want %s", m, err, kind)
	}
	return m
}

func serveFeed(t *testing.T) (*feed, string) {
	f := newFeed()
	s := httptest.NewServer(program(f, 0).Handler())
	t.Cleanup(s.Close)
	return f, s.URL
}

func TestResume(t *testing.T) {
	f, url := serveFeed(t)
	goals := func(n int) {
		for range n {
			if err := f.goal(0, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := dial(t, url, "")
	if m := first.next("start"); m.Resumed || m.Replayed != 0 || len(m.State) != len(f.league.matches) {
		t.Fatalf("a new page: %+v", m)
	}
	if err := wsjson.Write(t.Context(), first.c, map[string]any{"goal": "away", "in": 2}); err != nil {
		t.Fatal(err)
	}
	at := first.next("update")
	if at.Update.Match.AwayGoals != 1 || at.Update.Index != 2 {
		t.Fatalf("%+v", at.Update)
	}

	// It has missed three updates, and gets them, and then what is new.
	goals(3)
	back := dial(t, url, at.Position)
	if m := back.next("start"); !m.Resumed || m.Replayed != 3 || m.State != nil {
		t.Fatalf("back after three goals: %+v", m)
	}
	goals(1)
	for i := range 4 {
		if m := back.next("update"); m.Update.Match.HomeGoals != i+1 {
			t.Errorf("update %d: %+v", i, m.Update)
		}
	}

	// It has missed more than is kept: the state, the last updates, and what is
	// new.
	goals(kept)
	late := dial(t, url, at.Position)
	if m := late.next("start"); m.Resumed || m.Replayed != firstTimes || m.State[0].HomeGoals != 4+kept {
		t.Fatalf("back after too long: %+v", m)
	}
	for i := range firstTimes {
		if m := late.next("update"); m.Update.Match.HomeGoals != 4+kept-firstTimes+1+i {
			t.Errorf("update %d: %+v", i, m.Update)
		}
	}

	// The server is another one.
	_, url = serveFeed(t)
	if m := dial(t, url, at.Position).next("start"); m.Resumed || m.State == nil {
		t.Errorf("at another server: %+v", m)
	}
}

func TestBadInput(t *testing.T) {
	_, url := serveFeed(t)
	for _, test := range []struct {
		after, message string
		code           websocket.StatusCode
	}{
		{"nonsense", "", websocket.StatusPolicyViolation},
		{"", `{"goal":"home","in":99}`, websocket.StatusPolicyViolation},
		{"", `[`, websocket.StatusInvalidFramePayloadData},
	} {
		r := dial(t, url, test.after)
		if test.message != "" {
			r.next("start")
			if err := r.c.Write(t.Context(), websocket.MessageText, []byte(test.message)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if _, _, err := r.c.Read(ctx); websocket.CloseStatus(err) != test.code {
			t.Errorf("%q, %q: %v, want %v", test.after, test.message, err, test.code)
		}
		cancel()
	}
}

func TestEncode(t *testing.T) {
	got := encode([]byte("x"), hub.Message{Position: hub.Position{Epoch: 1, Offset: 2}, Data: []byte(`{}`)})
	var m message
	if err := json.Unmarshal(got[1:], &m); err != nil || got[0] != 'x' || m.Type != "update" || m.Position == "" {
		t.Errorf("%s: %+v, %v", got, m, err)
	}
}
