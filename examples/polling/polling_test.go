package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/wsjson"
)

func serveFeed(t *testing.T) (*feed, string) {
	f := newFeed(0)
	p := program(f)
	s := httptest.NewUnstartedServer(p.Handler())
	s.Listener = p.Prepare(s.Config, s.Listener)
	s.Start()
	t.Cleanup(s.Close)
	return f, s.URL
}

func get(t *testing.T, url string, v any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatalf("GET %s: %s, %v", url, resp.Status, err)
	}
}

func numbers(events []event) []int {
	var ns []int
	for _, e := range events {
		ns = append(ns, e.Number)
	}
	return ns
}

func TestShort(t *testing.T) {
	f, url := serveFeed(t)
	var a answer
	get(t, url+"/short", &a)
	if len(a.Events) != 0 || a.Last != 0 {
		t.Errorf("before the first event: %+v", a)
	}
	for range 3 {
		f.publish(time.UnixMicro(5))
	}
	for _, test := range []struct {
		after string
		want  []int
	}{{"0", []int{1, 2, 3}}, {"2", []int{3}}, {"3", nil}, {"99", nil}, {"", nil}, {"x", nil}} {
		get(t, url+"/short?after="+test.after, &a)
		if !reflect.DeepEqual(numbers(a.Events), test.want) || a.Last != 3 {
			t.Errorf("after %q: %+v, want %v", test.after, a, test.want)
		}
	}
}

func TestKeptEvents(t *testing.T) {
	f := newFeed(0)
	for range kept + 10 {
		f.publish(time.UnixMicro(5))
	}
	events, last, _ := f.after(3)
	if len(events) != kept || events[0].Number != 11 || last != kept+10 {
		t.Errorf("%d events from %d, the last is %d", len(events), events[0].Number, last)
	}
}

func TestLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(0)
		poll := func() (w *httptest.ResponseRecorder, ended chan struct{}) {
			w, ended = httptest.NewRecorder(), make(chan struct{})
			go func() {
				defer close(ended)
				f.long(w, httptest.NewRequest("GET", "/long?after=0", nil))
			}()
			synctest.Wait()
			return w, ended
		}
		w, ended := poll()
		select {
		case <-ended:
			t.Fatalf("it did not wait: %s", w.Body)
		default:
		}
		f.publish(time.UnixMicro(5))
		<-ended
		if got := strings.TrimSpace(w.Body.String()); got != `{"events":[{"number":1,"at":5}],"last":1}` {
			t.Errorf("an event has come: %s", got)
		}

		f = newFeed(0)
		start := time.Now()
		w, ended = poll()
		<-ended
		if got := strings.TrimSpace(w.Body.String()); got != `{"events":null,"last":0}` || time.Since(start) != longest {
			t.Errorf("nothing has come: %s after %v", got, time.Since(start))
		}
	})
}

func TestSSE(t *testing.T) {
	f, url := serveFeed(t)
	f.publish(time.UnixMicro(5))
	f.publish(time.UnixMicro(6))
	r, err := http.NewRequestWithContext(t.Context(), "GET", url+"/sse", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Last-Event-ID", "1")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %q", got)
	}
	lines := bufio.NewReader(resp.Body)
	for i, at := range []int64{6, 7} {
		for _, want := range []string{fmt.Sprintf("id: %d\n", i+2), fmt.Sprintf(`data: {"number":%d,"at":%d}`+"\n", i+2, at), "\n"} {
			if got, err := lines.ReadString('\n'); got != want {
				t.Fatalf("got %q, %v, want %q", got, err, want)
			}
		}
		if i == 0 {
			f.publish(time.UnixMicro(7))
		}
	}
}

func TestWebSocket(t *testing.T) {
	f, url := serveFeed(t)
	f.publish(time.UnixMicro(5))
	c, _, err := websocket.Dial(t.Context(), url+"/ws?after=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	for i := range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var got event
		if err := wsjson.Read(ctx, c, &got); err != nil || got.Number != i+1 {
			t.Fatalf("got %+v, %v", got, err)
		}
		cancel()
		f.publish(time.UnixMicro(6))
	}
}

// The bytes of two requests on one connection are those of their own way, and
// all are counted.
func TestMeter(t *testing.T) {
	_, url := serveFeed(t)
	for range 2 {
		for _, path := range []string{"/short?client=me", "/short?client=other&x=" + strings.Repeat("x", 1000), "/site.css"} {
			resp, err := http.Get(url + path)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	c, _, err := websocket.Dial(t.Context(), url+"/ws?client=me", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close(websocket.StatusNormalClosure, "")
	var stats struct {
		Used map[string]count
		Now  int64
	}
	get(t, url+"/stats?client=me", &stats)
	short, ws := stats.Used["short"], stats.Used["ws"]
	if short.Requests != 2 || short.In < 200 || short.In > 600 || short.Out < 200 || short.Out > 600 {
		t.Errorf("short: %+v", short)
	}
	if ws.Requests != 1 || ws.In < 150 || ws.In > 500 || ws.Out < 100 || ws.Out > 400 || stats.Used["long"] != (count{}) {
		t.Errorf("WebSocket: %+v of %+v", ws, stats.Used)
	}
	get(t, url+"/stats?client=other", &stats)
	if other := stats.Used["short"]; other.In < short.In+2000 || other.Requests != 2 {
		t.Errorf("the other client: %+v", other)
	}
}

func TestRate(t *testing.T) {
	f, url := serveFeed(t)
	for _, test := range []struct {
		path, origin string
		want         int
	}{
		{"/rate?every=100", url, http.StatusNoContent},
		{"/rate?every=1", url, http.StatusBadRequest},
		{"/rate", url, http.StatusBadRequest},
		{"/rate?every=1000", "https://elsewhere.example", http.StatusForbidden},
		{"/publish", url, http.StatusNoContent},
		{"/publish", "https://elsewhere.example", http.StatusForbidden},
	} {
		r, err := http.NewRequest("POST", url+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", test.origin)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("POST %s from %s: %s, want %d", test.path, test.origin, resp.Status, test.want)
		}
	}
	if _, last, _ := f.after(-1); f.interval() != 100*time.Millisecond || last != 1 {
		t.Errorf("every %v, %d events", f.interval(), last)
	}
}

func TestPlay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); f.play(ctx) }()
		want := func(n int) {
			t.Helper()
			synctest.Wait()
			if _, last, _ := f.after(-1); last != n {
				t.Errorf("%d events, want %d", last, n)
			}
		}
		time.Sleep(3*time.Second + time.Millisecond)
		want(3)
		f.setRate(0)
		time.Sleep(time.Minute)
		want(3)
		f.setRate(100 * time.Millisecond)
		time.Sleep(time.Second + time.Millisecond)
		want(13)
		cancel()
		<-ended
	})
}
