package apitest

import (
	"context"
	"io"
	"net"
	"net/http"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/wsjson"
)

// The API of github.com/coder/websocket v1.8, as that package declares it. A
// program written for it must build with this package. This file does not
// compile if a name, a type, a field or a constant drifts away. (That such
// programs also behave the same is tested in benchmarks/compat, against that
// package itself.)

var (
	_ error = websocket.ErrMessageTooBig

	_ func(context.Context, string, *websocket.DialOptions) (*websocket.Conn, *http.Response, error) = websocket.Dial
	_ func(http.ResponseWriter, *http.Request, *websocket.AcceptOptions) (*websocket.Conn, error)    = websocket.Accept
	_ func(context.Context, *websocket.Conn, websocket.MessageType) net.Conn                         = websocket.NetConn
	_ func(error) websocket.StatusCode                                                               = websocket.CloseStatus
	_ func(*websocket.Conn, websocket.StatusCode, string) error                                      = (*websocket.Conn).Close
	_ func(*websocket.Conn) error                                                                    = (*websocket.Conn).CloseNow
	_ func(*websocket.Conn, context.Context) context.Context                                         = (*websocket.Conn).CloseRead
	_ func(*websocket.Conn, context.Context) error                                                   = (*websocket.Conn).Ping
	_ func(*websocket.Conn, context.Context) (websocket.MessageType, []byte, error)                  = (*websocket.Conn).Read
	_ func(*websocket.Conn, context.Context) (websocket.MessageType, io.Reader, error)               = (*websocket.Conn).Reader
	_ func(*websocket.Conn, int64)                                                                   = (*websocket.Conn).SetReadLimit
	_ func(*websocket.Conn) string                                                                   = (*websocket.Conn).Subprotocol
	_ func(*websocket.Conn, context.Context, websocket.MessageType, []byte) error                    = (*websocket.Conn).Write
	_ func(*websocket.Conn, context.Context, websocket.MessageType) (io.WriteCloser, error)          = (*websocket.Conn).Writer
	_ func(websocket.CloseError) string                                                              = websocket.CloseError.Error
	_ func(websocket.MessageType) string                                                             = websocket.MessageType.String
	_ func(websocket.StatusCode) string                                                              = websocket.StatusCode.String
	_ func(context.Context, *websocket.Conn, any) error                                              = wsjson.Read
	_ func(context.Context, *websocket.Conn, any) error                                              = wsjson.Write
	_ error                                                                                          = websocket.CloseError{Code: websocket.StatusCode(4000), Reason: ""}

	_ = websocket.AcceptOptions{
		Subprotocols:         []string{},
		InsecureSkipVerify:   bool(false),
		OriginPatterns:       []string{},
		CompressionMode:      websocket.CompressionMode(0),
		CompressionThreshold: int(0),
		OnPingReceived:       func(ctx context.Context, payload []byte) bool { return true },
		OnPongReceived:       func(ctx context.Context, payload []byte) {},
	}
	_ = websocket.DialOptions{
		HTTPClient:           (*http.Client)(nil),
		HTTPHeader:           http.Header{},
		Host:                 string(""),
		Subprotocols:         []string{},
		CompressionMode:      websocket.CompressionMode(0),
		CompressionThreshold: int(0),
		OnPingReceived:       func(ctx context.Context, payload []byte) bool { return true },
		OnPongReceived:       func(ctx context.Context, payload []byte) {},
	}

	// Each constant has its type and its value. A map literal with a key twice
	// does not compile. So neither does this if "constant == value" is false.
	_ = map[bool]struct{}{false: {}, websocket.MessageText == websocket.MessageType(1) && websocket.MessageBinary == websocket.MessageType(2): {}}
	_ = map[bool]struct{}{false: {}, websocket.CompressionDisabled == websocket.CompressionMode(0) &&
		websocket.CompressionContextTakeover == websocket.CompressionMode(1) &&
		websocket.CompressionNoContextTakeover == websocket.CompressionMode(2): {}}
	_ = map[bool]struct{}{false: {}, websocket.StatusNormalClosure == websocket.StatusCode(1000) &&
		websocket.StatusGoingAway == websocket.StatusCode(1001) &&
		websocket.StatusProtocolError == websocket.StatusCode(1002) &&
		websocket.StatusUnsupportedData == websocket.StatusCode(1003) &&
		websocket.StatusNoStatusRcvd == websocket.StatusCode(1005) &&
		websocket.StatusAbnormalClosure == websocket.StatusCode(1006) &&
		websocket.StatusInvalidFramePayloadData == websocket.StatusCode(1007) &&
		websocket.StatusPolicyViolation == websocket.StatusCode(1008) &&
		websocket.StatusMessageTooBig == websocket.StatusCode(1009) &&
		websocket.StatusMandatoryExtension == websocket.StatusCode(1010) &&
		websocket.StatusInternalError == websocket.StatusCode(1011) &&
		websocket.StatusServiceRestart == websocket.StatusCode(1012) &&
		websocket.StatusTryAgainLater == websocket.StatusCode(1013) &&
		websocket.StatusBadGateway == websocket.StatusCode(1014) &&
		websocket.StatusTLSHandshake == websocket.StatusCode(1015): {}}

	// The kinds of the types: conversions between them and int are written in
	// such programs.
	_ = []int{int(websocket.MessageText), int(websocket.StatusNormalClosure), int(websocket.CompressionDisabled)}
)

// Values are compared and copied in such programs, so these types must allow
// it.
var (
	_ = websocket.CloseError{} == websocket.CloseError{}
	_ = func(c *websocket.Conn) net.Conn {
		return websocket.NetConn(context.Background(), c, websocket.MessageBinary)
	}
)
