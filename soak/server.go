package main

import (
	"context"
	"log"
	mrand "math/rand/v2"
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

// listeners is how many ports there are. A pair of addresses has some 28,000
// ports for its connections, and a used one is not free for a while.
const listeners = 8

// A server answers each message with itself. Now and then it ends a connection
// of its own accord. Half of the connections are served by Handler, half by
// Events.
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
			opts := websocket.AcceptOptions{
				CompressionMode: p.mode,
				ReadLimit:       maxMessage,
				PingInterval:    time.Second,
				PongTimeout:     patience,
			}
			mux.Handle(p.path, websocket.Handler(s.serve, &opts))
			mux.Handle("/events"+p.path, websocket.Events(s.open, &websocket.ServerOptions{AcceptOptions: opts}))
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

// A session is the server's end of a connection.
type session struct {
	server *server
	c      *websocket.Conn
	ctx    context.Context // of the calls
	rng    *mrand.Rand
}

// begin counts a connection, which end counts again.
func (s *server) begin(c *websocket.Conn, r *http.Request) *session {
	s.serving.Add(1)
	s.live.Add(1)
	rng := seeded(s.seed, 1<<32+s.number.Add(1))
	ctx := context.Background()
	if rng.IntN(2) == 0 {
		ctx = r.Context()
	}
	return &session{s, c, ctx, rng}
}

func (x *session) end() {
	x.server.live.Add(-1)
	x.server.serving.Done()
}

// failed notes err, unless a disconnect explains it.
func (x *session) failed(err error) {
	if !disconnected(err) && !gaveUp(err) {
		x.server.tally.fail("server", err)
	}
}

// answer sends msg, or ends the connection. It reports whether more may come.
func (x *session) answer(typ websocket.MessageType, msg []byte) bool {
	if x.rng.IntN(200) == 0 {
		switch x.rng.IntN(3) {
		case 0:
			x.c.Close(websocket.StatusGoingAway, "the server's whim")
		case 1:
			x.c.CloseNow()
		}
		return false
	}
	if err := send(x.ctx, x.c, x.rng, typ, msg); err != nil {
		x.failed(err)
		return false
	}
	return true
}

// serve serves a connection with a goroutine of its own.
func (s *server) serve(c *websocket.Conn, r *http.Request) {
	x := s.begin(c, r)
	defer x.end()
	var buf []byte
	for {
		typ, msg, err := receive(x.ctx, c, x.rng, buf)
		if buf = msg; err != nil {
			x.failed(err)
			return
		}
		if !x.answer(typ, msg) {
			return
		}
	}
}

// open serves a connection by events.
func (s *server) open(c *websocket.Conn, r *http.Request) websocket.EventHandler {
	return s.begin(c, r)
}

// Message implements websocket.EventHandler.
func (x *session) Message(m websocket.Message) {
	if err := check(m.Data); err != nil {
		x.server.tally.fail("server", err)
	}
	if !x.answer(m.Type, m.Data) {
		x.c.CloseNow()
	}
}

// Close implements websocket.EventHandler.
func (x *session) Close(err error) {
	x.failed(err)
	x.end()
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
