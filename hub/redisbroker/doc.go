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
// All processes get the messages of a topic in one order, that in which the server took them. A topic without a
// history is plain publish/subscribe: who is not connected at that moment does not get the message, and a process that
// reads too slowly is cut off by the server (client-output-buffer-limit pubsub).
//
// Where the hub keeps a history, a script appends the message to a stream, numbers it and publishes it. A message has
// the same [hub.Position] in every process, and what a client missed is there in every process, within the bounds of
// the history, and after the restart of a process. A publisher whose hub keeps no history of such a topic gives its
// message a number all the same.
//
// The count and the stream are keys that Redis forgets: the count [Options].PositionAge after the latest message, the
// stream after the Age of the history. A server that was restarted, or promoted, may have lost messages that it had
// confirmed. Its topics begin a new epoch, and clients are told to start afresh.
//
// A publication costs the server one script. The user of an ACL needs EVAL, EVALSHA, INFO, PUBLISH, the commands of
// hashes and streams, the keys and channels with the Prefix, and the channels "alive:" behind it.
//
// # What the server refuses
//
// A topic that the server forbids to its user is an error of Subscribe for that topic; the others hold.
//
// # Failover and clusters
//
// The broker publishes to a channel of its own every few seconds, through the connections that publish. A session
// that does not hear that is not where publishers are, and is replaced. A client of a cluster sends again what may
// have arrived; the broker gives each message an id, so that it counts once.
//
// # When the server is lost
//
// The broker connects again by itself, after pauses that grow to two seconds, asks for all topics again, and tells
// the hub of both moments. Publish fails in between; nothing is queued and nothing is sent twice. A hub that takes no
// event for a while is not taken for a server that is lost.
package redisbroker
