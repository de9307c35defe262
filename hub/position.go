package hub

import (
	"errors"
	"fmt"
	"strconv"
)

// A Position is a place in the messages of a topic that has a history: behind
// the message that carries it. Within an epoch the offsets of a topic grow: 1,
// 2, 3, and so on. They skip where the engine counts the messages of many
// topics together. Another epoch is another count: what one held says nothing
// about the other.
//
// A client knows that it has missed something when the epoch of a message is
// another one. It knows it, too, when [Message].Previous is higher than the
// offset of its last message.
//
// As text, and so in JSON, a Position is "epoch-offset", such as
// "9f3c01d2a4b5e677-42": JavaScript's numbers do not hold 64 bits. The zero
// Position stands for none; its text is empty.
type Position struct {
	Epoch  uint64
	Offset uint64
}

// IsZero reports whether p is no position.
func (p Position) IsZero() bool { return p == Position{} }

// String returns p as text, which [ParsePosition] reads.
func (p Position) String() string { return string(appendPosition(nil, p)) }

// AppendText implements [encoding.TextAppender].
func (p Position) AppendText(b []byte) ([]byte, error) { return appendPosition(b, p), nil }

// MarshalText implements [encoding.TextMarshaler].
func (p Position) MarshalText() ([]byte, error) { return appendPosition(nil, p), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Position) UnmarshalText(text []byte) error {
	q, err := ParsePosition(string(text))
	if err == nil {
		*p = q
	}
	return err
}

// ParsePosition reads a position as [Position.String] writes it. The empty text
// is the zero Position.
func ParsePosition(s string) (Position, error) {
	if s == "" {
		return Position{}, nil
	}
	p, n, err := parsePosition(s)
	if err == nil && n < len(s) {
		err = errBadPosition
	}
	if err != nil {
		return Position{}, fmt.Errorf("hub: %q: %w", s[:min(len(s), maxPosition)], err)
	}
	return p, nil
}

var errBadPosition = errors.New("not a position (epoch-offset)")

// maxPosition is the length of the longest text of a position: 16 hexadecimal
// digits, a dash, 20 decimal ones.
const maxPosition = 16 + 1 + 20

// appendPosition appends the text of p.
func appendPosition(dst []byte, p Position) []byte {
	if p.IsZero() {
		return dst
	}
	dst = strconv.AppendUint(dst, p.Epoch, 16)
	dst = append(dst, '-')
	return strconv.AppendUint(dst, p.Offset, 10)
}

// parsePosition reads the text of a position from the begin of s, and returns
// its length. Every position has one text: digits in lower case, no zero in
// front.
func parsePosition(s string) (p Position, n int, err error) {
	for n < len(s) && s[n] != '-' {
		d := hexDigit(s[n])
		if d < 0 || n == 16 || n == 1 && p.Epoch == 0 {
			return Position{}, 0, errBadPosition
		}
		p.Epoch = p.Epoch<<4 | uint64(d)
		n++
	}
	if n == 0 || n == len(s) {
		return Position{}, 0, errBadPosition
	}
	n++
	begin := n
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		d := uint64(s[n] - '0')
		if n == begin+1 && p.Offset == 0 || p.Offset > (1<<64-1-d)/10 {
			return Position{}, 0, errBadPosition
		}
		p.Offset = p.Offset*10 + d
		n++
	}
	if n == begin || p.IsZero() {
		return Position{}, 0, errBadPosition
	}
	return p, n, nil
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
