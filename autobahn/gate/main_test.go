package main

import (
	"bytes"
	"strings"
	"testing"
)

// The samples hold the cases 1.1.1, 1.1.2, 6.4.3 and 7.13.1, all green except
// for what their names say.
const sampleCases = "1.1.1-2,6.4.3,7.13.1"

func TestGate(t *testing.T) {
	tests := []struct {
		file string
		args []string
		exit int
		want []string // in what it prints
	}{
		{file: "green.json", exit: 0, want: []string{
			"1        Framing  2      2   0              0      0        2         0              0      1.1.1: 2 ms\n",
			"7        Closing  1      0   1              0      0        0         1              0      7.13.1: 2 ms\n",
			"all               4      3   1              0      0        3         1              0      6.4.3: 1234 ms\n",
			"passed",
		}},
		{file: "informational-ok.json", exit: 0},
		{file: "green.json", args: []string{"-cases", sampleCases, "-count", "4"}, exit: 0},
		{file: "green.json", args: []string{"-count", "4"}, exit: 0},

		{file: "nonstrict.json", exit: 1, want: []string{"6.4.3: behavior NON-STRICT, behaviorClose OK, close code received: 1007", "FAILED: 1 findings"}},
		{file: "unimplemented.json", exit: 1, want: []string{"1.1.2: behavior UNIMPLEMENTED"}},
		{file: "unclean.json", exit: 1, want: []string{"1.1.1: behavior OK, behaviorClose UNCLEAN, close code received: none"}},
		{file: "wrong-code.json", exit: 1, want: []string{"1.1.2: behavior OK, behaviorClose WRONG CODE, close code received: 1006"}},
		{file: "failed-by-client.json", exit: 1, want: []string{"1.1.2: behavior OK, behaviorClose FAILED BY CLIENT"}},
		{file: "informational.json", exit: 1, want: []string{"1.1.2: behavior INFORMATIONAL"}},
		{file: "informational-close.json", exit: 1, want: []string{"1.1.2: behavior OK, behaviorClose INFORMATIONAL"}},
		{file: "no-close.json", exit: 1, want: []string{"1.1.1: behavior OK, behaviorClose absent"}},
		{file: "missing.json", exit: 1, want: []string{"6.4.3: missing", "6        UTF-8    0      0   0              0      1"}},
		{file: "missing.json", args: []string{"-count", "4"}, exit: 1, want: []string{"holds 3 cases, not 4"}},
		{file: "extra.json", exit: 1, want: []string{"1.1.3: not expected"}},
		{file: "extra.json", args: []string{"-count", "4"}, exit: 1, want: []string{"holds 5 cases, not 4"}},
		{file: "nonstrict.json", args: []string{"-count", "4"}, exit: 1, want: []string{"6.4.3: behavior NON-STRICT"}},
		{file: "unknown.json", exit: 1, want: []string{"14.1.1: not expected", "Unknown"}},
		{file: "no-cases.json", exit: 1, want: []string{"1.1.1: missing", "1.1.2: missing", "6.4.3: missing", "7.13.1: missing"}},
		{file: "failed/index.json", exit: 1, want: []string{
			"6.4.3: behavior FAILED, behaviorClose FAILED, close code received: none " +
				"(Actual events match at least one expected. The connection was failed by the wrong endpoint)\n",
			// A file outside the report's folder is not read.
			"1.1.2: behavior FAILED, behaviorClose OK, close code received: 1000\n",
		}},
		{file: "green.json", args: []string{"-full"}, exit: 1, want: []string{"13.7.18: missing", "FAILED: 513 findings"}},
		{file: "green.json", args: []string{}, exit: 1, want: []string{"10.1.1: missing", "FAILED: 297 findings"}},

		{file: "empty.json", exit: 2, want: []string{"holds no results"}},
		{file: "other-agent.json", exit: 2, want: []string{`is about "UnknownServer", not about "websocket-server" alone`}},
		{file: "two-agents.json", exit: 2, want: []string{`is about "UnknownServer, websocket-server"`}},
		{file: "truncated.json", exit: 2, want: []string{"truncated.json: unexpected end"}},
		{file: "absent.json", exit: 2, want: []string{"absent.json"}},
		{file: "green.json", args: []string{"-cases", sampleCases, "-count", "5"}, exit: 2, want: []string{"-count says 5 cases, the cases named are 4"}},
		{file: "green.json", args: []string{"-cases", "8.*"}, exit: 2, want: []string{`pattern "8.*": the suite has no such case`}},
		{file: "green.json", args: []string{"-cases", "1.*", "-full"}, exit: 2, want: []string{"exclude each other"}},
		{file: "green.json", args: []string{"-count", "-1"}, exit: 2, want: []string{"negative"}},
		{file: "green.json", args: []string{"-agent", ""}, exit: 2, want: []string{"-agent is needed"}},
		{file: "green.json", args: []string{"-colour"}, exit: 2, want: []string{"not defined: -colour"}},
	}
	for _, test := range tests {
		args := test.args
		if args == nil {
			args = []string{"-cases", sampleCases}
		}
		t.Run(test.file+" "+strings.Join(args, " "), func(t *testing.T) {
			args := append([]string{"-agent", "websocket-server"}, args...)
			args = append(args, "testdata/"+test.file)
			var out bytes.Buffer
			if exit := gate(args, &out, &out); exit != test.exit {
				t.Errorf("exit status %d, want %d", exit, test.exit)
			}
			for _, want := range test.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("nowhere says %q", want)
				}
			}
			if t.Failed() {
				t.Logf("printed:\n%s", out.String())
			}
		})
	}
}

func TestGateNeedsOneFile(t *testing.T) {
	for _, files := range [][]string{nil, {"testdata/green.json", "testdata/green.json"}} {
		var out bytes.Buffer
		args := append([]string{"-agent", "websocket-server"}, files...)
		if exit := gate(args, &out, &out); exit != 2 || !strings.Contains(out.String(), "name one index.json") {
			t.Errorf("%d files: exit status %d, printed %q", len(files), exit, out.String())
		}
	}
}
