// Command chat serves one web page with chat rooms for all who open it.
//
//	go run ./examples/chat
//
// Open the printed URL in two windows.
package main

import (
	"embed"
	"net/http"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/examples/internal/site"
)

//go:embed page
var page embed.FS

func main() {
	site.Main("chat", "localhost:8080", func() (*site.Program, error) { return program(newChat()), nil })
}

// program serves the page at / and the rooms at /ws.
func program(c *chat) *site.Program {
	opts := &websocket.AcceptOptions{ReadLimit: maxMessage}
	return &site.Program{
		Page:   page,
		Routes: map[string]http.Handler{"/ws": websocket.Handler(c.serve, opts)},
	}
}
