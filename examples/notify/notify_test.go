package main

import (
	"context"
	"fmt"
	"io"
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

func serveNotifier(t *testing.T) (*notifier, string) {
	n := newNotifier("secret")
	s := httptest.NewServer(program(n).Handler())
	t.Cleanup(s.Close)
	return n, s.URL
}

// request sends a form, and returns the response with its body.
func request(t *testing.T, method, url string, header http.Header, form url.Values) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, strings.TrimSpace(string(body))
}

// signIn returns the headers of those who are signed in as user.
func signIn(t *testing.T, base, user string) http.Header {
	t.Helper()
	resp, body := request(t, "POST", base+"/session", nil, url.Values{"user": {user}})
	if len(resp.Cookies()) != 1 || !resp.Cookies()[0].HttpOnly || body != fmt.Sprintf(`{"user":%q}`, user) {
		t.Fatalf("sign in as %s: %s, %s, %v", user, resp.Status, body, resp.Cookies())
	}
	return http.Header{"Cookie": {resp.Cookies()[0].String()}}
}

type tab struct {
	t *testing.T
	c *websocket.Conn
}

func open(t *testing.T, base string, header http.Header) *tab {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), base+"/ws", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return &tab{t, c}
}

// want reads an event, in which the time of the notifications does not count.
func (p *tab) want(want event) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	var got event
	if err := wsjson.Read(ctx, p.c, &got); err != nil {
		p.t.Fatalf("waiting for %+v: %v", want, err)
	}
	for i := range got.Unread {
		got.Unread[i].At = 0
	}
	if got.Notification != nil {
		got.Notification.At = 0
	}
	if !reflect.DeepEqual(got, want) {
		p.t.Fatalf("got %+v, want %+v", got, want)
	}
}

var token = http.Header{"Authorization": {"Bearer secret"}}

func TestNotify(t *testing.T) {
	_, base := serveNotifier(t)
	asAda, asBob := signIn(t, base, "ada"), signIn(t, base, "bob")
	ada, adaToo, bob := open(t, base, asAda), open(t, base, asAda), open(t, base, asBob)
	for user, pages := range map[string][]*tab{"ada": {ada, adaToo}, "bob": {bob}} {
		for _, p := range pages {
			p.want(event{Type: "hello", User: user})
		}
	}

	if resp, body := request(t, "POST", base+"/notify", token, url.Values{"user": {"ada"}, "text": {"one"}}); body != `{"pages":2}` {
		t.Errorf("from a program: %s, %s", resp.Status, body)
	}
	if resp, body := request(t, "POST", base+"/notify", asBob, url.Values{"user": {" ada"}, "text": {" two "}}); body != `{"pages":2}` {
		t.Errorf("from bob: %s, %s", resp.Status, body)
	}
	if resp, body := request(t, "POST", base+"/notify", asAda, url.Values{"user": {"eve"}, "text": {"three"}}); body != `{"pages":0}` {
		t.Errorf("to eve, who is not here: %s, %s", resp.Status, body)
	}
	one, two, three := notification{ID: 1, From: "a program", Text: "one"}, notification{ID: 2, From: "bob", Text: "two"},
		notification{ID: 3, From: "ada", Text: "three"}
	for _, p := range []*tab{ada, adaToo} {
		p.want(event{Type: "notification", Notification: &one})
		p.want(event{Type: "notification", Notification: &two})
	}

	// A note that is dismissed on one page vanishes from the other, and does
	// not come back.
	if err := wsjson.Write(t.Context(), ada.c, map[string]int{"dismiss": 1}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*tab{ada, adaToo} {
		p.want(event{Type: "dismissed", ID: 1})
	}
	open(t, base, asAda).want(event{Type: "hello", User: "ada", Unread: []notification{two}})
	open(t, base, signIn(t, base, "eve")).want(event{Type: "hello", User: "eve", Unread: []notification{three}})

	// bob has heard none of that: the next thing is his.
	request(t, "POST", base+"/notify", token, url.Values{"user": {"bob"}, "text": {"four"}})
	bob.want(event{Type: "notification", Notification: &notification{ID: 4, From: "a program", Text: "four"}})
}

func TestSignOut(t *testing.T) {
	_, base := serveNotifier(t)
	asAda, elsewhere := signIn(t, base, "ada"), signIn(t, base, "ada")
	here, there := open(t, base, asAda), open(t, base, elsewhere)
	here.want(event{Type: "hello", User: "ada"})
	there.want(event{Type: "hello", User: "ada"})
	request(t, "DELETE", base+"/session", asAda, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, _, err := here.c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("the page: %v", err)
	}
	if _, body := request(t, "GET", base+"/session", asAda, nil); body != `{"user":""}` {
		t.Errorf("signed in as %s", body)
	}
	// The other session goes on.
	if _, body := request(t, "POST", base+"/notify", token, url.Values{"user": {"ada"}, "text": {"x"}}); body != `{"pages":1}` {
		t.Errorf("notified: %s", body)
	}
}

func TestRefused(t *testing.T) {
	_, base := serveNotifier(t)
	form := func(user, text string) url.Values { return url.Values{"user": {user}, "text": {text}} }
	foreign := http.Header{"Cookie": signIn(t, base, "ada")["Cookie"], "Origin": {"https://elsewhere.example"}}
	for _, test := range []struct {
		name, method, path string
		header             http.Header
		form               url.Values
		want               int
	}{
		{"nobody", "POST", "/notify", nil, form("ada", "x"), http.StatusUnauthorized},
		{"a wrong token", "POST", "/notify", http.Header{"Authorization": {"Bearer Secret"}}, form("ada", "x"), http.StatusUnauthorized},
		{"another site's page", "POST", "/notify", foreign, form("ada", "x"), http.StatusForbidden},
		{"no user", "POST", "/notify", token, form("", "x"), http.StatusBadRequest},
		{"no text", "POST", "/notify", token, form("ada", " "), http.StatusBadRequest},
		{"a long text", "POST", "/notify", token, form("ada", strings.Repeat("x", maxText+1)), http.StatusBadRequest},
		{"a longer text", "POST", "/notify", token, form("ada", strings.Repeat("x", maxForm)), http.StatusBadRequest},
		{"no name", "POST", "/session", nil, form("\n", ""), http.StatusBadRequest},
		{"a name with a line end", "POST", "/session", nil, form("a\nb", ""), http.StatusBadRequest},
		{"a connection of nobody", "GET", "/ws", nil, nil, http.StatusUnauthorized},
	} {
		if resp, body := request(t, test.method, base+test.path, test.header, test.form); resp.StatusCode != test.want || body == "" {
			t.Errorf("%s: %s, %q, want %d", test.name, resp.Status, body, test.want)
		}
	}
	_, resp, err := websocket.Dial(t.Context(), base+"/ws", &websocket.DialOptions{HTTPHeader: foreign})
	if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("another site's page connects: %v, %v", resp, err)
	}
}

func TestUnreadIsBounded(t *testing.T) {
	n := newNotifier("")
	for range maxUnread + 5 {
		if _, err := n.send("ada", "x", "y"); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.unread["ada"]; len(got) != maxUnread || got[0].ID != 6 {
		t.Errorf("%d are kept, from number %d", len(got), got[0].ID)
	}
	for i := range maxUsers {
		_, err := n.send(fmt.Sprint(i), "x", "y")
		if want := i == maxUsers-1; (err == errTooMany) != want {
			t.Errorf("user %d: %v", i+1, err)
		}
	}
	n.dismiss("0", maxUnread+6)
	if _, err := n.send("another", "x", "y"); err != nil {
		t.Errorf("after one has read everything: %v", err)
	}
}
