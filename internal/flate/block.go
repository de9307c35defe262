package flate

import "math/bits"

// A sequence is a run of literals followed by one length/distance pair.
type sequence struct {
	literals  uint16
	length    uint16 // 3 to 258
	distance  uint16 // 1 to 32768
	lengthSym uint8  // length symbol less 257
	distSym   uint8
}

const (
	// maxSeqs ends a block: enough for some 20 KB of text, after which fresh
	// codes pay for themselves.
	maxSeqs = 2048
	// maxLitBits limits literal/length codes below what DEFLATE allows, so that
	// putTokens can gather four of them at a time. It costs nothing measurable:
	// a symbol with such a code occurs once in ten thousand.
	maxLitBits = 14
)

// A block is one DEFLATE block in the making: its sequences, their statistics
// and the codes made from these.
type block struct {
	seqs [maxSeqs]sequence
	n    int // sequences

	lit  alphabet
	dist alphabet
	head codeLengths
}

// add appends a sequence.
func (b *block) add(literals, length, distance int) {
	ls, ds := lengthSymbol(length), distSymbol(distance)
	b.seqs[b.n&(maxSeqs-1)] = sequence{uint16(literals), uint16(length), uint16(distance), ls, ds}
	b.n++
}

// lengthSymbol returns the symbol of a match length, less 257.
func lengthSymbol(length int) uint8 {
	return lengthSyms[uint8(length-3)]
}

// lengthSyms is lengthSymbol by length-3.
var lengthSyms = func() (syms [maxMatch - 2]uint8) {
	for sym, base := range lengthBase {
		for i := int(base); i <= maxMatch; i++ {
			syms[i-3] = uint8(sym)
		}
	}
	return syms
}()

// distSymbol returns the symbol of a distance: from symbol 2 on there are two
// for each power of two.
func distSymbol(distance int) uint8 {
	d := uint32(distance - 1)
	if d < 4 {
		return uint8(d)
	}
	e := uint(bits.Len32(d)) - 2
	return uint8(2*e + uint(d>>(e&31)))
}

// write appends to w the block that encodes src, whose sequences are in b, in
// the smallest of the three forms. It makes b ready for the next block. src is
// not empty and not longer than maxStored. Where w.out would grow to limit
// bytes, had the message ended here, it writes nothing and returns false.
func (b *block) write(w *bitWriter, src []byte, limit int) bool {
	extra := b.count(src)
	fixedBits := 3 + extra + b.fixedSize()
	storedBits := 3 + int(-(w.n+3)&7) + 32 + 8*len(src)
	best := min(fixedBits, storedBits)
	dynamic := false
	if 3+extra+b.dynamicEstimate() < best {
		if n := 3 + extra + b.buildDynamic(); n < best {
			best, dynamic = n, true
		}
	}
	n := b.n
	b.n = 0
	if (w.bitLen()+best+10)/8 >= limit { // with the three bits of the flush, rounded up
		return false
	}
	// BFINAL is never set: the message goes on at least with the block that
	// flushes it.
	switch {
	case dynamic:
		w.put(2<<1, 3)
		b.head.put(w)
		w.putTokens(src, b.seqs[:n], &b.lit.code, (*[numDist + 2]code)(b.dist.code[:]), best)
	case best == fixedBits:
		w.put(1<<1, 3)
		w.putTokens(src, b.seqs[:n], &fixedLitCode, &fixedDistCode, best)
	default:
		putStored(w, src)
	}
	return true
}

// putStored appends a stored block (RFC 1951 section 3.2.4).
func putStored(w *bitWriter, src []byte) {
	w.put(0, 3)
	w.align()
	n := uint64(len(src))
	w.put(n|(^n&0xffff)<<16, 32)
	w.out = append(w.out, src...)
}

// count makes the symbol statistics of src's sequences and returns the number
// of extra bits.
func (b *block) count(src []byte) (extra int) {
	lit, dist := &b.lit.freq, &b.dist.freq
	clear(lit[:numLitLen])
	clear(dist[:numDist])
	at := 0
	for i := range b.seqs[:b.n] {
		q := &b.seqs[i]
		left := int(q.literals)
		for ; left >= 4; left -= 4 {
			run := src[at : at+4]
			lit[run[0]]++
			lit[run[1]]++
			lit[run[2]]++
			lit[run[3]]++
			at += 4
		}
		// Without a branch, as in putTokens.
		run := src[at : at+3]
		lit[run[0]] += uint16(upTo(0, left) & 1)
		lit[run[1]] += uint16(upTo(1, left) & 1)
		lit[run[2]] += uint16(upTo(2, left) & 1)
		at += left + int(q.length)
		lit[257+int(q.lengthSym)]++
		dist[q.distSym]++
		extra += int(lengthExtra[q.lengthSym]) + int(distExtra[q.distSym])
	}
	src = src[at:]
	for _, c := range src {
		lit[c]++
	}
	lit[endOfBlock]++
	b.lit.list(numLitLen)
	b.dist.list(numDist)
	return extra
}

// fixedSize returns how many bits the symbols take in the fixed code (RFC 1951
// section 3.2.6).
func (b *block) fixedSize() int {
	n := 5 * b.n
	for _, s := range b.lit.used[:b.lit.n] {
		n += int(s.freq()) * int(fixedLitCode[s.value()].len())
	}
	return n
}

// dynamicEstimate foretells buildDynamic within a few percent, for much less
// work. Most short messages are settled by it: their few symbols do not pay for
// a code of their own.
func (b *block) dynamicEstimate() int {
	// The head is fitted to that of messages of many kinds. It has a code
	// length for each symbol that occurs, and the runs of the others between
	// them. It counts what it costs to say how these are coded.
	return b.lit.entropy() + b.dist.entropy() + 120 + 7*(b.lit.n+b.dist.n)/2
}

// buildDynamic makes the block's own codes and returns how many bits symbols
// and codes take.
func (b *block) buildDynamic() int {
	n := b.lit.build(maxLitBits) + b.dist.build(maxCodeBits)
	return n + b.head.build(&b.lit, &b.dist)
}

// The codes of RFC 1951 section 3.2.6.
var fixedLitCode = func() [maxSymbols]code {
	var a alphabet
	for i := range a.lens {
		switch {
		case i < 144:
			a.lens[i] = 8
		case i < 256:
			a.lens[i] = 9
		case i < 280:
			a.lens[i] = 7
		default:
			a.lens[i] = 8
		}
		a.used[i] = symbol(i)
		a.count[a.lens[i]]++
	}
	a.n = maxSymbols
	a.assign()
	return a.code
}()

var fixedDistCode = func() (codes [numDist + 2]code) {
	for i := range codes {
		codes[i] = code(bits.Reverse8(uint8(i))>>3) | 5<<16
	}
	return codes
}()
