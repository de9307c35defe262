package memorybroker_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/memorybroker"
)

// Two hubs, as two processes have them, on one engine. Here it is in memory.
func ExampleEngine() {
	engine := memorybroker.New()
	events := make(chan hub.BrokerEventKind)
	first := hub.New(&hub.Options{Broker: engine.Connect(), OnBroker: func(ev hub.BrokerEvent) { events <- ev.Kind }})
	defer first.Close()
	second := hub.New(&hub.Options{Broker: engine.Connect()})
	defer second.Close()

	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		s := first.Join(c)
		defer s.Leave()
		if err := s.Subscribe(r.Context(), "news"); err != nil {
			return
		}
		s.Send(websocket.MessageText, []byte("welcome"))
		<-c.CloseRead(r.Context()).Done()
	}, nil))
	defer server.Close()
	c, _, err := websocket.Dial(context.Background(), server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	read := func(c *websocket.Conn) string {
		_, data, err := c.Read(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		return string(data)
	}
	fmt.Println(read(c))

	second.Publish(context.Background(), "news", websocket.MessageText, []byte("from the other hub"))
	fmt.Println(read(c))

	engine.Stop()
	fmt.Println(<-events)
	err = second.Publish(context.Background(), "news", websocket.MessageText, []byte("lost"))
	fmt.Println(err)
	engine.Start()
	fmt.Println(<-events)
	// Output:
	// welcome
	// from the other hub
	// BrokerLost
	// hub: publish: memorybroker: the engine is stopped
	// BrokerRecovered
}
