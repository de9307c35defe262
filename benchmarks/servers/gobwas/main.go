// Command gobwas serves github.com/gobwas/ws to the benchmarks. It is the first
// example of that library's README: UpgradeHTTP, then ReadClientData and
// WriteServerMessage on a goroutine of its own. With -bare it is the second
// one: Upgrade on a bare listener.
package main

import (
	"net"
	"net/http"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() {
	wsutil.SetMaxMessageSize(1 << 20)
	kit.Main(kit.Server{Handler: handler, Serve: serve, Broadcast: broadcast})
}

type conn struct {
	c  net.Conn
	mu *sync.Mutex // the library leaves it to the caller that frames do not mix
}

func (c conn) Write(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return wsutil.WriteServerBinary(c.c, p)
}

func handler(o *kit.Options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		go run(o, c)
	})
}

func serve(o *kit.Options, c net.Conn) {
	if _, err := ws.Upgrade(c); err != nil {
		c.Close()
		return
	}
	run(o, c)
}

func run(o *kit.Options, c net.Conn) {
	defer c.Close()
	if o.Echo {
		echo(c)
		return
	}
	cn := conn{c, new(sync.Mutex)}
	o.Add(cn)
	for {
		if _, _, err := wsutil.ReadClientData(c); err != nil {
			return
		}
		o.Triggered(cn)
	}
}

func echo(c net.Conn) {
	for {
		message, op, err := wsutil.ReadClientData(c)
		if err != nil {
			return
		}
		if err := wsutil.WriteServerMessage(c, op, message); err != nil {
			return
		}
	}
}

func broadcast(conns []kit.Conn, payload []byte, queued int) {
	frame := ws.MustCompileFrame(ws.NewBinaryFrame(payload))
	for _, c := range conns {
		c := c.(conn)
		for range queued {
			c.mu.Lock()
			c.c.Write(frame)
			c.mu.Unlock()
		}
	}
}
