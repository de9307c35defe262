package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
)

const (
	firstPause = 50 * time.Millisecond // between two attempts to connect
	maxPause   = 2 * time.Second
	// defaultSilence is how long a connection may be silent before it is sent a
	// ping, and then once more before it is given up.
	defaultSilence = 5 * time.Second
)

// ended is a context that has ended.
var ended = func() context.Context {
	ctx, end := context.WithCancel(context.Background())
	end()
	return ctx
}()

// run is the goroutine that receives: one session with the server after the
// other.
func (b *Broker) run() {
	defer close(b.done)
	pause := firstPause
	for b.ctx.Err() == nil {
		current := &session{
			pubsub: b.client.Subscribe(b.ctx), // connects with the first command
			prefix: b.channel(""),
			alive:  b.opts.Prefix + "alive:" + newEpoch(),
			once:   ended,
		}
		wasLive, err := b.receive(current)
		if !errors.Is(err, hub.ErrBrokerPanicked) { // then the client may have left it locked
			current.pubsub.Close()
		}
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

// sessionEnded tells the hub that the server is lost, once, and lets go who
// waits for it.
func (b *Broker) sessionEnded(err error) {
	b.mu.Lock()
	first := !b.lost
	b.session, b.live, b.lost = nil, false, true
	for topic := range b.topics {
		b.topics[topic] = false
	}
	b.notifyLocked()
	b.mu.Unlock()
	if first {
		b.bring(hub.BrokerEvent{Kind: hub.BrokerLost, Err: err})
	}
}

// A session is one connection that receives.
type session struct {
	pubsub *redis.PubSub // immutable
	prefix string        // immutable: of the channels of topics
	alive  string        // immutable: a channel of this session's own, see watch; empty if sharded

	// once is the context of what is done on the connection, once that is
	// there: it has ended. The client dials again by itself when a connection
	// fails, and asks for all topics; with a context that has ended it cannot.
	once    context.Context // immutable
	sharded bool            // immutable: its channels are shard channels

	heard  atomic.Bool // something came since the watch looked last
	echoed atomic.Bool // a message came on alive since the watch looked last
	deaf   atomic.Bool // the server refuses alive
	held   atomic.Bool // the reader waits for the hub
	waited atomic.Bool // the reader has waited for the hub since the watch looked last

	mu   sync.Mutex // guards what follows; held while a command is written, so that sent has the order of the answers
	sent []command  // that the server has not answered
	came uint64     // answers so far
}

// A command is one that the server answers with a line for each channel, or
// with one error.
type command struct {
	kind     int
	channels []string
	answers  int    // that came
	number   uint64 // in a cluster
}

// Kinds of commands.
const (
	subscribe = iota
	unsubscribe
)

// batch is how many topics go into one command.
const batch = 500

// send sends a command for topics. When that fails the session is over: its
// reader finds out, and the next one asks for all topics that are wanted then.
func (s *session) send(kind int, topics []string) {
	for len(topics) > 0 {
		n := min(len(topics), batch)
		channels := make([]string, n)
		for i, topic := range topics[:n] {
			channels[i] = s.prefix + topic
		}
		topics = topics[n:]
		if !s.sendChannels(kind, channels) {
			return
		}
	}
}

func (s *session) sendChannels(kind int, channels []string) bool {
	return s.sendCommand(command{kind: kind, channels: channels})
}

func (s *session) sendCommand(c command) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, c)
	write := s.pubsub.Subscribe
	switch {
	case s.sharded && c.kind == subscribe:
		write = s.pubsub.SSubscribe
	case s.sharded:
		write = s.pubsub.SUnsubscribe
	case c.kind == unsubscribe:
		write = s.pubsub.Unsubscribe
	}
	if write(s.once, c.channels...) != nil {
		s.pubsub.Close()
		return false
	}
	return true
}

// answered notes an answer to the oldest command.
func (s *session) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sent) == 0 {
		return
	}
	s.came++
	if c := &s.sent[0]; c.answers+1 < len(c.channels) {
		c.answers++
	} else {
		s.sent = s.sent[1:]
	}
}

// answer returns the oldest command, and reports whether it is about channel.
func (s *session) answer(channel string) (c command, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sent) == 0 {
		return command{}, false
	}
	return s.sent[0], s.sent[0].channels[0] == channel
}

// take takes the oldest command, which the server has answered as a whole.
func (s *session) take() (c command, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sent) == 0 {
		return command{}, false
	}
	s.came++
	c = s.sent[0]
	s.sent = s.sent[1:]
	return c, true
}

// waits reports whether a command waits for an answer, and how many have come.
func (s *session) waits() (waits bool, came uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sent) > 0, s.came
}

// receive asks for all topics, and then receives until the connection ends.
func (b *Broker) receive(s *session) (wasLive bool, err error) {
	defer caught(&err)
	if err := s.pubsub.Ping(b.ctx); err != nil {
		return false, err
	}
	b.mu.Lock()
	b.session = s
	topics := make([]string, 0, len(b.topics))
	for topic := range b.topics {
		topics = append(topics, topic)
	}
	b.mu.Unlock()
	if b.ctx.Err() != nil {
		return false, ErrClosed // Close may not have seen the session
	}
	stop := b.watch(s, func(ctx context.Context) bool {
		return !s.deaf.Load() && b.client.Eval(ctx, calling, nil, s.alive).Err() == nil
	})
	defer stop()
	// A goroutine must read while the topics are sent: there may be many, and
	// the server answers each.
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if s.sendChannels(subscribe, []string{s.alive}) {
			s.send(subscribe, topics)
		}
	}()
	defer func() { s.pubsub.Close(); <-sent }()

	missing := make(map[string]bool, len(topics)) // those that the server has not confirmed
	for _, topic := range topics {
		missing[topic] = true
	}
	for {
		received, err := s.pubsub.Receive(s.once) // the pong first
		s.heard.Store(true)
		if isForbidden(err) {
			if c, ok := s.take(); ok {
				b.refuse(s, c, err, missing)
				err = nil
			}
		}
		if err != nil {
			return wasLive, err
		}
		switch m := received.(type) {
		case *redis.Message:
			if topic, ok := strings.CutPrefix(m.Channel, s.prefix); ok {
				at, payload := parsePayload(m.Payload)
				b.bringMessage(s, hub.BrokerEvent{Topic: topic, Position: at, Payload: payload})
			} else if m.Channel == s.alive {
				s.echoed.Store(true)
			}
		case *redis.Subscription:
			s.answered()
			if topic, ok := strings.CutPrefix(m.Channel, s.prefix); ok && m.Kind == "subscribe" {
				delete(missing, topic)
				b.confirmed(s, topic)
			}
		}
		if !wasLive && len(missing) == 0 {
			wasLive = true
			b.sessionLives()
		}
	}
}

// confirmed is called when the server has subscribed s to topic.
func (b *Broker) confirmed(s *session, topic string) {
	switch {
	case !b.confirm(topic):
		s.send(unsubscribe, []string{topic})
		if b.wants(topic) { // again, and what asked for it may have gone out before
			s.send(subscribe, []string{topic})
		}
	case b.givenBack(topic):
		b.bring(hub.BrokerEvent{Kind: hub.BrokerMissed, Topic: topic})
	}
}

// bringMessage gives a message to the hub, and lets the watch know if it has to
// wait for that.
func (b *Broker) bringMessage(s *session, ev hub.BrokerEvent) {
	select {
	case b.events <- ev:
		return
	default:
	}
	s.held.Store(true)
	s.waited.Store(true)
	b.bring(ev)
	s.heard.Store(true)
	s.held.Store(false)
}

// refuse deals with a command that the server has refused as a whole: one of
// its topics is forbidden to the user. Each goes out again alone.
func (b *Broker) refuse(s *session, c command, err error, missing map[string]bool) {
	switch {
	case c.kind != subscribe:
	case len(c.channels) > 1:
		for _, channel := range c.channels {
			s.sendChannels(subscribe, []string{channel})
		}
	case c.channels[0] == s.alive:
		s.deaf.Store(true)
	default:
		topic := strings.TrimPrefix(c.channels[0], s.prefix)
		delete(missing, topic)
		err = fmt.Errorf("redisbroker: %w", err)
		b.mu.Lock()
		tell := b.forbidLocked(topic, err)
		b.mu.Unlock()
		if tell {
			b.askLater(s, topic)
			b.bring(hub.BrokerEvent{Kind: hub.BrokerFailed, Topic: topic, Err: err})
		}
	}
}

// askLater asks for a topic again that the server has refused while no
// Subscribe waited for it. The server does not say when it allows the topic.
func (b *Broker) askLater(s *session, topic string) {
	b.mu.Lock()
	b.taken[topic] = true
	b.mu.Unlock()
	time.AfterFunc(forbiddenPauses*b.silence, func() {
		b.mu.Lock()
		again := b.session == s && b.taken[topic]
		b.mu.Unlock()
		if again { // else the next session asks
			s.send(subscribe, []string{topic})
		}
	})
}

// confirm notes that the server knows of topic, and reports whether it should.
func (b *Broker) confirm(topic string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, wanted := b.topics[topic]
	if wanted {
		b.topics[topic] = true
		b.notifyLocked()
	}
	return wanted
}

// givenBack reports whether the server has refused a topic that it confirms
// now.
func (b *Broker) givenBack(topic string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.taken[topic]
	delete(b.taken, topic)
	return was
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
	b.notifyLocked()
	b.mu.Unlock()
	if recovered {
		b.bring(hub.BrokerEvent{Kind: hub.BrokerRecovered})
	}
}

// calling publishes to a channel on the server where the script runs, and not
// on its replicas. A session with a replica hears what the master publishes, as
// long as the two are connected, and is not told when they are not.
const calling = `
redis.set_repl(redis.REPL_NONE)
return redis.call('PUBLISH', ARGV[1], '')
`

// watch ends a session whose connection is silent, though it was sent a ping:
// nothing else would notice that the server's machine has gone. It also
// publishes to a channel of the session's own, through the connections that
// publish. A session that does not hear that is not where publishers are. After
// a failover it may have stayed behind. call publishes, and reports whether the
// session must hear that. A session also ends if commands wait and none is
// answered: messages may come though nothing arrives at the server.
func (b *Broker) watch(s *session, call func(context.Context) bool) (stop func()) {
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(b.silence)
		defer ticker.Stop()
		asked, called, unanswered, cameBefore := false, 0, 0, uint64(0)
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			if s.echoed.Swap(false) {
				called = 0
			}
			// A hub that is slow keeps the reader from hearing: that does not
			// concern the server. What was called may lie behind much that
			// waits.
			if s.waited.Swap(false) || s.held.Load() {
				asked, called, unanswered = false, 0, 0
				continue
			}
			waits, came := s.waits()
			if waits && came == cameBefore {
				unanswered++ // the first time, the command may be new
			} else {
				unanswered = 0
			}
			cameBefore = came
			switch {
			case called >= 2, unanswered > 2:
				s.pubsub.Close()
				return
			case s.heard.Swap(false):
				asked = false
			case asked || s.pubsub.Ping(s.once) != nil:
				s.pubsub.Close()
				return
			default:
				asked = true
			}
			callCtx, cancelCall := context.WithTimeout(ctx, b.silence)
			if b.mustHear(callCtx, call) {
				called++
			}
			cancelCall()
		}
	}()
	return func() { cancel(); <-ended }
}

// mustHear is call. A panic in it is none that the session must hear.
func (b *Broker) mustHear(ctx context.Context, call func(context.Context) bool) (must bool) {
	var err error
	defer caught(&err)
	return call(ctx)
}

// parsePayload splits what a channel carries: the position, if there is one, a
// blank, and what the hub gave to Publish. Anything else is left to the hub,
// which does not know it either.
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
