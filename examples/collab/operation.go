package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf16"
)

// A text is in UTF-16 code units, because those are what a browser counts
// positions in.
type text []uint16

func newText(s string) text   { return utf16.Encode([]rune(s)) }
func (t text) String() string { return string(utf16.Decode(t)) }
func isLow(u uint16) bool     { return u >= 0xdc00 && u <= 0xdfff }
func (t text) splits(i int) bool { // reports whether i is inside a surrogate pair
	return i > 0 && i < len(t) && isLow(t[i])
}

// An operation turns one text into another. It walks over all of the text, and
// each step keeps some of it, deletes some, or inserts. In JSON it is an array:
// a positive number keeps that many code units, a negative one deletes, a
// string is inserted.
//
// Operations are kept in one form only, which push makes. No step is empty, and
// no two of one kind are neighbours. An insertion stands before a deletion at
// the same place.
type operation []step

type step struct {
	n      int // > 0: keep, < 0: delete, 0: insert
	insert text
}

var (
	errLength = errors.New("the operation is for a text of another length")
	errHalf   = errors.New("the operation cuts a character in two")
)

func (op operation) push(s step) operation {
	if s.n == 0 && len(s.insert) == 0 {
		return op
	}
	last := len(op) - 1
	switch {
	case last >= 0 && s.n != 0 && (op[last].n > 0) == (s.n > 0) && op[last].n != 0:
		op[last].n += s.n
	case last >= 0 && s.n == 0 && op[last].n == 0:
		op[last].insert = append(slices.Clip(op[last].insert), s.insert...)
	case last >= 0 && s.n == 0 && op[last].n < 0:
		// The insertion goes in front of the deletion, where another may stand
		// already.
		deletion := op[last]
		return append(op[:last].push(s), deletion)
	default:
		return append(op, s)
	}
	return op
}

// apply returns what op makes of t, which stays as it is.
func (op operation) apply(t text) (text, error) {
	result := make(text, 0, len(t))
	at := 0
	for _, s := range op {
		switch {
		case s.n == 0:
			result = append(result, s.insert...)
			continue
		case max(s.n, -s.n) > len(t)-at:
			return nil, errLength
		case s.n > 0:
			result = append(result, t[at:at+s.n]...)
			at += s.n
		default:
			at -= s.n
		}
		if t.splits(at) {
			return nil, errHalf
		}
	}
	if at != len(t) {
		return nil, errLength
	}
	return result, nil
}

// transform takes two operations that were made at the same time, on the same
// text. It returns what is left to do of each after the other. So a and then b2
// makes the same text as b and then a2. Where both insert at one place, a's
// comes first.
func transform(a, b operation) (a2, b2 operation, err error) {
	var s, t step // what is left of the steps in hand
	next := func(op *operation) step {
		if len(*op) == 0 {
			return step{}
		}
		first := (*op)[0]
		*op = (*op)[1:]
		return first
	}
	none := func(s step) bool { return s.n == 0 && s.insert == nil }
	for {
		if none(s) {
			s = next(&a)
		}
		if none(t) {
			t = next(&b)
		}
		switch {
		case s.insert != nil:
			a2 = a2.push(s)
			b2 = b2.push(step{n: len(s.insert)})
			s = step{}
			continue
		case t.insert != nil:
			a2 = a2.push(step{n: len(t.insert)})
			b2 = b2.push(t)
			t = step{}
			continue
		case none(s) && none(t):
			return a2, b2, nil
		case none(s) || none(t):
			return nil, nil, errLength
		}
		n := min(max(s.n, -s.n), max(t.n, -t.n))
		switch {
		case s.n > 0 && t.n > 0: // both keep it
			a2, b2 = a2.push(step{n: n}), b2.push(step{n: n})
		case s.n < 0 && t.n > 0:
			a2 = a2.push(step{n: -n})
		case s.n > 0 && t.n < 0:
			b2 = b2.push(step{n: -n})
		default: // both delete it: nothing is left to do
		}
		s.n, t.n = shorten(s.n, n), shorten(t.n, n)
	}
}

// shorten takes n off the amount of a step that keeps or deletes.
func shorten(amount, n int) int {
	if amount < 0 {
		return amount + n
	}
	return amount - n
}

// move returns where a position in the text is after op. Text that is inserted
// right there stays behind it.
func (op operation) move(position int) int {
	at, moved := 0, position
	for _, s := range op {
		switch {
		case at > position || at == position && s.n == 0:
			return moved
		case s.n == 0:
			moved += len(s.insert)
		case s.n > 0:
			at += s.n
		default:
			moved -= min(-s.n, position-at)
			at -= s.n
		}
	}
	return moved
}

func (op operation) MarshalJSON() ([]byte, error) {
	steps := make([]any, len(op))
	for i, s := range op {
		if steps[i] = s.n; s.n == 0 {
			steps[i] = s.insert.String()
		}
	}
	return json.Marshal(steps)
}

func (op *operation) UnmarshalJSON(data []byte) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	*op = nil
	for _, r := range raw {
		var s step
		var insert string
		if json.Unmarshal(r, &s.n) != nil {
			if err := json.Unmarshal(r, &insert); err != nil {
				return fmt.Errorf("a step of an operation is a number or a string, not %s", r)
			}
			s.insert = newText(insert)
		}
		*op = op.push(s)
	}
	return nil
}
