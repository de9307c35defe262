// Package natsbroker connects hubs through NATS, server version 2. [New] uses
// core NATS. [NewJetStream] uses JetStream, version 2.9 or later, where a topic
// has a history.
//
//	b, err := natsbroker.New("nats://localhost:4222", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer b.Close()
//	h := hub.New(&hub.Options{Broker: b})
//	defer h.Close()
//
// A process has one connection, which receives and publishes. It needs no more
// for more clients or topics.
//
// # What core NATS promises
//
// A message is delivered at most once. Core NATS keeps none. A process that is
// not connected does not get the message, and one that reads too slowly loses
// messages.
//
// 65,536 messages and 64 MiB may wait for the hub, and those of one topic may
// take half of that. The broker drops messages that find no room, and tells the
// hub so about that topic alone (hub.BrokerMissed).
//
// All processes get what one process publishes to a topic in its order.
// Messages of two processes that come at the same moment may have another order
// in another process.
//
// Core NATS does not number messages, so each hub has positions of its own. A
// client that comes back to the same process goes on there. In another process
// it is told to start afresh.
//
// Servers of a cluster that lose each other do not tell their clients. Messages
// of one side are lost for the other one, and Publish returns nil. So each
// process publishes a beat of 40 bytes every 5 s, in the subject that is the
// Prefix and "_alive". Who has not heard a process for a while tells the hub so
// (hub.BrokerLost, and hub.BrokerRecovered) when it hears that process again. A
// user with permissions should have this subject.
//
// Publish returns when the message is on its way to the server. One that is on
// its way when the connection ends is lost, without an error. The deadline of
// its context holds when the server takes nothing.
//
// # What JetStream adds
//
// A topic with a history has one order for all processes, that of its stream. A
// message has the same position in every process. Every process can read what a
// client missed, and so can a process that was restarted. Publish returns when
// JetStream has the message, or says that this is in doubt; a message with an
// id counts once.
//
// JetStream bounds the number and the age of a topic's messages, and not their
// bytes. A hub keeps no more than History.Bytes of what it reads. The server
// keeps messages until there are too many, or they are too old. A history of
// 1,000 messages of 1 MB may hold 1 GB on disk for each topic. Where that is
// too much, bound History.Messages and the length of a message. Or set
// max_bytes of the stream, which bounds all its topics together. The server
// drops the oldest messages then, and a client that misses one of them is told
// to start afresh.
//
// A process has a second connection, through which it publishes to streams and
// reads from them. Only a read of more than 100 messages makes a consumer,
// which ends with the read. The position of a topic is one request to the
// server, and so is each message that is read. Servers from 2.11 on return a
// thousand messages for one request.
//
// How old a message is, the server's clock says. Servers before 2.10 do not
// tell what time it is. Such a server gets a small message of the broker, at
// most every 10 s, and tells when it came.
//
// The subjects of streams begin with the Prefix and "_kept." or "_epochs.". A
// user with permissions needs these, the Prefix, and "$JS.API.>".
//
// Both connections move to another server of a cluster when theirs is cut off
// from JetStream. A server that is cut off goes on answering questions, and
// takes no message. So a process that has published nothing for 5 s gives its
// server a small message. The stream keeps only the latest of these. The
// process also calls itself every 5 s, through one connection, and hears that
// on the other one. The call has a subject of its own behind the Prefix and
// "_alive.". The hub is told of one that did not come, as of a beat. The other
// server is one of the URL, or one that the first server has told of.
//
// A publisher whose hub keeps no history of such a topic goes through core
// NATS. Its message has no position, and is not kept. A hub that gets it tells
// OnBroker so, once for the topic. It tells clients that come back to start
// afresh, if they may have missed it. A process that was not subscribed then
// cannot know of the message, and tells such clients that they have missed
// nothing. So give all processes the same History.
//
// # What the server refuses
//
// A subscription may be one that the server does not permit, or one beyond its
// max_subscriptions. That is an error of Subscribe for that topic; the others
// hold. OnBroker is told of a message that the server does not permit, as
// hub.BrokerFailed, because NATS says so after Publish has returned.
//
// A topic may have any length and hold any bytes. Its subject is the topic with
// other characters written as in a URL. Where that is longer than 512 bytes, it
// is a SHA-256 of the topic.
//
// # When the server is lost
//
// The broker connects again by itself, asks for all topics again, and tells the
// hub of both moments. Publish fails in between; nothing is queued and nothing
// is sent twice. It goes on trying when the server refuses its credentials,
// too.
package natsbroker
