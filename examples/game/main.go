// Command game is a small game in the browser: all who open its page steer a
// ball and collect coins.
//
//	go run ./examples/game
//
// Open the printed URL in two windows. The server moves all players 30 times a
// second and sends the positions to all, in binary messages. A client that
// cannot keep up gets the newest ones only.
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
	site.Main("game", "localhost:8082", func() (*site.Program, error) { return program(newGame()), nil })
}

func program(g *game) *site.Program {
	return &site.Program{
		Page:   page,
		Routes: map[string]http.Handler{"/ws": websocket.Handler(g.serve, &websocket.AcceptOptions{ReadLimit: maxInput})},
		Work:   g.run,
	}
}
