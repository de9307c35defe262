// Package load is the client side of the benchmarks. It uses no WebSocket
// library. Frames are built and masked before the clock starts. The headers and
// lengths of all answers are checked, and the contents of samples. Its hot loop
// never sleeps. A sleeping client makes the kernel charge wake-ups to the
// server, which changed the figures of identical servers by 30 %.
package load

import "time"

// A Job is one measurement of one server.
type Job struct {
	Addr string // of the server
	PID  int    // of the server, whose CPU time is taken
	Kind Kind

	Conns       int
	Outstanding int  // Echo: messages in flight on each connection
	Size        int  // bytes of a message
	Text        bool // the messages are text that is not ASCII
	TLS         bool // Idle: connect over TLS
	PerTrigger  int  // Receive: messages that one trigger makes the server send, over all connections

	// Bursts has Handshake stop the server while it opens all Conns and sends
	// their requests. So the server always has work, however fast the client
	// is.
	Bursts bool

	// Slowest makes Echo measure how long each message takes to come back, with
	// one in flight on each connection.
	Slowest bool

	// Deflate makes Echo and Idle use compressed JSON texts of about Size
	// bytes. Idle then has Outstanding messages echoed on each connection, one
	// after the other.
	Deflate Deflate

	// Blind says that the server answers with the right lengths and other
	// contents.
	Blind bool
	// Raw says that the server does no WebSocket at all but sends back what it
	// gets.
	Raw bool

	WarmUp, Duration time.Duration
}

// Kind is what a job does.
type Kind string

const (
	Echo      Kind = "echo"      // keep Outstanding messages in flight on each connection
	Receive   Kind = "receive"   // trigger the server and take what it sends
	Handshake Kind = "handshake" // connect, upgrade, reset, again and again
	Idle      Kind = "idle"      // one echo on each connection, then hold them
)

// Deflate says what the client offers.
type Deflate string

const (
	NoTakeover Deflate = "no-takeover"
	Takeover   Deflate = "takeover"
)

// A Result is what a job has measured.
type Result struct {
	Messages int64         // or handshakes, or connections held
	CPU      time.Duration // of the server, user and system
	Wall     time.Duration
	Reads    int64 // of the server: system calls that read, and that write
	Writes   int64
	Bytes    float64 // of a compressed answer, with its header

	// P99 is what 99 of 100 echoes took at most, if the job has Slowest.
	P99 time.Duration
	Err string
}

// MessagesPerWriter is how many messages each writing goroutine sends on one
// trigger.
const MessagesPerWriter = 64

// Payload returns n bytes that are the same every time: binary, or Chinese text
// in UTF-8.
func Payload(n int, text bool) []byte {
	p := make([]byte, 0, n+3)
	x := uint32(2463534242)
	for len(p) < n {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		switch {
		case !text:
			p = append(p, byte(x>>16))
		case n-len(p) < 3:
			p = append(p, '.')
		default:
			p = append(p, string(rune(0x4e00+x%0x5000))...)
		}
	}
	return p
}
