// Command ours serves this library to the benchmarks.
package main

import (
	"context"
	"net/http"
	"slices"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() { kit.Main(kit.Server{Handler: handler, Broadcast: broadcast}) }

type conn struct{ c *websocket.Conn }

func (c conn) Write(p []byte) error {
	return c.c.Write(context.Background(), websocket.MessageBinary, p)
}

func handler(o *kit.Options) http.Handler {
	ctx := context.Background()
	opts := &websocket.AcceptOptions{ReadLimit: 16 << 20, SkipUTF8Validation: !o.Validate,
		CompressionSendWindowBits: o.WindowBits, CompressionReceiveWindowBits: o.WindowBits}
	if !o.Echo {
		opts.PingInterval = -1 // the load generator counts what is broadcast: a ping of a slow run is none of it
	}
	switch {
	case o.Takeover:
		opts.CompressionMode = websocket.CompressionContextTakeover
	case o.Deflate:
		opts.CompressionMode = websocket.CompressionNoContextTakeover
	}
	return websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		if o.Echo {
			for m, err := range c.Messages(ctx) {
				if err != nil || c.Write(ctx, m.Type, m.Data) != nil {
					return
				}
			}
			return
		}
		o.Add(conn{c})
		for _, err := range c.Messages(ctx) {
			if err != nil {
				return
			}
			o.Triggered(conn{c})
		}
	}, opts)
}

func broadcast(conns []kit.Conn, payload []byte, queued int) {
	ctx := context.Background()
	m, err := websocket.NewPreparedMessage(websocket.MessageBinary, payload)
	if err != nil {
		panic(err)
	}
	all := slices.Repeat([]*websocket.PreparedMessage{m}, queued)
	for _, c := range conns {
		c.(conn).c.WritePrepared(ctx, all...)
	}
}
