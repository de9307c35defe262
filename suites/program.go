package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"time"
)

const ours = "github.com/seed70bc5565/websocket"

// The libraries that the programs were written for, and what takes their place.
var doors = map[string]map[string]string{
	"gorilla": {"github.com/gorilla/websocket": ours + "/gorilla"},
	"coder": {
		"github.com/coder/websocket":        ours,
		"github.com/coder/websocket/wsjson": ours + "/wsjson",
		"nhooyr.io/websocket":               ours,
		"nhooyr.io/websocket/wsjson":        ours + "/wsjson",
	},
}

// A program is a module with tests.
type program struct {
	module, version string
	door            string            // gorilla or coder
	packages        []string          // whose tests run, as patterns below the module
	skip            string            // tests that do not run, as go test -skip takes it: they need what is not here
	large           bool              // only with -full
	own             bool              // it is the library itself: see own.go
	about           string            // a remark for the table
	crashes         string            // tests, as skip, that would take the others down with ours; each is known
	known           map[string]string // tests that pass with the other library only, and why
}

// A result is what came of a program.
type result struct {
	built              bool
	theirPass, ourPass int
	dropped            map[string]string // tests of the library that cannot be compiled, and what they want
	problems, notes    []string
}

func (r *result) String() string {
	if !r.built {
		return "does not build"
	}
	return fmt.Sprintf("builds; tests passed: %d with the other library, %d with ours", r.theirPass, r.ourPass)
}

func (r *result) fail(format string, args ...any) *result {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
	return r
}

// try runs a program's tests both ways.
func (p *program) try(repo, work string, was pin) *result {
	r := &result{}
	dir := filepath.Join(work, strings.ReplaceAll(p.module, "/", "_"))
	if err := p.fetch(dir); err != nil {
		return r.fail("fetch: %v", err)
	}
	if err := require(dir, repo); err != nil {
		return r.fail("go.mod: %v", err)
	}
	var theirs, tests outcome
	var err error
	if theirs, err = p.test(dir, "", p.skip); err != nil {
		return r.fail("tests with the other library: %v", err)
	}
	if theirs.passed() < was.Theirs { // some of them fail now and then
		r.notes = append(r.notes, "tests with the other library were run twice")
		again, err := p.test(dir, "", p.skip)
		if err != nil {
			return r.fail("tests with the other library: %v", err)
		}
		for name, ok := range again {
			theirs[name] = theirs[name] || ok
		}
	}
	if p.own {
		err = p.makeOwn(dir, r)
	} else {
		err = changeImports(dir, doors[p.door])
	}
	if err != nil {
		return r.fail("%v", err)
	}
	if out, err := p.goCommand(dir, "build"); err != nil {
		return r.fail("does not build: %v\n%s", err, clip(out))
	}
	r.built = true
	if tests, err = p.test(dir, "", strings.Trim(p.skip+"|"+p.crashes, "|")); err != nil {
		r.built = false
		return r.fail("tests with ours: %v", err)
	}
	p.compare(dir, r, theirs, tests)
	return r
}

// hold holds a result against what was found when the table was written. Tests
// may fail with both libraries, because they are not ours; but not most of
// them.
func (r *result) hold(was pin) {
	switch {
	case was.Version == "":
		r.fail("pins.json does not know it: run make suites-update")
	case r.theirPass*2 < was.Theirs:
		r.fail("only %d of %d tests pass with the other library: something is wrong with the run", r.theirPass, was.Theirs)
	case r.theirPass >= was.Theirs && r.ourPass < was.Ours:
		r.fail("%d tests pass, it were %d", r.ourPass, was.Ours)
	}
}

// compare fills in what passed. A test that fails only with ours is tried
// again: it may be one that fails now and then.
func (p *program) compare(dir string, r *result, theirs, tests outcome) {
	for name, ok := range theirs {
		if !ok || r.isDropped(testOf(name)) {
			continue
		}
		r.theirPass++
		if tests[name] {
			continue
		}
		if p.own && p.knownBelow(testOf(name)) {
			continue // a subtest of it is known to fail
		}
		for range 2 {
			if p.known[testOf(name)] != "" {
				break
			}
			again, err := p.test(dir, pattern(testOf(name)), "")
			if err == nil && again[name] {
				tests[name] = true
				r.notes = append(r.notes, name+" failed once and passed when it was tried again")
				break
			}
		}
		if tests[name] {
			continue
		}
		if reason := p.known[testOf(name)]; reason != "" {
			r.notes = append(r.notes, testOf(name)+" fails: "+reason)
			continue
		}
		r.fail("%s passes with the other library and fails with ours", name)
	}
	for _, ok := range tests {
		if ok {
			r.ourPass++
		}
	}
	for name := range p.known {
		for full, ok := range tests {
			if testOf(full) == name && ok {
				r.fail("%s passes: its reason is out of date", name)
			}
		}
	}
	sort.Strings(r.problems)
	sort.Strings(r.notes)
}

// isDropped reports whether a test, or one around it, was dropped.
func (r *result) isDropped(test string) bool {
	for {
		if _, ok := r.dropped[test]; ok {
			return true
		}
		i := strings.LastIndexByte(test, '/')
		if i < 0 {
			return false
		}
		test = test[:i]
	}
}

// knownBelow reports whether a subtest of test is known to fail.
func (p *program) knownBelow(test string) bool {
	for name := range p.known {
		if strings.HasPrefix(name, test+"/") {
			return true
		}
	}
	return false
}

// pattern returns what go test -run takes for one test.
func pattern(test string) string {
	var parts []string
	for _, part := range strings.Split(test, "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
	}
	return strings.Join(parts, "/")
}

// fetch copies the module to dir.
func (p *program) fetch(dir string) error {
	cmd := exec.Command("go", "mod", "download", "-json", p.module+"@"+p.version)
	cmd.Dir = filepath.Dir(dir)
	out, err := cmd.Output()
	var info struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &info); jsonErr != nil || info.Dir == "" {
		return fmt.Errorf("go mod download: %v %s", err, info.Error)
	}
	if err := os.CopyFS(dir, os.DirFS(info.Dir)); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	})
}

// require adds the module under test to the go.mod in dir, by its folder.
func require(dir, repo string) error {
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return err
	}
	cmd := exec.Command("go", "mod", "edit", "-require="+ours+"@v0.0.0", "-replace="+ours+"="+repo)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %s", err, out)
	}
	return nil
}

// changeImports changes import paths in all Go files below dir.
func changeImports(dir string, paths map[string]string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := string(src)
		for from, to := range paths {
			text = strings.ReplaceAll(text, `"`+from+`"`, `"`+to+`"`)
		}
		if text == string(src) {
			return nil
		}
		return os.WriteFile(path, []byte(text), 0o644)
	})
}

// goCommand runs a go command on the program's packages.
func (p *program) goCommand(dir, name string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", append(append([]string{name}, args...), p.packages...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOTRACEBACK=single")
	return cmd.CombinedOutput()
}

// An outcome tells for each test that ran, as "package test", whether it
// passed. Tests that were skipped are not in it.
type outcome map[string]bool

func testOf(name string) string { return name[strings.LastIndexByte(name, ' ')+1:] }

func (o outcome) passed() (n int) {
	for _, ok := range o {
		if ok {
			n++
		}
	}
	return n
}

// test runs the program's tests: those that only matches, or all if it is "",
// except those that skip matches.
func (p *program) test(dir, only, skip string) (outcome, error) {
	timeout := time.Minute // of a package
	if p.large {
		timeout = 4 * time.Minute
	}
	args := []string{"-json", "-count=1", "-vet=off", "-timeout", timeout.String()}
	if skip != "" {
		args = append(args, "-skip", skip)
	}
	if only != "" {
		args = append(args, "-run", only)
	}
	out, err := p.goCommand(dir, "test", args...)
	tests := outcome{}
	ran := false
	for _, line := range strings.Split(string(out), "\n") {
		var e struct{ Action, Package, Test, Output, ImportPath string }
		if json.Unmarshal([]byte(line), &e) != nil {
			continue
		}
		switch {
		case e.Action == "build-fail":
			return nil, fmt.Errorf("build failed: %s", clip(out))
		case e.Test != "" && (p.own || !strings.Contains(e.Test, "/")) && (e.Action == "pass" || e.Action == "fail"):
			ran = true
			tests[e.Package+" "+e.Test] = e.Action == "pass"
		}
	}
	if *keep {
		_ = os.WriteFile(fmt.Sprintf("%s.%d.log", dir, time.Now().UnixMilli()), out, 0o644)
	}
	if !ran {
		return nil, fmt.Errorf("no test ran: %v\n%s", err, clip(out))
	}
	return tests, nil
}

// clip returns the end of a long output.
func clip(out []byte) []byte {
	if len(out) > 3000 {
		out = out[len(out)-3000:]
	}
	return out
}
