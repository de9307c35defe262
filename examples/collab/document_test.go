package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// A simulated client has no connection: what it sends and what it is sent is in
// queues, which the test delivers when it likes.
type simulated struct {
	name     string
	text     text
	revision int
	seq      int
	pending  []operation // its own, not confirmed; the first is on its way if sent is set
	sent     bool
	out      []sent   // to the server
	in       []change // from the server
}

type sent struct {
	seq, revision int
	op            operation
}

func (w *simulated) edit(op operation) {
	w.text = must(w.text, op)
	w.pending = append(w.pending, op)
}

func (w *simulated) send() {
	if !w.sent && len(w.pending) > 0 {
		w.sent = true
		w.seq++
		w.out = append(w.out, sent{w.seq, w.revision, w.pending[0]})
	}
}

func (w *simulated) receive(c change) error {
	if c.Revision != w.revision+1 {
		return fmt.Errorf("%s has revision %d and got %d", w.name, w.revision, c.Revision)
	}
	w.revision++
	if c.Client == w.name {
		w.sent = false
		w.pending = w.pending[1:]
		return nil
	}
	op := c.Op
	for i := range w.pending {
		var err error
		if op, w.pending[i], err = transform(op, w.pending[i]); err != nil {
			return err
		}
	}
	w.text = must(w.text, op)
	return nil
}

// Several clients edit at the same time, and everything is on its way for as
// long as chance wants. When all has arrived, all have the same text.
func TestClientsConverge(t *testing.T) {
	r := rand.New(rand.NewPCG(6455, 3))
	for round := range 200 {
		d := &document{text: randomText(r, 30)}
		var ws []*simulated
		for i := range 2 + r.IntN(4) {
			ws = append(ws, &simulated{name: fmt.Sprint(i), text: slices.Clone(d.text)})
		}
		deliverOut := func(w *simulated) {
			if len(w.out) == 0 {
				return
			}
			s := w.out[0]
			w.out = w.out[1:]
			c, err := d.receive(w.name, s.seq, s.revision, s.op)
			if err != nil {
				t.Fatal(err)
			}
			for _, other := range ws {
				other.in = append(other.in, c)
			}
		}
		deliverIn := func(w *simulated) {
			if len(w.in) == 0 {
				return
			}
			if err := w.receive(w.in[0]); err != nil {
				t.Fatal(err)
			}
			w.in = w.in[1:]
		}
		for range 150 {
			w := ws[r.IntN(len(ws))]
			switch r.IntN(5) {
			case 0:
				w.edit(randomOp(r, w.text))
			case 1:
				w.send()
			case 2:
				deliverOut(w)
			default:
				deliverIn(w)
			}
		}
		busy := func(w *simulated) bool { return len(w.out)+len(w.in)+len(w.pending) > 0 }
		for slices.ContainsFunc(ws, busy) {
			for _, w := range ws {
				w.send()
				deliverOut(w)
				deliverIn(w)
			}
		}
		for _, w := range ws {
			if !slices.Equal(w.text, d.text) {
				t.Fatalf("round %d: client %s has %q, the server %q", round, w.name, w.text, d.text)
			}
		}
	}
}

func TestDocumentRefuses(t *testing.T) {
	d := &document{text: newText("abc")}
	if _, err := d.receive("a", 1, 0, parseOp(t, `[3,"d"]`)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		revision int
		op       string
	}{
		{"a revision to come", 2, `[4]`},
		{"a negative revision", -1, `[4]`},
		{"a length that does not fit", 1, `[3]`},
		{"too long", 1, `[4,"` + strings.Repeat("x", maxText) + `"]`},
	} {
		if c, err := d.receive("a", 2, test.revision, parseOp(t, test.op)); err == nil {
			t.Errorf("%s: accepted as %v", test.name, c)
		}
	}
	if d.text.String() != "abcd" || d.revision != 1 || len(d.history) != 1 {
		t.Errorf("the document has changed: %q, revision %d", d.text, d.revision)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	d := &document{}
	for i := range maxHistory + 10 {
		if _, err := d.receive("a", i, d.revision, operation{}.push(step{n: len(d.text)}).push(step{insert: newText("x")})); err != nil {
			t.Fatal(err)
		}
	}
	if missed, err := d.since(10); err != nil || len(missed) != maxHistory || missed[0].Revision != 11 {
		t.Errorf("since(10): %d changes, %v", len(missed), err)
	}
	if _, err := d.since(9); !errors.Is(err, errTooOld) {
		t.Errorf("since(9): %v, want errTooOld", err)
	}
}
