package hub

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A Subscriber is a connection that has joined a hub. All methods may be called
// by any number of goroutines at the same time.
type Subscriber struct {
	hub  *Hub            // immutable
	conn *websocket.Conn // immutable

	mu       sync.Mutex // guards what follows
	topics   []membership
	byTopic  map[*topic]int // where topics has them, once there are many
	queue    *queue         // what waits; nil: nothing
	flushing bool           // a flusher is at work, or on its way
	dropped  uint64
	bye      *closing // what a flusher does when nothing waits any more; nil: nothing
	err      error    // why it is a subscriber no more

	next *Subscriber // waits for a flusher, too; flushers.mu guards it
}

// manyTopics is how many topics of a subscriber are searched one by one.
const manyTopics = 32

// findLocked returns where topics has t, or -1.
func (s *Subscriber) findLocked(t *topic) int {
	if s.byTopic != nil {
		if i, ok := s.byTopic[t]; ok {
			return i
		}
		return -1
	}
	for i := range s.topics {
		if s.topics[i].topic == t {
			return i
		}
	}
	return -1
}

// A membership is a topic of a subscriber, and where the topic has it.
type membership struct {
	topic *topic
	index int
}

// closing says how to close a connection.
type closing struct {
	code   websocket.StatusCode
	reason string
	late   *time.Timer // closes it if the flusher does not come to it
}

// closeWait is how long what waits may take before a connection is closed.
const closeWait = 5 * time.Second

// SubscribeOptions say where a subscription begins, and what the subscriber
// gets before the messages that are published later.
type SubscribeOptions struct {
	// After is the position up to which the client has the messages of the
	// topic: it gets all behind it, if they are still there. Zero: the client
	// has none.
	After Position
	// Recent is how many of the latest messages the client gets if After is
	// zero, or if it cannot go on from there.
	Recent int
	// Greet returns a message that the client gets before any message of the
	// topic. If the data is nil, there is none. Greet must not call the hub.
	// With DropOldest the message may be dropped, as any other in the queue.
	// Default: no such message.
	Greet func(SubscribeResult) (websocket.MessageType, []byte)
}

// A SubscribeResult says how a subscription has begun.
type SubscribeResult struct {
	// Position is that of the topic: the subscriber gets what is published
	// behind it. It is zero if the topic has no history. With a Broker it is
	// zero, too, if this process does not know it yet.
	Position Position
	// Complete says that the client has missed nothing: what was published
	// since SubscribeOptions.After is in its queue. If it is not set, the
	// client must fetch the current state elsewhere, after the subscription has
	// begun.
	Complete bool
	// Messages is how many messages of the history were put into the queue.
	Messages int
}

// A beginning is what SubscribeFrom asks for, and what comes of it.
type beginning struct {
	from SubscribeOptions // immutable
	got  SubscribeResult
}

// Conn returns the connection.
func (s *Subscriber) Conn() *websocket.Conn { return s.conn }

// Subscribe subscribes to topics: what is published there from now on is sent
// to the connection. A topic that the subscriber has already stays as it is.
//
// With a Broker, Subscribe returns when the engine has confirmed the
// subscriptions. If the engine is lost, Subscribe returns at once, and the
// engine is told of them when it is back. ctx bounds that. After an error the
// subscriber has the topics that it had before.
func (s *Subscriber) Subscribe(ctx context.Context, topics ...string) error {
	return s.subscribe(ctx, nil, topics)
}

// SubscribeFrom subscribes to a topic that has a history, and sends what the
// client has missed of it. Between that and what is published from now on there
// is neither a gap nor a duplicate. Replayed messages do not count for the
// bounds of the queue. A replay fails if more than 65,536 messages of it and of
// earlier replays would wait: the error matches [ErrFull]. The first replay may
// have any number. The error matches [ErrSubscribed] if the subscriber has the
// topic already.
//
// ctx and other errors are as for Subscribe.
func (s *Subscriber) SubscribeFrom(ctx context.Context, topic string, from SubscribeOptions) (SubscribeResult, error) {
	b := &beginning{from: from}
	if err := s.subscribe(ctx, b, []string{topic}); err != nil {
		return SubscribeResult{}, err
	}
	return b.got, nil
}

// subscribe is SubscribeFrom with one topic, or Subscribe with b nil.
func (s *Subscriber) subscribe(ctx context.Context, b *beginning, topics []string) error {
	err := s.prepare(topics)
	switch {
	case err != nil:
	case s.hub.link != nil:
		err = s.subscribeLinked(ctx, b, topics)
	default:
		err = s.addAll(b, topics)
	}
	if err != nil {
		return subscribeError(err)
	}
	return nil
}

// subscribeError is not inlined, to keep the frame of subscribe small: a
// handler that subscribes shall do with a stack of 2 KiB.
//
//go:noinline
func subscribeError(err error) error { return fmt.Errorf("hub: subscribe: %w", err) }

// prepare makes room for topics, or returns why s cannot subscribe to them. The
// room is made here, because the stack is deep in admit.
func (s *Subscriber) prepare(topics []string) error {
	for _, topic := range topics {
		if err := reserved(topic); err != nil {
			return err
		}
	}
	s.mu.Lock()
	err := s.errLocked()
	switch {
	case err != nil:
	case s.topics == nil:
		s.topics = make([]membership, 0, len(topics))
	case cap(s.topics)-len(s.topics) < len(topics):
		s.topics = slices.Grow(s.topics, len(topics))
	}
	s.mu.Unlock()
	return err
}

// subscribeLinked is subscribe with a Broker.
func (s *Subscriber) subscribeLinked(ctx context.Context, b *beginning, topics []string) error {
	h := s.hub
	pinned := topics[:0:0]
	defer func() { h.unpin(pinned) }()
	var attempts []*attempt
	for _, name := range topics {
		a, err := h.pin(name)
		if err != nil {
			return err
		}
		if a != nil {
			attempts = append(attempts, a)
		}
		pinned = append(pinned, name)
	}
	if err := h.link.settle(ctx, attempts); err != nil {
		return err
	}
	for try := 1; b != nil && h.link.keeps() && h.link.fill(ctx, topics[0], b.from) && try < maxFills; try++ {
		if err := h.addFresh(s, topics[0], b); err != errStale {
			return err
		}
	}
	return s.addAll(b, topics)
}

// addAll adds s to topics of this process: to all of them, or to none.
func (s *Subscriber) addAll(b *beginning, topics []string) error {
	var had []int // indexes of topics that s had before
	for i, name := range topics {
		err := s.hub.add(s, name, b)
		switch {
		case err == nil:
		case err == ErrSubscribed && b == nil:
			had = append(had, i)
		default:
			s.undo(topics[:i], had)
			return err
		}
	}
	return nil
}

// undo ends the subscriptions to topics, except to those that s had before.
func (s *Subscriber) undo(topics []string, had []int) {
	for i, name := range topics {
		if !slices.Contains(had, i) {
			s.Unsubscribe(name)
		}
	}
}

// add adds a subscriber to a topic.
func (h *Hub) add(s *Subscriber, topic string, b *beginning) error {
	t, err := h.findOrMake(topic)
	if err != nil {
		return err
	}
	defer t.unlock()
	return t.addLocked(s, b)
}

// addFresh is add, unless messages may have been lost since the engine was
// read: then the error is errStale.
func (h *Hub) addFresh(s *Subscriber, topic string, b *beginning) error {
	t, err := h.findOrMake(topic)
	if err != nil {
		return err
	}
	defer t.unlock()
	if t.stale {
		return errStale
	}
	return t.addLocked(s, b)
}

// Unsubscribe ends subscriptions. Messages that wait already are still sent.
// Topics that the subscriber does not have are ignored.
func (s *Subscriber) Unsubscribe(topics ...string) {
	for _, name := range topics {
		if t := s.hub.find(name); t != nil {
			t.dropLocked(s)
			t.unlock()
		}
	}
}

// Topics returns the topics that the subscriber has, in no order.
func (s *Subscriber) Topics() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, len(s.topics))
	for i, m := range s.topics {
		names[i] = m.topic.name
	}
	return names
}

// Leave ends all subscriptions. The program calls it when the connection has
// ended, and may call it more than once. Leave does not touch the connection.
// Messages that wait in the queue are still sent.
func (s *Subscriber) Leave() {
	s.end(ErrLeft)
	s.leaveTopics()
}

// Close ends all subscriptions, sends the messages in the queue, and then
// closes the connection as [websocket.Conn.Close] does with code and reason. A
// goroutine of the hub does that: Close returns at once. Messages that the peer
// has not taken after 5 s are not sent.
func (s *Subscriber) Close(code websocket.StatusCode, reason string) {
	s.mu.Lock()
	s.endLocked(ErrLeft)
	if s.bye == nil {
		late := time.AfterFunc(closeWait, func() { s.closeConn(code, reason) })
		s.bye = &closing{code, reason, late}
		s.wakeFlusherLocked()
	}
	s.mu.Unlock()
	s.leaveTopics()
}

// closeConn closes the connection, on a goroutine of the hub. Close reads, if
// no other goroutine does. Then a callback of the connection's options may
// panic. It ends the connection, and is logged as [websocket.NewServer] logs a
// panic.
func (s *Subscriber) closeConn(code websocket.StatusCode, reason string) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		s.conn.CloseNow()
		if v != http.ErrAbortHandler {
			log.Printf("hub: panic closing %v: %v\n%s", s.conn.RemoteAddr(), v, debug.Stack())
		}
	}()
	s.conn.Close(code, reason)
}

// Err returns nil as long as s can get messages. After that it returns the
// reason why s gets no more. The error matches [ErrLeft] after Leave, and
// [ErrClosed] after [Hub.Close]. It matches [ErrFull] if s was disconnected
// because its queue was full. Otherwise it is the error of the write that
// failed.
func (s *Subscriber) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errLocked()
}

func (s *Subscriber) errLocked() error {
	if s.err == nil && s.hub.closed.Load() {
		return ErrClosed
	}
	return s.err
}

// SubscriberStats tell of one subscriber.
type SubscriberStats struct {
	Queued      int    // messages that wait
	QueuedBytes int    // their size
	Dropped     uint64 // messages that found the queue full
}

// Stats returns the state of the queue, and how many messages were dropped so
// far.
func (s *Subscriber) Stats() SubscriberStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := SubscriberStats{Dropped: s.dropped}
	if q := s.queue; q != nil {
		st.Queued, st.QueuedBytes = q.len(), q.bytes
	}
	return st
}

// end makes err the reason why s is a subscriber no more, unless there is one.
func (s *Subscriber) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(err)
}

func (s *Subscriber) endLocked(err error) bool {
	if s.err != nil {
		return false
	}
	s.err = err
	s.hub.subscribers.Add(-1)
	return true
}

// leaveTopics ends all subscriptions. There are no new ones, because err is
// set.
func (s *Subscriber) leaveTopics() {
	for {
		s.mu.Lock()
		if len(s.topics) == 0 {
			s.topics, s.byTopic = nil, nil
			s.mu.Unlock()
			if p := s.hub.presence; p != nil {
				p.forget(s)
			}
			return
		}
		t := s.topics[len(s.topics)-1].topic
		s.mu.Unlock()
		if t.lock() { // a topic that is gone has no subscribers: the next look does not find it
			t.dropLocked(s)
			t.unlock()
		}
	}
}

// admit is the subscriber's part of [topic.addLocked]: the caller has locked t.
func (s *Subscriber) admit(t *topic, b *beginning, missed []*message) error {
	if b != nil && b.from.Greet != nil {
		greeted, err := s.greet(b, missed)
		if err != nil {
			return err
		}
		missed = greeted
	}
	s.mu.Lock()
	err := s.admitLocked(t, missed)
	s.mu.Unlock()
	return err
}

func (s *Subscriber) admitLocked(t *topic, missed []*message) error {
	if s.err != nil {
		return s.err
	}
	if s.findLocked(t) >= 0 {
		return ErrSubscribed
	}
	if len(missed) > 0 {
		if err := s.queueLocked().replay(missed); err != nil {
			return err
		}
		s.wakeFlusherLocked()
	}
	s.topics = append(s.topics, membership{t, len(t.subs)})
	switch n := len(s.topics); {
	case s.byTopic != nil:
		s.byTopic[t] = n - 1
	case n > manyTopics:
		s.byTopic = make(map[*topic]int, 2*n)
		for i, m := range s.topics {
			s.byTopic[m.topic] = i
		}
	}
	return nil
}

// greet puts the message of Greet before missed.
//
// It is not inlined, to keep the frame of admit small.
//
//go:noinline
func (s *Subscriber) greet(b *beginning, missed []*message) ([]*message, error) {
	typ, data, err := s.hub.callGreet(b)
	if err != nil || data == nil {
		return missed, err
	}
	greeting, err := newMessage(typ, data)
	if err != nil {
		return nil, err
	}
	return append([]*message{greeting}, missed...), nil
}

// forget takes t out of the topics of s, and returns where t has it, or -1.
// The caller has locked t.
func (s *Subscriber) forget(t *topic) int {
	s.mu.Lock()
	index := s.forgetLocked(t)
	s.mu.Unlock()
	return index
}

func (s *Subscriber) forgetLocked(t *topic) int {
	i := s.findLocked(t)
	if i < 0 {
		return -1
	}
	index, last := s.topics[i].index, len(s.topics)-1
	s.topics[i] = s.topics[last]
	s.topics[last] = membership{}
	s.topics = s.topics[:last]
	if s.byTopic != nil {
		delete(s.byTopic, t)
		if i < last {
			s.byTopic[s.topics[i].topic] = i
		}
	}
	return index
}

// moved notes where t has s now. The caller has locked t.
func (s *Subscriber) moved(t *topic, index int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.findLocked(t); i >= 0 {
		s.topics[i].index = index
	}
}
