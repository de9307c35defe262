package hub_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/memorybroker"
)

// A report is made of what the engine keeps of a topic, by a process that has
// no hub. A position is a text in JSON.
func ExampleHistorian() {
	ctx := context.Background()
	engine := memorybroker.New()
	history := hub.History{Messages: 10, Bytes: 1 << 20, Age: time.Hour}
	h := hub.New(&hub.Options{Broker: engine.Connect(), History: history})
	defer h.Close()
	for _, price := range []string{"101", "102", "103"} {
		h.Publish(ctx, "price", websocket.MessageText, []byte(price))
	}

	reader := engine.Connect().(hub.Historian)
	backlog, err := reader.Missed(ctx, "price", hub.Position{}, history)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range backlog.Messages {
		fmt.Printf("message %d: %s\n", m.Position.Offset, m.Payload[1:]) // behind the byte of the hub's format
	}
	positions, err := reader.Positions(ctx, []hub.KeptTopic{{Topic: "price", History: history}})
	fmt.Println(positions[0] == backlog.Top, err)

	stored, _ := json.Marshal(backlog.Top)
	var again hub.Position
	err = json.Unmarshal(stored, &again)
	fmt.Println(again == backlog.Top, again.String() == strings.Trim(string(stored), `"`), err)
	// Output:
	// message 1: 101
	// message 2: 102
	// message 3: 103
	// true <nil>
	// true true <nil>
}

var errPrivate = errors.New("it is private")

// guarded is a Broker that refuses some topics.
type guarded struct{ hub.Broker }

func (g guarded) Subscribe(ctx context.Context, topics []string) error {
	refused := hub.TopicErrors{}
	var rest []string
	for _, topic := range topics {
		if strings.HasPrefix(topic, "private/") {
			refused[topic] = errPrivate
		} else {
			rest = append(rest, topic)
		}
	}
	if err := g.Broker.Subscribe(ctx, rest); err != nil {
		return err
	}
	if len(refused) > 0 {
		return refused
	}
	return nil
}

// An engine refuses a topic. Who subscribes to it gets the engine's error, and
// the other topics live.
func ExampleTopicErrors() {
	h := hub.New(&hub.Options{Broker: guarded{memorybroker.New().Connect()}})
	defer h.Close()
	url, stop, joined := serveJoined(h)
	defer stop()
	c := dial(url)
	defer c.CloseNow()
	s := <-joined
	for _, topic := range []string{"news", "private/ada"} {
		err := s.Subscribe(context.Background(), topic)
		fmt.Println(topic, errors.Is(err, errPrivate))
	}
	// Output:
	// news false
	// private/ada true
}

// What a hub has done, and a few errors that a program may look for.
func ExampleHub_Stats() {
	ctx := context.Background()
	h := hub.New(&hub.Options{
		WhenFull: hub.DropNewest,
		Encode: func(dst []byte, m hub.Message) []byte {
			return append(dst, m.Data[:3]...) // panics if there are fewer
		},
	})
	url, stop, joined := serveJoined(h)
	defer stop()
	c := dial(url)
	defer c.CloseNow()
	s := <-joined
	s.Subscribe(ctx, "news")

	h.Publish(ctx, "news", websocket.MessageText, []byte("hello"))
	fmt.Println(read(c))
	err := h.Publish(ctx, "news", websocket.MessageText, nil)
	fmt.Println("Encode:", errors.Is(err, hub.ErrEncode))
	_, err = h.Presence(ctx, "news")
	fmt.Println("Presence:", errors.Is(err, hub.ErrNoPresence))
	err = s.Subscribe(ctx, "$presence")
	fmt.Println("reserved:", errors.Is(err, hub.ErrReserved))

	st := h.Stats()
	fmt.Println(st.Subscribers, "subscriber,", st.Topics, "topic,", st.Published, "published,", st.Panicked, "panicked")
	h.Close()
	err = h.Publish(ctx, "news", websocket.MessageText, []byte("hello"))
	fmt.Println("closed:", errors.Is(err, hub.ErrClosed))
	// Output:
	// hel
	// Encode: true
	// Presence: true
	// reserved: true
	// 1 subscriber, 1 topic, 1 published, 1 panicked
	// closed: true
}

// A client that comes without a position gets the latest messages.
func ExampleSubscribeOptions() {
	ctx := context.Background()
	h := hub.New(&hub.Options{History: hub.History{Messages: 100}})
	defer h.Close()
	url, stop, joined := serveJoined(h)
	defer stop()
	for _, line := range []string{"1", "2", "3", "4"} {
		h.Publish(ctx, "log", websocket.MessageText, []byte(line))
	}
	c := dial(url)
	defer c.CloseNow()
	s := <-joined
	result, err := s.SubscribeFrom(ctx, "log", hub.SubscribeOptions{Recent: 2})
	fmt.Println(result.Messages, result.Complete, result.Position.Offset, err)
	fmt.Println(read(c), read(c))
	_, err = s.SubscribeFrom(ctx, "log", hub.SubscribeOptions{After: result.Position})
	fmt.Println("twice:", errors.Is(err, hub.ErrSubscribed))
	// Output:
	// 2 false 4 <nil>
	// 3 4
	// twice: true
}
