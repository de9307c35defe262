package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The layers of architecture.md inside the root package, which the compiler
// cannot check.

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

// moduleFiles are the Go files of the root module, parsed, tests included. The
// keys are paths from the root, with slashes.
var moduleFiles = sync.OnceValues(func() (map[string]*ast.File, error) {
	files, root := map[string]*ast.File{}, os.DirFS("..")
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || path == ".":
			return err
		case d.IsDir():
			if _, err := fs.Stat(root, path+"/go.mod"); err == nil {
				return fs.SkipDir // a module of its own
			}
			if strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules" {
				return fs.SkipDir
			}
		case strings.HasSuffix(path, ".go"):
			src, err := fs.ReadFile(root, path)
			if err != nil {
				return err
			}
			files[path], err = parser.ParseFile(moduleSet, path, src, 0)
			return err
		}
		return nil
	})
	return files, err
})

var moduleSet = token.NewFileSet() // of moduleFiles

func filesOfModule(t *testing.T) map[string]*ast.File {
	t.Helper()
	files, err := moduleFiles()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// filesOfRoot are the files of the root package, except tests.
func filesOfRoot(t *testing.T) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	for path, f := range filesOfModule(t) {
		if !strings.Contains(path, "/") && !strings.HasSuffix(path, "_test.go") {
			files[path] = f
		}
	}
	return files
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
	files := filesOfModule(t)
	for name, allowed := range pureFiles {
		f := files[name]
		if f == nil {
			t.Errorf("there is no %s", name)
			continue
		}
		for _, path := range imports(f) {
			if slices.Contains(pureForbidden, path) && !slices.Contains(allowed, path) {
				t.Errorf("%s imports %q", name, path)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%v: starts a goroutine", moduleSet.Position(n.Pos()))
			case *ast.SendStmt, *ast.SelectStmt, *ast.ChanType:
				t.Errorf("%v: uses a channel", moduleSet.Position(n.Pos()))
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
	files := filesOfRoot(t)
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
				t.Errorf("%v: %s.%s does not belong here", moduleSet.Position(n.Pos()), on, method.Sel.Name)
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
	files := filesOfRoot(t)
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

// Pools are in internal/bufpool, or have objects of a fixed size, where their
// caps can be seen; goroutines are started where their end can be seen.
func TestPools(t *testing.T) {
	files := filesOfRoot(t)
	for name, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && lastName(s.X) == "sync" && s.Sel.Name == "Pool" &&
				name != "mask.go" && name != "transport_unix.go" {
				t.Errorf("%v: a sync.Pool outside of internal/bufpool", moduleSet.Position(n.Pos()))
			}
			return true
		})
	}
}

// The root module needs nothing but Go. Without a require line in go.mod the
// compiler refuses imports of other modules.
func TestNoDependencies(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(mod), "\n") {
		switch word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "require", "replace", "tool":
			t.Errorf("go.mod: %q", line)
		}
	}
}

// These may import unsafe: assembly, and system calls that the standard library
// does not have.
func TestUnsafe(t *testing.T) {
	for path, f := range filesOfModule(t) {
		system := strings.HasPrefix(path, "internal/simd/") || path == "transport_linux.go" || path == "transport_syscall_linux.go" ||
			path == "internal/poller/writev_linux.go" || strings.HasPrefix(path, "cmd/ws/")
		if slices.Contains(imports(f), "unsafe") && !system {
			t.Errorf("%s imports unsafe", path)
		}
	}
}

// No file of the module imports math/rand, except tests and what is only run
// from the repository. The makers of keys and nonces take their bytes from
// crypto/rand.
func TestRandomnessSources(t *testing.T) {
	sources := map[string]bool{"next": false, "newKey": false}
	for path, f := range filesOfModule(t) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		// Programs and packages of tests make no keys of ours.
		own := true
		for _, dir := range []string{"soak/", "examples/", "cmd/", "autobahn/", "hub/internal/brokertest/"} {
			own = own && !strings.HasPrefix(path, dir)
		}
		used := imports(f)
		if own && (slices.Contains(used, "math/rand") || slices.Contains(used, "math/rand/v2")) {
			t.Errorf("%s imports math/rand", path)
		}
		if strings.Contains(path, "/") || !slices.Contains(used, "crypto/rand") {
			continue
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if _, wanted := sources[fn.Name.Name]; wanted {
				sources[fn.Name.Name] = calls(fn, "rand", "Read")
			}
		}
	}
	for name, ok := range sources {
		if !ok {
			t.Errorf("%s does not read crypto/rand", name)
		}
	}
}

// calls reports whether fn calls pkg.name.
func calls(fn *ast.FuncDecl, pkg, name string) (found bool) {
	ast.Inspect(fn, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if s, ok := call.Fun.(*ast.SelectorExpr); ok && lastName(s.X) == pkg && s.Sel.Name == name {
				found = true
			}
		}
		return true
	})
	return found
}
