package suite

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Finding is one reason for a run not to pass.
type Finding struct {
	Case string
	What string
}

func (f Finding) String() string { return f.Case + ": " + f.What }

// A Verdict is a report measured against the cases that had to run.
type Verdict struct {
	Expected []string
	Report   *Report
	Findings []Finding // in the order of the cases; none if the run passes
}

// OK reports whether the run passes.
func (v *Verdict) OK() bool { return len(v.Findings) == 0 }

// Judge demands of the report that it holds exactly the expected cases, each OK
// in behavior and in behaviorClose. Three cases may be INFORMATIONAL (see
// informational); everything else is a finding, NON-STRICT too.
func Judge(expected []string, r *Report) *Verdict {
	v := &Verdict{Expected: expected, Report: r}
	want := make(map[string]bool, len(expected))
	for _, id := range expected {
		want[id] = true
		res, ok := r.Results[id]
		if !ok {
			v.add(id, "missing: the suite has not run it")
			continue
		}
		if !passes(id, res.Behavior) || !passes(id, res.BehaviorClose) {
			v.add(id, describe(id, r))
		}
	}
	extra := slices.SortedFunc(maps.Keys(r.Results), compareIDs)
	for _, id := range extra {
		if !want[id] {
			v.add(id, "not expected: the run was to leave it out, or the suite is of another version")
		}
	}
	return v
}

func (v *Verdict) add(id, what string) { v.Findings = append(v.Findings, Finding{id, what}) }

func passes(id, outcome string) bool {
	return outcome == outcomeOK || outcome == outcomeInformational && informational[id]
}

// describe tells what the suite holds against a case, in its own words where it
// left any.
func describe(id string, r *Report) string {
	res := r.Results[id]
	d, err := r.detail(id)
	if err != nil {
		d.Result = err.Error()
	}
	code := "none"
	if c := res.RemoteCloseCode; c != nil {
		code = strconv.Itoa(*c)
	}
	why := strings.Fields(d.Result)
	if d.ResultClose != d.Result {
		why = append(why, strings.Fields(d.ResultClose)...)
	}
	s := fmt.Sprintf("behavior %s, behaviorClose %s, close code received: %s",
		cmp.Or(res.Behavior, "absent"), cmp.Or(res.BehaviorClose, "absent"), code)
	if len(why) > 0 {
		s += " (" + strings.Join(why, " ") + ")"
	}
	return s
}

// Count demands a number of cases of a report, for a run whose cases are not
// known by name.
func Count(r *Report, n int) *Verdict {
	ids := slices.SortedFunc(maps.Keys(r.Results), compareIDs)
	v := Judge(ids, r)
	if len(ids) != n {
		v.add("all", fmt.Sprintf("the report holds %d cases, not %d", len(ids), n))
	}
	return v
}

// compareIDs orders case ids by their numbers, so that 1.10 comes after 1.9.
func compareIDs(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		m, errX := strconv.Atoi(x)
		n, errY := strconv.Atoi(y)
		if errX != nil || errY != nil {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(m, n)
	})
}
