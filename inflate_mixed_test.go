package websocket

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A peer sends messages in every shape: compressed with one history, plain, in fragments, some of them empty, pings
// between them. They arrive in pieces of any size, and are read in every way, given up and taken up again in another
// way, or left half read. Nothing is lost, nothing comes twice.
func TestInflateMixed(t *testing.T) {
	rounds := 200
	if testing.Short() || raceEnabled {
		rounds = 50
	}
	for n := range rounds {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(n), 11))
			p := newPair(t, n%2 == 0, connConfig{deflate: &withTakeover}, netfake.Options{Buffer: 1 << (6 + rng.IntN(12))})
			var want [][]byte
			var stream []byte
			var compressed bytes.Buffer
			w, err := flate.NewWriter(&compressed, 1+rng.IntN(9))
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				msg := someText(rng, []int{0, 1, 50, 1000, 5000, 40000}[rng.IntN(6)])
				want = append(want, msg)
				payload, rsv := msg, 0
				if rng.IntN(4) > 0 {
					compressed.Reset()
					w.Write(msg)
					w.Flush()
					payload, rsv = bytes.Clone(bytes.TrimSuffix(compressed.Bytes(), []byte{0, 0, 0xff, 0xff})), rsv1
				}
				op := wstest.Text
				for first := true; first || op == wstest.Continuation; first = false {
					k := len(payload)
					if rng.IntN(2) == 0 {
						k = rng.IntN(k + 1)
					}
					fin := k == len(payload) && rng.IntN(3) > 0
					f := wstest.Frame{Fin: fin, Op: op, Payload: payload[:k]}
					if first {
						f.RSV = rsv1 & byte(rsv)
					}
					stream = append(stream, p.Encode(f)...)
					payload = payload[k:]
					if rng.IntN(5) == 0 {
						stream = append(stream, p.Encode(wstest.Final(wstest.Pong, "unasked"))...)
					}
					if op = wstest.Continuation; fin {
						break
					}
				}
			}
			sent := start(func() error {
				for rest := stream; len(rest) > 0; {
					k := min(len(rest), 1+rng.IntN([]int{3, 300, 30000}[rng.IntN(3)]))
					p.WriteRaw(rest[:k])
					rest = rest[k:]
					time.Sleep(time.Duration(rng.IntN(20)) * 100 * time.Microsecond)
				}
				return nil
			})
			reads := rand.New(rand.NewPCG(uint64(n), 12))
			var buf []byte
			for i := 0; i < len(want); {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(reads.IntN(4000))*time.Microsecond)
				var got []byte
				var err error
				prefix := false
				switch reads.IntN(4) {
				case 0:
					_, got, err = p.c.Read(ctx)
				case 1:
					_, got, err = p.c.ReadInto(ctx, buf)
					buf = got
				case 2:
					for m, e := range p.c.Messages(ctx) {
						got, err = bytes.Clone(m.Data), e
						break
					}
				default:
					var r io.Reader
					if _, r, err = p.c.Reader(ctx); err == nil {
						// Whatever of it comes, it is then gone.
						if reads.IntN(2) == 0 {
							got = make([]byte, reads.IntN(2000))
							var k int
							k, err = io.ReadFull(r, got)
							got = got[:k]
						} else {
							got, err = io.ReadAll(r)
						}
						if prefix = true; err == nil || errors.Is(err, context.DeadlineExceeded) || err == io.EOF || err == io.ErrUnexpectedEOF {
							err = nil
						}
					}
				}
				cancel()
				if errors.Is(err, context.DeadlineExceeded) {
					continue
				}
				if err != nil {
					t.Fatalf("round %d, message %d: %v", n, i, err)
				}
				if !bytes.Equal(got, want[i]) && !(prefix && bytes.HasPrefix(want[i], got)) {
					t.Fatalf("round %d, message %d: %d bytes, want %d", n, i, len(got), len(want[i]))
				}
				i++
			}
			// What is left of the last one is discarded, and nothing follows.
			ctx, cancel := context.WithCancel(context.Background())
			rest := start(func() error { _, _, err := p.c.Read(ctx); return err })
			<-sent
			if !running(rest) {
				t.Fatalf("round %d: after the last message: %v", n, <-rest)
			}
			cancel()
			if err := <-rest; !errors.Is(err, context.Canceled) {
				t.Fatalf("round %d: after the last message: %v", n, err)
			}
		})
	}
}
