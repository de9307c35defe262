// Command ours-bare serves this library to the benchmarks without net/http: it
// calls AcceptConn for the connections of a bare listener, with the default
// options.
package main

import (
	"context"
	"net"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() { kit.Main(kit.Server{Serve: serve}) }

func serve(_ *kit.Options, conn net.Conn) {
	ctx := context.Background()
	c, _, err := websocket.AcceptConn(ctx, conn, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return
		}
		if err := c.Write(ctx, m.Type, m.Data); err != nil {
			return
		}
	}
}
