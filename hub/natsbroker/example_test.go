package natsbroker_test

import (
	"log"
	"net/http"

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
