package load

import (
	"crypto/rand"
	"encoding/binary"
)

// appendMasked appends a final frame as a client sends it.
func appendMasked(b []byte, opcode byte, payload []byte) []byte {
	b = appendLength(append(b, 0x80|opcode), 0x80, len(payload))
	var key [4]byte
	rand.Read(key[:])
	b = append(b, key[:]...)
	start := len(b)
	b = append(b, payload...)
	for i := range payload {
		b[start+i] ^= key[i&3]
	}
	return b
}

// serverHeader returns the header of a final frame as a server sends it.
func serverHeader(opcode byte, n int) []byte {
	return appendLength([]byte{0x80 | opcode}, 0, n)
}

func appendLength(b []byte, bit byte, n int) []byte {
	switch {
	case n < 126:
		return append(b, bit|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, bit|126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, bit|127), uint64(n))
}

// A ring holds prebuilt frames of one length, each masked with a key of its
// own. Any batch of up to a given count is in one piece, wherever it
// starts.
type ring struct {
	bytes []byte
	frame int // bytes of a frame
	count int // frames before the start comes again
}

func newRing(opcode byte, payload []byte, batch int) *ring {
	r := &ring{count: max(batch, 1)}
	if len(payload) < 1<<16 {
		r.count = max(r.count, 16)
	}
	for range r.count {
		r.bytes = appendMasked(r.bytes, opcode, payload)
	}
	r.frame = len(r.bytes) / r.count
	r.bytes = append(r.bytes, r.bytes[:r.frame*min(batch, r.count)]...)
	return r
}

// at returns up to n bytes that follow the first sent bytes of the endless
// sequence of frames.
func (r *ring) at(sent int64, n int) []byte {
	start := int(sent % int64(r.frame*r.count))
	return r.bytes[start:min(start+n, len(r.bytes))]
}

// checker follows the frames that a server sends on one connection. A ping may
// stand between messages: a server sends one when a round takes long, and gives
// up a client that does not answer it.
type checker struct {
	header  []byte // what each frame must start with
	payload []byte // what each must hold
	blind   bool   // whatever it holds
	sample  int64  // contents of every sample-th frame are compared

	pos     int // in the frame
	done    int64
	ping    int    // bytes of a ping that follow; -1: its length follows
	pinged  []byte // what the ping holds, as far as it has come
	answers []byte // pongs to be sent
}

// pingByte begins a ping.
const pingByte = 0x89

// take consumes b and returns how many frames it completes, or -1 if b is not
// what it must be.
func (c *checker) take(b []byte) int {
	completed := 0
	for len(b) > 0 {
		switch {
		case c.ping != 0:
			b = c.takePing(b)
			continue
		case c.pos == 0 && b[0] == pingByte:
			c.ping, b = -1, b[1:]
			continue
		}
		if c.pos < len(c.header) {
			n := min(len(c.header)-c.pos, len(b))
			if string(b[:n]) != string(c.header[c.pos:c.pos+n]) {
				return -1
			}
			c.pos += n
			b = b[n:]
			if c.pos < len(c.header) {
				break
			}
		}
		at := c.pos - len(c.header)
		n := min(len(c.payload)-at, len(b))
		if !c.blind && c.done%c.sample == 0 && string(b[:n]) != string(c.payload[at:at+n]) {
			return -1
		}
		c.pos += n
		b = b[n:]
		if at+n == len(c.payload) {
			c.pos = 0
			c.done++
			completed++
		}
	}
	return completed
}

// takePing consumes bytes of a ping, and returns the rest of b.
func (c *checker) takePing(b []byte) []byte {
	if c.ping < 0 {
		c.ping, c.pinged, b = int(b[0]), nil, b[1:]
	}
	n := min(c.ping, len(b))
	c.ping -= n
	c.pinged = append(c.pinged, b[:n]...)
	if c.ping == 0 {
		c.answers = appendMasked(c.answers, 10, c.pinged)
	}
	return b[n:]
}
