package websocket

import (
	"net"
	"sync"

	"github.com/seed70bc5565/websocket/internal/poison"
)

// This file is the only one with pools. Every pool keeps pieces of one fixed size, so that none can
// keep more than it was made for; a buffer longer than the largest piece is left to the collector.
// Pooled memory never crosses the API, except where Messages lends it for one step.

// The sizes of pooled buffers.
const (
	bufSmall  = 4 << 10   // what a quiet connection reads and writes with
	bufMedium = 32 << 10  // one read of a busy connection
	bufLarge  = 128 << 10 // messages in the making, and masked chunks
	bufHuge   = 1 << 20
)

var (
	poolSmall  = sync.Pool{New: func() any { return new([bufSmall]byte) }}
	poolMedium = sync.Pool{New: func() any { return new([bufMedium]byte) }}
	poolLarge  = sync.Pool{New: func() any { return new([bufLarge]byte) }}
	poolHuge   = sync.Pool{New: func() any { return new([bufHuge]byte) }}
)

// getBuf returns a buffer of at least n bytes, all of its capacity in use. What it holds is left from earlier use.
func getBuf(n int) []byte {
	if poison.On {
		return takeBuf(n)
	}
	switch {
	case n <= bufSmall:
		return poolSmall.Get().(*[bufSmall]byte)[:]
	case n <= bufMedium:
		return poolMedium.Get().(*[bufMedium]byte)[:]
	case n <= bufLarge:
		return poolLarge.Get().(*[bufLarge]byte)[:]
	case n <= bufHuge:
		return poolHuge.Get().(*[bufHuge]byte)[:]
	}
	return make([]byte, n)
}

// putBuf gives back a buffer that getBuf returned, in its whole capacity. The caller no longer uses it.
// nil, and a buffer of another size, are left alone.
func putBuf(b []byte) {
	b = b[:cap(b)]
	if poison.On {
		giveBuf(b)
		return
	}
	switch len(b) {
	case bufSmall:
		poolSmall.Put((*[bufSmall]byte)(b))
	case bufMedium:
		poolMedium.Put((*[bufMedium]byte)(b))
	case bufLarge:
		poolLarge.Put((*[bufLarge]byte)(b))
	case bufHuge:
		poolHuge.Put((*[bufHuge]byte)(b))
	}
}

// growBuf returns a pooled buffer of at least n bytes that begins with the content of b, which it gives back.
// The length of the result is that of b.
func growBuf(b []byte, n int) []byte {
	next := getBuf(n)
	next = next[:copy(next, b)]
	putBuf(b)
	return next
}

// bodyLarge is how much a bodyConn reads at once while much comes, and what it
// copies of one write.
const bodyLarge = 16 << 10

var poolBody = sync.Pool{New: func() any { return new([bodyLarge]byte) }}

// getBody returns a buffer of bodyLarge bytes. A buffer that a body may still
// use is left to the collector, so these buffers are not counted as others are.
func getBody() []byte { return poolBody.Get().(*[bodyLarge]byte)[:] }

// putBody gives back what getBody returned. A buffer of another size is left alone.
func putBody(b []byte) {
	if cap(b) == bodyLarge {
		poolBody.Put((*[bodyLarge]byte)(b[:bodyLarge]))
	}
}

// A gatherVec is the argument of one writev: net.Buffers wants a slice that outlives the call.
type gatherVec struct {
	parts [2][]byte
	bufs  net.Buffers
}

var vecPool = sync.Pool{New: func() any { return new(gatherVec) }}

// writeVec writes a and b with one system call where w can do so.
func writeVec(w net.Conn, a, b []byte) (int64, error) {
	v := vecPool.Get().(*gatherVec)
	v.parts = [2][]byte{a, b}
	v.bufs = v.parts[:]
	n, err := v.bufs.WriteTo(w)
	v.parts, v.bufs = [2][]byte{}, nil
	vecPool.Put(v)
	return n, err
}
