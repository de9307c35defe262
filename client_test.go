package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// serveEcho is the serve of most servers here.
func serveEcho(c *Conn, _ *http.Request) { _ = echo(c) }

// checkEcho sends a few messages through c and expects them back, then closes
// c.
func checkEcho(t *testing.T, c *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, data := range []string{"hello", "", strings.Repeat("x", 100_000)} {
		if err := c.Write(ctx, MessageText, []byte(data)); err != nil {
			t.Fatal(err)
		}
		typ, got, err := c.Read(ctx)
		if err != nil || typ != MessageText || string(got) != data {
			t.Fatalf("got %v %.20q (%d bytes), %v, want %.20q", typ, got, len(got), err, data)
		}
	}
	if err := c.Close(StatusNormalClosure, ""); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// newServer serves h until the test ends, and drops the errors that it logs.
func newServer(t *testing.T, h http.Handler, secure bool) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = discardLog
	if secure {
		s.EnableHTTP2 = true // a client that may use HTTP/2 must not for a handshake
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func wsURL(s *httptest.Server) string { return "ws" + strings.TrimPrefix(s.URL, "http") }

func TestDialEcho(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := newServer(t, Handler(serveEcho, &AcceptOptions{Subprotocols: []string{"v2", "v1"}}), secure)
		for _, target := range []string{s.URL, wsURL(s)} {
			opts := &DialOptions{HTTPClient: s.Client(), Subprotocols: []string{"v1", "v2"}}
			cfg, resp, err := dial(t.Context(), target, opts)
			if err != nil {
				t.Fatalf("%s: %v", target, err)
			}
			if resp.StatusCode != 101 || cfg.subprotocol != "v2" || !cfg.client {
				t.Errorf("%s: got %v and %+v", target, resp, cfg)
			}
			if b, err := io.ReadAll(resp.Body); len(b) > 0 || err != nil || resp.Body.Close() != nil {
				t.Errorf("%s: the body of the response: %q, %v", target, b, err)
			}
			// The connection itself, not a detour.
			switch cfg.transport.(type) {
			case *net.TCPConn, *tls.Conn:
			default:
				t.Errorf("%s: the transport is a %T", target, cfg.transport)
			}
			c := newConn(cfg)
			if c.RemoteAddr().String() != s.Listener.Addr().String() {
				t.Errorf("RemoteAddr: %v", c.RemoteAddr())
			}
			checkEcho(t, c)
		}
	}
}

func TestDialOptions(t *testing.T) {
	var got *http.Request
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		http.Error(w, "no", http.StatusTeapot)
	}), false)
	opts := &DialOptions{
		HTTPHeader:   http.Header{"User-Agent": {"test"}, "X-A": {"1", "2"}},
		Host:         "other.example:81",
		Subprotocols: []string{"v1"},
	}
	Dial(t.Context(), strings.Replace(wsURL(s), "ws://", "ws://user:pa%20ss@", 1)+"/a%2fb?q=1", opts)
	if got == nil {
		t.Fatal("no request came")
	}
	user, password, _ := got.BasicAuth()
	if got.Host != "other.example:81" || got.RequestURI != "/a%2fb?q=1" || user != "user" || password != "pa ss" ||
		got.UserAgent() != "test" || !reflect.DeepEqual(got.Header["X-A"], []string{"1", "2"}) ||
		!validKey(got.Header.Get("Sec-WebSocket-Key")) || got.Header.Get("Sec-WebSocket-Protocol") != "v1" ||
		got.Header["Sec-Websocket-Extensions"] != nil {
		t.Errorf("got %+v", got)
	}
	if len(opts.HTTPHeader) != 2 || opts.HTTPClient != nil {
		t.Errorf("the caller's options have become %+v", opts)
	}
}

func TestDialConfig(t *testing.T) {
	s := newServer(t, Handler(serveEcho, nil), false)
	cfg, _, err := dial(t.Context(), s.URL, &DialOptions{
		ReadLimit:          1,
		WriteBufferLimit:   2,
		CloseTimeout:       3,
		SkipUTF8Validation: true,
		OnPingReceived:     func(context.Context, []byte) bool { return true },
		OnPongReceived:     func(context.Context, []byte) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg.transport.Close()
	if cfg.readLimit != 1 || cfg.writeBufferLimit != 2 || cfg.closeTimeout != 3 || !cfg.skipUTF8 || cfg.onPing == nil || cfg.onPong == nil {
		t.Errorf("got %+v", cfg)
	}
}

func TestKeysDiffer(t *testing.T) {
	if a, b := newKey(), newKey(); a == b || !validKey(a) || !validKey(b) {
		t.Errorf("got %q and %q", a, b)
	}
}

// What is wrong with the options is said before anything is sent.
func TestDialSendsNothing(t *testing.T) {
	client := &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return nil, errors.New("refused")
	})}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		ctx  context.Context
		url  string
		opts *DialOptions
		err  string
	}{
		{t.Context(), "ftp://example.com", &DialOptions{}, "websocket: dial: the scheme of the URL"},
		{t.Context(), "ws://example.com/#x", &DialOptions{}, "websocket: dial: the URL has a fragment"},
		{t.Context(), "ws://example.com", &DialOptions{HTTPHeader: http.Header{"X": {"\r\n"}}}, "websocket: dial: invalid value of X"},
		{t.Context(), "ws://example.com", &DialOptions{Host: "\n"}, "websocket: dial: invalid DialOptions.Host"},
		{t.Context(), "ws://example.com", &DialOptions{Subprotocols: []string{"\r\n"}}, "websocket: dial: invalid DialOptions.Subprotocols"},
		{ended, "ws://example.com", &DialOptions{}, "websocket: dial: context canceled"},
		{nil, "ws://example.com", &DialOptions{}, "websocket: dial: the context is nil"},
	} {
		tt.opts.HTTPClient = client
		if c, resp, err := Dial(tt.ctx, tt.url, tt.opts); c != nil || resp != nil || !matches(err, tt.err) {
			t.Errorf("%s %+v: got %v, %v, %v, want the error %q", tt.url, tt.opts, c, resp, err, tt.err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestDialRefused(t *testing.T) {
	for _, size := range []int{0, 10, 1024, 1025, 1 << 20} {
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-A", "1")
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, strings.Repeat("x", size))
		}), false)
		c, resp, err := Dial(t.Context(), s.URL, nil)
		if c != nil || !matches(err, "status 403 Forbidden, not 101") {
			t.Fatalf("got %v, %v", c, err)
		}
		s.Close() // the body is in memory
		body, err := io.ReadAll(resp.Body)
		if err != nil || len(body) != min(size, 1024) || resp.Header.Get("X-A") != "1" {
			t.Errorf("%d bytes: got %d of them, %v, %v", size, len(body), err, resp.Header)
		}
	}
}

// A 101 that is wrong is refused, its connection closed, and what follows it
// not waited for.
func TestDialWrongAccept(t *testing.T) {
	closed := make(chan error, 1)
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := http.NewResponseController(w).Hijack()
		defer conn.Close()
		io.WriteString(conn, wstest.Response("another key"))
		_, err := conn.Read(make([]byte, 1))
		closed <- err
	}), false)
	c, resp, err := Dial(t.Context(), s.URL, nil)
	if c != nil || resp.StatusCode != 101 || !matches(err, "Sec-WebSocket-Accept header of the response is wrong") {
		t.Errorf("got %v, %v, %v", c, resp, err)
	}
	if b, err := io.ReadAll(resp.Body); len(b) > 0 || err != nil {
		t.Errorf("the body: %q, %v", b, err)
	}
	if err := <-closed; err == nil {
		t.Error("the server could read on")
	}
}

// pipeServer returns a client whose connections are pipes, wrapped by wrap, to
// serve.
func pipeServer(t *testing.T, wrap func(net.Conn) net.Conn, serve func(p *wstest.Peer)) *http.Client {
	var wg sync.WaitGroup
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := netfake.Pipe(netfake.Options{})
		wg.Go(func() {
			defer far.Close()
			serve(wstest.NewPeer(t, far, wstest.Server))
		})
		return wrap(near), nil
	}}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		wg.Wait()
	})
	return &http.Client{Transport: tr}
}

func asIs(c net.Conn) net.Conn { return c }

// A connection that takes deadlines and does not honour them.
type deafConn struct{ net.Conn }

func (deafConn) SetDeadline(time.Time) error     { return nil }
func (deafConn) SetReadDeadline(time.Time) error { return nil }

// A connection that is slow to tell of its deadline: when it does, the deadline
// stands no more.
type slowConn struct{ net.Conn }

func (c slowConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		time.Sleep(time.Second)
	}
	return n, err
}

// A connection without deadlines.
type timelessConn struct{ net.Conn }

func (timelessConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (timelessConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (timelessConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// A type that cannot be compared.
type sliceConn struct {
	net.Conn
	_ []int
}

// Frames that arrive in the same packet as the 101, or behind it, are not lost.
func TestDialKeepsBytes(t *testing.T) {
	type kind struct {
		name   string
		wrap   func(net.Conn) net.Conn
		direct bool
	}
	for _, k := range []kind{
		{"conn", asIs, true},
		{"deaf", func(c net.Conn) net.Conn { return deafConn{c} }, true},
		{"slow", func(c net.Conn) net.Conn { return slowConn{c} }, true},
		{"timeless", func(c net.Conn) net.Conn { return timelessConn{c} }, false},
		{"incomparable", func(c net.Conn) net.Conn { return sliceConn{Conn: c} }, false},
	} {
		for _, early := range []int{0, 1, 700, 4500} {
			t.Run(fmt.Sprint(k.name, early), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					data := strings.Repeat("y", early) + "behind"
					client := pipeServer(t, k.wrap, func(p *wstest.Peer) {
						req := p.ReadRequest()
						p.WriteRaw([]byte(wstest.Response(req.Header.Get("Sec-WebSocket-Key")) + data[:early]))
						time.Sleep(time.Second)
						p.WriteRaw([]byte(data[early:]))
						p.WriteRaw([]byte("+"))
						p.WantEnd()
					})
					cfg, _, err := dial(t.Context(), "ws://example.com/", &DialOptions{HTTPClient: client})
					if err != nil {
						t.Fatal(err)
					}
					defer cfg.transport.Close()
					if _, detour := cfg.transport.(*bodyConn); detour == k.direct {
						t.Errorf("the transport is a %T", cfg.transport)
					}
					if cfg.transport.RemoteAddr().Network() != "fake" {
						t.Errorf("the address is %v", cfg.transport.RemoteAddr())
					}
					rest := make([]byte, len(data)+1-len(cfg.received))
					if _, err := io.ReadFull(cfg.transport, rest); err != nil || string(cfg.received)+string(rest) != data+"+" {
						t.Errorf("got %d bytes with the handshake, then %.20q, %v", len(cfg.received), rest, err)
					}
				})
			})
		}
	}
}

// The same over TCP and TLS. The early bytes are in the client's buffer, in the
// TLS record of the response, or in one of their own.
func TestDialKeepsBytesTCP(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, records := range []int{1, 2} {
			early, late := strings.Repeat("early", 200), "late"
			s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, _, _ := http.NewResponseController(w).Hijack()
				defer conn.Close()
				head := wstest.Response(r.Header.Get("Sec-WebSocket-Key"))
				if records == 1 {
					io.WriteString(conn, head+early)
				} else {
					io.WriteString(conn, head)
					io.WriteString(conn, early)
				}
				if n, _ := conn.Read(make([]byte, 1)); n == 1 {
					io.WriteString(conn, late)
				}
			}), secure)
			cfg, _, err := dial(t.Context(), wsURL(s), &DialOptions{HTTPClient: s.Client()})
			if err != nil {
				t.Fatal(err)
			}
			defer cfg.transport.Close()
			if records == 1 && len(cfg.received) == 0 {
				t.Error("nothing came with the handshake: the test does not test what it should")
			}
			got := make([]byte, len(early)-len(cfg.received))
			_, err = io.ReadFull(cfg.transport, got)
			if err != nil || string(cfg.received)+string(got) != early {
				t.Fatalf("secure %v, %d records: got %d bytes with the handshake and %d more, %v", secure, records, len(cfg.received), len(got), err)
			}
			cfg.transport.Write([]byte("!"))
			if got, err := io.ReadAll(cfg.transport); string(got) != late || err != nil {
				t.Errorf("secure %v, %d records: got %q, %v", secure, records, got, err)
			}
		}
	}
}

// What a custom RoundTripper does to the body is not gone round.
func TestDialThroughBody(t *testing.T) {
	s := newServer(t, Handler(serveEcho, nil), false)
	var written atomic.Int64
	for name, wrap := range map[string]func(io.ReadWriteCloser) io.ReadCloser{
		"nothing": func(b io.ReadWriteCloser) io.ReadCloser { return b },
		"counted": func(b io.ReadWriteCloser) io.ReadCloser { return &countingBody{b, &written} },
		"closer":  func(b io.ReadWriteCloser) io.ReadCloser { return io.NopCloser(b) },
	} {
		client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err == nil {
				resp.Body = wrap(resp.Body.(io.ReadWriteCloser))
			}
			return resp, err
		})}
		cfg, resp, err := dial(t.Context(), wsURL(s), &DialOptions{HTTPClient: client})
		if name == "closer" {
			if !matches(err, "a body of type io.nopCloser") || resp.Body != http.NoBody {
				t.Errorf("a body without Write: got %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, detour := cfg.transport.(*bodyConn); detour != (name == "counted") {
			t.Errorf("%s: the transport is a %T", name, cfg.transport)
		}
		if cfg.transport.RemoteAddr().String() != s.Listener.Addr().String() {
			t.Errorf("%s: RemoteAddr is %v", name, cfg.transport.RemoteAddr())
		}
		checkEcho(t, newConn(cfg))
		if name == "counted" && written.Load() < 100_000 {
			t.Errorf("the body saw %d bytes", written.Load())
		}
	}
}

// A body that is over the connection, but does something of its own.
func TestIsBodyOf(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	for _, body := range []io.ReadWriteCloser{&countingBody{ReadWriteCloser: near}, struct{ io.ReadWriteCloser }{near}, near} {
		if isBodyOf(body, near) {
			t.Errorf("a %T passes for net/http's", body)
		}
	}
}

type countingBody struct {
	io.ReadWriteCloser
	written *atomic.Int64
}

func (b *countingBody) Write(p []byte) (int, error) {
	b.written.Add(int64(len(p)))
	return b.ReadWriteCloser.Write(p)
}

// A RoundTripper may make several connections for a request. The one that was
// reported last is not always the right one.
func TestDialOtherConn(t *testing.T) {
	s := newServer(t, Handler(serveEcho, nil), false)
	other := newServer(t, http.NotFoundHandler(), false)
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		late, _ := http.NewRequestWithContext(r.Context(), "GET", other.URL, nil)
		if resp, err := http.DefaultTransport.RoundTrip(late); err == nil {
			io.Copy(io.Discard, resp.Body) // so that the connection stays open
			resp.Body.Close()
		}
		return resp, err
	})}
	c, _, err := Dial(t.Context(), wsURL(s), &DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	checkEcho(t, c)
}

// A RoundTripper that shows no connection works too.
func TestDialFakeTransport(t *testing.T) {
	near, far := netfake.Pipe(netfake.Options{})
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(wstest.Response(r.Header.Get("Sec-WebSocket-Key")))), r)
		resp.Body = struct{ io.ReadWriteCloser }{near}
		return resp, err
	})}
	c, _, err := Dial(t.Context(), "ws://example.com", &DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	if c.RemoteAddr().String() != "unknown" {
		t.Errorf("RemoteAddr is %v", c.RemoteAddr())
	}
	go serveEcho(newConn(connConfig{transport: far}), nil)
	checkEcho(t, c)
}

// The context bounds every part of the handshake.
func TestDialContext(t *testing.T) {
	stages := map[string]func(p *wstest.Peer){
		"nothing is read": func(p *wstest.Peer) { time.Sleep(time.Hour) },
		"no response":     func(p *wstest.Peer) { p.ReadRequest(); time.Sleep(time.Hour) },
		"half a header":   func(p *wstest.Peer) { p.ReadRequest(); p.WriteRaw([]byte("HTTP/1.1 101")); time.Sleep(time.Hour) },
		"half a body": func(p *wstest.Peer) {
			p.ReadRequest()
			p.WriteRaw([]byte("HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nhalf"))
			time.Sleep(time.Hour)
		},
		"redirects for ever": func(p *wstest.Peer) {
			p.ReadRequest()
			time.Sleep(1100 * time.Millisecond)
			p.TryWrite([]byte("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
		},
	}
	for name, serve := range stages {
		for _, how := range []string{"cancel", "deadline", "client timeout"} {
			t.Run(name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client := pipeServer(t, asIs, serve)
					const limit = 3 * time.Second
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					want := context.DeadlineExceeded
					switch how {
					case "cancel":
						want = context.Canceled
						time.AfterFunc(limit, cancel)
					case "deadline":
						ctx, cancel = context.WithTimeout(ctx, limit)
						defer cancel()
					case "client timeout":
						client.Timeout = limit
					}
					start := time.Now()
					c, resp, err := Dial(ctx, "ws://example.com/", &DialOptions{HTTPClient: client})
					if c != nil || !errors.Is(err, want) || !strings.HasPrefix(fmt.Sprint(err), "websocket: dial: ") || time.Since(start) != limit {
						t.Errorf("got %v, %v after %v", c, err, time.Since(start))
					}
					if name == "half a body" {
						if b, err := io.ReadAll(resp.Body); string(b) != "half" || err != nil {
							t.Errorf("the body is %q, %v", b, err)
						}
					}
				})
			})
		}
	}
}

// A context that ends when the response is there already ends the handshake
// too, and the connection with it.
func TestDialContextAtTheEnd(t *testing.T) {
	near, far := netfake.Pipe(netfake.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(wstest.Response(r.Header.Get("Sec-WebSocket-Key")))), r)
		resp.Body = struct{ io.ReadWriteCloser }{near}
		cancel()
		<-r.Context().Done()
		return resp, err
	})}
	c, _, err := Dial(ctx, "ws://example.com", &DialOptions{HTTPClient: client})
	if c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", c, err)
	}
	wstest.NewPeer(t, far, wstest.Server).WantEnd()
}

// A server that refuses and then stalls does not hold up Dial for long.
func TestDialRefusalStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := pipeServer(t, asIs, func(p *wstest.Peer) {
			p.ReadRequest()
			p.WriteRaw([]byte("HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nhalf"))
			time.Sleep(time.Hour)
		})
		start := time.Now()
		_, resp, err := Dial(context.Background(), "ws://example.com/", &DialOptions{HTTPClient: client})
		if d := time.Since(start); d != refusalBodyTimeout || !matches(err, "status 403") {
			t.Errorf("got %v after %v", err, d)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "half" || err != nil {
			t.Errorf("the body is %q, %v", b, err)
		}
	})
}

// Once Dial has returned, its context and the timeout of the client mean
// nothing to the connection. That holds even if a RoundTripper ties the body to
// the context of the request.
func TestDialContextAfterwards(t *testing.T) {
	for _, tied := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			client := pipeServer(t, asIs, func(p *wstest.Peer) {
				p.ServerHandshake()
				p.Conn.SetDeadline(time.Time{})
				c := newConn(connConfig{transport: p.Conn, pingInterval: -1}) // the client does not read for an hour
				serveEcho(c, nil)
				c.CloseNow()
			})
			inner := client.Transport
			if tied {
				client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
					resp, err := inner.RoundTrip(r)
					if err == nil {
						body := resp.Body.(io.ReadWriteCloser)
						context.AfterFunc(r.Context(), func() { body.Close() })
						resp.Body = struct{ io.ReadWriteCloser }{body}
					}
					return resp, err
				})
			}
			client.Timeout = time.Second
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			c, _, err := Dial(ctx, "ws://example.com/", &DialOptions{HTTPClient: client})
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			time.Sleep(time.Hour)
			checkEcho(t, c)
		})
	}
}

func TestDialRedirect(t *testing.T) {
	target := newServer(t, Handler(serveEcho, nil), false)
	var hops atomic.Int64
	mux := http.NewServeMux()
	mux.Handle("/ws", Handler(serveEcho, nil))
	mux.Handle("/relative", http.RedirectHandler("/ws", http.StatusFound))
	mux.Handle("/permanent", http.RedirectHandler("/relative", http.StatusPermanentRedirect))
	mux.Handle("/other", http.RedirectHandler(target.URL, http.StatusSeeOther))
	mux.Handle("/scheme", http.RedirectHandler(wsURL(target), http.StatusMovedPermanently))
	mux.Handle("/ftp", http.RedirectHandler("ftp://example.com", http.StatusFound))
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) {
		hops.Add(1)
		http.Redirect(w, r, "/loop", http.StatusFound)
	})
	s := newServer(t, mux, false)
	for _, path := range []string{"/relative", "/permanent", "/other", "/scheme"} {
		c, _, err := Dial(t.Context(), wsURL(s)+path, nil)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		checkEcho(t, c)
	}
	for path, want := range map[string]string{"/loop": "stopped after 10 redirects", "/ftp": "unsupported protocol scheme"} {
		_, resp, err := Dial(t.Context(), wsURL(s)+path, nil)
		if !matches(err, want) {
			t.Errorf("%s: %v", path, err)
		}
		if resp != nil {
			if _, err := io.ReadAll(resp.Body); err != nil {
				t.Errorf("%s: the body cannot be read: %v", path, err)
			}
		}
	}
	if hops.Load() != 10 {
		t.Errorf("%d hops", hops.Load())
	}
	var via int
	client := &http.Client{CheckRedirect: func(req *http.Request, v []*http.Request) error {
		via = len(v)
		return http.ErrUseLastResponse
	}}
	_, resp, err := Dial(t.Context(), wsURL(s)+"/relative", &DialOptions{HTTPClient: client})
	if !matches(err, "status 302 Found, not 101") || resp.Header.Get("Location") != "/ws" || via != 1 {
		t.Errorf("CheckRedirect: got %v, %v", resp, err)
	}
}

func TestDialCookies(t *testing.T) {
	var second string
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		second = r.Header.Get("Cookie")
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		if c, err := Accept(w, r, nil); err == nil {
			serveEcho(c, r)
		}
	}), false)
	jar, _ := cookiejar.New(nil)
	opts := &DialOptions{HTTPClient: &http.Client{Jar: jar}}
	for range 2 {
		c, resp, err := Dial(t.Context(), wsURL(s), opts)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("Set-Cookie") != "session=1" {
			t.Errorf("the response has %v", resp.Header)
		}
		checkEcho(t, c)
	}
	if second != "session=1" {
		t.Errorf("the second request has the cookie %q", second)
	}
}

func TestDialProxy(t *testing.T) {
	var asked atomic.Value
	forward := &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}
	proxy := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.RequestURI)
		if r.Method != http.MethodConnect {
			forward.ServeHTTP(w, r)
			return
		}
		out, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer out.Close()
		in, _, _ := http.NewResponseController(w).Hijack()
		defer in.Close()
		io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(out, in)
			out.Close()
		}()
		io.Copy(in, out)
	}), false)
	proxyURL, _ := url.Parse(proxy.URL)
	for _, secure := range []bool{false, true} {
		s := newServer(t, Handler(serveEcho, nil), secure)
		tr := s.Client().Transport.(*http.Transport).Clone()
		tr.Proxy = http.ProxyURL(proxyURL)
		c, _, err := Dial(t.Context(), wsURL(s), &DialOptions{HTTPClient: &http.Client{Transport: tr}})
		if err != nil {
			t.Fatal(err)
		}
		checkEcho(t, c)
		want := "GET " + s.URL + "/"
		if secure {
			want = "CONNECT " + s.Listener.Addr().String()
		}
		if got := asked.Load(); got != want {
			t.Errorf("the proxy was asked %q, want %q", got, want)
		}
	}
}

// A certificate that does not hold for the host, or that no authority vouches
// for, ends the handshake.
func TestDialCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(Handler(serveEcho, nil))
	s.Config.ErrorLog = discardLog
	s.StartTLS()
	defer s.Close()
	_, _, err := Dial(t.Context(), wsURL(s), nil)
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("an unknown authority: %v", err)
	}
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	tr := s.Client().Transport.(*http.Transport).Clone()
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
	}
	_, _, err = Dial(t.Context(), "wss://wrong.example:"+port, &DialOptions{HTTPClient: &http.Client{Transport: tr}})
	var name x509.HostnameError
	if !errors.As(err, &name) {
		t.Errorf("another host: %v", err)
	}
	c, _, err := Dial(t.Context(), "wss://example.com:"+port, &DialOptions{HTTPClient: &http.Client{Transport: tr}})
	if err != nil {
		t.Fatal(err)
	}
	checkEcho(t, c)
}

func TestDialNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, resp, err := Dial(t.Context(), "ws://user:secret@"+l.Addr().String(), nil)
	var op *net.OpError
	if resp != nil || !errors.As(err, &op) || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, %v", resp, err)
	}
}

func BenchmarkHandshake(b *testing.B) {
	s := httptest.NewServer(Handler(func(c *Conn, r *http.Request) { c.CloseNow() }, nil))
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		cfg, _, err := dial(context.Background(), s.URL, nil)
		if err != nil {
			b.Fatal(err)
		}
		cfg.transport.Close()
	}
}

// An authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// issue signs what change makes of a good certificate for example.com; a nil
// authority lets it sign itself.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"example.com"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	change(template)
	parent, signer := template, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// What crypto/tls refuses, Dial refuses, with the error of the standard library
// in its own, before any request is sent.
func TestHostileCertificate(t *testing.T) {
	trusted, other := newAuthority(t), newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(trusted.cert)
	invalid := func(reason x509.InvalidReason) func(error) bool {
		return func(err error) bool {
			var ie x509.CertificateInvalidError
			return errors.As(err, &ie) && ie.Reason == reason
		}
	}
	unknown := func(err error) bool { var ue x509.UnknownAuthorityError; return errors.As(err, &ue) }
	wrongHost := func(err error) bool { var he x509.HostnameError; return errors.As(err, &he) }
	as := func(*x509.Certificate) {}
	names := func(names ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.DNSNames = names }
	}
	for _, test := range []struct {
		name string
		cert tls.Certificate
		want func(error) bool // nil: accepted
	}{
		{"good", trusted.issue(t, as), nil},
		{"expired", trusted.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), invalid(x509.Expired)},
		{"not yet valid", trusted.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), invalid(x509.Expired)},
		{"self-signed", (*authority)(nil).issue(t, as), unknown},
		{"another authority of the same name", other.issue(t, as), unknown},
		{"wrong host", trusted.issue(t, names("example.org")), wrongHost},
		{"suffix", trusted.issue(t, names("notexample.com", "com", "*.com.example.com")), wrongHost},
		{"no host, but a common name", trusted.issue(t, func(c *x509.Certificate) { c.DNSNames = nil; c.Subject.CommonName = "example.com" }), wrongHost},
		{"a name with a zero byte", trusted.issue(t, names("example.com\x00.evil.example")), wrongHost},
		{"for clients", trusted.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), invalid(x509.IncompatibleUsage)},
	} {
		t.Run(test.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var requests atomic.Int64
			server := &http.Server{ErrorLog: discardLog, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				if c, err := Accept(w, r, nil); err == nil {
					serveEcho(c, r)
				}
			}), TLSConfig: &tls.Config{Certificates: []tls.Certificate{test.cert}}}
			var serving sync.WaitGroup
			serving.Go(func() { server.ServeTLS(ln, "", "") })
			defer serving.Wait()
			defer server.Close()
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, ln.Addr().String())
			}}
			defer tr.CloseIdleConnections()
			c, resp, err := Dial(t.Context(), "wss://example.com/", &DialOptions{HTTPClient: &http.Client{Transport: tr}})
			if test.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				checkEcho(t, c)
				return
			}
			if c != nil || resp != nil || err == nil || !test.want(err) || requests.Load() != 0 {
				t.Errorf("got a connection %v, %v, %v, %d requests", c != nil, resp, err, requests.Load())
			}
		})
	}
}

// A redirector is an HTTP client whose first connection answers with a
// redirect, and that notes what the next ones are asked.
func redirector(t *testing.T, location string) (client *http.Client, asked func() (host, head string)) {
	var host, head string
	first := true
	var wg sync.WaitGroup
	tr := &http.Transport{DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
		near, far := netfake.Pipe(netfake.Options{})
		p := wstest.NewPeer(t, far, wstest.Server)
		redirect := first
		first = false
		wg.Go(func() {
			defer far.Close()
			if redirect {
				p.ReadHead()
				p.TryWrite([]byte("HTTP/1.1 302 Found\r\nLocation: " + location + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
				return
			}
			// Not ReadHead: there may be no head.
			b := make([]byte, 1<<16)
			n := 0
			far.SetReadDeadline(time.Now().Add(time.Second))
			for n < len(b) && !bytes.Contains(b[:n], []byte("\r\n\r\n")) {
				k, err := far.Read(b[n:])
				if n += k; err != nil {
					break
				}
			}
			host, head = addr, string(b[:n])
		})
		return near, nil
	}}
	return &http.Client{Transport: tr}, func() (string, string) {
		tr.CloseIdleConnections()
		wg.Wait()
		return host, head
	}
}

// Where a server sends a client to is an address and no more. The server cannot
// put lines, fields or a second request into what the client sends there.
func TestHostileRedirect(t *testing.T) {
	for _, location := range []string{
		"ws://other.example/%0d%0aX-Smuggled:%201",
		"ws://other.example/?a=%0d%0aX-Smuggled:%201",
		"ws://other.example/?a HTTP/1.1",
		"ws://other.example/a HTTP/1.1",
		"ws://other.example/?a=\u00e9",
		"ws://other.example/?a=\x80",
		"ws://other.example/\tX-Smuggled",
		"ws://other.example/?\tX-Smuggled",
		"ws://other.example/\x00",
		"ws://other.example%0d%0aX-Smuggled:%201/",
		"ws://other.example:80%0d%0a/",
		"ws://u%0d%0aX-Smuggled:p@other.example/",
		"ws://other.example/#%0d%0aX-Smuggled",
		"//other.example/%0d%0aX-Smuggled:%201",
		"ws://[::1%25%0d%0aX-Smuggled:1]/",
		"ws:other.example", "ws:///", "http://", "?", "", "javascript:alert(1)", "file:///etc/passwd", "ftp://other.example/", "data:,x",
		"\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade",
	} {
		t.Run(fmt.Sprintf("%q", location), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, asked := redirector(t, location)
				c, _, err := Dial(t.Context(), "ws://example.com/", &DialOptions{HTTPClient: client})
				_, head := asked()
				if c != nil || err == nil || strings.ContainsAny(err.Error(), "\r\n\x00") {
					t.Errorf("got %v, %q", c, err)
				}
				if head == "" {
					return
				}
				line, _, _ := strings.Cut(head, "\r\n")
				if smuggled(head) || strings.Count(line, " ") != 2 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Errorf("sent %q", head)
				}
			})
		})
	}
}

// What is meant for one host does not go to another that it sends the client
// to. What any host may know does.
func TestHostileRedirectSecrets(t *testing.T) {
	for location, same := range map[string]bool{
		"ws://other.example/": false, "ws://example.com.evil.example/": false, "ws://evilexample.com/": false,
		"/elsewhere": true, "ws://example.com/": true,
	} {
		synctest.Test(t, func(t *testing.T) {
			client, asked := redirector(t, location)
			Dial(t.Context(), "ws://user:password@example.com/", &DialOptions{HTTPClient: client, HTTPHeader: http.Header{
				"Authorization": {"Bearer secret"}, "Cookie": {"session=secret"}, "User-Agent": {"public"}}})
			host, head := asked()
			if strings.Contains(head, "secret") != same || !strings.Contains(head, "public") || host == "" {
				t.Errorf("%s: asked %s %q", location, host, head)
			}
		})
	}
}
