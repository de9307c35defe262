package flate

import (
	"bytes"
	"testing"
)

// bitString packs a string of 0 and 1, the first bit of a byte lowest; other
// characters are passed over.
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

// TestDecoderRefuses has a row for each rule of RFC 1951 and RFC 7692 that a
// message can break.
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
