package websocket

import (
	"errors"
	"fmt"
	"net"
	"net/http"
)

// An End is how a connection ended. [Conn.End] returns it, and [Trace.Ended]
// gets it.
type End struct {
	// Cause is what ended the connection. EndNone: it is not over.
	Cause EndCause

	// Code is the code of the first close frame. That is the peer's, or the one
	// with which this side ended the connection, whether or not it reached the
	// peer. StatusAbnormalClosure: there was none. 0: the connection is not
	// over.
	Code StatusCode

	// Reason is the reason of that close frame.
	Reason string

	// Err is why, as [Conn.Read] returns it. It matches [net.ErrClosed] if this
	// side closed the connection, and [http.ErrServerClosed] too with
	// EndShutdown. It wraps a [CloseError] with EndByPeer, and a
	// [ProtocolError] with EndProtocolError.
	Err error
}

// String returns the cause and the code, such as "peer 1001 StatusGoingAway",
// and the reason if there is one.
func (e End) String() string {
	switch {
	case e.Cause == EndNone:
		return e.Cause.String()
	case e.Reason != "":
		return fmt.Sprintf("%v %d %v: %q", e.Cause, int(e.Code), e.Code, e.Reason)
	}
	return fmt.Sprintf("%v %d %v", e.Cause, int(e.Code), e.Code)
}

// An EndCause is what ended a connection. Its texts do not change: they can be
// labels of a metric.
type EndCause uint8

const (
	EndNone          EndCause = iota // "": the connection is not over
	EndByPeer                        // "peer": the peer began the closing handshake
	EndByClose                       // "close": this side did, by Close, or because its handler returned
	EndByCloseNow                    // "close_now": this side ended it without a closing handshake
	EndByShutdown                    // "shutdown": Server.Shutdown or Server.Close
	EndProtocolError                 // "protocol_error": the peer broke the protocol, or a limit of this side; see ProtocolError
	EndHeartbeat                     // "heartbeat": the heartbeat gave up the peer; see ErrPongTimeout
	EndTransport                     // "transport": the transport ended or failed without a close frame
	EndInterrupted                   // "interrupted": a context or deadline cut a message that had begun to go out, or a call that nothing else ends
)

var endCauseNames = [...]string{
	EndNone:          "",
	EndByPeer:        "peer",
	EndByClose:       "close",
	EndByCloseNow:    "close_now",
	EndByShutdown:    "shutdown",
	EndProtocolError: "protocol_error",
	EndHeartbeat:     "heartbeat",
	EndTransport:     "transport",
	EndInterrupted:   "interrupted",
}

// String returns the text of c, such as "peer".
func (c EndCause) String() string {
	if int(c) < len(endCauseNames) {
		return endCauseNames[c]
	}
	return fmt.Sprintf("EndCause(%d)", uint8(c))
}

// MarshalText returns the text of c, so that JSON has it.
func (c EndCause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// By returns what began the end: "peer", "local" for this side, or "transport".
// It returns "" for EndNone.
func (c EndCause) By() string {
	switch c {
	case EndNone:
		return ""
	case EndByPeer:
		return "peer"
	case EndTransport:
		return "transport"
	}
	return "local"
}

// End returns how the connection ended. It is right from the moment that the
// connection is over, which is when writes begin to fail, and does not change
// after that. Until then it returns the zero End.
//
// A write that finds the transport lost fails earlier. Reads still return what
// the peer sent before, for CloseTimeout at most. It may be a close frame that
// says why. If it sent no close frame, the end is EndTransport, even if this
// side then closes.
func (c *Conn) End() End {
	e := endOf(c.life.reason())
	if c.door != nil && (e.Cause == EndByCloseNow || e.Cause == EndTransport) {
		if frame := c.life.frame(); frame != nil {
			first := endOf(frame)
			e.Cause, e.Code, e.Reason = first.Cause, first.Code, first.Reason
		}
	}
	return e
}

// endOf returns the End that err, the reason why a connection is over, tells
// of.
func endOf(err error) End {
	if err == nil {
		return End{}
	}
	e := End{Cause: EndTransport, Code: StatusAbnormalClosure, Err: err}
	if _, ofTransport := err.(*opError); ofTransport {
		return e // the transport may be a WebSocket connection itself, with an end of its own
	}
	var local *localEnd
	var peer CloseError
	var broke ProtocolError
	switch {
	case errors.As(err, &local):
		e.Cause, e.Code, e.Reason = local.cause, local.code, local.reason
	case errors.As(err, &peer):
		e.Cause, e.Code, e.Reason = EndByPeer, peer.Code, peer.Reason
	case errors.As(err, &broke):
		e.Cause, e.Code, e.Reason = EndProtocolError, broke.Code, broke.Reason
	}
	return e
}

// A localEnd is why a connection is over that this side ended, as reads and
// writes return it.
type localEnd struct {
	cause  EndCause
	code   StatusCode
	reason string
	text   string
	err    error // what it matches too; or nil
}

func (e *localEnd) Error() string { return e.text }

func (e *localEnd) Unwrap() error { return e.err }

// payload returns the payload of the close frame that e has.
func (e *localEnd) payload() []byte {
	p, _ := appendClosePayload(nil, e.code, e.reason)
	return p
}

// The ends by this side that need no memory of their own.
var (
	closedNormally = &localEnd{EndByClose, StatusNormalClosure, "", errClosed.Error(), net.ErrClosed}
	closedForPanic = &localEnd{EndByClose, StatusInternalError, "", "websocket: the connection is closed: a function of the application has panicked", net.ErrClosed}
	closedNow      = &localEnd{EndByCloseNow, StatusAbnormalClosure, "", errClosed.Error(), net.ErrClosed}
	serverClosed   = shutDown(StatusAbnormalClosure, "")

	errDeadPeer      = deadPeer("no pong in time", ErrPongTimeout.Error())
	errTakesNothing  = deadPeer("nothing is taken", "the peer takes nothing of what is sent to it")
	errMessageLost   = &localEnd{EndByClose, StatusInternalError, "", "a message is lost in part: a callback has panicked inside it", net.ErrClosed}
	errWritePanicked = interruptedEnd("websocket: the connection is over: the transport, or the context of a write, panicked: " + net.ErrClosed.Error())
)

// closedWith returns the end by a Close of this side.
func closedWith(code StatusCode, reason string) *localEnd {
	if code == StatusNormalClosure && reason == "" {
		return closedNormally
	}
	return &localEnd{EndByClose, code, reason, errClosed.Error(), net.ErrClosed}
}

// errServerDown is what an end by Shutdown or Close of a Server matches.
var errServerDown = errors.Join(net.ErrClosed, http.ErrServerClosed)

// shutDown returns the end by Shutdown or Close of a Server.
func shutDown(code StatusCode, reason string) *localEnd {
	return &localEnd{EndByShutdown, code, reason, "websocket: the connection is closed: the server is shut down", errServerDown}
}

// deadPeer returns the end of a connection whose peer the heartbeat has given
// up.
func deadPeer(reason, text string) *localEnd {
	return &localEnd{EndHeartbeat, StatusInternalError, reason, "websocket: the connection is over: " + text, ErrPongTimeout}
}

// interruptedEnd returns the end of a connection that something cut short which
// cannot go on.
func interruptedEnd(text string) *localEnd {
	return &localEnd{EndInterrupted, StatusAbnormalClosure, "", text, net.ErrClosed}
}
