// Package redisbroker connects hubs through the publish/subscribe of Redis,
// version 7 or later (or a server that speaks as it does).
//
//	b := redisbroker.New(&redis.Options{Addr: "localhost:6379"}, nil)
//	defer b.Close()
//	h := hub.New(&hub.Options{Broker: b})
//	defer h.Close()
//
// A process has one connection that receives, and a small pool that publishes.
// In a cluster it has one of each for each node. It needs no more for more
// clients or topics.
//
// # What Redis promises
//
// All processes get the messages of a topic in one order, that in which the
// server took them. A topic without a history is plain publish/subscribe. A
// process that is not connected does not get the message. The server cuts off a
// process that reads too slowly (client-output-buffer-limit pubsub).
//
// Where the hub keeps a history, a script appends the message to a stream,
// numbers it and publishes it. A message has the same [hub.Position] in every
// process. Every process can read what a client missed, within the bounds of
// the history, and so can a process that was restarted. A publisher whose hub
// keeps no history of such a topic gives its message a number all the same.
//
// The count and the stream are keys that Redis forgets: the count
// [Options].PositionAge after the latest message, the stream after the Age of
// the history. A server that was restarted, or promoted, may have lost messages
// that it had confirmed. Its topics begin a new epoch, and clients are told to
// start afresh.
//
// A publication costs the server one script. The user of an ACL needs EVAL,
// EVALSHA, INFO, PUBLISH, and the commands of hashes and streams. In a cluster
// it needs SPUBLISH in place of PUBLISH. It also needs the keys and channels
// with the Prefix, and the channels "alive:" behind it.
//
// # What the server refuses
//
// A topic that the server forbids to its user is an error of Subscribe for that
// topic; the others hold. If the server forbids it later, the hub is told
// (hub.BrokerFailed).
//
// # Failover and clusters
//
// The broker publishes to a channel of its own every few seconds, through the
// connections that publish. A session that does not hear that is not where
// publishers are, and is replaced. So is one whose server has become a replica
// of theirs. A client of a cluster sends again what may have arrived. The
// broker gives each message an id, so that it counts once.
//
// A process with all its connections at a master that was replaced cannot know
// that. The option min-replicas-to-write makes such a master refuse messages.
//
// In a Redis Cluster the keys and the channel of a topic are in one slot. Live
// messages go through sharded publish/subscribe: from the node that has the
// slot to the processes, and to no other node. More nodes carry more messages.
// All processes must use a client of a cluster, because a subscriber of PUBLISH
// does not hear SPUBLISH. A Prefix with a brace must have a hash tag, such as
// "{chat}:". All its topics are in one slot then.
//
// The hub is told that the server is lost when one node is. The topics of the
// other nodes go on meanwhile. A node that the other nodes have lost is lost,
// too, though processes reach it: it refuses publications, and its replica may
// be promoted. The broker asks each node for that every few seconds, by CLUSTER
// INFO. Leave cluster-allow-reads-when-down at no. Else such a node tells
// clients that they have missed nothing. A slot may move to another node. The
// broker follows, and tells the hub which topics may have missed messages
// (hub.BrokerMissed). Their histories begin a new epoch there. While the keys
// of a slot move, the server answers TRYAGAIN, and Publish fails.
//
// # When the server is lost
//
// The broker connects again by itself, after pauses that grow to two seconds.
// It asks for all topics again, and tells the hub of both moments. Publish
// fails in between; nothing is queued and nothing is sent twice. A hub that
// takes no event for a while is not taken for a server that is lost.
package redisbroker
