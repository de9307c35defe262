package hub

import (
	"time"

	"github.com/seed70bc5565/websocket"
)

// Options are the options of [New]. A nil pointer and the zero value hold the
// defaults; a negative number switches a limit off. The struct is only read.
//
// A panic in one of the functions costs that call, and is counted in Stats. It
// does not leave the hub.
type Options struct {
	// QueueMessages and QueueBytes bound the messages that wait for one
	// subscriber. Bytes are those of the messages before compression. An empty
	// queue takes a message of any size. Messages that are being written do not
	// count: 64 messages and 31 KiB at most, or one longer message. Defaults:
	// 256 messages, 1 MiB.
	QueueMessages int
	QueueBytes    int
	// WhenFull says what happens when a message finds the queue of a subscriber
	// full. Default: Disconnect.
	WhenFull Policy

	// History is what is kept of the messages of each topic. Default: nothing.
	History History
	// HistoryOf returns the History of a topic, where topics differ: it takes
	// the place of the field History. It is called when a topic comes into
	// being, and for each message that is published with a Broker. It must not
	// call the hub. It must return the same for the same topic, in every
	// process.
	HistoryOf func(topic string) History

	// Encode makes the data that is sent to the subscribers from the message
	// that was published. It appends the data to dst, and returns the result.
	// This is where a program puts the Position into the data. Encode is called
	// once for a message in every process that has subscribers of the topic, in
	// the order of the topic. A process also encodes the messages that it reads
	// from the engine's history. Encode must not call the hub. A panic costs
	// that message: see ErrEncode. Default: the data as it was published.
	Encode func(dst []byte, m Message) []byte

	// PresenceOf says which topics have presence: their members are known in
	// all processes, see [Hub.Presence]. It must return the same for the same
	// topic, in every process, and must not call the hub. Default: none.
	PresenceOf func(topic string) bool
	// OnPresence makes the message that tells the subscribers of a topic about
	// its members. If the data is nil, no message is sent. It is called in each
	// process that has subscribers of the topic. The calls come one after the
	// other, from a goroutine of their own, so it may call the hub. Default: no
	// such messages are sent.
	OnPresence func(PresenceEvent) (websocket.MessageType, []byte)

	// Broker connects this hub with those of other processes. Default: none.
	Broker Broker
	// OnBroker is told when the engine behind Broker is lost, when it is back,
	// and what fails: see BrokerEventKind. The calls come one after the other,
	// from a goroutine of their own.
	OnBroker func(BrokerEvent)
}

// A Policy says what happens to a subscriber whose queue is full.
type Policy int

const (
	// Disconnect ends the connection with StatusTryAgainLater (1013). The
	// client comes back when it can, and gets from the history what it missed.
	Disconnect Policy = iota
	// DropOldest drops what waits longest. It suits states of which only the
	// latest counts.
	DropOldest
	// DropNewest drops the message that found no room.
	DropNewest
)

// String returns the name of p.
func (p Policy) String() string {
	switch p {
	case Disconnect:
		return "Disconnect"
	case DropOldest:
		return "DropOldest"
	case DropNewest:
		return "DropNewest"
	}
	return "Policy(?)"
}

// A Message is a published message on its way to the subscribers of its topic.
type Message struct {
	Topic    string
	Position Position // zero if the topic has no history, or the engine has not numbered this message
	// Previous is the offset of the message before, in the epoch of Position.
	// Where the engine counts the messages of many topics together, it is not
	// the one below. A client whose last message has a lower offset has missed
	// some.
	Previous uint64
	Type     websocket.MessageType
	Data     []byte // as it was published; valid until Encode returns
}

// History bounds what is kept of the messages of a topic. Subscribers that come
// back get what they missed from it. With a Broker all processes should have
// the same History for a topic.
type History struct {
	// Messages is how many messages are kept. Default: none.
	Messages int
	// Bytes bounds their size, as it is sent. Default: 1 MiB; negative: no
	// limit. JetStream does not bound the bytes that it keeps of a topic: see
	// package natsbroker.
	Bytes int
	// Age is how long a message is kept. Default: 5 minutes; negative: no
	// limit. A topic that has had no subscriber and no message for so long
	// vanishes, and its positions with it. With a Broker, messages do not keep
	// a topic. If the engine keeps histories, the topic vanishes here after 5
	// minutes at most, because the engine has it.
	Age time.Duration
}

const (
	defaultQueueMessages = 256
	defaultQueueBytes    = 1 << 20
	defaultHistoryBytes  = 1 << 20
	defaultHistoryAge    = 5 * time.Minute
)

// orDefault returns v, or def if v is 0.
func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}
