package websocket

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed70bc5565/websocket/internal/field"
)

// DialOptions are the options of [Dial]. A nil pointer and the zero value hold
// the defaults; a negative number switches a limit off. The struct is only
// read.
type DialOptions struct {
	// HTTPClient makes the request. Its Transport sets proxies, TLS and the
	// dialer, and its Jar sets cookies. Its Timeout bounds the handshake as a
	// deadline of the context does. The client follows redirects. It does not
	// follow those from wss to ws, unless its CheckRedirect is set and lets
	// them pass. Default: [http.DefaultClient].
	//
	// The names of the handshake's fields are sent in the spelling of the RFC,
	// such as Sec-WebSocket-Key. A Transport that is no [http.Transport] gets
	// the canonical keys of an [http.Header], and sends those.
	//
	// Through an HTTP proxy, wss uses CONNECT and ws a plain request, which the
	// proxy must know how to upgrade.
	HTTPClient *http.Client

	// HTTPHeader are more headers of the request, such as Authorization,
	// Cookie, Origin or User-Agent. It is an error if one is malformed or
	// belongs to the handshake: Upgrade, Connection, Host and those that begin
	// with Sec-WebSocket-.
	HTTPHeader http.Header

	// Host is the Host header of the request. Default: the host of the URL.
	Host string

	// Subprotocols are the subprotocols to offer, in order of preference. The
	// server may choose one ([Conn.Subprotocol]), or none.
	Subprotocols []string

	// CompressionMode and all later fields mean for a client what the fields of
	// the same names mean for a server. See [AcceptOptions], also for their
	// defaults.
	CompressionMode      CompressionMode
	CompressionThreshold int
	// The offer speaks of windows only where these two fields do, because some
	// servers refuse that. A server that wants to limit the client's window
	// needs CompressionSendWindowBits for it: 15 says that any is fine.
	CompressionSendWindowBits    int
	CompressionReceiveWindowBits int

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

// Dial opens a WebSocket connection to url, whose scheme is ws, wss, http or
// https (RFC 6455, sections 3 and 4.1).
//
// ctx bounds the handshake, redirects included, and nothing after it. An error
// that its end causes matches ctx.Err() with [errors.Is].
//
// The response is that of the server, and may be there with an error too. When
// the server refused, up to 1024 bytes of its body can be read from resp.Body.
// The error then wraps a [HandshakeError] with the status. It is never
// necessary to close resp.Body.
//
// In a program of js/wasm, Dial uses the WebSocket object of the browser, or of
// Node from version 22 on. It does not if the Transport of HTTPClient has a
// dialer, or is no [http.Transport]. An option that the object has nothing for
// is an error that names it. [Conn.Close] sends the codes 1000 and 3000 to
// 4999, and no code in place of others. [Conn.Ping] is an error, and there is
// no heartbeat.
func Dial(ctx context.Context, url string, opts *DialOptions) (*Conn, *http.Response, error) {
	cfg, resp, err := dial(ctx, url, opts)
	if err != nil {
		return nil, resp, fmt.Errorf("websocket: dial: %w", err)
	}
	return newConn(cfg), resp, nil
}

const (
	// refusalBodyLimit is how much of the body of a refusal is kept, in bytes.
	refusalBodyLimit = 1024
	// refusalBodyTimeout bounds the wait for it.
	refusalBodyTimeout = 5 * time.Second
)

// dial does the client's opening handshake.
func dial(ctx context.Context, rawURL string, opts *DialOptions) (connConfig, *http.Response, error) {
	if opts == nil {
		opts = &DialOptions{}
	}
	u, err := parseURL(rawURL)
	if err != nil {
		return connConfig{}, nil, argumentError{err}
	}
	key := newKey()
	deflate, err := newDeflateConfig(opts.CompressionMode, opts.CompressionSendWindowBits, opts.CompressionReceiveWindowBits)
	if err != nil {
		return connConfig{}, nil, argumentError{fmt.Errorf("invalid DialOptions: %w", err)}
	}
	header, err := requestHeader(opts, key, offerExtensions(deflate))
	if err != nil {
		return connConfig{}, nil, argumentError{err}
	}
	if ctx == nil {
		return connConfig{}, nil, argumentError{errors.New("the context is nil")}
	}
	if err := ctx.Err(); err != nil {
		return connConfig{}, nil, err
	}
	host := opts.Host
	if host == "" {
		host = requestHost(u)
	}
	req := opts.Trace.begin((&http.Request{
		Method:     http.MethodGet,
		URL:        u,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     header,
		Host:       host,
	}).WithContext(ctx))
	ctx = req.Context()
	var cfg connConfig
	var resp *http.Response
	err = errHandshakePanicked // until the call below returns: it runs callbacks of the HTTP client
	defer func() {
		if err != nil {
			opts.Trace.refused(ctx, err)
		}
	}()
	if platformDials(opts.HTTPClient) {
		cfg, resp, err = dialPlatform(ctx, u, opts)
	} else {
		cfg, resp, err = dialRequest(req, key, deflate, opts)
	}
	if err != nil {
		return connConfig{}, resp, err
	}
	cfg.trace = newTracing(opts.Trace, ctx)
	return cfg, resp, nil
}

// dialRequest is dial with a request, which has key.
func dialRequest(req *http.Request, key string, deflate deflateConfig, opts *DialOptions) (connConfig, *http.Response, error) {
	var last *http.Request
	client := handshakeClient(opts.HTTPClient, func(next *http.Request) {
		last, key = next, newKey()
		//lint:ignore SA1008 on the wire the field is spelled as the RFC spells it
		if _, ok := next.Header[sentKey]; ok {
			next.Header[sentKey] = []string{key}
		} else {
			next.Header[fieldKey] = []string{key}
		}
	})
	switch client.Transport.(type) {
	case nil, *http.Transport, *connTripper: // others, such as a fake, may look for the key of a map
		field.SpellAsRFC(req.Header)
	}
	bound := boundHandshake(req.Context(), client.Timeout)
	decided := false
	defer func() {
		if !decided {
			_ = bound.fail(errHandshakePanicked)
		}
	}()
	client.Timeout = 0 // it would wrap the body of the response
	var traced connTrace
	req = req.WithContext(httptrace.WithClientTrace(bound.ctx, &httptrace.ClientTrace{GotConn: traced.gotConn}))

	last = req
	resp, err := client.Do(req)
	decided = true
	if err != nil {
		if resp != nil { // a redirect that was not followed: its body is closed
			last = resp.Request
		}
		err = namePlainProxy(err, client.Transport, last)
		if resp != nil {
			resp.Body = http.NoBody
			err = &HandshakeError{StatusCode: resp.StatusCode, Header: resp.Header, err: err}
		}
		return connConfig{}, resp, bound.fail(err)
	}
	up, err := checkResponse(resp, opts, key, deflate)
	if err != nil {
		err = namePlainProxy(err, client.Transport, resp.Request)
		body := keepBody(resp, bound.cancel)
		return connConfig{}, resp, bound.fail(&HandshakeError{resp.StatusCode, resp.Header, body, err})
	}
	cfg, err := takeResponse(resp, up, traced.conn(), bound, opts)
	return cfg, resp, err
}

// takeResponse takes the connection out of a response that is an upgrade. below
// is the net.Conn that the client dialed, or nil.
func takeResponse(resp *http.Response, up upgrade, below net.Conn, bound *handshakeBound, opts *DialOptions) (connConfig, error) {
	body, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		resp.Body.Close()
		err := fmt.Errorf("the HTTP client returned a body of type %T for a 101 response: it cannot be written", resp.Body)
		resp.Body = http.NoBody
		return connConfig{}, bound.fail(err)
	}
	resp.Body = http.NoBody
	conn, received := takeConn(body, below)
	if err := bound.release(); err != nil {
		conn.Close()
		return connConfig{}, err
	}
	return connConfig{
		transport:        conn,
		client:           true,
		received:         received,
		subprotocol:      up.subprotocol,
		tls:              tlsBelow(conn, resp.TLS),
		deflate:          up.deflate,
		deflateThreshold: opts.CompressionThreshold,
		readLimit:        opts.ReadLimit,
		writeBufferLimit: opts.WriteBufferLimit,
		closeTimeout:     opts.CloseTimeout,
		pingInterval:     opts.PingInterval,
		pongTimeout:      opts.PongTimeout,
		skipUTF8:         opts.SkipUTF8Validation,
		onPing:           opts.OnPingReceived,
		onPong:           opts.OnPongReceived,
	}, nil
}

// tlsBelow returns state, unless conn tells it by itself.
func tlsBelow(conn net.Conn, state *tls.ConnectionState) *tls.ConnectionState {
	if _, ok := conn.(*tls.Conn); ok {
		return nil
	}
	return state
}

// requestHost returns the Host of a request to u, as http.NewRequest sets it.
// An http.RoundTripper may sign it, or route by it.
func requestHost(u *url.URL) string { return strings.TrimSuffix(u.Host, ":") }

// namePlainProxy adds to err, why a handshake failed, the HTTP proxy that got
// req as a plain request.
func namePlainProxy(err error, transport http.RoundTripper, req *http.Request) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "proxyconnect" { // it cannot be reached, and net/http says so
		return err
	}
	if proxy := plainProxy(transport, req); proxy != "" {
		return fmt.Errorf("%w (through the HTTP proxy %s, which must upgrade a plain request: use wss, or a DialContext that tunnels by CONNECT)", err, proxy)
	}
	return err
}

// plainProxy returns the host of the HTTP proxy that gets req as a plain
// request, because its URL is ws, or "".
func plainProxy(transport http.RoundTripper, req *http.Request) string {
	if transport == nil {
		transport = http.DefaultTransport
	}
	t, ok := transport.(*http.Transport)
	if !ok || t.Proxy == nil || req == nil || req.URL.Scheme != "http" {
		return ""
	}
	proxy, err := t.Proxy(req)
	if err != nil || proxy == nil || proxy.Scheme != "http" && proxy.Scheme != "https" {
		return ""
	}
	return proxy.Host // without the password
}

// newKey returns a Sec-WebSocket-Key: "a randomly selected 16-byte value that
// has been base64-encoded" (section 4.1).
func newKey() string {
	var nonce [16]byte
	rand.Read(nonce[:]) // never fails
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// handshakeClient returns a copy of the user's client that also follows
// redirects to ws and wss. It calls renewKey with each request that follows a
// redirect: "The nonce MUST be selected randomly for each connection" (section
// 4.1).
func handshakeClient(user *http.Client, renewKey func(*http.Request)) http.Client {
	if user == nil {
		user = http.DefaultClient
	}
	client := *user
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		fromWebSocketScheme(req.URL)
		if err := checkQuery(req.URL); err != nil {
			return err
		}
		renewKey(req)
		if req.Host == "" {
			req.Host = requestHost(req.URL)
		}
		if user.CheckRedirect != nil {
			return user.CheckRedirect(req, via)
		}
		if len(via) >= 10 { // as net/http does
			return errors.New("stopped after 10 redirects")
		}
		if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme == "http" {
			return errors.New("a redirect from wss to ws is not followed")
		}
		return nil
	}
	return client
}

// keepBody closes the body of a response that failed the handshake. It returns
// the first bytes of the body. A read that takes too long is ended by giveUp.
func keepBody(resp *http.Response, giveUp func(cause error)) (kept []byte) {
	if resp.StatusCode != http.StatusSwitchingProtocols { // what follows a 101 has no end
		timer := time.AfterFunc(refusalBodyTimeout, func() { giveUp(errors.New("the body of the response took too long")) })
		kept, _ = io.ReadAll(io.LimitReader(resp.Body, refusalBodyLimit))
		timer.Stop()
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(kept))
	return kept
}

// A handshakeBound is the context of a handshake. It ends with the caller's
// context and with the timeout of the HTTP client, but only until release. So
// nothing that kept it, such as the body of a response, ends with them later.
type handshakeBound struct {
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
	limit  context.Context // the caller's, with the timeout
	unhook func() bool
	stop   context.CancelFunc // frees the timer
}

func boundHandshake(ctx context.Context, timeout time.Duration) *handshakeBound {
	b := &handshakeBound{limit: ctx, stop: func() {}}
	if timeout > 0 {
		b.limit, b.stop = context.WithTimeout(ctx, timeout)
	}
	b.ctx, b.cancel = context.WithCancelCause(context.WithoutCancel(b.limit))
	b.unhook = context.AfterFunc(b.limit, func() { b.cancel(context.Cause(b.limit)) })
	return b
}

// release detaches the context. If it has ended before, that is the error.
func (b *handshakeBound) release() error {
	detached := b.unhook()
	err := b.limit.Err()
	b.stop()
	if !detached && err != nil {
		b.cancel(err)
		return err
	}
	return nil
}

// fail ends the context, and returns err, or what it stands for if it came from
// the end of the context.
func (b *handshakeBound) fail(err error) error {
	ended := b.limit.Err()
	b.unhook()
	b.stop()
	b.cancel(err)
	if ended != nil && !errors.Is(err, ended) {
		return fmt.Errorf("%w: %w", ended, err)
	}
	return err
}

// A connTrace remembers the connection that the HTTP client got last. After
// redirects, that is the one that was upgraded.
type connTrace struct{ last atomic.Pointer[net.Conn] }

func (t *connTrace) gotConn(info httptrace.GotConnInfo) { t.last.Store(&info.Conn) }

func (t *connTrace) conn() net.Conn {
	if p := t.last.Load(); p != nil {
		return *p
	}
	return nil
}
