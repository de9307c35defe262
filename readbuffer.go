package websocket

import "github.com/seed70bc5565/websocket/internal/bufpool"

// A readBuffer holds the bytes that have come from the transport and are not
// parsed yet. Its owner is the goroutine that reads.
//
// Invariant: buf[r:w] are these bytes, less than 2 GiB. buf[w:] is free.
//
// Invariant: buf is small[:], or a buffer from the pool. It is small[:] when
// nothing is there, except while a step of Messages uses the pooled one: an
// idle receiver holds none.
//
// Invariant: across a wait it holds less than one frame header or one control
// frame. Or it holds payload of the data frame that Conn.collectHere reads. All
// other payload that has come is taken before the next fetch.
type readBuffer struct {
	buf   []byte
	r, w  int32
	lent  *lease // the step of Messages that still uses buf, or nil; see lease
	small [16]byte
	lazy  bool // immutable: the transport waits without a buffer
	busy  bool // much came at once lately: the next pooled buffer is a larger one

	// long is how much the next pooled buffer must hold, in units of
	// bufpool.Small. It is not 0 if Messages has lent a long message, because
	// one mostly follows another.
	long uint16

	// fetched is how many bytes have come, here or past the buffer, since the
	// receiver published that.
	fetched uint32
}

// init makes received what has come first. It copies that.
func (b *readBuffer) init(received []byte, lazy bool) {
	b.lazy, b.buf = lazy, b.small[:]
	if len(received) > 0 {
		b.buf = bufpool.Get(len(received))
		b.w = int32(copy(b.buf, received))
	}
}

// unread returns what is in the buffer.
func (b *readBuffer) unread() []byte { return b.buf[b.r:b.w] }

// buffered returns how many bytes are in the buffer.
func (b *readBuffer) buffered() int { return int(b.w - b.r) }

// use takes the first n bytes out. Their memory stays as it is until the next
// fetch.
func (b *readBuffer) use(n int) { b.r += int32(n) }

// free returns the room behind what is in the buffer.
func (b *readBuffer) free() []byte { return b.buf[b.w:] }

// isSmall reports whether there is no pooled buffer.
func (b *readBuffer) isSmall() bool { return len(b.buf) == len(b.small) }

// makeRoom prepares the buffer for a fetch into it. payload says that bytes of
// a data frame are expected.
func (b *readBuffer) makeRoom(payload bool) {
	b.detach()
	switch {
	case b.r < b.w:
		b.unshrink()
		if b.r > 0 && len(b.buf)-int(b.w) < maxControlFrame {
			b.w = int32(copy(b.buf, b.unread()))
			b.r = 0
		}
		return
	case b.lazy:
		// It takes a pooled buffer when there is something to read.
	case payload:
		b.unshrink()
	default:
		// The transport can only wait inside a Read. Between frames that is
		// done with a few bytes of ours, not with a pooled buffer. All else
		// that has come then waits in the transport's own buffers, as in those
		// of crypto/tls.
		b.release()
	}
	b.r, b.w = 0, 0
}

// gained counts in what was fetched into the buffer.
func (b *readBuffer) gained(n int) {
	b.w += int32(n)
	switch {
	case b.isSmall():
	case int(b.w) == len(b.buf):
		b.busy = true
	case len(b.buf) > bufpool.Small && n < bufpool.Small/2:
		// A short fetch into a small buffer says nothing. It may be the rest of
		// the burst that filled the buffer just before.
		b.busy = false
	}
}

// unshrink makes sure that there is a pooled buffer.
func (b *readBuffer) unshrink() {
	if b.isSmall() {
		b.buf = bufpool.Get(b.size())
		b.moveIn()
	}
}

// unshrinkBehind is unshrink while n more bytes, which are not counted in yet,
// stand behind what is in the buffer.
func (b *readBuffer) unshrinkBehind(n int) {
	b.w += int32(n)
	b.unshrink()
	b.w -= int32(n)
}

// size returns the size of the next pooled buffer.
func (b *readBuffer) size() int {
	switch {
	case b.long > 0:
		return int(b.long) * bufpool.Small
	case b.busy:
		return bufpool.Medium
	}
	return bufpool.Small
}

// expect is told the length of a message that Messages has lent: the next one
// may be as long.
func (b *readBuffer) expect(n int) {
	b.long = 0
	if n += maxHeaderSize; b.lazy && n > bufpool.Small && n <= bufpool.Huge {
		b.long = uint16((n + bufpool.Small - 1) / bufpool.Small)
	}
}

// holds reports whether n bytes fit the buffer from the first that is not used.
func (b *readBuffer) holds(n int64) bool { return n <= int64(len(b.buf)-int(b.r)) }

// moveIn copies what is in small to the pooled buffer, which has just come in
// its place.
//
// It and shrink are not inlined, to keep the frames of unshrink and of a
// rawConn small.
//
//go:noinline
func (b *readBuffer) moveIn() {
	b.w = int32(copy(b.buf, b.small[b.r:b.w]))
	b.r = 0
}

// shrink returns the pooled buffer, to be given back, if there is one and what
// it holds fits small; else nil.
//
//go:noinline
func (b *readBuffer) shrink() []byte {
	if b.isSmall() || b.buffered() > len(b.small) {
		return nil
	}
	pooled := b.buf
	b.w = int32(copy(b.small[:], b.unread()))
	b.r = 0
	b.buf = b.small[:]
	return pooled
}

// release gives the pooled buffer back, with all that is in it.
func (b *readBuffer) release() {
	b.detach()
	if !b.isSmall() {
		bufpool.Put(b.buf)
	}
	b.buf = b.small[:]
	b.r, b.w = 0, 0
}

// lend lets l's step use the pooled buffer, in front of what is not used yet.
// It reports false if there is none, or another step uses it: an outer range
// over the same connection.
func (b *readBuffer) lend(l *lease) bool {
	if b.lent != nil || b.isSmall() {
		return false
	}
	b.lent, l.at = l, b.r
	if l.parted.Load() { // in an earlier step
		l.parted.Store(false)
	}
	return true
}

// takeBack ends l's step.
func (b *readBuffer) takeBack(l *lease) {
	if b.lent == l {
		b.lent = nil
	}
	l.at = 0
	if l.buf != nil { // mostly not
		bufpool.Put(l.buf)
		l.buf = nil
	}
}

// detach makes sure that no step of Messages shares buf. It leaves buf to the
// step, and the receiver goes on with another buffer.
func (b *readBuffer) detach() {
	l := b.lent
	if l == nil {
		return
	}
	l.buf, b.lent = b.buf, nil
	left := b.unread()
	next := b.small[:]
	if len(left) > len(next) {
		next = bufpool.Get(len(left))
	}
	b.buf, b.r, b.w = next, 0, int32(copy(next, left))
	l.part()
}
