package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

func TestPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(nil)
		a := join(t, h, "x", "y", "x") // twice is once
		b := join(t, h, "y")
		if got := h.Subscriptions("x"); got != 1 {
			t.Errorf("%d subscribers of x, want 1", got)
		}
		publish(t, h, "x", "one")
		publish(t, h, "y", "two")
		publish(t, h, "z", "nobody")
		if err := h.Publish(t.Context(), "x", websocket.MessageBinary, []byte("three")); err != nil {
			t.Fatal(err)
		}
		a.want("one", "two")
		a.WantFrame(wstest.Binary, "three")
		b.want("two")

		a.s.Unsubscribe("x", "never had")
		publish(t, h, "x", "four")
		publish(t, h, "y", "five")
		a.want("five")
		b.want("five")

		a.s.Leave()
		a.s.Leave()
		publish(t, h, "y", "six")
		b.want("six")
		synctest.Wait()
		a.WantIdle()
		if err := a.s.Err(); !errors.Is(err, ErrLeft) {
			t.Errorf("Err after Leave: %v", err)
		}
		if err := a.s.Subscribe(t.Context(), "y"); !errors.Is(err, ErrLeft) {
			t.Errorf("Subscribe after Leave: %v", err)
		}
		if err := a.s.Send(websocket.MessageText, nil); !errors.Is(err, ErrLeft) {
			t.Errorf("Send after Leave: %v", err)
		}
		want := Stats{Subscribers: 1, Topics: 1, Published: 5, Delivered: 7}
		if got := h.Stats(); got != want {
			t.Errorf("Stats: %+v, want %+v", got, want)
		}
		b.s.Leave()
		if got := h.Stats(); got.Subscribers != 0 || got.Topics != 0 {
			t.Errorf("when all have left: %+v", got)
		}
	})
}

func TestBadType(t *testing.T) {
	h := New(nil)
	if err := h.Publish(t.Context(), "x", 9, nil); err == nil || !strings.Contains(err.Error(), "9") {
		t.Errorf("Publish: %v", err)
	}
	if err := h.Join(nil).Send(9, nil); err == nil || !strings.Contains(err.Error(), "9") {
		t.Errorf("Send: %v", err)
	}
}

// Messages of one goroutine arrive in its order, and those that wait leave in
// one write. An idle subscriber has no goroutine.
func TestOrderAndWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(nil)
		c := stall(t, h)
		if got := goroutines(); got != 1 {
			t.Errorf("%d goroutines with a queue, want 1", got)
		}
		before := c.server.Stats().Writes
		var want []string
		for i := range 40 {
			text := fmt.Sprint(i)
			want = append(want, text)
			if i%2 == 0 {
				publish(t, h, "x", text)
			} else if err := c.s.Send(websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		c.ReadFrame()
		c.want(want...)
		if got := c.server.Stats().Writes - before; got != 1 {
			t.Errorf("%d messages took %d writes", len(want), got)
		}
		synctest.Wait()
		if got := goroutines(); got != 0 {
			t.Errorf("%d goroutines with an empty queue", got)
		}
	})
}

// goroutines returns how many goroutines run for subscribers.
func goroutines() int {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	n := 0
	for _, creator := range []string{"(*Subscriber)", "(*flushers)"} {
		n += strings.Count(string(buf), "created by github.com/seed70bc5565/websocket/hub."+creator+".")
	}
	return n
}

// All subscribers of a topic get its messages in one order, with several
// publishers.
func TestOneOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const publishers, each = 8, 50
		h := New(&Options{QueueMessages: -1})
		var clients []*client
		for range 5 {
			clients = append(clients, join(t, h, "x"))
		}
		var wg sync.WaitGroup
		for i := range publishers {
			wg.Go(func() {
				for j := range each {
					publish(t, h, "x", fmt.Sprintf("%d %d", i, j))
				}
			})
		}
		var first []string
		for i, c := range clients {
			var got []string
			next := map[int]int{}
			for range publishers * each {
				f := c.ReadFrame()
				got = append(got, string(f.Payload))
				var p, n int
				fmt.Sscan(string(f.Payload), &p, &n)
				if n != next[p] {
					t.Fatalf("publisher %d: message %d, want %d", p, n, next[p])
				}
				next[p]++
			}
			if i == 0 {
				first = got
			} else if strings.Join(got, ",") != strings.Join(first, ",") {
				t.Fatalf("subscriber %d has another order", i)
			}
		}
		wg.Wait()
	})
}

// stall makes a subscriber whose connection takes nothing, with a flusher that
// waits in a write.
func stall(t *testing.T, h *Hub) *client {
	t.Helper()
	c := connect(t, h, netfake.Options{A: netfake.End{Buffer: 1 << 10}}, nil)
	if err := c.s.Subscribe(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if err := c.s.Send(websocket.MessageText, make([]byte, 4<<10)); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return c
}

func TestPolicies(t *testing.T) {
	for _, tt := range []struct {
		policy       Policy
		messages     int
		bytes        int
		kept         string // of 0 to 9, one byte each
		disconnected bool
	}{
		{DropOldest, 3, -1, "789", false},
		{DropOldest, -1, 4, "6789", false},
		{DropNewest, 3, -1, "012", false},
		{DropNewest, -1, 4, "0123", false},
		{Disconnect, 3, -1, "", true},
		{Disconnect, -1, 4, "", true},
		{Disconnect, 10, 10, "0123456789", false},
	} {
		t.Run(fmt.Sprint(tt.policy, tt.messages, tt.bytes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := New(&Options{QueueMessages: tt.messages, QueueBytes: tt.bytes, WhenFull: tt.policy})
				slow, quick := stall(t, h), join(t, h, "x")
				for i := range 10 {
					publish(t, h, "x", fmt.Sprint(i))
					quick.want(fmt.Sprint(i)) // no one waits for the slow one
				}
				st := slow.s.Stats()
				if !tt.disconnected {
					if want := uint64(10 - len(tt.kept)); st.Dropped != want || h.Stats().Dropped != want {
						t.Errorf("dropped %d and %d, want %d", st.Dropped, h.Stats().Dropped, want)
					}
					if st.Queued != len(tt.kept) || st.QueuedBytes != len(tt.kept) {
						t.Errorf("%+v", st)
					}
					slow.ReadFrame()
					slow.want(strings.Split(tt.kept, "")...)
					synctest.Wait()
					if st := slow.s.Stats(); st.Queued != 0 || st.QueuedBytes != 0 || slow.s.Err() != nil {
						t.Errorf("when all is read: %+v, %v", st, slow.s.Err())
					}
					return
				}
				if err := slow.s.Err(); !errors.Is(err, ErrFull) {
					t.Errorf("Err: %v", err)
				}
				want := Stats{Subscribers: 1, Topics: 1, Published: 10, Delivered: 10, Disconnected: 1}
				synctest.Wait()
				if got := h.Stats(); got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
				slow.ReadFrame() // it wakes up in time to see why
				slow.WantClose(1013)
				slow.WriteClose(1013, "")
				slow.WantEOF()
			})
		})
	}
}

// A peer that never reads again is cut off when the close timeout has passed,
// and nothing is left of it.
func TestDisconnectStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(&Options{QueueMessages: 1})
		c := stall(t, h)
		publish(t, h, "x", "1", "2")
		<-c.conn.CloseRead(context.Background()).Done() // in place of time.Sleep: the end of the connection
		synctest.Wait()
		if got := goroutines(); got != 0 {
			t.Errorf("%d goroutines are left", got)
		}
	})
}

// Close sends what waits first.
func TestSubscriberClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(nil)
		for _, stalled := range []bool{true, false} {
			var c *client
			if stalled {
				c = stall(t, h)
			} else {
				c = join(t, h, "x")
			}
			publish(t, h, "x", "before")
			c.s.Close(4000, "bye")
			c.s.Close(4001, "again")
			publish(t, h, "x", "after")
			if err := c.s.Err(); !errors.Is(err, ErrLeft) {
				t.Errorf("Err: %v", err)
			}
			synctest.Wait()
			if stalled {
				c.ReadFrame()
			}
			c.want("before")
			if reason := c.WantClose(4000); reason != "bye" {
				t.Errorf("reason %q", reason)
			}
			c.WriteClose(4000, "")
			c.WantEOF()
		}
	})
}

// A callback of a connection that panics while the hub closes it ends that
// connection, not the process.
func TestSubscriberCloseCallbackPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := netfake.Pipe(netfake.Options{})
		defer theirs.Close()
		peer := wstest.NewPeer(t, theirs, wstest.Client)
		c, err := websocket.NewConn(ours, &websocket.ConnOptions{OnPingReceived: func(context.Context, []byte) bool { panic(http.ErrAbortHandler) }})
		if err != nil {
			t.Fatal(err)
		}
		s := New(nil).Join(c) // no goroutine reads from it
		s.Close(websocket.StatusGoingAway, "")
		peer.WantClose(1001)
		peer.WriteFrame(wstest.Ping, "late")
		synctest.Wait()
		if e := c.End(); e.Code != websocket.StatusGoingAway {
			t.Errorf("End = %v", e)
		}
		if err := c.CloseNow(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the connection has not ended: %v", err)
		}
	})
}

// A peer that takes nothing cannot stay by that, though nothing else ends its
// connection.
func TestSubscriberCloseStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(nil)
		c := stall(t, h)
		publish(t, h, "x", "before")
		c.s.Close(4000, "bye")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		<-c.conn.CloseRead(ctx).Done()
		if ctx.Err() != nil {
			t.Error("the connection is still there")
		}
		synctest.Wait()
		if got := goroutines(); got != 0 {
			t.Errorf("%d goroutines are left", got)
		}
	})
}

// A connection that broke leaves at the first message that cannot be written,
// and Close still ends it.
func TestBrokenConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(nil)
		c := connect(t, h, netfake.Options{}, nil)
		s := h.Join(c.conn) // of which no one takes care
		if err := s.Subscribe(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		c.Conn.(*netfake.Conn).Reset()
		publish(t, h, "x", "1")
		synctest.Wait()
		if err := s.Err(); err == nil || errors.Is(err, ErrLeft) || errors.Is(err, ErrClosed) {
			t.Errorf("Err: %v", err)
		}
		if h.Subscriptions("x") != 0 || h.Stats().Subscribers != 0 || h.Stats().Topics != 0 {
			t.Errorf("%+v", h.Stats())
		}
		s.Close(1000, "")
		s.Leave()
	})
}

// Subscribers come and go, the hub is closed, and nothing is left.
func TestComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(&Options{History: History{Messages: 10, Age: time.Second}, WhenFull: DropOldest})
		topics := []string{"a", "b", "c", "d", "e"}
		var clients []*client
		for range 6 {
			c := connect(t, h, netfake.Options{}, nil)
			clients = append(clients, c)
			go io.Copy(io.Discard, c.Conn)
		}
		var publishers, movers sync.WaitGroup
		stop := make(chan struct{})
		for i := range 3 {
			publishers.Go(func() {
				for n := i; ; n++ {
					select {
					case <-stop:
						return
					default:
						h.Publish(context.Background(), topics[n%len(topics)], websocket.MessageText, []byte("text"))
					}
				}
			})
		}
		for i, c := range clients {
			for k := range 2 { // one subscriber, used by two goroutines
				movers.Go(func() {
					for n := range 300 {
						topic := topics[(n*(i+1)+k)%len(topics)]
						if n%2 == 0 {
							c.s.Subscribe(context.Background(), topic, "a")
						} else {
							c.s.Unsubscribe(topic)
						}
						h.Subscriptions(topic)
						if n == 250 && i%2 == 0 {
							c.s.Leave()
						}
					}
				})
			}
		}
		movers.Wait()
		close(stop)
		publishers.Wait()
		for i, c := range clients {
			want := map[string]bool{}
			for _, name := range c.s.Topics() {
				want[name] = true
			}
			if i%2 == 0 && len(want) > 0 {
				t.Errorf("subscriber %d has left, and has %v", i, want)
			}
			for _, name := range topics {
				topic := h.find(name)
				if topic == nil {
					continue
				}
				if got := slices.Contains(topic.subs, c.s); got != want[name] {
					t.Errorf("subscriber %d, topic %s: %v on one side, %v on the other", i, name, want[name], got)
				}
				topic.unlock()
			}
		}
		h.Close()
		if st := h.Stats(); st.Topics != 0 {
			t.Errorf("%+v", st)
		}
		if err := clients[1].s.Subscribe(context.Background(), "a"); !errors.Is(err, ErrClosed) {
			t.Errorf("Subscribe after Close: %v", err)
		}
		if err := clients[1].s.Send(websocket.MessageText, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Send after Close: %v", err)
		}
	})
}
