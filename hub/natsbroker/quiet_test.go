//go:build unix

package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// A client was subscribed while its topic had no message. It comes back when
// the topic has none again: whether it had some meanwhile decides on what it is
// told. That holds in the process where it was, in another, and for a topic
// that has a message by then.
func TestJetStreamDropped(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	first, second := connectJetStream(t, e.Addr), connectJetStream(t, e.Addr)
	for _, b := range []*JetStream{first, second} {
		if err := b.Subscribe(t.Context(), []string{"x", "quiet"}); err != nil {
			t.Fatal(err)
		}
	}
	at := func(b *JetStream, topic string) hub.Position {
		t.Helper()
		got, err := b.Positions(t.Context(), []hub.KeptTopic{{Topic: topic, History: history}})
		if err != nil || got[0].IsZero() {
			t.Fatal(got, err)
		}
		return got[0]
	}
	check := func(name string, b *JetStream, topic string, after hub.Position, want string, complete bool) hub.Backlog {
		t.Helper()
		got, err := b.Missed(t.Context(), topic, after, history)
		text := ""
		for _, m := range got.Messages {
			text += string(m.Payload)
		}
		if err != nil || text != want || got.Complete != complete {
			t.Errorf("%s: %q, complete %t, %v; want %q, %t", name, text, got.Complete, err, want, complete)
		}
		return got
	}
	first.mustPublish(t, "other", "0")
	begin, quiet := at(first, "x"), at(first, "quiet")
	check("nothing was there", second, "x", begin, "", true)
	first.mustPublish(t, "other", "1")
	later := at(second, "quiet")
	if later.Offset <= quiet.Offset {
		t.Errorf("a topic without messages is at %v, and then at %v", quiet, later)
	}
	check("from a process that was earlier", second, "quiet", quiet, "", true)
	check("from one that was later", first, "quiet", later, "", true)
	if again := at(first, "quiet"); again != quiet {
		t.Errorf("in a process that has a topic without messages, it goes from %v to %v", quiet, again)
	}

	changeStream(t, first, func(c *nats.StreamConfig) { c.MaxBytes = 100_000 })
	at(first, "quiet") // as the hub asks, every 30 s
	first.mustPublish(t, "x", "lost")
	if ev := nextOf(t, second); string(ev.Payload) != "lost" || ev.Previous > begin.Offset+2 {
		t.Fatalf("%+v", ev)
	}
	lost := nextOf(t, first).Position
	for n := range 20 { // other topics need the room
		first.mustPublish(t, fmt.Sprint("y", n), strings.Repeat("y", 10_000))
	}
	check("all were dropped", second, "x", begin, "", false)
	check("all were dropped, and another process does not know", connectJetStream(t, e.Addr), "x", begin, "", false)
	b := check("has all that were dropped", first, "x", lost, "", false)
	if b.Top.Offset <= lost.Offset || b.Since <= lost.Offset {
		t.Errorf("%+v", b)
	}
	first.mustPublish(t, "x", "new")
	ev := nextOf(t, first)
	if string(ev.Payload) != "new" || ev.Previous <= lost.Offset {
		t.Errorf("a client at %v is told that none lies between it and %+v", lost, ev)
	}
	check("a message is there", second, "x", begin, "new", false)
	check("a message is there", first, "x", lost, "new", false)
	check("behind what was dropped", first, "x", b.Top, "new", true)
}

// A process that has a topic with old messages knows that none has come since,
// though the stream has dropped them for their age.
func TestJetStreamAged(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	b := connectJetStream(t, e.Addr)
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	topics := []hub.KeptTopic{{Topic: "x", History: history}}
	b.mustPublish(t, "x", "1")
	last := nextOf(t, b).Position
	state := changeStream(t, b, func(c *nats.StreamConfig) {
		c.MaxAge, c.Duplicates = time.Second, time.Second
	})
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		b.mustPublish(t, "other", "1")
		at, err := b.Positions(t.Context(), topics)
		if err != nil || at[0] != last {
			t.Fatalf("%v, %v, want %v", at, err, last)
		}
		if s, err := state(); err != nil || time.Since(begin) > 20*time.Second {
			t.Fatal("the message is not dropped: ", err)
		} else if offset(s.FirstSeq) > last.Offset+3 {
			break
		}
	}
	got, err := b.Missed(t.Context(), "x", last, history)
	if err != nil || !got.Complete || len(got.Messages) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
	b.mustPublish(t, "x", "2")
	if ev := nextOf(t, b); ev.Previous != last.Offset {
		t.Errorf("%+v, want that the message before is the one at %v", ev, last)
	}
}

// A stream that does not answer costs the positions of its own topics.
func TestJetStreamPositionsApart(t *testing.T) {
	other := hub.History{Messages: 1000}
	k, _ := configured(t, `authorization { users = [{ user: u, password: p, permissions: {
		publish: { deny: ["$JS.API.STREAM.MSG.GET.websocket_topic_`+classOf(other).String()+`"] } } }] }`)
	e := brokertest.Start(t, withJetStream(k))
	b := connectEvery(t, "nats://u:p@"+e.Addr, nil, defaultBeat)
	b.mustPublish(t, "good", "m")
	topics := []hub.KeptTopic{{Topic: "bad", History: other}, {Topic: "good", History: history}}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	at, err := b.Positions(ctx, topics)
	var failed hub.TopicErrors
	if !errors.As(err, &failed) || len(failed) != 1 || failed["bad"] == nil || len(at) != 2 || at[1].IsZero() {
		t.Errorf("%v, %v", at, err)
	}
}
