package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
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

// Dial keeps the body that a custom RoundTripper has put around the connection.
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
