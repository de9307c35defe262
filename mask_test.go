package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/simd"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// naiveMask is the naive twin of mask: section 5.3 word for word, j = i MOD 4.
func naiveMask(b []byte, key uint32) uint32 {
	var octets [4]byte
	binary.LittleEndian.PutUint32(octets[:], key)
	for i := range b {
		b[i] ^= octets[i%4]
	}
	return bits.RotateLeft32(key, -8*(len(b)%4))
}

// maskVariants are all the implementations that this build can run.
var maskVariants = []struct {
	name     string
	mask     func(b []byte, key uint32) uint32
	copyMask func(dst, src []byte, key uint32) uint32
}{
	{"default", mask, copyMask},
	// The Go that other processors run must be tested where the assembly would
	// hide it.
	{"words", func(b []byte, key uint32) (next uint32) {
		simd.WithoutVectors(func() { next = mask(b, key) })
		return next
	}, func(dst, src []byte, key uint32) (next uint32) {
		simd.WithoutVectors(func() { next = copyMask(dst, src, key) })
		return next
	}},
}

// noise returns n bytes that look random but are the same in every run.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x >> 11)
	}
	return b
}

func TestMaskRFCExamples(t *testing.T) {
	// Section 5.7: a single-frame masked text message, "Hello", with the key 37
	// fa 21 3d.
	const key = 0x3d21fa37
	masked := []byte{0x7f, 0x9f, 0x4d, 0x51, 0x58}
	for _, v := range maskVariants {
		b := []byte("Hello")
		if next := v.mask(b, key); !bytes.Equal(b, masked) || next != 0x373d21fa {
			t.Errorf("%s: mask(Hello) = % x, key %#x; want % x, key 0x373d21fa", v.name, b, next, masked)
		}
		dst := make([]byte, 7)
		if next := v.copyMask(dst, masked, key); string(dst) != "Hello\x00\x00" || next != 0x373d21fa {
			t.Errorf("%s: copyMask = %q, key %#x; want Hello and two zero bytes, key 0x373d21fa", v.name, dst, next)
		}
	}
}

// checkMask compares the mask and the copyMask of one variant with the naive
// twin. It places src at the given offsets of larger buffers, and looks for
// bytes changed outside.
func checkMask(t *testing.T, variant int, src []byte, srcOffset, dstOffset int, key uint32) {
	t.Helper()
	v := maskVariants[variant]
	const guard = 80
	want := bytes.Clone(src)
	wantKey := naiveMask(want, key)

	place := func(offset int, content []byte) (whole, part []byte) {
		whole = make([]byte, offset+len(content)+guard)
		for i := range whole {
			whole[i] = 0xa5
		}
		part = whole[offset : offset+len(content)]
		copy(part, content)
		return whole, part
	}
	inPlace, b := place(srcOffset, src)
	wantWhole, _ := place(srcOffset, want)
	if next := v.mask(b, key); !bytes.Equal(inPlace, wantWhole) || next != wantKey {
		t.Fatalf("%s: mask of %d bytes at offset %d, key %#x: returned key %#x, want %#x; content or surroundings right: %t",
			v.name, len(src), srcOffset, key, next, wantKey, bytes.Equal(inPlace, wantWhole))
	}

	srcWhole, s := place(srcOffset, src)
	srcBefore := bytes.Clone(srcWhole)
	dstWhole, d := place(dstOffset, make([]byte, len(src)))
	wantWhole, _ = place(dstOffset, want)
	if next := v.copyMask(d, s, key); !bytes.Equal(dstWhole, wantWhole) || next != wantKey {
		t.Fatalf("%s: copyMask of %d bytes from offset %d to offset %d, key %#x: returned key %#x, want %#x; content or surroundings right: %t",
			v.name, len(src), srcOffset, dstOffset, key, next, wantKey, bytes.Equal(dstWhole, wantWhole))
	}
	if !bytes.Equal(srcWhole, srcBefore) {
		t.Fatalf("%s: copyMask of %d bytes changed its source", v.name, len(src))
	}

	inPlace, b = place(srcOffset, src)
	wantWhole, _ = place(srcOffset, want)
	if next := v.copyMask(b, b, key); !bytes.Equal(inPlace, wantWhole) || next != wantKey {
		t.Fatalf("%s: copyMask of %d bytes onto themselves at offset %d: returned key %#x, want %#x; content or surroundings right: %t",
			v.name, len(src), srcOffset, next, wantKey, bytes.Equal(inPlace, wantWhole))
	}
}

func TestMaskEveryOffsetAndLength(t *testing.T) {
	src := noise(300)
	for i, v := range maskVariants {
		t.Run(v.name, func(t *testing.T) {
			for offset := range 16 {
				for n := range len(src) + 1 {
					checkMask(t, i, src[:n], offset, (offset*7+n)%16, 0x3d21fa37+uint32(offset)*0x01010101)
				}
			}
			for _, n := range []int{511, 512, 513, 1023, 1024, 4096, 4096 + 77, 65536, 65536 + 255, 1<<20 + 3} {
				checkMask(t, i, noise(n), n%32, n%29, 0x80ff017f)
			}
		})
	}
}

// A message may be masked in pieces of any sizes: the returned key carries the
// position on.
func TestMaskInPieces(t *testing.T) {
	src := noise(300)
	want := bytes.Clone(src)
	const key = 0xc0ffee11
	naiveMask(want, key)
	for _, v := range maskVariants {
		for first := range len(src) + 1 {
			b := bytes.Clone(src)
			dst := make([]byte, len(src))
			second := (len(src) - first) / 3
			k, ck := uint32(key), uint32(key)
			for _, r := range [][2]int{{0, first}, {first, first + second}, {first + second, len(src)}} {
				k = v.mask(b[r[0]:r[1]], k)
				ck = v.copyMask(dst[r[0]:], src[r[0]:r[1]], ck)
			}
			if !bytes.Equal(b, want) || !bytes.Equal(dst, want) {
				t.Fatalf("%s: in pieces of %d, %d and %d bytes: wrong content (mask right: %t, copyMask right: %t)", v.name,
					first, second, len(src)-first-second, bytes.Equal(b, want), bytes.Equal(dst, want))
			}
		}
	}
}

func TestCopyMaskShortDestination(t *testing.T) {
	for _, v := range maskVariants {
		for _, n := range []int{1, 8, 100, 1000, 5000} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: copyMask of %d bytes into %d did not panic", v.name, n, n-1)
					}
				}()
				v.copyMask(make([]byte, n-1, n+64), make([]byte, n), 1)
			}()
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add([]byte("Hello"), uint32(0x3d21fa37), uint8(0), uint8(0), uint16(2))
	f.Add(noise(700), uint32(0x01020304), uint8(3), uint8(9), uint16(333))
	f.Add(noise(64), uint32(0xffffffff), uint8(1), uint8(0), uint16(64))
	f.Fuzz(func(t *testing.T, src []byte, key uint32, srcOffset, dstOffset uint8, cut uint16) {
		for i, v := range maskVariants {
			checkMask(t, i, src, int(srcOffset), int(dstOffset), key)

			n := min(int(cut), len(src))
			want, got := bytes.Clone(src), bytes.Clone(src)
			wantKey := naiveMask(want, key)
			if gotKey := v.mask(got[n:], v.mask(got[:n], key)); gotKey != wantKey || !bytes.Equal(got, want) {
				t.Fatalf("%s: cut at %d of %d: key %#x, want %#x; content right: %t", v.name, n, len(src), gotKey, wantKey, bytes.Equal(got, want))
			}
		}
	})
}

var maskSizes = []int{1, 7, 16, 32, 63, 128, 256, 512, 1024, 4096, 16384, 65536, 1 << 20}

func BenchmarkMask(b *testing.B) {
	for _, n := range maskSizes {
		buf := noise(n)
		b.Run(strconv.Itoa(n)+"/naive", func(b *testing.B) {
			b.SetBytes(int64(n))
			key := uint32(0x3d21fa37)
			for b.Loop() {
				key = naiveMask(buf, key)
			}
		})
		for _, v := range maskVariants {
			b.Run(strconv.Itoa(n)+"/"+v.name, func(b *testing.B) {
				b.SetBytes(int64(n))
				key := uint32(0x3d21fa37)
				for b.Loop() {
					key = v.mask(buf, key)
				}
			})
		}
	}
}

func BenchmarkCopyMask(b *testing.B) {
	for _, n := range maskSizes {
		src, dst := noise(n), make([]byte, n)
		for _, v := range maskVariants {
			b.Run(strconv.Itoa(n)+"/"+v.name, func(b *testing.B) {
				b.SetBytes(int64(n))
				key := uint32(0x3d21fa37)
				for b.Loop() {
					key = v.copyMask(dst, src, key)
				}
			})
		}
	}
}

// "The masking key needs to be unpredictable" (RFC 6455, section 5.3). It "MUST
// be derived from a strong source of entropy". The key of a frame "MUST NOT
// make it simple for a server/proxy to predict the masking key for a subsequent
// frame."

// wireKeys returns the masking keys of n frames as a client puts them on the
// wire.
func wireKeys(t *testing.T, n int) []uint32 {
	t.Helper()
	ours, theirs := netfake.Pipe(netfake.Options{Buffer: 1 << 20})
	c := newConn(connConfig{transport: ours, client: true})
	defer c.CloseNow()
	keys := make([]uint32, 0, n)
	for len(keys) < n {
		if err := c.Write(context.Background(), MessageBinary, []byte("x")); err != nil {
			t.Fatal(err)
		}
		f, err := wstest.ReadFrame(theirs)
		if err != nil || f.Mask != wstest.Masked {
			t.Fatalf("%v, %v", f, err)
		}
		keys = append(keys, binary.LittleEndian.Uint32(f.Key[:]))
	}
	return keys
}

// The masking keys of 100,000 frames look random, and so do the differences
// between each and the one before. The bounds are 7 standard deviations from
// what is expected and more: a good source fails less than one run in 10^9.
func TestMaskingKeysStatistics(t *testing.T) {
	const n = 100_000
	keys := wireKeys(t, n)
	steps, sums := make([]uint32, n-1), make([]uint32, n-1)
	for i := range n - 1 {
		steps[i], sums[i] = keys[i+1]^keys[i], keys[i+1]-keys[i]
	}
	for what, values := range map[string][]uint32{"keys": keys, "their changes": steps, "their differences": sums} {
		total := float64(len(values))
		// Each bit is set half of the time: binomial, with a deviation of
		// sqrt(n)/2.
		for bit := range 32 {
			set := 0.0
			for _, v := range values {
				set += float64(v >> bit & 1)
			}
			if z := (set - total/2) / (math.Sqrt(total) / 2); math.Abs(z) > 7 {
				t.Errorf("%s: bit %d is set %.0f times in %.0f: %.1f deviations", what, bit, set, total, z)
			}
		}
		// Each byte takes all values alike: chi-square of 255 degrees of
		// freedom, which is near to normal.
		for shift := 0; shift < 32; shift += 8 {
			var counts [256]float64
			for _, v := range values {
				counts[v>>shift&255]++
			}
			chi, want := 0.0, total/256
			for _, count := range counts {
				chi += (count - want) * (count - want) / want
			}
			if z := (chi - 255) / math.Sqrt(2*255); z > 10 || z < -7 {
				t.Errorf("%s: the byte at bit %d: chi-square %.0f of 255 degrees", what, shift, chi)
			}
		}
		// How often a value comes that came before is Poisson with a mean of
		// n*n/2/2^32, 1.2; 30 are out of the question.
		seen, again := make(map[uint32]bool, len(values)), 0
		for _, v := range values {
			if seen[v] {
				again++
			}
			seen[v] = true
		}
		if again > 30 {
			t.Errorf("%s: %d of %d come again", what, again, len(values))
		}
	}
	// No period: at a distance of up to 300 keys, more than two blocks of them,
	// no more bits agree than by chance.
	for lag := 1; lag <= 300; lag++ {
		agree := 0
		for i := lag; i < n; i++ {
			agree += 32 - bits.OnesCount32(keys[i]^keys[i-lag])
		}
		total := float64(32 * (n - lag))
		if z := (float64(agree) - total/2) / (math.Sqrt(total) / 2); math.Abs(z) > 8 {
			t.Errorf("%d keys apart %d bits of %.0f agree: %.1f deviations", lag, agree, total, z)
		}
	}
}

// Goroutines that take keys at the same time never get the same piece of a
// block. Among a million keys of 32 bits about 116 come twice by chance
// (Poisson). Pieces that are shared would add thousands.
func TestMaskingKeysConcurrent(t *testing.T) {
	const users, each = 16, 1_000_000 / 16
	keys := make([][]uint32, users)
	var all sync.WaitGroup
	for u := range keys {
		all.Go(func() {
			for range each {
				keys[u] = append(keys[u], newMaskingKey())
			}
		})
	}
	all.Wait()
	seen, again, zero := make(map[uint32]bool, users*each), 0, 0
	for _, of := range keys {
		for _, key := range of {
			if seen[key] {
				again++
			}
			seen[key] = true
			if key == 0 {
				zero++ // a piece that was used is cleared
			}
		}
	}
	if again > 116+8*11 || zero > 8 {
		t.Errorf("%d keys come again, %d are zero", again, zero)
	}
}

// A piece of a block of keys is used once, and is not kept.
func TestMaskingKeyBlock(t *testing.T) {
	k := &keyBlock{}
	var last [512]byte
	zero := 0 // one key in 4 billion is
	for range 3 {
		for left := len(k.bytes); left > 0; left -= 4 {
			key := k.next()
			if left == len(k.bytes) {
				if k.bytes == last {
					t.Fatal("a block is used twice")
				}
				last = k.bytes
			}
			if key == 0 {
				zero++
			}
			for _, b := range k.bytes[left-4:] {
				if b != 0 {
					t.Fatal("a key that was used is kept")
				}
			}
		}
	}
	if zero > 2 {
		t.Errorf("%d keys of zeros: pieces that were used", zero)
	}
}

// Section 5.3: each frame of a client has a masking key of its own, that cannot
// be foretold.
func TestMaskingKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, true, connConfig{}, netfake.Options{})
		m, err := NewPreparedMessage(MessageText, nil)
		if err != nil {
			t.Fatal(err)
		}
		keys := map[[4]byte]int{}
		var ones [32]int
		const n = 3000
		for i := range n {
			if i%2 == 0 {
				p.c.Write(context.Background(), MessageText, nil)
			} else {
				p.c.WritePrepared(context.Background(), m)
			}
			f := p.ReadFrame()
			keys[f.Key]++
			for bit := range ones {
				ones[bit] += int(f.Key[bit/8] >> (bit % 8) & 1)
			}
		}
		if len(keys) < n-5 { // two in 2^32 may be the same: n^2/2^33 is 0.001
			t.Errorf("%d frames have %d different keys", n, len(keys))
		}
		for bit, k := range ones {
			if k < n/3 || k > n*2/3 { // 18 standard deviations
				t.Errorf("bit %d is set in %d of %d keys", bit, k, n)
			}
		}
	})
}
