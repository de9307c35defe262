package websocket_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/gorilla"
)

// echoHandler upgrades, echoes one message, and shows what the request said.
func echoHandler(w http.ResponseWriter, r *http.Request) {
	h := http.Header{"X-Host": {r.Host}, "X-Cookie": {r.Header.Get("Cookie")}, "X-Uri": {r.RequestURI}, "Set-Cookie": {"a=b"}}
	c, err := (&websocket.Upgrader{}).Upgrade(w, r, h)
	if err != nil {
		return
	}
	defer c.Close()
	if typ, p, err := c.ReadMessage(); err == nil {
		c.WriteMessage(typ, p)
	}
	c.ReadMessage()
}

func echoServer(t *testing.T, secure bool) (url string, roots *x509.CertPool) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(echoHandler))
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
		roots = x509.NewCertPool()
		roots.AddCert(s.Certificate())
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http"), roots
}

// roundTrip dials and sends a message to and fro.
func roundTrip(t *testing.T, d *websocket.Dialer, url string, h http.Header) *http.Response {
	t.Helper()
	c, resp, err := d.Dial(url, h)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send(t, c, websocket.TextMessage, "hello")
	expect(t, c, websocket.TextMessage, "hello")
	return resp
}

func TestDialTLS(t *testing.T) {
	url, roots := echoServer(t, true)
	cfg := &tls.Config{RootCAs: roots, NextProtos: []string{"h2", "http/1.1"}}
	roundTrip(t, &websocket.Dialer{TLSClientConfig: cfg}, url, nil)
	if len(cfg.NextProtos) != 2 {
		t.Error("the caller's configuration was changed")
	}
	_, _, err := (&websocket.Dialer{}).Dial(url, nil)
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Error(err)
	}
	roundTrip(t, &websocket.Dialer{
		NetDialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&tls.Dialer{Config: &tls.Config{RootCAs: roots}}).DialContext(ctx, network, addr)
		},
		NetDialContext:  func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("not this one") },
		TLSClientConfig: &tls.Config{ServerName: "wrong.example"},
	}, url, nil)
}

func TestDialRequest(t *testing.T) {
	addr, _ := echoServer(t, false)
	jar, _ := cookiejar.New(nil)
	u, _ := url.Parse("http" + strings.TrimPrefix(addr, "ws"))
	jar.SetCookies(u, []*http.Cookie{{Name: "c", Value: "d"}})
	resp := roundTrip(t, &websocket.Dialer{Jar: jar}, addr+"/path?q=é 1#fragment", http.Header{"Host": {"other.example"}})
	for field, want := range map[string]string{"X-Host": "other.example", "X-Cookie": "c=d", "X-Uri": "/path?q=%C3%A9%201"} {
		if got := resp.Header.Get(field); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	if len(jar.Cookies(u)) != 2 {
		t.Error("the cookie of the response is not in the jar")
	}
}

func TestDialErrors(t *testing.T) {
	addr, _ := echoServer(t, false)
	for _, url := range []string{"http" + addr[2:], "ws://user:pass@" + addr[5:], "ws://%zz", "/path"} {
		if _, _, err := (&websocket.Dialer{}).Dial(url, nil); err == nil {
			t.Error(url)
		}
	}
	for _, field := range []string{"Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol"} {
		d := &websocket.Dialer{Subprotocols: []string{"p"}}
		_, _, err := d.Dial(addr, http.Header{field: {"x"}})
		if err == nil || err.Error() != "websocket: duplicate header not allowed: "+field {
			t.Error(field, err)
		}
	}
	_, _, err := (&websocket.Dialer{}).Dial("ws://127.0.0.1:1", nil)
	if _, ok := err.(*net.OpError); !ok {
		t.Errorf("%T %v", err, err)
	}
	refused := errors.New("refused")
	d := &websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return nil, refused }}
	if _, _, err := d.Dial(addr, nil); err != refused {
		t.Error(err)
	}
	d = &websocket.Dialer{Proxy: func(*http.Request) (*url.URL, error) { return nil, refused }}
	if _, _, err := d.Dial(addr, nil); err != refused {
		t.Error(err)
	}
}

func TestBadHandshake(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/bad-redirect":
			w.Header().Set("Location", "http://%zz")
			w.WriteHeader(http.StatusFound)
		case "/gone":
			http.Error(w, "it is gone", http.StatusGone)
		case "/long":
			io.WriteString(w, strings.Repeat("x", 5000))
		}
	}))
	defer s.Close()
	for path, status := range map[string]int{"/redirect": 302, "/bad-redirect": 302, "/gone": 410, "/long": 200} {
		_, resp, err := websocket.DefaultDialer.Dial("ws"+s.URL[4:]+path, nil)
		if err != websocket.ErrBadHandshake || resp == nil || resp.StatusCode != status {
			t.Errorf("%s: %v %v", path, resp, err)
			continue
		}
		p, err := io.ReadAll(resp.Body)
		if err != nil || path == "/gone" && string(p) != "it is gone\n" || path == "/long" && len(p) != 1024 {
			t.Errorf("%s: %q %v", path, p, err)
		}
	}
}

// A server that says nothing: the timeout and the context end the handshake.
func TestHandshakeTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	url := "ws://" + l.Addr().String()
	d := &websocket.Dialer{HandshakeTimeout: 20 * time.Millisecond}
	_, _, err = d.Dial(url, nil)
	if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
		t.Errorf("%T %v", err, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, _, err = (&websocket.Dialer{}).DialContext(ctx, url, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%T %v", err, err)
	}
	d.HandshakeTimeout = -1
	_, _, err = d.Dial(url, nil)
	if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
		t.Errorf("%T %v", err, err)
	}
}

// connectProxy is an HTTP proxy that knows CONNECT only.
func connectProxy(used *atomic.Int32, credentials string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != credentials {
			http.Error(w, "no", http.StatusProxyAuthRequired)
			return
		}
		used.Add(1)
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		w.WriteHeader(http.StatusOK)
		here, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		go func() { io.Copy(there, buffered); there.Close() }()
		io.Copy(here, there)
		here.Close()
	}
}

func TestProxyHTTP(t *testing.T) {
	var used atomic.Int32
	handler := connectProxy(&used, "Basic dXNlcjpwYXNz")
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	for _, toTLS := range []bool{false, true} {
		target, roots := echoServer(t, toTLS)
		if roots == nil {
			roots = x509.NewCertPool()
		}
		roots.AddCert(secure.Certificate())
		for _, proxy := range []string{plain.URL, secure.URL} {
			u, _ := url.Parse(proxy)
			d := &websocket.Dialer{Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{RootCAs: roots}, HandshakeTimeout: patience}
			if _, _, err := d.Dial(target, nil); err == nil || !strings.Contains(err.Error(), "407 Proxy Authentication Required") {
				t.Error(err)
			}
			u.User = url.UserPassword("user", "pass")
			before := used.Load()
			roundTrip(t, d, target, nil)
			if used.Load() != before+1 {
				t.Error("the proxy was not used")
			}
		}
	}
}

// socksProxy serves SOCKS 5 with a password. It knows the name localhost.
func socksProxy(t *testing.T, types chan<- byte) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	serve := func(c net.Conn) {
		defer c.Close()
		p := make([]byte, 300)
		read := func(n int) []byte { io.ReadFull(c, p[:n]); return p[:n] }
		methods := string(read(int(read(2)[1])))
		if !strings.Contains(methods, "\x02") {
			c.Write([]byte{5, 0xff})
			return
		}
		c.Write([]byte{5, 2})
		name := string(read(int(read(2)[1])))
		password := string(read(int(read(1)[0])))
		if name != "user" || password != "pass" {
			c.Write([]byte{1, 1})
			return
		}
		c.Write([]byte{1, 0})
		var host string
		typ := read(4)[3]
		switch types <- typ; typ {
		case 1:
			host = net.IP(read(4)).String()
		case 3:
			host = string(read(int(read(1)[0])))
		case 4:
			host = net.IP(read(16)).String()
		}
		port := read(2)
		there, err := net.Dial("tcp", net.JoinHostPort(host, itoa(int(port[0])<<8|int(port[1]))))
		if err != nil {
			c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		defer there.Close()
		c.Write([]byte{5, 0, 0, 3, 1, 'x', 0, 0})
		go func() { io.Copy(there, c); there.Close() }()
		io.Copy(c, there)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func TestProxySOCKS(t *testing.T) {
	types := make(chan byte, 10)
	proxy := socksProxy(t, types)
	target, _ := echoServer(t, false)
	_, port, _ := net.SplitHostPort(target[5:])
	u, _ := url.Parse("socks5://user:pass@" + proxy)
	d := &websocket.Dialer{Proxy: http.ProxyURL(u), HandshakeTimeout: patience}
	roundTrip(t, d, target, nil)
	roundTrip(t, d, "ws://localhost:"+port, nil)
	if a, b := <-types, <-types; a != 1 || b != 3 {
		t.Error(a, b)
	}
	if _, _, err := d.Dial("ws://127.0.0.1:1", nil); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
	for _, user := range []*url.Userinfo{nil, url.UserPassword("user", "wrong"), url.User("")} {
		u.User = user
		if _, _, err := d.Dial(target, nil); err == nil {
			t.Error(user)
		}
	}
	u, _ = url.Parse("gopher://" + proxy)
	d.Proxy = http.ProxyURL(u)
	if _, _, err := d.Dial(target, nil); err == nil {
		t.Error("an unknown scheme")
	}
}

// A user name or a password that SOCKS has no room for is not offered.
func TestProxySOCKSWithoutUser(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, user := range []*url.Userinfo{nil, url.User(""), url.UserPassword("", "pass"), url.User(long), url.UserPassword("user", long)} {
		here, there := net.Pipe()
		greeting := make(chan string, 1)
		go func() {
			p := make([]byte, 9)
			n, _ := there.Read(p)
			greeting <- string(p[:n])
			there.Close()
		}()
		d := &websocket.Dialer{
			Proxy:   http.ProxyURL(&url.URL{Scheme: "socks5", Host: "proxy.example", User: user}),
			NetDial: func(string, string) (net.Conn, error) { return here, nil },
		}
		if _, _, err := d.Dial("ws://target.example", nil); err == nil {
			t.Error("the proxy has ended the connection")
		}
		if got := <-greeting; got != "\x05\x01\x00" {
			t.Errorf("%.20v: %x", user, got)
		}
	}
}

// Proxy is given the request as it will be sent, and may add to it.
func TestProxySeesRequest(t *testing.T) {
	jar, _ := cookiejar.New(nil)
	jar.SetCookies(&url.URL{Scheme: "http", Host: "127.0.0.1"}, []*http.Cookie{{Name: "a", Value: "b"}})
	var seen http.Header
	d := &websocket.Dialer{
		Jar:               jar,
		Subprotocols:      []string{"a/b", "c"},
		EnableCompression: true,
		Proxy: func(r *http.Request) (*url.URL, error) {
			seen = r.Header.Clone()
			r.Header.Set("X-Of-The-Proxy", "1")
			return nil, nil
		},
	}
	sent := requested(t, d, http.Header{"X-One": {"1"}})
	if sent.Get("X-Of-The-Proxy") != "1" {
		t.Error("what Proxy added is not sent")
	}
	for _, name := range []string{"Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Cookie", "X-One"} {
		if got, want := seen[name], sent.Values(name); len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: Proxy saw %q, %q was sent", name, got, want)
		}
	}
}

func TestTrace(t *testing.T) {
	target, roots := echoServer(t, true)
	var got []string
	note := func(what string) { got = append(got, what) }
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GetConn:              func(string) { note("GetConn") },
		GotConn:              func(httptrace.GotConnInfo) { note("GotConn") },
		TLSHandshakeStart:    func() { note("TLSHandshakeStart") },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { note("TLSHandshakeDone") },
		WroteRequest:         func(httptrace.WroteRequestInfo) { note("WroteRequest") },
		GotFirstResponseByte: func() { note("GotFirstResponseByte") },
	})
	c, _, err := (&websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: roots}}).DialContext(ctx, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if s := strings.Join(got, " "); s != "GetConn GotConn TLSHandshakeStart TLSHandshakeDone WroteRequest GotFirstResponseByte" {
		t.Error(s)
	}
}

// namedConn is a transport of the program's own.
type namedConn struct{ net.Conn }

// NetConn and UnderlyingConn return the transport itself, and NewClient speaks
// over the one it is given.
func TestNetConn(t *testing.T) {
	target, _ := echoServer(t, false)
	conn, err := net.Dial("tcp", target[5:])
	if err != nil {
		t.Fatal(err)
	}
	mine := &namedConn{conn}
	u, _ := url.Parse(target)
	c, _, err := websocket.NewClient(mine, u, nil, 1024, 1024)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.NetConn() != net.Conn(mine) || c.UnderlyingConn() != net.Conn(mine) {
		t.Error(c.NetConn())
	}
	send(t, c, websocket.TextMessage, "hello")
	expect(t, c, websocket.TextMessage, "hello")

	server, client := plainPair(t)
	for _, c := range []*websocket.Conn{server, client} {
		if _, ok := c.NetConn().(*net.TCPConn); !ok {
			t.Errorf("%T", c.NetConn())
		}
		if c.LocalAddr() == nil || c.RemoteAddr() == nil {
			t.Error("no addresses")
		}
	}
}

// Bytes right behind the response belong to the connection.
func TestBytesBehindResponse(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := http.NewResponseController(w).Hijack()
		rec := &recordConn{Conn: conn}
		c, err := (&websocket.Upgrader{}).Upgrade(hijacked{w, rec}, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		c.WriteMessage(websocket.TextMessage, []byte("at once"))
		conn.Write(rec.p) // all of it together
		c.ReadMessage()
		c.Close()
	}))
	defer s.Close()
	c := dial(t, &websocket.Dialer{}, "ws"+s.URL[4:])
	expect(t, c, websocket.TextMessage, "at once")
}

type recordConn struct {
	net.Conn
	p []byte
}

func (c *recordConn) Write(p []byte) (int, error) { c.p = append(c.p, p...); return len(p), nil }

// hijacked is a ResponseWriter whose connection was taken over.
type hijacked struct {
	http.ResponseWriter
	conn net.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, nil, nil }

// requested dials a server that refuses, and returns what it got.
func requested(t *testing.T, d *websocket.Dialer, header http.Header) http.Header {
	t.Helper()
	var got http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.Header }))
	defer s.Close()
	if _, _, err := d.Dial("ws"+s.URL[4:], header); err != websocket.ErrBadHandshake {
		t.Fatal(err)
	}
	return got
}

// The request header is sent as gorilla sends it, by package net/http. Line
// breaks become spaces, and what is no name of a field is left out.
func TestDialHeader(t *testing.T) {
	header := http.Header{
		"Authorization": {"Bearer t\n"}, "X-Evil": {"a\r\nX-Other: 1"}, "X Bad": {"1"}, "": {"1"}, "X-Also: 1\r\nX-Other": {"1"},
		"Sec-Websocket-Accept": {"x"}, "Sec-Websocket-Protocol": {"a,b", "c"},
	}
	before := header.Clone()
	got := requested(t, &websocket.Dialer{}, header)
	for name, want := range map[string][]string{
		"Authorization": {"Bearer t"}, "X-Evil": {"a  X-Other: 1"}, "X-Other": nil, "X-Also": nil, "Sec-Websocket-Accept": {"x"}, "Sec-Websocket-Protocol": {"a,b", "c"},
	} {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	if !reflect.DeepEqual(header, before) {
		t.Errorf("the caller's header was changed: %q", header)
	}
	if _, _, err := (&websocket.Dialer{}).Dial("ws://127.0.0.1:1", http.Header{"X-Evil": {"a\x00b"}}); err == nil || !strings.Contains(err.Error(), "X-Evil") {
		t.Error(err)
	}
}

// A Cookie of the request header takes the place of those of the Jar.
func TestDialCookieAndJar(t *testing.T) {
	jar, _ := cookiejar.New(nil)
	jar.SetCookies(&url.URL{Scheme: "http", Host: "127.0.0.1"}, []*http.Cookie{{Name: "c", Value: "d"}})
	for want, header := range map[string]http.Header{"c=d": nil, "mine=1": {"Cookie": {"mine=1"}}, "": {"Cookie": {}}} {
		if got := requested(t, &websocket.Dialer{Jar: jar}, header); got.Get("Cookie") != want {
			t.Errorf("%q: %q", want, got["Cookie"])
		}
	}
}

// A URL without a host means this machine.
func TestDialPortAlone(t *testing.T) {
	target, _ := echoServer(t, false)
	_, port, _ := net.SplitHostPort(target[5:])
	roundTrip(t, &websocket.Dialer{}, "ws://:"+port+"/", nil)
	if _, _, err := (&websocket.Dialer{}).Dial("ws:///path", nil); err == nil {
		t.Error("a URL without a host and a port")
	}
}

// deadlineless is a connection that only Close ends.
type deadlineless struct{ net.Conn }

func (deadlineless) SetDeadline(time.Time) error { return nil }

// All deadlines give the error that a read of a network connection gives.
func TestDialTimeoutError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	expired, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Hour))
	defer cancel()
	slow := &websocket.Dialer{HandshakeTimeout: 10 * time.Millisecond, NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return deadlineless{c}, err
	}}
	by := func(scheme string, d websocket.Dialer) *websocket.Dialer {
		d.Proxy = http.ProxyURL(&url.URL{Scheme: scheme, Host: l.Addr().String()})
		return &d
	}
	for _, tt := range []struct {
		name string
		ctx  context.Context
		d    *websocket.Dialer
	}{
		{"the server is silent", context.Background(), &websocket.Dialer{HandshakeTimeout: 10 * time.Millisecond}},
		{"no deadlines", context.Background(), slow},
		{"it is over before", expired, &websocket.Dialer{}},
		{"TLS", context.Background(), &websocket.Dialer{HandshakeTimeout: 10 * time.Millisecond}},
		{"TLS, no deadlines", context.Background(), slow},
		{"an HTTP proxy", context.Background(), by("http", websocket.Dialer{HandshakeTimeout: 10 * time.Millisecond})},
		{"an HTTP proxy, no deadlines", context.Background(), by("http", *slow)},
		{"an HTTPS proxy, no deadlines", context.Background(), by("https", *slow)},
		{"a SOCKS proxy, no deadlines", context.Background(), by("socks5", *slow)},
	} {
		scheme := "ws://"
		if strings.HasPrefix(tt.name, "TLS") {
			scheme = "wss://"
		}
		_, _, err := tt.d.DialContext(tt.ctx, scheme+l.Addr().String(), nil)
		if op, ok := err.(*net.OpError); !ok || !op.Timeout() || !strings.Contains(err.Error(), "i/o timeout") {
			t.Errorf("%s: %T %v", tt.name, err, err)
		}
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err = (&websocket.Dialer{}).DialContext(canceled, "ws://"+l.Addr().String(), nil)
	if op, ok := err.(*net.OpError); !ok || op.Timeout() || !errors.Is(err, context.Canceled) {
		t.Errorf("%T %v", err, err)
	}
}
