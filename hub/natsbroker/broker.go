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

// Options are the options of [New]. A nil pointer and the zero value hold the
// defaults.
type Options struct {
	// Prefix begins the subjects of all topics. Hubs that share it share their
	// topics. It consists of tokens that NATS allows in a subject, separated by
	// dots, 256 bytes at most. Default: "websocket.topic".
	Prefix string
	// Connection are more options of the connection, such as credentials, TLS,
	// or the pauses between attempts to connect. The handlers of its events are
	// the broker's.
	Connection []nats.Option
}

// ErrClosed is returned by the methods of a Broker that is closed.
var ErrClosed = errors.New("natsbroker: closed")

const (
	// arrivals is how many messages the connection has for the pump.
	arrivals = 4096
	// flushTimeout bounds how long the server may take to confirm that it knows
	// of a subscription.
	flushTimeout = 5 * time.Second
	// writeTimeout bounds how long a write to the server may take. The
	// connection is lost then.
	writeTimeout = 5 * time.Second
	// reconnectWait is the pause between two attempts to connect.
	reconnectWait = 500 * time.Millisecond
	// forbiddenPause is how long a topic that the server has taken away is not
	// asked for.
	forbiddenPause = 30 * time.Second
)

// A Broker is a [hub.Broker] for one hub. It is made by [New].
type Broker struct {
	url      string         // immutable
	options  []nats.Option  // immutable
	extra    []nats.Option  // immutable: the caller's part of options
	jet      *JetStream     // immutable; nil without JetStream
	prefix   string         // immutable
	messages chan *nats.Msg // from all subscriptions, in the order of the connection, and a marker for each event
	marker   *nats.Msg      // immutable
	backlog  *backlog       // what the pump has taken from messages
	writing  chan struct{}  // holds a token while a message is written to the connection
	done     chan struct{}  // closed by Close
	pause    time.Duration  // forbiddenPause, except in tests
	every    time.Duration  // immutable: defaultBeat, except in tests
	alive    string         // immutable: the subject of beats
	heard    chan *nats.Msg // beats

	// asking serialises those who change the subscriptions of the connection.
	// It is held across I/O, and taken before mu. Methods that need it end in
	// Locked.
	asking sync.Mutex

	mu       sync.Mutex // guards what follows; not held across I/O
	conn     *nats.Conn
	adopting bool                          // conn has not been asked for all topics
	topics   map[string]*nats.Subscription // that the hub wants; nil while there is no connection to ask
	names    map[string]string             // of topics, by subject
	events   []hub.BrokerEvent             // that the pump has not seen, one for each marker
	lost     bool                          // the hub has been told, or will be, that the server is lost
	closed   bool
	gone     chan struct{}   // closed, and replaced, when the server is lost
	refusals refusals        // of the Subscribe that is under way
	errors   uint64          // refusals that the handler of errors has seen
	lastErr  error           // the latest of them
	taken    map[string]bool // topics that the server has taken away, and that are asked for again
	limit    int             // the subscriptions that the server has taken, when it took no more; 0: not known
	id       string          // of this process in its beats
	number   uint64          // of its latest beat
	peers    map[string]peer // the other processes, by their ids
	listens  time.Time       // since when beats are heard; zero: not yet
	deaf     bool            // the server does not permit beats
}

// New returns a broker, which connects in the background to the servers in url,
// separated by commas. The only errors are those of url and opts.
//
// The broker tries again when the server refuses its credentials, too.
func New(url string, opts *Options) (*Broker, error) { return newBroker(url, opts, nil, defaultBeat) }

// newBroker is New. If jet is not nil, messages from JetStream have positions,
// and jet notes them.
func newBroker(url string, opts *Options, jet *JetStream, every time.Duration) (*Broker, error) {
	b := &Broker{
		url:      url,
		jet:      jet,
		prefix:   "websocket.topic",
		messages: make(chan *nats.Msg, arrivals),
		marker:   new(nats.Msg),
		backlog:  newBacklog(maxBacklog, maxBacklogBytes),
		writing:  make(chan struct{}, 1),
		done:     make(chan struct{}),
		topics:   map[string]*nats.Subscription{},
		names:    map[string]string{},
		gone:     make(chan struct{}),
		taken:    map[string]bool{},
		pause:    forbiddenPause,
		every:    every,
		heard:    make(chan *nats.Msg, maxPeers),
		peers:    map[string]peer{},
	}
	b.options = []nats.Option{
		nats.ReconnectWait(reconnectWait),
		nats.PingInterval(10 * time.Second),
		nats.FlusherTimeout(writeTimeout),
	}
	if opts != nil {
		if opts.Prefix != "" {
			b.prefix = opts.Prefix
		}
		b.extra = opts.Connection
		b.options = append(b.options, opts.Connection...)
	}
	if err := checkPrefix(b.prefix); err != nil {
		return nil, fmt.Errorf("natsbroker: %w", err)
	}
	b.alive = b.prefix + "_alive"
	if jet != nil {
		jet.watch.call = b.alive + "." + newID()
	}
	b.options = append(b.options,
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1), // nothing is queued
		nats.ConnectHandler(b.connected),
		nats.ReconnectHandler(b.connected),
		nats.DisconnectErrHandler(b.disconnected),
		nats.ReconnectErrHandler(b.disconnected), // the first attempt, too
		nats.ClosedHandler(b.closedByServer),
		nats.ErrorHandler(b.failed),
	)
	conn, err := dial(url, b.options)
	if err != nil {
		return nil, fmt.Errorf("natsbroker: %w", err)
	}
	go b.pump()
	go b.beats()
	b.adopt(conn)
	return b, nil
}

// adopt makes conn the connection, unless the broker is closed.
func (b *Broker) adopt(conn *nats.Conn) {
	b.asking.Lock()
	defer b.asking.Unlock()
	b.mu.Lock()
	b.conn, b.adopting = conn, true
	closed := b.closed
	var topics []string
	for topic := range b.topics {
		b.topics[topic] = nil
		topics = append(topics, topic)
	}
	b.mu.Unlock()
	if closed {
		conn.Close()
		return
	}
	conn.ChanSubscribe(b.alive, b.heard) // fails if it is closed, as what follows
	if b.jet != nil {
		conn.ChanSubscribe(b.jet.watch.call, b.heard)
	}
	for _, topic := range topics {
		if b.askLocked(conn, topic) != nil {
			break // it is closed: there will be another
		}
	}
	b.mu.Lock()
	b.adopting = false
	b.mu.Unlock()
	if conn.IsConnected() {
		go b.connected(conn) // what it called before was not yet the connection
	}
}

// Close ends the connection. The hub should be closed before.
func (b *Broker) Close() error {
	b.mu.Lock()
	closed, conn := b.closed, b.conn
	b.closed = true
	b.mu.Unlock()
	if !closed {
		close(b.done)
		conn.Close()
	}
	return nil
}

func (b *Broker) connection() *nats.Conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conn
}

// Publish implements [hub.Broker]. It returns when the message is on its way.
// If ctx ends while it is written, the message may go out all the same: then
// the error matches [hub.ErrUnconfirmed]. Core NATS knows no ids: a message
// that is repeated may come twice.
func (b *Broker) Publish(ctx context.Context, p hub.Publication) error {
	err := ctx.Err()
	if err == nil {
		err = b.publish(ctx, b.subject(p.Topic), p.Payload)
	}
	if err != nil && err != ErrClosed {
		err = fmt.Errorf("natsbroker: %w", err)
	}
	return err
}

func (b *Broker) publish(ctx context.Context, subject string, payload []byte) error {
	select {
	case b.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-b.done:
		return ErrClosed
	}
	conn := b.connection()
	if ctx.Done() == nil {
		defer func() { <-b.writing }()
		return conn.Publish(subject, payload)
	}
	// A server that takes nothing holds the write up.
	published := make(chan error, 1)
	go func() {
		published <- conn.Publish(subject, payload)
		<-b.writing
	}()
	select {
	case err := <-published:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", hub.ErrUnconfirmed, ctx.Err())
	}
}

// Subscribe implements [hub.Broker].
func (b *Broker) Subscribe(ctx context.Context, topics []string) error {
	b.asking.Lock()
	defer b.asking.Unlock()
	b.mu.Lock()
	conn := b.conn
	b.refusals = refusals{asked: make(map[string]error, len(topics))}
	before := b.errors
	for _, topic := range topics {
		subject := b.subject(topic)
		if _, ok := b.topics[topic]; !ok {
			b.topics[topic] = nil
		}
		b.names[subject] = topic
		b.refusals.asked[subject] = nil
	}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.refusals = refusals{}
		b.mu.Unlock()
	}()
	for _, topic := range topics {
		if err := b.askLocked(conn, topic); errors.Is(err, nats.ErrConnectionClosed) {
			break // adopt asks for them
		} else if err != nil {
			b.forgetLocked(topics)
			return fmt.Errorf("natsbroker: %w", err)
		}
	}
	if err := b.confirm(ctx, conn); err != nil {
		b.forgetLocked(topics) // the hub will ask for them again: each message would come twice
		return err
	}
	if refused := b.refusedLocked(conn, topics, before); len(refused) > 0 {
		for topic := range refused {
			b.forgetLocked([]string{topic})
		}
		return refused
	}
	return nil
}

// askLocked subscribes to topic, unless the connection has it.
func (b *Broker) askLocked(conn *nats.Conn, topic string) error {
	b.mu.Lock()
	has := b.topics[topic] != nil
	b.mu.Unlock()
	if has {
		return nil
	}
	sub, err := conn.ChanSubscribe(b.subject(topic), b.messages)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.topics[topic] = sub
	b.mu.Unlock()
	return nil
}

// confirm waits until the server has taken what was sent to it, or is lost.
func (b *Broker) confirm(ctx context.Context, conn *nats.Conn) error {
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
	err := conn.FlushWithContext(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return ErrClosed
	case err == nil, b.lost, gone != b.gone, errors.Is(err, nats.ErrConnectionClosed):
		return nil
	}
	return fmt.Errorf("natsbroker: the server does not confirm a subscription: %w", err)
}

// Unsubscribe implements [hub.Broker].
func (b *Broker) Unsubscribe(ctx context.Context, topics []string) error {
	b.asking.Lock()
	defer b.asking.Unlock()
	b.forgetLocked(topics)
	return nil
}

// forgetLocked ends the subscriptions to topics.
func (b *Broker) forgetLocked(topics []string) {
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
}

// Receive implements [hub.Broker].
func (b *Broker) Receive(ctx context.Context) (hub.BrokerEvent, error) {
	for {
		if ev, ok := b.backlog.take(); ok {
			return ev, nil
		}
		select {
		case <-b.backlog.ready:
		case <-ctx.Done():
			return hub.BrokerEvent{}, ctx.Err()
		case <-b.done:
			return hub.BrokerEvent{}, ErrClosed
		}
	}
}

// pump is the goroutine that moves what arrives into the backlog, which is
// bounded in bytes. It never waits for the hub.
func (b *Broker) pump() {
	for {
		select {
		case m := <-b.messages:
			if ev, ok := b.event(m); ok {
				b.backlog.put(ev)
			}
		case <-b.done:
			return
		}
	}
}

// event returns the event that m is for the hub.
func (b *Broker) event(m *nats.Msg) (hub.BrokerEvent, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m == b.marker {
		ev := b.events[0]
		b.events = b.events[1:]
		return ev, true
	}
	topic, ok := b.names[m.Subject]
	ev := hub.BrokerEvent{Topic: topic, Payload: m.Data}
	if ok && b.jet != nil && m.Header != nil {
		var err error
		if ev.Position, ev.Previous, err = b.numbered(topic, m); err != nil {
			b.backlog.put(hub.BrokerEvent{Kind: hub.BrokerFailed, Topic: topic, Err: err})
		}
	}
	return ev, ok
}
