// Package wstest is the other end of the line in the tests of the WebSocket
// library. It has a scripted peer that speaks raw frames over a net.Conn, and a
// naive decoder of whole byte streams.
//
// It is a second, slow and simple implementation, written from RFC 6455. It
// shares no code with the library, so that a mistake there does not cancel
// itself out here.
package wstest

import (
	"errors"
	"fmt"
	"io"
)

// An Opcode says what a frame carries (RFC 6455, section 5.2).
type Opcode byte

// The opcodes of RFC 6455.
const (
	Continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

func (op Opcode) String() string {
	switch op {
	case Continuation:
		return "continuation"
	case Text:
		return "text"
	case Binary:
		return "binary"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return fmt.Sprintf("opcode %d", byte(op))
}

// A Role is the side that an endpoint plays.
type Role int

// The two sides. A client masks the frames that it sends, a server does not
// (section 5.1).
const (
	Client Role = iota
	Server
)

func (r Role) String() string {
	if r == Client {
		return "client"
	}
	return "server"
}

// Other returns the role of the peer.
func (r Role) Other() Role { return 1 - r }

// Masking says whether a written frame is masked.
type Masking int

// The values of Masking.
const (
	ByRole Masking = iota // as the RFC demands of the writer
	Masked
	Unmasked
)

// A Frame is one frame, with its payload unmasked.
type Frame struct {
	Fin     bool
	RSV     byte // 0 to 7: RSV1 is 4, RSV2 is 2, RSV3 is 1
	Op      Opcode
	Payload []byte

	// The rest is for frames to be written as no endpoint should.

	Mask    Masking
	Key     [4]byte // masking key; zero means a fixed one
	LenForm int     // 7, 16 or 64: the form of the length; 0 means the shortest
	Declare uint64  // the length that the header declares, if not 0, whatever the payload
}

// Final returns a frame with FIN set.
func Final(op Opcode, payload string) Frame {
	return Frame{Fin: true, Op: op, Payload: []byte(payload)}
}

// First returns a frame with FIN clear, one that starts or continues a
// fragmented message.
func First(op Opcode, payload string) Frame { return Frame{Op: op, Payload: []byte(payload)} }

// CloseFrame returns a close frame. Code 0 or 1005 gives one without a payload
// if reason is empty.
func CloseFrame(code int, reason string) Frame {
	if (code == 0 || code == 1005) && reason == "" {
		return Final(Close, "")
	}
	return Final(Close, ClosePayload(code, reason))
}

// ClosePayload returns the payload of a close frame, whatever the code.
func ClosePayload(code int, reason string) string {
	return string([]byte{byte(code >> 8), byte(code)}) + reason
}

// Fragments returns a message of type op in one frame for each part.
func Fragments(op Opcode, parts ...string) []Frame {
	var frames []Frame
	for i, part := range parts {
		f := First(Continuation, part)
		if i == 0 {
			f.Op = op
		}
		f.Fin = i == len(parts)-1
		frames = append(frames, f)
	}
	return frames
}

// Append appends f as written by an endpoint in the given role.
func (f Frame) Append(dst []byte, role Role) []byte {
	b0 := f.RSV<<4 | byte(f.Op)
	if f.Fin {
		b0 |= 1 << 7
	}
	length := uint64(len(f.Payload))
	if f.Declare != 0 {
		length = f.Declare
	}
	form := f.LenForm
	if form == 0 {
		switch {
		case length <= 125:
			form = 7
		case length < 1<<16:
			form = 16
		default:
			form = 64
		}
	}
	masked := f.Mask == Masked || f.Mask == ByRole && role == Client
	var b1 byte
	if masked {
		b1 = 1 << 7
	}
	switch form {
	case 7:
		dst = append(dst, b0, b1|byte(length))
	case 16:
		dst = append(dst, b0, b1|126, byte(length>>8), byte(length))
	default:
		dst = append(dst, b0, b1|127)
		for shift := 56; shift >= 0; shift -= 8 {
			dst = append(dst, byte(length>>shift))
		}
	}
	if !masked {
		return append(dst, f.Payload...)
	}
	key := f.Key
	if key == [4]byte{} {
		key = [4]byte{0x37, 0xfa, 0x21, 0x3d}
	}
	dst = append(dst, key[:]...)
	for i, c := range f.Payload {
		dst = append(dst, c^key[i%4])
	}
	return dst
}

// Encode returns frames as written by an endpoint in the given role.
func Encode(role Role, frames ...Frame) []byte {
	var b []byte
	for _, f := range frames {
		b = f.Append(b, role)
	}
	return b
}

// maxPayload bounds what ReadFrame believes of a header, so that a broken one
// fails the test and not the machine.
const maxPayload = 64 << 20

// ReadFrame reads one frame. It reads no byte beyond it. The frame tells how it
// was masked and how its length was encoded. The error is io.EOF if r ends
// before the first byte.
func ReadFrame(r io.Reader) (Frame, error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return Frame{}, err
	}
	f := Frame{Fin: b[0]>>7 == 1, RSV: b[0] >> 4 & 7, Op: Opcode(b[0] & 15), Mask: Unmasked}
	masked := b[1]>>7 == 1
	length := uint64(b[1] & 127)
	f.LenForm = 7
	if length >= 126 {
		f.LenForm = 16
		if length == 127 {
			f.LenForm = 64
		}
		ext := b[:f.LenForm/8]
		if _, err := io.ReadFull(r, ext); err != nil {
			return f, unexpected(err)
		}
		length = 0
		for _, c := range ext {
			length = length<<8 | uint64(c)
		}
	}
	if length > maxPayload {
		return f, fmt.Errorf("frame declares %d bytes", length)
	}
	if masked {
		f.Mask = Masked
		if _, err := io.ReadFull(r, f.Key[:]); err != nil {
			return f, unexpected(err)
		}
	}
	f.Payload = make([]byte, length)
	if _, err := io.ReadFull(r, f.Payload); err != nil {
		return f, unexpected(err)
	}
	if masked {
		for i := range f.Payload {
			f.Payload[i] ^= f.Key[i%4]
		}
	}
	return f, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Check says what is wrong with f, as read, when an endpoint in the given role
// has sent it. It applies the rules that hold for every single frame (sections
// 5.1, 5.2, 5.5).
func (f Frame) Check(sender Role) error {
	var errs []error
	fail := func(s string) { errs = append(errs, errors.New(s)) }
	if sender == Client && f.Mask != Masked {
		fail("a client's frame is not masked")
	}
	if sender == Server && f.Mask != Unmasked {
		fail("a server's frame is masked")
	}
	if f.RSV != 0 {
		fail(fmt.Sprintf("RSV bits are %03b", f.RSV))
	}
	n := len(f.Payload)
	if f.LenForm == 16 && n <= 125 || f.LenForm == 64 && n < 1<<16 {
		fail(fmt.Sprintf("length %d is in the %d-bit form", n, f.LenForm))
	}
	switch f.Op {
	case Continuation, Text, Binary:
	case Close, Ping, Pong:
		if n > 125 {
			fail(fmt.Sprintf("control frame of %d bytes", n))
		}
		if !f.Fin {
			fail("control frame is fragmented")
		}
	default:
		fail("reserved opcode")
	}
	return errors.Join(errs...)
}

func (f Frame) String() string {
	s := fmt.Sprintf("%v frame", f.Op)
	if !f.Fin {
		s += " (FIN clear)"
	}
	if f.RSV != 0 {
		s += fmt.Sprintf(" (RSV %03b)", f.RSV)
	}
	if f.Op == Close && len(f.Payload) >= 2 {
		return fmt.Sprintf("%s %d %s", s, CloseCode(f.Payload), Quote(f.Payload[2:]))
	}
	return s + " " + Quote(f.Payload)
}

// CloseCode returns the code in the payload of a close frame, 1005 if there is
// none.
func CloseCode(payload []byte) int {
	if len(payload) < 2 {
		return 1005
	}
	return int(payload[0])<<8 | int(payload[1])
}

// Quote quotes a payload for a message of failure, a long one cut short.
func Quote(p []byte) string {
	if len(p) > 72 {
		return fmt.Sprintf("%q... (%d bytes)", p[:64], len(p))
	}
	return fmt.Sprintf("%q", p)
}
