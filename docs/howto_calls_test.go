package docs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/limit"
	"github.com/seed70bc5565/websocket/wsjson"
	"github.com/seed70bc5565/websocket/wstest"
)

// The code up to the mark is in how-to.md too, letter by letter.

func offeredToken(r *http.Request) (token string, ok bool) {
	for _, name := range websocket.Subprotocols(r) { // all that the request offers
		if token, ok := strings.CutPrefix(name, "token."); ok {
			return token, true
		}
	}
	return "", false
}

func guard(user func(token string) bool, serve func(c *websocket.Conn, r *http.Request)) http.Handler {
	chat := websocket.Handler(serve, &websocket.AcceptOptions{Subprotocols: []string{"chat.v1"}})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, ok := offeredToken(r); !ok || !user(token) {
			http.Error(w, "log in first", http.StatusUnauthorized)
			return
		}
		chat.ServeHTTP(w, r)
	})
}

type packet struct {
	ID   int64           `json:"id"`
	Body json.RawMessage `json:"body"`
}

type caller struct {
	c     *websocket.Conn
	mu    sync.Mutex
	last  int64
	calls map[int64]chan json.RawMessage // nil when the connection is over
}

func newCaller(c *websocket.Conn) *caller {
	return &caller{c: c, calls: map[int64]chan json.RawMessage{}}
}

// run reads the answers. It returns when the connection is over.
func (p *caller) run(ctx context.Context) error {
	for {
		var answer packet
		err := wsjson.Read(ctx, p.c, &answer)
		p.mu.Lock()
		if err != nil {
			for _, call := range p.calls {
				close(call)
			}
			p.calls = nil
			p.mu.Unlock()
			return err
		}
		if call, ok := p.calls[answer.ID]; ok { // otherwise its caller has given up
			delete(p.calls, answer.ID)
			call <- answer.Body
		}
		p.mu.Unlock()
	}
}

// call sends a request, and waits for its answer until ctx ends.
func (p *caller) call(ctx context.Context, request any) (json.RawMessage, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	answer := make(chan json.RawMessage, 1)
	p.mu.Lock()
	if p.calls == nil {
		p.mu.Unlock()
		return nil, net.ErrClosed
	}
	p.last++
	id := p.last
	p.calls[id] = answer
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.calls, id)
		p.mu.Unlock()
	}()

	written := make(chan error, 1)
	go func() { written <- wsjson.Write(context.Background(), p.c, packet{id, body}) }() // not ctx: see below
	for {
		select {
		case body, ok := <-answer:
			if !ok {
				return nil, net.ErrClosed
			}
			return body, nil
		case err := <-written:
			if err != nil {
				return nil, err
			}
			written = nil // now for the answer
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type userLimits struct {
	limits   limit.Limits
	mu       sync.Mutex
	limiters map[string]*limit.Limiter
}

func newUserLimits(limits limit.Limits) *userLimits {
	return &userLimits{limits: limits, limiters: map[string]*limit.Limiter{}}
}

// of returns the limiter that all connections of a user share.
func (u *userLimits) of(user string) *limit.Limiter {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.limiters[user]
	if l == nil {
		l = limit.New(u.limits)
		u.limiters[user] = l
		time.AfterFunc(time.Hour, func() { // so that the map does not grow for ever
			u.mu.Lock()
			delete(u.limiters, user)
			u.mu.Unlock()
		})
	}
	return l
}

// The mark: end of the code in how-to.md.

func TestHowToTokenInSubprotocol(t *testing.T) {
	s := httptest.NewServer(guard(func(token string) bool { return token == "c2VjcmV0" }, func(c *websocket.Conn, r *http.Request) {
		c.Write(r.Context(), websocket.MessageText, []byte("hello"))
	}))
	defer s.Close()
	for _, tt := range []struct {
		offer  []string
		status int // 0: it is let in
	}{
		{[]string{"chat.v1", "token.c2VjcmV0"}, 0},
		{[]string{"token.c2VjcmV0", "chat.v1"}, 0}, // in any order
		{[]string{"chat.v1", "token.guess"}, http.StatusUnauthorized},
		{[]string{"chat.v1"}, http.StatusUnauthorized},
		{nil, http.StatusUnauthorized},
	} {
		c, resp, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{Subprotocols: tt.offer})
		var refused *websocket.HandshakeError
		switch {
		case tt.status != 0 && (!errors.As(err, &refused) || refused.StatusCode != tt.status):
			t.Errorf("%v: got %v, want status %d", tt.offer, err, tt.status)
		case tt.status == 0 && err != nil:
			t.Errorf("%v: %v", tt.offer, err)
		case tt.status == 0:
			if c.Subprotocol() != "chat.v1" || strings.Contains(fmt.Sprint(resp.Header), "c2VjcmV0") {
				t.Errorf("%v: chose %q; the response has %v", tt.offer, c.Subprotocol(), resp.Header)
			}
			c.CloseNow()
		}
	}
}

// A server that answers the second request first, and never the one that says
// "wait".
func TestHowToCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, server := wstest.Pipe(t, nil)
		go func() {
			var held []packet
			for {
				var p packet
				if err := wsjson.Read(t.Context(), server, &p); err != nil {
					return
				}
				if string(p.Body) == `"wait"` {
					continue
				}
				if held = append(held, p); len(held) == 2 {
					wsjson.Write(t.Context(), server, held[1])
					wsjson.Write(t.Context(), server, held[0])
					held = nil
				}
			}
		}()
		p := newCaller(c)
		ended := make(chan error, 1)
		go func() { ended <- p.run(t.Context()) }()

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.call(short, "wait"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without an answer: %v", err)
		}
		var calls sync.WaitGroup
		for _, text := range []string{"a", "b"} {
			calls.Go(func() {
				if got, err := p.call(t.Context(), text); string(got) != `"`+text+`"` || err != nil {
					t.Errorf("%s: got %s, %v", text, got, err)
				}
			})
		}
		calls.Wait()

		calls.Go(func() {
			if _, err := p.call(t.Context(), "wait"); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a call when the connection ends: %v", err)
			}
		})
		synctest.Wait()
		server.CloseNow()
		calls.Wait()
		if err := <-ended; err == nil {
			t.Error("run ended without an error")
		}
		if _, err := p.call(t.Context(), "late"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a call after the end: %v", err)
		}
	})
}

// The two connections of a user share a limit, and another user has one of its
// own.
func TestHowToLimitsOfUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := newUserLimits(limit.Limits{Messages: limit.Rate{PerSecond: 1, Burst: 3}})
		s := wstest.NewServer(t, websocket.Handler(func(c *websocket.Conn, r *http.Request) {
			for m, err := range limits.of(r.Header.Get("User")).Messages(r.Context(), c) {
				if err != nil {
					return
				}
				c.Write(r.Context(), m.Type, m.Data)
			}
		}, nil))
		say := func(c *websocket.Conn) error {
			if err := c.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
				return err
			}
			_, _, err := c.Read(t.Context())
			return err
		}
		dial := func(user string) *websocket.Conn {
			c, _, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{
				HTTPClient: s.Client(), HTTPHeader: http.Header{"User": {user}}})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		ada, adaToo, bob := dial("ada"), dial("ada"), dial("bob")
		for i, c := range []*websocket.Conn{ada, adaToo, ada, bob} {
			if err := say(c); err != nil {
				t.Errorf("message %d: %v", i, err)
			}
		}
		if err := say(adaToo); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("the fourth message of ada: %v", err)
		}
		if err := say(bob); err != nil {
			t.Errorf("bob: %v", err)
		}
		time.Sleep(2 * time.Hour) // the map is empty again
		limits.mu.Lock()
		defer limits.mu.Unlock()
		if len(limits.limiters) != 0 {
			t.Errorf("%d limiters are left", len(limits.limiters))
		}
	})
}
