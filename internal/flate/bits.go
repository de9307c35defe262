package flate

import (
	"encoding/binary"
	"slices"
)

// A bitWriter appends bits to a byte slice, the lowest bit of each byte first
// (RFC 1951 section 3.1.1).
type bitWriter struct {
	out []byte
	acc uint64 // bits not yet in out; those from n up are 0
	n   uint   // how many, at most 32, and below 8 between blocks
}

// put appends the low n bits of v, n at most 32; the others must be 0.
func (w *bitWriter) put(v uint64, n uint) {
	w.acc |= v << w.n
	w.n += n
	if w.n >= 32 {
		w.out = binary.LittleEndian.AppendUint32(w.out, uint32(w.acc))
		w.acc >>= 32
		w.n -= 32
	}
}

// settle moves whole bytes to out.
func (w *bitWriter) settle() {
	for w.n >= 8 {
		w.out = append(w.out, byte(w.acc))
		w.acc >>= 8
		w.n -= 8
	}
}

// align fills the last byte with zero bits and leaves none behind.
func (w *bitWriter) align() {
	w.n = (w.n + 7) &^ 7
	w.settle()
}

// bitLen returns how many bits have been written.
func (w *bitWriter) bitLen() int { return 8*len(w.out) + int(w.n) }

// putTokens writes a block's tokens and its end-of-block symbol. Of src it
// writes first seqs[0].literals literals, then a pair that stands for the next
// seqs[0].length bytes, and so on. It writes the rest of src as literals. bits
// is at least what they come to.
func (w *bitWriter) putTokens(src []byte, seqs []sequence, lit *[maxSymbols]code, dist *[numDist + 2]code, bits int) {
	w.settle()
	// Room for all of it and for whole words behind it, so that the loop never
	// grows out.
	w.out = slices.Grow(w.out, bits/8+16)
	out := w.out[:cap(w.out)]
	p, acc, n := len(w.out), w.acc, w.n

	at := 0
	for k := 0; ; k++ {
		left := len(src) - at
		if k < len(seqs) {
			left = int(seqs[k].literals)
		}
		// Four codes of at most 14 bits (see maxLitBits) and 7 left over fit in
		// 64 bits.
		for ; left >= 4; left -= 4 {
			run := src[at : at+4]
			c0, c1, c2, c3 := lit[run[0]], lit[run[1]], lit[run[2]], lit[run[3]]
			acc |= c0.bits() << (n & 63)
			n += c0.len()
			acc |= c1.bits() << (n & 63)
			n += c1.len()
			acc |= c2.bits() << (n & 63)
			n += c2.len()
			acc |= c3.bits() << (n & 63)
			n += c3.len()
			binary.LittleEndian.PutUint64(out[p:], acc)
			p += int(n >> 3)
			acc >>= n & 56
			n &= 7
			at += 4
		}
		if k == len(seqs) {
			break
		}
		// Up to three literals more, which nothing could predict. Three are
		// looked up, because at least as many bytes follow. Those beyond the
		// run count as codes of no bits.
		run := src[at : at+3]
		c0, c1, c2 := lit[run[0]]&upTo(0, left), lit[run[1]]&upTo(1, left), lit[run[2]]&upTo(2, left)
		acc |= c0.bits() << (n & 63)
		n += c0.len()
		acc |= c1.bits() << (n & 63)
		n += c1.len()
		acc |= c2.bits() << (n & 63)
		n += c2.len()
		binary.LittleEndian.PutUint64(out[p:], acc)
		p += int(n >> 3)
		acc >>= n & 56
		n &= 7
		// A pair: at most 14 + 5 + 15 + 13 bits and 7 left over.
		q := &seqs[k]
		at += left + int(q.length)
		c := lit[257+uint(q.lengthSym)]
		acc |= c.bits() << (n & 63)
		n += c.len()
		acc |= uint64(q.length-lengthBase[q.lengthSym]) << (n & 63)
		n += uint(lengthExtra[q.lengthSym])
		c = dist[q.distSym&31]
		acc |= c.bits() << (n & 63)
		n += c.len()
		acc |= uint64(q.distance-distBase[q.distSym]) << (n & 63)
		n += uint(distExtra[q.distSym])
		binary.LittleEndian.PutUint64(out[p:], acc)
		p += int(n >> 3)
		acc >>= n & 56
		n &= 7
	}
	for _, b := range src[at:] { // at most three
		c := lit[b]
		acc |= c.bits() << (n & 63)
		n += c.len()
	}
	c := lit[endOfBlock]
	acc |= c.bits() << (n & 63)
	n += c.len()
	w.out, w.acc, w.n = out[:p], acc, n
	w.settle()
}

// upTo returns all ones if i < n, else 0.
func upTo(i, n int) code { return code(int32(i-n) >> 31) }
