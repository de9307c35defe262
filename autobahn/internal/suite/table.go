package suite

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTable prints the verdict: one line a section, then every finding.
func (v *Verdict) WriteTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "section\t\tcases\tOK\tINFORMATIONAL\tother\tmissing\tclose OK\tINFORMATIONAL\tother\tslowest case")
	var total tally
	for _, s := range sections {
		t := v.tally(func(id string) bool { return sectionOf(id) == s.number })
		if t == (tally{}) {
			continue
		}
		t.write(tw, s.number, s.title)
		total.add(t)
	}
	if unknown := v.tally(func(id string) bool { return !hasSection(id) }); unknown != (tally{}) {
		unknown.write(tw, "?", "Unknown")
		total.add(unknown)
	}
	total.write(tw, "all", "")
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, f := range v.Findings {
		if _, err := fmt.Fprintln(w, f); err != nil {
			return err
		}
	}
	return nil
}

func hasSection(id string) bool {
	for _, s := range sections {
		if s.number == sectionOf(id) {
			return true
		}
	}
	return false
}

// A tally counts outcomes as the suite words them, whether they pass or not.
type tally struct {
	cases, missing  int
	behavior, close outcomes
	slowest         string // a case, or "" if all were done in no time
	duration        int    // of the slowest, in milliseconds
}

type outcomes struct{ ok, informational, other int }

func (o *outcomes) count(outcome string) {
	switch outcome {
	case outcomeOK:
		o.ok++
	case outcomeInformational:
		o.informational++
	default:
		o.other++
	}
}

// tally counts the cases of the report, and those missing from it, whose id
// fits.
func (v *Verdict) tally(fits func(id string) bool) tally {
	var t tally
	for id, res := range v.Report.Results {
		if fits(id) {
			t.cases++
			t.behavior.count(res.Behavior)
			t.close.count(res.BehaviorClose)
			t.time(id, res.Duration)
		}
	}
	for _, id := range v.Expected {
		if _, ok := v.Report.Results[id]; !ok && fits(id) {
			t.missing++
		}
	}
	return t
}

func (t *tally) add(u tally) {
	t.cases += u.cases
	t.missing += u.missing
	t.behavior.add(u.behavior)
	t.close.add(u.close)
	t.time(u.slowest, u.duration)
}

// time takes note of a case's duration. The outcome does not depend on it: it
// shows what got slow.
func (t *tally) time(id string, duration int) {
	if duration > t.duration || duration == t.duration && duration > 0 && compareIDs(id, t.slowest) < 0 {
		t.slowest, t.duration = id, duration
	}
}

func (o *outcomes) add(p outcomes) {
	o.ok += p.ok
	o.informational += p.informational
	o.other += p.other
}

func (t tally) write(w io.Writer, number, title string) {
	slowest := ""
	if t.slowest != "" {
		slowest = fmt.Sprintf("%s: %d ms", t.slowest, t.duration)
	}
	fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", number, title, t.cases,
		t.behavior.ok, t.behavior.informational, t.behavior.other, t.missing,
		t.close.ok, t.close.informational, t.close.other, slowest)
}
