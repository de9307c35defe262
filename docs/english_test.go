package docs_test

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"

	"os"
	"path/filepath"
	"regexp"

	"strings"
	"testing"
)

// The English of pages and comments: no words that a reader stumbles over,
// sentences of at most 25 words, lines of at most 80 columns.

const (
	longestSentence = 25 // words
	widestLine      = 80 // columns
)

// stumbles are words and constructions with a plain twin: "because", "except",
// "in addition to", "next to", "all", "no caller", "is in", "must be", "none
// of". A method that needs a lock ends in Locked, and no comment tells it.
var stumbles = regexp.MustCompile(`(?i)\b(?:whoever|somebody|nobody|everybody|beside)\b|\bbut for\b|` +
	`, for (?:it|they|this|these|there|nothing|we|which|some|no)\b|` +
	`\bof (?:the |an? )?[\w/]+'s(?:[.,;:]| and | or | is | are | that |$)|` +
	`\b(?:stands?|stood) in\b|\b(?:is|are|was|were) (?:not )?to be\b|\bnothing of\b|\bbe it\b|` +
	`\bzero and less\b|\bhow things stand\b|\bwithout a word\b|` +
	`\b(?:the lock|mu) is held\b`)

var (
	sentenceBreak = regexp.MustCompile(`([.!?:])["”)]?\s+([A-Z` + "`" + `"\[(0-9])`)
	itemStart     = regexp.MustCompile(`(?m)^\s*(?:[-*]|\d+\.) `)
	notProse      = regexp.MustCompile(`(?m)^(?:    |\t|\||#|!\[|<).*$`)
	linkTarget    = regexp.MustCompile(`\]\([^)]*\)`)
	generated     = regexp.MustCompile(`(?s)<!-- suites: begin.*?suites: end -->`)
	emptyLine     = regexp.MustCompile(`\n\s*\n`)
)

// prose returns the sentences of a text in Markdown or of a comment.
func prose(text string) []string {
	text = itemStart.ReplaceAllString(text, "\n\n")
	text = notProse.ReplaceAllString(text, "")
	text = linkTarget.ReplaceAllString(text, "]")
	var all []string
	for _, paragraph := range emptyLine.Split(text, -1) {
		paragraph = strings.ReplaceAll(strings.Join(strings.Fields(paragraph), " "), "**", "")
		for _, s := range strings.Split(sentenceBreak.ReplaceAllString(paragraph, "$1\n$2"), "\n") {
			if s != "" {
				all = append(all, s)
			}
		}
	}
	return all
}

// ownPages are the pages of prose by their path from here.
func ownPages(t *testing.T) map[string]string {
	texts := allPages(t)
	for _, name := range []string{"../realpeers/README.md", "../suites/README.md", "../internal/sendermodel/README.md"} {
		b, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(b)
	}
	delete(texts, "../CHANGELOG.md") // one line a change, of many hands
	return texts
}

func TestPagesInPlainEnglish(t *testing.T) {
	n := 0
	for name, text := range ownPages(t) {
		text = generated.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
		for _, s := range prose(text) {
			n++
			if words := len(strings.Fields(s)); words > longestSentence {
				t.Errorf("%s: a sentence of %d words: %s", name, words, s)
			}
			if m := stumbles.FindString(s); m != "" {
				t.Errorf("%s: %q in: %s", name, m, s)
			}
		}
		for line := range strings.Lines(text) { // headings and tables too
			if m := stumbles.FindString(line); m != "" && strings.ContainsAny(line[:1], "#|") {
				t.Errorf("%s: %q in: %s", name, m, line)
			}
			line = strings.TrimRight(line, "\n")
			table := strings.HasPrefix(line, "|") || strings.HasPrefix(line, "![") || strings.HasPrefix(line, "    ")
			if !table && len([]rune(line)) > widestLine && strings.Contains(strings.TrimLeft(line, "- "), " ") {
				t.Errorf("%s: a line of %d columns: %s", name, len([]rune(line)), line)
			}
		}
	}
	if n < 1000 {
		t.Errorf("%d sentences: this test has lost sight of them", n)
	}
}

// count is what of the comments of a folder is not plain yet.
type count struct{ stumbles, long, wide int }

// commentsOf counts in the Go files of a folder, without those below it.
func commentsOf(t *testing.T, dir string) (c count, examples []string) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, src, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range file.Comments {
			if strings.HasPrefix(group.Text(), "Output:") || strings.HasPrefix(group.Text(), "Unordered output:") {
				continue // of an example
			}
			at := fset.Position(group.Pos())
			for _, s := range prose(group.Text()) {
				if m := stumbles.FindString(s); m != "" {
					c.stumbles++
					examples = append(examples, fmt.Sprintf("%s:%d: %q in: %s", name, at.Line, m, s))
				}
				if words := len(strings.Fields(s)); words > longestSentence {
					c.long++
					examples = append(examples, fmt.Sprintf("%s:%d: %d words: %s", name, at.Line, words, s))
				}
			}
			for _, comment := range group.List {
				p := fset.Position(comment.Pos())
				own := len(bytes.TrimSpace(src[bytes.LastIndexByte(src[:p.Offset], 0x0a)+1:p.Offset])) == 0
				if width := p.Column - 1 + 3*leadingTabs(src, p.Offset) + len([]rune(comment.Text)); own && width > widestLine &&
					!strings.HasPrefix(comment.Text, "//\t") && strings.Contains(strings.TrimPrefix(comment.Text, "// "), " ") {
					c.wide++
				}
			}
		}
	}
	return c, examples
}

// leadingTabs counts the tabs before offset in its line: each is four columns
// wide.
func leadingTabs(src []byte, offset int) int {
	n := 0
	for i := offset - 1; i >= 0 && src[i] == '\t'; i-- {
		n++
	}
	return n
}

// rest is what of the comments is not plain yet, by folder with all below it. A
// number may only become smaller: a new comment has no such sentence. Because
// several people change the code at the same time, slack more pass.
const slack = 3

var rest = map[string]count{
	".":          {0, 0, 11},
	"autobahn":   {0, 0, 0},
	"benchmarks": {0, 0, 0},
	"cmd":        {0, 0, 0},
	"docs":       {0, 0, 21},
	"examples":   {0, 0, 0},
	"gorilla":    {0, 0, 0},
	"hub":        {0, 0, 0},
	"internal":   {0, 0, 1},
	"limit":      {0, 0, 3},
	"realpeers":  {0, 0, 0},
	"relay":      {0, 0, 0},
	"soak":       {0, 0, 0},
	"suites":     {0, 0, 0},
	"wsjson":     {0, 0, 0},
	"wstest":     {0, 0, 0},
}

func TestCommentsInPlainEnglish(t *testing.T) {
	found := map[string]count{}
	examples := map[string][]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); name == "node_modules" || name == "testdata" || len(name) > 2 && name[0] == '.' {
			return filepath.SkipDir
		}
		area, _, _ := strings.Cut(strings.TrimPrefix(filepath.ToSlash(path), "../"), "/")
		if path == ".." {
			area = "."
		}
		c, lines := commentsOf(t, path)
		sum := found[area]
		found[area] = count{sum.stumbles + c.stumbles, sum.long + c.long, sum.wide + c.wide}
		examples[area] = append(examples[area], lines...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for area, c := range found {
		most := rest[area]
		if c.stumbles > most.stumbles+slack || c.long > most.long+slack || c.wide > most.wide+slack {
			t.Errorf("comments in %s: %d words or constructions of stumbles, %d sentences of more than %d words, %d lines of more than %d columns.\n"+
				"The most are %+v. Write new comments as CONTRIBUTING.md says. With -v this test lists the sentences.",
				area, c.stumbles, c.long, longestSentence, c.wide, widestLine, most)
			if testing.Verbose() {
				t.Log(strings.Join(examples[area], "\n"))
			}
		}
		if c != most {
			t.Logf("%q: {%d, %d, %d},", area, c.stumbles, c.long, c.wide)
		}
	}
}
