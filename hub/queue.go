package hub

import (
	"context"
	"fmt"

	"github.com/seed70bc5565/websocket"
)

// maxExtra bounds the messages that are replayed to one subscriber while it has
// not taken those before.
const maxExtra = 1 << 16

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
	if len(s.queue) > 0 && s.fullLocked(m) {
		if err := s.makeRoomLocked(m); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	s.pushLocked(m)
	s.mu.Unlock()
	return nil
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

// replayLocked puts messages into the queue that do not count for its bound.
// There must be one.
func (s *Subscriber) replayLocked(ms []*message) error {
	if s.replayed == nil {
		s.replayed = &replayed{}
	} else if s.replayed.messages+len(ms) > maxExtra {
		return ErrFull
	}
	r := s.replayed
	others := len(s.queue) - r.messages - r.between // behind the last run
	if last := len(r.runs) - 1; last >= 0 && others == 0 {
		r.runs[last].messages += len(ms)
	} else {
		r.runs = append(r.runs, run{others, len(ms)})
		r.between += others
	}
	r.messages += len(ms)
	for _, m := range ms {
		r.bytes += m.size
		s.pushLocked(m)
	}
	return nil
}

// dequeueLocked takes the first n messages out of the queue.
func (s *Subscriber) dequeueLocked(n int) {
	for i, m := range s.queue[:n] {
		s.bytes -= m.size
		s.queue[i] = nil
		if r := s.replayed; r != nil {
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
				s.replayed = nil
			}
		}
	}
	s.queue = s.queue[n:]
}

// fullLocked reports whether there is no room for m.
func (s *Subscriber) fullLocked(m *message) bool {
	o := &s.hub.opts
	waiting, bytes := len(s.queue), s.bytes
	if r := s.replayed; r != nil {
		waiting, bytes = waiting-r.messages, bytes-r.bytes
	}
	return o.QueueMessages > 0 && waiting >= o.QueueMessages || o.QueueBytes > 0 && bytes+m.size > o.QueueBytes
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
		for len(s.queue) > 0 && s.fullLocked(m) {
			s.dequeueLocked(1)
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

// pushLocked appends m, and has a flusher come.
func (s *Subscriber) pushLocked(m *message) {
	if s.queue == nil {
		s.queue = s.small[:0]
	}
	s.queue = append(s.queue, m)
	s.bytes += m.size
	s.wakeFlusherLocked()
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
	clear(s.queue)
	s.queue, s.bytes, s.replayed = nil, 0, nil
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
	bytes := 0
	for n < len(s.queue) && n < batchMessages {
		m := s.queue[n]
		if bytes += m.size; n > 0 && bytes > batchBytes {
			break
		}
		batch[n] = m.PreparedMessage
		n++
	}
	s.dequeueLocked(n)
	if len(s.queue) == 0 {
		s.queue = nil
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
