// Package bufpool has the pools of buffers, and is the only place with pools,
// except those of masking keys and of writes in progress. A pool keeps pieces
// of one fixed size, so that it cannot keep more than it was made for. A buffer
// longer than the largest piece is left to the collector.
//
// Pooled memory never crosses the API, except where Messages lends it for one
// step.
package bufpool

import (
	"sync"

	"github.com/seed70bc5565/websocket/internal/poison"
)

// room is what a buffer for a message of a round size has in addition. Its
// frame has a header, and the next frame may follow.
const room = 4 << 10

// The sizes of pooled buffers.
const (
	Small  = 4 << 10        // what a quiet connection reads and writes with
	Medium = 32 << 10       // one read of a busy connection
	Large  = 128<<10 + room // messages, and masked chunks
	Huge   = 1<<20 + room
)

var (
	poolSmall  = sync.Pool{New: func() any { return new([Small]byte) }}
	poolMedium = sync.Pool{New: func() any { return new([Medium]byte) }}
	poolLarge  = sync.Pool{New: func() any { return new([Large]byte) }}
	poolHuge   = sync.Pool{New: func() any { return new([Huge]byte) }}
)

// Get returns a buffer of at least n bytes, all of its capacity in use. It
// holds bytes of earlier use.
func Get(n int) []byte {
	if poison.On {
		return take(n)
	}
	switch {
	case n <= Small:
		return poolSmall.Get().(*[Small]byte)[:]
	case n <= Medium:
		return poolMedium.Get().(*[Medium]byte)[:]
	case n <= Large:
		return poolLarge.Get().(*[Large]byte)[:]
	case n <= Huge:
		return poolHuge.Get().(*[Huge]byte)[:]
	}
	return make([]byte, n)
}

// GetSmall is Get for Small bytes. It is inlined. So a write, which takes its
// buffer deep in the stack of a connection, has a frame less there.
func GetSmall() []byte {
	if poison.On {
		return take(Small)
	}
	return poolSmall.Get().(*[Small]byte)[:]
}

// Put gives back a buffer that Get returned, in its whole capacity. The caller
// no longer uses it. nil, and a buffer of another size, are left alone.
func Put(b []byte) {
	b = b[:cap(b)]
	if poison.On {
		give(b)
		return
	}
	switch len(b) {
	case Small:
		poolSmall.Put((*[Small]byte)(b))
	case Medium:
		poolMedium.Put((*[Medium]byte)(b))
	case Large:
		poolLarge.Put((*[Large]byte)(b))
	case Huge:
		poolHuge.Put((*[Huge]byte)(b))
	}
}

// Grow returns a pooled buffer of at least n bytes that begins with the content
// of b, which it gives back. The length of the result is that of b.
func Grow(b []byte, n int) []byte {
	next := Get(n)
	next = next[:copy(next, b)]
	Put(b)
	return next
}

// Body is how much a bodyConn reads at once while much comes, and what it
// copies of one write.
const Body = 16 << 10

var poolBody = sync.Pool{New: func() any { return new([Body]byte) }}

// GetBody returns a buffer of Body bytes. A buffer that a body may still
// use is left to the collector, so these buffers are not counted as others are.
func GetBody() []byte { return poolBody.Get().(*[Body]byte)[:] }

// PutBody gives back what GetBody returned. A buffer of another size is left
// alone.
func PutBody(b []byte) {
	if cap(b) == Body {
		poolBody.Put((*[Body]byte)(b[:Body]))
	}
}
