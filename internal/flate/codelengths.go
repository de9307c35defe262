package flate

// codeLengths is the head of a dynamic block: its two codes' lengths,
// run-length coded and themselves in a Huffman code (RFC 1951 section 3.2.7).
type codeLengths struct {
	hlit, hdist, hclen int // lengths sent of each of the three codes

	items [numLitLen + numDist]codeLenItem
	n     int
	code  alphabet
}

// A codeLenItem is a code length (sym up to 15) or a run: 16 repeats the last
// length 3 to 6 times. 17 and 18 stand for 3 to 10 and 11 to 138 zeros. extra
// is the run's length less the least.
type codeLenItem struct{ sym, extra uint8 }

// build makes the head of the lengths of lit and dist and returns its size in
// bits.
func (h *codeLengths) build(lit, dist *alphabet) int {
	h.hlit = int(lit.used[lit.n-1].value()) + 1 // at least 257: the end of block always has a code
	h.hdist = 1
	if dist.n > 0 {
		h.hdist = int(dist.used[dist.n-1].value()) + 1
	}
	h.n = 0
	clear(h.code.freq[:numCodeLen])
	// The two lists are sent as one: runs of zeros may span them.
	at := h.runs(lit, 0, 0)
	at = h.runs(dist, h.hlit, at)
	h.zeros(h.hlit + h.hdist - at)

	// zlib takes this code only if it fills its space, which one symbol alone
	// would not. There are always two: the end of the block has a length, and
	// the 256 before it are zeros or repeat it.
	h.code.list(numCodeLen)
	clear(h.code.lens[:numCodeLen])
	n := h.code.build(maxCodeLenBits)
	h.hclen = numCodeLen
	for h.hclen > 4 && h.code.lens[codeLenOrder[h.hclen-1]] == 0 {
		h.hclen--
	}
	return n + 5 + 5 + 4 + 3*h.hclen + 2*int(h.code.freq[16]) + 3*int(h.code.freq[17]) + 7*int(h.code.freq[18])
}

// runs appends the lengths of a, the first of which stands at from in the list,
// when those up to at are there. It returns where the list then ends.
func (h *codeLengths) runs(a *alphabet, from, at int) int {
	last, repeats := uint8(0), 0
	for _, s := range a.used[:a.n] {
		l := a.lens[s.value()]
		gap := from + int(s.value()) - at
		at += gap + 1
		if gap == 0 && l == last {
			repeats++
			continue
		}
		h.repeat(last, repeats)
		repeats = 0
		h.zeros(gap)
		h.item(l, 0)
		last = l
	}
	h.repeat(last, repeats)
	return at
}

// zeros appends n zero lengths.
func (h *codeLengths) zeros(n int) {
	for n >= 11 {
		k := min(n, 138)
		h.item(18, k-11)
		n -= k
	}
	if n >= 3 {
		h.item(17, n-3)
		return
	}
	for ; n > 0; n-- {
		h.item(0, 0)
	}
}

// repeat appends n more of the length l, which came last.
func (h *codeLengths) repeat(l uint8, n int) {
	for n >= 3 {
		k := min(n, 6)
		h.item(16, k-3)
		n -= k
	}
	for ; n > 0; n-- {
		h.item(l, 0)
	}
}

func (h *codeLengths) item(sym uint8, extra int) {
	h.items[h.n] = codeLenItem{sym, uint8(extra)}
	h.n++
	h.code.freq[sym]++
}

// put appends the head.
func (h *codeLengths) put(w *bitWriter) {
	w.put(uint64(h.hlit-257)|uint64(h.hdist-1)<<5|uint64(h.hclen-4)<<10, 14)
	for _, sym := range codeLenOrder[:h.hclen] {
		w.put(uint64(h.code.lens[sym]), 3)
	}
	// extraBits are those of the symbols 16 to 18; a length has none.
	extraBits := [maxCodeBits + 4]uint8{16: 2, 17: 3, 18: 7}
	for _, it := range h.items[:h.n] {
		c := h.code.code[it.sym]
		w.put(c.bits()|uint64(it.extra)<<c.len(), c.len()+uint(extraBits[it.sym]))
	}
}
