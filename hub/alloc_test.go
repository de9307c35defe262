package hub

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// sink is a transport that takes everything.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error)      { return len(p), nil }
func (sink) SetDeadline(time.Time) error      { return nil }
func (sink) SetReadDeadline(time.Time) error  { return nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }
func (sink) Close() error                     { return nil }
func (sink) RemoteAddr() net.Addr             { return netfake.Addr("sink") }

// sinks makes n subscribers of topic x that take everything.
func sinks(tb testing.TB, h *Hub, n int, opts *websocket.AcceptOptions) {
	tb.Helper()
	for _, c := range sinkConns(tb, n, opts) {
		if err := h.Join(c).Subscribe(tb.Context(), "x"); err != nil {
			tb.Fatal(err)
		}
	}
}

func sinkConns(tb testing.TB, n int, opts *websocket.AcceptOptions) []*websocket.Conn {
	tb.Helper()
	conns := make([]*websocket.Conn, n)
	for i := range conns {
		conns[i] = accept(tb, sink{}, opts)
	}
	return conns
}

// accept makes a connection over a transport.
func accept(tb testing.TB, transport net.Conn, opts *websocket.AcceptOptions) *websocket.Conn {
	tb.Helper()
	r := upgrade(tb, "Sec-WebSocket-Extensions: permessage-deflate")
	c, err := websocket.Accept(&hijacker{conn: transport}, r, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// publishAndWait publishes a message, and returns when all have it.
func publishAndWait(tb testing.TB, h *Hub, data []byte, subscribers int) {
	want := h.delivered.Load() + uint64(subscribers)
	if err := h.Publish(tb.Context(), "x", websocket.MessageText, data); err != nil {
		tb.Fatal(err)
	}
	for h.delivered.Load() < want {
		runtime.Gosched()
	}
}

// A delivery allocates nothing; a message does, however many it is for.
func TestAllocations(t *testing.T) {
	const subscribers = 100
	data := []byte(strings.Repeat("some text ", 20))
	for _, mode := range []websocket.CompressionMode{
		websocket.CompressionDisabled, websocket.CompressionNoContextTakeover,
	} {
		h := New(nil)
		sinks(t, h, subscribers, &websocket.AcceptOptions{CompressionMode: mode, CompressionThreshold: -1})
		publishAndWait(t, h, data, subscribers)
		got := testing.AllocsPerRun(50, func() { publishAndWait(t, h, data, subscribers) })
		if got > subscribers/10 && !wstest.RaceEnabled {
			t.Errorf("%v: %v allocations for %d deliveries", mode, got, subscribers)
		}
		t.Logf("%v: %v allocations for %d deliveries", mode, got, subscribers)
	}
}

// Join allocates the subscriber. Subscribe allocates room for the topics, once.
// SubscribeFrom allocates what it is asked for, in addition.
func TestSubscribeAllocations(t *testing.T) {
	if wstest.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx := t.Context()
	topics := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	h := New(&Options{History: History{Messages: 10}})
	conns := sinkConns(t, 2, nil)
	if err := h.Join(conns[0]).Subscribe(ctx, topics...); err != nil { // the topics stay
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		subscribe func(s *Subscriber) error
		want      float64
	}{
		{"one topic", func(s *Subscriber) error { return s.Subscribe(ctx, "a") }, 2},
		{"ten topics", func(s *Subscriber) error { return s.Subscribe(ctx, topics...) }, 2},
		{"from", func(s *Subscriber) error { _, err := s.SubscribeFrom(ctx, "a", SubscribeOptions{}); return err }, 3},
	} {
		got := testing.AllocsPerRun(100, func() {
			s := h.Join(conns[1])
			if err := tt.subscribe(s); err != nil {
				t.Error(err)
			}
			s.Leave()
		})
		if got > tt.want {
			t.Errorf("%s: %v allocations, want %v", tt.name, got, tt.want)
		}
	}
}

// What the package's documentation says of an idle subscriber.
func TestSizes(t *testing.T) {
	if got := reflect.TypeFor[Subscriber]().Size(); got > 112 {
		t.Errorf("a Subscriber has %d bytes", got)
	}
	if got := reflect.TypeFor[membership]().Size() + reflect.TypeFor[*Subscriber]().Size(); got > 24 {
		t.Errorf("a topic of a subscriber has %d bytes", got)
	}
	if got := reflect.TypeFor[topic]().Size(); got > 128 {
		t.Errorf("a topic has %d bytes", got)
	}
	if got := reflect.TypeFor[history]().Size(); got > 64 {
		t.Errorf("a history has %d bytes", got)
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, n := range []struct {
		name        string
		subscribers int
	}{{"1", 1}, {"1000", 1000}, {"10000", 10000}} {
		b.Run(n.name, func(b *testing.B) {
			h := New(nil)
			sinks(b, h, n.subscribers, nil)
			data := []byte(strings.Repeat("some text ", 20))
			b.ReportAllocs()
			for b.Loop() {
				publishAndWait(b, h, data, n.subscribers)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n.subscribers), "ns/delivery")
		})
	}
}

// A message is encoded once, however many it is for.
func TestEncodeOnce(t *testing.T) {
	const subscribers = 10
	calls := 0
	h := New(&Options{Encode: func(dst []byte, m Message) []byte {
		calls++
		if m.Topic != "x" || m.Type != websocket.MessageText || !m.Position.IsZero() {
			t.Errorf("%+v", m)
		}
		return append(dst, m.Data...)
	}})
	sinks(t, h, subscribers, nil)
	publishAndWait(t, h, []byte("text"), subscribers)
	h.Publish(t.Context(), "y", websocket.MessageText, nil) // for no one
	if calls != 1 {
		t.Errorf("encoded %d times", calls)
	}
}

// The memory that a subscriber of one topic adds to its connection.
func BenchmarkSubscriberMemory(b *testing.B) {
	const n = 10_000
	conns := sinkConns(b, n, nil)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what was in pools
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		h := New(nil)
		before := heap()
		for _, c := range conns {
			if err := h.Join(c).Subscribe(b.Context(), "x"); err != nil {
				b.Fatal(err)
			}
		}
		idle := heap()
		publishAndWait(b, h, []byte("some text"), n)
		b.ReportMetric(float64(idle-before)/n, "B/subscriber")
		b.ReportMetric(float64(heap()-before)/n, "B/subscriber-after-a-message")
		runtime.KeepAlive(conns)
		h.Close()
	}
}

// A muteBroker has an engine that never brings anything.
type muteBroker struct{}

func (muteBroker) Publish(context.Context, Publication) error  { return nil }
func (muteBroker) Subscribe(context.Context, []string) error   { return nil }
func (muteBroker) Unsubscribe(context.Context, []string) error { return nil }
func (muteBroker) Receive(ctx context.Context) (BrokerEvent, error) {
	<-ctx.Done()
	return BrokerEvent{}, ctx.Err()
}
func (muteBroker) Positions(ctx context.Context, topics []KeptTopic) ([]Position, error) {
	positions := make([]Position, len(topics))
	for i := range positions {
		positions[i] = Position{7, 1}
	}
	return positions, nil
}
func (muteBroker) Missed(context.Context, string, Position, History) (Backlog, error) {
	return Backlog{Top: Position{7, 1}}, nil
}

// What a topic of one subscriber takes in a process, without its name.
func BenchmarkTopicMemory(b *testing.B) {
	const n = 20_000
	for _, tt := range []struct {
		name string
		opts Options
	}{
		{"alone", Options{}},
		{"alone, history", Options{History: History{Messages: 100}}},
		{"broker", Options{Broker: muteBroker{}}},
		{"broker, history", Options{Broker: muteBroker{}, History: History{Messages: 100}}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			conns := sinkConns(b, n, nil)
			names := make([]string, n)
			for i := range names {
				names[i] = fmt.Sprint("topic", i)
			}
			for b.Loop() {
				h := New(&tt.opts)
				subs := make([]*Subscriber, n)
				for i := range subs {
					subs[i] = h.Join(conns[i])
				}
				before := heap()
				for i, s := range subs {
					if err := s.Subscribe(b.Context(), names[i]); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(heap()-before)/n, "B/topic")
				runtime.KeepAlive(subs)
				h.Close()
			}
		})
	}
}
