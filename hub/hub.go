package hub

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed70bc5565/websocket"
)

// Errors of subscribers and hubs. Callers use [errors.Is].
var (
	// ErrClosed says that the hub is closed.
	ErrClosed = errors.New("hub: closed")
	// ErrLeft says that the subscriber has left.
	ErrLeft = errors.New("hub: the subscriber has left")
	// ErrFull says that the queue of a subscriber is full: it was disconnected
	// for that, or the message was dropped.
	ErrFull = errors.New("hub: the subscriber's queue is full")
	// ErrSubscribed says that the subscriber has the topic already.
	ErrSubscribed = errors.New("hub: already subscribed")
	// ErrUnconfirmed says that the engine did not confirm a message, which it
	// may have all the same.
	ErrUnconfirmed = errors.New("hub: the engine may have the message, and did not confirm it")
	// ErrEncode says that Options.Encode panicked: the message was dropped.
	ErrEncode = errors.New("hub: Encode panicked")
	// ErrBrokerPanicked says that a method of the Broker panicked. It has cost
	// that call only.
	ErrBrokerPanicked = errors.New("hub: the Broker panicked")
	// ErrCallbackPanicked says that Options.HistoryOf, Options.PresenceOf or
	// SubscribeOptions.Greet panicked. It has cost that call only.
	ErrCallbackPanicked = errors.New("hub: a callback panicked")
)

// A Hub connects those who publish with those who subscribe. It is made by
// [New]. All methods may be called by any number of goroutines at the same
// time.
type Hub struct {
	opts   Options   // immutable, with the defaults filled in
	start  time.Time // immutable: what the times of messages count from
	seed   maphash.Seed
	shards [shardCount]shard

	epochs   atomic.Uint64 // the latest epoch given to a topic; begins anywhere
	closed   atomic.Bool
	link     *link     // immutable; nil without a broker
	presence *presence // immutable; nil if no topic has one
	flushers flushers

	subscribers  atomic.Int64
	published    atomic.Uint64
	delivered    atomic.Uint64
	dropped      atomic.Uint64
	disconnected atomic.Uint64
	invalid      atomic.Uint64
	panicked     atomic.Uint64
}

// The topics are spread over shards, so that a lookup seldom waits for another.
const shardCount = 32

type shard struct {
	mu     sync.Mutex // held for a lookup
	topics map[string]*topic
}

// New returns a hub. With a Broker in its options it has a goroutine, which
// ends with [Hub.Close]; without one it has none, and need not be closed.
func New(opts *Options) *Hub {
	h := &Hub{seed: maphash.MakeSeed(), start: time.Now()}
	if opts != nil {
		h.opts = *opts
	}
	h.opts.QueueMessages = orDefault(h.opts.QueueMessages, defaultQueueMessages)
	h.opts.QueueBytes = orDefault(h.opts.QueueBytes, defaultQueueBytes)
	for i := range h.shards {
		h.shards[i].topics = map[string]*topic{}
	}
	h.epochs.Store(randomEpoch())
	h.flushers.init()
	if h.opts.PresenceOf != nil {
		h.presence = newPresence(h)
	}
	if h.opts.Broker != nil {
		h.link = startLink(h, h.opts.Broker)
	}
	return h
}

// Join makes c a subscriber that has no topic yet. The caller goes on reading
// from c, and calls [Subscriber.Leave] when c has ended. Messages that the
// caller writes to c itself may overtake those in the queue. One connection
// should not join a hub twice: its messages would have two queues.
func (h *Hub) Join(c *websocket.Conn) *Subscriber {
	s := &Subscriber{hub: h, conn: c}
	if h.closed.Load() {
		s.err = ErrClosed
		return s
	}
	h.subscribers.Add(1)
	return s
}

// Publish sends a message to all subscribers of topic. It does not wait for any
// of them. The caller may change data when Publish returns.
//
// Without a Broker the message is in the queues when Publish returns, and ctx
// is not used. With a Broker, Publish returns when the engine has it, as far as
// the engine tells. ctx bounds that, and the error is the engine's.
//
// Without a Broker the error matches [ErrEncode] if Options.Encode panicked. It
// matches [ErrCallbackPanicked] if HistoryOf or PresenceOf did.
//
// With a Broker the error matches [ErrUnconfirmed] if the engine may have the
// message all the same: then [Hub.PublishOnce] can repeat it.
func (h *Hub) Publish(ctx context.Context, topic string, typ websocket.MessageType, data []byte) error {
	return h.PublishOnce(ctx, topic, "", typ, data)
}

// PublishOnce is Publish for a message that has an id, unique in its topic. A
// caller that was told [ErrUnconfirmed] calls it again with the same id: an
// engine that keeps history then has the message once. How long it knows an id
// is the engine's choice, two minutes or more by its own clock. If that is set
// forward meanwhile, the message may count twice. Without a Broker the id has
// no meaning.
func (h *Hub) PublishOnce(ctx context.Context, topic, id string, typ websocket.MessageType, data []byte) error {
	if typ != websocket.MessageText && typ != websocket.MessageBinary {
		return noSuchType(typ)
	}
	if h.closed.Load() {
		return ErrClosed
	}
	if err := reserved(topic); err != nil {
		return err
	}
	if h.link != nil {
		return h.link.publish(ctx, topic, id, typ, data)
	}
	t := h.lookup(topic)
	if t == nil {
		if kept, err := h.historyOf(topic); err != nil || kept.Messages <= 0 {
			return err // no subscriber is there
		}
	}
	var made *message // nil: Encode makes it of data, under the topic's lock
	if h.opts.Encode == nil {
		// Made here: the stack is less deep than below, and no lock is held.
		var err error
		if made, err = newMessage(typ, data); err != nil {
			return err
		}
	}
	return h.publishHere(t, topic, typ, data, made)
}

// publishHere is Publish without a Broker. t is the topic if it was there a
// moment ago, or nil if it has a history.
func (h *Hub) publishHere(t *topic, name string, typ websocket.MessageType, data []byte, made *message) error {
	if t == nil || !t.lock() {
		var err error
		if t, err = h.findKept(name); t == nil {
			return err
		}
	}
	if made != nil && t.hist == nil {
		t.deliverLocked(made)
		t.unlock()
		return nil
	}
	return t.publishAndUnlock(typ, data, made)
}

// findKept is find for a message: it makes a topic that has a history.
//
// It is not inlined, to keep the frame of publishHere small.
//
//go:noinline
func (h *Hub) findKept(name string) (*topic, error) {
	if t := h.find(name); t != nil {
		return t, nil
	}
	if kept, err := h.historyOf(name); err != nil || kept.Messages <= 0 {
		return nil, err // no subscriber is there
	}
	return h.findOrMake(name)
}

// Subscriptions returns how many subscribers of this process have topic.
func (h *Hub) Subscriptions(topic string) int {
	t := h.find(topic)
	if t == nil {
		return 0
	}
	defer t.unlock()
	return len(t.subs)
}

// Stats counts what a hub has and has done, in this process.
type Stats struct {
	Subscribers int // that have joined and not left
	Topics      int // that have subscribers or a history

	Published    uint64 // messages that were put into topics
	Delivered    uint64 // messages that were written to connections
	Dropped      uint64 // messages that found a queue full, under DropOldest or DropNewest
	Disconnected uint64 // subscribers whose queue was full, under Disconnect
	Invalid      uint64 // messages from the Broker that were no hub's
	Panicked     uint64 // calls of the application's functions in options that panicked
}

// Stats returns the counts so far. They are not taken at one moment.
func (h *Hub) Stats() Stats {
	st := Stats{
		Subscribers:  int(h.subscribers.Load()),
		Published:    h.published.Load(),
		Delivered:    h.delivered.Load(),
		Dropped:      h.dropped.Load(),
		Disconnected: h.disconnected.Load(),
		Invalid:      h.invalid.Load(),
		Panicked:     h.panicked.Load(),
	}
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		st.Topics += len(s.topics)
		s.mu.Unlock()
	}
	return st
}

// Close ends the hub: its subscribers leave, and it forgets all topics.
// Connections stay open, and what waits for them is still written. The caller
// that made the Broker closes it. The error is nil, or matches [ErrClosed] if
// the hub was closed before.
func (h *Hub) Close() error {
	if h.closed.Swap(true) {
		return ErrClosed
	}
	if h.presence != nil {
		h.presence.close()
	}
	if h.link != nil {
		h.link.stop()
	}
	for _, t := range h.all() {
		t.close()
	}
	return nil
}

// all returns the topics that there are.
func (h *Hub) all() []*topic {
	var all []*topic
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		all = slices.AppendSeq(all, maps.Values(s.topics))
		s.mu.Unlock()
	}
	return all
}

// historyOf returns what is kept of a topic.
func (h *Hub) historyOf(topic string) (History, error) {
	if h.opts.HistoryOf != nil {
		return h.callHistoryOf(topic)
	}
	return h.opts.History, nil
}

// randomEpoch returns where to begin to count epochs: those of another process
// should not look like ours.
func randomEpoch() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:]) | 1
}

// newEpoch returns an epoch that no topic of this hub has had, and of another
// hub hardly any.
func (h *Hub) newEpoch() uint64 {
	for {
		if e := h.epochs.Add(1); e != 0 {
			return e
		}
	}
}

func (h *Hub) shard(name string) *shard {
	return &h.shards[maphash.String(h.seed, name)%shardCount]
}

// lookup returns the topic, or nil if there is none. It does not lock it: the
// topic may go.
func (h *Hub) lookup(name string) *topic {
	s := h.shard(name)
	s.mu.Lock()
	t := s.topics[name]
	s.mu.Unlock()
	return t
}

// find returns the topic, locked, or nil if there is none.
func (h *Hub) find(name string) *topic {
	for {
		t := h.lookup(name)
		if t == nil || t.lock() {
			return t
		}
	}
}

// findOrMake returns the topic, locked. The error is that of a callback.
func (h *Hub) findOrMake(name string) (*topic, error) {
	s := h.shard(name)
	for {
		s.mu.Lock()
		t := s.topics[name]
		s.mu.Unlock()
		if t == nil {
			made, err := newTopic(h, name) // without the lock: it calls the application
			if err != nil {
				return nil, err
			}
			s.mu.Lock()
			if t = s.topics[name]; t == nil {
				t = made
				s.topics[name] = t
			}
			s.mu.Unlock()
		}
		if t.lock() {
			return t, nil
		}
	}
}

// pin keeps a topic in place while the engine is told that a subscriber is
// interested in it. It returns what to wait for, or nil. After an error nothing
// is pinned.
func (h *Hub) pin(name string) (*attempt, error) {
	t, err := h.findOrMake(name)
	if err != nil {
		return nil, err
	}
	defer t.unlock()
	t.pins++
	return h.link.interested(t), nil
}

// unpin undoes pin.
func (h *Hub) unpin(topics []string) {
	for _, name := range topics {
		t := h.find(name) // pinned, so it is there
		t.pins--
		t.unlock()
	}
}

// remove takes t out of the map. The caller has locked t.
func (h *Hub) remove(t *topic) {
	s := h.shard(t.name)
	s.mu.Lock()
	delete(s.topics, t.name)
	s.mu.Unlock()
}
