package suite

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
)

// A Report holds the results of one or more agents: servers or clients by the
// names they go by.
type Report struct {
	cases   []*Case
	agents  []string             // sorted
	results map[string][]*Result // in the order of cases; nil: not run
}

// NewReport returns an empty report about cases.
func NewReport(cases []*Case) *Report { return &Report{cases: cases, results: map[string][]*Result{}} }

// Add adds the results of an agent, in the order of the cases; nil
// stands for a case that was not run.
func (r *Report) Add(agent string, results []*Result) {
	if r.results[agent] == nil {
		r.agents = append(r.agents, agent)
		slices.Sort(r.agents)
	}
	r.results[agent] = results
}

// Len returns the number of agents.
func (r *Report) Len() int { return len(r.agents) }

// An entry is what index.json says of a case, as the original has it.
type entry struct {
	Behavior        string `json:"behavior"`
	BehaviorClose   string `json:"behaviorClose"`
	Duration        int64  `json:"duration"`
	RemoteCloseCode *int   `json:"remoteCloseCode"`
	ReportFile      string `json:"reportfile"`
}

func (r *Report) index() map[string]map[string]entry {
	index := map[string]map[string]entry{}
	files := r.files()
	for _, agent := range r.agents {
		index[agent] = map[string]entry{}
		for _, result := range r.results[agent] {
			if result == nil {
				continue
			}
			e := entry{Behavior: result.Behavior, BehaviorClose: result.BehaviorClose, Duration: result.Duration.Milliseconds(),
				ReportFile: files.of(agent, result.ID, "json")}
			if result.Detail != nil {
				e.RemoteCloseCode = result.Detail.RemoteCloseCode
			}
			index[agent][result.ID] = e
		}
	}
	return index
}

// reportFiles are how the names of each agent's files begin.
type reportFiles map[string]string

// files gives files of its own to each agent. The original gives the same ones
// to "a/1" and "a-1". It cannot write those of an agent with a long name.
func (r *Report) files() reportFiles {
	files, taken := reportFiles{}, map[string]bool{}
	for _, agent := range r.agents {
		name := cleanName(agent)
		if name == "" || len(name) > longestName || taken[name] {
			sum := sha256.Sum256([]byte(agent))
			name = fmt.Sprintf("%s_%x", name[:min(len(name), longestName)], sum[:6])
		}
		files[agent], taken[name] = name, true
	}
	return files
}

// longestName leaves room for the rest of a file's name, which most systems
// limit to 255 bytes.
const longestName = 150

// cleanName is what the original makes of an agent's name in those of files.
func cleanName(agent string) string {
	clean := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return ' '
	}, strings.ToLower(strings.TrimSpace(agent)))
	return strings.ReplaceAll(strings.TrimSpace(clean), " ", "_")
}

// of is the name of the file of a case.
func (f reportFiles) of(agent, id, ext string) string {
	return f[agent] + "_case_" + strings.ReplaceAll(id, ".", "_") + "." + ext
}

// WriteJSON writes the verdicts to a file, as the index.json of the original.
func (r *Report) WriteJSON(path string) error { return writeJSON(path, r.index()) }

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "   ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o666)
}

// groupOf is the first number of an id.
func groupOf(id string) string {
	group, _, _ := strings.Cut(id, ".")
	return group
}

var groupNames = map[string]string{
	"1": "Framing", "2": "Pings and pongs", "3": "Reserved bits", "4": "Opcodes", "5": "Fragmentation", "6": "UTF-8", "7": "Closing",
	"9": "Limits", "10": "Many fragments", "12": "Compression: payloads", "13": "Compression: parameters", "b": "Beyond the original",
}

// A tableRow counts the verdicts of some cases.
type tableRow struct{ cases, ok, info, nonStrict, unimplemented, failed, badClose, missing int }

// add counts a result. nil is that of a case that was not run.
func (n *tableRow) add(r *Result) {
	n.cases++
	if r == nil {
		n.missing++
		return
	}
	switch r.Behavior {
	case OK:
		n.ok++
	case Informational:
		n.info++
	case NonStrict:
		n.nonStrict++
	case Unimplemented:
		n.unimplemented++
	default:
		n.failed++
	}
	if r.BehaviorClose != OK && r.BehaviorClose != Informational {
		n.badClose++
	}
}

// Table writes a table by group and a line for each case that did not pass.
// It reports whether all passed: their verdicts are OK or INFORMATIONAL, or
// among allow.
func (r *Report) Table(w io.Writer, allow ...string) bool {
	good := true
	for _, agent := range r.agents {
		fmt.Fprintf(w, "%s\n", printable(agent))
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "group\t\tcases\tOK\tINFORMATIONAL\tNON-STRICT\tUNIMPLEMENTED\tFAILED\tclose not OK\tnot run")
		rows, total := map[string]*tableRow{}, &tableRow{}
		var order []string
		var bad []*Result
		for i, c := range r.cases {
			group := groupOf(c.ID)
			if rows[group] == nil {
				rows[group] = &tableRow{}
				order = append(order, group)
			}
			result := r.results[agent][i]
			rows[group].add(result)
			total.add(result)
			switch {
			case result == nil:
				good = false
			case !result.Passed(allow...):
				good = false
				bad = append(bad, result)
			}
		}
		line := func(group, name string, n *tableRow) {
			fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", group, name, n.cases, n.ok, n.info, n.nonStrict, n.unimplemented, n.failed, n.badClose, n.missing)
		}
		for _, g := range order {
			line(g, groupNames[g], rows[g])
		}
		line("all", "", total)
		tw.Flush()
		for _, result := range bad {
			fmt.Fprintln(w, printable(result.String()))
		}
	}
	return good
}

// printable escapes what a terminal would obey. A peer may have chosen it: its
// name, or the status line of its answer.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}
