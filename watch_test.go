package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A tunnelConn is a transport whose timeouts are errors of its own.
type tunnelConn struct {
	net.Conn
	temporary bool
}

type tunnelTimeout struct{ temporary bool }

func (tunnelTimeout) Error() string     { return "tunnel: deadline" }
func (tunnelTimeout) Timeout() bool     { return true }
func (e tunnelTimeout) Temporary() bool { return e.temporary }

func (c tunnelConn) judge(n int, err error) (int, error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = tunnelTimeout{c.temporary}
	}
	return n, err
}

func (c tunnelConn) Read(p []byte) (int, error)  { return c.judge(c.Conn.Read(p)) }
func (c tunnelConn) Write(p []byte) (int, error) { return c.judge(c.Conn.Write(p)) }

// foreignKinds are transports that do not heed deadlines as those of package
// net do.
var foreignKinds = []struct {
	name string
	deaf bool // no deadline works
	wrap func(net.Conn) net.Conn
}{
	{"tunnel, temporary", false, func(c net.Conn) net.Conn { return tunnelConn{c, true} }},
	{"tunnel", false, func(c net.Conn) net.Conn { return tunnelConn{c, false} }},
	{"deaf", true, func(c net.Conn) net.Conn { return fullyDeafConn{c} }},
	{"timeless", true, func(c net.Conn) net.Conn { return timelessConn{c} }},
}

type fullyDeafConn struct{ net.Conn }

func (fullyDeafConn) SetDeadline(time.Time) error      { return nil }
func (fullyDeafConn) SetReadDeadline(time.Time) error  { return nil }
func (fullyDeafConn) SetWriteDeadline(time.Time) error { return nil }

// foreignPair is newPair over a transport of such a type, with TLS in between
// if secure is set.
func foreignPair(t *testing.T, wrap func(net.Conn) net.Conn, secure, client bool, cfg connConfig, room int) *pair {
	t.Helper()
	p := &pair{client: client}
	p.ours, p.theirs = netfake.Pipe(netfake.Options{Buffer: room})
	var ours, theirs net.Conn = wrap(p.ours), p.theirs
	if secure {
		a := tls.Server(ours, &tls.Config{Certificates: []tls.Certificate{testCertificate()}, SessionTicketsDisabled: true})
		b := tls.Client(p.theirs, &tls.Config{InsecureSkipVerify: true})
		shaken := start(b.Handshake)
		if err := errors.Join(a.Handshake(), <-shaken); err != nil {
			t.Fatal(err)
		}
		ours, theirs = a, b
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
	return p
}

func eachForeign(t *testing.T, f func(t *testing.T, deaf bool, make func(cfg connConfig, room int) *pair)) {
	for _, kind := range foreignKinds {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls %v", kind.name, secure), func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					f(t, kind.deaf && !secure, func(cfg connConfig, room int) *pair {
						return foreignPair(t, kind.wrap, secure, client, cfg, room)
					})
				})
			})
		}
	}
}

// A read whose bound ends returns then, on any transport. Unless the transport
// takes no deadline at all, nothing is lost.
func TestForeignRead(t *testing.T) {
	const bound = 200 * time.Millisecond
	reads := map[string]struct {
		read func(c *Conn) error
		want error
	}{
		"context": {func(c *Conn) error {
			ctx, cancel := context.WithTimeout(context.Background(), bound)
			defer cancel()
			_, _, err := c.Read(ctx)
			return err
		}, context.DeadlineExceeded},
		"deadline": {func(c *Conn) error {
			c.SetReadDeadline(time.Now().Add(bound))
			defer c.SetReadDeadline(time.Time{})
			_, _, err := c.Read(context.Background())
			return err
		}, os.ErrDeadlineExceeded},
		"deadline set later": {func(c *Conn) error {
			timer := time.AfterFunc(bound/2, func() { c.SetReadDeadline(time.Now().Add(bound / 2)) })
			defer timer.Stop()
			defer c.SetReadDeadline(time.Time{})
			_, _, err := c.Read(context.Background())
			return err
		}, os.ErrDeadlineExceeded},
		"passed deadline": {func(c *Conn) error {
			c.SetReadDeadline(time.Now().Add(-time.Second))
			defer c.SetReadDeadline(time.Time{})
			_, _, err := c.Read(context.Background())
			return err
		}, os.ErrDeadlineExceeded},
	}
	for name, r := range reads {
		t.Run(name, func(t *testing.T) {
			eachForeign(t, func(t *testing.T, deaf bool, make func(connConfig, int) *pair) {
				p := make(connConfig{}, 0)
				for range 3 {
					begin := time.Now()
					err := r.read(p.c)
					if d := time.Since(begin); d > bound+interruptGrace {
						t.Fatalf("Read took %v", d)
					}
					if !errors.Is(err, r.want) {
						t.Fatalf("Read = %v", err)
					}
					if deaf && name != "passed deadline" {
						if _, _, err := p.c.Read(context.Background()); !errors.Is(err, net.ErrClosed) {
							t.Errorf("the next Read = %v", err)
						}
						return
					}
					p.WriteFrames(text("hello"))
					p.wantRead(t, MessageText, "hello")
				}
			})
		})
	}
}

// So does a write to a peer that takes nothing.
func TestForeignWrite(t *testing.T) {
	const bound = 200 * time.Millisecond
	for _, size := range []int{10, 1 << 20} {
		for _, byContext := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d/context %v", size, byContext), func(t *testing.T) {
				eachForeign(t, func(t *testing.T, deaf bool, make func(connConfig, int) *pair) {
					p := make(connConfig{}, 1000)
					p.ours.SetWriteDeadline(time.Now().Add(time.Millisecond))
					p.ours.Write(someBytes(2000))
					p.ours.SetWriteDeadline(time.Time{})
					begin := time.Now()
					ctx, want := context.Background(), os.ErrDeadlineExceeded
					if byContext {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, bound)
						defer cancel()
						want = context.DeadlineExceeded
					} else {
						p.c.SetWriteDeadline(time.Now().Add(bound))
					}
					err := p.c.Write(ctx, MessageBinary, someBytes(size))
					if d := time.Since(begin); d > bound+interruptGrace {
						t.Errorf("Write took %v", d)
					}
					if !errors.Is(err, want) {
						t.Errorf("Write = %v", err)
					}
				})
			})
		}
	}
}

func someBytes(n int) []byte { return make([]byte, n) }

// A write of which nothing is out leaves the connection as it was, on a
// transport that takes deadlines.
func TestForeignWriteGoesOn(t *testing.T) {
	for _, temporary := range []bool{false, true} {
		bothRoles(t, func(t *testing.T, client bool) {
			p := foreignPair(t, func(c net.Conn) net.Conn { return tunnelConn{c, temporary} }, false, client, connConfig{}, 1000)
			p.ours.Write(make([]byte, 1000))
			for range 2 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				if err := p.c.Write(ctx, MessageText, []byte("late")); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Write = %v", err)
				}
				cancel()
			}
			p.theirs.Read(make([]byte, 1000))
			if err := p.c.Write(context.Background(), MessageText, []byte("hello")); err != nil {
				t.Error(err)
			}
			p.WantFrame(wstest.Text, "hello")
		})
	}
}

// Close, CloseNow, Shutdown's close and the heartbeat end a connection in time,
// on any transport, with a peer that takes and says nothing.
func TestForeignEnd(t *testing.T) {
	const slack = 100 * time.Millisecond
	ends := map[string]struct {
		end   func(c *Conn) error
		bound time.Duration
	}{
		"Close":     {func(c *Conn) error { return c.Close(StatusNormalClosure, "") }, time.Second},
		"CloseNow":  {(*Conn).CloseNow, 0},
		"postClose": {func(c *Conn) error { c.postClose(shutDown(StatusGoingAway, "")); <-c.life.closed(); return nil }, time.Second},
		"heartbeat": {func(c *Conn) error { _, _, err := c.Read(context.Background()); return err }, 50 * time.Second},
		"CloseRead": {func(c *Conn) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			c.CloseRead(ctx)
			<-c.life.closed()
			return nil
		}, time.Second},
	}
	for name, end := range ends {
		for _, writing := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/writing %v", name, writing), func(t *testing.T) {
				eachForeign(t, func(t *testing.T, deaf bool, make func(connConfig, int) *pair) {
					p := make(connConfig{closeTimeout: time.Second}, 1000)
					p.ours.SetWriteDeadline(time.Now().Add(time.Millisecond))
					p.ours.Write(someBytes(2000))
					p.ours.SetWriteDeadline(time.Time{})
					var written <-chan error
					if writing {
						written = start(func() error { return p.c.Write(context.Background(), MessageBinary, someBytes(100_000)) })
						synctest.Wait()
					}
					begin := time.Now()
					end.end(p.c)
					if d := time.Since(begin); d > end.bound+slack {
						t.Errorf("took %v", d)
					}
					if writing && <-written == nil {
						t.Error("Write succeeds")
					}
				})
			})
		}
	}
}

// A recordedDeadline notes the last deadline.
type recordedDeadline struct {
	net.Conn
	last time.Time
}

func (c *recordedDeadline) SetWriteDeadline(t time.Time) error { c.last = t; return nil }

// A call that has settled leaves no deadline in the past behind, whenever its
// context ends.
func TestWatchLeavesNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, timed := range []bool{false, true} {
			conn := new(recordedDeadline)
			tr := &transport{conn: conn}
			w := &tr.out
			w.timed = timed
			ctx, cancel := context.WithCancel(context.Background())
			for range 3 {
				w.begin(tr, ctx)
				if w.settle() {
					t.Error("interrupted")
				}
			}
			cancel()
			synctest.Wait()
			if !conn.last.IsZero() {
				t.Errorf("timed %v: the deadline is %v", timed, conn.last)
			}
			w.begin(tr, ctx)
			if conn.last != past {
				t.Error("a call with a context that has ended is not interrupted")
			}
			if !w.settle() || !conn.last.IsZero() {
				t.Errorf("after an interrupted call the deadline is %v", conn.last)
			}
			if !timed {
				continue
			}
			w.setDeadline(tr, time.Now().Add(time.Second))
			time.Sleep(2 * time.Second)
			if !conn.last.IsZero() {
				t.Errorf("the application's deadline has passed with no call in progress, and is %v", conn.last)
			}
			w.begin(tr, context.Background())
			if conn.last != past || !w.settle() {
				t.Error("a call behind the deadline is not interrupted")
			}
			w.beginOwn(tr, context.Background())
			if w.settle() || !conn.last.IsZero() {
				t.Error("the deadline concerns a call of the library's own")
			}
			w.end()
		}
	})
}

// A writer over TLS whose bound ends before its frame's turn has come leaves
// the connection alone, whatever gathered before it.
func TestWaiterGivesUpTLS(t *testing.T) {
	for name, write := range map[string]func(c *Conn, ctx context.Context) error{
		"long":    func(c *Conn, ctx context.Context) error { return c.Write(ctx, MessageBinary, make([]byte, 5000)) },
		"no room": func(c *Conn, ctx context.Context) error { return c.Write(ctx, MessageBinary, make([]byte, 500)) },
	} {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p, fill := tlsPair(t, client, connConfig{writeBufferLimit: 100}, 1000)
				fill()
				p.c.w.corked.Store(true) // as while the reading goroutine has more at hand
				p.c.Write(context.Background(), MessageText, []byte("gathered"))
				p.c.w.corked.Store(false)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if err := write(p.c, ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Write = %v", err)
				}
				if err := p.c.life.reason(); err != nil {
					t.Errorf("the connection has ended: %v", err)
				}
			})
		})
	}
}

// endsBehindErr is a context that ends right behind the last look at its Err
// before a write. Its end interrupts a write of which nothing is out.
type endsBehindErr struct {
	context.Context // it ends with that
	cancel          func()
	c               *Conn
}

func (x endsBehindErr) Err() error {
	g := x.c.t.out.guard.Load()
	if g == nil || x.Context.Err() != nil {
		return x.Context.Err()
	}
	x.cancel() // the write has begun
	for !g.fired.Load() {
		runtime.Gosched()
	}
	return nil
}

// A write over TLS that does not wait for the peer goes through, at whatever
// moment its context ends. Cut before its first byte it would end the
// connection, though no byte of it is out.
func TestWriteInterruptedTLS(t *testing.T) {
	for _, size := range []int{10, 5000} {
		onSockets(t, connConfig{pingInterval: -1}, func(t *testing.T, p *pair) {
			if _, ok := p.c.t.conn.(*tls.Conn); !ok {
				t.Skip("not TLS")
			}
			ctx, cancel := context.WithCancel(context.Background())
			written := start(func() error { return p.c.Write(endsBehindErr{ctx, cancel, p.c}, MessageBinary, someBytes(size)) })
			if err := <-written; err != nil {
				t.Fatalf("Write = %v", err)
			}
			if f := p.ReadFrame(); len(f.Payload) != size {
				t.Errorf("the peer reads %v", f)
			}
			written = start(func() error { return p.c.Write(context.Background(), MessageText, []byte("next")) })
			p.WantFrame(wstest.Text, "next")
			if err := <-written; err != nil {
				t.Errorf("the next Write = %v", err)
			}
		})
	}
}

// A deadline that has passed already ends a bound at once, not on another
// goroutine. A close frame that begins in between would be cut.
func TestBoundByPastDeadline(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		p.c.SetReadDeadline(time.Now().Add(-time.Second))
		ctx, cancel := p.c.t.in.bound(&p.c.t, context.Background())
		defer cancel()
		if ctx.Err() == nil {
			t.Error("the bound has not ended")
		}
		p.c.SetReadDeadline(time.Now().Add(time.Second))
		later, cancel := p.c.t.in.bound(&p.c.t, context.Background())
		defer cancel()
		p.c.SetReadDeadline(time.Now())
		if later.Err() == nil {
			t.Error("a bound has not ended when the deadline was moved to now")
		}
	})
}
