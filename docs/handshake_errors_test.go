package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What the code says when a handshake fails: the status and text of each
// refusal by a server, and the texts of a client's errors. What a text is given
// when it is said is "…" here.
type handshakeTexts struct {
	server map[int][]string
	client []string
}

// clientFuncs make the errors of Dial that tell of the response.
var clientFuncs = []string{"checkResponse", "checkExtensions", "agreeExtensions", "handshakeClient"}

// originFuncs make the texts that stand behind a 403.
var originFuncs = []string{"CheckOrigin", "checkOtherOrigin", "checkRequestOrigin"}

var verb = regexp.MustCompile(`%[a-z]`)

func sourceTexts(t *testing.T) handshakeTexts {
	texts := handshakeTexts{server: map[int][]string{}}
	names, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	names = append(names, filepath.FromSlash("../internal/field/origin.go"))
	statuses := httpStatuses(t)
	fset := token.NewFileSet()
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				switch callee := exprString(call.Fun); {
				case callee == "refuse":
					status, ok := statuses[exprString(call.Args[0])]
					text, isText := literal(call.Args[1])
					if !ok || !isText {
						t.Errorf("%v: a refusal that this test does not understand", fset.Position(call.Pos()))
						return true
					}
					if text != "…" { // 403: see originFuncs
						texts.server[status] = append(texts.server[status], text)
					}
				case callee == "errors.New" || callee == "fmt.Errorf":
					text, ok := literal(call.Args[0])
					switch {
					case !ok:
					case slices.Contains(clientFuncs, f.Name.Name):
						texts.client = append(texts.client, text)
					case slices.Contains(originFuncs, f.Name.Name):
						texts.server[http.StatusForbidden] = append(texts.server[http.StatusForbidden], text)
					}
				}
				return true
			})
		}
	}
	return texts
}

// httpStatuses maps "http.StatusNotFound" to 404, and so on, as far as net/http
// has texts for them.
func httpStatuses(t *testing.T) map[string]int {
	m := map[string]int{}
	for status := 100; status < 600; status++ {
		name := strings.NewReplacer(" ", "", "-", "", "'", "").Replace(http.StatusText(status))
		if name != "" {
			m["http.Status"+name] = status
		}
	}
	return m
}

func exprString(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return exprString(e.X) + "." + e.Sel.Name
	}
	return ""
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return verb.ReplaceAllString(s, "…"), err == nil
}

// section returns the part of page below a heading, as far as the next of its
// rank or a higher one.
func section(page, heading string) string {
	_, rest, _ := strings.Cut(page, "\n"+heading+"\n")
	rank := strings.Index(heading, " ")
	if end := regexp.MustCompile(fmt.Sprintf(`(?m)^#{1,%d} `, rank)).FindStringIndex(rest); end != nil {
		rest = rest[:end[0]]
	}
	return rest
}

// firstCells returns the code in the first cells of the tables of a section:
// what it says the library says.
func firstCells(section string) []string {
	var cells []string
	for _, line := range strings.Split(section, "\n") {
		if strings.HasPrefix(line, "| `") {
			cell, _, _ := strings.Cut(line[len("| `"):], "` |")
			cells = append(cells, cell)
		}
	}
	return cells
}

// The page has every text that the library says, where it belongs, and no
// other.
func TestHandshakeErrorsPage(t *testing.T) {
	b, err := os.ReadFile("handshake-errors.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	texts := sourceTexts(t)
	compare := func(heading string, want []string) {
		got := firstCells(section(page, heading))
		for _, text := range want {
			if !slices.Contains(got, text) {
				t.Errorf("%s: the page does not have `%s`", heading, text)
			}
		}
		for _, text := range got {
			if !slices.Contains(want, text) {
				t.Errorf("%s: the library does not say `%s`", heading, text)
			}
		}
	}
	for status, want := range texts.server {
		compare(fmt.Sprintf("### %d %s", status, http.StatusText(status)), want)
	}
	compare("## What Dial says of a response", texts.client)
	if len(texts.server) < 7 || len(texts.client) < 10 {
		t.Errorf("the source has %d statuses and %d texts of the client: this test has lost sight of it", len(texts.server), len(texts.client))
	}
	for _, m := range regexp.MustCompile(`(?m)^### (\d{3}) (.*)$`).FindAllStringSubmatch(page, -1) {
		status, _ := strconv.Atoi(m[1])
		if m[2] != http.StatusText(status) {
			t.Errorf("the page calls %d %q", status, m[2])
		}
		own := section("\n"+section(page, "## What this library's server answers"), m[0])
		if (own != "") != (texts.server[status] != nil) {
			t.Errorf("%s stands in the wrong part", m[0])
		}
	}
}
