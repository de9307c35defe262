package websocket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// ErrMessageTooBig is wrapped by the error of a read that met a message longer than the
// read limit (see [Conn.SetReadLimit]). The connection is then closed with StatusMessageTooBig.
var ErrMessageTooBig = errors.New("message exceeds the read limit")

// ErrPongTimeout is wrapped by the error of a read, and of all that follow, when the connection is over because the
// peer showed no life: nothing arrived for PingInterval, nor within PongTimeout after a ping; or it sent pings and
// took nothing of what was on its way to it for as long as both (see [AcceptOptions] and [DialOptions]).
var ErrPongTimeout = errors.New("the peer did not answer a ping in time")

// A CloseError says that the peer closed the connection, with the code and reason of its close frame
// (RFC 6455, section 5.5.1). Reads return it wrapped: use [errors.As] or [CloseStatus].
//
// One that tells of an orderly end (StatusNormalClosure, StatusGoingAway, StatusNoStatusRcvd) matches [io.EOF] with
// [errors.Is].
type CloseError struct {
	Code   StatusCode // StatusNoStatusRcvd if the close frame had no code
	Reason string     // valid UTF-8, at most 123 bytes
}

// Error returns a text with the code and the reason.
func (e CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("closed by the peer: %d %v", int(e.Code), e.Code)
	}
	return fmt.Sprintf("closed by the peer: %d %v: %q", int(e.Code), e.Code, e.Reason)
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

// As makes [errors.As] with a **CloseError true too. The pointer is to a copy of e.
func (e CloseError) As(target any) bool {
	p, ok := target.(**CloseError)
	if ok {
		*p = &e
	}
	return ok
}

// closedInside is a CloseError whose frame came before the message in progress was finished. It is no orderly end:
// it matches io.ErrUnexpectedEOF in place of io.EOF.
type closedInside struct{ ce CloseError }

func (e closedInside) Error() string { return e.ce.Error() + ", inside a message" }

func (e closedInside) Is(target error) bool { return target == io.ErrUnexpectedEOF }

func (e closedInside) As(target any) bool {
	if ce, ok := target.(*CloseError); ok {
		*ce = e.ce
		return true
	}
	return e.ce.As(target)
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

// A HandshakeError says that a server answered the opening handshake of [Dial], but did not accept it: with a status
// other than 101, or with a 101 that breaks the protocol (RFC 6455, section 4.1). Dial returns it wrapped: use
// [errors.As] with a *HandshakeError.
type HandshakeError struct {
	StatusCode int         // the HTTP status of the response
	Header     http.Header // of the response; it must not be changed
	// Body is what the response says, as far as it is kept: up to 1024 bytes. It must not be changed.
	Body []byte

	err error
}

// Error returns a text with what was wrong, and the first line of the response's body if that is plain text.
func (e *HandshakeError) Error() string {
	text := "the handshake failed"
	if e.err != nil {
		text = e.err.Error()
	}
	if line := plainLine(e.Header, e.Body); line != "" {
		text += ": " + quoteUpTo(line, refusalLineLimit)
	}
	return text
}

// Unwrap returns what was wrong with the response.
func (e *HandshakeError) Unwrap() error { return e.err }

// refusalLineLimit is how much of the first line of a refusal stands in the text of the error, in bytes.
const refusalLineLimit = 200

// plainLine returns the first line of body, if it is plain text.
func plainLine(h http.Header, body []byte) string {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	if !equalFold(trimSpace(media), "text/plain") {
		return ""
	}
	line, _, _ := strings.Cut(string(body), "\n")
	return strings.TrimSpace(line)
}

// An argumentError says that a caller's argument is invalid: the same call fails each time.
type argumentError struct{ err error }

func (e argumentError) Error() string { return e.err.Error() }
func (e argumentError) Unwrap() error { return e.err }

// A protocolError is what the peer did wrong, and the close code that tells it so. It is a finding of this
// side: a CloseError is what the peer said.
type protocolError struct {
	code   StatusCode
	reason string
}

func (e protocolError) Error() string { return e.reason }

// What a peer can do wrong. The texts are also the reasons of the close frames that tell it so.
var (
	errLengthNotMinimal  = protocolError{StatusProtocolError, "payload length is not in its shortest form"}
	errLengthTooLarge    = protocolError{StatusProtocolError, "payload length of 2^63 or more"}
	errReservedBits      = protocolError{StatusProtocolError, "reserved bit set"}
	errMaskedByServer    = protocolError{StatusProtocolError, "masked frame from a server"}
	errUnmaskedByClient  = protocolError{StatusProtocolError, "unmasked frame from a client"}
	errControlFragmented = protocolError{StatusProtocolError, "fragmented control frame"}
	errControlTooLong    = protocolError{StatusProtocolError, "control frame of more than 125 bytes"}
	errNothingToContinue = protocolError{StatusProtocolError, "continuation frame, but no message to continue"}
	errMessageUnfinished = protocolError{StatusProtocolError, "new message before the last one was finished"}
	errEmptyFrames       = protocolError{StatusPolicyViolation, "too many frames without payload in a message"}
	errTextUTF8          = protocolError{StatusInvalidFramePayloadData, "text is not UTF-8"}
	errClosePayloadShort = protocolError{StatusProtocolError, "close frame with a payload of one byte"}
	errCloseReasonUTF8   = protocolError{StatusInvalidFramePayloadData, "close reason is not UTF-8"}
)

// errMessageTooBig is ErrMessageTooBig with the close code that tells the peer so.
var errMessageTooBig = tooBigError{}

type tooBigError struct{}

func (tooBigError) Error() string { return ErrMessageTooBig.Error() }
func (tooBigError) Unwrap() error { return ErrMessageTooBig }

// closeCode returns the code and the reason of the close frame that tells the peer of err, an error that recvHalf or a
// codec returned. ok is false if err is none of the peer's making.
func closeCode(err error) (code StatusCode, reason string, ok bool) {
	switch e := err.(type) {
	case protocolError:
		return e.code, e.reason, true
	case tooBigError:
		return StatusMessageTooBig, e.Error(), true
	}
	return 0, "", false
}

// Errors of this side's own making.
var (
	errCloseSent     = errors.New("the close frame is already sent")
	errClosed        = fmt.Errorf("websocket: the connection is closed: %w", net.ErrClosed)
	errAbruptEnd     = fmt.Errorf("the connection ended without a close frame: %w", io.ErrUnexpectedEOF)
	errMidMessage    = fmt.Errorf("the connection ended inside a message: %w", io.ErrUnexpectedEOF)
	errDeadPeer      = fmt.Errorf("websocket: the connection is over: %w", ErrPongTimeout)
	errTakesNothing  = deadPeerError("websocket: the connection is over: the peer takes nothing of what is sent to it")
	errWritePanicked = fmt.Errorf("websocket: the connection is over: a write of the transport panicked: %w", net.ErrClosed)
	errStaleReader   = errors.New("the reader's message was left for a later one")
)

// A deadPeerError is why the heartbeat gave up a peer that may still send.
type deadPeerError string

func (e deadPeerError) Error() string        { return string(e) }
func (e deadPeerError) Is(target error) bool { return target == ErrPongTimeout }
