// Command ours serves this library to the benchmarks, with a handler as people
// write it and the default options. It keeps the context of the request, not
// the request. With -stay it accepts in the handler of net/http, and stays
// there. With -typical it has another handler that people write.
package main

import (
	"errors"
	"log"
	"net/http"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/benchmarks/servers/internal/native"
	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() { kit.Main(kit.Server{Handler: handler, Broadcast: native.Broadcast}) }

func handler(o *kit.Options) http.Handler {
	opts := native.Options(o)
	switch {
	case !o.Echo:
		return websocket.Handler(func(c *websocket.Conn, r *http.Request) { triggered(o, c, r) }, &opts)
	case o.Stay:
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, &opts)
			if err != nil {
				return
			}
			echo(c, r)
		})
	}
	if o.Typical == "" {
		return websocket.Handler(echo, &opts)
	}
	serve := typical[o.Typical]
	if serve == nil {
		log.Fatalf("there is no handler %q", o.Typical)
	}
	return websocket.Handler(serve, &opts)
}

func echo(c *websocket.Conn, r *http.Request) {
	defer c.CloseNow()
	ctx := r.Context()
	for m, err := range c.Messages(ctx) {
		switch {
		case errors.Is(err, websocket.ErrMessageTooBig):
			c.Close(websocket.StatusMessageTooBig, "at most 1 MiB")
			return
		case err != nil:
			return
		}
		switch m.Type {
		case websocket.MessageText, websocket.MessageBinary:
			if err := c.Write(ctx, m.Type, m.Data); err != nil {
				return
			}
		}
	}
}

func triggered(o *kit.Options, c *websocket.Conn, r *http.Request) {
	defer c.CloseNow()
	o.Add(native.Conn{C: c})
	for _, err := range c.Messages(r.Context()) {
		if err != nil {
			return
		}
		o.Triggered(native.Conn{C: c})
	}
}
