package main

import (
	"encoding/binary"
	"errors"
	"math"
)

// The messages, in both directions, are binary: one byte that says what it is,
// and numbers in network byte order.
//
//	from the page   steer      dx int8, dy int8
//	                ping       anything, 4 bytes
//	to the page     welcome    id uint16, width uint16, height uint16
//	                positions  tick uint32,
//	                           balls uint8, for each: id uint16, x uint16, y uint16, score uint16
//	                           coins uint8, for each: x uint16, y uint16
//	                pong       the ping's bytes
//
// Two balls and six coins are 47 bytes; the same as JSON would be about 400.
const (
	steer     = 1
	ping      = 2
	welcome   = 16
	positions = 17
	pong      = 18
)

const maxInput = 5 // bytes of the longest message from the page

var errInput = errors.New("the message is neither steer nor ping")

func appendWelcome(dst []byte, id uint16) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, welcome), id)
	dst = binary.BigEndian.AppendUint16(dst, width)
	return binary.BigEndian.AppendUint16(dst, height)
}

func appendPositions(dst []byte, w *world) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, positions), w.tick)
	dst = append(dst, uint8(len(w.balls)))
	for _, b := range w.balls {
		dst = appendPoint(binary.BigEndian.AppendUint16(dst, b.id), b.point)
		dst = binary.BigEndian.AppendUint16(dst, b.score)
	}
	dst = append(dst, coinCount)
	for _, c := range w.coins {
		dst = appendPoint(dst, c)
	}
	return dst
}

func appendPoint(dst []byte, p point) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(math.Round(p.x)))
	return binary.BigEndian.AppendUint16(dst, uint16(math.Round(p.y)))
}

// parseInput reads a message from the page.
func parseInput(b []byte) (kind byte, body []byte, err error) {
	if len(b) == 3 && b[0] == steer || len(b) == 5 && b[0] == ping {
		return b[0], b[1:], nil
	}
	return 0, nil, errInput
}
