package hub

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// A MemoryEngine connects hubs within one process: for the tests of this
// package. It gives positions, and can be stopped and started to see what the
// loss of an engine does.
type MemoryEngine struct {
	mu        sync.Mutex
	stopped   bool
	brokers   []*memoryBroker
	positions map[string]Position
	epoch     uint64
}

// NewMemoryEngine returns an engine that runs.
func NewMemoryEngine() *MemoryEngine {
	return &MemoryEngine{positions: map[string]Position{}, epoch: randomEpoch()}
}

var errStopped = errors.New("hub: the memory engine is stopped")

// Connect returns a broker for one hub.
func (m *MemoryEngine) Connect() Broker {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := &memoryBroker{engine: m, topics: map[string]bool{}, arrived: make(chan struct{}, 1)}
	m.brokers = append(m.brokers, b)
	return b
}

// Stop makes the engine fail: all brokers lose it, and it forgets the positions
// of all topics.
func (m *MemoryEngine) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return
	}
	m.stopped = true
	clear(m.positions)
	m.epoch++
	for _, b := range m.brokers {
		b.bring(BrokerEvent{Kind: BrokerLost, Err: errStopped})
	}
}

// Start brings the engine back.
func (m *MemoryEngine) Start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stopped {
		return
	}
	m.stopped = false
	for _, b := range m.brokers {
		b.bring(BrokerEvent{Kind: BrokerRecovered})
	}
}

// A memoryBroker is one hub's connection to a MemoryEngine. The engine's lock
// guards it.
type memoryBroker struct {
	engine  *MemoryEngine
	topics  map[string]bool
	events  []BrokerEvent
	arrived chan struct{} // holds a token when there are events
}

func (b *memoryBroker) bring(ev BrokerEvent) {
	b.events = append(b.events, ev)
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

func (b *memoryBroker) Publish(ctx context.Context, p Publication) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m := b.engine
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return errStopped
	}
	var at Position
	if p.History.Messages > 0 {
		at = Position{Epoch: m.epoch, Offset: m.positions[p.Topic].Offset + 1}
		m.positions[p.Topic] = at
	}
	for _, other := range m.brokers {
		if other.topics[p.Topic] {
			other.bring(BrokerEvent{Topic: p.Topic, Position: at, Payload: slices.Clone(p.Payload)})
		}
	}
	return nil
}

func (b *memoryBroker) Subscribe(ctx context.Context, topics []string) error {
	return b.set(topics, true)
}

func (b *memoryBroker) Unsubscribe(ctx context.Context, topics []string) error {
	return b.set(topics, false)
}

func (b *memoryBroker) set(topics []string, on bool) error {
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

// Positions implements [Positioner].
func (b *memoryBroker) Positions(ctx context.Context, topics []KeptTopic) ([]Position, error) {
	b.engine.mu.Lock()
	defer b.engine.mu.Unlock()
	positions := make([]Position, len(topics))
	for i, topic := range topics {
		positions[i] = b.engine.positions[topic.Topic]
	}
	return positions, nil
}

func (b *memoryBroker) Receive(ctx context.Context) (BrokerEvent, error) {
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
			m.brokers = slices.DeleteFunc(m.brokers, func(other *memoryBroker) bool { return other == b })
			m.mu.Unlock()
			return BrokerEvent{}, ctx.Err()
		}
	}
}
