package websocket

import (
	"encoding/binary"
	"slices"
	"strconv"
)

// An opcode says what a frame carries (RFC 6455, section 5.2).
type opcode byte

const (
	opContinuation opcode = 0x0
	opText         opcode = 0x1
	opBinary       opcode = 0x2
	opClose        opcode = 0x8
	opPing         opcode = 0x9
	opPong         opcode = 0xa
)

// isControl reports whether op lies in the range of control frames, known or
// reserved (section 5.5: "Control frames are identified by opcodes where the
// most significant bit of the opcode is 1").
func (op opcode) isControl() bool { return op&0x8 != 0 }

// isKnown reports whether RFC 6455 defines op.
func (op opcode) isKnown() bool {
	return op <= opBinary || opClose <= op && op <= opPong
}

func (op opcode) String() string {
	switch op {
	case opContinuation:
		return "continuation"
	case opText:
		return "text"
	case opBinary:
		return "binary"
	case opClose:
		return "close"
	case opPing:
		return "ping"
	case opPong:
		return "pong"
	}
	return "reserved opcode " + strconv.Itoa(int(op))
}

// The bits of the first two bytes of a frame header (section 5.2).
const (
	finBit  = 0x80
	rsv1Bit = 0x40
	rsv2Bit = 0x20
	rsv3Bit = 0x10
	rsvBits = rsv1Bit | rsv2Bit | rsv3Bit
	opBits  = 0x0f

	maskBit = 0x80
	lenBits = 0x7f
	len16   = 126 // the length follows in 16 bits
	len64   = 127 // the length follows in 64 bits
)

const (
	// maxHeaderSize is the length of the longest frame header: two bytes, a
	// 64-bit length, a masking key.
	maxHeaderSize = 2 + 8 + 4
	// maxControlPayload is the longest payload of a control frame (section
	// 5.5).
	maxControlPayload = 125
	// maxControlFrame is the length of the longest control frame.
	maxControlFrame = 2 + 4 + maxControlPayload
)

// A header is one frame header, decoded (section 5.2).
//
// Four of its six fields are in a struct of their own, because the compiler
// keeps structs of up to four fields in registers.
type header struct {
	headerBits
	key    uint32 // the masking key, its first byte on the wire in the lowest 8 bits; 0 if not masked
	length int64  // of the payload; never negative
}

// headerBits are the fields of a header that are shorter than a byte.
type headerBits struct {
	fin    bool
	rsv    byte // the RSV bits, in place: rsv1Bit, rsv2Bit, rsv3Bit
	opcode opcode
	masked bool
}

// parseHeader decodes the frame header that b begins with and says how many
// bytes it took. While b holds only a part of a header, n is 0 and err is nil.
//
// It refuses what is wrong in any state of the connection. That is a length
// that is not in its shortest form, or one of 2^63 or more (section 5.2). The
// method recvHalf.judge says whether a header is legal at this point of the
// conversation.
func parseHeader(b []byte) (h header, n int, err error) {
	if len(b) < 2 {
		return header{}, 0, nil
	}
	h.fin = b[0]&finBit != 0
	h.rsv = b[0] & rsvBits
	h.opcode = opcode(b[0] & opBits)
	h.masked = b[1]&maskBit != 0

	n = 2
	switch l := b[1] & lenBits; l {
	default:
		h.length = int64(l)
	case len16:
		if len(b) < 4 {
			return header{}, 0, nil
		}
		h.length = int64(binary.BigEndian.Uint16(b[2:]))
		if h.length < len16 {
			return header{}, 0, errLengthNotMinimal
		}
		n = 4
	case len64:
		if len(b) < 10 {
			return header{}, 0, nil
		}
		l := binary.BigEndian.Uint64(b[2:])
		if l > 1<<63-1 {
			return header{}, 0, errLengthTooLarge
		}
		if l <= 0xffff {
			return header{}, 0, errLengthNotMinimal
		}
		h.length = int64(l)
		n = 10
	}
	if h.masked {
		if len(b) < n+4 {
			return header{}, 0, nil
		}
		h.key = binary.LittleEndian.Uint32(b[n:])
		n += 4
	}
	return h, n, nil
}

// wholeFrame returns the lengths of the header and of the payload of the frame
// that b begins with. It does so for less than parseHeader takes. Both are 0 if
// b does not hold all of the frame. They are 0, too, if the length of the
// payload has 64 bits or is not in its shortest form. It looks at nothing else.
func wholeFrame(b []byte) (n, size int) {
	if len(b) < 2 {
		return 0, 0
	}
	n, size = 2, int(b[1]&lenBits)
	if size >= len16 {
		if size == len64 || len(b) < 4 {
			return 0, 0
		}
		if n, size = 4, int(binary.BigEndian.Uint16(b[2:])); size < len16 {
			return 0, 0
		}
	}
	if b[1]&maskBit != 0 {
		n += 4
	}
	if len(b) < n+size {
		return 0, 0
	}
	return n, size
}

// appendHeader appends the wire form of h to dst, its length in the shortest
// form.
func appendHeader(dst []byte, h header) []byte {
	n := len(dst)
	dst = slices.Grow(dst, maxHeaderSize)[:n+maxHeaderSize]
	return dst[:n+putHeader(dst[n:], h)]
}

// putHeader is appendHeader for a dst with room for any header. It returns the
// length of this one. It calls nothing, so it takes no stack of a connection
// that answers.
func putHeader(dst []byte, h header) (n int) {
	b0 := h.rsv&rsvBits | byte(h.opcode)&opBits
	if h.fin {
		b0 |= finBit
	}
	var b1 byte
	if h.masked {
		b1 = maskBit
	}
	dst[0] = b0
	switch {
	case h.length < len16:
		dst[1] = b1 | byte(h.length)
		n = 2
	case h.length <= 0xffff:
		dst[1] = b1 | len16
		binary.BigEndian.PutUint16(dst[2:], uint16(h.length))
		n = 4
	default:
		dst[1] = b1 | len64
		binary.BigEndian.PutUint64(dst[2:], uint64(h.length))
		n = 10
	}
	if h.masked {
		binary.LittleEndian.PutUint32(dst[n:], h.key)
		n += 4
	}
	return n
}

// appendShort appends a message as one frame that is not masked. The payload
// has at most 65,535 bytes. appendShort takes fewer instructions than putHeader
// and a copy.
func appendShort(dst []byte, op opcode, payload []byte) []byte {
	if n := len(payload); n < len16 {
		dst = append(dst, finBit|byte(op), byte(n))
	} else {
		dst = append(dst, finBit|byte(op), len16, byte(n>>8), byte(n))
	}
	return append(dst, payload...)
}

// shortFrameSize returns the length of a frame of appendShort whose payload has
// n bytes.
func shortFrameSize(n int) int {
	if n < len16 {
		return 2 + n
	}
	return 4 + n
}
