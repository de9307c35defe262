// Command ours serves this library to the benchmarks.
package main

import (
	"context"
	"net/http"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/benchmarks/servers/internal/native"
	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() { kit.Main(kit.Server{Handler: handler, Broadcast: native.Broadcast}) }

func handler(o *kit.Options) http.Handler {
	ctx := context.Background()
	opts := native.Options(o)
	return websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		if o.Echo {
			for m, err := range c.Messages(ctx) {
				if err != nil || c.Write(ctx, m.Type, m.Data) != nil {
					return
				}
			}
			return
		}
		o.Add(native.Conn{C: c})
		for _, err := range c.Messages(ctx) {
			if err != nil {
				return
			}
			o.Triggered(native.Conn{C: c})
		}
	}, &opts)
}
