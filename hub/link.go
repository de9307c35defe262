package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A link is the hub's side of its Broker. Its methods work on nil, too: a hub
// without a Broker has no link.
type link struct {
	hub    *Hub               // immutable
	broker *guard             // immutable
	reads  chan struct{}      // holds a token for each read of the engine that is under way
	ctx    context.Context    // immutable; ends with the hub
	cancel context.CancelFunc // immutable

	mu        sync.Mutex // guards what follows; taken inside the lock of a topic
	interests map[string]*interest
	changed   []string      // topics whose interest may not be as it should
	working   bool          // a goroutine tells the broker
	recovered chan struct{} // tells compareAll that the engine is back
	untold    []BrokerEvent // events to tell OnBroker
	telling   bool          // a goroutine tells it
}

// An interest is what the engine knows, and should know, of a topic.
type interest struct {
	want, have bool
	asked      *attempt // under way, or waiting for its turn; nil if the engine knows what it should
}

// An attempt is one change of an interest, from the wish to the broker's
// answer. Those who wait hold on to it: an answer that comes before they look
// is still there.
type attempt struct {
	done chan struct{} // closed when the broker has been told
	err  error         // the broker's; set before done is closed, immutable then
}

func startLink(h *Hub, b Broker) *link {
	l := &link{hub: h, broker: newGuard(b), interests: map[string]*interest{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.reads, l.recovered = make(chan struct{}, maxReads), make(chan struct{}, 1)
	if h.presence != nil {
		h.presence.gossip = startGossip(h.presence, l)
		go h.presence.gossip.run()
	}
	go l.receive()
	if l.broker.positioner != nil {
		go l.compareAll()
	}
	return l
}

func (l *link) stop() { l.cancel() }

func (l *link) publish(ctx context.Context, topic, id string, typ websocket.MessageType, data []byte) error {
	kept, err := l.hub.historyOf(topic)
	if err != nil {
		return err
	}
	payload := appendEnvelope(make([]byte, 0, 1+len(data)), typ, data)
	if err := l.broker.Publish(ctx, Publication{Topic: topic, ID: id, Payload: payload, History: kept}); err != nil {
		return fmt.Errorf("hub: publish: %w", err)
	}
	return nil
}

// panicPause is how long the hub does not call Receive after a panic in it.
const panicPause = 100 * time.Millisecond

// receive is the goroutine that takes what the engine brings.
func (l *link) receive() {
	for {
		ev, err := l.broker.Receive(l.ctx)
		if l.ctx.Err() != nil {
			return
		}
		if errors.Is(err, ErrBrokerPanicked) { // an event may be lost
			l.lose(BrokerEvent{Kind: BrokerFailed, Err: err})
			l.compareSoon()
			select {
			case <-time.After(panicPause):
			case <-l.ctx.Done():
			}
			continue
		}
		if err != nil { // the broker was closed
			l.lose(BrokerEvent{Kind: BrokerLost, Err: err})
			return
		}
		switch ev.Kind {
		case BrokerMessage:
			l.deliver(ev)
		case BrokerMissed:
			if t := l.hub.find(ev.Topic); t != nil {
				t.gapLocked()
				t.catchUpLocked()
				t.unlock()
			}
			l.tell(ev)
		case BrokerFailed:
			l.tell(ev)
		case BrokerLost, BrokerRecovered:
			l.lose(ev)
			if p := l.hub.presence; p != nil {
				p.gossip.engine(ev.Kind == BrokerLost)
			}
			if ev.Kind == BrokerRecovered {
				l.compareSoon()
			}
		}
	}
}

// tellPanic tells the application of an error that is told only if it is that
// of a panic.
func (l *link) tellPanic(err error) {
	if errors.Is(err, ErrBrokerPanicked) {
		l.tell(BrokerEvent{Kind: BrokerFailed, Err: err})
	}
}

// deliver puts a message into the queues of the topic's subscribers in this
// process.
func (l *link) deliver(ev BrokerEvent) {
	if reserved(ev.Topic) != nil {
		if p := l.hub.presence; p != nil {
			p.gossip.receive(ev.Payload)
		}
		return
	}
	t := l.hub.find(ev.Topic)
	if t == nil {
		return // no subscriber is there any more
	}
	defer t.unlock()
	t.report(t.arriveLocked(ev, time.Now()), ev.Position)
}

// lose deals with messages that may be lost, and tells the application.
func (l *link) lose(ev BrokerEvent) {
	for _, t := range l.hub.all() {
		if t.lock() {
			t.gapLocked()
			t.unlock()
		}
	}
	l.tell(ev)
}

// maxUntold bounds the failures that wait for OnBroker. They are counted all
// the same.
const maxUntold = 64

// tell tells the application of an event. It does not wait for it: OnBroker may
// do what waits for the engine.
func (l *link) tell(ev BrokerEvent) {
	if l.hub.opts.OnBroker == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.untold) >= maxUntold && (ev.Kind == BrokerFailed || ev.Kind == BrokerMissed) {
		return
	}
	l.untold = append(l.untold, ev)
	if !l.telling {
		l.telling = true
		go l.tellAll()
	}
}

// tellAll is the goroutine that calls OnBroker. It ends when there is nothing
// to tell.
func (l *link) tellAll() {
	for {
		l.mu.Lock()
		if len(l.untold) == 0 {
			l.telling, l.untold = false, nil
			l.mu.Unlock()
			return
		}
		ev := l.untold[0]
		l.untold = l.untold[1:]
		l.mu.Unlock()
		l.hub.callOnBroker(ev)
	}
}

// interested says that the topic wants to hear from the engine. It returns what
// to wait for, or nil if the engine knows already. The caller has locked t.
func (l *link) interested(t *topic) *attempt { return l.change(t.name, true) }

// uninterested says the opposite.
func (l *link) uninterested(t *topic) { l.change(t.name, false) }

func (l *link) change(name string, want bool) *attempt {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.interests[name]
	if i == nil {
		if !want {
			return nil
		}
		i = &interest{}
		l.interests[name] = i
	}
	i.want = want
	if i.want == i.have && i.asked == nil {
		return nil
	}
	if i.asked == nil {
		i.asked = &attempt{done: make(chan struct{})}
		l.changed = append(l.changed, name)
	}
	if !l.working {
		l.working = true
		go l.work()
	}
	return i.asked
}

// settle waits until the broker has answered all attempts, and returns its
// first error.
func (l *link) settle(ctx context.Context, attempts []*attempt) error {
	for _, a := range attempts {
		select {
		case <-a.done:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ctx.Done():
			return ErrClosed
		}
		if a.err != nil {
			return a.err
		}
	}
	return nil
}

// work tells the broker what has changed, in batches: what comes while one is
// under way goes with the next. It ends when there is nothing to tell.
func (l *link) work() {
	for {
		l.mu.Lock()
		names := l.changed
		l.changed = nil
		if len(names) == 0 || l.ctx.Err() != nil {
			l.working = false
			l.mu.Unlock()
			return
		}
		var on, off []string
		for _, name := range names {
			switch i := l.interests[name]; {
			case i.want && !i.have:
				on = append(on, name)
			case !i.want && i.have:
				off = append(off, name)
			}
		}
		l.mu.Unlock()

		refused := l.subscribe(on)
		if len(off) > 0 {
			l.tellPanic(l.broker.Unsubscribe(l.ctx, off)) // what comes all the same finds no topic
		}

		l.mu.Lock()
		for _, name := range on {
			i := l.interests[name]
			i.asked.err = refused[name]
			i.have = i.asked.err == nil
		}
		for _, name := range off {
			l.interests[name].have = false
		}
		for _, name := range names {
			i := l.interests[name]
			if i.want != i.have && i.asked.err == nil { // it has changed again
				l.changed = append(l.changed, name)
				continue
			}
			close(i.asked.done)
			i.asked = nil
			if !i.have {
				delete(l.interests, name)
			}
		}
		l.mu.Unlock()
	}
}

// subscribe asks the broker for topics, and where they are. It returns the
// topics that were refused.
func (l *link) subscribe(names []string) TopicErrors {
	if len(names) == 0 {
		return nil
	}
	err := l.broker.Subscribe(l.ctx, names)
	var refused TopicErrors
	if err != nil && !errors.As(err, &refused) {
		refused = TopicErrors{}
		for _, name := range names {
			refused[name] = err
		}
		return refused
	}
	l.position(names)
	return refused
}

// position asks where topics are that were just subscribed to. It may fail:
// then the next message tells.
func (l *link) position(names []string) {
	if l.broker.positioner == nil {
		return
	}
	var kept []KeptTopic
	for _, name := range names {
		if t := l.hub.find(name); t != nil {
			if t.hist != nil {
				kept = append(kept, KeptTopic{name, t.hist.limits})
			}
			t.unlock()
		}
	}
	if len(kept) == 0 {
		return
	}
	positions, refused, err := l.positions(l.ctx, kept)
	if err != nil {
		return
	}
	for i, k := range kept {
		if refused[k.Topic] != nil {
			continue
		}
		if t := l.hub.find(k.Topic); t != nil {
			t.beginLocked(positions[i])
			t.unlock()
		}
	}
}
