package flate

import "encoding/binary"

// A headReader is the state in the head of a dynamic block (RFC 1951 section
// 3.2.7).
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

// readHead reads the head and makes the block's tables. Where it returns
// errInput it goes on when called again.
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
	if err := z.readLens(); err != nil {
		return err
	}
	// Divide them: what comes from hlit on are distances.
	h.nlit = h.n
	for h.nlit > 0 && int(h.symbols[h.nlit-1]>>4) >= h.hlit {
		h.nlit--
		h.symbols[h.nlit] -= coded(h.hlit << 4)
	}
	return z.buildTables()
}

// readLens reads the lengths of both codes into h.symbols.
func (z *inflater) readLens() error {
	h := &z.head
	src, acc, n := z.src, z.acc, z.n
	read, last, total := h.read, h.last, h.hlit+h.hdist
	mask := uint64(1)<<h.bits - 1
	var err error
	for read < total {
		// At most 7 bits and 7 extra bits.
		if n < 14 {
			if len(src) >= 8 {
				acc |= binary.LittleEndian.Uint64(src) << n
				src = src[(63-n)>>3:]
				n |= 56
				acc &= 1<<n - 1
			} else {
				for ; n < 14 && len(src) > 0; n += 8 {
					acc |= uint64(src[0]) << n
					src = src[1:]
				}
			}
		}
		e := h.table[acc&mask]
		if e.take() > n {
			err = errInput
			break
		}
		v := e.value()
		repeat := int(v>>4&15) + int(acc&(1<<e.take()-1)>>e.codeBits())
		acc >>= e.take()
		n -= e.take()
		if v&isRepeat == 0 {
			last = v & 15
		} else if read == 0 {
			err = errCodeLens
			break
		}
		if read+repeat > total {
			err = errCodeLens
			break
		}
		if last == 0 {
			read += repeat
			continue
		}
		for ; repeat > 0; repeat-- {
			h.symbols[h.n] = coded(read<<4) | coded(last)
			h.n++
			read++
		}
	}
	z.src, z.acc, z.n = src, acc, n
	h.read, h.last = read, last
	return err
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

// hasEnd reports whether the end of the block is among the symbols, which are
// in the order of their values.
func hasEnd(lit []coded) bool {
	for i := len(lit) - 1; i >= 0 && lit[i]>>4 >= endOfBlock; i-- {
		if lit[i]>>4 == endOfBlock {
			return true
		}
	}
	return false
}
