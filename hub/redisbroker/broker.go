package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
)

// Options are the options of [New] and [NewClient]. A nil pointer and the zero
// value hold the defaults.
type Options struct {
	// Prefix begins the names of all channels and keys. Hubs that share it
	// share their topics. Default: "websocket:".
	Prefix string
	// PositionAge is how long Redis remembers the position of a topic after its
	// last message. It should be longer than the Age of the hub's histories.
	// Default: 24 hours. The methods of a Broker with less than a second return
	// an error.
	PositionAge time.Duration
}

// ErrClosed is returned by the methods of a Broker that is closed.
var ErrClosed = errors.New("redisbroker: closed")

// errRing is returned by the methods of a Broker whose client is a redis.Ring.
var errRing = errors.New("a redis.Ring spreads topics over servers that do not know each other: use a cluster")

// A Broker is a [hub.Broker] for one hub. It is made by [New].
type Broker struct {
	client  redis.UniversalClient // immutable
	owned   bool                  // immutable: the client ends with the broker
	unfit   error                 // immutable: why the client cannot be used; nil: it can
	resends bool                  // immutable: the client sends again what may have arrived
	shards  *shards               // immutable: see shards.go; nil: it is no cluster
	opts    Options               // immutable, with the defaults filled in

	ctx    context.Context    // immutable; ends with the broker
	cancel context.CancelFunc // immutable
	done   chan struct{}      // closed when the goroutine that receives has ended
	events chan hub.BrokerEvent

	silence time.Duration // immutable: see session.go

	mu      sync.Mutex       // guards what follows; not held across I/O
	topics  map[string]bool  // that the hub wants; true when the server has confirmed
	asking  map[string]bool  // topics for which Subscribe waits
	refused map[string]error // of those, what the server has refused
	taken   map[string]bool  // topics that the server refuses, and that are asked for again; not in a cluster
	session *session         // nil between connections
	live    bool             // the session has everything that it began with
	lost    bool             // the hub has been told that the server is lost
	changed chan struct{}    // closed, and replaced, when something above has changed
}

// New returns a broker, which connects in the background. options are those of
// the client, which the broker owns. The broker sets three of them. MaxRetries
// is none, because a message that is sent again may arrive twice. Protocol is
// 2, because go-redis loses messages with 3: it misreads those whose first
// bytes end a read. ContextTimeoutEnabled is set, so that the deadline of the
// context of Publish holds.
func New(options *redis.Options, opts *Options) *Broker {
	o := *options
	o.MaxRetries = -1
	o.Protocol = 2
	o.ContextTimeoutEnabled = true
	b := NewClient(redis.NewClient(&o), opts)
	b.owned = true
	return b
}

// NewClient is New for a client that the caller has made and closes, such as
// one for Redis Sentinel or a cluster. It should have MaxRetries -1, Protocol 2
// and ContextTimeoutEnabled: [New] tells why. If the client sends messages
// again, the server keeps a key for each for two minutes, so that it counts
// once. A redis.Ring cannot be used: its servers do not know each other. All
// methods of the Broker return an error then.
func NewClient(client redis.UniversalClient, opts *Options) *Broker {
	return newBroker(client, opts, defaultSilence)
}

func newBroker(client redis.UniversalClient, opts *Options, silence time.Duration) *Broker {
	b := &Broker{
		client:  client,
		done:    make(chan struct{}),
		events:  make(chan hub.BrokerEvent, 64),
		topics:  map[string]bool{},
		asking:  map[string]bool{},
		refused: map[string]error{},
		taken:   map[string]bool{},
		changed: make(chan struct{}),
		silence: silence,
	}
	cluster, isCluster := client.(*redis.ClusterClient)
	if isCluster {
		b.shards = newShards(cluster)
	}
	b.resends, b.live = isCluster, isCluster
	if single, ok := client.(*redis.Client); ok {
		b.resends = single.Options().MaxRetries > 0
	}
	if opts != nil {
		b.opts = *opts
	}
	if b.opts.Prefix == "" {
		b.opts.Prefix = "websocket:"
	}
	if b.opts.PositionAge == 0 {
		b.opts.PositionAge = 24 * time.Hour
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	if _, ok := client.(*redis.Ring); ok {
		b.unfit = errRing
	} else if isCluster {
		b.unfit = checkTag(b.opts.Prefix)
	}
	if b.unfit == nil && b.opts.PositionAge < time.Second {
		b.unfit = fmt.Errorf("PositionAge %v: not a second", b.opts.PositionAge)
	}
	switch {
	case b.unfit != nil:
		b.unfit, b.lost = fmt.Errorf("redisbroker: %w", b.unfit), true
		b.events <- hub.BrokerEvent{Kind: hub.BrokerLost, Err: b.unfit}
		close(b.done)
	case isCluster:
		go b.runShards()
	default:
		go b.run()
	}
	return b
}

// Close ends the connections. The hub should be closed before.
func (b *Broker) Close() error {
	b.cancel()
	b.mu.Lock()
	current := b.session
	b.mu.Unlock()
	if current != nil {
		current.pubsub.Close() // what reads from it ends
	}
	<-b.done
	if b.owned {
		if err := b.client.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
			return fmt.Errorf("redisbroker: %w", err)
		}
	}
	return nil
}

// Subscribe implements [hub.Broker]. The error is a [hub.TopicErrors] if the
// server refuses topics to its user.
func (b *Broker) Subscribe(ctx context.Context, topics []string) error {
	if b.unfit != nil {
		return b.unfit
	}
	b.mu.Lock()
	for _, topic := range topics {
		b.topics[topic], b.asking[topic] = false, true
		if b.shards != nil {
			b.shards.wantLocked(topic)
		}
	}
	b.mu.Unlock()
	defer b.asked(topics)
	b.ask(subscribe, topics)
	var refused hub.TopicErrors
	for {
		b.mu.Lock()
		for len(topics) > 0 {
			if err := b.refused[topics[0]]; err != nil {
				if refused == nil {
					refused = hub.TopicErrors{}
				}
				refused[topics[0]] = err
				delete(b.refused, topics[0])
			} else if confirmed, wanted := b.topics[topics[0]]; wanted && !confirmed || !b.live {
				break
			}
			topics = topics[1:]
		}
		pending := len(topics) > 0 && !b.lost
		changed := b.changed
		b.mu.Unlock()
		if !pending {
			if refused != nil {
				return refused
			}
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			b.Unsubscribe(ctx, topics)
			return fmt.Errorf("redisbroker: %w", ctx.Err())
		case <-b.ctx.Done():
			return ErrClosed
		}
	}
}

// asked notes that Subscribe returns. From now on an event tells about a topic
// that is refused.
func (b *Broker) asked(topics []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, topic := range topics {
		delete(b.asking, topic)
		delete(b.refused, topic)
	}
}

// forbidLocked notes that the server has refused a topic. It returns true if no
// Subscribe waits for it. Then an event has to tell, and the topic is wanted as
// before.
func (b *Broker) forbidLocked(topic string, err error) (tell bool) {
	defer b.notifyLocked()
	confirmed, wanted := b.topics[topic]
	if !wanted || !b.asking[topic] {
		return wanted
	}
	delete(b.topics, topic)
	if !confirmed {
		b.refused[topic] = err
	}
	return false
}

// Unsubscribe implements [hub.Broker].
func (b *Broker) Unsubscribe(ctx context.Context, topics []string) error {
	b.mu.Lock()
	for _, topic := range topics {
		delete(b.topics, topic)
		delete(b.taken, topic)
		if b.shards != nil {
			b.unwantLocked(topic)
		}
	}
	b.mu.Unlock()
	b.ask(unsubscribe, topics)
	return nil
}

// ask lets the server know that topics are wanted, or not any more.
func (b *Broker) ask(kind int, topics []string) {
	if b.shards != nil {
		b.shards.rouse()
		return
	}
	b.mu.Lock()
	current := b.session
	b.mu.Unlock()
	if current != nil {
		current.send(kind, topics)
	}
}

// Receive implements [hub.Broker].
func (b *Broker) Receive(ctx context.Context) (hub.BrokerEvent, error) {
	select {
	case ev := <-b.events:
		return ev, nil
	case <-ctx.Done():
		return hub.BrokerEvent{}, ctx.Err()
	case <-b.ctx.Done():
		return hub.BrokerEvent{}, ErrClosed
	}
}

// bring gives an event to the hub.
func (b *Broker) bring(ev hub.BrokerEvent) {
	select {
	case b.events <- ev:
	case <-b.ctx.Done():
	}
}

// caught is deferred where a goroutine of the broker may dial. A function in
// the client's options, such as CredentialsProvider, is the application's. A
// panic there becomes an error.
func caught(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("%w: %v", hub.ErrBrokerPanicked, v)
	}
}

// notifyLocked wakes all who wait for a change.
func (b *Broker) notifyLocked() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// channel returns the channel of a topic. In a cluster it is in the slot of the
// topic's keys.
func (b *Broker) channel(topic string) string {
	if b.shards != nil {
		topic = tagOf(topic)
	}
	return b.opts.Prefix + "topic:" + topic
}
