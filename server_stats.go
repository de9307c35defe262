package websocket

import (
	"cmp"
	"maps"
	"slices"
)

// ServerStats is what a [Server] has done so far. [Server.Stats] returns it. It
// encodes as JSON.
type ServerStats struct {
	// Open is how many connections there are, and Handshaking how many more are
	// in the handshake. Together they are what [Server.Connections] returns.
	Open        int `json:"open"`
	Handshaking int `json:"handshaking"`

	// Accepted is how many connections there were in all, those of Adopt
	// included.
	Accepted int64 `json:"accepted"`

	// Refused is how many requests were refused, by the status of the response.
	// 0 stands for handshakes that could not be answered.
	Refused map[int]int64 `json:"refused"`

	// Ended is how many connections have ended, by cause and close code, in
	// that order.
	Ended []EndCount `json:"ended"`

	// Waiting, Received and Sent are the sums of those of all connections, open
	// and ended. Waiting is 0 for those that have ended.
	Waiting  int     `json:"waiting"`
	Received Traffic `json:"received"`
	Sent     Traffic `json:"sent"`
}

// An EndCount is how many connections have ended in the same way.
type EndCount struct {
	Cause EndCause   `json:"cause"`
	Code  StatusCode `json:"code"`
	Count int64      `json:"count"`
}

// Stats returns what the server has done so far. A connection is open until it
// has ended and serve has returned. The counts of connections that have ended
// never decrease. Stats asks each open connection, which takes about a
// millisecond for 10,000 connections.
func (s *Server) Stats() ServerStats {
	l := &s.live
	l.mu.Lock()
	open := l.openLocked()
	stats := ServerStats{
		Open:        open,
		Handshaking: l.n - open,
		Accepted:    l.counts.accepted,
		Refused:     maps.Clone(l.counts.refused),
		Ended:       make([]EndCount, 0, len(l.counts.ended)),
		Received:    l.counts.received,
		Sent:        l.counts.sent,
	}
	for end, n := range l.counts.ended {
		end.Count = n
		stats.Ended = append(stats.Ended, end)
	}
	conns := l.listLocked()
	l.mu.Unlock()
	if stats.Refused == nil {
		stats.Refused = map[int]int64{}
	}
	slices.SortFunc(stats.Ended, func(a, b EndCount) int {
		return cmp.Or(cmp.Compare(a.Cause, b.Cause), cmp.Compare(a.Code, b.Code))
	})
	for _, c := range conns {
		one := c.Stats()
		stats.Waiting += one.Waiting
		stats.Received.add(one.Received)
		stats.Sent.add(one.Sent)
	}
	return stats
}

// connCounts is what a connSet has counted. The set's lock guards it.
type connCounts struct {
	accepted int64
	refused  map[int]int64
	ended    map[EndCount]int64 // keys have the Count 0
	received Traffic            // of those that have ended
	sent     Traffic
}

// lastCounts is what is counted of a connection that has ended.
type lastCounts struct {
	end            EndCount // its Count is 0
	received, sent Traffic
}

// takeEnd is not inlined, to keep the frame of its caller small: the stack of a
// connection that has ended need not grow.
//
//go:noinline
func (l *lastCounts) takeEnd(c *Conn) {
	end := c.End()
	l.end = EndCount{Cause: end.Cause, Code: end.Code}
}
