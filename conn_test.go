package websocket

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"reflect"
	"strconv"
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

// Each of these objects is of an idle connection. A larger one would take the
// next size of the allocator. Beyond 512 bytes that has a header of 8, too.
func TestConnFitsItsSize(t *testing.T) {
	for _, tt := range []struct {
		of   reflect.Type
		most uintptr
	}{
		{reflect.TypeFor[Conn](), 512},
		{reflect.TypeFor[eventConn](), 144},
	} {
		if size := tt.of.Size(); size > tt.most {
			t.Errorf("a %v has %d bytes, want at most %d", tt.of, size, tt.most)
		}
	}
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
				l := &pipeListener{Conns: make(chan net.Conn), Closed: make(chan struct{})}
				dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
					near, far := netfake.Pipe(netfake.Options{Buffer: 1 << (4 + seed)})
					select {
					case l.Conns <- far:
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
	if handler.live.n != 0 || handler.live.openLocked() != 0 {
		t.Errorf("the server has %d connections left, of which it knows %d", handler.live.n, handler.live.openLocked())
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

// Bytes that came in behind the handshake come first, wherever the cut falls.
func TestReceivedWithHandshake(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		sender := wstest.Client
		if client {
			sender = wstest.Server
		}
		long := strings.Repeat("long ", 4000)
		stream := wstest.Encode(sender, text("first"), ping("p"), binaryF(long), text("last"))
		for _, cut := range []int{0, 1, 2, 5, 11, 12, 20, 30, 100, 5000, len(stream) - 3, len(stream)} {
			received := append([]byte(nil), stream[:cut]...)
			p := newPair(t, client, connConfig{received: received}, netfake.Options{})
			clear(received) // newConn copies
			p.WriteRaw(stream[cut:])
			p.wantRead(t, MessageText, "first")
			p.wantRead(t, MessageBinary, long)
			p.wantRead(t, MessageText, "last")
			p.WantFrame(wstest.Pong, "p")
		}
	})
}

var (
	stressSeeds = flag.Int("stress.seeds", 0, "how many seeds TestStress runs; 0: a few")
	stressFirst = flag.Uint64("stress.first", 1, "the first seed of TestStress")
)

// TestStress lets two Conns talk over transports of all kinds of buffers. On
// each side goroutines write and read in every way that there is, with contexts
// and deadlines that end at any moment. Each message whose write succeeded must
// arrive once, whole, and in its writer's order. None whose write was given up
// may arrive. Nothing may be stranded, and at the end nothing may hang. In some
// runs the connection is ended in the middle.
func TestStress(t *testing.T) {
	seeds := *stressSeeds
	if seeds == 0 {
		seeds = 150
		if raceEnabled || testing.Short() {
			seeds = 30
		}
	}
	for seed := *stressFirst; seed < *stressFirst+uint64(seeds); seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 1))
				end := func() netfake.End {
					return netfake.End{Buffer: pick(rng, 1, 20, 137, 1000, 5000, 70_000, 1<<20), ReadMax: pick(rng, 0, 0, 1, 17, 300)}
				}
				opts := netfake.Options{A: end(), B: end()}
				a, b := netfake.Pipe(opts)
				s := newStress(t, rng, a, b, time.Hour)
				if opts.A.Buffer < 100 || opts.B.Buffer < 100 || opts.A.ReadMax == 1 || opts.B.ReadMax == 1 {
					// Each few bytes take a change of goroutines: not too many.
					s.plans[0].sizes, s.plans[1].sizes = []int{40, 200, 4200}, []int{40, 200}
				}
				s.run()
			})
		})
	}
}

// TestStressSockets is TestStress over sockets and over TLS, in real time.
func TestStressSockets(t *testing.T) {
	for _, link := range links {
		if link.bubble {
			continue
		}
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s/%d", link.name, seed), func(t *testing.T) {
				t.Parallel()
				a, b := link.make(t)
				newStress(t, rand.New(rand.NewPCG(seed, 2)), a, b, time.Minute).run()
			})
		}
	}
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// A stress is one run.
type stress struct {
	t     *testing.T
	conns [2]*Conn
	plans [2]stressPlan
	limit time.Duration // until everything must have arrived

	cancels bool // calls are cancelled
	chaos   bool // the connection ends in the middle

	shared context.Context // that of many calls; it ends at the end

	mu       sync.Mutex
	writers  map[[2]int]*stressWriter // by side and number
	arrived  chan struct{}            // gets a token when something has arrived
	forgiven [2]int                   // messages that a reader of this side left before it knew which they were
}

// stressPlan is what one side does.
type stressPlan struct {
	seed              uint64
	writers, messages int
	readers, pingers  int
	sizes             []int
}

// stressWriter knows what became of one writer's messages.
type stressWriter struct {
	sent     map[int]bool // true: acknowledged; false: given up
	received map[int]bool
	last     int
}

func newStress(t *testing.T, rng *rand.Rand, a, b net.Conn, limit time.Duration) *stress {
	s := &stress{t: t, limit: limit, writers: make(map[[2]int]*stressWriter), arrived: make(chan struct{}, 1)}
	s.cancels = rng.IntN(2) == 0
	s.chaos = rng.IntN(4) == 0
	deflate := pick(rng, nil, nil, &withTakeover, &alone, &deflateParams{serverBits: 9, clientBits: 10})
	for side, transport := range []net.Conn{a, b} {
		s.conns[side] = newConn(connConfig{
			transport:        transport,
			client:           side == 1,
			deflate:          deflate,
			writeBufferLimit: pick(rng, 0, 0, -1, 1, 100, 5000),
			closeTimeout:     s.limit,
		})
		s.plans[side] = stressPlan{
			seed:     rng.Uint64(),
			writers:  rng.IntN(5),
			messages: 1 + rng.IntN(30),
			readers:  pick(rng, 1, 1, 3),
			pingers:  rng.IntN(3),
			sizes:    [][]int{{40}, {40, 200}, {40, 200, 5000}, {40, 4090, 4100, 30_000, 200_000}}[rng.IntN(4)],
		}
	}
	return s
}

func (s *stress) run() {
	var writers, readers, pingers sync.WaitGroup
	pinging, stopPings := context.WithTimeout(context.Background(), 2*s.limit)
	defer stopPings()
	s.shared = pinging
	for side := range s.conns {
		plan := s.plans[side]
		for i := range plan.writers {
			rng := rand.New(rand.NewPCG(plan.seed, uint64(i)))
			writers.Go(func() { s.write(rng, side, i) })
		}
		for i := range plan.readers {
			rng := rand.New(rand.NewPCG(plan.seed, 100+uint64(i)))
			readers.Go(func() { s.read(rng, side) })
		}
		for i := range plan.pingers {
			rng := rand.New(rand.NewPCG(plan.seed, 200+uint64(i)))
			pingers.Go(func() { s.ping(pinging, rng, side) })
		}
	}
	rng := rand.New(rand.NewPCG(s.plans[0].seed, 300))
	if s.chaos {
		time.Sleep(time.Duration(rng.IntN(20_000)) * time.Microsecond)
	} else {
		writers.Wait()
		s.waitForAll()
	}
	var ends sync.WaitGroup
	closing := [2]bool{}
	closeErrs := make(chan error, 3)
	for range 1 + rng.IntN(3) {
		side := rng.IntN(2)
		closing[side] = true
		c := s.conns[side]
		now := s.chaos && rng.IntN(2) == 0
		ends.Go(func() {
			if now {
				c.CloseNow()
			} else if err := c.Close(StatusNormalClosure, "bye"); err != nil && !s.chaos && !s.over() && !errors.Is(err, net.ErrClosed) {
				closeErrs <- err
			}
		})
	}
	ends.Wait()
	close(closeErrs)
	for err := range closeErrs {
		// Two that close at once, each with more to write than the other takes,
		// wait for each other in vain.
		if !(closing[0] && closing[1] && errors.Is(err, context.DeadlineExceeded)) {
			s.t.Errorf("Close = %v", err)
		}
	}
	readers.Wait()
	writers.Wait()
	stopPings()
	pingers.Wait()
	for _, c := range s.conns {
		c.CloseNow()
	}
	s.judge()
}

// over reports whether a side ended for another reason than an orderly end: a
// write that was cut short.
func (s *stress) over() bool {
	for _, c := range s.conns {
		if err := c.life.reason(); err != nil && !isClose(err) && !errors.Is(err, io.EOF) {
			return true
		}
	}
	return false
}

// waitForAll waits until everything that was acknowledged has arrived, unless
// the connection breaks.
func (s *stress) waitForAll() {
	timeout := time.NewTimer(s.limit)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		missing := s.missingLocked()
		s.mu.Unlock()
		if missing == "" || s.conns[0].life.reason() != nil || s.conns[1].life.reason() != nil {
			return
		}
		select {
		case <-s.arrived:
		case <-time.After(time.Millisecond):
		case <-timeout.C:
			s.t.Errorf("stranded: %s", missing)
			return
		}
	}
}

// missingLocked names a message that was acknowledged and has not
// arrived.
func (s *stress) missingLocked() string {
	missing, forgiven := "", s.forgiven
	for id, w := range s.writers {
		for seq, acknowledged := range w.sent {
			if acknowledged && !w.received[seq] {
				if forgiven[1-id[0]]--; forgiven[1-id[0]] < 0 {
					missing = fmt.Sprintf("message %d of writer %v", seq, id)
				}
			}
		}
	}
	return missing
}

// judge looks at what has arrived when all is over.
func (s *stress) judge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if missing := s.missingLocked(); missing != "" && !s.chaos && !s.over() {
		s.t.Errorf("lost: %s", missing)
	}
	for id, w := range s.writers {
		for seq := range w.received {
			if acknowledged, known := w.sent[seq]; known && !acknowledged {
				s.t.Errorf("message %d of writer %v arrived, whose write was given up", seq, id)
			}
			for earlier := range seq {
				if w.sent[earlier] && !w.received[earlier] && s.plans[1-id[0]].readers == 1 && s.forgiven[1-id[0]] == 0 {
					s.t.Errorf("message %d of writer %v arrived, %d before it did not", seq, id, earlier)
				}
			}
		}
	}
}

func (s *stress) writer(side, i int) *stressWriter {
	w := s.writers[[2]int{side, i}]
	if w == nil {
		w = &stressWriter{sent: make(map[int]bool), received: make(map[int]bool), last: -1}
		s.writers[[2]int{side, i}] = w
	}
	return w
}

const stressHead = 24

func stressMessage(side, writer, seq, size int) []byte {
	b := fmt.Appendf(nil, "%02d %02d %06d %08d |", side, writer, seq, size)
	for len(b) < size {
		b = append(b, 'a'+byte((writer+seq+len(b)/7)%26))
	}
	return b
}

// receive takes note of a message that has arrived at side, whole or in part.
func (s *stress) receive(side int, typ MessageType, data []byte, whole bool) {
	var from, i, seq, size int
	if _, err := fmt.Sscanf(string(data[:min(len(data), stressHead)]), "%d %d %d %d |", &from, &i, &seq, &size); err != nil {
		s.t.Errorf("side %d: a message begins with %q", side, data[:min(len(data), stressHead)])
		return
	}
	want := stressMessage(from, i, seq, size)
	if from != 1-side || whole && len(data) != size || string(data) != string(want[:len(data)]) || typ != MessageType(1+seq%2) {
		s.t.Errorf("side %d: message %d of writer %d: %d bytes of %d, type %v, not as sent", side, seq, i, len(data), size, typ)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.writer(from, i)
	if w.received[seq] {
		s.t.Errorf("side %d: message %d of writer %d arrives twice", side, seq, i)
	}
	if s.plans[side].readers == 1 && seq <= w.last {
		s.t.Errorf("side %d: message %d of writer %d arrives behind %d", side, seq, i, w.last)
	}
	w.last = seq
	w.received[seq] = true
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// context returns a context for one call.
func (s *stress) context(rng *rand.Rand) (context.Context, context.CancelFunc) {
	if !s.cancels || rng.IntN(3) == 0 {
		return context.Background(), func() {}
	}
	switch rng.IntN(4) {
	case 0:
		return context.WithTimeout(context.Background(), time.Duration(rng.IntN(2000))*time.Microsecond)
	case 1:
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		time.AfterFunc(time.Duration(rng.IntN(3000))*time.Microsecond, cancel) // at a moment of its own, perhaps after the call
		return ctx, func() {}
	case 2:
		return s.shared, func() {}
	}
	return context.WithCancel(context.Background())
}

func isGivenUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// checkQueued checks the bound of what waits for the transport:
// WriteBufferLimit, or one message that is longer, and a few control frames.
func (s *stress) checkQueued(c *Conn) {
	limit := int(c.w.limit)
	if limit < 0 {
		return
	}
	most := max(limit, gatherMax+maxHeaderSize) + 4*(maxControlPayload+maxHeaderSize)
	if n := c.queued(); n > most {
		s.t.Errorf("%d bytes wait, the bound is %d", n, most)
	}
}

// write sends the messages of one writer.
func (s *stress) write(rng *rand.Rand, side, i int) {
	c, plan := s.conns[side], s.plans[side]
	for seq := range plan.messages {
		msg := stressMessage(side, i, seq, pick(rng, plan.sizes...))
		typ := MessageType(1 + seq%2)
		ctx, cancel := s.context(rng)
		if s.cancels && rng.IntN(20) == 0 {
			c.SetWriteDeadline(time.Now().Add(time.Duration(rng.IntN(2000)-100) * time.Microsecond))
			time.AfterFunc(3*time.Millisecond, func() { c.SetWriteDeadline(time.Time{}) })
		}
		var err error
		switch rng.IntN(6) {
		case 0:
			var w io.WriteCloser
			if w, err = c.Writer(ctx, typ); err == nil {
				for rest := msg; len(rest) > 0 && err == nil; {
					n := min(len(rest), 1+rng.IntN(9000))
					_, err = w.Write(rest[:n])
					rest = rest[n:]
					if rng.IntN(8) == 0 {
						time.Sleep(time.Duration(rng.IntN(1000)) * time.Microsecond)
					}
				}
				if err2 := w.Close(); err == nil {
					err = err2
				}
			}
		case 1:
			var m *PreparedMessage
			if m, err = NewPreparedMessage(typ, msg); err == nil {
				err = c.WritePrepared(ctx, m)
			}
		default:
			err = c.Write(ctx, typ, msg)
			clear(msg) // it is ours again
		}
		cancel()
		s.checkQueued(c)
		if err == nil || isGivenUp(err) && c.life.reason() == nil && c.w.stopped() == nil {
			s.mu.Lock()
			s.writer(side, i).sent[seq] = err == nil
			s.mu.Unlock()
			continue
		}
		if c.life.reason() == nil && c.w.stopped() == nil {
			s.t.Errorf("Write = %v on a connection that lives", err)
		}
		return
	}
}

// ping pings until ctx ends.
func (s *stress) ping(ctx context.Context, rng *rand.Rand, side int) {
	c := s.conns[side]
	for ctx.Err() == nil {
		err := c.Ping(ctx)
		if err == nil {
			time.Sleep(time.Duration(rng.IntN(5000)) * time.Microsecond)
			continue
		}
		if c.life.reason() == nil && c.w.stopped() == nil && !isGivenUp(err) {
			s.t.Errorf("Ping = %v on a connection that lives", err)
		}
		if c.life.reason() != nil || c.w.stopped() != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// read receives messages in every way until the connection is over.
func (s *stress) read(rng *rand.Rand, side int) {
	c, plan := s.conns[side], s.plans[side]
	var buf []byte
	for {
		if s.cancels && rng.IntN(10) == 0 {
			c.SetReadDeadline(time.Now().Add(time.Duration(rng.IntN(2000)-100) * time.Microsecond))
			time.AfterFunc(3*time.Millisecond, func() { c.SetReadDeadline(time.Time{}) })
		}
		ctx, cancel := s.context(rng)
		var typ MessageType
		var data []byte
		var err error
		how := rng.IntN(5)
		if plan.readers > 1 && how == 3 {
			how = 0 // what one goroutine begins with Reader another discards
		}
		switch how {
		case 0:
			if typ, data, err = c.Read(ctx); err == nil {
				s.receive(side, typ, data, true)
			}
		case 1:
			if typ, buf, err = c.ReadInto(ctx, buf); err == nil {
				s.receive(side, typ, buf, true)
			}
		case 2:
			left := 1 + rng.IntN(10)
			for m, merr := range c.Messages(ctx) {
				if err = merr; err != nil {
					break
				}
				s.receive(side, m.Type, m.Data, true)
				clear(m.Data) // it may be changed
				if rng.IntN(4) == 0 {
					time.Sleep(time.Duration(rng.IntN(300)) * time.Microsecond)
				}
				if rng.IntN(4) == 0 {
					for m, err := range c.Messages(ctx) { // nested, while m is in use
						if err == nil {
							s.receive(side, m.Type, m.Data, true)
						}
						break
					}
				}
				for _, b := range m.Data {
					if b != 0 {
						s.t.Errorf("side %d: a message that is lent changes", side)
						break
					}
				}
				if left--; left == 0 {
					break
				}
			}
			if err == nil {
				err = c.life.reason()
			}
		case 3:
			err = s.stream(rng, side, ctx)
		case 4:
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Microsecond)
		}
		cancel()
		if err != nil && c.life.reason() != nil {
			return
		}
		if err != nil && !isGivenUp(err) {
			s.t.Errorf("a read fails with %v on a connection that lives", err)
			return
		}
	}
}

// forgive notes that a message of which too little is known was left.
func (s *stress) forgive(side int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgiven[side]++
}

// stream receives a message by a Reader, or a part of one.
func (s *stress) stream(rng *rand.Rand, side int, ctx context.Context) error {
	typ, r, err := s.conns[side].Reader(ctx)
	if err != nil {
		return err
	}
	var data []byte
	part := rng.IntN(3) == 0
	b := make([]byte, 1+rng.IntN(5000))
	for {
		n, err := r.Read(b)
		data = append(data, b[:n]...)
		switch {
		case err == io.EOF:
			s.receive(side, typ, data, true)
			return nil
		case err != nil && errors.Is(err, os.ErrDeadlineExceeded) && s.conns[side].life.reason() == nil:
			time.Sleep(time.Millisecond) // until it is lifted; then the same reader goes on
		case err != nil:
			if len(data) >= stressHead {
				s.receive(side, typ, data, false)
				return err
			}
			if s.conns[side].life.reason() != nil {
				return err
			}
			// Too little to know which message it was: the test must not count
			// it as missing.
			s.forgive(side)
			return err
		case part && len(data) >= stressHead:
			s.receive(side, typ, data, false)
			return nil // the rest is discarded by the next read
		}
	}
}
