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

// While a message is being streamed, what would compress another waits. It waits no longer than its context, the write deadline and the
// connection let it.
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
