package wstest

import (
	"github.com/seed70bc5565/websocket"
	internal "github.com/seed70bc5565/websocket/internal/wstest"
)

// An Opcode says what a frame carries (RFC 6455, section 5.2).
type Opcode byte

// The opcodes of RFC 6455. A Peer may send others, 3 to 7 and 11 to 15, which
// are reserved.
const (
	Continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

// String returns the name of op, such as "text".
func (op Opcode) String() string { return internal.Opcode(op).String() }

// A Frame is one frame, with its payload unmasked (section 5.2).
//
// The zero values of the fields behind Payload mean what the RFC demands of the
// role that writes the frame. Other values are for frames that no endpoint
// should write. In a frame that was read they tell how it came.
type Frame struct {
	Fin     bool // the frame is the last of its message, or the only one
	Op      Opcode
	Payload []byte

	// RSV are the reserved bits, 0 to 7: RSV1, which compression uses, is 4.
	RSV byte
	// Mask says whether the frame is masked.
	Mask Masking
	// Key is the masking key. Zero means a fixed key.
	Key [4]byte
	// LenForm is the number of bits of the length: 7, 16 or 64. Zero means the
	// shortest form.
	LenForm int
	// Declare is the length that the header declares, in bytes, if it is not
	// the length of Payload. Zero means the length of Payload.
	Declare uint64
}

// Masking says whether the payload of a frame is masked (section 5.3).
type Masking int

// The values of Masking.
const (
	ByRole   Masking = iota // a client masks its frames, a server does not
	Masked                  // whatever the role
	Unmasked                // whatever the role
)

// Message returns a frame that is a whole message of type op, or a control
// frame.
func Message(op Opcode, payload string) Frame {
	return Frame{Fin: true, Op: op, Payload: []byte(payload)}
}

// Fragments returns the frames of a message of type op, one for each part.
func Fragments(op Opcode, parts ...string) []Frame {
	frames := make([]Frame, len(parts))
	for i, part := range parts {
		frames[i] = Frame{Op: Continuation, Payload: []byte(part)}
	}
	if len(frames) > 0 {
		frames[0].Op = op
		frames[len(frames)-1].Fin = true
	}
	return frames
}

// CloseFrame returns a close frame. Code may be one that must not be sent. A
// frame with code 0 or 1005 has no payload if reason is empty.
func CloseFrame(code websocket.StatusCode, reason string) Frame {
	return fromInternal(internal.CloseFrame(int(code), reason))
}

// String returns a description of the frame for a message of failure. It cuts
// a long payload short.
func (f Frame) String() string { return f.internal().String() }

func (f Frame) internal() internal.Frame {
	return internal.Frame{Fin: f.Fin, RSV: f.RSV, Op: internal.Opcode(f.Op), Payload: f.Payload,
		Mask: internal.Masking(f.Mask), Key: f.Key, LenForm: f.LenForm, Declare: f.Declare}
}

func fromInternal(f internal.Frame) Frame {
	return Frame{Fin: f.Fin, RSV: f.RSV, Op: Opcode(f.Op), Payload: f.Payload,
		Mask: Masking(f.Mask), Key: f.Key, LenForm: f.LenForm, Declare: f.Declare}
}
