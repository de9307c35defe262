package kit

import "sync"

// A pool of message buffers, for the floors.
var buffers = sync.Pool{New: func() any { return &Buffer{make([]byte, 0, 1024)} }}

// A Buffer holds one message. B may be replaced by a longer slice before it is
// put back.
type Buffer struct{ B []byte }

// GetBuffer returns an empty buffer.
func GetBuffer() *Buffer {
	b := buffers.Get().(*Buffer)
	b.B = b.B[:0]
	return b
}

// Put gives b back to the pool.
func (b *Buffer) Put() { buffers.Put(b) }
