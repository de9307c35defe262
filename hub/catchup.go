package hub

import (
	"context"
	"errors"
	"time"
)

// This file brings the messages that an engine keeps into the topics of this
// process. A fill reads at SubscribeFrom. A catchUp reads when a message is not
// the next one, and when positions differ. Both end in [topic.merge].

const (
	maxReads       = 8                // reads of the engine at the same time
	catchUpTimeout = 2 * time.Second  // how long live messages of a topic wait for a read
	fillTimeout    = 5 * time.Second  // how long a SubscribeFrom waits for one
	compareEvery   = 30 * time.Second // how often positions are compared
	comparePause   = time.Second      // between a difference and the second look: messages are on their way
	compareBatch   = 500              // topics in one call of Positions
	maxHeld        = 1024             // live messages of a topic that wait for a read; beyond it they are read, too
	maxHeldBytes   = 1 << 20
	maxCatchUps    = 5 // reads in a row
	maxFills       = 3 // reads of a fill
	maxParts       = 3 // reads of a part of what the engine keeps: then all is read
)

// errStale says that messages may have been lost since the engine was read.
var errStale = errors.New("hub: messages may have been lost")

var errPositions = errors.New("hub: the broker returned another number of positions")

// A fill is a read of what the engine keeps of a topic. All who come meanwhile
// wait for it. A topic's lock guards it.
type fill struct {
	done  chan struct{} // closed when the topic has what the engine has of it
	after Position      // what is behind it is needed
	all   bool          // all that the engine keeps is
	ok    bool          // the read did not fail; set before done is closed
}

// keeps reports whether the engine keeps histories.
func (l *link) keeps() bool { return l != nil && l.broker.historian != nil }

// read reads what the engine keeps behind after.
func (l *link) read(topic string, limits History, after Position, timeout time.Duration) (Backlog, error) {
	ctx, cancel := context.WithTimeout(l.ctx, timeout)
	defer cancel()
	select {
	case l.reads <- struct{}{}:
	case <-ctx.Done():
		return Backlog{}, ctx.Err()
	}
	defer func() { <-l.reads }()
	return l.broker.Missed(ctx, topic, after, limits)
}

// fill reads what a subscriber asks for, if the engine keeps it. The topic is
// pinned. Those who come at the same time wait for one read. Those who need
// more than the read under way brings wait for the next one. A read that fails
// leaves the topic as it is, and fill reports false.
func (l *link) fill(ctx context.Context, name string, from SubscribeOptions) bool {
	t := l.hub.find(name)
	if t == nil {
		return false // the hub is closed
	}
	if !t.wantsLocked(from) {
		t.unlock()
		return true
	}
	f := t.needLocked(from)
	switch {
	case t.filling == nil:
		t.filling = f
		go l.fillTopic(t)
	case t.filling.covers(f):
		f = t.filling
	case t.refill == nil:
		t.refill = f
	default:
		t.refill.add(f)
		f = t.refill
	}
	t.unlock()
	select {
	case <-f.done:
		return f.ok
	case <-ctx.Done():
	case <-l.ctx.Done():
	}
	return false
}

// needLocked returns what must be read for a subscriber.
func (t *topic) needLocked(from SubscribeOptions) *fill {
	f := &fill{done: make(chan struct{}), after: t.last}
	switch {
	case !from.After.IsZero() && (t.last.IsZero() || from.After.Epoch == t.last.Epoch):
		f.after = from.After
	case from.Recent > 0 && !t.filled:
		f.all = true
	}
	return f
}

// covers reports whether f brings what other needs.
func (f *fill) covers(other *fill) bool {
	return f.all || !other.all && f.after.Epoch == other.after.Epoch && f.after.Offset <= other.after.Offset
}

// add makes f bring what other needs, too.
func (f *fill) add(other *fill) {
	switch {
	case other.all || f.after.Epoch != other.after.Epoch:
		f.all = true
	case other.after.Offset < f.after.Offset:
		f.after = other.after
	}
}

// fillTopic is the goroutine of the fills of a topic: one after the other.
func (l *link) fillTopic(t *topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.filling != nil {
		for range maxFills {
			if l.fillOnceLocked(t, t.filling) {
				break
			}
		}
		close(t.filling.done)
		t.filling, t.refill = t.refill, nil
	}
}

// fillOnceLocked reads once. It needs the lock of the topic, and gives it up
// during the read. It reports false if another read would bring more.
func (l *link) fillOnceLocked(t *topic, f *fill) bool {
	limits, over := t.limitsLocked()
	if f.ok = !over; over || !t.lacksLocked(f) {
		return true
	}
	after, whole := f.after, false
	switch {
	case t.filled, after.Epoch == t.last.Epoch && after.Offset > t.last.Offset:
		after = t.last
	case f.all || t.parts == maxParts:
		after, whole = Position{}, true
	default:
		t.parts++
	}
	t.mu.Unlock()
	b, err := l.read(t.name, limits, after, fillTimeout)
	t.mu.Lock()
	if t.gone || t.hist == nil {
		return true
	}
	if f.ok = err == nil; !f.ok {
		t.report(err, Position{})
		return true
	}
	return t.mergeLocked(b, after, whole, time.Now())
}

// lacksLocked reports whether f may bring what the topic does not have.
func (t *topic) lacksLocked(f *fill) bool {
	switch {
	case t.stale || t.last.IsZero() || f.after.Epoch == t.last.Epoch && f.after.Offset > t.last.Offset:
		return true
	case t.filled:
		return false
	case f.all:
		return true
	}
	_, ok := t.afterLocked(f.after.Offset)
	return !ok || f.after.Epoch != t.last.Epoch
}

// limitsLocked returns the bounds of the history, unless the topic is over.
func (t *topic) limitsLocked() (limits History, over bool) {
	if t.gone || t.hist == nil {
		return History{}, true
	}
	return t.hist.limits, false
}

// wantsLocked reports whether what the engine keeps may help a subscriber.
func (t *topic) wantsLocked(from SubscribeOptions) bool {
	switch {
	case t.hist == nil:
		return false
	case t.stale || from.After.Epoch == t.last.Epoch && from.After.Offset > t.last.Offset:
		return true // messages may have been lost, or are still on their way
	case t.filled:
		return false
	case !from.After.IsZero() && (t.last.IsZero() || from.After.Epoch == t.last.Epoch):
		_, ok := t.afterLocked(from.After.Offset)
		return !ok
	}
	return from.Recent > t.hist.len()
}

// since returns the offset behind which b has all messages. It was read behind
// after.
func (b *Backlog) since(after Position) uint64 {
	switch {
	case b.Complete:
		return after.Offset
	case len(b.Messages) > 0:
		return b.Messages[0].previous()
	case b.Since != 0:
		return b.Since
	}
	return b.Top.Offset
}

// mergeLocked takes in what the engine keeps behind after: what lies before the
// history, and what lies behind the latest message, which is delivered. Known
// messages are dropped. The result whole says that b is all that the engine
// keeps, and so does a b that is not Complete. The method reports false if
// another read would bring more: live messages were ahead.
func (t *topic) mergeLocked(b Backlog, after Position, whole bool, now time.Time) bool {
	whole = whole || !b.Complete
	if b.Top.IsZero() {
		if t.stale && t.numbered {
			t.forgetLocked()
		}
		return true
	}
	if t.last.IsZero() { // no message came here yet: none is news
		t.last, t.numbered = b.Top, true
	}
	isBehind := t.numbered && b.Top.Epoch == t.last.Epoch && b.Top.Offset < t.last.Offset // live messages are ahead
	if !t.numbered || b.Top.Epoch != t.last.Epoch {
		if !t.stale {
			return true // live messages are ahead, in another epoch
		}
		// The engine has begun another count.
		t.resetLocked(Position{Epoch: b.Top.Epoch}, true)
		if len(b.Messages) == 0 {
			t.last = b.Top
		} else if p := b.Messages[0].previous(); p > 0 {
			t.last.Offset = p
		}
	}
	since, first := b.since(after), t.sinceLocked() // b may have what lies between
	joins := since <= t.last.Offset
	var older []*message
	i := 0
	for ; i < len(b.Messages) && b.Messages[i].Position.Offset <= t.last.Offset; i++ {
		ev := &b.Messages[i]
		if ev.Position.Offset > first {
			continue
		}
		if !ev.Time.IsZero() && !b.Now.IsZero() {
			ev.Time = now.Add(ev.Time.Sub(b.Now)) // by this process's clock
		}
		if m := t.stored(ev, now); m != nil {
			older = append(older, m)
		} else {
			older, since = nil, ev.Position.Offset // it is missing
		}
	}
	meets := b.Top.Offset >= first // else live messages came between
	if meets && since < first {
		t.extendLocked(older, since, now)
	}
	if isBehind {
		t.filled = t.filled || meets && whole
		return meets
	}
	t.stale = false
	for ; i < len(b.Messages); i++ {
		ev := b.Messages[i]
		t.report(t.takeLocked(ev, now), ev.Position)
	}
	if t.last.Offset < b.Top.Offset {
		t.passLocked(b.Top.Offset, since, joins)
	}
	t.filled = t.filled || whole
	return true
}

// extendLocked puts older messages before the history, which reaches back to
// since then.
func (t *topic) extendLocked(older []*message, since uint64, now time.Time) {
	switch {
	case len(older) > 0:
		older[0].previous = since // no other goroutine has the message yet
		t.hist.prepend(older, now.Sub(t.hub.start))
		t.setQuietLocked(0)
	case t.hist.len() > 0:
		t.hist.reach(since)
	default:
		t.setQuietLocked(since)
	}
}

// passLocked puts the topic where the engine has it, though the engine has no
// message that is new. If joins is set, there was none since the topic's
// position. Else there was none since the offset since.
func (t *topic) passLocked(top, since uint64, joins bool) {
	if joins {
		since = t.sinceLocked()
	} else {
		t.clearLocked()
	}
	if t.hist.len() == 0 && since < top {
		t.setQuietLocked(since)
	}
	t.last.Offset = top
}

// stored makes a message of one that the engine has kept, or returns nil if it
// cannot.
func (t *topic) stored(ev *BrokerEvent, now time.Time) *message {
	typ, data, err := parseEnvelope(ev.Payload)
	if err != nil {
		return nil
	}
	m, err := t.encode(typ, data, ev.Position, ev.previous())
	if err != nil {
		return nil
	}
	m.offset, m.previous, m.at = ev.Position.Offset, ev.previous(), now.Sub(t.hub.start)
	if !ev.Time.IsZero() {
		m.at = min(m.at, ev.Time.Sub(t.hub.start))
	}
	return m
}

// report tells the application of a failure.
func (t *topic) report(err error, at Position) {
	if err != nil && t.hub.link != nil {
		t.hub.link.tell(BrokerEvent{Kind: BrokerFailed, Topic: t.name, Position: at, Err: err})
	}
}

// holdLocked keeps a live message until what lies before it has been read.
func (t *topic) holdLocked(ev BrokerEvent) {
	t.held = append(t.held, ev)
	t.heldSize += len(ev.Payload)
	for len(t.held) > maxHeld || t.heldSize > maxHeldBytes && len(t.held) > 1 {
		t.heldSize -= len(t.held[0].Payload)
		t.held[0] = BrokerEvent{}
		t.held = t.held[1:]
	}
}

// catchUpLocked begins to read what was missed, unless that is under way, or
// the engine keeps nothing.
func (t *topic) catchUpLocked() {
	if t.catching || t.hist == nil || !t.numbered || t.hub.link.broker.historian == nil {
		return
	}
	t.catching = true
	go t.hub.link.catchUpTopic(t)
}

// catchUpTopic is the goroutine of a catchUpLocked.
func (l *link) catchUpTopic(t *topic) {
	for round := 1; ; round++ {
		t.mu.Lock()
		after := t.last
		limits, over := t.limitsLocked()
		t.mu.Unlock()
		if over {
			return
		}
		b, err := l.read(t.name, limits, after, catchUpTimeout)
		if t.caughtUp(b, after, err, round == maxCatchUps) {
			return
		}
	}
}

// caughtUp takes in what was read, and then the live messages that waited. It
// reports whether that was all: it is not if some are still missing. If the
// read failed, or was the last one, it delivers the live messages all the same.
// Their positions tell the clients that some are missing.
func (t *topic) caughtUp(b Backlog, after Position, err error, isLast bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone || t.hist == nil {
		return true
	}
	now := time.Now()
	if err == nil {
		t.mergeLocked(b, after, false, now)
	} else {
		t.report(err, Position{})
	}
	for len(t.held) > 0 {
		ev := t.held[0]
		at := ev.Position
		isNext := at.Epoch != t.last.Epoch || ev.previous() <= t.last.Offset
		if err == nil && !isLast && !isNext {
			return false
		}
		t.heldSize -= len(ev.Payload)
		t.held = t.held[1:]
		if at.Epoch == t.last.Epoch && at.Offset <= t.last.Offset {
			continue
		}
		t.report(t.takeLocked(ev, now), at)
	}
	t.held, t.heldSize, t.catching = nil, 0, false
	if err != nil {
		t.stale = true // the next comparison tells
	}
	return true
}

// compareAll is the goroutine that compares, every 30 s and when the engine is
// back, where the topics are with where the engine has them. A message that was
// lost is found by it though none follows.
func (l *link) compareAll() {
	ticker := time.NewTicker(compareEvery)
	defer ticker.Stop()
	var failed []KeptTopic // the engine did not say where they are: it is about to be lost, or slow
	for {
		var again <-chan time.Time
		if len(failed) > 0 {
			again = time.After(comparePause)
		}
		select {
		case <-l.ctx.Done():
			return
		case <-l.recovered:
			failed = l.compare(l.numbered())
		case <-ticker.C:
			failed = l.compare(l.numbered())
		case <-again:
			failed = l.compare(failed)
		}
	}
}

// compareSoon makes compareAll compare now.
func (l *link) compareSoon() {
	select {
	case l.recovered <- struct{}{}:
	default:
	}
}

// numbered returns the topics that the engine numbers.
func (l *link) numbered() []KeptTopic {
	var topics []KeptTopic
	for _, t := range l.hub.all() {
		if t.lock() {
			if t.hist != nil && t.numbered {
				topics = append(topics, KeptTopic{t.name, t.hist.limits})
			}
			t.unlock()
		}
	}
	return topics
}

// compare compares topics once. It returns those that could not be compared.
func (l *link) compare(topics []KeptTopic) (failed []KeptTopic) {
	differ := map[string]Position{}
	for len(topics) > 0 {
		n := min(len(topics), compareBatch)
		ctx, cancel := context.WithTimeout(l.ctx, fillTimeout)
		positions, refused, err := l.positions(ctx, topics[:n])
		cancel()
		if err != nil { // the rest would not do better
			failed = append(failed, topics...)
			break
		}
		for i, k := range topics[:n] {
			if refused[k.Topic] != nil {
				failed = append(failed, k)
			} else if !l.agrees(k.Topic, positions[i], false) {
				differ[k.Topic] = positions[i]
			}
		}
		topics = topics[n:]
	}
	if len(differ) == 0 {
		return failed
	}
	select {
	case <-time.After(comparePause):
	case <-l.ctx.Done():
	}
	for name, at := range differ {
		l.agrees(name, at, true)
	}
	return failed
}

// positions asks where topics are. Those that refused has have no position.
func (l *link) positions(ctx context.Context, topics []KeptTopic) (positions []Position, refused TopicErrors, err error) {
	positions, err = l.broker.Positions(ctx, topics)
	l.tellPanic(err)
	if errors.As(err, &refused) && len(refused) < len(topics) {
		err = nil
	}
	if err == nil && len(positions) != len(topics) {
		err = errPositions
	}
	return positions, refused, err
}

// agrees reports whether the topic is where the engine has it. If not, it mends
// that, if mend is set or messages may have been lost.
func (l *link) agrees(name string, at Position, mend bool) bool {
	t := l.hub.find(name)
	if t == nil {
		return true
	}
	defer t.unlock()
	switch {
	case t.hist == nil || !t.numbered || at.IsZero() && !t.stale:
		return true
	case at.IsZero():
		t.forgetLocked()
	case at.Epoch == t.last.Epoch && at.Offset == t.last.Offset:
		t.stale = false
		return true
	case at.Epoch == t.last.Epoch && at.Offset < t.last.Offset && !t.stale:
		return true // a message has come since
	case !mend && !t.stale:
		return false
	case l.broker.historian != nil:
		t.stale = true
		t.catchUpLocked()
	case t.stale: // what was lost cannot be had
		t.resetLocked(at, true)
	}
	return true
}
