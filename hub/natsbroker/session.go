package natsbroker

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed70bc5565/websocket/hub"
)

// A session is a connection to JetStream. It does not connect again. Its epochs
// are those of the server that it has met, and it publishes only there.
type session struct {
	ready  chan struct{}       // closed when the connection is there, or not
	err    error               // why it is not; this and what follows is set before ready is closed, and immutable then
	conn   *nats.Conn          // nil after an error
	ended  atomic.Bool         // conn has ended; conn.IsClosed waits for a write that is held up
	js     jetstream.JetStream // of conn
	took   atomic.Bool         // JetStream took a publication since watchServers looked last
	denied atomic.Bool         // the server does not permit the message of watchServers

	// What follows is of the goroutine of watchServers.
	caller   string // the id of its calls, as in beats
	listener string // the id of the process in its own beats, when caller began
	calls    uint64 // with that id

	mu      sync.Mutex // guards what follows; not held across I/O
	opened  map[class]*opening
	expects bool      // a class was opened, or JetStream was not there for that
	told    time.Time // what the server's clock said, see now; zero: the server did not say
	toldAt  time.Time // when that was; zero: never
}

// An opening is a class whose stream and epoch are known, or about to be.
type opening struct {
	ready  chan struct{} // closed when it is known
	err    error         // set before ready is closed, and immutable then, as what follows
	stream jetstream.Stream
	name   string
	base   hub.Position // the begin of the epoch
}

const (
	dialTimeout = 2 * time.Second // for each server
	openTimeout = 5 * time.Second
)

// ask asks for what changes nothing. If the session ends meanwhile, it asks
// once more, in another session.
func (j *JetStream) ask(ctx context.Context, c class, f func(*session, *opening) error) error {
	for try := 0; ; try++ {
		s, o, err := j.open(ctx, c)
		if err == nil {
			err = f(s, o)
		}
		if err == nil || try > 0 || ctx.Err() != nil || s == nil || !s.ended.Load() && !errors.Is(err, nats.ErrConnectionClosed) {
			return err
		}
	}
}

// open returns the session, and the class in it. Those who come at the same
// time share the work. The session is nil if there is none.
func (j *JetStream) open(ctx context.Context, c class) (*session, *opening, error) {
	j.smu.Lock()
	if !slices.Contains(j.asked, c) {
		j.asked = append(j.asked, c)
	}
	s := j.current
	if s == nil || s.over() {
		s = &session{ready: make(chan struct{}), opened: map[class]*opening{}}
		j.current = s
		go j.dial(s)
	}
	j.smu.Unlock()
	if err := j.wait(ctx, s.ready); err != nil {
		return nil, nil, err
	}
	if s.err != nil {
		return nil, nil, s.err
	}
	s.mu.Lock()
	o := s.opened[c]
	if o == nil {
		o = &opening{ready: make(chan struct{}), name: j.streamName(c.String())}
		s.opened[c] = o
		go func() {
			defer close(o.ready)
			o.err = j.prepare(s, c, o)
			s.prepared(c, o.err)
		}()
	}
	s.mu.Unlock()
	if err := j.wait(ctx, o.ready); err != nil {
		return s, nil, err
	}
	return s, o, o.err
}

func (j *JetStream) wait(ctx context.Context, ready chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-j.done:
		return ErrClosed
	}
}

// over reports whether another session is needed.
func (s *session) over() bool {
	return s.isReady() && (s.err != nil || s.ended.Load())
}

func (s *session) isReady() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

func (s *session) close() {
	if s.conn != nil {
		s.conn.Close()
	}
}

// prepared notes how the opening of a class ended.
func (s *session) prepared(c class, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.opened, c)
	}
	s.expects = s.expects || err == nil || isUnavailable(err)
}

// clusterNotAvailable is the code by which a server says that it knows no
// leader of the cluster, or of the stream.
const clusterNotAvailable jetstream.ErrorCode = 10008

// isUnavailable reports whether an error says that JetStream does not work
// where it was asked.
func isUnavailable(err error) bool {
	var answer *jetstream.APIError
	if errors.As(err, &answer) {
		switch answer.ErrorCode {
		case clusterNotAvailable, jetstream.JSErrCodeJetStreamNotEnabled, jetstream.JSErrCodeJetStreamNotEnabledForAccount:
			return true
		}
		return false
	}
	return err != nil && !errors.Is(err, errNotOurs)
}

// forget makes the next who needs a class look again.
func (s *session) forget(c class) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.opened, c)
}

// end ends a session.
func (j *JetStream) end(s *session) {
	j.smu.Lock()
	if j.current == s {
		j.current = nil
	}
	j.smu.Unlock()
	s.close()
}

// dial connects a session.
func (j *JetStream) dial(s *session) {
	defer close(s.ready)
	options := append([]nats.Option{
		nats.PingInterval(10 * time.Second),
		nats.FlusherTimeout(writeTimeout),
		nats.Timeout(dialTimeout),
	}, j.extra...)
	options = append(options,
		nats.NoReconnect(),
		nats.RetryOnFailedConnect(false),
		nats.ConnectHandler(nil), nats.ReconnectHandler(nil), nats.DisconnectErrHandler(nil), nats.ReconnectErrHandler(nil),
		nats.ClosedHandler(nil),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { j.refused(s, err) }),
	)
	conn, err := j.connect(options)
	if err != nil {
		s.err = err
		return
	}
	s.conn = conn
	conn.SetClosedHandler(func(*nats.Conn) { s.ended.Store(true) })
	if conn.IsClosed() { // before it had the handler
		s.ended.Store(true)
	}
	if s.js, s.err = jetstream.New(conn); s.err != nil {
		conn.Close()
		return
	}
	select {
	case <-j.done:
		conn.Close()
		s.err = ErrClosed
	default:
	}
}

// connect connects a session: to another server than that which watchServers has
// left, if it can.
func (j *JetStream) connect(options []nats.Option) (*nats.Conn, error) {
	j.smu.Lock()
	left := j.left
	j.smu.Unlock()
	conn, err := dial(j.url, options)
	if err == nil && conn.ConnectedServerId() != left {
		return conn, nil
	}
	for _, url := range j.servers() {
		other, err := dial(url, options)
		if err != nil {
			continue
		}
		if other.ConnectedServerId() != left {
			if conn != nil {
				conn.Close()
			}
			return other, nil
		}
		other.Close()
	}
	return conn, err
}

// servers returns the URLs of single servers: those of the options, and those
// that the connection knows from its server.
func (j *JetStream) servers() []string {
	var user *url.Userinfo
	var urls []string
	for s := range strings.SplitSeq(j.url, ",") {
		s = strings.TrimSpace(s)
		urls = append(urls, s)
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		if u, err := url.Parse(s); err == nil && user == nil {
			user = u.User
		}
	}
	if len(urls) == 1 {
		urls = nil // that has been tried
	}
	for _, s := range j.connection().DiscoveredServers() {
		if u, err := url.Parse(s); err == nil {
			u.User = user
			urls = append(urls, u.String())
		}
	}
	return urls
}

// dial connects. A function in the options, such as UserJWT, is the
// application's. A panic there becomes an error.
func dial(url string, options []nats.Option) (conn *nats.Conn, err error) {
	defer func() {
		if v := recover(); v != nil {
			conn, err = nil, fmt.Errorf("%w: %v", hub.ErrBrokerPanicked, v)
		}
	}()
	return nats.Connect(url, options...)
}

// A record says which epoch a class is in. It is kept as JSON.
type record struct {
	Epoch   uint64 `json:"epoch,string"`
	Base    uint64 `json:"base"`             // the number of the last message before the epoch
	Created int64  `json:"created"`          // when the stream was made, in nanoseconds
	Server  string `json:"server,omitempty"` // which is no cluster: it has another identity after each restart
}

var errNotOurs = errors.New("the stream exists, and has other subjects")

// prepare makes the stream of a class, unless it is there, and finds its epoch.
func (j *JetStream) prepare(s *session, c class, o *opening) error {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	config := jetstream.StreamConfig{
		Name:              o.name,
		Subjects:          []string{j.subjects(c) + ">"},
		MaxMsgsPerSubject: int64(c.messages),
		MaxAge:            j.age,
		Replicas:          j.replicas,
		Storage:           j.storage,
		AllowDirect:       true,
		RePublish:         &jetstream.RePublish{Source: j.subjects(c) + ">", Destination: j.prefix + ".>"},
	}
	if c.forever {
		config.MaxAge = 0
	}
	stream, err := makeStream(ctx, s.js, config)
	if err != nil {
		return err
	}
	o.stream = stream
	epochs, err := makeStream(ctx, s.js, jetstream.StreamConfig{
		Name:              j.streamName("epochs"),
		Subjects:          []string{j.prefix + "_epochs.>"},
		MaxMsgsPerSubject: 1,
		Replicas:          j.replicas,
		Storage:           j.storage,
	})
	if err != nil {
		return err
	}
	return j.agree(ctx, s, c, o, epochs)
}

// agree reads the epoch of o's stream, on which all processes agree. It begins
// another one if the server has lost messages since that was noted.
func (j *JetStream) agree(ctx context.Context, s *session, c class, o *opening, epochs jetstream.Stream) error {
	subject := j.prefix + "_epochs." + c.String()
	for {
		// The server must have all messages that this process saw before it
		// asks.
		j.smu.Lock()
		seen := j.seen[c]
		j.smu.Unlock()
		info, err := o.stream.Info(ctx)
		if err != nil {
			return err
		}
		now := record{Created: info.Created.UnixNano(), Base: info.State.LastSeq}
		if info.Cluster == nil || info.Cluster.Name == "" {
			now.Server = s.conn.ConnectedServerId()
		}
		last, sequence, err := lastRecord(ctx, epochs, subject)
		if err != nil {
			return fmt.Errorf("the epoch of stream %s: %w", o.name, err)
		}
		if last.Created == now.Created && last.Server == now.Server && last.Base <= now.Base &&
			(seen.Epoch != last.Epoch || seen.Offset <= offset(now.Base)) {
			o.base = hub.Position{Epoch: last.Epoch, Offset: offset(last.Base)}
			return nil
		}
		now.Epoch = newEpoch()
		data, err := json.Marshal(now)
		if err != nil {
			return err
		}
		_, err = s.js.Publish(ctx, subject, data, jetstream.WithExpectLastSequencePerSubject(sequence))
		var answer *jetstream.APIError
		if err != nil && (!errors.As(err, &answer) || answer.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence) {
			return err
		}
		// It is read again, as another process may have been quicker.
	}
}

// lastRecord returns the record that is in subject, and its sequence. Both are
// zero if there is none.
func lastRecord(ctx context.Context, epochs jetstream.Stream, subject string) (last record, sequence uint64, err error) {
	m, err := epochs.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return record{}, 0, nil
	}
	if err != nil {
		return record{}, 0, err
	}
	err = json.Unmarshal(m.Data, &last)
	return last, m.Sequence, err
}

// makeStream makes a stream, unless it is there.
func makeStream(ctx context.Context, js jetstream.JetStream, config jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, config.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, config)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = js.Stream(ctx, config.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", config.Name, err)
	}
	if got := stream.CachedInfo().Config.Subjects; len(got) != 1 || got[0] != config.Subjects[0] {
		return nil, fmt.Errorf("stream %s: %w: %.200q, want %q", config.Name, errNotOurs, got, config.Subjects[0])
	}
	return stream, nil
}

func newEpoch() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:]) | 1
}

// A query asks for one message. The server's leader answers it: others may lag
// behind.
type query struct {
	Sequence uint64 `json:"seq,omitempty"`
	Next     string `json:"next_by_subj,omitempty"` // the first of this subject from Sequence on
	Last     string `json:"last_by_subj,omitempty"` // the latest of this subject
	Batch    int    `json:"batch,omitempty"`
}

// A kept is a message that a stream keeps.
type kept struct {
	subject  string
	sequence uint64
	base     hub.Position // of the epoch in which it was published; zero if it does not say
	time     time.Time
	data     []byte
}

// get asks for a message. It reports false if there is none.
func (s *session) get(ctx context.Context, o *opening, q query) (m kept, ok bool, err error) {
	request, err := json.Marshal(q)
	if err != nil {
		return kept{}, false, err
	}
	reply, err := s.conn.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+o.name, request)
	if err != nil {
		return kept{}, false, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return kept{}, false, fmt.Errorf("the server's answer: %w", err)
	}
	if e := answer.Error; e != nil {
		if e.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return kept{}, false, nil
		}
		return kept{}, false, e
	}
	a := &answer.Message
	m = kept{subject: a.Subject, sequence: a.Sequence, time: a.Time, data: a.Data}
	if len(a.Header) > 0 {
		header, err := nats.DecodeHeadersMsg(a.Header)
		if err != nil {
			return kept{}, false, fmt.Errorf("the headers of a message: %w", err)
		}
		m.base, _ = hub.ParsePosition(header.Get(headerBase))
	}
	return m, true, nil
}

// latest returns the latest message of a subject in the epoch. It reports false
// if there is none.
func (s *session) latest(ctx context.Context, o *opening, subject string) (kept, bool, error) {
	m, ok, err := s.get(ctx, o, query{Last: subject})
	return m, ok && m.base.Epoch == o.base.Epoch, err
}

// state asks where the stream of a class is.
func (s *session) state(ctx context.Context, o *opening) (*jetstream.StreamInfo, error) {
	stream, err := s.js.Stream(ctx, o.name) // Info of one stream is not for many goroutines
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}

// missed reads what is behind after.
func (j *JetStream) missed(ctx context.Context, s *session, o *opening, c class, topic string, after hub.Position, limits hub.History,
) (b hub.Backlog, err error) {
	subject := j.storedSubject(c, topic)
	last, ok, err := s.latest(ctx, o, subject)
	if err != nil {
		return b, err
	}
	if !ok {
		var isQuiet bool
		if b, last, isQuiet, err = j.quiet(ctx, s, o, c, topic, after); err != nil || isQuiet {
			return b, err
		}
	}
	isOfEpoch := after.Epoch == o.base.Epoch
	b.Top = hub.Position{Epoch: o.base.Epoch, Offset: offset(last.sequence)}
	if !isOfEpoch || after.Offset < o.base.Offset {
		after = o.base
	}
	if after.Offset >= b.Top.Offset {
		b.Complete = isOfEpoch && after.Offset == b.Top.Offset
		return b, nil
	}
	var previous uint64 // not known of the first
	n, size := 0, 0
	take := func(m kept) {
		if m.base.Epoch != o.base.Epoch {
			return
		}
		at := hub.Position{Epoch: o.base.Epoch, Offset: offset(m.sequence)}
		b.Messages = append(b.Messages, hub.BrokerEvent{Position: at, Previous: previous, Time: m.time, Payload: m.data})
		previous = at.Offset
		n++
		size += len(m.data)
		for len(b.Messages) > limits.Messages || limits.Bytes > 0 && size > limits.Bytes && len(b.Messages) > 0 {
			size -= len(b.Messages[0].Payload)
			b.Messages[0] = hub.BrokerEvent{}
			b.Messages = b.Messages[1:]
		}
	}
	// offset is one more than the number: this is the one behind after.
	if err := s.read(ctx, o, subject, after.Offset, last, take); err != nil {
		return b, err
	}
	if len(b.Messages) > 0 {
		info, err := s.state(ctx, o)
		if err != nil {
			return b, err
		}
		if b.Now = info.TimeStamp; b.Now.IsZero() {
			b.Now = j.now(ctx, s)
		}
		if first := &b.Messages[0]; first.Previous == 0 {
			if first.Previous, err = j.oldest(ctx, s, o, c, topic, after, n, info); err != nil {
				return b, err
			}
			first.Previous = min(first.Previous, first.Position.Offset-1)
		}
	}
	b.Complete = isOfEpoch && len(b.Messages) > 0 && b.Messages[0].Previous <= after.Offset
	return b, nil
}

// quiet is missed for a topic that seems to have no messages. It reports false,
// and returns the latest message, if the topic has one.
func (j *JetStream) quiet(ctx context.Context, s *session, o *opening, c class, topic string, after hub.Position,
) (b hub.Backlog, latest kept, is bool, err error) {
	state, err := s.state(ctx, o)
	if err != nil {
		return b, kept{}, false, err
	}
	last := offset(state.State.LastSeq)
	latest, ok, err := s.latest(ctx, o, j.storedSubject(c, topic))
	if err != nil || ok {
		return b, latest, false, err
	}
	if state, err = s.state(ctx, o); err != nil { // what has it dropped until now?
		return b, kept{}, false, err
	}
	epoch, first := o.base.Epoch, state.State.FirstSeq
	b.Since = max(min(j.wholeSince(topic, c, epoch, first), last), o.base.Offset)
	b.Top = hub.Position{Epoch: epoch, Offset: last}
	b.Complete = after.Epoch == epoch && b.Since <= after.Offset && after.Offset <= last
	j.quietAt(topic, c, epoch, first, last)
	return b, kept{}, true, nil
}

// oldest returns the offset behind which the n messages behind after are all
// that there were; the largest number if that is not known. The state of the
// stream was asked for after the messages.
func (j *JetStream) oldest(ctx context.Context, s *session, o *opening, c class, topic string, after hub.Position, n int,
	state *jetstream.StreamInfo) (since uint64, err error) {
	if after.Offset > o.base.Offset {
		m, ok, err := s.get(ctx, o, query{Sequence: after.Offset - 1})
		if err != nil || ok && m.subject == j.storedSubject(c, topic) {
			return after.Offset, err
		}
	}
	if limit := state.Config.MaxMsgsPerSubject; limit > 0 && int64(n) >= limit {
		return math.MaxUint64, nil // one may have been dropped for another
	}
	since = j.wholeSince(topic, c, o.base.Epoch, state.State.FirstSeq)
	return max(since, after.Offset), nil // what lies before after was not read
}

const (
	// toldFor is how long the time that the server told counts, with what a
	// clock of this process adds. The server's clock may have been set since.
	toldFor = 10 * time.Second
	// tellTimeout bounds how long the server may take to tell it.
	tellTimeout = time.Second
)

// clockSubject is the subject of messages without a meaning. No class has this
// name.
func (j *JetStream) clockSubject() string { return j.prefix + "_epochs.clock" }

// now returns the time of a server that does not tell it with the state of a
// stream, as those before 2.10. Such a server tells when it got a message, so
// it is given one. It returns zero if the server does not say.
func (j *JetStream) now(ctx context.Context, s *session) time.Time {
	s.mu.Lock()
	told, at := s.told, s.toldAt
	s.mu.Unlock()
	if at.IsZero() || time.Since(at) >= toldFor {
		ctx, cancel := context.WithTimeout(ctx, tellTimeout)
		defer cancel()
		subject := j.clockSubject()
		told, at = time.Time{}, time.Now()
		if _, err := s.js.Publish(ctx, subject, nil); err == nil {
			m, _, err := s.get(ctx, &opening{name: j.streamName("epochs")}, query{Last: subject})
			if err == nil {
				told = m.time // zero if there is none
			}
		}
		s.mu.Lock()
		s.told, s.toldAt = told, at
		s.mu.Unlock()
	}
	if told.IsZero() {
		return told
	}
	return told.Add(time.Since(at))
}

// maxGets is how many messages are asked for one by one. A consumer costs more
// to make than each of them, and brings the rest together.
const maxGets = 100

// read reads the messages of a subject, from a number up to last.
func (s *session) read(ctx context.Context, o *opening, subject string, from uint64, last kept, take func(kept)) error {
	if canBatch(s.conn.ConnectedServerVersion()) {
		next, err := s.readBatch(ctx, o, subject, from, last, take)
		if err == nil || ctx.Err() != nil {
			return err
		}
		from = next
	}
	for n := 0; from < last.sequence; n++ {
		if n == maxGets {
			return s.readConsumer(ctx, o, subject, from, last, take)
		}
		m, ok, err := s.get(ctx, o, query{Sequence: from, Next: subject})
		if err != nil {
			return err
		}
		if !ok || m.sequence >= last.sequence {
			break
		}
		take(m)
		from = m.sequence + 1
	}
	if from <= last.sequence {
		take(last)
	}
	return nil
}

const (
	consumerBatch = 1000
	consumerIdle  = 10 * time.Second // after which the server forgets a consumer by itself
)

// readConsumer is read with a consumer, which is there for this alone.
func (s *session) readConsumer(ctx context.Context, o *opening, subject string, from uint64, last kept, take func(kept)) error {
	consumer, err := o.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubject:     subject,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       from,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: consumerIdle,
	})
	if err != nil {
		return err
	}
	defer func() {
		// The server need not have answered when this returns.
		s.conn.PublishRequest("$JS.API.CONSUMER.DELETE."+o.name+"."+consumer.CachedInfo().Name, s.conn.NewInbox(), nil)
	}()
	for from <= last.sequence {
		batch, err := consumer.Fetch(consumerBatch, jetstream.FetchContext(ctx))
		if err != nil {
			return err
		}
		got := 0
		for reply := range batch.Messages() {
			meta, err := reply.Metadata()
			if err != nil {
				return err
			}
			got++
			m := kept{subject: subject, sequence: meta.Sequence.Stream, time: meta.Timestamp, data: reply.Data()}
			m.base, _ = hub.ParsePosition(reply.Headers().Get(headerBase))
			if m.sequence < from {
				return errBatch
			}
			from = m.sequence + 1
			if m.sequence <= last.sequence {
				take(m)
			}
			if m.sequence >= last.sequence {
				return nil // the rest of the batch is not waited for
			}
		}
		if err := batch.Error(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if got == 0 {
			return errBatch
		}
	}
	return nil
}

// canBatch reports whether a server of this version returns many messages at
// once: 2.11 or later.
func canBatch(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (major > 2 || major == 2 && minor >= 11)
}

const (
	batchSize   = 1000
	batchBytes  = 8 << 20
	batchSilent = time.Second // between two messages of a batch
)

var errBatch = errors.New("the server did not return what it has")

// readBatch is read with many messages for one request. Any server of a cluster
// may answer. One that lags behind does not have last, and that is an error. It
// returns from where to go on then.
func (s *session) readBatch(ctx context.Context, o *opening, subject string, from uint64, last kept, take func(kept),
) (next uint64, err error) {
	inbox := s.conn.NewInbox()
	sub, err := s.conn.SubscribeSync(inbox)
	if err != nil {
		return from, err
	}
	defer sub.Unsubscribe()
	for from <= last.sequence {
		request, err := json.Marshal(struct {
			query
			MaxBytes int `json:"max_bytes"`
		}{query{Sequence: from, Next: subject, Batch: batchSize}, batchBytes})
		if err != nil {
			return from, err
		}
		if err := s.conn.PublishRequest("$JS.API.DIRECT.GET."+o.name, inbox, request); err != nil {
			return from, err
		}
		got := 0
		for {
			waiting, cancel := context.WithTimeout(ctx, batchSilent)
			reply, err := sub.NextMsgWithContext(waiting)
			cancel()
			if err != nil {
				return from, err
			}
			if status := reply.Header.Get("Status"); status == "204" {
				break
			} else if status != "" {
				return from, fmt.Errorf("%w: %s %s", errBatch, status, reply.Header.Get("Description"))
			}
			m := kept{subject: reply.Header.Get("Nats-Subject"), data: bytes.Clone(reply.Data)}
			m.base, _ = hub.ParsePosition(reply.Header.Get(headerBase))
			m.sequence, err = strconv.ParseUint(reply.Header.Get("Nats-Sequence"), 10, 64)
			if err == nil {
				m.time, err = time.Parse(time.RFC3339Nano, reply.Header.Get("Nats-Time-Stamp"))
			}
			if err != nil || m.subject != subject || m.sequence < from {
				return from, errBatch
			}
			got++
			from = m.sequence + 1
			if m.sequence <= last.sequence {
				take(m)
			}
		}
		if got == 0 {
			return from, errBatch
		}
	}
	return from, nil
}
