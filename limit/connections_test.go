package limit

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/seed70bc5565/websocket"
)

func request(address, user string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = address
	r.Header.Set("User", user)
	return r
}

func TestAcquire(t *testing.T) {
	byUser := func(r *http.Request) string { return r.Header.Get("User") }
	for name, tt := range map[string]struct {
		limit *Connections
		want  []bool // for a, a from another port, a from another address, a, no key, no key
	}{
		"by address": {&Connections{Max: 2}, []bool{true, true, true, false, true, false}},
		"by user":    {&Connections{Max: 2, Key: byUser}, []bool{true, true, false, false, true, true}},
		"no limit":   {&Connections{}, []bool{true, true, true, true, true, true}},
		"one":        {&Connections{Max: 1}, []bool{true, false, true, false, false, false}},
	} {
		var refused int
		tt.limit.OnRefused = func(key string, r *http.Request) { refused++ }
		want := 0
		for i, r := range []*http.Request{request("192.0.2.1:1", "a"), request("192.0.2.1:2", "a"), request("[2001:db8::1]:1", "a"),
			request("192.0.2.1:4", "a"), request("[2001:db8::1]:2", ""), request("[2001:db8::1]:3", "")} {
			_, ok := tt.limit.Acquire(r)
			if ok != tt.want[i] {
				t.Errorf("%s: connection %d: %v", name, i, ok)
			}
			if !ok {
				want++
			}
		}
		if refused != want {
			t.Errorf("%s: the hook was told of %d of %d", name, refused, want)
		}
	}
}

// A place that is given back is free, and is given back once. Nothing is kept
// of those who are gone.
func TestRelease(t *testing.T) {
	l := &Connections{Max: 2}
	r := request("192.0.2.1:1", "")
	a, ok := l.Acquire(r)
	b, ok2 := l.Acquire(r)
	if !ok || !ok2 || l.Open("192.0.2.1") != 2 {
		t.Fatal("two are not admitted")
	}
	if release, ok := l.Acquire(r); ok {
		t.Fatal("a third one is admitted")
	} else {
		release() // does nothing
	}
	a()
	a()
	if n := l.Open("192.0.2.1"); n != 1 {
		t.Errorf("%d are open", n)
	}
	if _, ok := l.Acquire(r); !ok {
		t.Error("the place is not free")
	}
	b()
	if len(l.open) != 1 {
		t.Errorf("kept: %v", l.open)
	}
}

func TestAcquireConcurrently(t *testing.T) {
	l := &Connections{Max: 5}
	var work sync.WaitGroup
	for range 20 {
		work.Go(func() {
			for range 500 {
				release, ok := l.Acquire(request("192.0.2.1:1", ""))
				if ok {
					if n := l.Open("192.0.2.1"); n < 1 || n > 5 {
						t.Errorf("%d are open", n)
					}
				}
				release()
			}
		})
	}
	work.Wait()
	if len(l.open) != 0 {
		t.Errorf("kept: %v", l.open)
	}
}

// Over real connections: the one too many is told why, and the place of one
// that ends is free, even after a panic.
func TestServe(t *testing.T) {
	for _, tt := range []struct {
		limit  *Connections
		code   websocket.StatusCode
		reason string
	}{
		{&Connections{Max: 1}, websocket.StatusTryAgainLater, "too many connections"},
		{&Connections{Max: 1, Code: websocket.StatusPolicyViolation, Reason: "one is enough"}, websocket.StatusPolicyViolation, "one is enough"},
	} {
		l := tt.limit
		left := make(chan struct{})
		entered := make(chan struct{})
		serve := l.Serve(func(c *websocket.Conn, r *http.Request) {
			entered <- struct{}{}
			_, data, err := c.Read(r.Context())
			if err == nil && string(data) == "panic" {
				panic(http.ErrAbortHandler)
			}
		})
		handler := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
			defer func() { left <- struct{}{} }()
			serve(c, r)
		}, nil)
		s := httptest.NewServer(handler)
		dial := func() *websocket.Conn {
			c, _, err := websocket.Dial(t.Context(), s.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		for _, text := range []string{"done", "panic", "done"} {
			first := dial()
			<-entered
			second := dial()
			_, _, err := second.Read(t.Context())
			var ce websocket.CloseError
			if !errors.As(err, &ce) || ce.Code != tt.code || ce.Reason != tt.reason {
				t.Errorf("the second connection: %v", err)
			}
			<-left
			if err := first.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
				t.Error(err)
			}
			<-left
			if n := l.Open("127.0.0.1"); n != 0 {
				t.Errorf("%d are open", n)
			}
			first.CloseNow()
		}
		s.Close()
	}
}
