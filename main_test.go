package websocket

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/poison"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// TestMain fails the run if a test has left a goroutine behind that runs code
// of this module. Where the pools are poisoned, a pooled buffer left behind
// fails the run too.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := wstest.LeakedGoroutines(); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines left behind by the tests:\n\n%s\n", left)
			code = 1
		}
	}
	if code == 0 {
		if left := leakedBuffers(); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "%d pooled buffers left behind by the tests:\n\n%s\n", len(left), strings.Join(left, "\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// leakedBuffers returns where those pooled buffers were taken that are in use
// when all connections have ended. It knows of some only where the pools are
// poisoned.
func leakedBuffers() []string {
	return slices.DeleteFunc(poison.InUse(), func(where string) bool {
		return strings.Contains(where, "TestPingCallbackPanics") || // what a panic passes is left to the collector
			strings.Contains(where, "TestReadFragmentsGrowth") // its connection has no end
	})
}

// raceEnabled: under the race detector sync.Pool drops things at random, so
// memory cannot be counted.
const raceEnabled = wstest.RaceEnabled

// The tests of Conn speak to a scripted peer over a fake transport, in a
// testing/synctest bubble. Its time passes only when all goroutines wait, so
// timeouts take no time and are exact. This file holds what they share, and
// what an application can tell from the errors. See also read_test.go,
// write_test.go, close_test.go, ping_test.go.

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

// start runs f on a goroutine and returns a channel that gets its error.
func start(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// running reports whether f, started with start, has not ended. It waits until
// all goroutines of the bubble wait.
func running(done <-chan error) bool {
	synctest.Wait()
	return len(done) == 0
}

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

// An application can tell the ends of a connection apart: by errors.Is and
// errors.As, without reading texts.
func TestErrorClasses(t *testing.T) {
	classes := []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, ErrMessageTooBig, context.Canceled, context.DeadlineExceeded, syscall.ECONNRESET}
	tests := []struct {
		name string
		end  func(p *pair)
		is   []error // of classes; no others
		code StatusCode
	}{
		{"peer closed with 1000", func(p *pair) { p.WriteClose(1000, "done") }, []error{io.EOF}, 1000},
		{"peer closed with 1001", func(p *pair) { p.WriteClose(1001, "") }, []error{io.EOF}, 1001},
		{"peer closed without a code", func(p *pair) { p.WriteClose(0, "") }, []error{io.EOF}, StatusNoStatusRcvd},
		{"peer closed with 1011", func(p *pair) { p.WriteClose(1011, "broken") }, nil, 1011},
		{"peer closed with 4000", func(p *pair) { p.WriteClose(4000, "") }, nil, 4000},
		{"peer closed inside a message", func(p *pair) { p.WriteFrames(first(wstest.Text, "hello"), closing(1000, "")) }, []error{io.ErrUnexpectedEOF}, 1000},
		{"transport ended between messages", func(p *pair) { p.Close() }, []error{io.ErrUnexpectedEOF}, -1},
		{"transport ended inside a header", func(p *pair) { p.WriteRaw([]byte("\x82")); p.Close() }, []error{io.ErrUnexpectedEOF}, -1},
		{"transport ended inside a payload", func(p *pair) { b := p.Encode(text("hello")); p.WriteRaw(b[:len(b)-1]); p.Close() }, []error{io.ErrUnexpectedEOF}, -1},
		{"transport ended between fragments", func(p *pair) { p.WriteFrames(first(wstest.Text, "hello")); p.Close() }, []error{io.ErrUnexpectedEOF}, -1},
		{"transport was reset", func(p *pair) { p.theirs.Reset() }, []error{syscall.ECONNRESET}, -1},
		{"peer broke the protocol", func(p *pair) { p.WriteFrame(3, "") }, nil, -1},
		{"message too big", func(p *pair) { p.WriteFrame(wstest.Binary, strings.Repeat("x", 1001)) }, []error{ErrMessageTooBig}, -1},
		{"closed by Close", func(p *pair) { p.c.Close(StatusNormalClosure, "") }, []error{net.ErrClosed}, -1},
		{"closed by CloseNow", func(p *pair) { p.c.CloseNow() }, []error{net.ErrClosed}, -1},
		{"closed by Close with the peer's answer", func(p *pair) {
			go p.c.Close(StatusNormalClosure, "")
			p.WantClose(1000)
			p.WriteClose(1000, "")
			p.Close()
		}, []error{net.ErrClosed}, -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{readLimit: 1000}, netfake.Options{})
				test.end(p)
				err := p.readError()
				if got := CloseStatus(err); got != test.code {
					t.Errorf("CloseStatus(%v) = %d, want %d", err, got, test.code)
				}
				var ce CloseError
				if errors.As(err, &ce) != (test.code != -1) {
					t.Errorf("errors.As(%v, *CloseError): %v", err, ce)
				}
				if got, _, _ := strings.Cut(err.Error(), " "); got != "websocket:" {
					t.Errorf("%q does not begin with websocket:", err)
				}
				for _, class := range classes {
					want := false
					for _, is := range test.is {
						want = want || is == class
					}
					if errors.Is(err, class) != want {
						t.Errorf("errors.Is(%v, %v) is %v", err, class, !want)
					}
				}

				// The first permanent error sticks, for reads of each kind,
				// without a panic.
				for range 3 {
					if again := p.readError(); again.Error() != err.Error() {
						t.Errorf("Read fails with %v after %v", again, err)
					}
					if _, _, again := p.c.Reader(context.Background()); again == nil || again.Error() != err.Error() {
						t.Errorf("Reader fails with %v after %v", again, err)
					}
					if _, _, again := p.c.ReadInto(context.Background(), nil); again == nil || again.Error() != err.Error() {
						t.Errorf("ReadInto fails with %v after %v", again, err)
					}
					n, wantN := 0, 1
					if errors.Is(err, io.EOF) {
						wantN = 0 // the range ends by itself
					}
					for _, again := range p.c.Messages(context.Background()) {
						if n++; again == nil || again.Error() != err.Error() {
							t.Errorf("Messages fails with %v after %v", again, err)
						}
					}
					if n != wantN {
						t.Errorf("Messages ran %d times on a connection that is over, want %d", n, wantN)
					}
				}
				// And writes fail too, on a connection that is over.
				if err := p.c.Write(context.Background(), MessageText, nil); err == nil {
					t.Error("Write succeeds on a connection that is over")
				}
				if w, err := p.c.Writer(context.Background(), MessageText); err == nil && w.Close() == nil {
					t.Error("Writer succeeds on a connection that is over")
				}
				if err := p.c.Ping(context.Background()); err == nil {
					t.Error("Ping succeeds on a connection that is over")
				}
			})
		})
	}
}

// Every rule of RFC 6455 about single frames and their order that Autobahn
// leaves out. Each row is a fault, sent after a good message and a ping, which
// are answered first.
func TestProtocolErrors(t *testing.T) {
	type row struct {
		name   string
		frames []wstest.Frame
		code   int
	}
	masking := func(f wstest.Frame, m wstest.Masking) wstest.Frame { f.Mask = m; return f }
	form := func(f wstest.Frame, bits int) wstest.Frame { f.LenForm = bits; return f }
	declare := func(f wstest.Frame, n uint64) wstest.Frame { f.Declare = n; return f }
	x := func(n int) string { return strings.Repeat("x", n) }

	// "wrong" is replaced by the masking that the peer's role forbids.
	const wrong = wstest.Masking(99)
	tests := []row{
		// 5.1: "a server MUST close a connection upon receiving a frame that is
		// not masked". "A client MUST close a connection if it detects a masked
		// frame". 1002 may be used for both.
		{"masking of text", frames(masking(text("a"), wrong)), 1002},
		{"masking of an empty text", frames(masking(text(""), wrong)), 1002},
		{"masking of binary", frames(masking(binaryF("a"), wrong)), 1002},
		{"masking of a continuation", frames(first(wstest.Text, "a"), masking(cont("b"), wrong)), 1002},
		{"masking of a ping", frames(masking(ping(""), wrong)), 1002},
		{"masking of a pong", frames(masking(pong(""), wrong)), 1002},
		{"masking of a close", frames(masking(closing(1000, ""), wrong)), 1002},
		// 5.2: "the minimal number of bytes MUST be used to encode the length".
		{"16-bit length 0", frames(form(text(""), 16)), 1002},
		{"16-bit length 125", frames(form(text(x(125)), 16)), 1002},
		{"64-bit length 0", frames(form(text(""), 64)), 1002},
		{"64-bit length 126", frames(form(text(x(126)), 64)), 1002},
		{"64-bit length 65535", frames(form(binaryF(x(65535)), 64)), 1002},
		{"16-bit length of a ping", frames(form(ping("a"), 16)), 1002},
		{"64-bit length of a close", frames(form(closing(1000, ""), 64)), 1002},
		// 5.2: "the most significant bit MUST be 0".
		{"length 2^63", frames(declare(binaryF(""), 1<<63)), 1002},
		{"length 2^64-1", frames(declare(binaryF(""), 1<<64-1)), 1002},
		// 5.5: "All control frames MUST have a payload length of 125 bytes or
		// less and MUST NOT be fragmented."
		{"ping of 126", frames(ping(x(126))), 1002},
		{"pong of 126", frames(pong(x(126))), 1002},
		{"close of 65536", frames(declare(closing(1000, ""), 65536)), 1002},
		{"ping of 2^40", frames(declare(ping(""), 1<<40)), 1002},
		{"fragmented ping", frames(first(wstest.Ping, "")), 1002},
		{"fragmented pong", frames(first(wstest.Pong, "")), 1002},
		{"fragmented close", frames(first(wstest.Close, "\x03\xe8")), 1002},
		{"fragmented ping in a message", frames(first(wstest.Text, "a"), first(wstest.Ping, "")), 1002},
		// 5.4: fragments.
		{"text in a text", frames(first(wstest.Text, "a"), text("b")), 1002},
		{"binary in a text", frames(first(wstest.Text, "a"), binaryF("b")), 1002},
		{"text in a binary", frames(first(wstest.Binary, "a"), first(wstest.Text, "b")), 1002},
		{"text after a ping in a text", frames(first(wstest.Text, "a"), ping(""), text("b")), 1002},
		{"continuation after the end", frames(first(wstest.Text, "a"), cont("b"), cont("c")), 1002},
		// 5.5.1
		{"close with half a code", frames(fin(wstest.Close, "\x03")), 1002},
		{"close with the code 1005", frames(closing(1005, "")), 1002},
		{"close with the code 1006", frames(closing(1006, "")), 1002},
		{"close with the code 1015", frames(closing(1015, "")), 1002},
		{"close with a cut reason", frames(closing(1000, "caf\xc3")), 1007},
		// 5.6, 8.1
		{"text ends in a code point", frames(text("\xe2\x82")), 1007},
		{"text ends in a code point, in fragments", frames(first(wstest.Text, "\xe2"), moreCont("\x82"), cont("")), 1007},
		{"continuation of a text", frames(first(wstest.Text, "a"), moreCont("\xff")), 1007},
		{"surrogate over fragments", frames(first(wstest.Text, "\xed"), moreCont("\xa0")), 1007},
	}
	for bits := byte(1); bits <= 7; bits++ {
		// 5.2: "MUST be 0 unless an extension is negotiated"
		name := string('0' + rune(bits))
		tests = append(tests,
			row{"RSV " + name + " on text", frames(rsv(text("a"), bits)), 1002},
			row{"RSV " + name + " on a continuation", frames(first(wstest.Text, "a"), rsv(cont("b"), bits)), 1002},
			row{"RSV " + name + " on a ping", frames(rsv(ping("a"), bits)), 1002},
			row{"RSV " + name + " on a pong", frames(rsv(pong("a"), bits)), 1002},
			row{"RSV " + name + " on a close", frames(rsv(closing(1000, ""), bits)), 1002})
	}
	for op := wstest.Opcode(3); op < 16; op++ {
		if op >= 8 && op <= 10 {
			continue
		}
		tests = append(tests,
			row{op.String(), frames(fin(op, "a")), 1002},
			row{op.String() + " in a message", frames(first(wstest.Text, "a"), fin(op, "b")), 1002})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				var pinged []string
				p := newPair(t, client, connConfig{onPing: func(_ context.Context, payload []byte) bool {
					pinged = append(pinged, string(payload))
					return true
				}}, netfake.Options{Buffer: 1 << 20})
				bad := wstest.Masked // to a client
				if !client {
					bad = wstest.Unmasked
				}
				send := frames(text("good"), ping("good"))
				wantPings := 1
				for i, f := range test.frames {
					if f.Mask == wrong {
						f.Mask = bad
					}
					send = append(send, f)
					if i < len(test.frames)-1 && f.Op == wstest.Ping {
						wantPings++
					}
				}
				p.WriteFrames(send...)
				p.wantRead(t, MessageText, "good")
				read := start(p.readError)
				for range wantPings {
					if f := p.ReadFrame(); f.Op != wstest.Pong {
						t.Fatalf("got %v, want a pong", f)
					}
				}
				reason := p.WantClose(test.code)
				if reason == "" {
					t.Error("the close frame does not say what was wrong")
				}
				p.WantEOF()
				p.Close()
				err := <-read
				if CloseStatus(err) != -1 {
					t.Errorf("Read = %v: a CloseError is what the peer said", err)
				}
				if !strings.Contains(err.Error(), reason) {
					t.Errorf("Read fails with %q, which does not say %q", err, reason)
				}
				if len(pinged) != wantPings {
					t.Errorf("OnPing saw %q", pinged)
				}
			})
		})
	}
}

// SkipUTF8Validation delivers any bytes as text, and changes nothing about
// close frames.
func TestSkipUTF8(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{skipUTF8: true}, netfake.Options{})
		p.WriteFrames(text("\xff\xfe"), first(wstest.Text, "\xe2"), cont("\x28"), closing(1000, "\xff"))
		p.wantRead(t, MessageText, "\xff\xfe")
		p.wantRead(t, MessageText, "\xe2\x28")
		read := start(p.readError)
		p.WantClose(1007)
		p.Close()
		<-read
	})
}

// Bytes that came in behind the handshake come first, wherever the cut falls.
func TestReceivedWithHandshake(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		sender := wstest.Client
		if client {
			sender = wstest.Server
		}
		long := strings.Repeat("long ", 4000)
		stream := wstest.Encode(sender, text("first"), ping("p"), binaryF(long), text("last"))
		for _, cut := range []int{0, 1, 2, 5, 11, 12, 20, 30, 100, 5000, len(stream) - 3, len(stream)} {
			received := append([]byte(nil), stream[:cut]...)
			p := newPair(t, client, connConfig{received: received}, netfake.Options{})
			clear(received) // newConn copies
			p.WriteRaw(stream[cut:])
			p.wantRead(t, MessageText, "first")
			p.wantRead(t, MessageBinary, long)
			p.wantRead(t, MessageText, "last")
			p.WantFrame(wstest.Pong, "p")
		}
	})
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

var testCertificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

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
