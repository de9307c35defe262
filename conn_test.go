package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/poison"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A larger Conn would take the next size of the allocator, which is 704 bytes
// with its header of 8, for each idle connection.
func TestConnFitsItsSize(t *testing.T) {
	if size := reflect.TypeFor[Conn]().Size(); size > 632 {
		t.Errorf("a Conn has %d bytes, want at most 632", size)
	}
}

// tcpPair returns the two ends of a connection over the loopback interface: a
// real socket, with all fast paths.
func tcpPair(t testing.TB) (server, client *Conn) {
	t.Helper()
	return tcpPairOf(t, connConfig{})
}

// tcpPairOf is tcpPair for endpoints with the options of cfg.
func tcpPairOf(t testing.TB, cfg connConfig) (server, client *Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	out, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	cfg.transport = in
	server = newConn(cfg)
	cfg.transport, cfg.client = out, true
	client = newConn(cfg)
	t.Cleanup(func() {
		server.CloseNow()
		client.CloseNow()
	})
	return server, client
}

// echo answers every message with itself until the connection ends.
func echo(c *Conn) error {
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			return err
		}
		if err := c.Write(context.Background(), m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// Every size class of buffer, and the sizes around each, over a real socket.
func TestEchoSizesTCP(t *testing.T) {
	server, client := tcpPair(t)
	done := make(chan error, 1)
	go func() { done <- echo(server) }()

	ctx := context.Background()
	var buf []byte
	for _, size := range []int{0, 1, 15, 16, 17, 125, 126, 127, 4081, 4082, 4095, 4096, 4097, 16 << 10, 32<<10 - 8, 32 << 10, 65535, 65536, 128<<10 + 1, 1 << 20} {
		msg := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for range 3 {
			if err := client.Write(ctx, MessageText, msg); err != nil {
				t.Fatalf("write %d: %v", size, err)
			}
			typ, got, err := client.ReadInto(ctx, buf)
			if err != nil || typ != MessageText || !bytes.Equal(got, msg) {
				t.Fatalf("size %d: got type %v, %d bytes, error %v", size, typ, len(got), err)
			}
			buf = got
		}
	}
	if err := client.Close(StatusNormalClosure, "bye"); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("echo: %v", err)
	}
	if _, _, err := server.Read(ctx); CloseStatus(err) != StatusNormalClosure || !errors.Is(err, io.EOF) {
		t.Errorf("server's read after the close: %v", err)
	}
	if _, _, err := client.Read(ctx); !errors.Is(err, net.ErrClosed) {
		t.Errorf("client's read after the close: %v", err)
	}
}

// Many messages sent at once: replies gather and all arrive, in order.
func TestEchoPipelinedTCP(t *testing.T) {
	server, client := tcpPair(t)
	done := make(chan error, 1)
	go func() { done <- echo(server) }()
	ctx := context.Background()
	const n = 10000
	go func() {
		for i := range n {
			client.Write(ctx, MessageBinary, bytes.Repeat([]byte{byte(i)}, i%700))
		}
	}()
	for i := range n {
		_, got, err := client.Read(ctx)
		if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, i%700)) {
			t.Fatalf("message %d: %d bytes, %v", i, len(got), err)
		}
	}
	client.Close(StatusNormalClosure, "")
	<-done
}

// A message in many small frames is collected in a number of steps that grows
// with the logarithm of its size.
func TestReadFragmentsGrowth(t *testing.T) {
	const frames = 1 << 14
	data := appendHeader(nil, header{headerBits: headerBits{opcode: opBinary}, length: 64})
	data = append(data, make([]byte, 64)...)
	for i := range frames {
		data = appendHeader(data, header{headerBits: headerBits{opcode: opContinuation, fin: i == frames-1}, length: 64})
		data = append(data, make([]byte, 64)...)
	}
	c := newConn(connConfig{transport: &loopConn{data: data}, client: true, readLimit: -1})
	grown := 0
	var last *byte
	if err := c.beginRead(context.Background()); err != nil {
		t.Fatal(err)
	}
	var dst []byte
	for {
		if c.r.remain == 0 {
			if c.r.opcode != opContinuation && c.r.fin {
				break
			}
			if err := c.nextFrame(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if len(dst) == cap(dst) {
			dst = c.r.grow(dst, false)
		}
		n, err := c.readPayload(context.Background(), dst[len(dst):cap(dst)])
		if err != nil {
			t.Fatal(err)
		}
		dst = dst[:len(dst)+n]
		if &dst[0] != last {
			last = &dst[0]
			grown++
		}
	}
	if len(dst) != 64*(frames+1) || grown > 20 {
		t.Errorf("%d bytes, moved %d times", len(dst), grown)
	}
}

// shortConnections is how many connections each of these tests makes.
var shortConnections = func() int {
	if raceEnabled {
		return 1000
	}
	return 3000
}()

// Thousands of short connections, many at a time. Each makes its handshake,
// then sends and receives a few messages, some with a context that ends at any
// moment. Each is closed by one side, or by both at once, or just dropped.
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

// The same in a bubble, where the order of things depends on little but the
// seed.
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

// stalledPair returns a pair whose transport towards the peer is full, with
// exactly one message, "full".
func stalledPair(t *testing.T, client bool, cfg connConfig) *pair {
	t.Helper()
	room := (&pair{client: client}).frameSize(len("full"))
	p := newPair(t, client, cfg, netfake.Options{A: netfake.End{Buffer: room}})
	if err := p.c.Write(context.Background(), MessageText, []byte("full")); err != nil {
		t.Fatal(err)
	}
	return p
}

// writeFragment writes fragmentSize+1 bytes to w, which sends all but the last,
// in a frame that is not too long to gather.
func writeFragment(w io.Writer) error {
	_, err := io.WriteString(w, "a")
	if err == nil {
		_, err = io.WriteString(w, strings.Repeat("a", fragmentSize))
	}
	return err
}

// A write that is given up restores the state before it, but not the state of
// the writers that have gone on meanwhile. A message that was begun behind it
// goes on with continuation frames. A message that was finished behind it is
// not continued.
func TestGivenUpWriteLeavesFragmentsAlone(t *testing.T) {
	giveUp := map[string]func(c *Conn, ctx context.Context) error{
		"short": func(c *Conn, ctx context.Context) error { return c.Write(ctx, MessageText, []byte("given up")) },
		"long":  func(c *Conn, ctx context.Context) error { return c.Write(ctx, MessageText, make([]byte, 50_000)) },
		"ping":  func(c *Conn, ctx context.Context) error { return c.Ping(ctx) },
	}
	for name, write := range giveUp {
		t.Run(name+"/before a message", func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := stalledPair(t, client, connConfig{})
				ctx, cancel := context.WithCancel(context.Background())
				given := start(func() error { return write(p.c, ctx) })
				running(given)
				w, err := p.c.Writer(context.Background(), MessageText)
				if err != nil {
					t.Fatal(err)
				}
				if err := writeFragment(w); err != nil {
					t.Fatal(err)
				}
				cancel()
				if err := <-given; !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				done := start(w.Close)
				p.WantFrame(wstest.Text, "full")
				p.WantMessage(wstest.Text, strings.Repeat("a", fragmentSize+1))
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
	t.Run("ping/inside a message", func(t *testing.T) {
		bothRoles(t, func(t *testing.T, client bool) {
			p := stalledPair(t, client, connConfig{})
			p.WantFrame(wstest.Text, "full")
			w, err := p.c.Writer(context.Background(), MessageText)
			if err != nil {
				t.Fatal(err)
			}
			begun := start(func() error { return writeFragment(w) })
			if f := p.ReadFrame(); f.Fin || f.Op != wstest.Text || <-begun != nil {
				t.Fatalf("got %v", f)
			}
			p.c.t.conn.Write(make([]byte, p.frameSize(len("full")))) // the transport is full again
			ctx, cancel := context.WithCancel(context.Background())
			given := start(func() error { return p.c.Ping(ctx) })
			running(given)
			if err := w.Close(); err != nil { // gathers
				t.Fatal(err)
			}
			cancel()
			<-given
			next := start(func() error { return p.c.Write(context.Background(), MessageText, []byte("next")) })
			io.ReadFull(p.theirs, make([]byte, p.frameSize(len("full"))))
			if f := p.ReadFrame(); f.Op != wstest.Continuation || !f.Fin {
				t.Fatalf("got %v", f)
			}
			p.WantFrame(wstest.Text, "next")
			if err := <-next; err != nil {
				t.Error(err)
			}
		})
	})
}

// What others left to a writer that waits for the wire goes out though that
// writer must then wait for another's message.
func TestGatheredGoesOutWhenItsWriterMustWait(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := stalledPair(t, client, connConfig{})
		one := start(func() error { return p.c.Write(context.Background(), MessageText, []byte("one")) })
		running(one)
		long := start(func() error { return p.c.Write(context.Background(), MessageText, make([]byte, gatherMax+1)) })
		running(long)
		if err := p.c.Write(context.Background(), MessageText, []byte("two")); err != nil {
			t.Fatal(err)
		}
		w, err := p.c.Writer(context.Background(), MessageText)
		if err != nil {
			t.Fatal(err)
		}
		p.WantFrame(wstest.Text, "full")
		p.WantFrame(wstest.Text, "one")
		p.WantFrame(wstest.Text, "two")
		if !running(long) {
			t.Fatal("a message goes out while another is not finished")
		}
		closed := start(w.Close)
		p.WantFrame(wstest.Text, "")
		p.WantFrame(wstest.Text, string(make([]byte, gatherMax+1)))
		<-closed
	})
}

// Pings are answered however small the buffer is.
func TestPongWithSmallBuffer(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{writeBufferLimit: 1}, netfake.Options{})
		read := start(p.readError)
		for i := range 3 {
			payload := strings.Repeat("p", 60*i)
			p.WriteFrame(wstest.Ping, payload)
			p.WantFrame(wstest.Pong, payload)
		}
		p.c.CloseNow()
		<-read
	})
}

// CloseNow, and the end of the transport, cut a Close short that waits for a
// write in progress.
func TestCloseBehindStalledWriteIsCutShort(t *testing.T) {
	for _, size := range []int{10, 100_000} {
		for name, end := range map[string]func(p *pair){
			"CloseNow": func(p *pair) { p.c.CloseNow() },
			"reset":    func(p *pair) { p.theirs.Reset() },
			"end":      func(p *pair) { p.theirs.Close() },
		} {
			t.Run(fmt.Sprintf("%s/%d", name, size), func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					p := stalledPair(t, client, connConfig{closeTimeout: time.Hour})
					write := start(func() error { return p.c.Write(context.Background(), MessageText, make([]byte, size)) })
					running(write)
					begin := time.Now()
					closed := start(func() error { return p.c.Close(StatusNormalClosure, "") })
					time.Sleep(time.Second)
					end(p)
					if err := <-closed; err == nil {
						t.Error("Close = nil")
					}
					if d := time.Since(begin); d != time.Second {
						t.Errorf("Close took %v", d)
					}
					if err := <-write; err == nil {
						t.Error("Write = nil")
					}
				})
			})
		}
	}
}

// The peer's close frame comes while ours is on its way: ours still goes out
// whole, and Close succeeds.
func TestCloseFramesCross(t *testing.T) {
	for _, reading := range []bool{false, true} {
		t.Run(fmt.Sprintf("reading %v", reading), func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := stalledPair(t, client, connConfig{})
				var read <-chan error
				if reading {
					read = start(p.readError)
					running(read)
				}
				closed := start(func() error { return p.c.Close(StatusGoingAway, "ours") })
				running(closed)
				p.WriteClose(1000, "theirs")
				if !running(closed) {
					t.Errorf("Close = %v, before its frame is out", <-closed)
				}
				p.WantFrame(wstest.Text, "full")
				if reason := p.WantClose(1001); reason != "ours" {
					t.Errorf("reason %q", reason)
				}
				if client {
					p.Close()
				} else {
					p.WantEOF()
				}
				if err := <-closed; err != nil {
					t.Errorf("Close = %v", err)
				}
				if reading {
					if err := <-read; !errors.Is(err, net.ErrClosed) {
						t.Errorf("Read = %v", err)
					}
				}
			})
		})
	}
}

// A deadline that has passed, of reads or of writes, does not keep Close from
// its handshake: its own timeout bounds it.
func TestCloseAfterDeadline(t *testing.T) {
	for name, set := range map[string]func(c *Conn, t time.Time) error{
		"read": (*Conn).SetReadDeadline, "write": (*Conn).SetWriteDeadline, "both": (*Conn).SetDeadline,
	} {
		for _, d := range []time.Duration{-time.Second, time.Second} {
			t.Run(fmt.Sprintf("%s/%v", name, d), func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					p := newPair(t, client, connConfig{}, netfake.Options{})
					set(p.c, time.Now().Add(d))
					closed := start(func() error { return p.c.Close(StatusNormalClosure, "") })
					time.Sleep(2 * time.Second)
					p.WantClose(1000)
					p.WriteClose(1000, "")
					if client {
						p.Close()
					}
					if err := <-closed; err != nil {
						t.Errorf("Close = %v", err)
					}
				})
			})
		}
	}
}

// What has gathered goes out when CloseNow is called, though the context of an
// earlier write has ended.
func TestCloseNowFlushesAfterEndedContext(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		ctx, cancel := context.WithCancel(context.Background())
		p.c.Write(ctx, MessageText, []byte("one"))
		cancel()
		synctest.Wait()
		p.c.w.mu.Lock()
		p.c.w.appendControlLocked(opPing, nil, true) // gathered, and no flusher on its way
		p.c.w.mu.Unlock()
		p.c.CloseNow()
		p.WantFrame(wstest.Text, "one")
		p.WantFrame(wstest.Ping, "")
	})
}

// A long message goes out behind however much has gathered.
func TestLongMessageBehindMuchGathered(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := stalledPair(t, client, connConfig{writeBufferLimit: -1})
		one := start(func() error { return p.c.Write(context.Background(), MessageText, []byte("one")) })
		running(one)
		long := start(func() error { return p.c.Write(context.Background(), MessageText, make([]byte, 300_000)) })
		running(long)
		small := strings.Repeat("s", 4000)
		for range 50 {
			if err := p.c.Write(context.Background(), MessageText, []byte(small)); err != nil {
				t.Fatal(err)
			}
		}
		p.WantFrame(wstest.Text, "full")
		p.WantFrame(wstest.Text, "one")
		for range 50 {
			p.WantFrame(wstest.Text, small)
		}
		p.WantFrame(wstest.Text, string(make([]byte, 300_000)))
	})
}

// Only the write that was cut short is told of its context or deadline. To all
// other calls the connection is over: an error that matched theirs would tell a
// reader that it may go on.
func TestCutWriteEndsOtherCalls(t *testing.T) {
	cut := map[string]func(c *Conn) error{
		"context": func(c *Conn) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return c.Write(ctx, MessageText, []byte("cut short"))
		},
		"deadline": func(c *Conn) error {
			c.SetWriteDeadline(time.Now().Add(time.Second))
			return c.Write(context.Background(), MessageText, []byte("cut short"))
		},
		"writer": func(c *Conn) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			w, err := c.Writer(ctx, MessageText)
			if err != nil {
				return err
			}
			w.Write(make([]byte, 10_000))
			return w.Close()
		},
	}
	for name, cut := range cut {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 9}})
				read := start(p.readError)
				if err := cut(p.c); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the write = %v", err)
				}
				for call, err := range map[string]error{
					"Read in progress": <-read,
					"Read":             p.readError(),
					"Write":            p.c.Write(context.Background(), MessageText, nil),
					"Ping":             p.c.Ping(context.Background()),
				} {
					if !errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("%s = %v, want an error that matches net.ErrClosed alone", call, err)
					}
				}
			})
		})
	}
}

// tlsPair is newPair over TLS, with buffers of n bytes once the handshake is
// done.
func tlsPair(t *testing.T, client bool, cfg connConfig, n int) (p *pair, fill func()) {
	t.Helper()
	p = &pair{client: client}
	p.ours, p.theirs = netfake.Pipe(netfake.Options{Buffer: n})
	ours := tls.Server(p.ours, &tls.Config{Certificates: []tls.Certificate{testCertificate()}, SessionTicketsDisabled: true})
	theirs := tls.Client(p.theirs, &tls.Config{InsecureSkipVerify: true})
	shaken := start(theirs.Handshake)
	if err := errors.Join(ours.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
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
	fill = func() {
		p.ours.SetWriteDeadline(time.Now().Add(time.Millisecond))
		p.ours.Write(make([]byte, n))
		p.ours.SetWriteDeadline(time.Time{})
	}
	return p, fill
}

// A transport that a cut write ruins, as crypto/tls is, must not be given a
// write whose time is over already.
func TestWriteAfterDeadlineTLS(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p, _ := tlsPair(t, client, connConfig{}, 1000)
		for _, size := range []int{1, 5000} {
			p.c.SetWriteDeadline(time.Now().Add(-time.Second))
			if err := p.c.Write(context.Background(), MessageText, make([]byte, size)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Write = %v", err)
			}
			p.c.SetWriteDeadline(time.Time{})
			done := start(func() error { return p.c.Write(context.Background(), MessageText, []byte("next")) })
			p.WantFrame(wstest.Text, "next")
			if err := <-done; err != nil {
				t.Errorf("the next Write = %v", err)
			}
		}
	})
}

// Replies gather only while the reader has messages at hand, not while it waits
// for the rest of what it has begun.
func TestWriteIsNotGatheredWhileReaderWaits(t *testing.T) {
	for name, begun := range map[string][]wstest.Frame{
		"pong":     frames(wstest.Final(wstest.Pong, "unsolicited")),
		"fragment": frames(first(wstest.Text, "a")),
	} {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 1}})
				p.WriteFrames(append(frames(text("one")), begun...)...)
				p.wantRead(t, MessageText, "one")
				read := start(p.readError)
				running(read)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if err := p.c.Write(ctx, MessageText, []byte("two")); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Write into a full transport = %v, want a deadline's error", err)
				}
				p.c.CloseNow()
				<-read
			})
		})
	}
}

// The reader of a message that a later call began to discard does not go on
// behind the gap.
func TestReaderAfterCancelledDiscard(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		p.WriteFrames(first(wstest.Text, "0123456789"))
		_, r, err := p.c.Reader(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, _, err := p.c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		p.WriteFrames(cont("the rest"), text("next"))
		if b, err := io.ReadAll(r); err == nil || len(b) > 0 {
			t.Errorf("a reader whose message was left returns %q, %v", b, err)
		}
		p.wantRead(t, MessageText, "next")
	})
}

// crypto/tls says goodbye when it is closed. A peer that takes nothing must not
// make Close and CloseNow wait for that.
func TestCloseStalledTLS(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		for name, end := range map[string]struct {
			f    func(c *Conn) error
			want time.Duration
		}{
			"Close":    {func(c *Conn) error { return c.Close(StatusNormalClosure, "") }, 5 * time.Second},
			"CloseNow": {(*Conn).CloseNow, 0},
		} {
			p, fill := tlsPair(t, client, connConfig{}, 1000)
			fill()
			begin := time.Now()
			end.f(p.c)
			if d := time.Since(begin); d > end.want+100*time.Millisecond {
				t.Errorf("%s took %v, want %v", name, d, end.want)
			}
		}
	})
}

// A write deadline that an earlier write has left behind is not one for pongs,
// nor for replies that gather.
func TestPongAfterWriteDeadline(t *testing.T) {
	check := func(t *testing.T, p *wstest.Peer, c *Conn) {
		read := start(func() error { _, _, err := c.Read(context.Background()); return err })
		for range 3 {
			c.SetWriteDeadline(time.Now().Add(-time.Second))
			p.WriteFrame(wstest.Ping, "p")
			p.WantFrame(wstest.Pong, "p")
		}
		for owned := true; owned; runtime.Gosched() { // a writer that has not left the wire yet would take the message along
			c.w.mu.Lock()
			owned = c.w.owned
			c.w.mu.Unlock()
		}
		c.SetWriteDeadline(time.Now().Add(-time.Second))
		if err := c.Write(context.Background(), MessageText, nil); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write = %v", err)
		}
		c.SetWriteDeadline(time.Time{})
		if err := c.Write(context.Background(), MessageText, nil); err != nil {
			t.Errorf("Write = %v", err)
		}
		p.WantFrame(wstest.Text, "")
		c.CloseNow()
		<-read
	}
	for _, link := range links {
		t.Run(link.name, func(t *testing.T) {
			ours, theirs := link.make(t)
			c := newConn(connConfig{transport: ours})
			defer c.CloseNow()
			check(t, wstest.NewPeer(t, theirs, wstest.Client), c)
		})
	}
}

// muteContext is done and does not say why, against the rules of
// context.Context.
type muteContext struct{ context.Context }

func (c muteContext) Err() error { return nil }

// No call takes a context that breaks the rules for success, or breaks down.
func TestMuteContext(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := stalledPair(t, client, connConfig{writeBufferLimit: 1})
		done, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, cancel)
		ctx := muteContext{done}
		read := start(p.readError)
		running(read)
		long := start(func() error { return p.c.Write(context.Background(), MessageText, make([]byte, 10_000)) })
		running(long)
		calls := map[string]<-chan error{
			"Read":       start(func() error { _, _, err := p.c.Read(ctx); return err }),
			"long Write": start(func() error { return p.c.Write(ctx, MessageText, make([]byte, 10_000)) }),
			"Ping":       start(func() error { return p.c.Ping(ctx) }),
		}
		for name, call := range calls {
			if err := <-call; !errors.Is(err, context.Canceled) {
				t.Errorf("%s = %v", name, err)
			}
		}
		p.c.CloseNow()
		<-read
		<-long
	})
}

// The state tells TLS, whichever transport is on top of it.
func TestConnectionStateTLS(t *testing.T) {
	states := make(chan ConnectionState, 1)
	s := httptest.NewUnstartedServer(Handler(func(c *Conn, r *http.Request) {
		states <- c.ConnectionState()
		serveEcho(c, r)
	}, nil))
	s.StartTLS()
	defer s.Close()
	for _, wrap := range []bool{false, true} {
		client := s.Client()
		if wrap {
			client = &http.Client{Transport: unknownTripper{client.Transport}}
		}
		c, _, err := Dial(t.Context(), s.URL, &DialOptions{HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range []ConnectionState{c.ConnectionState(), <-states} {
			if state.TLS == nil || state.TLS.Version < tls.VersionTLS12 || state.Proto != "HTTP/1.1" {
				t.Errorf("wrapped %v: got %+v", wrap, state)
			}
		}
		checkEcho(t, c)
	}
	near, _ := netfake.Pipe(netfake.Options{})
	c, _ := NewConn(near, &ConnOptions{Subprotocol: "x", Extensions: "permessage-deflate; client_max_window_bits=9; server_max_window_bits=15"})
	if got, want := c.ConnectionState(), (ConnectionState{Subprotocol: "x", Extensions: "permessage-deflate; client_max_window_bits=9"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	c.CloseNow()
}

// unknownTripper hides the connection from Dial.
type unknownTripper struct{ http.RoundTripper }

func (u unknownTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := u.RoundTripper.RoundTrip(r.WithContext(context.WithoutCancel(context.Background())))
	if err == nil {
		resp.Body = struct{ io.ReadWriteCloser }{resp.Body.(io.ReadWriteCloser)}
	}
	return resp, err
}

// A loopConn gives the same bytes over and over, and swallows what is written:
// what is measured is the library alone.
type loopConn struct {
	net.Conn
	data []byte
	at   int
}

func (l *loopConn) Read(p []byte) (int, error) {
	n := copy(p, l.data[l.at:])
	if l.at += n; l.at == len(l.data) {
		l.at = 0
	}
	return n, nil
}

func (l *loopConn) Write(p []byte) (int, error)        { return len(p), nil }
func (l *loopConn) Close() error                       { return nil }
func (l *loopConn) SetReadDeadline(t time.Time) error  { return nil }
func (l *loopConn) SetWriteDeadline(t time.Time) error { return nil }

// loopOf returns a loopConn that gives masked or unmasked frames of size bytes
// each.
func loopOf(op opcode, size int, masked bool) *loopConn {
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = "text that is ASCII "[i%19]
	}
	h := header{headerBits{fin: true, opcode: op, masked: masked}, 0x9c41a2f7, int64(size)}
	frame := appendHeader(nil, h)
	frame = append(frame, payload...)
	if masked {
		mask(frame[len(frame)-size:], h.key)
	}
	var data []byte
	for len(data) < 64<<10 || len(data) < 2*len(frame) {
		data = append(data, frame...)
	}
	return &loopConn{data: data}
}

var benchSizes = []int{128, 4 << 10, 64 << 10, 1 << 20}

func benchRead(b *testing.B, op opcode, read func(b *testing.B, c *Conn)) {
	for _, client := range []bool{false, true} {
		for _, size := range benchSizes {
			role := "server"
			if client {
				role = "client"
			}
			b.Run(fmt.Sprintf("%s/%d", role, size), func(b *testing.B) {
				c := newConn(connConfig{transport: loopOf(op, size, !client), client: client})
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				read(b, c)
			})
		}
	}
}

func BenchmarkReadInto(b *testing.B) {
	benchRead(b, opBinary, func(b *testing.B, c *Conn) {
		var buf []byte
		for b.Loop() {
			_, got, err := c.ReadInto(context.Background(), buf)
			if err != nil {
				b.Fatal(err)
			}
			buf = got
		}
	})
}

func BenchmarkMessages(b *testing.B) {
	for name, op := range map[string]opcode{"text": opText, "binary": opBinary} {
		b.Run(name, func(b *testing.B) {
			benchRead(b, op, func(b *testing.B, c *Conn) {
				for _, err := range c.Messages(context.Background()) {
					if err != nil {
						b.Fatal(err)
					}
					if !b.Loop() {
						break
					}
				}
			})
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, role := range []string{"server", "client"} {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("%s/%d", role, size), func(b *testing.B) {
				c := newConn(connConfig{transport: &loopConn{}, client: role == "client"})
				msg := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if err := c.Write(context.Background(), MessageBinary, msg); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// Replies gather while messages are at hand: this is what one of a burst costs.
func BenchmarkEcho(b *testing.B) {
	for _, size := range benchSizes[:2] {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c := newConn(connConfig{transport: loopOf(opBinary, size, true)})
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for m, err := range c.Messages(context.Background()) {
				if err == nil {
					err = c.Write(context.Background(), m.Type, m.Data)
				}
				if err != nil {
					b.Fatal(err)
				}
				if !b.Loop() {
					break
				}
			}
		})
	}
}

// A replay is a transport that gives the same bytes for ever and takes all that
// is written. It allocates nothing.
type replay struct {
	stream []byte
	pos    int
	most   int // bytes a Read returns; 0: no bound
}

func (r *replay) Read(p []byte) (int, error) {
	if r.most > 0 && len(p) > r.most {
		p = p[:r.most]
	}
	n := copy(p, r.stream[r.pos:])
	r.pos = (r.pos + n) % len(r.stream)
	return n, nil
}
func (r *replay) Write(p []byte) (int, error)      { return len(p), nil }
func (r *replay) Close() error                     { return nil }
func (r *replay) LocalAddr() net.Addr              { return nil }
func (r *replay) RemoteAddr() net.Addr             { return nil }
func (r *replay) SetDeadline(time.Time) error      { return nil }
func (r *replay) SetReadDeadline(time.Time) error  { return nil }
func (r *replay) SetWriteDeadline(time.Time) error { return nil }

// Reading and writing messages allocates nothing, with a context that cannot
// end and with one that can and is used again.
func TestAllocs(t *testing.T) {
	if raceEnabled || poison.On {
		t.Skip("pools forget under the race detector, and note who takes what where they are poisoned")
	}
	cancellable, cancel := context.WithCancel(context.Background())
	defer cancel()
	timed, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	contexts := []struct {
		name string
		ctx  context.Context
	}{{"background", context.Background()}, {"cancellable", cancellable}, {"timed", timed}}

	for _, client := range []bool{false, true} {
		role, sender := "server", wstest.Client
		if client {
			role, sender = "client", wstest.Server
		}
		for _, size := range []int{0, 10, 100, 1000, 10_000, 100_000} {
			msg := make([]byte, size)
			whole := wstest.Encode(sender, binaryF(string(msg)))
			fragmented := wstest.Encode(sender, first(wstest.Text, string(msg[:size/2])), cont(string(msg[size/2:])))
			pinged := append(wstest.Encode(sender, ping("ping")), whole...)
			streams := map[string][]byte{"whole": whole, "fragmented": fragmented, "pinged": pinged}
			for _, context := range contexts {
				ctx := context.ctx
				count := func(name string, c *Conn, f func() error) {
					t.Helper()
					for range 20 { // let pools and buffers find their size
						if err := f(); err != nil {
							t.Fatal(err)
						}
					}
					var err error
					got := testing.AllocsPerRun(200, func() {
						if e := f(); e != nil {
							err = e
						}
					})
					if err != nil {
						t.Fatal(err)
					}
					if got != 0 {
						t.Errorf("%s of %d bytes, %s, %s context: %v allocations a message", name, size, role, context.name, got)
					}
					c.CloseNow()
				}
				for name, stream := range streams {
					c := newConn(connConfig{transport: &replay{stream: stream}, client: client})
					buf := make([]byte, size)
					count("ReadInto, "+name, c, func() error {
						_, b, err := c.ReadInto(ctx, buf)
						if err == nil && len(b) != size {
							err = fmt.Errorf("read %d bytes", len(b))
						}
						return err
					})
				}
				c := newConn(connConfig{transport: &replay{stream: whole, most: 1000}, client: client})
				buf := make([]byte, size)
				count("ReadInto in pieces", c, func() error { _, _, err := c.ReadInto(ctx, buf); return err })

				// One range is one call: count over its steps, less what
				// beginning it takes.
				steps := func(n int) float64 {
					c := newConn(connConfig{transport: &replay{stream: whole}, client: client})
					defer c.CloseNow()
					run := func() {
						i := 0
						for m, err := range c.Messages(ctx) {
							if err != nil || len(m.Data) != size {
								t.Fatal(err, len(m.Data))
							}
							if i++; i == n {
								break
							}
						}
					}
					run()
					return testing.AllocsPerRun(20, run)
				}
				if one, many := steps(1), steps(101); many > one {
					t.Errorf("Messages of %d bytes, %s, %s context: %v allocations for 100 messages", size, role, context.name, many-one)
				}

				c = newConn(connConfig{transport: &replay{stream: whole}, client: client})
				count("Write", c, func() error { return c.Write(ctx, MessageBinary, msg) })
				pm, err := NewPreparedMessage(MessageBinary, msg)
				if err != nil {
					t.Fatal(err)
				}
				c = newConn(connConfig{transport: &replay{stream: whole}, client: client})
				count("WritePrepared", c, func() error { return c.WritePrepared(ctx, pm) })

				c = newConn(connConfig{transport: &replay{stream: whole}, client: client})
				buf = make([]byte, size)
				count("echo", c, func() error {
					typ, b, err := c.ReadInto(ctx, buf)
					if err != nil {
						return err
					}
					return c.Write(ctx, typ, b)
				})
			}
		}
	}
}

// secretBytes returns n bytes of which each 8 say that they are secret.
func secretBytes(n int) []byte { return bytes.Repeat([]byte("#SECRET#"), n/8+1)[:n] }

// isSecret reports whether p has any piece of secretBytes in it.
func isSecret(p []byte) bool {
	return bytes.Contains(p, []byte("SEC")) || bytes.Contains(p, []byte("RET")) || bytes.Contains(p, []byte("#S"))
}

// A bystander is a connection whose peer looks at all that comes, in the
// messages and on the wire.
type bystander struct {
	t      *testing.T
	c      *Conn
	peer   *Conn
	theirs *tapConn
}

// A tapConn keeps what it was given to write.
type tapConn struct {
	*netfake.Conn
	written bytes.Buffer // owner: the owner of the wire
}

func (c *tapConn) Write(p []byte) (int, error) {
	c.written.Write(p)
	return c.Conn.Write(p)
}

// newBystander makes one. Its server does not mask, so that the wire shows what
// is on it.
func newBystander(t *testing.T, deflate *deflateParams) *bystander {
	a, b := netfake.Pipe(netfake.Options{Buffer: 1 << 20})
	tap := &tapConn{Conn: a}
	return &bystander{
		t: t, theirs: tap,
		c:    newConn(connConfig{transport: tap, deflate: deflate}),
		peer: newConn(connConfig{transport: b, client: true, deflate: deflate}),
	}
}

// look sends messages of all sizes and in every way. It checks that they are as
// they were sent, byte for byte, and that nothing else is on the wire.
func (b *bystander) look(when string) {
	b.t.Helper()
	ctx := context.Background()
	var buf []byte
	for _, size := range []int{0, 1, 200, 4096, 5000, 40_000, 140_000} {
		msg := bytes.Repeat([]byte("public, "), size/8+1)[:size]
		for _, how := range []string{"whole", "stream"} {
			var err error
			if how == "whole" {
				err = b.c.Write(ctx, MessageText, msg)
			} else {
				var w io.WriteCloser
				if w, err = b.c.Writer(ctx, MessageText); err == nil {
					_, werr := w.Write(msg)
					err = errors.Join(werr, w.Close())
				}
			}
			if err != nil {
				b.t.Fatalf("%s: the bystander's write: %v", when, err)
			}
			var got []byte
			if how == "whole" {
				if _, buf, err = b.peer.ReadInto(ctx, buf); err == nil {
					got = buf
				}
			} else {
				for m, merr := range b.peer.Messages(ctx) {
					got, err = bytes.Clone(m.Data), merr
					break
				}
			}
			if err != nil || !bytes.Equal(got, msg) {
				b.t.Fatalf("%s: the bystander's peer got %d bytes %.60q of %d, %v", when, len(got), got, size, err)
			}
		}
	}
	if wire := b.theirs.written.Bytes(); isSecret(wire) {
		at := bytes.IndexByte(wire, '#')
		b.t.Fatalf("%s: a secret on the bystander's wire: %.60q", when, wire[max(at, 0):])
	}
	b.theirs.written.Reset()
}

func (b *bystander) end() {
	b.c.CloseNow()
	b.peer.CloseNow()
}

// No byte of one connection ever shows in another. One sends and receives
// secrets in every way, whole, in pieces, compressed, lent by Messages, and
// fails in the middle. Another, which shares its pools, never gets to see any
// of them. Where the pools are poisoned what is given back is the first to be
// handed out again.
func TestPooledBuffersBetweenConnections(t *testing.T) {
	ctx := context.Background()
	ways := []struct {
		name string
		do   func(t *testing.T, c, peer *Conn, msg []byte)
	}{
		{"whole", func(t *testing.T, c, peer *Conn, msg []byte) {
			c.Write(ctx, MessageText, msg)
			peer.Read(ctx)
		}},
		{"stream", func(t *testing.T, c, peer *Conn, msg []byte) {
			w, _ := c.Writer(ctx, MessageText)
			w.Write(msg)
			w.Close()
			_, r, _ := peer.Reader(ctx)
			io.Copy(io.Discard, r)
		}},
		{"lent", func(t *testing.T, c, peer *Conn, msg []byte) {
			c.Write(ctx, MessageText, msg)
			c.Write(ctx, MessageText, msg)
			n := 0
			for m, err := range peer.Messages(ctx) {
				if err != nil || !bytes.Equal(m.Data, msg) {
					t.Errorf("Messages: %d bytes, %v", len(m.Data), err)
				}
				if n++; n == 2 {
					break
				}
				peer.Write(ctx, MessageText, m.Data)
				if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, msg) || !bytes.Equal(m.Data, msg) {
					t.Errorf("echo of what is lent: %d bytes, %v", len(got), err)
				}
			}
		}},
		{"prepared", func(t *testing.T, c, peer *Conn, msg []byte) {
			m, _ := NewPreparedMessage(MessageText, msg)
			c.WritePrepared(ctx, m, m)
			peer.Read(ctx)
			peer.Read(ctx)
		}},
		{"half read", func(t *testing.T, c, peer *Conn, msg []byte) {
			c.Write(ctx, MessageText, msg)
			_, r, _ := peer.Reader(ctx)
			io.ReadFull(r, make([]byte, len(msg)/2))
			peer.CloseNow()
			c.CloseNow()
		}},
		{"read cut short", func(t *testing.T, c, peer *Conn, msg []byte) {
			w, _ := c.Writer(ctx, MessageText)
			w.Write(msg)
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if _, _, err := peer.Read(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("read of half a message: %v", err)
			}
			w.Close()
			if _, got, err := peer.Read(ctx); err != nil || !bytes.Equal(got, msg) {
				t.Errorf("the rest: %d bytes, %v", len(got), err)
			}
		}},
		{"write cut short", func(t *testing.T, c, peer *Conn, msg []byte) {
			c.SetWriteDeadline(time.Now().Add(time.Second))
			for range 100 {
				if err := c.Write(ctx, MessageText, msg); err != nil {
					if !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("write past a deadline: %v", err)
					}
					return
				}
			}
		}},
		{"stream cut short", func(t *testing.T, c, peer *Conn, msg []byte) {
			w, _ := c.Writer(ctx, MessageText)
			w.Write(msg)
			c.CloseNow()
			w.Close()
		}},
	}
	params := deflateParams{serverBits: 15, clientBits: 15}
	alone := deflateParams{serverBits: 15, clientBits: 15, serverNoTakeover: true, clientNoTakeover: true}
	for _, deflate := range []*deflateParams{nil, &params, &alone} {
		for _, way := range ways {
			for _, size := range []int{1, 100, 4000, 5000, 40_000, 200_000} {
				t.Run(fmt.Sprintf("%v/%s/%d", deflate, way.name, size), func(t *testing.T) {
					bothRoles(t, func(t *testing.T, client bool) {
						defer buffersReturn(t)()
						b := newBystander(t, deflate)
						defer b.end()
						ours, theirs := netfake.Pipe(netfake.Options{Buffer: 1 << 20})
						c := newConn(connConfig{transport: ours, client: client, deflate: deflate})
						peer := newConn(connConfig{transport: theirs, client: !client, deflate: deflate})
						defer peer.CloseNow()
						defer c.CloseNow()
						way.do(t, c, peer, secretBytes(size))
						b.look("while the other lives")
						c.CloseNow()
						peer.CloseNow()
						b.look("when the other has ended")
					})
				})
			}
		}
	}
}
