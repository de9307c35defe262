package h2peer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// program returns the path of a program that the test needs. With REALPEERS
// set, as make http2 sets it, one that is missing is a failure.
func program(t *testing.T, env, path string) string {
	if p := os.Getenv(env); p != "" {
		path = p
	}
	p, err := exec.LookPath(path)
	if err != nil && os.Getenv("REALPEERS") != "" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
	return p
}

// run starts a program, and ends it with the test.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	out := new(lockedLog)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 2 * time.Second // its children may have the pipe
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", name, out)
		}
	})
}

// page opens sockets while it lives, and tells what came of them.
const page = `<!doctype html><title>HTTP/2</title><script type="module">
const url = location.href.replace('https', 'wss');
const open = (path, protocols) => new Promise((done, fail) => {
  const ws = new WebSocket(url + path, protocols);
  ws.binaryType = 'arraybuffer';
  ws.onopen = () => done(ws);
  ws.onerror = () => fail('cannot open ' + path);
});
const next = ws => new Promise((done, fail) => {
  ws.onmessage = e => done(e.data);
  ws.onclose = e => fail('closed with ' + e.code);
});
const closed = ws => new Promise(done => { ws.onclose = e => done([e.code, e.reason, e.wasClean]); });
const result = {};
try {
  const sockets = await Promise.all([...Array(5).keys()].map(i => open('echo?' + i, ['b', 'a'])));
  result.protocol = sockets[0].protocol;
  result.extensions = sockets[0].extensions;
  result.echoes = await Promise.all(sockets.map((ws, i) => { ws.send('socket ' + i); return next(ws); }));
  const large = new Uint8Array(3_000_000).map((_, i) => i * 7);
  sockets[1].send(large);
  const back = new Uint8Array(await next(sockets[1]));
  result.large = back.length == large.length && back.every((b, i) => b == large[i]);
  const text = 'many words, '.repeat(20_000);
  sockets[2].send(text);
  result.text = await next(sockets[2]) == text;
  sockets[0].close(3001, 'enough');
  result.we = await closed(sockets[0]);
  const they = await open('close');
  result.they = await closed(they);
  const wrong = await open('small');
  wrong.send('x'.repeat(5000));
  result.tooBig = await closed(wrong);
  const abrupt = await open('abrupt');
  result.abrupt = await closed(abrupt);
  result.refused = await open('nothing').catch(e => e);
  sockets[3].send('still here');
  result.last = await next(sockets[3]);
} catch (e) {
  result.error = String(e);
}
await fetch('result', { method: 'POST', body: JSON.stringify(result) });
</script>`

// A page of Chromium's opens all its sockets in the HTTP/2 connection that has
// brought the page.
func TestChromium(t *testing.T) {
	chromium := program(t, "CHROMIUM", "chromium")
	opts := &websocket.AcceptOptions{Subprotocols: []string{"a"}, CompressionMode: websocket.CompressionContextTakeover, ReadLimit: 10 << 20}
	var mu sync.Mutex
	requests := map[string][]string{} // by remote address
	results := make(chan map[string]any, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, page)
	})
	mux.HandleFunc("POST /result", func(w http.ResponseWriter, r *http.Request) {
		var v map[string]any
		json.NewDecoder(r.Body).Decode(&v)
		results <- v
	})
	mux.Handle("/echo", websocket.Handler(echo, opts))
	mux.Handle("/small", websocket.Handler(echo, &websocket.AcceptOptions{ReadLimit: 1000}))
	mux.Handle("/close", websocket.Handler(func(c *websocket.Conn, r *http.Request) { c.Close(3002, "as it was asked to") }, nil))
	mux.Handle("/abrupt", websocket.Handler(func(c *websocket.Conn, r *http.Request) { c.CloseNow() }, nil))
	all := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if r.URL.Path != "/favicon.ico" {
			requests[r.RemoteAddr] = append(requests[r.RemoteAddr], r.Method+" "+r.URL.Path+" "+r.Proto)
		}
		mu.Unlock()
		mux.ServeHTTP(w, r)
	})
	s := serve(t, true, all)
	// Not TempDir: a process of Chromium may outlive the first one for a
	// moment, and write there while the folder is removed.
	profile, err := os.MkdirTemp("", "h2peer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(profile) })
	run(t, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--ignore-certificate-errors", "--user-data-dir="+profile, s.URL+"/")
	var got map[string]any
	select {
	case got = <-results:
	case <-time.After(2 * time.Minute):
		t.Fatalf("no result came; the server saw %v", requests)
	}
	want := map[string]any{
		"protocol": "a", "extensions": "permessage-deflate",
		"echoes": []any{"socket 0", "socket 1", "socket 2", "socket 3", "socket 4"},
		"large":  true, "text": true,
		"we":      []any{3001.0, "", true},
		"they":    []any{3002.0, "as it was asked to", true},
		"tooBig":  []any{1009.0, "message exceeds the read limit", true},
		"abrupt":  []any{1006.0, "", false},
		"refused": "cannot open nothing",
		"last":    "still here",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the page has\n%v, want\n%v", got, want)
	}
	mu.Lock()
	defer mu.Unlock()
	for addr, list := range requests {
		t.Logf("%s: %s", addr, strings.Join(list, ", "))
		for _, r := range list {
			if !strings.HasSuffix(r, "HTTP/2.0") {
				t.Errorf("%s is not over HTTP/2", r)
			}
		}
	}
	if len(requests) != 1 {
		t.Errorf("the page and its sockets came in %d connections, want 1", len(requests))
	}
}

// haproxy between an HTTP/2 client, or our own over HTTP/1.1, and our server,
// to which it speaks HTTP/2.
func TestHAProxy(t *testing.T) {
	haproxy := program(t, "HAPROXY", "haproxy")
	var mu sync.Mutex
	protos := map[string]int{}
	h := websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		mu.Lock()
		protos[r.Method+" "+r.Proto]++
		mu.Unlock()
		echo(c, r)
	}, &websocket.AcceptOptions{Subprotocols: []string{"a"}, CompressionMode: websocket.CompressionContextTakeover, ReadLimit: 10 << 20})
	s := serve(t, false, h)
	dir := t.TempDir()
	front := filepath.Join(dir, "front.sock")
	config := fmt.Sprintf(`
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 60s
frontend one
    bind %s
    default_backend ws
frontend two
    bind %s.h2 proto h2
    default_backend ws
backend ws
    server one %s proto h2
`, front, front, s.Listener.Addr())
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, haproxy, "-db", "-f", file)
	dial := func(name string) net.Conn {
		for range 600 {
			if conn, err := net.Dial("unix", name); err == nil {
				return conn
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatal("haproxy does not listen")
		return nil
	}
	dial(front).Close()

	// Our client, over HTTP/1.1 to haproxy.
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return dial(front), nil }}}
	c, resp, err := websocket.Dial(ctx, "ws://example.com/", &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"b", "a"},
		CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		t.Fatal(err, resp)
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	for _, n := range []int{1, 5000, 3_000_000} {
		msg := bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]
		written := make(chan error, 1)
		go func() { written <- c.Write(ctx, websocket.MessageBinary, msg) }()
		if _, got, err := c.Read(ctx); !bytes.Equal(got, msg) || err != nil {
			t.Fatalf("an echo of %d bytes: %d, %v", n, len(got), err)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
	if c.Subprotocol() != "a" {
		t.Errorf("subprotocol %q", c.Subprotocol())
	}
	if err := c.Close(1000, "bye"); err != nil {
		t.Errorf("Close: %v", err)
	}

	// Raw HTTP/2 to haproxy.
	p, err := New(dial(front+".h2"), Window)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if !p.Connect() {
		t.Error("haproxy does not announce extended CONNECT")
	}
	var peers []*wstest.Peer
	for range 5 {
		peers = append(peers, script(t, p.open(t)))
	}
	for i, c := range peers {
		c.WriteFrame(wstest.Text, fmt.Sprint("stream ", i))
		c.WantFrame(wstest.Text, fmt.Sprint("stream ", i))
	}
	for _, c := range peers {
		c.WriteClose(1000, "")
		c.WantClose(1000)
		c.WantEOF()
	}
	mu.Lock()
	defer mu.Unlock()
	if want := map[string]int{"CONNECT HTTP/2.0": 6}; !reflect.DeepEqual(protos, want) {
		t.Errorf("the server saw %v, want %v", protos, want)
	}
}
