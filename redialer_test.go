package websocket

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/backoff"
	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A fakeHost is where a server listens, in memory: it works in a
// testing/synctest bubble, and can be killed and started again.
type fakeHost struct {
	mu    sync.Mutex
	up    *fakeServer // nil: connections are refused
	dials int

	gone chan struct{} // closed at the end of the test
}

type fakeServer struct {
	http  http.Server
	conns chan net.Conn
	done  chan struct{} // closed by kill
	wg    sync.WaitGroup

	mu  sync.Mutex
	all []*netfake.Conn
}

var errRefused = errors.New("connection refused")

// start makes h answer with handler, until kill.
func (h *fakeHost) start(handler http.Handler) {
	s := &fakeServer{conns: make(chan net.Conn), done: make(chan struct{})}
	s.http.Handler, s.http.ErrorLog = handler, discardLog
	s.wg.Go(func() { s.http.Serve(s) })
	h.mu.Lock()
	h.up = s
	h.mu.Unlock()
}

// kill ends the server and all its connections without close frames, as the end
// of a process does.
func (h *fakeHost) kill() {
	h.mu.Lock()
	s := h.up
	h.up = nil
	h.mu.Unlock()
	if s == nil {
		return
	}
	close(s.done)
	s.mu.Lock()
	all := s.all
	s.mu.Unlock()
	for _, c := range all {
		c.Reset()
	}
	s.http.Close()
	s.wg.Wait()
}

func (s *fakeServer) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

func (s *fakeServer) Close() error   { return nil }
func (s *fakeServer) Addr() net.Addr { return netfake.Addr("fake") }

func (h *fakeHost) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	h.mu.Lock()
	h.dials++
	s := h.up
	h.mu.Unlock()
	if s == nil {
		return nil, errRefused
	}
	near, far := netfake.Pipe(netfake.Options{})
	s.mu.Lock()
	s.all = append(s.all, far)
	s.mu.Unlock()
	select {
	case s.conns <- far:
		return near, nil
	case <-s.done:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (h *fakeHost) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: h.dial, DisableKeepAlives: true}}
}

// redialTest runs f in a bubble, with a Redialer of a host at which no server
// listens yet, and a seeded source.
func redialTest(t *testing.T, f func(t *testing.T, h *fakeHost, r *Redialer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{gone: make(chan struct{})}
		defer h.kill()
		defer close(h.gone)
		f(t, h, &Redialer{
			URL:     "ws://fake/",
			Options: &DialOptions{HTTPClient: h.client()},
			random:  rand.New(rand.NewPCG(1, 2)).Uint64,
		})
	})
}

// record makes r note its states.
func record(r *Redialer) *[]RedialStatus {
	var list []RedialStatus
	r.OnState = func(s RedialStatus) { list = append(list, s) }
	return &list
}

// refuseAll is a handler that responds with status.
func refuseAll(status int, header ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		http.Error(w, "no", status)
	})
}

// closesWith is a handler that closes each connection with code, after d.
func closesWith(code StatusCode, d time.Duration) http.Handler {
	return Handler(func(c *Conn, r *http.Request) {
		select {
		case <-time.After(d):
			c.Close(code, "")
		case <-c.CloseRead(r.Context()).Done():
		}
	}, nil)
}

// readAll is a serve that reads until the connection ends.
func readAll(ctx context.Context, c *Conn) error {
	for {
		if _, _, err := c.Read(ctx); err != nil {
			return err
		}
	}
}

// untilAttempt makes the attempt n end the context of Run, and notes when each
// attempt begins.
func untilAttempt(t *testing.T, r *Redialer, n int) (ctx context.Context, times *[]time.Time) {
	ctx, cancel := context.WithCancel(t.Context())
	times = new([]time.Time)
	before := r.BeforeDial
	r.BeforeDial = func(ctx context.Context, a *RedialAttempt) error {
		if *times = append(*times, time.Now()); len(*times) == n {
			cancel()
		}
		if before != nil {
			return before(ctx, a)
		}
		return nil
	}
	return ctx, times
}

// waits returns the times between attempts, less what the connection between
// them lasted.
func waits(times []time.Time, lasted time.Duration) []time.Duration {
	var list []time.Duration
	for i := 1; i < len(times); i++ {
		list = append(list, times[i].Sub(times[i-1])-lasted)
	}
	return list
}

// expected returns the first waits of a Redialer made by redialTest. Before
// each of the failures in resets, counted from 0, what failed before is
// forgotten.
func expected(n int, resets ...int) []time.Duration {
	random := rand.New(rand.NewPCG(1, 2))
	b := backoff.Backoff{Base: 500 * time.Millisecond, Max: 30 * time.Second}
	var list []time.Duration
	for i := range n {
		if slices.Contains(resets, i) {
			b.Failures = 0
		}
		list = append(list, b.Fail(random.Uint64()))
	}
	return list
}

// Each wait is what the seeded source and the rule say, and nothing else takes
// time.
func TestRedialerWaits(t *testing.T) {
	redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
		ctx, times := untilAttempt(t, r, 12)
		states := record(r)
		err := r.Run(ctx, readAll)
		if !errors.Is(err, context.Canceled) || errors.Is(err, errRefused) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("Run = %v", err)
		}
		want := expected(11)
		if got := waits(*times, 0); !slices.Equal(got, want) || h.dials != 11 {
			t.Errorf("after %d dials the waits are\n%v, want\n%v", h.dials, got, want)
		}
		for i, d := range want { // the twin has the constants of the documentation, not the code's
			if ceiling := min(500*time.Millisecond<<i, 30*time.Second); d >= ceiling {
				t.Errorf("wait %d is %v: over %v", i+1, d, ceiling)
			}
		}
		var wantStates []RedialStatus
		for i := range 12 {
			wantStates = append(wantStates, RedialStatus{State: RedialDialing, Failures: i})
			if i < 11 {
				wantStates = append(wantStates, RedialStatus{State: RedialWaiting, Failures: i + 1, Wait: want[i]})
			}
		}
		wantStates = append(wantStates, RedialStatus{State: RedialStopped, Err: err})
		for i := range *states {
			s := &(*states)[i]
			if s.State == RedialWaiting {
				if !errors.Is(s.Err, errRefused) {
					t.Errorf("state %d: %v", i, s.Err)
				}
				s.Err = nil
			}
		}
		if !reflect.DeepEqual(*states, wantStates) {
			t.Errorf("the states are\n%+v, want\n%+v", *states, wantStates)
		}
	})
}

// The failures before a connection are forgotten if it was stable, and only
// then.
func TestRedialerReset(t *testing.T) {
	for _, tt := range []struct {
		stableAfter, lasted time.Duration
		reset               bool
	}{
		{0, 30*time.Second - 1, false},
		{0, 30 * time.Second, true},
		{time.Minute, time.Minute - 1, false},
		{time.Minute, time.Minute, true},
		{-1, 0, true},
	} {
		redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
			h.start(closesWith(StatusGoingAway, tt.lasted))
			r.StableAfter = tt.stableAfter
			ctx, times := untilAttempt(t, r, 8)
			states := record(r)
			r.Run(ctx, readAll)
			want := expected(7)
			if tt.reset {
				want = expected(7, 1, 2, 3, 4, 5, 6)
			}
			if got := waits(*times, tt.lasted); !slices.Equal(got, want) {
				t.Errorf("%v of %v: the waits are\n%v, want\n%v", tt.lasted, tt.stableAfter, got, want)
			}
			last := (*states)[len(*states)-2]
			if n := 7; last.State != RedialDialing || !tt.reset && last.Failures != n || tt.reset && last.Failures != 1 {
				t.Errorf("%v of %v: the last attempt is %+v", tt.lasted, tt.stableAfter, last)
			}
		})
	}
}

// The wait that a server asks for comes before the random one, up to a limit.
func TestRedialerRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		most   time.Duration
		status int
		value  string
		want   time.Duration
	}{
		{0, 503, "120", 2 * time.Minute},
		{0, 429, "120", 2 * time.Minute},
		{0, 503, "+90s", 90 * time.Second}, // a date, 90 s from now
		{0, 503, "301", 5 * time.Minute},
		{time.Hour, 503, "4000", time.Hour},
		{-1, 503, "4000", 4000 * time.Second},
		{0, 503, "soon", 0},
	} {
		redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
			h.start(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				value := tt.value
				if d, err := time.ParseDuration(value); err == nil && strings.HasPrefix(value, "+") {
					value = time.Now().Add(d).UTC().Format(http.TimeFormat)
				}
				refuseAll(tt.status, "Retry-After", value).ServeHTTP(w, req)
			}))
			r.MaxRetryAfter = tt.most
			ctx, times := untilAttempt(t, r, 4)
			r.Run(ctx, readAll)
			if got, want := waits(*times, tt.want), expected(3); !slices.Equal(got, want) {
				t.Errorf("%d, Retry-After %s: beside %v the waits are %v, want %v", tt.status, tt.value, tt.want, got, want)
			}
		})
	}
}

// BeforeDial changes one attempt, knows what was before, and leaves the
// caller's options alone.
func TestRedialerBeforeDial(t *testing.T) {
	redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
		var got []string
		h.start(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			got = append(got, fmt.Sprint(req.URL, req.Header["Authorization"], req.Header["X-Always"], req.Header["Sec-Websocket-Protocol"]))
			http.Error(w, "no", 500)
		}))
		r.Options.HTTPHeader = http.Header{"X-Always": {"1"}}
		r.Options.Subprotocols = []string{"a", "b"}
		options := *r.Options
		header, subprotocols := options.HTTPHeader.Clone(), slices.Clone(options.Subprotocols)

		var failures []int
		var last []error
		r.BeforeDial = func(_ context.Context, a *RedialAttempt) error {
			failures, last = append(failures, a.Failures), append(last, a.LastErr)
			if a.URL != "ws://fake/" {
				t.Errorf("the URL of attempt %d is %s", len(failures), a.URL)
			}
			a.URL += fmt.Sprintf("?n=%d", len(failures))
			a.Options.HTTPHeader.Set("Authorization", fmt.Sprint("token ", len(failures)))
			a.Options.HTTPHeader["X-Always"][0] += "!"
			a.Options.Subprotocols[0] = fmt.Sprint("p", len(failures))
			return nil
		}
		ctx, _ := untilAttempt(t, r, 4)
		r.Run(ctx, readAll)
		want := []string{
			"/?n=1 [token 1] [1!] [p1, b]",
			"/?n=2 [token 2] [1!] [p2, b]",
			"/?n=3 [token 3] [1!] [p3, b]",
		}
		if !slices.Equal(got, want) {
			t.Errorf("the requests were\n%q, want\n%q", got, want)
		}
		if !slices.Equal(failures, []int{0, 1, 2, 3}) || last[0] != nil || !matches(last[3], "status 500") {
			t.Errorf("BeforeDial was told of %v and %v", failures, last)
		}
		if r.URL != "ws://fake/" || !reflect.DeepEqual(options.HTTPHeader, header) || !reflect.DeepEqual(options.Subprotocols, subprotocols) ||
			!reflect.DeepEqual(*r.Options, options) {
			t.Errorf("the caller's options have become %+v", r.Options)
		}
	})
	// Without options of the caller's there are those of the attempt.
	redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
		h.start(closesWith(StatusNormalClosure, 0))
		r.URL, r.Options = "", nil
		r.BeforeDial = func(_ context.Context, a *RedialAttempt) error {
			a.URL = "ws://fake/x"
			a.Options.HTTPHeader.Set("X", "1")
			a.Options.HTTPClient = h.client()
			return nil
		}
		if err := r.Run(t.Context(), func(context.Context, *Conn) error { return nil }); err != nil {
			t.Error(err)
		}
	})
	// Its error is judged, and not final by itself.
	redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
		noToken := errors.New("no token")
		n := 0
		r.BeforeDial = func(context.Context, *RedialAttempt) error { n++; return noToken }
		r.IsPermanent = func(err error) bool { return n == 3 }
		if err := r.Run(t.Context(), readAll); !errors.Is(err, noToken) || h.dials != 0 || n != 3 {
			t.Errorf("Run = %v after %d dials and %d calls", err, h.dials, n)
		}
	})
}

func TestIsPermanent(t *testing.T) {
	statuses := []int{400, 401, 403, 404, 407}
	for status := 100; status < 600; status++ {
		err := fmt.Errorf("websocket: dial: %w", &HandshakeError{StatusCode: status})
		if got, want := IsPermanent(err), slices.Contains(statuses, status); got != want {
			t.Errorf("status %d: %v", status, got)
		}
	}
	codes := []StatusCode{1002, 1003, 1007, 1008, 1010}
	for code := StatusCode(1000); code < 5000; code++ {
		for _, err := range []error{CloseError{Code: code}, fmt.Errorf("x: %w", CloseError{Code: code}), closedInside{CloseError{Code: code}}} {
			if got, want := IsPermanent(err), slices.Contains(codes, code); got != want {
				t.Errorf("%v: %v", err, got)
			}
		}
	}
	for _, err := range []error{errAbruptEnd, errTextUTF8, context.DeadlineExceeded, errors.New("x"), nil} {
		if IsPermanent(err) {
			t.Errorf("%v is final", err)
		}
	}
	for _, opts := range []*DialOptions{nil, {HTTPHeader: http.Header{"Upgrade": {"x"}}}, {CompressionMode: 1, CompressionSendWindowBits: 99}} {
		u := "ws://example.com/"
		if opts == nil {
			u = "ftp://example.com/"
		}
		if _, _, err := Dial(t.Context(), u, opts); err == nil || !IsPermanent(err) {
			t.Errorf("%s, %+v: %v is not final", u, opts, err)
		}
	}
}

// Another attempt does not mend an error that TLS has found.
func TestRedialerFinalTLS(t *testing.T) {
	now := time.Now()
	authority, key := certificate(t, nil, nil, "authority", now.Add(time.Hour))
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	leaf := func(name string, until time.Time) tls.Certificate {
		cert, leafKey := certificate(t, authority, key, name, until)
		return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: leafKey}
	}
	stranger, strangerKey := certificate(t, nil, nil, "stranger", now.Add(time.Hour))
	good := leaf("example.com", now.Add(time.Hour))
	demands := &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	trusts := &tls.Config{RootCAs: pool, ServerName: "example.com"}
	with := func(cert tls.Certificate) *tls.Config {
		c := trusts.Clone()
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		return c
	}
	for _, tt := range []struct {
		name           string
		server, client *tls.Config // server nil: it speaks HTTP
		want           string
	}{
		{"unknown authority", &tls.Config{Certificates: []tls.Certificate{good}}, &tls.Config{ServerName: "example.com"}, "unknown authority"},
		{"wrong host name", &tls.Config{Certificates: []tls.Certificate{good}}, &tls.Config{RootCAs: pool, ServerName: "example.org"}, "not example.org"},
		{"the server's has run out", &tls.Config{Certificates: []tls.Certificate{leaf("example.com", now.Add(-time.Hour))}}, trusts, "expired"},
		{"none for a server that demands one", demands, trusts, "certificate required"},
		{"the client's has run out", demands, with(leaf("client", now.Add(-time.Hour))), "remote error: tls: "},
		{"the client's is of a stranger", demands, with(tls.Certificate{Certificate: [][]byte{stranger.Raw}, PrivateKey: strangerKey}), "remote error: tls: "},
		{"none, TLS 1.2", &tls.Config{Certificates: demands.Certificates, ClientAuth: demands.ClientAuth, ClientCAs: pool, MaxVersion: tls.VersionTLS12}, trusts, "remote error: tls: "},
		{"no TLS", nil, trusts, "server gave HTTP response to HTTPS client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(Handler(serveEcho, nil))
			s.Config.ErrorLog = discardLog
			if tt.server == nil {
				s.Start()
			} else {
				s.TLS = tt.server
				s.StartTLS()
			}
			defer s.Close()
			attempts := 0
			r := &Redialer{
				URL:       "wss://" + s.Listener.Addr().String(),
				Options:   &DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: tt.client}}},
				BaseDelay: -1,
				BeforeDial: func(context.Context, *RedialAttempt) error {
					if attempts++; attempts > 5 {
						return &HandshakeError{StatusCode: 400, err: errors.New("too many attempts")}
					}
					return nil
				},
			}
			if err := r.Run(t.Context(), readAll); attempts != 1 || !matches(err, tt.want) {
				t.Errorf("Run = %v after %d attempts, want %q", err, attempts, tt.want)
			}
		})
	}
}

// TestRedialerFinalTLS on other ways to the server.
func TestRedialerFinalTLSElsewhere(t *testing.T) {
	authority, key := certificate(t, nil, nil, "authority", time.Now().Add(time.Hour))
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	cert, leafKey := certificate(t, authority, key, "example.com", time.Now().Add(time.Hour))
	good := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: leafKey}
	trusts := &tls.Config{RootCAs: pool, ServerName: "example.com"}
	demands := &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	verifies := func(name string, roots *x509.CertPool) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, ServerName: "example.com", VerifyConnection: func(s tls.ConnectionState) error {
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots})
			return err
		}}
	}
	for _, tt := range []struct {
		name      string
		server    *tls.Config // nil: it speaks SSH
		transport func(addr string) *http.Transport
		want      string
	}{
		{"an HTTPS proxy that demands a certificate", demands, func(addr string) *http.Transport {
			return &http.Transport{TLSClientConfig: trusts, Proxy: http.ProxyURL(&url.URL{Scheme: "https", Host: addr})}
		}, "certificate required"},
		{"an HTTPS proxy with another name", demands, func(addr string) *http.Transport {
			return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, Proxy: http.ProxyURL(&url.URL{Scheme: "https", Host: addr})}
		}, "proxyconnect tcp: tls: failed to verify certificate"},
		{"the same, TLS 1.2", &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MaxVersion: tls.VersionTLS12}, func(addr string) *http.Transport {
			return &http.Transport{TLSClientConfig: trusts, Proxy: http.ProxyURL(&url.URL{Scheme: "https", Host: addr})}
		}, "proxyconnect tcp: remote error: tls: "},
		{"neither TLS nor HTTP", nil, func(string) *http.Transport { return &http.Transport{TLSClientConfig: trusts} }, "does not look like a TLS handshake"},
		{"neither TLS nor HTTP, a dialer of the program's", nil, func(string) *http.Transport {
			return &http.Transport{DialTLSContext: (&tls.Dialer{Config: trusts}).DialContext}
		}, "does not look like a TLS handshake"},
		{"wrong host name, the program verifies", &tls.Config{Certificates: []tls.Certificate{good}}, func(string) *http.Transport {
			return &http.Transport{TLSClientConfig: verifies("example.org", pool)}
		}, "not example.org"},
		{"unknown authority, the program verifies", &tls.Config{Certificates: []tls.Certificate{good}}, func(string) *http.Transport {
			return &http.Transport{TLSClientConfig: verifies("example.com", x509.NewCertPool())}
		}, "unknown authority"},
		{"a server that has no certificate for the name", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }},
			func(string) *http.Transport { return &http.Transport{TLSClientConfig: trusts} }, "unrecognized name"},
		{"no common version", &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS13}, func(string) *http.Transport {
			return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com", MaxVersion: tls.VersionTLS12}}
		}, "protocol version not supported"},
		{"a server of another protocol", &tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{"mqtt"}}, func(string) *http.Transport {
			return &http.Transport{DialTLSContext: (&tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: "example.com", NextProtos: []string{"http/1.1"}}}).DialContext}
		}, "no application protocol"},
	} {
		t.Run(tt.name, func(t *testing.T) {
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
					if tt.server == nil {
						io.WriteString(conn, "SSH-2.0-x\r\n")
					} else if conn = tls.Server(conn, tt.server); conn.(*tls.Conn).Handshake() == nil {
						io.CopyN(io.Discard, conn, 1)
					}
					conn.Close()
				}
			}()
			attempts := 0
			r := &Redialer{
				URL:       "wss://" + l.Addr().String(),
				Options:   &DialOptions{HTTPClient: &http.Client{Transport: tt.transport(l.Addr().String())}},
				BaseDelay: -1,
				BeforeDial: func(context.Context, *RedialAttempt) error {
					if attempts++; attempts > 5 {
						return &HandshakeError{StatusCode: 400, err: errors.New("too many attempts")}
					}
					return nil
				},
			}
			if err := r.Run(t.Context(), readAll); attempts != 1 || !matches(err, tt.want) {
				t.Errorf("Run = %v after %d attempts, want %q", err, attempts, tt.want)
			}
		})
	}
}

// certificate makes a certificate, signed by parent, or by itself.
func certificate(t *testing.T, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, name string, until time.Time) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.Add(-2 * time.Hour), NotAfter: until, BasicConstraintsValid: true, IsCA: parent == nil,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(cryptorand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// A final error ends Run, without another attempt, over the wire too.
func TestRedialerFinal(t *testing.T) {
	for _, tt := range []struct {
		name        string
		handler     http.Handler
		isPermanent func(error) bool
		want        string // "": it goes on
	}{
		{"403", refuseAll(403, "Retry-After", "1"), nil, "status 403 Forbidden"},
		{"500", refuseAll(500), nil, ""},
		{"426", refuseAll(426), nil, ""},
		{"1008", closesWith(1008, 0), nil, "1008 StatusPolicyViolation"},
		{"1000", closesWith(1000, 0), nil, ""},
		{"1001", closesWith(1001, 0), nil, ""},
		{"4001", closesWith(4001, 0), nil, ""},
		{"403 by a hook that knows better", refuseAll(403), func(error) bool { return false }, ""},
		{"4001 by a hook", closesWith(4001, 0), func(err error) bool { return CloseStatus(err) == 4001 || IsPermanent(err) }, "4001"},
		{"broken protocol", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
			conn.Close()
		}), nil, ""},
	} {
		redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
			h.start(tt.handler)
			r.IsPermanent = tt.isPermanent
			states := record(r)
			ctx, times := untilAttempt(t, r, 3)
			err := r.Run(ctx, readAll)
			if tt.want == "" {
				if !errors.Is(err, context.Canceled) || len(*times) != 3 {
					t.Errorf("%s: Run = %v after %d attempts", tt.name, err, len(*times))
				}
				return
			}
			if !matches(err, tt.want) || len(*times) != 1 {
				t.Errorf("%s: Run = %v after %d attempts, want %q after the first: %+v", tt.name, err, len(*times), tt.want, *states)
			}
			if last := (*states)[len(*states)-1]; last.State != RedialStopped || last.Err != err {
				t.Errorf("%s: the last state is %+v", tt.name, last)
			}
		})
	}
}

// Run goes on or ends by the error of serve and by the state of the connection.
func TestRedialerServeReturns(t *testing.T) {
	mine := errors.New("mine")
	for _, tt := range []struct {
		name  string
		code  StatusCode // of the server's close; 0: it waits for ours; -1: it sends a message first; -2: it pings first
		serve func(ctx context.Context, c *Conn) error
		done  bool   // Run returns nil
		next  string // else what the next attempt is told
		code2 StatusCode
	}{
		{"nil, alive", 0, func(context.Context, *Conn) error { return nil }, true, "", 1000},
		{"nil, closed by itself", 0, func(_ context.Context, c *Conn) error { return c.Close(4000, "") }, true, "", 4000},
		{"nil, ended by itself", 0, func(_ context.Context, c *Conn) error { return c.CloseNow() }, true, "", -1},
		{"error, alive", 0, func(context.Context, *Conn) error { return mine }, false, "mine", 1001},
		{"error, closed by itself", 0, func(_ context.Context, c *Conn) error { c.Close(4000, ""); return mine }, true, "", 4000},
		{"error, ended by itself", 0, func(_ context.Context, c *Conn) error { c.CloseNow(); return mine }, false, "mine", -1},
		{"the error of a range, closed by another goroutine", 0, func(ctx context.Context, c *Conn) error {
			go c.Close(4000, "")
			for _, err := range c.Messages(ctx) {
				if err != nil {
					return err
				}
			}
			return mine
		}, true, "", 4000},
		{"the error of a read, closed by another goroutine", 0, func(ctx context.Context, c *Conn) error {
			go c.Close(4000, "")
			return readAll(context.Background(), c)
		}, true, "", 4000},
		{"the context's error, closed by itself after CloseRead", 0, func(ctx context.Context, c *Conn) error {
			ctx = c.CloseRead(ctx)
			c.Close(4000, "")
			<-ctx.Done()
			return ctx.Err()
		}, true, "", 4000},
		{"the context's error, closed by CloseRead", -1, func(ctx context.Context, c *Conn) error {
			ctx = c.CloseRead(ctx)
			<-ctx.Done()
			return ctx.Err()
		}, false, "unexpected data message", 1008},
		{"the context's error, closed by CloseRead for a callback that panicked", -2, func(ctx context.Context, c *Conn) error {
			ctx = c.CloseRead(ctx)
			<-ctx.Done()
			return ctx.Err()
		}, false, "a function of the application has panicked", 1011},
		{"error, closed by the peer", 1001, func(ctx context.Context, c *Conn) error { readAll(ctx, c); return mine }, false, "mine", 1001},
		{"nil, closed by the peer", 1001, func(ctx context.Context, c *Conn) error { readAll(ctx, c); return nil }, false, "closed by the peer: 1001", 1001},
		{"the end of a range", 1000, func(ctx context.Context, c *Conn) error {
			for _, err := range c.Messages(ctx) {
				return err
			}
			return nil
		}, false, "closed by the peer: 1000", 1000},
		{"the context's error", 1001, func(ctx context.Context, c *Conn) error {
			go readAll(context.Background(), c)
			<-ctx.Done()
			return fmt.Errorf("waiting: %w", ctx.Err())
		}, false, "closed by the peer: 1001", 1001},
		{"an error like the context's", 0, func(ctx context.Context, c *Conn) error { return context.Canceled }, false, "context canceled", 1001},
	} {
		redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
			var told StatusCode
			h.start(Handler(func(c *Conn, r *http.Request) {
				if tt.code > 0 {
					c.Close(tt.code, "")
					told = tt.code
					return
				}
				switch tt.code {
				case -2:
					go c.Ping(r.Context())
				case -1:
					c.Write(r.Context(), MessageText, []byte("unexpected"))
				}
				told = CloseStatus(readAll(r.Context(), c))
			}, nil))
			begin := time.Now()
			ctx, times := untilAttempt(t, r, 2)
			var next error
			r.OnState = func(s RedialStatus) {
				if s.State == RedialWaiting {
					next = s.Err
				}
			}
			r.BaseDelay = -1
			r.Options.OnPingReceived = func(context.Context, []byte) bool { panic(http.ErrAbortHandler) }
			err := r.Run(ctx, tt.serve)
			synctest.Wait()
			if done := err == nil; done != tt.done || done != (len(*times) == 1) || !tt.done && !matches(next, tt.next) {
				t.Errorf("%s: Run = %v after %d attempts, judged %v", tt.name, err, len(*times), next)
			}
			if told != tt.code2 {
				t.Errorf("%s: the server saw the code %d, want %d", tt.name, told, tt.code2)
			}
			if d := time.Since(begin); d != 0 {
				t.Errorf("%s: it took %v", tt.name, d)
			}
		})
	}
}

// The end of the context ends Run at once, wherever it is.
func TestRedialerContextEnds(t *testing.T) {
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	var served StatusCode
	listen := Handler(func(c *Conn, r *http.Request) { served = CloseStatus(readAll(r.Context(), c)) }, nil)
	for _, tt := range []struct {
		name  string
		setup func(h *fakeHost, r *Redialer)
		serve func(ctx context.Context, c *Conn) error
		told  StatusCode // what the server sees, if it gets to see something
	}{
		{"before", func(h *fakeHost, r *Redialer) {}, readAll, 0},
		{"in BeforeDial", func(h *fakeHost, r *Redialer) {
			r.BeforeDial = func(ctx context.Context, a *RedialAttempt) error { return hang(ctx) }
		}, readAll, 0},
		{"while connecting", func(h *fakeHost, r *Redialer) {
			r.Options.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				<-h.gone // net/http does not end a dial that others may use
				return nil, errRefused
			}}}
		}, readAll, 0},
		{"while the server thinks", func(h *fakeHost, r *Redialer) {
			h.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hang(r.Context()) }))
		}, readAll, 0},
		{"while the server refuses", func(h *fakeHost, r *Redialer) {
			h.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(500)
				http.NewResponseController(w).Flush()
				hang(r.Context())
			}))
		}, readAll, 0},
		{"in a wait", func(h *fakeHost, r *Redialer) {
			h.start(refuseAll(503, "Retry-After", "100"))
		}, readAll, 0},
		{"in a read with the context", func(h *fakeHost, r *Redialer) { h.start(listen) }, readAll, 1001},
		{"in a read without it", func(h *fakeHost, r *Redialer) { h.start(listen) },
			func(_ context.Context, c *Conn) error { return readAll(context.Background(), c) }, 1001},
		{"in serve, which waits for it", func(h *fakeHost, r *Redialer) { h.start(listen) },
			func(ctx context.Context, c *Conn) error { return hang(ctx) }, 1001},
		{"in serve, which returns nil", func(h *fakeHost, r *Redialer) { h.start(listen) },
			func(ctx context.Context, c *Conn) error { hang(ctx); return nil }, 1001},
	} {
		for _, deadline := range []bool{false, true} {
			redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
				const after = 3 * time.Second
				tt.setup(h, r)
				r.random = func() uint64 { return 1 << 63 }
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				want := context.Canceled
				if deadline {
					ctx, cancel = context.WithTimeout(ctx, after)
					defer cancel()
					want = context.DeadlineExceeded
				} else if tt.name == "before" {
					cancel()
				} else {
					time.AfterFunc(after, cancel)
				}
				begin := time.Now()
				err := r.Run(ctx, tt.serve)
				if !errors.Is(err, want) {
					t.Errorf("%s: Run = %v, want %v", tt.name, err, want)
				}
				if d := time.Since(begin); d != after && !(tt.name == "before" && !deadline && d == 0) {
					t.Errorf("%s: Run returned after %v", tt.name, d)
				}
				synctest.Wait()
				if served != tt.told {
					t.Errorf("%s: the server saw the code %d, want %d", tt.name, served, tt.told)
				}
				served = 0
			})
		}
	}
}

// A server that does not answer the close frame is waited for, but not longer
// than a second.
func TestRedialerSilentPeer(t *testing.T) {
	redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
		h.start(Handler(func(c *Conn, r *http.Request) { <-h.gone }, nil)) // no goroutine reads
		r.Options.PingInterval = -1                                        // else a heartbeat gives up the peer, at a random time
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		err := r.Run(ctx, readAll)
		if d := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || d != time.Minute+time.Second {
			t.Errorf("Run = %v after %v", err, d)
		}
		begin = time.Now()
		err = r.Run(t.Context(), func(context.Context, *Conn) error { return nil })
		if d := time.Since(begin); err != nil || d != time.Second {
			t.Errorf("Run = %v after %v", err, d)
		}
	})
}

// An attempt has a time of its own, and one that takes longer is a failure like
// others.
func TestRedialerDialTimeout(t *testing.T) {
	for _, tt := range []struct{ timeout, want time.Duration }{{0, 30 * time.Second}, {time.Second, time.Second}, {-1, 0}} {
		redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
			h.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
			r.DialTimeout = tt.timeout
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			counted, times := untilAttempt(t, r, 4)
			context.AfterFunc(counted, cancel)
			err := r.Run(ctx, readAll)
			if tt.want == 0 {
				if !errors.Is(err, context.DeadlineExceeded) || len(*times) != 1 {
					t.Errorf("without a limit: Run = %v after %d attempts", err, len(*times))
				}
				return
			}
			if got, want := waits(*times, tt.want), expected(3); !errors.Is(err, context.Canceled) || !slices.Equal(got, want) {
				t.Errorf("%v: beside that the waits are %v, want %v", tt.timeout, got, want)
			}
		})
	}
}

// The context of serve ends with the connection, also when no goroutine reads,
// and no sooner.
func TestRedialerServeContext(t *testing.T) {
	redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
		h.start(closesWith(StatusGoingAway, time.Minute))
		type key struct{}
		ctx := context.WithValue(t.Context(), key{}, "value")
		begin := time.Now()
		n := 0
		err := r.Run(ctx, func(ctx context.Context, c *Conn) error {
			if n++; n == 2 {
				return nil
			}
			c.CloseRead(context.Background())
			<-ctx.Done()
			if d := time.Since(begin); d != time.Minute || ctx.Value(key{}) != "value" {
				t.Errorf("the context ended after %v", d)
			}
			return ctx.Err()
		})
		if err != nil || n != 2 {
			t.Errorf("Run = %v after %d connections", err, n)
		}
	})
}

// A panic in serve is the caller's to recover from; the connection is not left
// behind.
func TestRedialerPanic(t *testing.T) {
	redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
		ended := make(chan error, 1)
		h.start(Handler(func(c *Conn, r *http.Request) { ended <- readAll(r.Context(), c) }, nil))
		func() {
			defer func() {
				if v := recover(); v != "oops" {
					t.Errorf("recovered %v", v)
				}
			}()
			r.Run(t.Context(), func(context.Context, *Conn) error { panic("oops") })
		}()
		if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the server's end: %v", err)
		}
	})
}

// A callback that panics while Run leaves the connection, on a goroutine of the
// library, ends that connection, not the process.
func TestRedialerCallbackPanics(t *testing.T) {
	redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
		h.start(Handler(func(c *Conn, r *http.Request) {
			go c.Ping(r.Context())
			readAll(r.Context(), c)
		}, nil))
		r.Options.OnPingReceived = func(context.Context, []byte) bool { panic(http.ErrAbortHandler) }
		ctx, cancel := context.WithCancel(t.Context())
		err := r.Run(ctx, func(ctx context.Context, c *Conn) error {
			synctest.Wait()
			cancel()
			<-ctx.Done()
			<-c.life.closed()
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}

// One Redialer serves several calls of Run at the same time.
func TestRedialerShared(t *testing.T) {
	redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
		h.start(closesWith(StatusServiceRestart, time.Second))
		r.random = nil
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				n := 0
				err := r.Run(t.Context(), func(ctx context.Context, c *Conn) error {
					if n++; n == 5 {
						return nil
					}
					return readAll(ctx, c)
				})
				if err != nil || n != 5 {
					t.Errorf("Run = %v after %d connections", err, n)
				}
			})
		}
		wg.Wait()
	})
}

// The default source is not a constant.
func TestRedialerRandom(t *testing.T) {
	r := &Redialer{}
	if a, b, c := r.randomUint64(), r.randomUint64(), r.randomUint64(); a == b && b == c {
		t.Errorf("three times %d", a)
	}
}

// A resumeStore is what survives the server: the feed that it sends, and what
// clients have uploaded to it.
type resumeStore struct {
	feed int // it has the messages 1 to feed

	mu       sync.Mutex
	uploaded []int
}

func (s *resumeStore) has() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploaded)
}

// store stores the upload n, unless it is one that is sent again, and returns
// the last that is stored.
func (s *resumeStore) store(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == len(s.uploaded)+1 {
		s.uploaded = append(s.uploaded, n)
	}
	return len(s.uploaded)
}

// A resumeServer is one life of the server. When its work is done it hangs,
// until it is killed.
type resumeServer struct {
	*resumeStore
	work atomic.Int64  // messages that it still sends or stores; negative: no bound
	done chan struct{} // closed when it has done that
}

func newResumeServer(s *resumeStore, work int) *resumeServer {
	life := &resumeServer{resumeStore: s, done: make(chan struct{})}
	life.work.Store(int64(work))
	return life
}

// step reports whether there is work left, and does one step of it.
func (s *resumeServer) step() bool {
	for {
		n := s.work.Load()
		switch {
		case n < 0:
			return true
		case n == 0:
			return false
		case !s.work.CompareAndSwap(n, n-1):
			continue
		}
		if n == 1 {
			close(s.done)
		}
		return true
	}
}

// serve sends the feed from behind the offset in the URL on, and stores the
// uploads, each of which it acknowledges when it is stored. The first
// acknowledgement tells the client where to go on.
func (s *resumeServer) serve(c *Conn, r *http.Request) {
	ctx := r.Context()
	from, err := strconv.Atoi(r.URL.Query().Get("from"))
	if err != nil {
		c.Close(StatusPolicyViolation, "no offset")
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer c.CloseNow()
	wg.Go(func() {
		for n := from + 1; n <= s.feed; n++ {
			if !s.step() || c.Write(ctx, MessageText, fmt.Appendf(nil, "feed %d", n)) != nil {
				return
			}
		}
	})
	if c.Write(ctx, MessageText, fmt.Appendf(nil, "have %d", s.has())) != nil {
		return
	}
	for m, err := range c.Messages(ctx) {
		var n int
		if err != nil {
			return
		}
		fmt.Sscanf(string(m.Data), "upload %d", &n)
		if !s.step() {
			continue // hung
		}
		if c.Write(ctx, MessageText, fmt.Appendf(nil, "have %d", s.store(n))) != nil {
			return
		}
	}
}

// A resumeClient keeps its place in both directions across connections.
type resumeClient struct {
	upload   int // it uploads the messages 1 to upload
	received []int
	acked    int
	offered  int // uploads that were sent, those that were sent again too

	check func(acked int) // called with each acknowledgement
	feed  int
}

// use is the function of a Redialer. It returns nil when both directions are at
// their end.
func (rc *resumeClient) use(ctx context.Context, c *Conn) error {
	writer := make(chan error, 1)
	first := true
	defer func() {
		c.CloseNow()
		if !first {
			<-writer
		}
	}()
	for len(rc.received) < rc.feed || rc.acked < rc.upload {
		_, data, err := c.Read(ctx)
		if err != nil {
			return err
		}
		var kind string
		var n int
		fmt.Sscan(string(data), &kind, &n)
		switch kind {
		case "feed":
			rc.received = append(rc.received, n) // the offset of the next connection is its length
		case "have":
			rc.acked = n
			rc.check(n)
			if first { // send the rest: what was sent before without an acknowledgement too
				first = false
				go func() {
					var err error
					for i := n + 1; i <= rc.upload && err == nil; i++ {
						rc.offered++
						err = c.Write(ctx, MessageText, fmt.Appendf(nil, "upload %d", i))
					}
					writer <- err
				}()
			}
		}
	}
	return nil
}

// A server that is killed and restarted 20 times. The client notes each message
// once, without gaps. The server has all messages that it acknowledged.
func TestRedialerResumes(t *testing.T) {
	const kills, messages = 20, 1000
	for seed := range uint64(4) {
		redialTest(t, func(t *testing.T, h *fakeHost, r *Redialer) {
			random := rand.New(rand.NewPCG(seed, 0))
			r.random = rand.New(rand.NewPCG(seed, 1)).Uint64
			store := &resumeStore{feed: messages}
			client := &resumeClient{upload: messages, feed: messages}
			client.check = func(acked int) {
				if has := store.has(); acked > has {
					t.Errorf("%d uploads are acknowledged, %d are stored", acked, has)
				}
			}
			killed := 0
			killer := make(chan struct{})
			go func() {
				defer close(killer)
				for range kills {
					life := newResumeServer(store, 1+random.IntN(80))
					h.start(Handler(life.serve, nil))
					<-life.done
					time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond) // what is on its way may arrive, or not
					h.kill()
					killed++
					time.Sleep(time.Duration(random.IntN(5000)) * time.Millisecond)
				}
				h.start(Handler(newResumeServer(store, -1).serve, nil))
			}()
			connections := 0
			r.OnState = func(s RedialStatus) {
				if s.State == RedialConnected {
					connections++
				}
			}
			r.BeforeDial = func(_ context.Context, a *RedialAttempt) error {
				a.URL = fmt.Sprintf("ws://fake/?from=%d", len(client.received))
				return nil
			}
			if err := r.Run(t.Context(), client.use); err != nil {
				t.Fatal(err)
			}
			<-killer
			all := make([]int, messages)
			for i := range all {
				all[i] = i + 1
			}
			if !slices.Equal(client.received, all) {
				t.Errorf("seed %d: the feed has come as %v", seed, client.received)
			}
			if !slices.Equal(store.uploaded, all) {
				t.Errorf("seed %d: the uploads are stored as %v", seed, store.uploaded)
			}
			// A server may be killed before the client has its response: that
			// makes no connection.
			if killed != kills || connections < kills/2 || client.offered <= messages {
				t.Errorf("seed %d: %d kills, %d connections, %d uploads offered: the test does not test what it should",
					seed, killed, connections, client.offered)
			}
		})
	}
}
