package websocket

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A peer that never reads. What each kind of write does then is in TestWriteGivenUp and TestWriteBufferLimit, Close
// in TestCloseIsBounded, the memory of one connection in TestStalledPeerTakesNoMemory.

// Many write to a peer that takes nothing: each waits for its own context, to the moment, whatever the others do.
func TestHostileStalledWriters(t *testing.T) {
	prepared, err := NewPreparedMessage(MessageText, []byte("prepared"))
	if err != nil {
		t.Fatal(err)
	}
	msg := []byte(strings.Repeat("x", 900))
	long := make([]byte, 20_000)
	writes := map[string]func(ctx context.Context, c *Conn) error{
		"Write":             func(ctx context.Context, c *Conn) error { return c.Write(ctx, MessageText, msg) },
		"Write of much":     func(ctx context.Context, c *Conn) error { return c.Write(ctx, MessageBinary, long) },
		"WriteUncompressed": func(ctx context.Context, c *Conn) error { return c.WriteUncompressed(ctx, MessageText, msg) },
		"WritePrepared":     func(ctx context.Context, c *Conn) error { return c.WritePrepared(ctx, prepared, prepared) },
		"Ping":              func(ctx context.Context, c *Conn) error { return c.Ping(ctx) },
		"Writer": func(ctx context.Context, c *Conn) error {
			w, err := c.Writer(ctx, MessageText)
			if err == nil {
				w.Write(msg)
				err = w.Close()
			}
			return err
		},
	}
	for _, deflate := range []*deflateParams{nil, &withTakeover} {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{writeBufferLimit: 500, deflate: deflate, deflateThreshold: -1, pingInterval: -1},
				netfake.Options{A: netfake.End{Buffer: 9}})
			first := start(func() error { return p.c.Write(context.Background(), MessageText, []byte("the first one")) })
			if !running(first) {
				t.Fatal("a Write into a full transport returns")
			}
			// Fills what may gather, so that all others have to wait.
			last := start(func() error {
				for {
					if err := p.c.WriteUncompressed(context.Background(), MessageBinary, long[:10]); err != nil {
						return err
					}
				}
			})
			synctest.Wait()
			begin := time.Now()
			var wg sync.WaitGroup
			i := 0
			for name, write := range writes {
				for range 5 {
					i++
					patience := time.Duration(i) * time.Second
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(context.Background(), patience)
						defer cancel()
						err := write(ctx, p.c)
						if d := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || d != patience {
							t.Errorf("%s: %v after %v, want %v", name, err, d, patience)
						}
					})
				}
			}
			wg.Wait()
			if !running(first) {
				t.Errorf("the first write has ended: %v", <-first)
			}
			p.c.CloseNow()
			if err := <-first; err == nil {
				t.Error("the first write succeeds")
			}
			<-last
		})
	}
}

// A group is connections to peers of which some never read.
type group struct {
	conns   []*Conn
	stalled int             // how many, the first ones
	got     []chan struct{} // closed when the peer has got all that it waits for
}

// newGroup returns n connections whose peers read messages frames of size bytes each, but for some that read nothing.
func newGroup(t *testing.T, n, stalled, messages, size int, deflate *deflateParams) *group {
	g := &group{stalled: stalled}
	for i := range n {
		p := newPair(t, false, connConfig{pingInterval: -1, deflate: deflate}, netfake.Options{Buffer: 10_000})
		g.conns = append(g.conns, p.c)
		got := make(chan struct{})
		g.got = append(g.got, got)
		if i < stalled {
			continue
		}
		go func() {
			for range messages {
				if f, err := wstest.ReadFrame(p.theirs); err != nil || len(f.Payload) != size {
					t.Errorf("peer %d: %v, %v", i, f, err)
					return
				}
			}
			close(got)
		}()
	}
	return g
}

// stall begins a write on each of the first n connections, which does not end: what others write gathers behind it.
func (g *group) stall(n int) {
	for _, c := range g.conns[:n] {
		go c.WriteUncompressed(context.Background(), MessageBinary, make([]byte, 20_000))
	}
	synctest.Wait()
}

// Peers that never read do not hold up what is sent to others: at all if each has a goroutine that writes to it, and
// for no longer than the context of one write if one goroutine writes to all and gives up those that take nothing.
func TestHostileStalledBroadcast(t *testing.T) {
	const n, stalled, messages, size = 30, 10, 200, 1000
	m, err := NewPreparedMessage(MessageBinary, make([]byte, size))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a goroutine each", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t, n, stalled, messages, size, nil)
			g.stall(stalled / 2)
			begin := time.Now()
			var wg sync.WaitGroup
			for i, c := range g.conns {
				wg.Go(func() {
					for range messages {
						if err := c.WritePrepared(context.Background(), m); err != nil {
							if i >= stalled {
								t.Errorf("connection %d: %v", i, err)
							}
							return
						}
					}
				})
			}
			for _, got := range g.got[stalled:] {
				<-got
			}
			if d := time.Since(begin); d != 0 {
				t.Errorf("those that read were held up for %v", d)
			}
			for _, c := range g.conns {
				c.CloseNow()
			}
			wg.Wait()
		})
	})
	t.Run("one goroutine", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const patience = 10 * time.Millisecond
			g := newGroup(t, n, stalled, messages, size, nil)
			g.stall(stalled / 2)
			gone := make([]bool, n)
			begin := time.Now()
			for range messages {
				for i, c := range g.conns {
					if gone[i] {
						continue
					}
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					if err := c.WritePrepared(ctx, m); err != nil {
						gone[i] = true
						c.CloseNow()
					}
					cancel()
				}
			}
			for _, got := range g.got[stalled:] {
				<-got
			}
			if d := time.Since(begin); d > stalled*patience {
				t.Errorf("those that read were held up for %v", d)
			}
			for i := range gone {
				if gone[i] != (i < stalled) {
					t.Errorf("connection %d: given up %v", i, gone[i])
				}
			}
		})
	})
}

// Together they take no more memory than the bound of each, however much is sent, and it is free when they end.
func TestHostileStalledMemory(t *testing.T) {
	const n, messages, size = 40, 300, 4000
	noise := make([]byte, size)
	for x, i := uint32(1), 0; i < size; i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	m, err := NewPreparedMessage(MessageBinary, noise)
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"prepared", "written", "compressed"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var deflate *deflateParams
				if how == "compressed" {
					deflate = &withTakeover
				}
				g := newGroup(t, n, n, messages, size, deflate)
				g.stall(n)
				took := allocated(func() {
					var wg sync.WaitGroup
					for _, c := range g.conns {
						wg.Go(func() {
							ctx, cancel := context.WithTimeout(context.Background(), time.Second)
							defer cancel()
							for range messages {
								var err error
								switch how {
								case "prepared":
									err = c.WritePrepared(ctx, m)
								case "written":
									err = c.Write(ctx, MessageBinary, noise)
								case "compressed":
									err = c.Write(ctx, MessageBinary, noise)
								}
								if err != nil {
									return
								}
							}
							t.Error("all messages were taken")
						})
					}
					wg.Wait()
				})
				if most := uint64(n * (128<<10 + 32<<10)); took > most {
					t.Errorf("%d KiB were allocated for %d connections", took>>10, n)
				}
				for _, c := range g.conns {
					c.CloseNow()
				}
			})
		})
	}
}
