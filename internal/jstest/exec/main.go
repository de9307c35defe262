//go:build !js

// Command exec runs a test binary of js/wasm in a headless Chromium, or in
// Node, next to a server for the tests of internal/jstest:
//
//	go build -o /tmp/jsexec ./internal/jstest/exec
//	GOOS=js GOARCH=wasm go test -exec /tmp/jsexec ./internal/jstest
//
// The environment says more: JSTEST_IN is "chromium" (the default) or "node",
// and CHROMIUM the browser's program. Node needs its WebSocket object: version
// 22, or 20 with --experimental-websocket, which exec sets.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// runTimeout bounds the whole run.
const runTimeout = 5 * time.Minute

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: exec BINARY [ARGUMENT...]")
		os.Exit(2)
	}
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "exec:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run runs the test binary args[0] with the arguments that follow, and returns
// its exit status.
func run(args []string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1, err
	}
	defer l.Close()
	mux := http.NewServeMux()
	behaviours(mux)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Origin") // the page is of the other port
		mux.ServeHTTP(w, r)
	}))
	defer secure.Close()
	env := map[string]string{
		"JSTEST_URL": "ws://" + l.Addr().String(),
		"JSTEST_TLS": "wss" + strings.TrimPrefix(secure.URL, "https"),
	}
	exit := make(chan int, 1)
	if os.Getenv("JSTEST_IN") != "node" {
		if err := page(mux, args, env, exit); err != nil {
			return 1, err
		}
	}
	go http.Serve(l, mux)
	if os.Getenv("JSTEST_IN") == "node" {
		return inNode(ctx, args, env)
	}
	return inChromium(ctx, "http://"+l.Addr().String()+"/", exit)
}

// inNode runs the binary by Go's own script for Node.
func inNode(ctx context.Context, args []string, env map[string]string) (int, error) {
	root, err := goroot()
	if err != nil {
		return 1, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "lib/wasm/go_js_wasm_exec"), args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	options := os.Getenv("NODE_OPTIONS")
	if out, _ := exec.CommandContext(ctx, "node", "--version").Output(); major(string(out)) < 22 {
		options += " --experimental-websocket"
	}
	// The certificate is that of httptest.
	cmd.Env = append(os.Environ(), "NODE_OPTIONS="+options, "NODE_TLS_REJECT_UNAUTHORIZED=0", "NODE_NO_WARNINGS=1")
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	err = cmd.Run()
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		return ee.ExitCode(), nil
	}
	return 0, err
}

// major returns the first number of a version such as "v20.20.2".
func major(version string) int {
	first, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	n, _ := strconv.Atoi(first)
	return n
}

func goroot() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	return strings.TrimSpace(string(out)), err
}

// inChromium opens url, and waits until the page has posted the exit status.
func inChromium(ctx context.Context, url string, exit <-chan int) (int, error) {
	program := os.Getenv("CHROMIUM")
	if program == "" {
		program = "/usr/bin/chromium"
	}
	profile, err := os.MkdirTemp("", "jstest-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(profile)
	flags := []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--ignore-certificate-errors", "--user-data-dir=" + profile, url}
	ctx, stop := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, program, flags...)
	var said strings.Builder
	cmd.Stderr = &said
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		stop()
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { stop(); <-ended }()
	select {
	case code := <-exit:
		return code, nil
	case err := <-ended:
		ended <- err
		return 1, fmt.Errorf("chromium ended: %v\n%s", err, said.String())
	case <-ctx.Done():
		return 1, fmt.Errorf("the test did not end within %v", runTimeout)
	}
}

// page serves a page that runs the binary, and passes on what it prints.
func page(mux *http.ServeMux, args []string, env map[string]string, exit chan<- int) error {
	root, err := goroot()
	if err != nil {
		return err
	}
	arguments, _ := json.Marshal(append([]string{"test.wasm"}, args[1:]...))
	environment, _ := json.Marshal(env)
	text := strings.NewReplacer("ARGUMENTS", string(arguments), "ENVIRONMENT", string(environment)).Replace(pageText)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, text)
	})
	mux.HandleFunc("GET /wasm_exec.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(root, "lib/wasm/wasm_exec.js"))
	})
	mux.HandleFunc("GET /test.wasm", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/wasm")
		http.ServeFile(w, r, args[0])
	})
	mux.HandleFunc("POST /output", func(w http.ResponseWriter, r *http.Request) { io.Copy(os.Stdout, r.Body) })
	mux.HandleFunc("POST /exit", func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		code, err := strconv.Atoi(string(data))
		if err != nil {
			fmt.Fprintf(os.Stderr, "exec: the page said %q\n", data)
			code = 1
		}
		select {
		case exit <- code:
		default:
		}
	})
	return nil
}

const pageText = `<!doctype html>
<meta charset="utf-8">
<title>Tests</title>
<script src="wasm_exec.js"></script>
<script>
'use strict';
// The output of the binary is posted in its order, and the exit status behind
// it.
let posted = Promise.resolve();
const post = (path, body) => { posted = posted.then(() => fetch(path, { method: 'POST', body })); };
globalThis.fs.writeSync = (fd, data) => { post('output', data.slice()); return data.length; };
globalThis.fs.write = (fd, data, offset, length, position, callback) => {
  post('output', data.slice(offset, offset + length));
  callback(null, length);
};
globalThis.process.cwd = () => '/';
const go = new Go();
go.argv = ARGUMENTS;
go.env = ENVIRONMENT;
go.exit = (code) => post('exit', String(code));
WebAssembly.instantiateStreaming(fetch('test.wasm'), go.importObject)
  .then((result) => go.run(result.instance))
  .catch((error) => post('exit', String(error)));
</script>
`
