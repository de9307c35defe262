package websocket

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/poison"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// deflated returns msg compressed by another implementation than ours, with the
// 00 00 FF FF left off (RFC 7692, section 7.2.1).
func deflated(t testing.TB, msg []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(msg)
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// inflated is the reverse.
func inflated(payload []byte) ([]byte, error) {
	return io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
}

const rsv1 = 4 // as wstest.Frame has it

func compressedFrame(payload []byte) wstest.Frame {
	return wstest.Frame{Fin: true, RSV: rsv1, Op: wstest.Text, Payload: payload}
}

// readAny reads a frame, RSV bits and all.
func readAny(t *testing.T, p *pair) wstest.Frame {
	t.Helper()
	p.Conn.SetReadDeadline(time.Now().Add(time.Minute))
	f, err := wstest.ReadFrame(p.Conn)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var alone = deflateParams{serverNoTakeover: true, clientNoTakeover: true, serverBits: 15, clientBits: 15}

// RFC 7692, section 6: RSV1 on the first frame of a compressed message, nowhere
// else. A message written whole is one frame.
func TestDeflateFrames(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{deflate: &alone}, netfake.Options{Buffer: 1 << 20})
		ctx := context.Background()
		msg := bytes.Repeat([]byte("compressible "), 10000)
		noise := make([]byte, 5000)
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}

		p.c.Write(ctx, MessageText, msg)
		f := readAny(t, p)
		if got, err := inflated(f.Payload); !f.Fin || f.RSV != rsv1 || f.Op != wstest.Text || !bytes.Equal(got, msg) || err != nil {
			t.Errorf("a long message: fin %v, RSV %d, %v, %d bytes of %d, %v", f.Fin, f.RSV, f.Op, len(got), len(msg), err)
		}
		for name, write := range map[string]func() error{
			"shorter than the threshold": func() error { return p.c.Write(ctx, MessageBinary, msg[:511]) },
			"incompressible":             func() error { return p.c.Write(ctx, MessageBinary, noise) },
			"WriteUncompressed":          func() error { return p.c.WriteUncompressed(ctx, MessageBinary, msg) },
			"short and streamed": func() error {
				w, _ := p.c.Writer(ctx, MessageBinary)
				w.Write(msg[:300])
				return w.Close()
			},
			"streamed, incompressible": func() error {
				w, _ := p.c.Writer(ctx, MessageBinary)
				w.Write(noise[:2000])
				return w.Close()
			},
			"prepared, incompressible": func() error {
				m, _ := NewPreparedMessage(MessageBinary, noise)
				return p.c.WritePrepared(ctx, m)
			},
		} {
			if err := write(); err != nil {
				t.Fatal(err)
			}
			if f := readAny(t, p); f.RSV != 0 || !f.Fin || f.Op != wstest.Binary {
				t.Errorf("%s: fin %v, RSV %d, %v", name, f.Fin, f.RSV, f.Op)
			}
		}
		// A streamed message is compressed as it goes.
		w, _ := p.c.Writer(ctx, MessageText)
		for i := 0; i < len(msg); i += 1000 {
			if _, err := w.Write(msg[i : i+1000]); err != nil {
				t.Fatal(err)
			}
		}
		for range 30 { // enough that does not compress to fill a fragment
			w.Write([]byte(strings.ToValidUTF8(string(noise), "?")))
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var payload []byte
		for i := 0; ; i++ {
			f := readAny(t, p)
			want := wstest.Frame{Op: wstest.Continuation}
			if i == 0 {
				want = wstest.Frame{Op: wstest.Text, RSV: rsv1}
			}
			if f.RSV != want.RSV || f.Op != want.Op {
				t.Errorf("fragment %d: RSV %d, %v", i, f.RSV, f.Op)
			}
			payload = append(payload, f.Payload...)
			if f.Fin {
				if i == 0 {
					t.Error("nothing was sent before the end")
				}
				break
			}
		}
		if got, err := inflated(payload); !bytes.HasPrefix(got, msg) || err != nil {
			t.Errorf("the streamed message: %d bytes, %v", len(got), err)
		}
		// Control frames are as ever.
		p.WriteFrame(wstest.Ping, strings.Repeat("x", 125))
		p.c.WriteUncompressed(ctx, MessageBinary, nil)
		reading := start(func() error { _, _, err := p.c.Read(ctx); return err })
		p.WantFrame(wstest.Binary, "")
		p.WantFrame(wstest.Pong, strings.Repeat("x", 125))
		p.WriteClose(1000, "")
		p.WantClose(1000)
		p.Close()
		<-reading
	})
}

// A peer's messages that are wrong, or odd but legal.
func TestInflateRefused(t *testing.T) {
	msg := bytes.Repeat([]byte("compressible "), 100)
	good := deflated(t, msg)
	corrupt := bytes.Clone(good)
	corrupt[0] |= 6 // block type 3
	tests := []struct {
		name   string
		frames []wstest.Frame
		code   int // 0: the message comes
	}{
		{"as it should be", []wstest.Frame{compressedFrame(good)}, 0},
		{"in fragments", []wstest.Frame{
			{RSV: rsv1, Op: wstest.Text, Payload: good[:5]},
			{Op: wstest.Continuation, Payload: nil},
			{Op: wstest.Continuation, Payload: good[5:]},
			{Fin: true, Op: wstest.Continuation},
		}, 0},
		{"not deflate data", []wstest.Frame{compressedFrame(corrupt)}, 1007},
		{"ends in the middle", []wstest.Frame{compressedFrame(good[:len(good)-3])}, 1007},
		{"noise", []wstest.Frame{compressedFrame([]byte("\xde\xad\xbe\xef\xde\xad\xbe\xef"))}, 1007},
		{"text that is not UTF-8", []wstest.Frame{compressedFrame(deflated(t, []byte("ab\xff\xfecd")))}, 1007},
		{"text that ends inside a code point", []wstest.Frame{compressedFrame(deflated(t, []byte("ab\xe2\x82")))}, 1007},
		{"RSV1 on a continuation", []wstest.Frame{{RSV: rsv1, Op: wstest.Text, Payload: good[:5]}, {Fin: true, RSV: rsv1, Op: wstest.Continuation, Payload: good[5:]}}, 1002},
		{"RSV1 on a ping", []wstest.Frame{{Fin: true, RSV: rsv1, Op: wstest.Ping}}, 1002},
		{"RSV1 on a close frame", []wstest.Frame{{Fin: true, RSV: rsv1, Op: wstest.Close}}, 1002},
		{"RSV2 with RSV1", []wstest.Frame{{Fin: true, RSV: rsv1 | 2, Op: wstest.Text, Payload: good}}, 1002},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{deflate: &alone}, netfake.Options{})
				p.WriteFrames(tt.frames...)
				if tt.code == 0 {
					p.wantRead(t, MessageText, string(msg))
					return
				}
				reading := start(func() error { return p.readError() })
				p.WantClose(tt.code)
				p.Close()
				if err := <-reading; errors.Is(err, io.EOF) || CloseStatus(err) != -1 {
					t.Errorf("the reader is told %v", err)
				}
			})
		})
	}
}

// A few bytes that inflate to many: inflation stops at the read limit, and
// memory stays near it.
func TestInflateBomb(t *testing.T) {
	const limit = 1 << 20
	bomb := deflated(t, make([]byte, 256<<20))
	ways := map[string]struct {
		fragments int
		read      func(c *Conn) error
	}{
		"whole, Read":          {1, func(c *Conn) error { _, _, err := c.Read(context.Background()); return err }},
		"whole, Messages":      {1, func(c *Conn) error { return echo(c) }},
		"fragmented, ReadInto": {100, func(c *Conn) error { _, _, err := c.ReadInto(context.Background(), nil); return err }},
		"whole, Reader": {1, func(c *Conn) error {
			_, r, err := c.Reader(context.Background())
			if err == nil {
				var n int64
				if n, err = io.Copy(io.Discard, r); n > limit {
					t.Errorf("%d bytes were streamed", n)
				}
			}
			return err
		}},
		"fragmented, abandoned": {100, func(c *Conn) error {
			_, _, err := c.Reader(context.Background())
			if err == nil {
				_, _, err = c.Read(context.Background())
			}
			return err
		}},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{deflate: &alone, readLimit: limit}, netfake.Options{Buffer: 2 << 20})
				var frames []wstest.Frame
				size := len(bomb)/way.fragments + 1
				for i := 0; i < len(bomb); i += size {
					f := wstest.Frame{Op: wstest.Continuation, Payload: bomb[i:min(i+size, len(bomb))]}
					if i == 0 {
						f.Op, f.RSV = wstest.Binary, rsv1
					}
					f.Fin = i+size >= len(bomb)
					frames = append(frames, f)
				}
				p.WriteFrames(frames...)
				var err error
				took := allocated(func() {
					reading := start(func() error { return way.read(p.c) })
					p.WantClose(1009)
					p.Close()
					err = <-reading
				})
				if !errors.Is(err, ErrMessageTooBig) {
					t.Errorf("the reader is told %v", err)
				}
				if took > 4*limit {
					t.Errorf("%d bytes were allocated for a limit of %d", took, limit)
				}
			})
		})
	}
}

// A message of exactly the limit passes, one byte more does not, however it is
// read.
func TestInflateLimit(t *testing.T) {
	for _, size := range []int{1000, 1001} {
		bothRoles(t, func(t *testing.T, client bool) {
			for _, stream := range []bool{false, true} {
				p := newPair(t, client, connConfig{deflate: &alone, readLimit: 1000}, netfake.Options{})
				p.WriteFrames(compressedFrame(deflated(t, bytes.Repeat([]byte("x"), size))))
				done := start(func() error {
					if !stream {
						_, _, err := p.c.Read(context.Background())
						return err
					}
					_, r, err := p.c.Reader(context.Background())
					if err == nil {
						_, err = io.ReadAll(r)
					}
					return err
				})
				if size > 1000 {
					p.WantClose(1009)
					p.Close()
				}
				if err := <-done; errors.Is(err, ErrMessageTooBig) != (size > 1000) || size <= 1000 && err != nil {
					t.Errorf("%d bytes, streamed %v: %v", size, stream, err)
				}
			}
		})
	}
}

// A read that is cut short inside a compressed message loses nothing, whatever
// the next read is.
func TestInflateCancelled(t *testing.T) {
	takeover := deflateParams{serverBits: 15, clientBits: 15}
	msg := bytes.Repeat([]byte("0123456789 "), 60)
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 6)
	var stream []wstest.Frame
	for range 8 {
		b.Reset()
		w.Write(msg)
		w.Flush()
		p := bytes.Clone(bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff}))
		stream = append(stream, wstest.Frame{RSV: rsv1, Op: wstest.Text, Payload: p[:len(p)/2]}, wstest.Frame{Fin: true, Op: wstest.Continuation, Payload: p[len(p)/2:]})
	}
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{deflate: &takeover}, netfake.Options{})
		n, got := 0, 0
		for _, b := range p.Encode(stream...) {
			p.WriteRaw([]byte{b})
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			var data []byte
			var err error
			switch n++; n % 3 {
			case 0:
				_, data, err = p.c.Read(ctx)
			case 1:
				for m, e := range p.c.Messages(ctx) {
					data, err = bytes.Clone(m.Data), e
					break
				}
			default:
				_, data, err = p.c.ReadInto(ctx, make([]byte, 100))
			}
			cancel()
			switch {
			case errors.Is(err, context.DeadlineExceeded):
			case err != nil:
				t.Fatal(err)
			case !bytes.Equal(data, msg):
				t.Fatalf("message %d: %q", got, data)
			default:
				got++
			}
		}
		if got != 8 {
			t.Errorf("%d messages came", got)
		}
	})
	// The same with a Reader that takes over what a Read has begun.
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{deflate: &takeover}, netfake.Options{})
		for i := 0; i < len(stream); i += 2 {
			p.WriteFrames(stream[i])
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			if _, _, err := p.c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			cancel()
			p.WriteFrames(stream[i+1])
			_, r, err := p.c.Reader(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, msg) {
				t.Fatalf("message %d: %q, %v", i/2, got, err)
			}
		}
	})
}

// A message that was compressed and then not sent, because its context ended
// while it waited, is not in the peer's window.
func TestDeflateAborted(t *testing.T) {
	takeover := deflateParams{serverBits: 15, clientBits: 15}
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{deflate: &takeover}, netfake.Options{Buffer: 1 << 10})
		bg := context.Background()
		text := func(i int) []byte {
			return bytes.Repeat([]byte{'a' + byte(i), 'b', 'c', 'd', 'e', byte('0' + i), ' '}, 100)
		}
		noise := make([]byte, 20<<10)
		rng := rand.New(rand.NewPCG(3, 4))
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}
		var want [][]byte
		send := func(ctx context.Context, msg []byte) <-chan error {
			return start(func() error { return p.c.Write(ctx, MessageBinary, msg) })
		}
		if err := <-send(bg, text(0)); err != nil {
			t.Fatal(err)
		}
		blocked := send(bg, noise) // the peer does not read: the wire is taken
		if !running(blocked) {
			t.Fatal("the long write did not block")
		}
		// It compresses to more than is gathered, so it waits for the wire.
		big := append(bytes.Clone(noise[:6<<10]), bytes.Repeat(text(1), 20)...)
		ctx, cancel := context.WithTimeout(bg, time.Second)
		if err := <-send(ctx, big); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the write that waited: %v", err)
		}
		cancel()
		last := send(bg, append(bytes.Clone(big), "end"...))
		want = append(want, text(0), noise, append(bytes.Clone(big), "end"...))

		window := flate.NewReader(nil)
		var dict []byte
		for i, msg := range want {
			var payload []byte
			f := readAny(t, p)
			payload = f.Payload
			if f.RSV == rsv1 {
				window.(flate.Resetter).Reset(io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")), dict)
				var err error
				if payload, err = io.ReadAll(window); err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
				dict = append(dict, payload...)
				dict = dict[max(0, len(dict)-32<<10):]
			}
			if !bytes.Equal(payload, msg) {
				t.Fatalf("message %d: %d bytes, want %d", i, len(payload), len(msg))
			}
		}
		if err := errors.Join(<-blocked, <-last); err != nil {
			t.Error(err)
		}
	})
}

func TestCompressedAllocs(t *testing.T) {
	if raceEnabled || poison.On {
		t.Skip("pools forget under the race detector, and note who takes what where they are poisoned")
	}
	for _, p := range []deflateParams{alone, {serverBits: 15, clientBits: 15}} {
		msg := bytes.Repeat([]byte(`{"id":1,"name":"sensor"},`), 40)
		c := newConn(connConfig{transport: &loopConn{}, deflate: &p})
		ctx := context.Background()
		if n := testing.AllocsPerRun(200, func() { c.Write(ctx, MessageText, msg) }); n != 0 {
			t.Errorf("%+v: a write allocates %v times", p, n)
		}
		payload := deflated(t, msg) // refers to nothing before, so that it can come again and again
		data := append(appendHeader(nil, header{headerBits: headerBits{fin: true, rsv: rsv1Bit, opcode: opText}, length: int64(len(payload))}), payload...)
		r := newConn(connConfig{transport: &loopConn{data: data}, client: true, deflate: &p})
		buf := make([]byte, 0, 2048)
		if n := testing.AllocsPerRun(200, func() { r.ReadInto(ctx, buf) }); n != 0 {
			t.Errorf("%+v: ReadInto allocates %v times", p, n)
		}
		if n := testing.AllocsPerRun(200, func() {
			for range r.Messages(ctx) {
				break
			}
		}); n > 1 { // the iterator's own
			t.Errorf("%+v: Messages allocates %v times", p, n)
		}
	}
}

// A peer sends messages in every shape: compressed with one history, plain, in
// fragments, some of them empty, pings between them. They arrive in pieces of
// any size, and are read in every way. Reads are given up and taken up again in
// another way, or leave a message half read. Nothing is lost, nothing comes
// twice.
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
			// The read discards the rest of the last one, and nothing follows.
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

// Compressed messages made to do harm. Messages that inflate to more than is
// allowed are in TestInflateBomb and TestInflateLimit. Corrupt ones are in
// TestInflateRefused and in internal/flate. The parameters of the negotiation
// are in TestDeflateParamsInvalid, TestAcceptDeflate and
// TestCompressionAnswerRefused. Messages that the sender aborted are in
// TestDeflateAborted and TestDeflateAbortedAnywhere. Those that the reader
// aborted are in TestInflateCancelled and TestCompressedReaderAbandoned.

// packBits packs a string of 0 and 1, the first bit of a byte lowest, as
// deflate does. Other characters are passed over.
func packBits(s string) []byte {
	var out []byte
	n := 0
	for _, c := range s {
		if c != '0' && c != '1' {
			continue
		}
		if n%8 == 0 {
			out = append(out, 0)
		}
		out[n/8] |= byte(c-'0') << (n % 8)
		n++
	}
	return out
}

// Blocks that inflate to nothing (RFC 1951, section 3.2).
var (
	emptyStored = []byte{0x00, 0x00, 0x00, 0xff, 0xff}
	emptyFixed  = packBits(strings.Repeat("0 10 0000000", 4))
	// Of two dynamic blocks: 257 literal/length codes, of which 256 has one bit
	// and the others none, and no distance codes. Code 18 repeats a length of
	// zero for 138 and 118 symbols.
	emptyDynamic = packBits(strings.Repeat("0 01 00000 00000 0111"+
		"000 000 100 010 000 000 000 000 000 000 000 000 000 000 000 000 000 010"+
		"0 1111111 0 1101011 11 10 0", 2))
)

// Frames that inflate to nothing never reach the read limit. A message that
// goes on with it is refused by what has come of it on the wire. That holds
// whatever it is made of, in frames of any size, however it is read or
// discarded.
func TestHostileDeflateNothing(t *testing.T) {
	const limit = 1000
	const most = limit*deflateExpansion + spareDeflate + deflateExpansion - 1
	left := func(c *Conn) (MessageType, []byte, error) {
		if _, _, err := c.Reader(context.Background()); err != nil {
			return 0, nil, err
		}
		return c.Read(context.Background())
	}
	for name, block := range map[string][]byte{"stored": emptyStored, "fixed": emptyFixed, "dynamic": emptyDynamic} {
		for _, size := range []int{1, 1000, 30_000} {
			if size == 1 && raceEnabled {
				continue // takes long
			}
			t.Run(fmt.Sprint(name, " in frames of ", size), func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					for how, read := range append([]func(*Conn) (MessageType, []byte, error){left}, reads...) {
						p := newPair(t, client, connConfig{deflate: &withTakeover, readLimit: limit}, netfake.Options{Buffer: 1 << 20})
						nothing := bytes.Repeat(block, (most+size)/len(block)+1)
						var stream []byte
						sent := 0
						for ; sent+size <= most; sent += size {
							f := wstest.Frame{Op: wstest.Continuation, Payload: nothing[sent : sent+size]}
							if sent == 0 {
								f.Op, f.RSV = wstest.Binary, rsv1
							}
							stream = f.Append(stream, p.Role)
						}
						took := allocated(func() {
							done := start(func() error { _, _, err := read(p.c); return err })
							p.WriteRaw(stream)
							if !running(done) {
								t.Fatalf("way %d: refused with %d bytes: %v", how, sent, <-done)
							}
							p.WriteFrames(wstest.Frame{Op: wstest.Continuation, Payload: nothing[sent : most+1]})
							p.WantClose(1009)
							p.Close()
							if err := <-done; !errors.Is(err, ErrMessageTooBig) {
								t.Errorf("way %d: the reader is told %v", how, err)
							}
						})
						if took > 1<<20 { // the transport's buffer takes part of it
							t.Errorf("way %d: %d KiB were allocated", how, took>>10)
						}
					}
				})
			})
		}
	}
}

// The worst that a compressor makes of a message is a flush behind every byte,
// and stored blocks only. That is taken at the read limit, and so is the
// longest message that does not compress.
func TestDeflateAtItsWorst(t *testing.T) {
	msg := bytes.Repeat([]byte("0123456789"), 10_000)
	var flushed []byte
	for _, b := range msg {
		flushed = append(flushed, 0, 1, 0, 0xfe, 0xff, b, 0, 0, 0, 0xff, 0xff)
	}
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{deflate: &withTakeover, readLimit: int64(len(msg))}, netfake.Options{Buffer: 2 << 20})
		p.WriteFrames(compressedFrame(append(flushed, 0)))
		p.wantRead(t, MessageText, string(msg))
	})
}

// A declared length does not tell what a compressed message inflates to, but
// what no message can have is refused on the header.
func TestHostileDeflateLength(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		for _, length := range []uint64{1 << 31, 1 << 62, 1<<63 - 1} {
			p := newPair(t, client, connConfig{deflate: &alone}, netfake.Options{})
			f := compressedFrame(nil)
			f.Declare = length
			p.WriteFrames(f)
			read := start(p.readError)
			p.WantClose(1009)
			p.Close()
			if err := <-read; !errors.Is(err, ErrMessageTooBig) {
				t.Errorf("%d bytes: %v", length, err)
			}
		}
	})
}

// Without a read limit a bomb is the application's matter: what is streamed
// takes no more memory for it.
func TestHostileDeflateBombStreamed(t *testing.T) {
	const size = 16 << 20
	bomb := deflated(t, make([]byte, size))
	for name, read := range map[string]func(c *Conn) io.Reader{
		"Reader": func(c *Conn) io.Reader {
			_, r, err := c.Reader(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			return r
		},
		"NetConn": func(c *Conn) io.Reader {
			return io.LimitReader(NetConn(context.Background(), c, MessageText), size)
		},
	} {
		c := newConn(connConfig{transport: &loopConn{data: wstest.Encode(wstest.Client, compressedFrame(bomb))}, deflate: &alone, readLimit: -1})
		took := allocated(func() {
			if n, err := io.Copy(io.Discard, struct{ io.Reader }{read(c)}); n != size || err != nil {
				t.Errorf("%s: %d bytes, %v", name, n, err)
			}
		})
		if took > 1<<20 {
			t.Errorf("%s: %d KiB were allocated", name, took>>10)
		}
		c.CloseNow()
	}
}

// A message that refers to what was never sent on its connection, or no longer
// counts, is refused. No byte that other connections or earlier messages have
// left in memory comes out.
func TestHostileDeflateHistory(t *testing.T) {
	secret := bytes.Repeat([]byte("secret of another connection "), 1200)
	// Pairs of length 3 with each distance, in fixed codes (RFC 1951, section
	// 3.2.5), and the empty block at the end.
	refer := func(code, extra string) []byte { return packBits("0 10 0000001" + code + extra + "0000000 000") }
	pairs := map[int][]byte{
		1:     refer("00000", ""),
		257:   refer("10000", "0000000"),
		513:   refer("10010", "00000000"),
		32768: refer("11101", "1111111111111"),
	}
	small := deflateParams{serverBits: 9, clientBits: 9}
	noise := deflated(t, bytes.Repeat([]byte("0123456789abcdef"), 2100))
	for _, test := range []struct {
		name     string
		params   deflateParams
		before   bool // a message precedes
		distance int
		ok       bool
	}{
		{"first message", withTakeover, false, 1, false},
		{"first message", withTakeover, false, 257, false},
		{"first message", withTakeover, false, 32768, false},
		{"first message, no takeover", alone, false, 1, false},
		{"first message, no takeover", alone, false, 32768, false},
		{"second message", withTakeover, true, 1, true},
		{"second message", withTakeover, true, 32768, true},
		{"second message, no takeover", alone, true, 1, false},
		{"second message, no takeover", alone, true, 32768, false},
		{"second message, window of 512", small, true, 257, true},
		{"second message, window of 512", small, true, 513, false},
		{"second message, window of 512", small, true, 32768, false},
	} {
		t.Run(fmt.Sprintf("%s, distance %d", test.name, test.distance), func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				for how, read := range reads {
					other := newPair(t, client, connConfig{deflate: &test.params}, netfake.Options{Buffer: 1 << 20})
					if test.params.clientBits == 15 {
						other.WriteFrames(compressedFrame(deflated(t, secret)))
						if _, got, err := read(other.c); err != nil || !bytes.Equal(got, secret) {
							t.Fatalf("%d bytes, %v", len(got), err)
						}
					}
					other.c.CloseNow() // its memory is free for others

					p := newPair(t, client, connConfig{deflate: &test.params}, netfake.Options{Buffer: 1 << 20})
					if test.before {
						first := noise
						if test.params.clientBits < 15 {
							first = storedBlocks(600)
						}
						p.WriteFrames(compressedFrame(first))
						if _, _, err := read(p.c); err != nil {
							t.Fatal(err)
						}
					}
					p.WriteFrames(compressedFrame(pairs[test.distance]))
					var got []byte
					done := start(func() error { var err error; _, got, err = read(p.c); return err })
					if test.ok {
						if err := <-done; err != nil || len(got) != 3 {
							t.Errorf("way %d: %q, %v", how, got, err)
						}
						continue
					}
					p.WantClose(1007)
					p.Close()
					if err := <-done; err == nil || len(got) > 0 {
						t.Errorf("way %d: %q, %v", how, got, err)
					}
				}
			})
		})
	}
}

// storedBlocks is a message of n bytes that refers to nothing.
func storedBlocks(n int) []byte {
	b := []byte{0, byte(n), byte(n >> 8), ^byte(n), ^byte(n >> 8)}
	return append(append(b, bytes.Repeat([]byte("x"), n)...), 0)
}

// A message that could not be inflated leaves an unknown history: nothing
// behind it is delivered.
func TestHostileDeflateAfterCorrupt(t *testing.T) {
	good := compressedFrame(deflated(t, []byte("good")))
	bothRoles(t, func(t *testing.T, client bool) {
		for how, read := range reads {
			p := newPair(t, client, connConfig{deflate: &withTakeover}, netfake.Options{})
			p.WriteFrames(good, compressedFrame([]byte("\xff\xff\xff\xff")), good, text("plain"))
			if _, got, err := read(p.c); err != nil || string(got) != "good" {
				t.Fatalf("way %d: %q, %v", how, got, err)
			}
			done := start(func() error { _, _, err := read(p.c); return err })
			p.WantClose(1007)
			p.Close()
			err := <-done
			for range 3 {
				if typ, got, again := read(p.c); again == nil || again.Error() != err.Error() {
					t.Errorf("way %d: behind %v comes %v %q, %v", how, err, typ, got, again)
				}
			}
			synctest.Wait()
		}
	})
}

// A streamConn is a transport from which a fixed stream comes, in pieces, and
// that takes all that is written.
type streamConn struct {
	stream []byte
	piece  int
}

func (c *streamConn) Read(p []byte) (int, error) {
	if len(c.stream) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.stream)
	c.stream = c.stream[n:]
	return n, nil
}
func (c *streamConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *streamConn) Close() error                     { return nil }
func (c *streamConn) LocalAddr() net.Addr              { return nil }
func (c *streamConn) RemoteAddr() net.Addr             { return nil }
func (c *streamConn) SetDeadline(time.Time) error      { return nil }
func (c *streamConn) SetReadDeadline(time.Time) error  { return nil }
func (c *streamConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzDeflatedMessages gives a connection any bytes as the payloads of
// compressed messages. The fragments have any size, and so have the pieces in
// which the transport gives them. A message is read whole, as a stream, lent,
// or in one piece. Each way of reading returns the same messages and then
// fails, within the limit. No pooled buffer is left behind.
func FuzzDeflatedMessages(f *testing.F) {
	for _, msg := range []string{"", "Hello", "Hello, hello, hello", string(bytes.Repeat([]byte("0123456789 "), 2000))} {
		payload := deflated(f, []byte(msg))
		f.Add(payload, byte(0), byte(7), byte(200))
		f.Add(append(payload, payload...), byte(3), byte(1), byte(3))
		f.Add(payload[:len(payload)/2], byte(1), byte(255), byte(100))
	}
	f.Fuzz(func(t *testing.T, payload []byte, mode, fragment, piece byte) {
		text, takeover := mode&1 != 0, mode&2 != 0
		op := wstest.Binary
		if text {
			op = wstest.Text
		}
		// The payload comes twice: what one message leaves behind is what the
		// next one refers to.
		var stream []byte
		for range 2 {
			rest, first := payload, true
			for first || len(rest) > 0 {
				n := min(len(rest), 1+int(fragment)*8)
				frame := wstest.Frame{Op: wstest.Continuation, Fin: n == len(rest), Payload: rest[:n]}
				if first {
					frame.Op, frame.RSV = op, rsv1
				}
				stream = frame.Append(stream, wstest.Client)
				rest, first = rest[n:], false
			}
		}
		params := deflateParams{serverBits: 15, clientBits: 15, clientNoTakeover: !takeover}
		const limit = 1 << 16
		read := func(piece int, next func(c *Conn) ([]byte, error)) (msgs [][]byte, err error) {
			defer buffersReturn(t)()
			c := newConn(connConfig{
				transport: &streamConn{bytes.Clone(stream), piece}, deflate: &params, readLimit: limit,
				pingInterval: -1, pongTimeout: -1,
			})
			defer c.CloseNow()
			for {
				msg, err := next(c)
				if err != nil {
					return msgs, err
				}
				if len(msg) > limit {
					t.Fatalf("a message of %d bytes", len(msg))
				}
				msgs = append(msgs, bytes.Clone(msg))
			}
		}
		ctx := context.Background()
		whole := func(c *Conn) ([]byte, error) {
			_, msg, err := c.Read(ctx)
			return msg, err
		}
		want, wantErr := read(len(stream)+1, whole)
		for name, next := range map[string]func(c *Conn) ([]byte, error){
			"in pieces": whole,
			"lent": func(c *Conn) (msg []byte, err error) {
				err = io.EOF
				for m, readErr := range c.Messages(ctx) {
					msg, err = bytes.Clone(m.Data), readErr
					break
				}
				return msg, err
			},
			"streamed": func(c *Conn) ([]byte, error) {
				_, r, err := c.Reader(ctx)
				if err != nil {
					return nil, err
				}
				var msg []byte
				b := make([]byte, 1+int(piece)*3)
				for {
					n, err := r.Read(b)
					if msg = append(msg, b[:n]...); err == io.EOF {
						return msg, nil
					} else if err != nil {
						return nil, err
					}
				}
			},
		} {
			got, err := read(1+int(piece)*5, next)
			same := len(got) == len(want)
			for i := range got {
				same = same && bytes.Equal(got[i], want[i])
			}
			if !same || errors.Is(err, io.ErrUnexpectedEOF) != errors.Is(wantErr, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %d messages, then %v; whole: %d, then %v", name, len(got), err, len(want), wantErr)
			}
		}
	})
}
