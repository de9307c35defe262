// Command ours-bare serves this library to the benchmarks without net/http:
// AcceptConn on the connections of a bare listener.
package main

import (
	"context"
	"net"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() { kit.Main(kit.Server{Serve: serve}) }

// opts are made once, because they are only read. No scenario asks this server
// to check text.
var opts = &websocket.AcceptOptions{ReadLimit: 16 << 20, SkipUTF8Validation: true}

func serve(_ *kit.Options, conn net.Conn) {
	ctx := context.Background()
	c, _, err := websocket.AcceptConn(ctx, conn, opts)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for m, err := range c.Messages(ctx) {
		if err != nil || c.Write(ctx, m.Type, m.Data) != nil {
			return
		}
	}
}
