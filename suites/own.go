package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// The tests of a library itself. Its own files are taken away; its tests see
// our package in their place. A declaration that does not compile then, because
// it reaches into unexported names, is taken out of the tests and reported.

// makeOwn prepares the tests of the library in dir.
func (p *program) makeOwn(dir string, r *result) error {
	r.dropped = map[string]string{}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		base := filepath.Base(name)
		switch {
		case strings.HasSuffix(base, "_test.go"):
		case strings.HasSuffix(base, ".go"), strings.HasSuffix(base, ".s"), base == "wsjson", base == "ci", base == "examples":
			if err := os.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	if p.door == "gorilla" {
		err = dotImport(dir)
	} else {
		if err = outside(dir, r); err == nil {
			err = os.WriteFile(filepath.Join(dir, "internal", "test", "wstest", "pipe.go"), []byte(coderPipe), 0o644)
		}
	}
	if err != nil {
		return err
	}
	if err := changeImports(dir, doors[p.door]); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "doc.go"), []byte("package websocket\n"), 0o644); err != nil {
		return err
	}
	return p.prune(dir, r)
}

// dotImport turns the tests in dir, which are of the library's own package,
// into tests that import ours.
func dotImport(dir string) error {
	return eachTest(dir, func(name, text string) (string, error) {
		return strings.Replace(text, "package websocket\n", "package websocket\n\nimport . \"github.com/gorilla/websocket\"\n", 1), nil
	}, map[string]string{"shim_test.go": shim})
}

// outside drops the test files that are of the library's own package.
func outside(dir string, r *result) error {
	fset := token.NewFileSet()
	return eachTest(dir, func(name, text string) (string, error) {
		f, err := parser.ParseFile(fset, name, text, 0)
		if err != nil || f.Name.Name != "websocket" {
			return text, err
		}
		for _, decl := range f.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(d.Name.Name, "Test") {
				r.dropped[d.Name.Name] = "it is of the library's own package"
			}
		}
		return "", nil
	}, nil)
}

// eachTest changes the test files in dir; one that becomes empty is removed.
func eachTest(dir string, change func(name, text string) (string, error), more map[string]string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return err
	}
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		text, err := change(name, string(src))
		if err != nil {
			return err
		}
		if text == "" {
			err = os.Remove(name)
		} else {
			err = os.WriteFile(name, []byte(text), 0o644)
		}
		if err != nil {
			return err
		}
	}
	for name, text := range more {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

var compileError = regexp.MustCompile(`(?m)^(?:vet: )?(?:\./)?([a-z0-9_]+_test\.go):(\d+):(?:\d+:)? (.*)$`)

// prune takes out what does not compile, until the rest does.
func (p *program) prune(dir string, r *result) error {
	for range 20 {
		out, err := p.goCommand(dir, "test", "-run", "^$", "-vet=off", "-gcflags=-e")
		if err == nil {
			return nil
		}
		lines := map[string]map[int]string{} // by file
		for _, m := range compileError.FindAllStringSubmatch(string(out), -1) {
			n, _ := strconv.Atoi(m[2])
			if lines[m[1]] == nil {
				lines[m[1]] = map[int]string{}
			}
			lines[m[1]][n] = m[3]
		}
		if len(lines) == 0 {
			return fmt.Errorf("the tests do not build: %v\n%s", err, clip(out))
		}
		for file, bad := range lines {
			if err := cut(filepath.Join(dir, file), bad, r.dropped); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("the tests still do not build after 20 rounds")
}

// subtests returns the calls of t.Run in a test that hold all of its errors, by
// their names; none if an error stands elsewhere.
func subtests(d *ast.FuncDecl, bad map[int]string, fset *token.FileSet) map[string]ast.Stmt {
	runs := map[string]ast.Stmt{}
	for line := range bad {
		if line < fset.Position(d.Pos()).Line || line > fset.Position(d.End()).Line {
			continue
		}
		found := false
		for _, stmt := range d.Body.List {
			if line < fset.Position(stmt.Pos()).Line || line > fset.Position(stmt.End()).Line {
				continue
			}
			if name, ok := nameOfRun(stmt); ok {
				runs[name], found = stmt, true
			}
		}
		if !found {
			return nil
		}
	}
	return runs
}

// nameOfRun returns the name of t.Run("name", ...).
func nameOfRun(stmt ast.Stmt) (string, bool) {
	e, ok := stmt.(*ast.ExprStmt)
	if !ok {
		return "", false
	}
	call, ok := e.X.(*ast.CallExpr)
	if !ok || len(call.Args) != 2 {
		return "", false
	}
	fun, ok := call.Fun.(*ast.SelectorExpr)
	name, ok2 := call.Args[0].(*ast.BasicLit)
	if !ok || !ok2 || fun.Sel.Name != "Run" {
		return "", false
	}
	return strings.Trim(name.Value, `"`), true
}

// cut removes the declarations, and the imports, of a file that have errors.
func cut(file string, bad map[int]string, dropped map[string]string) error {
	src, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, src, parser.ParseComments)
	if err != nil {
		return err
	}
	type span struct{ from, to int }
	var spans []span
	has := func(n ast.Node) (string, bool) {
		from, to := fset.Position(n.Pos()).Line, fset.Position(n.End()).Line
		var found []string
		for line, text := range bad {
			if line >= from && line <= to {
				found = append(found, text)
			}
		}
		sort.Strings(found)
		if len(found) == 0 {
			return "", false
		}
		return found[0], true
	}
	remove := func(n ast.Node) {
		spans = append(spans, span{fset.Position(n.Pos()).Offset, fset.Position(n.End()).Offset})
	}
	for _, decl := range f.Decls {
		why, isBad := has(decl)
		if !isBad {
			continue
		}
		if d, ok := decl.(*ast.GenDecl); ok {
			if d.Lparen == 0 {
				remove(d)
				continue
			}
			for _, spec := range d.Specs {
				if _, isBad := has(spec); isBad {
					remove(spec)
				}
			}
			continue
		}
		if d, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(d.Name.Name, "Test") {
			if runs := subtests(d, bad, fset); len(runs) > 0 {
				for name, run := range runs {
					dropped[d.Name.Name+"/"+name] = why
					remove(run)
				}
				continue
			}
			dropped[d.Name.Name] = why
		}
		remove(decl)
	}
	if len(spans) == 0 {
		return fmt.Errorf("%s: an error stands outside of all declarations: %v", file, bad)
	}
	sort.Slice(spans, func(i, j int) bool { return spans[i].from > spans[j].from })
	text := string(src)
	for _, s := range spans {
		text = text[:s.from] + text[s.to:]
	}
	return os.WriteFile(file, []byte(text), 0o644)
}
