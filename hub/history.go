package hub

import (
	"slices"
	"sort"
	"time"
)

// A history holds the latest messages of a topic. Invariant: nothing is missing
// between them, that is, each follows on the one before it. It belongs to its
// topic, under the topic's lock. It does not read the clock: times count from
// the hub's start.
type history struct {
	limits History // immutable, with the defaults filled in
	kept   []*message
	first  int // kept[first:] are the messages; what was before is nil
	bytes  int
}

// newHistory returns a history within limits, or nil if these say that nothing
// is kept.
func newHistory(limits History) *history {
	if limits.Messages <= 0 {
		return nil
	}
	limits.Bytes = orDefault(limits.Bytes, defaultHistoryBytes)
	limits.Age = orDefault(limits.Age, defaultHistoryAge)
	return &history{limits: limits}
}

func (y *history) len() int { return len(y.kept) - y.first }

// add keeps m, which follows on the last one. Bounds are kept to.
func (y *history) add(m *message, now time.Duration) {
	if len(y.kept) == cap(y.kept) && y.first > len(y.kept)/2 {
		n := copy(y.kept, y.kept[y.first:])
		clear(y.kept[n:])
		y.kept, y.first = y.kept[:n], 0
	}
	y.kept = append(y.kept, m)
	y.bytes += m.size
	y.trim(now)
}

// prepend keeps messages that lie before all that are kept, with nothing
// between. Bounds are kept to.
func (y *history) prepend(ms []*message, now time.Duration) {
	y.kept, y.first = slices.Concat(ms, y.kept[y.first:]), 0
	for _, m := range ms {
		y.bytes += m.size
	}
	y.trim(now)
}

// trim drops the oldest beyond the bounds.
func (y *history) trim(now time.Duration) {
	for y.len() > y.limits.Messages || y.limits.Bytes >= 0 && y.bytes > y.limits.Bytes {
		y.dropFirst()
	}
	y.expire(now)
}

// expire drops what is too old.
func (y *history) expire(now time.Duration) {
	if y.limits.Age < 0 {
		return
	}
	for y.len() > 0 && now-y.kept[y.first].at >= y.limits.Age {
		y.dropFirst()
	}
}

func (y *history) dropFirst() {
	y.bytes -= y.kept[y.first].size
	y.kept[y.first] = nil
	y.first++
	if y.first == len(y.kept) {
		y.clear()
	}
}

func (y *history) clear() {
	y.kept, y.first, y.bytes = nil, 0, 0
}

// after returns the messages behind offset.
func (y *history) after(offset uint64) []*message {
	kept := y.kept[y.first:]
	i := sort.Search(len(kept), func(i int) bool { return kept[i].offset > offset })
	return kept[i:]
}

// since returns the offset behind which the messages are all that there were.
// There must be one.
func (y *history) since() uint64 { return y.kept[y.first].previous }

// reach notes that no message lies between offset and the first one.
func (y *history) reach(offset uint64) {
	first := *y.kept[y.first] // a copy: messages are immutable
	first.previous = offset
	y.kept[y.first] = &first
}

// recent returns the n latest messages, or as many as there are.
func (y *history) recent(n int) []*message {
	return y.kept[len(y.kept)-min(max(n, 0), y.len()):]
}
