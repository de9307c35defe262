package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/seed70bc5565/websocket/internal/field"
)

// ErrMessageTooBig is wrapped by the error of a read that met a message longer
// than the read limit (see [Conn.SetReadLimit]). The connection is then closed
// with StatusMessageTooBig.
var ErrMessageTooBig = errors.New("message exceeds the read limit")

// ErrPongTimeout is wrapped by the error of each read and write of a connection
// whose peer the heartbeat has given up. The peer showed no life for
// PingInterval, nor for PongTimeout after a ping. Or frames waited to be
// written, and it took no byte of them for as long as both. See Heartbeats in
// the package documentation.
var ErrPongTimeout = errors.New("the peer did not answer a ping in time")

// A HandshakeError says that a server answered the opening handshake of [Dial],
// but did not accept it. The status was not 101, or the 101 broke the protocol
// (RFC 6455, section 4.1). Dial returns it wrapped: use [errors.As] with a
// *HandshakeError.
type HandshakeError struct {
	StatusCode int         // the HTTP status of the response
	Header     http.Header // of the response; it must not be changed
	// Body is what the response says, as far as it is kept: up to 1024 bytes.
	// It must not be changed.
	Body []byte

	err error
}

// Error returns a text with what was wrong, and the first line of the
// response's body if that is plain text.
func (e *HandshakeError) Error() string {
	text := "the handshake failed"
	if e.err != nil {
		text = e.err.Error()
	}
	if line := plainLine(e.Header, e.Body); line != "" {
		text += ": " + field.QuoteUpTo(line, refusalLineLimit)
	}
	return text
}

// Unwrap returns what was wrong with the response.
func (e *HandshakeError) Unwrap() error { return e.err }

// refusalLineLimit is how many bytes of the first line of a refusal the text of
// the error has.
const refusalLineLimit = 200

// plainLine returns the first line of body, if it is plain text.
func plainLine(h http.Header, body []byte) string {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	if !field.EqualFold(field.TrimSpace(media), "text/plain") {
		return ""
	}
	line, _, _ := strings.Cut(string(body), "\n")
	return strings.TrimSpace(line)
}

// An argumentError says that a caller's argument is invalid: the same call
// fails each time.
type argumentError struct{ err error }

func (e argumentError) Error() string { return e.err.Error() }

func (e argumentError) Unwrap() error { return e.err }

// A ProtocolError says that this side failed the connection because of what the
// peer sent (RFC 6455, section 7.1.7). Reads return it wrapped, and so does the
// Err of [Conn.End]: use [errors.As] with a ProtocolError. This side found the
// fault. A [CloseError] is what the peer said.
//
// Code is StatusProtocolError, or one of three others.
// StatusInvalidFramePayloadData is for text that is not UTF-8, and for corrupt
// compressed data. StatusPolicyViolation is for a message of too many empty
// frames, or one that [Conn.CloseRead] did not expect. An error with
// StatusMessageTooBig matches [ErrMessageTooBig].
type ProtocolError struct {
	Code   StatusCode // of the close frame that tells the peer so
	Reason string     // of that close frame: what the peer did wrong
}

// Error returns the reason.
func (e ProtocolError) Error() string { return e.Reason }

// Is reports whether target is ErrMessageTooBig and e tells of such a message.
func (e ProtocolError) Is(target error) bool {
	return target == ErrMessageTooBig && e.Code == StatusMessageTooBig
}

// The breaches of the protocol by a peer. The texts are also the reasons of the
// close frames that tell it so.
var (
	errLengthNotMinimal  = ProtocolError{StatusProtocolError, "payload length is not in its shortest form"}
	errLengthTooLarge    = ProtocolError{StatusProtocolError, "payload length of 2^63 or more"}
	errReservedBits      = ProtocolError{StatusProtocolError, "reserved bit set"}
	errMaskedByServer    = ProtocolError{StatusProtocolError, "masked frame from a server"}
	errUnmaskedByClient  = ProtocolError{StatusProtocolError, "unmasked frame from a client"}
	errControlFragmented = ProtocolError{StatusProtocolError, "fragmented control frame"}
	errControlTooLong    = ProtocolError{StatusProtocolError, "control frame of more than 125 bytes"}
	errNothingToContinue = ProtocolError{StatusProtocolError, "continuation frame, but no message to continue"}
	errMessageUnfinished = ProtocolError{StatusProtocolError, "new message before the last one was finished"}
	errEmptyFrames       = ProtocolError{StatusPolicyViolation, "too many frames without payload in a message"}
	errTextUTF8          = ProtocolError{StatusInvalidFramePayloadData, "text is not UTF-8"}
	errClosePayloadShort = ProtocolError{StatusProtocolError, "close frame with a payload of one byte"}
	errCloseReasonUTF8   = ProtocolError{StatusInvalidFramePayloadData, "close reason is not UTF-8"}
)

// errMessageTooBig is ErrMessageTooBig with the close code that tells the peer
// so.
var errMessageTooBig = ProtocolError{StatusMessageTooBig, ErrMessageTooBig.Error()}

// closeCode returns the code and the reason of the close frame that tells the
// peer of err. The error comes from recvHalf or a codec. If err is none of the
// peer's making, ok is false.
func closeCode(err error) (code StatusCode, reason string, ok bool) {
	e, ok := err.(ProtocolError)
	return e.Code, e.Reason, ok
}

// Errors that this side makes itself.
var (
	errCloseSent   = errors.New("the close frame is already sent")
	errClosed      = fmt.Errorf("websocket: the connection is closed: %w", net.ErrClosed)
	errAbruptEnd   = fmt.Errorf("the connection ended without a close frame: %w", io.ErrUnexpectedEOF)
	errMidMessage  = fmt.Errorf("the connection ended inside a message: %w", io.ErrUnexpectedEOF)
	errStaleReader = errors.New("the reader's message was left for a later one")
	// errNotNow is what a read that does not wait returns. Nothing is lost: a
	// later one goes on.
	errNotNow     = errors.New("nothing to read now")
	errReadsTaken = errors.New("CloseRead or an EventHandler reads: no other method may")
	errCloseStuck = fmt.Errorf("the peer did not take the close frame in time: %w", context.DeadlineExceeded)
)

// A writeError is why a connection is over, as writes return it. For writes the
// connection is closed, whichever side closed it.
type writeError struct{ cause error }

func (e writeError) Error() string { return e.cause.Error() }

func (e writeError) Unwrap() error { return e.cause }

func (e writeError) Is(target error) bool { return target == net.ErrClosed }

// isErr is errors.Is for a target that no system error matches. A connection
// mostly ends with such an error, or with io.EOF, deep in its stack: errors.Is
// could make that grow.
func isErr(err, target error) bool {
	if e, ok := err.(*opError); ok {
		err = e.err
	}
	if err == target {
		return true
	}
	if _, ok := err.(syscall.Errno); ok {
		return false
	}
	return err != io.EOF && errors.Is(err, target)
}

// toWriters returns cause, why a connection is over, in the form that writes
// return. It matches net.ErrClosed.
func toWriters(cause error) error {
	if cause == nil || isErr(cause, net.ErrClosed) {
		return cause
	}
	return writeError{cause}
}

// apiError wraps err for the caller of op.
func apiError(op string, err error) error {
	if err == nil {
		return nil
	}
	return &opError{op, err}
}

// An opError is err as the caller of op gets it. Every connection ends with
// one: most are never printed.
type opError struct {
	op  string
	err error
}

func (e *opError) Error() string { return "websocket: " + e.op + ": " + e.err.Error() }

func (e *opError) Unwrap() error { return e.err }
