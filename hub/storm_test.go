package hub

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

var _ Historian = (*stormBroker)(nil)

// A stormBroker has an engine that keeps the messages from 1 to top of each
// topic. It takes its time to read them: live messages come meanwhile.
type stormBroker struct {
	*scriptBroker
	top   uint64
	size  int // of a message
	takes time.Duration
	dead  bool // a read takes until its context ends

	mu    sync.Mutex
	reads map[string]int // by topic
	live  uint64         // messages behind top
	now   int            // reads under way
	most  int            // the most of them
}

func newStormBroker() *stormBroker {
	script := &scriptBroker{events: make(chan BrokerEvent, 10_000)}
	return &stormBroker{scriptBroker: script, top: 1000, size: 100, takes: 50 * time.Millisecond, reads: map[string]int{}}
}

func (b *stormBroker) event(topic string, offset uint64) BrokerEvent {
	data := make([]byte, b.size)
	binary.BigEndian.PutUint64(data, offset)
	return BrokerEvent{
		Topic: topic, Position: Position{7, offset}, Payload: appendEnvelope(nil, websocket.MessageBinary, data),
	}
}

func (b *stormBroker) Positions(ctx context.Context, topics []KeptTopic) ([]Position, error) {
	positions := make([]Position, len(topics))
	for i := range topics {
		positions[i] = Position{7, b.top}
	}
	return positions, nil
}

func (b *stormBroker) Missed(ctx context.Context, topic string, after Position, limits History) (Backlog, error) {
	b.mu.Lock()
	b.reads[topic]++
	b.now++
	b.most = max(b.most, b.now)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.now--
		b.mu.Unlock()
	}()
	if b.dead {
		<-ctx.Done()
		return Backlog{}, ctx.Err()
	}
	time.Sleep(b.takes)
	b.mu.Lock()
	top := b.top + b.live
	b.mu.Unlock()
	oldest := top - uint64(limits.Messages) + 1
	l := Backlog{Top: Position{7, top}, Complete: after.Offset+1 >= oldest}
	for offset := max(oldest, after.Offset+1); offset <= top; offset++ {
		l.Messages = append(l.Messages, b.event(topic, offset))
	}
	return l, nil
}

// A counter is a transport that counts binary messages, and checks that each
// follows on the one before it. No message is split, as they are short.
type counter struct {
	sink
	n, last atomic.Uint64
	bad     atomic.Bool
	gate    chan struct{} // nil, or what a write waits for
}

func (c *counter) Write(p []byte) (int, error) {
	if p[0] != 0x82 {
		return len(p), nil // the response to the handshake
	}
	if c.gate != nil {
		<-c.gate
		return len(p), nil
	}
	for b := p; len(b) > 0; {
		n, head := int(b[1]), 2
		if n == 126 {
			n, head = int(binary.BigEndian.Uint16(b[2:])), 4
		}
		offset := binary.BigEndian.Uint64(b[head:])
		if last := c.last.Swap(offset); last != 0 && offset != last+1 {
			c.bad.Store(true)
		}
		c.n.Add(1)
		b = b[head+n:]
	}
	return len(p), nil
}

func countedConn(tb testing.TB, gate chan struct{}) (*websocket.Conn, *counter) {
	tb.Helper()
	n := &counter{gate: gate}
	c, err := websocket.Accept(&hijacker{conn: n}, upgrade(tb), &websocket.AcceptOptions{PingInterval: -1})
	if err != nil {
		tb.Fatal(err)
	}
	return c, n
}

// 10,000 clients come back at once to a process that knows nothing, each with
// up to 100 messages missed. A topic is read twice at most: for the first
// client, and then for all others. Messages that are published meanwhile are
// neither lost nor doubled.
func TestStorm(t *testing.T) {
	for _, topics := range []int{1, 100} {
		t.Run(fmt.Sprint(topics, " topics"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const live = 20
				clients := 10_000
				if wstest.RaceEnabled {
					clients = 2000
				}
				b := newStormBroker()
				h := New(&Options{Broker: b, History: History{Messages: 100}})
				defer h.Close()
				counters := make([]*counter, clients)
				var wg sync.WaitGroup
				for i := range clients {
					c, n := countedConn(t, nil)
					counters[i] = n
					wg.Go(func() {
						if i%3 == 0 { // while, and after, the engine is read
							time.Sleep(time.Duration(i) * 20 * time.Microsecond)
						}
						after := Position{7, b.top - uint64(1+i%100)}
						st, err := h.Join(c).SubscribeFrom(t.Context(), fmt.Sprint(i%topics), SubscribeOptions{After: after})
						if err != nil || !st.Complete && i%100+1+live <= 100 {
							t.Errorf("client %d: %+v, %v", i, st, err)
						}
					})
				}
				for offset := b.top + 1; offset <= b.top+live; offset++ {
					b.mu.Lock()
					b.live++
					b.mu.Unlock()
					for topic := range topics {
						b.events <- b.event(fmt.Sprint(topic), offset)
					}
					time.Sleep(10 * time.Millisecond)
				}
				wg.Wait()
				synctest.Wait()
				for i, c := range counters {
					missed := uint64(1 + i%100)
					if n := c.n.Load(); missed+live <= 100 && n != missed+live || c.bad.Load() {
						t.Errorf("client %d: %d messages of %d, in order: %t", i, n, missed+live, !c.bad.Load())
					}
				}
				for topic, n := range b.reads {
					if n > 2 {
						t.Errorf("topic %s: %d reads", topic, n)
					}
				}
				if len(b.reads) != topics || b.most > maxReads {
					t.Errorf("%d topics were read, %d at once", len(b.reads), b.most)
				}
			})
		})
	}
}

// The same with an engine that answers nothing. Clients that come back are told
// in time to start afresh, and what is live is delivered.
func TestStormEngineDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, topics = 1000, 100
		b := newStormBroker()
		b.dead = true
		var failed atomic.Int32
		h := New(&Options{Broker: b, History: History{Messages: 100}, OnBroker: func(ev BrokerEvent) {
			if ev.Kind == BrokerFailed {
				failed.Add(1)
			}
		}})
		defer h.Close()
		here, n := countedConn(t, nil)
		s := h.Join(here)
		if err := s.Subscribe(t.Context(), "0"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var wg sync.WaitGroup
		for i := range clients {
			c, _ := countedConn(t, nil)
			wg.Go(func() {
				after := Position{7, b.top - 5}
				st, err := h.Join(c).SubscribeFrom(t.Context(), fmt.Sprint(i%topics), SubscribeOptions{After: after})
				if err != nil || st.Complete {
					t.Errorf("client %d: %+v, %v", i, st, err)
				}
			})
		}
		time.Sleep(time.Second)
		b.events <- b.event("0", b.top+1)
		synctest.Wait()
		if n.n.Load() != 1 {
			t.Errorf("%d live messages while the engine is read", n.n.Load())
		}
		wg.Wait()
		if d := time.Since(start); d > fillTimeout {
			t.Errorf("it took %v", d)
		}
		if b.most > maxReads || len(b.reads) > topics || failed.Load() == 0 {
			t.Errorf("%d reads at once, of %d topics; told of %d", b.most, len(b.reads), failed.Load())
		}
	})
}

// What the hub has for each of 10,000 clients that come back to one topic with
// 100 messages missed each, and take nothing yet. The messages are there once.
func BenchmarkStormMemory(b *testing.B) {
	const clients = 10_000
	memory := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	for b.Loop() {
		broker := newStormBroker()
		broker.size = 1000
		h := New(&Options{Broker: broker, History: History{Messages: 100}})
		gate := make(chan struct{})
		conns := make([]*websocket.Conn, clients)
		for i := range conns {
			conns[i], _ = countedConn(b, gate)
		}
		before, start := memory(), time.Now()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				for j := i; j < clients; j += 100 {
					after := Position{7, broker.top - 100}
					st, err := h.Join(conns[j]).SubscribeFrom(b.Context(), "x", SubscribeOptions{After: after})
					if err != nil || st.Messages != 100 {
						b.Errorf("%+v, %v", st, err)
					}
				}
			})
		}
		wg.Wait()
		b.ReportMetric(time.Since(start).Seconds()*1000, "ms/all")
		b.ReportMetric(float64(memory()-before)/clients, "B/client")
		b.ReportMetric(float64(broker.reads["x"]), "reads")
		close(gate)
		for h.delivered.Load() < clients*100 {
			time.Sleep(time.Millisecond)
		}
		h.Close()
		runtime.KeepAlive(conns)
	}
}
