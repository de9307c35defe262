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
// All subscribers of a topic get its messages in the same order. Messages of
// one goroutine arrive in the order in which it published them.
// [Subscriber.Send] sends to one subscriber through the same queue. So the
// messages of all topics and of Send reach a subscriber in the order in which
// they came into its queue.
//
// # Slow subscribers
//
// Each subscriber has a queue, bounded in messages and in bytes. Publish puts
// the message into the queues and returns; it never writes to a connection. The
// hub's goroutines write the messages that wait, many with one system call. A
// write that blocks keeps one of them. Beyond those there are as many as
// processors, and one, however many subscribers wait. They end when the queues
// are empty. An idle subscriber costs about 110 bytes, and 24 bytes for each of
// its topics (about 70 each if it has more than 32).
//
// When a queue is full the [Policy] decides. By default the subscriber is
// disconnected with StatusTryAgainLater (1013). Otherwise its oldest or newest
// messages are dropped. [Subscriber.Stats] and [Hub.Stats] count the messages
// and connections that were dropped.
//
// # Coming back
//
// A hub can keep the latest messages of a topic: see [History]. Each message
// then has a [Position]. [Options].Encode puts it into what is sent, and the
// client remembers the last one it saw. When the client comes back,
// [Subscriber.SubscribeFrom] sends what it has missed, and goes on with what is
// published from then on. There is neither a gap nor a duplicate between the
// two. If too much was missed, SubscribeFrom says that the client must start
// afresh.
//
// # Who is here
//
// A connection that joins with [Hub.JoinAs] is a [Member] of its topics, where
// Options.PresenceOf chooses them. [Hub.Presence] returns the members of a
// topic, in all processes. Options.OnPresence makes the messages that tell the
// subscribers about members: first all of them, then each that joins or leaves.
// A leave is told after 5 s, and not at all if the member is back by then.
//
// The processes tell each other through the engine, in a topic of their own.
// Each tells of its own members, at most every 100 ms. Every 4 s it tells that
// it lives. No clock is compared. The members of a process that was killed are
// gone within 15 s. While a process has lost the engine, it keeps the members
// of all others. The others drop the members of a process that has lost the
// engine, and get them back when it has the engine again.
//
// For a topic with more than [MaxPresenceMembers] members, a hub knows only
// their number. Each process keeps the members of all processes in memory. For
// 100,000 members with 35 bytes of ID and Data that is about 12 MB. The hub
// trusts the engine: a program that may publish there can also name members.
//
// # The end of a connection
//
// A subscriber leaves by itself when a write to its connection fails. Without a
// write it does not notice that the connection has ended. So the function that
// serves the connection must call [Subscriber.Leave] when it returns, as above.
//
// # More than one process
//
// With a [Broker] the hubs of several processes are one. A message that one of
// them publishes goes through an engine, such as Redis or NATS, and comes back
// to all.
package hub
