// Command xnet serves golang.org/x/net/websocket to the benchmarks. It
// is a Handler with the default options. A Codec keeps messages whole and their
// types, which io.Copy of that package's example would not.
package main

import (
	"net/http"

	"golang.org/x/net/websocket"

	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() { kit.Main(kit.Server{Handler: handler, Broadcast: broadcast}) }

type conn struct{ c *websocket.Conn }

func (c conn) Write(p []byte) error { return websocket.Message.Send(c.c, p) }

type message struct {
	typ  byte
	data []byte
}

// codec echoes a message with its type, which websocket.Message would lose.
var codec = websocket.Codec{
	Marshal: func(v any) ([]byte, byte, error) {
		m := v.(*message)
		return m.data, m.typ, nil
	},
	Unmarshal: func(data []byte, typ byte, v any) error {
		*v.(*message) = message{typ, data}
		return nil
	},
}

func handler(o *kit.Options) http.Handler {
	return websocket.Handler(func(c *websocket.Conn) {
		if !o.Echo {
			o.Add(conn{c})
		}
		var m message
		for {
			if err := codec.Receive(c, &m); err != nil {
				return
			}
			if !o.Echo {
				o.Triggered(conn{c})
			} else if err := codec.Send(c, &m); err != nil {
				return
			}
		}
	})
}

func broadcast(conns []kit.Conn, payload []byte, queued int) {
	for _, c := range conns {
		for range queued {
			c.Write(payload)
		}
	}
}
