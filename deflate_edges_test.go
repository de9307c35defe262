package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

var withTakeover = deflateParams{serverBits: 15, clientBits: 15}

// The read limit may be anything, and may change while a message is being inflated.
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
	// Lowered between two reads of one message that was cut short, and raised again.
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

// While a message is being streamed, what would compress another waits. It waits no longer than its context, the
// write deadline and the connection let it.
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

// A streaming Writer takes a long piece in pieces of its own: what it keeps does not grow with the piece.
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

// Much that inflates to nothing, and many frames of nothing, cost no memory, and can be given up in the middle.
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

// Close in the middle of a compressed message, whoever has begun to read it, discards the rest and waits for the
// peer's answer.
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
				if how == "corrupt" { // nothing of it is looked at any more
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

// A range over Messages inside another: what the outer one lends stays as it is.
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
