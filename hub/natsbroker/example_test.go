package natsbroker_test

import (
	"log"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/natsbroker"
)

// Each process of a service runs this; a message from a client of one reaches
// the clients of all.
func Example() {
	b, err := natsbroker.New("nats://localhost:4222", nil)
	if err != nil {
		log.Fatal(err)
	}
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

// JetStream keeps the history of topics: a client resumes in every process.
func ExampleNewJetStream() {
	b, err := natsbroker.NewJetStream("nats://localhost:4222", &natsbroker.JetStreamOptions{Replicas: 3})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	h := hub.New(&hub.Options{Broker: b, History: hub.History{Messages: 100}})
	defer h.Close()
}

// The options of the connection are those of nats.go: here credentials, and the
// authority that signed the certificates of the servers.
func ExampleOptions() {
	b, err := natsbroker.New("tls://a.example:4222,tls://b.example:4222", &natsbroker.Options{
		Prefix: "chat.topic", // another service may use the same servers
		Connection: []nats.Option{
			nats.UserCredentials("chat.creds"),
			nats.RootCAs("ca.pem"),
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	h := hub.New(&hub.Options{Broker: b})
	defer h.Close()
}

// What is kept of a topic, and where: by three servers, in memory, for a week.
func ExampleJetStreamOptions() {
	b, err := natsbroker.NewJetStream("nats://localhost:4222", &natsbroker.JetStreamOptions{
		PositionAge: 7 * 24 * time.Hour, // longer than the Age of the history
		Replicas:    3,
		Storage:     jetstream.MemoryStorage,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	h := hub.New(&hub.Options{Broker: b, History: hub.History{Messages: 100, Age: 24 * time.Hour}})
	defer h.Close()
}
