package websocket

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
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

// String returns "MessageText" or "MessageBinary", or MessageType(n) for a type
// that does not exist.
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
	return 0, t.unknown()
}

// unknown is not inlined, to keep the frames of its callers small.
//
//go:noinline
func (t MessageType) unknown() error {
	return fmt.Errorf("websocket: no such message type: %d", int(t))
}

// connConfig is what a finished opening handshake hands to newConn. Zero values
// mean the documented defaults, negative ones no limit.
type connConfig struct {
	// transport is owned by the Conn from here on. All its deadlines are clear.
	transport net.Conn
	client    bool
	// received holds the bytes that came in behind the handshake; newConn
	// copies them.
	received    []byte
	subprotocol string
	proto       string               // of HTTP; "": HTTP/1.1
	tls         *tls.ConnectionState // below transport, where that does not tell; or nil

	deflate          *deflateParams // nil: no compression was agreed on
	deflateBelow     *deflateParams // what transport does by itself, in a browser; or nil
	deflateThreshold int

	readLimit        int64
	writeBufferLimit int
	closeTimeout     time.Duration
	pingInterval     time.Duration
	pongTimeout      time.Duration
	skipUTF8         bool
	onPing           func(ctx context.Context, payload []byte) bool
	onPong           func(ctx context.Context, payload []byte)
	trace            *tracing // or nil

	// plain is the agreement of an earlier connConfig with the same options
	// that agreed on nothing; nil: start makes it.
	plain *agreement
}

// settings is what the application has chosen for a connection. It is
// immutable, and the connections of a Server share it.
type settings struct {
	skipUTF8     bool
	closeTimeout time.Duration // negative: no limit
	pingInterval time.Duration // negative: there is no heartbeat
	pongTimeout  time.Duration // negative: no peer is given up
	onPing       func(ctx context.Context, payload []byte) bool
	onPong       func(ctx context.Context, payload []byte)
	door         bridge.Handler // of package gorilla, or nil
	wheel        *wheel         // has looks made, in place of a timer of the connection; or nil
}

// quarter is the longest time between two looks.
func (s *settings) quarter() time.Duration {
	q := (s.pingInterval + 3) / 4
	if s.wheel != nil {
		q = min(q, s.wheel.longest())
	}
	return q
}

// defaultAgreement is what makePlain returns for the default options.
var (
	defaultAgreement = agreement{settings: &defaultSettings, proto: protoHTTP1}
	defaultSettings  = settings{closeTimeout: defaultCloseTimeout, pingInterval: defaultPingInterval, pongTimeout: defaultPongTimeout}
)

// makePlain returns the agreement of cfg if the handshake agreed on nothing.
func (cfg *connConfig) makePlain() *agreement {
	if !cfg.skipUTF8 && cfg.closeTimeout|cfg.pingInterval|cfg.pongTimeout == 0 && cfg.onPing == nil && cfg.onPong == nil {
		return &defaultAgreement
	}
	both := new(struct { // one object
		agreement
		settings
	})
	both.settings = settings{
		skipUTF8:     cfg.skipUTF8,
		closeTimeout: orDefault(cfg.closeTimeout, defaultCloseTimeout),
		pingInterval: min(orDefault(cfg.pingInterval, defaultPingInterval), longestBeat),
		pongTimeout:  min(orDefault(cfg.pongTimeout, defaultPongTimeout), longestBeat),
		onPing:       cfg.onPing,
		onPong:       cfg.onPong,
	}
	both.agreement = agreement{settings: &both.settings, proto: protoHTTP1}
	return &both.agreement
}

// A Conn is a WebSocket connection. [Accept], [Handler], [Dial] and others make
// it.
//
// All methods may be called concurrently. Any number of goroutines may write;
// readers take turns. The reading goroutine handles control frames (pings,
// pongs, the close frame). So keep reading, or call [Conn.CloseRead].
//
// No goroutine runs for a Conn whose methods are not called, except for the
// moment in which a ping is due. Its timer keeps it in memory until it has
// ended: close it, or read until it is over. The first permanent error of a
// direction sticks: each later call returns it.
type Conn struct {
	// A Conn is one object of at most 512 bytes. A larger one takes the next
	// size of the allocator, for each idle connection. So what is shared, or
	// what few connections need, stands behind a pointer.
	//
	// The fields that a write looks at come first, next to each other. In a
	// broadcast each line of the cache is missed for each connection.
	t transport
	w sender

	r    receiver
	life lifetime
	beat heartbeat

	began    int64 // immutable: see sinceEpoch
	controls controlCounts

	*agreement // immutable once a goroutine reads
}

// agreement is what the opening handshake has agreed on, and what the
// application has chosen. It is immutable. The connections of a Server whose
// handshake has agreed on nothing share it.
type agreement struct {
	*settings
	subprotocol string
	proto       string
	tls         *tls.ConnectionState // where the transport does not tell; or nil
	compression *deflateParams       // nil: none
	deflate     *deflater            // compresses what the connection sends; nil if compression is
	trace       *tracing             // or nil
}

const (
	protoHTTP1 = "HTTP/1.1"
	// protoNone is the proto of a connConfig without an HTTP request.
	protoNone = "none"
)

// httpProto returns cfg.proto as ConnectionState has it.
func (cfg *connConfig) httpProto() string {
	switch cfg.proto {
	case "":
		return protoHTTP1
	case protoNone:
		return ""
	}
	return cfg.proto
}

// newConn starts a connection after its opening handshake.
func newConn(cfg connConfig) *Conn { return cfg.start() }

func (cfg *connConfig) start() *Conn {
	c := &Conn{
		began:     sinceEpoch(),
		agreement: cfg.plain,
	}
	if c.agreement == nil {
		c.agreement = cfg.makePlain()
	}
	if cfg.subprotocol != "" || cfg.proto != "" || cfg.tls != nil || cfg.deflate != nil || cfg.trace != nil {
		c.agreement = &agreement{
			settings:    c.settings,
			subprotocol: cfg.subprotocol,
			proto:       cfg.httpProto(),
			tls:         cfg.tls,
			compression: cmp.Or(cfg.deflate, cfg.deflateBelow),
			trace:       cfg.trace,
		}
	}
	c.t.init(asStream(cfg.transport), c)
	c.t.raw = newRawSocket(c)
	c.r.init(&c.t, cfg)
	c.w.init(&c.t, cfg)
	if cfg.deflate != nil {
		c.initDeflate(*cfg.deflate, cfg.deflateThreshold)
	}
	c.startHeartbeat()
	c.traceAccepted()
	return c
}

// Subprotocol returns the subprotocol that the opening handshake agreed on, or
// "" (RFC 6455, section 1.9).
func (c *Conn) Subprotocol() string { return c.subprotocol }

// A ConnectionState is what the opening handshake has agreed on, and what the
// connection stands on.
type ConnectionState struct {
	// Proto is the version of HTTP that the connection was made with, such as
	// "HTTP/1.1" or "HTTP/2.0", or "" if that is not known: [NewConn] made it,
	// or a browser.
	Proto string

	// Subprotocol is that of [Conn.Subprotocol].
	Subprotocol string

	// Extensions is the Sec-WebSocket-Extensions field that says how messages
	// are compressed, such as "permessage-deflate; server_no_context_takeover",
	// or "" if they are not. [ConnOptions] take it.
	Extensions string

	// TLS is the state of TLS below, or nil if there is none. It must not be
	// changed.
	TLS *tls.ConnectionState
}

// ConnectionState returns what the opening handshake has agreed on.
func (c *Conn) ConnectionState() ConnectionState {
	state := ConnectionState{Proto: c.proto, Subprotocol: c.subprotocol, TLS: c.tls}
	if c.compression != nil {
		state.Extensions = c.compression.field()
	}
	if below := tlsState(c.t.conn); below != nil {
		state.TLS = below
	}
	return state
}

// LocalAddr returns the transport's local address.
func (c *Conn) LocalAddr() net.Addr { return c.t.conn.LocalAddr() }

// RemoteAddr returns the transport's remote address: that of a proxy, if there
// is one between.
func (c *Conn) RemoteAddr() net.Addr { return c.t.conn.RemoteAddr() }

// SetReadLimit sets the most bytes that a message may have, from the next frame
// on, or at once inside a compressed message. A longer one ends the connection
// with StatusMessageTooBig, before its payload is read, and the read fails with
// [ErrMessageTooBig]. The default is 1 MiB; negative: no limit.
func (c *Conn) SetReadLimit(n int64) { c.r.limit.Store(n) }

// SetDeadline sets the read and the write deadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets when reads fail with an error that matches
// [os.ErrDeadlineExceeded], those in progress too. Nothing is lost by it: with
// a later deadline the next read goes on. The zero time means never. A deadline
// costs less than a context of its own for each call.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return apiError("set read deadline", c.t.in.setDeadline(&c.t, t))
}

// SetWriteDeadline sets when writes fail with an error that matches
// [os.ErrDeadlineExceeded], those in progress too. One that is cut inside a
// frame ends the connection. Pongs, the closing handshake, and messages whose
// Write has returned are not subject to it. The zero time means never.
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

// A connContext is the context of a request that has become a connection. It
// has the values of the request's context, and ends with the connection. The
// first call of Done makes what that takes. Most connections do without.
type connContext struct {
	values context.Context // may lack the value of http.LocalAddrContextKey
	c      *Conn
	ctx    atomic.Pointer[context.Context] // made by made
}

func (x *connContext) made() context.Context {
	if x.ctx.Load() == nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(x.values))
		if x.ctx.CompareAndSwap(nil, &ctx) {
			x.c.onEnd(cancel)
		} else {
			cancel() // another goroutine was faster
		}
	}
	return *x.ctx.Load()
}

func (x *connContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (x *connContext) Done() <-chan struct{}       { return x.made().Done() }

// Value makes nothing. Package context asks for the context that ends with
// Done, but only after it has called Done.
func (x *connContext) Value(key any) any {
	var v any
	if ctx := x.ctx.Load(); ctx != nil {
		v = (*ctx).Value(key)
	} else {
		v = context.WithoutCancel(x.values).Value(key) // without what cancels them
	}
	if v == nil && key == http.LocalAddrContextKey {
		return x.c.LocalAddr()
	}
	return v
}

// Err makes nothing while the connection lives: each call of the Conn asks.
func (x *connContext) Err() error {
	if x.ctx.Load() == nil && !x.c.life.at().isClosed() {
		return nil
	}
	return x.made().Err()
}

// isContextOf reports whether ctx is the context of the connection over t. It
// ends after the transport is closed, so it need not interrupt calls of that.
func isContextOf(t *transport, ctx context.Context) bool {
	x, ok := ctx.(*connContext)
	return ok && &x.c.t == t
}
