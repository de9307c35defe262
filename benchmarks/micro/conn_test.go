package micro

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// A feed is a server's net.Conn. Reads give the same masked frame again and
// again, as often as was asked for, and then io.EOF. Writes are counted and
// dropped.
type feed struct {
	block   []byte // whole frames
	pos     int
	left    int64 // bytes
	written int64
}

// newFeed returns a feed of count binary messages of n bytes.
func newFeed(n, count int) *feed {
	var frame []byte
	switch {
	case n < 126:
		frame = append(frame, 0x82, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x82, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x82, 0x80|127), uint64(n))
	}
	key := make([]byte, 4)
	rand.Read(key)
	frame = append(frame, key...)
	for i := range n {
		frame = append(frame, byte(i)^key[i&3])
	}
	f := &feed{left: int64(count) * int64(len(frame))}
	for len(f.block) < 1<<16 {
		f.block = append(f.block, frame...)
	}
	return f
}

func (f *feed) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), f.left)], f.block[f.pos:])
	if f.pos += n; f.pos == len(f.block) {
		f.pos = 0
	}
	f.left -= int64(n)
	return n, nil
}

func (f *feed) Write(p []byte) (int, error) {
	f.written += int64(len(p))
	return len(p), nil
}

func (f *feed) Close() error                     { return nil }
func (f *feed) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (f *feed) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (f *feed) SetDeadline(time.Time) error      { return nil }
func (f *feed) SetReadDeadline(time.Time) error  { return nil }
func (f *feed) SetWriteDeadline(time.Time) error { return nil }

// A hijack is an http.ResponseWriter whose connection is a feed.
type hijack struct {
	f      *feed
	header http.Header
}

func (h *hijack) Header() http.Header         { return h.header }
func (h *hijack) Write(p []byte) (int, error) { return len(p), nil }
func (h *hijack) WriteHeader(int)             {}

func (h *hijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.f, bufio.NewReadWriter(bufio.NewReader(h.f), bufio.NewWriter(h.f)), nil
}

// upgrade returns what a handler gets for f.
func upgrade(f *feed) (http.ResponseWriter, *http.Request) {
	r, err := http.NewRequest("GET", "http://localhost/", nil)
	if err != nil {
		panic(err)
	}
	r.Header = http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	return &hijack{f, http.Header{}}, r
}

// deflateUpgrade is upgrade for a client that offers permessage-deflate.
func deflateUpgrade(f *feed, takeover bool) (http.ResponseWriter, *http.Request) {
	w, r := upgrade(f)
	offer := "permessage-deflate"
	if !takeover {
		offer += "; server_no_context_takeover; client_no_context_takeover"
	}
	r.Header.Set("Sec-Websocket-Extensions", offer+"; client_max_window_bits")
	return w, r
}

// A library is what the benchmarks need of a server.
type library struct {
	name string
	// read reads messages until the feed ends and returns how many bytes they
	// had.
	read func(f *feed) int64
	// writer returns a function that writes one binary message.
	writer func(f *feed) func(p []byte) error
}

var sizes = []struct {
	name string
	n    int
}{{"128B", 128}, {"4KiB", 4 << 10}, {"64KiB", 64 << 10}}

func BenchmarkRead(b *testing.B) {
	for _, size := range sizes {
		for _, l := range libraries {
			b.Run("size="+size.name+"/lib="+l.name, func(b *testing.B) {
				b.SetBytes(int64(size.n))
				b.ReportAllocs()
				got := l.read(newFeed(size.n, b.N))
				if want := int64(size.n) * int64(b.N); got != want {
					b.Fatalf("read %d bytes, want %d", got, want)
				}
			})
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, size := range sizes {
		for _, l := range libraries {
			b.Run("size="+size.name+"/lib="+l.name, func(b *testing.B) {
				p := make([]byte, size.n)
				b.SetBytes(int64(size.n))
				b.ReportAllocs()
				f := newFeed(1, 0)
				write := l.writer(f)
				before := f.written
				b.ResetTimer()
				for range b.N {
					if err := write(p); err != nil {
						b.Fatal(err)
					}
				}
				if got, least := f.written-before, int64(size.n)*int64(b.N); got < least {
					b.Fatalf("wrote %d bytes, want at least %d", got, least)
				}
			})
		}
	}
}
