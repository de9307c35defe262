package natsbroker

import (
	"errors"

	"github.com/nats-io/nats.go"

	"github.com/seed70bc5565/websocket/hub"
)

// The handlers of the connection's events run one after the other, on a goroutine of the connection's.

// connected is called when the server is there, and again whenever it is back: all subscriptions have been sent to
// it.
func (b *Broker) connected(conn *nats.Conn) {
	conn.FlushTimeout(flushTimeout) // if it fails, the connection ends and there will be another
	b.mu.Lock()
	recovered := b.lost && conn.IsConnected()
	if recovered {
		b.lost = false
	}
	b.mu.Unlock()
	if recovered {
		b.tell(hub.BrokerEvent{Kind: hub.BrokerRecovered})
	}
}

// disconnected is called when the server is lost, or cannot be reached.
func (b *Broker) disconnected(conn *nats.Conn, err error) {
	b.mu.Lock()
	first := !b.lost && !b.closed
	if first {
		b.lost = true
		close(b.gone)
		b.gone = make(chan struct{})
	}
	b.mu.Unlock()
	if err == nil {
		err = nats.ErrDisconnected
	}
	if first {
		b.tell(hub.BrokerEvent{Kind: hub.BrokerLost, Err: err})
	}
}

// failed is called for errors that do not end the connection.
func (b *Broker) failed(conn *nats.Conn, sub *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrSlowConsumer) {
		return
	}
	b.mu.Lock()
	lost := b.lost
	b.mu.Unlock()
	if !lost { // messages of some topics are lost, and all is well again
		b.tell(hub.BrokerEvent{Kind: hub.BrokerLost, Err: err})
		b.tell(hub.BrokerEvent{Kind: hub.BrokerRecovered})
	}
}

// tell lets the hub know of an event, behind the messages that came before it: what follows belongs to a new epoch.
// It waits for room among them.
func (b *Broker) tell(ev hub.BrokerEvent) {
	b.mu.Lock()
	b.events = append(b.events, ev)
	b.mu.Unlock()
	select {
	case b.messages <- b.marker:
	case <-b.done:
	}
}
