package suite

import (
	"encoding/binary"
	"math/rand/v2"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// A frame is sent as it stands, whatever the protocol says of it.
type frame struct {
	opcode  byte
	more    bool // FIN is not set
	rsv     byte // 0 to 7
	payload string
	// repeat, if set, is the length of the payload: payload over and over.
	repeat int
	// length, if set, is written in the header in place of the payload's
	// length.
	length uint64
	// lengthBytes is how many bytes the extended length has: 0, 2 or 8. -1: as
	// few as can be.
	longLength int
	// mask says whether the frame is masked in spite of what the role demands.
	mask masking
}

type masking int

const (
	asRole masking = iota
	masked
	unmasked
)

func text(payload string) frame     { return frame{opcode: opText, payload: payload} }
func binFrame(payload string) frame { return frame{opcode: opBinary, payload: payload} }
func ping(payload string) frame     { return frame{opcode: opPing, payload: payload} }
func pong(payload string) frame     { return frame{opcode: opPong, payload: payload} }
func cont(payload string) frame     { return frame{payload: payload} }

// closeFrame holds a code and a reason; with code -1 it is empty.
func closeFrame(code int, reason string) frame {
	if code < 0 {
		return frame{opcode: opClose, payload: reason}
	}
	return frame{opcode: opClose, payload: string([]byte{byte(code >> 8), byte(code)}) + reason}
}

// first makes the first of several fragments of f.
func first(f frame) frame { f.more = true; return f }

func withRSV(f frame, rsv byte) frame { f.rsv = rsv; return f }

func (f *frame) len() int {
	if f.repeat > 0 {
		return f.repeat
	}
	return len(f.payload)
}

// appendFrame appends f to dst, masked if the sender is a client. It returns
// the key that it chose.
func appendFrame(dst []byte, f *frame, client bool) ([]byte, []byte) {
	n := f.len()
	length := uint64(n)
	if f.length != 0 {
		length = f.length
	}
	isMasked := client
	switch f.mask {
	case masked:
		isMasked = true
	case unmasked:
		isMasked = false
	}
	dst = appendHeader(dst, f.opcode, !f.more, f.rsv, length, f.longLength, isMasked)
	var key []byte
	if isMasked {
		dst = binary.BigEndian.AppendUint32(dst, rand.Uint32())
		key = dst[len(dst)-4 : len(dst) : len(dst)]
	}
	start := len(dst)
	if f.repeat == 0 {
		dst = append(dst, f.payload...)
	} else {
		for len(dst)-start < n {
			dst = append(dst, f.payload[:min(len(f.payload), n-(len(dst)-start))]...)
		}
	}
	if isMasked {
		key = append([]byte(nil), key...)
		maskBytes(dst[start:], key, 0)
	}
	return dst, key
}

func appendHeader(dst []byte, opcode byte, fin bool, rsv byte, length uint64, long int, masked bool) []byte {
	b0 := opcode&15 | rsv<<4
	if fin {
		b0 |= 0x80
	}
	b1 := byte(0)
	if masked {
		b1 = 0x80
	}
	switch {
	case long == 8 || long == 0 && length > 0xffff:
		dst = append(dst, b0, b1|127)
		return binary.BigEndian.AppendUint64(dst, length)
	case long == 2 || long == 0 && length > 125:
		dst = append(dst, b0, b1|126)
		return binary.BigEndian.AppendUint16(dst, uint16(length))
	}
	return append(dst, b0, b1|byte(length))
}

// maskBytes masks or unmasks b, whose first byte is the pos'th of the payload.
// It returns the position behind b.
func maskBytes(b, key []byte, pos int) int {
	var k [8]byte
	for i := range k {
		k[i] = key[(pos+i)&3]
	}
	word := binary.LittleEndian.Uint64(k[:])
	n := len(b)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= k[i]
	}
	return pos + n
}
