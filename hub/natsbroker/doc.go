// Package natsbroker connects hubs through NATS, server version 2: core NATS ([New]), or with JetStream, version 2.9 or
// later, for topics with a history ([NewJetStream]).
//
//	b, err := natsbroker.New("nats://localhost:4222", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer b.Close()
//	h := hub.New(&hub.Options{Broker: b})
//	defer h.Close()
//
// A process has one connection, which receives and publishes, whatever the number of its clients and topics.
//
// # What core NATS promises
//
// A message is delivered at most once. Core NATS keeps none: who is not connected at that moment does not get it, and a
// process that reads too slowly loses messages. 65,536 messages and 64 MiB may wait for the hub; what finds no room is
// dropped, and the hub is told so of that topic alone (hub.BrokerMissed). One topic takes half of the room at most. All processes get what one process publishes to a topic in its order;
// how messages of two processes that come at the same moment follow on each other may differ from process to process.
//
// Core NATS does not number messages, so each hub has positions of its own: a client that comes back to the process
// that it came from goes on there, and in any other it is told that it must start afresh.
//
// Publish returns when the message is on its way to the server. One that is on its way when the connection ends is
// lost, without an error. The deadline of its context holds when the server takes nothing.
//
// # What JetStream adds
//
// A topic with a history has one order for all processes, that of its stream. A message has the same position in every
// process, and what a client missed is there in every process, and after the restart of a process. Publish returns when
// JetStream has the message, or says that this is in doubt; a message with an id counts once.
//
// A process has a second connection, through which it publishes to streams and reads from them. No consumer is made.
// A position that is asked for is one request of the server, and so is each message that is read, except that servers
// from 2.11 on return a thousand at once. The subjects of streams begin with the Prefix and "_kept." or "_epochs.": a
// user with permissions needs these, the Prefix, and "$JS.API.>".
//
// A publisher whose hub keeps no history of such a topic goes through core NATS. Its message has no position, and is
// not kept.
//
// # What the server refuses
//
// A subscription that the server does not permit, or that is beyond its max_subscriptions, is an error of
// Subscribe for that topic; the others hold. A message that it does not permit is told to OnBroker, as
// hub.BrokerFailed, because NATS says so after Publish has returned.
//
// A topic may have any length and hold any bytes. Its subject is the topic with other characters written as in
// a URL, or, where that is longer than 512 bytes, a SHA-256 of the topic.
//
// # When the server is lost
//
// The broker connects again by itself, asks for all topics again, and tells the hub of both moments. Publish fails in
// between; nothing is queued and nothing is sent twice. It goes on trying whatever the server says, refused
// credentials included.
package natsbroker
