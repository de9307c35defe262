package limit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	internal "github.com/seed70bc5565/websocket/internal/wstest"
	"github.com/seed70bc5565/websocket/wstest"
)

// TestMain fails the run if a test has left something behind: see wstest.Main.
func TestMain(m *testing.M) { os.Exit(internal.Main(m)) }

// Each step waits, and then a message of so many bytes comes.
func TestCheck(t *testing.T) {
	type step struct {
		wait time.Duration
		size int
		want string // what is exceeded
	}
	for name, tt := range map[string]struct {
		limits Limits
		steps  []step
	}{
		"none": {Limits{}, []step{{0, 1 << 30, ""}, {0, 1 << 30, ""}}},
		"messages": {Limits{Messages: Rate{PerSecond: 2, Burst: 3}}, []step{
			{0, 0, ""}, {0, 1 << 30, ""}, {0, 0, ""}, {0, 0, "messages"},
			{499 * time.Millisecond, 0, "messages"}, {time.Millisecond, 0, ""}, {0, 0, "messages"},
			{time.Hour, 0, ""}, {0, 0, ""}, {0, 0, ""}, {0, 0, "messages"}, // no more than the burst
		}},
		"burst by default":          {Limits{Messages: Rate{PerSecond: 2}}, []step{{0, 0, ""}, {0, 0, ""}, {0, 0, "messages"}}},
		"less than one in a second": {Limits{Messages: Rate{PerSecond: 0.1}}, []step{{0, 0, ""}, {9 * time.Second, 0, "messages"}, {time.Second, 0, ""}}},
		"bytes": {Limits{Bytes: Rate{PerSecond: 100, Burst: 1000}}, []step{
			{0, 600, ""}, {0, 401, "bytes"}, {0, 400, ""}, {0, 1, "bytes"}, {0, 0, ""}, {time.Second, 100, ""}, {time.Hour, 1001, "bytes"}, {0, 1000, ""},
		}},
		"both": {Limits{Messages: Rate{PerSecond: 1, Burst: 2}, Bytes: Rate{PerSecond: 10}}, []step{
			{0, 11, "bytes"}, {0, 10, ""}, {0, 1, "bytes"}, {0, 0, ""}, {0, 0, "messages"},
		}},
		"negative": {Limits{Messages: Rate{PerSecond: -1, Burst: 1}}, []step{{0, 0, ""}, {0, 0, ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told int
				tt.limits.OnExceeded = func(e *ExceededError) { told++ }
				l := New(tt.limits)
				exceeded := 0
				for i, s := range tt.steps {
					time.Sleep(s.wait) // in a bubble: it takes no time
					err := l.Check(s.size)
					var e *ExceededError
					got := ""
					if errors.As(err, &e) {
						var ptr *websocket.CloseError
						if !errors.As(err, &ptr) || ptr.Code != websocket.StatusPolicyViolation {
							t.Errorf("step %d: %v is no *CloseError", i, err)
						}
						got = e.What
						exceeded++
						if e.Size != s.size || websocket.CloseStatus(err) != websocket.StatusPolicyViolation || e.Limit.Burst < 1 ||
							!strings.Contains(err.Error(), s.want+" a second") {
							t.Errorf("step %d: %+v", i, e)
						}
					}
					if got != s.want || (err == nil) != (s.want == "") {
						t.Errorf("step %d: %v, want %q", i, err, s.want)
					}
				}
				if told != exceeded {
					t.Errorf("the hook was told of %d of %d", told, exceeded)
				}
			})
		})
	}
}

// In any stretch of time no more comes than the burst and what comes back, and
// who asks often enough gets all of it.
func TestRateHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, burst = 10, 5
		l := New(Limits{Messages: Rate{PerSecond: perSecond, Burst: burst}})
		random := rand.New(rand.NewPCG(1, 2))
		var allowed []time.Time
		begin := time.Now()
		for range 20_000 {
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
			if l.Check(0) == nil {
				allowed = append(allowed, time.Now())
			}
		}
		for i := range allowed {
			for j := i; j < min(len(allowed), i+200); j++ {
				if most := burst + perSecond*allowed[j].Sub(allowed[i]).Seconds() + 1e-6; float64(j-i+1) > most {
					t.Fatalf("%d messages within %v", j-i+1, allowed[j].Sub(allowed[i]))
				}
			}
		}
		if want := perSecond * time.Since(begin).Seconds(); float64(len(allowed)) < want-burst {
			t.Errorf("%d messages were allowed in %v", len(allowed), time.Since(begin))
		}
	})
}

// A Limiter that connections share is one for all of them.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Messages: Rate{PerSecond: 1, Burst: 100}})
		var allowed atomic.Int64
		var work sync.WaitGroup
		for range 8 {
			work.Go(func() {
				for range 50 {
					if l.Check(1) == nil {
						allowed.Add(1)
					}
				}
			})
		}
		work.Wait()
		if n := allowed.Load(); n != 100 {
			t.Errorf("%d messages were allowed", n)
		}
	})
}

// connect returns a connection, and its raw peer.
func connect(t *testing.T) (*websocket.Conn, *wstest.Peer) {
	t.Helper()
	return wstest.ClientWithPeer(t, &wstest.Options{Dial: &websocket.DialOptions{PingInterval: -1}})
}

func TestMessages(t *testing.T) {
	for name, tt := range map[string]struct {
		limits Limits
		code   websocket.StatusCode
		reason string
	}{
		"by default": {Limits{Messages: Rate{PerSecond: 2}}, 1008, "more than 2 messages a second"},
		"own code":   {Limits{Messages: Rate{PerSecond: 2}, Code: 4029, Reason: "slow down"}, 4029, "slow down"},
		"bytes":      {Limits{Bytes: Rate{PerSecond: 2}, Code: websocket.StatusTryAgainLater}, 1013, "more than 2 bytes a second"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := connect(t)
				var got []string
				result := make(chan error, 1)
				go func() {
					for m, err := range New(tt.limits).Messages(context.Background(), c) {
						if err != nil {
							result <- err
							return
						}
						got = append(got, string(m.Data))
					}
					result <- nil
				}()
				for i := range 4 {
					p.WriteFrame(wstest.Text, fmt.Sprint(i))
				}
				if reason := p.WantClose(tt.code); reason != tt.reason {
					t.Errorf("the reason is %q", reason)
				}
				p.WriteClose(tt.code, "")
				err := <-result
				var e *ExceededError
				if !errors.As(err, &e) || fmt.Sprint(got) != "[0 1]" {
					t.Errorf("got %v, %v", got, err)
				}
			})
		})
	}
}

// Any other end of a range ends this one too.
func TestMessagesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Messages: Rate{PerSecond: 100}})
		c, p := connect(t)
		p.WriteFrame(wstest.Text, "one")
		p.WriteClose(1000, "")
		n := 0
		for m, err := range l.Messages(t.Context(), c) {
			if n++; err != nil || string(m.Data) != "one" {
				t.Errorf("%q, %v", m.Data, err)
			}
		}
		if n != 1 {
			t.Errorf("%d steps", n)
		}

		c, p = connect(t)
		p.Conn.Close()
		for _, err := range l.Messages(t.Context(), c) {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error(err)
			}
		}

		c, p = connect(t)
		p.WriteFrame(wstest.Text, "one")
		p.WriteFrame(wstest.Text, "two")
		for range l.Messages(t.Context(), c) {
			break
		}
		if _, data, err := c.Read(t.Context()); string(data) != "two" || err != nil {
			t.Errorf("after a break: %q, %v", data, err)
		}
	})
}
