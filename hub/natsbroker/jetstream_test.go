package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

var jetKind = brokertest.Kind{
	Name:    "jetstream",
	Program: "nats-server",
	Module:  module,
	Args: func(port, dir string) []string {
		return []string{"-a", "127.0.0.1", "-p", port, "-js", "-sd", dir}
	},
	Connect: func(addr string) (hub.Broker, func() error) {
		opts := &JetStreamOptions{Options: Options{Connection: []nats.Option{nats.ReconnectWait(50 * time.Millisecond)}}}
		b, err := NewJetStream("nats://"+addr, opts)
		if err != nil {
			panic(err)
		}
		return b, b.Close
	},
	Numbers: true,
	Keeps:   true,
}

func TestJetStream(t *testing.T) { brokertest.Run(t, jetKind) }

var history = hub.History{Messages: 5, Bytes: 1000}

func connectJetStream(t *testing.T, addr string) *JetStream {
	t.Helper()
	opts := &JetStreamOptions{Options: Options{Connection: []nats.Option{nats.ReconnectWait(20 * time.Millisecond)}}}
	return connectEvery(t, "nats://"+addr, opts, defaultBeat)
}

// connectEvery makes a broker that looks after its servers so often.
func connectEvery(t *testing.T, url string, opts *JetStreamOptions, every time.Duration) *JetStream {
	t.Helper()
	b, err := newJetStream(url, opts, every)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func (j *JetStream) mustPublish(t *testing.T, topic, payload string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := j.Publish(ctx, hub.Publication{Topic: topic, Payload: []byte(payload), History: history}); err != nil {
		t.Fatal(err)
	}
}

// nextOf waits for the next message, and skips other events.
func nextOf(t *testing.T, j *JetStream) hub.BrokerEvent {
	t.Helper()
	for {
		if ev := next(t, j.Broker); ev.Kind == hub.BrokerMessage {
			return ev
		}
	}
}

// What the server keeps: within the bounds of the history, from a position on;
// among the messages of another topic.
func TestJetStreamMissed(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	b := connectJetStream(t, e.Addr)
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	begin, err := b.Positions(t.Context(), []hub.KeptTopic{{Topic: "x", History: history}})
	if err != nil || begin[0].IsZero() {
		t.Fatalf("%v, %v", begin, err)
	}
	check := func(after hub.Position, want string, complete bool, top hub.Position) {
		t.Helper()
		got, err := b.Missed(t.Context(), "x", after, history)
		text, before := "", after.Offset
		for i, ev := range got.Messages {
			text += string(ev.Payload)
			if ev.Topic != "x" || ev.Position.Epoch != begin[0].Epoch || ev.Time.IsZero() || ev.Position.Offset <= ev.Previous ||
				(i > 0 || complete) && ev.Previous != before {
				t.Errorf("after %v: %+v, the one before was %d", after, ev, before)
			}
			before = ev.Position.Offset
		}
		if err != nil || text != want || got.Complete != complete || got.Top != top {
			t.Errorf("after %v: %q, complete %t, top %v, %v; want %q, %t, %v", after, text, got.Complete, got.Top, err,
				want, complete, top)
		}
	}
	check(hub.Position{}, "", false, begin[0])
	check(begin[0], "", true, begin[0])
	var at []hub.Position
	publish := func(n int) {
		t.Helper()
		b.mustPublish(t, "y", "other")
		b.mustPublish(t, "x", fmt.Sprint(n))
		ev := nextOf(t, b)
		if string(ev.Payload) != fmt.Sprint(n) || len(at) > 0 && ev.Previous != at[len(at)-1].Offset {
			t.Fatalf("%+v behind %v", ev, at)
		}
		at = append(at, ev.Position)
	}
	for n := range 3 {
		publish(n)
	}
	check(begin[0], "012", true, at[2])
	check(hub.Position{}, "012", false, at[2])
	for n := 3; n < 8; n++ {
		publish(n)
	}
	check(at[7], "", true, at[7])
	check(at[5], "67", true, at[7])
	check(at[2], "34567", true, at[7])
	check(at[1], "34567", false, at[7])
	check(begin[0], "34567", false, at[7])
	check(hub.Position{Epoch: 1, Offset: 5}, "34567", false, at[7])
	check(hub.Position{Epoch: at[7].Epoch, Offset: at[7].Offset + 5}, "", false, at[7])
	for n := 8; n < 80; n++ {
		publish(n)
	}
	check(at[77], "7879", true, at[79])
	check(at[10], "7576777879", false, at[79])

	b.mustPublish(t, "x", strings.Repeat("8", 997)) // the bound in bytes
	if got, err := b.Missed(t.Context(), "x", at[77], history); err != nil || len(got.Messages) != 2 || got.Complete {
		t.Errorf("within 1,000 bytes: %d messages, complete %t, %v", len(got.Messages), got.Complete, err)
	}
	positions, err := b.Positions(t.Context(), []hub.KeptTopic{{Topic: "none", History: history}, {Topic: "x", History: history}})
	if err != nil || positions[0].Offset < positions[1].Offset || positions[1].Offset <= at[79].Offset {
		t.Errorf("%v, %v", positions, err)
	}
}

// A server that was restarted begins another epoch, and one without its data,
// too. One that was not does not.
func TestJetStreamEpochs(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	b := connectJetStream(t, e.Addr)
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	b.mustPublish(t, "x", "1")
	last := nextOf(t, b).Position
	another := connectJetStream(t, e.Addr)
	another.mustPublish(t, "x", "2")
	if ev := nextOf(t, b); ev.Position.Epoch != last.Epoch || ev.Previous != last.Offset {
		t.Errorf("%+v behind %v", ev, last)
	} else {
		last = ev.Position
	}
	for _, data := range []bool{true, false} {
		e.Kill()
		if !data {
			e.Forget(t)
		}
		e.Run(t)
		for _, want := range []hub.BrokerEventKind{hub.BrokerLost, hub.BrokerRecovered} {
			if ev := next(t, b.Broker); ev.Kind != want {
				t.Fatalf("%+v, want %v", ev, want)
			}
		}
		got, err := b.Missed(t.Context(), "x", last, history)
		if err != nil || got.Complete || got.Top.IsZero() || got.Top.Epoch == last.Epoch || len(got.Messages) > 0 {
			t.Errorf("data %t: %+v, %v", data, got, err)
		}
		b.mustPublish(t, "x", "3")
		first := nextOf(t, b)
		another.mustPublish(t, "x", "4")
		second := nextOf(t, b)
		if p := first.Position; p.Epoch != got.Top.Epoch || first.Previous != got.Top.Offset || second.Position.Epoch != p.Epoch ||
			second.Previous != p.Offset {
			t.Errorf("data %t: %+v and %+v behind %v, which is behind %v", data, first, second, got.Top, last)
		}
		got, err = b.Missed(t.Context(), "x", got.Top, history)
		if err != nil || !got.Complete || len(got.Messages) != 2 || got.Top != second.Position {
			t.Errorf("data %t: %+v, %v", data, got, err)
		}
		last = second.Position
	}
}

// A message that the server did not confirm is repeated under its id, and
// counts once, in its topic.
func TestJetStreamPublishOnce(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	b := connectJetStream(t, e.Addr)
	if err := b.Subscribe(t.Context(), []string{"x", "y"}); err != nil {
		t.Fatal(err)
	}
	b.mustPublish(t, "x", "first")
	message := hub.Publication{Topic: "x", ID: "id", Payload: []byte("once"), History: history}
	brokertest.PublishInDoubt(t, e, b, message)
	other := message
	other.Topic = "y"
	if err := b.Publish(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	b.mustPublish(t, "x", "end")
	var got []string
	for len(got) == 0 || got[len(got)-1] != "x end" {
		ev := nextOf(t, b)
		got = append(got, ev.Topic+" "+string(ev.Payload))
	}
	if want := []string{"x first", "x once", "y once", "x end"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A publication that fails says whether the server may have the message.
func TestJetStreamRefused(t *testing.T) {
	plain := brokertest.Start(t, kind) // without JetStream
	b := connectJetStream(t, plain.Addr)
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	message := hub.Publication{Topic: "x", Payload: []byte("m"), History: history}
	if err := b.Publish(t.Context(), message); err == nil || errors.Is(err, hub.ErrUnconfirmed) {
		t.Errorf("without JetStream: %v", err)
	}
	if _, err := b.Missed(t.Context(), "x", hub.Position{}, history); err == nil {
		t.Error("without JetStream: history")
	}
	message.History = hub.History{}
	if err := b.Publish(t.Context(), message); err != nil { // core NATS takes it
		t.Error(err)
	}
	if ev := nextOf(t, b); !ev.Position.IsZero() {
		t.Errorf("%+v", ev)
	}
	plain.Kill()
	message.History = history
	if err := b.Publish(t.Context(), message); err == nil || errors.Is(err, hub.ErrUnconfirmed) {
		t.Errorf("without a server: %v", err)
	}

	e := brokertest.Start(t, jetKind)
	b = connectJetStream(t, e.Addr)
	message.Payload = make([]byte, 2<<20)
	if err := b.Publish(t.Context(), message); !errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, hub.ErrUnconfirmed) {
		t.Errorf("2 MiB: %v", err)
	}
	// A stream that has other subjects is not touched.
	js, err := b.js(t)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "websocket_topic_1024", Subjects: []string{"strange"}}); err != nil {
		t.Fatal(err)
	}
	message.Payload, message.History = nil, hub.History{Messages: 1000}
	if err := b.Publish(t.Context(), message); !errors.Is(err, errNotOurs) {
		t.Errorf("another's stream: %v", err)
	}
	topics := []hub.KeptTopic{{Topic: "x", History: message.History}, {Topic: "x", History: history}}
	if at, err := b.Positions(t.Context(), topics); err != nil || !at[0].IsZero() || at[1].IsZero() {
		t.Errorf("another's stream among others: %v, %v", at, err)
	}
}

func (j *JetStream) js(t *testing.T) (nats.JetStreamContext, error) {
	conn, err := nats.Connect(j.url)
	if err != nil {
		return nil, err
	}
	t.Cleanup(conn.Close)
	return conn.JetStream()
}

// A hub without history publishes into a topic that has one: its message has no
// position, and takes none away.
func TestJetStreamPublisherWithoutHistory(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	b := connectJetStream(t, e.Addr)
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	var last uint64
	for i := range 6 {
		if i%2 == 0 {
			b.mustPublish(t, "x", "m")
			ev := nextOf(t, b)
			if last != 0 && ev.Previous != last {
				t.Errorf("%+v behind %d", ev, last)
			}
			last = ev.Position.Offset
		} else {
			if err := b.Publish(t.Context(), hub.Publication{Topic: "x"}); err != nil {
				t.Fatal(err)
			}
			if ev := nextOf(t, b); !ev.Position.IsZero() {
				t.Errorf("%+v", ev)
			}
		}
	}
}

// A process whose history of a topic is of another class is told of: the other
// one's messages are of another epoch.
func TestJetStreamOtherClass(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	b := connectJetStream(t, e.Addr)
	if err := b.Subscribe(t.Context(), []string{"x", "y"}); err != nil {
		t.Fatal(err)
	}
	ask := func() {
		t.Helper()
		if _, err := b.Positions(t.Context(), []hub.KeptTopic{{Topic: "x", History: history}, {Topic: "y", History: history}}); err != nil {
			t.Fatal(err)
		}
	}
	publish := func(topic string, h hub.History) {
		t.Helper()
		if err := b.Publish(t.Context(), hub.Publication{Topic: topic, Payload: []byte(topic), History: h}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(kind hub.BrokerEventKind) {
		t.Helper()
		if ev := next(t, b.Broker); ev.Kind != kind || ev.Topic != "x" || (kind == hub.BrokerFailed) != errors.Is(ev.Err, errClass) {
			t.Fatalf("%+v, want %v of x", ev, kind)
		}
	}
	other := hub.History{Messages: 500}
	ask()
	publish("x", history)
	want(hub.BrokerMessage)
	publish("x", other)
	want(hub.BrokerFailed)
	want(hub.BrokerMessage)
	publish("x", other) // it has been told
	want(hub.BrokerMessage)
	ask()
	publish("x", other)
	want(hub.BrokerFailed)
	want(hub.BrokerMessage)
	if err := b.Unsubscribe(t.Context(), []string{"x", "y"}); err != nil {
		t.Fatal(err)
	}
	if n := len(b.places); n != 0 {
		t.Errorf("%d topics are remembered, want none", n)
	}
}

// changeStream changes the limits of the stream that keeps the topics of the
// tests. It returns a function that tells the state of the stream.
func changeStream(t *testing.T, b *JetStream, change func(*nats.StreamConfig)) (state func() (nats.StreamState, error)) {
	t.Helper()
	js, err := b.js(t)
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.StreamInfo("websocket_topic_" + classOf(history).String())
	if err != nil {
		t.Fatal(err)
	}
	change(&info.Config)
	if _, err := js.UpdateStream(&info.Config); err != nil {
		t.Fatal(err)
	}
	return func() (nats.StreamState, error) {
		info, err := js.StreamInfo(info.Config.Name)
		if err != nil {
			return nats.StreamState{}, err
		}
		return info.State, nil
	}
}

// The stream may have fewer bytes than its topics: the server drops the oldest
// messages, and who misses one is told. History.Bytes bounds what is read.
func TestJetStreamMaxBytes(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	b := connectJetStream(t, e.Addr)
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	b.mustPublish(t, "x", "0")
	state := changeStream(t, b, func(c *nats.StreamConfig) { c.MaxBytes = 100_000 })
	at := []hub.Position{nextOf(t, b).Position}
	for n := 1; n < 4; n++ {
		b.mustPublish(t, "x", fmt.Sprint(n))
		at = append(at, nextOf(t, b).Position)
	}
	check := func(after int, want string, complete bool) {
		t.Helper()
		got, err := b.Missed(t.Context(), "x", at[after], history)
		text := ""
		for _, m := range got.Messages {
			text += string(m.Payload)
		}
		if err != nil || text != want || got.Complete != complete {
			t.Errorf("after %d: %q, complete %t, %v; want %q, %t", after, text, got.Complete, err, want, complete)
		}
	}
	check(0, "123", true)
	for n := range 20 { // other topics need the room
		b.mustPublish(t, fmt.Sprint("y", n), strings.Repeat("y", 10_000))
	}
	check(0, "", false)
	b.mustPublish(t, "x", "4")
	check(0, "4", false)
	check(3, "4", false) // whether one lies between is not known
	b.mustPublish(t, "x", "5")
	at = append(at, nextOf(t, b).Position, nextOf(t, b).Position)
	check(4, "5", true)
	if s, err := state(); err != nil || s.Bytes > 100_000 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestClassOf(t *testing.T) {
	for _, tt := range []struct {
		h    hub.History
		want string
	}{
		{hub.History{Messages: 1}, "2"},
		{hub.History{Messages: 2}, "4"},
		{hub.History{Messages: 100}, "128"},
		{hub.History{Messages: 127}, "128"},
		{hub.History{Messages: 128}, "256"},
		{hub.History{Messages: 100, Age: -1}, "128-forever"},
		{hub.History{Messages: 1 << 40}, "1048576"},
	} {
		if got := classOf(tt.h).String(); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.h, got, tt.want)
		}
	}
}

// A long backlog is read whole, with what the server offers.
func TestJetStreamLongBacklog(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	b := connectJetStream(t, e.Addr)
	long := hub.History{Messages: 5000, Bytes: -1}
	begin, err := b.Positions(t.Context(), []hub.KeptTopic{{Topic: "x", History: long}})
	if err != nil {
		t.Fatal(err)
	}
	const n = 2500
	var wg sync.WaitGroup
	for worker := range 10 { // among those of another topic
		wg.Go(func() {
			for range n / 10 {
				for _, topic := range []string{"x", "y"} {
					if err := b.Publish(t.Context(), hub.Publication{Topic: topic, Payload: []byte{byte(worker)}, History: long}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	for _, limits := range []hub.History{long, {Messages: 4999, Bytes: 300}} {
		got, err := b.Missed(t.Context(), "x", begin[0], limits)
		want := n
		if limits.Bytes > 0 {
			want = limits.Bytes
		}
		if err != nil || len(got.Messages) != want || got.Complete != (want == n) || got.Top != got.Messages[want-1].Position {
			t.Fatalf("%d messages, complete %t, top %v: %v", len(got.Messages), got.Complete, got.Top, err)
		}
		for i, m := range got.Messages[1:] {
			if m.Previous != got.Messages[i].Position.Offset {
				t.Fatalf("%+v behind %+v", m, got.Messages[i])
			}
		}
	}
}

// Messages count both, however much their ids look alike.
func TestJetStreamPublishOnceLooksAlike(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	b := connectJetStream(t, e.Addr)
	if err := b.Subscribe(t.Context(), []string{"x", "x y"}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []hub.Publication{
		{Topic: "x", ID: "id"}, {Topic: "x", ID: "id "}, {Topic: "x", ID: " id"}, {Topic: "x", ID: "id\r\nid"},
		{Topic: "x", ID: "id  id"}, {Topic: "x", ID: "id%20"}, {Topic: "x", ID: "y z"}, {Topic: "x y", ID: "z"},
		{Topic: "x", ID: strings.Repeat("long", 10_000)}, {Topic: "x", ID: strings.Repeat("long", 10_000) + " "},
	} {
		p.History, p.Payload = history, []byte(p.ID[:min(len(p.ID), 100)])
		for range 2 {
			if err := b.Publish(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		if ev := nextOf(t, b); ev.Topic != p.Topic || string(ev.Payload) != string(p.Payload) {
			t.Fatalf("%q %.100q, want %q %.100q", ev.Topic, ev.Payload, p.Topic, p.ID)
		}
	}
}
