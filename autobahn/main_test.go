package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
)

// Each mistake of a user ends with 2, and with a line that names it.
func TestMistakes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	nowhere := "ws://" + ln.Addr().String()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args, want string
	}{
		{"", "-server or -listen"},
		{"-bogus", "-bogus"},
		{"-server ws://a -listen :0", "-server or -listen"},
		{"-server http://a", "ws://"},
		{"-server 127.0.0.1:80", "ws://"},
		{"-server " + nowhere, "refused"},
		{"-server " + nowhere + " extra", `"extra"`},
		{"-server " + nowhere + " -cases 8.*", `"8.*"`},
		{"-server " + nowhere + " -cases b.1", "-beyond"},
		{"-server " + nowhere + " -cases ,", "no pattern"},
		{"-server " + nowhere + " -beyond -cases b-3", `"b-3"`},
		{"-server " + nowhere + " -beyond -cases 0-0", `"0-0"`},
		{"-server " + nowhere + "/#part", "fragment"},
		{"-server ws://me:secret@" + ln.Addr().String(), "ws://me:xxxxx@"},
		{"-server " + nowhere + " -cases 1.1.1 -exclude 1", "-exclude"},
		{"-server " + nowhere + " -jobs -1", "-jobs"},
		{"-server " + nowhere + " -allow NONE", `"NONE"`},
		{"-server " + nowhere + " -json " + file + "/x", file},
		{"-server " + nowhere + " -outdir " + file, file},
		{"-server " + nowhere + " -cert x -key y", "-listen"},
		{"-server wss://a -ca " + file, "no certificate"},
		{"-listen 127.0.0.1:0 -insecure", "-server"},
		{"-listen 127.0.0.1:0 -jobs 3", "-server"},
		{"-listen 127.0.0.1:0 -agent me", "-server"},
		{"-listen 127.0.0.1:0 -cert x", "-key"},
		{"-listen 127.0.0.1:99999", "99999"},
		{"-listen 127.0.0.1:0 -- " + file, "the client"},
		{"-listen 127.0.0.1:0 -json " + file + "/x", file},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(tt.args), &stdout, &stderr)
		if code != 2 || !strings.Contains(stderr.String(), tt.want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("autobahn %s ends with %d and says %q, want 2 and a line about %s", tt.args, code, stderr.String(), tt.want)
		}
	}
}

// A run that is interrupted reports what it has.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// One case at a time: when the last one's message comes, the others are
	// over.
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		defer c.CloseNow()
		for m, err := range c.Messages(r.Context()) {
			if err != nil {
				return
			}
			if len(m.Data) > 1<<20 {
				cancel()
				return
			}
			c.Write(r.Context(), m.Type, m.Data)
		}
	}, acceptOptions(everyEcho)))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "index.json")
	var stdout, stderr bytes.Buffer
	args := []string{"-server", "ws" + strings.TrimPrefix(server.URL, "http"), "-cases", "1.1.1-3,9.1.4", "-jobs", "1", "-json", file}
	if code := run(ctx, args, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), "interrupted: 3 of 4 cases") {
		t.Errorf("the run ends with %d and %q", code, stderr.String())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var index map[string]map[string]any
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	for _, cases := range index {
		if len(cases) != 3 {
			t.Errorf("the report has %d cases", len(cases))
		}
	}
	if len(index) != 1 {
		t.Errorf("the report has %d agents", len(index))
	}
}

// The table of a run is not lost if its reports cannot be written.
func TestReportUnwritable(t *testing.T) {
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		for m, err := range c.Messages(r.Context()) {
			if err != nil {
				return
			}
			c.Write(r.Context(), m.Type, m.Data)
		}
	}, acceptOptions(everyEcho)))
	defer server.Close()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "index.json"), 0o777); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"-server", "ws" + strings.TrimPrefix(server.URL, "http"), "-cases", "1.1.1", "-outdir", dir}, &stdout, &stderr)
	if code != 2 || !strings.Contains(stderr.String(), "index.json") || !strings.Contains(stdout.String(), "Framing") {
		t.Errorf("the run ends with %d, prints %q and says %q", code, stdout.String(), stderr.String())
	}
}
