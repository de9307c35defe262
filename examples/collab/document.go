package main

import (
	"errors"
	"fmt"
)

const (
	maxText    = 50_000 // code units
	maxHistory = 1000   // changes that are kept, for clients that are behind
)

// A document is a text that several clients change at the same time. The
// algorithm is operational transformation with a central server, as in the
// Jupiter system (Nichols et al., 1995) and ot.js:
//
//   - Each change that the server accepts makes a new revision. The order in
//     which they arrive is the order for all.
//   - A client shows its own edits at once, and sends one change at a time: the
//     operation, and the revision that it is for. Until it hears that one back,
//     it gathers what it does next into one operation.
//   - The server transforms what arrives against the changes since that
//     revision, applies it, and tells all writers.
//   - A client transforms what it hears against its own operations that the
//     server has not confirmed yet.
//
// Both sides use transform, with the change that the server knew first as its
// first argument: so both arrive at the same text. A document has no lock: its
// owner calls it from one place at a time.
type document struct {
	text     text
	revision int      // how many changes were accepted
	history  []change // the last of them, at most maxHistory
}

// A change is an operation that was accepted.
type change struct {
	Revision int       `json:"revision"` // that it made
	Client   string    `json:"client"`   // that made it
	Seq      int       `json:"seq"`      // the client's own number of it
	Op       operation `json:"op"`
}

var (
	errTooOld  = errors.New("the revision is too old")
	errTooLong = fmt.Errorf("the text would be longer than %d characters", maxText)
)

// since returns the changes after a revision, or errTooOld if they are not all
// kept any more.
func (d *document) since(revision int) ([]change, error) {
	behind := d.revision - revision
	if revision < 0 || behind < 0 {
		return nil, fmt.Errorf("there is no revision %d", revision)
	}
	if behind > len(d.history) {
		return nil, errTooOld
	}
	return d.history[len(d.history)-behind:], nil
}

// receive accepts an operation that a client made on the given revision, and
// returns it as it must be applied to the present one. After an error the
// document is as before.
func (d *document) receive(client string, seq, revision int, op operation) (change, error) {
	missed, err := d.since(revision)
	if err != nil {
		return change{}, err
	}
	for _, m := range missed {
		if _, op, err = transform(m.Op, op); err != nil {
			return change{}, err
		}
	}
	t, err := op.apply(d.text)
	if err != nil {
		return change{}, err
	}
	if len(t) > max(maxText, len(d.text)) {
		return change{}, errTooLong
	}
	d.text = t
	d.revision++
	c := change{d.revision, client, seq, op}
	if len(d.history) == maxHistory {
		d.history = append(d.history[:0], d.history[1:]...)
	}
	d.history = append(d.history, c)
	return c, nil
}
