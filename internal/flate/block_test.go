package flate

import (
	"bytes"
	"testing"
)

// TestBlockCounts: the statistics are those of the tokens counted one by one.
// The sizes that decide between the forms of a block are what is then written,
// to the bit.
func TestBlockCounts(t *testing.T) {
	all := append(corpora[:len(corpora):len(corpora)], moreCorpora...)
	for _, c := range all {
		for size := 1; size < 9000; size += 1 + size/9 {
			msg := c.make(uint64(size), size)
			s := getScratch()
			b := &s.block
			f := (*past)(nil).finder(15, size, &s.table)
			end := f.parse(b, msg, 0, size)
			src := msg[:end]

			var lit [numLitLen]uint16
			var dist [numDist]uint16
			lit[endOfBlock] = 1
			at, wantExtra := 0, 0
			for _, q := range b.seqs[:b.n] {
				for range q.literals {
					lit[src[at]]++
					at++
				}
				if !bytes.Equal(src[at:at+int(q.length)], naiveCopy(src[:at], int(q.distance), int(q.length))) {
					t.Fatalf("%s, %d bytes: at %d no match of %d bytes, %d before", c.name, size, at, q.length, q.distance)
				}
				at += int(q.length)
				lit[257+int(q.lengthSym)]++
				dist[q.distSym]++
				wantExtra += int(lengthExtra[q.lengthSym]) + int(distExtra[q.distSym])
			}
			for ; at < len(src); at++ {
				lit[src[at]]++
			}
			extra := b.count(src)
			if extra != wantExtra || lit != [numLitLen]uint16(b.lit.freq[:]) || dist != [numDist]uint16(b.dist.freq[:]) {
				t.Fatalf("%s, %d bytes: counted wrongly", c.name, size)
			}

			fixed, dynamic := 3+extra+b.fixedSize(), 3+extra+b.buildDynamic()
			var w bitWriter
			w.put(2<<1, 3)
			b.head.put(&w)
			w.putTokens(src, b.seqs[:b.n], &b.lit.code, (*[numDist + 2]code)(b.dist.code[:]), dynamic)
			if n := w.bitLen(); n != dynamic {
				t.Fatalf("%s, %d bytes: a dynamic block of %d bits, foretold %d", c.name, size, n, dynamic)
			}
			w = bitWriter{}
			w.put(1<<1, 3)
			w.putTokens(src, b.seqs[:b.n], &fixedLitCode, &fixedDistCode, fixed)
			if n := w.bitLen(); n != fixed {
				t.Fatalf("%s, %d bytes: a fixed block of %d bits, foretold %d", c.name, size, n, fixed)
			}
			// The estimate only has to be near: where it is not, it would
			// choose badly.
			if n := 3 + extra + b.dynamicEstimate(); n > dynamic+dynamic/5+60 || n < dynamic-dynamic/5-60 {
				t.Errorf("%s, %d bytes: %d bits foretold for a dynamic block of %d", c.name, size, n, dynamic)
			}
			putScratch(s)
		}
	}
}

// naiveCopy returns the n bytes that a pair with this distance stands for
// behind p.
func naiveCopy(p []byte, distance, n int) []byte {
	var out []byte
	p = bytes.Clone(p)
	for range n {
		p = append(p, p[len(p)-distance])
		out = append(out, p[len(p)-1])
	}
	return out
}
