package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/faultconn"
	"github.com/seed70bc5565/websocket/internal/httpfake"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/poison"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A write over TLS that was cut short ruins the stream of records. No alert
// follows it: the peer would take that for a forgery.
func TestCutWriteOverTLS(t *testing.T) {
	ours, theirs := tlsLink(t)
	c := newConn(connConfig{transport: ours, pingInterval: -1})
	c.t.conn.SetWriteDeadline(time.Unix(1, 0))
	if _, err := c.t.write([]byte("x")); err == nil {
		t.Fatal("a write after the deadline succeeds")
	}
	c.CloseNow()
	if _, err := io.ReadAll(theirs); err != nil && strings.Contains(err.Error(), "bad record") {
		t.Errorf("the peer reads: %v", err)
	}
}

// The fake transport cannot show these paths: those that Conn takes on real
// sockets. These tests run in real time; none depends on how fast.

// onSockets runs f for each kind of socket and both roles.
func onSockets(t *testing.T, cfg connConfig, f func(t *testing.T, p *pair)) {
	for _, l := range links {
		if l.bubble {
			continue
		}
		for _, client := range []bool{false, true} {
			role := "server"
			if client {
				role = "client"
			}
			t.Run(l.name+"/"+role, func(t *testing.T) {
				ours, theirs := l.make(t)
				cfg := cfg
				cfg.transport, cfg.client = ours, client
				p := &pair{c: newConn(cfg), client: client, Peer: wstest.NewPeer(t, theirs, wstest.Server)}
				if !client {
					p.Role = wstest.Client
				}
				t.Cleanup(func() { p.c.CloseNow(); p.Close() })
				f(t, p)
			})
		}
	}
}

// A Read that is cancelled, at whatever moment, loses nothing.
func TestReadCancelledSockets(t *testing.T) {
	send := frames(text("€uro"), first(wstest.Text, "frag€"), ping("between"), moreCont(""), cont("ment"), binaryF(strings.Repeat("0123456789", 30)), text("end"))
	want := "€uro|frag€ment|" + strings.Repeat("0123456789", 30) + "|end"
	for _, how := range []string{"cancel", "deadline"} {
		t.Run(how, func(t *testing.T) {
			onSockets(t, connConfig{}, func(t *testing.T, p *pair) {
				var got []string
				for i, b := range p.Encode(send...) {
					p.WriteRaw([]byte{b})
					ctx, cancel := context.WithCancel(context.Background())
					wantErr := context.Canceled
					if how == "cancel" {
						go cancel()
					} else {
						wantErr = os.ErrDeadlineExceeded
						go p.c.SetReadDeadline(time.Now())
					}
					for {
						_, data, err := p.c.Read(ctx)
						if err != nil {
							if !errors.Is(err, wantErr) {
								t.Fatalf("after byte %d: %v, want %v", i, err, wantErr)
							}
							break
						}
						got = append(got, string(data))
					}
					cancel()
					p.c.SetReadDeadline(time.Time{})
				}
				for len(got) < strings.Count(want, "|")+1 {
					_, data, err := p.c.Read(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, string(data))
				}
				if all := strings.Join(got, "|"); all != want {
					t.Errorf("got %q, want %q", all, want)
				}
				p.WantFrame(wstest.Pong, "between")
			})
		})
	}
}

// Frames of any number of writers, short and long, do not mix, while the peer
// reads slowly and pings.
func TestConcurrentWritersSockets(t *testing.T) {
	onSockets(t, connConfig{writeBufferLimit: 20_000}, func(t *testing.T, p *pair) {
		const writers, messages = 8, 60
		read := start(p.readError)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for j := range messages {
					msg := bytes.Repeat([]byte{'a' + byte(i)}, 1+(i*j*7919)%90_000/(1+j%5*100))
					if err := p.c.Write(context.Background(), MessageBinary, fmt.Appendf(nil, "%d %d %s", i, j, msg)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		next := make([]int, writers)
		pongs := 0
		p.WriteFrame(wstest.Ping, "p")
		for n := 0; n < writers*messages; {
			f := p.ReadFrame()
			if f.Op == wstest.Pong {
				pongs++
				p.WriteFrame(wstest.Ping, "p")
				continue
			}
			n++
			head, body, _ := bytes.Cut(f.Payload, []byte{' '})
			num, body, _ := bytes.Cut(body, []byte{' '})
			i, j := int(head[0]-'0'), 0
			fmt.Sscan(string(num), &j)
			if f.Op != wstest.Binary || !f.Fin || i >= writers || j != next[i] || len(bytes.Trim(body, string(rune('a'+i)))) != 0 {
				t.Fatalf("got %v, want message %d of its writer", f, next[i])
			}
			next[i]++
		}
		wg.Wait()
		if pongs == 0 {
			p.WantFrame(wstest.Pong, "p")
		}
		p.c.CloseNow()
		<-read
	})
}

// Close and CloseNow end, and with them all that waits, though the peer neither
// reads nor writes.
func TestCloseStalledSockets(t *testing.T) {
	for _, end := range []string{"Close", "CloseNow"} {
		t.Run(end, func(t *testing.T) {
			onSockets(t, connConfig{closeTimeout: 20 * time.Millisecond}, func(t *testing.T, p *pair) {
				var wg sync.WaitGroup
				var blocked sync.WaitGroup
				blocked.Add(1)
				wg.Go(func() { p.readError() })
				wg.Go(func() {
					msg := make([]byte, 1<<20)
					p.c.Write(context.Background(), MessageBinary, msg[:1])
					blocked.Done()
					for p.c.Write(context.Background(), MessageBinary, msg) == nil {
					}
				})
				wg.Go(func() { p.c.Ping(context.Background()) })
				blocked.Wait()
				if end == "Close" {
					p.c.Close(StatusNormalClosure, "")
				} else {
					p.c.CloseNow()
				}
				wg.Wait()
				if err := p.readError(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Read = %v", err)
				}
			})
		})
	}
}

// A tardyRand gives zeros, and takes its time. crypto/tls asks it for bytes when
// it makes a record of a cipher with CBC.
type tardyRand struct{ pause atomic.Bool }

func (r *tardyRand) Read(p []byte) (int, error) {
	if r.pause.Load() {
		time.Sleep(5 * goodbyeTimeout)
	}
	clear(p)
	return len(p), nil
}

// On a busy machine crypto/tls may take long to say goodbye, though the peer
// takes all. The socket is not closed meanwhile: with unread input that would be
// a reset, and the peer might not see the close frame.
func TestFailOverTardyTLS(t *testing.T) {
	for _, client := range []bool{false, true} {
		near, far := tcpLink(t)
		tardy := new(tardyRand)
		ours := tls.Server(near, &tls.Config{Certificates: []tls.Certificate{testCertificate()}, Rand: tardy, SessionTicketsDisabled: true,
			MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}})
		theirs := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
		shaken := start(theirs.Handshake)
		if err := errors.Join(ours.Handshake(), <-shaken); err != nil {
			t.Fatal(err)
		}
		tardy.pause.Store(true)
		role := wstest.Client
		if client {
			role = wstest.Server
		}
		c := newConn(connConfig{transport: ours, client: client})
		p := wstest.NewPeer(t, theirs, role)
		p.WriteRaw(append(p.Encode(wstest.Frame{Op: 3, Fin: true}), make([]byte, 100_000)...))
		read := start((&pair{c: c}).readError)
		p.WantClose(1002)
		p.WantEOF()
		p.Close()
		<-read
		c.CloseNow()
	}
}

// A TLS connection has little time to say goodbye if its socket is full. It has
// more if the socket takes more: then only this machine can be slow.
func TestGoodbyeBound(t *testing.T) {
	ours, theirs := tlsLink(t)
	c := ours.(*tls.Conn)
	if got := goodbyeBound(c); tellsQueue(c) && got != lingerTimeout {
		t.Errorf("with a socket that takes more: %v", got)
	}
	ours.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	for {
		if _, err := ours.Write(make([]byte, 1<<20)); err != nil {
			break
		}
	}
	if got := goodbyeBound(c); got != goodbyeTimeout {
		t.Errorf("with a socket that is full: %v", got)
	}
	theirs.Close()
}

// A context and a deadline cut writes that the socket does not take, and
// nothing hangs.
func TestWriteGivenUpSockets(t *testing.T) {
	for _, how := range []string{"context", "deadline"} {
		t.Run(how, func(t *testing.T) {
			onSockets(t, connConfig{}, func(t *testing.T, p *pair) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				want := context.DeadlineExceeded
				if how == "context" {
					ctx, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
					defer cancel()
				} else {
					p.c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
					want = os.ErrDeadlineExceeded
				}
				msg := make([]byte, 1<<20)
				begin := time.Now()
				var err error
				for err == nil {
					err = p.c.Write(ctx, MessageBinary, msg)
				}
				if d := time.Since(begin); d > 4*time.Second { // crypto/tls waits for 5 s to say goodbye
					t.Errorf("Write took %v with a limit of 20ms", d)
				}
				if !errors.Is(err, want) {
					t.Errorf("Write = %v, want %v", err, want)
				}
			})
		})
	}
}

// A connection that the peer has reset ends with just that, however many bytes
// came before.
func TestResetBehindMessageSockets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("not every system delivers what came before a reset")
	}
	for size := range 20 {
		t.Run(fmt.Sprintf("%d bytes", size+6), func(t *testing.T) {
			ours, theirs := tcpLink(t)
			p := wstest.NewPeer(t, theirs, wstest.Client)
			c := newConn(connConfig{transport: ours})
			defer c.CloseNow()
			p.WriteFrames(text(strings.Repeat("x", size)))
			theirs.(*net.TCPConn).SetLinger(0)
			theirs.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if _, msg, err := c.Read(ctx); err != nil || len(msg) != size {
				t.Fatalf("Read = %q, %v", msg, err)
			}
			if _, _, err := c.Read(ctx); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the next Read = %v, want a reset", err)
			}
		})
	}
}

// Errors of a socket have the words of package net, whichever way it is read
// and written here. Programs look for these words, and people read them in
// logs.
func TestErrorTextsSockets(t *testing.T) {
	for _, l := range links {
		t.Run(l.name, func(t *testing.T) {
			ours, _ := l.make(t)
			c := newConn(connConfig{transport: ours})
			defer c.CloseNow()
			check := func(call string, err error) {
				t.Helper()
				if text := fmt.Sprint(err); err == nil || strings.Contains(text, "raw-") || strings.Count(text, " tcp ") > 1 {
					t.Errorf("%s = %v", call, err)
				}
			}
			past := time.Now().Add(-time.Second)
			c.SetReadDeadline(past)
			_, _, err := c.Read(context.Background())
			check("Read past its deadline", err)
			c.SetWriteDeadline(past)
			check("Write past its deadline", c.Write(context.Background(), MessageText, nil))
			c.SetReadDeadline(time.Time{})
			c.SetWriteDeadline(time.Time{})
			ours.Close()
			check("Write to a closed socket", c.Write(context.Background(), MessageText, nil))
			_, _, err = c.Read(context.Background())
			check("Read of a closed socket", err)
		})
	}
}

// This file puts a transport that fails in front of one of two endpoints. It
// fails at its first call, at its second, and so on. The last exchange
// completes without having met the fault. Whatever happens, each end gets the
// right messages, as many as it gets. Then it gets an error that is one of
// those of the package documentation. No message is cut off, and nothing hangs
// (a bubble of testing/synctest says so). No goroutine and no pooled buffer
// stays behind.

// A script is an exchange, as each of the two ends sees it. It goes on to its
// end, or to the first call that fails.
type script struct {
	name   string
	ours   func(e *end) // of the end whose transport fails
	theirs func(e *end)
}

// An end is one of the two ends of an exchange.
type end struct {
	t      *testing.T
	c      *Conn
	side   string
	fault  *faultconn.Conn // nil at the other end
	kind   faultconn.Kind
	failed error // what ended the script early

	tls      bool
	shorter  int // messages are by this factor
	timeouts int // how many were met
}

// giveUpCode is what an end closes with when its script fails: so the other
// cannot take it for an orderly end.
const giveUpCode StatusCode = 4000

// judge fails the test unless err is one that the package documentation lists,
// and that can have come of the fault.
func (e *end) judge(op string, err error) {
	e.t.Helper()
	var network *net.OpError
	switch {
	case !strings.HasPrefix(err.Error(), "websocket: "):
		e.t.Errorf("%s: %s: the error does not say whose it is: %v", e.side, op, err)
	case errors.Is(err, faultconn.Err), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
	case e.tls && errors.As(err, &network) && !network.Timeout(): // half a record
	case CloseStatus(err) == giveUpCode && !errors.Is(err, io.EOF):
	case CloseStatus(err) == -1 && errors.Is(err, io.ErrUnexpectedEOF):
	case CloseStatus(err) == -1 && errors.Is(err, net.ErrClosed):
	case CloseStatus(err) == -1 && op != "read" && errors.Is(err, context.DeadlineExceeded): // of Close
	case e.kind == faultconn.Timeout && errors.Is(err, os.ErrDeadlineExceeded):
	default:
		e.t.Errorf("%s: %s: unexpected error: %v", e.side, op, err)
	}
}

// fail ends the script because of err.
func (e *end) fail(op string, err error) {
	e.t.Helper()
	e.judge(op, err)
	e.failed = err
}

// lives reports whether err is one of those after which the connection goes on.
func (e *end) lives(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || e.c.life.reason() != nil || e.c.w.stopped() != nil {
		return false
	}
	if e.timeouts++; e.timeouts > 5 {
		e.t.Errorf("%s: a timeout that does not end: %v", e.side, err)
		return false
	}
	return true
}

func (e *end) write(msg string) {
	e.t.Helper()
	if e.failed != nil {
		return
	}
	err := e.c.Write(context.Background(), MessageText, []byte(msg))
	if e.lives(err) {
		err = e.c.Write(context.Background(), MessageText, []byte(msg))
	}
	if err != nil {
		e.fail("write", err)
	}
}

// read reads a message, which must be want.
func (e *end) read(want string) {
	e.t.Helper()
	if e.failed != nil {
		return
	}
	_, got, err := e.c.Read(context.Background())
	if e.lives(err) {
		_, got, err = e.c.Read(context.Background())
	}
	if err != nil {
		e.fail("read", err)
	} else if string(got) != want {
		e.t.Errorf("%s: read %d bytes %.40q, want %d %.40q", e.side, len(got), got, len(want), want)
	}
}

// writeStream sends a message with a Writer, in pieces.
func (e *end) writeStream(msg string, piece int) {
	e.t.Helper()
	if e.failed != nil {
		return
	}
	w, err := e.c.Writer(context.Background(), MessageText)
	if err != nil {
		e.fail("write", err)
		return
	}
	for len(msg) > 0 && err == nil {
		n := min(piece, len(msg))
		_, err = io.WriteString(w, msg[:n])
		msg = msg[n:]
	}
	closeErr := w.Close()
	if err == nil {
		err = closeErr
	}
	if err != nil {
		e.fail("write", err)
	}
}

// readStream receives a message with a Reader, which must be want.
func (e *end) readStream(want string, piece int) {
	e.t.Helper()
	if e.failed != nil {
		return
	}
	_, r, err := e.c.Reader(context.Background())
	if e.lives(err) {
		_, r, err = e.c.Reader(context.Background())
	}
	var got []byte
	b := make([]byte, piece)
	for err == nil {
		var n int
		n, err = r.Read(b)
		got = append(got, b[:n]...)
		if e.lives(err) {
			err = nil
		}
	}
	switch {
	case err == io.EOF && string(got) != want:
		e.t.Errorf("%s: the reader ends after %d bytes %.40q, want %d %.40q", e.side, len(got), got, len(want), want)
	case err != io.EOF:
		e.fail("read", err)
		if !strings.HasPrefix(want, string(got)) {
			e.t.Errorf("%s: the reader gave %.40q of %.40q", e.side, got, want)
		}
	}
}

// echo answers all messages, until the connection ends.
func (e *end) echo() {
	e.t.Helper()
	for {
		var err error
		for m, readErr := range e.c.Messages(context.Background()) {
			if err = readErr; err != nil {
				break
			}
			if e.write(string(m.Data)); e.failed != nil {
				return
			}
		}
		if e.lives(err) {
			continue
		}
		if err == nil {
			e.closed(1000)
		} else {
			e.fail("read", err)
		}
		return
	}
}

// close performs the closing handshake.
func (e *end) close() {
	e.t.Helper()
	if e.failed != nil {
		return
	}
	if err := e.c.Close(StatusNormalClosure, "bye"); err != nil {
		e.fail("close", err)
	}
}

// closed reads until the connection is over, and fails the test unless the peer
// has closed it with code.
func (e *end) closed(code StatusCode) {
	e.t.Helper()
	if e.failed != nil {
		return
	}
	_, _, err := e.c.Read(context.Background())
	for e.lives(err) {
		_, _, err = e.c.Read(context.Background())
	}
	var ce CloseError
	switch {
	case err == nil:
		e.t.Errorf("%s: a message behind the last", e.side)
	case errors.As(err, &ce) && ce == CloseError{code, "bye"} && errors.Is(err, io.EOF):
	default:
		e.fail("read", err)
	}
}

// finish is called behind the script: it ends the connection as an application
// would, and checks that what ended it sticks.
func (e *end) finish() {
	e.t.Helper()
	if e.failed != nil && e.fault != nil {
		e.c.Close(giveUpCode, "")
	} else {
		e.c.CloseNow()
	}
	_, _, first := e.c.Read(context.Background())
	_, _, second := e.c.Read(context.Background())
	if first == nil || second == nil || first.Error() != second.Error() {
		e.t.Errorf("%s: reads of the connection that is over: %v, then %v", e.side, first, second)
	}
	if err := e.c.Write(context.Background(), MessageText, []byte("x")); err == nil {
		e.t.Errorf("%s: a write to the connection that is over succeeds", e.side)
	}
	if err := e.c.Ping(context.Background()); err == nil {
		e.t.Errorf("%s: a ping over the connection that is over succeeds", e.side)
	}
}

// both runs two parts of a script at the same time, each with a view of its own
// on the end.
func (e *end) both(f, g func(e *end)) {
	a, b := *e, *e
	var wg sync.WaitGroup
	wg.Go(func() { f(&a) })
	wg.Go(func() { g(&b) })
	wg.Wait()
	if e.failed = a.failed; e.failed == nil {
		e.failed = b.failed
	}
}

// text returns the message of n bytes, or of fewer where every byte takes a
// call.
func (e *end) text(n int) string { return someString(n / e.shorter) }

func someString(n int) string {
	return strings.Repeat("0123456789 ☃ words, ", n/22+1)[:n/22*22] + strings.Repeat("x", n%22)
}

var scripts = []script{
	{"echo", func(e *end) {
		for _, n := range []int{0, 5, 300, 5000, 70_000} {
			e.write(e.text(n))
			e.read(e.text(n))
		}
		e.close()
	}, (*end).echo},
	{"echo of theirs", (*end).echo, func(e *end) {
		for _, n := range []int{0, 5, 300, 5000, 70_000} {
			e.write(e.text(n))
			e.read(e.text(n))
		}
		e.close()
	}},
	{"pipelined", func(e *end) {
		for i := range 8 {
			e.write(fmt.Sprint("message ", i))
		}
		for i := range 8 {
			e.read(fmt.Sprint("message ", i))
		}
		e.close()
	}, (*end).echo},
	{"we close", func(e *end) {
		e.write("last words")
		e.close()
	}, func(e *end) {
		e.read("last words")
		e.closed(1000)
	}},
	{"they close", func(e *end) {
		e.read("last words")
		e.closed(1000)
	}, func(e *end) {
		e.write("last words")
		e.close()
	}},
	{"streams", func(e *end) {
		e.writeStream(e.text(15_000), 1300)
		e.readStream(e.text(15_000), 700)
		e.writeStream("short", 2)
		e.readStream("short", 1)
		e.close()
	}, func(e *end) {
		e.readStream(e.text(15_000), 900)
		e.writeStream(e.text(15_000), 5000)
		e.read("short")
		e.write("short")
		e.closed(1000)
	}},
	{"fragments into a slice", func(e *end) {
		e.read(e.text(30_000))
		e.read("and one more")
		e.close()
	}, func(e *end) {
		e.writeStream(e.text(30_000), 4096)
		e.writeStream("and one more", 3)
		e.closed(1000)
	}},
	{"pings", func(e *end) {
		e.both(func(e *end) { e.closed(1000) }, func(e *end) {
			for range 3 {
				if err := e.c.Ping(context.Background()); e.lives(err) {
					continue
				} else if err != nil {
					e.fail("ping", err)
					return
				}
			}
			e.write("done")
		})
	}, func(e *end) {
		e.read("done")
		e.close()
	}},
	{"at the same time", func(e *end) { e.crossing() }, func(e *end) { e.crossing() }},
}

// crossing sends while it receives.
func (e *end) crossing() {
	e.t.Helper()
	sizes := []int{10, 6000, 500, 40_000}
	e.both(func(e *end) {
		for _, n := range sizes {
			e.write(e.text(n))
		}
	}, func(e *end) {
		for _, n := range sizes {
			e.read(e.text(n))
		}
	})
	e.close()
}

// A faultLink makes the two transports of an exchange, the first of which is
// over one that fails as planned.
type faultLink struct {
	name string
	make func(t *testing.T, plan faultconn.Plan) (ours, theirs net.Conn, fault *faultconn.Conn)
}

var faultLinks = []faultLink{
	{"fake", func(t *testing.T, plan faultconn.Plan) (ours, theirs net.Conn, fault *faultconn.Conn) {
		a, b := netfake.Pipe(netfake.Options{Buffer: 1 << 20})
		fault = faultconn.New(a, plan)
		return fault, b, fault
	}},
	{"tls", func(t *testing.T, plan faultconn.Plan) (ours, theirs net.Conn, fault *faultconn.Conn) {
		a, b := netfake.Pipe(netfake.Options{Buffer: 1 << 20})
		fault = faultconn.NewUnarmed(a, plan)
		server := tls.Server(fault, &tls.Config{Certificates: []tls.Certificate{testCertificate()}})
		client := tls.Client(b, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: nil})
		done := start(server.Handshake)
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		fault.Arm()
		return server, client, fault
	}},
	{"body", func(t *testing.T, plan faultconn.Plan) (ours, theirs net.Conn, fault *faultconn.Conn) {
		a, b := netfake.Pipe(netfake.Options{Buffer: 1 << 20})
		fault = faultconn.New(a, plan)
		return newBodyConn(fault, a.LocalAddr(), a.RemoteAddr()), b, fault
	}},
	{"http2", func(t *testing.T, plan faultconn.Plan) (ours, theirs net.Conn, fault *faultconn.Conn) {
		a, b := netfake.Pipe(netfake.Options{Buffer: 1 << 20})
		fault = faultconn.New(a, plan)
		stream := newHTTP2Stream(fault, &httpfake.StreamWriter{Conn: fault})
		return &http2Conn{newBodyConn(stream, a.LocalAddr(), a.RemoteAddr()), stream}, b, fault
	}},
}

// runFault runs s with a fault, and reports whether the exchange met it.
func runFault(t *testing.T, s script, link faultLink, client bool, deflate *deflateParams, plan faultconn.Plan) (met bool) {
	synctest.Test(t, func(t *testing.T) {
		defer buffersReturn(t)()
		shorter := 1
		if plan.ReadMax > 0 {
			shorter = 40
		}
		a, b, fault := link.make(t, plan)
		cfg := connConfig{deflate: deflate, deflateThreshold: -1}
		cfg.transport, cfg.client = a, client
		ours := &end{t: t, c: newConn(cfg), side: "ours", fault: fault, kind: plan.Kind, tls: link.name == "tls", shorter: shorter}
		cfg.transport, cfg.client = b, !client
		theirs := &end{t: t, c: newConn(cfg), side: "theirs", kind: plan.Kind, tls: link.name == "tls", shorter: shorter}
		var wg sync.WaitGroup
		wg.Go(func() { s.ours(ours); ours.finish() })
		wg.Go(func() { s.theirs(theirs); theirs.finish() })
		wg.Wait()
		time.Sleep(2 * faultconn.DelayTime) // nothing interrupts a transport that sleeps
		met = fault.Struck()
		if !met || plan.Kind == faultconn.Delay {
			if ours.failed != nil || theirs.failed != nil {
				t.Errorf("without a fault: %v, %v", ours.failed, theirs.failed)
			}
		}
	})
	return met
}

func TestFaults(t *testing.T) {
	takeover := deflateParams{serverBits: 15, clientBits: 15}
	alone := deflateParams{serverBits: 15, clientBits: 15, serverNoTakeover: true, clientNoTakeover: true}
	compressions := []struct {
		name    string
		deflate *deflateParams
	}{{"plain", nil}, {"takeover", &takeover}, {"no takeover", &alone}}
	for _, link := range faultLinks {
		for _, z := range compressions {
			if z.deflate != nil && link.name != "fake" {
				continue // there is no difference to the transport
			}
			for _, s := range scripts {
				for _, readMax := range []int{0, 1} {
					if readMax > 0 && (z.deflate != nil || link.name != "fake") {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s/%s/%d", link.name, z.name, s.name, readMax), func(t *testing.T) {
						if !poison.On { // else buffers are counted
							t.Parallel()
						}
						for _, kind := range faultconn.Kinds {
							for _, client := range []bool{false, true} {
								step := 1
								if raceEnabled || testing.Short() {
									step = 7
								}
								for at := 0; ; at += step {
									if readMax > 0 && at > 40 {
										step = 197 // thousands of calls
									}
									plan := faultconn.Plan{Kind: kind, At: at, ReadMax: readMax}
									met := runFault(t, s, link, client, z.deflate, plan)
									if t.Failed() {
										t.Fatalf("%v at call %d, client %v", kind, at, client)
									}
									if !met {
										if at == 0 {
											t.Fatalf("%v: the first call is not met", kind)
										}
										break
									}
								}
							}
						}
					})
				}
			}
		}
	}
}
