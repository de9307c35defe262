package flate

import (
	"bytes"
	"fmt"
	"testing"
)

// A receiver is the other end of a connection: it holds all that went through
// the window.
type receiver struct {
	bits   int
	window []byte // without takeover, empty between messages
	keep   bool
	std    stdInflater
}

// check inflates payload with both inflaters and compares it with msg.
func (r *receiver) check(payload, msg []byte) error {
	got, err := naiveInflate(payload, r.window, 1<<r.bits)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, msg) {
		return fmt.Errorf("the naive inflater got other bytes than were compressed")
	}
	if got, err = r.std.inflate(payload, r.window); err != nil {
		return fmt.Errorf("compress/flate: %w", err)
	}
	if !bytes.Equal(got, msg) {
		return fmt.Errorf("compress/flate got other bytes than were compressed")
	}
	if r.keep {
		r.window = append(r.window, msg...)
		r.window = r.window[max(0, len(r.window)-1<<MaxWindowBits):]
	}
	return nil
}

// moreCorpora are hard cases on top of what people send.
var moreCorpora = []struct {
	name string
	make func(seed uint64, size int) []byte
}{
	{"zeros", func(_ uint64, size int) []byte { return make([]byte, size) }},
	{"period", func(seed uint64, size int) []byte {
		unit := randomData(seed, 1+int(seed%400))
		return bytes.Repeat(unit, size/len(unit)+1)[:size]
	}},
	{"twoSymbols", func(seed uint64, size int) []byte {
		p := randomData(seed, size)
		for i := range p {
			p[i] = 'a' + p[i]&1
		}
		return p
	}},
	{"allSymbols", func(seed uint64, size int) []byte { // each byte value as often as a Fibonacci number
		r := newRand(seed)
		p := make([]byte, size)
		for i := range p {
			p[i] = byte(200 + 40*r.Float64()*r.Float64()*r.Float64()*r.Float64())
			if i%97 == 0 {
				p[i] = byte(i)
			}
		}
		return p
	}},
	{"farCopies", func(seed uint64, size int) []byte { // noise, and copies of it from as far away as every window
		r := newRand(seed)
		var p []byte
		for len(p) < size {
			if back := 1<<(8+r.IntN(8)) - 2 + r.IntN(5); len(p) > back && r.IntN(2) == 0 {
				for range 4 + r.IntN(600) {
					p = append(p, p[len(p)-back])
				}
			} else {
				p = append(p, randomData(r.Uint64(), 1+r.IntN(300))...)
			}
		}
		return p[:size]
	}},
}

func TestEncoderSizes(t *testing.T) {
	all := append(corpora[:len(corpora):len(corpora)], moreCorpora...)
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			t.Parallel()
			e := NewEncoder(bits, false)
			r := &receiver{bits: bits}
			for k, c := range all {
				long := c.make(uint64(bits), 70000)
				for size := 0; size <= 70000; {
					// Prefixes, so that making the corpus costs nothing; short
					// ones start anywhere.
					msg := long[:size]
					if size <= 600 {
						msg = long[size*7:][:size]
					}
					out, ok := e.AppendMessage([]byte("x"), msg)
					if out[0] != 'x' {
						t.Fatalf("%s, %d bytes: dst is gone", c.name, size)
					}
					switch {
					case ok && len(out)-1 >= len(msg):
						t.Fatalf("%s, %d bytes: compressed to %d", c.name, size, len(out)-1)
					case ok:
						if err := r.check(out[1:], msg); err != nil {
							t.Fatalf("%s, %d bytes: %v", c.name, size, err)
						}
					case len(out) != 1:
						t.Fatalf("%s, %d bytes: refused, but dst grew", c.name, size)
					}
					if size < 600 {
						size += 1 + 12*lighter
					} else {
						size += size/2 + size*lighter + (bits*7+k)%13
					}
				}
			}
		})
	}
}

// TestEncoderTakeover sends thousands of messages of all kinds, among them such
// as stay plain and must then be unknown to what follows.
func TestEncoderTakeover(t *testing.T) {
	all := append(corpora[:len(corpora):len(corpora)], moreCorpora...)
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			t.Parallel()
			rnd := newRand(uint64(bits))
			e := NewEncoder(bits, true)
			shared := NewEncoder(min(bits, 10), false)
			r := &receiver{bits: bits, keep: true}
			plain, learned, streamed, total, wire := 0, 0, 0, 0, 0
			for i := range 1500 - 1200*lighter {
				c := all[rnd.IntN(len(all))]
				if rnd.IntN(2) == 0 {
					c = all[0]
				}
				size := rnd.IntN(300)
				switch rnd.IntN(50) {
				case 0:
					size = rnd.IntN(40000)
				case 1, 2, 3:
					size = rnd.IntN(3000)
				}
				msg := c.make(uint64(rnd.IntN(60)), size)
				var out []byte
				ok := true
				switch rnd.IntN(10) {
				case 0:
					if out, ok = shared.AppendMessage(nil, msg); ok {
						e.Learn(msg)
						learned++
					}
				case 1:
					for rest := msg; ; {
						n := min(len(rest), rnd.IntN(5000))
						out = e.AppendChunk(out, rest[:n], n == len(rest))
						if n == len(rest) {
							break
						}
						rest = rest[n:]
					}
					streamed++
				default:
					out, ok = e.AppendMessage(nil, msg)
				}
				total += len(msg)
				if !ok {
					plain++
					wire += len(msg)
					continue
				}
				wire += len(out)
				if err := r.check(out, msg); err != nil {
					t.Fatalf("message %d, %s, %d bytes: %v", i, c.name, size, err)
				}
				if n := cap(e.past.buf); n > 1<<bits {
					t.Fatalf("message %d: %d bytes of history for a window of %d", i, n, 1<<bits)
				}
			}
			if min(plain, learned, streamed) < 50-45*lighter {
				t.Errorf("only %d plain, %d learned, %d streamed messages", plain, learned, streamed)
			}
			t.Logf("%d bytes became %d", total, wire)
		})
	}
}

func TestEncoderChunks(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		for _, bits := range []int{8, 11, 15} {
			rnd := newRand(uint64(bits))
			e := NewEncoder(bits, takeover)
			r := &receiver{bits: bits, keep: takeover}
			for i := range 30 - 20*lighter {
				msg := jsonText(uint64(i), rnd.IntN(80000))
				if i%5 == 0 {
					msg = randomData(uint64(i), len(msg))
				}
				step := 1 + rnd.IntN(1<<rnd.IntN(17))
				var out []byte
				for at := 0; at < len(msg); at += step {
					out = e.AppendChunk(out, msg[at:min(at+step, len(msg))], false)
				}
				out = e.AppendChunk(out, nil, true)
				if e.stream != nil {
					t.Fatal("the stream is still there after the message")
				}
				if limit := len(msg) + len(msg)/1000 + 20; len(out) > limit {
					t.Errorf("%d bytes in chunks of %d became %d", len(msg), step, len(out))
				}
				if err := r.check(out, msg); err != nil {
					t.Fatalf("message %d, %d bytes in chunks of %d: %v", i, len(msg), step, err)
				}
			}
		}
	}
}

// TestEncoderChunksReach shows that a streamed message's parts refer to each
// other.
func TestEncoderChunksReach(t *testing.T) {
	noise := randomData(1, 12000)
	e := NewEncoder(15, false)
	out := e.AppendChunk(nil, noise, false)
	out = e.AppendChunk(out, noise, true)
	if len(out) > 12000+600 {
		t.Errorf("12,000 bytes and the same again became %d", len(out))
	}
}

func TestEncoderEmpty(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		e := NewEncoder(15, takeover)
		if out, ok := e.AppendMessage([]byte("x"), nil); ok || string(out) != "x" {
			t.Errorf("AppendMessage of nothing: %q, %t", out, ok)
		}
		// RFC 7692 section 7.2.3.6: an empty message is the one byte 00.
		for range 3 {
			if out := e.AppendChunk(nil, nil, true); !bytes.Equal(out, []byte{0}) {
				t.Errorf("AppendChunk of nothing: % x", out)
			}
		}
	}
}

// TestEncoderExamples compares with the examples of RFC 7692 section 7.2.3.
func TestEncoderExamples(t *testing.T) {
	e := NewEncoder(15, true)
	got := e.AppendChunk(nil, []byte("Hello"), true)
	if want := []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}; !bytes.Equal(got, want) { // 7.2.3.1
		t.Errorf("Hello: % x, want % x", got, want)
	}
	// 7.2.3.2 gives F2 00 11 00 00 for the same again, a literal and a pair.
	// The pair alone is shorter.
	got = e.AppendChunk(nil, []byte("Hello"), true)
	if want := []byte{0x02, 0x13, 0x00, 0x00}; !bytes.Equal(got, want) {
		t.Errorf("Hello again: % x, want % x", got, want)
	}
}

func TestNewEncoderPanics(t *testing.T) {
	for _, bits := range []int{-1, 0, 7, 16} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("no panic for %d", bits)
				}
			}()
			NewEncoder(bits, true)
		}()
	}
}

func FuzzEncoder(f *testing.F) {
	f.Add([]byte("Hello"), uint8(15), uint16(2), uint8(3))
	f.Add(jsonText(1, 1000), uint8(8), uint16(300), uint8(1))
	f.Add(bytes.Repeat([]byte("abcde"), 300), uint8(9), uint16(700), uint8(2))
	f.Add(randomData(1, 700), uint8(10), uint16(100), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, bits uint8, cut uint16, mode uint8) {
		b := MinWindowBits + int(bits)%(MaxWindowBits-MinWindowBits+1)
		takeover := mode&1 != 0
		e := NewEncoder(b, takeover)
		r := &receiver{bits: b, keep: takeover}
		// The data as three messages: its two parts, and all of it in chunks.
		n := min(int(cut), len(data))
		for _, msg := range [][]byte{data[:n], data[n:], data} {
			if out, ok := e.AppendMessage(nil, msg); ok {
				if err := r.check(out, msg); err != nil {
					t.Fatal(err)
				}
			}
		}
		out := e.AppendChunk(nil, data[:n], false)
		if mode&2 != 0 {
			out = e.AppendChunk(out, data[n:], false)
			out = e.AppendChunk(out, nil, true)
		} else {
			out = e.AppendChunk(out, data[n:], true)
		}
		if err := r.check(out, data); err != nil {
			t.Fatal(err)
		}
	})
}
