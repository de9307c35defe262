package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A module is one of this repository.
type module struct {
	dir      string // slash-separated, from the root; "." is the root module
	path     string
	goLine   string            // of its go.mod
	requires map[string]string // path -> version, indirect ones too
	replaces []string          // paths of the left sides
	siblings []*module         // those of this repository that it requires, itself or through others; needed ones first
}

// tagPrefix is what stands before the version in the tags of m.
func (m *module) tagPrefix() string {
	if m.dir == "." {
		return ""
	}
	return m.dir + "/"
}

// findModules returns the modules below root: each after all that it requires.
func findModules(root string) ([]*module, error) {
	var found []*module
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if d.Name() != "go.mod" || d.IsDir() {
			return nil
		}
		m, err := readModule(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		found = append(found, m)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b *module) int { return strings.Compare(a.dir, b.dir) })
	return sortModules(found)
}

func readModule(root, dir string) (*module, error) {
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return nil, err
	}
	out, err := output(dir, nil, "go", "mod", "edit", "-json")
	if err != nil {
		return nil, err
	}
	var file struct {
		Module  struct{ Path string }
		Go      string
		Require []struct{ Path, Version string }
		Replace []struct{ Old struct{ Path string } }
	}
	if err := json.Unmarshal(out, &file); err != nil {
		return nil, err
	}
	m := &module{dir: filepath.ToSlash(rel), path: file.Module.Path, goLine: file.Go, requires: map[string]string{}}
	for _, r := range file.Require {
		m.requires[r.Path] = r.Version
	}
	for _, r := range file.Replace {
		m.replaces = append(m.replaces, r.Old.Path)
	}
	return m, nil
}

// sortModules sorts by dependency, and fills in siblings.
func sortModules(found []*module) ([]*module, error) {
	byPath := map[string]*module{}
	for _, m := range found {
		byPath[m.path] = m
	}
	var sorted []*module
	entered := map[*module]bool{}
	var visit func(m *module) error
	visit = func(m *module) error {
		if slices.Contains(sorted, m) {
			return nil
		}
		if entered[m] {
			return fmt.Errorf("%s requires itself through others", m.path)
		}
		entered[m] = true
		need := map[*module]bool{}
		for _, other := range found {
			if _, ok := m.requires[other.path]; !ok || other == m {
				continue
			}
			if err := visit(other); err != nil {
				return err
			}
			need[other] = true
			for _, s := range other.siblings {
				need[s] = true
			}
		}
		for _, s := range sorted {
			if need[s] {
				m.siblings = append(m.siblings, s)
			}
		}
		sorted = append(sorted, m)
		return nil
	}
	for _, m := range found {
		if err := visit(m); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}

// firstVersion is what the modules require of each other before there is a
// release.
const firstVersion = "v0.1.0"

var (
	versionPattern = regexp.MustCompile(`^v0\.(0|[1-9]\d*)\.(0|[1-9]\d*)$`)
	releasePattern = regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\]`)
)

// lastVersion returns the newest release that CHANGELOG.md has, or
// firstVersion.
func lastVersion(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return "", err
	}
	if found := releasePattern.FindSubmatch(text); found != nil {
		return "v" + string(found[1]), nil
	}
	return firstVersion, nil
}

// faults returns what keeps m from being published, or from being developed in
// this tree. Modules require each other at version.
func (m *module) faults(root, version string) []string {
	var bad []string
	for _, p := range m.replaces {
		bad = append(bad, fmt.Sprintf("%s/go.mod replaces %s, which counts only at home", m.dir, p))
	}
	for _, s := range m.siblings {
		if v, ok := m.requires[s.path]; ok && v != version {
			bad = append(bad, fmt.Sprintf("%s/go.mod requires %s %s, not %s", m.dir, s.path, v, version))
		}
	}
	have, _ := os.ReadFile(filepath.Join(root, m.dir, "go.work"))
	if want := m.workFile(version); string(bytes.ReplaceAll(have, []byte("\r\n"), []byte("\n"))) != want {
		bad = append(bad, fmt.Sprintf("%s/go.work is not\n%s", m.dir, want))
	}
	return bad
}

// workFile returns the go.work of m, or "" when it needs none. The go command
// takes the nearest go.work, so each nested module has its own. The root has
// none, and needs neither the others' requirements nor their Go version.
//
// The replace lines are there because the go command looks up the version that
// go.mod requires even if a workspace has the module.
func (m *module) workFile(version string) string {
	if len(m.siblings) == 0 {
		return ""
	}
	var uses, replaces []string
	goLine := m.goLine
	for _, s := range m.siblings {
		where, _ := filepath.Rel(filepath.FromSlash(m.dir), filepath.FromSlash(s.dir)) // no error: both are relative
		where = path.Clean(filepath.ToSlash(where))
		uses = append(uses, "\t"+where+"\n")
		replaces = append(replaces, fmt.Sprintf("\t%s %s => %s\n", s.path, version, where))
		if olderGo(goLine, s.goLine) {
			goLine = s.goLine
		}
	}
	return "// Written by make modules: this module, with the others of the tree that it needs.\n\ngo " + goLine +
		"\n\nuse (\n\t.\n" + strings.Join(uses, "") + ")\n\nreplace (\n" + strings.Join(replaces, "") + ")\n"
}

// olderGo compares the go lines of two modules.
func olderGo(a, b string) bool {
	var x, y [3]int
	fmt.Sscanf(a, "%d.%d.%d", &x[0], &x[1], &x[2])
	fmt.Sscanf(b, "%d.%d.%d", &y[0], &y[1], &y[2])
	return slices.Compare(x[:], y[:]) < 0
}

// mend makes every module as faults wants it.
func mend(root string) error {
	version, err := lastVersion(root)
	if err != nil {
		return err
	}
	mods, err := findModules(root)
	if err != nil {
		return err
	}
	return mendTo(root, mods, version)
}

func mendTo(root string, mods []*module, version string) error {
	for _, m := range mods {
		args := []string{"mod", "edit"}
		for _, s := range m.siblings {
			if v, ok := m.requires[s.path]; ok && v != version {
				args = append(args, "-require="+s.path+"@"+version)
				m.requires[s.path] = version
			}
			if slices.Contains(m.replaces, s.path) {
				args = append(args, "-dropreplace="+s.path)
			}
		}
		dir := filepath.Join(root, m.dir)
		if len(args) > 2 {
			if _, err := output(dir, nil, "go", args...); err != nil {
				return err
			}
		}
		if text := m.workFile(version); text != "" {
			if err := os.WriteFile(filepath.Join(dir, "go.work"), []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// output runs a command in dir with env added, and returns what it prints.
func output(dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New(strings.TrimSpace(fmt.Sprintf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.Bytes())))
	}
	return out, nil
}
