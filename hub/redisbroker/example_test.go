package redisbroker_test

import (
	"log"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/redisbroker"
)

// Each process of a service runs this; a message from a client of one reaches
// the clients of all.
func Example() {
	b := redisbroker.New(&redis.Options{Addr: "localhost:6379"}, nil)
	defer b.Close()
	h := hub.New(&hub.Options{
		Broker: b,
		OnBroker: func(ev hub.BrokerEvent) {
			log.Print(ev.Kind, " ", ev.Err)
		},
	})
	defer h.Close()
	http.Handle("/ws", websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		s := h.Join(c)
		defer s.Leave()
		if err := s.Subscribe(r.Context(), "news"); err != nil {
			return
		}
		for m, err := range c.Messages(r.Context()) {
			if err != nil {
				return
			}
			if err := h.Publish(r.Context(), "news", m.Type, m.Data); err != nil {
				log.Print(err)
			}
		}
	}, nil))
	log.Print(http.ListenAndServe("localhost:8080", nil))
}

// A Redis Cluster: the client is the caller's, with the three options that the
// broker needs. A client of redis.NewFailoverClient, for Sentinel, is made
// alike.
func ExampleNewClient() {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:                 []string{"localhost:7000", "localhost:7001", "localhost:7002"},
		MaxRetries:            -1,
		Protocol:              2,
		ContextTimeoutEnabled: true,
	})
	defer client.Close()
	b := redisbroker.NewClient(client, &redisbroker.Options{
		Prefix:      "chat:",            // another service may use the same cluster
		PositionAge: 7 * 24 * time.Hour, // longer than the Age of the history
	})
	defer b.Close()
	h := hub.New(&hub.Options{Broker: b, History: hub.History{Messages: 100, Age: 24 * time.Hour}})
	defer h.Close()
}
