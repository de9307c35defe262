package hub

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Broker is a process's connection to an engine that carries messages between
// the hubs of several processes. A hub has one Broker, however many subscribers
// it has. The modules redisbroker and natsbroker below this package have two
// kinds of it. Package memorybroker has one within a process.
//
// All methods may be called at the same time. One goroutine at a time calls
// Receive. A method that panics costs that call: its error matches
// [ErrBrokerPanicked]. If no caller of the hub gets it, OnBroker is told
// [BrokerFailed].
//
// With a Broker, a hub promises what its engine promises. A message is
// delivered at most once. While a process has lost the engine, its subscribers
// miss what is published, unless the Broker is a [Historian]. Every process has
// the messages of a topic in the order of the engine.
type Broker interface {
	// Publish hands a message over to the engine. The engine brings it to every
	// process that has subscribed to the topic, this one included. ctx bounds
	// that. After an error that matches ErrUnconfirmed the engine may have the
	// message all the same. After another error it does not.
	Publish(ctx context.Context, p Publication) error

	// Subscribe asks the engine for topics, and returns when the engine has
	// confirmed them. The broker remembers them. If the engine is lost,
	// Subscribe returns nil, and the broker asks again when the engine is back.
	// The hub never asks for a topic that it has. If the engine refuses some of
	// the topics, the error is a TopicErrors, and the broker has the others.
	// After another error it has none of them.
	Subscribe(ctx context.Context, topics []string) error

	// Unsubscribe is the opposite of Subscribe. It need not wait for the
	// engine.
	Unsubscribe(ctx context.Context, topics []string) error

	// Receive returns the next event, in the order in which the engine brings
	// them. It fails when ctx has ended, or when the broker is closed. The
	// payload is the hub's.
	Receive(ctx context.Context) (BrokerEvent, error)
}

// A Publication is a message on its way to the engine.
type Publication struct {
	Topic   string
	Payload []byte // neither the hub nor the broker changes it
	// ID may be empty. A message that is published again, because the first
	// attempt was in doubt, has the same ID. An engine that can counts it once.
	ID string
	// History is what the publishing hub keeps of the topic. If it keeps
	// messages, the engine should give the message a Position that is the same
	// in every process. An engine that cannot gives none.
	History History
}

// A Positioner is a Broker whose engine can tell where a topic is. A process
// that had no subscriber of the topic then knows whether a client that comes
// back has missed anything.
type Positioner interface {
	// Positions returns the position of the latest message of each of topics;
	// zero if the engine knows of none. If the engine cannot say where some
	// topics are, the error is a TopicErrors that has them, and the positions
	// of the others count. After another error none does.
	Positions(ctx context.Context, topics []KeptTopic) ([]Position, error)
}

// A KeptTopic is a topic that has a history in a hub.
type KeptTopic struct {
	Topic   string
	History History // its bounds, with the defaults filled in
}

// TopicErrors says for which topics an engine could not do something, and why.
type TopicErrors map[string]error

// Error names one of the topics.
func (e TopicErrors) Error() string {
	for topic, err := range e {
		return fmt.Sprintf("topic %q: %v (topics with an error: %d)", topic[:min(len(topic), 64)], err, len(e))
	}
	return "no topic has an error"
}

// Unwrap returns the errors of all topics.
func (e TopicErrors) Unwrap() []error { return slices.Collect(maps.Values(e)) }

// A Historian is a Positioner whose engine keeps the messages of topics that
// have a History. Every process then has what a client missed, and so has a
// process that was restarted. Within an epoch the offsets never go back. An
// engine that may have lost messages which it had confirmed begins another
// epoch.
type Historian interface {
	Positioner

	// Missed returns the messages behind after that the engine has, oldest
	// first. If there are more than limits allow, it returns the latest of
	// them. If after is zero, or of an epoch that is not the engine's, it
	// returns all within limits.
	Missed(ctx context.Context, topic string, after Position, limits History) (Backlog, error)
}

// A Backlog has the messages of a topic that an engine keeps behind a position.
type Backlog struct {
	Top      Position      // of the latest message of the topic; zero if the engine knows of none
	Messages []BrokerEvent // each with its Position; the last one is that of Top, if there is any
	// Complete says that no message lies between the position that was asked
	// for and the first of Messages. If it is not set, Messages are all that
	// the engine has within the limits. If there are none then, no message lies
	// between that position and Top.
	Complete bool
	// Since is for a topic of which the engine has no message, and where
	// offsets skip. No message of the topic lies between Since and Top. Zero:
	// that is not known.
	Since uint64
	// Now is what the engine's clock says, to which the times of Messages
	// belong; zero if the engine does not say.
	Now time.Time
}

// A BrokerEvent is what a Broker receives.
type BrokerEvent struct {
	Kind BrokerEventKind

	Topic    string   // of a message
	Position Position // of a message; zero if the engine has given it none
	// Previous is the offset of the message before, where offsets of a topic
	// skip. Zero: Position.Offset - 1.
	Previous uint64
	Time     time.Time // when the engine got the message; zero if it does not say
	Payload  []byte    // of a message

	Err error // why the engine was lost, or what has failed
}

// previous returns the offset of the message before.
func (ev *BrokerEvent) previous() uint64 {
	if ev.Previous != 0 || ev.Position.Offset == 0 {
		return ev.Previous
	}
	return ev.Position.Offset - 1
}

// A BrokerEventKind is the kind of a BrokerEvent.
type BrokerEventKind int

const (
	// BrokerMessage is a message.
	BrokerMessage BrokerEventKind = iota
	// BrokerLost says that messages are being lost: the connection to the
	// engine has ended, or cannot keep up.
	BrokerLost
	// BrokerRecovered says that the engine is back and knows all subscriptions
	// again. Messages that were published since BrokerLost may be lost.
	BrokerRecovered
	// BrokerMissed says that messages of Topic alone may be lost: its
	// subscribers, or the connection, were too slow.
	BrokerMissed
	// BrokerFailed says that the hub or the broker could not do something for
	// Topic. Encode or the broker panicked, or the engine could not be read, or
	// it refused a message that Publish had handed over. Err says what. Topic
	// is empty if it is not known.
	BrokerFailed
)

// String returns the name of k.
func (k BrokerEventKind) String() string {
	switch k {
	case BrokerMessage:
		return "BrokerMessage"
	case BrokerLost:
		return "BrokerLost"
	case BrokerRecovered:
		return "BrokerRecovered"
	case BrokerMissed:
		return "BrokerMissed"
	case BrokerFailed:
		return "BrokerFailed"
	}
	return "BrokerEventKind(?)"
}
