package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// prepare returns n different messages, each of the given size.
func prepare(t *testing.T, n, size int) (ms []*PreparedMessage, payloads []string) {
	t.Helper()
	for i := range n {
		payload := fmt.Sprintf("%-*d", size, i)
		m, err := NewPreparedMessage(MessageText, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		ms, payloads = append(ms, m), append(payloads, payload)
	}
	return ms, payloads
}

// Prepared messages that are written together arrive in order, and with as few
// writes as the limit of the buffer allows.
func TestWritePreparedTogether(t *testing.T) {
	for _, tt := range []struct{ messages, size, limit, writes int }{
		{0, 10, 0, 0},
		{1, 10, 0, 1},
		{8, 512, 0, 1},
		{100, 512, 0, 1},
		{200, 512, 0, 2},                    // 64 KiB gather
		{10, 100, 1, 10},                    // nothing gathers
		{10, 100, 2*102 + maxHeaderSize, 5}, // two at a time
		{10, 100, -1, 1},
		{3, gatherMax + 1, 0, 3}, // too long to gather
	} {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			out := &tally{}
			c := newConn(connConfig{transport: out, writeBufferLimit: tt.limit})
			c.t.out.pieces = false // as over a socket
			ms, payloads := prepare(t, tt.messages, tt.size)
			if err := c.WritePrepared(context.Background(), ms...); err != nil {
				t.Fatal(err)
			}
			var want []byte
			for _, p := range payloads {
				want = append(appendHeader(want, header{headerBits: headerBits{fin: true, opcode: opText}, length: int64(len(p))}), p...)
			}
			if !bytes.Equal(out.data, want) {
				t.Errorf("%d bytes are out, want %d", len(out.data), len(want))
			}
			// A long payload goes out behind its header, without a copy, where
			// the transport has no writev.
			if got := out.writes; got != tt.writes && !(tt.size > gatherMax) {
				t.Errorf("%d writes, want %d", got, tt.writes)
			}
		})
	}
}

// Prepared messages that are compressed keep their order among themselves and
// with others, whatever history is kept.
func TestWritePreparedTogetherCompressed(t *testing.T) {
	for _, p := range []deflateParams{{false, false, 15, 15}, {true, true, 15, 15}, {false, true, 9, 12}} {
		server, client := deflatePair(t, p)
		rng := rand.New(rand.NewPCG(3, 4))
		var ms []*PreparedMessage
		var want [][]byte
		for range 50 {
			msg := someText(rng, rng.IntN(3000))
			m, err := NewPreparedMessage(MessageText, msg)
			if err != nil {
				t.Fatal(err)
			}
			ms, want = append(ms, m), append(want, msg)
		}
		ctx := context.Background()
		sent := make(chan error, 1)
		go func() {
			for group := range slices.Chunk(ms, 7) {
				if err := server.WritePrepared(ctx, group...); err != nil {
					sent <- err
					return
				}
			}
			sent <- server.Write(ctx, MessageText, want[0])
		}()
		for i, msg := range append(want, want[0]) {
			_, got, err := client.Read(ctx)
			if err != nil || !bytes.Equal(got, msg) {
				t.Fatalf("%+v: message %d: %d bytes, want %d, %v", p, i, len(got), len(msg), err)
			}
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
}

// The context ends on the way: the messages before that are sent, whole, those
// after it are not, and the connection lives on.
func TestWritePreparedGivenUp(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		size := (&pair{client: client}).frameSize(100)
		p := newPair(t, client, connConfig{writeBufferLimit: 4 * size}, netfake.Options{A: netfake.End{Buffer: size / 2}})
		ms, payloads := prepare(t, 20, 100)
		ctx, cancel := context.WithCancel(context.Background())
		blocked := start(func() error { return p.c.Write(context.Background(), MessageText, []byte(strings.Repeat("b", 100))) })
		running(blocked)
		together := start(func() error { return p.c.WritePrepared(ctx, ms...) })
		if !running(together) {
			t.Fatal("more is taken than the limit allows")
		}
		cancel()
		if err := <-together; !errors.Is(err, context.Canceled) {
			t.Errorf("WritePrepared = %v", err)
		}
		p.WantFrame(wstest.Text, strings.Repeat("b", 100))
		if err := <-blocked; err != nil {
			t.Error(err)
		}
		for i := range 2 {
			p.WantFrame(wstest.Text, payloads[i])
		}
		p.WantIdle()
		again := start(func() error { return p.c.WritePrepared(context.Background(), ms[2:]...) })
		for i := 2; i < len(ms); i++ {
			p.WantFrame(wstest.Text, payloads[i])
		}
		if err := <-again; err != nil {
			t.Error(err)
		}
	})
}

// A message that waits for something else does not keep those before it.
func TestWritePreparedBehindWriter(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{deflate: &deflateParams{false, false, 15, 15}}, netfake.Options{})
		p.c.deflate.taken = true // as if another goroutine were compressing for a long time
		short, payloads := prepare(t, 2, 50)
		long, _ := prepare(t, 1, 1000)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		together := start(func() error { return p.c.WritePrepared(ctx, short[0], short[1], long[0]) })
		if !running(together) {
			t.Fatalf("WritePrepared = %v", <-together)
		}
		p.WantFrame(wstest.Text, payloads[0])
		p.WantFrame(wstest.Text, payloads[1])
		if err := <-together; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WritePrepared = %v", err)
		}
	})
}

// A countdown is a context that ends after it has been asked a number of times.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// The context ends between two messages: those before it go out, though nothing
// follows that takes them along.
func TestWritePreparedEndsBetween(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		ms, payloads := prepare(t, 5, 100)
		if err := p.c.WritePrepared(&countdown{context.Background(), 2}, ms...); !errors.Is(err, context.Canceled) {
			t.Errorf("WritePrepared = %v", err)
		}
		p.WantFrame(wstest.Text, payloads[0])
		p.WantFrame(wstest.Text, payloads[1])
		p.WantIdle()
	})
}

// A prepared message is sent to any number of connections, of both roles, and
// does not share memory with the caller.
func TestPreparedMessage(t *testing.T) {
	ctx := context.Background()
	for _, size := range []int{0, 5, 126, 5000, 100_000} {
		for _, typ := range []MessageType{MessageText, MessageBinary} {
			synctest.Test(t, func(t *testing.T) {
				data := []byte(strings.Repeat("x", size))
				m, err := NewPreparedMessage(typ, data)
				if err != nil {
					t.Fatal(err)
				}
				clear(data)
				for i := range 6 {
					p := newPair(t, i%2 == 0, connConfig{}, netfake.Options{Buffer: 1 << 20})
					for range 2 {
						if err := p.c.WritePrepared(ctx, m); err != nil {
							t.Fatal(err)
						}
						p.WantFrame(wstest.Opcode(typ), strings.Repeat("x", size))
					}
					ended, cancel := context.WithCancel(ctx)
					cancel()
					if err := p.c.WritePrepared(ended, m); !errors.Is(err, context.Canceled) {
						t.Errorf("WritePrepared with an ended context: %v", err)
					}
					p.WantIdle()
				}
			})
		}
	}
	if _, err := NewPreparedMessage(0, nil); err == nil {
		t.Error("NewPreparedMessage takes a type that does not exist")
	}
}
