package websocket

import (
	"fmt"
	"math"
)

// A recvHalf is the receiving side of the protocol. It judges the header of
// each frame that comes in, in the order in which they come. It sees no
// payload. Its owner is the reading goroutine.
type recvHalf struct {
	client  bool // this endpoint is the client, so the peer is a server
	deflate bool // permessage-deflate was negotiated: RSV1 marks a compressed message

	message    opcode // opText or opBinary while a message is unfinished, else opContinuation
	compressed bool   // the unfinished message is compressed
	empty      uint32 // how many of its frames have no payload and are not its last
	size       int64  // payload bytes that the headers of the message have declared so far
}

// The read limit counts the bytes of a message. These bound what does not add
// to them, so that no message goes on for ever below the limit.
const (
	// spareFrames is how many frames without payload a message may have before
	// its last, in addition to one for each byte of payload.
	spareFrames = 1024
	// A compressed message may be deflateExpansion times as long on the wire as
	// the read limit lets it be inflated, and spareDeflate bytes more. That is
	// more than the worst compressors make of one byte and a flush, which is 11
	// bytes.
	deflateExpansion = 16
	spareDeflate     = 64 << 10
)

// judge says whether a frame with header h may come now, and takes note of it.
// The limit is the most bytes that a message may have; negative: any number.
//
// An error is a ProtocolError.
func (s *recvHalf) judge(h header, limit int64) error {
	// Section 5.2: a bit that no negotiated extension gives a meaning must
	// be 0. RFC 7692, section 6: RSV1 of the first frame of a message says that
	// it is compressed; elsewhere it must be 0.
	if h.rsv != 0 {
		first := h.opcode == opText || h.opcode == opBinary
		if h.rsv != rsv1Bit || !s.deflate || !first {
			return errReservedBits
		}
	}
	// Section 5.2: an unknown opcode fails the connection.
	if !h.opcode.isKnown() {
		return ProtocolError{StatusProtocolError, "frame with " + h.opcode.String()}
	}
	// Section 5.1: a client masks all frames, a server masks none.
	if h.masked == s.client {
		if s.client {
			return errMaskedByServer
		}
		return errUnmaskedByClient
	}

	if h.opcode.isControl() {
		// Section 5.5: at most 125 bytes, and not fragmented. It may stand
		// between the fragments of a message.
		if !h.fin {
			return errControlFragmented
		}
		if h.length > maxControlPayload {
			return errControlTooLong
		}
		return nil
	}

	// Section 5.4: the first fragment has the opcode of the message, those
	// after it are continuations.
	if h.opcode == opContinuation {
		if s.message == opContinuation {
			return errNothingToContinue
		}
	} else {
		if s.message != opContinuation {
			return errMessageUnfinished
		}
		s.message, s.size, s.compressed, s.empty = h.opcode, 0, h.rsv&rsv1Bit != 0, 0
	}
	if h.length > math.MaxInt64-s.size {
		return errMessageTooBig
	}
	s.size += h.length
	// The inflater counts the size of the inflated message.
	if limit >= 0 && s.size > limit && (!s.compressed || (s.size-spareDeflate)/deflateExpansion > limit) {
		return errMessageTooBig
	}
	if h.fin {
		s.message = opContinuation
	} else if h.length == 0 {
		if s.empty++; int64(s.empty)-spareFrames > s.size {
			return errEmptyFrames
		}
	}
	return nil
}

// A sendHalf is the sending side of the protocol. It makes the headers of the
// frames that go out. So what recvHalf refuses in a peer's frames cannot be in
// ours. Its owner is the holder of the write lock.
type sendHalf struct {
	client     bool // this endpoint is the client: it masks
	unfinished bool // a message begun without FIN is not finished
	closed     bool // the close frame has been made; nothing may follow it (section 5.5.1)
}

// header returns the header of the next frame. The next frame carries n bytes
// of payload of a frame of type op. For the second and later fragments of a
// message op is its opcode too. header turns it into a continuation. The key is
// the masking key, 0 if this endpoint does not mask.
func (s *sendHalf) header(op opcode, fin bool, rsv byte, n int, key uint32) (header, error) {
	if s.closed {
		return header{}, errCloseSent
	}
	h := header{headerBits{fin: fin, rsv: rsv, opcode: op, masked: s.client}, key, int64(n)}
	if op.isControl() {
		return h, s.control(h)
	}
	if s.unfinished {
		h.opcode, h.rsv = opContinuation, 0
	}
	s.unfinished = !fin
	return h, nil
}

// control is the part of header for control frames.
func (s *sendHalf) control(h header) error {
	if h.length > maxControlPayload || !h.fin || h.rsv != 0 {
		return fmt.Errorf("%v frame of %d bytes: a control frame has at most %d, and is not fragmented", h.opcode, h.length, maxControlPayload)
	}
	s.closed = h.opcode == opClose
	return nil
}

// closeState is how far the closing of a connection has come (section 7.1).
// States with a higher number come later.
type closeState uint8

const (
	stateOpen     closeState = iota
	stateSent                // our close frame is made, the peer's has not come
	stateReceived            // the peer's close frame has come, ours is not made
	stateBoth                // the closing handshake is done
	stateEnding              // the transport is being closed, after the closing handshake
	stateBreaking            // the transport is being closed, without it
	stateEnded               // the transport is closed, after the closing handshake
	stateBroken              // the transport is closed, without it
)

// A closeEvent is what moves a closeState.
type closeEvent uint8

const (
	closeFrameSent closeEvent = iota
	closeFrameReceived
	transportEnds
	transportClosed
)

// after returns the state that follows s when e happens. It is the only place
// where the closing state moves.
func (s closeState) after(e closeEvent) closeState {
	switch {
	case e == closeFrameSent && s == stateOpen:
		return stateSent
	case e == closeFrameSent && s == stateReceived:
		return stateBoth
	case e == closeFrameReceived && s == stateOpen:
		return stateReceived
	case e == closeFrameReceived && s == stateSent:
		return stateBoth
	case e == transportEnds && s == stateBoth:
		return stateEnding
	case e == transportEnds && s < stateBoth:
		return stateBreaking
	case e == transportClosed && s == stateEnding:
		return stateEnded
	case e == transportClosed && s == stateBreaking:
		return stateBroken
	}
	return s
}

// isEnding reports whether the transport is closed, or about to be.
func (s closeState) isEnding() bool { return s >= stateEnding }

// isClosed reports whether the transport is closed.
func (s closeState) isClosed() bool { return s >= stateEnded }

// isAnswered reports whether the closing handshake is done.
func (s closeState) isAnswered() bool { return s == stateBoth || s == stateEnding || s == stateEnded }
