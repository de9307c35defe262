package websocket_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket/gorilla"
)

// The API of github.com/gorilla/websocket 1.5.3, as that package declares it:
// every exported name. This file does not compile if one of them, a signature,
// a field or a constant drifts away.

var (
	_ func(int, string) []byte                                                                               = websocket.FormatCloseMessage
	_ func(error, ...int) bool                                                                               = websocket.IsCloseError
	_ func(error, ...int) bool                                                                               = websocket.IsUnexpectedCloseError
	_ func(*http.Request) bool                                                                               = websocket.IsWebSocketUpgrade
	_ func(*websocket.Conn, string) io.Reader                                                                = websocket.JoinMessages
	_ func(*websocket.Conn, interface{}) error                                                               = websocket.ReadJSON
	_ func(*websocket.Conn, interface{}) error                                                               = websocket.WriteJSON
	_ func(*http.Request) []string                                                                           = websocket.Subprotocols
	_ func(net.Conn, *url.URL, http.Header, int, int) (*websocket.Conn, *http.Response, error)               = websocket.NewClient
	_ func(http.ResponseWriter, *http.Request, http.Header, int, int) (*websocket.Conn, error)               = websocket.Upgrade
	_ func(int, []byte) (*websocket.PreparedMessage, error)                                                  = websocket.NewPreparedMessage
	_ func(*websocket.Dialer, string, http.Header) (*websocket.Conn, *http.Response, error)                  = (*websocket.Dialer).Dial
	_ func(*websocket.Dialer, context.Context, string, http.Header) (*websocket.Conn, *http.Response, error) = (*websocket.Dialer).DialContext
	_ func(*websocket.Upgrader, http.ResponseWriter, *http.Request, http.Header) (*websocket.Conn, error)    = (*websocket.Upgrader).Upgrade
	_ func(*websocket.CloseError) string                                                                     = (*websocket.CloseError).Error
	_ func(websocket.HandshakeError) string                                                                  = websocket.HandshakeError.Error
	_ error                                                                                                  = websocket.HandshakeError{}
	_ error                                                                                                  = &websocket.CloseError{Code: 1000, Text: ""}
	_ *websocket.Dialer                                                                                      = websocket.DefaultDialer
	_ error                                                                                                  = websocket.ErrBadHandshake
	_ error                                                                                                  = websocket.ErrCloseSent
	_ error                                                                                                  = websocket.ErrReadLimit
	_ websocket.BufferPool                                                                                   = (*sync.Pool)(nil)
	_ func(*websocket.Conn) error                                                                            = (*websocket.Conn).Close
	_ func(*websocket.Conn) func(int, string) error                                                          = (*websocket.Conn).CloseHandler
	_ func(*websocket.Conn, bool)                                                                            = (*websocket.Conn).EnableWriteCompression
	_ func(*websocket.Conn) net.Addr                                                                         = (*websocket.Conn).LocalAddr
	_ func(*websocket.Conn) net.Conn                                                                         = (*websocket.Conn).NetConn
	_ func(*websocket.Conn) (int, io.Reader, error)                                                          = (*websocket.Conn).NextReader
	_ func(*websocket.Conn, int) (io.WriteCloser, error)                                                     = (*websocket.Conn).NextWriter
	_ func(*websocket.Conn) func(string) error                                                               = (*websocket.Conn).PingHandler
	_ func(*websocket.Conn) func(string) error                                                               = (*websocket.Conn).PongHandler
	_ func(*websocket.Conn, interface{}) error                                                               = (*websocket.Conn).ReadJSON
	_ func(*websocket.Conn) (int, []byte, error)                                                             = (*websocket.Conn).ReadMessage
	_ func(*websocket.Conn) net.Addr                                                                         = (*websocket.Conn).RemoteAddr
	_ func(*websocket.Conn, func(int, string) error)                                                         = (*websocket.Conn).SetCloseHandler
	_ func(*websocket.Conn, int) error                                                                       = (*websocket.Conn).SetCompressionLevel
	_ func(*websocket.Conn, func(string) error)                                                              = (*websocket.Conn).SetPingHandler
	_ func(*websocket.Conn, func(string) error)                                                              = (*websocket.Conn).SetPongHandler
	_ func(*websocket.Conn, time.Time) error                                                                 = (*websocket.Conn).SetReadDeadline
	_ func(*websocket.Conn, int64)                                                                           = (*websocket.Conn).SetReadLimit
	_ func(*websocket.Conn, time.Time) error                                                                 = (*websocket.Conn).SetWriteDeadline
	_ func(*websocket.Conn) string                                                                           = (*websocket.Conn).Subprotocol
	_ func(*websocket.Conn) net.Conn                                                                         = (*websocket.Conn).UnderlyingConn
	_ func(*websocket.Conn, int, []byte, time.Time) error                                                    = (*websocket.Conn).WriteControl
	_ func(*websocket.Conn, interface{}) error                                                               = (*websocket.Conn).WriteJSON
	_ func(*websocket.Conn, int, []byte) error                                                               = (*websocket.Conn).WriteMessage
	_ func(*websocket.Conn, *websocket.PreparedMessage) error                                                = (*websocket.Conn).WritePreparedMessage
)

var _ = websocket.Dialer{
	NetDial:           func(network, addr string) (net.Conn, error) { return nil, nil },
	NetDialContext:    func(ctx context.Context, network, addr string) (net.Conn, error) { return nil, nil },
	NetDialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) { return nil, nil },
	Proxy:             func(*http.Request) (*url.URL, error) { return nil, nil },
	TLSClientConfig:   &tls.Config{},
	HandshakeTimeout:  time.Duration(0),
	ReadBufferSize:    int(0),
	WriteBufferSize:   int(0),
	WriteBufferPool:   websocket.BufferPool(nil),
	Subprotocols:      []string(nil),
	EnableCompression: false,
	Jar:               http.CookieJar(nil),
}

var _ = websocket.Upgrader{
	HandshakeTimeout:  time.Duration(0),
	ReadBufferSize:    int(0),
	WriteBufferSize:   int(0),
	WriteBufferPool:   websocket.BufferPool(nil),
	Subprotocols:      []string(nil),
	Error:             func(w http.ResponseWriter, r *http.Request, status int, reason error) {},
	CheckOrigin:       func(r *http.Request) bool { return true },
	EnableCompression: false,
}

// The constants, with their values: an array type of another length is another
// type. They are untyped: they are lengths, and bytes below.
var (
	_ [1]byte    = [websocket.TextMessage]byte{}
	_ [2]byte    = [websocket.BinaryMessage]byte{}
	_ [8]byte    = [websocket.CloseMessage]byte{}
	_ [9]byte    = [websocket.PingMessage]byte{}
	_ [10]byte   = [websocket.PongMessage]byte{}
	_ [1000]byte = [websocket.CloseNormalClosure]byte{}
	_ [1001]byte = [websocket.CloseGoingAway]byte{}
	_ [1002]byte = [websocket.CloseProtocolError]byte{}
	_ [1003]byte = [websocket.CloseUnsupportedData]byte{}
	_ [1005]byte = [websocket.CloseNoStatusReceived]byte{}
	_ [1006]byte = [websocket.CloseAbnormalClosure]byte{}
	_ [1007]byte = [websocket.CloseInvalidFramePayloadData]byte{}
	_ [1008]byte = [websocket.ClosePolicyViolation]byte{}
	_ [1009]byte = [websocket.CloseMessageTooBig]byte{}
	_ [1010]byte = [websocket.CloseMandatoryExtension]byte{}
	_ [1011]byte = [websocket.CloseInternalServerErr]byte{}
	_ [1012]byte = [websocket.CloseServiceRestart]byte{}
	_ [1013]byte = [websocket.CloseTryAgainLater]byte{}
	_ [1015]byte = [websocket.CloseTLSHandshake]byte{}
	_ byte       = websocket.PongMessage
	_ uint16     = websocket.CloseTLSHandshake
)
