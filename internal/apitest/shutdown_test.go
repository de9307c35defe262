package apitest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A server that never had a connection.
func TestShutdownUnused(t *testing.T) {
	s := websocket.Handler(serveReads, nil)
	if n := s.Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, ctx := range []context.Context{context.Background(), ended} {
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	}
	refused(t, s)
}

// A connection whose handshake was going on is closed before serve sees it, and
// waited for.
func TestShutdownDuringHandshake(t *testing.T) {
	for _, hard := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := websocket.Handler(func(*websocket.Conn, *http.Request) { t.Error("serve was called") }, nil)
			near, far := netfake.Pipe(netfake.Options{})
			p := wstest.NewPeer(t, far, wstest.Client)
			gate := make(chan struct{})
			h := &hijacker{ResponseWriter: httptest.NewRecorder(), Conn: near}
			go s.ServeHTTP(slowHijacker{Hijacker: h, Gate: gate}, request(t, goodRequest+"\n"))
			synctest.Wait()
			if n := s.Connections(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
			if hard {
				s.Close()
			}
			done := start(func() error { return s.Shutdown(context.Background()) })
			if !running(done) {
				t.Fatalf("Shutdown = %v with a handshake going on", <-done)
			}
			close(gate)
			p.ReadHead()
			if !hard {
				p.WantClose(1001)
				if !running(done) {
					t.Fatalf("Shutdown = %v before the connection has ended", <-done)
				}
				p.WriteClose(1001, "")
			}
			p.WantEOF()
			if err := <-done; err != nil || s.Connections() != 0 {
				t.Errorf("Shutdown = %v, %d connections are left", err, s.Connections())
			}
		})
	}
}

// Clients come and go over real sockets, with and without TLS, while the server
// is shut down from several sides.
func TestShutdownRace(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, how := range []string{"Shutdown", "both", "Close"} {
			s := websocket.Handler(serveEcho, nil)
			server := newServer(t, s, secure)
			var clients, met sync.WaitGroup
			for range 20 {
				met.Add(1)
				clients.Go(func() {
					first := sync.OnceFunc(met.Done)
					defer first()
					for {
						c, resp, err := websocket.Dial(context.Background(), server.URL, &websocket.DialOptions{HTTPClient: server.Client()})
						if err != nil {
							if resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
								t.Errorf("%s: Dial: %v", how, err)
							}
							return
						}
						first()
						for err == nil {
							if err = c.Write(context.Background(), websocket.MessageText, []byte("hello")); err == nil {
								_, _, err = c.Read(context.Background())
							}
						}
						_, _, err = c.Read(context.Background())
						if how == "Shutdown" && websocket.CloseStatus(err) != websocket.StatusGoingAway {
							t.Errorf("%s: the connection ended with %v", how, err)
						}
						c.CloseNow()
					}
				})
			}
			met.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			var all sync.WaitGroup
			for i := range 4 {
				all.Go(func() {
					if how == "Close" || how == "both" && i == 3 {
						s.Close()
					}
					if err := s.Shutdown(ctx); err != nil {
						t.Errorf("%s: Shutdown = %v", how, err)
					}
				})
			}
			all.Wait()
			cancel()
			clients.Wait()
			if n := s.Connections(); n != 0 {
				t.Errorf("%s: %d connections are left", how, n)
			}
		}
	}
}

// Shutdown with a code of the caller's reaches those that serve has, and those
// that were adopted.
func TestAdoptAndShutdownWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s websocket.Server
		var peers []*wstest.Peer
		var conns []*websocket.Conn
		for range 3 {
			near, far := netfake.Pipe(netfake.Options{})
			c, err := websocket.NewConn(far, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Adopt(c); err != nil {
				t.Fatal(err)
			}
			peers, conns = append(peers, wstest.NewPeer(t, near, wstest.Client)), append(conns, c)
		}
		if err := s.Adopt(conns[0]); err == nil {
			t.Error("a connection was adopted twice")
		}
		conns[1].CloseNow()
		if n := s.Connections(); n != 2 {
			t.Errorf("there are %d connections", n)
		}
		seen := map[*websocket.Conn]bool{}
		for c := range s.All() {
			seen[c] = true
		}
		if len(seen) != 2 || !seen[conns[0]] || !seen[conns[2]] {
			t.Errorf("All yields %v", seen)
		}
		for range s.All() {
			break
		}
		if err := s.ShutdownWith(t.Context(), 1005, "reason"); err == nil || s.Connections() != 2 {
			t.Errorf("an invalid code: got %v", err)
		}
		if err := s.ShutdownWith(t.Context(), 999, ""); err == nil {
			t.Error("code 999 is sent")
		}
		for _, i := range []int{0, 2} {
			go func() {
				if reason := peers[i].WantClose(1012); reason != "new version" {
					t.Errorf("got the reason %q", reason)
				}
				peers[i].WriteClose(1012, "")
			}()
		}
		if err := s.ShutdownWith(t.Context(), websocket.StatusServiceRestart, "new version"); err != nil || s.Connections() != 0 {
			t.Errorf("got %v, with %d connections left", err, s.Connections())
		}
		_, far := netfake.Pipe(netfake.Options{})
		c, _ := websocket.NewConn(far, nil)
		if err := s.Adopt(c); !errors.Is(err, http.ErrServerClosed) || far.Stats().Closes != 0 {
			t.Errorf("after the end: got %v", err)
		}
		c.CloseNow()
		for _, p := range peers {
			p.Close()
		}
	})
}

func TestAdoptLimit(t *testing.T) {
	s := websocket.NewServer(serveReads, &websocket.ServerOptions{MaxConnections: 1})
	var conns [2]*websocket.Conn
	for i := range conns {
		_, far := netfake.Pipe(netfake.Options{})
		conns[i], _ = websocket.NewConn(far, nil)
		defer conns[i].CloseNow()
	}
	if err := s.Adopt(conns[0]); err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(conns[1]); err == nil {
		t.Error("there are two")
	}
	conns[0].CloseNow()
	if err := s.Adopt(conns[1]); err != nil {
		t.Error(err)
	}
	conns[1].CloseNow()
	if err := s.Adopt(conns[1]); err != nil || s.Connections() != 0 {
		t.Errorf("a connection that has ended: got %v, %d left", err, s.Connections())
	}
}

// Shutdown reaches every client, whatever is being written to it.
func TestShutdownBehindWriters(t *testing.T) {
	const clients = 50
	var writers sync.WaitGroup
	handler := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		for range 2 {
			writers.Go(func() {
				for c.Write(context.Background(), websocket.MessageBinary, make([]byte, 8<<10)) == nil {
				}
			})
		}
		for {
			if _, _, err := c.Read(context.Background()); err != nil {
				return
			}
		}
	}, &websocket.AcceptOptions{CloseTimeout: time.Minute})
	server := httptest.NewServer(handler)
	defer server.Close()
	var all sync.WaitGroup
	var ready sync.WaitGroup
	ready.Add(clients)
	codes := make([]websocket.StatusCode, clients)
	for i := range clients {
		all.Go(func() {
			c, _, err := websocket.Dial(context.Background(), "ws"+strings.TrimPrefix(server.URL, "http"), nil)
			if err != nil {
				t.Error(err)
				ready.Done()
				return
			}
			defer c.CloseNow()
			for n := 0; ; n++ {
				_, _, err := c.Read(context.Background())
				if n == 0 {
					ready.Done()
				}
				if err != nil {
					codes[i] = websocket.CloseStatus(err)
					return
				}
			}
		})
	}
	ready.Wait()
	begin := time.Now()
	if err := handler.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > 30*time.Second { // half the close timeout
		t.Errorf("Shutdown took %v", d)
	}
	all.Wait()
	writers.Wait()
	for i, code := range codes {
		if code != websocket.StatusGoingAway {
			t.Errorf("client %d got %v", i, code)
		}
	}
}
