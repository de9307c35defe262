package main

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table and the chart of the README anew")

const (
	readmeFile = "../../../README.md"
	chartFile  = "../../../docs/benchmarks.svg"
	figures    = "../../../docs/benchmarks.json"

	tableBegin = "<!-- benchmarks: begin. `go test ./cmd/wsbench -update` writes what follows. -->\n\n"
	tableEnd   = "\n<!-- benchmarks: end -->\n"
)

// The README's table and chart are those of the run that docs/benchmarks.json
// keeps.
func TestREADMEHasTheFiguresOfTheRun(t *testing.T) {
	r, err := readReport(figures)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(b), tableBegin)
	table, after, ends := strings.Cut(rest, tableEnd)
	if !begins || !ends {
		t.Fatal("README.md does not have the marks of the table")
	}
	chart, err := os.ReadFile(chartFile)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(readmeFile, []byte(before+tableBegin+r.readme()+tableEnd+after), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(chartFile, []byte(r.chart()), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != r.readme() {
		t.Errorf("README.md has another table than docs/benchmarks.json gives:\n%s", r.readme())
	}
	if string(chart) != r.chart() {
		t.Error("docs/benchmarks.svg is not the chart of docs/benchmarks.json")
	}
}

// The chart says what its axis and its marks are, and has the colours of dark
// pages.
func TestChart(t *testing.T) {
	r, err := readReport(figures)
	if err != nil {
		t.Fatal(err)
	}
	chart := r.chart()
	for _, want := range []string{"prefers-color-scheme: dark", "logarithmic; right is better", ">1/2<", ">2<", ">gorilla<", "echo of 128 B"} {
		if !strings.Contains(chart, want) {
			t.Errorf("the chart does not have %q", want)
		}
	}
	if rows := strings.Count(chart, `class="value"`); rows < 10 {
		t.Errorf("%d rows", rows)
	}
}

// The floor of a row with Events is rawepoll, that of all others rawtcp. A row
// whose floor was not measured has an empty cell.
func TestFloorOfARow(t *testing.T) {
	for _, c := range []struct {
		name    string
		figures map[string][]float64
		handler string
		events  string
	}{
		{"both", map[string][]float64{"rawtcp": {200}, "rawepoll": {300}}, "| 2.00 |", "| 3.00 |"},
		{"no rawepoll", map[string][]float64{"rawtcp": {200}}, "| 2.00 |", "|  |"},
		{"no rawtcp", map[string][]float64{"rawepoll": {300}}, "|  |", "| 3.00 |"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.figures["gorilla"], c.figures["ours"], c.figures["ours-events"] = []float64{100}, []float64{110}, []float64{120}
			r := &report{config: &config{libraries: libraries, scenarios: scenarios[:1]}, stored: stored{
				Rounds: 1, Figures: map[string]map[string][]float64{scenarios[0].id: c.figures},
			}}
			lines := strings.Split(r.readme(), "\n")
			for i, want := range []string{c.handler, c.events} {
				if got := lines[2+i]; !strings.HasSuffix(got, want) {
					t.Errorf("%q does not end with %q", got, want)
				}
			}
		})
	}
}
