package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/wsjson"
)

func TestParseProc(t *testing.T) {
	const meminfo = "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    4096 kB\n"
	got, err := parseProc([]byte("cpu  100 20 30 400 50 6 7 8 99 98\ncpu0 1 2 3 4 5 6 7 8 9 10\n"), []byte(meminfo))
	if want := (usage{busy: 171, idle: 450, used: 12 << 20, total: 16 << 20}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, test := range []struct{ stat, meminfo string }{
		{"", meminfo},
		{"cpu 1 2 3", meminfo},
		{"cpu 1 2 x 4 5 6 7 8", meminfo},
		{"intr 1 2 3 4 5 6", meminfo},
		{"cpu 1 2 3 4 5 6 7 8", ""},
		{"cpu 1 2 3 4 5 6 7 8", "MemTotal: many kB\n"},
		{"cpu 1 2 3 4 5 6 7 8", "MemTotal: 1 kB\nMemAvailable: 2 kB\n"},
	} {
		if u, err := parseProc([]byte(test.stat), []byte(test.meminfo)); err == nil {
			t.Errorf("%q, %q: %+v", test.stat, test.meminfo, u)
		}
	}
}

func TestLoad(t *testing.T) {
	for _, test := range []struct {
		before, now usage
		want        float64
	}{
		{usage{busy: 10, idle: 10}, usage{busy: 13, idle: 11}, 0.75},
		{usage{busy: 10, idle: 10}, usage{busy: 10, idle: 10}, 0},
		{usage{busy: 10, idle: 10}, usage{busy: 11, idle: 10}, 1},
		{usage{busy: 10, idle: 10}, usage{busy: 11, idle: 9.5}, 1}, // idle time may seem to run backwards
		{usage{busy: 10, idle: 10}, usage{busy: 0, idle: 0}, 0},
	} {
		if got := load(test.before, test.now); got != test.want {
			t.Errorf("from %+v to %+v: %v, want %v", test.before, test.now, got, test.want)
		}
	}
}

// The two ways to measure give something that makes sense, where they work.
func TestMeters(t *testing.T) {
	for name, read := range map[string]func() (usage, error){"this system": newMeter().read, "runtime": readRuntime} {
		u, err := read()
		if err != nil || u.used == 0 || u.busy < 0 || u.idle < 0 || u.busy+u.idle <= 0 || u.total != 0 && u.used > u.total {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
	}
}

// fakeMeter uses one of four CPUs, and a byte more each time.
func fakeMeter() meter {
	var u usage
	return meter{"A test", func() (usage, error) {
		u.busy, u.idle, u.used, u.total = u.busy+1, u.idle+3, u.used+1, 100
		return u, nil
	}}
}

type anything struct {
	Position string  `json:"position"`
	Type     string  `json:"type"`
	CPU      float64 `json:"cpu"`
	Used     uint64  `json:"used"`
	Text     string  `json:"text"`
	Resumed  bool    `json:"resumed"`
	What     string  `json:"what"`
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

// want reads a message, and returns its position.
func (r *reader) want(want anything) (position string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	var got anything
	err := wsjson.Read(ctx, r.c, &got)
	position, got.Position = got.Position, ""
	if err != nil || !reflect.DeepEqual(got, want) {
		r.t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
	return position
}

func TestSamplesAndMarks(t *testing.T) {
	d := newDashboard(fakeMeter(), time.Second)
	s := httptest.NewServer(program(d).Handler())
	defer s.Close()
	var u usage
	tick := func() {
		var err error
		if u, err = d.sample(u, time.UnixMilli(7)); err != nil {
			t.Fatal(err)
		}
	}
	tick()
	ada, bob := dial(t, s.URL, ""), dial(t, s.URL, "")
	for _, r := range []*reader{ada, bob} {
		r.want(anything{Type: "hello", What: "A test"})
		r.want(anything{Type: "sample", CPU: .25, Used: 1})
	}
	if err := wsjson.Write(t.Context(), ada.c, map[string]string{"mark": " now "}); err != nil {
		t.Fatal(err)
	}
	at := bob.want(anything{Type: "mark", Text: "now"})
	tick()
	for range shown + 1 {
		tick()
	}
	// More was missed than is kept: what is kept, which is a whole chart.
	late := dial(t, s.URL, at)
	late.want(anything{Type: "hello", What: "A test"})
	for i := range shown {
		at = late.want(anything{Type: "sample", CPU: .25, Used: uint64(4 + i)})
	}
	tick()
	back := dial(t, s.URL, at)
	back.want(anything{Type: "hello", What: "A test", Resumed: true})
	back.want(anything{Type: "sample", CPU: .25, Used: 4 + shown})
}

func TestBadInput(t *testing.T) {
	s := httptest.NewServer(program(newDashboard(fakeMeter(), time.Second)).Handler())
	defer s.Close()
	for _, test := range []struct{ after, message string }{
		{"nonsense", ""}, {"", `{"mark":" "}`}, {"", `{"mark":"a mark that is longer than a mark may ever be"}`},
	} {
		r := dial(t, s.URL, test.after)
		if test.message != "" {
			r.want(anything{Type: "hello", What: "A test"})
			if err := r.c.Write(t.Context(), websocket.MessageText, []byte(test.message)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if _, _, err := r.c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("%+v: %v", test, err)
		}
		cancel()
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fakeMeter()
		measured := 0
		failing := meter{m.what, func() (usage, error) {
			if measured++; measured > 4 {
				return usage{}, errors.New("no more")
			}
			return m.read()
		}}
		d := newDashboard(failing, time.Second)
		start := time.Now()
		d.run(t.Context()) // ends when it cannot measure any more
		if got := time.Since(start); got != 4*time.Second || d.hub.Stats().Published != 3 {
			t.Errorf("it ended after %v, with %d samples", got, d.hub.Stats().Published)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		newDashboard(m, time.Second).run(ctx)
	})
}
