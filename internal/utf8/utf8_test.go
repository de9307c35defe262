package utf8

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	stdutf8 "unicode/utf8"
)

// utf8Variants are all the implementations of Valid that this build can run.
// unicode/utf8 is their naive twin.
var utf8Variants = []struct {
	name  string
	valid func(p []byte) bool
}{
	{"default", Valid},
}

// canBegin is the naive twin of Validator.write: it reports whether some valid
// text begins with p. It tries every code point that p could be cut inside of.
func canBegin(p []byte) bool {
	for len(p) > 0 {
		_, n := stdutf8.DecodeRune(p)
		if n == 1 && p[0] >= stdutf8.RuneSelf {
			break
		}
		p = p[n:]
	}
	return len(p) == 0 || truncated[string(p)]
}

// truncated holds every proper prefix of the encoding of every code point that
// has more than one byte.
var truncated = func() map[string]bool {
	m := map[string]bool{}
	for r := rune(0x80); r <= stdutf8.MaxRune; r++ {
		s := string(r)
		if r < 0xd800 || 0xdfff < r {
			for i := 1; i < len(s); i++ {
				m[s[:i]] = true
			}
		}
	}
	return m
}()

// RFC 3629, sections 3 and 4: what is refused, and at which byte.
var inValid = []struct {
	name string
	text string
	at   int // index of the first byte that no valid text has here; -1: only the end is missing
}{
	{"continuation byte first", "\x80", 0},
	{"last continuation byte first", "\xbf", 0},
	{"C0 begins nothing", "\xc0\x80", 0},
	{"C1 begins nothing", "\xc1\xbf", 0},
	{"F5 begins nothing", "\xf5\x80\x80\x80", 0},
	{"F8 begins nothing", "\xf8\x88\x80\x80\x80", 0},
	{"FE", "\xfe", 0},
	{"FF", "\xff", 0},
	{"two bytes, the second ASCII", "\xc3A", 1},
	{"two bytes, the second a lead", "\xc3\xc3", 1},
	{"lead of two, then a code point of two", "\xc3é", 1},
	{"lead of two, then a code point of three", "\xc3語", 1},
	{"lead of two, then a code point of four", "\xc3😀", 1},
	{"lead of three, then a code point of four", "\xe4😀", 1},
	{"two bytes of three, then a code point of four", "\xe4\xb8😀", 2},
	{"three bytes of four, then a code point of four", "\xf0\x9f\x98😀", 3},
	{"overlong in three bytes", "\xe0\x9f\xbf", 1},
	{"first surrogate", "\xed\xa0\x80", 1},
	{"last surrogate", "\xed\xbf\xbf", 1},
	{"three bytes, the second ASCII", "\xe4A\xb8", 1},
	{"three bytes, the third ASCII", "\xe4\xb8A", 2},
	{"three bytes, the third a lead", "\xe4\xb8\xe4", 2},
	{"overlong in four bytes", "\xf0\x8f\xbf\xbf", 1},
	{"past U+10FFFF", "\xf4\x90\x80\x80", 1},
	{"four bytes, the second ASCII", "\xf0A\x98\x80", 1},
	{"four bytes, the third ASCII", "\xf0\x9fA\x80", 2},
	{"four bytes, the fourth ASCII", "\xf0\x9f\x98A", 3},
	{"a byte too many", "é\x80", 2},
	{"two bytes cut off", "\xc3", -1},
	{"three bytes cut off after one", "\xe4", -1},
	{"three bytes cut off after two", "\xe4\xb8", -1},
	{"four bytes cut off after one", "\xf4", -1},
	{"four bytes cut off after two", "\xf4\x8f", -1},
	{"four bytes cut off after three", "\xf4\x8f\xbf", -1},
}

var validTexts = []string{
	"",
	"Hello",
	"\x00\x7f",
	"\u0080\u07ff",
	"\u0800\ud7ff\ue000\uffff",
	"\U00010000\U0010ffff",
	"\ufeff", // section 8.1 forbids no byte order mark
	"κόσμε",
	"Hello-µ@ßöäüàá-UTF-8!!",
	"日本語のテキスト",
	"😀😁",
}

// paddings come before and behind the texts of the tables, so that each one
// also meets the fast paths at every alignment.
var paddings = []string{"a", "é", "語", "😀"}

// forEachPadded calls f with text alone and between runs of each padding.
func forEachPadded(text string, f func(padded string, before int)) {
	f(text, 0)
	for _, pad := range paddings {
		for shift := range 33 {
			before := strings.Repeat("x", shift) + strings.Repeat(pad, 40)
			f(before+text, len(before))
			f(before+text+strings.Repeat(pad, 40), len(before))
		}
	}
}

func TestUTF8Valid(t *testing.T) {
	for _, text := range validTexts {
		forEachPadded(text, func(padded string, _ int) {
			for _, v := range utf8Variants {
				if !v.valid([]byte(padded)) {
					t.Fatalf("%s: %q refused", v.name, padded)
				}
			}
			var v Validator
			if !v.Write([]byte(padded)) || !v.End() {
				t.Fatalf("write refused %q", padded)
			}
		})
	}
}

func TestUTF8Invalid(t *testing.T) {
	for _, tt := range inValid {
		t.Run(tt.name, func(t *testing.T) {
			forEachPadded(tt.text, func(padded string, before int) {
				for _, v := range utf8Variants {
					if v.valid([]byte(padded)) {
						t.Fatalf("%s: %q accepted", v.name, padded)
					}
				}
				var v Validator
				if v.Write([]byte(padded)) && v.End() {
					t.Fatalf("write and end accepted %q", padded)
				}

				// The check must refuse a text at the first byte that is wrong,
				// and not sooner.
				at := before + tt.at
				if tt.at < 0 {
					at = before + len(tt.text)
				}
				v = Validator{}
				if !v.Write([]byte(padded[:at])) {
					t.Fatalf("write refused %q, which can begin a text", padded[:at])
				}
				if tt.at >= 0 {
					if v.Write([]byte(padded[at : at+1])) {
						t.Fatalf("write accepted byte %d of %q", at, padded)
					}
					v = Validator{}
					if v.Write([]byte(padded[:at+1])) {
						t.Fatalf("write accepted %q", padded[:at+1])
					}
				} else if v.End() {
					t.Fatalf("end accepted %q", padded[:at])
				}
			})
		})
	}
}

func TestUTF8ErrorSticks(t *testing.T) {
	for _, text := range []string{"\xff", "语\xffabcdefghijklmnopqrstuvwxyz", "\xed\xa0", "\xc3A", strings.Repeat("語", 100) + "\x80"} {
		var v Validator
		if v.Write([]byte(text)) {
			t.Errorf("write accepted %q", text)
		}
		if v.Write(nil) || v.Write([]byte("a")) || v.Write([]byte("\x80")) || v.Write(bytes.Repeat([]byte("a"), 100)) {
			t.Errorf("after %q write accepts again", text)
		}
		if v.End() {
			t.Errorf("end accepted %q", text)
		}
		if !v.Write([]byte("a")) || !v.End() {
			t.Errorf("end did not reset v after %q", text)
		}
	}
}

func TestUTF8EndResets(t *testing.T) {
	var v Validator
	if !v.Write([]byte("\xe4\xb8")) || v.End() {
		t.Error("the first two bytes of three: want write true, end false")
	}
	if v.Write([]byte("\xad")) {
		t.Error("a continuation byte was accepted after end")
	}
}

// Every text of up to four bytes whose bytes are at the edges of the ranges of
// RFC 3629, section 4.
func TestUTF8EveryEdge(t *testing.T) {
	edges := []byte("\x00\x41\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff")
	var p [4]byte
	long := bytes.Repeat([]byte("a"), 100)
	var check func(n int)
	check = func(n int) {
		compareUTF8(t, p[:n], 1)
		copy(long[38:], p[:n]) // across a multiple of 8 and of 32 bytes
		want := stdutf8.Valid(long)
		for _, v := range utf8Variants {
			if got := v.valid(long); got != want {
				t.Fatalf("%s(% x amid ASCII) = %t, want %t", v.name, p[:n], got, want)
			}
		}
		copy(long[38:], "aaaa")
		if n < len(p) {
			for _, b := range edges {
				p[n] = b
				check(n + 1)
			}
		}
	}
	check(0)
}

// No byte of a text of any length is left out.
func TestUTF8EveryLengthAndPosition(t *testing.T) {
	for n := range 300 {
		text := bytes.Repeat([]byte("a"), n)
		compareUTF8(t, text, 64)
		for at := range text {
			for _, wrong := range []byte{0xff, 0x80, 0xe4} {
				text[at] = wrong
				for _, v := range utf8Variants {
					if v.valid(text) {
						t.Fatalf("%s: %#x at %d of %d bytes accepted", v.name, wrong, at, n)
					}
				}
			}
			text[at] = 'a'
		}
	}
}

// Every pair of bytes, followed by up to two continuation bytes.
func TestUTF8EveryPair(t *testing.T) {
	long := bytes.Repeat([]byte("a"), 100)
	for first := range 256 {
		for second := range 256 {
			for more := range 3 {
				p := append(long[:38], byte(first), byte(second), "a\x80\x80"[min(more, 1)], "aa\x80"[more])
				want := stdutf8.Valid(p)
				for _, v := range utf8Variants {
					if v.valid(p) != want || v.valid(long) != want {
						t.Fatalf("%s(% x after ASCII) = %t, want %t", v.name, p[38:], !want, want)
					}
				}
			}
		}
	}
}

// compareUTF8 compares everything in utf8.go with the naive twins; the pieces
// have up to piece bytes.
func compareUTF8(t *testing.T, p []byte, piece int) {
	t.Helper()
	want := stdutf8.Valid(p)
	for _, v := range utf8Variants {
		if got := v.valid(p); got != want {
			t.Fatalf("%s(% x) = %t, want %t", v.name, p, got, want)
		}
	}

	var v Validator
	ok := v.Write(p)
	if wantOK := canBegin(p); ok != wantOK {
		t.Fatalf("write(% x) = %t, want %t", p, ok, wantOK)
	}
	if got := v.End(); got != want {
		t.Fatalf("write(% x), end() = %t, want %t", p, got, want)
	}

	ok = true
	for i, n := 0, piece; ok && i < len(p); i += n {
		n = min(n, len(p)-i)
		ok = v.Write(p[i : i+n])
		if wantOK := canBegin(p[:i+n]); ok != wantOK {
			t.Fatalf("after % x in pieces of %d: write = %t, want %t", p[:i+n], piece, ok, wantOK)
		}
	}
	if got := v.End(); ok && got != want || !ok && got {
		t.Fatalf("% x in pieces of %d: end = %t, want %t", p, piece, got, want)
	}
}

// A text may arrive cut anywhere; a frame need not end at the end of a code
// point (section 5.6).
func TestUTF8InPieces(t *testing.T) {
	mixed := "a£語😀" + strings.Repeat("日本語", 15) + "äöü" + strings.Repeat("plain text ", 5) + strings.Repeat("😀", 9)
	for _, text := range append([]string{mixed, mixed + "\xff", mixed + "\xed\xa0\x80" + mixed}, validTexts...) {
		for piece := 1; piece < 70; piece++ {
			compareUTF8(t, []byte(text), piece)
		}
		for cut := range len(text) {
			compareUTF8(t, []byte(text[:cut]), 7)
		}
	}
}

// One wrong bit anywhere in a long text is found.
func TestUTF8EveryBit(t *testing.T) {
	for _, pad := range append(paddings, "aé語😀", "日本 ", "naïve ") {
		text := []byte(strings.Repeat(pad, 160/len(pad)))
		for i := range text {
			for bit := range 8 {
				text[i] ^= 1 << bit
				compareUTF8(t, text, 64)
				text[i] ^= 1 << bit
			}
		}
	}
}

func FuzzUTF8(f *testing.F) {
	for _, text := range validTexts {
		f.Add([]byte(text), uint8(3))
		f.Add([]byte(strings.Repeat("語", 30)+text), uint8(33))
	}
	for _, tt := range inValid {
		f.Add([]byte(tt.text), uint8(1))
		f.Add([]byte(strings.Repeat("語", 30)+tt.text+strings.Repeat("é", 30)), uint8(64))
	}
	f.Fuzz(func(t *testing.T, p []byte, piece uint8) {
		compareUTF8(t, p, max(int(piece), 1))
		// Most of what a fuzzer makes is invalid early: the same behind and in
		// front of valid text.
		for _, pad := range paddings {
			run := strings.Repeat(pad, 24)
			compareUTF8(t, []byte(run+string(p)+run), max(int(piece), 1))
		}
	})
}

// utf8Texts are the kinds of text to be measured. Their words are taken in an
// order without a period that a processor could learn to predict.
var utf8Texts = []struct{ name, words string }{
	{"ASCII", "the quick brown fox jumps over a lazy dog and some other words of 14 or 15 letters {\"key\": [1, 2.5, null]}"},
	{"German", "Zwölf Boxkämpfer jagen den Viktor quer über die großen Sylter Deiche und müssen später natürlich zurück in die Straße"},
	{"Greek", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία, και όλα τα άλλα είναι ένα μικρό κείμενο με λέξεις."},
	{"CJK", "天地 玄黃 宇宙洪荒 日月盈昃 辰宿列張 寒來暑往 秋收冬藏 閏餘成歲 律呂調陽 雲騰致雨"},
	{"CJKMixed", "今日は Go 1.25 で 書いた WebSocket を 使う。 メッセージ ID=42 長い文章 { ok } テキスト"},
	{"Hangul", "하늘과 바람과 별과 시 한국어 텍스트 메시지를 확인합니다 그리고 안녕하세요 WebSocket"},
	{"Emoji", "😀😁 😂 🤣😃 😄😅😆 👍 🎉🎉 ok great 🚀"},
}

// benchText returns n bytes of text, or up to three less.
func benchText(name, words string, n int) []byte {
	list := strings.Fields(words)
	space := " "
	if name == "CJK" {
		space = ""
	}
	var p []byte
	for _, r := range noise(n + 1) {
		p = append(append(p, list[int(r)%len(list)]...), space...)
	}
	p = p[:n]
	for !stdutf8.Valid(p) {
		p = p[:len(p)-1]
	}
	return p
}

func BenchmarkUTF8(b *testing.B) {
	for _, text := range utf8Texts {
		for _, n := range []int{8, 24, 48, 128, 1024, 65536} {
			p := benchText(text.name, text.words, n)
			run := func(name string, valid func(p []byte) bool) {
				b.Run(fmt.Sprintf("%s/%d/%s", text.name, n, name), func(b *testing.B) {
					b.SetBytes(int64(len(p)))
					for b.Loop() {
						if !valid(p) {
							b.Fatal("refused")
						}
					}
				})
			}
			run("unicode/utf8", stdutf8.Valid)
			for _, v := range utf8Variants {
				run(v.name, v.valid)
			}
			var v Validator
			run("stream", func(p []byte) bool { return v.Write(p) && v.End() })
		}
	}
}

// The cost of a piece, over pieces that do not end at code points.
func BenchmarkUTF8Pieces(b *testing.B) {
	p := benchText("CJK", utf8Texts[3].words, 65536)
	for _, piece := range []int{16, 100, 1000, 4096, 65536} {
		b.Run(strconv.Itoa(piece), func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			var v Validator
			for b.Loop() {
				for rest := p; len(rest) > 0; {
					n := min(piece, len(rest))
					if !v.Write(rest[:n]) {
						b.Fatal("refused")
					}
					rest = rest[n:]
				}
				if !v.End() {
					b.Fatal("refused")
				}
			}
		})
	}
}

// noise returns n bytes that look random but are the same in every run.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x >> 11)
	}
	return b
}
