package natsbroker

import (
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/seed70bc5565/websocket/hub"
)

const (
	// maxBacklog and maxBacklogBytes bound the messages that wait for the hub.
	maxBacklog      = 1 << 16
	maxBacklogBytes = 64 << 20
	// overhead is what a message costs in addition to its payload, about.
	overhead = 256
)

// A backlog holds the events that wait for the hub, in order. A message that
// finds it full is dropped, and BrokerMissed of its topic takes its place. One
// topic may fill half of it, so that a busy topic leaves room for the others.
// A message is always taken if none waits.
type backlog struct {
	maxMessages, maxBytes int           // immutable
	ready                 chan struct{} // holds a token when an event may be there

	mu              sync.Mutex // guards what follows
	events          []hub.BrokerEvent
	messages, bytes int
	shares          map[string]*share // of the topics that have events here
}

// A share is what one topic has in the backlog.
type share struct {
	events          int
	messages, bytes int
	missed          bool // the latest event of the topic is BrokerMissed
}

func newBacklog(maxMessages, maxBytes int) *backlog {
	return &backlog{
		maxMessages: maxMessages,
		maxBytes:    maxBytes,
		ready:       make(chan struct{}, 1),
		shares:      map[string]*share{},
	}
}

// put appends ev, or drops it. It does not wait.
func (q *backlog) put(ev hub.BrokerEvent) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case ev.Kind == hub.BrokerMissed:
		q.missedLocked(ev)
	case ev.Kind != hub.BrokerMessage:
		q.appendLocked(ev)
	case q.fullLocked(ev):
		q.missedLocked(hub.BrokerEvent{Kind: hub.BrokerMissed, Topic: ev.Topic, Err: nats.ErrSlowConsumer})
	default:
		s := q.shareLocked(ev.Topic)
		s.events++
		s.messages++
		s.bytes += size(ev)
		s.missed = false
		q.messages++
		q.bytes += size(ev)
		q.appendLocked(ev)
	}
}

func size(ev hub.BrokerEvent) int { return len(ev.Payload) + overhead }

// fullLocked reports whether there is no room for a message.
func (q *backlog) fullLocked(ev hub.BrokerEvent) bool {
	if q.messages == 0 {
		return false
	}
	var own share
	if s := q.shares[ev.Topic]; s != nil {
		own = *s
	}
	n := size(ev)
	return q.messages >= q.maxMessages || q.bytes+n > q.maxBytes ||
		own.messages > 0 && (own.messages >= q.maxMessages/2 || own.bytes+n > q.maxBytes/2)
}

// missedLocked appends ev, which is BrokerMissed, unless the latest event of
// the topic says the same. So there is one at most for each message that waits,
// and one more for each topic.
func (q *backlog) missedLocked(ev hub.BrokerEvent) {
	s := q.shareLocked(ev.Topic)
	if !s.missed {
		s.events++
		s.missed = true
		q.appendLocked(ev)
	}
}

func (q *backlog) shareLocked(topic string) *share {
	s := q.shares[topic]
	if s == nil {
		s = &share{}
		q.shares[topic] = s
	}
	return s
}

// appendLocked appends ev.
func (q *backlog) appendLocked(ev hub.BrokerEvent) {
	q.events = append(q.events, ev)
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take removes the oldest event. It reports false if there is none.
func (q *backlog) take() (hub.BrokerEvent, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.events) == 0 {
		return hub.BrokerEvent{}, false
	}
	ev := q.events[0]
	q.events[0] = hub.BrokerEvent{}
	q.events = q.events[1:]
	if len(q.events) == 0 {
		q.events = nil // what a burst took is given back
	}
	if ev.Kind != hub.BrokerMessage && ev.Kind != hub.BrokerMissed {
		return ev, true
	}
	s := q.shares[ev.Topic]
	s.events--
	if ev.Kind == hub.BrokerMessage {
		s.messages--
		s.bytes -= size(ev)
		q.messages--
		q.bytes -= size(ev)
	}
	if s.events == 0 {
		delete(q.shares, ev.Topic)
	}
	return ev, true
}
