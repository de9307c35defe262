package flate

import "math/bits"

// A decoding table is indexed with the next bits of the input, as many as its
// root has. Each entry says which symbol's code they begin with, and what to do
// with it. Where a code is longer than the root, the entry leads to a second
// table further on in the same slice.
//
//	bits 0-5    bits to take from the input: of the code, and of the extra bits that follow it
//	bits 8-13   bits of the code alone; of a link, the bits that index the second table
//	bits 16-31  value: a literal, the base of a length or distance, a code length (see codeLenEntry); of a link,
//	            where the second table begins
type entry uint32

const (
	isLiteral entry = 1 << 15
	isSpecial entry = 1 << 14 // not a literal, length or distance: a link if it has isLink, else
	isLink    entry = 1 << 7  //   the end of the block if its value is 0, else no code at all

	// noCode stands where no code does. Its length makes sure that it is only
	// believed with that many bits at hand.
	noCode = isSpecial | 1<<16 | maxCodeBits
)

func (e entry) take() uint     { return uint(e & 63) }
func (e entry) codeBits() uint { return uint(e >> 8 & 15) }
func (e entry) value() uint    { return uint(e >> 16) }

// full returns the value of a length or distance, the code of which the bits in
// acc begin with.
func (e entry) full(acc uint64) int {
	return int(e.value()) + int(acc&(1<<e.take()-1)>>e.codeBits())
}

// The roots, and room for the tables. No complete code of 286 symbols of up to
// 15 bits needs more than 1,334 entries with a root of 10 bits. None of 30
// symbols needs more than 402 with a root of 8.
const (
	litRoot     = 10
	distRoot    = 8
	litEntries  = 1334 + 2
	distEntries = 402 + 6
)

// litEntry and distEntry are the entries of the symbols, without the bits of
// their codes.
var litEntry = func() (t [maxSymbols]entry) {
	for i := range t {
		switch {
		case i < endOfBlock:
			t[i] = isLiteral | entry(i)<<16
		case i == endOfBlock:
			t[i] = isSpecial
		case i < numLitLen:
			t[i] = entry(lengthBase[i-257])<<16 | entry(lengthExtra[i-257])
		default:
			t[i] = isSpecial | 1<<16 // part of the fixed code, but must not occur
		}
	}
	return t
}()

var distEntry = func() (t [numDist + 2]entry) {
	for i := range t {
		if i < numDist {
			t[i] = entry(distBase[i])<<16 | entry(distExtra[i])
		} else {
			t[i] = isSpecial | 1<<16 // likewise
		}
	}
	return t
}()

// codeLenEntry is the same for the code length code. Of the value, the low four
// bits are the length. The next four say how often it stands at least, and the
// extra bits are added to that. The flag isRepeat says that it is the one
// before.
var codeLenEntry = func() (t [numCodeLen]entry) {
	for i := range 16 {
		t[i] = entry(1<<4|i) << 16
	}
	t[16] = entry(isRepeat|3<<4)<<16 | 2
	t[17] = entry(3<<4)<<16 | 3
	t[18] = entry(11<<4)<<16 | 7
	return t
}()

const isRepeat = 1 << 8

// A coded is a symbol that has a code, and the code's length: symbol<<4 | bits.
type coded uint16

// buildTable fills table for the code of the given symbols, which come in the
// order of their values. The first levels have at most root bits. It returns
// how many bits index the first level. It returns false if the lengths do not
// make a code that uses all of its space; one code of one bit need not. The
// argument kinds holds the symbols' entries.
func buildTable(table []entry, symbols []coded, kinds []entry, root uint) (uint, bool) {
	if len(symbols) == 1 && symbols[0]&15 == 1 {
		table[0], table[1] = kinds[symbols[0]>>4]+1<<8+1, noCode
		return 1, true
	}
	var count, at [maxCodeBits + 2]uint16
	for _, s := range symbols {
		count[s&15]++
	}
	space, longest, shortest := 0, 0, 0
	for l := 1; l <= maxCodeBits; l++ {
		at[l+1] = at[l] + count[l]
		space += int(count[l]) << (maxCodeBits - l)
		if count[l] > 0 {
			longest = l
			if shortest == 0 {
				shortest = l
			}
		}
	}
	if space != 1<<maxCodeBits {
		return 0, false
	}
	var sorted [maxSymbols]uint16 // by length, then value: in the order of their codes
	for _, s := range symbols {
		p := &at[s&15]
		sorted[*p] = uint16(s >> 4)
		*p++
	}
	root = min(root, uint(longest))
	next := sorted[:len(symbols)]

	// Codes are indexed with their first bit lowest. Level by level: a table
	// for codes of up to l bits, twice one after the other, is one for l+1
	// bits. Only the longer codes are still to come.
	c := uint16(0) // the next code, first bit highest
	l := shortest
	for ; ; l++ {
		for _, sym := range next[:count[l]] {
			e := kinds[sym]
			table[bits.Reverse16(c)>>(16-l)] = e + entry(l)<<8 + entry(l)
			c++
		}
		next = next[count[l]:]
		if l == int(root) {
			break
		}
		copy(table[1<<l:2<<l], table[:1<<l])
		c <<= 1
	}
	if len(next) == 0 {
		return root, true
	}

	// The longer codes, in order: those with the same first root bits, which
	// share a second table, are neighbours.
	end := uint(1) << root // of what is used of table
	start, sub := uint(0), uint(0)
	prefix := ^uint(0)
	for len(next) > 0 {
		l++
		c <<= 1
		for ; count[l] > 0; count[l]-- {
			rev := uint(bits.Reverse16(c) >> (16 - l))
			if p := rev & (1<<root - 1); p != prefix {
				prefix = p
				// As many bits as it takes until the codes to come have filled
				// the table.
				sub = uint(l) - root
				for left := 1<<sub - int(count[l]); left > 0 && int(root+sub) < longest; {
					sub++
					left = left<<1 - int(count[root+sub])
				}
				start = end
				end += 1 << sub
				table[p] = isSpecial | isLink | entry(start)<<16 | entry(sub)<<8 | entry(root)
			}
			e := kinds[next[0]] + entry(l)<<8 + entry(l)
			next = next[1:]
			for i := rev >> root; i < 1<<sub; i += 1 << (uint(l) - root) {
				table[start+i] = e
			}
			c++
		}
	}
	return root, true
}

// The tables of the fixed codes (RFC 1951 section 3.2.6).
var fixedLitTable, fixedDistTable = func() (lit [1 << 9]entry, dist [1 << 5]entry) {
	var symbols [maxSymbols]coded
	for i := range symbols {
		symbols[i] = coded(i)<<4 | coded(fixedLitCode[i].len())
	}
	buildTable(lit[:], symbols[:], litEntry[:], 9)
	for i := range numDist + 2 {
		symbols[i] = coded(i)<<4 | 5
	}
	buildTable(dist[:], symbols[:numDist+2], distEntry[:], 5)
	return lit, dist
}()
