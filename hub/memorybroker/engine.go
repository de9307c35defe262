// Package memorybroker connects the hubs of one process through an engine in
// memory. It serves demonstrations that need no server, and tests of programs
// with more than one hub.
package memorybroker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket/hub"
)

// An Engine gives positions, keeps histories, and counts a message that is
// published again under its id once, for two minutes. A program can stop and
// start it, to see what the loss of an engine does. All methods may be called
// by any number of goroutines at the same time.
type Engine struct {
	mu      sync.Mutex
	stopped bool
	brokers []*broker
	topics  map[string]*topic // that have a history
	epoch   uint64
	ids     []seenID       // of messages, in the order of their times
	seen    map[idKey]bool // those of ids
}

// An idKey is the id that a publisher gave to a message.
type idKey struct{ topic, id string }

// A seenID is an id that counts once.
type seenID struct {
	idKey
	at time.Time
}

// idAge is how long an id is known.
const idAge = 2 * time.Minute

// A topic is what the engine keeps of one.
type topic struct {
	at     hub.Position // of the latest message
	kept   []hub.BrokerEvent
	bytes  int
	limits hub.History
}

// New returns an engine that runs.
func New() *Engine {
	var epoch [8]byte
	rand.Read(epoch[:]) // never fails
	return &Engine{topics: map[string]*topic{}, seen: map[idKey]bool{}, epoch: binary.LittleEndian.Uint64(epoch[:]) | 1}
}

var errStopped = errors.New("memorybroker: the engine is stopped")

// Connect returns a broker for one hub.
func (m *Engine) Connect() hub.Broker {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := &broker{engine: m, topics: map[string]bool{}, arrived: make(chan struct{}, 1)}
	m.brokers = append(m.brokers, b)
	return b
}

// Stop makes the engine fail: all brokers lose it, and it forgets all messages
// and positions.
func (m *Engine) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return
	}
	m.stopped = true
	clear(m.topics)
	clear(m.seen)
	m.ids = nil
	m.epoch++
	for _, b := range m.brokers {
		b.bring(hub.BrokerEvent{Kind: hub.BrokerLost, Err: errStopped})
	}
}

// Start brings the engine back.
func (m *Engine) Start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stopped {
		return
	}
	m.stopped = false
	for _, b := range m.brokers {
		b.bring(hub.BrokerEvent{Kind: hub.BrokerRecovered})
	}
}

// A broker is one hub's connection to an Engine. The engine's lock guards it.
type broker struct {
	engine  *Engine
	topics  map[string]bool
	events  []hub.BrokerEvent
	arrived chan struct{} // holds a token when there are events
}

func (b *broker) bring(ev hub.BrokerEvent) {
	b.events = append(b.events, ev)
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

func (b *broker) Publish(ctx context.Context, p hub.Publication) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m := b.engine
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return errStopped
	}
	if p.ID != "" && m.againLocked(idKey{p.Topic, p.ID}) {
		return nil
	}
	ev := hub.BrokerEvent{Topic: p.Topic, Payload: slices.Clone(p.Payload), Time: time.Now()}
	t := m.topics[p.Topic]
	if t == nil && p.History.Messages > 0 {
		t = &topic{at: hub.Position{Epoch: m.epoch}}
		m.topics[p.Topic] = t
	}
	if t != nil { // whether the topic has a history does not depend on who publishes
		if p.History.Messages > 0 {
			t.limits = p.History
		}
		t.at.Offset++
		ev.Position = t.at
		t.keep(ev)
	}
	for _, other := range m.brokers {
		if other.topics[p.Topic] {
			ev.Payload = slices.Clone(ev.Payload) // the hub's
			other.bring(ev)
		}
	}
	return nil
}

// againLocked reports whether a message has an id that is known, and notes the
// id.
func (m *Engine) againLocked(id idKey) bool {
	now := time.Now()
	for len(m.ids) > 0 && now.Sub(m.ids[0].at) >= idAge {
		delete(m.seen, m.ids[0].idKey)
		m.ids = m.ids[1:]
	}
	if m.seen[id] {
		return true
	}
	m.seen[id] = true
	m.ids = append(m.ids, seenID{id, now})
	return false
}

func (t *topic) keep(ev hub.BrokerEvent) {
	t.kept = append(t.kept, ev)
	t.bytes += len(ev.Payload)
	limit := t.limits.Bytes
	if limit == 0 {
		limit = 1 << 20
	}
	for len(t.kept) > t.limits.Messages || limit > 0 && t.bytes > limit && len(t.kept) > 0 {
		t.bytes -= len(t.kept[0].Payload)
		t.kept = t.kept[1:]
	}
}

// Missed implements [hub.Historian].
func (b *broker) Missed(ctx context.Context, name string, after hub.Position, limits hub.History) (hub.Backlog, error) {
	m := b.engine
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return hub.Backlog{}, errStopped
	}
	t := m.topics[name]
	if t == nil {
		return hub.Backlog{}, nil
	}
	if after.Epoch != t.at.Epoch {
		after = hub.Position{}
	}
	missed := t.kept
	for len(missed) > 0 && missed[0].Position.Offset <= after.Offset {
		missed = missed[1:]
	}
	bytes, n := 0, 0 // of the latest messages, within limits
	for n < min(len(missed), limits.Messages) {
		bytes += len(missed[len(missed)-1-n].Payload)
		if limits.Bytes > 0 && bytes > limits.Bytes {
			break
		}
		n++
	}
	missed = missed[len(missed)-n:]
	return hub.Backlog{
		Top:      t.at,
		Messages: slices.Clone(missed),
		Complete: after.Epoch != 0 && after.Offset+uint64(len(missed)) == t.at.Offset,
	}, nil
}

func (b *broker) Subscribe(ctx context.Context, topics []string) error {
	return b.set(topics, true)
}

func (b *broker) Unsubscribe(ctx context.Context, topics []string) error {
	return b.set(topics, false)
}

func (b *broker) set(topics []string, on bool) error {
	b.engine.mu.Lock()
	defer b.engine.mu.Unlock()
	for _, topic := range topics {
		if on {
			b.topics[topic] = true
		} else {
			delete(b.topics, topic)
		}
	}
	return nil
}

// Positions implements [hub.Positioner].
func (b *broker) Positions(ctx context.Context, topics []hub.KeptTopic) ([]hub.Position, error) {
	b.engine.mu.Lock()
	defer b.engine.mu.Unlock()
	positions := make([]hub.Position, len(topics))
	for i, k := range topics {
		if t := b.engine.topics[k.Topic]; t != nil {
			positions[i] = t.at
		}
	}
	return positions, nil
}

func (b *broker) Receive(ctx context.Context) (hub.BrokerEvent, error) {
	m := b.engine
	for {
		m.mu.Lock()
		if len(b.events) > 0 {
			ev := b.events[0]
			b.events = b.events[1:]
			m.mu.Unlock()
			return ev, nil
		}
		m.mu.Unlock()
		select {
		case <-b.arrived:
		case <-ctx.Done():
			// The hub is closed: nothing is to gather for it.
			m.mu.Lock()
			m.brokers = slices.DeleteFunc(m.brokers, func(other *broker) bool { return other == b })
			m.mu.Unlock()
			return hub.BrokerEvent{}, ctx.Err()
		}
	}
}
