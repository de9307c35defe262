// Package redisbroker connects hubs through the publish/subscribe of Redis, version 7 or later (or a server that
// speaks as it does).
//
//	b := redisbroker.New(&redis.Options{Addr: "localhost:6379"}, nil)
//	defer b.Close()
//	h := hub.New(&hub.Options{Broker: b})
//	defer h.Close()
//
// A process has one connection that receives, whatever the number of its clients and topics, and those of a small
// pool that publish.
//
// # What Redis promises
//
// A message is delivered at most once. Redis keeps none: who is not connected at that moment does not get it, and a
// process that reads too slowly is cut off by the server (client-output-buffer-limit pubsub). All processes get the
// messages of a topic in one order, that in which the server took them.
//
// Where the hub keeps a history, the server numbers the messages of a topic, in a script that publishes too, so that
// a message has the same [hub.Position] in every process: a client goes on in whichever it comes back to, if that
// process has the messages, and a process notices exactly what it has missed. The number of a topic is a key of its
// own that Redis forgets after [Options].PositionAge without a message; the topic then begins a new epoch. So it does
// when the server has lost its keys. A server that comes back with older ones, as a replica may that takes over,
// gives some numbers twice: clients that were there before it may miss messages without being told.
//
// # When the server is lost
//
// The broker connects again by itself, after pauses that grow to two seconds, asks for all topics again, and tells
// the hub of both moments. Publish fails in between; nothing is queued and nothing is sent twice.
package redisbroker
