// Package native is what the servers of this library have in common, whichever
// way they serve.
package native

import (
	"context"
	"slices"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

// Conn is a connection as the harness sees it.
type Conn struct{ C *websocket.Conn }

// Write implements kit.Conn.
func (c Conn) Write(p []byte) error {
	return c.C.Write(context.Background(), websocket.MessageBinary, p)
}

// Options are the defaults, and what the scenario asks of compression.
func Options(o *kit.Options) websocket.AcceptOptions {
	opts := websocket.AcceptOptions{CompressionSendWindowBits: o.WindowBits, CompressionReceiveWindowBits: o.WindowBits}
	switch {
	case o.Takeover:
		opts.CompressionMode = websocket.CompressionContextTakeover
	case o.Deflate:
		opts.CompressionMode = websocket.CompressionNoContextTakeover
	}
	return opts
}

// Broadcast sends a message that is prepared once to all connections, queued
// times.
func Broadcast(conns []kit.Conn, payload []byte, queued int) {
	ctx := context.Background()
	m, err := websocket.NewPreparedMessage(websocket.MessageBinary, payload)
	if err != nil {
		panic(err)
	}
	all := slices.Repeat([]*websocket.PreparedMessage{m}, queued)
	for _, c := range conns {
		c.(Conn).C.WritePrepared(ctx, all...)
	}
}
