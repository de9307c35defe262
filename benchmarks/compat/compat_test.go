// Package compat shows that a program written for github.com/coder/websocket
// needs a new import path and nothing else.
package compat

import (
	"bytes"
	"context"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	withcoder "github.com/seed70bc5565/websocket/benchmarks/compat/withcoder"
	withours "github.com/seed70bc5565/websocket/benchmarks/compat/withours"
)

const (
	coderPath = "github.com/coder/websocket"
	ourPath   = "github.com/seed70bc5565/websocket"
)

// TestSameSource holds the two programs equal, so that both compiling means
// what it should.
func TestSameSource(t *testing.T) {
	coders, err := os.ReadFile("withcoder/program.go")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile("withours/program.go")
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.ReplaceAll(coders, []byte(`"`+coderPath), []byte(`"`+ourPath))
	if bytes.Equal(want, coders) {
		t.Fatal("the program does not import " + coderPath)
	}
	if !bytes.Equal(ours, want) {
		t.Error("withours/program.go is not withcoder/program.go with the import paths replaced")
	}
}

// TestSameBehaviour runs both programs and compares what they saw.
func TestSameBehaviour(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	want, err := withcoder.Run(ctx)
	if err != nil {
		t.Fatalf("with %s: %v", coderPath, err)
	}
	got, err := withours.Run(ctx)
	if err != nil {
		t.Errorf("with %s: %v", ourPath, err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("with %s:\n\t%s\nwith %s:\n\t%s", ourPath, strings.Join(got, "\n\t"), coderPath, strings.Join(want, "\n\t"))
	}
}

// TestSameNames compares the exported names of the two packages, from their
// sources. Ours has each name of theirs, with the same type and, for a
// constant, the same value. Ours may have more.
func TestSameNames(t *testing.T) {
	imp := importer.ForCompiler(token.NewFileSet(), "source", nil)
	for _, sub := range []string{"", "/wsjson"} {
		theirs, err := imp.Import(coderPath + sub)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := imp.Import(ourPath + sub)
		if err != nil {
			t.Fatal(err)
		}
		want, got := surface(theirs), surface(ours)
		if len(want) == 0 {
			t.Fatalf("%s%s exports nothing", coderPath, sub)
		}
		for name, w := range want {
			if g, ok := got[name]; !ok {
				t.Errorf("%s%s lacks %s: %s", ourPath, sub, name, w)
			} else if g != w {
				t.Errorf("%s%s has %s as %s, want %s", ourPath, sub, name, g, w)
			}
		}
	}
}

// surface lists what a program can name in pkg, each with its type. Parameters
// and packages go by type alone.
func surface(pkg *types.Package) map[string]string {
	s := map[string]string{}
	qualify := func(p *types.Package) string { return p.Name() }
	describe := func(t types.Type) string {
		if sig, ok := t.(*types.Signature); ok {
			return "func" + tuple(sig.Params(), qualify) + " " + tuple(sig.Results(), qualify) + fmt.Sprint(sig.Variadic())
		}
		return types.TypeString(t, qualify)
	}
	for _, name := range pkg.Scope().Names() {
		obj := pkg.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		switch obj := obj.(type) {
		case *types.Const:
			s[name] = describe(obj.Type()) + " = " + obj.Val().String()
		case *types.TypeName:
			s[name] = "type"
			if st, ok := obj.Type().Underlying().(*types.Struct); ok {
				for f := range st.Fields() {
					if f.Exported() {
						s[name+"."+f.Name()] = describe(f.Type())
					}
				}
			} else {
				s[name] = "type " + describe(obj.Type().Underlying())
			}
			ms := types.NewMethodSet(types.NewPointer(obj.Type()))
			for m := range ms.Methods() {
				if m.Obj().Exported() {
					s[name+"."+m.Obj().Name()] = describe(m.Type())
				}
			}
		default:
			s[name] = describe(obj.Type())
		}
	}
	return s
}

func tuple(t *types.Tuple, q types.Qualifier) string {
	var all []string
	for v := range t.Variables() {
		all = append(all, types.TypeString(v.Type(), q))
	}
	return "(" + strings.Join(all, ", ") + ")"
}
