package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket/internal/field"
)

// AcceptOptions are the options of [Accept] and [Handler]. A nil pointer and
// the zero value hold the defaults; a negative number switches a limit off. The
// struct is only read.
type AcceptOptions struct {
	// Subprotocols are the subprotocols that the server speaks, in its order of
	// preference. The server chooses the first that the client offers too. If
	// there is none, the connection is made without one, and [Conn.Subprotocol]
	// returns "". Names are compared exactly.
	Subprotocols []string

	// InsecureSkipVerify lets the pages of every origin connect. Any web site
	// can then talk to the server with the cookies of those who visit it.
	InsecureSkipVerify bool

	// OriginPatterns are the hosts whose pages may connect, in addition to the
	// host of the request itself. A pattern is matched as [path.Match] does,
	// without regard to case. It is matched with the host and port of the
	// Origin header as they stand there ("*.example.com", "localhost:3000"). If
	// the pattern has a "://", it is matched with the scheme too
	// ("https://*.example.com"). The scheme ws stands for http there, and wss
	// for https. Only the pattern "null" matches the origin "null", which
	// sandboxed pages and local files send. Any page can have that origin. It
	// is an error if a pattern is malformed, has a path, or has a character
	// that no origin has. A host beyond ASCII stands there as browsers write it
	// ("xn--bcher-kva.example").
	//
	// A request without an Origin header does not come from a browser's page,
	// and passes.
	OriginPatterns []string

	// CheckOrigin has the last word on the origin of each request, those
	// without an Origin header included. True lets the page connect, false
	// refuses it with status 403. The argument allowed is what the rules of
	// OriginPatterns say, or true with InsecureSkipVerify. The goroutine of the
	// request calls it. Default: allowed.
	CheckOrigin func(r *http.Request, allowed bool) bool

	// Configure changes the options for one request. It is called before the
	// request is checked, by the goroutine of the request. It may set the
	// fields of opts, a copy of these options, except Trace. The slices in opts
	// are shared. [Subprotocols] returns the subprotocols that r offers.
	//
	// If Configure returns an error, the request is refused. If the error is a
	// [HandshakeError] with a status from 300 to 599, the response has its
	// status, Header and Body. Else the response has status 403. Default: the
	// options hold for all requests.
	Configure func(r *http.Request, opts *AcceptOptions) error

	// CompressionMode says whether messages may be compressed (RFC 7692).
	// Default: CompressionDisabled.
	CompressionMode CompressionMode
	// CompressionThreshold is the size, in bytes, from which on messages are
	// compressed. Default: 128 with context takeover, 512 without; negative:
	// all are.
	CompressionThreshold int
	// CompressionSendWindowBits and CompressionReceiveWindowBits bound the
	// windows of the two directions: 8 to 15, for 256 bytes to 32 KiB.
	// Default: 15. With context takeover a connection keeps up to one window
	// for each direction, and up to 8 KiB to search what it sends: 40 and 32
	// KiB with 15 bits, 12 and 8 KiB with 13. Up to 12 bits it saves memory in
	// every way: 2 and 4 KiB with 12, 512 bytes each with 9, and each message
	// takes some microseconds more. A peer that cannot limit the window it
	// sends with is asked to do without takeover.
	CompressionSendWindowBits    int
	CompressionReceiveWindowBits int

	// OnPingReceived is called by the reading goroutine with the payload of
	// each ping. The ping is answered if it returns true. The context is that
	// of the call that reads, or of the Reader, NetConn or CloseRead that the
	// read belongs to. OnPingReceived must not block. payload is valid until it
	// returns.
	OnPingReceived func(ctx context.Context, payload []byte) bool
	// OnPongReceived is called with the payload of each pong, as OnPingReceived
	// is for a ping. It does not get the pongs that answer the pings of
	// PingInterval, except one that comes when the next ping has left.
	OnPongReceived func(ctx context.Context, payload []byte)

	// ReadLimit is the most bytes that a message may have, after decompression.
	// Default: 1 MiB; negative: no limit. See [Conn.SetReadLimit].
	ReadLimit int64
	// WriteBufferLimit is how many bytes of frames may wait to be written
	// before writers have to wait. Default: 64 KiB; negative: no limit.
	WriteBufferLimit int
	// CloseTimeout bounds [Conn.Close]. Default: 5 seconds; negative: no limit.
	CloseTimeout time.Duration
	// PingInterval is how long the peer may show no life before it gets a
	// ping. Bytes that arrive from the peer are life, and so are bytes that it
	// takes. The ping leaves up to a quarter of PingInterval later, and only
	// while a goroutine reads. The first interval is up to half shorter.
	// Default: 30 seconds; negative: there are no such pings, and no peer is
	// given up. See Heartbeats in the package documentation.
	PingInterval time.Duration
	// PongTimeout is how long the peer may show no life after that ping. Then
	// the connection is over with [ErrPongTimeout]. It is also over when frames
	// wait to be written and the peer takes no byte of them for PingInterval
	// and PongTimeout together. That holds whether or not a goroutine reads.
	// Default: 10 seconds; negative: pings are sent, and no peer is given up.
	PongTimeout time.Duration
	// SkipUTF8Validation delivers text messages without a check that they are
	// UTF-8, which RFC 6455, section 8.1, demands.
	SkipUTF8Validation bool

	// Trace is functions that are called as things happen to the handshake and
	// the connection. Default: none.
	Trace *Trace
}

// Accept upgrades an HTTP request to a WebSocket connection (RFC 6455, section
// 4.2). Headers set on w before are sent with the response, except those that
// belong to the handshake.
//
// Accept refuses a request that is no valid handshake, or whose origin is not
// allowed (see [AcceptOptions]). It responds with a status of 4xx or 5xx and
// one line of text. It returns an error with the same text. The handler has
// only to return.
//
// Over HTTP/1.1 w must be an [http.Hijacker], or wrap one as
// [http.ResponseController] expects. Over HTTP/2 the request is an extended
// CONNECT (RFC 8441), which net/http takes if it is told to. The page
// docs/http2.md says how. The handler must then not return before the
// connection is over, because the stream ends with the handler. Read until an
// error.
//
// Over HTTP/1.1 the connection does not end with the request's context, and the
// handler may return while it is in use. But as long as it has not returned, or
// if it stores w or r, the memory of the HTTP connection stays in use:
// [Handler] avoids that.
func Accept(w http.ResponseWriter, r *http.Request, opts *AcceptOptions) (*Conn, error) {
	var t *Trace
	if opts != nil {
		t = opts.Trace
	}
	r = t.begin(r)
	err := errHandshakePanicked // until accept returns
	defer func() {
		if err != nil {
			t.refused(r.Context(), err)
		}
	}()
	cfg, err := accept(w, r, opts)
	if err != nil {
		return nil, err
	}
	cfg.trace = newTracing(t, r.Context())
	return cfg.start(), nil
}

// responseTimeout bounds the write of the handshake's response. It fits into
// the send buffer of any socket.
const responseTimeout = 10 * time.Second

// accept does the server's opening handshake. It runs on the stack of
// net/http's goroutine. That stack is doubled if the frames of the handshake,
// one below the other, do not fit. The doubling is a tenth of what a connection
// costs in all.
func accept(w http.ResponseWriter, r *http.Request, opts *AcceptOptions) (*connConfig, error) {
	if opts == nil {
		opts = &defaultAcceptOptions
	}
	opts, no := opts.forRequest(r)
	if no != nil {
		return nil, sendRefusal(w, r, no)
	}
	up, no := checkRequest(r, opts)
	if no != nil {
		return nil, sendRefusal(w, r, no)
	}
	if up.http2 {
		return acceptHTTP2(w, r, up, opts)
	}
	if ok, last := canHijack(w); !ok {
		return nil, sendRefusal(w, r, refuseHijack(fmt.Errorf("%T has neither a method Hijack nor Unwrap", last)))
	}
	sent, err := sendThroughWrappers(w, &up)
	if err != nil {
		return nil, err
	}
	conn, buffers, err := http.NewResponseController(w).Hijack()
	switch {
	case err != nil && (sent || errors.Is(err, http.ErrHijacked)):
		return nil, fmt.Errorf("websocket: %w", err) // nothing more can be sent
	case errors.Is(err, http.ErrNotSupported):
		return nil, sendRefusal(w, r, refuseHijack(err))
	case err != nil:
		no := refuse(http.StatusInternalServerError, "the connection could not be taken over from the HTTP server")
		no.detail = fmt.Errorf("%s: %w", no.reason, err)
		return nil, sendRefusal(w, r, no)
	}
	cfg := opts.connConfig(conn, &up)
	cfg.received = takeBuffered(buffers)
	cfg.tls = tlsBelow(conn, r.TLS)
	var response []byte
	if !sent {
		response = appendResponse(availableBuffer(buffers), &up, w.Header())
	}
	if err := writeResponse(conn, response, responseTimeout); err != nil {
		conn.Close()
		return nil, fmt.Errorf("websocket: sending the handshake: %w", err)
	}
	return cfg, nil
}

// defaultAcceptOptions are the options that nil stands for. They are only read.
var defaultAcceptOptions AcceptOptions

// forRequest returns the options for r, or why it is refused.
func (opts *AcceptOptions) forRequest(r *http.Request) (*AcceptOptions, *refusal) {
	if opts.Configure == nil {
		return opts, nil
	}
	own := *opts
	own.Configure = nil
	if err := opts.Configure(r, &own); err != nil {
		return nil, refuseConfigured(err)
	}
	return &own, nil
}

// refuseConfigured refuses a request for the reason that Configure returned.
func refuseConfigured(err error) *refusal {
	no := refuse(http.StatusForbidden, "the server refuses the request")
	var told *HandshakeError
	if errors.As(err, &told) && told.StatusCode >= 300 && told.StatusCode <= 599 {
		no.status, no.header = told.StatusCode, told.Header
		if no.reason = strings.TrimRight(string(told.Body), "\r\n"); no.reason == "" {
			no.reason = http.StatusText(told.StatusCode)
		}
	}
	no.detail = fmt.Errorf("the Configure of the options refuses the request: %w", err)
	return no
}

// Subprotocols returns the subprotocols that a request offers, in the order of
// the client's preference. It returns nil if there are none, or if the field is
// malformed: then Accept refuses the request.
func Subprotocols(r *http.Request) []string {
	names, err := field.ParseTokens(r.Header[fieldProtocol])
	if err != nil {
		return nil
	}
	return names
}

// connConfig returns what the options say of a connection over conn that was
// accepted.
func (opts *AcceptOptions) connConfig(conn net.Conn, up *upgrade) *connConfig {
	cfg := new(connConfig)
	opts.setConnConfig(cfg, conn, up)
	return cfg
}

// setConnConfig sets the fields one by one, because a value of the struct would
// stand on the stack.
func (opts *AcceptOptions) setConnConfig(cfg *connConfig, conn net.Conn, up *upgrade) {
	cfg.transport = conn
	cfg.subprotocol = up.subprotocol
	cfg.deflate = up.deflate
	cfg.deflateThreshold = opts.CompressionThreshold
	cfg.readLimit = opts.ReadLimit
	cfg.writeBufferLimit = opts.WriteBufferLimit
	cfg.closeTimeout = opts.CloseTimeout
	cfg.pingInterval = opts.PingInterval
	cfg.pongTimeout = opts.PongTimeout
	cfg.skipUTF8 = opts.SkipUTF8Validation
	cfg.onPing = opts.OnPingReceived
	cfg.onPong = opts.OnPongReceived
}

// refuseHijack refuses a request whose connection cannot be taken over. Only
// the error of Accept says why.
func refuseHijack(why error) *refusal {
	no := refuse(http.StatusNotImplemented, "the connection cannot be taken over from the HTTP server (no http.Hijacker)")
	no.detail = fmt.Errorf("%s: %w", no.reason, why)
	return no
}

// sendThroughWrappers tells middleware that has wrapped net/http's
// ResponseWriter of the response, by WriteHeader(101). The middleware may log
// the status, or set a cookie. The package net/http sends the response when the
// connection is taken over. If a wrapper has kept the response back, sent is
// false.
func sendThroughWrappers(w http.ResponseWriter, up *upgrade) (sent bool, err error) {
	resp, wrapped, ok := findResponse(w)
	if !ok {
		return false, nil
	}
	if err := resp.begun(&responseWrote); err != nil || !wrapped {
		return false, err
	}
	up.setHeader(w.Header())
	w.WriteHeader(http.StatusSwitchingProtocols)
	switch status := resp.wroteHeader(); status {
	case 0:
		return false, nil
	case http.StatusSwitchingProtocols:
		return true, nil
	default:
		return false, fmt.Errorf("websocket: middleware has responded with status %d in place of 101", status)
	}
}

// sendRefusal responds to a request that is not accepted, and returns the error
// of Accept.
func sendRefusal(w http.ResponseWriter, r *http.Request, e *refusal) error {
	h := w.Header()
	h.Del("Content-Length")
	h["Content-Type"] = []string{refusalType}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	e.setHeader(h, r.ProtoMajor < 2)
	w.WriteHeader(e.status)
	_, _ = io.WriteString(w, e.body())
	return fmt.Errorf("websocket: %w", e)
}

// takeBuffered returns a copy of what the HTTP server has read behind the
// request, so that its reader is not kept.
//
// It empties the reader, which is ours since the connection was taken over. The
// server refers to the reader for as long as the handler runs. It would keep
// the 4 KiB of the reader for a connection whose handler stays.
func takeBuffered(buffers *bufio.ReadWriter) (received []byte) {
	if buffers == nil || buffers.Reader == nil {
		return nil
	}
	if n := buffers.Reader.Buffered(); n > 0 {
		p, _ := buffers.Reader.Peek(n) // cannot fail
		received = append(received, p...)
	}
	*buffers.Reader = bufio.Reader{} // Reset gives it a buffer again
	return received
}

// availableBuffer returns memory for the response: that of the HTTP server's
// writer, which no goroutine uses any more.
func availableBuffer(buffers *bufio.ReadWriter) []byte {
	if buffers == nil || buffers.Writer == nil {
		return nil
	}
	return buffers.Writer.AvailableBuffer()
}

// writeResponse sends the handshake, with one write, within timeout. The
// deadlines that the HTTP server has set do not concern the connection: there
// are none when it returns. A conn without deadlines is no reason to fail: it
// is closed when the time is over.
func writeResponse(conn net.Conn, response []byte, timeout time.Duration) error {
	_ = conn.SetReadDeadline(time.Time{})
	var err error
	if len(response) > 0 { // else net/http has sent it
		var late *time.Timer
		if !honoursDeadlines(conn) {
			late = time.AfterFunc(timeout, func() { closeConn(conn) })
		}
		_ = conn.SetWriteDeadline(time.Now().Add(timeout))
		_, err = writeTo(conn, response)
		if late != nil && !late.Stop() {
			err = os.ErrDeadlineExceeded
		}
	}
	_ = conn.SetWriteDeadline(time.Time{})
	return err
}

// A Server is an [http.Handler] that upgrades every request it gets, and knows
// the connections that come of it. It is made by [NewServer]. All methods may
// be called concurrently.
type Server struct {
	serve  func(c *Conn, r *http.Request) // immutable; nil if events is set
	events *eventGroup                    // immutable; nil except if Events made the Server
	opts   ServerOptions                  // immutable
	plain  *agreement                     // immutable: that of connections that agreed on nothing
	live   connSet                        // has its own lock
}

// ServerOptions are the options of [NewServer]. A nil pointer and the zero
// value hold the defaults. The struct is only read.
type ServerOptions struct {
	AcceptOptions // of each handshake

	// MaxConnections is the most connections that the server has at a time,
	// those in the handshake included. Past it requests are refused with
	// status 503 and a Retry-After header. Default, and negative: no limit.
	MaxConnections int

	// Detach lets ServeHTTP return while the connection lives, behind routers
	// and middleware too. It returns the context whose values serve finds in
	// the context of its request. After nil, ServeHTTP stays. Default: see
	// [Server.ServeHTTP].
	//
	// The goroutine of the request calls Detach, before the handshake is
	// answered. A router or middleware may reuse what it put into the context
	// of r as soon as ServeHTTP returns. The returned context must not lead to
	// that. Copy what serve needs into [context.WithValue] of
	// [context.Background]. Return the request's own context only where all
	// that stands before the handler leaves its values alone.
	//
	// serve gets a copy of r with the new context. The copy shares the
	// header and the URL of r.
	Detach func(r *http.Request) context.Context
}

// NewServer returns a [Server] that upgrades every request as [Accept] does,
// and then calls serve. A request that is refused has been answered, and serve
// is not called. Nor is it called for a connection whose handshake ends after
// the server was shut down. That connection is closed at once.
//
// The context of r has the values of the request's context, but lives as long
// as the connection: [http.Server.Shutdown] and [http.Server.Close] leave
// connections that were taken over alone; [Server.Shutdown] and [Server.Close]
// end them. When serve returns, the connection is closed with
// StatusNormalClosure if it is still open. A panic in serve closes it with
// StatusInternalError. The panic is reported as net/http reports the panic of a
// handler: with the ErrorLog of the http.Server, unless it is
// [http.ErrAbortHandler].
//
// [Server.ServeHTTP] says on which goroutine serve runs.
//
// NewServer panics if serve is nil or a field of opts is invalid: the text
// names the field.
func NewServer(serve func(c *Conn, r *http.Request), opts *ServerOptions) *Server {
	if serve == nil {
		panic("websocket: NewServer: serve is nil")
	}
	s := checkedServer(opts)
	s.serve = serve
	return s
}

// checkedServer returns a Server with a copy of opts, which it checks.
func checkedServer(opts *ServerOptions) *Server {
	s := &Server{}
	if opts != nil {
		s.opts = *opts
	}
	if _, err := checkAcceptOptions(&s.opts.AcceptOptions); err != nil {
		panic("websocket: NewServer: " + err.Error())
	}
	s.live.wheel.slot = wheelSlot(&s.opts.AcceptOptions)
	own := *s.opts.connConfig(nil, &upgrade{}).makePlain().settings
	own.wheel = &s.live.wheel
	s.plain = &agreement{settings: &own, proto: protoHTTP1}
	return s
}

// Handler is [NewServer] for a program that needs only AcceptOptions.
func Handler(serve func(c *Conn, r *http.Request), opts *AcceptOptions) *Server {
	if opts == nil {
		return NewServer(serve, nil)
	}
	return NewServer(serve, &ServerOptions{AcceptOptions: *opts})
}

// ServeHTTP implements [http.Handler].
//
// Straight behind net/http, ServeHTTP returns at once, and a goroutine of its
// own calls serve. Then net/http frees its buffers and the stack of the
// goroutine that read the request. An idle connection costs a third of one in a
// handler that stays. Straight behind net/http means that the handler gets the
// ResponseWriter of net/http, and a context without further values.
// [http.ServeMux] and [http.StripPrefix] change neither.
//
// Behind everything else ServeHTTP calls serve, and returns when serve has
// returned. A router, a logger or a framework may reuse what it put into the
// context as soon as ServeHTTP returns. Then serve would see the values of
// another request. ServerOptions.Detach has the low cost there too.
//
// Over HTTP/2 (see [Accept]) ServeHTTP always calls serve itself. It returns
// when serve has returned, the connection has ended, and net/http has let go of
// what was written.
//
// ServeHTTP panics if s was not made by [NewServer].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.serve == nil && s.events == nil {
		panic("websocket: ServeHTTP of a Server that NewServer did not make: there is no function to serve")
	}
	own, shared, plain := plainValues(w, r.Context())
	before := r
	r = s.opts.Trace.begin(r)
	if no := s.live.reserve(s.opts.MaxConnections); no != nil {
		s.refused(r.Context(), sendRefusal(w, r, no))
		return
	}
	taken, told := false, false
	defer func() {
		if !taken {
			s.live.release(nil)
			if !told {
				s.refused(r.Context(), errHandshakePanicked)
			}
		}
	}()
	if r != before {
		own = r.Context()
	}
	values, returns := s.detach(r, own, plain)
	traced := values
	if r != before {
		traced = r.Context() // that of Handshake, whatever Detach keeps of it
	}
	cfg, err := accept(w, r, &s.opts.AcceptOptions)
	if err != nil {
		told = true
		s.refused(traced, err)
		return // the client has been told
	}
	if s.opts.Configure == nil { // else the connection has options of its own
		cfg.plain = s.plain
	}
	taken = true
	cfg.trace = newTracing(s.opts.Trace, traced)
	stream := http2StreamOf(cfg)
	if stream != nil {
		returns = false
		defer stream.hold(cfg)()
		r = withoutBody(r)
	}
	if s.events != nil {
		s.serveEvents(cfg, r, values, returns)
		return
	}
	c := cfg.start()
	if down, ended := s.live.add(c); down {
		go s.turnAway(c, ended)
		return
	}
	server, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	if s.opts.Detach == nil && r == before {
		values = shared
	}
	r = r.WithContext(&connContext{values: values, c: c})
	x := &serving{s, c, server, r}
	if !returns {
		x.run()
		return
	}
	go x.run()
}

// refused is told of a request that was refused with err.
func (s *Server) refused(ctx context.Context, err error) {
	s.live.countRefused(err)
	s.opts.Trace.refused(ctx, err)
}

// detach returns the context whose values serve finds, and whether ServeHTTP
// returns while serve runs. The argument own has the values of the request's
// context. The argument plain says that nothing stands between net/http and the
// handler.
func (s *Server) detach(r *http.Request, own context.Context, plain bool) (values context.Context, returns bool) {
	if s.opts.Detach == nil {
		return own, plain
	}
	if kept := s.opts.Detach(r); kept != nil {
		return kept, true
	}
	return own, false
}

// A serving is the call of a server's function for one connection.
type serving struct {
	s      *Server
	c      *Conn
	server *http.Server // the one whose request r was, or nil
	r      *http.Request
}

// run calls serve. It runs for as long as the connection. Its frame is small,
// and so is that of a go statement with one argument. This is the stack that
// idle connections pay for. Nothing keeps x, and only the call of serve may keep
// the request.
func (x *serving) run() {
	s, c, server, r := x.s, x.c, x.server, x.r
	defer s.finish(c, server)
	s.serve(c, r)
}

// finish is deferred around serve.
func (s *Server) finish(c *Conn, server *http.Server) {
	cause := closedNormally
	if reportedPanic(c, server, recover()) {
		cause = closedForPanic
	}
	defer s.live.release(c)
	defer contain(c, server)
	if !c.life.at().isClosed() {
		_ = c.closeFor(cause) // fails if serve is closing the connection: all the same
	}
}
