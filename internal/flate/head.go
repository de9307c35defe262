package flate

// A headReader is the state in the head of a dynamic block (RFC 1951 section 3.2.7).
type headReader struct {
	step               headStep
	hlit, hdist, hclen int
	read               int  // code lengths read of the present kind
	last               uint // the last one

	lens    [numCodeLen]uint8 // of the code length code
	table   [1 << maxCodeLenBits]entry
	bits    uint
	symbols [numLitLen + numDist]coded // those with a code, literals and lengths first
	n       int                        // how many
	nlit    int                        // how many of them are literals and lengths
}

type headStep uint8

const (
	headCounts   headStep = iota // before the three counts
	headCodeLens                 // in the lengths of the code length code
	headLens                     // in the lengths of the two other codes
)

func (h *headReader) begin() {
	h.step = headCounts
	h.read, h.n = 0, 0
	clear(h.lens[:])
}

// readHead reads the head and makes the block's tables. Where it returns errInput it goes on when called again.
func (z *inflater) readHead() error {
	h := &z.head
	if h.step == headCounts {
		if !z.need(14) {
			return errInput
		}
		h.hlit, h.hdist, h.hclen = 257+z.take(5), 1+z.take(5), 4+z.take(4)
		if h.hlit > numLitLen || h.hdist > numDist {
			return errCodeCounts
		}
		h.step = headCodeLens
	}
	if h.step == headCodeLens {
		for ; h.read < h.hclen; h.read++ {
			if !z.need(3) {
				return errInput
			}
			h.lens[codeLenOrder[h.read]] = uint8(z.take(3))
		}
		var symbols [numCodeLen]coded
		n := 0
		for i, l := range h.lens {
			if l > 0 {
				symbols[n] = coded(i<<4) | coded(l)
				n++
			}
		}
		var ok bool
		if h.bits, ok = buildTable(h.table[:], symbols[:n], codeLenEntry[:], maxCodeLenBits); !ok || n == 1 {
			return errCodeLens
		}
		h.read = 0
		h.step = headLens
	}
	for h.read < h.hlit+h.hdist {
		// At most 7 bits and 7 extra bits.
		z.need(14)
		e := h.table[z.acc&(1<<h.bits-1)]
		l, repeat, extra := e.value(), 1, uint(0)
		switch l {
		case 16:
			l, repeat, extra = h.last, 3, 2
		case 17:
			l, repeat, extra = 0, 3, 3
		case 18:
			l, repeat, extra = 0, 11, 7
		}
		if e.take()+extra > z.n {
			return errInput
		}
		if e.value() == 16 && h.read == 0 {
			return errCodeLens
		}
		z.take(e.take())
		repeat += z.take(extra)
		if h.read+repeat > h.hlit+h.hdist {
			return errCodeLens
		}
		h.last = l
		if l == 0 {
			h.read += repeat
			continue
		}
		for ; repeat > 0; repeat-- {
			h.symbols[h.n] = coded(h.read<<4) | coded(l)
			h.n++
			h.read++
		}
	}
	// Divide them: what comes from hlit on are distances.
	h.nlit = h.n
	for h.nlit > 0 && int(h.symbols[h.nlit-1]>>4) >= h.hlit {
		h.nlit--
		h.symbols[h.nlit] -= coded(h.hlit << 4)
	}
	return z.buildTables()
}

// buildTables makes the tables of a dynamic block.
func (z *inflater) buildTables() error {
	h := &z.head
	lit, dist := h.symbols[:h.nlit], h.symbols[h.nlit:h.n]
	var ok bool
	if z.litBits, ok = buildTable(z.litTable[:], lit, litEntry[:], litRoot); !ok {
		return errCodeLens
	}
	z.lit = z.litTable[:]
	// A block that cannot end is of no use: the symbol 256 must have a code.
	if !hasEnd(lit) {
		return errCodeLens
	}
	z.dist = z.distTable[:]
	if len(dist) == 0 { // the block is all literals
		z.distBits = 1
		z.dist[0], z.dist[1] = noCode, noCode
		return nil
	}
	if z.distBits, ok = buildTable(z.distTable[:], dist, distEntry[:], distRoot); !ok {
		return errCodeLens
	}
	return nil
}

// hasEnd reports whether the end of the block is among the symbols, which are in the order of their values.
func hasEnd(lit []coded) bool {
	for i := len(lit) - 1; i >= 0 && lit[i]>>4 >= endOfBlock; i-- {
		if lit[i]>>4 == endOfBlock {
			return true
		}
	}
	return false
}
