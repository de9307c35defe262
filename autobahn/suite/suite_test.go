package suite

import (
	"bytes"
	"compress/flate"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	official "github.com/seed70bc5565/websocket/autobahn/internal/suite"
)

func TestCasesAreThoseOfTheOriginal(t *testing.T) {
	var ids []string
	for _, c := range Cases() {
		ids = append(ids, c.ID)
		if c.Sends == "" || c.Expects == "" || c.limit == 0 {
			t.Errorf("%s says nothing of what it does, or has no limit", c.ID)
		}
	}
	if want := official.All(); !slices.Equal(ids, want) {
		t.Errorf("%d cases, want the original's %d, in its order", len(ids), len(want))
	}
}

func TestSelect(t *testing.T) {
	for _, tt := range []struct {
		include, exclude string
		want             int // 0: an error
	}{
		{"", "", 517},
		{"", "12.*,13.*", 301},
		{"7", "", 37},
		{"7.*, 10.*", "7.7.*", 25},
		{"12.1.1-6 13.*.1-4", "", 34},
		{"6.4.1", "", 1},
		{"8", "", 0},
		{"6.x", "", 0},
		{"1.1.9", "", 0},
		{"", "nothing", 0},
	} {
		got, err := Select(Cases(), tt.include, tt.exclude)
		if len(got) != tt.want || (err != nil) != (tt.want == 0) {
			t.Errorf("Select(%q, %q) gives %d cases, %v; want %d", tt.include, tt.exclude, len(got), err, tt.want)
		}
	}
}

// The windows, as they are held to.
func TestCompressor(t *testing.T) {
	jsonData.load()
	for _, bits := range []int{8, 9, 12, 15} {
		for _, reset := range []bool{false, true} {
			out := compressor{bits: bits, reset: reset}
			in := decompressor{bits: bits, reset: reset}
			for i, n := range []int{0, 1, 100, 5000, 70000, 3} {
				msg := jsonData.bytes[i*100 : i*100+n]
				z := bytes.Clone(out.message(msg))
				if far := farthest(z); far > 1<<bits {
					t.Fatalf("%d bits: a reference %d bytes back", bits, far)
				}
				got, err := in.message(z)
				if err != nil || !bytes.Equal(got, msg) {
					t.Fatalf("%d bits, reset %v, %d bytes: not what it was (%v)", bits, reset, n, err)
				}
			}
		}
	}
}

func TestFarthestFindsWhatExceedsTheWindow(t *testing.T) {
	random := make([]byte, 600)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	for _, gap := range []int{0, 100, 2000, 20000} {
		var buf bytes.Buffer
		w, _ := flate.NewWriter(&buf, 9)
		w.Write(random)
		w.Write(bytes.Repeat([]byte{0}, gap))
		w.Write(random)
		w.Flush()
		far := farthest(cutMark(buf.Bytes()))
		if want := len(random) + gap; far != want {
			t.Errorf("gap %d: farthest reference %d, want %d", gap, far, want)
		}
		d := decompressor{bits: 9}
		if _, err := d.message(cutMark(buf.Bytes())); !errors.Is(err, errWindow) {
			t.Errorf("gap %d: %v, want %v", gap, err, errWindow)
		}
	}
}

func TestFarthestEndsOnAnyInput(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := make([]byte, r.IntN(200))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		farthest(b)
	}
}

// Slices that are compressed ahead must be what a connection would have sent.
func TestCompressedSlice(t *testing.T) {
	for _, data := range []*dataset{jsonData, bitmapData} {
		data.load()
		for _, reset := range []bool{false, true} {
			in := decompressor{bits: 15, reset: reset}
			at := 0
			for sent := range 60 {
				const size = 8192
				got, err := in.message(compressedSlice(data, at, size, sent, reset))
				if err != nil || !bytes.Equal(got, data.slice(at, size)) {
					t.Fatalf("%s, message %d: not what it was (%v)", data.name, sent, err)
				}
				at = (at + size) % data.size
			}
		}
	}
}

func TestFinalBlock(t *testing.T) {
	// RFC 7692, section 7.2.3.4: "Hello" in a block with BFINAL set, and an
	// empty one without.
	hello := []byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00}
	d := decompressor{bits: 15}
	for range 3 {
		if got, err := d.message(hello); err != nil || string(got) != "Hello" {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func TestUTF8Checker(t *testing.T) {
	var texts []string
	for _, group := range utf8Groups() {
		texts = append(texts, group...)
	}
	texts = append(texts, strings.Repeat("x€", 10)+"\xe2\x82")
	for _, text := range texts {
		for _, cut := range []int{1, 2, 3, 5, len(text) + 1} {
			u := utf8Checker{on: true}
			ok := true
			for b := []byte(text); len(b) > 0; b = b[min(cut, len(b)):] {
				ok = ok && u.add(b[:min(cut, len(b))])
			}
			if got := ok && u.end(); got != utf8.ValidString(text) {
				t.Errorf("%x in pieces of %d: %v", text, cut, got)
			}
		}
	}
}
