package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/poison"
)

// buffersReturn fails the test if more pooled buffers are in use when the
// function that it returns is called than were before. It sees some only where
// the pools are poisoned.
func buffersReturn(t *testing.T) (check func()) {
	before := len(poison.InUse())
	return func() {
		t.Helper()
		if left := poison.InUse(); len(left) > before {
			t.Errorf("%d pooled buffers left behind, of these:\n%s", len(left)-before, strings.Join(left, "\n"))
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
