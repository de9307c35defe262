package wstest

import (
	"fmt"
	"unicode/utf8"
)

// An Event is what an endpoint makes of a part of the stream: a whole message
// (Text, Binary) or a control frame (Ping, Pong, Close).
type Event struct {
	Op      Opcode
	Payload string
}

func (e Event) String() string { return fmt.Sprintf("%v %s", e.Op, Quote([]byte(e.Payload))) }

// An Outcome is what an endpoint makes of a whole stream.
type Outcome struct {
	Events []Event
	// Code is the code that the endpoint must close the connection with because
	// the stream breaks a rule; Why says which. 0 if it does not.
	Code int
	Why  string
	// Rest is the number of bytes at the end that make no whole frame, or only
	// a part of a message. It is 0 if the stream ended with a close frame or
	// with Code.
	Rest int
	// Closed is set if the stream holds a valid close frame, the last of
	// Events. The bytes behind it do not count.
	Closed bool
}

// SpareFrames is how many frames without payload a message may have, in
// addition to one for each byte of payload. It is a rule of the library, not of
// the RFC.
const SpareFrames = 1024

// Rules are what the two ends agreed on.
type Rules struct {
	// Sender is the role of the endpoint that wrote the stream.
	Sender Role
	// ReadLimit is the most bytes of a message, if not 0.
	ReadLimit uint64
	// SkipUTF8 takes any bytes for text.
	SkipUTF8 bool
}

// Decode reads a whole stream, from the first byte after the handshake on, by
// the rules of RFC 6455, sections 5 to 7. It goes the plainest way: byte by
// byte, each judged as early as it can be.
func Decode(stream []byte, rules Rules) (out Outcome) {
	var (
		message []byte
		open    bool   // a fragmented message is under way
		kind    Opcode // of the message under way
		partial []byte // of a code point of the text under way
		empty   int    // frames without payload of the message under way
	)
	fail := func(code int, why string) Outcome {
		out.Code, out.Why, out.Rest = code, why, 0
		return out
	}
	started := 0 // where the first frame of the open message began
	pos := 0
	for {
		begin := pos
		if !open {
			started = begin
		}
		out.Rest = len(stream) - started
		left := stream[pos:]
		if len(left) < 2 {
			return out
		}

		// 5.2: the header.
		fin, rsv, op := left[0]&0x80 != 0, left[0]&0x70, Opcode(left[0]&0x0f)
		masked, length := left[1]&0x80 != 0, uint64(left[1]&0x7f)
		head := 2
		if length == 126 {
			if len(left) < 4 {
				return out
			}
			length = uint64(left[2])<<8 | uint64(left[3])
			if length < 126 {
				return fail(1002, "16-bit length that fits in 7 bits")
			}
			head = 4
		} else if length == 127 {
			if len(left) < 10 {
				return out
			}
			length = 0
			for _, c := range left[2:10] {
				length = length<<8 | uint64(c)
			}
			if length>>63 != 0 {
				return fail(1002, "64-bit length with the most significant bit set")
			}
			if length < 1<<16 {
				return fail(1002, "64-bit length that fits in 16 bits")
			}
			head = 10
		}
		var key [4]byte
		if masked {
			if len(left) < head+4 {
				return out
			}
			copy(key[:], left[head:])
			head += 4
		}
		switch {
		case rsv != 0:
			return fail(1002, "RSV bits without an extension")
		case masked != (rules.Sender == Client):
			return fail(1002, "masked in the wrong direction") // 5.1
		}
		control := op >= 8
		switch op {
		case Continuation:
			if !open {
				return fail(1002, "continuation of nothing") // 5.4
			}
		case Text, Binary:
			if open {
				return fail(1002, "new message inside a fragmented one") // 5.4
			}
		case Close, Ping, Pong:
			if !fin {
				return fail(1002, "fragmented control frame") // 5.5
			}
			if length > 125 {
				return fail(1002, "control frame of more than 125 bytes") // 5.5
			}
		default:
			return fail(1002, "reserved opcode")
		}
		if !control {
			if op != Continuation {
				kind, message, partial, empty = op, nil, nil, 0
			}
			open = true
			if rules.ReadLimit != 0 && (length > rules.ReadLimit || uint64(len(message))+length > rules.ReadLimit) {
				return fail(1009, "message beyond the limit")
			}
			if !fin && length == 0 {
				empty++
			}
			if empty > SpareFrames+len(message) {
				return fail(1008, "too many frames without payload")
			}
		}

		// The payload, byte by byte.
		pos += head
		var payload []byte
		for i := uint64(0); i < length; i++ {
			if pos == len(stream) {
				return out
			}
			c := stream[pos]
			pos++
			if masked {
				c ^= key[i%4]
			}
			payload = append(payload, c)
			if !control && kind == Text && !rules.SkipUTF8 {
				// 8.1: fail as soon as no continuation can make it valid.
				partial = append(partial, c)
				if utf8.FullRune(partial) {
					if r, size := utf8.DecodeRune(partial); r == utf8.RuneError && size == 1 {
						return fail(1007, "text is not UTF-8")
					}
					partial = nil
				}
			}
		}

		switch {
		case !control:
			message = append(message, payload...)
			if !fin {
				continue
			}
			if len(partial) > 0 {
				return fail(1007, "text ends inside a code point")
			}
			open = false
			out.Events = append(out.Events, Event{kind, string(message)})
		case op == Close:
			// 5.5.1, 7.4
			if len(payload) == 1 {
				return fail(1002, "close frame with half a code")
			}
			if len(payload) >= 2 {
				if !ValidCloseCode(CloseCode(payload)) {
					return fail(1002, "close code that must not be sent")
				}
				if !utf8.Valid(payload[2:]) {
					return fail(1007, "close reason is not UTF-8")
				}
			}
			out.Events = append(out.Events, Event{Close, string(payload)})
			out.Closed, out.Rest = true, 0
			return out
		default:
			out.Events = append(out.Events, Event{op, string(payload)})
		}
	}
}

// ValidCloseCode reports whether a close frame may carry code. It may carry
// those of section 7.4.1 that are not reserved, and those that IANA has
// registered since (1012 to 1014). It may carry the ranges of libraries and
// applications (section 7.4.2).
func ValidCloseCode(code int) bool {
	switch code {
	case 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}
