package hub

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
)

// MaxPresenceMembers is how many members of a topic are listed. Of a topic that
// has more, a hub knows and tells only their number.
const MaxPresenceMembers = 1000

// maxPresenceTopic bounds the name of a topic whose members the processes tell
// each other. An engine may refuse a message that is too long, and with it the
// members of all topics in it.
const maxPresenceTopic = 8 << 10

// MaxMemberBytes bounds the ID and Data of a Member together.
const MaxMemberBytes = 4096

// Errors of presence. Callers use [errors.Is].
var (
	// ErrNoPresence says that Options.PresenceOf does not choose the topic.
	ErrNoPresence = errors.New("hub: the topic has no presence")
	// ErrMemberSize says that a Member has more than MaxMemberBytes.
	ErrMemberSize = errors.New("hub: ID and Data of the member are longer than 4,096 bytes")
	// ErrReserved says that the name of a topic begins with "$presence". The
	// hub itself uses such topics of the engine.
	ErrReserved = errors.New(`hub: topics whose names begin with "$presence" are reserved`)
)

const (
	// holdLeave is how long a leave is held back: a member that comes back
	// meanwhile has not left.
	holdLeave = 5 * time.Second
	// gatherPresence is the pause between two messages to the subscribers of a
	// topic about its members, and between two to the other processes.
	gatherPresence = 100 * time.Millisecond
	// gatherMany is the pause where all subscribers of a larger topic get a
	// PresenceState.
	gatherMany = 5 * time.Second
	// manyMembers is where a topic is a larger one.
	manyMembers = 100
	// maxPresenceEvents bounds the joins and leaves of a topic that wait.
	// Beyond it the subscribers get one PresenceState.
	maxPresenceEvents = 100
	// listAgain is how few own members make a topic listed again that was only
	// counted, in what this process tells the others.
	listAgain = MaxPresenceMembers * 9 / 10
)

// A Member is a subscriber as the others see it. One user with three pages is
// three members with the same ID.
type Member struct {
	// ID names the user. The application chooses it; it need not be unique.
	ID string
	// Data is for the application, such as a name and a colour as JSON. All
	// subscribers share it: it must not be changed.
	Data []byte
}

// A Presence lists the members of a topic, in all processes.
type Presence struct {
	// Count is how many members there are.
	Count int
	// Members are all of them, sorted by ID. It is nil if there are none, or
	// more than MaxPresenceMembers. A process that had more lists its members
	// again when it has 900 or fewer. The caller may keep the slice.
	Members []Member
	// Complete says that no member is known to be missing. It is not set while
	// the engine is lost, or while another process has not told its members
	// yet. With a Broker it is not set if the name of the topic has more than
	// 8,192 bytes. Only the members of this process are known then.
	Complete bool
}

// A PresenceEvent tells the subscribers of a topic about its members.
type PresenceEvent struct {
	Kind  PresenceEventKind
	Topic string
	// Member has joined or left. It is zero with PresenceState.
	Member Member
	// Same is how many members have the ID of Member, after the event. A user
	// has come with the join that makes it 1, and gone with the leave that
	// makes it 0.
	Same int
	// Count is how many members there are, after the event.
	Count int
	// Members are those of [Presence], with PresenceState only.
	Members []Member
}

// A PresenceEventKind is the kind of a PresenceEvent.
type PresenceEventKind int

const (
	// PresenceState tells all members. A new subscriber gets it first. All get
	// it when much has changed at once, and as long as only their number is
	// known.
	PresenceState PresenceEventKind = iota
	// PresenceJoin tells that Member has joined. A user who comes back before
	// the end of the old connection was noticed has two members for a while.
	PresenceJoin
	// PresenceLeave tells that Member has left, and not come back for 5 s.
	PresenceLeave
)

// String returns the name of k.
func (k PresenceEventKind) String() string {
	switch k {
	case PresenceState:
		return "PresenceState"
	case PresenceJoin:
		return "PresenceJoin"
	case PresenceLeave:
		return "PresenceLeave"
	}
	return "PresenceEventKind(?)"
}

// JoinAs is [Hub.Join] for a connection whose user is known. The subscriber is
// a member of each topic that it subscribes to, if Options.PresenceOf chooses
// the topic. A subscriber of Join is none, but is told of the members all the
// same. JoinAs copies m.Data. If m is too large, [Subscriber.Err] and Subscribe
// return an error that matches [ErrMemberSize].
func (h *Hub) JoinAs(c *websocket.Conn, m Member) *Subscriber {
	s := h.Join(c)
	if len(m.ID)+len(m.Data) > MaxMemberBytes {
		s.end(ErrMemberSize)
		return s
	}
	if h.presence != nil && s.Err() == nil {
		h.presence.name(s, m)
	}
	return s
}

// Presence returns who has a topic, in all processes of the hub. The topic
// needs no subscriber in this one.
//
// With a Broker a new hub does not know the other processes yet. Presence then
// waits for them: a second in general, and 3 s at most. If ctx ends before, the
// result is not Complete. In all other cases Presence reads from memory, and
// does not wait.
//
// The error matches [ErrNoPresence], [ErrClosed], or [ErrCallbackPanicked].
func (h *Hub) Presence(ctx context.Context, topic string) (Presence, error) {
	switch {
	case h.closed.Load():
		return Presence{}, ErrClosed
	case h.presence == nil:
		return Presence{}, ErrNoPresence
	}
	present, err := h.callPresenceOf(topic)
	if err == nil && !present {
		err = ErrNoPresence
	}
	if err != nil {
		return Presence{}, err
	}
	return h.presence.of(ctx, topic), nil
}

// reserved refuses topics that are the hub's own.
func reserved(topic string) error {
	if strings.HasPrefix(topic, presenceTopic) {
		return ErrReserved
	}
	return nil
}

// presence is what a hub knows of the members of all topics, in all processes.
//
// Each process owns its members. A room puts those of all processes together.
// Methods that need the lock end in Locked, those of gossip too. It is taken
// inside that of a topic; no other is taken inside it. No code of the
// application runs under it.
type presence struct {
	hub    *Hub    // immutable
	gossip *gossip // immutable: the other processes; nil without a Broker

	mu      sync.Mutex // guards what follows
	self    *process   // immutable; its content is guarded
	rooms   map[string]*room
	named   map[*Subscriber]*named
	numbers uint64              // the latest number of a named subscriber
	leaving []*leave            // in the order of their times
	dirty   map[*room]struct{}  // rooms with something to tell
	timer   *time.Timer         // starts run
	next    time.Time           // when timer does; zero: not
	running bool                // run is at work
	closed  bool                // the hub is
	others  map[uint64]*process // those that were heard of
}

// A process is a hub, and what it has told of its members.
type process struct {
	id      uint64
	rosters map[string]*roster // by topic

	// The next fields are for other processes only.
	seq      uint64    // of the latest change that is in rosters
	known    bool      // nothing is missing up to seq
	heard    time.Time // when its latest message came
	asked    time.Time // when it was asked for its members
	held     []heldChange
	heldSize int
	incoming *incoming // its members, as they come
}

// A named subscriber is one that joined with a Member.
type named struct {
	number uint64
	member *Member
	topics int  // of which it is a member
	ended  bool // it goes with the last of them
}

// A roster has the members of one topic in one process.
type roster struct {
	members map[uint64]*Member // by the number of the subscriber; nil: counted elsewhere
	count   int                // where members is nil
	counted bool               // of this process: the others know the number only
}

func (r *roster) size() int {
	if r.members != nil {
		return len(r.members)
	}
	return r.count
}

// A room has the members of one topic.
type room struct {
	name    string
	rosters map[*process]*roster
	size    int      // the members of all rosters
	leaving []*leave // members that have left, and are still told
	local   int      // subscribers in this process, members or not

	events  []PresenceEvent      // joins and leaves to be told
	fresh   map[*Subscriber]bool // those that are to get a PresenceState
	all     bool                 // all are
	told    time.Time            // when something was told last
	toldAll time.Time            // when all subscribers were told all
}

// A leave is held back until its time.
type leave struct {
	room   *room
	member *Member
	at     time.Time
	over   bool // it was told, or the member came back
}

func newPresence(h *Hub) *presence {
	p := &presence{
		hub:    h,
		rooms:  map[string]*room{},
		named:  map[*Subscriber]*named{},
		dirty:  map[*room]struct{}{},
		others: map[uint64]*process{},
		self:   &process{id: randomEpoch(), rosters: map[string]*roster{}, known: true},
	}
	return p
}

// name notes who s is.
func (p *presence) name(s *Subscriber, m Member) {
	m.ID, m.Data = strings.Clone(m.ID), bytes.Clone(m.Data)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.numbers++
	p.named[s] = &named{number: p.numbers, member: &m}
}

// forget is called when s has ended, and has no topics any more. It may be
// called more than once.
func (p *presence) forget(s *Subscriber) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.named[s]; n != nil && n.topics > 0 {
		n.ended = true // another goroutine is in unsubscribed
	} else {
		delete(p.named, s)
	}
}

// subscribed is called when s has got a topic, under the topic's lock.
func (p *presence) subscribed(topic string, s *Subscriber) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	r := p.roomLocked(topic)
	r.local++
	if p.hub.opts.OnPresence != nil {
		if r.fresh == nil {
			r.fresh = map[*Subscriber]bool{}
		}
		r.fresh[s] = true
		p.touchLocked(r)
	}
	n := p.named[s]
	if n == nil {
		return
	}
	n.topics++
	p.addLocked(p.self, r, n.number, n.member)
	if p.gossip != nil {
		p.gossip.addedLocked(r.name, p.self.rosters[r.name], n)
	}
}

// unsubscribed is called when s has lost a topic, under the topic's lock.
func (p *presence) unsubscribed(topic string, s *Subscriber) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rooms[topic]
	if p.closed || r == nil {
		return
	}
	r.local--
	delete(r.fresh, s)
	if n := p.named[s]; n != nil {
		y := p.self.rosters[topic]
		if p.removeLocked(p.self, r, n.number, true) && p.gossip != nil {
			p.gossip.removedLocked(r.name, y, n)
		}
		if n.topics--; n.topics == 0 && n.ended {
			delete(p.named, s)
		}
	}
	p.sweepLocked(r)
}

// roomLocked returns the room of a topic.
func (p *presence) roomLocked(topic string) *room {
	r := p.rooms[topic]
	if r == nil {
		r = &room{name: strings.Clone(topic), rosters: map[*process]*roster{}}
		p.rooms[r.name] = r
	}
	return r
}

// sweepLocked removes a room that is of no more use.
func (p *presence) sweepLocked(r *room) {
	if r.size == 0 && r.local == 0 && len(r.leaving) == 0 && len(r.rosters) == 0 {
		delete(p.rooms, r.name)
		delete(p.dirty, r)
	}
}

// rosterLocked returns the roster of a process in a room.
func (p *presence) rosterLocked(of *process, r *room) *roster {
	y := of.rosters[r.name]
	if y == nil {
		y = &roster{members: map[uint64]*Member{}}
		of.rosters[r.name], r.rosters[of] = y, y
	}
	return y
}

// addLocked adds a member.
func (p *presence) addLocked(of *process, r *room, number uint64, m *Member) {
	y := p.rosterLocked(of, r)
	if y.members == nil || of != p.self && len(y.members) >= MaxPresenceMembers {
		return // a stranger's
	}
	if _, ok := y.members[number]; ok {
		return
	}
	y.members[number] = m
	r.size++
	for i, l := range r.leaving {
		if l.member.ID == m.ID && bytes.Equal(l.member.Data, m.Data) { // it is back
			l.over = true
			r.leaving = slices.Delete(r.leaving, i, i+1)
			return
		}
	}
	p.noteLocked(r, PresenceJoin, m, r.total()-1)
}

// removeLocked removes a member, and reports whether it was there. If hold is
// set the leave is held back.
func (p *presence) removeLocked(of *process, r *room, number uint64, hold bool) bool {
	y := of.rosters[r.name]
	if y == nil || y.members[number] == nil {
		return false
	}
	m := y.members[number]
	delete(y.members, number)
	r.size--
	if hold && r.listed() {
		l := &leave{room: r, member: m, at: time.Now().Add(holdLeave)}
		r.leaving = append(r.leaving, l)
		p.leaving = append(p.leaving, l)
		p.armLocked(l.at)
	} else {
		p.noteLocked(r, PresenceLeave, m, r.total()+1)
	}
	if len(y.members) == 0 {
		p.dropRosterLocked(of, r)
	}
	return true
}

func (p *presence) dropRosterLocked(of *process, r *room) {
	delete(of.rosters, r.name)
	delete(r.rosters, of)
	p.sweepLocked(r)
}

// countLocked makes a roster of another process a number; list makes it empty,
// and a list of members again.
func (p *presence) countLocked(of *process, r *room, n int) {
	y := p.rosterLocked(of, r)
	if n == y.size() && y.members == nil {
		return
	}
	r.size += n - y.size()
	y.members, y.count = nil, n
	if n == 0 {
		p.dropRosterLocked(of, r)
	}
	p.noteAllLocked(r)
}

func (p *presence) listLocked(of *process, r *room) {
	y := p.rosterLocked(of, r)
	if y.members != nil && len(y.members) == 0 {
		return
	}
	r.size -= y.size()
	y.members, y.count = map[uint64]*Member{}, 0
	p.noteAllLocked(r)
}

// total is how many members the subscribers are told.
func (r *room) total() int { return r.size + len(r.leaving) }

// listed reports whether the members are known, and few enough to be told.
func (r *room) listed() bool {
	for _, y := range r.rosters {
		if y.members == nil {
			return false
		}
	}
	return r.total() <= MaxPresenceMembers
}

// same counts the members with an ID.
func (r *room) same(id string) (n int) {
	for _, y := range r.rosters {
		for _, m := range y.members {
			if m.ID == id {
				n++
			}
		}
	}
	for _, l := range r.leaving {
		if l.member.ID == id {
			n++
		}
	}
	return n
}

// noteLocked makes run tell the subscribers of a change. before is how many
// members there were.
func (p *presence) noteLocked(r *room, kind PresenceEventKind, m *Member, before int) {
	if p.hub.opts.OnPresence == nil || r.local == 0 || r.all {
		return
	}
	if before > MaxPresenceMembers || !r.listed() || len(r.events) >= maxPresenceEvents {
		p.noteAllLocked(r)
		return
	}
	ev := PresenceEvent{Kind: kind, Topic: r.name, Member: *m, Same: r.same(m.ID), Count: r.total()}
	r.events = append(r.events, ev)
	p.touchLocked(r)
}

// noteAllLocked makes run tell the subscribers all members.
func (p *presence) noteAllLocked(r *room) {
	if p.hub.opts.OnPresence == nil || r.local == 0 {
		return
	}
	r.all, r.events = true, nil
	p.touchLocked(r)
}

// touchLocked notes that there is something to tell.
func (p *presence) touchLocked(r *room) {
	p.dirty[r] = struct{}{}
	p.armLocked(r.due())
}

// due returns when the subscribers can be told.
func (r *room) due() time.Time {
	if r.all && len(r.fresh) == 0 && r.total() > manyMembers {
		return r.toldAll.Add(gatherMany)
	}
	return r.told.Add(gatherPresence)
}

// armLocked makes the timer call run at the time, or before.
func (p *presence) armLocked(at time.Time) {
	if p.running || p.closed || !p.next.IsZero() && !at.Before(p.next) {
		return
	}
	p.next = at
	d := max(time.Until(at), 0)
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.run)
	} else {
		p.timer.Reset(d)
	}
}

// A told is what run tells the subscribers of a topic.
type told struct {
	room   *room
	events []PresenceEvent
	state  PresenceEvent
	fresh  map[*Subscriber]bool // these get state
	all    bool                 // all do
}

// run does what is due: it is the timer's goroutine. OnPresence is called here
// only, so that what a subscriber gets is in the order of the changes.
func (p *presence) run() {
	p.mu.Lock()
	if p.running || p.closed {
		p.mu.Unlock()
		return
	}
	p.running, p.next = true, time.Time{}
	for !p.closed {
		now := time.Now()
		p.tellLeavesLocked(now)
		due := p.takeDueLocked(now)
		if len(due) == 0 {
			break
		}
		p.mu.Unlock()
		for i := range due {
			p.tell(&due[i])
		}
		p.mu.Lock()
	}
	p.running = false
	if len(p.leaving) > 0 {
		p.armLocked(p.leaving[0].at)
	}
	for r := range p.dirty {
		p.armLocked(r.due())
	}
	p.mu.Unlock()
}

// tellLeavesLocked ends the leaves that were held back for long enough.
func (p *presence) tellLeavesLocked(now time.Time) {
	for len(p.leaving) > 0 && (p.leaving[0].over || !now.Before(p.leaving[0].at)) {
		l := p.leaving[0]
		p.leaving[0] = nil
		p.leaving = p.leaving[1:]
		if l.over {
			continue
		}
		r := l.room
		r.leaving = slices.DeleteFunc(r.leaving, func(other *leave) bool { return other == l })
		p.noteLocked(r, PresenceLeave, l.member, r.total()+1)
		p.sweepLocked(r)
	}
	if len(p.leaving) == 0 {
		p.leaving = nil
	}
}

// takeDueLocked takes what can be told now.
func (p *presence) takeDueLocked(now time.Time) (due []told) {
	for r := range p.dirty {
		if now.Before(r.due()) {
			continue
		}
		t := told{room: r, events: r.events, fresh: r.fresh, all: r.all}
		if r.all && r.total() > manyMembers && now.Before(r.toldAll.Add(gatherMany)) {
			t.all = false // only those that are new are told, the others later
		}
		if t.all || len(r.fresh) > 0 {
			v := p.viewLocked(r)
			t.state = PresenceEvent{Kind: PresenceState, Topic: r.name, Count: v.Count, Members: v.Members}
		}
		r.events, r.fresh, r.told = nil, nil, now
		if t.all {
			r.toldAll = now
		}
		if r.all = r.all && !t.all; !r.all {
			delete(p.dirty, r)
		}
		due = append(due, t)
	}
	return due
}

// tell calls OnPresence, and puts what it returns into the queues.
func (p *presence) tell(d *told) {
	var state *message
	if d.all || len(d.fresh) > 0 {
		state = p.encode(d.state)
	}
	var changes []*message
	for _, ev := range d.events {
		if m := p.encode(ev); m != nil {
			changes = append(changes, m)
		}
	}
	t := p.hub.find(d.room.name)
	if t == nil {
		return
	}
	defer t.unlock()
	for _, s := range t.subs {
		switch {
		case !d.all && !d.fresh[s]:
			for _, m := range changes {
				s.put(m)
			}
		case state != nil:
			s.put(state)
		}
	}
}

// encode makes the message that tells of an event. It returns nil if there is
// none: OnPresence may have panicked.
func (p *presence) encode(ev PresenceEvent) *message {
	typ, data, err := p.hub.callOnPresence(ev)
	if err != nil || data == nil {
		return nil
	}
	m, _ := newMessage(typ, data)
	return m
}

// viewLocked returns what is known of a room.
func (p *presence) viewLocked(r *room) Presence {
	v := Presence{Count: r.total()}
	if v.Count == 0 || !r.listed() {
		return v
	}
	v.Members = make([]Member, 0, v.Count)
	for _, y := range r.rosters {
		for _, m := range y.members {
			v.Members = append(v.Members, *m)
		}
	}
	for _, l := range r.leaving {
		v.Members = append(v.Members, *l.member)
	}
	slices.SortFunc(v.Members, func(a, b Member) int {
		return cmp.Or(strings.Compare(a.ID, b.ID), bytes.Compare(a.Data, b.Data))
	})
	return v
}

// of returns who has a topic.
func (p *presence) of(ctx context.Context, topic string) Presence {
	complete := true
	if p.gossip != nil {
		complete = p.gossip.settle(ctx) && len(topic) <= maxPresenceTopic
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	v := Presence{}
	if r := p.rooms[topic]; r != nil {
		v = p.viewLocked(r)
	}
	v.Complete = complete
	return v
}

// close is a part of [Hub.Close].
func (p *presence) close() {
	p.mu.Lock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	if p.gossip != nil {
		p.gossip.stop()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rooms, p.named, p.others = map[string]*room{}, map[*Subscriber]*named{}, map[uint64]*process{}
	p.leaving, p.dirty = nil, map[*room]struct{}{}
}
