package flate

import (
	"math/bits"
	"slices"
	"testing"
)

// naiveHuffman returns the least number of bits that symbols with these
// frequencies take. That is the sum of the weights of the inner nodes of a
// Huffman tree.
func naiveHuffman(freq []uint16) int {
	var w []int
	for _, f := range freq {
		if f > 0 {
			w = append(w, int(f))
		}
	}
	if len(w) == 1 {
		return w[0]
	}
	sum := 0
	for len(w) > 1 {
		slices.Sort(w)
		w[1] += w[0]
		sum += w[1]
		w = w[1:]
	}
	return sum
}

func checkCode(t *testing.T, a *alphabet, freq []uint16, limit, got int) {
	t.Helper()
	space, sum, used := 0, 0, 0
	codes := map[code]bool{}
	for i, f := range freq {
		if f == 0 {
			continue
		}
		used++
		l := int(a.lens[i])
		if l < 1 || l > limit {
			t.Fatalf("symbol %d has %d bits, limit %d", i, l, limit)
		}
		c := a.code[i]
		if int(c.len()) != l || codes[c] {
			t.Fatalf("symbol %d: code %x for %d bits", i, c, l)
		}
		codes[c] = true
		// No other code may begin with this one: all together fill the space
		// exactly.
		space += 1 << (limit - l)
		sum += int(f) * l
	}
	if used > 1 && space != 1<<limit {
		t.Fatalf("codes take %d of %d", space, 1<<limit)
	}
	if sum != got {
		t.Fatalf("build returned %d bits, they are %d", got, sum)
	}
}

func TestHuffman(t *testing.T) {
	r := newRand(1)
	for i := range 3000 {
		size := []int{numLitLen, numDist, numCodeLen}[i%3]
		limit := []int{maxLitBits, maxCodeBits, maxCodeLenBits}[i%3]
		var a alphabet
		freq := a.freq[:size]
		total := 0
		for range 1 + r.IntN(size) {
			f := 1 + r.IntN(1<<r.IntN(12))
			if total += f; total > maxStored {
				break
			}
			freq[r.IntN(size)] = uint16(f)
		}
		a.list(size)
		got := a.build(limit)
		checkCode(t, &a, freq, limit, got)
		if best := naiveHuffman(freq); got < best || got > best+best/8 {
			t.Fatalf("%d bits, a Huffman code takes %d", got, best)
		} else if got != best && a.n < 64 && limit == maxLitBits {
			t.Fatalf("%d bits where the limit does not bind, a Huffman code takes %d: %v", got, best, freq)
		}
	}
}

// TestHuffmanDeep takes the frequencies that make the deepest trees.
func TestHuffmanDeep(t *testing.T) {
	for limit := maxCodeLenBits; limit <= maxCodeBits; limit++ {
		for n := 1; n <= 23; n++ {
			var a alphabet
			x, y, total := 1, 1, 0
			for i := range n {
				if total+x > maxStored+1 {
					break
				}
				total += x
				a.freq[i] = uint16(x)
				x, y = y, x+y
			}
			a.list(n)
			got := a.build(limit)
			checkCode(t, &a, a.freq[:n], limit, got)
		}
	}
}

// TestHuffmanOne: RFC 1951 section 3.2.7, one distance code is sent with one
// bit, and none at all is allowed.
func TestHuffmanOne(t *testing.T) {
	var a alphabet
	a.list(numDist)
	if n := a.build(maxCodeBits); n != 0 {
		t.Errorf("no symbols take %d bits", n)
	}
	a.freq[5] = 9
	a.list(numDist)
	if n := a.build(maxCodeBits); n != 9 || a.lens[5] != 1 || a.code[5] != 1<<16 {
		t.Errorf("one symbol: %d bits in all, length %d, code %x", n, a.lens[5], a.code[5])
	}
}

// TestFixedCodes compares with the table of RFC 1951 section 3.2.6.
func TestFixedCodes(t *testing.T) {
	for sym, c := range fixedLitCode {
		var want, n int
		switch {
		case sym < 144:
			want, n = 0b00110000+sym, 8
		case sym < 256:
			want, n = 0b110010000+sym-144, 9
		case sym < 280:
			want, n = sym-256, 7
		default:
			want, n = 0b11000000+sym-280, 8
		}
		if int(c.len()) != n || int(bits.Reverse16(uint16(c.bits()))>>(16-n)) != want {
			t.Errorf("symbol %d: %x", sym, uint32(c))
		}
	}
	for sym, c := range fixedDistCode {
		if c.len() != 5 || int(bits.Reverse16(uint16(c.bits()))>>11) != sym {
			t.Errorf("distance symbol %d: %x", sym, uint32(c))
		}
	}
}

// TestSymbols goes through all lengths and distances: symbol, base and extra
// bits must give back the value.
func TestSymbols(t *testing.T) {
	for l := 3; l <= maxMatch; l++ {
		s := lengthSymbol(l)
		if extra := l - int(lengthBase[s]); extra < 0 || extra >= 1<<lengthExtra[s] {
			t.Errorf("length %d: symbol %d, extra %d", l, s, extra)
		}
	}
	for d := 1; d <= 1<<MaxWindowBits; d++ {
		s := distSymbol(d)
		if extra := d - int(distBase[s]); extra < 0 || extra >= 1<<distExtra[s] {
			t.Errorf("distance %d: symbol %d, extra %d", d, s, extra)
		}
	}
}
