// Package bridge gives the package gorilla what the public API of the root
// package does not give. It gives control frames to handlers, the transport,
// and the handshake on a connection that the caller has taken over. It chooses
// compression for each message. The root package provides it; nothing here has
// state of its own.
package bridge

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// A Handler deals with the control frames of a connection in place of its Conn.
// The reading goroutine calls it. An error ends the read in progress, which
// returns it as it stands. The connection lives on. payload is valid until the
// method returns.
type Handler interface {
	// Ping reports whether the connection is to answer the ping.
	Ping(payload []byte) (answer bool, err error)
	// Pong is not called for pongs that answer the Conn's own pings.
	Pong(payload []byte) error
	// Close is called with the code and the reason of a valid close frame. Its
	// error is never nil.
	Close(code int, reason string) error

	// Failed returns why no more can be read, or nil.
	Failed() error
	// ReadFailed returns what a reader of NextReader returns in place of err.
	ReadFailed(err error) error
}

// A Conn is a *websocket.Conn, seen from inside.
type Conn interface {
	// Transport returns the connection that frames are read from and written
	// to. The caller may be about to close it: what has gathered leaves first.
	Transport() net.Conn
	// Handle gives the control frames that arrive from now on to h. No
	// goroutine may be reading.
	Handle(h Handler)
	// Deflates reports whether compression was agreed on.
	Deflates() bool
	// WriteControl writes a control frame and returns when it has been passed
	// to the transport, or fails at the deadline; the zero time means never.
	// The write deadline of the application does not concern it.
	WriteControl(op byte, payload []byte, deadline time.Time) error
	// NextReader is Conn.Reader without a context. The reader asks the handler
	// before it reads, and about its errors; when another message was asked for
	// it is at its end.
	NextReader() (typ int, r io.Reader, err error)
	// Writer is Conn.Writer without a context, compressed only if compress is
	// set too.
	Writer(typ int, compress bool) (Writer, error)
	// Refuse is Conn.Close for a read that refuses the message that it has
	// read. The wait for the peer is bounded by ctx and the read deadline too.
	Refuse(ctx context.Context, code int, reason string)
	// Drain waits until all frames that have been accepted are out, for a short
	// time at most.
	Drain()
}

// A Writer is what Conn.Writer returns.
type Writer interface {
	io.WriteCloser
	// Flush sends what has been written, unless it is compressed.
	Flush() error
}

// A Handshake is a request for a WebSocket connection that is valid.
type Handshake interface {
	// Respond sends the response on conn, which was taken over from the HTTP
	// server with buffers, and returns the *websocket.Conn. The write is
	// bounded by timeout; zero stands for the root package's timeout. The
	// argument header holds more fields for the response. After an error conn
	// is of no use; the caller closes it.
	Respond(conn net.Conn, buffers *bufio.ReadWriter, subprotocol string, header http.Header, timeout time.Duration) (any, error)
	// Observe gives the connection a Trace, a *websocket.Trace. It is called
	// before Respond.
	Observe(ctx context.Context, trace any)
}

// A Body is the body of a 101 response whose maker owns the connection below
// it. Dial of the root package takes the connection out.
type Body struct {
	net.Conn
	Received []byte // what has been read behind the response
}

// Root is what the root package provides.
type Root struct {
	// Of returns the Conn that conn, a *websocket.Conn, is.
	Of func(conn any) Conn
	// Check decides on a request, without regard to its origin. A request that
	// is refused has a status other than 0.
	Check func(r *http.Request, compress bool) (h Handshake, status int, reason string)
}

var root Root

// Provide is called once, by a declaration of the root package.
func Provide(r Root) struct{} {
	root = r
	return struct{}{}
}

// Of returns the Conn that conn, a *websocket.Conn, is.
func Of(conn any) Conn { return root.Of(conn) }

// Check decides on a request for a WebSocket connection, see Root.
func Check(r *http.Request, compress bool) (h Handshake, status int, reason string) {
	return root.Check(r, compress)
}
