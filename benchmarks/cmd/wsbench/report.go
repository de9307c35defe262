package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed70bc5565/websocket/benchmarks/load"
)

type report struct {
	config *config
	stored
}

// stored is what results.json keeps of a run: all that the texts and the chart
// are made of.
type stored struct {
	When     time.Time
	Took     time.Duration // in nanoseconds
	Machine  string
	Command  string
	Rounds   int
	Duration time.Duration                   // of one measurement, in nanoseconds
	Peers    []string                        // modules with their versions
	Figures  map[string]map[string][]float64 // by scenario and library, a figure for each round
	Failures map[string]map[string]string
}

func newReport(c *config) *report {
	return &report{config: c, stored: stored{
		When: time.Now().UTC(), Machine: load.Machine(), Command: command(), Rounds: c.rounds, Duration: c.duration,
		Figures: map[string]map[string][]float64{}, Failures: map[string]map[string]string{},
	}}
}

// readReport returns the report of a run that results.json keeps.
func readReport(name string) (*report, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := &report{config: &config{libraries: libraries}}
	if err := json.Unmarshal(b, &r.stored); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, s := range scenarios {
		if r.Figures[s.id] != nil {
			r.config.scenarios = append(r.config.scenarios, s)
		}
	}
	return r, nil
}

func (r *report) add(s scenario, l library, figure float64) {
	if r.Figures[s.id] == nil {
		r.Figures[s.id] = map[string][]float64{}
	}
	r.Figures[s.id][l.name] = append(r.Figures[s.id][l.name], figure)
}

func (r *report) fail(s scenario, l library, err error) {
	if r.Failures[s.id] == nil {
		r.Failures[s.id] = map[string]string{}
	}
	r.Failures[s.id][l.name] = err.Error()
}

// spread is the median and the range of some figures.
type spread struct{ median, low, high float64 }

func spreadOf(v []float64) spread {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	if n == 0 {
		return spread{}
	}
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// verdict returns a ratio with its range. The rounds tell no difference where
// the range spans 1: then it says equal, whatever the median is.
func (s spread) verdict() string {
	text := fmt.Sprintf("%s (%s to %s)", times(s.median), times(s.low), times(s.high))
	switch {
	case s.low > 1:
		return fmt.Sprintf("**%s** (%s to %s)", times(s.median), times(s.low), times(s.high))
	case s.high >= 1 && s.low < s.high:
		return "equal, " + text
	}
	return text
}

// complete returns the figures of a library that has one for every round.
func (r *report) complete(s scenario, name string) []float64 {
	if v := r.Figures[s.id][name]; len(v) == r.Rounds {
		return v
	}
	return nil
}

// reference returns the best Go peer of a scenario.
func (r *report) reference(s scenario) (best library, ok bool) {
	var top float64
	for _, l := range r.config.libraries {
		v := r.complete(s, l.name)
		if l.ours || l.floor || v == nil || s.utf8 && !l.validates {
			continue
		}
		m := spreadOf(v).median
		if !ok || s.less() && m < top || !s.less() && m > top {
			best, top, ok = l, m, true
		}
	}
	return best, ok
}

// ratio compares a library with the reference round by round. More than 1 is
// better than the reference.
func (r *report) ratio(s scenario, name string) (spread, bool) {
	ref, ok := r.reference(s)
	v := r.complete(s, name)
	if !ok || v == nil {
		return spread{}, false
	}
	w := r.complete(s, ref.name)
	q := make([]float64, len(v))
	for i := range v {
		if q[i] = v[i] / w[i]; s.less() {
			q[i] = w[i] / v[i]
		}
	}
	return spreadOf(q), true
}

func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	md := r.markdown()
	fmt.Print(md)
	raw, err := json.MarshalIndent(r.stored, "", "\t")
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"results.md": md, "results.json": string(raw) + "\n", "readme.md": r.readme(), "chart.svg": r.chart(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			return err
		}
	}
	return nil
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s\n\n", r.When.Format("2006-01-02"), r.Machine)
	fmt.Fprintf(&b, "`%s`: %d rounds of %v each, %v in all. Server on CPU 0, load on CPU 1, GOMAXPROCS=1. "+
		"Ratios are to the best Go peer, taken round by round: median (range).\n\n",
		r.Command, r.Rounds, r.Duration, r.Took.Round(time.Second))
	r.summary(&b)
	for _, s := range r.config.scenarios {
		r.table(&b, s)
	}
	fmt.Fprintf(&b, "\nPeers: %s.\n", strings.Join(r.Peers, ", "))
	return b.String()
}

// floorOf returns the floor that a server of this library is compared with: the
// one that waits for its connections in the same way.
func floorOf(name string) string {
	if name == "ours-events" {
		return "rawepoll"
	}
	return "rawtcp"
}

// summary has one line a scenario.
func (r *report) summary(b *strings.Builder) {
	b.WriteString("| scenario | best Go peer | this library | floor (rawtcp) | Events | floor of Events (rawepoll) |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, s := range r.config.scenarios {
		best := "none"
		if ref, ok := r.reference(s); ok {
			best = fmt.Sprintf("%s, %s", ref.name, s.format(spreadOf(r.complete(s, ref.name)).median))
		}
		fmt.Fprintf(b, "| %s. %s | %s", s.id, s.title, best)
		for _, name := range []string{"ours", "ours-events"} {
			fmt.Fprintf(b, " | %s | %s", r.cell(s, name), r.cell(s, floorOf(name)))
		}
		b.WriteString(" |\n")
	}
}

func (r *report) cell(s scenario, name string) string {
	if f := r.Failures[s.id][name]; f != "" {
		return "failed"
	}
	v := r.complete(s, name)
	if v == nil {
		return ""
	}
	text := s.format(spreadOf(v).median)
	if q, ok := r.ratio(s, name); ok {
		text = fmt.Sprintf("%s, %s", q.verdict(), text)
	}
	return text
}

func (r *report) table(b *strings.Builder, s scenario) {
	fmt.Fprintf(b, "\n### %s. %s\n\n| server | %s | range | ratio |\n| --- | ---: | ---: | ---: |\n", s.id, s.title, s.unit)
	unchecked := false
	for _, l := range r.config.libraries {
		if s.leaves(l) {
			continue
		}
		label := l.label
		if s.utf8 && !l.validates {
			label += " *"
			unchecked = true
		}
		if f := r.Failures[s.id][l.name]; f != "" {
			fmt.Fprintf(b, "| %s | failed: %s | | |\n", label, strings.ReplaceAll(f, "\n", " "))
			continue
		}
		v := r.complete(s, l.name)
		if v == nil {
			continue
		}
		sp := spreadOf(v)
		ratio := ""
		if q, ok := r.ratio(s, l.name); ok {
			ratio = fmt.Sprintf("%s (%s-%s)", times(q.median), times(q.low), times(q.high))
		}
		fmt.Fprintf(b, "| %s | %s | %s to %s | %s |\n", label, s.format(sp.median), s.format(sp.low), s.format(sp.high), ratio)
	}
	if unchecked {
		b.WriteString("\n\\* does not validate UTF-8\n")
	}
}

func times(q float64) string {
	if q >= 9.95 {
		return fmt.Sprintf("%.1f", q)
	}
	return fmt.Sprintf("%.2f", q)
}

// readmeRows are the rows of the table in README.md, in which scenarios have
// names that need no explanation.
var readmeRows = []struct{ scenario, library, text string }{
	{"a", "ours", "echo of 128 B, one message at a time, 64 connections"},
	{"a", "ours-events", "the same, `Events`"},
	{"a-p99", "ours", "what 99 of 100 of these echoes take at most"},
	{"a-p99", "ours-events", "the same, `Events`"},
	{"b", "ours", "echo of 128 B, 32 messages at a time, 64 connections"},
	{"c", "ours", "echo of 16 KiB, 16 connections"},
	{"d", "ours", "echo of 1 MiB, 4 connections"},
	{"d2", "ours", "echo of 64 KiB of Chinese text, UTF-8 checked"},
	{"e", "ours", "memory of an idle connection, `Handler`"},
	{"e-read", "ours", "the same, a loop over `Read`"},
	{"e-log", "ours", "the same, errors are logged"},
	{"e-hub", "ours", "the same, a subscriber of a hub that also publishes"},
	{"e-request", "ours", "the same, the request is used in the loop"},
	{"e", "ours-events", "memory of an idle connection, `Events`"},
	{"e-tls", "ours", "memory of an idle connection over TLS"},
	{"f", "ours", "handshakes through net/http"},
	{"f-bare", "ours-bare", "handshakes without net/http, `AcceptConn`"},
	{"g", "ours", "broadcast of 512 B to 1,000 connections"},
	{"g8", "ours", "broadcast of 8 messages, queued for each"},
	{"h", "ours", "64 goroutines write 128 B to one connection"},
	{"z", "ours", "compressed JSON of 1 KB"},
	{"zt", "ours", "compressed JSON with history (context takeover)"},
	{"zt12-mem", "ours", "memory with history, windows of 4 KB"},
}

// readme returns the table of README.md: medians, and ratios with their ranges,
// and where it was measured. A cell is empty where the run lacks its server. A
// row without other libraries has only the figure.
func (r *report) readme() string {
	var b strings.Builder
	b.WriteString("| | best other | here | ratio (range) | floor |\n|---|---|---:|---:|---:|\n")
	for _, row := range readmeRows {
		i := slices.IndexFunc(r.config.scenarios, func(s scenario) bool { return s.id == row.scenario })
		if i < 0 {
			continue
		}
		s := r.config.scenarios[i]
		figures := r.complete(s, row.library)
		if figures == nil {
			continue
		}
		ref, _ := r.reference(s) // none where only this library was measured
		ratio, floor := "", ""
		if q, ok := r.ratio(s, row.library); ok {
			ratio = q.verdict()
		}
		if f, ok := r.ratio(s, floorOf(row.library)); ok {
			floor = times(f.median)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.text, ref.name, readable(s, spreadOf(figures).median), ratio, floor)
	}
	fmt.Fprintf(&b, "\nMeasured on %s,\n%s.\n\nMedians and ranges of %d rounds, in which all libraries take turns.\n",
		r.When.Format("2006-01-02"), r.Machine, r.Rounds)
	return b.String()
}

// readable returns a figure for README.md: "4.8 KB", or "232,000 /s".
func readable(s scenario, figure float64) string {
	if s.less() {
		return s.format(figure)
	}
	unit := 1000
	if figure < 20_000 {
		unit = 100
	}
	n := int(figure/float64(unit)+0.5) * unit
	if n >= 1_000_000 {
		return fmt.Sprintf("%d,%03d,%03d /s", n/1_000_000, n/1000%1000, n%1000)
	}
	return fmt.Sprintf("%d,%03d /s", n/1000, n%1000)
}

func command() string {
	return strings.Join(append([]string{"wsbench"}, os.Args[1:]...), " ")
}

// versions lists the modules that the servers were built from.
func (r *report) versions() []string {
	var all []string
	for _, l := range r.config.libraries {
		info, err := buildinfo.ReadFile(filepath.Join(r.config.bin, l.name))
		if err != nil {
			continue
		}
		for _, dep := range info.Deps {
			if v := dep.Path + " " + dep.Version; dep.Replace == nil && !slices.Contains(all, v) {
				all = append(all, v)
			}
		}
	}
	slices.Sort(all)
	return all
}
