package site

import (
	"embed"
	"errors"
	"io/fs"
	"net/http"
	"strings"
)

// shared holds the style and the script that all pages use.
//
//go:embed shared
var shared embed.FS

// policy is the pages' Content-Security-Policy: they need nothing but their own
// files and their own server, so they may have nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// wasmPolicy lets the page compile WebAssembly, too.
var wasmPolicy = strings.Replace(policy, "script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'", 1)

// Handler serves the page at / and p's routes.
func (p *Program) Handler() http.Handler {
	static := http.FileServerFS(layers{sub(p.Page, "page"), sub(shared, "shared")})
	policy := policy
	if p.Wasm {
		policy = wasmPolicy
	}
	mux := http.NewServeMux()
	for pattern, h := range p.Routes {
		mux.Handle(pattern, h)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache") // embedded files have no date by which a browser could tell them apart
		static.ServeHTTP(w, r)
	})
	return mux
}

func sub(files fs.FS, dir string) fs.FS {
	files, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // dir is a valid name: cannot be
	}
	return files
}

// layers is the files of all its layers; the first that has a file gives it.
type layers []fs.FS

func (l layers) Open(name string) (fs.File, error) {
	for _, layer := range l[:len(l)-1] {
		if f, err := layer.Open(name); !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return l[len(l)-1].Open(name)
}
