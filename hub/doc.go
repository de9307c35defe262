// Package hub sends messages to many WebSocket connections: by topic, in order,
// and without waiting for the slowest.
//
// A connection becomes a [Subscriber] with [Hub.Join], subscribes to topics,
// and gets what is published there with [Hub.Publish]. A message is encoded,
// and compressed, once for all of its subscribers.
//
//	h := hub.New(nil)
//	http.Handle("/ws", websocket.Handler(func(c *websocket.Conn, r *http.Request) {
//		ctx := r.Context()
//		s := h.Join(c)
//		defer s.Leave()
//		if err := s.Subscribe(ctx, "news"); err != nil {
//			return
//		}
//		for m, err := range c.Messages(ctx) {
//			if err != nil {
//				return
//			}
//			h.Publish(ctx, "news", m.Type, m.Data)
//		}
//	}, nil))
//
// # Order
//
// All subscribers of a topic get its messages in the same order, and what one
// goroutine publishes, in the order in which it did. [Subscriber.Send] sends to
// one subscriber through the same queue. What is sent to a subscriber first, by
// Publish or Send, arrives first. Between topics there is no other order.
//
// # Slow subscribers
//
// Each subscriber has a queue, bounded in messages and in bytes. Publish puts
// the message into the queues and returns; it never writes to a connection. A
// subscriber whose queue is not empty has a goroutine. It writes what waits,
// many messages with one system call, and ends when nothing does. An idle
// subscriber has no goroutine. It costs about 200 bytes, and 24 for each of its
// topics (some 70 if they are more than 32).
//
// When a queue is full the [Policy] decides. By default the subscriber is
// disconnected with StatusTryAgainLater (1013). Otherwise its oldest or newest
// messages are dropped. [Subscriber.Stats] and [Hub.Stats] count it.
//
// # Coming back
//
// A hub can keep the latest messages of a topic: see [History]. Each message
// then has a [Position]. [Options].Encode puts it into what is sent, and the
// client remembers the last one it saw. When the client comes back,
// [Subscriber.SubscribeFrom] sends what it has missed, and goes on with what is
// published from then on. Between them there is neither a gap nor a duplicate.
// Or SubscribeFrom says that too much was missed, and that the client must
// start afresh.
//
// # Who is here
//
// A connection that joins with [Hub.JoinAs] is a [Member] of its topics, where
// Options.PresenceOf chooses them. [Hub.Presence] returns the members of a
// topic, in all processes. Options.OnPresence makes what the subscribers are
// told: first all members, then each that joins or leaves. A leave is held back
// for 5 s, so that a reconnect is none.
//
// The processes tell each other through the engine, in a topic of their own.
// Each tells of its own members, at most every 100 ms. Every 4 s it tells that
// it lives. No clock is compared. The members of a process that was killed are
// gone within 15 s. While the engine is lost no member of another process goes.
// A process that lost the engine alone is gone for the others, and comes back
// with it.
//
// Of a topic with more than [MaxPresenceMembers] only the number is known. Each
// process keeps the members of all others: 100,000 with 35 bytes of ID and Data
// are some 12 MB in each. What comes through the engine is trusted: a program
// that may publish there can name members, too.
//
// # The end of a connection
//
// A subscriber whose connection fails in a write leaves by itself. One to which
// nothing is sent does not notice: the function that serves the connection must
// call [Subscriber.Leave] when it returns, as above.
//
// # More than one process
//
// With a [Broker] the hubs of several processes are one. What is published in
// one of them goes through an engine, such as Redis or NATS, and comes back to
// all.
package hub
