package apitest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/httpfake"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A client that dials wss is not led to ws, unless the HTTP client's own
// CheckRedirect says so. Headers that are secrets would go with the request.
func TestRedirectFromSecure(t *testing.T) {
	asked := 0
	plain := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if c, err := websocket.Accept(w, r, nil); err == nil {
			serveEcho(c, r)
		}
	}), false)
	for _, target := range []string{plain.URL, wsURL(plain)} {
		secure := newServer(t, http.RedirectHandler(target, http.StatusFound), true)
		client := secure.Client()
		_, resp, err := websocket.Dial(t.Context(), wsURL(secure), &websocket.DialOptions{HTTPClient: client})
		if !matches(err, "redirect from wss to ws") || asked != 0 || resp == nil || resp.StatusCode != 302 {
			t.Errorf("%s: got %v, %v, and %d requests", target, resp, err, asked)
		}
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
		c, _, err := websocket.Dial(t.Context(), wsURL(secure), &websocket.DialOptions{HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		checkEcho(t, c)
		asked = 0
	}
}

// A connection that serves a page, then an upgrade with frames right behind it.
func TestUpgradeAfterPage(t *testing.T) {
	h := websocket.Handler(serveEcho, nil)
	conn := rawServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			h.ServeHTTP(w, r)
		}
	})
	frame := wstest.Encode(wstest.Client, wstest.Final(wstest.Text, "early"))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"+wstest.Request("/ws", "example.com")+string(frame))
	br := bufio.NewReader(conn)
	for _, status := range []int{200, 101} {
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != status {
			t.Fatalf("got %v, %v, want %d", resp, err, status)
		}
	}
	got := make([]byte, 7)
	if _, err := io.ReadFull(br, got); err != nil || string(got) != "\x81\x05early" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Through a reverse proxy, over HTTP and HTTPS.
func TestReverseProxy(t *testing.T) {
	backend := newServer(t, websocket.Handler(serveEcho, &websocket.AcceptOptions{Subprotocols: []string{"v1"}}), false)
	target, _ := url.Parse(backend.URL)
	for _, secure := range []bool{false, true} {
		proxy := newServer(t, &httputil.ReverseProxy{ErrorLog: discardLog, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}, secure)
		c, _, err := websocket.Dial(t.Context(), wsURL(proxy), &websocket.DialOptions{HTTPClient: proxy.Client(), Subprotocols: []string{"v1"}})
		if err != nil {
			t.Fatal(err)
		}
		if c.Subprotocol() != "v1" {
			t.Errorf("the subprotocol is %q", c.Subprotocol())
		}
		checkEcho(t, c)
		_, resp, err := websocket.Dial(t.Context(), wsURL(proxy), &websocket.DialOptions{HTTPClient: proxy.Client(), HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
		if resp == nil || resp.StatusCode != 403 || err == nil {
			t.Errorf("a refusal through the proxy: %v, %v", resp, err)
		}
	}
}

// HTTP/2 has no Upgrade: a server says so, and a client that can speak nothing
// else says so.
func TestHTTP2(t *testing.T) {
	s := newServer(t, websocket.Handler(func(*websocket.Conn, *http.Request) { t.Error("serve was called") }, nil), true)
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != 426 || !reflect.DeepEqual(resp.Header["Sec-Websocket-Version"], []string{"13"}) {
		t.Errorf("got %v", resp)
	}
	h2 := new(http.Protocols)
	h2.SetUnencryptedHTTP2(true)
	plain := httptest.NewUnstartedServer(s.Config.Handler)
	plain.Config.Protocols = h2
	plain.Start()
	defer plain.Close()
	tr := &http.Transport{Protocols: h2}
	defer tr.CloseIdleConnections()
	if c, _, err := websocket.Dial(t.Context(), plain.URL, &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}}); c != nil || !matches(err, "websocket: dial: ") {
		t.Errorf("got %v, %v", c, err)
	}
}

// Whatever is wrong with the response, its connection is closed, at once. A 101
// ends with its header, whatever that says of a body.
func TestWrongResponseOverHTTP(t *testing.T) {
	for _, tt := range []struct{ name, line, err string }{
		{"Upgrade", "", "the Upgrade header"},
		{"Upgrade", "Upgrade: h2c", "the Upgrade header"},
		{"Connection", "", "the Connection header"},
		{"Connection", "Connection: close", "the Connection header"},
		{"Connection", "Connection: keep-alive", "the Connection header"},
		{"Sec-WebSocket-Accept", "", "no Sec-WebSocket-Accept"},
		{"Sec-WebSocket-Accept", "Sec-WebSocket-Accept: x", "the Sec-WebSocket-Accept header of the response is wrong"},
		{"Upgrade", "Upgrade: websocket\nSec-WebSocket-Protocol: v1", `the subprotocol "v1"`},
		{"Upgrade", "Upgrade: websocket\nSec-WebSocket-Extensions: permessage-deflate", `the extension "permessage-deflate"`},
		{"HTTP/1.1", "HTTP/1.0 200 OK\nContent-Length: 0", "status 200 OK, not 101"},
		{"HTTP/1.1", "RTSP/1.0 101 Switching Protocols", "malformed HTTP version"},
		{"Upgrade", "Upgrade: websocket\nContent-Length: 1", ""},
		{"Upgrade", "Upgrade: websocket\nTransfer-Encoding: chunked", ""},
		{"HTTP/1.1", "HTTP/1.1 103 Early Hints\n\nHTTP/1.1 101 Switching Protocols", ""},
	} {
		t.Run(tt.name+" as "+tt.line, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := pipeServer(t, asIs, func(p *wstest.Peer) {
					key := p.ReadRequest().Header.Get("Sec-WebSocket-Key")
					text := edit(strings.ReplaceAll(wstest.Response(key), "\r\n", "\n"), tt.name, tt.line)
					p.WriteRaw([]byte(strings.ReplaceAll(text, "\n", "\r\n") + "\x81\x01x"))
					p.WantEnd()
				})
				start := time.Now()
				c, _, err := websocket.Dial(t.Context(), "ws://example.com/", &websocket.DialOptions{HTTPClient: client})
				if !matches(err, tt.err) || time.Since(start) > 0 {
					t.Errorf("got the error %v after %v, want %q", err, time.Since(start), tt.err)
				}
				if c == nil {
					return
				}
				if _, got, err := c.Read(t.Context()); err != nil || string(got) != "x" {
					t.Errorf("got %q, %v", got, err)
				}
				c.CloseNow()
			})
		})
	}
}

// A hookContext never ends, though it could. It counts what waits for its end.
type hookContext struct {
	context.Context
	done  chan struct{}
	hooks map[*int]bool
}

func (c hookContext) Done() <-chan struct{} { return c.done }

func (c hookContext) AfterFunc(func()) (stop func() bool) {
	hook := new(int)
	c.hooks[hook] = true
	return func() bool {
		delete(c.hooks, hook)
		return true
	}
}

// However Dial ends, no part of it stays on the context of the caller, who may
// use the same one for ever.
func TestDialLeavesContext(t *testing.T) {
	s := newServer(t, websocket.Handler(serveEcho, nil), false)
	for _, timeout := range []time.Duration{0, time.Minute} {
		for name, opts := range map[string]*websocket.DialOptions{
			"success":      {},
			"refusal":      {HTTPHeader: http.Header{"Origin": {"null"}}},
			"no transport": {HTTPClient: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, io.EOF })}},
		} {
			if opts.HTTPClient == nil {
				opts.HTTPClient = &http.Client{}
			}
			opts.HTTPClient.Timeout = timeout
			ctx := hookContext{context.Background(), make(chan struct{}), map[*int]bool{}}
			c, _, err := websocket.Dial(ctx, s.URL, opts)
			if len(ctx.hooks) != 0 || (err == nil) != (name == "success") {
				t.Errorf("%s, timeout %v: %d hooks on the context, %v", name, timeout, len(ctx.hooks), err)
			}
			if c != nil {
				c.CloseNow()
			}
		}
	}
}

// A body that cannot be written is closed.
func TestUnwritableBodyIsClosed(t *testing.T) {
	near, far := netfake.Pipe(netfake.Options{})
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(wstest.Response(r.Header.Get("Sec-WebSocket-Key")))), r)
		resp.Body = struct{ io.ReadCloser }{near}
		return resp, err
	})}
	if _, _, err := websocket.Dial(t.Context(), "ws://example.com", &websocket.DialOptions{HTTPClient: client}); !matches(err, "it cannot be written") {
		t.Errorf("got the error %v", err)
	}
	wstest.NewPeer(t, far, wstest.Server).WantEnd()
}

// The names of the handshake's fields are sent as RFC 6455 spells them, in the
// request that follows a redirect too.
func TestDialSpelling(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS ", secure), func(t *testing.T) {
			s := httptest.NewUnstartedServer(nil)
			if secure {
				s.StartTLS() // for its certificate
			}
			defer s.Close()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if secure {
				l = tls.NewListener(l, s.TLS)
			}
			defer l.Close()
			scheme := map[bool]string{false: "ws", true: "wss"}[secure]
			heads := make(chan string, 3)
			go func() {
				for _, answer := range []string{
					"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
					"HTTP/1.1 307 See\r\nLocation: " + scheme + "://" + l.Addr().String() + "/c\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
					"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
				} {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					heads <- wstest.NewPeer(t, conn, wstest.Server).ReadHead()
					io.WriteString(conn, answer)
					conn.Close()
				}
			}()
			websocket.Dial(t.Context(), scheme+"://"+l.Addr().String()+"/a", &websocket.DialOptions{
				HTTPClient: s.Client(), Subprotocols: []string{"v1"}, CompressionMode: websocket.CompressionContextTakeover,
			})
			for i := range 3 {
				head := <-heads
				for _, name := range []string{"Key", "Version", "Protocol", "Extensions"} {
					if strings.Count(head, "\r\nSec-WebSocket-"+name+": ") != 1 {
						t.Errorf("request %d has not one Sec-WebSocket-%s:\n%s", i, name, head)
					}
				}
				if strings.Contains(head, "Sec-Websocket-") {
					t.Errorf("request %d:\n%s", i, head)
				}
			}
		})
	}
}

func TestAcceptSpelling(t *testing.T) {
	opts := &websocket.AcceptOptions{Subprotocols: []string{"v1"}, CompressionMode: websocket.CompressionContextTakeover}
	for _, tt := range []struct {
		request string
		fields  []string
	}{
		{wstest.Request("/", "example.com", "Sec-WebSocket-Protocol: v1", "Sec-WebSocket-Extensions: permessage-deflate"),
			[]string{"Accept", "Protocol", "Extensions"}},
		{"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", []string{"Version"}},
	} {
		for _, wrapped := range []bool{false, true} {
			conn := rawServer(t, func(w http.ResponseWriter, r *http.Request) {
				if wrapped {
					w = wrapper{w}
				}
				if c, err := websocket.Accept(w, r, opts); err == nil {
					c.CloseNow()
				}
			})
			io.WriteString(conn, tt.request)
			head := wstest.NewPeer(t, conn, wstest.Client).ReadHead()
			for _, name := range tt.fields {
				if strings.Count(head, "\r\nSec-WebSocket-"+name+": ") != 1 {
					t.Errorf("wrapped %v: the response has not one Sec-WebSocket-%s:\n%s", wrapped, name, head)
				}
			}
			if strings.Contains(head, "Sec-Websocket-") {
				t.Errorf("wrapped %v: the response:\n%s", wrapped, head)
			}
		}
	}
}

// A 101 that asks to close as well: net/http edits the header and ends the
// connection. The error says so. A request that does it is accepted.
func TestUpgradeAndClose(t *testing.T) {
	for _, lines := range []string{"Upgrade, close", "close, upgrade", "Upgrade\r\nConnection: close", "close"} {
		s := rawResponder(t, func(key string) string {
			return strings.Replace(wstest.Response(key), "Connection: Upgrade", "Connection: "+lines, 1)
		})
		_, resp, err := websocket.Dial(t.Context(), "ws://"+s, nil)
		var he *websocket.HandshakeError
		if resp == nil || !errors.As(err, &he) || he.StatusCode != 101 || !matches(err, "the Connection header of the response says close") {
			t.Errorf("%q: got the error %v", lines, err)
		}
	}
	p := wstest.NewPeer(t, rawServer(t, websocket.Handler(serveEcho, nil).ServeHTTP), wstest.Client)
	p.WriteRaw([]byte(strings.Replace(wstest.Request("/", "example.com"), "Connection: Upgrade", "Connection: close, Upgrade", 1)))
	if head := p.ReadHead(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Errorf("a request that says close and Upgrade: got\n%s", head)
	}
	p.WriteFrame(wstest.Text, "x")
	p.WantFrame(wstest.Text, "x")
}

// rawResponder answers one handshake with what answer makes of its key, and
// returns its address.
func rawResponder(t *testing.T, answer func(key string) string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		io.WriteString(conn, answer(r.Header.Get("Sec-WebSocket-Key")))
		io.Copy(io.Discard, conn)
		conn.Close()
	}()
	return l.Addr().String()
}

// An HTTP proxy that does not upgrade a plain request is named in the error,
// with what to do.
func TestDialThroughProxyThatDoesNotUpgrade(t *testing.T) {
	for _, status := range []int{200, 400, 426, 502} {
		proxy := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }), false)
		u, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("user", "secret")
		for _, tt := range []struct {
			transport http.RoundTripper
			named     bool
		}{
			{&http.Transport{Proxy: http.ProxyURL(u)}, true},
			{&http.Transport{}, false},
		} {
			_, _, err := websocket.Dial(t.Context(), "ws://"+u.Host+"/", &websocket.DialOptions{HTTPClient: &http.Client{Transport: tt.transport}})
			named := err != nil && strings.Contains(err.Error(), "through the HTTP proxy "+u.Host+", which must upgrade a plain request: use wss, or")
			var he *websocket.HandshakeError
			if named != tt.named || !errors.As(err, &he) || he.StatusCode != status || strings.Contains(err.Error(), "secret") {
				t.Errorf("status %d, through a proxy %v: got the error %v", status, tt.named, err)
			}
		}
	}
}

// So is one that ends the connection in place of an answer, answers something
// else than HTTP, or sends its client in circles.
func TestDialThroughProxyThatDoesNotAnswer(t *testing.T) {
	for _, answer := range []string{"", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: http://a.example/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					io.WriteString(conn, answer)
				}
				conn.Close()
			}
		}()
		dial := func(addr string) error {
			u := &url.URL{Scheme: "http", Host: addr, User: url.UserPassword("user", "secret")}
			transport := &http.Transport{Proxy: http.ProxyURL(u)}
			_, _, err := websocket.Dial(t.Context(), "ws://server.example/", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
			return err
		}
		addr := l.Addr().String()
		err = dial(addr)
		if !matches(err, "through the HTTP proxy "+addr+", which must upgrade a plain request: use wss, or") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got the error %v", answer, err)
		}
		l.Close()
		// net/http names a proxy that cannot be reached: it is not the upgrade
		// that fails.
		if err := dial(addr); !matches(err, "proxyconnect") || strings.Contains(err.Error(), "upgrade") {
			t.Errorf("no proxy there: got the error %v", err)
		}
	}
}

// A HandshakeError is in the chain of Dial's error if, and only if, there was a
// response.
func TestHandshakeError(t *testing.T) {
	respond := func(status int, contentType, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("X-A", "1")
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
	const plain = "text/plain; charset=utf-8"
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		name    string
		handler http.Handler
		status  int
		body    string
		text    string // what the error ends with
	}{
		{"plain text", respond(403, plain, "no\nand no again"), 403, "no\nand no again", `not 101: "no"`},
		{"upper case", respond(403, "TEXT/Plain", "no"), 403, "no", `not 101: "no"`},
		{"control characters", respond(500, plain, "a\x1b[31mb\r\n"), 500, "a\x1b[31mb\r\n", `not 101: "a\x1b[31mb"`},
		{"long", respond(500, plain, long), 500, long, `: "` + long[:200] + `"...`},
		{"empty", respond(404, plain, ""), 404, "", "status 404 Not Found, not 101"},
		{"another type", respond(502, "text/html", "<html>"), 502, "<html>", "status 502 Bad Gateway, not 101"},
		{"a type that only begins so", respond(502, "text/plainer", "x"), 502, "x", "status 502 Bad Gateway, not 101"},
		{"wrong 101", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nX-A: 1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
			conn.Close()
		}), 101, "", "the response has no Sec-WebSocket-Accept header"},
	} {
		s := newServer(t, tt.handler, false)
		_, resp, err := websocket.Dial(t.Context(), s.URL, nil)
		var he *websocket.HandshakeError
		if !errors.As(err, &he) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if he.StatusCode != tt.status || he.Header.Get("X-A") != "1" || string(he.Body) != tt.body || resp.StatusCode != tt.status {
			t.Errorf("%s: got %d %v %q", tt.name, he.StatusCode, he.Header, he.Body)
		}
		if !strings.HasSuffix(err.Error(), tt.text) || !strings.HasPrefix(err.Error(), "websocket: dial: ") {
			t.Errorf("%s: %v, want it to end with %s", tt.name, err, tt.text)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != tt.body || err != nil {
			t.Errorf("%s: the response has the body %q, %v", tt.name, body, err)
		}
	}

	secure := newServer(t, http.RedirectHandler("http://localhost:1/", http.StatusFound), true)
	_, _, err := websocket.Dial(t.Context(), wsURL(secure), &websocket.DialOptions{HTTPClient: secure.Client()})
	var he *websocket.HandshakeError
	if !errors.As(err, &he) || he.StatusCode != 302 || he.Header.Get("Location") == "" {
		t.Errorf("a redirect that is not followed: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	for _, err := range []error{
		dialError(ctx, "ws://localhost:1/", nil),
		dialError(t.Context(), "ftp://localhost/", nil),
		dialError(t.Context(), "ws://localhost/", &websocket.DialOptions{HTTPClient: &http.Client{Transport: roundTripper(
			func(*http.Request) (*http.Response, error) { return nil, errRefused })}}),
	} {
		if err == nil || errors.As(err, &he) {
			t.Errorf("without a response: %v", err)
		}
	}
	if text := (&websocket.HandshakeError{}).Error(); text == "" {
		t.Error("the zero value has no text")
	}
}

var errRefused = errors.New("connection refused")

func dialError(ctx context.Context, url string, opts *websocket.DialOptions) error {
	_, _, err := websocket.Dial(ctx, url, opts)
	return err
}

// exchange sends a request and returns the response: nil if the server has just
// closed.
func exchange(t *testing.T, conn net.Conn, request string) (*http.Response, string) {
	t.Helper()
	sent := start(func() error { _, err := io.WriteString(conn, request); return err })
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	body := ""
	if err == nil && resp.StatusCode != 101 {
		b, _ := io.ReadAll(resp.Body)
		body = string(b)
	}
	conn.Close()
	<-sent
	if err != nil {
		return nil, ""
	}
	return resp, body
}

// Hundreds of header fields, of whatever name, are read and refused, or not, as
// one is. So are thousands, unless net/http refuses them by itself: since Go
// 1.27 it takes 500 by default.
func TestHostileHeaderFlood(t *testing.T) {
	for _, n := range []int{400, 2000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) { testHostileHeaderFlood(t, n) })
	}
}

func testHostileHeaderFlood(t *testing.T, n int) {
	lines := func(format string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(format, "%d", strconv.Itoa(i)) + "\r\n")
		}
		return b.String()
	}
	for _, test := range []struct {
		name, lines string
		status      int // 0: refused by net/http, in whatever way
	}{
		{"others", lines("X-%d: %d"), 101},
		{"the same", lines("X-A: %d"), 101},
		{"cookies", lines("Cookie: c%d=%d"), 101},
		{"subprotocols", lines("Sec-WebSocket-Protocol: p%d, "), 400},
		{"the same subprotocol", lines("Sec-WebSocket-Protocol: p"), 400},
		{"extensions", lines("Sec-WebSocket-Extensions: e%d; p%d=%d; q=\"x\""), 400},
		{"offers", lines("Sec-WebSocket-Extensions: permessage-deflate; p%d"), 400},
		{"origins", lines("Origin: http://example.com"), 403},
		{"keys", lines("Sec-WebSocket-Key: " + wstest.SampleKey), 400},
		{"versions", lines("Sec-WebSocket-Version: 13"), 426},
		{"upgrades", lines("Upgrade: x%d/1"), 101},
		{"connections", lines("Connection: x%d"), 101},
		{"hosts", lines("Host: h%d"), 0},
		{"lengths", lines("Content-Length: 0"), 101}, // one and the same
		{"different lengths", lines("Content-Length: %d"), 0},
		{"1 MB", "X-A: " + strings.Repeat("a", 1<<20+8192) + "\r\n", 0},
		{"1 MB of name", strings.Repeat("a", 1<<20+8192) + ": x\r\n", 0},
		{"1 MB of subprotocol", "Sec-WebSocket-Protocol: " + strings.Repeat("a", 1<<20-8192) + "\r\n", 101},
		{"1 MB of origin", "Origin: http://" + strings.Repeat("a", 1<<20-8192) + "\r\n", 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mode := websocket.CompressionContextTakeover
				dial, stop := serveOn(t, &http.Server{Handler: websocket.Handler(serveEcho, &websocket.AcceptOptions{
					Subprotocols: []string{"p" + strconv.Itoa(n-1)}, CompressionMode: mode, OriginPatterns: []string{"*.example.com"}})})
				defer stop()
				request := strings.TrimSuffix(wstest.Request("/", "example.com"), "\r\n") + test.lines + "\r\n"
				resp, body := exchange(t, dial(), request)
				if test.status == 0 {
					if resp != nil && resp.StatusCode < 400 {
						t.Errorf("got %v", resp.Status)
					}
					return
				}
				if n > 500 && resp != nil && resp.StatusCode == http.StatusRequestHeaderFieldsTooLarge {
					return
				}
				if resp == nil || resp.StatusCode != test.status || len(body) > 500 {
					t.Errorf("got %v, %.600q, want %d", resp, body, test.status)
				}
			})
		})
	}
}

// A request and a response whose header has no end are given up at the limit
// that net/http has. That holds though they come byte by byte: 20 MB take no
// more than that.
func TestHostileHeaderNoEnd(t *testing.T) {
	const most = 64 << 10
	write := func(conn net.Conn, begin string) (taken int) {
		n, err := io.WriteString(conn, begin)
		b := []byte("X-Endless: ")
		for i := 0; err == nil && n < 20_000_000; i++ {
			_, err = conn.Write(b[i%len(b) : i%len(b)+1])
			n++
			if i == len(b)-1 {
				b = []byte("a")
			}
		}
		return n
	}
	synctest.Test(t, func(t *testing.T) {
		dial, stop := serveOn(t, &http.Server{MaxHeaderBytes: most, Handler: websocket.Handler(serveEcho, nil)})
		defer stop()
		conn := dial()
		var got []byte
		reading := start(func() error { var err error; got, err = io.ReadAll(conn); return err })
		if n := write(conn, strings.TrimSuffix(wstest.Request("/", "example.com"), "\r\n")); n > most+netfake.DefaultBuffer+8192 {
			t.Errorf("a server has taken %d bytes of a header for a limit of %d", n, most)
		}
		conn.Close()
		<-reading
		if bytes.Contains(got, []byte(" 101 ")) {
			t.Errorf("got %q", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		taken := 0
		client := pipeServer(t, asIs, func(p *wstest.Peer) {
			key := p.ReadRequest().Header.Get("Sec-WebSocket-Key")
			taken = write(p.Conn, strings.TrimSuffix(wstest.Response(key), "\r\n"))
		})
		client.Transport.(*http.Transport).MaxResponseHeaderBytes = most
		c, _, err := websocket.Dial(t.Context(), "ws://example.com/", &websocket.DialOptions{HTTPClient: client})
		synctest.Wait()
		if c != nil || err == nil || taken > most+netfake.DefaultBuffer+8192 {
			t.Errorf("got %v, %v, and a client has taken %d bytes of a header for a limit of %d", c, err, taken, most)
		}
	})
}

// Control characters and bytes beyond ASCII, within each field of the handshake
// that counts. No upgrade comes of it on either side. The error is one line of
// text.
func TestHostileHeaderBytes(t *testing.T) {
	var bad []byte
	for b := range 256 {
		if b < ' ' || b >= 0x7f {
			bad = append(bad, byte(b))
		}
	}
	inside := func(line string, b byte) string { // in the middle of the value
		at := strings.Index(line, ": ") + 2
		at += (len(line) - at) / 2
		return line[:at] + string([]byte{b}) + line[at:]
	}
	onlyText := func(s string) bool {
		return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd })
	}
	requestLines := []string{"Host: example.com", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: " + wstest.SampleKey, "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate",
		"Origin: http://example.com"}
	synctest.Test(t, func(t *testing.T) {
		dial, stop := serveOn(t, &http.Server{Handler: websocket.Handler(serveEcho, nil)})
		defer stop()
		for i, line := range requestLines {
			for _, b := range bad {
				lines := append([]string(nil), requestLines...)
				lines[i] = inside(line, b)
				resp, body := exchange(t, dial(), "GET / HTTP/1.1\r\n"+strings.Join(lines, "\r\n")+"\r\n\r\n")
				if resp == nil || resp.StatusCode < 400 || resp.StatusCode > 499 || !onlyText(strings.TrimSuffix(body, "\n")) {
					t.Errorf("%q: got %v, %q", lines[i], resp, body)
				}
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		answer := ""
		client := pipeServer(t, asIs, func(p *wstest.Peer) {
			key := p.ReadRequest().Header.Get("Sec-WebSocket-Key")
			p.WriteRaw([]byte(strings.ReplaceAll(answer, "KEY", wstest.AcceptKey(key))))
			p.WantEnd()
		})
		lines := []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: KEY", "Sec-WebSocket-Protocol: chat",
			"Sec-WebSocket-Extensions: permessage-deflate"}
		for i, line := range lines {
			for _, b := range bad {
				if i == 2 { // not in the middle of the placeholder
					line = "Sec-WebSocket-Accept: KEYKEY"
				}
				edited := append([]string(nil), lines...)
				edited[i] = inside(line, b)
				answer = "HTTP/1.1 101 Switching Protocols\r\n" + strings.Join(edited, "\r\n") + "\r\n\r\n"
				begin := time.Now()
				c, _, err := websocket.Dial(t.Context(), "ws://example.com/", &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"chat"},
					CompressionMode: websocket.CompressionContextTakeover})
				if c != nil || err == nil || !onlyText(err.Error()) || time.Since(begin) > 0 {
					t.Errorf("%q: got %v, %q", edited[i], c, err)
				}
			}
		}
	})
}

// Requests and responses hidden behind others. What a client makes of a 101
// that is wrong is in TestWrongResponseOverHTTP and TestCheckResponse, of the
// fields of an application in FuzzResponse.

// A request behind one that is refused, or in its body, is not served: to a
// proxy in front it may have looked like frames. A 101 comes only when the
// connection is one of WebSocket from there on.
func TestHostileSmuggledRequest(t *testing.T) {
	const admin = "GET /admin HTTP/1.1\r\nHost: example.com\r\n\r\n"
	good := wstest.Request("/ws", "example.com")
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, test := range []struct{ name, request string }{
		{"version", replace("Version: 13", "Version: 777")},
		{"no version", replace("Sec-WebSocket-Version: 13\r\n", "")},
		{"key", replace(wstest.SampleKey, "x")},
		{"origin", wstest.Request("/ws", "example.com", "Origin: http://evil.example")},
		{"subprotocol", wstest.Request("/ws", "example.com", "Sec-WebSocket-Protocol: a b")},
		{"extension", wstest.Request("/ws", "example.com", "Sec-WebSocket-Extensions: ;")},
		{"no Upgrade", replace("Upgrade: websocket\r\n", "")},
		{"another Upgrade", replace("Upgrade: websocket", "Upgrade: h2c")},
		{"no Connection", replace("Connection: Upgrade\r\n", "Connection: keep-alive\r\n")},
		{"method", replace("GET /ws", "POST /ws")},
		{"HEAD", replace("GET /ws", "HEAD /ws")},
		{"HTTP/1.0", replace("HTTP/1.1", "HTTP/1.0")},
		{"HTTP/1.0, kept alive", strings.Replace(replace("HTTP/1.1", "HTTP/1.0"), "Connection: Upgrade", "Connection: Upgrade, keep-alive", 1)},
		{"a body", wstest.Request("/ws", "example.com", fmt.Sprintf("Content-Length: %d", len(admin)))},
		{"a body, in part", wstest.Request("/ws", "example.com", "Content-Length: 1") + "x"},
		{"a chunked body", wstest.Request("/ws", "example.com", "Transfer-Encoding: chunked") + "0\r\n\r\n"},
		{"a chunked body and a length", wstest.Request("/ws", "example.com", "Transfer-Encoding: chunked", "Content-Length: 5") + "0\r\n\r\n"},
		{"a body that waits", wstest.Request("/ws", "example.com", "Content-Length: 5", "Expect: 100-continue")},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mux := http.NewServeMux()
				mux.Handle("/ws", websocket.Handler(func(*websocket.Conn, *http.Request) { t.Error("there is a connection") }, nil))
				mux.HandleFunc("/admin", func(http.ResponseWriter, *http.Request) { t.Error("the request behind was served") })
				dial, stop := serveOn(t, &http.Server{Handler: mux})
				defer stop()
				conn := dial()
				sent := start(func() error { _, err := io.WriteString(conn, test.request+admin); return err })
				got, err := io.ReadAll(conn) // to the end of the connection
				if err != nil || bytes.Contains(got, []byte(" 101 ")) || bytes.Count(got, []byte("HTTP/1.1 ")) != 1 {
					t.Errorf("got %q, %v", got, err)
				}
				conn.Close()
				<-sent
			})
		})
	}
	t.Run("behind an upgrade", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.Handle("/ws", websocket.Handler(serveEcho, nil))
			mux.HandleFunc("/admin", func(http.ResponseWriter, *http.Request) { t.Error("the request behind was served") })
			dial, stop := serveOn(t, &http.Server{Handler: mux})
			defer stop()
			p := wstest.NewPeer(t, dial(), wstest.Client)
			p.WriteRaw([]byte(good + admin))
			if head := p.ReadHead(); !strings.Contains(head, " 101 ") {
				t.Fatalf("got %q", head)
			}
			p.WantClose(1002) // "G" is no begin of a frame
			p.Close()
		})
	})
}

// No status but 101 makes a connection, however right the rest of the response
// is, and no second response does.
func TestHostileStatus(t *testing.T) {
	for status := 100; status <= 999; status++ {
		if status > 110 && status%100 > 10 {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			client := pipeServer(t, asIs, func(p *wstest.Peer) {
				key := p.ReadRequest().Header.Get("Sec-WebSocket-Key")
				response := strings.Replace(wstest.Response(key), "101 Switching Protocols", fmt.Sprint(status, " X"), 1)
				p.TryWrite([]byte(response + "\x81\x01x"))
				time.Sleep(time.Second)
			})
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			c, _, err := websocket.Dial(t.Context(), "ws://example.com/", &websocket.DialOptions{HTTPClient: client})
			if (c != nil) != (status == 101) || (err == nil) != (status == 101) {
				t.Errorf("%d: got %v, %v", status, c, err)
			}
			if c != nil {
				c.CloseNow()
			}
			client.CloseIdleConnections()
			time.Sleep(time.Minute)
		})
	}
}

// Cross-site hijacking, over HTTP: a page of another site must not get a
// connection, by whatever its origin looks like. Many more spellings are in
// TestCheckOrigin and TestOriginPatterns.
func TestHostileOrigin(t *testing.T) {
	const host = "example.com"
	pattern := []string{"*.example.org", "https://app.example.net:8443"}
	for _, test := range []struct {
		class    string
		lines    []string
		patterns []string
		ok       bool
	}{
		{"same", []string{"Origin: https://example.com"}, nil, true},
		{"missing", nil, nil, true}, // no browser's page
		{"missing, patterns", nil, pattern, true},
		{"missing, but there is a Referer", []string{"Referer: https://evil.example/"}, nil, true},
		{"null", []string{"Origin: null"}, nil, false},
		{"null, other patterns", []string{"Origin: null"}, []string{"*", "n*", "nul?"}, false},
		{"null, its own pattern", []string{"Origin: null"}, []string{"null"}, true},
		{"the scheme of WebSocket, another host", []string{"Origin: wss://evil.example"}, nil, false},
		{"empty", []string{"Origin:"}, nil, false},
		{"another", []string{"Origin: https://evil.example"}, nil, false},
		{"several, the first is good", []string{"Origin: https://example.com", "Origin: https://evil.example"}, nil, false},
		{"several, the last is good", []string{"Origin: https://evil.example", "Origin: https://example.com"}, nil, false},
		{"several in one", []string{"Origin: https://example.com https://evil.example"}, nil, false},
		{"several in one, with a comma", []string{"Origin: https://example.com, https://evil.example"}, nil, false},
		{"suffix", []string{"Origin: https://evilexample.com"}, nil, false},
		{"prefix", []string{"Origin: https://example.com.evil.example"}, nil, false},
		{"subdomain", []string{"Origin: https://evil.example.com"}, nil, false},
		{"parent", []string{"Origin: https://com"}, nil, false},
		{"userinfo", []string{"Origin: https://example.com@evil.example"}, nil, false},
		{"userinfo with a port", []string{"Origin: https://example.com:443@evil.example"}, nil, false},
		{"userinfo of the host", []string{"Origin: https://evil.example@example.com"}, nil, false},
		{"path", []string{"Origin: https://evil.example/example.com"}, nil, false},
		{"path of the host", []string{"Origin: https://example.com/evil"}, nil, false},
		{"query", []string{"Origin: https://evil.example?example.com"}, nil, false},
		{"fragment", []string{"Origin: https://evil.example#example.com"}, nil, false},
		{"backslash", []string{`Origin: https://evil.example\example.com`}, nil, false},
		{"another port", []string{"Origin: https://example.com:8443"}, nil, false},
		{"port of the other scheme", []string{"Origin: http://example.com:443"}, nil, false},
		{"default port", []string{"Origin: https://example.com:443"}, nil, true},
		{"port modulo 2^16", []string{"Origin: https://example.com:65979"}, nil, false},
		{"scheme", []string{"Origin: ftp://example.com"}, nil, false},
		{"extension", []string{"Origin: chrome-extension://example.com"}, nil, false},
		{"file", []string{"Origin: file://example.com"}, nil, false},
		{"no scheme", []string{"Origin: example.com"}, nil, false},
		{"case", []string{"Origin: HTTPS://EXAMPLE.com"}, nil, true},
		{"dot at the end", []string{"Origin: https://example.com."}, nil, false},
		{"IDN that folds to ASCII", []string{"Origin: https://example.co\u217f"}, nil, false},
		{"IDN of a letter that looks alike", []string{"Origin: https://ex\u0430mple.com"}, nil, false},
		{"punycode of another", []string{"Origin: https://xn--exmple-4nf.com"}, nil, false},
		{"percent", []string{"Origin: https://example%2ecom"}, nil, false},
		{"a forwarded host proves nothing", []string{"Origin: https://evil.example", "X-Forwarded-Host: evil.example",
			"Forwarded: host=evil.example", "X-Original-Host: evil.example"}, nil, false},
		{"the field of old drafts", []string{"Sec-WebSocket-Origin: https://example.com", "Origin: https://evil.example"}, nil, false},
		{"pattern", []string{"Origin: https://a.example.org"}, pattern, true},
		{"pattern, apex", []string{"Origin: https://example.org"}, pattern, false},
		{"pattern, suffix", []string{"Origin: https://evilexample.org"}, pattern, false},
		{"pattern, prefix", []string{"Origin: https://a.example.org.evil.example"}, pattern, false},
		{"pattern, userinfo", []string{"Origin: https://a.example.org@evil.example"}, pattern, false},
		{"pattern, path", []string{"Origin: https://evil.example/a.example.org"}, pattern, false},
		{"pattern, port", []string{"Origin: https://a.example.org:8080"}, pattern, false},
		{"pattern, scheme", []string{"Origin: http://app.example.net:8443"}, pattern, false},
		{"pattern, scheme and port", []string{"Origin: https://app.example.net:8443"}, pattern, true},
		{"pattern, no origin's own", []string{"Origin: https://"}, []string{"*"}, false},
	} {
		t.Run(test.class, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var served atomic.Int64
				dial, stop := serveOn(t, &http.Server{Handler: websocket.Handler(func(*websocket.Conn, *http.Request) { served.Add(1) },
					&websocket.AcceptOptions{OriginPatterns: test.patterns})})
				resp, body := exchange(t, dial(), wstest.Request("/", host, test.lines...))
				stop()
				switch {
				case resp == nil:
					t.Error("there is no response")
				case test.ok:
					if resp.StatusCode != 101 || served.Load() != 1 {
						t.Errorf("got %v, %q, served %d times", resp.Status, body, served.Load())
					}
				case resp.StatusCode != 403 || served.Load() != 0 || !resp.Close || strings.Contains(body, "<"):
					t.Errorf("got %v, %q, close %v, served %d times; want 403", resp.Status, body, resp.Close, served.Load())
				}
			})
		})
	}
}

// No string that an application passes in breaks out of the place where it
// goes: into the request of a client.
func TestHostileStringsOfDial(t *testing.T) {
	check := func(t *testing.T, what, url string, opts websocket.DialOptions) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			client := pipeServer(t, asIs, func(p *wstest.Peer) {
				head := p.ReadHead()
				p.WantIdle()
				if line, _, _ := strings.Cut(head, "\r\n"); smuggled(head) || strings.Count(line, " ") != 2 {
					t.Errorf("%s: sent %q", what, head)
				}
			})
			opts.HTTPClient = client
			c, _, err := websocket.Dial(t.Context(), url, &opts)
			if c != nil || err == nil {
				t.Errorf("%s: got %v, %v", what, c, err)
			} else if strings.ContainsAny(err.Error(), "\r\n\x00") {
				t.Errorf("%s: the error is not one line: %q", what, err)
			}
		})
	}
	for _, br := range httpfake.LineBreaks {
		s := "x" + br + "X-Smuggled: 1"
		const good = "ws://example.com/"
		httpfake.EachString(t, websocket.DialOptions{}, s, reflect.TypeFor[*websocket.Trace](), func(field string, opts websocket.DialOptions) {
			check(t, fmt.Sprintf("%s with %q", field, br), good, opts)
		})
		for _, url := range []string{
			"ws://example.com/" + s, "ws://example.com/?" + s, "ws://" + s + "/", "ws://example.com/#" + s, "ws" + s + "://example.com/",
			"ws://" + s + "@example.com/", "ws://example.com:80" + s + "/", "ws://[::1%25" + s + "]/",
			"ws://example.com/x%0d%0aX-Smuggled:%201", "ws://example.com/?x%0d%0aX-Smuggled:%201", "ws://u%0d%0aX-Smuggled:1@example.com/",
			"ws://example.com%0d%0aX-Smuggled:%201/", "ws://example.com/ HTTP/1.1" + br + "X-Smuggled: 1",
			"ws://example.com/? HTTP/1.1", "ws://example.com/x HTTP/1.1",
		} {
			check(t, fmt.Sprintf("%q", url), url, websocket.DialOptions{})
		}
	}
}
