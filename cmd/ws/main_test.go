package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

// The test binary is ws itself where asWS is set: so tests can start it in a
// terminal of its own.
const asWS = "WS_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asWS) != "" {
		main()
		return
	}
	log.SetOutput(io.Discard)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		os.Unsetenv(name)
	}
	os.Exit(m.Run())
}

// patience bounds what a test waits for. It is never used up unless something
// is wrong.
const patience = 30 * time.Second

// A result is what a run of ws has said.
type result struct {
	out, err string
	code     int
}

// ws runs a command line with pipes.
func ws(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := start(ctx, strings.NewReader(stdin), args...)
	code := <-p.code
	if ctx.Err() != nil {
		t.Fatalf("ws %q did not end; stderr:\n%s", args, p.err.String())
	}
	return result{p.out.String(), p.err.String(), code}
}

// A process is a run of ws that goes on.
type process struct {
	out, err *buffer
	code     chan int
}

func start(ctx context.Context, stdin io.Reader, args ...string) *process {
	p := &process{newBuffer(), newBuffer(), make(chan int, 1)}
	go func() { p.code <- run(ctx, args, &console{in: stdin, out: p.out, err: p.err}) }()
	return p
}

// A buffer collects output, and waits for some.
type buffer struct {
	mu      sync.Mutex
	b       strings.Builder
	changed chan struct{}
}

func newBuffer() *buffer { return &buffer{changed: make(chan struct{})} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// wait waits until the output matches, and returns the groups.
func (b *buffer) wait(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		text, changed := b.b.String(), b.changed
		b.mu.Unlock()
		if m := re.FindStringSubmatch(text); m != nil {
			return m
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("no output matches %s:\n%s", pattern, text)
		}
	}
}

// want compares a result. err is a regular expression.
func (r result) want(t *testing.T, code int, out, err string) {
	t.Helper()
	if r.code != code || r.out != out || !regexp.MustCompile(err).MatchString(r.err) {
		t.Errorf("exit code %d, stdout %q, stderr:\n%s\nwant %d, %q, and a match of %s", r.code, r.out, r.err, code, out, err)
	}
}

// serve starts a server, and returns its URL.
func serve(t *testing.T, handle func(*websocket.Conn, *http.Request), opts *websocket.AcceptOptions) string {
	t.Helper()
	s := httptest.NewServer(websocket.Handler(handle, opts))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

func echo(c *websocket.Conn, r *http.Request) {
	for m, err := range c.Messages(r.Context()) {
		if err != nil || c.Write(r.Context(), m.Type, m.Data) != nil {
			return
		}
	}
}

func TestNothingToDo(t *testing.T) {
	ws(t, "").want(t, exitUsage, "", `(?s)^ws talks to.*ws listen ADDRESS.*Exit codes`)
}

func TestHelp(t *testing.T) {
	r := ws(t, "", "help")
	if r.code != exitOK || !strings.Contains(r.out, "ws bench URL") || r.err != "" {
		t.Errorf("ws help: %+v", r)
	}
	for _, cmd := range commands() {
		args := append(strings.Fields(cmd.name), "-help")
		r := ws(t, "", args...)
		if r.code != exitOK || !strings.HasPrefix(r.out, "Usage: "+cmd.title()) {
			t.Errorf("%s -help: %+v", cmd.title(), r)
		}
		for _, o := range cmd.options {
			if !strings.Contains(r.out, "  "+o.usage()+"\n") {
				t.Errorf("%s -help does not have %s", cmd.title(), o.usage())
			}
		}
		for _, line := range strings.Split(r.out, "\n") {
			if len(line) > 80 {
				t.Errorf("%s -help: a line of %d columns: %s", cmd.title(), len(line), line)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	if r := ws(t, "", "version"); r.code != exitOK || !strings.HasPrefix(r.out, "ws ") {
		t.Errorf("%+v", r)
	}
}

func TestWrongCommandLines(t *testing.T) {
	for _, tt := range []struct {
		args string
		err  string
	}{
		{"a b", "one URL is needed, not 2"},
		{"-z", "one URL is needed, not 0"},
		{"--nonsense ws://localhost", "nonsense"},
		{"-n 0 ws://localhost", "whole number from 1"},
		{"-t soon ws://localhost", "it must be a time"},
		{"--binary-as octal ws://localhost", "one of: dump hex base64 raw"},
		{"-H novalue ws://localhost", "has no colon"},
		{"-H Upgrade:x ws://localhost", "it belongs to the handshake"},
		{"--proxy localhost:1 ws://localhost", "--proxy must be the URL"},
		{"--key k ws://localhost", "--key needs --cert"},
		{"--save %d%d ws://localhost", "must have one %d"},
		{"--window-send 7 ws://localhost", "from 8 to 15"},
		{"ftp://localhost/", "the scheme of the URL"},
		{"ws://localhost/#a", "the URL has a fragment"},
		{"listen", "one address is needed"},
		{"listen --broadcast --script x :0", "exclude each other"},
		{"ping", "one URL is needed"},
		{"bench --mode up ws://localhost", "one of: echo send receive"},
		{"completion tcsh", "bash, zsh or fish"},
	} {
		ws(t, "", strings.Fields(tt.args)...).want(t, exitUsage, "", `^ws: .*`+regexp.QuoteMeta(tt.err))
	}
}
