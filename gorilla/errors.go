package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	native "github.com/seed70bc5565/websocket"
)

// Close codes (RFC 6455, section 11.7).
const (
	CloseNormalClosure           = 1000
	CloseGoingAway               = 1001
	CloseProtocolError           = 1002
	CloseUnsupportedData         = 1003
	CloseNoStatusReceived        = 1005 // never on the wire: the close frame had no code
	CloseAbnormalClosure         = 1006 // never on the wire: there was no close frame
	CloseInvalidFramePayloadData = 1007
	ClosePolicyViolation         = 1008
	CloseMessageTooBig           = 1009
	CloseMandatoryExtension      = 1010
	CloseInternalServerErr       = 1011
	CloseServiceRestart          = 1012
	CloseTryAgainLater           = 1013
	CloseTLSHandshake            = 1015 // never on the wire
)

// ErrBadHandshake is returned by [Dialer.Dial] when the server did not accept
// the opening handshake. The response tells more.
var ErrBadHandshake = errors.New("websocket: bad handshake")

// ErrCloseSent is returned by a write after this side has sent a close frame.
var ErrCloseSent = errors.New("websocket: close sent")

// ErrReadLimit is returned by a read that met a message longer than the limit
// of [Conn.SetReadLimit]. The peer is told with [CloseMessageTooBig].
var ErrReadLimit = errors.New("websocket: read limit exceeded")

var (
	errBadMessageType    = errors.New("websocket: bad write message type")
	errWriterClosed      = errors.New("websocket: write closed")
	errControlTooLong    = errors.New("websocket: invalid control frame") // of more than 125 bytes
	errHandshakePanicked = errors.New("websocket: the opening handshake: a callback has panicked")
	errWriteTimeout      = &timeoutError{"websocket: write timeout", os.ErrDeadlineExceeded, true}
	errAbnormal          = &CloseError{Code: CloseAbnormalClosure, Text: io.ErrUnexpectedEOF.Error()}
)

// A CloseError is the close frame that the peer sent, or with
// [CloseAbnormalClosure] the end of the connection without one. Reads return
// it by pointer.
type CloseError struct {
	Code int    // RFC 6455, section 7.4
	Text string // UTF-8, may be empty
}

// closeNames are the names of close codes as the text of a CloseError has them.
var closeNames = map[int]string{
	CloseNormalClosure:           "normal",
	CloseGoingAway:               "going away",
	CloseProtocolError:           "protocol error",
	CloseUnsupportedData:         "unsupported data",
	CloseNoStatusReceived:        "no status",
	CloseAbnormalClosure:         "abnormal closure",
	CloseInvalidFramePayloadData: "invalid payload data",
	ClosePolicyViolation:         "policy violation",
	CloseMessageTooBig:           "message too big",
	CloseMandatoryExtension:      "mandatory extension missing",
	CloseInternalServerErr:       "internal server error",
	CloseTLSHandshake:            "TLS handshake error",
}

// Error returns a text with the code and the text of e.
func (e *CloseError) Error() string {
	text := "websocket: close " + strconv.Itoa(e.Code)
	if name := closeNames[e.Code]; name != "" {
		text += " (" + name + ")"
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// IsCloseError reports whether err is, or wraps, a *[CloseError] with one of
// codes.
func IsCloseError(err error, codes ...int) bool {
	e, ok := asCloseError(err)
	return ok && e.oneOf(codes)
}

// IsUnexpectedCloseError reports whether err is, or wraps, a *[CloseError] with
// none of expectedCodes.
func IsUnexpectedCloseError(err error, expectedCodes ...int) bool {
	e, ok := asCloseError(err)
	return ok && !e.oneOf(expectedCodes)
}

func asCloseError(err error) (e *CloseError, ok bool) {
	ok = errors.As(err, &e)
	return e, ok
}

func (e *CloseError) oneOf(codes []int) bool {
	for _, code := range codes {
		if e.Code == code {
			return true
		}
	}
	return false
}

// FormatCloseMessage returns the payload of a close frame. It is empty, and not
// nil, for [CloseNoStatusReceived]. The text has at most 123 bytes: a longer
// one makes a payload that cannot be sent.
func FormatCloseMessage(closeCode int, text string) []byte {
	if closeCode == CloseNoStatusReceived {
		return []byte{}
	}
	p := make([]byte, 0, 2+len(text))
	p = append(p, byte(closeCode>>8), byte(closeCode))
	return append(p, text...)
}

// A HandshakeError is why [Upgrader.Upgrade] refused a request.
type HandshakeError struct{ message string }

// Error returns the text.
func (e HandshakeError) Error() string { return e.message }

// A timeoutError is a net.Error that says that a deadline has passed. It is
// temporary where gorilla's is: where nothing was sent, and before there is a
// connection. Handlers in the field go on after such an error only.
type timeoutError struct {
	text      string
	err       error
	temporary bool
}

func (e *timeoutError) Error() string   { return e.text }
func (e *timeoutError) Unwrap() error   { return e.err }
func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return e.temporary }

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// bare removes what the root package puts before an error of the transport.
func bare(err error) error {
	inner := errors.Unwrap(err)
	if inner == nil {
		return err
	}
	switch strings.TrimSuffix(err.Error(), inner.Error()) {
	case "websocket: read: ", "websocket: write: ", "websocket: sending the handshake: ":
		return inner
	}
	return err
}

// transportError gives err the type that the errors of a network connection
// have.
func (c *Conn) transportError(op string, err error) error {
	var ne *net.OpError
	found := errors.As(err, &ne)
	if isTimeout(err) {
		if !found {
			ne = c.opError(op, os.ErrDeadlineExceeded)
		}
		return &timeoutError{ne.Error(), err, false}
	}
	inner := net.ErrClosed
	if !errors.Is(err, net.ErrClosed) {
		errno, ok := bare(err).(syscall.Errno) // of a socket that the root package reads itself
		if !ok {
			return bare(err)
		}
		inner = os.NewSyscallError(op, errno)
	}
	if found {
		return ne
	}
	return c.opError(op, inner)
}

// opError gives err the addresses.
func (c *Conn) opError(op string, err error) *net.OpError {
	oe := &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
	if oe.Source != nil {
		oe.Net = oe.Source.Network()
	}
	return oe
}

// readError turns err, with which a read of the native connection failed, into
// the error of this package. The result sticks says that each later read
// returns it.
func (c *Conn) readError(err error) (_ error, sticks bool) {
	var ce native.CloseError
	var pe native.ProtocolError
	broken := errors.As(err, &pe)
	if broken {
		c.closeSent.Store(true) // it told the peer
	}
	switch {
	case broken && pe.Code == native.StatusMessageTooBig:
		return ErrReadLimit, true
	case isTimeout(err):
		return c.transportError("read", err), false
	case errors.As(err, &ce): // read natively
		return &CloseError{Code: int(ce.Code), Text: ce.Reason}, true
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errAbnormal, true
	}
	return c.transportError("read", err), true
}

// writeError makes err, with which a write of the native connection failed, the
// one that this package returns. A write that a deadline cut inside its frame
// is why the later ones fail.
func (c *Conn) writeError(err error) error {
	switch {
	case err == nil:
		return nil
	case c.closeSent.Load() && !isTimeout(err):
		return ErrCloseSent
	}
	if cut := c.cut.Load(); cut != nil {
		return cut.err
	}
	cut := isTimeout(err) && c.ws.End().Cause == native.EndInterrupted
	err = c.transportError("write", err)
	if cut {
		c.cut.CompareAndSwap(nil, &failure{err})
	}
	return err
}

// controlError is writeError for a control frame with a deadline of its own. It
// may pass while another frame is written.
func (c *Conn) controlError(err error) error {
	if isTimeout(err) && c.ws.End().Cause == native.EndNone {
		return &timeoutError{errWriteTimeout.text, err, true}
	}
	return c.writeError(err)
}
