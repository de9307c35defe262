package websocket

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// deflatePair returns two endpoints over the loopback interface that have
// agreed on p.
func deflatePair(t testing.TB, p deflateParams) (server, client *Conn) {
	t.Helper()
	return tcpPairOf(t, connConfig{deflate: &p, readLimit: 1 << 22})
}

// someText returns n bytes that compress well, no two of which are quite the
// same.
func someText(rng *rand.Rand, n int) []byte {
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, `{"id":%d,"name":"sensor-%d","value":%.3f,"unit":"°C","tags":["a","b"]},`, rng.IntN(1000), rng.IntN(50), rng.Float64()*40)
	}
	return bytes.ToValidUTF8(b.Bytes()[:n], []byte("?"))
}

// Thousands of messages go through each kind of agreement. Some are compressed,
// some too short for it, some incompressible. Some are sent uncompressed,
// streamed or prepared. Pings come in between. Each of the reading methods
// reads some of them.
func TestCompressedEcho(t *testing.T) {
	for _, p := range []deflateParams{
		{false, false, 15, 15},
		{true, true, 15, 15},
		{true, false, 15, 9},
		{false, true, 10, 15},
		{false, false, 8, 8},
		{false, false, 12, 9},
	} {
		t.Run(fmt.Sprintf("%+v", p), func(t *testing.T) {
			t.Parallel()
			server, client := deflatePair(t, p)
			done := make(chan error, 1)
			go func() { done <- echo(server) }()
			ctx := context.Background()
			rng := rand.New(rand.NewPCG(1, 2))
			var buf []byte
			for i := range 1500 {
				size := []int{0, 1, 100, 130, 600, 2000, 5000, 40000}[rng.IntN(8)]
				typ, msg := MessageText, someText(rng, size)
				if rng.IntN(4) == 0 {
					typ, msg = MessageBinary, make([]byte, size)
					for i := range msg {
						msg[i] = byte(rng.Uint32())
					}
				}
				var err error
				switch rng.IntN(5) {
				case 0:
					err = client.WriteUncompressed(ctx, typ, msg)
				case 1:
					var w io.WriteCloser
					if w, err = client.Writer(ctx, typ); err == nil {
						for rest := msg; len(rest) > 0; {
							n := min(len(rest), 1+rng.IntN(3000))
							if _, err := w.Write(rest[:n]); err != nil {
								t.Fatal(err)
							}
							rest = rest[n:]
						}
						err = w.Close()
					}
				case 2:
					var m *PreparedMessage
					if m, err = NewPreparedMessage(typ, msg); err == nil {
						err = client.WritePrepared(ctx, m)
					}
				default:
					err = client.Write(ctx, typ, msg)
				}
				if err != nil {
					t.Fatalf("message %d: write: %v", i, err)
				}
				var got []byte
				var gotTyp MessageType
				switch rng.IntN(4) {
				case 0:
					gotTyp, got, err = client.Read(ctx)
				case 1:
					gotTyp, got, err = client.ReadInto(ctx, buf)
					buf = got
				case 2:
					for m, e := range client.Messages(ctx) {
						gotTyp, got, err = m.Type, bytes.Clone(m.Data), e
						break
					}
				default:
					var r io.Reader
					if gotTyp, r, err = client.Reader(ctx); err == nil {
						got, err = io.ReadAll(r)
					}
				}
				if err != nil || gotTyp != typ || !bytes.Equal(got, msg) {
					t.Fatalf("message %d of %d bytes: got %v of %d bytes, %v", i, len(msg), gotTyp, len(got), err)
				}
			}
			if err := client.Close(StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// Reader begun and left: later messages refer to what was not read.
func TestCompressedReaderAbandoned(t *testing.T) {
	server, client := deflatePair(t, deflateParams{serverBits: 15, clientBits: 15})
	ctx := context.Background()
	msg := []byte(strings.Repeat("all work and no play makes Jack a dull boy. ", 2000))
	go func() {
		for range 20 {
			server.Write(ctx, MessageText, msg)
		}
	}()
	for i := range 20 {
		_, r, err := client.Reader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if _, err := io.ReadFull(r, make([]byte, 100*i)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("message %d: %d bytes, %v", i, len(got), err)
		}
	}
}

var withTakeover = deflateParams{serverBits: 15, clientBits: 15}

// The read limit may be anything, and may change while a message is being
// inflated.
func TestInflateLimitChanges(t *testing.T) {
	msg := bytes.Repeat([]byte("0123456789"), 1000)
	for _, limit := range []int64{math.MaxInt64, math.MaxInt64 - 1, math.MaxInt32, -1, math.MinInt64} {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{deflate: &alone, readLimit: limit}, netfake.Options{})
			for range 2 {
				p.WriteFrames(compressedFrame(deflated(t, msg)))
			}
			p.wantRead(t, MessageText, string(msg))
			_, r, err := p.c.Reader(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, msg) {
				t.Errorf("limit %d: %d bytes, %v", limit, len(got), err)
			}
		})
	}
	for _, limit := range []int64{0, 1, 999, 1000} {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{deflate: &alone}, netfake.Options{})
			p.WriteFrames(compressedFrame(deflated(t, msg)))
			_, r, err := p.c.Reader(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			p.c.SetReadLimit(limit)
			reading := start(func() error { _, err := io.ReadAll(r); return err })
			p.WantClose(1009)
			p.Close()
			if err := <-reading; !errors.Is(err, ErrMessageTooBig) {
				t.Errorf("limit %d: the reader is told %v", limit, err)
			}
		})
	}
	// Lowered between two reads of one message that was cut short, and raised
	// again.
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{deflate: &alone}, netfake.Options{})
		payload := deflated(t, msg)
		p.WriteFrames(wstest.Frame{RSV: rsv1, Op: wstest.Text, Payload: payload[:len(payload)/2]})
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if _, _, err := p.c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		p.c.SetReadLimit(5)
		p.WriteFrames(wstest.Frame{Fin: true, Op: wstest.Continuation, Payload: payload[len(payload)/2:]})
		reading := start(p.readError)
		p.WantClose(1009)
		p.Close()
		if err := <-reading; !errors.Is(err, ErrMessageTooBig) {
			t.Errorf("the reader is told %v", err)
		}
	})
}

// While a message is being streamed, what would compress another waits. It
// waits no longer than its context, the write deadline and the connection let
// it.
func TestDeflateWaits(t *testing.T) {
	msg := bytes.Repeat([]byte("compressible "), 100)
	prepared, err := NewPreparedMessage(MessageText, msg)
	if err != nil {
		t.Fatal(err)
	}
	writes := map[string]func(c *Conn, ctx context.Context) error{
		"Write":             func(c *Conn, ctx context.Context) error { return c.Write(ctx, MessageText, msg) },
		"WriteUncompressed": func(c *Conn, ctx context.Context) error { return c.WriteUncompressed(ctx, MessageText, msg) },
		"WritePrepared":     func(c *Conn, ctx context.Context) error { return c.WritePrepared(ctx, prepared) },
		"Writer": func(c *Conn, ctx context.Context) error {
			w, err := c.Writer(ctx, MessageText)
			if err == nil {
				err = w.Close()
			}
			return err
		},
	}
	ends := map[string]struct {
		end  func(p *pair, cancel func())
		want error
	}{
		"context":  {func(p *pair, cancel func()) { cancel() }, context.Canceled},
		"deadline": {func(p *pair, cancel func()) { p.c.SetWriteDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"CloseNow": {func(p *pair, cancel func()) { p.c.CloseNow() }, net.ErrClosed},
	}
	for how, write := range writes {
		for what, end := range ends {
			for _, params := range []deflateParams{alone, withTakeover} {
				t.Run(how+" until "+what, func(t *testing.T) {
					bothRoles(t, func(t *testing.T, client bool) {
						p := newPair(t, client, connConfig{deflate: &params}, netfake.Options{})
						w, err := p.c.Writer(context.Background(), MessageText)
						if err != nil {
							t.Fatal(err)
						}
						ctx, cancel := context.WithCancel(context.Background())
						defer cancel()
						waiting := start(func() error { return write(p.c, ctx) })
						if !running(waiting) {
							t.Fatalf("it did not wait: %v", <-waiting)
						}
						end.end(p, cancel)
						if running(waiting) {
							t.Error("it waits on")
							w.Close()
							p.c.CloseNow()
							<-waiting
							return
						}
						if err := <-waiting; !errors.Is(err, end.want) {
							t.Errorf("it is told %v, want %v", err, end.want)
						}
						w.Close()
					})
				})
			}
		}
	}
}

// A streaming Writer takes a long piece in pieces of its own: what it keeps
// does not grow with the piece.
func TestDeflateStreamMemory(t *testing.T) {
	noise := make([]byte, 16<<20)
	for x, i := uint32(1), 0; i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	for _, client := range []bool{false, true} {
		c := newConn(connConfig{transport: &loopConn{}, client: client, deflate: &alone})
		took := allocated(func() {
			w, err := c.Writer(context.Background(), MessageBinary)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(noise); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
		if took > 2<<20 {
			t.Errorf("client %v: %d bytes were allocated", client, took)
		}
	}
}

// Much that inflates to nothing, and many frames of nothing, cost no memory,
// and can be given up in the middle.
func TestInflateNothing(t *testing.T) {
	msg := []byte("at last")
	empty := bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 1<<14) // stored blocks
	reads := map[string]func(ctx context.Context, c *Conn) ([]byte, error){
		"Read": func(ctx context.Context, c *Conn) ([]byte, error) { _, b, err := c.Read(ctx); return b, err },
		"Messages": func(ctx context.Context, c *Conn) ([]byte, error) {
			for m, err := range c.Messages(ctx) {
				return bytes.Clone(m.Data), err
			}
			return nil, io.EOF
		},
		"Reader": func(ctx context.Context, c *Conn) ([]byte, error) {
			_, r, err := c.Reader(ctx)
			if err != nil {
				return nil, err
			}
			return io.ReadAll(r)
		},
	}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{deflate: &withTakeover, readLimit: 200_000}, netfake.Options{Buffer: 1 << 12})
				nothing := p.Encode(wstest.Frame{Op: wstest.Continuation})
				nothing = bytes.Repeat(nothing, 1000)
				blocks := p.Encode(wstest.Frame{Op: wstest.Continuation, Payload: empty})
				end := p.Encode(wstest.Frame{Fin: true, Op: wstest.Continuation, Payload: deflated(t, msg)})
				writing := start(func() error {
					p.WriteFrames(wstest.Frame{RSV: rsv1, Op: wstest.Text})
					for range 20 {
						p.WriteRaw(nothing)
						p.WriteRaw(blocks)
					}
					return nil
				})
				took := allocated(func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					defer cancel()
					if got, err := read(ctx, p.c); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%q, %v", got, err)
					}
				})
				if took > 1<<20 {
					t.Errorf("%d bytes were allocated", took)
				}
				<-writing
				if name == "Reader" { // which is over with its context: the rest of the message is discarded
					p.WriteRaw(end)
					p.WriteFrames(compressedFrame(deflated(t, msg)))
					p.wantRead(t, MessageText, string(msg))
					return
				}
				p.WriteRaw(end)
				if got, err := read(context.Background(), p.c); err != nil || !bytes.Equal(got, msg) {
					t.Errorf("%q, %v", got, err)
				}
			})
		})
	}
}

// Close in the middle of a compressed message discards the rest and waits for
// the peer's answer, whichever method has begun to read the message.
func TestCloseInsideDeflated(t *testing.T) {
	payload := deflated(t, bytes.Repeat([]byte("compressible, "), 1000))
	for _, how := range []string{"nobody reads", "Read", "Reader", "corrupt"} {
		t.Run(how, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{deflate: &withTakeover}, netfake.Options{})
				p.WriteFrames(wstest.Frame{RSV: rsv1, Op: wstest.Text, Payload: payload[:len(payload)/2]})
				ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
				defer cancel()
				switch how {
				case "Read":
					p.c.Read(ctx)
				case "Reader":
					if _, r, err := p.c.Reader(ctx); err != nil {
						t.Fatal(err)
					} else if _, err := r.Read(make([]byte, 10)); err != nil {
						t.Fatal(err)
					}
				}
				closing := start(func() error { return p.c.Close(StatusGoingAway, "") })
				p.WantClose(1001)
				rest := payload[len(payload)/2:]
				if how == "corrupt" { // no part of it is looked at any more
					rest = bytes.Repeat([]byte{0xff}, 100)
				}
				p.WriteFrames(wstest.Frame{Fin: true, Op: wstest.Continuation, Payload: rest}, compressedFrame(payload))
				p.WriteClose(1001, "")
				p.Close()
				if err := <-closing; err != nil {
					t.Errorf("Close = %v", err)
				}
			})
		})
	}
}

// A range over Messages inside another: what the outer one lends stays as it
// is.
func TestDeflatedMessagesNested(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{deflate: &alone}, netfake.Options{})
		var texts []string
		for i := range 12 {
			texts = append(texts, string(bytes.Repeat([]byte{'a' + byte(i)}, 100<<(i%7))))
			p.WriteFrames(compressedFrame(deflated(t, []byte(texts[i]))))
		}
		n := 0
		ctx := context.Background()
		for outer, err := range p.c.Messages(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			want := texts[n]
			n++
			for inner, err := range p.c.Messages(ctx) {
				if err != nil || string(inner.Data) != texts[n] {
					t.Fatalf("inner message %d: %d bytes, %v", n, len(inner.Data), err)
				}
				if n++; n%3 == 0 {
					break
				}
			}
			if string(outer.Data) != want {
				t.Fatalf("the outer message has changed")
			}
			if n == len(texts) {
				break
			}
		}
	})
}

// knownMessage returns a message whose first line says what the rest must be.
func knownMessage(rng *rand.Rand) []byte {
	seed, size := rng.Uint64(), []int{10, 130, 600, 3000, 9000, 30000}[rng.IntN(6)]
	return makeKnown(seed, size)
}

func makeKnown(seed uint64, size int) []byte {
	msg := fmt.Appendf(nil, "%d %d\n", seed, size)
	rng := rand.New(rand.NewPCG(seed, 0))
	if seed%4 == 0 { // does not compress
		for range size {
			msg = append(msg, byte(rng.Uint32()))
		}
		return msg
	}
	return append(msg, someText(rng, size)...)
}

func checkKnown(msg []byte) error {
	line, _, _ := bytes.Cut(msg, []byte("\n"))
	var seed uint64
	var size int
	if _, err := fmt.Sscanf(string(line), "%d %d", &seed, &size); err != nil {
		return fmt.Errorf("message %.40q: %w", msg, err)
	}
	if !bytes.Equal(msg, makeKnown(seed, size)) {
		return fmt.Errorf("message %d of %d bytes is not what was sent", seed, size)
	}
	return nil
}

// Many goroutines write in every way, to a peer that reads slowly, and give up
// at any moment. They do so before their turn, and while they wait for the
// wire. They do so with a message that is compressed and not sent, and between
// the fragments of a stream. Each message that arrives was written: no message
// refers to one that was not sent.
func TestDeflateAbortedAnywhere(t *testing.T) {
	sessions := 25
	if testing.Short() || raceEnabled {
		sessions = 10
	}
	for _, params := range []deflateParams{withTakeover, alone, {serverBits: 9, clientBits: 9}} {
		var sent, given, ended int
		for n := range sessions {
			synctest.Test(t, func(t *testing.T) {
				seed := rand.New(rand.NewPCG(uint64(n), 7))
				ours, theirs := netfake.Pipe(netfake.Options{Buffer: 1 << (8 + seed.IntN(8))})
				c := newConn(connConfig{transport: ours, client: n%2 == 0, deflate: &params, writeBufferLimit: 1 << (10 + seed.IntN(7))})
				peer := newConn(connConfig{transport: theirs, client: n%2 != 0, deflate: &params})
				defer c.CloseNow()
				defer peer.CloseNow()

				var mu sync.Mutex
				var all sync.WaitGroup
				for w := range 6 {
					all.Go(func() {
						rng := rand.New(rand.NewPCG(uint64(n), uint64(w)))
						for range 12 {
							ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(3000))*time.Microsecond)
							err := writeAny(ctx, c, rng)
							cancel()
							mu.Lock()
							switch {
							case err == nil:
								sent++
							case errors.Is(err, context.DeadlineExceeded):
								given++
							case errors.Is(err, net.ErrClosed):
								ended++
							default:
								t.Errorf("write: %v", err)
							}
							mu.Unlock()
						}
					})
				}
				var reader sync.WaitGroup
				reader.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(n), 99))
					for {
						_, msg, err := peer.Read(context.Background())
						if err != nil {
							if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed) {
								t.Errorf("read: %v", err)
							}
							return
						}
						if err := checkKnown(msg); err != nil {
							t.Error(err)
						}
						time.Sleep(time.Duration(rng.IntN(400)) * time.Microsecond)
					}
				})
				c.CloseRead(context.Background())
				all.Wait()
				c.Close(StatusNormalClosure, "")
				reader.Wait()
			})
		}
		t.Logf("%+v: %d writes were sent, %d given up, %d came too late", params, sent, given, ended)
		if sent == 0 || given == 0 {
			t.Errorf("%+v: %d writes were sent and %d given up: that tests nothing", params, sent, given)
		}
	}
}

// writeAny sends a known message in one of the ways there are.
func writeAny(ctx context.Context, c *Conn, rng *rand.Rand) error {
	msg := knownMessage(rng)
	switch rng.IntN(6) {
	case 0:
		return c.WriteUncompressed(ctx, MessageBinary, msg)
	case 1:
		m, err := NewPreparedMessage(MessageBinary, msg)
		if err != nil {
			return err
		}
		return c.WritePrepared(ctx, m)
	case 2:
		w, err := c.Writer(ctx, MessageBinary)
		if err != nil {
			return err
		}
		for len(msg) > 0 && err == nil {
			n := min(len(msg), 1+rng.IntN(6000))
			_, err = w.Write(msg[:n])
			msg = msg[n:]
			if rng.IntN(4) == 0 {
				time.Sleep(time.Duration(rng.IntN(200)) * time.Microsecond)
			}
		}
		return errors.Join(err, w.Close())
	default:
		return c.Write(ctx, MessageBinary, msg)
	}
}

// A message whose context panics while it waits has not been sent: later ones
// do not refer to it.
func TestDeflateContextPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		params := withTakeover
		near, far := netfake.Pipe(netfake.Options{A: netfake.End{Buffer: 100}})
		c := newConn(connConfig{transport: near, deflate: &params})
		peer := newConn(connConfig{transport: far, deflate: &params, client: true})
		defer c.CloseNow()
		defer peer.CloseNow()
		long := start(func() error { return c.WriteUncompressed(context.Background(), MessageBinary, make([]byte, 20_000)) })
		synctest.Wait()
		message := make([]byte, 8<<10)
		rand.NewChaCha8([32]byte{}).Read(message)
		message = []byte(hex.EncodeToString(message))
		ctx := &panickyContext{Context: context.Background(), done: make(chan struct{})}
		panicked := start(func() (err error) {
			defer func() { recover() }()
			return c.Write(ctx, MessageText, message)
		})
		synctest.Wait()
		close(ctx.done)
		<-panicked
		written := start(func() error { return c.Write(context.Background(), MessageText, message) })
		for _, n := range []int{20_000, len(message)} {
			if _, data, err := peer.Read(context.Background()); err != nil || len(data) != n {
				t.Fatalf("Read = %d bytes, %v", len(data), err)
			}
		}
		if err := errors.Join(<-long, <-written); err != nil {
			t.Error(err)
		}
	})
}
