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
// A request that is refused is answered as Accept does it. So is one that is
// not valid HTTP, with status 400, and one whose header is too long, with 431.
//
// conn belongs to the Conn, and is closed if AcceptConn returns an error.
// Closing is how the end of ctx interrupts it: Close of conn must end its other
// calls.
func AcceptConn(ctx context.Context, conn net.Conn, opts *AcceptOptions) (*Conn, *http.Request, error) {
	cfg, r, err := acceptConn(ctx, conn, opts)
	if err != nil {
		return nil, r, err
	}
	return cfg.start(), r, nil
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

// acceptConn does the server's opening handshake on conn.
func acceptConn(ctx context.Context, conn net.Conn, opts *AcceptOptions) (*connConfig, *http.Request, error) {
	if opts == nil {
		opts = &AcceptOptions{}
	}
	if conn == nil || ctx == nil {
		return nil, nil, errors.New("websocket: AcceptConn: the net.Conn or the context is nil")
	}
	conn = asStream(conn)
	bound := boundConn(ctx, conn)
	returned := false
	defer func() {
		if !returned { // a callback of the options has panicked
			bound.release()
			closeConn(conn)
		}
	}()
	cfg, r, err := acceptStream(ctx, conn, opts)
	returned = true
	if ended := bound.release(); ended != nil {
		err = fmt.Errorf("websocket: the opening handshake: %w", ended)
	}
	if err != nil {
		closeConn(conn)
		if r != nil {
			ctx = r.Context()
		}
		opts.Trace.refused(ctx, err)
		return nil, r, err
	}
	cfg.trace = newTracing(opts.Trace, r.Context())
	return cfg, r, nil
}

func acceptStream(ctx context.Context, conn net.Conn, opts *AcceptOptions) (*connConfig, *http.Request, error) {
	buf, head, err := readHead(conn)
	defer func() { bufpool.Put(buf) }()
	if errors.Is(err, errHeadTooLong) {
		return nil, nil, answerRefusal(conn, nil, true, refuse(http.StatusRequestHeaderFieldsTooLarge, "%v", err))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("websocket: reading the request: %w", err)
	}
	r := new(http.Request)
	if ctx != context.Background() {
		r = r.WithContext(ctx)
	}
	if err := parseRequest(r, buf[:head]); err != nil {
		return nil, nil, answerRefusal(conn, nil, true, refuse(http.StatusBadRequest, "the request is not valid HTTP: %v", err))
	}
	r.RemoteAddr = addrString(conn.RemoteAddr())
	r.TLS = tlsState(conn)
	r = opts.Trace.begin(r)
	returned, t := false, opts.Trace
	defer func() {
		if !returned {
			t.refused(r.Context(), errHandshakePanicked)
		}
	}()
	cfg, err := answerRequest(conn, r, buf[head:], opts)
	returned = true
	return cfg, r, err
}

// answerRequest checks r, which came over conn, and answers it. received is
// what came behind it.
func answerRequest(conn net.Conn, r *http.Request, received []byte, opts *AcceptOptions) (*connConfig, error) {
	if r.ProtoMajor != 1 {
		no := refuse(http.StatusHTTPVersionNotSupported, "the handshake needs HTTP/1.1, not %s", field.Quote(r.Proto))
		return nil, answerRefusal(conn, r, true, no)
	}
	opts, no := opts.forRequest(r)
	if no != nil {
		return nil, answerRefusal(conn, r, len(received) > 0 || r.ContentLength != 0, no)
	}
	up, no := checkRequest(r, opts)
	if no != nil {
		return nil, answerRefusal(conn, r, len(received) > 0 || r.ContentLength != 0, no)
	}
	cfg := opts.connConfig(conn, &up)
	cfg.received = append([]byte(nil), received...)
	if err := writeResponse(conn, appendResponse(make([]byte, 0, 256), up, nil), responseTimeout); err != nil {
		return nil, fmt.Errorf("websocket: sending the handshake: %w", err)
	}
	return cfg, nil
}

func addrString(addr net.Addr) string {
	if addr == nil {
		return ""
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
		n, err := conn.Read(buf[len(buf):cap(buf)])
		searched := max(0, len(buf)-2)
		buf = buf[:len(buf)+n]
		if k := headEnd(buf[searched:]); k > 0 && searched+k <= maxRequestHead {
			return buf, searched + k, nil
		}
		switch {
		case len(buf) > maxRequestHead:
			return buf, 0, errHeadTooLong
		case err == io.EOF && len(buf) > 0:
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
// is nil. The argument more says that the client may still be sending.
func answerRefusal(conn net.Conn, r *http.Request, more bool, no *refusal) error {
	header := http.Header{
		"Content-Type":           {"text/plain; charset=utf-8"},
		"X-Content-Type-Options": {"nosniff"},
		"Date":                   {time.Now().UTC().Format(http.TimeFormat)},
	}
	no.setHeader(header, true)
	resp := http.Response{
		StatusCode:    no.status,
		ProtoMajor:    1,
		ProtoMinor:    1,
		Request:       r, // a response to HEAD has no body
		Header:        header,
		Body:          io.NopCloser(strings.NewReader(no.reason + "\n")),
		ContentLength: int64(len(no.reason) + 1),
		Close:         true,
	}
	if r != nil && !r.ProtoAtLeast(1, 1) {
		resp.ProtoMinor = 0
	}
	var b bytes.Buffer
	_ = resp.Write(&b) // into memory
	if writeResponse(conn, b.Bytes(), responseTimeout) == nil && more {
		linger(conn)
	}
	return fmt.Errorf("websocket: %w", no)
}

// linger ends the sending direction of conn, and discards what arrives until
// the client ends its own, for a short time. A socket that is closed with
// unread input resets the connection, and the client may never read its
// refusal.
func linger(conn net.Conn) {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || conn.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, conn, 1<<20)
}

// A connBound closes a net.Conn when the time for its opening handshake is
// over: that interrupts each net.Conn.
type connBound struct {
	ctx    context.Context
	unhook func() bool // nil if ctx has no end
	timer  *time.Timer // nil if ctx has a deadline
}

// boundConn costs a timer where ctx has no end. A context of its own would cost
// more than the parsing of the request.
func boundConn(ctx context.Context, conn net.Conn) connBound {
	b := connBound{ctx: ctx}
	end := func() { closeConn(conn) }
	if _, ok := ctx.Deadline(); !ok {
		b.timer = time.AfterFunc(connHandshakeTimeout, end)
	}
	if ctx.Done() != nil {
		b.unhook = context.AfterFunc(ctx, end)
	}
	return b
}

// release frees the connection from its bound. If that has ended before, it
// returns the error.
func (b *connBound) release() (ended error) {
	if b.timer != nil && !b.timer.Stop() {
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
// Host and path of url stand in the request.
//
// Of opts.HTTPClient only the Jar and the Timeout are used. A redirect is not
// followed: it is a status that is not 101.
//
// conn belongs to the Conn, and is closed if DialConn returns an error. Closing
// is how the end of ctx interrupts it: Close of conn must end its other calls.
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
	c, resp, err := Dial(ctx, url, &once)
	if err != nil {
		closeConn(conn)
	}
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
	if resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body = &tripBody{resp.Body, t.conn, unhook}
		return resp, nil
	}
	if !unhook() {
		return nil, context.Cause(req.Context())
	}
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
	if _, err := t.conn.Write(b.Bytes()); err != nil {
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
// it stands in head. The package net/http takes it out where it says close,
// because an http.Client then closes the connection. Here no client does.
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
// conn belongs to the Conn. If NewConn returns an error, because a field of
// opts is invalid, conn is as it was.
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
