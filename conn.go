package websocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/seed70bc5565/websocket/internal/bridge"
)

// MessageType is the type of a message (RFC 6455, section 5.6).
type MessageType int

const (
	// MessageText is a message of UTF-8 text, such as JSON.
	MessageText MessageType = 1
	// MessageBinary is a message of arbitrary bytes.
	MessageBinary MessageType = 2
)

// String returns "MessageText" or "MessageBinary", or MessageType(n) for a type that does not exist.
func (t MessageType) String() string {
	switch t {
	case MessageText:
		return "MessageText"
	case MessageBinary:
		return "MessageBinary"
	}
	return "MessageType(" + strconv.Itoa(int(t)) + ")"
}

// opcode returns the opcode of t's messages.
func (t MessageType) opcode() (opcode, error) {
	switch t {
	case MessageText:
		return opText, nil
	case MessageBinary:
		return opBinary, nil
	}
	return 0, fmt.Errorf("websocket: no such message type: %d", int(t))
}

// connConfig is what a finished opening handshake hands to newConn. Zero values mean the documented defaults,
// negative ones no limit.
type connConfig struct {
	// transport is owned by the Conn from here on. All its deadlines are clear.
	transport net.Conn
	client    bool
	// received holds the bytes that came in behind the handshake; newConn copies them.
	received    []byte
	subprotocol string

	deflate          *deflateParams // nil: no compression was agreed on
	deflateThreshold int

	readLimit        int64
	writeBufferLimit int
	closeTimeout     time.Duration
	pingInterval     time.Duration
	pongTimeout      time.Duration
	skipUTF8         bool
	onPing           func(ctx context.Context, payload []byte) bool
	onPong           func(ctx context.Context, payload []byte)
}

// A Conn is a WebSocket connection, as [Accept], [Handler] and [Dial] make it.
//
// All methods may be called concurrently. Any number of goroutines may write; readers take turns.
// Control frames (pings, pongs, the close frame) are handled by whoever reads: keep reading, or call [Conn.CloseRead].
//
// No goroutine runs for a Conn that nobody calls, but for the moment in which a ping is due. Its timer keeps it in
// memory until it has ended: close it, or read until it is over. The first permanent error of a direction sticks:
// each later call returns it.
type Conn struct {
	// What a write looks at comes first and lies together: in a broadcast each line of the cache is missed for each
	// connection.
	deflate  *deflater   // immutable; nil if no compression was agreed on
	client   bool        // immutable
	skipUTF8 bool        // immutable
	away     atomic.Bool // the reader is in a callback. Written by it
	t        transport
	w        sender

	r     receiver
	life  lifetime
	pings atomic.Pointer[pingList] // made by the first Ping
	beat  heartbeat

	closeTimeout time.Duration // immutable
	*connExtras                // immutable once a goroutine reads; never nil
}

// connExtras is what most connections do without.
type connExtras struct {
	subprotocol string
	onPing      func(ctx context.Context, payload []byte) bool
	onPong      func(ctx context.Context, payload []byte)
	door        bridge.Handler // of package gorilla, or nil
}

// noExtras is the connExtras of connections without any.
var noExtras connExtras

// newConn starts a connection after its opening handshake.
func newConn(cfg connConfig) *Conn { return cfg.start() }

func (cfg *connConfig) start() *Conn {
	c := &Conn{
		client:       cfg.client,
		skipUTF8:     cfg.skipUTF8,
		closeTimeout: orDefault(cfg.closeTimeout, defaultCloseTimeout),
		connExtras:   &noExtras,
	}
	if cfg.subprotocol != "" || cfg.onPing != nil || cfg.onPong != nil {
		c.connExtras = &connExtras{subprotocol: cfg.subprotocol, onPing: cfg.onPing, onPong: cfg.onPong}
	}
	c.t.init(asStream(cfg.transport), &c.life)
	c.life.c = c
	c.t.raw = newRawSocket(c)
	c.r.init(&c.t, cfg)
	c.w.init(c, cfg)
	if cfg.deflate != nil {
		c.initDeflate(*cfg.deflate, cfg.deflateThreshold)
	}
	c.startHeartbeat(cfg)
	return c
}

// Subprotocol returns the subprotocol that the opening handshake agreed on, or "" (RFC 6455, section 1.9).
func (c *Conn) Subprotocol() string { return c.subprotocol }

// LocalAddr returns the transport's local address.
func (c *Conn) LocalAddr() net.Addr { return c.t.conn.LocalAddr() }

// RemoteAddr returns the transport's remote address: that of a proxy, if there is one between.
func (c *Conn) RemoteAddr() net.Addr { return c.t.conn.RemoteAddr() }

// SetReadLimit sets the most bytes that a message may have, from the next frame on, or at once inside a compressed
// message. A longer one ends the connection with StatusMessageTooBig, before its payload is read, and the read fails
// with [ErrMessageTooBig]. The default is 1 MiB; negative: no limit.
func (c *Conn) SetReadLimit(n int64) { c.r.limit.Store(n) }

// SetDeadline sets the read and the write deadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets when reads fail with an error that matches [os.ErrDeadlineExceeded], those in progress too.
// Nothing is lost by it: with a later deadline the next read goes on. The zero time means never. A deadline costs
// less than a context of its own for each call.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return apiError("set read deadline", c.t.in.setDeadline(&c.t, t))
}

// SetWriteDeadline sets when writes fail with an error that matches [os.ErrDeadlineExceeded], those in progress too.
// One that is cut inside a frame ends the connection. Pongs, the closing handshake, and messages whose Write has
// returned are not subject to it. The zero time means never.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	err := c.t.out.setDeadline(&c.t, t)
	c.w.mu.Lock()
	c.w.news = true // writers that wait look at the deadline again
	c.w.unlock()
	return apiError("set write deadline", err)
}

// interrupted is lifetime.interrupted.
func (c *Conn) interrupted(op string, ctx context.Context, err error) error {
	return c.life.interrupted(op, ctx, err)
}
