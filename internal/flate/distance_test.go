package flate

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// TestDecoderReach: a distance may be as long as the window, whatever the
// window holds, and no longer.
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
	// Literals and distances of 1 to 14 bits, and two codes of 15 bits each.
	// The latter are the end of the block and the symbol 284, and the distances
	// 28 and 29.
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
