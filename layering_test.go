package websocket

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pureFiles hold the protocol. They know bytes and states: no connections, no
// goroutines, no clock.
var pureFiles = map[string][]string{ // and the packages of pureForbidden that each may use all the same
	"frame.go":      nil,
	"protocol.go":   nil,
	"mask.go":       {"sync"}, // its keys are read from crypto/rand by the block
	"statuscode.go": nil,
	"handshake.go":  {"net/http", "net/url"},
	"request.go":    {"net/http", "net/url"},
	"options.go":    nil,

	"internal/field/field.go":  nil,
	"internal/field/origin.go": nil,

	"deflate_params.go": nil,
}

var pureForbidden = []string{
	"net", "net/http", "net/url", "net/http/httptrace", "net/textproto", "crypto/tls", "io", "bufio", "os", "syscall", "sync", "sync/atomic",
	"context", "time", "runtime", "log", "log/slog", "reflect", "unsafe",
}

func parseFiles(t *testing.T, mode parser.Mode) (*token.FileSet, map[string]*ast.File) {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset, files := token.NewFileSet(), map[string]*ast.File{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, mode)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = f
	}
	return fset, files
}

func imports(f *ast.File) []string {
	var paths []string
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, path)
	}
	return paths
}

func TestPureFiles(t *testing.T) {
	fset, files := parseFiles(t, 0)
	for name, allowed := range pureFiles {
		f, err := files[name], error(nil)
		if f == nil {
			if f, err = parser.ParseFile(fset, name, nil, 0); err != nil {
				t.Error(err)
				continue
			}
		}
		for _, path := range imports(f) {
			if slices.Contains(pureForbidden, path) && !slices.Contains(allowed, path) {
				t.Errorf("%s imports %q", name, path)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%v: starts a goroutine", fset.Position(n.Pos()))
			case *ast.SendStmt, *ast.SelectStmt, *ast.ChanType:
				t.Errorf("%v: uses a channel", fset.Position(n.Pos()))
			}
			return true
		})
	}
}

// The methods of a transport that move bytes, and those that only end it or set
// its deadlines.
var (
	moves    = []string{"Read", "Write", "ReadFrom", "WriteTo", "SyscallConn"}
	controls = []string{"Close", "CloseRead", "CloseWrite", "SetDeadline", "SetReadDeadline", "SetWriteDeadline"}
)

// Only a few files use the transport: receiver.go, sender.go and transport_*.go
// move frames, lifetime.go and close.go end it, and watch.go sets its
// deadlines. The opening handshake does what it must on its own before there is
// a Conn.
func TestTransport(t *testing.T) {
	fset, files := parseFiles(t, 0)
	for name, f := range files {
		switch name {
		case "client.go", "server.go", "stream.go", "switched.go":
			continue
		}
		frames := name == "receiver.go" || name == "sender.go" || strings.HasPrefix(name, "transport")
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			// A method of something called conn or transport, as in c.conn and
			// cfg.transport.
			switch on := lastName(method.X); {
			case on != "conn" && on != "transport":
			case slices.Contains(moves, method.Sel.Name) && !frames,
				slices.Contains(controls, method.Sel.Name) && !frames && name != "lifetime.go" && name != "close.go" && name != "watch.go":
				t.Errorf("%v: %s.%s does not belong here", fset.Position(n.Pos()), on, method.Sel.Name)
			}
			return true
		})
	}
}

func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// Calls go downward: what lies below does not know what lies above.
func TestLayers(t *testing.T) {
	_, files := parseFiles(t, 0)
	layers := [][]string{ // bottom first
		{"errors.go", "frame.go", "statuscode.go", "mask.go", "options.go"},
		{"protocol.go", "deflate_params.go"},
		{"conn.go"}, // and the files that no other layer names
		{"client.go", "plainhttp.go", "server.go", "shutdown.go", "server_stats.go", "events.go", "h2.go", "stream.go", "switched.go", "bridge.go"},
		{"redialer.go"},
	}
	level := map[string]int{}
	for name := range files {
		level[name] = 2
	}
	for i, names := range layers {
		for _, name := range names {
			level[name] = i
		}
	}
	level["handshake.go"], level["request.go"] = 1, 1
	declared := map[string]string{} // top-level functions, types, variables, constants -> file
	for name, f := range files {
		for _, decl := range f.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					declared[d.Name.Name] = name
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.TypeSpec:
						declared[s.Name.Name] = name
					case *ast.ValueSpec:
						for _, id := range s.Names {
							declared[id.Name] = name
						}
					}
				}
			}
		}
	}
	for name, f := range files {
		for _, id := range f.Unresolved { // names that are not the file's own: of the package, or of Go
			if strings.HasSuffix(id.Name, "Options") {
				continue // plain data: handshake.go reads what client.go and server.go declare
			}
			if where := declared[id.Name]; where != "" && level[where] > level[name] {
				t.Errorf("%s uses %s, which is declared above it in %s", name, id.Name, where)
			}
		}
	}
}

// Pools stand in internal/bufpool, where their caps can be seen; goroutines are
// started where their end can be seen.
func TestPools(t *testing.T) {
	fset, files := parseFiles(t, 0)
	for name, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && lastName(s.X) == "sync" && s.Sel.Name == "Pool" && name != "mask.go" {
				t.Errorf("%v: a sync.Pool outside of internal/bufpool", fset.Position(n.Pos()))
			}
			return true
		})
	}
}

// The root module needs nothing but Go.
func TestNoDependencies(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(mod), "\n") {
		switch word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "require", "replace", "tool":
			t.Errorf("go.mod: %q", line)
		}
	}
	err = filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path == "." {
				return nil
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return filepath.SkipDir // a module of its own
			}
			if strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range imports(f) {
			const module = "github.com/seed70bc5565/websocket"
			host, _, _ := strings.Cut(imp, "/")
			if strings.Contains(host, ".") && imp != module && !strings.HasPrefix(imp, module+"/") {
				t.Errorf("%s imports %q", path, imp)
			}
			system := strings.HasPrefix(path, "internal/simd/") || path == "transport_linux.go" || path == "transport_syscall_linux.go" || strings.HasPrefix(path, "cmd/ws/")
			if imp == "unsafe" && !system {
				t.Errorf("%s imports %q", path, imp)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
