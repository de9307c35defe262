// Command polling shows the same events by short polling, long polling,
// server-sent events and WebSocket, side by side on one page. It shows what
// each costs: requests, bytes, and time.
//
//	go run ./examples/polling
//
// Open the printed URL in two windows.
package main

import (
	"context"
	"embed"
	"flag"
	"net"
	"net/http"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/examples/internal/site"
)

//go:embed page
var page embed.FS

func main() {
	every := flag.Duration("every", time.Second, "time between two events; 0: none but those that the page sends")
	site.Main("polling", "localhost:8085", func() (*site.Program, error) { return program(newFeed(*every)), nil })
}

func program(f *feed) *site.Program {
	var m meter
	sameOrigin := http.NewCrossOriginProtection() // no other site's page may change anything here
	return &site.Program{
		Page: page,
		Routes: map[string]http.Handler{
			"GET /short":    http.HandlerFunc(f.short),
			"GET /long":     http.HandlerFunc(f.long),
			"GET /sse":      http.HandlerFunc(f.sse),
			"GET /ws":       websocket.Handler(f.ws, nil),
			"POST /publish": sameOrigin.Handler(http.HandlerFunc(f.postPublish)),
			"POST /rate":    sameOrigin.Handler(http.HandlerFunc(f.postRate)),
			"GET /stats": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				f.stats(w, m.of(r.URL.Query().Get("client")))
			}),
		},
		Work: func(ctx context.Context) { f.play(ctx) },
		Prepare: func(s *http.Server, l net.Listener) net.Listener {
			return m.install(s, l)
		},
	}
}
