package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// screenOf returns what a terminal of so many columns shows after output: lines
// without the spaces at their ends. It knows the few sequences that ws sends,
// and shows others as they are. The row of the cursor has a "|" at its place.
func screenOf(output string, columns int) string {
	rows, row, column := [][]rune{nil}, 0, 0
	put := func(r rune) {
		if column >= columns {
			row, column = row+1, 0
		}
		for len(rows) <= row {
			rows = append(rows, nil)
		}
		for len(rows[row]) <= column {
			rows[row] = append(rows[row], ' ')
		}
		rows[row][column] = r
		column++
	}
	for len(output) > 0 {
		rest, ok := strings.CutPrefix(output, "\x1b[")
		if ok {
			end := strings.IndexFunc(rest, func(r rune) bool { return r >= 0x40 && r <= 0x7e })
			if end < 0 {
				break // the rest of it has not come yet
			}
			argument, final := rest[:end], rest[end]
			output = rest[end+1:]
			switch final {
			case 'K':
				rows[row] = rows[row][:min(column, len(rows[row]))]
			case 'C':
				n := 0
				for _, c := range argument {
					n = n*10 + int(c-'0')
				}
				column += n
			case 'H':
				row, column = 0, 0
			case 'J':
				rows, row = [][]rune{nil}, 0
			case 'm', 'h', 'l':
			default:
				put('?')
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(output)
		output = output[n:]
		switch r {
		case '\r':
			column = 0
		case '\n':
			row++
			for len(rows) <= row {
				rows = append(rows, nil)
			}
		default:
			put(r)
		}
	}
	for len(rows) <= row {
		rows = append(rows, nil)
	}
	for len(rows[row]) < column {
		rows[row] = append(rows[row], ' ')
	}
	rows[row] = slices.Insert(rows[row], column, '|')
	var lines []string
	for _, line := range rows {
		lines = append(lines, strings.TrimRight(string(line), " "))
	}
	return strings.Join(lines, "\n")
}

func TestScreenOf(t *testing.T) {
	for _, tt := range []struct{ output, want string }{
		{"a\r\nb", "a\nb|"},
		{"abc\r\x1b[Kd", "d|"},
		{"abc\rx\x1b[1C", "xb|c"},
		{"\x1b[31mred\x1b[0m\x1b[?2004h", "red|"},
		{"abc\x1b[H\x1b[2Jd", "d|"},
		{"abcdefghijkl", "abcdefghij\nkl|"},
		{"> \r\x1b[2C", "> |"},
	} {
		got := screenOf(tt.output, 10)
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.output, got, tt.want)
		}
	}
}
