package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// A StatusCode is the code of a close frame. It says why an endpoint closed the
// connection (RFC 6455, section 7.4, and the IANA registry of WebSocket close
// codes).
//
// Applications may also use 3000 to 3999 (registered with IANA) and 4000 to
// 4999 (private).
type StatusCode int

const (
	StatusNormalClosure   StatusCode = 1000 // the purpose of the connection is fulfilled
	StatusGoingAway       StatusCode = 1001 // a server goes down, a browser leaves the page
	StatusProtocolError   StatusCode = 1002 // the peer broke the protocol
	StatusUnsupportedData StatusCode = 1003 // a type of message that the endpoint cannot accept

	// StatusNoStatusRcvd stands for a close frame without a code. It is never
	// on the wire; given to [Conn.Close] it sends a close frame without a code.
	StatusNoStatusRcvd StatusCode = 1005

	// StatusAbnormalClosure stands for a connection that ended without a close
	// frame. It is never on the wire.
	StatusAbnormalClosure StatusCode = 1006

	StatusInvalidFramePayloadData StatusCode = 1007 // for example text that is not UTF-8
	StatusPolicyViolation         StatusCode = 1008 // a message breaks a rule of the endpoint that has no code of its own
	StatusMessageTooBig           StatusCode = 1009 // past the read limit
	StatusMandatoryExtension      StatusCode = 1010 // a client that needs an extension the server did not accept
	StatusInternalError           StatusCode = 1011 // the endpoint failed
	StatusServiceRestart          StatusCode = 1012 // the service restarts: connect again, after a random wait
	StatusTryAgainLater           StatusCode = 1013 // the service is overloaded
	StatusBadGateway              StatusCode = 1014 // a gateway got an invalid response from its server

	// StatusTLSHandshake stands for a failed TLS handshake. It is never on the
	// wire.
	StatusTLSHandshake StatusCode = 1015
)

// String returns the code's name, such as "StatusNormalClosure", or
// StatusCode(n) for one without a name.
func (c StatusCode) String() string {
	if name, ok := statusNames[c]; ok {
		return name
	}
	return "StatusCode(" + strconv.Itoa(int(c)) + ")"
}

var statusNames = map[StatusCode]string{
	StatusNormalClosure:           "StatusNormalClosure",
	StatusGoingAway:               "StatusGoingAway",
	StatusProtocolError:           "StatusProtocolError",
	StatusUnsupportedData:         "StatusUnsupportedData",
	StatusNoStatusRcvd:            "StatusNoStatusRcvd",
	StatusAbnormalClosure:         "StatusAbnormalClosure",
	StatusInvalidFramePayloadData: "StatusInvalidFramePayloadData",
	StatusPolicyViolation:         "StatusPolicyViolation",
	StatusMessageTooBig:           "StatusMessageTooBig",
	StatusMandatoryExtension:      "StatusMandatoryExtension",
	StatusInternalError:           "StatusInternalError",
	StatusServiceRestart:          "StatusServiceRestart",
	StatusTryAgainLater:           "StatusTryAgainLater",
	StatusBadGateway:              "StatusBadGateway",
	StatusTLSHandshake:            "StatusTLSHandshake",
}

// validOnWire reports whether c may be in a close frame (section 7.4).
func (c StatusCode) validOnWire() bool {
	switch {
	case c >= 1000 && c <= 1003, c >= 1007 && c <= 1014, c >= 3000 && c <= 4999:
		return true
	}
	return false
}

// maxCloseReason is the longest reason of a close frame, in bytes: a control
// frame's payload less the code.
const maxCloseReason = maxControlPayload - 2

// A close payload is empty, or a code in two bytes and a reason in UTF-8
// (section 5.5.1). One without a code parses as StatusNoStatusRcvd.
func parseClosePayload(p []byte) (code StatusCode, reason string, err error) {
	switch {
	case len(p) == 0:
		return StatusNoStatusRcvd, "", nil
	case len(p) == 1:
		return 0, "", errClosePayloadShort
	}
	code = StatusCode(binary.BigEndian.Uint16(p))
	if !code.validOnWire() {
		return 0, "", ProtocolError{StatusProtocolError, fmt.Sprintf("close frame with the invalid code %d", int(code))}
	}
	if !utf8.Valid(p[2:]) {
		return 0, "", ProtocolError{StatusInvalidFramePayloadData, fmt.Sprintf("%v, in a close frame with code %d", errCloseReasonUTF8, int(code))}
	}
	return code, string(p[2:]), nil
}

// tooLongClose is errControlTooLong for a close frame. It names the code if
// that is there: p is what has come of the payload.
func tooLongClose(h header, p []byte) error {
	if len(p) < 2 {
		return errControlTooLong
	}
	b := [2]byte{p[0], p[1]}
	if h.masked {
		mask(b[:], h.key)
	}
	code := StatusCode(binary.BigEndian.Uint16(b[:]))
	text := fmt.Sprintf("close frame of %d bytes with code %d: the most is %d", h.length, int(code), maxControlPayload)
	return ProtocolError{StatusProtocolError, text}
}

// appendClosePayload appends the payload of a close frame to dst. It refuses
// what may not stand on the wire; StatusNoStatusRcvd without a reason is the
// empty payload.
func appendClosePayload(dst []byte, code StatusCode, reason string) ([]byte, error) {
	switch {
	case code == StatusNoStatusRcvd && reason == "":
		return dst, nil
	case !code.validOnWire():
		return dst, fmt.Errorf("close code %d cannot be sent", int(code))
	case len(reason) > maxCloseReason:
		return dst, fmt.Errorf("close reason of %d bytes: the most is %d", len(reason), maxCloseReason)
	case !utf8.ValidString(reason):
		return dst, errors.New("close reason is not UTF-8")
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...), nil
}
