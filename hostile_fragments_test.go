package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A message in fragments of one byte is taken, for it costs no more than the same bytes in messages of one byte
// would: memory near the payload, and one call of the transport's for a buffer of frames.
func TestHostileFragmentFlood(t *testing.T) {
	for _, test := range []struct{ fragments, size int }{
		{131_072, 1},
		{65_536, 64}, // 4 MiB, as the Autobahn suite sends it
	} {
		n := test.fragments
		if raceEnabled {
			n /= 16
		}
		for how := range reads {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{readLimit: int64(n * test.size)}, netfake.Options{Buffer: 256 << 10})
				part := strings.Repeat("x", test.size)
				stream := p.Encode(first(wstest.Binary, part))
				fragment := p.Encode(moreCont(part))
				for range n - 2 {
					stream = append(stream, fragment...)
				}
				stream = append(stream, p.Encode(cont(part))...)
				writing := start(func() error { p.WriteRaw(stream); return nil })
				var got []byte
				var err error
				took := allocated(func() { _, got, err = reads[how](p.c) })
				<-writing
				if err != nil || len(got) != n*test.size {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				// What is doubled as it grows comes to a few times the payload.
				if most := uint64(8*n*test.size + 1<<20); took > most {
					t.Errorf("reading way %d: %d KiB were allocated for %d KiB in %d fragments", how, took>>10, n*test.size>>10, n)
				}
				if calls := p.ours.Stats().Reads; calls > len(stream)/1000+100 {
					t.Errorf("reading way %d: %d calls of Read for %d bytes", how, calls, len(stream))
				}
			})
		}
	}
}

// Frames without payload never reach the read limit. Past their own bound they are refused, however they are read or
// discarded, compressed or not, and without a read limit too.
func TestHostileEmptyFragments(t *testing.T) {
	ctx := context.Background()
	ways := map[string]func(c *Conn) error{
		"Close": func(c *Conn) error { return c.Close(StatusNormalClosure, "") },
		"NetConn": func(c *Conn) error {
			_, err := io.Copy(io.Discard, NetConn(ctx, c, MessageBinary))
			return err
		},
		"left behind": func(c *Conn) error {
			_, _, err := c.Reader(ctx)
			if err == nil {
				_, _, err = c.Read(ctx)
			}
			return err
		},
	}
	for i, read := range reads {
		ways[fmt.Sprint("reading way ", i)] = func(c *Conn) error { _, _, err := read(c); return err }
	}
	for name, way := range ways {
		for _, deflate := range []*deflateParams{nil, &withTakeover} {
			t.Run(name, func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					p := newPair(t, client, connConfig{readLimit: -1, closeTimeout: -1, deflate: deflate}, netfake.Options{})
					begin := first(wstest.Binary, "")
					if deflate != nil {
						begin.RSV = rsv1
					}
					var err error
					took := allocated(func() {
						done := start(func() error { return way(p.c) })
						if name == "Close" {
							p.WantClose(1000)
						}
						p.WriteFrames(begin)
						empty := p.Encode(moreCont(""))
						p.WriteRaw(bytes.Repeat(empty, spareFrames-1))
						if !running(done) {
							t.Fatalf("refused early: %v", <-done)
						}
						p.WriteRaw(empty)
						if name != "Close" {
							p.WantClose(1008)
						}
						p.Close()
						err = <-done
					})
					if !errors.Is(err, errEmptyFrames) {
						t.Errorf("the application is told %v", err)
					}
					if took > 256<<10 {
						t.Errorf("%d KiB were allocated", took>>10)
					}
				})
			})
		}
	}
}

// What a writer with a habit of flushing sends is taken: a frame without payload behind each that has some.
func TestEmptyFragmentsAmongOthers(t *testing.T) {
	const n = 20_000
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{Buffer: 1 << 20})
		stream := p.Encode(first(wstest.Text, ""))
		for range n {
			stream = append(stream, p.Encode(moreCont("x"), moreCont(""), ping(""))...)
		}
		p.WriteRaw(append(stream, p.Encode(cont(""))...))
		p.wantRead(t, MessageText, strings.Repeat("x", n))
	})
}

// CVE-2026-48779: in some libraries each fragment of a message, however small,
// makes an object of its own, so that a few bytes on the wire hold many times
// as much memory. Here a message in fragments is one buffer.
func TestHostileCVE202648779(t *testing.T) {
	n := 65_536
	if raceEnabled {
		n /= 16
	}
	for how := range reads {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{readLimit: int64(n)}, netfake.Options{Buffer: 256 << 10})
			stream := p.Encode(first(wstest.Binary, "x"))
			fragment := p.Encode(moreCont("x"))
			for range n - 2 {
				stream = append(stream, fragment...)
			}
			stream = append(stream, p.Encode(cont("x"))...)
			writing := start(func() error { p.WriteRaw(stream); return nil })
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, got, err := reads[how](p.c)
			runtime.ReadMemStats(&after)
			<-writing
			if err != nil || len(got) != n {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if objects := after.Mallocs - before.Mallocs; objects > uint64(n/16) {
				t.Errorf("reading way %d: %d objects for %d fragments", how, objects, n)
			}
		})
	}
}
