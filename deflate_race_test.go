package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
)

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

// Many goroutines write in every way, to a peer that reads slowly, and give up at any moment: before their turn,
// while they wait for the wire, with a message that is compressed and not sent, between the fragments of a stream.
// Whatever arrives is what somebody wrote: no message refers to one that was not sent.
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
