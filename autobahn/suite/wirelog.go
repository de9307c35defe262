package suite

import (
	"encoding/hex"
	"unicode/utf8"
)

// A wirelog is what happened on the wire, in the form of the original: rows
// such as ["TF", [13, "Hello, world!"], 1, true, 0, ...].
type wirelog struct {
	off      bool // frames and bytes are counted only
	rows     [][]any
	rxOctets map[int]int
	txOctets map[int]int
	rxFrames [16]int
	txFrames [16]int
}

// A log of more rows than this is cut.
const mostRows = 1000

func (l *wirelog) add(kind string, rest ...any) {
	if len(l.rows) < mostRows {
		l.rows = append(l.rows, append([]any{kind}, rest...))
	}
}

func (l *wirelog) octets(stats *map[int]int, kind string, b []byte) {
	if l.off {
		return
	}
	if *stats == nil {
		*stats = map[int]int{}
	}
	(*stats)[len(b)]++
	if kind == "TO" {
		l.add(kind, []any{len(b), hexSample(b)}, false)
		return
	}
	l.add(kind, []any{len(b), hexSample(b)})
}

func (l *wirelog) frame(sent bool, opcode byte, fin bool, rsv byte, length int, sample, key []byte) {
	if l.off || len(l.rows) >= mostRows {
		return
	}
	var mask any
	if key != nil {
		mask = hex.EncodeToString(key)
	}
	payload := []any{length, textSample(sample, length)}
	if sent {
		l.add("TF", payload, int(opcode), fin, int(rsv), mask, nil, nil, false)
		return
	}
	l.add("RF", payload, int(opcode), fin, int(rsv), key != nil, mask)
}

const sampleLen = 64

func hexSample(b []byte) string {
	if len(b) > sampleLen {
		return hex.EncodeToString(b[:sampleLen]) + " ..."
	}
	return hex.EncodeToString(b)
}

// textSample shows the first bytes of a payload of length bytes: as text if
// they are text, else as hexadecimal.
func textSample(b []byte, length int) string {
	more := ""
	if len(b) > sampleLen {
		b = b[:sampleLen]
	}
	if length > len(b) {
		more = " ..."
		for i := 0; i < 3 && len(b) > 0 && !utf8.Valid(b); i++ { // a code point may be cut
			b = b[:len(b)-1]
		}
	}
	if utf8.Valid(b) {
		return string(b) + more
	}
	return "0x" + hex.EncodeToString(b) + more
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}
