package websocket

import (
	"compress/flate"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	native "github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/bridge"
)

// Types of messages, as their opcodes (RFC 6455, section 11.8). Reads return
// TextMessage and BinaryMessage. The other three are control frames, which
// handlers receive.
const (
	TextMessage   = 1  // UTF-8
	BinaryMessage = 2  // any bytes
	CloseMessage  = 8  // see [FormatCloseMessage]
	PingMessage   = 9  // at most 125 bytes
	PongMessage   = 10 // at most 125 bytes
)

// noMessage is the type that a read returns with an error.
const noMessage = -1

func isControl(messageType int) bool {
	return messageType == CloseMessage || messageType == PingMessage || messageType == PongMessage
}

func isData(messageType int) bool { return messageType == TextMessage || messageType == BinaryMessage }

// A Conn is a WebSocket connection.
//
// All methods may be called concurrently. Readers take turns. Messages of
// [Conn.WriteMessage] and [Conn.WriteJSON] go out whole, in any order. Only one
// writer of [Conn.NextWriter] is open at a time: the next message, whichever
// goroutine sends it, ends the one before.
//
// A goroutine must read: control frames are handled inside reading calls.
type Conn struct {
	// The fields that a write looks at come first, in one line of the cache. A
	// broadcast misses that line for each connection.
	ws        *native.Conn // immutable
	closeSent atomic.Bool  // a close frame was sent, or is about to be
	open      atomic.Bool  // writer is not nil
	plain     atomic.Bool  // EnableWriteCompression(false)
	stored    atomic.Bool  // SetCompressionLevel(0)
	deflate   bool         // immutable: compression was agreed on

	in       bridge.Conn             // immutable: ws from inside
	failed   atomic.Pointer[failure] // why reads fail; the first one sticks
	cut      atomic.Pointer[failure] // why writes fail, if a deadline has cut one
	proto    string                  // immutable: the subprotocol, where ws does not know it
	bufSize  int                     // immutable: how much a writer gathers before it sends a fragment
	ended    atomic.Bool             // Close was called
	deadline atomic.Int64            // of SetWriteDeadline, in Unix nanoseconds; 0: none

	// The handlers of SetPingHandler and its like; nil: the default.
	ping   atomic.Pointer[func(string) error]
	pong   atomic.Pointer[func(string) error]
	closed atomic.Pointer[func(int, string) error]

	mu     sync.Mutex     // guards writer; held while its message is sent
	writer *messageWriter // of NextWriter, not closed yet
}

type failure struct{ err error }

// defaultBufSize is how much a writer gathers if WriteBufferSize does not say.
const defaultBufSize = 4096

// newConn returns the Conn over ws. No goroutine reads from ws yet.
func newConn(ws *native.Conn, writeBufSize int) *Conn {
	if writeBufSize <= 0 {
		writeBufSize = defaultBufSize
	}
	c := &Conn{ws: ws, in: bridge.Of(ws), bufSize: writeBufSize}
	c.deflate = c.in.Deflates()
	c.in.Handle((*handlers)(c))
	return c
}

// Native returns the connection below c. Its methods and those of c may be used
// side by side: messages that one of them reads are not seen by the other.
//
// The handlers of c stay in charge of control frames. A close frame that
// arrives does not close the connection, unless the program does so.
func (c *Conn) Native() *native.Conn { return c.ws }

// FromNative returns a Conn over ws. No goroutine may be reading from ws while
// it is called. From then on the handlers of the result are in charge of
// control frames, in place of OnPingReceived and OnPongReceived. The limits,
// the heartbeat and the compression of ws stay as they are.
func FromNative(ws *native.Conn) *Conn { return newConn(ws, 0) }

// Subprotocol returns the subprotocol that was agreed on, or "".
func (c *Conn) Subprotocol() string {
	if c.proto != "" {
		return c.proto
	}
	return c.ws.Subprotocol()
}

// Close closes the network connection. It sends no close frame and waits for
// none: see [Conn.WriteControl]. Messages whose write has returned are given a
// moment to leave. An error that matches [net.ErrClosed] says that Close was
// called before.
func (c *Conn) Close() error {
	again := c.ended.Swap(true)
	c.in.Drain()
	err := c.ws.CloseNow()
	if err == nil || !again && errors.Is(err, net.ErrClosed) { // it has ended by itself
		return nil
	}
	return c.transportError("close", err)
}

// LocalAddr returns the local network address.
func (c *Conn) LocalAddr() net.Addr { return c.ws.LocalAddr() }

// RemoteAddr returns the remote network address.
func (c *Conn) RemoteAddr() net.Addr { return c.ws.RemoteAddr() }

// NetConn returns the network connection below c. Bytes that are read from it
// or written to it directly break the WebSocket connection. Messages whose
// write has returned are given a moment to leave, as by [Conn.Close].
func (c *Conn) NetConn() net.Conn { return c.in.Transport() }

// UnderlyingConn returns the network connection below c.
//
// Deprecated: use [Conn.NetConn].
func (c *Conn) UnderlyingConn() net.Conn { return c.NetConn() }

// SetReadDeadline sets when reads fail with a [net.Error] whose Timeout method
// returns true, those in progress too. Nothing is lost by it: a read with a
// later deadline goes on where the last one stopped. The zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if err := c.ws.SetReadDeadline(t); err != nil {
		return c.transportError("set", err)
	}
	return nil
}

// SetWriteDeadline sets when writes of messages fail with a [net.Error] whose
// Timeout method returns true, those in progress too. The connection lives on
// if no byte of the message had left. The zero time means never. The error is
// always nil: on a connection that is over the next write fails.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	var nanos int64
	if !t.IsZero() {
		nanos = t.UnixNano()
	}
	c.deadline.Store(nanos)
	_ = c.ws.SetWriteDeadline(t)
	return nil
}

// SetReadLimit sets the most bytes that a message may have, after it was
// decompressed. A longer one ends the connection with [CloseMessageTooBig], and
// the read fails with [ErrReadLimit]. Zero and negative numbers mean no limit,
// which is the default.
func (c *Conn) SetReadLimit(limit int64) {
	if limit <= 0 {
		limit = -1
	}
	c.ws.SetReadLimit(limit)
}

// EnableWriteCompression says whether the messages that follow are compressed,
// if compression was agreed on. The default is yes. A writer of
// [Conn.NextWriter] that is open stays as it is.
func (c *Conn) EnableWriteCompression(enable bool) {
	c.plain.Store(!enable)
}

// SetCompressionLevel takes a level of [compress/flate], -2 to 9. Level 0 sends
// what follows without compression. All others mean the same: the compressor of
// this module has one level.
func (c *Conn) SetCompressionLevel(level int) error {
	if level < flate.HuffmanOnly || level > flate.BestCompression {
		return errors.New("websocket: invalid compression level")
	}
	c.stored.Store(level == flate.NoCompression)
	return nil
}

// deflates reports whether to compress the next message.
func (c *Conn) deflates() bool { return c.deflate && !c.plain.Load() && !c.stored.Load() }
