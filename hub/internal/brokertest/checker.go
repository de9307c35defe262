//go:build unix

package brokertest

import (
	"fmt"
	"slices"

	"github.com/seed70bc5565/websocket/hub"
)

// A checker compares what was published to a topic with what each client saw of
// it. The rule: every client has every message once and in order, or was told
// that it missed some.

// An id names a message: publisher and number. Each publisher counts from 1,
// and has one message under way at a time.
type id struct{ publisher, n int }

// A sighting is what a client saw: a message, or the begin of a subscription.
type sighting struct {
	at       hub.Position
	previous uint64 // of a message
	id       id     // zero: the begin of a subscription
	complete bool   // of a begin: nothing is missing between the position before, and what follows
}

// A topicLog is what happened in a topic.
type topicLog struct {
	confirmed []int        // the number of the message of each publisher that is the end; more may follow
	clients   [][]sighting // of each client
}

// A verdict is what a checker found.
type verdict struct {
	faults []string // the first ones
	count  int      // all

	messages int      // that clients saw
	resumed  int      // begins after which a client went on, with nothing missing
	told     int      // times that a client was told that it missed something
	tells    []string // the first ones
}

const maxFaults = 10

func (v *verdict) fault(format string, args ...any) {
	v.count++
	if v.count <= maxFaults {
		v.faults = append(v.faults, fmt.Sprintf(format, args...))
	}
}

// A segment is a part of what a client saw, in which nothing may be missing.
type segment struct {
	client   int
	from     hub.Position // the segment has what is behind it
	messages []sighting
}

// check compares. The end, or a message behind it, must have come to every
// client from each publisher.
func check(log topicLog) verdict {
	var v verdict
	var segments []segment
	for i, seen := range log.clients {
		own := v.split(i, seen)
		segments = append(segments, own...)
		v.ended(i, own, log.confirmed)
	}

	// A position is that of one message, and a message has one position in an
	// epoch. (A message whose fate was in doubt is repeated, and an engine that
	// lost its data takes it again.)
	type idOfEpoch struct {
		id    id
		epoch uint64
	}
	byPosition := map[hub.Position]id{}
	byID := map[idOfEpoch]hub.Position{}
	for _, s := range segments {
		for _, m := range s.messages {
			if other, ok := byPosition[m.at]; ok && other != m.id {
				v.fault("client %d: position %v is of message %v, and of %v", s.client, m.at, m.id, other)
			}
			own := idOfEpoch{m.id, m.at.Epoch}
			if other, ok := byID[own]; ok && other != m.at {
				v.fault("client %d: message %v has position %v, and %v", s.client, m.id, m.at, other)
			}
			byPosition[m.at], byID[own] = m.id, m.at
		}
	}
	// The messages of an epoch that anyone saw, in order.
	offsets := map[uint64][]uint64{}
	for at := range byPosition {
		offsets[at.Epoch] = append(offsets[at.Epoch], at.Offset)
	}
	for _, o := range offsets {
		slices.Sort(o)
	}
	for _, s := range segments {
		v.whole(s, offsets, log.confirmed)
	}
	return v
}

// split returns the segments of what a client saw. A client knows by itself
// that it missed something if the epoch is another one. It knows it, too, if
// the message before is not the one that it saw last.
func (v *verdict) split(client int, seen []sighting) []segment {
	var segments []segment
	var last hub.Position
	begin := func(from hub.Position, isFirst bool) {
		if !isFirst {
			v.told++
			if len(v.tells) < maxFaults {
				v.tells = append(v.tells, fmt.Sprintf("client %d at %v, to go on behind %v", client, last, from))
			}
		}
		last = from
		segments = append(segments, segment{client: client, from: from})
	}
	for _, m := range seen {
		isFirst := len(segments) == 0
		if m.id == (id{}) {
			switch {
			case !m.complete || isFirst:
				begin(m.at, isFirst)
			default:
				v.resumed++
			}
			continue
		}
		v.messages++
		switch {
		case isFirst:
			v.fault("client %d: message %v before any subscription", client, m.id)
			begin(hub.Position{Epoch: m.at.Epoch, Offset: m.previous}, true)
		case last.Epoch == 0: // a new topic
			segments[len(segments)-1].from = hub.Position{Epoch: m.at.Epoch, Offset: m.previous}
		case m.at.Epoch != last.Epoch, m.previous > last.Offset:
			begin(hub.Position{Epoch: m.at.Epoch, Offset: m.previous}, false)
		}
		if m.at.Epoch == last.Epoch && m.at.Offset <= last.Offset {
			v.fault("client %d: message %v at %v came behind %v", client, m.id, m.at, last)
		}
		last = m.at
		s := &segments[len(segments)-1]
		s.messages = append(s.messages, m)
	}
	return segments
}

// ended finds clients that do not have the latest message of each publisher.
func (v *verdict) ended(client int, segments []segment, confirmed []int) {
	latest := make([]int, len(confirmed))
	for _, s := range segments {
		for _, m := range s.messages {
			latest[m.id.publisher] = max(latest[m.id.publisher], m.id.n)
		}
	}
	for p, n := range confirmed {
		if latest[p] < n {
			v.fault("client %d: the latest message of publisher %d is %d, want %d", client, p, latest[p], n)
		}
	}
}

// whole finds what is missing in a segment: a message that another client saw,
// or one of a publisher that was confirmed. A publisher's messages are in its
// order.
func (v *verdict) whole(s segment, offsets map[uint64][]uint64, confirmed []int) {
	before := make([]int, len(confirmed))
	last := s.from
	for _, m := range s.messages {
		o := offsets[m.at.Epoch]
		i, _ := slices.BinarySearch(o, m.at.Offset)
		if i > 0 && m.at.Epoch == last.Epoch && o[i-1] > last.Offset {
			v.fault("client %d: %v is missing between %v and %v", s.client, hub.Position{Epoch: m.at.Epoch, Offset: o[i-1]},
				last, m.at)
		}
		last = m.at
		switch p := m.id.publisher; {
		case before[p] == 0 || m.id.n == before[p]+1:
		case m.id.n <= before[p]:
			v.fault("client %d: message %d of publisher %d came behind %d", s.client, m.id.n, p, before[p])
		default:
			v.fault("client %d: messages %d to %d of publisher %d are missing", s.client, before[p]+1, m.id.n-1, p)
		}
		before[m.id.publisher] = m.id.n
	}
}

// String sums up.
func (v verdict) String() string {
	return fmt.Sprintf("faults %d, messages seen %d, resumed %d, told %d", v.count, v.messages, v.resumed, v.told)
}

// sum adds up the verdicts of topics.
func sum(vs []verdict) verdict {
	var all verdict
	for _, v := range vs {
		all.count += v.count
		for _, f := range v.faults {
			if len(all.faults) < maxFaults {
				all.faults = append(all.faults, f)
			}
		}
		all.tells = append(all.tells, v.tells...)
		all.messages += v.messages
		all.resumed += v.resumed
		all.told += v.told
	}
	return all
}
