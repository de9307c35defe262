package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
)

// A pin is what came of a program when the table was written. Later runs are
// compared with it.
type pin struct {
	Version string            `json:"version"`
	Theirs  int               `json:"theirs"`
	Ours    int               `json:"ours"`
	Dropped map[string]string `json:"dropped,omitempty"`
}

const pinsFile = "pins.json"

func readPins() (map[string]pin, error) {
	pins := map[string]pin{}
	p, err := os.ReadFile(pinsFile)
	if errors.Is(err, os.ErrNotExist) {
		return pins, nil
	}
	if err != nil {
		return nil, err
	}
	return pins, json.Unmarshal(p, &pins)
}

func writePins(pins map[string]pin) error {
	p, err := json.MarshalIndent(pins, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(pinsFile, append(p, '\n'), 0o644)
}

// Markers of the part of docs/compatibility.md that writeTable writes.
const (
	tableBegin = "<!-- suites: begin. `make suites-update` writes what follows. -->\n"
	tableEnd   = "<!-- suites: end -->\n"
)

// writeTable writes the table of programs into the page at path.
func writeTable(path string, pins map[string]pin) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(page), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no markers", path)
	}
	var b strings.Builder
	for _, door := range []string{"gorilla", "coder"} {
		fmt.Fprintf(&b, "\n| written for %s | version | builds | tests passed with it | with ours | |\n| --- | --- | --- | ---: | ---: | --- |\n", door)
		for _, p := range programs {
			if pin, ok := pins[p.module]; ok && p.door == door {
				fmt.Fprintf(&b, "| %s | %s | yes | %d | %d | %s |\n", p.module, pin.Version, pin.Theirs, pin.Ours, p.remark())
			}
		}
	}
	for _, p := range programs {
		pin, ok := pins[p.module]
		if !ok || len(p.known)+len(pin.Dropped) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n", p.module)
		if len(p.known) > 0 {
			b.WriteString("| passes with it only | reason |\n| --- | --- |\n")
			for _, name := range sorted(p.known) {
				fmt.Fprintf(&b, "| %s | %s |\n", name, p.known[name])
			}
		}
		if len(pin.Dropped) > 0 {
			fmt.Fprintf(&b, "\nNot run, because they reach into unexported names: %s.\n", strings.Join(sorted(pin.Dropped), ", "))
		}
	}
	b.WriteString("\n")
	return os.WriteFile(path, []byte(before+tableBegin+b.String()+tableEnd+after), 0o644)
}

func (p *program) remark() string {
	switch {
	case p.own:
		return "the library itself, see below"
	case len(p.known) > 0:
		return "see below"
	}
	return p.about
}

func sorted(m map[string]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
