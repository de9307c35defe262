package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// withPositions is an Encode that puts the position in front.
func withPositions(dst []byte, m Message) []byte {
	return fmt.Appendf(dst, "%s %s", m.Position, m.Data)
}

// greet is a Greet that says all.
func greet(st SubscribeResult) (websocket.MessageType, []byte) {
	return websocket.MessageText, fmt.Appendf(nil, "start %s %t %d", st.Position, st.Complete, st.Messages)
}

// split splits a message that withPositions has made.
func split(t *testing.T, f wstest.Frame) (at Position, text string) {
	t.Helper()
	pos, text, ok := strings.Cut(string(f.Payload), " ")
	at, err := ParsePosition(pos)
	if !ok || err != nil {
		t.Fatalf("%q: %v", f.Payload, err)
	}
	return at, text
}

func TestHistory(t *testing.T) {
	const second = time.Second
	for _, tt := range []struct {
		name    string
		limits  History
		every   time.Duration // between ten messages 1 to 10, each of 10 bytes
		after   uint64        // resume behind this one
		recent  int
		want    int // how many are replayed
		misses  bool
		pause   time.Duration // between the last message and the return
		discard bool          // the first client leaves before the pause
	}{
		{name: "all", limits: History{Messages: 100}, after: 4, want: 6},
		{name: "from the start", limits: History{Messages: 100}, after: 0, want: 10},
		{name: "nothing missed", limits: History{Messages: 100}, after: 10, want: 0},
		{name: "just enough", limits: History{Messages: 6}, after: 4, want: 6},
		{name: "one too few", limits: History{Messages: 5}, after: 4, misses: true},
		{name: "one too few, recent", limits: History{Messages: 5}, after: 4, recent: 3, want: 3, misses: true},
		{name: "recent but complete", limits: History{Messages: 5}, after: 7, recent: 5, want: 3},
		{name: "recent, all there are", limits: History{Messages: 5}, after: 4, recent: 30, want: 5, misses: true},
		{name: "the future", limits: History{Messages: 5}, after: 11, misses: true},
		{name: "no history", misses: true, after: 10, recent: 5},
		{name: "bytes enough", limits: History{Messages: 100, Bytes: 60}, after: 4, want: 6},
		{name: "bytes too few", limits: History{Messages: 100, Bytes: 59}, after: 4, misses: true},
		{name: "less than one", limits: History{Messages: 100, Bytes: 9}, after: 9, misses: true},
		{name: "less than one, nothing missed", limits: History{Messages: 100, Bytes: 9}, after: 10},
		{name: "no limit", limits: History{Messages: 100, Bytes: -1, Age: -1}, every: time.Hour, pause: 1000 * time.Hour, want: 10},
		{name: "young enough", limits: History{Messages: 100, Age: 10 * second}, every: second, after: 4, pause: 4*second - 1, want: 6},
		{name: "too old", limits: History{Messages: 100, Age: 10 * second}, every: second, after: 4, pause: 4 * second, misses: true},
		{name: "all too old", limits: History{Messages: 100, Age: 10 * second}, every: second, after: 9, pause: time.Hour, misses: true, recent: 5},
		{name: "all too old, nothing missed", limits: History{Messages: 100, Age: 10 * second}, every: second, after: 10, pause: time.Hour},
		{name: "default age", limits: History{Messages: 100}, after: 4, pause: 5*time.Minute - 1, want: 6},
		{name: "default age past", limits: History{Messages: 100}, after: 4, pause: 5 * time.Minute, misses: true},
		{name: "nobody there", limits: History{Messages: 100, Age: 10 * second}, after: 4, pause: 10*second - 1, want: 6, discard: true},
		{name: "nobody there for too long", limits: History{Messages: 100, Age: 10 * second}, after: 10, pause: 10 * second, misses: true, discard: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := New(&Options{History: tt.limits})
				first := connect(t, h, netfake.Options{}, nil)
				start, err := first.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{})
				at := start.Position
				if err != nil || start.Complete || at.IsZero() != (tt.limits.Messages == 0) || at.Offset != 0 {
					t.Fatalf("%+v, %v", start, err)
				}
				for i := range 10 {
					publish(t, h, "x", fmt.Sprintf("%10d", i+1))
					<-time.After(tt.every)
				}
				if tt.discard {
					first.s.Leave()
				}
				<-time.After(tt.pause)
				synctest.Wait()
				if got, want := h.Stats().Topics, 1; (got == want) != (!tt.discard || !tt.misses) {
					t.Errorf("%d topics", got)
				}

				c := connect(t, h, netfake.Options{}, nil)
				after := start.Position
				after.Offset = tt.after
				st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: after, Recent: tt.recent})
				if err != nil || st.Complete == tt.misses || st.Messages != tt.want {
					t.Fatalf("%+v, %v", st, err)
				}
				for i := range tt.want {
					c.want(fmt.Sprintf("%10d", 11-tt.want+i))
				}
				publish(t, h, "x", "live")
				c.want("live")
			})
		})
	}
}

func TestSubscribeFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(&Options{
			HistoryOf: func(topic string) History {
				if topic == "kept" {
					return History{Messages: 3}
				}
				return History{}
			},
			Encode: withPositions,
		})
		c := connect(t, h, netfake.Options{}, nil)
		c.s.Subscribe(t.Context(), "other")
		publish(t, h, "other", "no position")
		c.want(" no position")
		// The history begins with the first message, though no subscriber is
		// there.
		publish(t, h, "kept", "1", "2", "3", "4")
		st, err := c.s.SubscribeFrom(t.Context(), "kept", SubscribeOptions{Recent: 2, Greet: greet})
		if err != nil {
			t.Fatal(err)
		}
		c.want(fmt.Sprintf("start %s false 2", st.Position))
		for i := uint64(3); i <= 4; i++ {
			at, text := split(t, c.ReadFrame())
			if want := (Position{st.Position.Epoch, i}); at != want || text != fmt.Sprint(i) {
				t.Errorf("%v %q, want %v", at, text, want)
			}
		}
		if _, err := c.s.SubscribeFrom(t.Context(), "kept", SubscribeOptions{}); !errors.Is(err, ErrSubscribed) {
			t.Errorf("again: %v", err)
		}
		if got := c.s.Topics(); len(got) != 2 {
			t.Errorf("topics %q", got)
		}
		c.s.Unsubscribe("kept")
		other := Position{st.Position.Epoch + 1, 4}
		if _, err := c.s.SubscribeFrom(t.Context(), "kept", SubscribeOptions{After: other, Greet: greet}); err != nil {
			t.Fatal(err)
		}
		c.want(fmt.Sprintf("start %s false 0", st.Position)) // another epoch
		if _, err := c.s.SubscribeFrom(t.Context(), "more", SubscribeOptions{Greet: func(SubscribeResult) (websocket.MessageType, []byte) {
			return 9, []byte{}
		}}); err == nil || h.Subscriptions("more") != 0 {
			t.Errorf("a greeting of no type: %v", err)
		}
		c.s.Leave()
		_, err = c.s.SubscribeFrom(t.Context(), "more", SubscribeOptions{})
		if !errors.Is(err, ErrLeft) || h.Subscriptions("more") != 0 {
			t.Errorf("after Leave: %v", err)
		}
	})
}

// A panic of the application's costs that call, and leaves no lock behind.
func TestPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := true
		check := func() {
			if broken {
				panic("broken")
			}
		}
		h := New(&Options{
			HistoryOf: func(string) History { check(); return History{Messages: 1} },
			Encode:    func(dst []byte, m Message) []byte { check(); return m.Data },
		})
		c := connect(t, h, netfake.Options{}, nil)
		wantPanicked := func(err error) {
			t.Helper()
			if !errors.Is(err, ErrCallbackPanicked) {
				t.Errorf("the error is %v", err)
			}
		}
		wantPanicked(h.Publish(t.Context(), "x", websocket.MessageText, []byte("1")))
		wantPanicked(c.s.Subscribe(t.Context(), "x"))
		broken = false
		_, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{Greet: func(SubscribeResult) (websocket.MessageType, []byte) { panic("broken") }})
		wantPanicked(err)
		if err := c.s.Subscribe(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		publish(t, h, "x", "2")
		broken = true
		if err := h.Publish(t.Context(), "x", websocket.MessageText, []byte("3")); !errors.Is(err, ErrEncode) {
			t.Errorf("Publish: %v", err)
		}
		broken = false
		publish(t, h, "x", "4")
		c.want("2", "4")
		topic := h.find("x")
		defer topic.unlock()
		if topic.last.Offset != 2 || topic.hist.len() != 1 {
			t.Errorf("position %v, %d messages kept", topic.last, topic.hist.len())
		}
	})
}

// While others publish, a client comes back again and again: it sees every
// message once, in order.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const publishers, each, returns = 4, 300, 40
		h := New(&Options{History: History{Messages: publishers * each}, Encode: withPositions, QueueMessages: -1})
		c := connect(t, h, netfake.Options{}, nil)
		st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range publishers {
			wg.Go(func() {
				for j := range each {
					publish(t, h, "x", fmt.Sprint(i, j))
					if j%7 == i {
						<-time.After(time.Millisecond)
					}
				}
			})
		}
		last, replayed := st.Position, 0
		for n := range publishers * each {
			if n%(publishers*each/returns) == 0 {
				c.Close()
				c = connect(t, h, netfake.Options{}, nil)
				st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: last})
				if err != nil || !st.Complete {
					t.Fatalf("%+v, %v", st, err)
				}
				replayed += st.Messages
				if n%3 == 0 {
					<-time.After(time.Millisecond)
				}
			}
			at, _ := split(t, c.ReadFrame())
			if at.Epoch != last.Epoch || at.Offset != last.Offset+1 {
				t.Fatalf("message %d: %v behind %v", n, at, last)
			}
			last = at
		}
		wg.Wait()
		if replayed == 0 || replayed == publishers*each {
			t.Errorf("%d messages were replayed, which tests little", replayed)
		}
	})
}

// A replay is as long as the history. The bounds of the queue hold for what
// comes behind it.
func TestReplayPastTheBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(&Options{History: History{Messages: 50}, QueueMessages: 5, QueueBytes: 10, WhenFull: DropNewest})
		for i := range 50 {
			publish(t, h, "x", fmt.Sprint(i))
		}
		c := connect(t, h, netfake.Options{A: netfake.End{Buffer: 1 << 10}}, nil)
		c.s.Send(websocket.MessageText, make([]byte, 4<<10))
		synctest.Wait()
		if _, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{Recent: 50}); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			publish(t, h, "x", fmt.Sprint(50+i))
		}
		if st := c.s.Stats(); st.Dropped != 5 || st.Queued != 55 {
			t.Errorf("%+v", st)
		}
		c.ReadFrame()
		for i := range 55 {
			c.want(fmt.Sprint(i))
		}
		synctest.Wait()
		if c.s.queue != nil {
			t.Errorf("a queue is left, whose bounds may be raised: %+v", c.s.queue)
		}
	})
}

// A client that lets itself be sent the history again and again, and does not
// read, is stopped.
func TestReplayFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(&Options{History: History{Messages: 1000}})
		for range 1000 {
			publish(t, h, "x", "")
		}
		c := connect(t, h, netfake.Options{A: netfake.End{Buffer: 1 << 10}}, nil)
		c.s.Send(websocket.MessageText, make([]byte, 4<<10))
		synctest.Wait()
		for i := range 100 {
			_, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{Recent: 1000})
			if err != nil {
				if !errors.Is(err, ErrFull) || i < maxExtra/1000 {
					t.Errorf("try %d: %v", i, err)
				}
				return
			}
			c.s.Unsubscribe("x")
		}
		t.Error("it was not stopped")
	})
}

// A message in the history is old at the same moment for all, and the topic
// goes when nothing keeps it.
func TestTopicGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(&Options{History: History{Messages: 3, Age: time.Minute}})
		c := join(t, h, "x")
		c.s.Leave()
		for i, want := range []int{1, 1, 1, 0} {
			if got := h.Stats().Topics; got != want {
				t.Errorf("after %d minutes: %d topics, want %d", i, got, want)
			}
			if i == 1 {
				publish(t, h, "x", "1")
			}
			<-time.After(time.Minute - time.Second)
		}
		// An attempt that fails leaves nothing behind.
		if err := c.s.Subscribe(context.Background(), "y"); err == nil || h.Stats().Topics != 0 {
			t.Errorf("%v, %d topics", err, h.Stats().Topics)
		}
	})
}
