package websocket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// An http2Stream is the two directions of an extended CONNECT: the body of its
// request and its response. A bodyConn makes a net.Conn of it.
//
// net/http ends the stream when the handler has returned, and not before. It
// also takes the ResponseWriter back then. So the handler waits for idle.
type http2Stream struct {
	in  io.ReadCloser            // immutable
	out http.ResponseWriter      // immutable
	ctl *http.ResponseController // immutable; of out

	idle chan struct{} // closed when Close was called and no call is in progress

	mu      sync.Mutex // guards what follows
	calls   int        // in progress
	writing int        // of them writes
	closed  bool
}

func newHTTP2Stream(in io.ReadCloser, out http.ResponseWriter) *http2Stream {
	return &http2Stream{in: in, out: out, ctl: http.NewResponseController(out), idle: make(chan struct{})}
}

// An http2Conn is a bodyConn over an http2Stream.
type http2Conn struct {
	*bodyConn
	stream *http2Stream // immutable
}

var errEndsWithHandler = errors.New("the stream ends when the handler returns")

// CloseWrite fails: only the end of the handler ends this side's direction. An
// endpoint that fails the connection then does not wait for the peer to end its
// own. The peer reads the close frame all the same. A stream that ends with
// unread input is reset with NO_ERROR. The peer "MUST NOT discard responses"
// because of that (RFC 9113, section 8.1).
func (c *http2Conn) CloseWrite() error { return errEndsWithHandler }

// errStreamClosed is what calls of a stream get that was closed.
var errStreamClosed = fmt.Errorf("the HTTP/2 stream is closed: %w", net.ErrClosed)

// enter begins a call, unless the stream is closed.
func (s *http2Stream) enter(write int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errStreamClosed
	}
	s.calls++
	s.writing += write
	return nil
}

// leave ends a call.
func (s *http2Stream) leave(write int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	s.writing -= write
	if s.closed && s.calls == 0 {
		close(s.idle)
	}
}

// Read reads what the peer has sent. A reset of the stream by the peer, and the
// loss of the HTTP/2 connection, are an abrupt end.
//
// net/http's read deadline is not used: it is final. Its error must not look
// like one of a deadline of ours, which leaves the connection alive.
func (s *http2Stream) Read(p []byte) (int, error) {
	if err := s.enter(0); err != nil {
		return 0, err
	}
	defer s.leave(0)
	n, err := s.in.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("the HTTP/2 stream broke: %v: %w", err, io.ErrUnexpectedEOF)
	}
	return n, err
}

// Write sends p, and returns when net/http has given it to the connection
// below.
func (s *http2Stream) Write(p []byte) (n int, err error) {
	if err := s.enter(1); err != nil {
		return 0, err
	}
	defer s.leave(1)
	defer recovered(&err)
	n, err = s.out.Write(p)
	if err == nil {
		err = s.ctl.Flush()
	}
	if err != nil {
		err = fmt.Errorf("the HTTP/2 stream broke: %v: %w", err, net.ErrClosed)
	}
	return n, err
}

// cutWrites resets the stream, which ends the write in progress.
func (s *http2Stream) cutWrites() {
	var err error // of a server that has no such deadline: the write ends with the connection
	defer recovered(&err)
	err = s.ctl.SetWriteDeadline(past)
}

// recovered makes an error of a panic: that is how net/http tells that the
// handler has returned.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("the handler has returned (%v): %w", v, net.ErrClosed)
	}
}

// Close ends both directions as far as a handler can. The peer sees the end
// when the handler returns. A write in progress is ended by a reset of the
// stream: net/http's write deadline does that. Calls in progress get
// goodbyeTimeout to return. If the peer takes no byte of the connection itself,
// net/http leaves a write waiting until the connection ends.
func (s *http2Stream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errStreamClosed
	}
	s.closed = true
	s.calls++ // this one
	waits, writes := s.calls > 1, s.writing > 0
	s.mu.Unlock()

	err := s.in.Close()
	if writes {
		s.cutWrites()
	}
	s.leave(0)
	if waits {
		timer := time.NewTimer(goodbyeTimeout)
		defer timer.Stop()
		select {
		case <-s.idle:
		case <-timer.C:
		}
	}
	return err
}

// hold makes the handler wait for what is in progress, in place of the reads of
// the connection. The handler calls the function that it returns before it
// returns itself.
func (s *http2Stream) hold(cfg *connConfig) (wait func()) {
	cfg.transport.(*http2Conn).settled = nil
	return func() { <-s.idle }
}
