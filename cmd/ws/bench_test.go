package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
)

// bench runs "ws bench --json".
func benchRun(t *testing.T, code int, args ...string) benchResult {
	t.Helper()
	r := ws(t, "", append([]string{"bench", "--json", "-d", "200ms"}, args...)...)
	var result benchResult
	if err := json.Unmarshal([]byte(r.out), &result); err != nil || r.code != code {
		t.Fatalf("exit code %d, want %d; %v; stdout %q, stderr:\n%s", r.code, code, err, r.out, r.err)
	}
	return result
}

func TestBenchEcho(t *testing.T) {
	url := serve(t, echo, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
	for name, args := range map[string]string{
		"plain":    "-c 3 --size 1000",
		"binary":   "-c 1 --size 1000 -b",
		"inflight": "-c 2 --size 1000 --in-flight 16",
	} {
		r := benchRun(t, exitOK, append(strings.Fields(args), url)...)
		if r.Sent == 0 || r.Received != r.Sent || r.Missing != 0 || r.SentBytes != r.Sent*1000 || r.RecvBytes != r.SentBytes || r.PerSecond <= 0 ||
			r.Latency == nil || r.Latency.P50 <= 0 || r.Broken != 0 || r.WireSent != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	r := benchRun(t, exitOK, "-z", "-c", "2", "--size", "4000", url)
	if r.WireSent == 0 || r.WireSent > r.SentBytes/4 {
		t.Errorf("compressed: %+v", r)
	}
	// Not more than was asked for. A slow machine sends less.
	if r = benchRun(t, exitOK, "-c", "4", "--rate", "500", url); r.Sent == 0 || float64(r.Sent) > 500*r.Seconds+2*4 {
		t.Errorf("with a rate: %+v", r)
	}
	file := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(file, []byte("héllo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r = benchRun(t, exitOK, "--payload", file, url); r.Size != 6 {
		t.Errorf("with a payload: %+v", r)
	}
	text := ws(t, "", "bench", "-d", "50ms", "-c", "2", url)
	if text.code != exitOK || !matches(`(?s)^[\d,]+ messages in 0\.\d s: [\d,]+/s\npayload: .* sent, .* received\nround trip: min .*#`, text.out) ||
		!matches(`2 connections, handshakes: min`, text.err) {
		t.Errorf("%+v", text)
	}
}

func TestBenchOtherModes(t *testing.T) {
	url := serve(t, func(c *websocket.Conn, r *http.Request) {
		for range c.Messages(r.Context()) {
		}
	}, nil)
	if r := benchRun(t, exitOK, "--mode", "send", url); r.Sent == 0 || r.Received != 0 || r.Missing != 0 || r.Latency != nil {
		t.Errorf("send: %+v", r)
	}
	if r := benchRun(t, exitMissing, "-c", "1", "-w", "10ms", url); r.Missing != 1 {
		t.Errorf("echo, and there is none: %+v", r)
	}
	feed := serve(t, func(c *websocket.Conn, r *http.Request) {
		go func() {
			for range c.Messages(r.Context()) {
			}
		}()
		for c.Write(r.Context(), websocket.MessageText, []byte(`{"price":1}`)) == nil {
		}
	}, nil)
	if r := benchRun(t, exitOK, "--mode", "receive", feed); r.Received == 0 || r.RecvBytes != 11*r.Received || r.Sent != 0 {
		t.Errorf("receive: %+v", r)
	}
	// The bench notices an answer that is no echo.
	if r := ws(t, "", "bench", "-d", "10s", "-c", "1", feed); r.code != exitBroken || !strings.Contains(r.err, "no echo") {
		t.Errorf("%+v", r)
	}
}

func TestBenchFailures(t *testing.T) {
	ws(t, "", "bench", "ws://"+closedPort(t)).want(t, exitUnreachable, "", "No program listens")
	url := serve(t, func(c *websocket.Conn, r *http.Request) { c.Close(1013, "too many") }, nil)
	r := ws(t, "", "bench", "-d", "10s", "-c", "2", "-q", url)
	if r.code != exitBroken || !matches(`2 connections ended before the time: .*too many`, r.err) {
		t.Errorf("%+v", r)
	}
	ws(t, "", "bench", "--payload", "/none/of/it", url).want(t, exitFailed, "", "no such file")
}
