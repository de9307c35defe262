package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Compressed messages made to do harm. Messages that inflate to more than is allowed are in TestInflateBomb and
// TestInflateLimit, corrupt ones in TestInflateRefused and in internal/flate, the parameters of the negotiation in
// TestDeflateParamsInvalid, TestAcceptDeflate and TestCompressionAnswerRefused, messages that were aborted by the
// sender in TestDeflateAborted and TestDeflateAbortedAnywhere, and by the reader in TestInflateCancelled and
// TestCompressedReaderAbandoned.

// packBits packs a string of 0 and 1, the first bit of a byte lowest, as deflate does. Other characters are passed
// over.
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
	// Of two dynamic blocks: 257 literal/length codes, of which 256 has one bit and the others none, and no distance
	// codes; 18 repeats a length of zero for 138 and 118 symbols.
	emptyDynamic = packBits(strings.Repeat("0 01 00000 00000 0111"+
		"000 000 100 010 000 000 000 000 000 000 000 000 000 000 000 000 000 010"+
		"0 1111111 0 1101011 11 10 0", 2))
)

// What inflates to nothing never reaches the read limit. A message that goes on with it is refused by what has come
// of it on the wire, whatever it is made of, in frames of any size, however it is read or discarded.
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

// The worst that a compressor makes of a message, a flush behind every byte and stored blocks only, is taken at the
// read limit, and so is the longest message that does not compress.
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

// A declared length says nothing of what a compressed message inflates to, but what no message can have is refused on
// the header.
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

// Without a read limit a bomb is the application's matter: what is streamed takes no more memory for it.
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

// A message that refers to what was never sent on its connection, or no longer counts, is refused: nothing of what
// other connections have left in memory comes out, nor of the messages before.
func TestHostileDeflateHistory(t *testing.T) {
	secret := bytes.Repeat([]byte("secret of another connection "), 1200)
	// Pairs of length 3 with each distance, in fixed codes (RFC 1951, section 3.2.5), and the empty block at the end.
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

// A message that could not be inflated leaves a history that nobody knows: nothing behind it is delivered.
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

// Sizes of windows that are none, in an offer and in an answer, over HTTP: a server goes on without compression, a
// client refuses.
func TestHostileWindowBits(t *testing.T) {
	mode := CompressionContextTakeover
	for _, bits := range []string{"0", "1", "7", "16", "31", "255", "256", "264", "08", "-9", "%2b9", "9.0", "0x9", "1e1", "ten",
		"4294967305", "18446744073709551625", strings.Repeat("9", 1000), strings.Repeat("0", 1000) + "9"} {
		for _, side := range []string{"server", "client"} {
			value := fmt.Sprintf("permessage-deflate; %s_max_window_bits=%s", side, bits)
			s := newServer(t, Handler(serveEcho, &AcceptOptions{CompressionMode: mode}), false)
			// The client of another library that offers value.
			tr := roundTripper(func(r *http.Request) (*http.Response, error) {
				r.Header.Set("Sec-WebSocket-Extensions", value)
				return http.DefaultTransport.RoundTrip(r)
			})
			c, resp, err := Dial(t.Context(), wsURL(s), &DialOptions{HTTPClient: &http.Client{Transport: tr}})
			if err != nil || resp.Header["Sec-Websocket-Extensions"] != nil {
				t.Errorf("the offer %.60q: %v", value, err)
			} else {
				checkEcho(t, c)
			}
			client := pipeServer(t, asIs, func(p *wstest.Peer) {
				p.ServerHandshake("Sec-WebSocket-Extensions: " + value)
				p.WantEnd()
			})
			if c, _, err := Dial(t.Context(), "ws://example.com/", &DialOptions{HTTPClient: client, CompressionMode: mode}); c != nil || err == nil {
				t.Errorf("the answer %.60q is taken", value)
			} else if len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		}
	}
}
