// Command suites runs the tests of others. First it runs them as they are, then
// with this module in the place of the WebSocket library that they were written
// for. Sources come from the module proxy and go to a temporary folder; none of
// them is kept.
//
//	cd suites && go run . [-full] [-only REGEXP] [-keep] [-update]
//
// It fails when a program does not build, or when fewer tests pass than the
// table of programs says. It fails when a test passes with the other library
// and fails with ours, and the table gives no reason. See README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

var (
	full   = flag.Bool("full", false, "run the large programs too")
	only   = flag.String("only", "", "run the programs whose module path matches this regular expression, large or not")
	keep   = flag.Bool("keep", false, "keep the temporary folder, and print its name")
	update = flag.Bool("update", false, "write what was found to pins.json and docs/compatibility.md")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "suites:", err)
		os.Exit(1)
	}
}

func run() error {
	repo, err := repository()
	if err != nil {
		return err
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "suites")
	if err != nil {
		return err
	}
	if *keep {
		fmt.Println("work:", work)
	} else {
		defer os.RemoveAll(work)
	}
	pins, err := readPins()
	if err != nil {
		return err
	}
	var bad []string
	for _, p := range programs {
		switch {
		case *only != "" && !match.MatchString(p.module), *only == "" && p.large && !*full:
			continue
		}
		begin := time.Now()
		r := p.try(repo, work, pins[p.module])
		if *update && len(r.problems) == 0 {
			pins[p.module] = pin{p.version, r.theirPass, r.ourPass, r.dropped}
		} else if !*update {
			r.hold(pins[p.module])
		}
		fmt.Printf("%-44s %s  (%.0f s)\n", p.module+" "+p.version, r, time.Since(begin).Seconds())
		for _, line := range r.problems {
			fmt.Println("    ", line)
			bad = append(bad, p.module+": "+line)
		}
		for _, line := range r.notes {
			fmt.Println("     (" + line + ")")
		}
	}
	if *update {
		if err := errors.Join(writePins(pins), writeTable(filepath.Join(repo, "docs", "compatibility.md"), pins)); err != nil {
			return err
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("%d problems:\n  %s", len(bad), strings.Join(bad, "\n  "))
	}
	return nil
}

// repository returns the folder of the module under test.
func repository() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	return filepath.Dir(filepath.Dir(strings.TrimSpace(string(out)))), nil
}
