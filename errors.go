package websocket

import (
	"errors"
	"fmt"
	"io"
)

// ErrMessageTooBig is wrapped by the error of a read that met a message longer than the
// read limit (see [Conn.SetReadLimit]). The connection is then closed with StatusMessageTooBig.
var ErrMessageTooBig = errors.New("message exceeds the read limit")

// A CloseError says that the peer closed the connection, with the code and reason of its close frame
// (RFC 6455, section 5.5.1). Reads return it wrapped: use [errors.As] or [CloseStatus].
//
// One that tells of an orderly end (StatusNormalClosure, StatusGoingAway, StatusNoStatusRcvd) matches [io.EOF] with [errors.Is].
type CloseError struct {
	Code   StatusCode // StatusNoStatusRcvd if the close frame had no code
	Reason string     // valid UTF-8, at most 123 bytes
}

func (e CloseError) Error() string {
	return fmt.Sprintf("status = %v and reason = %q", e.Code, e.Reason)
}

// Is reports whether target is io.EOF and e tells of an orderly end.
func (e CloseError) Is(target error) bool {
	if target != io.EOF {
		return false
	}
	switch e.Code {
	case StatusNormalClosure, StatusGoingAway, StatusNoStatusRcvd:
		return true
	}
	return false
}

// CloseStatus returns the code of the close frame that err tells of: that of the [CloseError] in
// err's chain, or -1 if there is none.
func CloseStatus(err error) StatusCode {
	var ce CloseError
	if errors.As(err, &ce) {
		return ce.Code
	}
	return -1
}

// A protocolError is what the peer did wrong, and the close code that tells it so. It is a finding of this
// side: a CloseError is what the peer said.
type protocolError struct {
	code   StatusCode
	reason string
}

func (e protocolError) Error() string { return e.reason }

// What a peer can do wrong. The texts are also the reasons of the close frames sent.
var (
	errLengthNotMinimal  = protocolError{StatusProtocolError, "payload length is not in its shortest form"}
	errLengthTooLarge    = protocolError{StatusProtocolError, "payload length of 2^63 or more"}
	errClosePayloadShort = protocolError{StatusProtocolError, "close frame with a payload of one byte"}
	errCloseReasonUTF8   = protocolError{StatusInvalidFramePayloadData, "close reason is not UTF-8"}
)
