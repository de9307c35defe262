package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// release makes the commit and the tags of version, or with do false says what
// it would do, after the same checks.
//
// All tags stand on one commit. Its go.mod files already require the versions
// that the tags make, and its go.sum files already have their hashes. This is
// possible because a module's files are not part of another module, and because
// modules are taken in the order of dependency.
func release(root, version string, do bool, w io.Writer) error {
	if !versionPattern.MatchString(version) {
		return fmt.Errorf("%q is no version such as v0.2.0", version)
	}
	last, err := lastVersion(root)
	if err != nil {
		return err
	}
	if olderGo(version[1:], last[1:]) {
		return fmt.Errorf("%s is older than %s", version, last)
	}
	mods, err := findModules(root)
	if err != nil {
		return err
	}
	for _, m := range mods {
		if bad := m.faults(root, last); len(bad) > 0 {
			return fmt.Errorf("%s\nrun make modules", strings.Join(bad, "\n"))
		}
	}
	if out, err := output(root, nil, "git", "status", "--porcelain"); err != nil {
		return err
	} else if len(out) > 0 {
		return fmt.Errorf("commit or remove these first:\n%s", out)
	}
	var tags []string
	for _, m := range mods {
		tag := m.tagPrefix() + version
		if out, err := output(root, nil, "git", "tag", "--list", tag); err != nil {
			return err
		} else if len(out) > 0 {
			return fmt.Errorf("the tag %s exists", tag)
		}
		tags = append(tags, tag)
	}
	log, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	released, err := releaseChangelog(string(log), version, time.Now())
	if err != nil {
		return err
	}

	if !do {
		fmt.Fprintf(w, "A dry run: nothing is written. Add -do (make release DO=1) to do it.\n\n")
		fmt.Fprintf(w, "CHANGELOG.md: what is unreleased becomes %s\n", version)
		for _, m := range mods {
			for _, s := range m.siblings {
				if _, ok := m.requires[s.path]; ok {
					fmt.Fprintf(w, "%s/go.mod: require %s %s\n", m.dir, s.path, version)
				}
			}
		}
		fmt.Fprintf(w, "commit: Release %s\n", version)
		for _, tag := range tags {
			fmt.Fprintf(w, "tag: %s\n", tag)
		}
		return nil
	}

	if err := os.WriteFile(filepath.Join(root, "CHANGELOG.md"), []byte(released), 0o644); err != nil {
		return err
	}
	if err := mendTo(root, mods, version); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	sums := map[*module]published{}
	for _, m := range mods { // each after those whose hashes its go.sum holds
		if err := writeSums(root, m, mods, version, sums); err != nil {
			return err
		}
		if sums[m], err = publish(scratch, root, m, mods, version); err != nil {
			return err
		}
	}
	if _, err := output(root, nil, "git", "add", "--all"); err != nil {
		return err
	}
	if _, err := output(root, nil, "git", "commit", "--quiet", "--message", "Release "+version); err != nil {
		return err
	}
	for i, m := range mods {
		if _, err := output(root, nil, "git", "tag", "--annotate", "--message", m.path+" "+version, tags[i]); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "Committed and tagged. Look at it, then publish all at once:\n\n\tgit push --atomic origin HEAD %s\n", strings.Join(tags, " "))
	return nil
}

// releaseChangelog puts a heading for version below that of what is unreleased.
func releaseChangelog(log, version string, now time.Time) (string, error) {
	const unreleased = "## [Unreleased]\n"
	before, after, ok := strings.Cut(log, unreleased)
	if !ok {
		return "", errors.New("CHANGELOG.md has no section [Unreleased]")
	}
	if text, _, _ := strings.Cut(after, "\n## ["); strings.TrimSpace(text) == "" {
		return "", errors.New("CHANGELOG.md says nothing under [Unreleased]")
	}
	return before + unreleased + "\n## [" + version[1:] + "] - " + now.UTC().Format(time.DateOnly) + "\n" + after, nil
}
