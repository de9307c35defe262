// Package jsconn makes a net.Conn of the platform's WebSocket object, for
// programs compiled to js/wasm.
//
// The object has messages, and a net.Conn below a WebSocket connection has
// frames. So the frames that a client writes to the Conn become messages.
// Messages that the object delivers become the frames of a server. This file
// translates. It does not know JavaScript.
package jsconn

import (
	"encoding/binary"
	"fmt"
)

// The opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
)

// A message is a whole message, or the payload of a control frame.
type message struct {
	opcode  byte
	payload []byte
}

// A decoder makes messages of the frames that a client writes, in pieces of any
// size. The fragments of a message are joined.
type decoder struct {
	head    []byte // of the frame in progress, as far as it has come
	opcode  byte   // of the frame in progress
	fin     bool
	key     [4]byte
	pos     int    // how much of the payload has come
	left    uint64 // how much of the payload is to come
	inFrame bool   // the head is complete

	opened  byte   // opcode of the message in progress, or 0
	message []byte // what has come of it
	control []byte // what has come of the control frame in progress
}

// next takes bytes from p until a message is complete. It returns how many it
// has taken.
func (d *decoder) next(p []byte) (m message, n int, complete bool, err error) {
	for {
		if !d.inFrame {
			k, err := d.takeHead(p[n:])
			n += k
			if err != nil || !d.inFrame {
				return message{}, n, false, err
			}
		}
		into := &d.message
		if d.opcode >= opClose {
			into = &d.control
		}
		k := int(min(d.left, uint64(len(p)-n)))
		start := len(*into)
		*into = append(*into, p[n:n+k]...)
		for i, b := range (*into)[start:] {
			(*into)[start+i] = b ^ d.key[(d.pos+i)%4]
		}
		n, d.pos, d.left = n+k, d.pos+k, d.left-uint64(k)
		if d.left > 0 {
			return message{}, n, false, nil
		}
		d.inFrame = false
		switch {
		case d.opcode >= opClose:
			m = message{d.opcode, d.control}
			d.control = nil
		case d.fin:
			m = message{d.opened, d.message}
			d.opened, d.message = 0, nil
		default:
			continue
		}
		return m, n, true, nil
	}
}

// takeHead takes bytes of a frame's header.
func (d *decoder) takeHead(p []byte) (n int, err error) {
	for {
		need := 2
		if len(d.head) >= 2 {
			need = headLen(d.head[1])
		}
		if len(d.head) >= 2 && len(d.head) == need {
			break
		}
		if n == len(p) {
			return n, nil
		}
		k := min(need-len(d.head), len(p)-n)
		d.head = append(d.head, p[n:n+k]...)
		n += k
	}
	h := d.head
	d.fin, d.opcode = h[0]&0x80 != 0, h[0]&0x0f
	switch length := h[1] & 0x7f; length {
	case 126:
		d.left = uint64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		d.left = binary.BigEndian.Uint64(h[2:])
	default:
		d.left = uint64(length)
	}
	copy(d.key[:], h[len(h)-4:])
	d.head, d.pos, d.inFrame = d.head[:0], 0, true
	switch {
	case h[0]&0x70 != 0 || h[1]&0x80 == 0:
		return n, fmt.Errorf("a frame that begins with % x is not a client's", h[:2])
	case d.opcode >= opClose:
	case d.opcode == opContinuation && d.opened == 0, d.opcode != opContinuation && d.opened != 0:
		return n, fmt.Errorf("a frame with opcode %d is out of place", d.opcode)
	case d.opcode != opContinuation:
		d.opened = d.opcode
	}
	return n, nil
}

// headLen returns the length of a header whose second byte is b, with the
// masking key.
func headLen(b byte) int {
	switch b & 0x7f {
	case 126:
		return 2 + 2 + 4
	case 127:
		return 2 + 8 + 4
	}
	return 2 + 4
}

// newFrame returns a whole frame as a server writes it, and the place of its
// payload in it.
func newFrame(opcode byte, length int) (frame, payload []byte) {
	frame = make([]byte, 0, 10+length)
	frame = append(frame, 0x80|opcode)
	switch {
	case length < 126:
		frame = append(frame, byte(length))
	case length < 1<<16:
		frame = append(frame, 126)
		frame = binary.BigEndian.AppendUint16(frame, uint16(length))
	default:
		frame = append(frame, 127)
		frame = binary.BigEndian.AppendUint64(frame, uint64(length))
	}
	head := len(frame)
	frame = frame[:head+length]
	return frame, frame[head:]
}

// closeFrame returns a close frame as a server writes it. Code 1005 stands for
// a frame without a code.
func closeFrame(code int, reason string) []byte {
	if code == 1005 {
		frame, _ := newFrame(opClose, 0)
		return frame
	}
	frame, payload := newFrame(opClose, 2+len(reason))
	binary.BigEndian.PutUint16(payload, uint16(code))
	copy(payload[2:], reason)
	return frame
}

// CanSend reports whether a browser can send code in a close frame: it is 1000,
// or 3000 to 4999, as the WebSockets Standard has it.
func CanSend(code int) bool { return code == 1000 || code >= 3000 && code <= 4999 }

// parseClose returns the code and the reason to close with. Code 1005 means to
// send none, in place of one that a browser does not send.
func parseClose(payload []byte) (code int, reason string) {
	if len(payload) < 2 {
		return 1005, ""
	}
	if code = int(binary.BigEndian.Uint16(payload)); !CanSend(code) {
		return 1005, ""
	}
	return code, string(payload[2:])
}
