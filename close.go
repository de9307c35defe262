package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Close performs the closing handshake (RFC 6455, section 7.1.2). It sends a
// close frame with code and reason behind all that was written before. It waits
// for the peer's close frame, and ends the connection. It discards messages
// that arrive meanwhile. It takes no longer than the close timeout
// (CloseTimeout in the options, 5 s by default), whatever the peer does.
//
// The error is nil if the peer answered. If it did not, the connection is
// closed all the same, and the error matches [context.DeadlineExceeded]. It
// matches [io.ErrUnexpectedEOF] if the peer ended the connection without an
// answer. If the connection was already closed, or is being closed, Close waits
// for its end and returns an error that matches [net.ErrClosed].
//
// The reason is at most 123 bytes of UTF-8. The code is 1000 to 1003, 1007 to
// 1014 or 3000 to 4999. StatusNoStatusRcvd with an empty reason sends none.
// Anything else is an error, and the connection is closed with
// StatusInternalError in its place.
//
// Close may be called from any goroutine, at any time, more than once.
func (c *Conn) Close(code StatusCode, reason string) error {
	_, badArgument := appendClosePayload(nil, code, reason)
	if badArgument != nil {
		code, reason = StatusInternalError, ""
	} else {
		badArgument = platformSends(c.t.conn, code)
	}
	err := c.closeFor(closedWith(code, reason))
	if badArgument != nil && err != errClosed {
		err = apiError("close", badArgument)
	}
	return err
}

// closeFor is Close for a cause with a valid code and reason.
func (c *Conn) closeFor(cause *localEnd) error {
	if lost := c.life.lost(); lost != nil && !c.life.isOver() {
		return c.closeLost(lost)
	}
	if !c.life.begin(cause, false) {
		if c.life.why.Load().posted {
			c.awaitClose(context.Background())
		}
		<-c.life.closed() // the goroutine that ends the connection does so in bounded time
		return errClosed
	}
	ctx, cancel := c.closeContext(context.Background())
	err := c.closeHandshake(ctx, cause.payload())
	if !c.end(nil) {
		<-c.life.closed() // the reader that met the answer, or a writer that failed, is about to end it
	}
	cancel()
	return apiError("close", err)
}

// closeLost is Close for a transport to which a write has failed because of
// lost. The peer may have said why, in a close frame that is still to be read.
func (c *Conn) closeLost(lost error) error {
	ctx, cancel := c.closeContext(context.Background())
	defer cancel()
	c.awaitClose(ctx)
	if !c.end(lost) {
		<-c.life.closed()
	}
	if _, broke := c.life.outcome(); broke != nil {
		return apiError("close", broke)
	}
	return errClosed
}

// postClose begins a closing handshake and waits for nothing: neither for the
// peer to take the close frame, nor for its answer. The reading goroutine meets
// the answer. A timer ends the connection after the close timeout. The result
// reports whether no goroutine is reading. Then the caller should see to it
// that a goroutine calls awaitClose.
func (c *Conn) postClose(cause *localEnd) (unread bool) {
	l := &c.life
	if !l.begin(cause, true) {
		return false
	}
	l.mu.Lock()
	if !l.at().isEnding() {
		c.endInTimeLocked(nil)
	}
	l.mu.Unlock()
	c.w.postClose(cause.payload())
	return !c.r.turn.Held() && c.t.polled() == nil
}

// closeContext returns a context that ends after the close timeout.
func (c *Conn) closeContext(parent context.Context) (context.Context, context.CancelFunc) {
	if c.closeTimeout < 0 {
		return context.WithCancel(parent)
	}
	return context.WithTimeout(parent, c.closeTimeout)
}

// closeHandshake sends the close frame and waits for the peer's.
func (c *Conn) closeHandshake(ctx context.Context, payload []byte) error {
	// This does not wait for the peer to take it. A peer that closes at the
	// same time may be waiting for this end to read.
	c.w.postClose(payload)
	err := c.awaitClose(ctx)
	answered, broke := c.life.outcome()
	switch {
	case answered:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("the peer did not answer within %v: %w", c.closeTimeout, ctx.Err())
	case broke != nil:
		return broke
	case err == nil:
		return errClosed // by CloseNow, meanwhile
	}
	return err
}

// awaitClose returns when the peer's close frame has come, or cannot come any
// more. It reads, unless another goroutine does.
func (c *Conn) awaitClose(ctx context.Context) error {
	// A reader in progress meets the close frame itself, and ends the
	// connection: it then gives back its turn.
	if err := c.r.turn.Lock(ctx); err != nil {
		return err
	}
	c.r.apart = true // ctx bounds this; the application's deadline may have passed already
	var err error
	if c.life.at() == stateBoth {
		// A read has met the peer's close frame, and left the rest to this: see
		// answerClose.
		err = c.answerClose(ctx, nil, true)
	}
	for err == nil && !c.life.at().isClosed() {
		err = c.discardMessage(ctx)
	}
	c.r.apart = false
	c.endRead()
	return err
}

// CloseNow ends the connection without a closing handshake. It tries once,
// without blocking, to write the frames that have gathered. The error is nil if
// this call ended the connection; if it had ended before, it matches
// [net.ErrClosed].
//
// CloseNow may be called from any goroutine, at any time, more than once. It
// also cuts short a Close in progress. "defer c.CloseNow()" after a successful
// [Accept] or [Dial] makes sure that the connection ends.
func (c *Conn) CloseNow() error { return c.closeNowFor(closedNow) }

// closeNowFor is CloseNow for a cause.
func (c *Conn) closeNowFor(cause *localEnd) error {
	if c.life.at().isClosed() {
		return errClosed
	}
	begun := c.life.begin(cause, false)
	if begun {
		c.w.tryFlush() // it may end the connection, if there is no other way to interrupt it
	}
	if !c.end(nil) && !begun {
		<-c.life.closed()
		return errClosed
	}
	return nil
}

// errUnexpectedData is why CloseRead closes a connection on which a message
// came.
var errUnexpectedData = ProtocolError{StatusPolicyViolation, "unexpected data message"}

var unexpectedData = &localEnd{EndProtocolError, StatusPolicyViolation, errUnexpectedData.Reason,
	"websocket: the connection is closed: " + errUnexpectedData.Reason, errors.Join(net.ErrClosed, errUnexpectedData)}

// CloseRead is for connections on which no message is expected. It starts a
// goroutine that reads until the connection ends. So pings are answered, and
// the peer's close frame is seen. The context that it returns, a child of ctx,
// ends with the connection. A data message ends the connection with
// StatusPolicyViolation, and so does the end of ctx without a handshake. A
// callback of the options that panics on the goroutine ends it with
// StatusInternalError, and is reported as [NewServer] reports a panic.
//
// After CloseRead the other reading methods fail at once. A read in progress
// goes on. The read deadline does not concern the goroutine. Later calls of
// CloseRead return the first one's context.
func (c *Conn) CloseRead(ctx context.Context) context.Context {
	// The child is made without the lock, because the context of a handled
	// request is made when it is used first. That takes the lock too.
	child, cancel := context.WithCancel(ctx)
	server, _ := ctx.Value(http.ServerContextKey).(*http.Server)
	l := &c.life
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.endingLocked()
	if e.closeRead != nil {
		cancel()
		return e.closeRead
	}
	e.closeRead = child
	c.r.taken.Store(true)
	go func() {
		defer cancel()
		defer contain(c, server)
		switch err := c.awaitMessage(child, server); {
		case err == nil:
			l.breaks(errUnexpectedData)
			c.closeWithin(child, unexpectedData)
		case err == errCallbackPanicked:
			c.closeWithin(child, closedForPanic)
		case errors.Is(err, net.ErrClosed):
			select { // a Close of this side is at work, and is not cut short by what is its own doing
			case <-c.life.closed():
			case <-child.Done():
			}
		}
		c.CloseNow()
	}()
	return child
}

// closeWithin is closeFor with ctx as a bound of the wait for the peer.
func (c *Conn) closeWithin(ctx context.Context, cause *localEnd) {
	stop := context.AfterFunc(ctx, func() { c.CloseNow() })
	defer stop()
	_ = c.closeFor(cause) // an End tells of it
}

// awaitMessage returns nil when a message has begun. It reads for the library,
// on a goroutine of the library: a callback that panics is reported.
func (c *Conn) awaitMessage(ctx context.Context, server *http.Server) (err error) {
	defer func() {
		if reportedPanic(c, server, recover()) {
			err = errCallbackPanicked
		}
	}()
	if err := c.lockRead(ctx); err != nil {
		return err
	}
	c.r.apart = true
	_, err = c.openMessage(ctx)
	c.r.apart = false
	c.endRead()
	return err
}

// peerClosed answers the peer's close frame and ends the connection (section
// 5.5.1). Its caller holds the reader's turn. It returns what reads return from
// now on.
func (c *Conn) peerClosed(ctx context.Context, ce CloseError) error {
	c.r.publish()
	begun := c.life.move(closeFrameReceived) == stateBoth
	var err error = ce
	if c.r.opcode != opContinuation {
		err = closedInside{ce}
	}
	c.life.over(fmt.Errorf("websocket: %w", err))
	// "It SHOULD send the Close frame with the status code it received." If a
	// Close of this side has sent its own, this waits until that is out.
	payload, _ := appendClosePayload(nil, ce.Code, "")
	return c.answerClose(ctx, payload, begun)
}

// answerClose is peerClosed from the answer on. begun says that this side's
// close frame was made before.
//
// The bounds of the read must not cut a Close of this side that waits behind a
// message. Then answerClose leaves the rest to that Close.
func (c *Conn) answerClose(ctx context.Context, payload []byte, begun bool) error {
	ctx, cancel := c.closeContext(ctx)
	defer cancel()
	ctx, cancel2 := c.boundRead(ctx)
	defer cancel2()
	c.sendLast(ctx, payload)
	if begun && c.w.closeWaits() {
		if !c.r.apart && !c.life.at().isEnding() {
			if c.life.why.Load().posted {
				go func() {
					defer contain(c, nil)
					c.awaitClose(context.Background())
				}()
			}
			return c.life.reason()
		}
		c.life.breaks(errCloseStuck)
	}
	if c.r.half.client {
		// Section 7.1.1: the server ends TCP first; the client waits for it.
		c.linger(ctx)
	}
	c.end(nil)
	c.r.finish()
	return c.life.reason()
}

// fail fails the connection (section 7.1.7) because of err, which the peer's
// frames earned. It sends the close frame that says so, and ends the sending
// direction of the transport. Then it gives the peer a moment to read the close
// frame. If it closed a socket with unread input at once, that would reset the
// connection, and the close frame could be lost. The caller holds the reader's
// turn.
func (c *Conn) fail(ctx context.Context, err error) error {
	c.r.publish()
	c.life.breaks(err)
	cause, first := c.life.over(fmt.Errorf("websocket: %w", err))
	if first {
		if err == errMessageTooBig {
			c.traceTooBig()
		}
		code, reason, byPeer := closeCode(err)
		if !byPeer {
			code = StatusInternalError // errMessageLost
		}
		payload, _ := appendClosePayload(nil, code, reason)
		ctx, cancel := context.WithTimeout(ctx, lingerTimeout)
		defer cancel()
		ctx, cancel2 := c.boundRead(ctx)
		defer cancel2()
		if c.sendLast(ctx, payload) == nil {
			if c.t.endWrites(ctx) {
				if !c.r.half.client && !c.t.halfCloses() {
					// This side's end cannot be seen yet, and a client waits for
					// it (section 7.1.1).
					ctx, cancel = context.WithTimeout(ctx, lingerTimeout/4)
					defer cancel()
				}
				c.linger(ctx)
			}
		}
	}
	c.end(nil)
	c.r.finish()
	return cause
}

// linger reads and discards until the peer ends the transport, for
// lingerTimeout at most. Its caller holds the reader's turn.
func (c *Conn) linger(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lingerTimeout)
	defer cancel()
	c.watchRead(ctx)
	for c.r.drain(c.t.conn) == nil {
	}
	c.t.in.settle()
}

// boundRead returns ctx with the read deadline as another bound, unless the
// library reads. A read that answers a close frame, or fails the connection,
// does so within its deadline.
func (c *Conn) boundRead(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.r.apart {
		return ctx, func() {}
	}
	return c.t.in.bound(&c.t, ctx)
}

// sendLast is sendClose. When ctx has ended already, the close frame gets one
// attempt that does not block.
func (c *Conn) sendLast(ctx context.Context, payload []byte) error {
	if ctx.Err() == nil {
		return c.w.sendClose(ctx, payload)
	}
	c.w.gatherClose(payload)
	c.w.tryFlush()
	return ctx.Err()
}

// refuse is Close for a read that refuses the message that it has read. The
// bounds of the read also bound the wait for the peer.
func (c *Conn) refuse(ctx context.Context, code StatusCode, reason string) {
	ctx, cancel := c.boundRead(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.CloseNow() })
	c.Close(code, reason)
	stop()
}

// ended is what a read returns for a transport that ended or broke.
func (c *Conn) ended(err error) error {
	c.r.publish()
	if isErr(err, io.EOF) {
		c.w.tryFlush() // the peer may have ended only its own direction
		err = errAbruptEnd
		if c.r.opcode != opContinuation || c.r.in.buffered() > 0 {
			err = errMidMessage
		}
	}
	c.life.breaks(err)
	c.end(apiError("read", err))
	c.r.finish()
	return c.life.reason()
}

// A CloseError says that the peer closed the connection, with the code and
// reason of its close frame (RFC 6455, section 5.5.1). Reads return it wrapped:
// use [errors.As] or [CloseStatus].
//
// One that tells of an orderly end (StatusNormalClosure, StatusGoingAway,
// StatusNoStatusRcvd) matches [io.EOF] with [errors.Is].
//
// A close frame that breaks the protocol makes no CloseError. An example is a
// frame with a code that may not be on the wire. The connection then fails with
// StatusProtocolError, and the text of the error names the code that came.
type CloseError struct {
	Code   StatusCode // StatusNoStatusRcvd if the close frame had no code
	Reason string     // valid UTF-8, at most 123 bytes
}

// Error returns a text with the code and the reason.
func (e CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("closed by the peer: %d %v", int(e.Code), e.Code)
	}
	return fmt.Sprintf("closed by the peer: %d %v: %q", int(e.Code), e.Code, e.Reason)
}

// Is reports whether target is io.EOF and e tells of an orderly end.
func (e CloseError) Is(target error) bool {
	if target != io.EOF {
		return false
	}
	switch e.Code {
	case StatusNormalClosure, StatusGoingAway, StatusNoStatusRcvd:
		return true
	}
	return false
}

// As makes [errors.As] find e by value and by pointer, whichever of the two is
// in the chain. A pointer is to a copy of e, unless the chain has one.
func (e CloseError) As(target any) bool {
	switch target := target.(type) {
	case *CloseError:
		*target = e
	case **CloseError:
		*target = &e
	default:
		return false
	}
	return true
}

// CloseStatus returns the code of the close frame that err tells of: that of
// the [CloseError] in err's chain, or -1 if there is none.
func CloseStatus(err error) StatusCode {
	var ce CloseError
	if errors.As(err, &ce) {
		return ce.Code
	}
	return -1
}

// closedInside is a CloseError whose frame came before the message in progress
// was finished. It is no orderly end: it matches io.ErrUnexpectedEOF in place
// of io.EOF.
type closedInside struct{ ce CloseError }

func (e closedInside) Error() string { return e.ce.Error() + ", inside a message" }

func (e closedInside) Is(target error) bool { return target == io.ErrUnexpectedEOF }

func (e closedInside) As(target any) bool {
	if ce, ok := target.(*CloseError); ok {
		*ce = e.ce
		return true
	}
	return e.ce.As(target)
}

// lingerTimeout bounds what an endpoint still does for a connection that is
// over, so that the peer gets to see why. After a failure the endpoint waits
// for the peer to end TCP. A client does so after any closing handshake
// (section 7.1.1).
const lingerTimeout = time.Second
