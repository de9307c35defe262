package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed70bc5565/websocket/hub"
)

// Options are the options of [New]. A nil pointer and the zero value hold the defaults.
type Options struct {
	// Prefix begins the subjects of all topics. Hubs that share it share their topics. It consists of tokens that NATS
	// allows in a subject, separated by dots. Default: "websocket.topic".
	Prefix string
	// Connection are more options of the connection, such as credentials, TLS, or the pauses between attempts to
	// connect. The handlers of its events are the broker's.
	Connection []nats.Option
}

// ErrClosed is returned by the methods of a Broker that is closed.
var ErrClosed = errors.New("natsbroker: closed")

const (
	// backlog is how many messages wait for the hub before more are lost.
	backlog = 8192
	// flushTimeout bounds how long the server may take to confirm that it knows of a subscription.
	flushTimeout = 5 * time.Second
)

// A Broker is a [hub.Broker] for one hub. It is made by [New].
type Broker struct {
	conn     *nats.Conn
	prefix   string         // immutable
	messages chan *nats.Msg // from all subscriptions, in the order of the connection, and a marker for each event
	marker   *nats.Msg      // immutable

	mu     sync.Mutex // guards what follows; not held across I/O
	topics map[string]*nats.Subscription
	names  map[string]string // of topics, by subject
	events []hub.BrokerEvent // that the hub has not been told, one for each marker
	lost   bool              // the hub has been told, or will be, that the server is lost
	closed bool
	gone   chan struct{} // closed, and replaced, when the server is lost
	done   chan struct{} // closed by Close
}

// New returns a broker, which connects in the background to the servers in url, separated by commas. The only errors
// are those of url and opts.
func New(url string, opts *Options) (*Broker, error) {
	b := &Broker{
		prefix:   "websocket.topic",
		messages: make(chan *nats.Msg, backlog),
		topics:   map[string]*nats.Subscription{},
		names:    map[string]string{},
		marker:   new(nats.Msg),
		gone:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	options := []nats.Option{
		nats.ReconnectWait(500 * time.Millisecond),
		nats.PingInterval(10 * time.Second),
	}
	if opts != nil {
		if opts.Prefix != "" {
			b.prefix = opts.Prefix
		}
		options = append(options, opts.Connection...)
	}
	options = append(options,
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1), // nothing is queued
		nats.ConnectHandler(b.connected),
		nats.ReconnectHandler(b.connected),
		nats.DisconnectErrHandler(b.disconnected),
		nats.ReconnectErrHandler(b.disconnected), // the first attempt, too
		nats.ErrorHandler(b.failed),
	)
	conn, err := nats.Connect(url, options...)
	if err != nil {
		return nil, fmt.Errorf("natsbroker: %w", err)
	}
	b.mu.Lock()
	b.conn = conn
	b.mu.Unlock()
	return b, nil
}

// Close ends the connection. The hub should be closed before.
func (b *Broker) Close() error {
	b.mu.Lock()
	closed := b.closed
	b.closed = true
	b.mu.Unlock()
	if !closed {
		close(b.done)
		b.conn.Close()
	}
	return nil
}

// Publish implements [hub.Broker]. It returns when the message is on its way.
func (b *Broker) Publish(ctx context.Context, p hub.Publication) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("natsbroker: %w", err)
	}
	if err := b.conn.Publish(b.subject(p.Topic), p.Payload); err != nil {
		return fmt.Errorf("natsbroker: %w", err)
	}
	return nil
}

// Subscribe implements [hub.Broker].
func (b *Broker) Subscribe(ctx context.Context, topics []string) error {
	for _, topic := range topics {
		subject := b.subject(topic)
		b.mu.Lock()
		b.names[subject] = topic
		b.mu.Unlock()
		sub, err := b.conn.ChanSubscribe(subject, b.messages)
		if err != nil {
			b.Unsubscribe(ctx, topics)
			return fmt.Errorf("natsbroker: %w", err)
		}
		b.mu.Lock()
		b.topics[topic] = sub
		b.mu.Unlock()
	}
	err := b.confirm(ctx)
	if err != nil {
		b.Unsubscribe(ctx, topics) // the hub will ask for them again: each message would come twice
	}
	return err
}

// confirm waits until the server has taken what was sent to it, or is lost.
func (b *Broker) confirm(ctx context.Context) error {
	b.mu.Lock()
	lost, gone := b.lost, b.gone
	b.mu.Unlock()
	if lost {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	go func() {
		select {
		case <-gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := b.conn.FlushWithContext(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return ErrClosed
	case err == nil, b.lost, gone != b.gone:
		return nil
	}
	return fmt.Errorf("natsbroker: the server does not confirm a subscription: %w", err)
}

// Unsubscribe implements [hub.Broker].
func (b *Broker) Unsubscribe(ctx context.Context, topics []string) error {
	for _, topic := range topics {
		b.mu.Lock()
		sub := b.topics[topic]
		delete(b.topics, topic)
		delete(b.names, b.subject(topic))
		b.mu.Unlock()
		if sub != nil {
			sub.Unsubscribe() // fails if the connection is closed
		}
	}
	return nil
}

// Receive implements [hub.Broker].
func (b *Broker) Receive(ctx context.Context) (hub.BrokerEvent, error) {
	for {
		select {
		case m := <-b.messages:
			if ev, ok := b.event(m); ok {
				return ev, nil
			}
		case <-ctx.Done():
			return hub.BrokerEvent{}, ctx.Err()
		case <-b.done:
			return hub.BrokerEvent{}, ErrClosed
		}
	}
}

// event returns what the hub is to be told of m.
func (b *Broker) event(m *nats.Msg) (hub.BrokerEvent, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m == b.marker {
		ev := b.events[0]
		b.events = b.events[1:]
		return ev, true
	}
	topic, ok := b.names[m.Subject]
	return hub.BrokerEvent{Topic: topic, Payload: m.Data}, ok
}
