package hub

import (
	"context"
	"fmt"
	"sync"

	"github.com/seed70bc5565/websocket"
)

// maxExtra bounds the messages that are replayed to one subscriber while it has
// not taken those before.
const maxExtra = 1 << 16

// A queue is what waits for one subscriber, in order. The lock of the
// subscriber guards it. A subscriber has one only while something waits, and at
// most times nothing does.
type queue struct {
	messages []*message // in small while they fit
	small    [6]*message
	bytes    int       // of all messages
	replayed *replayed // what waits beyond the bounds, because it was replayed; nil: nothing
}

// queues has empty ones.
var queues = sync.Pool{New: func() any { return new(queue) }}

func (q *queue) len() int { return len(q.messages) }

// push appends m.
func (q *queue) push(m *message) {
	if q.messages == nil {
		q.messages = q.small[:0]
	}
	moves := len(q.messages) == cap(q.messages)
	q.messages = append(q.messages, m)
	q.bytes += m.size
	if moves {
		clear(q.small[:]) // it would keep these messages until the queue is empty
	}
}

// replayed tells which messages in a queue were replayed. Such messages do not
// count for the bounds of the queue.
type replayed struct {
	messages, bytes int
	runs            []run
	between         int // the other messages in front of runs, and between them
}

// A run is a number of replayed messages, with other messages in front of them.
type run struct{ others, messages int }

// replay puts messages into the queue that do not count for its bound.
// There must be one.
func (q *queue) replay(ms []*message) error {
	if q.replayed == nil {
		q.replayed = &replayed{}
	} else if q.replayed.messages+len(ms) > maxExtra {
		return ErrFull
	}
	r := q.replayed
	others := len(q.messages) - r.messages - r.between // behind the last run
	if last := len(r.runs) - 1; last >= 0 && others == 0 {
		r.runs[last].messages += len(ms)
	} else {
		r.runs = append(r.runs, run{others, len(ms)})
		r.between += others
	}
	r.messages += len(ms)
	for _, m := range ms {
		r.bytes += m.size
		q.push(m)
	}
	return nil
}

// drop takes the first n messages out of the queue.
func (q *queue) drop(n int) {
	for i, m := range q.messages[:n] {
		q.bytes -= m.size
		q.messages[i] = nil
		if r := q.replayed; r != nil {
			if first := &r.runs[0]; first.others > 0 {
				first.others--
				r.between--
				continue
			} else if first.messages--; first.messages == 0 {
				r.runs = r.runs[1:]
			}
			r.messages--
			r.bytes -= m.size
			if r.messages == 0 {
				q.replayed = nil
			}
		}
	}
	q.messages = q.messages[n:]
}

// take takes what can be written at once out of the queue. It returns how many
// messages these are.
func (q *queue) take(batch *batch) (n int) {
	bytes := 0
	for n < len(q.messages) && n < batchMessages {
		m := q.messages[n]
		if bytes += m.size; n > 0 && bytes > batchBytes {
			break
		}
		batch[n] = m.PreparedMessage
		n++
	}
	q.drop(n)
	return n
}

// full reports whether there is no room for m.
func (q *queue) full(o *Options, m *message) bool {
	waiting, bytes := len(q.messages), q.bytes
	if r := q.replayed; r != nil {
		waiting, bytes = waiting-r.messages, bytes-r.bytes
	}
	return o.QueueMessages > 0 && waiting >= o.QueueMessages || o.QueueBytes > 0 && bytes+m.size > o.QueueBytes
}

func newMessage(typ websocket.MessageType, data []byte) (*message, error) {
	p, err := websocket.NewPreparedMessage(typ, data)
	if err != nil {
		return nil, noSuchType(typ)
	}
	return &message{PreparedMessage: p, size: len(data)}, nil
}

// noSuchType is not inlined, to keep the frames of its callers small.
//
//go:noinline
func noSuchType(typ websocket.MessageType) error {
	return fmt.Errorf("hub: no such message type: %d", int(typ))
}

// Send sends a message to this subscriber alone, behind what waits for it. It
// does not wait. data is the caller's again when Send returns.
//
// The error matches [ErrFull] if the queue was full and the message was not
// taken. Otherwise it is that of [Subscriber.Err]: why the subscriber gets no
// more messages.
func (s *Subscriber) Send(typ websocket.MessageType, data []byte) error {
	m, err := newMessage(typ, data)
	if err != nil {
		return err
	}
	if s.hub.closed.Load() {
		return ErrClosed
	}
	return s.put(m)
}

// put puts m into the queue.
func (s *Subscriber) put(m *message) error {
	s.mu.Lock()
	if s.err != nil {
		err := s.err
		s.mu.Unlock()
		return err
	}
	q := s.queueLocked()
	if q.len() > 0 && q.full(&s.hub.opts, m) {
		if err := s.makeRoomLocked(m); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	q.push(m)
	s.wakeFlusherLocked()
	s.mu.Unlock()
	return nil
}

// makeRoomLocked does what the policy says.
func (s *Subscriber) makeRoomLocked(m *message) error {
	h := s.hub
	switch h.opts.WhenFull {
	case DropNewest:
		s.dropped++
		h.dropped.Add(1)
		return ErrFull
	case DropOldest:
		for q := s.queue; q.len() > 0 && q.full(&h.opts, m); {
			q.drop(1)
			s.dropped++
			h.dropped.Add(1)
		}
		return nil
	}
	s.endLocked(ErrFull)
	s.emptyLocked()
	h.disconnected.Add(1)
	go s.disconnect()
	return ErrFull
}

// disconnect ends the connection of a subscriber that was too slow. If the
// flusher waits in a write, the end of the connection ends it.
func (s *Subscriber) disconnect() {
	s.leaveTopics()
	s.closeConn(websocket.StatusTryAgainLater, "too slow")
}

// queueLocked returns the queue of s, with which the caller puts a message into
// it.
func (s *Subscriber) queueLocked() *queue {
	if s.queue == nil {
		s.queue = queues.Get().(*queue)
	}
	return s.queue
}

// wakeFlusherLocked has a flusher come, unless one is here or on its way.
func (s *Subscriber) wakeFlusherLocked() {
	if !s.flushing {
		s.flushing = true
		s.hub.flushers.call(s)
	}
}

// emptyLocked forgets what waits.
func (s *Subscriber) emptyLocked() {
	if q := s.queue; q != nil {
		clear(q.messages)
		*q = queue{}
		s.queue = nil
		queues.Put(q)
	}
}

// flush writes what waits until nothing does. A flusher calls it, with its
// batch.
func (s *Subscriber) flush(batch *batch) {
	for {
		n, bye := s.take(batch)
		if n > 0 {
			err := s.conn.WritePrepared(context.Background(), batch[:n]...)
			clear(batch[:n])
			if err == nil {
				s.hub.delivered.Add(uint64(n))
				continue
			}
			bye = s.fail(err)
		}
		if bye != nil {
			bye.late.Stop()
			s.closeConn(bye.code, bye.reason)
		}
		return
	}
}

// take takes what can be written at once out of the queue. If there is nothing,
// the flusher has only to do what bye says.
func (s *Subscriber) take(batch *batch) (n int, bye *closing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.queue; q != nil {
		n = q.take(batch)
		if q.len() == 0 {
			s.emptyLocked()
		}
	}
	if n == 0 {
		s.flushing = false
	}
	return n, s.bye
}

// fail ends the subscriptions of a connection that cannot be written to.
func (s *Subscriber) fail(err error) (bye *closing) {
	s.mu.Lock()
	s.endLocked(err)
	s.emptyLocked()
	s.flushing = false
	bye = s.bye
	s.mu.Unlock()
	s.leaveTopics()
	return bye
}
