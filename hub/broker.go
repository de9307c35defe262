package hub

import "context"

// A Broker is a process's connection to an engine that carries messages between the hubs of several processes. There
// is one for a hub, whatever the number of its subscribers. Packages redisbroker and natsbroker, which are modules of
// their own below this one, have two; package memorybroker has one within a process.
//
// All methods may be called at the same time, Receive by one goroutine only.
//
// What a hub promises then is what the engine does. A message is delivered at most once: those that are published
// while a process has lost the engine do not reach its subscribers, and none is sent again. Every process has the
// messages of a topic in the order of the engine.
type Broker interface {
	// Publish hands a message over to the engine, which brings it to every process that has subscribed to the topic,
	// this one included. ctx bounds that.
	Publish(ctx context.Context, p Publication) error

	// Subscribe asks the engine for topics, and returns when it has confirmed them. It remembers them: when the engine
	// is lost, or has been lost meanwhile, Subscribe returns nil, and the broker asks again when the engine is back.
	// The hub never asks for a topic that it has.
	Subscribe(ctx context.Context, topics []string) error

	// Unsubscribe is the opposite of Subscribe. It need not wait for the engine.
	Unsubscribe(ctx context.Context, topics []string) error

	// Receive returns the next event, in the order in which the engine brings them. It fails when ctx has ended, or
	// when the broker is closed. The payload is the hub's.
	Receive(ctx context.Context) (BrokerEvent, error)
}

// A Publication is a message on its way to the engine.
type Publication struct {
	Topic   string
	Payload []byte // the hub's again when Publish returns
	// History is what the publishing hub keeps of the topic. If it keeps messages, the engine should give the message
	// a Position that is the same everywhere. An engine that cannot, does not.
	History History
}

// A Positioner is a Broker whose engine can tell where a topic is. A process in which nobody had the topic then knows
// whether a client that comes back has missed anything.
type Positioner interface {
	// Positions returns the position of the latest message of each of topics; zero if the engine knows of none.
	Positions(ctx context.Context, topics []string) ([]Position, error)
}

// A BrokerEvent is what a Broker receives.
type BrokerEvent struct {
	Kind BrokerEventKind

	Topic    string   // of a message
	Position Position // of a message; zero if the engine has given it none
	Payload  []byte   // of a message

	Err error // why the engine was lost
}

// A BrokerEventKind is the kind of a BrokerEvent.
type BrokerEventKind int

const (
	// BrokerMessage is a message.
	BrokerMessage BrokerEventKind = iota
	// BrokerLost says that messages are being lost: the connection to the engine has ended, or cannot keep up.
	BrokerLost
	// BrokerRecovered says that the engine is back and knows all subscriptions again. What was published since
	// BrokerLost may be lost.
	BrokerRecovered
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
	}
	return "BrokerEventKind(?)"
}
