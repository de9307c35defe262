package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed70bc5565/websocket"
)

// maxMessage is the read limit: nothing comes near to it.
const maxMessage = 1 << 20

// listeners is how many ports there are: a pair of addresses has some 28,000 ports for its connections, and one that
// was used is not free for a while.
const listeners = 8

// A server answers each message with itself. Now and then it ends a connection of its own accord.
type server struct {
	http    *http.Server
	urls    []string
	serving sync.WaitGroup // the connections
	live    atomic.Int64
	number  atomic.Uint64
	seed    uint64
	tally   *tally
}

func startServer(seed uint64, tally *tally) (*server, error) {
	s := &server{seed: seed, tally: tally}
	mux := http.NewServeMux()
	for _, p := range profiles {
		if p.send == 0 { // each path once
			mux.Handle(p.path, websocket.Handler(s.serve, &websocket.AcceptOptions{
				CompressionMode: p.mode,
				ReadLimit:       maxMessage,
				PingInterval:    time.Second,
				PongTimeout:     patience,
			}))
		}
	}
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: patience, ErrorLog: log.New(os.Stderr, "http: ", 0)}
	for range listeners {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.http.Close()
			return nil, err
		}
		s.urls = append(s.urls, "ws://127.0.0.1:"+strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
		go s.http.Serve(ln)
	}
	return s, nil
}

func (s *server) url(i int) string { return s.urls[i%len(s.urls)] }

// serve is the server's end of a connection.
func (s *server) serve(c *websocket.Conn, r *http.Request) {
	s.serving.Add(1)
	s.live.Add(1)
	defer s.serving.Done()
	defer s.live.Add(-1)
	rng := seeded(s.seed, 1<<32+s.number.Add(1))
	ctx := context.Background()
	if rng.IntN(2) == 0 {
		ctx = r.Context()
	}
	var buf []byte
	for {
		typ, msg, err := receive(ctx, c, rng, buf)
		if buf = msg; err != nil {
			if !disconnected(err) && !gaveUp(err) {
				s.tally.fail("server", err)
			}
			return
		}
		if rng.IntN(200) == 0 {
			switch rng.IntN(3) {
			case 0:
				c.Close(websocket.StatusGoingAway, "the server's whim")
			case 1:
				c.CloseNow()
			}
			return
		}
		if err := send(ctx, c, rng, typ, msg); err != nil {
			if !disconnected(err) && !gaveUp(err) {
				s.tally.fail("server", err)
			}
			return
		}
	}
}

// drained waits until no connection is served, for limit at most.
func (s *server) drained(limit time.Duration) bool {
	done := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}
