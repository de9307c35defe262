package redisbroker

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
)

const (
	firstPause = 50 * time.Millisecond // between two attempts to connect
	maxPause   = 2 * time.Second
	// defaultSilence is how long a connection may be silent before it is sent a ping, and then once more before it is
	// given up.
	defaultSilence = 5 * time.Second
)

// run is the goroutine that receives: one session with the server after the other.
func (b *Broker) run() {
	defer close(b.done)
	pause := firstPause
	for b.ctx.Err() == nil {
		session := b.client.Subscribe(b.ctx) // connects with the first command
		wasLive, err := b.receive(session)
		session.Close()
		if b.ctx.Err() != nil {
			return
		}
		b.sessionEnded(err)
		if wasLive {
			pause = firstPause
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)): // all processes have lost the server at the same moment
		case <-b.ctx.Done():
		}
		pause = min(2*pause, maxPause)
	}
}

// sessionEnded tells the hub that the server is lost, once, and lets go who waits for it.
func (b *Broker) sessionEnded(err error) {
	b.mu.Lock()
	first := !b.lost
	b.session, b.live, b.lost = nil, false, true
	for topic := range b.topics {
		b.topics[topic] = false
	}
	b.notify()
	b.mu.Unlock()
	if first {
		b.bring(hub.BrokerEvent{Kind: hub.BrokerLost, Err: err})
	}
}

// receive asks for all topics, and then receives until the connection ends.
func (b *Broker) receive(session *redis.PubSub) (wasLive bool, err error) {
	if err := session.Ping(b.ctx); err != nil {
		return false, err
	}
	b.mu.Lock()
	b.session = session
	topics := make([]string, 0, len(b.topics))
	for topic := range b.topics {
		topics = append(topics, topic)
	}
	b.mu.Unlock()
	if b.ctx.Err() != nil {
		return false, ErrClosed // Close may not have seen the session
	}
	stop := b.watch(session)
	defer stop()
	// Somebody must read while the topics are sent: there may be many, and the server answers each.
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		b.send(session, session.Subscribe, topics)
	}()
	defer func() { session.Close(); <-sent }()

	missing := make(map[string]bool, len(topics)) // those that the server has not confirmed
	for _, topic := range topics {
		missing[topic] = true
	}
	for {
		received, err := session.Receive(b.ctx) // the pong first
		if err != nil {
			return wasLive, err
		}
		b.heard.Store(true)
		switch m := received.(type) {
		case *redis.Message:
			if topic, ok := strings.CutPrefix(m.Channel, b.channel("")); ok {
				at, payload := parsePayload(m.Payload)
				b.bring(hub.BrokerEvent{Topic: topic, Position: at, Payload: payload})
			}
		case *redis.Subscription:
			if topic, ok := strings.CutPrefix(m.Channel, b.channel("")); ok && m.Kind == "subscribe" {
				delete(missing, topic)
				if !b.confirm(topic) {
					b.send(session, session.Unsubscribe, []string{topic})
					if b.wants(topic) { // again, and what asked for it may have gone out before
						b.send(session, session.Subscribe, []string{topic})
					}
				}
			}
		}
		if !wasLive && len(missing) == 0 {
			wasLive = true
			b.sessionLives()
		}
	}
}

// confirm notes that the server knows of topic, and reports whether it should.
func (b *Broker) confirm(topic string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, wanted := b.topics[topic]
	if wanted {
		b.topics[topic] = true
		b.notify()
	}
	return wanted
}

func (b *Broker) wants(topic string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, wanted := b.topics[topic]
	return wanted
}

// sessionLives notes that the server knows of all topics again.
func (b *Broker) sessionLives() {
	b.mu.Lock()
	recovered := b.lost
	b.live, b.lost = true, false
	b.notify()
	b.mu.Unlock()
	if recovered {
		b.bring(hub.BrokerEvent{Kind: hub.BrokerRecovered})
	}
}

// watch ends a session whose connection is silent, though it was sent a ping: nothing else would notice that the
// server's machine has gone.
func (b *Broker) watch(session *redis.PubSub) (stop func()) {
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(b.silence)
		defer ticker.Stop()
		asked := false
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			switch {
			case b.heard.Swap(false):
				asked = false
			case asked || session.Ping(ctx) != nil:
				session.Close()
				return
			default:
				asked = true
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// parsePayload splits what a channel carries: the position, if there is one, a blank, and what the hub gave to
// Publish. Anything else is left to the hub, which does not know it either.
func parsePayload(s string) (hub.Position, []byte) {
	pos, payload, ok := strings.Cut(s, " ")
	if !ok {
		return hub.Position{}, nil
	}
	at, err := hub.ParsePosition(pos)
	if err != nil {
		return hub.Position{}, nil
	}
	return at, []byte(payload)
}
