package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed70bc5565/websocket/hub"
)

// A JetStream is a [Broker] that gives the messages of topics with a history to
// JetStream, which keeps and numbers them. It is made by [NewJetStream]. Topics
// without a history go through core NATS.
//
// # Streams
//
// There is one stream for each class of history: those whose Messages have the
// same power of two above them. It keeps that many messages of each topic for
// [JetStreamOptions].PositionAge. It does not bound their bytes: History.Bytes
// bounds only what a hub keeps. The stream publishes each message again where
// those who have subscribed hear it. One more small stream holds the epoch of
// each class. Streams that exist are used as they are, so that their options
// may be changed, such as max_bytes. If processes have histories of different
// classes for a topic, its messages are in two streams. Then the epoch changes
// with each process that publishes, and clients are told to start afresh. So
// stop all processes before Messages passes a power of two.
//
// # Epochs
//
// A server that was killed may have lost messages that it had confirmed. A
// class begins another epoch when a server that is no cluster was restarted. It
// also does when the stream was made again, and when it counts back behind what
// this process has seen. Clients are told to start afresh then. A cluster with
// three replicas goes on in the same epoch when one of its servers fails.
//
// # Topics without messages
//
// A topic without messages is where its stream is. A client that comes back
// there has missed nothing if the stream still has all messages since. If the
// stream has dropped messages of other topics meanwhile, that is known only
// while this process was subscribed. Else the client is told to start afresh.
type JetStream struct {
	*Broker
	age      time.Duration         // immutable
	replicas int                   // immutable
	storage  jetstream.StorageType // immutable
	watch    watch

	smu     sync.Mutex // guards what follows; not held across I/O; taken inside mu
	current *session
	asked   []class                // that were asked for, in any session
	left    string                 // the id of the server that watchServers left last
	seen    map[class]hub.Position // the highest, in any session
	places  map[string]*place      // of topics whose positions the hub has asked for
}

// A place is what this process knows of a topic that it has: that no message
// lies between two offsets.
type place struct {
	class class
	at    hub.Position // zero: not known
	until uint64
}

// JetStreamOptions are the options of [NewJetStream]. A nil pointer and the
// zero value hold the defaults.
type JetStreamOptions struct {
	Options

	// PositionAge is how long a message, and with it the position of its topic,
	// is kept. It must not be shorter than the Age of the hub's histories. A
	// history without a bound of its age has a stream without one. Default: 24
	// hours.
	PositionAge time.Duration
	// Replicas is how many servers of a cluster keep each message: 1, 3 or 5.
	// Default: 1.
	Replicas int
	// Storage says where messages are kept. Default: in files.
	Storage jetstream.StorageType
}

// NewJetStream is [New] for a server with JetStream. The streams are made when
// a topic needs them.
func NewJetStream(url string, opts *JetStreamOptions) (*JetStream, error) {
	return newJetStream(url, opts, defaultBeat)
}

func newJetStream(url string, opts *JetStreamOptions, every time.Duration) (*JetStream, error) {
	var o JetStreamOptions
	if opts != nil {
		o = *opts
	}
	j := &JetStream{age: o.PositionAge, replicas: o.Replicas, storage: o.Storage,
		seen: map[class]hub.Position{}, places: map[string]*place{}}
	if j.age == 0 {
		j.age = 24 * time.Hour
	}
	if j.replicas == 0 {
		j.replicas = 1
	}
	if j.age < time.Second || j.replicas < 1 {
		return nil, fmt.Errorf("natsbroker: PositionAge %v and Replicas %d: not a second and one", o.PositionAge, o.Replicas)
	}
	b, err := newBroker(url, &o.Options, j, every)
	if err != nil {
		return nil, err
	}
	j.Broker = b
	go j.watchServers()
	return j, nil
}

// Close ends the connections. The hub should be closed before.
func (j *JetStream) Close() error {
	err := j.Broker.Close()
	j.smu.Lock()
	s := j.current
	j.current = nil
	j.smu.Unlock()
	if s != nil {
		go func() { <-s.ready; s.close() }()
	}
	return err
}

// headerBase is the header of a message that names the epoch of its class, and
// where that begins. The publisher has made sure of it.
const headerBase = "Hub-Base"

// A class is a class of histories, which share a stream.
type class struct {
	messages int  // of each topic that are kept: a power of two
	forever  bool // their age is not bounded
}

// maxClass bounds the messages that are kept of a topic.
const maxClass = 1 << 20

// classOf returns the class of a history. One message more than those is kept:
// it shows that none is missing.
func classOf(h hub.History) class {
	n := 2
	for n <= h.Messages && n < maxClass {
		n *= 2
	}
	return class{n, h.Age < 0}
}

func (c class) String() string {
	if c.forever {
		return strconv.Itoa(c.messages) + "-forever"
	}
	return strconv.Itoa(c.messages)
}

// subjects returns the begin of the subjects of a class's stream. It is outside
// of the prefix.
func (j *JetStream) subjects(c class) string { return j.prefix + "_kept." + c.String() + "." }

func (j *JetStream) storedSubject(c class, topic string) string {
	return j.subjects(c) + strings.TrimPrefix(j.subject(topic), j.prefix+".")
}

// streamName returns the name of a stream. The characters that it may not have,
// or not everywhere, are replaced.
func (j *JetStream) streamName(name string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, j.prefix+"_"+name)
}

// offset is the offset of the message with a number of a stream. It is never
// zero, which would stand for none.
func offset(sequence uint64) uint64 { return sequence + 1 }

// note notes how far a class has got.
func (j *JetStream) note(c class, at hub.Position) {
	j.smu.Lock()
	defer j.smu.Unlock()
	if seen := j.seen[c]; seen.Epoch != at.Epoch || seen.Offset < at.Offset {
		j.seen[c] = at
	}
}

// arrived notes that a message of a topic has come from the stream of a class.
// It fails if this process has the topic in another class.
func (j *JetStream) arrived(topic string, c class, at hub.Position) error {
	j.note(c, at)
	j.smu.Lock()
	defer j.smu.Unlock()
	own := j.places[topic]
	if own == nil {
		return nil
	}
	if own.class != c {
		delete(j.places, topic) // until the hub asks for the position again
		return fmt.Errorf("natsbroker: %w: its stream is %s, and that of this process %s", errClass, c, own.class)
	}
	if own.at.Epoch != at.Epoch || own.at.Offset < at.Offset {
		own.move(at, at.Offset)
	}
	return nil
}

// move notes that no message lies between at and until.
func (p *place) move(at hub.Position, until uint64) {
	if p.at.Epoch == at.Epoch {
		until = max(until, p.until)
	}
	p.at, p.until = at, until
}

// covers reports whether the place tells of all that a stream has dropped. The
// stream has no message of the epoch before the offset first.
func (p *place) covers(epoch, first uint64) bool {
	return p != nil && p.at.Epoch == epoch && first <= p.until
}

// placeLocked returns the place of a topic, or nil. It needs smu.
func (j *JetStream) placeLocked(topic string, c class) *place {
	if p := j.places[topic]; p != nil && p.class == c {
		return p
	}
	return nil
}

// before returns the offset of the message before the first one of a topic: no
// other lies between.
func (j *JetStream) before(topic string, at hub.Position) uint64 {
	j.smu.Lock()
	defer j.smu.Unlock()
	if p := j.places[topic]; p != nil && p.at.Epoch == at.Epoch && p.at.Offset < at.Offset {
		return p.at.Offset
	}
	return at.Offset - 1
}

// wholeSince returns the offset behind which no message of a topic was dropped,
// as far as that is known. The stream has dropped what is before first.
func (j *JetStream) wholeSince(topic string, c class, epoch, first uint64) uint64 {
	j.smu.Lock()
	defer j.smu.Unlock()
	if p := j.placeLocked(topic, c); p.covers(epoch, first) {
		return min(first, p.at.Offset)
	}
	return first
}

// found notes where a topic is. The stream was at last before that was found.
func (j *JetStream) found(topic string, c class, at hub.Position, last uint64) {
	j.smu.Lock()
	defer j.smu.Unlock()
	if p := j.placeLocked(topic, c); p != nil && (p.at.Epoch != at.Epoch || p.at.Offset <= at.Offset) {
		p.move(at, max(at.Offset, last))
	}
}

// quietAt returns where a topic without messages is. The stream was at last
// before that was found, and has dropped what is before first.
func (j *JetStream) quietAt(topic string, c class, epoch, first, last uint64) hub.Position {
	j.smu.Lock()
	defer j.smu.Unlock()
	at, p := hub.Position{Epoch: epoch, Offset: last}, j.placeLocked(topic, c)
	if p.covers(epoch, first) {
		at = p.at
	}
	if p != nil {
		p.move(at, last)
	}
	return at
}

var errClass = errors.New("another process has another History for the topic")

// Unsubscribe implements [hub.Broker].
func (j *JetStream) Unsubscribe(ctx context.Context, topics []string) error {
	err := j.Broker.Unsubscribe(ctx, topics)
	j.smu.Lock()
	defer j.smu.Unlock()
	for _, topic := range topics {
		delete(j.places, topic)
	}
	return err
}

// numbered returns the position of a message that JetStream has published
// again, and that of the message before it. The error is that of arrived.
func (b *Broker) numbered(topic string, m *nats.Msg) (at hub.Position, previous uint64, err error) {
	base, err0 := hub.ParsePosition(m.Header.Get(headerBase))
	sequence, err1 := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	last, err2 := strconv.ParseUint(m.Header.Get("Nats-Last-Sequence"), 10, 64)
	if err0 != nil || base.IsZero() || err1 != nil || err2 != nil {
		return hub.Position{}, 0, nil
	}
	at = hub.Position{Epoch: base.Epoch, Offset: offset(sequence)}
	previous = max(offset(last), base.Offset)
	if last == 0 {
		previous = b.jet.before(topic, at)
	}
	if subject := strings.Split(strings.TrimPrefix(m.Header.Get("Nats-Subject"), b.prefix+"_kept."), "."); len(subject) == 2 {
		name, forever := strings.CutSuffix(subject[0], "-forever")
		if n, err1 := strconv.Atoi(name); err1 == nil {
			err = b.jet.arrived(topic, class{n, forever}, at)
		}
	}
	return at, previous, err
}

// Publish implements [hub.Broker]. A message of a topic with a history is
// confirmed by JetStream. If ctx ends before, or the connection breaks,
// JetStream may have it all the same: then the error matches
// [hub.ErrUnconfirmed]. A message with an ID counts once, if it is repeated
// within two minutes.
func (j *JetStream) Publish(ctx context.Context, p hub.Publication) error {
	if p.History.Messages <= 0 {
		return j.Broker.Publish(ctx, p)
	}
	c := classOf(p.History)
	s, o, err := j.open(ctx, c)
	if err != nil {
		return wrap(err)
	}
	m := &nats.Msg{
		Subject: j.storedSubject(c, p.Topic),
		Data:    p.Payload,
		Header:  nats.Header{headerBase: {o.base.String()}},
	}
	var opts []jetstream.PublishOpt
	if p.ID != "" {
		// Ids are those of the stream, and the hub's those of the topic. A
		// header does not keep all blanks and ends of lines.
		token := strings.TrimPrefix(j.subject(p.Topic), j.prefix+".")
		opts = append(opts, jetstream.WithMsgID(token+" "+url.QueryEscape(p.ID)))
	}
	if s.ended.Load() {
		return wrap(nats.ErrConnectionClosed)
	}
	type answer struct {
		ack *jetstream.PubAck
		err error
	}
	answered := make(chan answer, 1)
	go func() { // a server that takes nothing holds the write up
		ack, err := s.js.PublishMsg(context.WithoutCancel(ctx), m, opts...)
		answered <- answer{ack, err}
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			return wrap(j.publishFailed(s, c, a.err))
		}
		if !a.ack.Duplicate { // a leader that is cut off says that of what it has
			s.took.Store(true)
		}
		at := hub.Position{Epoch: o.base.Epoch, Offset: offset(a.ack.Sequence)}
		j.smu.Lock()
		back := !a.ack.Duplicate && at.Epoch == j.seen[c].Epoch && at.Offset+reordered < j.seen[c].Offset
		j.smu.Unlock()
		if back {
			j.end(s) // the stream was made again: the next session finds that
		} else {
			j.note(c, at)
		}
		return nil
	case <-ctx.Done():
		return wrap(fmt.Errorf("%w: %w", hub.ErrUnconfirmed, ctx.Err()))
	case <-j.done:
		return wrap(fmt.Errorf("%w: %w", hub.ErrUnconfirmed, ErrClosed))
	}
}

// reordered is by how many messages the confirmations of two publishers may
// come in another order.
const reordered = 1 << 16

// publishFailed says of an error of a publication whether JetStream may have
// the message.
func (j *JetStream) publishFailed(s *session, c class, err error) error {
	var answer *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		s.forget(c) // the stream may be gone
		return err
	case errors.As(err, &answer), errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject):
		return err
	}
	return fmt.Errorf("%w: %w", hub.ErrUnconfirmed, err)
}

// wrap adds the package to an error.
func wrap(err error) error {
	if err == nil || errors.Is(err, ErrClosed) && !errors.Is(err, hub.ErrUnconfirmed) {
		return err
	}
	return fmt.Errorf("natsbroker: %w", err)
}

// lookups is how many positions are asked for at the same time.
const lookups = 32

// Positions implements [hub.Positioner]. The position of a topic whose stream
// has other subjects is zero. If the stream of one class cannot be asked, the
// error is a [hub.TopicErrors] that has its topics.
func (j *JetStream) Positions(ctx context.Context, topics []hub.KeptTopic) ([]hub.Position, error) {
	j.mu.Lock()
	j.smu.Lock()
	byClass := map[class][]int{}
	for i, topic := range topics {
		c := classOf(topic.History)
		byClass[c] = append(byClass[c], i)
		if _, ok := j.topics[topic.Topic]; ok && j.placeLocked(topic.Topic, c) == nil {
			j.places[topic.Topic] = &place{class: c}
		}
	}
	j.smu.Unlock()
	j.mu.Unlock()
	positions := make([]hub.Position, len(topics))
	failed := hub.TopicErrors{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for c, own := range byClass {
		wg.Go(func() {
			names := make([]string, len(own))
			for n, i := range own {
				names[n] = topics[i].Topic
			}
			found, err := within(ctx, func() (found []hub.Position, err error) {
				err = j.ask(ctx, c, func(s *session, o *opening) (err error) {
					found, err = j.positions(ctx, s, o, c, names)
					return err
				})
				return found, wrap(err)
			})
			mu.Lock()
			defer mu.Unlock()
			for n, i := range own {
				if err == nil {
					positions[i] = found[n]
				} else if !errors.Is(err, errNotOurs) {
					failed[topics[i].Topic] = err
				}
			}
		})
	}
	wg.Wait()
	if len(failed) > 0 {
		return positions, failed
	}
	return positions, nil
}

// within calls f, and returns when ctx ends though f does not: a server that
// takes nothing holds its writes up.
func within[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, wrap(ctx.Err())
	}
}

// positions returns the positions of topics of one class.
func (j *JetStream) positions(ctx context.Context, s *session, o *opening, c class, topics []string) ([]hub.Position, error) {
	positions := make([]hub.Position, len(topics))
	// Messages behind the stream's last one, as it is now, are news.
	state, err := s.state(ctx, o)
	if err != nil {
		return nil, err
	}
	last := offset(state.State.LastSeq)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	var quiet []int
	turns := make(chan struct{}, lookups)
	for i, topic := range topics {
		turns <- struct{}{}
		mu.Lock()
		over := failed != nil
		mu.Unlock()
		if over {
			break
		}
		wg.Go(func() {
			defer func() { <-turns }()
			m, ok, err := s.latest(ctx, o, j.storedSubject(c, topic))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failed = err
			case ok:
				positions[i] = hub.Position{Epoch: o.base.Epoch, Offset: offset(m.sequence)}
				j.found(topic, c, positions[i], last)
			default:
				quiet = append(quiet, i)
			}
		})
	}
	wg.Wait()
	if failed != nil || len(quiet) == 0 {
		return positions, failed
	}
	if state, err = s.state(ctx, o); err != nil { // what has it dropped until now?
		return nil, err
	}
	for _, i := range quiet {
		positions[i] = j.quietAt(topics[i], c, o.base.Epoch, state.State.FirstSeq, last)
	}
	return positions, nil
}

// Missed implements [hub.Historian].
func (j *JetStream) Missed(ctx context.Context, topic string, after hub.Position, limits hub.History) (hub.Backlog, error) {
	c := classOf(limits)
	b, err := within(ctx, func() (b hub.Backlog, err error) {
		err = j.ask(ctx, c, func(s *session, o *opening) (err error) {
			b, err = j.missed(ctx, s, o, c, topic, after, limits)
			return err
		})
		return b, wrap(err)
	})
	if err != nil {
		return hub.Backlog{}, err
	}
	for i := range b.Messages {
		b.Messages[i].Topic = topic
	}
	if len(b.Messages) > 0 {
		j.note(c, b.Top)
	}
	return b, nil
}
