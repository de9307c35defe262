package flate

import (
	"encoding/binary"
	"math/bits"
)

// A finder looks for matches: strings that were in the window before.
//
// Its table remembers, by the hash of four bytes, the position where they last
// stood, modulo 2^16. Nothing in it is trusted: what it names is looked at
// before it is used. So it may hold positions that have left the window, have
// been taken back or never were. It needs neither clearing nor repair when a
// message is.
type finder struct {
	table  []uint16 // a power of two of entries
	shift  uint8    // 32 less the table's bits
	window int      // greatest distance
	hist   []byte   // what precedes the message, at most window bytes
	base   uint16   // position of the message's first byte
}

// Lengths that steer the search.
const (
	minMatch  = 4  // shorter ones seldom pay
	lazyMatch = 16 // a match this long is taken without looking whether the next byte begins a longer one
	skipShift = 5  // after 2^skipShift bytes without a match every other position is tried, and so on
)

func (f *finder) setTable(t []uint16) {
	f.table = t
	f.shift = uint8(32 - bits.TrailingZeros(uint(len(t))))
}

// parse divides a part of msg, from start to at most end, into the sequences of
// b, which must be empty. It returns where it stopped: at end, or earlier,
// behind a pair, when b is full.
func (f *finder) parse(b *block, msg []byte, start, end int) int {
	var (
		i      = start // position under search
		done   = start // what the sequences stand for so far ends here
		table  = f.table
		shift  = f.shift & 31
		hist   = f.hist
		window = uint(f.window)
		base   = f.base
	)
	msg = msg[:end]
	last := end - minMatch
	for i <= last {
		word := binary.LittleEndian.Uint32(msg[i:])
		slot := &table[hash(word, shift)]
		dist := int(base + uint16(i) - *slot)
		*slot = base + uint16(i)
		var length int
		s := i - dist
		if uint(dist-1) >= window {
			i += 1 + (i-done)>>skipShift
			continue
		}
		if s >= 0 {
			if binary.LittleEndian.Uint32(msg[s:]) != word {
				i += 1 + (i-done)>>skipShift
				continue
			}
			length = 4 + matchLen(msg[s+4:], msg[i+4:])
			// Backwards, over what has been skipped.
			for i > done && s > 0 && msg[i-1] == msg[s-1] {
				i--
				s--
				length++
			}
		} else {
			s += len(hist)
			if s < 0 || s+4 > len(hist) || binary.LittleEndian.Uint32(hist[s:]) != word {
				i += 1 + (i-done)>>skipShift
				continue
			}
			length = 4 + matchLen(hist[s+4:], msg[i+4:])
			if s+length == len(hist) {
				length += matchLen(msg, msg[i+length:])
			}
			for i > done && s > 0 && msg[i-1] == hist[s-1] {
				i--
				s--
				length++
			}
		}
		next := i + length
		// Of the positions inside the match a few are enough to find it again.
		if next <= last {
			w := binary.LittleEndian.Uint32(msg[i+1:])
			table[hash(w, shift)] = base + uint16(i+1)
			tail := binary.LittleEndian.Uint32(msg[next-2:])
			table[hash(tail, shift)] = base + uint16(next-2)
			tail = binary.LittleEndian.Uint32(msg[next-1:])
			table[hash(tail, shift)] = base + uint16(next-1)
		}
		// A long match becomes several pairs, none shorter than DEFLATE's 3.
		lit := i - done
		for length > maxMatch {
			n := maxMatch
			if length < maxMatch+3 {
				n -= 3
			}
			if b.add(lit, n, dist); b.n == maxSeqs {
				return i + n
			}
			i += n
			lit = 0
			length -= n
		}
		if b.add(lit, length, dist); b.n == maxSeqs {
			return next
		}
		i = next
		done = next
	}
	return end
}

func hash(v uint32, shift uint8) uint32 { return v * 0x9e3779b1 >> shift }

// matchLen returns how long a prefix a and b have in common.
func matchLen(a, b []byte) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)>>3
		}
	}
	for ; i < n && a[i] == b[i]; i++ {
	}
	return i
}

// index enters the positions of msg into the table.
func (f *finder) index(msg []byte) {
	shift := f.shift & 31
	for i := 0; i+4 <= len(msg); i++ {
		f.table[hash(binary.LittleEndian.Uint32(msg[i:]), shift)] = f.base + uint16(i)
	}
}
