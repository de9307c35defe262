package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket/internal/bridge"
	"github.com/seed70bc5565/websocket/internal/bufpool"
	"github.com/seed70bc5565/websocket/internal/field"
)

// Connections on a stream of bytes that the caller has: a socket, TLS, an SSH
// channel, a QUIC stream, a tunnel. Both roles do the opening handshake without
// an HTTP server or client, or it is done already.

// AcceptConn is [Accept] on conn, without an HTTP server. It reads one request
// from conn, checks it as Accept does, and answers it. Bytes that follow the
// request are frames, as with Accept.
//
// The request is returned also with an error, if it was valid HTTP. Its context
// is ctx, its RemoteAddr and TLS are those of conn, and it has no body.
//
// ctx bounds the handshake and nothing after it. Without a deadline of ctx the
// handshake has 10 seconds. The error then matches ctx.Err() or
// [context.DeadlineExceeded]. The header of the request may have 64 KiB.
//
// AcceptConn may set the deadlines of conn. Those that the caller has set need
// not hold, and are gone when there is a Conn.
//
// A request that is refused is answered as Accept does it. So is one that is
// not valid HTTP, with status 400, and one whose header is too long, with 431.
//
// conn belongs to the Conn, and is closed if AcceptConn returns an error.
// Closing is how the end of ctx interrupts it: Close of conn must end its other
// calls.
func AcceptConn(ctx context.Context, conn net.Conn, opts *AcceptOptions) (*Conn, *http.Request, error) {
	if conn == nil || ctx == nil {
		return nil, nil, errors.New("websocket: AcceptConn: the net.Conn or the context is nil")
	}
	a := newAcceptance(conn, opts)
	if a.accept(ctx); a.err != nil {
		return nil, a.r, a.err
	}
	return a.cfg.start(), a.r, nil
}

const (
	// connHandshakeTimeout bounds a handshake whose context has no deadline.
	connHandshakeTimeout = 10 * time.Second
	// maxRequestHead is how long a request may be: its line and its header.
	maxRequestHead = 64 << 10
	// maxResponseHead is the same for a response.
	maxResponseHead = 1 << 20
	// lingerTime bounds the wait for a client to read its refusal.
	lingerTime = 500 * time.Millisecond
)

// An acceptance is the server's opening handshake on a net.Conn. It is one
// object, and one function calls its steps, one after the other. So a handshake
// fits into the 2 KiB of stack that a new goroutine has. A larger stack would
// cost a twentieth of the handshake, and an idle connection would keep it.
type acceptance struct {
	conn     net.Conn
	opts     *AcceptOptions
	bound    connBound
	buf      []byte        // pooled: what was read
	head     int           // where the request ends in buf
	r        *http.Request // nil until the request was parsed
	up       upgrade
	cfg      connConfig
	response []byte
	err      error // why there is no connection
}

// newAcceptance is not inlined: that would bring the object to the stack.
//
//go:noinline
func newAcceptance(conn net.Conn, opts *AcceptOptions) *acceptance {
	if opts == nil {
		opts = &defaultAcceptOptions
	}
	return &acceptance{conn: asStream(conn), opts: opts, err: errHandshakePanicked}
}

// accept does the handshake, and sets err.
func (a *acceptance) accept(ctx context.Context) {
	defer a.finish(ctx)
	a.bound.begin(ctx, a.conn, connHandshakeTimeout)
	err := a.read()
	if err == nil {
		r := noRequest.WithContext(ctx)
		err = a.parsed(r, parseRequest(r, a.buf[:a.head]))
	}
	if err == nil {
		err = a.check()
	}
	if err == nil {
		// Nothing refers to the request in buf any more.
		a.response = appendResponse(a.buf[:0], &a.up, nil)
		err = a.send()
	}
	a.err = err
}

// finish is deferred around the handshake. A callback may have panicked in it.
func (a *acceptance) finish(ctx context.Context) {
	ended := a.bound.release(a.err != nil)
	if ended != nil && a.err != errHandshakePanicked {
		a.err = endedHandshake(ended, a.err)
	}
	bufpool.Put(a.buf)
	if a.r != nil {
		ctx = a.r.Context()
	}
	if a.err == nil {
		a.cfg.trace = newTracing(a.opts.Trace, ctx)
		return
	}
	closeConn(a.conn)
	a.opts.Trace.refused(ctx, a.err)
}

// endedHandshake returns the error of a handshake whose bound has ended. If err
// is a refusal, the client has been told, or should have been.
func endedHandshake(ended, err error) error {
	var no *refusal
	if errors.As(err, &no) {
		return fmt.Errorf("websocket: %w: %w", no, ended)
	}
	return fmt.Errorf("websocket: the opening handshake: %w", ended)
}

// read reads the request.
func (a *acceptance) read() error {
	var err error
	a.buf, a.head, err = readHead(a.conn)
	switch {
	case err == errHeadTooLong:
		return a.refuseUnread(refuse(http.StatusRequestHeaderFieldsTooLarge, "%v", err))
	case err != nil:
		return fmt.Errorf("websocket: reading the request: %w", err)
	}
	return nil
}

// noRequest is what a request is made from. It is only read.
var noRequest http.Request

// parsed is told of the request r, or with err that it is malformed.
func (a *acceptance) parsed(r *http.Request, err error) error {
	if err != nil {
		return a.refuseUnread(refuse(http.StatusBadRequest, "the request is not valid HTTP: %v", err))
	}
	r.RemoteAddr = addrString(a.conn.RemoteAddr())
	r.TLS = tlsState(a.conn)
	a.r = a.opts.Trace.begin(r)
	return nil
}

// check decides on the request.
func (a *acceptance) check() error {
	if a.r.ProtoMajor != 1 {
		return a.refuse(refuse(http.StatusHTTPVersionNotSupported, "the handshake needs HTTP/1.1, not %s", field.Quote(a.r.Proto)))
	}
	opts, no := a.opts.forRequest(a.r)
	if no == nil {
		no = a.up.check(a.r, opts)
	}
	if no != nil {
		return a.refuse(no)
	}
	opts.setConnConfig(&a.cfg, a.conn, &a.up)
	if a.head < len(a.buf) {
		a.cfg.received = append([]byte(nil), a.buf[a.head:]...)
	}
	return nil
}

// send sends the response.
func (a *acceptance) send() error {
	if _, err := writeTo(a.conn, a.response); err != nil {
		return fmt.Errorf("websocket: sending the handshake: %w", err)
	}
	_ = a.conn.SetDeadline(time.Time{})
	return nil
}

// refuse refuses the request for the reason no.
func (a *acceptance) refuse(no *refusal) error {
	more := a.head < len(a.buf) || a.r.ContentLength != 0 || a.r.ProtoMajor != 1
	return answerRefusal(a.conn, a.r, more, a.bound.at, no)
}

// refuseUnread refuses a request that could not be read.
func (a *acceptance) refuseUnread(no *refusal) error {
	return answerRefusal(a.conn, nil, true, a.bound.at, no)
}

// addrString is addr.String, and takes fewer allocations for TCP.
func addrString(addr net.Addr) string {
	switch a := addr.(type) {
	case nil:
		return ""
	case *net.TCPAddr:
		if ap := a.AddrPort(); ap.IsValid() {
			return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
		}
	}
	return addr.String()
}

var errHeadTooLong = fmt.Errorf("the header of the request has more than %d bytes", maxRequestHead)

// readHead reads a request up to the empty line behind its header. It returns a
// pooled buffer with what was read, and where in it the request ends. The
// buffer grows with what arrives.
func readHead(conn net.Conn) (buf []byte, head int, err error) {
	buf = bufpool.Get(bufpool.Small)[:0]
	for {
		n, err := readSome(conn, buf[len(buf):cap(buf)])
		searched := max(0, len(buf)-2)
		buf = buf[:len(buf)+n]
		if k := headEnd(buf[searched:]); k > 0 && searched+k <= maxRequestHead {
			return buf, searched + k, nil
		}
		switch {
		case len(buf) > maxRequestHead:
			return buf, 0, errHeadTooLong
		case errors.Is(err, io.EOF) && len(buf) > 0:
			return buf, 0, io.ErrUnexpectedEOF
		case err != nil:
			return buf, 0, err
		case len(buf) == cap(buf):
			buf = bufpool.Grow(buf, 2*len(buf))
		}
	}
}

// answerRefusal responds to a request that is not accepted, as an HTTP server
// does. It returns the error of AcceptConn. If the request could not be read, r
// is nil. The argument more says that the client may still be sending. If bound
// is not zero, it is when the time for the handshake is over.
func answerRefusal(conn net.Conn, r *http.Request, more bool, bound time.Time, no *refusal) error {
	header := http.Header{
		"Content-Type":           {refusalType},
		"X-Content-Type-Options": {"nosniff"},
		"Date":                   {time.Now().UTC().Format(http.TimeFormat)},
	}
	no.setHeader(header, true)
	body := no.body()
	if body == "" {
		delete(header, "Content-Type")
	}
	resp := http.Response{
		StatusCode:    no.status,
		ProtoMajor:    1,
		ProtoMinor:    1,
		Request:       r, // a response to HEAD has no body
		Header:        header,
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
		Close:         true,
	}
	if r != nil && !r.ProtoAtLeast(1, 1) {
		resp.ProtoMinor = 0
	}
	var b bytes.Buffer
	_ = resp.Write(&b) // into memory
	if _, err := writeTo(conn, b.Bytes()); err == nil && more {
		linger(conn, bound)
	}
	return fmt.Errorf("websocket: %w", no)
}

// linger ends the sending direction of conn, and discards what arrives until
// the client ends its own, for a short time. A socket that is closed with
// unread input resets the connection, and the client may never read its
// refusal.
func linger(conn net.Conn, bound time.Time) {
	until := time.Now().Add(lingerTime)
	if !bound.IsZero() && bound.Before(until) {
		until = bound
	}
	half, ok := conn.(halfCloser)
	if !ok {
		return
	}
	// A deadline might do nothing, and crypto/tls sets one of its own.
	timer := time.AfterFunc(time.Until(until), func() { closeConn(conn) })
	defer timer.Stop()
	if half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, conn, 1<<20)
	}
}

// A connBound bounds the opening handshake on a net.Conn. When the time is
// over, or the context has ended, calls of the net.Conn fail.
type connBound struct {
	ctx    context.Context
	unhook func() bool // nil if ctx has no end
	// A deadline of the net.Conn ends its calls when the time is over. If the
	// net.Conn may not heed deadlines and ctx has none, a timer closes it.
	at    time.Time
	timer *time.Timer
}

// begin begins the bound. The deadline of ctx is that of the handshake. If ctx
// has none, the handshake has the given time.
func (b *connBound) begin(ctx context.Context, conn net.Conn, most time.Duration) {
	b.ctx = ctx
	if ctx.Done() != nil {
		b.unhook = context.AfterFunc(ctx, func() { closeConn(conn) })
	}
	at, has := ctx.Deadline()
	if !has {
		at = time.Now().Add(most)
	}
	switch {
	case honoursDeadlines(conn):
		b.at = at
		_ = conn.SetDeadline(at)
	case !has:
		b.timer = time.AfterFunc(most, func() { closeConn(conn) })
	}
}

// release ends the bound, except for the deadline of the net.Conn. If the bound
// has ended the handshake, it returns the error.
func (b *connBound) release(failed bool) (ended error) {
	switch {
	case b.timer != nil && !b.timer.Stop(), failed && !b.at.IsZero() && !time.Now().Before(b.at):
		ended = context.DeadlineExceeded
	}
	if b.unhook != nil && !b.unhook() {
		ended = b.ctx.Err()
	}
	return ended
}

// closeConn closes conn within a short time.
func closeConn(conn net.Conn) {
	if c, ok := conn.(*tls.Conn); ok {
		closeTLS(c)
		return
	}
	conn.Close()
}

// DialConn is [Dial] on conn, which leads to the server already. The scheme of
// url, ws or wss, does not matter: a client that wants TLS brings a [tls.Conn].
// The request has the host and the path of url.
//
// Of opts.HTTPClient only the Jar and the Timeout are used. A redirect is not
// followed: it is a status that is not 101.
//
// conn belongs to the Conn, and is closed if DialConn returns an error. Closing
// is how the end of ctx interrupts it: Close of conn must end its other calls.
// Deadlines of conn hold for the handshake, and are gone when there is a Conn.
// Otherwise DialConn is as Dial.
func DialConn(ctx context.Context, conn net.Conn, url string, opts *DialOptions) (*Conn, *http.Response, error) {
	if opts == nil {
		opts = &DialOptions{}
	}
	if conn == nil {
		return nil, nil, errors.New("websocket: DialConn: the net.Conn is nil")
	}
	conn = asStream(conn)
	once := *opts
	once.HTTPClient = &http.Client{
		Transport:     &connTripper{conn},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if opts.HTTPClient != nil {
		once.HTTPClient.Jar, once.HTTPClient.Timeout = opts.HTTPClient.Jar, opts.HTTPClient.Timeout
	}
	connected := false
	defer func() {
		if !connected {
			closeConn(conn)
		}
	}()
	c, resp, err := Dial(ctx, url, &once)
	connected = err == nil
	return c, resp, err
}

// A connTripper is an [http.RoundTripper] for one request, over conn.
type connTripper struct{ conn net.Conn }

func (t *connTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	unhook := context.AfterFunc(req.Context(), func() { closeConn(t.conn) })
	resp, br, err := t.exchange(req)
	if err != nil {
		unhook()
		return nil, err
	}
	resp.TLS = tlsState(t.conn) // as an http.Transport does
	if resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body = &tripBody{resp.Body, t.conn, unhook}
		return resp, nil
	}
	if !unhook() {
		return nil, context.Cause(req.Context())
	}
	_ = t.conn.SetDeadline(time.Time{})
	received, _ := br.Peek(br.Buffered())
	resp.Body = &bridge.Body{Conn: t.conn, Received: received}
	return resp, nil
}

// exchange sends req and reads the response, without its body. br holds what
// was read behind that.
func (t *connTripper) exchange(req *http.Request) (resp *http.Response, br *bufio.Reader, err error) {
	var b bytes.Buffer
	if err := req.Write(&b); err != nil {
		return nil, nil, err
	}
	if _, err := writeTo(t.conn, b.Bytes()); err != nil {
		return nil, nil, err
	}
	from := &headReader{io.LimitedReader{R: t.conn, N: maxResponseHead}, nil}
	br = bufio.NewReader(from)
	for range maxInformational {
		begin := len(from.got) - br.Buffered()
		resp, err = http.ReadResponse(br, req)
		if err != nil {
			if from.N <= 0 {
				err = fmt.Errorf("the header of the response has more than %d bytes", maxResponseHead)
			}
			return nil, nil, err
		}
		if resp.StatusCode == http.StatusSwitchingProtocols && resp.Close {
			restoreConnection(resp.Header, from.got[begin:len(from.got)-br.Buffered()])
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			break
		}
	}
	return resp, br, nil
}

// A headReader keeps what was read.
type headReader struct {
	io.LimitedReader
	got []byte
}

func (r *headReader) Read(p []byte) (int, error) {
	n, err := r.LimitedReader.Read(p)
	r.got = append(r.got, p[:n]...)
	return n, err
}

// restoreConnection gives h, the header of a response, the field Connection as
// head has it. The package net/http takes it out where it says close, because
// an http.Client then closes the connection. Here no client does.
func restoreConnection(h http.Header, head []byte) {
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(head)))
	if _, err := r.ReadLine(); err != nil {
		return
	}
	if sent, err := r.ReadMIMEHeader(); err == nil && len(sent["Connection"]) > 0 {
		h["Connection"] = sent["Connection"]
	}
}

// maxInformational is how many responses with a status of 1xx may come before
// another one, with that.
const maxInformational = 6

// A tripBody is the body of a response that is no 101.
type tripBody struct {
	io.ReadCloser
	conn   net.Conn
	unhook func() bool
}

func (b *tripBody) Close() error {
	b.unhook()
	closeConn(b.conn) // first: Close of the body would read up to its end
	return b.ReadCloser.Close()
}

// ConnOptions are the options of [NewConn]. A nil pointer and the zero value
// hold the defaults. The struct is only read.
type ConnOptions struct {
	// Client says that this side is the client, which masks its frames.
	// Default: it is the server.
	Client bool

	// Subprotocol is what the server has chosen, or "".
	Subprotocol string

	// Extensions is the Sec-WebSocket-Extensions field of the server's
	// response: "permessage-deflate" with its parameters, or "". It is an error
	// if it is malformed or names another extension.
	Extensions string

	// Received are the bytes that the caller has read behind the handshake.
	// NewConn copies them.
	Received []byte

	// The fields that follow mean what the fields of the same names mean in
	// AcceptOptions, also for their defaults.
	CompressionThreshold int

	OnPingReceived func(ctx context.Context, payload []byte) bool
	OnPongReceived func(ctx context.Context, payload []byte)

	ReadLimit          int64
	WriteBufferLimit   int
	CloseTimeout       time.Duration
	PingInterval       time.Duration
	PongTimeout        time.Duration
	SkipUTF8Validation bool
	Trace              *Trace
}

// NewConn returns a connection over conn, on which the opening handshake is
// done already. Another HTTP server has done it, or the two sides have an
// agreement in its place. It sends nothing.
//
// conn belongs to the Conn, which clears its deadlines. If NewConn returns an
// error, because a field of opts is invalid, conn is as it was.
func NewConn(conn net.Conn, opts *ConnOptions) (*Conn, error) {
	if opts == nil {
		opts = &ConnOptions{}
	}
	if conn == nil {
		return nil, errors.New("websocket: NewConn: the net.Conn is nil")
	}
	if opts.Subprotocol != "" && !field.IsToken(opts.Subprotocol) {
		return nil, fmt.Errorf("websocket: invalid ConnOptions.Subprotocol: %s is not a token", field.Quote(opts.Subprotocol))
	}
	if len(opts.Received) > math.MaxInt32 {
		return nil, errors.New("websocket: invalid ConnOptions.Received: it has 2 GiB or more")
	}
	deflate, err := agreedDeflate(opts.Extensions)
	if err != nil {
		return nil, fmt.Errorf("websocket: invalid ConnOptions.Extensions: %w", err)
	}
	_ = conn.SetDeadline(time.Time{}) // those that bounded the caller's handshake
	return newConn(connConfig{
		transport:        conn,
		client:           opts.Client,
		received:         opts.Received,
		subprotocol:      opts.Subprotocol,
		proto:            protoNone,
		deflate:          deflate,
		deflateThreshold: opts.CompressionThreshold,
		readLimit:        opts.ReadLimit,
		writeBufferLimit: opts.WriteBufferLimit,
		closeTimeout:     opts.CloseTimeout,
		pingInterval:     opts.PingInterval,
		pongTimeout:      opts.PongTimeout,
		skipUTF8:         opts.SkipUTF8Validation,
		onPing:           opts.OnPingReceived,
		onPong:           opts.OnPongReceived,
		trace:            newTracing(opts.Trace, context.Background()),
	}), nil
}
