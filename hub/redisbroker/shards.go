package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
)

// In a Redis Cluster the channel of a topic is a shard channel. It belongs to
// the node that has the slot of the topic's keys. A process has one session
// with each such node, however many topics are there.
//
// A topic is placed: its node is asked for it. It is placed again when its
// session ends, and when the node says that the slot is elsewhere. The node
// says so in answer to a command, or ends the subscription when the slot moves.

// shards are the sessions of a Broker with the nodes of a cluster. The Broker's
// mu guards what is not immutable, and is the lock of methods whose names end
// in Locked.
type shards struct {
	cluster *redis.ClusterClient // immutable
	wake    chan struct{}        // holds a token if place has something to do
	running sync.WaitGroup       // goroutines of sessions

	nodes    map[string]*shard    // by address
	placed   map[string]*shard    // of topics
	unplaced map[string]time.Time // topics that no node has been asked for, and when to ask
	pending  map[string]bool      // topics that no node has confirmed: all that are unplaced, and more
	missed   map[string]bool      // topics whose subscription has moved: messages may have been lost
	pause    time.Duration        // before a topic is placed again
	commands uint64               // that were given to sessions
	why      error                // why the server was lost, if the hub has not been told
	answered bool                 // a node has confirmed a topic since then
}

// A shard is the session with one node.
type shard struct {
	session
	addr   string            // immutable
	topics map[string]uint64 // that are placed here, and the command that asked for each; the Broker's mu guards it
	apart  bool              // the node says that it is not with the majority of the cluster; the Broker's mu guards it
	ready  chan struct{}     // holds a token if queue has something

	queueMu sync.Mutex // guards what follows; taken inside the Broker's mu
	queue   []command  // to be sent
	called  string     // the channel of this session's own; empty: none yet
	calls   bool       // the node has confirmed it
}

// forbiddenPauses is how long a topic that a server has refused, while no
// Subscribe waits for it, is not asked for: 30 s, as so many times the silence.
const forbiddenPauses = 6

func newShards(cluster *redis.ClusterClient) *shards {
	return &shards{
		cluster:  cluster,
		wake:     make(chan struct{}, 1),
		nodes:    map[string]*shard{},
		placed:   map[string]*shard{},
		unplaced: map[string]time.Time{},
		pending:  map[string]bool{},
		missed:   map[string]bool{},
		pause:    firstPause,
	}
}

// rouse lets place look again.
func (sh *shards) rouse() {
	select {
	case sh.wake <- struct{}{}:
	default:
	}
}

// enqueueLocked gives the writer of a session a command. It returns its number.
func (sh *shards) enqueueLocked(s *shard, kind int, channel string) uint64 {
	sh.commands++
	s.queueMu.Lock()
	s.queue = append(s.queue, command{kind: kind, channels: []string{channel}, number: sh.commands})
	s.queueMu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default:
	}
	return sh.commands
}

// wantLocked notes that the hub wants a topic.
func (sh *shards) wantLocked(topic string) {
	sh.pending[topic] = true
	if sh.placed[topic] == nil {
		sh.unplaced[topic] = time.Time{}
	}
}

// leaveLocked ends the place of a topic.
func (b *Broker) leaveLocked(topic string) {
	sh := b.shards
	if s := sh.placed[topic]; s != nil {
		sh.enqueueLocked(s, unsubscribe, b.channel(topic)) // the node may have it though it said otherwise
		delete(s.topics, topic)
	}
	delete(sh.placed, topic)
	delete(sh.unplaced, topic)
	delete(sh.pending, topic)
}

// unwantLocked notes that the hub does not want a topic any more.
func (b *Broker) unwantLocked(topic string) {
	b.leaveLocked(topic)
	delete(b.shards.missed, topic)
}

// misplacedLocked notes that a topic has to be placed again, after a pause.
func (b *Broker) misplacedLocked(topic string, pause time.Duration) {
	b.leaveLocked(topic)
	b.topics[topic] = false
	b.shards.pending[topic] = true
	b.shards.unplaced[topic] = time.Now().Add(pause)
	b.shards.rouse()
}

// loseLocked notes that messages are being lost, and lets go who waits.
func (b *Broker) loseLocked(err error) {
	if !b.lost {
		b.lost, b.shards.why, b.shards.answered = true, err, false
		b.notifyLocked()
	}
	b.shards.rouse()
}

// runShards is the goroutine that places topics, and tells the hub that the
// server is lost, and recovered.
func (b *Broker) runShards() {
	defer close(b.done)
	defer b.shards.running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.shards.wake:
		case <-timer.C:
		case <-b.ctx.Done():
			b.mu.Lock()
			nodes := slices.Collect(maps.Values(b.shards.nodes))
			b.mu.Unlock()
			for _, s := range nodes {
				s.pubsub.Close()
			}
			return
		}
		if next := b.place(); !next.IsZero() {
			timer.Reset(max(time.Until(next), time.Millisecond))
		}
	}
}

// place asks nodes for the topics whose time has come. It tells the hub that
// the server is lost, or recovered. It returns when the next one's time comes.
func (b *Broker) place() (next time.Time) {
	now := time.Now()
	t := b.takeTurn(now)
	if t.why != nil {
		b.bring(hub.BrokerEvent{Kind: hub.BrokerLost, Err: t.why})
	}
	for _, s := range t.apart {
		b.askAgain(s)
	}
	answers := t.asks && b.ping() == nil
	if t.asks && !answers || len(t.apart) > 0 {
		t.next = now.Add(maxPause)
	}
	b.recoverIf(answers)
	b.placeAll(t.topics)
	return t.next
}

// A turn is what place has to do.
type turn struct {
	why    error     // why the server was lost, if the hub has to be told
	asks   bool      // any node has to be asked whether it is there: the hub wants no topic that tells
	apart  []*shard  // sessions whose nodes have to be asked whether they are with the majority again
	topics []string  // to be placed
	next   time.Time // when the next topic has its time; zero: there is none
}

// takeTurn returns what place has to do.
func (b *Broker) takeTurn(now time.Time) (t turn) {
	sh := b.shards
	b.mu.Lock()
	defer b.mu.Unlock()
	t.why = sh.why
	sh.why = nil
	again := false
	for topic, at := range sh.unplaced {
		if at.After(now) {
			if t.next.IsZero() || at.Before(t.next) {
				t.next = at
			}
			continue
		}
		again = again || !at.IsZero()
		t.topics = append(t.topics, topic)
	}
	if len(sh.pending) == 0 {
		sh.pause = firstPause
	} else if again {
		sh.pause = min(2*sh.pause, maxPause)
	}
	t.apart = sh.apartLocked()
	t.asks = b.lost && len(sh.pending) == 0 && !sh.answered
	return t
}

// apartLocked returns the sessions that have topics at a node which is not with
// the majority.
func (sh *shards) apartLocked() (apart []*shard) {
	for _, s := range sh.nodes {
		if s.apart && len(s.topics) > 0 {
			apart = append(apart, s)
		}
	}
	return apart
}

// recoverIf tells the hub that the server is back, if all topics are confirmed
// by nodes that are with the majority. A node must have answered: answers says
// that one has.
func (b *Broker) recoverIf(answers bool) {
	sh := b.shards
	b.mu.Lock()
	recovered := b.lost && len(sh.pending) == 0 && (sh.answered || answers) && len(sh.apartLocked()) == 0
	if recovered {
		b.lost = false
		b.notifyLocked()
	}
	b.mu.Unlock()
	if recovered {
		b.bring(hub.BrokerEvent{Kind: hub.BrokerRecovered})
	}
}

// placeAll asks nodes for topics.
func (b *Broker) placeAll(topics []string) {
	sh := b.shards
	places := make(map[string]*redis.Client, len(topics))
	var err error
	for _, topic := range topics {
		if places[topic], err = b.nodeOf(topic); err != nil {
			break
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for topic, node := range places {
		if _, ok := sh.unplaced[topic]; !ok {
			continue // it is not wanted any more
		}
		if err == nil {
			b.placeAtLocked(topic, node)
			continue
		}
		b.loseLocked(fmt.Errorf("redisbroker: %w", err))
		for topic := range sh.unplaced {
			sh.unplaced[topic] = time.Now().Add(sh.pause)
		}
		break
	}
}

// ping asks any node whether it is there.
func (b *Broker) ping() (err error) {
	defer caught(&err)
	ctx, cancel := context.WithTimeout(b.ctx, b.silence)
	defer cancel()
	return b.shards.cluster.Ping(ctx).Err()
}

// nodeOf returns the client of the node that has a topic, as far as the
// cluster's client knows.
func (b *Broker) nodeOf(topic string) (node *redis.Client, err error) {
	defer caught(&err)
	ctx, cancel := context.WithTimeout(b.ctx, b.silence)
	defer cancel()
	return b.shards.cluster.MasterForKey(ctx, b.channel(topic))
}

// placeAtLocked asks a node for a topic.
func (b *Broker) placeAtLocked(topic string, node *redis.Client) {
	sh := b.shards
	if b.ctx.Err() != nil {
		return
	}
	addr := node.Options().Addr
	s := sh.nodes[addr]
	if s == nil {
		s = &shard{
			session: session{pubsub: node.SSubscribe(b.ctx), once: ended, sharded: true}, // connects with the first command
			addr:    addr,
			topics:  map[string]uint64{},
			ready:   make(chan struct{}, 1),
		}
		sh.nodes[addr] = s
		sh.running.Go(func() { b.runShard(s) })
	}
	delete(sh.unplaced, topic)
	sh.placed[topic] = s
	s.topics[topic] = sh.enqueueLocked(s, subscribe, b.channel(topic))
}

// runShard is the goroutine that receives from one node.
func (b *Broker) runShard(s *shard) {
	err := b.receiveShard(s)
	if !errors.Is(err, hub.ErrBrokerPanicked) { // then the client may have left it locked
		s.pubsub.Close()
	}
	if b.ctx.Err() != nil {
		return
	}
	sh := b.shards
	sh.cluster.ReloadState(b.ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if sh.nodes[s.addr] == s {
		delete(sh.nodes, s.addr)
	}
	if len(s.topics) == 0 {
		return // it had nothing to do
	}
	b.loseLocked(fmt.Errorf("redisbroker: node %s: %w", s.addr, err))
	for topic := range s.topics {
		b.misplacedLocked(topic, sh.pause)
	}
}

// receiveShard receives until the connection ends.
func (b *Broker) receiveShard(s *shard) (err error) {
	defer caught(&err)
	ctx, cancel := context.WithTimeout(b.ctx, b.silence)
	err = s.pubsub.Ping(ctx)
	cancel()
	if err != nil {
		return err
	}
	if _, err := s.pubsub.ReceiveTimeout(b.ctx, b.silence); err != nil { // the pong
		return err
	}
	stop := b.watch(&s.session, func(ctx context.Context) bool { return b.callShard(ctx, s) })
	defer stop()
	writing, stopWriting := context.WithCancel(b.ctx)
	written := make(chan struct{})
	go func() { defer close(written); s.write(writing) }()
	defer func() { stopWriting(); s.pubsub.Close(); <-written }()
	for {
		received, err := s.pubsub.Receive(s.once)
		s.heard.Store(true)
		if reply := redis.Error(nil); errors.As(err, &reply) {
			if c, ok := s.take(); ok {
				b.refuseAt(s, c, err)
				continue
			}
		}
		if err != nil {
			return err
		}
		switch m := received.(type) {
		case *redis.Message:
			if topic, ok := b.topicOf(m.Channel); ok {
				if b.isAt(s, topic) {
					at, payload := parsePayload(m.Payload)
					b.bringMessage(&s.session, hub.BrokerEvent{Topic: topic, Position: at, Payload: payload})
				}
			} else {
				s.echoed.Store(true)
			}
		case *redis.Subscription:
			switch c, answers := s.answer(m.Channel); {
			case m.Kind == "ssubscribe" && answers && c.kind == subscribe:
				s.take()
				b.confirmAt(s, c)
			case m.Kind == "ssubscribe":
				return errReply // what follows would be taken for what it is not
			case answers && c.kind == unsubscribe:
				s.take()
			default:
				b.movedAway(s, m.Channel)
			}
		}
	}
}

// write is the goroutine that sends the commands of a session.
func (s *shard) write(ctx context.Context) {
	for {
		select {
		case <-s.ready:
		case <-ctx.Done():
			return
		}
		s.queueMu.Lock()
		queue := s.queue
		s.queue = nil
		s.queueMu.Unlock()
		for _, c := range queue {
			if !s.sendCommand(c) {
				return
			}
		}
	}
}

// isAt reports whether a node has confirmed the subscription to a topic. A
// message that comes before that is of an earlier subscription.
func (b *Broker) isAt(s *shard, topic string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shards.placed[topic] == s && b.topics[topic]
}

// confirmAt notes that a node has confirmed a command to subscribe.
func (b *Broker) confirmAt(s *shard, c command) {
	topic, ok := b.topicOf(c.channels[0])
	if !ok {
		s.queueMu.Lock()
		s.calls = s.called == c.channels[0]
		s.queueMu.Unlock()
		return
	}
	sh := b.shards
	b.mu.Lock()
	if sh.placed[topic] != s || s.topics[topic] != c.number { // commands behind it decide
		b.mu.Unlock()
		return
	}
	b.topics[topic], sh.answered = true, true
	missed := sh.missed[topic]
	delete(sh.missed, topic)
	delete(sh.pending, topic)
	if len(sh.pending) == 0 {
		sh.rouse()
	}
	b.notifyLocked()
	b.mu.Unlock()
	if missed {
		b.bring(hub.BrokerEvent{Kind: hub.BrokerMissed, Topic: topic})
	}
}

// movedAway notes that a node has ended a subscription by itself: the slot of
// the topic is elsewhere now.
func (b *Broker) movedAway(s *shard, channel string) {
	topic, ok := b.topicOf(channel)
	if !ok {
		s.forgetCalled(channel)
		return
	}
	sh := b.shards
	sh.cluster.ReloadState(b.ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if sh.placed[topic] == s {
		sh.missed[topic] = true
		b.misplacedLocked(topic, firstPause/4) // the client learns of the slot meanwhile
	}
}

// refuseAt deals with a command that a node has answered with an error.
func (b *Broker) refuseAt(s *shard, c command, err error) {
	if c.kind != subscribe {
		return
	}
	topic, ok := b.topicOf(c.channels[0])
	if !ok {
		s.deaf.Store(isForbidden(err))
		s.forgetCalled(c.channels[0])
		return
	}
	sh := b.shards
	b.mu.Lock()
	if sh.placed[topic] != s || s.topics[topic] != c.number {
		b.mu.Unlock()
		return
	}
	if isForbidden(err) {
		err = fmt.Errorf("redisbroker: %w", err)
		b.unwantLocked(topic)
		tell := b.forbidLocked(topic, err)
		if tell {
			sh.unplaced[topic], sh.missed[topic] = time.Now().Add(forbiddenPauses*b.silence), true
		}
		sh.rouse() // it may have been the last
		b.mu.Unlock()
		if tell {
			b.bring(hub.BrokerEvent{Kind: hub.BrokerFailed, Topic: topic, Err: err})
		}
		return
	}
	defer b.mu.Unlock()
	sh.cluster.ReloadState(b.ctx)
	if _, moved := redis.IsMovedError(err); !moved || sh.pause > time.Second {
		b.loseLocked(fmt.Errorf("redisbroker: node %s: %w", s.addr, err))
	}
	b.misplacedLocked(topic, sh.pause)
}

func (s *shard) forgetCalled(channel string) {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	if s.called == channel {
		s.called, s.calls = "", false
	}
}

// callShard is the call of a session with a node: see watch. The channel of its
// own is in the slot of one of the session's topics. A session without topics
// ends. The slot may be elsewhere although the node has not said so: it may
// have become a replica. Then the topics of the session are placed again.
func (b *Broker) callShard(ctx context.Context, s *shard) bool {
	sh := b.shards
	b.mu.Lock()
	if len(s.topics) == 0 {
		delete(sh.nodes, s.addr) // no topic can come any more
		b.mu.Unlock()
		s.pubsub.Close()
		return false
	}
	s.queueMu.Lock()
	called, calls := s.called, s.calls
	s.queueMu.Unlock()
	if called == "" && !s.deaf.Load() {
		for topic := range s.topics {
			called = b.opts.Prefix + "alive:" + tagOf(topic) + newEpoch()
			break
		}
		s.queueMu.Lock()
		s.called = called
		s.queueMu.Unlock()
		sh.enqueueLocked(s, subscribe, called) // what is called before the answer counts for nothing
	}
	b.mu.Unlock()
	if !calls {
		return false
	}
	return b.stands(ctx, s, called) && sh.cluster.SPublish(ctx, called, "").Err() == nil
}

// stands reports whether the client takes the node of a session for that of a
// channel. Else the topics of the session are placed again. The hub is told if
// the node is not with the majority. The others may have promoted its replica.
// It cannot know that, ends no subscription, and takes SPUBLISH. The client may
// have asked this very node for the slots, so it asks again.
func (b *Broker) stands(ctx context.Context, s *shard, channel string) bool {
	sh := b.shards
	node, err := sh.cluster.MasterForKey(ctx, channel)
	if err != nil {
		return false
	}
	if node.Options().Addr != s.addr {
		b.moveAll(s)
		return false
	}
	info, err := node.ClusterInfo(ctx).Result()
	if err != nil {
		return true // the user may not ask
	}
	apart := !strings.Contains(info, "cluster_state:ok")
	if apart {
		sh.cluster.ReloadState(b.ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case apart && !s.apart:
		b.loseLocked(fmt.Errorf("redisbroker: node %s: %w", s.addr, errApart))
	case s.apart && !apart:
		sh.rouse() // perhaps the server is back
	}
	s.apart = apart
	return true
}

var errApart = errors.New("it says that the cluster is down")

// askAgain is stands for a session whose node was not with the majority.
func (b *Broker) askAgain(s *shard) (err error) {
	defer caught(&err)
	ctx, cancel := context.WithTimeout(b.ctx, b.silence)
	defer cancel()
	b.mu.Lock()
	channel := ""
	for topic := range s.topics {
		channel = b.channel(topic)
		break
	}
	b.mu.Unlock()
	if channel != "" {
		b.stands(ctx, s, channel)
	}
	return nil
}

// moveAll places those topics of a session again whose slots are elsewhere.
func (b *Broker) moveAll(s *shard) {
	sh := b.shards
	b.mu.Lock()
	topics := make([]string, 0, len(s.topics))
	for topic := range s.topics {
		topics = append(topics, topic)
	}
	b.mu.Unlock()
	for _, topic := range topics {
		node, err := b.nodeOf(topic)
		if err != nil {
			return
		}
		if node.Options().Addr == s.addr {
			continue
		}
		b.mu.Lock()
		if sh.placed[topic] == s {
			sh.missed[topic] = true
			b.misplacedLocked(topic, 0)
		}
		b.mu.Unlock()
	}
	s.queueMu.Lock()
	called := s.called
	s.called, s.calls = "", false
	s.queueMu.Unlock()
	if called == "" {
		return
	}
	b.mu.Lock()
	sh.enqueueLocked(s, unsubscribe, called)
	b.mu.Unlock()
}

// topicOf returns the topic of a channel.
func (b *Broker) topicOf(channel string) (string, bool) {
	topic, ok := strings.CutPrefix(channel, b.opts.Prefix+"topic:")
	if ok && b.shards != nil {
		topic, ok = strings.CutPrefix(strings.TrimSuffix(topic, "}"), "{t:")
	}
	return topic, ok
}

// checkTag returns an error if a prefix begins a hash tag in which keys of one
// topic differ: they would be in different slots.
func checkTag(prefix string) error {
	_, tag, ok := strings.Cut(prefix, "{")
	if i := strings.IndexByte(tag, '}'); ok && i <= 0 {
		return fmt.Errorf("prefix %q: %w", prefix, errTag)
	}
	return nil
}

var errTag = errors.New("a brace in it must begin a hash tag, such as {chat}")
