package websocket

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"testing"
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
	// Section 5.7: a single-frame masked text message, "Hello", with the key 37 fa 21 3d.
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

// checkMask compares the mask and the copyMask of one variant with the naive twin on src placed at the given
// offsets of larger buffers, and looks for bytes changed outside.
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

// A message may be masked in pieces of any sizes: the returned key carries the position on.
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
