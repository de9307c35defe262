package suite

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"time"
)

//go:embed report.css
var reportCSS string

//go:embed report.tmpl
var reportTemplates string

var templates = template.Must(template.New("").Parse(reportTemplates))

// classOf is how a verdict is coloured.
func classOf(word string) string {
	switch word {
	case OK:
		return "ok"
	case Informational:
		return "info"
	case NonStrict, Unimplemented:
		return "warn"
	}
	return "bad"
}

type count struct {
	Word, Class string
	N           int
}

// counts counts verdicts in the order in which they are shown.
type counts map[string]int

func (c counts) list(skip string) []count {
	var list []count
	for _, word := range []string{OK, Informational, NonStrict, Unimplemented, Failed} {
		if c[word] > 0 && word != skip {
			list = append(list, count{word, classOf(word), c[word]})
		}
	}
	return list
}

// WriteFolder writes index.json, index.html, and a JSON and an HTML file for
// each case to dir, which it makes if need be. It overwrites the files of an
// earlier report, and deletes none.
func (r *Report) WriteFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := r.WriteJSON(filepath.Join(dir, "index.json")); err != nil {
		return err
	}
	if err := execute(filepath.Join(dir, "index.html"), "index", r.page()); err != nil {
		return err
	}
	files := r.files()
	for _, agent := range r.agents {
		for i, result := range r.results[agent] {
			if result == nil || result.Detail == nil {
				continue
			}
			d := *result.Detail
			d.Agent, d.Case, d.Duration = agent, i+1, result.Duration.Milliseconds()
			if err := writeJSON(filepath.Join(dir, files.of(agent, d.ID, "json")), &d); err != nil {
				return err
			}
			if err := execute(filepath.Join(dir, files.of(agent, d.ID, "html")), "case", casePage(&d)); err != nil {
				return err
			}
		}
	}
	return nil
}

func execute(path, name string, data any) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := templates.ExecuteTemplate(f, name, data); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

type cell struct{ Word, Class, Close, CloseClass, File, Time string }

type indexPage struct {
	Title  string
	Style  template.CSS
	When   string
	Count  int
	Agents []agentCard
	Groups []*groupRows
}

type agentCard struct {
	Name        string
	Passed, Run int
	Bar         []count
}

type groupRows struct {
	Number, Name string
	Count        int
	Open         bool // some case did not pass
	Bad          []count
	Rows         []caseRow
}

type caseRow struct {
	ID, Sends string
	Cells     []cell
}

func (r *Report) page() *indexPage {
	p := &indexPage{Title: "WebSocket conformance", Style: template.CSS(reportCSS), When: time.Now().UTC().Format("2006-01-02 15:04 UTC"), Count: len(r.cases)}
	for _, agent := range r.agents {
		card, sums := agentCard{Name: agent}, counts{}
		for _, result := range r.results[agent] {
			if result == nil {
				continue
			}
			card.Run++
			word := result.Behavior
			if result.Passed() {
				card.Passed++
			} else if classOf(word) == "ok" || classOf(word) == "info" {
				word = Failed
			}
			sums[word]++
		}
		card.Bar = sums.list("")
		p.Agents = append(p.Agents, card)
	}
	var group *groupRows
	var bad counts
	files := r.files()
	for i, c := range r.cases {
		if number := groupOf(c.ID); group == nil || group.Number != number {
			group, bad = &groupRows{Number: number, Name: groupNames[number]}, counts{}
			p.Groups = append(p.Groups, group)
		}
		group.Count++
		row := caseRow{ID: c.ID, Sends: c.Sends}
		for _, agent := range r.agents {
			result := r.results[agent][i]
			if result == nil {
				row.Cells = append(row.Cells, cell{})
				continue
			}
			cl := cell{Word: result.Behavior, Class: classOf(result.Behavior), File: files.of(agent, c.ID, "html")}
			if c.untimed {
				cl.Time = result.Duration.Round(time.Millisecond).String()
			}
			if classOf(result.BehaviorClose) == "bad" {
				cl.Close, cl.CloseClass = result.BehaviorClose, "bad"
			}
			if !result.Passed() {
				word := result.Behavior
				if cl.Close != "" {
					word = Failed
				}
				bad[word]++
				group.Open = true
			}
			row.Cells = append(row.Cells, cl)
		}
		group.Bad = bad.list(OK)
		group.Rows = append(group.Rows, row)
	}
	return p
}

type logLine struct{ Class, Text string }

type caseData struct {
	Title             string
	Style             template.CSS
	D                 *Detail
	Class, CloseClass string
	Local, Remote     string
	Received          []string
	Expected          []expectation
	Log               []logLine
	Facts             []string
}

type expectation struct {
	Word   string
	Events []string
}

func casePage(d *Detail) *caseData {
	p := &caseData{Title: d.ID + " " + d.Agent, Style: template.CSS(reportCSS), D: d, Class: classOf(d.Behavior), CloseClass: classOf(d.BehaviorClose),
		Local: code(d.LocalCloseCode, d.LocalCloseReason), Remote: code(d.RemoteCloseCode, d.RemoteCloseReason), Received: eventLines(d.Received)}
	for _, word := range []string{OK, NonStrict} {
		if events, ok := d.Expected[word]; ok {
			p.Expected = append(p.Expected, expectation{word, eventLines(events)})
		}
	}
	for _, row := range d.Wirelog {
		p.Log = append(p.Log, lineOf(row))
	}
	for _, f := range []struct {
		is    bool
		words string
	}{
		{d.ClosedByMe, "The suite sent the first close frame."},
		{!d.ClosedByMe, "The suite did not send the first close frame."},
		{d.FailedByMe, "The suite failed the connection."},
		{d.WasClean, "There were close frames of both ends."},
		{!d.WasClean, "There were not close frames of both ends, or TCP was not ended in time."},
		{d.DroppedByMe, "The suite ended TCP."},
		{!d.DroppedByMe, "The peer ended TCP."},
		{d.OpenTimeout, "The opening handshake took too long."},
		{d.CloseTimeout, "The peer did not answer the close frame in time."},
		{d.DropTimeout, "The server did not end TCP in time."},
	} {
		if f.is {
			p.Facts = append(p.Facts, f.words)
		}
	}
	return p
}

func code(n *int, reason *string) string {
	switch {
	case n == nil:
		return "none"
	case reason != nil:
		return fmt.Sprintf("%d %q", *n, *reason)
	}
	return fmt.Sprint(*n)
}

func eventLines(events []any) []string {
	lines := []string{}
	for _, e := range events {
		b, _ := json.Marshal(e)
		lines = append(lines, string(b))
	}
	return lines
}

var opcodes = map[int]string{opContinuation: "continuation", opText: "text", opBinary: "binary", opClose: "close", opPing: "ping", opPong: "pong"}

// lineOf puts a row of the wire log in words.
func lineOf(row []any) logLine {
	frame := func(row []any) string {
		payload := row[1].([]any)
		name, ok := opcodes[row[2].(int)]
		if !ok {
			name = fmt.Sprintf("opcode %d", row[2])
		}
		line := fmt.Sprintf("%s frame, %d bytes", name, payload[0])
		if row[3] == false {
			line += ", not final"
		}
		if row[4] != 0 {
			line += fmt.Sprintf(", RSV %d", row[4])
		}
		if payload[1] != "" {
			line += fmt.Sprintf("\n  %v", payload[1])
		}
		return line
	}
	octets := func(row []any) string {
		o := row[1].([]any)
		return fmt.Sprintf("%d bytes\n  %v", o[0], o[1])
	}
	switch row[0] {
	case "TF":
		return logLine{"sent", "-> " + frame(row)}
	case "TO":
		return logLine{"sent", "-> " + octets(row)}
	case "RF":
		return logLine{"got", "<- " + frame(row)}
	case "RO":
		return logLine{"got", "<- " + octets(row)}
	case "CT":
		return logLine{"clock", fmt.Sprintf("a pause of %v s", row[1])}
	case "CTE":
		return logLine{"clock", "the pause is over"}
	case "KL":
		return logLine{"clock", fmt.Sprintf("the connection will be failed in %v s", row[1])}
	case "KLE":
		return logLine{"clock", "the connection is failed"}
	case "TI":
		return logLine{"clock", fmt.Sprintf("the connection will be closed in %v s", row[1])}
	case "TIE":
		return logLine{"clock", "the connection is closed"}
	}
	return logLine{"clock", fmt.Sprint(row...)}
}
