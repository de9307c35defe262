package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// moduleFiles returns the names, from the folder of m, of the files that a
// version of m has: those that git knows or would add. Nested modules are left
// out. A module without a LICENSE gets that of the root, as the go command does
// it; then license is true.
func moduleFiles(root string, m *module, mods []*module) (names []string, license bool, err error) {
	dir := filepath.Join(root, m.dir)
	out, err := output(dir, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, false, err
	}
	license = m.dir != "."
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		nested := slices.ContainsFunc(mods, func(other *module) bool {
			return other != m && strings.HasPrefix(other.tagPrefix(), m.tagPrefix()) && strings.HasPrefix(m.tagPrefix()+name, other.tagPrefix()) &&
				other.dir != "."
		})
		if info, err := os.Lstat(filepath.Join(dir, name)); nested || err != nil || !info.Mode().IsRegular() {
			continue // deleted but not committed, or a link
		}
		names = append(names, name)
		license = license && name != "LICENSE"
	}
	return names, license, nil
}

// A published module is what a module proxy says of it.
type published struct{ sum, modSum string } // as in go.sum

// publish writes m, as the tree has it, into proxy as version: a folder that
// GOPROXY=file://... reads (go help goproxy).
func publish(proxy, root string, m *module, mods []*module, version string) (published, error) {
	names, license, err := moduleFiles(root, m, mods)
	if err != nil {
		return published{}, err
	}
	files := map[string][]byte{}
	for _, name := range names {
		if files[name], err = os.ReadFile(filepath.Join(root, m.dir, name)); err != nil {
			return published{}, err
		}
	}
	if license {
		if files["LICENSE"], err = os.ReadFile(filepath.Join(root, "LICENSE")); err != nil {
			return published{}, err
		}
	}

	prefix := m.path + "@" + version + "/"
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	hashed := map[string][]byte{}
	for name, text := range files {
		f, err := w.Create(prefix + name)
		if err != nil {
			return published{}, err
		}
		f.Write(text) // to memory: no error
		hashed[prefix+name] = text
	}
	if err := w.Close(); err != nil {
		return published{}, err
	}

	dir := filepath.Join(proxy, filepath.FromSlash(m.path), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return published{}, err
	}
	info, _ := json.Marshal(struct {
		Version string
		Time    time.Time
	}{version, time.Unix(1700000000, 0).UTC()})
	for name, text := range map[string][]byte{
		version + ".zip":  archive.Bytes(),
		version + ".mod":  files["go.mod"],
		version + ".info": info,
		"list":            []byte(version + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return published{}, err
		}
	}
	return published{hash1(hashed), hash1(map[string][]byte{"go.mod": files["go.mod"]})}, nil
}

// hash1 is the hash "h1:" of go.sum: SHA-256 of a list of SHA-256 sums.
func hash1(files map[string][]byte) string {
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	list := sha256.New()
	for _, name := range names {
		fmt.Fprintf(list, "%x  %s\n", sha256.Sum256(files[name]), name)
	}
	return "h1:" + base64.StdEncoding.EncodeToString(list.Sum(nil))
}

// writeSums makes the lines of m's siblings in its go.sum those of sums: the
// versions that are about to be tagged. A nil sums removes them.
func writeSums(root string, m *module, mods []*module, version string, sums map[*module]published) error {
	name := filepath.Join(root, m.dir, "go.sum")
	old, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	var lines []string
	for line := range strings.Lines(string(old)) {
		of, _, _ := strings.Cut(line, " ")
		if !slices.ContainsFunc(mods, func(s *module) bool { return s.path == of }) {
			lines = append(lines, line)
		}
	}
	for _, s := range m.siblings {
		if sum, ok := sums[s]; ok {
			lines = append(lines, fmt.Sprintf("%s %s %s\n", s.path, version, sum.sum), fmt.Sprintf("%s %s/go.mod %s\n", s.path, version, sum.modSum))
		}
	}
	slices.Sort(lines)
	text := strings.Join(lines, "")
	if text == string(old) {
		return nil
	}
	return os.WriteFile(name, []byte(text), 0o644)
}
