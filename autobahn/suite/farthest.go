package suite

// farthest returns the longest distance back that a DEFLATE stream (RFC
// 1951) refers to. It stops where the stream is broken, which compress/flate
// then says better.
func farthest(b []byte) (far int) {
	r := bitReader{b: b}
	defer func() {
		if recover() == errEndOfBits {
			return
		}
	}()
	for {
		if r.done() {
			return far
		}
		r.bits(1)
		switch r.bits(2) {
		case 0:
			r.align()
			n := int(r.bits(16))
			r.bits(16)
			r.skip(n)
		case 1:
			far = max(far, r.block(&fixedLiterals, &fixedDistances))
		case 2:
			literals, distances, ok := r.tables()
			if !ok {
				return far
			}
			far = max(far, r.block(literals, distances))
		default:
			return far
		}
	}
}

type endOfBits struct{}

var errEndOfBits any = endOfBits{}

type bitReader struct {
	b   []byte
	acc uint64
	n   uint
}

func (r *bitReader) done() bool { return len(r.b) == 0 && r.n < 3 }

func (r *bitReader) fill(n uint) bool {
	for r.n < n && len(r.b) > 0 {
		r.acc |= uint64(r.b[0]) << r.n
		r.b = r.b[1:]
		r.n += 8
	}
	return r.n >= n
}

func (r *bitReader) bits(n uint) uint {
	if !r.fill(n) {
		panic(errEndOfBits)
	}
	v := uint(r.acc & (1<<n - 1))
	r.acc >>= n
	r.n -= n
	return v
}

func (r *bitReader) align() { r.bits(r.n % 8) }

func (r *bitReader) skip(n int) {
	for ; n > 0 && r.n > 0; n-- {
		r.bits(8)
	}
	if n > len(r.b) {
		panic(errEndOfBits)
	}
	r.b = r.b[n:]
}

// A huffman decodes by a table of all codes of 15 bits: entries are symbol<<4 |
// length.
type huffman struct{ table [1 << 15]uint16 }

func newHuffman(lengths []byte) *huffman {
	h := new(huffman)
	var count, next [16]int
	for _, l := range lengths {
		count[l]++
	}
	count[0] = 0
	code := 0
	for l := 1; l < 16; l++ {
		code = (code + count[l-1]) << 1
		next[l] = code
	}
	for sym, l := range lengths {
		if l == 0 {
			continue
		}
		c := next[l]
		next[l]++
		reversed := 0
		for i := range int(l) {
			reversed |= (c >> i & 1) << (int(l) - 1 - i)
		}
		for i := reversed; i < len(h.table); i += 1 << l {
			h.table[i] = uint16(sym<<4 | int(l))
		}
	}
	return h
}

func (r *bitReader) symbol(h *huffman) int {
	r.fill(15)
	e := h.table[r.acc&(1<<15-1)]
	n := uint(e & 15)
	if n == 0 || n > r.n {
		panic(errEndOfBits)
	}
	r.acc >>= n
	r.n -= n
	return int(e >> 4)
}

var (
	lengthBits   = [29]uint{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBits = func() (bits [30]uint) {
		for i := range bits {
			bits[i] = uint(max(0, i/2-1))
		}
		return bits
	}()
	distanceBase = func() (base [30]int) {
		d := 1
		for i := range base {
			base[i] = d
			d += 1 << distanceBits[i]
		}
		return base
	}()
	fixedLiterals, fixedDistances = *newHuffman(fixedLengths()), *newHuffman(equalLengths(30, 5))
	codeOrder                     = [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

func fixedLengths() []byte {
	l := equalLengths(288, 8)
	for i := 144; i < 256; i++ {
		l[i] = 9
	}
	for i := 256; i < 280; i++ {
		l[i] = 7
	}
	return l
}

func equalLengths(n int, length byte) []byte {
	l := make([]byte, n)
	for i := range l {
		l[i] = length
	}
	return l
}

func (r *bitReader) block(literals, distances *huffman) (far int) {
	defer func() {
		if e := recover(); e != nil {
			if e != errEndOfBits {
				panic(e)
			}
			r.b, r.n = nil, 0
		}
	}()
	for {
		sym := r.symbol(literals)
		switch {
		case sym < 256:
		case sym == 256:
			return far
		case sym > 285:
			panic(errEndOfBits)
		default:
			r.bits(lengthBits[sym-257])
			d := r.symbol(distances)
			if d >= 30 {
				panic(errEndOfBits)
			}
			far = max(far, distanceBase[d]+int(r.bits(distanceBits[d])))
		}
	}
}

func (r *bitReader) tables() (literals, distances *huffman, ok bool) {
	nl, nd, nc := int(r.bits(5))+257, int(r.bits(5))+1, int(r.bits(4))+4
	codes := make([]byte, 19)
	for i := range nc {
		codes[codeOrder[i]] = byte(r.bits(3))
	}
	h := newHuffman(codes)
	var lengths []byte
	for len(lengths) < nl+nd {
		sym := r.symbol(h)
		n, v := 1, byte(sym)
		switch sym {
		case 16:
			if len(lengths) == 0 {
				return nil, nil, false
			}
			n, v = 3+int(r.bits(2)), lengths[len(lengths)-1]
		case 17:
			n, v = 3+int(r.bits(3)), 0
		case 18:
			n, v = 11+int(r.bits(7)), 0
		}
		for range n {
			lengths = append(lengths, v)
		}
	}
	if len(lengths) > nl+nd {
		return nil, nil, false
	}
	return newHuffman(lengths[:nl]), newHuffman(lengths[nl:]), true
}
