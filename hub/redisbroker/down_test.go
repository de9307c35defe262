package redisbroker

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
)

// A node says that the cluster is down. It may be the only one. The client asks
// for the slots, so that the next Publish goes where they are.
func TestPublishDown(t *testing.T) {
	c := startCluster(t, 0)
	var asks atomic.Int64
	client := redis.NewClusterClient(&redis.ClusterOptions{
		MaxRetries: -1, Protocol: 2, ContextTimeoutEnabled: true,
		ClusterSlots: func(ctx context.Context) ([]redis.ClusterSlot, error) {
			asks.Add(1)
			return c.nodes[c.addrs[0]].ClusterSlots(ctx).Result()
		},
		NewClient: func(o *redis.Options) *redis.Client {
			o.Addr = "127.0.0.1:" + portOf(o.Addr) // without the address of who was asked, the client has only ports
			return redis.NewClient(o)
		},
	})
	defer client.Close()
	b := NewClient(client, nil)
	defer b.Close()
	publish(t, b, "x", "1", kept)
	slot := int(c.admin.ClusterKeySlot(t.Context(), b.channel("x")).Val())
	for _, node := range c.nodes { // all slots must be somewhere
		if err := node.ClusterDelSlots(t.Context(), (slot+1)%16384).Err(); err != nil {
			t.Fatal(err)
		}
	}
	before := asks.Load()
	eventually(t, "the cluster is not down", func() bool {
		before = asks.Load()
		return redis.IsClusterDownError(b.Publish(t.Context(), hub.Publication{Topic: "x", Payload: []byte("2"), History: kept}))
	})
	eventually(t, "the client does not ask for the slots", func() bool { return asks.Load() > before })
}
