package hub

import "time"

// A history holds the latest messages of a topic, with no gap between them: the offset of each is that of the one
// before it plus one. It belongs to its topic, under the topic's lock. It does not read the clock.
type history struct {
	limits History // immutable, with the defaults filled in
	kept   []*message
	first  int // kept[first:] are the messages; what was before is nil
	bytes  int
}

// newHistory returns a history within limits, or nil if these say that nothing is kept.
func newHistory(limits History) *history {
	if limits.Messages <= 0 {
		return nil
	}
	limits.Bytes = orDefault(limits.Bytes, defaultHistoryBytes)
	limits.Age = orDefault(limits.Age, defaultHistoryAge)
	return &history{limits: limits}
}

func (y *history) len() int { return len(y.kept) - y.first }

// add keeps m, whose offset follows on that of the last one.
func (y *history) add(m *message, now time.Time) {
	if len(y.kept) == cap(y.kept) && y.first > len(y.kept)/2 {
		n := copy(y.kept, y.kept[y.first:])
		clear(y.kept[n:])
		y.kept, y.first = y.kept[:n], 0
	}
	y.kept = append(y.kept, m)
	y.bytes += m.size
	for y.len() > y.limits.Messages || y.limits.Bytes >= 0 && y.bytes > y.limits.Bytes {
		y.dropFirst()
	}
	y.expire(now)
}

// expire drops what is too old.
func (y *history) expire(now time.Time) {
	if y.limits.Age < 0 {
		return
	}
	for y.len() > 0 && now.Sub(y.kept[y.first].at) >= y.limits.Age {
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

// after returns the messages behind offset, if all of them are there. last is the offset of the topic's latest.
func (y *history) after(offset, last uint64) (missed []*message, ok bool) {
	if offset > last || last-offset > uint64(y.len()) {
		return nil, false
	}
	return y.kept[len(y.kept)-int(last-offset):], true
}

// recent returns the n latest messages, or as many as there are.
func (y *history) recent(n int) []*message {
	return y.kept[len(y.kept)-min(max(n, 0), y.len()):]
}
