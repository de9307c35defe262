package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// findPython installs the suite for a CPython 2.7 of this machine, in the
// folder .venv, unless it stands there.
//
// The packages go to a user base (PEP 370) of their own. Unlike a virtual
// environment it needs nothing but the interpreter's own pip, and nothing else
// on the machine sees it.
func findPython(ctx context.Context, root string, out io.Writer) (*wstest, error) {
	python, err := findInterpreter(ctx)
	if err != nil {
		return nil, err
	}
	requirements := filepath.Join(root, "requirements.txt")
	pins, err := os.ReadFile(requirements)
	if err != nil {
		return nil, err
	}
	base := filepath.Join(root, ".venv")
	w := &wstest{
		description: fmt.Sprintf("wstest of %s on %s", base, python),
		argv:        []string{python, filepath.Join(base, "bin", "wstest")},
		env:         []string{"PYTHONUSERBASE=" + base, "PYTHONWARNINGS=ignore", "PYTHONPATH=", "PYTHONNOUSERSITE="},
		hostOfPeer:  "127.0.0.1",
	}
	// The mark is written last: a folder without it is an installation that was
	// cut short.
	mark := filepath.Join(base, "installed")
	want := fmt.Sprintf("%x %s\n", sha256.Sum256(pins), python)
	if have, err := os.ReadFile(mark); err == nil && string(have) == want && w.works(ctx) == nil {
		return w, nil
	}
	fmt.Fprintf(out, "installing the Autobahn|Testsuite for %s in %s\n", python, base)
	if err := os.RemoveAll(base); err != nil {
		return nil, err
	}
	installCtx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(installCtx, python, "-m", "pip", "install", "--user", "--no-deps", "--require-hashes",
		"--no-warn-script-location", "--disable-pip-version-check", "-r", requirements)
	cmd.Env = append(os.Environ(), w.env...)
	if printed, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s cannot install the suite: %w\n%s", python, err, printed)
	}
	if err := w.works(ctx); err != nil {
		return nil, err
	}
	return w, os.WriteFile(mark, []byte(want), 0o666)
}

// findInterpreter returns a CPython 2.7 that has pip.
func findInterpreter(ctx context.Context) (string, error) {
	var errs []error
	for _, python := range interpreters(ctx) {
		err := checkInterpreter(ctx, python)
		if err == nil {
			return python, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return "", errors.New("there is no python2.7 in PATH, and none of pyenv")
	}
	return "", errors.Join(errs...)
}

// interpreters returns the places where a CPython 2.7 may be, the best first.
func interpreters(ctx context.Context) []string {
	var roots []string
	if root := os.Getenv("PYENV_ROOT"); root != "" {
		roots = append(roots, root)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "pyenv", "root").Output(); err == nil {
		roots = append(roots, strings.TrimSpace(string(out)))
	}
	if home, err := os.UserHomeDir(); err == nil {
		roots = append(roots, filepath.Join(home, ".pyenv"))
	}
	var found []string
	for _, root := range roots {
		// A wrong pattern is the only error of Glob.
		versions, _ := filepath.Glob(filepath.Join(root, "versions", "2.7*", "bin", "python2.7"))
		slices.Reverse(versions)
		found = append(found, versions...)
	}
	for _, name := range []string{"python2.7", "python2"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
	}
	// An equal path may come from several roots; the order is kept.
	var unique []string
	for _, path := range found {
		if !slices.Contains(unique, path) {
			unique = append(unique, path)
		}
	}
	return unique
}

// checkInterpreter asks python what it is: a shim of pyenv may stand for no
// interpreter at all.
func checkInterpreter(ctx context.Context, python string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	const question = "import sys, platform, pip; sys.stdout.write(platform.python_implementation() + ' %d.%d' % sys.version_info[:2])"
	out, err := exec.CommandContext(ctx, python, "-c", question).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
		return fmt.Errorf("%s: %s", python, lines[len(lines)-1])
	}
	if err != nil {
		return fmt.Errorf("%s: %w", python, err)
	}
	if string(out) != "CPython 2.7" {
		return fmt.Errorf("%s is %s, not CPython 2.7", python, out)
	}
	return nil
}
