package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/seed70bc5565/websocket"
)

// patience is how long a client waits for an answer. Longer is a hang.
const patience = time.Minute

// A profile is a way to negotiate compression.
type profile struct {
	path string
	mode websocket.CompressionMode
	send int // window bits of the client
	recv int
}

var profiles = []profile{
	{"/plain", websocket.CompressionDisabled, 0, 0},
	{"/takeover", websocket.CompressionContextTakeover, 0, 0},
	{"/takeover", websocket.CompressionContextTakeover, 9, 10},
	{"/alone", websocket.CompressionNoContextTakeover, 0, 0},
	{"/alone", websocket.CompressionNoContextTakeover, 12, 8},
}

// clients keep up a number of connections: each ends after some messages, in
// one way or another, and is followed by the next.
type clients struct {
	server *server
	http   *http.Client
	think  time.Duration // mean time between bursts
	dials  chan struct{} // a token for each handshake in progress
	tally  *tally
}

func newClients(s *server, think time.Duration, tally *tally) *clients {
	dialer := &net.Dialer{Timeout: patience}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if keep, ok := ctx.Value(connKey{}).(*net.Conn); ok {
			*keep = conn
		}
		return conn, err
	}}
	return &clients{server: s, http: &http.Client{Transport: transport}, think: think, dials: make(chan struct{}, 64), tally: tally}
}

// connKey is the key of the context's value in which a dial leaves its
// connection, to be reset.
type connKey struct{}

// run keeps up n connections until ctx ends, and then ends them all.
func (cs *clients) run(ctx context.Context, n int, seed uint64) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			rng := seeded(seed, uint64(i))
			sleep(ctx, time.Duration(rng.Int64N(int64(2*time.Second)))) // not all at once
			for ctx.Err() == nil {
				cs.session(ctx, rng, i)
			}
		})
	}
	all.Wait()
}

// sleep sleeps for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// session makes one connection, uses it and ends it. The end of ctx makes it
// short; nothing else depends on ctx.
func (cs *clients) session(ctx context.Context, rng *mrand.Rand, i int) {
	p := profiles[rng.IntN(len(profiles))]
	path := p.path
	if rng.IntN(2) == 0 {
		path = "/events" + path
	}
	var conn net.Conn
	dialCtx, cancel := context.WithTimeout(context.WithValue(context.Background(), connKey{}, &conn), patience)
	cs.dials <- struct{}{}
	c, _, err := websocket.Dial(dialCtx, cs.server.url(i)+path, &websocket.DialOptions{
		HTTPClient:                   cs.http,
		CompressionMode:              p.mode,
		CompressionSendWindowBits:    p.send,
		CompressionReceiveWindowBits: p.recv,
		ReadLimit:                    maxMessage,
	})
	<-cs.dials
	cancel()
	if err != nil {
		cs.tally.fail("dial", err)
		sleep(ctx, time.Second)
		return
	}
	defer c.CloseNow()
	var pings sync.WaitGroup
	defer pings.Wait()
	defer c.CloseNow() // before the wait for pings
	cs.tally.connections.Add(1)

	var buf []byte
	for range 1 + rng.IntN(40) {
		if ctx.Err() != nil {
			break
		}
		if rng.IntN(10) == 0 {
			pings.Go(func() {
				pingCtx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				if err := c.Ping(pingCtx); !disconnected(err) {
					cs.tally.fail("ping", err)
				}
				cs.tally.pings.Add(1)
			})
		}
		if buf, err = cs.burst(c, rng, buf); err != nil {
			if !disconnected(err) {
				cs.tally.fail("client", err)
			}
			return
		}
		sleep(ctx, time.Duration(rng.ExpFloat64()*float64(cs.think)))
	}
	cs.end(c, conn, rng)
}

// burst sends a few messages, and receives the answers.
func (cs *clients) burst(c *websocket.Conn, rng *mrand.Rand, buf []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var sums []string
	var msg []byte
	for range 1 + rng.IntN(4) {
		var typ websocket.MessageType
		n := size(rng)
		typ, msg = makeMessage(rng, msg, n)
		sums = append(sums, string(msg[:sumLength]))
		if err := send(ctx, c, rng, typ, msg); err != nil {
			return buf, err
		}
		if n > 50<<10 {
			break // so that neither side waits for the other with buffers full
		}
	}
	for _, sum := range sums {
		err := error(nil)
		if rng.IntN(8) == 0 { // one that gives up loses nothing
			short, cancel := context.WithTimeout(ctx, time.Duration(rng.Int64N(int64(3*time.Millisecond))))
			_, buf, err = c.ReadInto(short, buf)
			cancel()
			if err == nil {
				if err = check(buf); err != nil {
					return buf, wrongError{err}
				}
			}
			if errors.Is(err, context.DeadlineExceeded) {
				_, buf, err = receive(ctx, c, rng, buf)
			}
		} else {
			_, buf, err = receive(ctx, c, rng, buf)
		}
		if err != nil {
			return buf, err
		}
		if string(buf[:sumLength]) != sum {
			return buf, wrongError{fmt.Errorf("the answer to %s is %s", sum, buf[:sumLength])}
		}
		cs.tally.messages.Add(1)
		cs.tally.bytes.Add(int64(len(buf)))
	}
	return buf, nil
}

// end ends a connection in one of the ways that there are.
func (cs *clients) end(c *websocket.Conn, conn net.Conn, rng *mrand.Rand) {
	switch rng.IntN(6) {
	case 0, 1:
		if err := c.Close(websocket.StatusNormalClosure, "done"); !disconnected(err) {
			cs.tally.fail("close", err)
		}
	case 2:
		c.CloseNow()
	case 3: // a write that is cut short, perhaps inside its frame
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(500))*time.Microsecond)
		defer cancel()
		typ, msg := makeMessage(rng, nil, 300<<10)
		send(ctx, c, rng, typ, msg)
	case 4: // TCP reset
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
			tcp.Close()
		}
	case 5: // half-close
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.CloseWrite()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if _, _, err := c.Read(ctx); err == nil || !disconnected(err) {
				cs.tally.fail("read of a connection that was half closed", err)
			}
		}
	}
}

// disconnected reports whether err is nil or can come of a disconnect by either
// side.
func disconnected(err error) bool {
	if wrong := (wrongError{}); errors.As(err, &wrong) {
		return false
	}
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway:
		return true
	case -1:
	default:
		return false
	}
	for _, target := range []error{nil, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE, syscall.ENOTCONN} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// gaveUp reports whether err is one of the end of a context or a deadline.
func gaveUp(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}
