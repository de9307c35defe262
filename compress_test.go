package websocket

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// deflatePair returns two endpoints over the loopback interface that have agreed on p.
func deflatePair(t testing.TB, p deflateParams) (server, client *Conn) {
	t.Helper()
	return tcpPairOf(t, connConfig{deflate: &p, readLimit: 1 << 22})
}

// someText returns n bytes that compress well, no two of which are quite the same.
func someText(rng *rand.Rand, n int) []byte {
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, `{"id":%d,"name":"sensor-%d","value":%.3f,"unit":"°C","tags":["a","b"]},`, rng.IntN(1000), rng.IntN(50), rng.Float64()*40)
	}
	return bytes.ToValidUTF8(b.Bytes()[:n], []byte("?"))
}

// Thousands of messages through each kind of agreement: compressed, too short for it, incompressible, sent
// uncompressed, streamed and prepared ones, with pings in between; read by each of the reading methods.
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
