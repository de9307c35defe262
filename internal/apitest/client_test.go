package apitest

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
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Dial says what is wrong with the options before it sends anything.
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
		opts *websocket.DialOptions
		err  string
	}{
		{t.Context(), "ftp://example.com", &websocket.DialOptions{}, "websocket: dial: the scheme of the URL"},
		{t.Context(), "ws://example.com/#x", &websocket.DialOptions{}, "websocket: dial: the URL has a fragment"},
		{t.Context(), "ws://example.com", &websocket.DialOptions{HTTPHeader: http.Header{"X": {"\r\n"}}}, "websocket: dial: invalid value of X"},
		{t.Context(), "ws://example.com", &websocket.DialOptions{Host: "\n"}, "websocket: dial: invalid DialOptions.Host"},
		{t.Context(), "ws://example.com", &websocket.DialOptions{Subprotocols: []string{"\r\n"}}, "websocket: dial: invalid DialOptions.Subprotocols"},
		{ended, "ws://example.com", &websocket.DialOptions{}, "websocket: dial: context canceled"},
		{nil, "ws://example.com", &websocket.DialOptions{}, "websocket: dial: the context is nil"},
	} {
		tt.opts.HTTPClient = client
		if c, resp, err := websocket.Dial(tt.ctx, tt.url, tt.opts); c != nil || resp != nil || !matches(err, tt.err) {
			t.Errorf("%s %+v: got %v, %v, %v, want the error %q", tt.url, tt.opts, c, resp, err, tt.err)
		}
	}
}

func TestDialRefused(t *testing.T) {
	for _, size := range []int{0, 10, 1024, 1025, 1 << 20} {
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-A", "1")
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, strings.Repeat("x", size))
		}), false)
		c, resp, err := websocket.Dial(t.Context(), s.URL, nil)
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
	c, resp, err := websocket.Dial(t.Context(), s.URL, nil)
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

// A RoundTripper may make several connections for a request. The one that was
// reported last is not always the right one.
func TestDialOtherConn(t *testing.T) {
	s := newServer(t, websocket.Handler(serveEcho, nil), false)
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
	c, _, err := websocket.Dial(t.Context(), wsURL(s), &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
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
					c, resp, err := websocket.Dial(ctx, "ws://example.com/", &websocket.DialOptions{HTTPClient: client})
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
	c, _, err := websocket.Dial(ctx, "ws://example.com", &websocket.DialOptions{HTTPClient: client})
	if c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", c, err)
	}
	wstest.NewPeer(t, far, wstest.Server).WantEnd()
}

func TestDialRedirect(t *testing.T) {
	target := newServer(t, websocket.Handler(serveEcho, nil), false)
	var hops atomic.Int64
	mux := http.NewServeMux()
	mux.Handle("/ws", websocket.Handler(serveEcho, nil))
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
		c, _, err := websocket.Dial(t.Context(), wsURL(s)+path, nil)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		checkEcho(t, c)
	}
	for path, want := range map[string]string{"/loop": "stopped after 10 redirects", "/ftp": "unsupported protocol scheme"} {
		_, resp, err := websocket.Dial(t.Context(), wsURL(s)+path, nil)
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
	_, resp, err := websocket.Dial(t.Context(), wsURL(s)+"/relative", &websocket.DialOptions{HTTPClient: client})
	if !matches(err, "status 302 Found, not 101") || resp.Header.Get("Location") != "/ws" || via != 1 {
		t.Errorf("CheckRedirect: got %v, %v", resp, err)
	}
}

func TestDialCookies(t *testing.T) {
	var second string
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		second = r.Header.Get("Cookie")
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		if c, err := websocket.Accept(w, r, nil); err == nil {
			serveEcho(c, r)
		}
	}), false)
	jar, _ := cookiejar.New(nil)
	opts := &websocket.DialOptions{HTTPClient: &http.Client{Jar: jar}}
	for range 2 {
		c, resp, err := websocket.Dial(t.Context(), wsURL(s), opts)
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
		s := newServer(t, websocket.Handler(serveEcho, nil), secure)
		tr := s.Client().Transport.(*http.Transport).Clone()
		tr.Proxy = http.ProxyURL(proxyURL)
		c, _, err := websocket.Dial(t.Context(), wsURL(s), &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}})
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
	s := httptest.NewUnstartedServer(websocket.Handler(serveEcho, nil))
	s.Config.ErrorLog = discardLog
	s.StartTLS()
	defer s.Close()
	_, _, err := websocket.Dial(t.Context(), wsURL(s), nil)
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("an unknown authority: %v", err)
	}
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	tr := s.Client().Transport.(*http.Transport).Clone()
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
	}
	_, _, err = websocket.Dial(t.Context(), "wss://wrong.example:"+port, &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}})
	var name x509.HostnameError
	if !errors.As(err, &name) {
		t.Errorf("another host: %v", err)
	}
	c, _, err := websocket.Dial(t.Context(), "wss://example.com:"+port, &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}})
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
	_, resp, err := websocket.Dial(t.Context(), "ws://user:secret@"+l.Addr().String(), nil)
	var op *net.OpError
	if resp != nil || !errors.As(err, &op) || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, %v", resp, err)
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

// Dial refuses a certificate that crypto/tls refuses, before it sends any
// request. Its error holds that of the standard library.
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
				if c, err := websocket.Accept(w, r, nil); err == nil {
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
			c, resp, err := websocket.Dial(t.Context(), "wss://example.com/", &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}})
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
				c, _, err := websocket.Dial(t.Context(), "ws://example.com/", &websocket.DialOptions{HTTPClient: client})
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

// A field that is meant for one host does not go to another that it sends the
// client to. A field that any host may know does.
func TestHostileRedirectSecrets(t *testing.T) {
	for location, same := range map[string]bool{
		"ws://other.example/": false, "ws://example.com.evil.example/": false, "ws://evilexample.com/": false,
		"/elsewhere": true, "ws://example.com/": true,
	} {
		synctest.Test(t, func(t *testing.T) {
			client, asked := redirector(t, location)
			websocket.Dial(t.Context(), "ws://user:password@example.com/", &websocket.DialOptions{HTTPClient: client, HTTPHeader: http.Header{
				"Authorization": {"Bearer secret"}, "Cookie": {"session=secret"}, "User-Agent": {"public"}}})
			host, head := asked()
			if strings.Contains(head, "secret") != same || !strings.Contains(head, "public") || host == "" {
				t.Errorf("%s: asked %s %q", location, host, head)
			}
		})
	}
}
