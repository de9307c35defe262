// Command feed is a ticker of football scores that resumes. A page whose
// connection was lost gets what it missed when it comes back, each update once.
// If it missed too much, it is told so, and gets the current state.
//
//	go run ./examples/feed
//
// Open the printed URL in two windows, and lose the connection of one for a
// while.
package main

import (
	"context"
	"embed"
	"flag"
	"net/http"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/examples/internal/site"
)

//go:embed page
var page embed.FS

func main() {
	every := flag.Duration("every", 2*time.Second, "how long until something happens in a match, on the average; 0: never by itself")
	site.Main("feed", "localhost:8084", func() (*site.Program, error) { return program(newFeed(), *every), nil })
}

func program(f *feed, every time.Duration) *site.Program {
	p := &site.Program{
		Page:   page,
		Routes: map[string]http.Handler{"/ws": websocket.Handler(f.serve, &websocket.AcceptOptions{ReadLimit: maxInput})},
	}
	if every > 0 {
		p.Work = func(ctx context.Context) { f.play(ctx, every) }
	}
	return p
}
