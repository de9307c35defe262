package websocket

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// A Trace has functions that are called as things happen to connections. The
// options of every function that makes connections have a field for it. Nil
// functions are not called, and cost nothing. A Trace may serve any number of
// options. It must not be changed while it is in use.
//
// ctx is the context that Handshake returned. Without Handshake it is the
// context of the request. In a [Server] that is the one that Detach returned,
// if there is Detach. For [Dial] it is the caller's, and for [NewConn] it is
// [context.Background]. It is there for its values, and may have ended. Behind
// a router, values of a request may be gone when its handler has returned:
// Handshake can keep what is needed later.
//
// The goroutine that causes the event calls the function, and waits for it. The
// function must return soon. It may call the methods of c that do not wait,
// such as End, Stats, RemoteAddr and CloseNow. If a function that gets c
// panics, the connection is closed with StatusInternalError, unless it is over.
// The panic is reported as [NewServer] reports one.
type Trace struct {
	// Handshake is called when an opening handshake begins. The request r came
	// in, or for [Dial] goes out. With Dial, fields may be added to r.Header.
	// The context that it returns, mostly a child of r.Context(), is the
	// context of the other functions, and of the rest of the handshake. A
	// [Server] makes it the parent of the context that serve, open and Detach
	// get. Nil changes nothing.
	//
	// [NewConn] has no handshake. [AcceptConn] calls Handshake when it has read
	// the request.
	Handshake func(r *http.Request) context.Context

	// Accepted is called when the handshake is done, before c is handed out.
	// NewConn calls it too. For each call there is one of Ended.
	Accepted func(ctx context.Context, c *Conn)

	// Refused is called when a handshake fails, in place of Accepted. On a
	// server it says that the server refuses the request. On a client it says
	// that the server has not accepted it. The status is that of the response,
	// and err is the error of the call. The status is 0 if there was no
	// response, or if its sending failed. It is 0 too if a callback such as
	// Configure, or one of the HTTP client of [Dial], panics.
	Refused func(ctx context.Context, status int, err error)

	// Ended is called once, when c is over and its transport is closed. The
	// argument end says how; [Conn.Stats] has the rest. The connection lasted
	// time.Since(c.Stats().Began).
	Ended func(ctx context.Context, c *Conn, end End)

	// SlowWrite is called when a message or ping of the application has taken
	// 100 ms or more to write. It is called for each part of a streamed
	// message. The write waited for the peer to take what was before it, or for
	// other writers. Writes read the clock only if SlowWrite is set.
	SlowWrite func(ctx context.Context, c *Conn, took time.Duration)

	// HeartbeatLost is called when the heartbeat gives up the peer, before
	// Ended. See ErrPongTimeout.
	HeartbeatLost func(ctx context.Context, c *Conn)

	// MessageTooBig is called when the peer sends a message that is longer than
	// the read limit, before Ended.
	MessageTooBig func(ctx context.Context, c *Conn, limit int64)
}

// slowWrite is how long a write that is told of has taken at least.
const slowWrite = 100 * time.Millisecond

// A tracing is the Trace of a handshake or connection, with its context.
type tracing struct {
	*Trace
	ctx context.Context
}

// newTracing returns nil if t is nil.
func newTracing(t *Trace, ctx context.Context) *tracing {
	if t == nil {
		return nil
	}
	return &tracing{t, ctx}
}

// errHandshakePanicked is why a handshake failed in which a callback of the
// options, or middleware, has panicked.
var errHandshakePanicked = errors.New("websocket: the opening handshake: a callback has panicked")

// begin tells t of a request, and returns it with the context that it has from
// now on.
func (t *Trace) begin(r *http.Request) *http.Request {
	if t == nil || t.Handshake == nil {
		return r
	}
	if ctx := t.Handshake(r); ctx != nil {
		return r.WithContext(ctx)
	}
	return r
}

// refused tells t of a handshake that failed with err.
func (t *Trace) refused(ctx context.Context, err error) {
	if t == nil || t.Refused == nil {
		return
	}
	t.Refused(ctx, refusalStatus(err), err)
}

// refusalStatus returns the status of the response that err tells of, or 0.
func refusalStatus(err error) int {
	var no *refusal
	var told *HandshakeError
	switch {
	case errors.As(err, &no):
		return no.status
	case errors.As(err, &told):
		return told.StatusCode
	}
	return 0
}

// This file tells a Trace about a connection. The goroutine that tells it may
// hold the reader's turn, or be that of a timer. So a function that panics only
// ends the connection.

func (c *Conn) traceAccepted() {
	if t := c.trace; t != nil && t.Accepted != nil {
		defer c.traced()
		t.Accepted(t.ctx, c)
	}
}

func (c *Conn) traceEnd() {
	if t := c.trace; t != nil && t.Ended != nil {
		defer c.traced()
		t.Ended(t.ctx, c, c.End())
	}
}

// traceSlowWrite is called only where there is a SlowWrite.
func (c *Conn) traceSlowWrite(took time.Duration) {
	defer c.traced()
	c.trace.SlowWrite(c.trace.ctx, c, took)
}

func (c *Conn) traceHeartbeatLost() {
	if t := c.trace; t != nil && t.HeartbeatLost != nil {
		defer c.traced()
		t.HeartbeatLost(t.ctx, c)
	}
}

func (c *Conn) traceTooBig() {
	if t := c.trace; t != nil && t.MessageTooBig != nil {
		defer c.traced()
		t.MessageTooBig(t.ctx, c, c.r.limit.Load())
	}
}

// traced is deferred around the call of a Trace's function.
func (c *Conn) traced() {
	if reportedPanic(c, nil, recover()) {
		c.postClose(closedForPanic) // unless it is over already
	}
}
