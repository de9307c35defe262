package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
)

// shortConnections is how many connections each of these tests makes.
var shortConnections = func() int {
	if raceEnabled {
		return 1000
	}
	return 3000
}()

// Thousands of short connections, many at a time: each makes its handshake, sends and receives a few messages, some
// with a context that ends at any moment, and is closed by one side, or by both at once, or just dropped.
func TestShortConnections(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}
	runShort(t, ln, dial, shortConnections, 32, 1)
}

// The same in a bubble, where the order of things depends on little but the seed.
func TestShortConnectionsBubble(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &pipeListener{make(chan net.Conn), make(chan struct{})}
				dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
					near, far := netfake.Pipe(netfake.Options{Buffer: 1 << (4 + seed)})
					select {
					case l.conns <- far:
						return near, nil
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
				runShort(t, l, dial, shortConnections/10, 32, seed)
			})
		})
	}
}

func runShort(t *testing.T, l net.Listener, dial func(ctx context.Context, _, _ string) (net.Conn, error), n, atOnce int, seed uint64) {
	defer buffersReturn(t)()
	var made, served, live, whole atomic.Int64
	handler := Handler(func(c *Conn, r *http.Request) {
		live.Add(1)
		defer live.Add(-1)
		rng := rand.New(rand.NewPCG(seed, 1_000_000+uint64(served.Add(1))))
		shortEnd(t, c, rng, &whole)
	}, &AcceptOptions{CompressionMode: CompressionContextTakeover, CompressionThreshold: 1})
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: handler}
	go server.Serve(l)
	tr := &http.Transport{DialContext: dial}
	var clients sync.WaitGroup
	next := make(chan uint64)
	for range atOnce {
		clients.Go(func() {
			for i := range next {
				rng := rand.New(rand.NewPCG(seed, i))
				ctx, cancel := context.Background(), context.CancelFunc(func() {})
				if rng.IntN(10) == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(2000))*time.Microsecond)
				}
				opts := &DialOptions{HTTPClient: &http.Client{Transport: tr}, CompressionMode: CompressionMode(rng.IntN(3)), CompressionThreshold: 1}
				c, _, err := Dial(ctx, "ws://example.com/", opts)
				cancel()
				if err != nil {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Dial: %v", err)
					}
					continue
				}
				made.Add(1)
				shortEnd(t, c, rng, &whole)
			}
		})
	}
	for i := range n {
		next <- uint64(i)
	}
	close(next)
	clients.Wait()
	tr.CloseIdleConnections()
	server.Close()
	tries := 0
	for calm := 0; calm < 4; calm++ { // the last ones may be about to be served
		handler.live.mu.Lock()
		left := handler.live.n
		handler.live.mu.Unlock()
		if time.Sleep(25 * time.Millisecond); live.Load() != 0 || left != 0 && tries < 400 {
			tries++
			calm = 0
		}
	}
	handler.live.mu.Lock()
	if handler.live.n != 0 || len(handler.live.all) != 0 {
		t.Errorf("the server has %d connections left, of which it knows %d", handler.live.n, len(handler.live.all))
	}
	handler.live.mu.Unlock()
	if made.Load() < int64(n)/2 || whole.Load() < int64(n)/4 || served.Load() < made.Load() {
		t.Errorf("%d connections of %d, %d served, %d messages: that tests too little", made.Load(), n, served.Load(), whole.Load())
	}
}

// shortEnd is what either side does with a connection.
func shortEnd(t *testing.T, c *Conn, rng *rand.Rand, whole *atomic.Int64) {
	defer c.CloseNow()
	var all sync.WaitGroup
	defer all.Wait()
	defer c.CloseNow() // ends those that all waits for
	over := func(what string, err error) bool {
		switch {
		case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
			return c.life.reason() != nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), CloseStatus(err) == 4001:
		default:
			t.Errorf("%s: %v", what, err)
		}
		return true
	}
	readerSeed := rng.Uint64()
	all.Go(func() { // the reader
		rng := rand.New(rand.NewPCG(readerSeed, 0))
		for {
			if rng.IntN(4) == 0 { // the other end's writes wait meanwhile, and are given up
				time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
			}
			ctx, cancel := context.Background(), context.CancelFunc(func() {})
			if rng.IntN(4) == 0 {
				ctx, cancel = context.WithTimeout(ctx, time.Millisecond)
			}
			_, msg, err := c.Read(ctx)
			cancel()
			if err == nil {
				if err := checkKnown(msg); err != nil {
					t.Error(err)
				}
				whole.Add(1)
			}
			if over("read", err) {
				return
			}
		}
	})
	if rng.IntN(4) == 0 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			over("ping", c.Ping(ctx))
		})
	}
	for range rng.IntN(6) {
		ctx, cancel := context.Background(), context.CancelFunc(func() {})
		if rng.IntN(3) == 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(1000))*time.Microsecond)
		}
		err := writeAny(ctx, c, rng)
		cancel()
		if over("write", err) {
			return
		}
	}
	if rng.IntN(2) == 0 {
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond)
	}
	switch rng.IntN(5) {
	case 0:
		c.CloseNow()
	case 1:
		for range 3 {
			all.Go(func() { c.Close(4001, "") })
		}
	default:
		over("close", c.Close(StatusNormalClosure, "bye"))
	}
	c.Close(4001, "")
}
