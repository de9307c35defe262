package kit

import (
	"io"
	"slices"
	"sync"
)

// A pool of message buffers for the libraries whose API lets the caller bring
// one: an idle connection then holds none.
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

// ReadAll reads r into b until its end.
func (b *Buffer) ReadAll(r io.Reader) error {
	for {
		if len(b.B) == cap(b.B) {
			b.B = slices.Grow(b.B, 512)
		}
		n, err := r.Read(b.B[len(b.B):cap(b.B)])
		b.B = b.B[:len(b.B)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
