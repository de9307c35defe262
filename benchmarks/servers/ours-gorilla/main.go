// Command ours-gorilla is the command gorilla with another import: it serves
// the package gorilla of this library. Below the import it must be the same to
// the letter, which a test of wsbench checks.
package main

import (
	"net/http"
	"sync"

	"github.com/seed70bc5565/websocket/gorilla"

	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() { kit.Main(kit.Server{Handler: handler, Broadcast: broadcast}) }

type conn struct {
	c  *websocket.Conn
	mu *sync.Mutex // gorilla wants one writer at a time
}

func (c conn) Write(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.c.WriteMessage(websocket.BinaryMessage, p)
}

func handler(o *kit.Options) http.Handler {
	u := websocket.Upgrader{EnableCompression: o.Deflate}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		if o.Echo {
			echo(c)
			return
		}
		cn := conn{c, new(sync.Mutex)}
		o.Add(cn)
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				return
			}
			o.Triggered(cn)
		}
	})
}

func echo(c *websocket.Conn) {
	for {
		typ, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		if err := c.WriteMessage(typ, message); err != nil {
			return
		}
	}
}

func broadcast(conns []kit.Conn, payload []byte, queued int) {
	m, err := websocket.NewPreparedMessage(websocket.BinaryMessage, payload)
	if err != nil {
		panic(err)
	}
	for _, c := range conns {
		c := c.(conn)
		for range queued {
			c.mu.Lock()
			c.c.WritePreparedMessage(m)
			c.mu.Unlock()
		}
	}
}
