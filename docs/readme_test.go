// Package docs_test keeps the code in README.md compiling and working.
package docs_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
)

// The functions echo, serve and hello are in README.md too, letter by letter.

func echo(c *websocket.Conn, r *http.Request) {
	ctx := r.Context() // ends with the connection
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return // the connection broke; an orderly close just ends the range
		}
		if err := c.Write(ctx, m.Type, m.Data); err != nil {
			return
		}
	}
}

func serve() error {
	return http.ListenAndServe("localhost:8080", websocket.Handler(echo, nil))
}

func hello(ctx context.Context, url string) (string, error) {
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return "", err
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		return "", err
	}
	_, reply, err := c.Read(ctx)
	if err != nil {
		return "", err
	}
	return string(reply), c.Close(websocket.StatusNormalClosure, "")
}

var _ = serve // compiled; its port is fixed, so it is not run

func TestReadmeHasTheCodeTestedHere(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "readme_test.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || strings.HasPrefix(f.Name.Name, "Test") {
			continue
		}
		shown++
		text := string(src[fset.Position(f.Pos()).Offset:fset.Position(f.End()).Offset])
		if !strings.Contains(string(readme), text) {
			t.Errorf("README.md does not have func %s as it stands in this file", f.Name.Name)
		}
	}
	if n := strings.Count(string(readme), "\nfunc "); n != shown {
		t.Errorf("README.md has %d functions, this file %d", n, shown)
	}
}
