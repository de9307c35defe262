package docs_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The server and the client at which the tutorial arrives are built and run.
// Two clients hear each other, and the server ends in good order.
func TestTutorialRuns(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "js" {
		t.Skip("the programs are stopped with a signal")
	}
	b, err := os.ReadFile("tutorial.md")
	if err != nil {
		t.Fatal(err)
	}
	programs := goBlock.FindAllStringSubmatch(string(b), -1)
	html := regexp.MustCompile("(?ms)^```html\n(.*?)^```$").FindStringSubmatch(string(b))
	if len(programs) != 4 || html == nil {
		t.Fatalf("the tutorial has %d programs, and its page is %v", len(programs), html != nil)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const module = "github.com/seed70bc5565/websocket"
	for name, text := range map[string]string{
		"go.mod":           fmt.Sprintf("module hello\n\ngo 1.25.0\n\nrequire %s v0.0.0\n\nreplace %s => %s\n", module, module, root),
		"server/main.go":   programs[2][1],
		"server/page.html": html[1],
		"client/main.go":   programs[3][1],
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-o", "bin/", "./server", "./client")
	build.Dir, build.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o777); err != nil {
		t.Fatal(err)
	}
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server := exec.CommandContext(ctx, filepath.Join(dir, "bin", "server"), "-addr", "127.0.0.1:0")
	log := lines(t, server.StderrPipe)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Process.Kill()
	_, host, found := strings.Cut(log("open http://"), "open http://")
	if !found {
		t.Fatal("the server does not say where it listens")
	}
	url := "ws://" + strings.TrimSuffix(host, "/") + "/ws"

	type program struct {
		cmd         *exec.Cmd
		in          io.WriteCloser
		out, states func(string) string
	}
	start := func() program {
		cmd := exec.CommandContext(ctx, filepath.Join(dir, "bin", "client"), "-url", url)
		p := program{cmd: cmd, out: lines(t, cmd.StdoutPipe), states: lines(t, cmd.StderrPipe)}
		if p.in, err = cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		p.states("connected")
		return p
	}
	a, b2 := start(), start()
	// Each hears itself, which says that it has subscribed, and then the other.
	for _, p := range []program{a, b2} {
		fmt.Fprintln(p.in, "I am here")
		p.out("I am here")
	}
	fmt.Fprintln(a.in, "hello from a")
	b2.out("hello from a")

	// At the end of its input a client is done: it is not connected again.
	if err := b2.in.Close(); err != nil {
		t.Fatal(err)
	}
	b2.states("stopped")
	if err := b2.cmd.Wait(); err != nil {
		t.Errorf("the client at the end of its input: %v", err)
	}

	if err := server.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("the server: %v", err)
	}
	if s := a.states("waiting"); !strings.Contains(s, "1001") {
		t.Errorf("the client says %q", s)
	}
	if err := a.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Wait(); err != nil {
		t.Errorf("the client: %v", err)
	}
}

// lines returns a function that reads lines up to the first that contains a
// text, which it returns.
func lines(t *testing.T, pipe func() (io.ReadCloser, error)) func(string) string {
	r, err := pipe()
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(r)
	return func(text string) string {
		for in.Scan() {
			if strings.Contains(in.Text(), text) {
				return in.Text()
			}
		}
		t.Fatalf("there is no line with %q", text)
		return ""
	}
}
