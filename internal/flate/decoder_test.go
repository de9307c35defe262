package flate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// readAll inflates a message with Read, giving it in pieces of pieceIn bytes and asking for pieceOut at a time.
func readAll(d *Decoder, payload []byte, pieceIn, pieceOut int) ([]byte, error) {
	var msg []byte
	p := make([]byte, pieceOut)
	for {
		src := payload[:min(pieceIn, len(payload))]
		final := len(src) == len(payload)
		n, used, err := d.Read(p, src, final)
		msg = append(msg, p[:n]...)
		payload = payload[used:]
		if err == io.EOF {
			if len(payload) != 0 {
				return nil, fmt.Errorf("%d bytes of payload left at the end", len(payload))
			}
			return msg, nil
		}
		if err != nil {
			return msg, err
		}
		if n == 0 && used == 0 && (len(src) > 0 || final) {
			return nil, fmt.Errorf("no progress")
		}
	}
}

// appendAll inflates a message with AppendChunk in pieces.
func appendAll(d *Decoder, dst, payload []byte, piece, limit int) ([]byte, error) {
	for {
		src := payload[:min(piece, len(payload))]
		payload = payload[len(src):]
		var err error
		dst, err = d.AppendChunk(dst, src, len(payload) == 0, limit)
		if err != nil || len(payload) == 0 {
			return dst, err
		}
	}
}

// stdPayload compresses msg with compress/flate as a permessage-deflate endpoint that uses it would.
func stdPayload(msg []byte, level int) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, level)
	w.Write(msg)
	w.Flush()
	return b.Bytes()[:b.Len()-4]
}

// sameAsNaive inflates payload in every way and compares result and verdict with naiveInflate's.
func sameAsNaive(payload, history []byte, bits int) error {
	want, wantErr := naiveInflate(payload, history, 1<<bits)
	check := func(how string, got []byte, err error) error {
		switch {
		case wantErr != nil && err == nil:
			return fmt.Errorf("%s: no error, want %v", how, wantErr)
		case wantErr == nil && err != nil:
			return fmt.Errorf("%s: %v", how, err)
		case err != nil && !errors.Is(err, ErrCorrupt):
			return fmt.Errorf("%s: %v is not ErrCorrupt", how, err)
		case err == nil && !bytes.Equal(got, want):
			return fmt.Errorf("%s: wrong message", how)
		}
		return nil
	}
	newDecoder := func() *Decoder {
		d := NewDecoder(bits, true)
		d.past.add(history[:len(history)/3], 1<<bits) // in two steps: the ring may have gone round
		d.past.add(history[len(history)/3:], 1<<bits)
		return d
	}
	got, err := newDecoder().AppendMessage([]byte("before"), payload, -1)
	if err := check("AppendMessage", bytes.TrimPrefix(got, []byte("before")), err); err != nil {
		return err
	}
	// A buffer that is just large enough, and one that is too small.
	if wantErr == nil {
		got, err = newDecoder().AppendMessage(make([]byte, 0, len(want)), payload, len(want))
		if err := check("AppendMessage up to the limit", got, err); err != nil {
			return err
		}
		if len(want) > 0 {
			if _, err = newDecoder().AppendMessage(nil, payload, len(want)-1); err != ErrTooLarge {
				return fmt.Errorf("AppendMessage past the limit: %v", err)
			}
		}
	}
	for _, piece := range []int{1, 2, 3, 7, 20, 1000} {
		got, err = appendAll(newDecoder(), nil, payload, piece, -1)
		if err := check(fmt.Sprintf("AppendChunk, %d at a time", piece), got, err); err != nil {
			return err
		}
		got, err = readAll(newDecoder(), payload, piece, 1+1000/piece)
		if err := check(fmt.Sprintf("Read, %d at a time", piece), got, err); err != nil {
			return err
		}
	}
	return nil
}

func TestDecoderSizes(t *testing.T) {
	all := append(corpora[:len(corpora):len(corpora)], moreCorpora...)
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			long := c.make(1, 70000)
			e := NewEncoder(15, false)
			for size := 0; size <= 70000; {
				msg := long[:size]
				payloads := [][]byte{e.AppendChunk(nil, msg, true)}
				if size%10 == 0 {
					payloads = append(payloads, stdPayload(msg, size/10%11-2)) // all levels, HuffmanOnly included
				}
				for _, p := range payloads {
					if err := sameAsNaive(p, nil, 15); err != nil {
						t.Fatalf("%d bytes: %v", size, err)
					}
				}
				if size < 300 {
					size += 1 + 12*lighter
				} else {
					size += size
				}
			}
		})
	}
}

// TestDecoderTakeover sends messages that refer to the whole of the window, and only to it.
func TestDecoderTakeover(t *testing.T) {
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			t.Parallel()
			rnd := newRand(uint64(bits))
			e := NewEncoder(bits, true)
			d := NewDecoder(bits, true)
			all := append(corpora[:len(corpora):len(corpora)], moreCorpora...)
			for i := range 1500 - 1200*lighter {
				msg := all[rnd.IntN(len(all))].make(uint64(rnd.IntN(60)), rnd.IntN(1<<rnd.IntN(14)))
				var got []byte
				var err error
				payload, ok := e.AppendMessage(nil, msg)
				if !ok {
					continue
				}
				switch i % 3 {
				case 0:
					got, err = d.AppendMessage(nil, payload, len(msg))
				case 1:
					got, err = readAll(d, payload, 1+rnd.IntN(500), 1+rnd.IntN(500))
				default:
					got, err = appendAll(d, nil, payload, 1+rnd.IntN(500), -1)
				}
				if err != nil || !bytes.Equal(got, msg) {
					t.Fatalf("message %d, %d bytes: %v", i, len(msg), err)
				}
				if d.in != nil {
					t.Fatal("working memory is kept between messages")
				}
				if n := cap(d.past.buf); n > 1<<bits {
					t.Fatalf("%d bytes kept for a window of %d", n, 1<<bits)
				}
			}
		})
	}
}

// TestDecoderReach: a distance may be as long as the window, whatever the window holds, and no longer.
func TestDecoderReach(t *testing.T) {
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		for _, sent := range []int{1, 100, 255, 256, 257, 1<<bits - 1, 1 << bits, 1<<bits + 1, 3<<bits - 5} {
			d := NewDecoder(bits, true)
			history := randomData(1, sent)
			for rest := history; len(rest) > 0; {
				n := min(len(rest), 77)
				msg := rest[:n]
				rest = rest[n:]
				var w bitWriter
				putStored(&w, msg)
				w.flush()
				if got, err := d.AppendMessage(nil, w.out, -1); err != nil || !bytes.Equal(got, msg) {
					t.Fatal(err)
				}
			}
			reach := min(sent, 1<<bits)
			for _, dist := range []int{1, reach - 1, reach, reach + 1} {
				if dist < 1 || dist > 1<<15 {
					continue
				}
				var w bitWriter
				putPair(&w, 5, dist)
				w.flush()
				if err := sameAsNaive(w.out, history, bits); err != nil {
					t.Fatalf("window %d, %d sent, distance %d: %v", 1<<bits, sent, dist, err)
				}
				if _, err := naiveInflate(w.out, history, 1<<bits); (err == nil) != (dist <= reach) {
					t.Fatalf("window %d, %d sent, distance %d: %v", 1<<bits, sent, dist, err)
				}
			}
		}
	}
}

// TestDecoderWindow: the window bounds distances within a message too.
func TestDecoderWindow(t *testing.T) {
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		for _, dist := range []int{1<<bits - 1, 1 << bits, 1<<bits + 1} {
			if dist > 1<<15 {
				continue
			}
			for _, behind := range []int{0, 100} { // near the end of the input, and not
				var w bitWriter
				putStored(&w, randomData(1, 1<<bits+100))
				putPair(&w, 9, dist)
				putStored(&w, randomData(2, behind))
				w.flush()
				err := sameAsNaive(w.out, nil, bits)
				if err != nil {
					t.Fatalf("window %d, distance %d: %v", 1<<bits, dist, err)
				}
				_, err = NewDecoder(bits, false).AppendMessage(nil, w.out, -1)
				if want := dist > 1<<bits; errors.Is(err, errDistance) != want || (err != nil) != want {
					t.Fatalf("window %d, distance %d: %v", 1<<bits, dist, err)
				}
			}
		}
	}
}

// TestDecoderLongCodes: a pair may take 48 bits.
func TestDecoderLongCodes(t *testing.T) {
	// Literals and distances of 1 to 14 bits, and two codes of 15 bits each: the end of the block and the symbol 284,
	// and the distances 28 and 29.
	d := dynamic{hlit: 285, hdist: 30, clen: map[int]int{18: 4}}
	run := func() {
		for l := 1; l <= 14; l++ {
			d.items = append(d.items, [2]int{l, 0})
		}
	}
	for l := 1; l <= 15; l++ {
		d.clen[l] = 4
	}
	run()
	d.items = append(d.items, [][2]int{{18, 127}, {18, 93}, {15, 0}, {18, 16}, {15, 0}}...)
	run()
	d.items = append(d.items, [][2]int{{18, 3}, {15, 0}, {15, 0}}...)
	end, pair := "111111111111110 ", "111111111111111 01010 111111111111111 1010101010101 "
	d.tokens = pair + "0 10 " + pair + "11111111111110 " + pair + end
	for n := range 9 { // the end of the input at every place within the pair's bytes
		d.tokens = strings.Repeat("0 ", n) + d.tokens
		history := randomData(1, 1<<15)
		if err := sameAsNaive(d.payload(), history, 15); err != nil {
			t.Fatal(err)
		}
		if _, err := naiveInflate(d.payload(), history, 1<<15); err != nil {
			t.Fatal(err)
		}
		got, err := NewDecoder(15, true).AppendMessage(nil, d.payload(), -1)
		if err != errDistance {
			t.Fatalf("%x, %v", got, err) // the head is right
		}
	}
}

// putPair appends a fixed block of one pair.
func putPair(w *bitWriter, length, distance int) {
	var b block
	b.add(0, length, distance)
	w.put(1<<1, 3)
	w.putTokens(make([]byte, length), b.seqs[:1], &fixedLitCode, &fixedDistCode, 64)
}

// TestDecoderExamples goes through the examples of RFC 7692 section 7.2.3.
func TestDecoderExamples(t *testing.T) {
	tests := []struct {
		name    string
		payload []byte
		want    string
	}{
		{"7.2.3.1 one block", []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}, "Hello"},
		{"7.2.3.2 with the window of the one before", []byte{0xf2, 0x00, 0x11, 0x00, 0x00}, "Hello"},
		{"7.2.3.3 a stored block", []byte{0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00}, "Hello"},
		{"7.2.3.4 BFINAL", []byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00}, "Hello"},
		{"7.2.3.5 two blocks", []byte{0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00}, "Hello"},
		{"7.2.3.6 an empty message", []byte{0x00}, ""},
		{"BFINAL and the window lives on", []byte{0xf2, 0x00, 0x11, 0x00, 0x00}, "Hello"},
		// Not in the RFC.
		{"no bytes at all", nil, ""},
		{"BFINAL and nothing behind it", []byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}, "Hello"},
		{"BFINAL on the last block", []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x04}, "Hello"},
	}
	d, history := NewDecoder(15, true), []byte(nil)
	for _, test := range tests {
		got, err := d.AppendMessage(nil, test.payload, -1)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
		if err := sameAsNaive(test.payload, history, 15); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		history = append(history, got...)
	}
}

// bitString packs a string of 0 and 1, the first bit of a byte lowest; other characters are passed over.
func bitString(s string) []byte {
	var w bitWriter
	for _, c := range s {
		if c == '0' || c == '1' {
			w.put(uint64(c-'0'), 1)
		}
	}
	w.align()
	return w.out
}

// TestDecoderRefuses has a row for each rule of RFC 1951 and RFC 7692 that a message can break.
func TestDecoderRefuses(t *testing.T) {
	tests := []struct {
		name    string
		payload []byte
		want    error // nil for any
	}{
		{"block type 3", bitString("0 11"), errBlockType},
		{"stored length and its complement differ", []byte{0x00, 0x05, 0x00, 0xfa, 0xfe, 'H', 'e', 'l', 'l', 'o', 0x00}, errStored},
		{"a stored block cut short", []byte{0x00, 0x05, 0x00, 0xfa, 0xff, 'H', 'e'}, nil},
		{"a stored block that takes the tail for data", []byte{0x00, 0x04, 0x00, 0xfb, 0xff}, errEnd},
		{"cut in a fixed block", []byte{0xf2, 0x48, 0xcd}, nil},
		{"no empty block at the end", []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07}, nil},
		{"the tail was not left off", []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x00, 0xff, 0xff}, nil},
		{"something behind the last block", []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x42}, nil},
		{"something behind a final block", []byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x42}, nil},
		{"a pair before any data", bitString("0 10 0000001 00000 0000000 000"), errDistance},
		{"literal/length symbol 286", bitString("0 10 11000110 00000 0000000 000"), errCode},
		{"literal/length symbol 287", bitString("0 10 11000111 00000 0000000 000"), errCode},
		{"distance symbol 30", bitString("0 10 00110000 0000001 11110 0000000 000"), errCode},
		{"distance symbol 31", bitString("0 10 00110000 0000001 11111 0000000 000"), errCode},
		{"287 literal/length codes", dynamic{hlit: 287, hdist: 1}.payload(), errCodeCounts},
		{"288 literal/length codes", dynamic{hlit: 288, hdist: 1}.payload(), errCodeCounts},
		{"31 distance codes", dynamic{hlit: 257, hdist: 31}.payload(), errCodeCounts},
		{"32 distance codes", dynamic{hlit: 257, hdist: 32}.payload(), errCodeCounts},
		{"no code length codes", dynamic{hlit: 257, hdist: 1}.payload(), errCodeLens},
		{"one code length code", dynamic{hlit: 257, hdist: 1, clen: map[int]int{18: 1}}.payload(), errCodeLens},
		{"code length codes incomplete", dynamic{hlit: 257, hdist: 1, clen: map[int]int{18: 1, 1: 2}}.payload(), errCodeLens},
		{"code length codes over-subscribed", dynamic{hlit: 257, hdist: 1, clen: map[int]int{18: 1, 1: 1, 2: 1}}.payload(), errCodeLens},
		{"a repeat with nothing before it", dynamic{hlit: 257, hdist: 1, clen: map[int]int{16: 1, 1: 1},
			items: [][2]int{{16, 0}}}.payload(), errCodeLens},
		{"more code lengths than codes", dynamic{hlit: 257, hdist: 1, clen: map[int]int{18: 1, 1: 1},
			items: [][2]int{{18, 127}, {18, 127}}}.payload(), errCodeLens},
		{"one code length more than codes", dynamic{hlit: 257, hdist: 2, clen: map[int]int{17: 1, 1: 2, 18: 2},
			items: [][2]int{{1, 0}, {18, 127}, {18, 106}, {1, 0}, {17, 0}}}.payload(), errCodeLens},
		{"no end of the block", dynamic{hlit: 257, hdist: 1, clen: map[int]int{18: 1, 1: 1},
			items: [][2]int{{1, 0}, {1, 0}, {18, 127}, {18, 107}, {1, 0}}}.payload(), errCodeLens},
		{"literal codes incomplete", dynamic{hlit: 257, hdist: 1, clen: map[int]int{18: 1, 2: 1},
			items: [][2]int{{2, 0}, {2, 0}, {18, 127}, {18, 105}, {2, 0}, {2, 0}}}.payload(), errCodeLens},
		{"literal codes over-subscribed", dynamic{hlit: 257, hdist: 1, clen: map[int]int{18: 1, 1: 1},
			items: [][2]int{{1, 0}, {1, 0}, {18, 127}, {18, 105}, {1, 0}, {1, 0}}}.payload(), errCodeLens},
		{"distance codes incomplete", dynamic{hlit: 257, hdist: 2, clen: map[int]int{18: 1, 1: 2, 2: 2},
			items: [][2]int{{1, 0}, {18, 127}, {18, 106}, {1, 0}, {2, 0}, {2, 0}}}.payload(), errCodeLens},
		{"distance codes over-subscribed", dynamic{hlit: 257, hdist: 3, clen: map[int]int{18: 1, 1: 1},
			items: [][2]int{{1, 0}, {18, 127}, {18, 106}, {1, 0}, {1, 0}, {1, 0}, {1, 0}}}.payload(), errCodeLens},
		{"one distance code of two bits", dynamic{hlit: 257, hdist: 1, clen: map[int]int{18: 1, 1: 2, 2: 2},
			items: [][2]int{{1, 0}, {18, 127}, {18, 106}, {1, 0}, {2, 0}}}.payload(), errCodeLens},
		{"a pair without distance codes", dynamic{hlit: 258, hdist: 1, clen: map[int]int{18: 1, 1: 2, 0: 2},
			items: [][2]int{{18, 127}, {18, 107}, {1, 0}, {1, 0}, {0, 0}}, tokens: "1 0000000000000000"}.payload(), errCode},
		{"the unused half of a single distance code", dynamic{hlit: 258, hdist: 1, clen: map[int]int{18: 1, 1: 2, 2: 2},
			items: [][2]int{{2, 0}, {18, 127}, {18, 106}, {1, 0}, {2, 0}, {1, 0}}, tokens: "10 11 1 0000000000000000"}.payload(), errCode},
	}
	for _, test := range tests {
		_, err := NewDecoder(15, true).AppendMessage(nil, test.payload, -1)
		if err == nil || test.want != nil && err != test.want {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if err := sameAsNaive(test.payload, nil, 15); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestDecoderAccepts has a row for what is unusual and right.
func TestDecoderAccepts(t *testing.T) {
	tests := []struct {
		name    string
		payload []byte
		want    string
	}{
		{"one distance code of one bit", dynamic{hlit: 258, hdist: 1, clen: map[int]int{18: 1, 1: 2, 2: 2},
			items: [][2]int{{2, 0}, {18, 127}, {18, 106}, {1, 0}, {2, 0}, {1, 0}}, tokens: "10 11 0 0"}.payload(), "\x00\x00\x00\x00"},
		{"no distance codes", dynamic{hlit: 257, hdist: 1, clen: map[int]int{18: 1, 1: 2, 0: 2},
			items: [][2]int{{1, 0}, {18, 127}, {18, 106}, {1, 0}, {0, 0}}, tokens: "0 0 1"}.payload(), "\x00\x00"},
		{"an end of the block and nothing else", dynamic{hlit: 257, hdist: 1, clen: map[int]int{18: 1, 1: 2, 0: 2},
			items: [][2]int{{18, 127}, {18, 107}, {1, 0}, {0, 0}}, tokens: "0"}.payload(), ""},
		{"a run from literals to distances", dynamic{hlit: 258, hdist: 3, clen: map[int]int{18: 1, 16: 2, 2: 2},
			items: [][2]int{{2, 0}, {18, 127}, {18, 107}, {2, 0}, {16, 2}}, tokens: ""}.payload(), "-"},
	}
	for _, test := range tests {
		if err := sameAsNaive(test.payload, nil, 15); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if test.want == "-" {
			continue
		}
		got, err := NewDecoder(15, true).AppendMessage(nil, test.payload, -1)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q, %v, want %q", test.name, got, err, test.want)
		}
	}
}

// dynamic describes a dynamic block, right or wrong.
type dynamic struct {
	hlit, hdist int
	clen        map[int]int // lengths of the code length codes
	items       [][2]int    // code length symbols and their extra bits
	tokens      string      // bits
}

// payload makes a message of the block and an empty stored one.
func (d dynamic) payload() []byte {
	var a alphabet
	for sym, l := range d.clen {
		a.freq[sym] = 1
		a.lens[sym] = uint8(l)
		a.count[l]++
	}
	a.list(numCodeLen)
	a.assign()
	var w bitWriter
	w.put(2<<1, 3)
	w.put(uint64(d.hlit-257), 5)
	w.put(uint64(d.hdist-1), 5)
	w.put(15, 4)
	for _, sym := range codeLenOrder {
		w.put(uint64(a.lens[sym]), 3)
	}
	for _, it := range d.items {
		c := a.code[it[0]]
		w.put(c.bits(), c.len())
		if it[0] >= 16 {
			w.put(uint64(it[1]), []uint{2, 3, 7}[it[0]-16])
		}
	}
	for _, c := range d.tokens {
		if c != ' ' {
			w.put(uint64(c-'0'), 1)
		}
	}
	w.flush()
	return w.out
}

// TestDecoderDamage cuts and changes good messages everywhere.
func TestDecoderDamage(t *testing.T) {
	history := jsonText(1, 300)
	e := NewEncoder(9, true)
	e.Learn(history)
	long, _ := e.AppendMessage(nil, jsonText(2, 700))
	short := e.AppendChunk(nil, []byte("short, and so in the fixed code, code, code"), true)
	stored := e.AppendChunk(nil, randomData(1, 40), true)
	for _, payload := range [][]byte{long, short, stored, stdPayload(jsonText(3, 500), 6)} {
		for n := 0; n < len(payload); n += 1 + 12*lighter {
			if err := sameAsNaive(payload[:n], history, 9); err != nil {
				t.Fatalf("% x, %d bytes of it: %v", payload, n, err)
			}
		}
		for bit := 0; bit < 8*len(payload); bit += 1 + 12*lighter {
			bad := bytes.Clone(payload)
			bad[bit/8] ^= 1 << (bit % 8)
			if err := sameAsNaive(bad, history, 9); err != nil {
				t.Fatalf("% x: %v", bad, err)
			}
		}
	}
}

// TestDecoderLimit: a bomb takes no more memory than the limit and what an inflater takes.
func TestDecoderLimit(t *testing.T) {
	bomb := NewEncoder(15, false).AppendChunk(nil, make([]byte, 16<<20), true)
	const limit = 1 << 20
	for _, piece := range []int{len(bomb), 100} {
		got, err := appendAll(NewDecoder(15, false), nil, bomb, piece, limit)
		if err != ErrTooLarge {
			t.Fatalf("%d at a time: %v", piece, err)
		}
		if cap(got) > limit+limit/8 {
			t.Errorf("%d at a time: %d bytes for a limit of %d", piece, cap(got), limit)
		}
	}
	// Read gives no more than is asked for, and stops anywhere.
	d := NewDecoder(15, false)
	p := make([]byte, 1000)
	sum, src := 0, bomb
	for range 10 {
		n, used, err := d.Read(p, src, true)
		if err != nil || n != len(p) {
			t.Fatal(n, err)
		}
		src = src[used:]
		sum += n
	}
	if used := len(bomb) - len(src); used > 200 {
		t.Errorf("%d bytes of payload were used for %d of the message", used, sum)
	}
}

// TestDecoderMemory holds Decoder to what its comment promises.
func TestDecoderMemory(t *testing.T) {
	payload, _ := NewEncoder(15, false).AppendMessage(nil, jsonText(1, 300))
	d := NewDecoder(15, false)
	d.AppendMessage(nil, payload, -1)
	if d.past != nil || d.in != nil {
		t.Error("without takeover something stays behind")
	}
	d = NewDecoder(15, true)
	d.AppendMessage(nil, payload, -1)
	if n := cap(d.past.buf); n > 512 {
		t.Errorf("%d bytes are kept of 300", n)
	}
}

func TestDecoderAllocs(t *testing.T) {
	if lighter == 1 {
		t.Skip("under the race detector sync.Pool forgets at random")
	}
	for _, takeover := range []bool{false, true} {
		e, d := NewEncoder(15, takeover), NewDecoder(15, takeover)
		var payloads [][]byte
		for i := range 200 {
			payloads = append(payloads, e.AppendChunk(nil, corpora[i%len(corpora)].make(uint64(i), 100+i*20), true))
		}
		buf := make([]byte, 0, 8<<10)
		i := 0
		run := func() {
			var err error
			if i%2 == 0 {
				_, err = d.AppendMessage(buf, payloads[i], -1)
			} else {
				_, _, err = d.Read(buf[:cap(buf)], payloads[i], true)
			}
			if i++; err != nil && err != io.EOF {
				t.Fatal(err)
			}
		}
		for range 99 {
			run()
		}
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("takeover %t: %v allocations a message", takeover, n)
		}
	}
}

// FuzzDecoder compares with the naive inflater, and what is accepted with compress/flate too.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}, []byte(nil), uint8(15))
	f.Add([]byte{0xf2, 0x00, 0x11, 0x00, 0x00}, []byte("Hello"), uint8(8))
	f.Add([]byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00}, []byte(nil), uint8(9))
	f.Add(stdPayload(jsonText(1, 500), 9), []byte(nil), uint8(10))
	f.Add(stdPayload(binaryData(1, 2000), 6), htmlText(1, 500), uint8(11))
	f.Add(stdPayload(randomData(1, 100), -2), []byte(nil), uint8(12))
	f.Fuzz(func(t *testing.T, payload, history []byte, bits uint8) {
		b := MinWindowBits + int(bits)%(MaxWindowBits-MinWindowBits+1)
		if err := sameAsNaive(payload, history, b); err != nil {
			t.Fatal(err)
		}
		msg, err := naiveInflate(payload, history, 1<<b)
		if err != nil {
			return
		}
		// compress/flate stops at a final block; but as far as it goes it agrees.
		var std stdInflater
		got, _ := std.inflate(payload, history)
		if !bytes.HasPrefix(msg, got) {
			t.Fatal("compress/flate inflates it to something else")
		}
	})
}
