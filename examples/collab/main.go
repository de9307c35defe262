// Command collab serves one page on which all who open it edit the same text,
// at the same time.
//
//	go run ./examples/collab
//
// Open the printed URL in two windows. The algorithm is operational
// transformation with a central server: see document.
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
	site.Main("collab", "localhost:8083", func() (*site.Program, error) { return program(newRoom()), nil })
}

func program(rm *room) *site.Program {
	opts := &websocket.AcceptOptions{ReadLimit: maxInput}
	return &site.Program{
		Page:   page,
		Routes: map[string]http.Handler{"/ws": websocket.Handler(rm.serve, opts)},
	}
}
