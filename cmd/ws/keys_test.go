package main

import "testing"

var keyTable = []struct {
	bytes string
	want  []key
}{
	{"a", []key{{kind: keyRune, r: 'a'}}},
	{"é世", []key{{kind: keyRune, r: 'é'}, {kind: keyRune, r: '世'}}},
	{"\r", []key{{kind: keyEnter}}},
	{"\n", []key{{kind: keyEnter}}},
	{"\t", []key{{kind: keyRune, r: '\t'}}},
	{"\x7f\x08", []key{{kind: keyBackspace}, {kind: keyBackspace}}},
	{"\x01\x05\x0b\x15\x17\x19\x04", []key{{kind: keyHome}, {kind: keyLineEnd}, {kind: keyKillToEnd}, {kind: keyKillToStart}, {kind: keyKillWord}, {kind: keyYank}, {kind: keyEnd}}},
	{"\x1b[A\x1b[B\x1b[C\x1b[D", []key{{kind: keyUp}, {kind: keyDown}, {kind: keyRight}, {kind: keyLeft}}},
	{"\x1bOA\x1bOH\x1bOF", []key{{kind: keyUp}, {kind: keyHome}, {kind: keyLineEnd}}},
	{"\x1b[3~\x1b[1;5C\x1bb\x1bf\x1b\x7f", []key{{kind: keyDelete}, {kind: keyWordRight}, {kind: keyWordLeft}, {kind: keyWordRight}, {kind: keyKillWord}}},
	{"\x1b[99;99Xa", []key{{}, {kind: keyRune, r: 'a'}}},
	{"\x00\x1c", []key{{}, {}}},
	{"\xffa", []key{{}, {kind: keyRune, r: 'a'}}},
	{"\x1b[200~a\r\nb\x1b[Ac\x1b[201~d", []key{{kind: keyPaste, text: "a\r\nb\x1b[Ac"}, {kind: keyRune, r: 'd'}}},
	{"\x1b[200~\x1b[201~", []key{{kind: keyPaste}}},
}

// However the bytes are cut, the keys are the same.
func TestParseKey(t *testing.T) {
	for _, tt := range keyTable {
		for size := 1; size <= len(tt.bytes); size++ {
			var got []key
			var pending []byte
			for i := 0; i < len(tt.bytes); i += size {
				pending = append(pending, tt.bytes[i:min(i+size, len(tt.bytes))]...)
				for {
					k, n := parseKey(pending)
					if n == 0 {
						break
					}
					got, pending = append(got, k), pending[n:]
				}
			}
			if len(got) != len(tt.want) || len(pending) > 0 {
				t.Fatalf("%q in pieces of %d: %v, left %q; want %v", tt.bytes, size, got, pending, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("%q in pieces of %d: key %d is %v, want %v", tt.bytes, size, i, got[i], tt.want[i])
				}
			}
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, tt := range keyTable {
		f.Add([]byte(tt.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e editor
		for len(b) > 0 {
			k, n := parseKey(b)
			if n < 0 || n > len(b) {
				t.Fatalf("%q has a key of %d bytes", b, n)
			}
			if n == 0 {
				return
			}
			if k.kind == keyYank && len(e.line) > 1000 { // it doubles the line
				return
			}
			if e.press(k) {
				e.take()
			}
			if e.cursor < 0 || e.cursor > len(e.line) {
				t.Fatalf("the cursor is at %d of %d", e.cursor, len(e.line))
			}
			if text, column := e.view(10); columnsOf(text) > 10 || column < 0 || column > 10 {
				t.Fatalf("%q is shown as %q, with the cursor at %d", string(e.line), text, column)
			}
			b = b[n:]
		}
	})
}

func columnsOf(s string) (n int) {
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}
