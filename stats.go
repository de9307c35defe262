package websocket

import (
	"sync/atomic"
	"time"
)

// Stats is what a connection has done so far. [Conn.Stats] returns it. It
// encodes as JSON.
type Stats struct {
	// Began is when the opening handshake was done.
	Began time.Time `json:"began"`

	// RoundTrip is that of [Conn.RoundTripTime], 0 if there was none. In JSON
	// it is in nanoseconds.
	RoundTrip time.Duration `json:"round_trip_ns"`

	// Waiting is how many bytes of frames have gathered and wait to be written.
	// The payload of a long message that is being written is not among them,
	// and neither is what the operating system has taken.
	Waiting int `json:"waiting"`

	Received Traffic `json:"received"`
	Sent     Traffic `json:"sent"`
}

// Traffic counts what went in one direction.
type Traffic struct {
	// Messages counts whole messages, and Payload their bytes before
	// compression. The payload of a streamed message counts as it is written,
	// before the message is whole. A message counts as sent when its write
	// returns, though it is lost if the connection breaks before it has gone
	// out. Only Wire counts what has gone out.
	Messages int64 `json:"messages"`
	Payload  int64 `json:"payload"`

	// Compressed counts the bytes of Payload that were sent or received
	// compressed, and CompressedTo how many bytes they had then.
	Compressed   int64 `json:"compressed"`
	CompressedTo int64 `json:"compressed_to"`

	// Control counts pings, pongs and close frames. For one connection and
	// direction it counts modulo 2^32.
	Control int64 `json:"control"`

	// Wire counts the bytes of all frames: headers, payload and control frames.
	// The handshake and the bytes that TLS adds are not included.
	Wire int64 `json:"wire"`
}

func (t *Traffic) add(u Traffic) {
	t.Messages += u.Messages
	t.Payload += u.Payload
	t.Compressed += u.Compressed
	t.CompressedTo += u.CompressedTo
	t.Control += u.Control
	t.Wire += u.Wire
}

// Stats returns what the connection has done so far, or in all after its end. A
// message counts as received when a reading method has returned it. The count
// may miss the messages that another goroutine is reading just now.
func (c *Conn) Stats() Stats {
	s := Stats{Began: epoch.Add(time.Duration(c.began)), RoundTrip: c.RoundTripTime()}
	c.publishIdle()
	s.Waiting = c.traffic(&s.Received, &s.Sent)
	return s
}

// publishIdle publishes the reader's counts, if no goroutine reads. One that
// reads has published them when it began to wait.
func (c *Conn) publishIdle() {
	if c.r.turn.Peek() {
		c.r.publish()
		tried := c.r.turn.Unpeek()
		if c.life.at().isEnding() {
			c.finishRead()
		}
		if x := c.t.polled(); x != nil && tried {
			x.wake() // for the step that did not get the turn
		}
	}
}

// traffic sets received and sent, which are zero, to what was counted and
// published. It returns how many bytes wait to be written.
func (c *Conn) traffic(received, sent *Traffic) (waiting int) {
	received.Messages = c.r.got.messages.Load()
	received.Payload = c.r.got.payload.Load()
	received.Control = int64(c.controls.received.Load())
	received.Wire = c.r.got.wire.Load()
	if c.r.half.deflate {
		z := c.r.rest
		received.Compressed, received.CompressedTo = z.to.Load(), z.from.Load()
	}
	w := &c.w
	w.mu.Lock()
	waiting = int(w.inflight) + len(w.buf)
	sent.Messages, sent.Payload = w.gave.messages, w.gave.payload
	sent.Control = int64(c.controls.sent.Load())
	if z := c.deflate; z != nil {
		sent.Compressed, sent.CompressedTo = z.from, z.to
	}
	w.mu.Unlock() // nothing was changed
	sent.Wire = c.t.accepted.Load()
	return waiting
}

// controlCounts counts control frames, modulo 2^32.
type controlCounts struct{ received, sent atomic.Uint32 }

// gotCounts is what a receiver has published of its counts.
type gotCounts struct {
	messages atomic.Int64
	payload  atomic.Int64 // of whole messages, inflated
	wire     atomic.Int64
}

// maxFresh is how much is counted before it is published in any case.
const maxFresh = 1 << 31

// gaveCounts is what a sender has counted. A frame counts when it has its place
// in the order of frames.
type gaveCounts struct {
	messages int64
	payload  int64 // before it was compressed
}
