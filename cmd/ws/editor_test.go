package main

import (
	"fmt"
	"strings"
	"testing"
)

// typeKeys presses the keys that the bytes stand for, and returns the lines
// that were finished.
func typeKeys(t *testing.T, e *editor, bytes string) (lines []string) {
	t.Helper()
	for b := []byte(bytes); len(b) > 0; {
		k, n := parseKey(b)
		if n == 0 {
			t.Fatalf("%q is no key", b)
		}
		if e.press(k) {
			lines = append(lines, e.take())
		}
		b = b[n:]
	}
	return lines
}

func TestEditor(t *testing.T) {
	const (
		left, right, up, down = "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[B"
		home, end, del        = "\x01", "\x05", "\x1b[3~"
		wordLeft, wordRight   = "\x1bb", "\x1bf"
	)
	for _, tt := range []struct {
		keys string
		want string // the line, with | at the cursor
	}{
		{"abc", "abc|"},
		{"abc" + left + left + "x", "ax|bc"},
		{"abc" + left + "\x7f", "a|c"},
		{"abc" + home + del, "|bc"},
		{"abc" + home + "\x04", "|bc"},
		{"abc" + home + left + right + end + right, "abc|"},
		{"\x7f" + del + left, "|"},
		{"one two  three" + wordLeft, "one two  |three"},
		{"one two" + wordLeft + wordLeft + wordLeft, "|one two"},
		{"one two" + home + wordRight, "one| two"},
		{"one two\x17", "one |"},
		{"one two" + home + "\x1bd", "| two"},
		{"one two" + left + left + "\x15", "|wo"},
		{"one two" + left + left + "\x0b", "one t|"},
		{"one two\x17\x19\x19", "one twotwo|"},
		{"\x19", "|"},
		{"a\r" + up, "a|"},
		{"a\rb\r" + up + up + up, "a|"},
		{"a\rb\rdraft" + up + up + down + down + down, "draft|"},
		{"a\ra\r" + up + up, "a|"}, // remembered once
		{"a\r" + up + "b\r" + up + up, "a|"},
		{"e\u0301x" + left + left, "|e\u0301x"},
		{"e\u0301\x7f", "|"},
		{"世界" + left, "世|界"},
		{"\x1b[200~a\r\nb\rc\n\x1b[201~", "a\nb\nc|"},
		{"\x1b[200~\xff\x1b[201~", "\ufffd|"},
	} {
		var e editor
		typeKeys(t, &e, tt.keys)
		if got := string(e.line[:e.cursor]) + "|" + string(e.line[e.cursor:]); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.keys, got, tt.want)
		}
	}
}

// A line of the history that was changed and not sent is as before the next
// time.
func TestHistoryIsNotChanged(t *testing.T) {
	var e editor
	lines := typeKeys(t, &e, "first\rsecond\r\x1b[A\x1b[Axxx\x1b[B\x1b[A\r")
	if got := strings.Join(lines, ","); got != "first,second,first" {
		t.Error(got)
	}
	for range historyLength + 10 {
		typeKeys(t, &e, fmt.Sprint(len(e.history))+"\r"+"x\r")
	}
	if len(e.history) != historyLength {
		t.Errorf("%d lines are kept", len(e.history))
	}
}

// A line that is too long scrolls, so that the cursor is always seen.
func TestView(t *testing.T) {
	for _, tt := range []struct {
		keys   string
		want   string
		column int
	}{
		{"abc", "abc", 3},
		{"abc\x1b[D", "abc", 2},
		{"0123456789", "123456789", 9},
		{"0123456789\x01", "0123456789", 0},
		{"0123456789ab\x1b[D\x1b[D\x1b[D\x1b[D", "0123456789", 8},
		{"世界世界世界", "世界世界", 8},
		{"a\tb\x1b[200~\n\x00\x1b[201~", "a b\u23ce\ufffd", 5},
		{"e\u0301", "e\u0301", 1},
	} {
		var e editor
		typeKeys(t, &e, tt.keys)
		text, column := e.view(10)
		if text != tt.want || column != tt.column {
			t.Errorf("%q: %q with the cursor at %d, want %q at %d", tt.keys, text, column, tt.want, tt.column)
		}
	}
}
