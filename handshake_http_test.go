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
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// The opening handshake among the other things that HTTP does.

// "The nonce MUST be selected randomly for each connection" (section 4.1): the request that follows a redirect has
// one of its own.
func TestRedirectHasItsOwnKey(t *testing.T) {
	var keys []string
	mux := http.NewServeMux()
	mux.HandleFunc("/a", func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Sec-WebSocket-Key"))
		http.Redirect(w, r, "/b", http.StatusFound)
	})
	mux.HandleFunc("/b", func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Sec-WebSocket-Key"))
		http.Redirect(w, r, "/c", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/c", func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Sec-WebSocket-Key"))
		if c, err := Accept(w, r, nil); err == nil {
			serveEcho(c, r)
		}
	})
	s := newServer(t, mux, false)
	c, _, err := Dial(t.Context(), wsURL(s)+"/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	checkEcho(t, c)
	if len(keys) != 3 || !validKey(keys[1]) || keys[0] == keys[1] || keys[1] == keys[2] || keys[0] == keys[2] {
		t.Errorf("the keys are %q", keys)
	}
}

// Who dials wss is not led to ws, unless the HTTP client's own CheckRedirect says so: headers that are secrets would
// go with the request.
func TestRedirectFromSecure(t *testing.T) {
	asked := 0
	plain := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if c, err := Accept(w, r, nil); err == nil {
			serveEcho(c, r)
		}
	}), false)
	for _, target := range []string{plain.URL, wsURL(plain)} {
		secure := newServer(t, http.RedirectHandler(target, http.StatusFound), true)
		client := secure.Client()
		_, resp, err := Dial(t.Context(), wsURL(secure), &DialOptions{HTTPClient: client})
		if !matches(err, "redirect from wss to ws") || asked != 0 || resp == nil || resp.StatusCode != 302 {
			t.Errorf("%s: got %v, %v, and %d requests", target, resp, err, asked)
		}
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
		c, _, err := Dial(t.Context(), wsURL(secure), &DialOptions{HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		checkEcho(t, c)
		asked = 0
	}
}

// A pipeListener accepts the connections that dial makes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return netfake.Addr("listener") }

func (l *pipeListener) dial(context.Context, string, string) (net.Conn, error) {
	near, far := netfake.Pipe(netfake.Options{})
	l.conns <- far
	return near, nil
}

// A connection that has served other requests is upgraded, and then knows nothing of the timeouts that the HTTP
// server and the HTTP client have for connections.
func TestUpgradeOfUsedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipeListener{make(chan net.Conn), make(chan struct{})}
		handler := Handler(serveEcho, &AcceptOptions{PingInterval: -1}) // the client does not read for hours
		server := &http.Server{
			ReadTimeout: time.Second, ReadHeaderTimeout: time.Second, WriteTimeout: time.Second, IdleTimeout: 10 * time.Second,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/ws" {
					handler.ServeHTTP(w, r)
					return
				}
				io.WriteString(w, "page")
			}),
		}
		go server.Serve(l)
		defer server.Close()
		tr := &http.Transport{DialContext: l.dial, IdleConnTimeout: time.Second, ResponseHeaderTimeout: time.Second}
		client := &http.Client{Transport: tr, Timeout: time.Second}
		for range 3 { // the HTTP client keeps connections that may be upgraded apart from those of other requests
			if _, resp, err := Dial(t.Context(), "ws://example.com/", &DialOptions{HTTPClient: client}); resp == nil || resp.StatusCode != 200 || err == nil {
				t.Fatalf("got %v, %v", resp, err)
			}
			synctest.Wait() // until the connection is idle
		}
		reused := false
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }})
		cfg, _, err := dial(ctx, "ws://example.com/ws", &DialOptions{HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		if _, direct := cfg.transport.(*netfake.Conn); !direct || !reused {
			t.Errorf("the transport is a %T, reused %v", cfg.transport, reused)
		}
		c := newConn(cfg)
		for range 3 {
			time.Sleep(time.Hour)
			if err := c.Write(t.Context(), MessageText, []byte("still there?")); err != nil {
				t.Fatal(err)
			}
			if _, got, err := c.Read(t.Context()); err != nil || string(got) != "still there?" {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		checkEcho(t, c)
	})
}

// A connection that serves a page, then an upgrade with frames right behind it.
func TestUpgradeAfterPage(t *testing.T) {
	h := Handler(serveEcho, nil)
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
	backend := newServer(t, Handler(serveEcho, &AcceptOptions{Subprotocols: []string{"v1"}}), false)
	target, _ := url.Parse(backend.URL)
	for _, secure := range []bool{false, true} {
		proxy := newServer(t, &httputil.ReverseProxy{ErrorLog: discardLog, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}, secure)
		c, _, err := Dial(t.Context(), wsURL(proxy), &DialOptions{HTTPClient: proxy.Client(), Subprotocols: []string{"v1"}})
		if err != nil {
			t.Fatal(err)
		}
		if c.Subprotocol() != "v1" {
			t.Errorf("the subprotocol is %q", c.Subprotocol())
		}
		checkEcho(t, c)
		_, resp, err := Dial(t.Context(), wsURL(proxy), &DialOptions{HTTPClient: proxy.Client(), HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
		if resp == nil || resp.StatusCode != 403 || err == nil {
			t.Errorf("a refusal through the proxy: %v, %v", resp, err)
		}
	}
}

// HTTP/2 has no Upgrade: a server says so, and a client that can speak nothing else says so.
func TestHTTP2(t *testing.T) {
	s := newServer(t, Handler(func(*Conn, *http.Request) { t.Error("serve was called") }, nil), true)
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
	if c, _, err := Dial(t.Context(), plain.URL, &DialOptions{HTTPClient: &http.Client{Transport: tr}}); c != nil || !matches(err, "websocket: dial: ") {
		t.Errorf("got %v, %v", c, err)
	}
}

// Whatever is wrong with the response, its connection is closed, at once. A 101 ends with its header, whatever that
// says of a body.
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
				c, _, err := Dial(t.Context(), "ws://example.com/", &DialOptions{HTTPClient: client})
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

// However Dial ends, nothing of it stays on the context of the caller, who may use the same one for ever.
func TestDialLeavesContext(t *testing.T) {
	s := newServer(t, Handler(serveEcho, nil), false)
	for _, timeout := range []time.Duration{0, time.Minute} {
		for name, opts := range map[string]*DialOptions{
			"success":      {},
			"refusal":      {HTTPHeader: http.Header{"Origin": {"null"}}},
			"no transport": {HTTPClient: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, io.EOF })}},
		} {
			if opts.HTTPClient == nil {
				opts.HTTPClient = &http.Client{}
			}
			opts.HTTPClient.Timeout = timeout
			ctx := hookContext{context.Background(), make(chan struct{}), map[*int]bool{}}
			c, _, err := Dial(ctx, s.URL, opts)
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
	if _, _, err := Dial(t.Context(), "ws://example.com", &DialOptions{HTTPClient: client}); !matches(err, "it cannot be written") {
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
			Dial(t.Context(), scheme+"://"+l.Addr().String()+"/a", &DialOptions{
				HTTPClient: s.Client(), Subprotocols: []string{"v1"}, CompressionMode: CompressionContextTakeover,
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
	opts := &AcceptOptions{Subprotocols: []string{"v1"}, CompressionMode: CompressionContextTakeover}
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
				if c, err := Accept(w, r, opts); err == nil {
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

// A RoundTripper sees the Host that http.NewRequest sets.
func TestDialHostForRoundTripper(t *testing.T) {
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/end" {
			http.Redirect(w, r, "ws://"+r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()+"/end", http.StatusFound)
		}
	}), false)
	host := s.Listener.Addr().String()
	for option, want := range map[string][]string{"": {host, host}, "other.example": {"other.example", host}} {
		var got []string
		client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			got = append(got, r.Host)
			return http.DefaultTransport.RoundTrip(r)
		})}
		Dial(t.Context(), wsURL(s), &DialOptions{HTTPClient: client, Host: option})
		if !slices.Equal(got, want) {
			t.Errorf("Host %q: the RoundTripper saw %q, want %q", option, got, want)
		}
	}
	req, err := http.NewRequest("GET", "http://example.com:/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := requestHost(&url.URL{Host: "example.com:"}); got != req.Host {
		t.Errorf("got %q, want %q", got, req.Host)
	}
}

// A 101 that asks to close as well: net/http edits the header and ends the
// connection. The error says so. A request that does it is accepted.
func TestUpgradeAndClose(t *testing.T) {
	for _, lines := range []string{"Upgrade, close", "close, upgrade", "Upgrade\r\nConnection: close", "close"} {
		s := rawResponder(t, func(key string) string {
			return strings.Replace(wstest.Response(key), "Connection: Upgrade", "Connection: "+lines, 1)
		})
		_, resp, err := Dial(t.Context(), "ws://"+s, nil)
		var he *HandshakeError
		if resp == nil || !errors.As(err, &he) || he.StatusCode != 101 || !matches(err, "the Connection header of the response says close") {
			t.Errorf("%q: got the error %v", lines, err)
		}
	}
	p := wstest.NewPeer(t, rawServer(t, Handler(serveEcho, nil).ServeHTTP), wstest.Client)
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
			_, _, err := Dial(t.Context(), "ws://"+u.Host+"/", &DialOptions{HTTPClient: &http.Client{Transport: tt.transport}})
			named := err != nil && strings.Contains(err.Error(), "through the HTTP proxy "+u.Host+", which must upgrade a plain request: use wss, or")
			var he *HandshakeError
			if named != tt.named || !errors.As(err, &he) || he.StatusCode != status || strings.Contains(err.Error(), "secret") {
				t.Errorf("status %d, through a proxy %v: got the error %v", status, tt.named, err)
			}
		}
	}
}
