package main

import (
	"slices"
	"strings"
	"unicode"
)

// An editor is the line that the user types, and those typed before. It knows
// no terminal.
type editor struct {
	line    []rune
	cursor  int // index in line
	killed  []rune
	history [][]rune // the oldest first
	at      int      // which line of history is shown; len(history): the new one
	draft   []rune   // the new line, while one of history is shown
	scroll  int      // index of the first rune that is shown
}

// historyLength is how many lines can be called back.
const historyLength = 500

// lineLimit bounds a line, in characters.
const lineLimit = pasteLimit

// press applies a key. done says that the line is complete: take returns it.
func (e *editor) press(k key) (done bool) {
	switch k.kind {
	case keyRune:
		e.insert([]rune{k.r})
	case keyPaste:
		text := strings.ReplaceAll(strings.ReplaceAll(k.text, "\r\n", "\n"), "\r", "\n")
		e.insert([]rune(strings.TrimSuffix(strings.ToValidUTF8(text, "\ufffd"), "\n")))
	case keyEnter:
		return true
	case keyBackspace:
		if start := e.previous(); start < e.cursor {
			e.remove(start, e.cursor)
		}
	case keyDelete, keyEnd:
		if e.cursor < len(e.line) {
			e.remove(e.cursor, e.next())
		}
	case keyLeft:
		e.cursor = e.previous()
	case keyRight:
		e.cursor = e.next()
	case keyWordLeft:
		e.cursor = e.wordStart()
	case keyWordRight:
		e.cursor = e.wordEnd()
	case keyHome:
		e.cursor = 0
	case keyLineEnd:
		e.cursor = len(e.line)
	case keyUp:
		e.recall(e.at - 1)
	case keyDown:
		e.recall(e.at + 1)
	case keyKillToEnd:
		e.kill(e.cursor, len(e.line))
	case keyKillToStart:
		e.kill(0, e.cursor)
	case keyKillWord:
		e.kill(e.wordStart(), e.cursor)
	case keyKillWordRight:
		e.kill(e.cursor, e.wordEnd())
	case keyYank:
		e.insert(e.killed)
	}
	return false
}

// take returns the line, remembers it, and begins a new one.
func (e *editor) take() string {
	line := string(e.line)
	if line != "" && (len(e.history) == 0 || line != string(e.history[len(e.history)-1])) {
		e.history = append(e.history, e.line)
		if len(e.history) > historyLength {
			e.history = slices.Delete(e.history, 0, 1)
		}
	}
	e.line, e.cursor, e.scroll, e.at, e.draft = nil, 0, 0, len(e.history), nil
	return line
}

func (e *editor) insert(rs []rune) {
	if len(e.line)+len(rs) > lineLimit {
		return
	}
	e.line = slices.Insert(e.line, e.cursor, rs...)
	e.cursor += len(rs)
}

func (e *editor) remove(start, end int) {
	e.line = slices.Delete(e.line, start, end)
	e.cursor = start
}

func (e *editor) kill(start, end int) {
	if start < end {
		e.killed = slices.Clone(e.line[start:end])
		e.remove(start, end)
	}
}

func (e *editor) recall(at int) {
	if at < 0 || at > len(e.history) {
		return
	}
	if e.at == len(e.history) {
		e.draft = e.line
	}
	e.at = at
	if at == len(e.history) {
		e.line = e.draft
	} else {
		e.line = slices.Clone(e.history[at])
	}
	e.cursor = len(e.line)
}

// previous and next step over one character, with the marks that belong to it.
func (e *editor) previous() int {
	i := max(e.cursor-1, 0)
	for i > 0 && runeWidth(e.line[i]) == 0 {
		i--
	}
	return i
}

func (e *editor) next() int {
	i := min(e.cursor+1, len(e.line))
	for i < len(e.line) && runeWidth(e.line[i]) == 0 {
		i++
	}
	return i
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }

func (e *editor) wordStart() int {
	i := e.cursor
	for i > 0 && !isWord(e.line[i-1]) {
		i--
	}
	for i > 0 && isWord(e.line[i-1]) {
		i--
	}
	return i
}

func (e *editor) wordEnd() int {
	i := e.cursor
	for i < len(e.line) && !isWord(e.line[i]) {
		i++
	}
	for i < len(e.line) && isWord(e.line[i]) {
		i++
	}
	return i
}

// view returns the part of the line that fits into width columns, and the
// column of the cursor in it. The line scrolls so that the cursor is always
// seen.
func (e *editor) view(width int) (text string, column int) {
	width = max(width, 2)
	// back returns where the text begins that ends at index to and has less
	// than width columns.
	back := func(to int) int {
		for n := 0; to > 0; to-- {
			if n += runeWidth(shownRune(e.line[to-1])); n >= width {
				break
			}
		}
		return to
	}
	e.scroll = max(min(e.scroll, e.cursor, back(len(e.line))), back(e.cursor))
	var b strings.Builder
	used := 0
	for i := e.scroll; i < len(e.line); i++ {
		r := shownRune(e.line[i])
		if used += runeWidth(r); used > width {
			break
		}
		b.WriteRune(r)
	}
	for _, r := range e.line[e.scroll:e.cursor] {
		column += runeWidth(shownRune(r))
	}
	return b.String(), column
}

// shownRune returns what stands for r on the line.
func shownRune(r rune) rune {
	switch {
	case r == '\n':
		return '\u23ce' // the sign of the return key
	case r == '\t':
		return ' '
	case unicode.IsPrint(r) || unicode.Is(unicode.M, r) || r == '\u200d':
		return r
	}
	return '\ufffd'
}

// wide are the characters that take two columns: East Asian ones and most
// emoji.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{{0x1100, 0x115f, 1}, {0x2329, 0x232a, 1}, {0x2e80, 0x303e, 1}, {0x3041, 0xa4cf, 1}, {0xa960, 0xa97f, 1},
		{0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1}},
	R32: []unicode.Range32{{0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1f9ff, 1}, {0x20000, 0x3fffd, 1}},
}

// runeWidth returns how many columns of a terminal r takes.
func runeWidth(r rune) int {
	switch {
	case r == '\u200d' || r == '\ufe0f' || unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r >= 0x1100 && unicode.Is(wide, r):
		return 2
	}
	return 1
}
