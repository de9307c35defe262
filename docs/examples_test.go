package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// withoutExample has exported names that need no example, by package. Some are
// methods that the standard library calls, and values that a program only
// reads. Others are types that examples use without naming them.
var withoutExample = map[string]string{
	".": `CompressionDisabled EndCount HandshakeError.Unwrap PreparedMessage RedialAttempt.LastErr RedialState ServerStats
		ServerStats.Handshaking Stats.Began Stats.RoundTrip StatusAbnormalClosure StatusInternalError StatusMandatoryExtension
		StatusNoStatusRcvd StatusTLSHandshake Traffic Traffic.Compressed Traffic.CompressedTo Traffic.Control`,
	"hub": `Backlog BrokerMessage ErrBrokerPanicked ErrCallbackPanicked MaxPresenceMembers Policy Position.AppendText Position.UnmarshalText Positioner
		Position.Epoch PresenceEventKind Stats.Delivered Stats.Invalid TopicErrors.Unwrap`,
	"hub/memorybroker": `Engine`,
	"limit":            ``,
	"relay":            ``,
	"wsjson":           ``,
	"wstest":           `ByRole CloseFrame Frame.Declare Masking NoFault Peer.ServerHandshake Role ServerRole Server.DialContext`,
}

// Each exported function, method, field, constant and error of a package is in
// an example of some package, or in withoutExample.
func TestExamplesShowEveryName(t *testing.T) {
	shown := shownInExamples(t)
	for pkg, list := range withoutExample {
		exempt := strings.Fields(list)
		var missing []string
		for _, name := range exportedNames(t, filepath.Join("..", pkg)) {
			_, last, _ := strings.Cut(name, ".")
			if last == "" {
				last = name
			}
			i := slices.Index(exempt, name)
			switch {
			case i < 0 && !shown[last]:
				missing = append(missing, name)
			case i >= 0:
				exempt = slices.Delete(exempt, i, i+1)
				if shown[last] {
					t.Errorf("package %s: %s has an example: take it out of withoutExample", pkg, name)
				}
			}
		}
		if len(missing) > 0 {
			t.Errorf("package %s: no Example mentions %s", pkg, strings.Join(missing, ", "))
		}
		if len(exempt) > 0 {
			t.Errorf("package %s: withoutExample has %s, which the package has not", pkg, strings.Join(exempt, ", "))
		}
	}
}

// shownInExamples returns the names that the files with examples select, set or
// declare.
func shownInExamples(t *testing.T) map[string]bool {
	shown := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		isExample := func(d ast.Decl) bool {
			f, ok := d.(*ast.FuncDecl)
			return ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Example")
		}
		if !slices.ContainsFunc(file.Decls, isExample) {
			return nil
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				shown[n.Sel.Name] = true
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok {
					shown[key.Name] = true
				}
			case *ast.FuncDecl:
				shown[n.Name.Name] = true
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return shown
}

// exportedNames returns the exported names of the package in dir. Methods and
// fields have that of their type and a dot in front.
func exportedNames(t *testing.T, dir string) (names []string) {
	add := func(of, name string) {
		switch {
		case !ast.IsExported(name) || of != "" && !ast.IsExported(of):
		case of != "":
			names = append(names, of+"."+name)
		default:
			names = append(names, name)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				add(receiver(d), d.Name.Name)
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						add("", s.Name.Name)
						if st, ok := s.Type.(*ast.StructType); ok {
							for _, f := range st.Fields.List {
								for _, name := range f.Names {
									add(s.Name.Name, name.Name)
								}
							}
						}
					case *ast.ValueSpec:
						for _, name := range s.Names {
							add("", name.Name)
						}
					}
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names) // a file for each platform may declare the same
}

// receiver returns the type of which d is a method, or "".
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	return typ.(*ast.Ident).Name
}
