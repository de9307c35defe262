package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// An abroad is a place where only what was published can be seen.
type abroad struct {
	dir   string // temporary
	proxy string // a folder in dir
	env   []string
}

// newAbroad makes one. Modules of others come from the module cache at home if
// they are there, and else from the proxy that is used at home. Nothing goes
// into that cache: the versions made here are not real.
func newAbroad() (*abroad, error) {
	home, err := output(".", nil, "go", "env", "GOMODCACHE", "GOPROXY")
	if err != nil {
		return nil, err
	}
	cache, others, _ := strings.Cut(strings.TrimSpace(string(home)), "\n")
	dir, err := os.MkdirTemp("", "abroad")
	if err != nil {
		return nil, err
	}
	a := &abroad{dir: dir, proxy: filepath.Join(dir, "proxy")}
	a.env = []string{
		"GOPROXY=" + fileURL(a.proxy) + "," + fileURL(filepath.Join(cache, "cache", "download")) + "," + others,
		"GOMODCACHE=" + filepath.Join(dir, "modules"),
		"GOBIN=" + filepath.Join(dir, "bin"),
		"GONOSUMDB=" + modulePath + "," + modulePath + "/*",
		"GOFLAGS=-modcacherw", "GOWORK=off", "GOTOOLCHAIN=local",
	}
	return a, nil
}

const modulePath = "github.com/seed70bc5565/websocket"

func (a *abroad) close() { os.RemoveAll(a.dir) }

func fileURL(name string) string {
	name = filepath.ToSlash(name)
	if !strings.HasPrefix(name, "/") { // C:/...
		name = "/" + name
	}
	return "file://" + name
}

// strangers publishes every module as it is in the tree. For each one it does
// what a stranger does: get it, build a program on it, and install its
// commands. The argument wanted says which modules to try; nil means all.
func strangers(root string, wanted func(*module) bool) error {
	version, err := lastVersion(root)
	if err != nil {
		return err
	}
	mods, err := findModules(root)
	if err != nil {
		return err
	}
	a, err := newAbroad()
	if err != nil {
		return err
	}
	defer a.close()
	for _, m := range mods {
		if _, err := publish(a.proxy, root, m, mods, version); err != nil {
			return err
		}
	}
	var failed []error
	for _, m := range mods {
		if wanted != nil && !wanted(m) {
			continue
		}
		built, installed, err := a.try(m, version)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", m.path, err))
			continue
		}
		fmt.Printf("%s@%s: %d packages imported; installed %v\n", m.path, version, built, installed)
	}
	return errors.Join(failed...)
}

// try is a stranger who meets m at version.
func (a *abroad) try(m *module, version string) (imported int, installed []string, err error) {
	dir, err := os.MkdirTemp(a.dir, "stranger")
	if err != nil {
		return 0, nil, err
	}
	goMod := "module example.com/stranger\n\ngo " + m.goLine + "\n"
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(goMod), 0o644); err != nil {
		return 0, nil, err
	}
	if _, err := output(dir, a.env, "go", "get", m.path+"/...@"+version); err != nil {
		return 0, nil, err
	}
	list, err := output(dir, a.env, "go", "list", "-f", "{{if .GoFiles}}{{.Name}} {{.ImportPath}}{{end}}", m.path+"/...")
	if err != nil {
		return 0, nil, err
	}
	program := "package main\n\nimport (\n"
	var commands []string
	for line := range strings.Lines(string(list)) {
		name, importPath, _ := strings.Cut(strings.TrimSpace(line), " ")
		rel := strings.TrimPrefix(strings.TrimPrefix(importPath, m.path), "/")
		switch {
		case importPath == "", !a.has(importPath, m, version): // only tests, or of another module
		case name == "main" && (rel == "autobahn" || strings.HasPrefix(rel, "cmd/")):
			commands = append(commands, importPath)
		case name != "main" && !slices.Contains(strings.Split(importPath, "/"), "internal"):
			program += fmt.Sprintf("\t_ %q\n", importPath)
			imported++
		}
	}
	program += ")\n\nfunc main() { println(\"built\") }\n"
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o644); err != nil {
		return 0, nil, err
	}
	if _, err := output(dir, a.env, "go", "run", "."); err != nil {
		return 0, nil, err
	}
	if _, err := output(dir, a.env, "go", "build", m.path+"/..."); err != nil {
		return 0, nil, err
	}
	for _, importPath := range commands {
		if _, err := output(dir, a.env, "go", "install", importPath+"@"+version); err != nil {
			return 0, nil, err
		}
		installed = append(installed, path.Base(importPath))
	}
	return imported, installed, nil
}

// has reports whether importPath is a package of m itself.
func (a *abroad) has(importPath string, m *module, version string) bool {
	rel := strings.TrimPrefix(strings.TrimPrefix(importPath, m.path), "/")
	_, err := os.Stat(filepath.Join(a.dir, "modules", filepath.FromSlash(m.path)+"@"+version, filepath.FromSlash(rel)))
	return err == nil
}

// tidy is go mod tidy, for modules that require what is not published yet: it
// sees the tree as published.
func tidy(root string) error {
	if err := mend(root); err != nil {
		return err
	}
	version, err := lastVersion(root)
	if err != nil {
		return err
	}
	mods, err := findModules(root)
	if err != nil {
		return err
	}
	for _, m := range mods {
		a, err := newAbroad() // anew: an earlier module may have changed
		if err != nil {
			return err
		}
		defer a.close()
		for _, s := range mods {
			if _, err := publish(a.proxy, root, s, mods, version); err != nil {
				return err
			}
		}
		// The sums of the tree as it happens to be now would be wrong tomorrow.
		if err := writeSums(root, m, mods, version, nil); err != nil {
			return err
		}
		if _, err := output(filepath.Join(root, m.dir), a.env, "go", "mod", "tidy"); err != nil {
			return fmt.Errorf("%s: %w", m.dir, err)
		}
		if err := writeSums(root, m, mods, version, nil); err != nil {
			return err
		}
	}
	return mend(root)
}
