package suite

import (
	"slices"
	"strings"
	"testing"
)

func TestCases(t *testing.T) {
	if n := len(All()); n != 517 {
		t.Errorf("All: %d cases, the suite has 517", n)
	}
	if n := len(Core()); n != 301 {
		t.Errorf("Core: %d cases, want 301", n)
	}
	// The cases of each section, as the suite's own index says.
	want := map[string]int{"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1, "12": 90, "13": 126}
	have := make(map[string]int)
	seen := make(map[string]bool)
	for _, id := range All() {
		if seen[id] {
			t.Errorf("case %s is listed twice", id)
		}
		seen[id] = true
		have[sectionOf(id)]++
	}
	for _, s := range sections {
		if have[s.number] != want[s.number] {
			t.Errorf("section %s: %d cases, want %d", s.number, have[s.number], want[s.number])
		}
		delete(have, s.number)
	}
	if len(have) != 0 {
		t.Errorf("sections without a title: %v", have)
	}
	for id := range informational {
		if !seen[id] {
			t.Errorf("informational: there is no case %s", id)
		}
	}
	if !slices.IsSortedFunc(All(), compareIDs) {
		t.Error("All is not in the suite's order")
	}
}

func TestSelect(t *testing.T) {
	tests := []struct {
		spec string
		want string // ids, or their number if many
		n    int
	}{
		{spec: "1.1.1", want: "1.1.1"},
		{spec: "7.13.*", want: "7.13.1 7.13.2"},
		{spec: "7.13", want: "7.13.1 7.13.2"},
		{spec: "2.10-11,2.1", want: "2.1 2.10 2.11"},
		{spec: "2.1 2.1, 2.1", want: "2.1"},
		{spec: "12.1.1-6", want: "12.1.1 12.1.2 12.1.3 12.1.4 12.1.5 12.1.6"},
		{spec: "12.*.1", want: "12.1.1 12.2.1 12.3.1 12.4.1 12.5.1"},
		{spec: "13.6-7.18", want: "13.6.18 13.7.18"},
		{spec: "1.*", n: 16},
		{spec: "1", n: 16},
		{spec: "*", n: 517},
		{spec: "*.*.*", n: 517 - 11 - 7 - 20}, // 2, 3 and 5 have ids of two numbers
		{spec: "12.*, 13.*", n: 216},
		{spec: "12.1.1-6, 13.*.1-4", n: 6 + 7*4},
	}
	for _, test := range tests {
		ids, err := Select(test.spec)
		if err != nil {
			t.Errorf("Select(%q): %v", test.spec, err)
			continue
		}
		if test.want != "" && strings.Join(ids, " ") != test.want {
			t.Errorf("Select(%q) = %v, want %s", test.spec, ids, test.want)
		}
		if test.n != 0 && len(ids) != test.n {
			t.Errorf("Select(%q): %d cases, want %d", test.spec, len(ids), test.n)
		}
	}
}

func TestSelectRefuses(t *testing.T) {
	for _, spec := range []string{
		"", " , ", "8.*", "1.3.1", "2.1.1", "1.1.0", "1.1.9", "1.1.1.1", "1.", ".1", "a", "1-", "-1", "1.6-1", "1.1.*1", "1.1.+1",
		"1.1.1,x", "99999999999999999999",
	} {
		if ids, err := Select(spec); err == nil {
			t.Errorf("Select(%q) = %v, want an error", spec, ids)
		}
	}
}

// TestWholeSuite judges reports of all cases, as the gate meets them.
func TestWholeSuite(t *testing.T) {
	green := func() *Report {
		r := &Report{Results: make(map[string]Result)}
		for _, id := range All() {
			outcome := outcomeOK
			if informational[id] {
				outcome = outcomeInformational
			}
			r.Results[id] = Result{Behavior: outcome, BehaviorClose: outcome}
		}
		return r
	}
	if v := Judge(All(), green()); !v.OK() {
		t.Errorf("a green report of all cases: %v", v.Findings)
	}
	// Compression may not slip into a run without it, nor be absent from one
	// with it.
	if v := Judge(Core(), green()); len(v.Findings) != 216 {
		t.Errorf("all cases where 301 were expected: %d findings, want 216", len(v.Findings))
	}
	// Each case counts: without it, and with any other outcome in either field.
	for _, id := range All() {
		wantFinding(t, Judge([]string{id}, &Report{}), id)
		for _, outcome := range []string{"NON-STRICT", "FAILED", "UNIMPLEMENTED", "ok", ""} {
			res := Result{Behavior: outcome, BehaviorClose: outcomeOK}
			wantFinding(t, Judge([]string{id}, &Report{Results: map[string]Result{id: res}}), id)
		}
		for _, outcome := range []string{"UNCLEAN", "WRONG CODE", "FAILED BY CLIENT", "FAILED", ""} {
			res := Result{Behavior: outcomeOK, BehaviorClose: outcome}
			wantFinding(t, Judge([]string{id}, &Report{Results: map[string]Result{id: res}}), id)
		}
		res := Result{Behavior: outcomeInformational, BehaviorClose: outcomeInformational}
		if v := Judge([]string{id}, &Report{Results: map[string]Result{id: res}}); v.OK() != informational[id] {
			t.Errorf("INFORMATIONAL in case %s: passes: %v", id, v.OK())
		}
	}
}

func wantFinding(t *testing.T, v *Verdict, id string) {
	t.Helper()
	if len(v.Findings) != 1 || v.Findings[0].Case != id {
		t.Errorf("findings %v, want one for %s", v.Findings, id)
	}
}
