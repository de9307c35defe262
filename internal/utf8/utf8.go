// Package utf8 checks that text is UTF-8 (RFC 3629), whole or in pieces.
package utf8

import (
	"encoding/binary"

	"github.com/seed70bc5565/websocket/internal/simd"
)

// A Validator checks text that arrives in pieces (RFC 6455, section 8.1; RFC
// 3629). Its zero value stands at the start of a text.
type Validator struct {
	need   uint8 // continuation bytes that the code point at the end of the last piece still needs
	lo, hi uint8 // while need > 0: the range that the next byte must lie in; an empty one after an error
}

// Write takes the next piece of the text. It returns false as soon as what it
// has seen so far cannot begin any valid text, even inside a code point: F4 90
// is refused at the 90, for the code point would lie past U+10FFFF. From then
// on it returns false until End.
func (v *Validator) Write(p []byte) bool {
	if v.need > 0 {
		n, ok := v.resume(p)
		if !ok || v.need > 0 {
			return ok
		}
		p = p[n:]
	}
	// A code point that goes on in the next piece is for resume, all in front
	// of it for Valid.
	rest := unfinished(p)
	if !Valid(p[:len(p)-rest]) {
		return v.fail()
	}
	if rest == 0 {
		return true
	}
	_, ok := v.resume(p[len(p)-rest:])
	return ok
}

// End reports whether the text does not end inside a code point. It makes v
// ready for another text.
func (v *Validator) End() bool {
	whole := v.need == 0
	*v = Validator{}
	return whole
}

// resume takes the bytes of p one at a time, up to the end of the first code
// point or of p. It says how many it took.
func (v *Validator) resume(p []byte) (n int, ok bool) {
	if v.need > 0 && v.lo > v.hi {
		return 0, false
	}
	for n < len(p) {
		if v.need == 0 {
			v.lead(p[n])
		} else {
			v.follow(p[n])
		}
		n++
		if v.need == 0 {
			break
		}
		if v.lo > v.hi {
			return n, false
		}
	}
	return n, true
}

// lead takes the first byte of a code point (RFC 3629, section 4).
func (v *Validator) lead(b byte) {
	v.lo, v.hi = 0x80, 0xbf
	switch {
	case b < 0x80:
	case 0xc2 <= b && b <= 0xdf: // C0 and C1 begin nothing: what they could encode is shorter
		v.need = 1
	case b&0xf0 == 0xe0:
		v.need = 2
		switch b {
		case 0xe0: // less than U+0800 is shorter
			v.lo = 0xa0
		case 0xed: // U+D800 to U+DFFF are surrogates
			v.hi = 0x9f
		}
	case 0xf0 <= b && b <= 0xf4:
		v.need = 3
		switch b {
		case 0xf0: // less than U+10000 is shorter
			v.lo = 0x90
		case 0xf4: // the last code point is U+10FFFF
			v.hi = 0x8f
		}
	default:
		v.fail()
	}
}

// follow takes a byte inside a code point.
func (v *Validator) follow(b byte) {
	if b < v.lo || v.hi < b {
		v.fail()
		return
	}
	v.need--
	v.lo, v.hi = 0x80, 0xbf
}

// fail brings v into the state that refuses every byte, and returns false.
func (v *Validator) fail() bool {
	*v = Validator{need: 1, lo: 1, hi: 0}
	return false
}

// unfinished returns how many bytes at the end of p begin a code point that is
// longer than they are: 0 to 3. It looks at nothing but the length that the
// first byte announces.
func unfinished(p []byte) int {
	n := len(p)
	switch {
	case n > 0 && p[n-1] >= 0xc0:
		return 1
	case n > 1 && p[n-2] >= 0xe0:
		return 2
	case n > 2 && p[n-3] >= 0xf0:
		return 3
	}
	return 0
}

// Valid reports whether p is UTF-8 as a whole.
func Valid(p []byte) bool {
	if len(p) < simd.UTF8Min || !simd.HasVectors {
		return validWords(p)
	}
	if len(p) <= asciiMax && isASCII(p) {
		return true
	}
	return simd.UTF8Blocks(&p[0], len(p)) && unfinished(p) == 0
}

// asciiMax is the longest text that is looked at for being ASCII before it is
// checked. From 144 bytes up UTF8Blocks skips ASCII itself.
const asciiMax = 143

// isASCII reports whether p, 8 bytes at least, is ASCII. Short messages mostly
// are, and this takes half the time of UTF8Blocks. Other text pays 1 to 2 ns.
func isASCII(p []byte) bool {
	last := binary.LittleEndian.Uint64(p[len(p)-8:])
	for ; len(p) > 32; p = p[32:] {
		a, b := binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
		c, d := binary.LittleEndian.Uint64(p[16:]), binary.LittleEndian.Uint64(p[24:])
		if (a|b|c|d)&highBits != 0 {
			return false
		}
	}
	for ; len(p) > 8; p = p[8:] {
		last |= binary.LittleEndian.Uint64(p)
	}
	return last&highBits == 0
}

const (
	eachByte = 0x0101010101010101 // times b: a word of eight bytes b
	highBits = 0x80 * eachByte    // 0 in ASCII
)

// validWords is Valid in Go for every processor and byte order. It takes eight
// bytes at a time. It branches on the text only to skip ASCII, and for code
// points of four bytes.
//
// On 64 KiB where code points of several lengths are mixed it is 2.5 to 4 times
// as fast as utf8.Valid, whose branches are mispredicted. On pure CJK it is 1.3
// times as fast.
func validWords(p []byte) bool {
	n := len(p)
	if n < 8 {
		w := loadShort(p)
		return w&highBits == 0 || wrong(w, w<<8, w<<16, w<<24) == 0
	}
	w := binary.LittleEndian.Uint64(p)
	if w&highBits != 0 && wrong(w, w<<8, w<<16, w<<24) != 0 {
		return false
	}

	// From here on q begins three bytes before what comes next, and the bytes
	// before those of a word are one more load.
	q := p[5:]
	for len(q) >= 3+32 {
		w0, w1 := binary.LittleEndian.Uint64(q[3:]), binary.LittleEndian.Uint64(q[11:])
		w2, w3 := binary.LittleEndian.Uint64(q[19:]), binary.LittleEndian.Uint64(q[27:])
		c0, c1 := binary.LittleEndian.Uint64(q), binary.LittleEndian.Uint64(q[8:])
		c2, c3 := binary.LittleEndian.Uint64(q[16:]), binary.LittleEndian.Uint64(q[24:])
		// ASCII may be skipped where no code point of the three bytes before
		// goes on into it.
		if (c0|w0|w1|w2|w3)&highBits != 0 {
			errs := wrong(w0, binary.LittleEndian.Uint64(q[2:]), binary.LittleEndian.Uint64(q[1:]), c0)
			errs |= wrong(w1, binary.LittleEndian.Uint64(q[10:]), binary.LittleEndian.Uint64(q[9:]), c1)
			errs |= wrong(w2, binary.LittleEndian.Uint64(q[18:]), binary.LittleEndian.Uint64(q[17:]), c2)
			errs |= wrong(w3, binary.LittleEndian.Uint64(q[26:]), binary.LittleEndian.Uint64(q[25:]), c3)
			if errs != 0 {
				return false
			}
		}
		q = q[32:]
	}
	errs := uint64(0)
	for len(q) >= 3+8 {
		w, c := binary.LittleEndian.Uint64(q[3:]), binary.LittleEndian.Uint64(q)
		if (w|c)&highBits != 0 {
			errs |= wrong(w, binary.LittleEndian.Uint64(q[2:]), binary.LittleEndian.Uint64(q[1:]), c)
		}
		q = q[8:]
	}

	// The rest is up to seven bytes, which end the last word, and zeros behind
	// them: they show what is cut off.
	if w = binary.LittleEndian.Uint64(p[n-8:]); w&highBits != 0 {
		rest := len(q) - 3
		before := binary.LittleEndian.Uint64(p[n-rest-8:])
		w >>= 8 * (8 - rest)
		errs |= wrong(w, w<<8|before>>56, w<<16|before>>48, w<<24|before>>40)
	}
	return errs == 0
}

// loadShort returns the bytes of p, fewer than 8, and zeros behind.
func loadShort(p []byte) uint64 {
	switch n := len(p); {
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(p)) | uint64(binary.LittleEndian.Uint32(p[n-4:]))<<(8*(n-4))
	case n > 0:
		return uint64(p[0]) | uint64(p[n>>1])<<(8*(n>>1)) | uint64(p[n-1])<<(8*(n-1))
	}
	return 0
}

// wrong looks at the eight bytes of w, given the eight that begin one, two and
// three bytes before them: a, b, and c. It returns 0 if what each byte is fits
// what is before it (RFC 3629, section 4).
//
// Of each byte of a word only the highest bit counts; shifting left by i brings
// its bit 7-i there.
func wrong(w, a, b, c uint64) uint64 {
	// A continuation byte (10xxxxxx) stands only behind a first byte. It is one
	// behind that of two or more bytes (11xxxxxx), or two behind that of three
	// or more (111xxxxx). Or it is three behind that of four (1111xxxx).
	two := a & (a << 1)
	three := two & (a << 2)
	errs := (two | b&(b<<1)&(b<<2) | c&(c<<1)&(c<<2)&(c<<3)) ^ (w &^ (w << 1))

	// C0 and C1 begin what could be shorter: the bits 1 to 4 are 0. Here and
	// below, adding 80-n brings a value of n or more to bit 7.
	errs |= two &^ three &^ (a&(0x1e*eachByte) + 0x7e*eachByte)

	// So do E0 80 to E0 9F; and ED A0 to ED BF are surrogates. The low half of
	// the first byte with bit 5 of the second in front is 00 or 1D.
	v := a&(0x0f*eachByte) | w>>1&(0x10*eachByte)
	errs |= three &^ (a << 3) &^ ((v + 0x7f*eachByte) & (v ^ 0x1d*eachByte + 0x7f*eachByte))

	// From F0 90 to F4 8F all is right. There the low half of the first byte
	// with bits 4 and 5 of the second behind is 01 to 10.
	if four := three & (a << 3) & highBits; four != 0 {
		v := a&(0x0f*eachByte)<<2 | w>>4&(0x03*eachByte)
		errs |= four & (^(v + 0x7f*eachByte) | (v + 0x6f*eachByte))
	}
	return errs & highBits
}
