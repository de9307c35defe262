// Command dashboard shows a live chart of this machine's CPU and memory to all
// who open its page.
//
//	go run ./examples/dashboard
//
// Open the printed URL in two windows. Where there is no /proc (Linux has it)
// it shows the CPU and memory of its own process, and says so.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"net/http"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/examples/internal/site"
)

//go:embed page
var page embed.FS

func main() {
	every := flag.Duration("every", time.Second, "time between two samples")
	site.Main("dashboard", "localhost:8087", func() (*site.Program, error) {
		if *every < 10*time.Millisecond {
			return nil, errors.New("-every must be 10ms or longer")
		}
		return program(newDashboard(newMeter(), *every)), nil
	})
}

func program(d *dashboard) *site.Program {
	opts := &websocket.AcceptOptions{ReadLimit: maxInput}
	return &site.Program{
		Page:   page,
		Routes: map[string]http.Handler{"/ws": websocket.Handler(d.serve, opts)},
		Work:   func(ctx context.Context) { d.run(ctx) },
	}
}
