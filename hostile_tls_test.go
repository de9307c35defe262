package websocket

import (
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
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

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

// issue signs what change makes of a good certificate for example.com; a nil authority lets it sign itself.
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

// What crypto/tls refuses, Dial refuses, with the error of the standard library in its own, before any request is
// sent.
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

// A redirector is an HTTP client whose first connection answers with a redirect, and that notes what the next ones
// are asked.
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

// Where a server sends a client to is an address and no more: it cannot put lines, fields or a second request into
// what the client sends there.
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

// What is meant for one host does not go to another that it sends the client to; what everybody may know does.
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
