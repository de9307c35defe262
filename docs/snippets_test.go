package docs_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Every block of Go in docs/*.md compiles, and so does every piece of code in
// the last column of the tables of migrating.md. A block is a file, some
// declarations or some statements. What it needs in addition are the packages
// below, and the names of snippetNames, which stand for the reader's own
// program.

var snippetImports = map[string]string{
	"websocket": "github.com/seed70bc5565/websocket",
	"wsjson":    "github.com/seed70bc5565/websocket/wsjson",
	"hub":       "github.com/seed70bc5565/websocket/hub",
	"limit":     "github.com/seed70bc5565/websocket/limit",
	"relay":     "github.com/seed70bc5565/websocket/relay",
	"wstest":    "github.com/seed70bc5565/websocket/wstest",

	"context": "context", "errors": "errors", "fmt": "fmt", "io": "io", "json": "encoding/json", "log": "log", "net": "net",
	"http": "net/http", "os": "os", "signal": "os/signal", "strconv": "strconv", "strings": "strings", "sync": "sync",
	"syscall": "syscall", "time": "time", "tls": "crypto/tls", "x509": "crypto/x509", "base64": "encoding/base64", "url": "net/url", "flag": "flag", "bufio": "bufio", "embed": "embed", "expvar": "expvar", "slog": "log/slog", "httptest": "net/http/httptest", "testing": "testing", "synctest": "testing/synctest",
}

var snippetNames = map[string]string{
	"c":       "var c *websocket.Conn",
	"ctx":     "var ctx context.Context",
	"w":       "var w http.ResponseWriter",
	"r":       "var r *http.Request",
	"err":     "var err error",
	"data":    "var data []byte",
	"typ":     "var typ websocket.MessageType",
	"opts":    "var opts *websocket.AcceptOptions",
	"mux":     "var mux *http.ServeMux",
	"header":  "var header http.Header",
	"n":       "var n int64",
	"d":       "var d time.Duration",
	"deadl":   "var deadl time.Time",
	"v":       "var v any",
	"h":       "var h *hub.Hub",
	"broker":  "var broker hub.Broker",
	"queue":   "var queue chan *websocket.PreparedMessage",
	"message": "var message *websocket.PreparedMessage",
	"answer":  "func answer([]byte) ([]byte, error) { return nil, nil }",
	"echo":    "func echo(*websocket.Conn, *http.Request) {}",
	"serve":   "func serve(*websocket.Conn, *http.Request) {}",
	"client":  "var client *http.Client",

	"transport": "var transport *http.Transport",

	"user":  "func user(*http.Request) (string, bool) { return \"\", false }",
	"token": "func token(context.Context) (string, error) { return \"\", nil }",
	"apply": "func apply([]byte) (int64, error) { return 0, nil }",
	"state": "func state() []byte { return nil }",
	"wsURL": "var wsURL string",
	"use":   "func use(...any) {}",
	"buf":   "var buf []byte",
	"l":     "var l net.Listener",
	"conn":  "var conn net.Conn",
}

// exports has the files with the compiled packages that snippets import.
var exports = sync.OnceValues(func() (map[string]string, error) {
	args := []string{"list", "-export", "-deps", "-f", "{{if .Export}}{{.ImportPath}}={{.Export}}{{end}}"}
	for _, path := range snippetImports {
		args = append(args, path)
	}
	cmd := exec.Command("go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	files := map[string]string{}
	for _, line := range strings.Fields(string(out)) {
		path, file, _ := strings.Cut(line, "=")
		files[path] = file
	}
	return files, nil
})

// newChecker returns a function that compiles a file. Of what a snippet leaves
// out, it does not mind that a variable or an import is not used.
func newChecker(t *testing.T) func(src string) error {
	files, err := exports()
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	imported := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
	return func(src string) error {
		file, err := parser.ParseFile(fset, "", src, 0)
		if err != nil {
			return err
		}
		var first error
		whole := file.Name.Name == "main"
		cfg := types.Config{Importer: imported, Error: func(err error) {
			var te types.Error
			if first == nil && (whole || !errors.As(err, &te) || !te.Soft) {
				first = err
			}
		}}
		cfg.Check("snippet", fset, []*ast.File{file}, nil)
		return first
	}
}

var word = regexp.MustCompile(`[\pL_][\pL\pN_]*`)

// asFile makes a file of declarations: with the imports, and the names that
// they use and do not declare.
func asFile(decls string) string {
	declared := map[string]bool{}
	if f, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+decls, 0); err == nil && f.Scope != nil {
		for name := range f.Scope.Objects {
			declared[name] = true
		}
	}
	var names []string
	for _, name := range word.FindAllString(decls, -1) {
		if declared["hub"] && strings.Contains(snippetNames[name], "hub.") {
			continue // the snippet has a hub of its own
		}
		if snippetNames[name] != "" && !declared[name] && !slices.Contains(names, name) {
			names = append(names, name)
			decls += "\n" + snippetNames[name]
		}
	}
	head := "package p\n"
	for name, path := range snippetImports {
		if regexp.MustCompile(`\b`+name+`\.`).MatchString(decls) && !declared[name] {
			head += fmt.Sprintf("import %s %q\n", name, path)
		}
	}
	return head + decls
}

// compileSnippet compiles a block in the first of the ways in which it can be
// meant.
func compileSnippet(check func(string) error, code string) error {
	if strings.Contains(code, "package main") {
		return check(code)
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+code, 0); err == nil {
		return check(asFile(code))
	}
	var failed error
	for _, form := range []string{"func _() error {\n%s\nreturn nil }", "func _() {\n%s\n}"} {
		err := check(asFile(fmt.Sprintf(form, code)))
		if err == nil {
			return nil
		}
		if failed == nil {
			failed = err
		}
	}
	return failed
}

var goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

func pages(t *testing.T) map[string]string {
	names, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(b)
	}
	return texts
}

func TestSnippetsCompile(t *testing.T) {
	check := newChecker(t)
	n := 0
	for name, text := range pages(t) {
		for _, m := range goBlock.FindAllStringSubmatchIndex(text, -1) {
			n++
			if name == "middleware.md" && strings.Contains(text[m[2]:m[3]], "func mount") {
				continue // its imports are of other modules: internal/middleware compiles it
			}
			if err := compileSnippet(check, text[m[2]:m[3]]); err != nil {
				t.Errorf("%s:%d: %v", name, 1+strings.Count(text[:m[2]], "\n"), err)
			}
		}
		if strings.Count(text, "\n```go") != len(goBlock.FindAllString(text, -1)) {
			t.Errorf("%s: a block of Go has no end", name)
		}
	}
	if n == 0 {
		t.Error("there are no blocks")
	}
}

// span is code within a line.
var span = regexp.MustCompile("`([^`]+)`")

// The new calls of migrating.md compile: each is an expression, a statement or
// a type.
func TestMigratingCompiles(t *testing.T) {
	b, err := os.ReadFile("migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	check := newChecker(t)
	rows := 0
	for i, line := range strings.Split(string(b), "\n") {
		cells := strings.Split(strings.TrimSuffix(line, " |"), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) != 2 {
			if strings.HasPrefix(line, "| ") {
				t.Errorf("migrating.md:%d: a row of %d cells", i+1, len(cells))
			}
			continue
		}
		rows++
		for _, m := range span.FindAllStringSubmatch(cells[1], -1) {
			code := m[1]
			if !strings.ContainsAny(code, "({.") {
				continue // a name in a sentence
			}
			var failed error
			for _, form := range []string{"use(%s)", "%s", "var _ %s"} {
				err := check(asFile("func _() {\n" + fmt.Sprintf(form, code) + "\n}"))
				if err == nil {
					failed = nil
					break
				}
				if failed == nil {
					failed = err
				}
			}
			if failed != nil {
				t.Errorf("migrating.md:%d: %s: %v", i+1, code, failed)
			}
		}
	}
	if rows < 60 {
		t.Errorf("%d rows: this test has lost sight of them", rows)
	}
}

// The checker itself: what it must let pass, and what it must not.
func TestSnippetChecker(t *testing.T) {
	check := newChecker(t)
	for code, ok := range map[string]bool{
		"package main\n\nimport \"os\"\n\nfunc main() { os.Exit(0) }":                 true,
		"package main\n\nimport \"os\"\n\nfunc main() {}":                             false, // a program has no unused imports
		"func f(c *websocket.Conn) error { return c.CloseNow() }":                     true,
		"func f(c *websocket.Conn) error { return c.NoSuchMethod() }":                 false,
		"type hub struct{ n int }\n\nfunc (h *hub) f() { h.n++ }":                     true,
		"opts := &websocket.AcceptOptions{ReadLimit: 1}":                              true,
		"opts := &websocket.AcceptOptions{NoSuchField: 1}":                            false,
		"if err := c.Write(ctx, typ, data); err != nil {\n\treturn err\n}":            true,
		"if err := c.Write(ctx, data); err != nil {\n\treturn err\n}":                 false,
		"for m, err := range c.Messages(ctx) {\n\tif err != nil { return }\n_ = m\n}": true,
		"nobody()": false,
		"c.Write(": false,
	} {
		if err := compileSnippet(check, code); (err == nil) != ok {
			t.Errorf("%q: %v", code, err)
		}
	}
}
