package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// A Swarm is a client process that holds many connections to one server. It
// answers pings, sends a message on each connection now and then, which the
// server must send back, and counts what it is sent. Unlike the other clients
// of this package it sleeps when there is nothing to do.
//
// It takes orders from its standard input, as JSON, a line each. It answers
// each with a Report on its standard output when it is carried out.
type Swarm struct {
	Addr  string        // of the server
	From  []string      // addresses of this machine to dial from, in turns
	Every time.Duration // between two messages of a connection
	Size  int           // bytes of a message
	Few   int           // the first so many connections ask for PathFew in place of /
}

// PathFew is the path of the requests of the first connections.
const PathFew = "/few"

// An Order tells a swarm what to do.
type Order struct {
	Do   Do
	N    int           // connections to dial or to cut
	Tick uint32        // the broadcast to await
	Few  bool          // by the first connections only
	Time time.Duration // in which it must be done
}

// Do is what an Order is about.
type Do string

const (
	Dial  Do = "dial"   // have N connections more
	Talk  Do = "talk"   // send messages from now on
	Hush  Do = "hush"   // send no more of them, and wait until all have come back
	Await Do = "await"  // wait until every connection has the broadcast Tick
	Cut   Do = "cut"    // reset N connections at once, and dial them again
	Tell  Do = "report" // nothing
)

// A Report is a swarm's answer to an Order.
type Report struct {
	Open int // connections, now

	// These count from the start.

	Lost   int            // connections that ended and were not cut
	Why    map[string]int // they did
	Pings  int64          // that were answered
	Sent   int64          // messages
	Echoed int64          // messages that came back

	// First and Last are when the broadcast came that was awaited; or Last is
	// when the last of those to be dialled was upgraded.
	First, Last time.Time
	Received    int // connections that have the broadcast

	Err string // why the order was not carried out
}

// AppendTick appends the payload of a broadcast of n bytes, 12 at least.
func AppendTick(b []byte, tick uint32, n int) []byte {
	start := len(b)
	b = fmt.Appendf(b, "#%010d ", tick)
	for len(b)-start < n {
		b = append(b, '.')
	}
	return b
}

// parseTick reads what AppendTick makes, if it is that.
func parseTick(b []byte) (tick uint32, ok bool) {
	if len(b) < 12 || b[0] != '#' || b[11] != ' ' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[1:11]), 10, 32)
	return uint32(n), err == nil
}

// swarmLimit is the longest payload that a swarm takes: a frame must fit its
// buffer.
const swarmLimit = 16 << 10

var errFrame = errors.New("the server sent a frame that it must not send")

// nextFrame parses the frame of a server at the start of b. n is its length, or
// 0 if b holds less than a frame.
func nextFrame(b []byte) (opcode byte, payload []byte, n int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	opcode = b[0] & 0xf
	length, header := int(b[1]), 2
	control := opcode >= 8
	switch {
	case b[0]&0xf0 != 0x80: // a fragment, or a reserved bit
		return 0, nil, 0, errFrame
	case opcode == 0, opcode > 2 && opcode < 8, opcode > 10:
		return 0, nil, 0, errFrame
	case length > 127: // masked
		return 0, nil, 0, errFrame
	case control && length > 125, length == 127:
		return 0, nil, 0, errFrame
	case length == 126:
		if len(b) < 4 {
			return 0, nil, 0, nil
		}
		length, header = int(binary.BigEndian.Uint16(b[2:])), 4
		if length < 126 || length > swarmLimit {
			return 0, nil, 0, errFrame
		}
	}
	if n = header + length; len(b) < n {
		return 0, nil, 0, nil
	}
	return opcode, b[header:n], n, nil
}
