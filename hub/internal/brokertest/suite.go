//go:build unix

package brokertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
)

// Run runs the tests: a server in this process and one in another, and clients
// of both.
func Run(t *testing.T, kind Kind) {
	t.Run("Cross", func(t *testing.T) { cross(t, kind) })
	t.Run("Order", func(t *testing.T) { order(t, kind) })
	t.Run("Resume", func(t *testing.T) { resume(t, kind) })
	t.Run("Restart", func(t *testing.T) { restart(t, kind) })
	t.Run("LateEngine", func(t *testing.T) { lateEngine(t, kind) })
	t.Run("ManyTopics", func(t *testing.T) { manyTopics(t, kind) })
	if kind.Keeps {
		t.Run("Limits", func(t *testing.T) {
			b, closeBroker := kind.Connect(Start(t, kind).Addr)
			defer closeBroker()
			Limits(t, b)
		})
	}
}

// Limits tests that a Historian returns no more than it is asked for. The
// latest messages come first, and an older one that does not fit keeps all
// before it out. b must be new.
func Limits(t *testing.T, b hub.Broker) {
	history := hub.History{Messages: 15, Bytes: 1 << 20} // 8 to 15 are of one class in JetStream
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	var at []hub.Position
	for _, size := range []int{100, 100, 100, 100, 100, 100, 100, 100, 100, 10, 400, 100, 100, 100} {
		p := hub.Publication{Topic: "x", Payload: make([]byte, size), History: history}
		if err := b.Publish(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		for {
			ev, err := b.Receive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if ev.Kind == hub.BrokerMessage {
				at = append(at, ev.Position)
				break
			}
		}
	}
	for _, tt := range []struct {
		name            string
		messages, bytes int
		after           int // the number of a message; -1: from the begin
		want            int // how many of the latest
		complete        bool
	}{
		{"all", 15, 2000, -1, 14, false},
		{"all but one", 15, 2000, 0, 13, true},
		{"messages", 8, 2000, -1, 8, false},
		{"messages, just enough", 8, 2000, 5, 8, true},
		{"messages, one too few", 8, 2000, 4, 8, false},
		{"bytes", 15, 350, -1, 3, false},
		{"bytes, just enough", 15, 300, 10, 3, true},
		{"bytes, too few for one", 15, 299, 10, 2, false},
		{"bytes, a large one between", 15, 650, -1, 3, false},
		{"bytes, with the large one", 15, 700, 9, 4, true},
		{"bytes, with the small one before it", 15, 710, 8, 5, true},
		{"less than one", 15, 99, 12, 0, false},
		{"less than one, none missed", 15, 99, 13, 0, true},
		{"no limit", 15, -1, 0, 13, true},
	} {
		var after hub.Position
		if tt.after >= 0 {
			after = at[tt.after]
		}
		got, err := b.(hub.Historian).Missed(t.Context(), "x", after, hub.History{Messages: tt.messages, Bytes: tt.bytes})
		if err != nil || len(got.Messages) != tt.want || got.Complete != tt.complete || got.Top != at[len(at)-1] {
			t.Errorf("%s: %d messages, complete %t, top %v, %v; want %d, %t", tt.name, len(got.Messages), got.Complete, got.Top, err,
				tt.want, tt.complete)
			continue
		}
		for i, ev := range got.Messages {
			if ev.Position != at[len(at)-tt.want+i] {
				t.Errorf("%s: message %d of %d is at %v", tt.name, i, tt.want, ev.Position)
			}
		}
	}
}

// cross: messages reach the clients of both processes, with their type, and
// only those of the topic.
func cross(t *testing.T, kind Kind) {
	e := Start(t, kind)
	here, there := startServer(t, e), startProcess(t, e)
	long := strings.Repeat("{*.>}", 13<<10)
	for _, topic := range []string{"x", "", "with blanks, *.> and \x00\xff", "kept", ">", "*", ".", "kept{a}", "kept}{", long} {
		a, b := join(t, here, topic), join(t, there, topic)
		other := join(t, there, topic+"2")
		binary := string([]byte{0, 1, 2, 255, '\r', '\n', ' '})
		for _, sent := range []struct {
			by   *client
			typ  websocket.MessageType
			text string
		}{
			{a, websocket.MessageText, "from here"},
			{b, websocket.MessageBinary, binary},
			{b, websocket.MessageText, ""},
		} {
			sent.by.send(sent.typ, sent.text)
			for _, c := range []*client{a, b} {
				if typ, text := c.message(); typ != sent.typ || text != sent.text {
					t.Errorf("topic %q: %v %q, want %v %q", topic, typ, text, sent.typ, sent.text)
				}
			}
			if kept := strings.HasPrefix(topic, "kept"); a.last.IsZero() == kept || kept && kind.Numbers && a.last != b.last {
				t.Errorf("topic %q: positions %v and %v", topic, a.last, b.last)
			}
		}
		other.send(websocket.MessageText, "end")
		other.want("end")
	}
}

// order: all get what one process publishes in its order, and if the engine has
// one order for all, in that.
func order(t *testing.T, kind Kind) {
	const each = 400
	e := Start(t, kind)
	here, there := startServer(t, e), startProcess(t, e)
	clients := []*client{join(t, here, "kept"), join(t, there, "kept"), join(t, here, "kept")}
	for i, c := range clients[:2] {
		go func() {
			for n := range each {
				c.c.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, "%d %d", i, n))
			}
		}()
	}
	var got [3][]string
	for i, c := range clients {
		var next [2]int
		before := hub.Position{}
		for range 2 * each {
			_, text := c.message()
			var from, n int
			fmt.Sscan(text, &from, &n)
			if n != next[from] {
				t.Fatalf("client %d: message %d of %d, want %d", i, n, from, next[from])
			}
			next[from]++
			if before.Epoch != 0 && c.last != (hub.Position{Epoch: before.Epoch, Offset: before.Offset + 1}) {
				t.Fatalf("client %d: position %v behind %v", i, c.last, before)
			}
			before = c.last
			got[i] = append(got[i], text)
		}
	}
	if !slices.Equal(got[0], got[2]) || kind.Numbers && !slices.Equal(got[0], got[1]) {
		t.Error("not all have one order")
	}
}

// resume: a client goes on in the other process if positions are the same
// there, or is told that it cannot.
func resume(t *testing.T, kind Kind) {
	e := Start(t, kind)
	here, there := startServer(t, e), startProcess(t, e)
	a, b := join(t, here, "kept"), join(t, there, "kept")
	a.send(websocket.MessageText, "1")
	a.want("1")
	last := a.last
	a.c.CloseNow()
	b.send(websocket.MessageText, "2")
	b.send(websocket.MessageText, "3")
	b.want("1", "2", "3")

	again := dial(t, there, "kept", last)
	if kind.Numbers {
		again.want("2", "3")
		again.wantStart("true 2")
	} else {
		again.wantStart("false 0")
	}
	// A process in which no client had the topic knows whether anything was
	// missed, if positions are the engine's. It has what was missed, if the
	// engine keeps it.
	third := startServer(t, e)
	again = dial(t, third, "kept", last)
	if kind.Keeps {
		again.want("2", "3")
		again.wantStart("true 2")
	} else {
		again.wantStart("false 0")
	}
	dial(t, third, "kept", b.last).wantStart(fmt.Sprint(kind.Numbers, " 0"))

	again = dial(t, here, "kept", last)
	again.want("2", "3")
	again.wantStart("true 2")
	b.send(websocket.MessageText, "4")
	again.want("4")
}

// restart: both processes notice that the engine is killed, and come back with
// it.
func restart(t *testing.T, kind Kind) {
	e := Start(t, kind)
	here, there := startServer(t, e), startProcess(t, e)
	a, b := join(t, here, "kept"), join(t, there, "kept")
	last := hub.Position{}
	for round := range 3 {
		a.send(websocket.MessageText, "before")
		a.want("before")
		b.want("before")
		if round > 0 && a.last.Epoch == last.Epoch {
			t.Errorf("round %d: position %v behind %v", round, a.last, last)
		}
		last = a.last
		a.sync()

		e.Kill()
		here.wantEvent(t, hub.BrokerLost)
		there.wantEvent(t, hub.BrokerLost)
		for _, c := range []*client{a, b} {
			c.send(websocket.MessageText, "lost")
			if _, got := c.read(); got != "failed" {
				t.Fatalf("without an engine: %q", got)
			}
		}
		during := join(t, there, fmt.Sprint("during", round)) // does not wait for the engine
		e.Run(t)
		here.wantEvent(t, hub.BrokerRecovered)
		there.wantEvent(t, hub.BrokerRecovered)
		dial(t, here, "kept", last).wantStart("false 0")

		a.send(websocket.MessageText, "after")
		a.want("after")
		b.want("after")
		during.send(websocket.MessageText, "after")
		during.want("after")
		last = a.last
		a.sync()
		during.sync()
		e.Kill() // the epoch of the next round is another
		here.wantEvent(t, hub.BrokerLost)
		there.wantEvent(t, hub.BrokerLost)
		e.Run(t)
		here.wantEvent(t, hub.BrokerRecovered)
		there.wantEvent(t, hub.BrokerRecovered)
	}
}

// lateEngine: a process may start before the engine.
func lateEngine(t *testing.T, kind Kind) {
	e := Start(t, kind)
	e.Kill()
	here := startServer(t, e)
	here.wantEvent(t, hub.BrokerLost)
	c := join(t, here, "x")
	e.Run(t)
	here.wantEvent(t, hub.BrokerRecovered)
	c.send(websocket.MessageText, "hello")
	c.want("hello")
}

// manyTopics: they go to the engine together, and again after it was lost.
func manyTopics(t *testing.T, kind Kind) {
	const n = 5000
	e := Start(t, kind)
	here := startServer(t, e)
	c := join(t, here, "0")
	// The subscriber of the connection is the server's: this one has a hub and
	// no connection of its own.
	s := here.hub.Join(c.c)
	var topics []string
	for i := range n {
		topics = append(topics, fmt.Sprint("topic ", i))
	}
	if err := s.Subscribe(t.Context(), topics...); err != nil {
		t.Fatal(err)
	}
	s.Leave()
	watcher := join(t, here, topics[n-1])
	e.Kill()
	here.wantEvent(t, hub.BrokerLost)
	e.Run(t)
	here.wantEvent(t, hub.BrokerRecovered)
	watcher.send(websocket.MessageText, "hello")
	watcher.want("hello")
}
