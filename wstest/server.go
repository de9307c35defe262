package wstest

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

// host is the host of the URLs of servers in memory.
const host = "wstest.test"

// A Server serves a handler in memory, for clients that dial by themselves. It
// stops when its test ends. The log of its http.Server, such as the panic of a
// handler, is in the log of the test.
//
// Its methods may be called concurrently, except those that give a Peer.
type Server struct {
	// URL is what to dial, with [Server.Client]: "ws://wstest.test". A path may
	// follow.
	URL string

	// ClientTransport and ServerTransport are the two ends of each connection
	// that is dialed from now on. A test sets them while nothing dials.
	ClientTransport, ServerTransport Transport

	t       testing.TB
	handler http.Handler
	client  *http.Client
	log     *log.Logger   // of the http.Server
	peers   chan net.Conn // of AcceptPeer

	mu sync.Mutex // guards up; held for a few instructions
	up *listener  // nil: stopped
}

// NewServer serves handler. If handler is nil, nothing answers until
// [Server.AcceptPeer] does.
func NewServer(t testing.TB, handler http.Handler) *Server {
	logged := &testLog{t: t}
	s := &Server{URL: "ws://" + host, t: t, handler: handler, log: log.New(logged, "", 0), peers: make(chan net.Conn)}
	transport := &http.Transport{DialContext: s.DialContext, DisableKeepAlives: true}
	s.client = &http.Client{Transport: transport}
	s.Start()
	t.Cleanup(func() {
		s.Stop()
		settle()
		logged.end()
	})
	return s
}

// settleTime is how long a handler may sleep when its test ends in a bubble.
const settleTime = time.Hour

// settle lets handlers that sleep find that their connection is broken, and
// return. A bubble must not end before they do. Elsewhere it does nothing.
func settle() {
	// "Time in the bubble starts at midnight UTC 2000-01-01." (testing/synctest)
	if time.Now().Year() == 2000 {
		time.Sleep(settleTime)
	}
}

// A testLog gives lines to the log of a test, until the test ends.
type testLog struct {
	t testing.TB

	mu    sync.Mutex // guards ended; held for a few instructions
	ended bool
}

// Write implements io.Writer.
func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.t.Log(strings.TrimSuffix(string(p), "\n"))
	}
	return len(p), nil
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

// Client returns an HTTP client that reaches s and nothing else, whatever the
// host of the URL. It is for websocket.DialOptions.HTTPClient.
func (s *Server) Client() *http.Client { return s.client }

// errRefused is the error of dials to a server that is stopped.
var errRefused = errors.New("wstest: connection refused: the server is stopped")

// DialContext connects to s, whatever the address. It is for the DialContext of
// an http.Transport of the test's own.
func (s *Server) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	s.mu.Lock()
	l := s.up
	s.mu.Unlock()
	if l == nil {
		return nil, errRefused
	}
	near, far := newPipe(s.ClientTransport, s.ServerTransport)
	if !l.add(far) {
		return nil, errRefused
	}
	conns := l.conns
	if s.handler == nil {
		conns = s.peers
	}
	select {
	case conns <- far:
		return near, nil
	case <-l.done:
		return nil, errRefused
	case <-ctx.Done():
		far.Reset()
		return nil, ctx.Err()
	}
}

// Dial connects to s, and returns the client's end. opts may be nil; its
// HTTPClient is replaced. When the test ends, Dial closes the connection
// without a close frame.
func (s *Server) Dial(opts *websocket.DialOptions) *websocket.Conn {
	s.t.Helper()
	c, err := s.dial(opts)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *Server) dial(opts *websocket.DialOptions) (*websocket.Conn, error) {
	var o websocket.DialOptions
	if opts != nil {
		o = *opts
	}
	o.HTTPClient = s.client
	c, _, err := websocket.Dial(context.Background(), s.URL, &o)
	if err == nil {
		s.t.Cleanup(func() { c.CloseNow() })
	}
	return c, err
}

// DialPeer connects a Peer to s, as a client. It does the opening handshake for
// "/" with more lines of the header, such as "Origin: http://example.com".
func (s *Server) DialPeer(lines ...string) *Peer {
	s.t.Helper()
	conn, err := s.DialContext(context.Background(), "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	p := NewPeer(s.t, conn, ClientRole)
	s.t.Cleanup(p.Close)
	p.ClientHandshake("/", lines...)
	return p
}

// AcceptPeer waits until a client dials, and returns a Peer that plays the
// server to it. It answers the opening handshake with more lines of the header,
// such as "Sec-WebSocket-Protocol: chat". The handler of s must be nil.
func (s *Server) AcceptPeer(lines ...string) *Peer {
	s.t.Helper()
	if s.handler != nil {
		s.t.Fatal("wstest: AcceptPeer of a Server that has a handler")
	}
	p := NewPeer(s.t, <-s.peers, ServerRole)
	s.t.Cleanup(p.Close)
	p.ServerHandshake(lines...)
	return p
}

// Stop resets all connections and refuses new ones, as the end of a process
// does, until Start. It returns when the server accepts nothing more; handlers
// may still run.
func (s *Server) Stop() {
	s.mu.Lock()
	l := s.up
	s.up = nil
	s.mu.Unlock()
	if l == nil {
		return
	}
	l.stop()
	s.client.CloseIdleConnections()
}

// Start serves again after Stop.
func (s *Server) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up != nil {
		return
	}
	s.up = newListener(s.handler, s.log)
}

// A listener is what an http.Server accepts connections from, until it is
// stopped.
type listener struct {
	conns  chan net.Conn
	done   chan struct{} // closed by stop
	server *http.Server  // nil: connections are for AcceptPeer
	wg     sync.WaitGroup

	mu  sync.Mutex // guards what follows; held for a few instructions
	all []*end     // nil once stopped
}

func newListener(handler http.Handler, logger *log.Logger) *listener {
	l := &listener{conns: make(chan net.Conn), done: make(chan struct{}), all: []*end{}}
	if handler != nil {
		l.server = &http.Server{Handler: handler, ErrorLog: logger}
		l.wg.Go(func() { l.server.Serve(l) })
	}
	return l
}

// add makes stop reset e. It reports false if l is stopped.
func (l *listener) add(e *end) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		return false
	}
	l.all = append(l.all, e)
	return true
}

func (l *listener) stop() {
	close(l.done)
	l.mu.Lock()
	all := l.all
	l.all = nil
	l.mu.Unlock()
	for _, e := range all {
		e.Reset()
	}
	if l.server != nil {
		l.server.Close()
	}
	l.wg.Wait()
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error { return nil }

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "fake" }
func (addr) String() string  { return host }
