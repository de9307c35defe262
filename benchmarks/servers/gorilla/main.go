// Command gorilla serves github.com/gorilla/websocket to the benchmarks. The
// read buffer of net/http is kept, and write buffers are pooled. Messages are
// read into pooled buffers instead of with ReadMessage, which allocates.
package main

import (
	"net/http"
	"sync"

	"github.com/gorilla/websocket"

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
	u := websocket.Upgrader{WriteBufferPool: &sync.Pool{}, WriteBufferSize: 4096, EnableCompression: o.Deflate}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		switch {
		case o.Echo && o.Stay:
			echo(c)
			return
		case o.Echo:
			go echo(c)
			return
		}
		cn := conn{c, new(sync.Mutex)}
		o.Add(cn)
		go func() {
			for {
				if _, _, err := c.ReadMessage(); err != nil {
					return
				}
				o.Triggered(cn)
			}
		}()
	})
}

func echo(c *websocket.Conn) {
	defer c.Close()
	for {
		typ, r, err := c.NextReader()
		if err != nil {
			return
		}
		b := kit.GetBuffer()
		if err = b.ReadAll(r); err == nil {
			err = c.WriteMessage(typ, b.B)
		}
		b.Put()
		if err != nil {
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
