package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// anchor makes of a heading what a link to it has behind the #: in lower case,
// without punctuation, with hyphens for spaces.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// Links within the repository lead somewhere, and the index knows every page.
func TestLinks(t *testing.T) {
	index, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range pages(t) {
		if name != "README.md" && !strings.Contains(string(index), "]("+name+")") {
			t.Errorf("README.md does not lead to %s", name)
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target := m[1]
			if strings.Contains(target, "://") {
				continue
			}
			path, fragment, _ := strings.Cut(target, "#")
			if path == "" {
				path = name
			}
			info, err := os.Stat(filepath.FromSlash(path))
			if err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, target)
				continue
			}
			if fragment == "" || info.IsDir() {
				continue
			}
			b, err := os.ReadFile(filepath.FromSlash(path))
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, h := range heading.FindAllStringSubmatch(fence.ReplaceAllString(string(b), ""), -1) {
				found = found || anchor(h[1]) == fragment
			}
			if !found {
				t.Errorf("%s: %s has no heading for #%s", name, path, fragment)
			}
		}
	}
}

// Each page says in its first lines for whom it is.
func TestPagesSayForWhom(t *testing.T) {
	for name, text := range pages(t) {
		if name == "README.md" {
			continue
		}
		first := strings.SplitN(text, "\n\n", 3)
		if len(first) < 3 || !strings.Contains(first[1], "or those who") {
			t.Errorf("%s does not begin with \"For those who\"", name)
		}
	}
}
