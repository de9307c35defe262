package flate

import "math/bits"

// A code is one symbol's Huffman code, ready to be written. The low half has
// the bits in the order in which DEFLATE sends them, the first bit lowest. The
// high half has their number.
type code uint32

func (c code) bits() uint64 { return uint64(c & 0xffff) }
func (c code) len() uint    { return uint(c >> 16) }

// An alphabet is a set of symbols on the way from their frequencies to their
// codes. The symbols that occur are few compared with those that could, so that
// they are listed once and only the list is worked on.
type alphabet struct {
	freq [maxSymbols]uint16 // filled by the caller
	used [maxSymbols]symbol // those that occur, by value
	n    int                // length of used
	lens [maxSymbols]uint8  // code lengths, valid for the symbols that occur
	code [maxSymbols]code   // likewise

	count [maxTreeDepth + 1]uint16 // codes of each length

	order [maxSymbols]symbol // used by rising frequency
	inner [maxSymbols]uint32 // the tree's inner nodes: weight, then parent, then depth
}

const (
	maxSymbols = numLitLen + 2 // the fixed code has two more than can occur

	// maxTreeDepth bounds the depth of a Huffman tree over a block. A leaf at
	// depth d needs a total frequency of at least the Fibonacci number F(d+2).
	// A block has at most 65,535 bytes and one end of block, which stay below
	// F(25) = 75,025.
	maxTreeDepth = 23
)

// A symbol is a symbol that occurs and how often: frequency<<9 | value. Its
// order is that of the frequencies, and for the same frequency that of the
// values.
type symbol uint32

func (s symbol) value() uint32 { return uint32(s & 511) }
func (s symbol) freq() uint32  { return uint32(s >> 9) }

// list makes used from the frequencies of the first size symbols.
func (a *alphabet) list(size int) {
	n := 0
	for i, f := range a.freq[:size] {
		a.used[n] = symbol(f)<<9 | symbol(i)
		n += int((uint32(f) + 0xffff) >> 16) // 1 if it occurs, without a branch that nothing could predict
	}
	a.n = n
}

// entropy returns how many bits the alphabet's occurrences take in an ideal
// code.
func (a *alphabet) entropy() int {
	total, sum := 0, 0
	for _, s := range a.used[:a.n] {
		f := s.freq()
		total += int(f)
		sum += int(f) * log2(f)
	}
	if total == 0 {
		return 0
	}
	return (total*log2(uint32(total)) - sum) >> 8
}

// log2 returns 256 times the binary logarithm of x, between powers of two by a
// straight line.
func log2(x uint32) int {
	e := bits.Len32(x) - 1
	return e<<8 + int(x<<8>>(e&31)) - 1<<8
}

// build gives each symbol that occurs a code of at most limit bits and returns
// how many bits all occurrences take. The lengths are those of a Huffman code,
// save where the limit binds. One symbol alone gets one bit, which RFC 1951
// section 3.2.7 asks for.
func (a *alphabet) build(limit int) int {
	n := a.n
	if n < 2 {
		a.count = [maxTreeDepth + 1]uint16{}
		if n == 0 {
			return 0
		}
		s := a.used[0]
		a.count[1] = 1
		a.lens[s.value()] = 1
		a.code[s.value()] = 1 << 16
		return int(s.freq())
	}
	a.sort()
	depth := a.depths()
	if depth > limit {
		limitDepth(&a.count, depth, limit)
		depth = limit
	}
	// The rarest symbols, which come first, take the longest codes.
	size, i := 0, 0
	for d := depth; d > 0; d-- {
		for _, s := range a.order[i : i+int(a.count[d])] {
			a.lens[s.value()] = uint8(d)
			size += int(s.freq()) * d
		}
		i += int(a.count[d])
	}
	a.assign()
	return size
}

// sort fills order from used.
func (a *alphabet) sort() {
	const buckets = 32 // most symbols of a message of a few KB occur fewer times than this
	var start [buckets]uint16
	for _, s := range a.used[:a.n] {
		start[min(s.freq(), buckets-1)]++
	}
	sum := uint16(0)
	for i, c := range start {
		start[i] = sum
		sum += c
	}
	tail := start[buckets-1]
	for _, s := range a.used[:a.n] {
		p := &start[min(s.freq(), buckets-1)]
		a.order[*p] = s
		*p++
	}
	// The last bucket, a few symbols as a rule, holds all the higher
	// frequencies.
	t := a.order[tail:a.n]
	for i := 1; i < len(t); i++ {
		v := t[i]
		j := i
		for ; j > 0 && t[j-1] > v; j-- {
			t[j] = t[j-1]
		}
		t[j] = v
	}
}

// depths builds the Huffman tree over the symbols in order, at least two, and
// counts the leaves at each depth. It returns the greatest depth.
//
// Merging two lightest nodes at a time makes inner nodes of never falling
// weight. So the lightest node is always at the front of one of two queues. One
// holds the leaves, sorted, the other the inner nodes in the order they were
// made. An inner node's weight is not needed once it has a parent, so the
// parent's index takes its place. A parent is always made after its children.
// So one pass from the root backwards turns parents into depths.
func (a *alphabet) depths() int {
	n := a.n
	leaves := a.order[:n]
	inner := a.inner[:n-1]
	leaf, front := 0, 0
	for next := range inner {
		var weight uint32
		for range 2 {
			if leaf < n && (front >= next || leaves[leaf].freq() <= inner[front]) {
				weight += leaves[leaf].freq()
				leaf++
			} else {
				weight += inner[front]
				inner[front] = uint32(next)
				front++
			}
		}
		inner[next] = weight
	}
	// The inner nodes at one depth have twice as many children, of which those
	// that are not inner nodes are leaves.
	a.count = [maxTreeDepth + 1]uint16{}
	inner[n-2] = 0
	depth, nodes, i := 0, 1, n-3 // nodes: inner nodes at this depth
	for nodes > 0 {
		children := 2 * nodes
		nodes = 0
		depth++
		for ; i >= 0; i-- {
			d := inner[inner[i]] + 1
			if int(d) != depth {
				break
			}
			inner[i] = d
			nodes++
		}
		a.count[depth] = uint16(children - nodes)
	}
	return depth
}

// limitDepth changes the leaf counts of a complete tree of the given depth into
// those of one no deeper than limit.
func limitDepth(count *[maxTreeDepth + 1]uint16, depth, limit int) {
	// Leaves below the limit move up to it. They then take too much of the code
	// space. The excess in units of 2^-limit:
	for d := limit + 1; d <= depth; d++ {
		count[limit] += count[d]
		count[d] = 0
	}
	used := 0
	for d := 1; d <= limit; d++ {
		used += int(count[d]) << (limit - d)
	}
	// A leaf moved down one level leaves room for one leaf next to it. A leaf
	// from the bottom goes there, which frees its own place, one unit.
	for over := used - 1<<limit; over > 0; over-- {
		d := limit - 1
		for count[d] == 0 {
			d--
		}
		count[d]--
		count[d+1] += 2
		count[limit]--
	}
}

// assign turns the lengths of the symbols that occur into codes: shorter codes
// first, then by symbol (RFC 1951 section 3.2.2).
func (a *alphabet) assign() {
	var next [maxCodeBits + 1]uint16
	c := uint16(0)
	for l := 1; l <= maxCodeBits; l++ {
		next[l] = c
		c = (c + a.count[l]) << 1
	}
	for _, s := range a.used[:a.n] {
		l := a.lens[s.value()] & 15
		a.code[s.value()] = code(bits.Reverse16(next[l]<<(16-l))) | code(l)<<16
		next[l]++
	}
}
