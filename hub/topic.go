package hub

import (
	"errors"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A topic has subscribers and perhaps a history. It is there as long as it has
// one or the other.
//
// Locks are taken in this order: a topic's, a subscriber's. That of a shard is
// taken alone, or inside a topic's. None is held across I/O. Methods that need
// the lock of their receiver end in Locked.
type topic struct {
	hub  *Hub   // immutable
	name string // immutable

	mu       sync.Mutex // guards what follows
	gone     bool       // out of the map: who has it looks again
	present  bool       // immutable: it has presence
	numbered bool       // last is from the engine
	stale    bool       // messages behind last, which is from the engine, may have been lost
	filled   bool       // hist reaches back as far as what the engine keeps
	catching bool       // what was missed is being read: live messages wait in held
	wasUsed  bool       // used is set
	parts    uint8      // how often a part of what the engine keeps was read, while filled is not set
	subs     []*Subscriber
	last     Position      // of the latest message; the epoch is 0 until there is one
	hist     *history      // nil: none is kept
	pins     int           // calls of Subscribe that wait for the engine
	used     time.Duration // when the last subscriber left, or the last message came, since the hub's start
	timer    *time.Timer   // ends a topic that was not used for long
	*reading               // immutable; nil without a Broker or a history
}

// A reading is what a topic has where an engine may keep its messages. The
// topic's lock guards it.
type reading struct {
	filling  *fill // a read of what the engine keeps is under way
	refill   *fill // the next one; nil: none is needed
	held     []BrokerEvent
	heldSize int // bytes of held
	// quiet is an offset: no message lies between it and the topic's position.
	// It counts only while the history is empty. Zero: not known.
	quiet uint64
	// unkept is an offset. A message without a number came before the message
	// that has it, and behind all with lower ones. Zero: none came.
	unkept uint64
}

// A message is one that was published, as it waits in queues and histories. It
// is immutable.
type message struct {
	*websocket.PreparedMessage
	size int

	// What follows is set in a topic with history.
	at               time.Duration // when it was published, since the hub's start
	offset, previous uint64        // its own, and that of the message before it
}

// newTopic makes a topic. The error is that of a callback.
func newTopic(h *Hub, name string) (*topic, error) {
	t := &topic{hub: h, name: name}
	var err error
	if h.presence != nil {
		if t.present, err = h.callPresenceOf(name); err != nil {
			return nil, err
		}
	}
	kept, err := h.historyOf(name)
	if err != nil {
		return nil, err
	}
	t.hist = newHistory(kept)
	if t.hist != nil && h.opts.Broker != nil {
		t.reading = &reading{}
	}
	return t, nil
}

// lock takes the lock, unless the topic is gone.
func (t *topic) lock() bool {
	t.mu.Lock()
	if t.gone {
		t.mu.Unlock()
		return false
	}
	return true
}

// unlock gives the lock back. A topic that is of no more use goes.
func (t *topic) unlock() {
	if !t.gone && len(t.subs) == 0 && t.pins == 0 && !t.lingersLocked() {
		t.gone = true
		t.hub.link.uninterested(t) // before another of its name can come, which is of interest again
		t.hub.remove(t)
	}
	t.mu.Unlock()
}

// lingersLocked reports whether a topic without subscribers must stay for those
// who may come back. It starts the timer that ends the topic later.
func (t *topic) lingersLocked() bool {
	if t.hist == nil || !t.wasUsed {
		return false
	}
	if t.timer != nil {
		return true // it looks again when it fires
	}
	age := t.hist.limits.Age
	if t.hub.link.keeps() && (age < 0 || age > defaultHistoryAge) {
		age = defaultHistoryAge // what is forgotten here can be read again
	}
	if age < 0 {
		return true
	}
	left := age - (time.Since(t.hub.start) - t.used)
	if left > 0 {
		t.timer = time.AfterFunc(left, t.aged)
	}
	return left > 0
}

// aged looks again whether a topic lingers.
func (t *topic) aged() {
	if t.lock() {
		t.timer = nil
		t.unlock()
	}
}

// beginLocked says where the topic is according to the engine, which has
// confirmed the subscription before. A message that was published until then
// may still be on its way. It is not news to a subscriber that comes from now
// on.
func (t *topic) beginLocked(at Position) {
	switch {
	case t.hist == nil || at.IsZero():
	case t.last.IsZero():
		t.last, t.numbered = at, true
	case t.numbered && at.Epoch == t.last.Epoch && at.Offset <= t.last.Offset:
	case len(t.subs) == 0:
		// A late message of an earlier subscription was here first. The topic
		// has not seen the messages between.
		t.resetLocked(at, true)
	default:
		t.stale = true
		t.catchUpLocked()
	}
}

// forgetLocked forgets a position that the engine does not know any more: the
// engine has lost it, or it was too old.
func (t *topic) forgetLocked() { t.resetLocked(Position{}, false) }

// resetLocked puts the topic where at is, with nothing behind it. It delivers
// the messages that are held of the epoch before, because they cannot be read
// any more.
func (t *topic) resetLocked(at Position, numbered bool) {
	old := t.held
	t.held, t.heldSize = nil, 0
	for _, ev := range old {
		switch {
		case ev.Position.Epoch != t.last.Epoch:
			t.holdLocked(ev)
		case !t.hasLocked(ev.Position):
			t.report(t.takeLocked(ev, time.Now()), ev.Position)
		}
	}
	t.clearLocked()
	t.beginEpochLocked(at.Epoch)
	t.last, t.numbered, t.stale = at, numbered, false
}

// clearLocked empties the history.
func (t *topic) clearLocked() {
	t.hist.clear()
	t.filled, t.parts = false, 0
	t.setQuietLocked(0)
}

// beginEpochLocked forgets what belongs to the epoch before, if epoch is
// another one.
func (t *topic) beginEpochLocked(epoch uint64) {
	if t.reading != nil && epoch != t.last.Epoch {
		t.unkept = 0
	}
}

func (t *topic) setQuietLocked(offset uint64) {
	if t.reading != nil {
		t.quiet = offset
	}
}

// sinceLocked returns the offset behind which the history has all messages of
// the topic.
func (t *topic) sinceLocked() uint64 {
	switch {
	case t.hist.len() > 0:
		return t.hist.since()
	case t.reading != nil && t.quiet != 0:
		return t.quiet
	}
	return t.last.Offset
}

// afterLocked returns the messages behind offset, if all of them are there.
func (t *topic) afterLocked(offset uint64) (missed []*message, ok bool) {
	if offset < t.sinceLocked() || offset > t.last.Offset {
		return nil, false
	}
	return t.hist.after(offset), true
}

// arriveLocked takes a message from the engine.
func (t *topic) arriveLocked(ev BrokerEvent, now time.Time) error {
	at := ev.Position
	keeps := t.hub.link.keeps()
	switch {
	case t.hist == nil || at.IsZero():
	case t.hasLocked(at) && (keeps || !t.stale):
		return nil // it has been there
	case t.catching:
		t.holdLocked(ev)
		return nil
	case !t.numbered || at.Epoch != t.last.Epoch: // another count begins
	case t.hasLocked(at):
		// An engine that counts backwards has lost what it had.
	case keeps && ev.previous() > t.last.Offset:
		t.holdLocked(ev)
		t.catchUpLocked()
		return nil
	}
	return t.takeLocked(ev, now)
}

// hasLocked reports whether the message at a position of the engine has been
// there.
func (t *topic) hasLocked(at Position) bool {
	return t.numbered && at.Epoch == t.last.Epoch && at.Offset <= t.last.Offset
}

// takeLocked delivers a message from the engine. The messages before it do not
// matter.
func (t *topic) takeLocked(ev BrokerEvent, now time.Time) error {
	typ, data, err := parseEnvelope(ev.Payload)
	if err != nil {
		t.hub.invalid.Add(1)
		return nil
	}
	return t.publishLocked(typ, data, nil, ev.Position, ev.previous(), now)
}

// publishAndUnlock publishes a message of this process, where it is not
// delivered as it is.
//
// It is not inlined, to keep the frame of publishHere small.
//
//go:noinline
func (t *topic) publishAndUnlock(typ websocket.MessageType, data []byte, made *message) error {
	defer t.unlock()
	return t.publishLocked(typ, data, made, Position{}, 0, time.Now())
}

// publishLocked puts a message into the history and the queues. The position at
// is the engine's, or zero; then previous counts for nothing. The message is
// made, or nil if it has to be made of data. The error is that of Encode.
func (t *topic) publishLocked(typ websocket.MessageType, data []byte, made *message, at Position, previous uint64, now time.Time) error {
	h := t.hub
	if h.closed.Load() {
		return nil
	}
	numbered := !at.IsZero()
	// A stranger's message without a number, among those that the engine
	// numbers, has no place in the history.
	keep := t.hist != nil && (numbered || !t.numbered)
	if t.hist != nil && !keep {
		t.strangeLocked()
	}
	if t.hist == nil {
		at = Position{}
	}
	if at.IsZero() {
		previous = 0
	}
	if keep && !numbered {
		at = t.nextLocked()
		previous = at.Offset - 1
	}
	if keep && numbered && t.quiet != 0 && at.Epoch == t.last.Epoch && previous <= t.last.Offset && t.hist.len() == 0 {
		previous = min(previous, t.quiet) // clients from there on have missed nothing
	}
	m, err := made, error(nil)
	if m == nil {
		m, err = t.encode(typ, data, at, previous)
	}
	if keep && (numbered || err == nil) {
		t.advanceLocked(at, previous, numbered)
	}
	if err != nil {
		if keep && numbered {
			t.clearLocked() // it is missing there
		}
		return err
	}
	m.at = now.Sub(h.start)
	if keep {
		m.offset, m.previous = at.Offset, previous
		t.hist.add(m, m.at)
	}
	if t.hist != nil && h.link == nil {
		t.used, t.wasUsed = m.at, true
	}
	t.deliverLocked(m)
	return nil
}

// deliverLocked puts a message into the queues.
func (t *topic) deliverLocked(m *message) {
	t.hub.published.Add(1)
	for _, s := range t.subs {
		s.put(m)
	}
}

// errUnkept is told once for a topic in an epoch.
var errUnkept = errors.New("hub: another process publishes without a history to a topic that has one: clients that come back cannot get the message")

// strangeLocked notes that a message came that no engine keeps: its publisher
// has no history for the topic, and the engine did not number it. A client
// whose latest message is one before it may have missed it.
func (t *topic) strangeLocked() {
	if t.unkept == 0 {
		t.report(errUnkept, t.last)
	}
	t.unkept = t.last.Offset + 1
}

// hasUnkeptLocked reports whether a client with the message at offset has got
// all messages that no engine keeps, as far as this process knows.
func (t *topic) hasUnkeptLocked(offset uint64) bool { return t.reading == nil || offset >= t.unkept }

// encode makes a message of what was published. A panic of Encode costs this
// message only.
//
// It is not inlined, to keep the frame of publish small.
//
//go:noinline
func (t *topic) encode(typ websocket.MessageType, data []byte, at Position, previous uint64) (*message, error) {
	if t.hub.opts.Encode != nil {
		var err error
		published := &Message{Topic: t.name, Position: at, Previous: previous, Type: typ, Data: data}
		if data, err = t.hub.callEncode(published); err != nil {
			return nil, err
		}
	}
	return newMessage(typ, data)
}

// nextLocked returns the position of the next message, where the hub counts.
func (t *topic) nextLocked() Position {
	if t.last.Epoch == 0 {
		return Position{Epoch: t.hub.newEpoch(), Offset: 1}
	}
	return Position{Epoch: t.last.Epoch, Offset: t.last.Offset + 1}
}

// advanceLocked makes at the position of the latest message; numbered says
// whether it is the engine's.
func (t *topic) advanceLocked(at Position, previous uint64, numbered bool) {
	if at.Epoch != t.last.Epoch || at.Offset <= t.last.Offset || previous > t.last.Offset {
		t.clearLocked() // what lies between was not seen here
	}
	t.setQuietLocked(0)
	t.beginEpochLocked(at.Epoch)
	t.last, t.numbered, t.stale = at, numbered, false
}

// gapLocked is told that messages may have been lost on the way from the
// engine.
func (t *topic) gapLocked() {
	switch {
	case t.hist == nil || t.last.Epoch == 0:
	case t.numbered:
		t.stale = true // the next position tells
	default:
		t.clearLocked()
		t.last = Position{Epoch: t.hub.newEpoch()}
	}
}

// addLocked makes s a subscriber. Its queue first gets the messages that b asks
// for, which may be nil.
func (t *topic) addLocked(s *Subscriber, b *beginning) error {
	if t.hub.closed.Load() {
		return ErrClosed
	}
	var missed []*message
	if t.hist != nil {
		missed = t.missedLocked(b)
	}
	if err := s.admit(t, b, missed); err != nil {
		return err
	}
	t.subs = append(t.subs, s)
	if t.present {
		t.hub.presence.subscribed(t.name, s)
	}
	return nil
}

// missedLocked returns the messages that b asks for, and notes in b what they
// are. The topic must have a history.
func (t *topic) missedLocked(b *beginning) (missed []*message) {
	if t.last.Epoch == 0 && t.hub.link == nil {
		t.last.Epoch = t.hub.newEpoch()
	}
	if b == nil {
		return nil
	}
	if t.hist.len() > 0 {
		t.hist.expire(time.Since(t.hub.start))
	}
	complete := false
	if after := b.from.After; after.Epoch == t.last.Epoch && !after.IsZero() && !t.stale && t.hasUnkeptLocked(after.Offset) {
		missed, complete = t.afterLocked(after.Offset)
	}
	if !complete {
		missed = t.hist.recent(b.from.Recent)
	}
	b.got = SubscribeResult{Position: t.last, Complete: complete, Messages: len(missed)}
	return missed
}

// dropLocked ends the subscription of s, if it has one.
func (t *topic) dropLocked(s *Subscriber) bool {
	i := s.forget(t)
	if i < 0 {
		return false
	}
	last := len(t.subs) - 1
	if i != last {
		t.subs[i] = t.subs[last]
		t.subs[i].moved(t, i)
	}
	t.subs[last] = nil
	t.subs = t.subs[:last]
	if t.present {
		t.hub.presence.unsubscribed(t.name, s)
	}
	if last == 0 && t.hist != nil {
		t.used, t.wasUsed = time.Since(t.hub.start), true
	}
	if cap(t.subs) > 64 && last < cap(t.subs)/4 {
		t.subs = append(make([]*Subscriber, 0, cap(t.subs)/2), t.subs...)
	}
	return true
}

// close is a part of [Hub.Close].
func (t *topic) close() {
	if !t.lock() {
		return
	}
	for len(t.subs) > 0 {
		s := t.subs[len(t.subs)-1]
		s.end(ErrClosed)
		t.dropLocked(s)
	}
	if t.timer != nil {
		t.timer.Stop()
	}
	t.hist = nil
	t.unlock()
}
