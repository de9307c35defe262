// Command ours-events serves this library by Events to the benchmarks.
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
	return websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
		if o.Echo {
			return echo{c}
		}
		o.Add(conn{c})
		return trigger{c, o}
	}, &websocket.ServerOptions{AcceptOptions: *opts})
}

type echo struct{ c *websocket.Conn }

func (e echo) Message(m websocket.Message) { e.c.Write(context.Background(), m.Type, m.Data) }
func (e echo) Close(error)                 {}

type trigger struct {
	c *websocket.Conn
	o *kit.Options
}

func (e trigger) Message(websocket.Message) { e.o.Triggered(conn{e.c}) }
func (e trigger) Close(error)               {}

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
