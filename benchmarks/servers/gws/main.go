// Command gws serves github.com/lxzan/gws to the benchmarks, with the default
// options. ReadLoop has a goroutine of its own, and OnMessage writes and gives
// the message back, as in that library's README. UTF-8 is checked where the
// scenario asks for it, because the default is not to.
package main

import (
	"net/http"

	"github.com/lxzan/gws"

	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() { kit.Main(kit.Server{Handler: newHandler, Broadcast: broadcast}) }

type conn struct{ c *gws.Conn }

func (c conn) Write(p []byte) error { return c.c.WriteMessage(gws.OpcodeBinary, p) }

type events struct {
	gws.BuiltinEventHandler
	o *kit.Options
}

func (e *events) OnOpen(c *gws.Conn) {
	if !e.o.Echo {
		e.o.Add(conn{c})
	}
}

func (e *events) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if e.o.Echo {
		c.WriteMessage(m.Opcode, m.Bytes())
	} else {
		e.o.Triggered(conn{c})
	}
}

func newHandler(o *kit.Options) http.Handler {
	u := gws.NewUpgrader(&events{o: o}, &gws.ServerOption{CheckUtf8Enabled: o.Validate, PermessageDeflate: gws.PermessageDeflate{
		Enabled:               o.Deflate,
		ServerContextTakeover: o.Takeover,
		ClientContextTakeover: o.Takeover,
		ServerMaxWindowBits:   o.WindowBits,
		ClientMaxWindowBits:   o.WindowBits,
	}})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r)
		if err != nil {
			return
		}
		go c.ReadLoop()
	})
}

func broadcast(conns []kit.Conn, payload []byte, queued int) {
	b := gws.NewBroadcaster(gws.OpcodeBinary, payload)
	defer b.Close()
	for _, c := range conns {
		for range queued {
			b.Broadcast(c.(conn).c)
		}
	}
}
