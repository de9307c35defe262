package site

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/seed70bc5565/websocket"
)

func program() *Program {
	return &Program{
		Page: fstest.MapFS{
			"page/index.html": {Data: []byte("<!doctype html><title>Test</title>")},
			"page/own.js":     {Data: []byte("'use strict'")},
		},
		Routes: map[string]http.Handler{
			"/ws": websocket.Handler(func(c *websocket.Conn, r *http.Request) { c.Read(r.Context()) }, nil),
			"GET /wait": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}),
		},
		Notes: func(url string) string { return "A note on " + url + "\n" },
	}
}

// start runs p as its program does, and returns its URL, without a slash, what
// stops it, and what it printed behind the URL.
func start(t *testing.T, p *Program) (url string, stop func() (printed string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, p, "localhost:0", w); w.Close() }()
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(line, "Open %s in two windows.", &url); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	rest := make(chan string, 1)
	go func() { b, _ := io.ReadAll(lines); rest <- string(b) }()
	return strings.TrimSuffix(url, "/"), func() string {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		return <-rest
	}
}

// WebSocket connections are told, and Run returns when they have ended.
func TestRunSaysGoodbye(t *testing.T) {
	p := program()
	served := make(chan struct{})
	p.Routes["/ws"] = websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.Write(r.Context(), websocket.MessageText, []byte("served"))
		c.Read(r.Context())
		for range 1000 {
			runtime.Gosched() // what a program does in the end may take its time
		}
		close(served)
	}, nil)
	url, stop := start(t, p)
	c, _, err := websocket.Dial(t.Context(), url+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if _, _, err := c.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	status := make(chan websocket.StatusCode, 1)
	go func() {
		_, _, err := c.Read(t.Context())
		status <- websocket.CloseStatus(err)
	}()
	stop()
	select {
	case <-served:
	default:
		t.Error("Run has returned before the connection was over")
	}
	if got := <-status; got != websocket.StatusGoingAway {
		t.Errorf("closed with %v, want StatusGoingAway", got)
	}
}

// A request that waits does not hold up the end, and work ends too.
func TestRunEnds(t *testing.T) {
	p := program()
	worked := make(chan struct{})
	p.Work = func(ctx context.Context) {
		<-ctx.Done()
		for range 1000 {
			runtime.Gosched()
		}
		close(worked)
	}
	url, stop := start(t, p)
	resp, err := http.Get(url + "/wait")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := stop(), "A note on "+url+"/\nStopping.\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	select {
	case <-worked:
	default:
		t.Error("Run has returned before work was over")
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the request that waited: %v", err)
	}
	resp.Body.Close()
}

// A connection without a request, as browsers open them in advance, does not
// hold up the end.
func TestRunEndsUnused(t *testing.T) {
	url, stop := start(t, program())
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// The server accepts in order: it knows c when this is answered.
	resp, err := http.Get(url + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	stop()
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = Run(t.Context(), program(), l.Addr().String(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "taken") {
		t.Errorf("Run with a port that is taken: %v", err)
	}
}

func TestPageURL(t *testing.T) {
	for _, test := range []struct{ addr, want string }{
		{"localhost:8080", "http://localhost:99/"},
		{"127.0.0.1:0", "http://127.0.0.1:99/"},
		{":8080", "http://localhost:99/"},
		{"0.0.0.0:8080", "http://localhost:99/"},
		{"[::]:8080", "http://localhost:99/"},
		{"[::1]:8080", "http://[::1]:99/"},
	} {
		if got := PageURL(test.addr, &net.TCPAddr{IP: net.IPv4zero, Port: 99}); got != test.want {
			t.Errorf("PageURL(%q) = %q, want %q", test.addr, got, test.want)
		}
	}
}

// The page has its own files and the shared ones, and may load nothing else.
func TestHandler(t *testing.T) {
	h := program().Handler()
	for path, want := range map[string]struct {
		status      int
		contentType string
	}{
		"/":         {200, "text/html"},
		"/own.js":   {200, "text/javascript"},
		"/site.css": {200, "text/css"},
		"/site.mjs": {200, "text/javascript"},
		"/other.js": {404, "text/plain"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want.status || !strings.HasPrefix(w.Header().Get("Content-Type"), want.contentType) {
			t.Errorf("GET %s: %d, %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		if !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("GET %s: Content-Security-Policy is %q", path, w.Header().Get("Content-Security-Policy"))
		}
	}
}

// No page loads anything from elsewhere, and what a user wrote never becomes
// HTML.
func TestPages(t *testing.T) {
	files, err := filepath.Glob("../../*/page/*")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files of pages, %v", len(files), err)
	}
	more, err := filepath.Glob("shared/*")
	if err != nil || len(more) < 2 {
		t.Fatalf("%d shared files, %v", len(more), err)
	}
	for _, file := range append(files, more...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"https://", "src=\"http", "src=\"//", "innerHTML", "outerHTML", "insertAdjacentHTML",
			"document.write", "@import", "eval("} {
			if strings.Contains(string(data), word) {
				t.Errorf("%s has %q in it", file, word)
			}
		}
	}
}
