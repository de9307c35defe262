package websocket

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"strconv"
	"time"
)

// MessageType is the type of a message (RFC 6455, section 5.6).
type MessageType int

const (
	// MessageText is a message of UTF-8 text.
	MessageText MessageType = 1
	// MessageBinary is a message of arbitrary bytes.
	MessageBinary MessageType = 2
)

func (t MessageType) String() string {
	switch t {
	case MessageText:
		return "MessageText"
	case MessageBinary:
		return "MessageBinary"
	}
	return "MessageType(" + strconv.Itoa(int(t)) + ")"
}

// Message is a message that [Conn.Messages] lends.
type Message struct {
	Type MessageType
	Data []byte
}

// connConfig is what a finished opening handshake hands to newConn. Zero values mean the documented defaults.
type connConfig struct {
	// transport is owned by the Conn from here on. All its deadlines are clear.
	transport net.Conn
	client    bool
	// received holds the bytes that came in behind the handshake; newConn copies them.
	received    []byte
	subprotocol string

	readLimit        int64
	writeBufferLimit int
	closeTimeout     time.Duration
	skipUTF8         bool
	onPing           func(ctx context.Context, payload []byte) bool
	onPong           func(ctx context.Context, payload []byte)
}

// A Conn is a WebSocket connection.
type Conn struct {
	cfg connConfig
}

func newConn(cfg connConfig) *Conn { return &Conn{cfg: cfg} }

var errTODO = errors.New("not implemented")

// onEnd arranges that f runs, once, when the connection has ended (the transport is closed).
// It must be called before the Conn is handed to anybody.
func (c *Conn) onEnd(f func()) {}

func (c *Conn) Read(ctx context.Context) (MessageType, []byte, error) { return 0, nil, errTODO }
func (c *Conn) ReadInto(ctx context.Context, buf []byte) (MessageType, []byte, error) {
	return 0, nil, errTODO
}
func (c *Conn) Reader(ctx context.Context) (MessageType, io.Reader, error) { return 0, nil, errTODO }
func (c *Conn) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) { yield(Message{}, errTODO) }
}
func (c *Conn) Write(ctx context.Context, typ MessageType, p []byte) error { return errTODO }
func (c *Conn) Writer(ctx context.Context, typ MessageType) (io.WriteCloser, error) {
	return nil, errTODO
}
func (c *Conn) WritePrepared(ctx context.Context, m *PreparedMessage) error { return errTODO }
func (c *Conn) Ping(ctx context.Context) error                             { return errTODO }
func (c *Conn) Close(code StatusCode, reason string) error                 { return errTODO }
func (c *Conn) CloseNow() error                                            { return errTODO }
func (c *Conn) CloseRead(ctx context.Context) context.Context              { return ctx }
func (c *Conn) SetReadLimit(n int64)                                       {}
func (c *Conn) Subprotocol() string                                        { return c.cfg.subprotocol }
func (c *Conn) LocalAddr() net.Addr                                        { return c.cfg.transport.LocalAddr() }
func (c *Conn) RemoteAddr() net.Addr                                       { return c.cfg.transport.RemoteAddr() }
func (c *Conn) SetDeadline(t time.Time) error                              { return errTODO }
func (c *Conn) SetReadDeadline(t time.Time) error                          { return errTODO }
func (c *Conn) SetWriteDeadline(t time.Time) error                         { return errTODO }

// NetConn returns c as a net.Conn.
func NetConn(ctx context.Context, c *Conn, typ MessageType) net.Conn { return nil }

// A PreparedMessage is a message encoded once, to be sent to many connections.
type PreparedMessage struct{}

// NewPreparedMessage encodes a message.
func NewPreparedMessage(typ MessageType, data []byte) (*PreparedMessage, error) {
	return nil, errTODO
}
