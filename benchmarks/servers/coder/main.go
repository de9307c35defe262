// Command coder serves github.com/coder/websocket to the benchmarks. It
// accepts, reads and writes in the handler, as that library's README does, with
// Read and Write in place of wsjson. The context is not that of the request,
// which that README advises against. It has no timeout, because a connection
// that is idle must not end.
package main

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() { kit.Main(kit.Server{Handler: handler, Broadcast: broadcast}) }

type conn struct{ c *websocket.Conn }

func (c conn) Write(p []byte) error {
	return c.c.Write(context.Background(), websocket.MessageBinary, p)
}

// longest is the longest message of a scenario. The default limit, 32 KiB, is
// less.
const longest = 1 << 20

func handler(o *kit.Options) http.Handler {
	var opts websocket.AcceptOptions
	switch {
	case o.Takeover:
		opts.CompressionMode = websocket.CompressionContextTakeover
	case o.Deflate:
		opts.CompressionMode = websocket.CompressionNoContextTakeover
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &opts)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(longest)
		if o.Echo {
			echo(c)
			return
		}
		o.Add(conn{c})
		for {
			if _, _, err := c.Read(context.Background()); err != nil {
				return
			}
			o.Triggered(conn{c})
		}
	})
}

func echo(c *websocket.Conn) {
	ctx := context.Background()
	for {
		typ, message, err := c.Read(ctx)
		if err != nil {
			return
		}
		if err := c.Write(ctx, typ, message); err != nil {
			return
		}
	}
}

func broadcast(conns []kit.Conn, payload []byte, queued int) {
	for _, c := range conns {
		for range queued {
			c.Write(payload)
		}
	}
}
