package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/httpfake"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/poison"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// TestMain fails the run if a test has left something behind: see wstest.Main.
func TestMain(m *testing.M) {
	os.Exit(wstest.Main(m,
		"TestPingCallbackPanics",  // what a panic passes is left to the collector
		"TestReadFragmentsGrowth", // its connection has no end
	))
}

// raceEnabled: under the race detector sync.Pool drops things at random, so
// memory cannot be counted.
const raceEnabled = wstest.RaceEnabled

// The tests of Conn speak to a scripted peer over a fake transport, in a
// testing/synctest bubble. Its time passes only when all goroutines wait, so
// timeouts take no time and are exact. This file holds what they share.

// A pair is a Conn and its scripted peer.
type pair struct {
	*wstest.Peer
	c            *Conn
	client       bool // c is a client
	ours, theirs *netfake.Conn
}

// newPair makes a Conn of cfg over a transport with the given buffers: A is the
// Conn's end, B the peer's.
func newPair(t testing.TB, client bool, cfg connConfig, opts netfake.Options) *pair {
	t.Helper()
	p := &pair{client: client}
	p.ours, p.theirs = netfake.Pipe(opts)
	role := wstest.Client
	if client {
		role = wstest.Server
	}
	p.Peer = wstest.NewPeer(t, p.theirs, role)
	cfg.transport, cfg.client = p.ours, client
	p.c = newConn(cfg)
	t.Cleanup(func() {
		p.c.CloseNow()
		p.theirs.Close()
	})
	return p
}

// bothRoles runs f in a bubble for a server and for a client.
func bothRoles(t *testing.T, f func(t *testing.T, client bool)) {
	t.Helper()
	t.Run("server", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, false) }) })
	t.Run("client", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, true) }) })
}

// wantRead reads a message from the Conn and fails the test unless it is this
// one.
func (p *pair) wantRead(t testing.TB, typ MessageType, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	gotType, got, err := p.c.Read(ctx)
	if err != nil || gotType != typ || string(got) != want {
		t.Fatalf("Read = %v, %s, %v; want %v, %s", gotType, wstest.Quote(got), err, typ, wstest.Quote([]byte(want)))
	}
}

// readError reads until an error comes and returns it.
func (p *pair) readError() error {
	for {
		if _, _, err := p.c.Read(context.Background()); err != nil {
			return err
		}
	}
}

// Short names of what the tests outside of this package have too.
var (
	start      = wstest.Start
	await      = wstest.Await
	running    = wstest.Running
	matches    = wstest.Matches
	newServer  = httpfake.NewServer
	wsURL      = httpfake.URL
	pipeServer = httpfake.NewClient
	discardLog = httpfake.DiscardLog
	request    = httpfake.Request
	edit       = httpfake.Edit
	rawServer  = httpfake.RawServer
	smuggled   = httpfake.Smuggled
	dribble    = httpfake.Dribble
	asIs       = httpfake.AsIs
	refused    = httpfake.Refused
	refusals   = httpfake.Refusals
	answerTo   = httpfake.AnswerTo
	wantCalls  = httpfake.WantCalls
	wantPanic  = httpfake.WantPanic

	testCertificate = httpfake.Certificate
)

const goodRequest = httpfake.GoodRequest

type (
	roundTripper = httpfake.RoundTripper
	pipeListener = httpfake.Listener
	hijacker     = httpfake.Hijacker
	slowHijacker = httpfake.SlowHijacker
)

// allocated returns the number of bytes that f allocates, on all goroutines. It
// returns 0 under the race detector, where pools forget. It also returns 0
// where the pools are poisoned, and note which caller takes what.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if raceEnabled || poison.On {
		return 0
	}
	return after.TotalAlloc - before.TotalAlloc
}

// A link makes the two ends of a transport: the Conn's and the peer's. Conn
// takes another path for each kind: a socket that it can wait on without a
// buffer, crypto/tls which it cannot, and any other net.Conn.
type link struct {
	name   string
	bubble bool // it works in a testing/synctest bubble
	make   func(t *testing.T) (ours, theirs net.Conn)
}

var links = []link{
	{"fake", true, func(t *testing.T) (ours, theirs net.Conn) { return fakeLink() }},
	{"tcp", false, tcpLink},
	{"tls", false, tlsLink},
}

func fakeLink() (ours, theirs net.Conn) { return netfake.Pipe(netfake.Options{}) }

func tcpLink(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if theirs, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if ours, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

func tlsLink(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	a, b := tcpLink(t)
	server := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{testCertificate()}})
	client := tls.Client(b, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return server, client
}

// buffersReturn fails the test if more pooled buffers are in use when the
// function that it returns is called than were before. It sees some only where
// the pools are poisoned.
func buffersReturn(t *testing.T) (check func()) {
	before := len(poison.InUse())
	return func() {
		t.Helper()
		if left := poison.InUse(); len(left) > before {
			t.Errorf("%d pooled buffers left behind, of these:\n%s", len(left)-before, strings.Join(left, "\n"))
		}
	}
}

// Short names of frames, for tables.
var (
	fin   = wstest.Final
	first = wstest.First
)

func text(s string) wstest.Frame     { return fin(wstest.Text, s) }
func binaryF(s string) wstest.Frame  { return fin(wstest.Binary, s) }
func ping(s string) wstest.Frame     { return fin(wstest.Ping, s) }
func pong(s string) wstest.Frame     { return fin(wstest.Pong, s) }
func cont(s string) wstest.Frame     { return fin(wstest.Continuation, s) }
func moreCont(s string) wstest.Frame { return first(wstest.Continuation, s) }
func closing(code int, reason string) wstest.Frame {
	return fin(wstest.Close, wstest.ClosePayload(code, reason))
}

func rsv(f wstest.Frame, bits byte) wstest.Frame {
	f.RSV = bits
	return f
}

func frames(fs ...wstest.Frame) []wstest.Frame { return fs }

// tcpPair returns the two ends of a connection over the loopback interface: a
// real socket, with all fast paths.
func tcpPair(t testing.TB) (server, client *Conn) {
	t.Helper()
	return tcpPairOf(t, connConfig{})
}

// tcpPairOf is tcpPair for endpoints with the options of cfg.
func tcpPairOf(t testing.TB, cfg connConfig) (server, client *Conn) {
	t.Helper()
	in, out := tcpSockets(t)
	cfg.transport = in
	server = newConn(cfg)
	cfg.transport, cfg.client = out, true
	client = newConn(cfg)
	t.Cleanup(func() {
		server.CloseNow()
		client.CloseNow()
	})
	return server, client
}

// tcpSockets returns the two ends of a connection over the loopback interface.
func tcpSockets(t testing.TB) (in, out net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if out, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if in, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		out.Close()
	})
	return in, out
}

// echo answers every message with itself until the connection ends.
func echo(c *Conn) error {
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			return err
		}
		if err := c.Write(context.Background(), m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// stalledPair returns a pair whose transport towards the peer is full, with
// exactly one message, "full".
func stalledPair(t *testing.T, client bool, cfg connConfig) *pair {
	t.Helper()
	room := (&pair{client: client}).frameSize(len("full"))
	p := newPair(t, client, cfg, netfake.Options{A: netfake.End{Buffer: room}})
	if err := p.c.Write(context.Background(), MessageText, []byte("full")); err != nil {
		t.Fatal(err)
	}
	return p
}

// tlsPair is newPair over TLS, with buffers of n bytes once the handshake is
// done.
func tlsPair(t *testing.T, client bool, cfg connConfig, n int) (p *pair, fill func()) {
	t.Helper()
	p = &pair{client: client}
	p.ours, p.theirs = netfake.Pipe(netfake.Options{Buffer: n})
	ours := tls.Server(p.ours, &tls.Config{Certificates: []tls.Certificate{testCertificate()}, SessionTicketsDisabled: true})
	theirs := tls.Client(p.theirs, &tls.Config{InsecureSkipVerify: true})
	shaken := start(theirs.Handshake)
	if err := errors.Join(ours.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	role := wstest.Client
	if client {
		role = wstest.Server
	}
	p.Peer = wstest.NewPeer(t, theirs, role)
	cfg.transport, cfg.client = ours, client
	p.c = newConn(cfg)
	t.Cleanup(func() {
		p.theirs.Close()
		p.c.CloseNow()
	})
	fill = func() {
		p.ours.SetWriteDeadline(time.Now().Add(time.Millisecond))
		p.ours.Write(make([]byte, n))
		p.ours.SetWriteDeadline(time.Time{})
	}
	return p, fill
}
