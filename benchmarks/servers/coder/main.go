// Command coder serves github.com/coder/websocket to the benchmarks. Messages
// are read into pooled buffers instead of with Read, which allocates. The
// context never ends, which costs it least.
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
		c.SetReadLimit(-1)
		if o.Echo {
			go echo(c)
			return
		}
		o.Add(conn{c})
		go func() {
			for {
				if _, _, err := c.Read(context.Background()); err != nil {
					return
				}
				o.Triggered(conn{c})
			}
		}()
	})
}

func echo(c *websocket.Conn) {
	defer c.CloseNow()
	ctx := context.Background()
	for {
		typ, r, err := c.Reader(ctx)
		if err != nil {
			return
		}
		b := kit.GetBuffer()
		if err = b.ReadAll(r); err == nil {
			err = c.Write(ctx, typ, b.B)
		}
		b.Put()
		if err != nil {
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
