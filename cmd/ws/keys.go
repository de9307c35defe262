package main

import (
	"bytes"
	"unicode/utf8"
)

// A key is what the user has pressed or pasted.
type key struct {
	kind keyKind
	r    rune   // keyRune
	text string // keyPaste
}

type keyKind int

const (
	keyNone keyKind = iota // what has no meaning here
	keyRune
	keyPaste
	keyEnter
	keyEnd // of input: Ctrl-D
	keyBackspace
	keyDelete
	keyLeft
	keyRight
	keyWordLeft
	keyWordRight
	keyHome
	keyLineEnd
	keyUp
	keyDown
	keyKillToEnd
	keyKillToStart
	keyKillWord
	keyKillWordRight
	keyYank
	keyClear
)

var controlKeys = map[byte]keyKind{
	1: keyHome, 2: keyLeft, 4: keyEnd, 5: keyLineEnd, 6: keyRight, 8: keyBackspace, 10: keyEnter, 11: keyKillToEnd, 12: keyClear,
	13: keyEnter, 14: keyDown, 16: keyUp, 21: keyKillToStart, 23: keyKillWord, 25: keyYank, 127: keyBackspace,
}

var escapeKeys = map[byte]keyKind{ // Alt and a letter
	'b': keyWordLeft, 'f': keyWordRight, 'd': keyKillWordRight, 127: keyKillWord, 8: keyKillWord,
}

var sequenceKeys = map[string]keyKind{ // what stands behind ESC [ or ESC O
	"A": keyUp, "B": keyDown, "C": keyRight, "D": keyLeft, "H": keyHome, "F": keyLineEnd,
	"1~": keyHome, "7~": keyHome, "4~": keyLineEnd, "8~": keyLineEnd, "3~": keyDelete,
	"1;5C": keyWordRight, "1;5D": keyWordLeft, "1;3C": keyWordRight, "1;3D": keyWordLeft, "5C": keyWordRight, "5D": keyWordLeft,
}

const (
	pasteBegin = "200~"
	pasteEnd   = "\x1b[201~"
	pasteLimit = 4 << 20 // bytes; a paste without end is no paste
)

// parseKey returns the first key of b, and its length. The length is 0 if b
// does not have all of it yet.
func parseKey(b []byte) (key, int) {
	if len(b) == 0 {
		return key{}, 0
	}
	c := b[0]
	switch {
	case c == 0x1b:
		return parseEscape(b)
	case c == '\t':
		return key{kind: keyRune, r: '\t'}, 1
	case c < ' ' || c == 0x7f:
		return key{kind: controlKeys[c]}, 1
	}
	if !utf8.FullRune(b) {
		return key{}, 0
	}
	r, n := utf8.DecodeRune(b)
	if r == utf8.RuneError && n == 1 {
		return key{}, 1
	}
	return key{kind: keyRune, r: r}, n
}

func parseEscape(b []byte) (key, int) {
	if len(b) < 2 {
		return key{}, 0
	}
	switch b[1] {
	case '[':
	case 'O':
		if len(b) < 3 {
			return key{}, 0
		}
		return key{kind: sequenceKeys[string(b[2:3])]}, 3
	case 0x1b:
		return key{}, 1
	default:
		return key{kind: escapeKeys[b[1]]}, 2
	}
	for i := 2; i < len(b); i++ {
		switch c := b[i]; {
		case c >= 0x40 && c <= 0x7e: // the final byte of a sequence
			if sequence := string(b[2 : i+1]); sequence != pasteBegin {
				return key{kind: sequenceKeys[sequence]}, i + 1
			}
			return parsePaste(b, i+1)
		case c < 0x20:
			return key{}, i
		}
	}
	if len(b) > 32 {
		return key{}, len(b)
	}
	return key{}, 0
}

// parsePaste returns what is pasted, which begins at b[start].
func parsePaste(b []byte, start int) (key, int) {
	if n := bytes.Index(b[start:], []byte(pasteEnd)); n >= 0 {
		return key{kind: keyPaste, text: string(b[start : start+n])}, start + n + len(pasteEnd)
	}
	if len(b) > pasteLimit {
		return key{}, len(b)
	}
	return key{}, 0
}
