// Command ours-events serves this library to the benchmarks by Events, with an
// object for each connection as the documentation has it, and the default
// options.
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
	return websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
		if o.Echo {
			return &echo{c: c}
		}
		o.Add(native.Conn{C: c})
		return &trigger{c: c, o: o}
	}, &websocket.ServerOptions{AcceptOptions: native.Options(o)})
}

type echo struct{ c *websocket.Conn }

func (e *echo) Message(m websocket.Message) {
	_ = e.c.Write(context.Background(), m.Type, m.Data) // Close tells of an error
}

func (e *echo) Close(err error) {}

type trigger struct {
	c *websocket.Conn
	o *kit.Options
}

func (e *trigger) Message(websocket.Message) { e.o.Triggered(native.Conn{C: e.c}) }
func (e *trigger) Close(error)               {}
