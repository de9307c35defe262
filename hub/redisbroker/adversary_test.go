package redisbroker

import (
	"strings"
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
	limits := hub.History{Messages: 100, Bytes: 1000, Age: 50 * time.Millisecond}
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
