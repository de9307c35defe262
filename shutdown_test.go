package websocket

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// connect has s accept a connection over a fake transport, with that many bytes
// on their way to the peer at most. It returns the peer, which has seen the
// response.
func connect(t *testing.T, s *Server, buffer int) *wstest.Peer {
	t.Helper()
	near, far := netfake.Pipe(netfake.Options{A: netfake.End{Buffer: buffer}})
	t.Cleanup(func() { far.Close() })
	p := wstest.NewPeer(t, far, wstest.Client)
	w := httptest.NewRecorder()
	s.opts.Detach = (*http.Request).Context // ServeHTTP returns, as it does straight behind net/http
	done := start(func() error {
		s.ServeHTTP(&hijacker{ResponseWriter: w, Conn: near}, request(t, goodRequest+"\n"))
		return nil
	})
	p.ReadHead()
	<-done
	return p
}

// serveReads is a serve that reads until the connection is over.
func serveReads(c *Conn, _ *http.Request) {
	for {
		if _, _, err := c.Read(context.Background()); err != nil {
			return
		}
	}
}

// All are told to go, those that answer are gone at once, and Shutdown waits
// for the last, and for serve.
func TestShutdown(t *testing.T) {
	for name, serve := range map[string]func(c *Conn, r *http.Request){
		"reads":       serveReads,
		"CloseRead":   func(c *Conn, _ *http.Request) { <-c.CloseRead(context.Background()).Done() },
		"waits":       func(_ *Conn, r *http.Request) { <-r.Context().Done() },
		"writes":      func(c *Conn, _ *http.Request) { writeSlowly(c) },
		"reads later": func(c *Conn, r *http.Request) { time.Sleep(3 * time.Second); serveReads(c, r) },
		"reads one":   func(c *Conn, r *http.Request) { c.Read(context.Background()) },
		"with a deadline": func(c *Conn, r *http.Request) {
			c.SetDeadline(time.Now().Add(time.Second))
			c.Read(context.Background())
			time.Sleep(10 * time.Second)
		},
		"one second at a time": func(c *Conn, r *http.Request) {
			for c.life.reason() == nil {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				c.Read(ctx)
				cancel()
			}
		},
		"closes": func(c *Conn, _ *http.Request) { time.Sleep(4 * time.Second); c.Close(4000, "") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var served atomic.Int32
				s := Handler(func(c *Conn, r *http.Request) { serve(c, r); served.Add(1) }, nil)
				peers := []*wstest.Peer{connect(t, s, 0), connect(t, s, 0), connect(t, s, 0)}
				if n := s.Connections(); n != 3 {
					t.Errorf("%d connections, want 3", n)
				}
				time.Sleep(1500 * time.Millisecond)
				done := start(func() error { return s.Shutdown(context.Background()) })
				for i, p := range peers {
					for f := p.ReadFrame(); f.Op != wstest.Close; f = p.ReadFrame() {
						if f.Op != wstest.Text {
							t.Errorf("got %v", f)
						}
					}
					refused(t, s)
					p.WriteFrames(text("the last"), ping("x")) // not answered any more
					begin := time.Now()
					p.WriteClose(1001, "")
					p.WantEOF()
					if d := time.Since(begin); d > time.Millisecond {
						t.Errorf("the server ends the connection %v after the answer", d)
					}
					if i < len(peers)-1 && !running(done) {
						t.Fatalf("Shutdown has returned: %v", <-done)
					}
				}
				if err := <-done; err != nil {
					t.Errorf("Shutdown = %v", err)
				}
				if n := served.Load(); n != 3 || s.Connections() != 0 {
					t.Errorf("serve has returned %d times, %d connections are left", n, s.Connections())
				}
				for range 2 { // again
					if err := errors.Join(s.Shutdown(context.Background()), s.Close()); err != nil {
						t.Error(err)
					}
				}
				refused(t, s)
			})
		})
	}
}

func writeSlowly(c *Conn) {
	for c.Write(context.Background(), MessageText, []byte("x")) == nil {
		time.Sleep(time.Second)
	}
}

// The closing is spread over time: 1000 a second, or more if the time is short.
func TestShutdownSpread(t *testing.T) {
	for _, tt := range []struct {
		n          int
		left, want time.Duration
	}{
		{0, time.Minute, 0},
		{1, time.Minute, time.Millisecond},
		{1000, time.Minute, time.Second},
		{1000, time.Second, 500 * time.Millisecond},
		{100_000, time.Hour, 10 * time.Second},
		{100_000, 8 * time.Second, 4 * time.Second},
		{1000, -time.Second, -500 * time.Millisecond},
	} {
		if got := spread(tt.n, tt.left); got != tt.want {
			t.Errorf("spread(%d, %v) = %v, want %v", tt.n, tt.left, got, tt.want)
		}
	}
	const n = 100
	for _, timeout := range []time.Duration{0, 100 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			s := Handler(serveReads, nil)
			var mu sync.Mutex
			told := map[time.Duration]int{} // how many when
			var peers sync.WaitGroup
			var begin time.Time
			for range n {
				p := connect(t, s, 0)
				peers.Go(func() {
					wstest.ReadFrame(p.Conn)
					mu.Lock()
					told[time.Since(begin)]++
					mu.Unlock()
					p.TryWrite(p.Encode(closing(1001, "")))
				})
			}
			begin = time.Now()
			ctx, cancel := context.Background(), func() {}
			if timeout > 0 {
				ctx, cancel = context.WithTimeout(ctx, timeout)
			}
			defer cancel()
			if err := s.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown = %v", err)
			}
			took := time.Since(begin)
			peers.Wait()
			steps := 10
			if timeout > 0 {
				steps = 5
			}
			if want := time.Duration(steps-1) * shutdownStep; took != want {
				t.Errorf("it took %v, want %v", took, want)
			}
			for i := range steps {
				if got := told[time.Duration(i)*shutdownStep]; got != n/steps {
					t.Errorf("step %d told %d, want %d", i, got, n/steps)
				}
			}
		})
	}
}

// Peers that answer nothing, or take nothing, do not hold up the others: each
// has its own close timeout.
func TestShutdownStalledPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Handler(func(c *Conn, r *http.Request) {
			go writeSlowly(c)
			serveReads(c, r)
		}, &AcceptOptions{PingInterval: -1})
		var stalled []*wstest.Peer
		for range 50 {
			stalled = append(stalled, connect(t, s, 1), connect(t, s, 0)) // the first takes one byte
		}
		polite := connect(t, s, 0)
		time.Sleep(10 * time.Second)
		begin := time.Now()
		done := start(func() error { return s.Shutdown(context.Background()) })
		for f := polite.ReadFrame(); f.Op != wstest.Close; f = polite.ReadFrame() {
		}
		if d := time.Since(begin); d > 200*time.Millisecond {
			t.Errorf("a peer that behaves was told after %v", d)
		}
		polite.WriteClose(1001, "")
		polite.WantEOF()
		if err := <-done; err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		if d := time.Since(begin); d < 5*time.Second || d > 5200*time.Millisecond {
			t.Errorf("Shutdown took %v, want the close timeout", d)
		}
		for _, p := range stalled {
			p.Close()
		}
	})
}

// A socket that takes nothing does not hold up the close frame's sender, and
// the frame goes behind what is there.
func TestPostCloseBehindStuckWrite(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	out, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(connConfig{transport: in, closeTimeout: time.Minute})
	defer c.CloseNow()
	payload := string(make([]byte, 16<<20)) // more than the buffers of sockets hold
	write := start(func() error { return c.Write(context.Background(), MessageBinary, []byte(payload)) })
	for owned := false; !owned; runtime.Gosched() {
		c.w.mu.Lock()
		owned = c.w.owned
		c.w.mu.Unlock()
	}
	posted := make(chan bool, 1)
	go func() { posted <- c.postClose(shutDown(StatusGoingAway, "")) }()
	select {
	case unread := <-posted:
		if !unread {
			t.Error("postClose says that somebody reads")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("postClose waits for the peer")
	}
	p := wstest.NewPeer(t, out, wstest.Client)
	p.WantMessage(wstest.Binary, payload)
	p.WantClose(1001)
	if err := <-write; err != nil {
		t.Errorf("Write = %v", err)
	}
	read := start(func() error { return c.awaitClose(context.Background()) })
	p.WriteClose(1001, "")
	p.WantEOF()
	<-read
}

// When ctx ends, so do the connections that are left, and serve need not have
// returned.
func TestShutdownContext(t *testing.T) {
	for _, cause := range []error{context.DeadlineExceeded, context.Canceled} {
		synctest.Test(t, func(t *testing.T) {
			returned := make(chan struct{})
			s := Handler(func(c *Conn, r *http.Request) {
				serveReads(c, r)
				<-returned
			}, &AcceptOptions{CloseTimeout: -1})
			var peers []*wstest.Peer
			for range 300 {
				peers = append(peers, connect(t, s, 0))
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if cause == context.Canceled {
				time.AfterFunc(50*time.Millisecond, cancel) // some have not been told yet
			}
			if err := s.Shutdown(ctx); err != cause {
				t.Errorf("Shutdown = %v", err)
			}
			told := 0
			for _, p := range peers {
				f, err := wstest.ReadFrame(p.Conn)
				if err == nil {
					told++
					_, err = wstest.ReadFrame(p.Conn)
				}
				if err != io.EOF {
					t.Fatalf("got %v, %v", f, err)
				}
			}
			if most := told == len(peers); most != (cause == context.DeadlineExceeded) || told == 0 {
				t.Errorf("%d of %d were told", told, len(peers))
			}
			if n := s.Connections(); n != len(peers) {
				t.Errorf("%d connections while serve has not returned", n)
			}
			close(returned)
			synctest.Wait()
			if n := s.Connections(); n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
}

// Close ends all connections at once and does not wait for serve, also while
// Shutdown waits.
func TestServerClose(t *testing.T) {
	for _, shutdown := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			returned := make(chan struct{})
			s := Handler(func(c *Conn, r *http.Request) {
				<-r.Context().Done()
				<-returned
			}, nil)
			var peers []*wstest.Peer
			for range 200 {
				peers = append(peers, connect(t, s, 0))
			}
			var done <-chan error
			if shutdown {
				done = start(func() error { return s.Shutdown(context.Background()) })
				time.Sleep(time.Second)
			}
			begin := time.Now()
			if err := s.Close(); err != nil || time.Since(begin) > 0 {
				t.Errorf("Close = %v after %v", err, time.Since(begin))
			}
			refused(t, s)
			for _, p := range peers {
				if shutdown {
					p.WantClose(1001)
				}
				p.WantEOF()
			}
			if shutdown && !running(done) {
				t.Errorf("Shutdown has returned before serve: %v", <-done)
			}
			close(returned)
			if shutdown {
				if err := <-done; err != nil {
					t.Errorf("Shutdown = %v", err)
				}
			}
			synctest.Wait()
		})
	}
}

// MaxConnections counts those in the handshake, and those until serve has
// returned.
func TestMaxConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(serveReads, &ServerOptions{MaxConnections: 3})
		near, far := netfake.Pipe(netfake.Options{})
		gate := make(chan struct{})
		go s.ServeHTTP(slowHijacker{Hijacker: &hijacker{ResponseWriter: httptest.NewRecorder(), Conn: near}, Gate: gate}, request(t, goodRequest+"\n"))
		synctest.Wait()
		a, b := connect(t, s, 0), connect(t, s, 0)
		refused(t, s)
		close(gate)
		synctest.Wait()
		refused(t, s)
		far.Close()
		synctest.Wait()
		c := connect(t, s, 0)
		refused(t, s)

		// A request that is refused for what it is takes no place; nor does one
		// whose handler panics.
		c.Close()
		synctest.Wait()
		for range 5 {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if w.Code != http.StatusUpgradeRequired {
				t.Errorf("got %d", w.Code)
			}
			func() {
				defer func() { recover() }()
				s.ServeHTTP(panicHijacker{httptest.NewRecorder()}, request(t, goodRequest+"\n"))
				t.Error("Hijack has not panicked")
			}()
		}
		if n := s.Connections(); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
		a.Close()
		b.Close()
		synctest.Wait()
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections, want 0", n)
		}
	})
}

type panicHijacker struct{ http.ResponseWriter }

func (panicHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { panic("hijack") }

// Shutdown does not go on when all connections have ended without it.
func TestShutdownAllGone(t *testing.T) {
	const n = 1000 // for a second
	for name, end := range map[string]func(s *Server, peers []*wstest.Peer){
		"Close": func(s *Server, _ []*wstest.Peer) { s.Close() },
		"peers": func(_ *Server, peers []*wstest.Peer) {
			for _, p := range peers {
				p.Conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := Handler(serveReads, nil)
				var peers []*wstest.Peer
				for range n {
					peers = append(peers, connect(t, s, 0))
				}
				begin := time.Now()
				first := start(func() error { return s.Shutdown(context.Background()) })
				second := start(func() error { return s.Shutdown(context.Background()) })
				time.Sleep(100*time.Millisecond + 1)
				if !running(first) || !running(second) {
					t.Fatal("Shutdown has returned")
				}
				end(s, peers)
				if err := errors.Join(<-first, <-second); err != nil {
					t.Errorf("Shutdown = %v", err)
				}
				if d := time.Since(begin); d > 101*time.Millisecond {
					t.Errorf("it took %v", d)
				}
			})
		})
	}
}

// A callback that panics on a goroutine of the library, which reads while the
// connection is being closed, costs that connection, not the program.
func TestCallbackPanicsWhileClosing(t *testing.T) {
	for _, shutdown := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			serve := func(*Conn, *http.Request) {}
			if shutdown {
				serve = func(_ *Conn, r *http.Request) { <-r.Context().Done() }
			}
			s := Handler(serve, &AcceptOptions{OnPingReceived: func(context.Context, []byte) bool { panic(http.ErrAbortHandler) }})
			p := connect(t, s, 0)
			done := start(func() error {
				if !shutdown {
					time.Sleep(time.Second) // serve has returned
				}
				return s.Shutdown(context.Background())
			})
			if f := p.ReadFrame(); f.Op != wstest.Close {
				t.Errorf("got %v", f)
			}
			begin := time.Now()
			p.WriteFrames(ping(""))
			p.WantEOF()
			if err := <-done; err != nil || s.Connections() != 0 {
				t.Errorf("Shutdown = %v, %d connections left", err, s.Connections())
			}
			if d := time.Since(begin); d > time.Second {
				t.Errorf("the end took %v", d)
			}
		})
	}
}
