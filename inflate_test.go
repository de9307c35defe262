package websocket

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/poison"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// deflated returns msg compressed by another implementation than ours, with the 00 00 FF FF left off (RFC 7692,
// section 7.2.1).
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

// RFC 7692, section 6: RSV1 on the first frame of a compressed message, nowhere else. A message written whole is one frame.
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

// What a peer can do wrong, or may do though it is odd.
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

// A few bytes that inflate to many: inflation stops at the read limit, and memory stays near it.
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

// A message of exactly the limit passes, one byte more does not, however it is read.
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

// A read that is cut short inside a compressed message loses nothing, whatever the next read is.
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

// A message that was compressed and then not sent, because its context ended while it waited, is not in the peer's window.
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
