package flate

import (
	"math/bits"
	"sync"

	"github.com/seed70bc5565/websocket/internal/poison"
)

const (
	maxTable    = 1 << 13 // hints of an encoder without context takeover, in scratch
	streamBlock = 8 << 10 // bytes that a streamed message gathers before it emits a block
	smallWindow = 12      // bits of the greatest window that is taken for one that saves memory
)

// tableSize returns how many hints serve n bytes.
func tableSize(n, most int) int {
	return min(max(256, 1<<bits.Len(uint(n))), most)
}

// keptTable returns how many hints, of two bytes each, an encoder with context
// takeover keeps between messages. It keeps one for four bytes of its window.
// On the wire that is one in a hundred worse than one for two. For a small
// window, whose point is to take little memory, it keeps none. To look at all
// of the window again takes 4 microseconds a message.
func keptTable(bits uint8) int {
	if bits <= smallWindow {
		return 0
	}
	return min(1<<bits>>2, 1<<12)
}

// scratch is what compressing takes for the length of a call.
type scratch struct {
	block
	table [maxTable]uint16
}

// stream is what a message takes while it is streamed.
type stream struct {
	past           // of the message itself, when there is no context takeover
	acc     uint64 // see bitWriter
	n       uint
	pending []byte // not yet compressed, shorter than streamBlock
}

// Everything in the pools has a size of its own that nothing makes grow: 50 KB
// a scratch, and 9 KB an inflater, which may hold a window in addition. A
// stream holds at most a window, its table and streamBlock bytes.
var (
	scratchPool = sync.Pool{New: func() any { return new(scratch) }}
	streamPool  = sync.Pool{New: func() any { return new(stream) }}

	inflaterPool = sync.Pool{New: func() any { return new(inflater) }}
)

func getScratch() *scratch {
	if poison.On {
		return poison.Take(spoilScratch, intactScratch)
	}
	return scratchPool.Get().(*scratch)
}

func putScratch(s *scratch) {
	s.block.n = 0
	if poison.On {
		poison.Give(s, spoilScratch)
		return
	}
	scratchPool.Put(s)
}

func getStream() *stream {
	if poison.On {
		return poison.Take(spoilStream, intactStream)
	}
	return streamPool.Get().(*stream)
}

func putStream(t *stream) {
	t.buf, t.pos = t.buf[:0], 0
	t.acc, t.n, t.pending = 0, 0, t.pending[:0]
	t.table = t.table[:0]
	if poison.On {
		poison.Give(t, spoilStream)
		return
	}
	streamPool.Put(t)
}

func getInflater() *inflater {
	var z *inflater
	if poison.On {
		z = poison.Take(spoilInflater, intactInflater)
	} else {
		z = inflaterPool.Get().(*inflater)
	}
	z.fresh = true
	return z
}

func putInflater(z *inflater) {
	z.src = nil
	z.acc, z.n, z.state, z.total = 0, 0, stateBlock, 0
	z.final, z.tail, z.empty = false, false, false
	z.past.buf, z.past.next = z.past.buf[:0], 0
	if poison.On {
		poison.Give(z, spoilInflater)
		return
	}
	inflaterPool.Put(z)
}
