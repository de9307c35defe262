package flate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
)

// A stdInflater inflates messages with compress/flate.
type stdInflater struct{ r io.ReadCloser }

// inflate inflates one message. dict is what the window holds.
func (s *stdInflater) inflate(payload, dict []byte) ([]byte, error) {
	// The tail of RFC 7692 section 7.2.2, then a final block, without which
	// compress/flate would miss the end.
	in := append(bytes.Clone(payload), "\x00\x00\xff\xff\x01\x00\x00\xff\xff"...)
	if s.r == nil {
		s.r = flate.NewReaderDict(bytes.NewReader(in), dict)
	} else if err := s.r.(flate.Resetter).Reset(bytes.NewReader(in), dict); err != nil {
		return nil, err
	}
	return io.ReadAll(s.r)
}

// naiveInflate inflates one message as RFC 1951 and RFC 7692 say it, one bit at
// a time. It finds fault with all that Decoder's comment says it does. history
// is what precedes the message.
func naiveInflate(payload, history []byte, window int) (msg []byte, err error) {
	d := &naiveInflater{in: append(bytes.Clone(payload), 0, 0, 0xff, 0xff), window: window}
	d.out = append(d.out, history[max(0, len(history)-window):]...)
	seen := len(d.out)
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(naiveError)
			if !ok {
				panic(r)
			}
			msg, err = nil, e
		}
	}()
	fresh := true // nothing has come yet, or nothing since a final block
	empty := false
	for d.pos < 8*len(d.in) {
		if fresh && d.pos == 8*len(payload) {
			return d.out[seen:], nil // without the tail
		}
		fresh, empty = d.block()
	}
	if !empty {
		d.fail("no empty stored block at the end")
	}
	return d.out[seen:], nil
}

type naiveError struct{ error }

var errNaiveTruncated = errors.New("truncated")

type naiveInflater struct {
	in     []byte
	pos    int // in bits
	out    []byte
	window int
}

func (d *naiveInflater) fail(format string, args ...any) {
	panic(naiveError{fmt.Errorf("bit %d: "+format, append([]any{d.pos}, args...)...)})
}

func (d *naiveInflater) bits(n int) int {
	v := 0
	for i := range n {
		if d.pos == 8*len(d.in) {
			panic(naiveError{errNaiveTruncated})
		}
		v |= int(d.in[d.pos/8]>>(d.pos%8)&1) << i
		d.pos++
	}
	return v
}

func (d *naiveInflater) align() { d.pos = (d.pos + 7) &^ 7 }

// block inflates one block and reports whether it was marked as final and
// whether it was an empty stored one.
func (d *naiveInflater) block() (final, empty bool) {
	final = d.bits(1) == 1
	switch d.bits(2) {
	case 0:
		d.align()
		n := d.bits(16)
		if c := d.bits(16); c != n^0xffff {
			d.fail("stored length %04x, complement %04x", n, c)
		}
		for range n {
			d.out = append(d.out, byte(d.bits(8)))
		}
		empty = n == 0
	case 1:
		var lit [288]int
		for i := range lit {
			switch {
			case i < 144:
				lit[i] = 8
			case i < 256:
				lit[i] = 9
			case i < 280:
				lit[i] = 7
			default:
				lit[i] = 8
			}
		}
		var dist [32]int
		for i := range dist {
			dist[i] = 5
		}
		d.tokens(d.code(lit[:], naiveLiterals), d.code(dist[:], naiveDistances))
	case 2:
		d.dynamic()
	default:
		d.fail("block type 3")
	}
	if final {
		d.align()
	}
	return final, empty
}

func (d *naiveInflater) dynamic() {
	hlit, hdist, hclen := d.bits(5)+257, d.bits(5)+1, d.bits(4)+4
	if hlit > 286 || hdist > 30 {
		d.fail("%d literal/length and %d distance codes", hlit, hdist)
	}
	var clen [19]int
	for _, sym := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:hclen] {
		clen[sym] = d.bits(3)
	}
	code := d.code(clen[:], naiveLengths)
	var lens []int
	repeat := func(l, n int) {
		for range n {
			lens = append(lens, l)
		}
	}
	for len(lens) < hlit+hdist {
		switch sym := d.symbol(code); sym {
		case 16:
			if len(lens) == 0 {
				d.fail("nothing to repeat")
			}
			repeat(lens[len(lens)-1], d.bits(2)+3)
		case 17:
			repeat(0, d.bits(3)+3)
		case 18:
			repeat(0, d.bits(7)+11)
		default:
			lens = append(lens, sym)
		}
	}
	if len(lens) > hlit+hdist {
		d.fail("too many code lengths")
	}
	if lens[256] == 0 {
		d.fail("no code for the end of the block")
	}
	d.tokens(d.code(lens[:hlit], naiveLiterals), d.code(lens[hlit:], naiveDistances))
}

// A naiveCode lists the symbols of a code in the order of their codes. It has
// the first code of each length, and where its symbol stands.
type naiveCode struct {
	symbols         []int
	first, at, next [17]int
}

// The three kinds of codes. All must use their space. A single code of one bit
// need not, except among the code lengths, and a code of no distances need not.
const (
	naiveLengths = iota
	naiveLiterals
	naiveDistances
)

// code makes a code from its lengths.
func (d *naiveInflater) code(lens []int, kind int) *naiveCode {
	c := &naiveCode{}
	next := 0
	for l := 1; l <= 15; l++ {
		next <<= 1
		c.first[l], c.at[l] = next, len(c.symbols)
		for sym, sl := range lens {
			if sl == l {
				c.symbols = append(c.symbols, sym)
				next++
			}
		}
		if next > 1<<l {
			d.fail("over-subscribed code")
		}
		c.next[l] = next
	}
	single := len(c.symbols) == 1 && c.next[1] == 1
	if next != 1<<15 && !(single && kind != naiveLengths) && !(len(c.symbols) == 0 && kind == naiveDistances) {
		d.fail("incomplete code")
	}
	return c
}

func (d *naiveInflater) symbol(c *naiveCode) int {
	v := 0
	for l := 1; l <= 15; l++ {
		v = v<<1 | d.bits(1)
		if v >= c.first[l] && v < c.next[l] {
			return c.symbols[c.at[l]+v-c.first[l]]
		}
	}
	d.fail("unassigned code")
	return 0
}

func (d *naiveInflater) tokens(lit, dist *naiveCode) {
	for {
		sym := d.symbol(lit)
		switch {
		case sym < 256:
			d.out = append(d.out, byte(sym))
			continue
		case sym == 256:
			return
		case sym > 285:
			d.fail("length symbol %d", sym)
		}
		// RFC 1951 section 3.2.5, as a rule rather than as a table.
		length := sym - 257 + 3
		if sym == 285 {
			length = 258
		} else if sym >= 265 {
			e := (sym - 261) / 4
			length = (4+(sym-261)%4)<<e + 3 + d.bits(e)
		}
		sym = d.symbol(dist)
		if sym > 29 {
			d.fail("distance symbol %d", sym)
		}
		distance := sym + 1
		if sym >= 4 {
			e := sym/2 - 1
			distance = (2+sym%2)<<e + 1 + d.bits(e)
		}
		if distance > d.window {
			d.fail("distance %d, window %d", distance, d.window)
		}
		if distance > len(d.out) {
			d.fail("distance %d after %d bytes", distance, len(d.out))
		}
		for range length {
			d.out = append(d.out, d.out[len(d.out)-distance])
		}
	}
}
