package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	native "github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/bridge"
	"github.com/seed70bc5565/websocket/internal/field"
)

// A Dialer opens connections to servers. The zero value is ready to use; a nil
// pointer is [DefaultDialer]'s settings. Its methods may be called
// concurrently.
type Dialer struct {
	// NetDial opens network connections. Default: [net.Dial].
	NetDial func(network, addr string) (net.Conn, error)

	// NetDialContext comes before NetDial.
	NetDialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// NetDialTLSContext opens the connections of wss URLs, the handshake of TLS
	// included. It comes before the other two, and TLSClientConfig is then not
	// used.
	NetDialTLSContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Proxy returns the proxy for a request: its URL has the scheme http,
	// https, socks5 or socks5h. nil means none. HTTP proxies are asked with
	// CONNECT, for ws URLs too.
	Proxy func(*http.Request) (*url.URL, error)

	// TLSClientConfig is the configuration of wss URLs. The connection speaks
	// HTTP/1.1, whatever NextProtos says.
	TLSClientConfig *tls.Config

	// HandshakeTimeout bounds everything that Dial does. Zero means no limit.
	HandshakeTimeout time.Duration

	// ReadBufferSize is accepted and not needed. WriteBufferSize is how many
	// bytes a writer of [Conn.NextWriter] gathers before it sends a fragment.
	// Default: 4096.
	ReadBufferSize, WriteBufferSize int

	// WriteBufferPool is accepted and not needed: an idle connection has no
	// buffer.
	WriteBufferPool BufferPool

	// Subprotocols are those to offer, in order of preference.
	Subprotocols []string

	// EnableCompression offers compression without context takeover (RFC 7692).
	EnableCompression bool

	// Jar holds the cookies to send, and takes those of the response. A Cookie
	// in the header of the request is sent in place of them.
	Jar http.CookieJar

	// Trace is told of the handshake and of the connection. Package gorilla
	// does not have it.
	Trace *native.Trace
}

// DefaultDialer uses the proxy that the environment names, and gives a
// handshake 45 seconds.
var DefaultDialer = &Dialer{
	Proxy:            http.ProxyFromEnvironment,
	HandshakeTimeout: 45 * time.Second,
}

var errMalformedURL = errors.New("malformed ws or wss URL")

// Dial is [Dialer.DialContext] without a context.
func (d *Dialer) Dial(urlStr string, requestHeader http.Header) (*Conn, *http.Response, error) {
	return d.DialContext(context.Background(), urlStr, requestHeader)
}

// DialContext opens a connection to urlStr, whose scheme is ws or wss.
// requestHeader holds more fields for the request, such as Origin, Cookie and
// Host. It may hold Sec-WebSocket-Protocol if Subprotocols is empty. ctx bounds
// the handshake.
//
// If the server does not accept the handshake, the error is [ErrBadHandshake],
// and the response holds up to 1024 bytes of its body. The body need not be
// closed. Redirects are not followed.
func (d *Dialer) DialContext(ctx context.Context, urlStr string, requestHeader http.Header) (*Conn, *http.Response, error) {
	if d == nil {
		d = &Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: 45 * time.Second}
	}
	if ctx == nil {
		return nil, nil, errors.New("websocket: the context is nil")
	}
	target, err := parseURL(urlStr)
	if err != nil {
		return nil, nil, err
	}
	opts, more, err := d.options(requestHeader)
	if err != nil {
		return nil, nil, err
	}
	if d.HandshakeTimeout != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.HandshakeTimeout)
		defer cancel()
	}
	switch err := ctx.Err(); {
	case isTimeout(err):
		return nil, nil, &net.OpError{Op: "dial", Net: "tcp", Err: &timeoutError{"i/o timeout", err, true}}
	case err != nil:
		return nil, nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	trip := &roundTripper{d: d, ctx: ctx, more: more}
	if !tokens(opts.Subprotocols) {
		trip.offered, opts.Subprotocols = opts.Subprotocols, nil
	}
	opts.HTTPClient = &http.Client{
		Transport:     trip,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ws, resp, err := native.Dial(ctx, target, opts)
	if err == nil {
		c := newConn(ws, d.WriteBufferSize)
		if c.proto = trip.chosen; c.proto != "" {
			resp.Header.Set("Sec-Websocket-Protocol", c.proto)
		}
		return c, resp, nil
	}
	if resp == nil && trip.refused != nil { // net/http makes an error of a redirect that it cannot parse
		resp = trip.refused
		resp.Body = http.NoBody
	}
	return nil, resp, trip.failed(resp, err)
}

// parseURL checks a URL and returns the form that the root package takes. It
// leaves the fragment out, and escapes what a query must not have. A port
// alone is one of this machine.
func parseURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", err
	}
	if u.Scheme != "ws" && u.Scheme != "wss" || u.User != nil {
		return "", errMalformedURL
	}
	if u.Hostname() == "" && u.Port() != "" {
		u.Host = net.JoinHostPort("localhost", u.Port())
	}
	u.Fragment, u.RawFragment = "", ""
	var query strings.Builder
	for _, b := range []byte(u.RawQuery) {
		if b <= ' ' || b >= 0x7f {
			fmt.Fprintf(&query, "%%%02X", b)
		} else {
			query.WriteByte(b)
		}
	}
	u.RawQuery = query.String()
	return u.String(), nil
}

// lineBreaks does to a value what package net/http does.
var lineBreaks = strings.NewReplacer("\n", " ", "\r", " ")

// options returns the options of the root package, and the fields of the
// request that it must not see. As in gorilla, a name that is no token is left
// out, and a line break in a value becomes a space.
func (d *Dialer) options(requestHeader http.Header) (opts *native.DialOptions, more http.Header, err error) {
	more = make(http.Header)
	opts = &native.DialOptions{
		Trace:        d.Trace,
		HTTPHeader:   make(http.Header, len(requestHeader)),
		Subprotocols: d.Subprotocols,
		ReadLimit:    -1,
		PingInterval: -1,
	}
	if d.EnableCompression {
		opts.CompressionMode = native.CompressionNoContextTakeover
	}
	for name, values := range requestHeader {
		if !field.IsToken(name) {
			continue
		}
		switch key := http.CanonicalHeaderKey(name); key {
		case "Host":
			if len(values) > 0 {
				opts.Host = values[0]
			}
		case "Sec-Websocket-Protocol":
			if len(d.Subprotocols) > 0 {
				return nil, nil, errors.New("websocket: duplicate header not allowed: " + name)
			}
			opts.Subprotocols = nil
			for _, line := range values {
				opts.Subprotocols = appendList(opts.Subprotocols, line)
			}
			if len(opts.Subprotocols) > 0 {
				more["Sec-WebSocket-Protocol"] = values
			}
		case "Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions":
			return nil, nil, errors.New("websocket: duplicate header not allowed: " + name)
		default:
			if strings.HasPrefix(key, "Sec-Websocket-") {
				more[name] = values
				continue
			}
			opts.HTTPHeader[name] = make([]string, len(values))
			for i, value := range values {
				opts.HTTPHeader[name][i] = strings.TrimSpace(lineBreaks.Replace(value))
			}
		}
	}
	return opts, more, nil
}

// tokens reports whether all names are tokens (RFC 9110, section 5.6.2), each
// there once, as the root package wants them.
func tokens(names []string) bool {
	for i, name := range names {
		if name == "" || slices.Contains(names[:i], name) {
			return false
		}
		for _, b := range []byte(name) {
			if b <= ' ' || b >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, b) >= 0 {
				return false
			}
		}
	}
	return true
}

// NewClient opens a connection to u over netConn, which is closed if that
// fails. See [Dialer.DialContext].
//
// Deprecated: use a [Dialer].
func NewClient(netConn net.Conn, u *url.URL, requestHeader http.Header, readBufSize, writeBufSize int) (c *Conn, response *http.Response, err error) {
	d := Dialer{
		ReadBufferSize:  readBufSize,
		WriteBufferSize: writeBufSize,
		NetDial:         func(string, string) (net.Conn, error) { return netConn, nil },
	}
	return d.Dial(u.String(), requestHeader)
}

// A roundTripper makes the one request of a handshake, on a connection that it
// opens as the Dialer says.
type roundTripper struct {
	d   *Dialer
	ctx context.Context // the caller's, with its deadline
	err error           // what RoundTrip returned

	// Subprotocols that are no tokens: the root package does not know them.
	// Kubernetes has such names.
	offered []string
	chosen  string
	more    http.Header // of the request; the root package does not know it either

	refused *http.Response // nil unless the server answered with another status than 101
}

// failed returns the error of Dial for err, which the root package returned.
func (t *roundTripper) failed(resp *http.Response, err error) error {
	switch {
	case t.err != nil:
		return t.err
	case resp == nil && isTimeout(err):
		return &timeoutError{err.Error(), err, true}
	case resp == nil:
		return err
	case resp.StatusCode == http.StatusSwitchingProtocols:
		return fmt.Errorf("%w: %w", ErrBadHandshake, err) // the status does not tell what is wrong
	}
	return ErrBadHandshake
}

// RoundTrip implements http.RoundTripper.
func (t *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.roundTrip(req)
	if err != nil && t.ctx.Err() != nil && !isTimeout(err) {
		err = t.ctx.Err()
	}
	t.err = err
	return resp, err
}

func (t *roundTripper) roundTrip(req *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(req.Context())
	if trace == nil {
		trace = &httptrace.ClientTrace{}
	}
	req = t.complete(req)
	conn, err := t.connect(req, trace)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(req.Context(), func() { conn.Close() }) // it ends with t.ctx, or when the body takes too long
	resp, received, err := exchange(conn, req, trace)
	if err != nil {
		stop()
		conn.Close()
		return nil, t.explain(t.broken(conn, err))
	}
	if cookies := resp.Cookies(); t.d.Jar != nil && len(cookies) > 0 {
		t.d.Jar.SetCookies(req.URL, cookies)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.refused = resp
		resp.Body = &refusedBody{resp.Body, conn, stop}
		return resp, nil
	}
	if name := resp.Header.Get("Sec-Websocket-Protocol"); slices.Contains(t.offered, name) {
		t.chosen = name
		resp.Header.Del("Sec-Websocket-Protocol")
	}
	if !stop() {
		conn.Close()
		return nil, req.Context().Err()
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		conn.Close()
		return nil, err
	}
	resp.Body = &bridge.Body{Conn: conn, Received: received}
	return resp, nil
}

// complete returns req with the fields that the root package does not know, and
// with their names as the RFC spells them.
func (t *roundTripper) complete(req *http.Request) *http.Request {
	req = req.Clone(req.Context())
	if len(t.offered) > 0 {
		req.Header["Sec-WebSocket-Protocol"] = []string{strings.Join(t.offered, ", ")}
	}
	field.SpellAsRFC(req.Header)
	maps.Copy(req.Header, t.more)
	// Not by http.Client: it looks cookies up by the Host field, not by the
	// URL.
	if _, ok := req.Header["Cookie"]; !ok && t.d.Jar != nil {
		for _, cookie := range t.d.Jar.Cookies(req.URL) {
			req.AddCookie(cookie)
		}
	}
	return req
}

// broken returns what Dial returns when a call of conn has failed with err. It
// may have failed because the handshake has lasted too long. Then the context
// need not know it yet: conn has a timer of its own for the same deadline.
func (t *roundTripper) broken(conn net.Conn, err error) error {
	if deadline, ok := t.ctx.Deadline(); !ok || time.Now().Before(deadline) {
		return err // or the context was cancelled: RoundTrip sees to that
	}
	var oe *net.OpError
	if errors.As(err, &oe) && oe.Timeout() {
		return oe
	}
	return &net.OpError{Op: "read", Net: "tcp", Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: os.ErrDeadlineExceeded}
}

// connect opens the connection for req: through a proxy, and with TLS, if need
// be.
func (t *roundTripper) connect(req *http.Request, trace *httptrace.ClientTrace) (net.Conn, error) {
	addr := hostPort(req.URL)
	if trace.GetConn != nil {
		trace.GetConn(addr)
	}
	conn, err := t.dial(req, addr)
	if err != nil {
		return nil, err
	}
	if trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: conn})
	}
	if req.URL.Scheme != "https" || t.d.NetDialTLSContext != nil {
		return conn, nil
	}
	secure := tls.Client(conn, t.tlsConfig(req.URL.Hostname()))
	if trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	err = secure.HandshakeContext(t.ctx)
	if trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(secure.ConnectionState(), err)
	}
	if err != nil {
		conn.Close()
		return nil, t.broken(conn, err)
	}
	return secure, nil
}

// tlsConfig returns the configuration for host. WebSocket over HTTP/2 is not
// spoken: it must not be negotiated.
func (t *roundTripper) tlsConfig(host string) *tls.Config {
	cfg := &tls.Config{}
	if t.d.TLSClientConfig != nil {
		cfg = t.d.TLSClientConfig.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	if slices.Contains(cfg.NextProtos, "h2") {
		cfg.NextProtos = []string{"http/1.1"}
	}
	return cfg
}

// exchange sends req on conn and reads the response. received is what has been
// read behind a 101.
func exchange(conn net.Conn, req *http.Request, trace *httptrace.ClientTrace) (resp *http.Response, received []byte, err error) {
	if err := req.Write(conn); err != nil {
		return nil, nil, err
	}
	br := bufio.NewReader(conn)
	if trace.GotFirstResponseByte != nil {
		if _, err := br.Peek(1); err == nil {
			trace.GotFirstResponseByte()
		}
	}
	for range 6 { // responses of 1xx may come first
		if resp, err = http.ReadResponse(br, req); err != nil {
			return nil, nil, err
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			received, _ = br.Peek(br.Buffered()) // cannot fail
			return resp, append([]byte(nil), received...), nil
		}
		if resp.StatusCode >= 200 {
			return resp, nil, nil
		}
	}
	return nil, nil, errors.New("websocket: too many responses of 1xx")
}

// explain adds to err what may have caused it.
func (t *roundTripper) explain(err error) error {
	if cfg := t.d.TLSClientConfig; cfg != nil && !isTimeout(err) {
		for _, proto := range cfg.NextProtos {
			if proto != "http/1.1" && proto != "h2" {
				return fmt.Errorf("websocket: TLSClientConfig.NextProtos has %q, which is not spoken here: %w", proto, err)
			}
		}
	}
	return err
}

// A refusedBody is the body of a response that is no 101. It ends the
// connection.
type refusedBody struct {
	io.ReadCloser
	conn net.Conn
	stop func() bool
}

func (b *refusedBody) Close() error {
	b.stop()
	b.conn.Close() // first: the body would else read to its end
	return b.ReadCloser.Close()
}

// hostPort returns the address of a URL's host.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
