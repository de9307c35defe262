package hub

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// presenceTopic is the topic of the engine in which the processes tell of their
// members. A process has another one, its inbox, which begins so too.
const presenceTopic = "$presence"

func inbox(id uint64) string { return fmt.Sprintf("%s.%016x", presenceTopic, id) }

const (
	// beatEvery is how often a process tells that it lives.
	beatEvery = 4 * time.Second
	// tickEvery is how often a process looks whether a beat is due, or another
	// process is gone.
	tickEvery = time.Second
	// processGone is the silence after which a process is gone. It was looked
	// for within a second, so its members go within 13 s of its latest message.
	processGone = 12 * time.Second
	// blindAfter is how long a process may not hear itself. Then it is the
	// engine that is silent, and not the other processes.
	blindAfter = beatEvery + 2*time.Second
	// askAgain is the pause before a process is asked a second time.
	askAgain = 2 * time.Second
	// settleTime is how long the others have to answer a new process.
	settleTime = time.Second
	// settleWait bounds how long Presence waits.
	settleWait = 3 * time.Second
	// gossipTimeout bounds how long the engine may take for a message.
	gossipTimeout = 2 * time.Second
	// byeTimeout is the same for the last one: Hub.Close waits for it.
	byeTimeout = time.Second
	// maxProcesses bounds the other processes.
	maxProcesses = 4096
	// maxHeldChanges and maxHeldChangeBytes bound the changes that wait for the
	// state of a process, maxOut the changes that wait for the engine.
	maxHeldChanges     = 256
	maxHeldChangeBytes = 4 << 20
	maxOut             = 1 << 20
	// subscribeAgain is the pause after the engine refused the topics.
	subscribeAgain = 5 * time.Second
)

// A heldChange is one that waits for what was before it.
type heldChange struct {
	seq     uint64
	records []record
	size    int
}

// incoming is the state of a process, as far as it has come.
type incoming struct {
	seq, next, parts uint64
	records          []record
	at               time.Time
}

// gossip tells the other processes of the own members, and hears of theirs. One
// goroutine publishes, so that what it tells is in order.
type gossip struct {
	p      *presence
	link   *link
	ctx    context.Context // ends before that of the link
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
	wake   chan struct{} // holds a token when there is something to publish

	// The lock of presence guards the next fields.
	seq      uint64          // of the latest change that was published
	out      [][]byte        // records to publish
	outTopic string          // where the last of out is
	outSize  int             // bytes of out
	lossy    bool            // changes were dropped: a beat must tell
	counted  map[string]bool // topics whose number has changed
	askers   map[uint64]bool // processes that want to know all members
	ask      map[uint64]bool // processes to ask
	beat     bool            // a beat is due
	hello    bool            // it asks all others for one
	beaten   time.Time       // when the latest was published
	lost     bool            // the engine is
	heard    time.Time       // when this process heard itself last
	greeted  time.Time       // when the first hello came back; zero: not yet
	changed  chan struct{}   // closed when settle has to look again
}

func startGossip(p *presence, l *link) *gossip {
	g := &gossip{
		p: p, link: l, done: make(chan struct{}), wake: make(chan struct{}, 1), changed: make(chan struct{}),
		counted: map[string]bool{}, askers: map[uint64]bool{}, ask: map[uint64]bool{},
		hello: true, beat: true,
	}
	g.ctx, g.cancel = context.WithCancel(l.ctx)
	return g
}

// stop ends the goroutine, which says good-bye to the others.
func (g *gossip) stop() {
	g.cancel()
	<-g.done
}

// awake makes the goroutine look what there is to do.
func (g *gossip) awake() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// run is the goroutine that publishes.
func (g *gossip) run() {
	defer close(g.done)
	if !g.subscribe() {
		return
	}
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	g.awake()
	for {
		select {
		case <-g.ctx.Done():
			g.bye()
			return
		case now := <-ticker.C:
			g.expire(now)
		case <-g.wake:
			select { // what comes meanwhile goes with it
			case <-time.After(gatherPresence):
			case <-g.ctx.Done():
				continue
			}
		}
		for _, m := range g.collect(time.Now()) {
			if !g.publish(g.ctx, m, gossipTimeout) {
				g.failed()
				break
			}
		}
	}
}

// subscribe subscribes to both topics, and returns when the engine has
// answered.
func (g *gossip) subscribe() bool {
	for {
		failed := false
		for _, topic := range []string{presenceTopic, inbox(g.p.self.id)} {
			a := g.link.change(topic, true)
			if a == nil {
				continue
			}
			if err := g.link.settle(g.ctx, []*attempt{a}); err != nil {
				if g.ctx.Err() != nil {
					return false
				}
				failed = true
				g.link.tell(BrokerEvent{Kind: BrokerFailed, Topic: topic, Err: err})
			}
		}
		if !failed {
			return true
		}
		select {
		case <-time.After(subscribeAgain):
		case <-g.ctx.Done():
			return false
		}
	}
}

// A gossipOut is a message to be published.
type gossipOut struct {
	topic   string
	payload []byte
}

func (g *gossip) publish(ctx context.Context, m gossipOut, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return g.link.broker.Publish(ctx, Publication{Topic: m.topic, Payload: m.payload}) == nil
}

// failed notes that the engine did not take what was collected. The others find
// it out by the numbers, when the next beat comes.
func (g *gossip) failed() {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	g.beat, g.hello = true, g.hello || g.greeted.IsZero()
}

func (g *gossip) bye() {
	g.p.mu.Lock()
	lost := g.lost
	g.p.mu.Unlock()
	if !lost {
		m := gossipOut{presenceTopic, appendGossip(nil, kindBye, g.p.self.id)}
		g.publish(g.link.ctx, m, byeTimeout)
	}
}

// collect returns the messages to publish now.
func (g *gossip) collect(now time.Time) (all []gossipOut) {
	p := g.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for topic := range g.counted {
		if y := p.self.rosters[topic]; y != nil && y.counted {
			g.recordLocked(topic, func(dst []byte) []byte { return appendNumber(dst, opCount, uint64(len(y.members))) })
		}
		delete(g.counted, topic)
	}
	if g.lossy {
		g.seq++ // the others find a gap, and ask
		g.beat, g.lossy = true, false
		g.out, g.outSize, g.outTopic = nil, 0, ""
	}
	if g.lost {
		return nil
	}
	head := func(kind byte) []byte { return appendGossip(nil, kind, p.self.id) }
	for _, records := range g.out {
		g.seq++
		b := binary.AppendUvarint(head(kindChange), g.seq)
		all = append(all, gossipOut{presenceTopic, append(b, records...)})
	}
	g.out, g.outSize, g.outTopic = nil, 0, ""
	if len(g.askers) > 0 {
		var topics []string
		for id := range g.askers {
			topics = append(topics, inbox(id))
		}
		if len(topics) > 2 {
			topics = []string{presenceTopic} // once for all
		}
		clear(g.askers)
		parts := g.stateLocked()
		for _, topic := range topics {
			for i, records := range parts {
				b := binary.AppendUvarint(head(kindState), g.seq)
				b = binary.AppendUvarint(b, uint64(i))
				b = binary.AppendUvarint(b, uint64(len(parts)))
				all = append(all, gossipOut{topic, append(b, records...)})
			}
		}
	}
	if len(g.ask) > 0 {
		b := head(kindAsk)
		for id := range g.ask {
			b = binary.BigEndian.AppendUint64(b, id)
		}
		clear(g.ask)
		all = append(all, gossipOut{presenceTopic, b})
	}
	if g.beat || now.Sub(g.beaten) >= beatEvery-tickEvery/2 {
		flags := byte(0)
		if g.hello {
			flags = flagHello
		}
		g.beat, g.hello, g.beaten = false, false, now
		b := append(head(kindBeat), flags)
		all = append(all, gossipOut{presenceTopic, binary.AppendUvarint(b, g.seq)})
	}
	return all
}

// stateLocked returns the records of all own members, in parts.
func (g *gossip) stateLocked() [][]byte {
	parts := [][]byte{nil}
	for topic, y := range g.p.self.rosters {
		if len(topic) > maxPresenceTopic {
			continue
		}
		b := appendText(append(parts[len(parts)-1], opTopic), topic)
		if y.counted {
			b = appendNumber(b, opCount, uint64(len(y.members)))
		} else {
			b = append(b, opList)
			for number, m := range y.members {
				if len(b) >= maxGossip {
					parts[len(parts)-1] = b
					parts = append(parts, nil)
					b = appendText([]byte{opTopic}, topic)
				}
				b = appendAdd(b, number, m)
			}
		}
		parts[len(parts)-1] = b
		if len(b) >= maxGossip {
			parts = append(parts, nil)
		}
	}
	return parts
}

// recordLocked adds a record to out.
func (g *gossip) recordLocked(topic string, add func(dst []byte) []byte) {
	if len(topic) > maxPresenceTopic {
		return
	}
	if g.lossy || g.outSize > maxOut {
		g.lossy, g.out, g.outSize, g.outTopic = true, nil, 0, ""
		return
	}
	last := len(g.out) - 1
	if last < 0 || len(g.out[last]) >= maxGossip {
		g.out = append(g.out, nil)
		last++
	}
	b := g.out[last]
	before := len(b)
	if before == 0 || topic != g.outTopic {
		b = appendText(append(b, opTopic), topic)
		g.outTopic = topic
	}
	b = add(b)
	g.out[last] = b
	g.outSize += len(b) - before
}

// addedLocked tells the others of an own member.
func (g *gossip) addedLocked(topic string, y *roster, n *named) {
	switch {
	case y.counted:
		g.counted[topic] = true
	case len(y.members) > MaxPresenceMembers:
		y.counted = true
		g.counted[topic] = true
	default:
		g.recordLocked(topic, func(dst []byte) []byte { return appendAdd(dst, n.number, n.member) })
	}
	g.awake()
}

// removedLocked tells the others that an own member has left.
func (g *gossip) removedLocked(topic string, y *roster, n *named) {
	switch {
	case y.counted && len(y.members) > listAgain:
		g.counted[topic] = true
	case y.counted:
		y.counted = false
		delete(g.counted, topic)
		g.recordLocked(topic, func(dst []byte) []byte { return append(dst, opList) })
		for number, m := range y.members {
			g.recordLocked(topic, func(dst []byte) []byte { return appendAdd(dst, number, m) })
		}
	default:
		g.recordLocked(topic, func(dst []byte) []byte { return appendNumber(dst, opRemove, n.number) })
	}
	g.awake()
}

// receive takes a message of a process, this one included. It is called by the
// link's goroutine that receives. Bytes that are no message cost a count.
func (g *gossip) receive(payload []byte) {
	m, err := parseGossip(payload)
	if err != nil {
		g.p.hub.invalid.Add(1)
		return
	}
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	now := time.Now()
	if m.from == g.p.self.id {
		g.hearSelfLocked(now)
		return
	}
	if m.kind == kindAsk {
		for _, id := range m.asked {
			if id == g.p.self.id && len(g.askers) < maxProcesses {
				g.askers[m.from] = true
				g.awake()
			}
		}
	}
	if m.kind == kindBeat && m.flags&flagHello != 0 && !g.beat {
		g.beat = true
		g.awake()
	}
	o := g.p.others[m.from]
	switch {
	case m.kind == kindBye:
		if o != nil {
			g.dropLocked(o, true)
		}
		return
	case o == nil && len(g.p.others) >= maxProcesses:
		return
	case o == nil:
		o = &process{id: m.from, rosters: map[string]*roster{}}
		g.p.others[m.from] = o
	}
	o.heard = now
	switch m.kind {
	case kindBeat:
		if m.seq != o.seq || !o.known { // less: what is known was a stranger's
			g.behindLocked(o, now)
		}
	case kindChange:
		g.takeChangeLocked(o, heldChange{m.seq, m.records, len(payload)}, now)
	case kindState:
		g.takeStateLocked(o, m, now)
	default:
		if !o.known {
			g.behindLocked(o, now)
		}
	}
}

// hearSelfLocked notes that the engine brings what is published. If it did not
// for a while, the others could not be heard either.
func (g *gossip) hearSelfLocked(now time.Time) {
	if now.Sub(g.heard) > blindAfter {
		for _, o := range g.p.others {
			o.heard = now
		}
	}
	g.heard = now
	if g.greeted.IsZero() {
		g.greeted = now
		time.AfterFunc(settleTime, g.look)
	}
}

// look makes those who wait in settle look again.
func (g *gossip) look() {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	g.lookLocked()
}

func (g *gossip) lookLocked() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// behindLocked asks a process for its members: something is missing here.
func (g *gossip) behindLocked(o *process, now time.Time) {
	o.known = false
	since := o.asked
	if o.incoming != nil && o.incoming.at.After(since) {
		since = o.incoming.at // it is answering
	}
	if now.Sub(since) < askAgain {
		return
	}
	o.asked, o.incoming = now, nil
	g.ask[o.id] = true
	g.awake()
}

// takeChangeLocked applies a change, if it is the next one.
func (g *gossip) takeChangeLocked(o *process, c heldChange, now time.Time) {
	if o.known && c.seq <= o.seq {
		return // it has been there
	}
	if o.known && c.seq == o.seq+1 {
		o.seq = c.seq
		g.applyLocked(o, c.records)
		return
	}
	if len(o.held) >= maxHeldChanges || o.heldSize+c.size > maxHeldChangeBytes {
		o.held, o.heldSize = nil, 0 // the next beat tells
	}
	o.held = append(o.held, c)
	o.heldSize += c.size
	g.behindLocked(o, now)
}

// takeStateLocked takes a part of the state, and applies it when it is the
// last.
func (g *gossip) takeStateLocked(o *process, m *gossipMessage, now time.Time) {
	if o.known && m.seq <= o.seq {
		return
	}
	if m.part == 0 {
		o.incoming = &incoming{seq: m.seq, parts: m.parts}
	}
	in := o.incoming
	if in == nil || in.seq != m.seq || in.parts != m.parts || in.next != m.part {
		return // of another state, or a part was lost: the next beat tells
	}
	in.next++
	in.at = now
	in.records = append(in.records, m.records...)
	if in.next < in.parts {
		return
	}
	o.incoming = nil
	o.seq, o.known = in.seq, true
	g.replaceLocked(o, in.records)
	held := o.held
	o.held, o.heldSize = nil, 0
	for _, c := range held {
		g.takeChangeLocked(o, c, now)
	}
	g.lookLocked()
}

// applyLocked applies records.
func (g *gossip) applyLocked(o *process, records []record) {
	p := g.p
	for _, v := range records {
		r := p.roomLocked(v.topic)
		switch v.op {
		case opList:
			p.listLocked(o, r)
		case opAdd:
			p.addLocked(o, r, v.number, v.member)
		case opRemove:
			p.removeLocked(o, r, v.number, true)
		case opCount:
			p.countLocked(o, r, int(v.number))
		}
		p.sweepLocked(r)
	}
}

// replaceLocked makes records all that the process has. Members that were there
// already have not joined.
func (g *gossip) replaceLocked(o *process, records []record) {
	stay := map[string]map[uint64]bool{} // topics that are listed
	counted := map[string]bool{}
	for _, v := range records {
		switch v.op {
		case opList:
			stay[v.topic] = map[uint64]bool{}
		case opAdd:
			if stay[v.topic] == nil {
				stay[v.topic] = map[uint64]bool{}
			}
			stay[v.topic][v.number] = true
		case opCount:
			counted[v.topic] = true
		}
	}
	p := g.p
	for topic, y := range o.rosters {
		r := p.rooms[topic]
		if counted[topic] {
			continue
		}
		if y.members == nil {
			p.countLocked(o, r, 0)
			continue
		}
		for number := range y.members {
			if !stay[topic][number] {
				p.removeLocked(o, r, number, true)
			}
		}
	}
	for _, v := range records {
		if v.op == opAdd || v.op == opCount {
			g.applyLocked(o, []record{v})
		}
	}
}

// dropLocked forgets a process. If hold is set, its members have 5 s to come
// back.
func (g *gossip) dropLocked(o *process, hold bool) {
	p := g.p
	for topic, y := range o.rosters {
		r := p.rooms[topic]
		if y.members == nil {
			p.countLocked(o, r, 0)
			continue
		}
		for number := range y.members {
			p.removeLocked(o, r, number, hold)
		}
	}
	delete(p.others, o.id)
	g.lookLocked()
}

// expire drops processes that are silent, unless all are.
func (g *gossip) expire(now time.Time) {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	if g.lost || now.Sub(g.heard) > blindAfter {
		return
	}
	for _, o := range g.p.others {
		if now.Sub(o.heard) > processGone {
			g.dropLocked(o, false)
		}
	}
}

// engine is told that the engine is lost, or back.
func (g *gossip) engine(lost bool) {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	g.lost = lost
	if lost {
		g.heard = time.Time{} // the others cannot be heard
		return
	}
	g.hello, g.beat = true, true
	g.awake()
}

// settle waits until nothing is known to be missing. It reports whether that is
// so.
func (g *gossip) settle(ctx context.Context) bool {
	late := time.NewTimer(settleWait)
	defer late.Stop()
	for {
		g.p.mu.Lock()
		now := time.Now()
		complete := !g.greeted.IsZero() && now.Sub(g.greeted) >= settleTime
		for _, o := range g.p.others {
			complete = complete && o.known
		}
		blind := g.lost || !g.greeted.IsZero() && now.Sub(g.heard) > blindAfter
		changed := g.changed
		g.p.mu.Unlock()
		if complete || blind {
			return complete && !blind
		}
		select {
		case <-changed:
		case <-late.C:
			return false
		case <-ctx.Done():
			return false
		case <-g.ctx.Done():
			return false
		}
	}
}
