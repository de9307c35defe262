package websocket

import "unicode/utf8"

// A utf8Validator checks text that arrives in pieces (RFC 6455, section 8.1; RFC 3629). Its zero value stands at the start
// of a text.
type utf8Validator struct {
	need   uint8 // continuation bytes that the code point at the end of the last piece still needs
	lo, hi uint8 // while need > 0: the range that the next byte must lie in; an empty one after an error
}

// write takes the next piece of the text. It returns false as soon as what it has seen so far cannot begin any valid
// text, even inside a code point: F4 90 is refused at the 90, for the code point would lie past U+10FFFF. From then on it
// returns false until end.
func (v *utf8Validator) write(p []byte) bool {
	if v.need > 0 {
		n, ok := v.resume(p)
		if !ok || v.need > 0 {
			return ok
		}
		p = p[n:]
	}
	// A code point that goes on in the next piece is for resume, all in front of it for validUTF8.
	whole := len(p) - unfinished(p)
	if !validUTF8(p[:whole]) {
		return v.fail()
	}
	_, ok := v.resume(p[whole:])
	return ok
}

// end reports whether the text does not end inside a code point. It makes v ready for another text.
func (v *utf8Validator) end() bool {
	whole := v.need == 0
	*v = utf8Validator{}
	return whole
}

// resume takes the bytes of p one at a time up to the end of the first code point, or of p, and says how many it
// took.
func (v *utf8Validator) resume(p []byte) (n int, ok bool) {
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
func (v *utf8Validator) lead(b byte) {
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
func (v *utf8Validator) follow(b byte) {
	if b < v.lo || v.hi < b {
		v.fail()
		return
	}
	v.need--
	v.lo, v.hi = 0x80, 0xbf
}

// fail brings v into the state that refuses every byte, and returns false.
func (v *utf8Validator) fail() bool {
	*v = utf8Validator{need: 1, lo: 1, hi: 0}
	return false
}

// unfinished returns how many bytes at the end of p begin a code point that is longer than they are: 0 to 3. It looks at
// nothing but the length that the first byte announces.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		switch b := p[len(p)-n]; {
		case b >= 0xf0 && n < 4, b >= 0xe0 && n < 3, b >= 0xc0 && n < 2:
			return n
		case b < 0x80 || b >= 0xc0:
			return 0
		}
	}
	return 0
}

// validUTF8 reports whether p is UTF-8 as a whole.
func validUTF8(p []byte) bool { return utf8.Valid(p) }
