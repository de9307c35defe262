package hub

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A client comes from another process, and is ahead of this one: messages are
// still on their way to it. It has missed nothing, and none comes to it twice.
func TestClientAhead(t *testing.T) {
	for _, filled := range []bool{false, true} {
		t.Run(fmt.Sprintf("filled %t", filled), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newStoreBroker()
				h := storeHub(b, nil)
				defer h.Close()
				here := join(t, h, "x")
				b.bring(7, nil)
				here.wantOffsets(t, 7, 1, 2, 3, 4, 5, 6, 7)
				if filled {
					c := connect(t, h, netfake.Options{}, nil)
					if _, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{Recent: 50}); err != nil {
						t.Fatal(err)
					}
				}
				late := b.store(3)
				ahead := connect(t, h, netfake.Options{}, nil)
				st, err := ahead.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, 9}})
				if err != nil || !st.Complete || st.Position.Offset < 9 {
					t.Errorf("%+v, %v", st, err)
				}
				for _, ev := range late {
					b.events <- ev
				}
				here.wantOffsets(t, 7, 8, 9, 10)
				ahead.wantOffsets(t, 7, 10)
				synctest.Wait()
				ahead.WantIdle()
			})
		})
	}
}

// A message of an earlier subscription comes late, before the engine says where
// the topic is. The client has not seen the messages that were published in
// between.
func TestLateMessageOfEarlierSubscription(t *testing.T) {
	for _, epoch := range []uint64{7, 6} { // that of the late message; the engine's is 7
		t.Run(fmt.Sprint(epoch), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newStoreBroker()
				b.gate = make(chan bool, 10)
				gate := make(chan error)
				b.scriptBroker.gate = gate
				late := b.store(5)[4]
				late.Position.Epoch = epoch
				b.store(2)
				h := storeHub(b, nil)
				defer h.Close()
				c := connect(t, h, netfake.Options{}, nil)
				started := c.resume(t, Position{epoch, 5})
				synctest.Wait()
				b.events <- late
				synctest.Wait()
				b.gate <- true
				gate <- nil
				st := <-started
				if want := epoch == 7; st.Complete != want {
					t.Errorf("%+v", st)
				}
				if st.Complete {
					c.wantOffsets(t, 7, 6, 7)
				}
				b.gate <- true
				b.bring(1, nil)
				c.wantOffsets(t, 7, 8)
				c.WantIdle()
			})
		})
	}
}

// storeTopic returns a hub whose engine keeps three messages of topic x, and a
// client that has them.
func storeTopic(t *testing.T) (*storeBroker, *Hub, *client) {
	b := newStoreBroker()
	h := storeHub(b, nil)
	t.Cleanup(func() { h.Close() })
	c := join(t, h, "x")
	b.bring(3, nil)
	c.wantOffsets(t, 7, 1, 2, 3)
	return b, h, c
}

// The engine comes back without the topic's data, and nothing is published.
// Clients are told to start afresh, once: a client that comes back behind that
// has missed nothing.
func TestQuietTopicWithoutData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, h, _ := storeTopic(t)
		b.events <- BrokerEvent{Kind: BrokerLost}
		b.mu.Lock()
		b.epoch, b.kept, b.top = 8, nil, 0
		b.mu.Unlock()
		b.events <- BrokerEvent{Kind: BrokerRecovered}
		time.Sleep(2 * comparePause)
		again := connect(t, h, netfake.Options{}, nil)
		st, err := again.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, 3}})
		if err != nil || st.Complete || !st.Position.IsZero() {
			t.Errorf("%+v, %v", st, err)
		}
		b.bring(1, nil)
		again.wantOffsets(t, 8, 1)
		more := connect(t, h, netfake.Options{}, nil)
		if st, err = more.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{8, 1}}); err != nil || !st.Complete {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// A blip: the topic stays quiet, and clients that come back have missed
// nothing.
func TestQuietTopicAfterBlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, h, _ := storeTopic(t)
		b.events <- BrokerEvent{Kind: BrokerLost}
		b.events <- BrokerEvent{Kind: BrokerRecovered}
		synctest.Wait()
		again := connect(t, h, netfake.Options{}, nil)
		st, err := again.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, 3}})
		if err != nil || !st.Complete {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// A topic whose messages never get too old is not kept for ever, where the
// engine keeps them.
func TestTopicGoesWhereEngineKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newStoreBroker()
		h := New(&Options{Broker: b, History: History{Messages: 10, Age: -1}})
		defer h.Close()
		for i := range 100 {
			c := join(t, h, fmt.Sprint(i))
			c.s.Leave()
		}
		time.Sleep(defaultHistoryAge + time.Second)
		synctest.Wait()
		if n := h.Stats().Topics; n != 0 {
			t.Errorf("%d topics", n)
		}
	})
}

// Replayed messages raise the bounds of the queue only while they wait there.
func TestReplayGivesNoRoom(t *testing.T) {
	for _, policy := range []Policy{DropOldest, DropNewest} {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := New(&Options{History: History{Messages: 1000}, QueueMessages: 16, WhenFull: policy})
				for i := range 1000 {
					publish(t, h, "x", fmt.Sprint(i))
				}
				c := connect(t, h, netfake.Options{A: netfake.End{Buffer: 1 << 10}}, nil)
				c.s.Send(websocket.MessageText, make([]byte, 4<<10)) // the flusher waits in it
				synctest.Wait()
				c.s.Send(websocket.MessageText, []byte("before"))
				if _, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{Recent: 1000}); err != nil {
					t.Fatal(err)
				}
				for i := range 3000 {
					publish(t, h, "x", fmt.Sprint("live", i))
				}
				st := c.s.Stats()
				if policy == DropOldest && st.Queued > 16 {
					t.Errorf("%d messages wait", st.Queued)
				}
				if policy == DropNewest { // "before" is one of the 16
					if st.Queued != 1016 {
						t.Errorf("%d messages wait", st.Queued)
					}
					c.ReadFrame()
					c.want("before")
					for i := range 1000 {
						c.want(fmt.Sprint(i))
					}
					for i := range 15 {
						c.want(fmt.Sprint("live", i))
					}
				}
			})
		})
	}
}

// As replayed messages leave, so does the room for them: what is live waits
// within its own bound.
func TestReplayLeaves(t *testing.T) {
	h := New(&Options{QueueMessages: 4, QueueBytes: 40, WhenFull: DropNewest})
	s := &Subscriber{hub: h, flushing: true} // no flusher comes
	msg := func() *message {
		m, _ := newMessage(websocket.MessageText, []byte("12345"))
		return m
	}
	live := func(n int) {
		for range n {
			s.put(msg())
		}
	}
	replay := func(n int) {
		for range n {
			if err := s.queueLocked().replay([]*message{msg()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	live(2)
	replay(3)
	live(1)
	replay(2)
	live(5) // one of them finds room
	if s.queue.len() != 9 || s.dropped != 4 {
		t.Fatalf("%d wait, %d dropped", s.queue.len(), s.dropped)
	}
	for left := 8; left >= 0; left-- {
		s.queue.drop(1)
		if s.queue.len() != left {
			t.Fatalf("%d wait", s.queue.len())
		}
		room := 4
		for _, isLive := range []bool{true, true, false, false, false, true, false, false, true}[9-left:] {
			if isLive {
				room--
			}
		}
		free := 0
		for ; !s.queue.full(&h.opts, msg()) && free < 10; free++ {
			s.queue.push(msg())
		}
		if free != room {
			t.Errorf("%d wait: room for %d, want %d", left, free, room)
		}
		for range free { // the latest go again
			s.queue.bytes -= 5
			s.queue.messages = s.queue.messages[:s.queue.len()-1]
		}
	}
	if s.queue.replayed != nil {
		t.Errorf("%+v", s.queue.replayed)
	}
}

// BenchmarkManyTopics subscribes one subscriber to many topics and ends that:
// the time for a topic must not grow with their number.
func BenchmarkManyTopics(b *testing.B) {
	for _, n := range []int{10, 1000, 40000} {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprint("topic", i)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := New(nil)
			for b.Loop() {
				s := h.Join(nil)
				if err := s.Subscribe(context.Background(), names...); err != nil {
					b.Fatal(err)
				}
				s.Unsubscribe(names[:n/2]...)
				s.Leave()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/topic")
		})
	}
}

// The engine is back, and a message comes that was read from what the engine
// keeps: it comes once.
func TestReadAndLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, h, c := storeTopic(t)
		b.events <- BrokerEvent{Kind: BrokerLost}
		synctest.Wait()
		live := b.store(2)
		again := connect(t, h, netfake.Options{}, nil)
		if st, err := again.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, 3}}); err != nil || !st.Complete {
			t.Errorf("%+v, %v", st, err)
		}
		c.wantOffsets(t, 7, 4, 5)
		again.wantOffsets(t, 7, 4, 5)
		b.gate = make(chan bool)
		b.events <- BrokerEvent{Kind: BrokerRecovered}
		for _, ev := range live {
			b.events <- ev
		}
		synctest.Wait()
		c.WantIdle()
		again.WantIdle()
		close(b.gate)
	})
}

// The messages that were read are older than the live ones, and the engine was
// lost: nothing comes twice.
func TestReadIsOlderThanLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &lateBroker{storeBroker: newStoreBroker(), gate: make(chan bool)}
		h := storeHub(b, nil)
		defer h.Close()
		b.store(3)
		c := join(t, h, "x")
		other := connect(t, h, netfake.Options{}, nil)
		go other.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, 2}})
		synctest.Wait() // the read has its answer, which is on its way
		b.bring(2, nil)
		c.wantOffsets(t, 7, 4, 5)
		b.events <- BrokerEvent{Kind: BrokerLost}
		synctest.Wait()
		close(b.gate)
		synctest.Wait()
		c.WantIdle()
	})
}

// A lateBroker holds back what was read.
type lateBroker struct {
	*storeBroker
	gate chan bool
}

func (b *lateBroker) Missed(ctx context.Context, topic string, after Position, limits History) (Backlog, error) {
	backlog, err := b.storeBroker.Missed(ctx, topic, after, limits)
	<-b.gate
	return backlog, err
}

// Live messages are quicker than what is read: what they leave out is taken all
// the same.
func TestReadIsSlow(t *testing.T) {
	for _, before := range []bool{true, false} { // a client is there before
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &lateBroker{storeBroker: newStoreBroker(), gate: make(chan bool)}
				h := storeHub(b, nil)
				defer h.Close()
				b.store(3)
				if before {
					join(t, h, "x")
				}
				c := connect(t, h, netfake.Options{}, nil)
				started := c.resume(t, Position{7, 1})
				synctest.Wait()
				b.bring(2, nil)
				synctest.Wait()
				close(b.gate)
				if st := <-started; !st.Complete || st.Messages != 4 {
					t.Errorf("%+v", st)
				}
				c.wantOffsets(t, 7, 2, 3, 4, 5)
			})
		})
	}
}

// The history begins anew while the engine is read, so that what was read does
// not reach up to it: it is read again.
func TestReadDoesNotReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &lateBroker{storeBroker: newStoreBroker(), gate: make(chan bool)}
		h := storeHub(b, nil)
		defer h.Close()
		b.store(3)
		c := connect(t, h, netfake.Options{}, nil)
		started := c.resume(t, Position{7, 1})
		synctest.Wait()
		b.store(2)
		tp := h.find("x")
		tp.takeLocked(b.store(1)[0], time.Now()) // as after a catch-up that failed
		tp.unlock()
		close(b.gate)
		if st := <-started; !st.Complete || st.Messages != 5 {
			t.Errorf("%+v", st)
		}
	})
}

// The engine's clock differs from this process's: messages are as old as the
// engine says.
func TestClocksDiffer(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &clockBroker{storeBroker: newStoreBroker(), skew: skew}
				b.store(2)
				time.Sleep(4 * time.Minute)
				b.store(2)
				b.mu.Lock()
				for i := range b.kept {
					b.kept[i].Time = time.Now().Add(skew)
					if i < 2 {
						b.kept[i].Time = b.kept[i].Time.Add(-4 * time.Minute)
					}
				}
				b.mu.Unlock()
				h := storeHub(b, nil)
				defer h.Close()
				for _, tt := range []struct {
					after    uint64
					complete bool
				}{{1, true}, {2, true}} {
					c := connect(t, h, netfake.Options{}, nil)
					st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, tt.after}})
					if err != nil || st.Complete != tt.complete {
						t.Errorf("after %d: %+v, %v", tt.after, st, err)
					}
				}
				time.Sleep(2 * time.Minute) // the first two are too old now
				c := connect(t, h, netfake.Options{}, nil)
				st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{Recent: 10})
				if err != nil || st.Messages != 2 {
					t.Errorf("%+v, %v", st, err)
				}
			})
		})
	}
}

// A clockBroker has an engine with a clock of its own.
type clockBroker struct {
	*storeBroker
	skew time.Duration
}

func (b *clockBroker) Missed(ctx context.Context, topic string, after Position, limits History) (Backlog, error) {
	backlog, err := b.storeBroker.Missed(ctx, topic, after, limits)
	backlog.Now = time.Now().Add(b.skew)
	return backlog, err
}

// Another process has no history for the topic, and the engine does not number
// its messages. A client that may have missed one is told so.
func TestUnkeptMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newStoreBroker()
		var told []BrokerEvent
		h := storeHub(b, func(ev BrokerEvent) { told = append(told, ev) })
		defer h.Close()
		here := join(t, h, "x")
		b.bring(3, nil)
		here.wantOffsets(t, 7, 1, 2, 3)
		resumes := func(after uint64, want bool) {
			t.Helper()
			c := connect(t, h, netfake.Options{}, nil)
			st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: Position{7, after}})
			if err != nil || st.Complete != want {
				t.Errorf("after %d: %+v, %v, want %t", after, st, err, want)
			}
			c.s.Leave()
		}
		resumes(3, true)
		for range 2 {
			b.events <- BrokerEvent{Topic: "x", Payload: appendEnvelope(nil, websocket.MessageText, []byte("unkept"))}
		}
		synctest.Wait()
		resumes(3, false)
		resumes(1, false)
		b.bring(2, nil)
		synctest.Wait()
		resumes(3, false)
		resumes(4, true)
		resumes(5, true)
		if len(told) != 1 || told[0].Kind != BrokerFailed || told[0].Topic != "x" || told[0].Err != errUnkept {
			t.Errorf("%+v", told)
		}
	})
}
