// Command wasm serves a chat whose page is written in Go. The page is a program
// of js/wasm with the Redialer, Conn and wsjson of any other client.
//
//	go run ./examples/wasm
//
// It compiles the page when it starts, with the go command. Open the printed
// URL in two windows.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/examples/internal/site"
	"github.com/seed70bc5565/websocket/examples/wasm/internal/message"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/wsjson"
)

//go:embed page
var page embed.FS

func main() {
	site.Main("wasm", "localhost:8090", func() (*site.Program, error) {
		files, err := compile(context.Background())
		if err != nil {
			return nil, err
		}
		return program(files), nil
	})
}

// The page's program, and what Go's own distribution has to start it.
type compiled struct{ client, starter []byte }

// compile compiles the page for the browser.
func compile(ctx context.Context) (compiled, error) {
	dir, err := os.MkdirTemp("", "wasm-")
	if err != nil {
		return compiled{}, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "client.wasm")
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", binary,
		"github.com/seed70bc5565/websocket/examples/wasm/client")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return compiled{}, fmt.Errorf("compiling the page: %w\n%s", err, out)
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return compiled{}, err
	}
	starter, err1 := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js"))
	client, err2 := os.ReadFile(binary)
	return compiled{client, starter}, errors.Join(err1, err2)
}

// program serves the page and its program, and the conversation at /ws.
func program(files compiled) *site.Program {
	file := func(contentType string, data []byte) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Cache-Control", "no-cache")
			w.Write(data)
		})
	}
	talk := &talk{hub.New(&hub.Options{History: hub.History{Messages: 50}})}
	return &site.Program{
		Page: page,
		Wasm: true,
		Routes: map[string]http.Handler{
			"GET /client.wasm":  file("application/wasm", files.client),
			"GET /wasm_exec.js": file("text/javascript", files.starter),
			"/ws":               websocket.Handler(talk.serve, &websocket.AcceptOptions{ReadLimit: 8 << 10}),
		},
	}
}

// A talk passes each message on to all, and the last ones to those who come.
type talk struct{ hub *hub.Hub }

const topic = "talk"

func (t *talk) serve(c *websocket.Conn, r *http.Request) {
	s := t.hub.Join(c)
	defer s.Leave()
	if _, err := s.SubscribeFrom(r.Context(), topic, hub.SubscribeOptions{Recent: 50}); err != nil {
		return
	}
	for m, err := range wsjson.Messages[message.Message](r.Context(), c) {
		if err != nil {
			return
		}
		m, ok := m.Clean()
		if !ok {
			c.Close(websocket.StatusPolicyViolation, "a message needs a name and a text, and both have bounds")
			return
		}
		data, _ := json.Marshal(m) // two strings
		if err := t.hub.Publish(r.Context(), topic, websocket.MessageText, data); err != nil {
			return
		}
	}
}
