package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func tree(t *testing.T) string {
	t.Helper()
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// needGit skips where git or the repository is missing, as in a downloaded
// archive.
func needGit(t *testing.T) string {
	t.Helper()
	root := tree(t)
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip(err)
	}
	if _, err := output(root, nil, "git", "rev-parse", "--git-dir"); err != nil {
		t.Skip(err)
	}
	return root
}

// Every module of the tree can be published as it is.
func TestModules(t *testing.T) {
	root := tree(t)
	mods, err := findModules(root)
	if err != nil {
		t.Fatal(err)
	}
	version, err := lastVersion(root)
	if err != nil {
		t.Fatal(err)
	}
	if mods[0].dir != "." {
		t.Errorf("%s comes before the root module", mods[0].dir)
	}
	for _, m := range mods {
		for _, bad := range m.faults(root, version) {
			t.Errorf("%s\nrun make modules", bad)
		}
		want := modulePath
		if m.dir != "." {
			want += "/" + m.dir
		}
		if m.path != want {
			t.Errorf("%s/go.mod: module %s, want %s", m.dir, m.path, want)
		}
	}
	// A go.work here would ask every user of the tree for the newest Go that
	// any module needs.
	if _, err := os.Stat(filepath.Join(root, "go.work")); err == nil {
		t.Error("the root has a go.work")
	}
}

func TestFaults(t *testing.T) {
	root := t.TempDir()
	needed := &module{dir: "hub/needed", path: "m/hub/needed", goLine: "1.26.0"}
	m := &module{
		dir: "hub/m", path: "m/hub/m", goLine: "1.25.0", siblings: []*module{needed},
		requires: map[string]string{"m/hub/needed": "v0.0.0"}, replaces: []string{"m/hub/needed"},
	}
	bad := m.faults(root, "v0.2.0")
	for i, want := range []string{"replaces m/hub/needed", "requires m/hub/needed v0.0.0, not v0.2.0", "go 1.26.0\n\nuse (\n\t.\n\t../needed\n)"} {
		if len(bad) != 3 || !strings.Contains(bad[i], want) {
			t.Errorf("faults are %q, want %q", bad, want)
		}
	}
}

func TestSortModules(t *testing.T) {
	make := func(requires map[string][]string) (mods []*module) {
		for _, p := range []string{"a", "b", "c", "d"} {
			m := &module{dir: p, path: p, requires: map[string]string{}}
			for _, r := range requires[p] {
				m.requires[r] = "v0.1.0"
			}
			mods = append(mods, m)
		}
		return mods
	}
	names := func(mods []*module) (s string) {
		for _, m := range mods {
			s += m.path
		}
		return s
	}
	sorted, err := sortModules(make(map[string][]string{"a": {"c", "elsewhere"}, "c": {"d"}, "b": {"d"}}))
	if err != nil || names(sorted) != "dcab" {
		t.Fatalf("sorted %s, %v; want dcab", names(sorted), err)
	}
	if got := names(sorted[2].siblings); got != "dc" {
		t.Errorf("a needs %s, want dc", got)
	}
	if _, err := sortModules(make(map[string][]string{"a": {"b"}, "b": {"a"}})); err == nil {
		t.Error("a circle was accepted")
	}
}

func TestReleaseChangelog(t *testing.T) {
	now := time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC)
	got, err := releaseChangelog("# C\n\n## [Unreleased]\n\n- x\n", "v0.1.0", now)
	if want := "# C\n\n## [Unreleased]\n\n## [0.1.0] - 2030-01-02\n\n- x\n"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for _, log := range []string{"# C\n", "## [Unreleased]\n\n## [0.1.0] - 2030-01-02\n\n- x\n"} {
		if _, err := releaseChangelog(log, "v0.2.0", now); err == nil {
			t.Errorf("accepted %q", log)
		}
	}
}

// The modules that need no others can be tried offline.
func TestStrangers(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the module anew")
	}
	if os.Getenv("GOARCH") != "" || os.Getenv("GOOS") != "" {
		t.Skip("go install puts what it cross-compiles elsewhere")
	}
	if err := strangers(needGit(t), func(m *module) bool { return len(m.requires) == 0 }); err != nil {
		t.Fatal(err)
	}
}

// A release in a copy of the tree: what a proxy will make of its tags is what
// its go.sum files say.
func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("copies the tree")
	}
	if strings.HasPrefix(runtime.Version(), "go1.25") {
		t.Skip("some nested modules need a newer Go")
	}
	root := copyTree(t, needGit(t))
	git := func(args ...string) string {
		t.Helper()
		out, err := output(root, nil, "git", args...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	last, err := lastVersion(root)
	if err != nil {
		t.Fatal(err)
	}
	before := git("rev-parse", "HEAD")
	const version = "v0.900.0"

	var plan strings.Builder
	if err := release(root, version, false, &plan); err != nil {
		t.Fatal(err)
	}
	if git("status", "--porcelain") != "" || git("rev-parse", "HEAD") != before || git("tag") != "" {
		t.Fatal("the dry run wrote something")
	}
	for _, bad := range []string{"0.2.0", "v1.0.0", "v0.2", "v0.02.0", "v0.0.1", ""} {
		if err := release(root, bad, false, io.Discard); err == nil {
			t.Errorf("version %q after %s was accepted", bad, last)
		}
	}

	if err := release(root, version, true, io.Discard); err != nil {
		t.Fatal(err)
	}
	if git("status", "--porcelain") != "" {
		t.Error("the release left changes")
	}
	mods, err := findModules(root)
	if err != nil {
		t.Fatal(err)
	}
	tags := strings.Fields(git("tag"))
	for _, m := range mods {
		tag := m.tagPrefix() + version
		if !slices.Contains(tags, tag) || !strings.Contains(plan.String(), "tag: "+tag+"\n") {
			t.Errorf("no tag %s, or it was not planned", tag)
		}
		for _, bad := range m.faults(root, version) {
			t.Error(bad)
		}
	}
	if err := release(root, version, false, io.Discard); err == nil {
		t.Error("the same version can be released twice")
	}

	// The go command fetches from the tags, as the module proxy does, and
	// checks the hashes in go.sum.
	env := []string{
		"GOPROXY=direct", "GONOSUMDB=*", "GOWORK=off", "GOTOOLCHAIN=local", "GOFLAGS=-modcacherw", "GOVCS=*:git",
		"GOMODCACHE=" + t.TempDir(),
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url." + fileURL(root) + ".insteadOf", "GIT_CONFIG_VALUE_0=https://" + modulePath,
		"GIT_ALLOW_PROTOCOL=file:https", "GIT_TERMINAL_PROMPT=0",
	}
	for _, m := range mods {
		for _, s := range m.siblings {
			out, err := output(filepath.Join(root, m.dir), env, "go", "mod", "download", "-json", s.path+"@"+version)
			if err != nil {
				t.Errorf("%s: %v", m.dir, err)
				continue
			}
			var got struct{ Sum, GoModSum string }
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			sums, err := os.ReadFile(filepath.Join(root, m.dir, "go.sum"))
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range []string{s.path + " " + version + " " + got.Sum + "\n", s.path + " " + version + "/go.mod " + got.GoModSum + "\n"} {
				if !strings.Contains(string(sums), line) {
					t.Errorf("%s/go.sum has no line %s", m.dir, line)
				}
			}
		}
	}
}

// copyTree makes a repository of what git would commit of root now.
func copyTree(t *testing.T, root string) string {
	t.Helper()
	out, err := output(root, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue // deleted, not committed
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"init", "-q"}, {"config", "user.name", "Test"}, {"config", "user.email", "test@localhost"},
		{"config", "commit.gpgsign", "false"}, {"config", "tag.gpgsign", "false"}, {"config", "core.autocrlf", "false"},
		{"add", "-A"}, {"commit", "-q", "-m", "Copy"},
	} {
		if _, err := output(dir, nil, "git", args...); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
