package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A report is how one connection went, seen from our server.
type report struct {
	name string // of the case, as the client gave it
	path string
	err  error // nil if it did and ended as the URL asked
}

// A testServer is our server, with a path for each behaviour (see behaviours).
// It has three listeners: plain, over TLS with the certificate that clients
// trust, and over TLS with one that no client trusts. A tap is in front of the
// plain one.
type testServer struct {
	plain, secure, unknown string // host:port
	tap                    *tap
	pages                  http.Handler
	http                   []*http.Server
	errorLog               *log.Logger

	mu      sync.Mutex
	reports map[string][]report // by the run that the client named
	changed chan struct{}       // closed and replaced with each report
}

func newTestServer(pages fs.FS, good, bad tls.Certificate, errorLog *log.Logger) (*testServer, error) {
	s := &testServer{reports: make(map[string][]report), changed: make(chan struct{}), errorLog: errorLog}
	if pages != nil {
		s.pages = http.FileServerFS(pages)
	}
	for _, l := range []struct {
		addr *string
		cert *tls.Certificate
	}{{&s.plain, nil}, {&s.secure, &good}, {&s.unknown, &bad}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.close()
			return nil, err
		}
		*l.addr = ln.Addr().String()
		if l.cert != nil {
			// A TLS server of net/http would offer HTTP/2 as well, which has
			// another way to WebSocket (RFC 8441).
			ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{*l.cert}, NextProtos: []string{"http/1.1"}})
		}
		if l.cert == nil {
			if s.tap, err = newTap(s.plain); err != nil {
				s.close()
				return nil, err
			}
		}
		h := &http.Server{Handler: s, ErrorLog: errorLog, ConnContext: keepConn}
		s.http = append(s.http, h)
		go h.Serve(ln)
	}
	return s, nil
}

func (s *testServer) close() {
	for _, h := range s.http {
		h.Close()
	}
	if s.tap != nil {
		s.tap.close()
	}
}

type connKey struct{}

// keepConn makes the transport's net.Conn known to the handlers.
func keepConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// transport returns the TCP connection under r.
func transport(r *http.Request) *net.TCPConn {
	c, _ := r.Context().Value(connKey{}).(net.Conn)
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return c.(*net.TCPConn)
}

// connectionTimeout bounds what happens on one connection.
const connectionTimeout = 60 * time.Second

func (s *testServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	switch name {
	case "forbidden":
		http.Error(w, "not for you", http.StatusForbidden)
		return
	case "plain-200":
		fmt.Fprintln(w, "no upgrade here")
		return
	}
	serve, ok := behaviours[name]
	if !ok || r.Header.Get("Upgrade") == "" {
		if s.pages == nil {
			http.NotFound(w, r)
			return
		}
		s.pages.ServeHTTP(w, r)
		return
	}
	q := request{Values: r.URL.Query(), r: r, tap: s.tap}
	if name == "slow" {
		time.Sleep(200 * time.Millisecond)
	}
	opts, err := q.options()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), connectionTimeout)
		defer cancel()
		defer c.CloseNow()
		err := serve(ctx, c, q)
		if err == nil {
			err = q.checkTraffic()
		}
		if q.Has("maybe") {
			return // whether there is a connection is not certain
		}
		s.add(q.Get("run"), report{q.Get("case"), r.URL.Path + "?" + r.URL.RawQuery, err})
	}, opts).ServeHTTP(w, r)
}

func (s *testServer) add(run string, r report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports[run] = append(s.reports[run], r)
	close(s.changed)
	s.changed = make(chan struct{})
}

// await returns the reports of a run when there are n of them, or after the
// limit those that there are.
func (s *testServer) await(run string, n int, limit time.Duration) []report {
	end := time.After(limit)
	for {
		s.mu.Lock()
		got, changed := s.reports[run], s.changed
		s.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-changed:
		case <-end:
			return got
		}
	}
}

// victimVariable is set for a process that will be a victim.
const victimVariable = "REALPEERS_VICTIM"

// runVictim is a server process that kills itself when it is told to.
func runVictim() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("listening on %s\n", ln.Addr())
	return http.Serve(ln, websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		if _, _, err := c.Read(r.Context()); err != nil {
			return
		}
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			self.Kill()
		}
		select {}
	}, &websocket.AcceptOptions{InsecureSkipVerify: true}))
}
