package flate

import "errors"

// An inflater is the state of one message's decompression. It stops wherever
// input or room for output ends, and goes on from there.
type inflater struct {
	src []byte // input not yet taken
	acc uint64 // bits taken from it, the next one lowest
	n   uint   // how many

	state  state
	window int  // greatest distance
	total  int  // bytes inflated so far (kept by AppendChunk)
	final  bool // the present block has BFINAL set
	tail   bool // src is the tail that the sender left off
	fresh  bool // nothing has come since the message's start, or since a block with BFINAL set
	empty  bool // the last block was an empty stored one

	length, distance int // of the match under way; length also of the stored block

	lit, dist         []entry // the present block's tables: ours or the fixed ones
	litBits, distBits uint

	head headReader

	litTable  [litEntries]entry
	distTable [distEntries]entry
	past      ring // of a message without context takeover that is read as a stream
}

type state uint8

const (
	stateBlock  state = iota // before a block
	stateLength              // before a stored block's length
	stateStored              // in a stored block
	stateHead                // in the head of a dynamic block
	stateTokens              // before a literal, a pair or the end of the block
	stateMatch               // in a match
)

var (
	errInput = errors.New("flate: more input is needed")
	errFull  = errors.New("flate: the output is full")
)

// deflateTail is what RFC 7692 section 7.2.2 has a receiver append to a
// message's payload.
var deflateTail = []byte{0, 0, 0xff, 0xff}

// finish goes on with the tail behind the last input, and reports whether that
// was still to do.
func (z *inflater) finish() bool {
	if z.tail || z.state == stateBlock && z.fresh && z.n == 0 {
		return false
	}
	z.tail = true
	z.src = deflateTail
	return true
}

// ended reports whether the message may end where the input has.
func (z *inflater) ended() bool {
	return z.state == stateBlock && z.n == 0 && (z.empty || z.fresh)
}

// need sees to it that there are n bits in acc, n at most 56.
func (z *inflater) need(n uint) bool {
	for z.n < n {
		if len(z.src) == 0 {
			return false
		}
		z.acc |= uint64(z.src[0]) << z.n
		z.n += 8
		z.src = z.src[1:]
	}
	return true
}

// take removes the next n bits, which must be there, and returns them.
func (z *inflater) take(n uint) int {
	v := z.acc & (1<<n - 1)
	z.acc >>= n
	z.n -= n
	return int(v)
}

// align drops the rest of the byte that was read in part.
func (z *inflater) align() { z.take(z.n & 7) }

// run inflates src to out[at:]. It stops when src is used up (errInput), or
// when out is full and something is left that belongs there (errFull). It also
// stops when the data is corrupt. It returns the new at. out[base:at] is what
// the message has inflated to before; past, which may be nil, is what precedes
// that.
func (z *inflater) run(out []byte, at, base int, past *ring) (int, error) {
	for {
		switch z.state {
		case stateBlock:
			if !z.need(3) {
				return at, errInput
			}
			z.fresh, z.empty = false, false
			z.final = z.take(1) == 1
			switch z.take(2) {
			case 0:
				z.align()
				z.state = stateLength
			case 1:
				z.lit, z.litBits = fixedLitTable[:], 9
				z.dist, z.distBits = fixedDistTable[:], 5
				z.state = stateTokens
			case 2:
				z.head.begin()
				z.state = stateHead
			default:
				return at, errBlockType
			}

		case stateLength:
			if !z.need(32) {
				return at, errInput
			}
			z.length = z.take(16)
			if z.take(16) != z.length^0xffff {
				return at, errStored
			}
			z.empty = z.length == 0
			z.state = stateStored

		case stateStored:
			// acc may hold whole bytes.
			for z.length > 0 && z.n > 0 && at < len(out) {
				out[at] = byte(z.take(8))
				at++
				z.length--
			}
			n := copy(out[at:], z.src[:min(z.length, len(z.src))])
			z.src = z.src[n:]
			at += n
			z.length -= n
			switch {
			case z.length == 0:
				z.endBlock()
			case at == len(out):
				return at, errFull
			default:
				return at, errInput
			}

		case stateHead:
			if err := z.readHead(); err != nil {
				return at, err
			}
			z.state = stateTokens

		case stateTokens, stateMatch:
			var err error
			if at, err = z.tokens(out, at, base, past); err != nil {
				return at, err
			}
			z.endBlock()
		}
	}
}

func (z *inflater) endBlock() {
	z.state = stateBlock
	if z.final {
		// The data behind a final block begins with the next byte (RFC 7692
		// section 7.2.3.4).
		z.align()
		z.fresh = true
	}
}
