package hub_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
)

// joinAs joins a connection to h as a member, and returns the subscriber.
func joinAs(h *hub.Hub, m hub.Member) (s *hub.Subscriber, stop func()) {
	joined := make(chan *hub.Subscriber, 1)
	url, stopServer := serve(func(c *websocket.Conn, r *http.Request) {
		s := h.JoinAs(c, m)
		defer s.Leave()
		joined <- s
		<-c.CloseRead(r.Context()).Done()
	})
	c := dial(url)
	return <-joined, func() {
		c.CloseNow()
		stopServer()
	}
}

// Err tells why a subscriber gets no more messages.
func ExampleSubscriber_Err() {
	h := hub.New(nil)
	s, stop := joinAs(h, hub.Member{ID: "ada"})
	defer stop()
	fmt.Println(s.Err())

	s.Leave()
	fmt.Println("left:", errors.Is(s.Err(), hub.ErrLeft))

	other, stop := joinAs(h, hub.Member{ID: "bob"})
	defer stop()
	h.Close()
	fmt.Println("closed:", errors.Is(other.Err(), hub.ErrClosed))
	// Output:
	// <nil>
	// left: true
	// closed: true
}

// A member's data is bounded, because every process keeps that of all members.
func ExampleErrMemberSize() {
	h := hub.New(&hub.Options{PresenceOf: func(string) bool { return true }})
	m := hub.Member{ID: "ada", Data: make([]byte, hub.MaxMemberBytes)}
	s, stop := joinAs(h, m)
	defer stop()
	fmt.Println(errors.Is(s.Err(), hub.ErrMemberSize), s.Err())
	// Output: true hub: ID and Data of the member are longer than 4,096 bytes
}

// The queue of a subscriber, whose client takes nothing: an operator sees that
// it is slow before it is disconnected.
func ExampleSubscriber_Stats() {
	h := hub.New(&hub.Options{WhenFull: hub.Disconnect})
	url, stop, joined := serveJoined(h)
	defer stop()
	c := dial(url)
	defer c.CloseNow()
	s := <-joined
	fillConnection(s)

	for range 3 {
		s.Send(websocket.MessageText, []byte("hello"))
	}
	var st hub.SubscriberStats = s.Stats()
	fmt.Println(st.Queued, "messages wait,", st.QueuedBytes, "bytes,", st.Dropped, "dropped")
	// Output: 3 messages wait, 15 bytes, 0 dropped
}

// Each message says which was before it, so that a client sees a gap. Here the
// queue was full meanwhile, and a message was dropped.
func ExampleMessage() {
	ctx := context.Background()
	h := hub.New(&hub.Options{
		QueueMessages: 1,
		WhenFull:      hub.DropNewest,
		History:       hub.History{Messages: 10},
		Encode: func(dst []byte, m hub.Message) []byte {
			return fmt.Appendf(dst, "%d %d %s", m.Previous, m.Position.Offset, m.Data)
		},
	})
	url, stop, joined := serveJoined(h)
	defer stop()
	c := dial(url)
	defer c.CloseNow()
	c.SetReadLimit(-1)
	s := <-joined
	s.Subscribe(ctx, "news")
	h.Publish(ctx, "news", websocket.MessageText, []byte("one"))

	last := uint64(0)
	show := func() {
		var previous, offset uint64
		var text string
		fmt.Sscan(read(c), &previous, &offset, &text)
		if previous > last {
			fmt.Println("messages are missing before", text)
		}
		last = offset
		fmt.Println(offset, text)
	}
	show()

	fillConnection(s)
	for _, text := range []string{"two", "three"} {
		h.Publish(ctx, "news", websocket.MessageText, []byte(text)) // the queue has room for one
	}
	read(c) // what filled the connection
	show()
	h.Publish(ctx, "news", websocket.MessageText, []byte("four"))
	show()
	// Output:
	// 1 one
	// 2 two
	// messages are missing before four
	// 4 four
}
