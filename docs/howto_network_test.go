package docs_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

// The code up to the mark is in how-to.md too, letter by letter.

func throughProxy(proxy string) (*http.Client, error) {
	u, err := url.Parse(proxy)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = http.ProxyURL(u)
	return &http.Client{Transport: transport}, nil
}

func throughTunnel(proxy *url.URL) *http.Client {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, proxy.Host)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { c.Close() })
		err = connect(c, proxy.User, addr)
		if !stop() {
			err = ctx.Err()
		}
		if err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial}}
}

func connect(c net.Conn, user *url.Userinfo, addr string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if user != nil {
		password, _ := user.Password()
		login := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		req.Header.Set("Proxy-Authorization", "Basic "+login)
	}
	if err := req.Write(c); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), req) // the server is silent until it is asked
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the proxy answered CONNECT with %s", resp.Status)
	}
	return nil
}

func serveUnix(path string, handler http.Handler) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	return http.Serve(l, handler)
}

func overUnix(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
}

func trusting(ca []byte) (*http.Client, error) {
	roots := x509.NewCertPool() // x509.SystemCertPool(): the public ones too
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("there is no certificate in the file of the CA")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() // it heeds HTTPS_PROXY
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	return &http.Client{Transport: transport}, nil
}

func withCertificate(roots *x509.CertPool, own tls.Certificate) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}}
	return &http.Client{Transport: transport}
}

func newMutualServer(clients *x509.CertPool, own tls.Certificate) *http.Server {
	return &http.Server{
		Handler: websocket.Handler(func(c *websocket.Conn, r *http.Request) {
			name := r.TLS.PeerCertificates[0].Subject.CommonName
			c.Write(r.Context(), websocket.MessageText, []byte("hello, "+name))
		}, nil),
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{own},
			ClientCAs:    clients,
			ClientAuth:   tls.RequireAndVerifyClientCert,
		},
	}
}

// The mark: end of the code in how-to.md.

// talk dials, and wants the greeting of newGreeter.
func talk(t *testing.T, wsURL string, client *http.Client) error {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, wsURL, &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		return err
	}
	defer c.CloseNow()
	_, data, err := c.Read(ctx)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(data), "hello") {
		t.Errorf("got %q", data)
	}
	return c.Close(websocket.StatusNormalClosure, "")
}

// newGreeter returns the ws and the wss URL of a server, and a pool with the
// certificate of the second.
func newGreeter(t *testing.T) (plain, encrypted string, roots *x509.CertPool) {
	greet := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.Write(r.Context(), websocket.MessageText, []byte("hello"))
	}, nil)
	s, enc := httptest.NewServer(greet), httptest.NewTLSServer(greet)
	t.Cleanup(s.Close)
	t.Cleanup(enc.Close)
	roots = x509.NewCertPool()
	roots.AddCert(enc.Certificate())
	return "ws" + strings.TrimPrefix(s.URL, "http"), "wss" + strings.TrimPrefix(enc.URL, "https"), roots
}

// A proxyServer passes connections on. It has a protocol in front of them.
type proxyServer struct {
	addr    string
	tunnels atomic.Int32 // how many there have been
}

// newProxy returns a proxy for which greet reads where a connection goes to,
// and answers. It alone knows the address of example.com. With certificates it
// speaks TLS.
func newProxy(t *testing.T, greet func(c net.Conn, r *bufio.Reader) (target string, err error), certificates ...tls.Certificate) *proxyServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &proxyServer{addr: l.Addr().String()}
	if len(certificates) > 0 {
		l = tls.NewListener(l, &tls.Config{Certificates: certificates})
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				target, err := greet(c, r)
				if err != nil {
					return
				}
				to, err := net.Dial("tcp", strings.Replace(target, "example.com", "127.0.0.1", 1))
				if err != nil {
					return
				}
				defer to.Close()
				p.tunnels.Add(1)
				go func() {
					io.Copy(to, r)
					to.(*net.TCPConn).CloseWrite()
				}()
				io.Copy(c, to)
			}()
		}
	}()
	return p
}

// socks5 is the server's side of RFC 1928 with the passwords of RFC 1929, for
// alice whose password is secret.
func socks5(c net.Conn, r *bufio.Reader) (target string, err error) {
	next := func(n int) []byte {
		b := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(r, b)
		}
		return b
	}
	next(int(next(2)[1])) // the version, and methods
	c.Write([]byte{5, 2}) // a password
	user := next(int(next(2)[1]))
	password := next(int(next(1)[0]))
	if err != nil || string(user) != "alice" || string(password) != "secret" {
		c.Write([]byte{1, 1})
		return "", errors.New("a wrong password")
	}
	c.Write([]byte{1, 0})
	switch next(4)[3] {
	case 1:
		target = net.IP(next(4)).String()
	case 3:
		target = string(next(int(next(1)[0])))
	case 4:
		target = net.IP(next(16)).String()
	}
	port := next(2)
	c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return net.JoinHostPort(target, fmt.Sprint(int(port[0])<<8|int(port[1]))), err
}

// httpConnect is a proxy that knows CONNECT and no other request, for alice
// whose password is secret.
func httpConnect(c net.Conn, r *bufio.Reader) (target string, err error) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return "", err
	}
	switch {
	case req.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte("alice:secret")):
		io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
	case req.Method != http.MethodConnect:
		io.WriteString(c, "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
	default:
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		return req.Host, nil
	}
	return "", errors.New("refused")
}

func TestHowToProxies(t *testing.T) {
	plain, encrypted, roots := newGreeter(t)
	plain = strings.Replace(plain, "127.0.0.1", "example.com", 1)
	encrypted = strings.Replace(encrypted, "127.0.0.1", "example.com", 1)
	caPEM, _, issue := newCA(t)
	roots.AppendCertsFromPEM(caPEM)
	socks, connects, overTLS := newProxy(t, socks5), newProxy(t, httpConnect), newProxy(t, httpConnect, issue("proxy"))
	byProxy := func(scheme string) func(*proxyServer, string) *http.Client {
		return func(p *proxyServer, login string) *http.Client {
			client, err := throughProxy(scheme + "://" + login + "@" + p.addr)
			if err != nil {
				t.Fatal(err)
			}
			return client
		}
	}
	byTunnel := func(p *proxyServer, login string) *http.Client {
		u, err := url.Parse("http://" + login + "@" + p.addr)
		if err != nil {
			t.Fatal(err)
		}
		return throughTunnel(u)
	}
	for _, tt := range []struct {
		name, url string
		proxy     *proxyServer
		client    func(p *proxyServer, login string) *http.Client
		err       string // even with the right password
	}{
		{"SOCKS5, ws", plain, socks, byProxy("socks5"), ""},
		{"SOCKS5, wss", encrypted, socks, byProxy("socks5"), ""},
		{"SOCKS5 with names left to the proxy, ws", plain, socks, byProxy("socks5h"), ""},
		{"HTTP, wss", encrypted, connects, byProxy("http"), ""},
		{"HTTP, ws", plain, connects, byProxy("http"), "use wss, or a DialContext that tunnels by CONNECT"},
		{"HTTPS, wss", encrypted, overTLS, byProxy("https"), ""},
		{"HTTPS, ws", plain, overTLS, byProxy("https"), "use wss, or a DialContext that tunnels by CONNECT"},
		{"CONNECT, ws", plain, connects, byTunnel, ""},
		{"CONNECT, wss", encrypted, connects, byTunnel, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for login, right := range map[string]bool{"alice:secret": true, "alice:guess-7f": false} {
				client := tt.client(tt.proxy, login)
				client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
				before := tt.proxy.tunnels.Load()
				err := talk(t, tt.url, client)
				used := tt.proxy.tunnels.Load() - before
				switch {
				case right && tt.err == "" && (err != nil || used != 1):
					t.Errorf("got %v, with %d tunnels", err, used)
				case right && tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
					t.Errorf("got %v, want %q", err, tt.err)
				case !right && (err == nil || used != 0 || strings.Contains(err.Error(), "guess-7f")):
					t.Errorf("with a wrong password: got %v, with %d tunnels", err, used)
				}
			}
		})
	}
}

// The end of Dial's context ends a tunnel that the proxy never answers for.
func TestHowToTunnelThatHangs(t *testing.T) {
	asked := make(chan struct{})
	silent := newProxy(t, func(c net.Conn, r *bufio.Reader) (string, error) {
		if _, err := http.ReadRequest(r); err != nil {
			return "", err
		}
		close(asked)
		_, err := r.ReadByte() // until the client gives up
		return "", err
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	client := throughTunnel(&url.URL{Scheme: "http", Host: silent.addr})
	if _, _, err := websocket.Dial(ctx, "ws://server.example/", &websocket.DialOptions{HTTPClient: client}); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial = %v", err)
	}
}

func TestHowToUnixSockets(t *testing.T) {
	dir, err := os.MkdirTemp("", "ws") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	greet := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.Write(r.Context(), websocket.MessageText, []byte("hello"))
	}, nil)
	failed := make(chan error, 1)
	go func() { failed <- serveUnix(path, greet) }()
	client := overUnix(path)
	for {
		err := talk(t, "ws://localhost/", client)
		if err == nil {
			return
		}
		select {
		case err := <-failed:
			t.Skip(err) // a system without such sockets
		default:
		}
		if !errors.Is(err, os.ErrNotExist) && !strings.Contains(err.Error(), "refused") { // until it listens
			t.Fatal(err)
		}
	}
}

// newCA returns a CA as PEM and as a pool, and a function that issues
// certificates of its for 127.0.0.1.
func newCA(t *testing.T) (asPEM []byte, pool *x509.CertPool, issue func(name string) tls.Certificate) {
	sign := func(template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	caKey := newKey()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a private CA"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der := sign(ca, ca, caKey, caKey)
	asPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(asPEM)
	serial := int64(1)
	return asPEM, pool, func(name string) tls.Certificate {
		serial++
		key := newKey()
		leaf := sign(&x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, ca, key, caKey)
		return tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key}
	}
}

func TestHowToCertificates(t *testing.T) {
	caPEM, ca, issue := newCA(t)
	_, _, issueOther := newCA(t)
	listen := func(s *http.Server) (wsURL string) {
		s.ErrorLog = log.New(io.Discard, "", 0)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go s.ServeTLS(l, "", "")
		t.Cleanup(func() { s.Close() })
		return "wss://" + l.Addr().String()
	}
	greet := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.Write(r.Context(), websocket.MessageText, []byte("hello"))
	}, nil)
	oneSided := listen(&http.Server{Handler: greet, TLSConfig: &tls.Config{Certificates: []tls.Certificate{issue("server")}}})
	mutual := listen(newMutualServer(ca, issue("server")))
	trust, err := trusting(caPEM)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trusting([]byte("no PEM")); err == nil {
		t.Error("a file without a certificate passes")
	}
	for _, tt := range []struct {
		name   string
		client *http.Client
		url    string
		err    string
	}{
		{"a private CA", trust, oneSided, ""},
		{"a private CA that the client does not know", nil, oneSided, "unknown authority"},
		{"a client with a certificate", withCertificate(ca, issue("alice")), mutual, ""},
		{"a client with a certificate of another CA", withCertificate(ca, issueOther("mallory")), mutual, "certificate"},
		{"a client without a certificate", trust, mutual, "certificate required"},
	} {
		if err := talk(t, tt.url, tt.client); tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.err)
		}
	}
}
