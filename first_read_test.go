package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A socket is read first with 16 bytes, and with a buffer when they do not suffice. Whatever comes together, whoever
// reads how, and whenever that is cut short, nothing is lost and nothing comes twice; and when the peer ends its
// direction behind any of it the reply goes out.
func TestFirstReadSockets(t *testing.T) {
	rounds := 60
	if testing.Short() || raceEnabled {
		rounds = 20
	}
	for _, client := range []bool{false, true} {
		for round := range rounds {
			seed := uint64(2*round) + 1
			if client {
				seed--
			}
			t.Run(fmt.Sprint(seed), func(t *testing.T) { firstRead(t, client, rand.New(rand.NewPCG(seed, 16))) })
		}
	}
}

func firstRead(t *testing.T, client bool, rng *rand.Rand) {
	ours, theirs := tcpLink(t)
	role := wstest.Client
	if client {
		role = wstest.Server
	}
	var want [][]byte
	var bursts [][]byte
	for len(want) < 60 {
		// What is written together is around 16 bytes, mostly: in one piece, or the end of one and the begin of the next.
		size := rng.IntN(24)
		switch rng.IntN(12) {
		case 0:
			size = rng.IntN(300)
		case 1:
			size = 4070 + rng.IntN(40)
		case 2:
			size = rng.IntN(100_000)
		}
		msg := make([]byte, size)
		for i := range msg {
			msg[i] = byte(rng.Uint32())
		}
		want = append(want, msg)
		var parts []string
		for n := rng.IntN(3); n > 0; n-- {
			at := rng.IntN(len(msg) + 1)
			parts = append(parts, string(msg[:at]))
			msg = msg[at:]
		}
		fs := wstest.Fragments(wstest.Binary, append(parts, string(msg))...)
		if rng.IntN(3) == 0 {
			fs = append([]wstest.Frame{ping(string(make([]byte, rng.IntN(126))))}, fs...)
		}
		bursts = append(bursts, wstest.Encode(role, fs...))
	}
	stream := bytes.Join(bursts, nil)
	writeSeed := rng.Uint64()
	go func() {
		rng := rand.New(rand.NewPCG(writeSeed, 1))
		for len(stream) > 0 {
			n := 16
			switch rng.IntN(6) {
			case 0:
				n = 1 + rng.IntN(40)
			case 1:
				n = 1 + rng.IntN(1+len(stream)/4)
			}
			n = min(n, len(stream))
			if _, err := theirs.Write(stream[:n]); err != nil {
				return
			}
			stream = stream[n:]
			if rng.IntN(8) == 0 {
				time.Sleep(time.Duration(rng.IntN(100)) * time.Microsecond)
			}
		}
		theirs.(*net.TCPConn).CloseWrite()
	}()
	drained := make(chan struct{})
	go func() { io.Copy(io.Discard, theirs); close(drained) }()

	c := newConn(connConfig{transport: ours, client: client})
	defer func() { c.CloseNow(); theirs.Close(); <-drained }()
	check := func(typ MessageType, got []byte) {
		if len(want) == 0 || typ != MessageBinary || !bytes.Equal(got, want[0]) {
			t.Fatalf("%d messages before the end: got %v of %d bytes, want %d", len(want), typ, len(got), len(want[0]))
		}
		want = want[1:]
	}
	cut := func(err error) bool {
		return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
	}
	buf := make([]byte, 0, 100)
	for {
		ctx, cancel := context.Background(), func() {}
		switch rng.IntN(4) {
		case 0:
			ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(60))*time.Microsecond)
		case 1:
			c.SetReadDeadline(time.Now().Add(time.Duration(rng.IntN(60)) * time.Microsecond))
		}
		var err error
		switch rng.IntN(4) {
		case 0:
			var typ MessageType
			var msg []byte
			if typ, msg, err = c.Read(ctx); err == nil {
				check(typ, msg)
			}
		case 1:
			var typ MessageType
			var msg []byte
			if typ, msg, err = c.ReadInto(ctx, buf); err == nil {
				check(typ, msg)
			}
		case 2:
			steps := 1 + rng.IntN(3)
			var m Message
			for m, err = range c.Messages(ctx) {
				if err != nil {
					break
				}
				inner := m.Data
				if rng.IntN(4) == 0 { // the body reads: its own message stays
					held := bytes.Clone(inner)
					ctx, cancel := context.WithTimeout(context.Background(), 50*time.Microsecond)
					typ, msg, err := c.Read(ctx)
					cancel()
					if !bytes.Equal(held, inner) {
						t.Fatal("the body's message has changed under it")
					}
					check(m.Type, inner)
					if err == nil {
						check(typ, msg)
					} else if !cut(err) {
						break
					}
				} else {
					check(m.Type, inner)
				}
				if steps--; steps == 0 {
					break
				}
			}
		case 3:
			var typ MessageType
			var r io.Reader
			if typ, r, err = c.Reader(context.Background()); err == nil {
				var msg []byte
				p := make([]byte, 1+rng.IntN(50))
				for err == nil {
					var n int
					n, err = r.Read(p)
					msg = append(msg, p[:n]...)
					if cut(err) {
						c.SetReadDeadline(time.Time{})
						err = nil
					}
				}
				if err == io.EOF {
					check(typ, msg)
					err = nil
				}
			}
		}
		cancel()
		c.SetReadDeadline(time.Time{})
		if err != nil && !cut(err) {
			if len(want) > 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%d messages before the end: %v", len(want), err)
			}
			return
		}
	}
}
