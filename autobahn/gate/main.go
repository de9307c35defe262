// Command gate judges a report of the Autobahn|Testsuite, whose own exit status
// says nothing.
//
//	gate -agent websocket-server [-cases "7.*,12.1.1-6" | -full] [-count N] reports/server/index.json
//
// It prints a table by section and every case at fault. It exits with 1 unless
// the report holds exactly the cases asked for, all of them OK. Three may be
// INFORMATIONAL. With 2 it exits when it cannot tell.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/seed70bc5565/websocket/autobahn/internal/suite"
)

func main() {
	os.Exit(gate(os.Args[1:], os.Stdout, os.Stderr))
}

func gate(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("gate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	agent := flags.String("agent", "", "the `name` under which the peer was tested")
	cases := flags.String("cases", "", "the cases that had to run, such as \"1.*,12.1.1-6\" (default: the 301 without compression)")
	full := flags.Bool("full", false, "all 517 cases were to be run")
	count := flags.Int("count", 0, "the `number` of cases that were to be run; without -cases and -full, whichever they are")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	verdict, err := judge(flags.Args(), *agent, *cases, *full, *count)
	if err != nil {
		fmt.Fprintln(stderr, "gate:", err)
		return 2
	}
	if err := verdict.WriteTable(stdout); err != nil {
		fmt.Fprintln(stderr, "gate:", err)
		return 2
	}
	if !verdict.OK() {
		fmt.Fprintf(stdout, "FAILED: %d findings\n", len(verdict.Findings))
		return 1
	}
	fmt.Fprintln(stdout, "passed")
	return 0
}

func judge(files []string, agent, cases string, full bool, count int) (*suite.Verdict, error) {
	switch {
	case len(files) != 1:
		return nil, errors.New("name one index.json")
	case agent == "":
		return nil, errors.New("-agent is needed")
	case cases != "" && full:
		return nil, errors.New("-cases and -full exclude each other")
	case count < 0:
		return nil, errors.New("-count is negative")
	}
	report, err := suite.ReadReport(files[0], agent)
	if err != nil {
		return nil, err
	}
	expected := suite.Core()
	switch {
	case full:
		expected = suite.All()
	case cases != "":
		if expected, err = suite.Select(cases); err != nil {
			return nil, err
		}
	case count > 0:
		return suite.Count(report, count), nil
	}
	if count > 0 && count != len(expected) {
		return nil, fmt.Errorf("-count says %d cases, the cases named are %d", count, len(expected))
	}
	return suite.Judge(expected, report), nil
}
