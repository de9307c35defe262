package hub

import (
	"context"
	"fmt"
	"sync"

	"github.com/seed70bc5565/websocket"
)

// An engine is a hub's side of its Broker. Its methods work on nil too, for a hub without one.
type engine struct {
	hub    *Hub               // immutable
	broker Broker             // immutable
	ctx    context.Context    // immutable; ends with the hub
	cancel context.CancelFunc // immutable

	mu        sync.Mutex // guards what follows; taken inside the lock of a topic
	interests map[string]*interest
	changed   []string // topics whose interest may not be as it should
	working   bool     // a goroutine tells the broker
}

// An interest is what the engine knows, and should know, of a topic.
type interest struct {
	want, have bool
	asked      *attempt // under way, or waiting for its turn; nil if the engine knows what it should
}

// An attempt is one change of an interest, from the wish to the broker's answer. Those who wait hold on to it: an
// answer that comes before they look is still there.
type attempt struct {
	done chan struct{} // closed when the broker has been told
	err  error         // the broker's; set before done is closed, immutable then
}

func startEngine(h *Hub, b Broker) *engine {
	e := &engine{hub: h, broker: b, interests: map[string]*interest{}}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	go e.receive()
	return e
}

func (e *engine) stop() { e.cancel() }

func (e *engine) publish(ctx context.Context, topic string, typ websocket.MessageType, data []byte) error {
	number := e.hub.historyOf(topic).Messages > 0
	payload := appendEnvelope(make([]byte, 0, 1+len(data)), typ, data)
	if err := e.broker.Publish(ctx, topic, payload, number); err != nil {
		return fmt.Errorf("hub: publish: %w", err)
	}
	return nil
}

// receive is the goroutine that takes what the engine brings.
func (e *engine) receive() {
	for {
		ev, err := e.broker.Receive(e.ctx)
		if e.ctx.Err() != nil {
			return
		}
		if err != nil { // the broker was closed
			e.lose(BrokerEvent{Kind: BrokerLost, Err: err})
			return
		}
		switch ev.Kind {
		case BrokerMessage:
			typ, data, err := parseEnvelope(ev.Payload)
			if err != nil {
				e.hub.invalid.Add(1)
				continue
			}
			e.hub.deliver(ev.Topic, typ, data, ev.Position)
		case BrokerLost, BrokerRecovered:
			e.lose(ev)
		}
	}
}

// lose deals with messages that may be lost, and tells the application.
func (e *engine) lose(ev BrokerEvent) {
	for _, t := range e.hub.all() {
		if t.lock() {
			t.gap()
			t.unlock()
		}
	}
	if f := e.hub.opts.OnBroker; f != nil {
		f(ev)
	}
}

// interested says that the topic, which is locked, wants to hear from the engine. It returns what to wait for; nil if
// the engine knows already.
func (e *engine) interested(t *topic) *attempt { return e.change(t.name, true) }

// uninterested says the opposite.
func (e *engine) uninterested(t *topic) { e.change(t.name, false) }

func (e *engine) change(name string, want bool) *attempt {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	i := e.interests[name]
	if i == nil {
		if !want {
			return nil
		}
		i = &interest{}
		e.interests[name] = i
	}
	i.want = want
	if i.want == i.have && i.asked == nil {
		return nil
	}
	if i.asked == nil {
		i.asked = &attempt{done: make(chan struct{})}
		e.changed = append(e.changed, name)
	}
	if !e.working {
		e.working = true
		go e.work()
	}
	return i.asked
}

// settle waits until the broker has answered all attempts, and returns its first error.
func (e *engine) settle(ctx context.Context, attempts []*attempt) error {
	for _, a := range attempts {
		select {
		case <-a.done:
		case <-ctx.Done():
			return ctx.Err()
		case <-e.ctx.Done():
			return ErrClosed
		}
		if a.err != nil {
			return a.err
		}
	}
	return nil
}

// work tells the broker what has changed, in batches: what comes while one is under way goes with the next. It ends
// when there is nothing to tell.
func (e *engine) work() {
	for {
		e.mu.Lock()
		names := e.changed
		e.changed = nil
		if len(names) == 0 || e.ctx.Err() != nil {
			e.working = false
			e.mu.Unlock()
			return
		}
		var on, off []string
		for _, name := range names {
			switch i := e.interests[name]; {
			case i.want && !i.have:
				on = append(on, name)
			case !i.want && i.have:
				off = append(off, name)
			}
		}
		e.mu.Unlock()

		var onErr error
		if len(on) > 0 {
			onErr = e.broker.Subscribe(e.ctx, on)
		}
		if onErr == nil {
			e.position(on)
		}
		if len(off) > 0 {
			e.broker.Unsubscribe(e.ctx, off) // what comes all the same finds no topic
		}

		e.mu.Lock()
		for _, name := range on {
			i := e.interests[name]
			i.have, i.asked.err = onErr == nil, onErr
		}
		for _, name := range off {
			e.interests[name].have = false
		}
		for _, name := range names {
			i := e.interests[name]
			if i.want != i.have && i.asked.err == nil { // it has changed again
				e.changed = append(e.changed, name)
				continue
			}
			close(i.asked.done)
			i.asked = nil
			if !i.have {
				delete(e.interests, name)
			}
		}
		e.mu.Unlock()
	}
}

// position asks where topics are that were just subscribed to. It may fail: then the next message tells.
func (e *engine) position(names []string) {
	b, ok := e.broker.(Positioner)
	if !ok {
		return
	}
	var kept []string
	for _, name := range names {
		if e.hub.historyOf(name).Messages > 0 {
			kept = append(kept, name)
		}
	}
	if len(kept) == 0 {
		return
	}
	positions, err := b.Positions(e.ctx, kept)
	if err != nil || len(positions) != len(kept) {
		return
	}
	for i, name := range kept {
		if t := e.hub.find(name); t != nil {
			t.begin(positions[i])
			t.unlock()
		}
	}
}
