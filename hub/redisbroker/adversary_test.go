package redisbroker

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// A history whose messages have all expired, or were evicted, has its whole
// bound in bytes again.
func TestExpiredBytes(t *testing.T) {
	e := brokertest.Start(t, kind)
	b := New(&redis.Options{Addr: e.Addr}, nil)
	defer b.Close()
	admin := redis.NewClient(&redis.Options{Addr: e.Addr})
	defer admin.Close()
	limits := hub.History{Messages: 100, Bytes: 1000, Age: time.Second}
	for round := range 4 {
		publish(t, b, "x", strings.Repeat("m", 600), limits)
		got, err := b.Missed(t.Context(), "x", hub.Position{}, limits)
		if err != nil || len(got.Messages) != 1 {
			t.Errorf("round %d: %d messages are kept, %v", round, len(got.Messages), err)
		}
		stream := b.keys("x", "")[1]
		if round == 2 {
			admin.Del(t.Context(), stream) // as an eviction does
		}
		eventually(t, "the messages do not expire", func() bool { return admin.Exists(t.Context(), stream).Val() == 0 })
	}
}

// A user that may not see the identity of the server's data would not notice a
// rollback: it gets an error instead of a position.
func TestNoIdentity(t *testing.T) {
	e := brokertest.Start(t, kind)
	admin := redis.NewClient(&redis.Options{Addr: e.Addr})
	defer admin.Close()
	acl := []any{"ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-info"}
	if err := admin.Do(t.Context(), acl...).Err(); err != nil {
		t.Fatal(err)
	}
	b := New(&redis.Options{Addr: e.Addr, Username: "u", Password: "p"}, nil)
	defer b.Close()
	err := b.Publish(t.Context(), hub.Publication{Topic: "x", Payload: []byte("m"), History: kept})
	t.Logf("Publish: %v", err)
	if err == nil {
		t.Error("a message has a position, though a rollback would not be noticed")
	}
	if _, err := b.Missed(t.Context(), "x", hub.Position{}, kept); err == nil {
		t.Error("Missed has no error")
	} else {
		t.Logf("Missed: %v", err)
	}
	publish(t, b, "plain", "m", hub.History{})
}

// The user of the broker may not have a topic for a while. It lives again soon
// after it may, and the hub is told that messages may be lost.
func TestForbiddenForAWhile(t *testing.T) {
	e := brokertest.Start(t, kind)
	admin := redis.NewClient(&redis.Options{Addr: e.Addr})
	defer admin.Close()
	set := func(channels ...any) {
		t.Helper()
		acl := append([]any{"ACL", "SETUSER", "u", "reset", "on", ">p", "+@all", "~*", "&websocket:alive:*"}, channels...)
		if err := admin.Do(t.Context(), acl...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("&*")
	client := redis.NewClient(&redis.Options{Addr: e.Addr, Username: "u", Password: "p", MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true})
	defer client.Close()
	b := newBroker(client, nil, shortSilence)
	defer b.Close()
	if err := b.Subscribe(t.Context(), []string{"x", "y"}); err != nil {
		t.Fatal(err)
	}
	set("&websocket:topic:y")
	for ev := next(t, b); ev.Kind != hub.BrokerFailed || ev.Topic != "x"; ev = next(t, b) {
	}
	set("&*")
	time.Sleep(50 * time.Millisecond)
	missed := false
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(20 * time.Millisecond) {
		publish(t, b, "x", "again", hub.History{})
		for len(b.events) > 0 {
			ev := next(t, b)
			missed = missed || ev.Kind == hub.BrokerMissed && ev.Topic == "x"
			if ev.Kind == hub.BrokerMessage {
				if !missed {
					t.Error("a message came, and the hub was not told that some may be lost")
				}
				return
			}
		}
	}
	t.Error("the topic is allowed again, and silent")
}

// All data is removed while the server runs: another epoch begins, and a client
// that comes back is told.
func TestFlushed(t *testing.T) {
	e := brokertest.Start(t, kind)
	b := New(&redis.Options{Addr: e.Addr}, nil)
	defer b.Close()
	if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "x", "1", kept)
	before := nextMessage(t, b).Position
	admin := redis.NewClient(&redis.Options{Addr: e.Addr})
	defer admin.Close()
	if err := admin.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "x", "2", kept)
	after := nextMessage(t, b).Position
	got, err := b.Missed(t.Context(), "x", before, kept)
	if err != nil || after.Epoch == before.Epoch || got.Complete || len(got.Messages) != 1 {
		t.Errorf("%v, then %v: %+v, %v", before, after, got, err)
	}
}

// A server that stands still: the deadlines of reads hold, of one server and of
// a cluster.
func TestReadContexts(t *testing.T) {
	read := func(t *testing.T, b *Broker, stop *brokertest.Engine) {
		t.Helper()
		publish(t, b, "x", "m", kept)
		if err := stop.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer stop.Signal(syscall.SIGCONT)
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			begin := time.Now()
			_, err1 := b.Missed(ctx, "x", hub.Position{}, kept)
			_, err2 := b.Positions(ctx, []hub.KeptTopic{{Topic: "x", History: kept}})
			cancel()
			if took := time.Since(begin); took > time.Second || err1 == nil || err2 == nil {
				t.Fatalf("%v, %v after %v", err1, err2, took)
			}
		}
	}
	e := brokertest.Start(t, kind)
	b := New(&redis.Options{Addr: e.Addr}, nil)
	defer b.Close()
	read(t, b, e)
	c := startCluster(t, 0)
	cb := c.connect(t, defaultSilence)
	read(t, cb, c.engines[cb.master(t, "x")])
}
