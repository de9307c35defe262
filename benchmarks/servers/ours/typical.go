package main

import (
	"context"
	"log"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
)

// typical has handlers that people write, other than echo. Each sends back what
// comes. They differ in what they keep while they wait.
var typical = map[string]func(c *websocket.Conn, r *http.Request){
	"small":   smallest,
	"read":    read,
	"log":     logging,
	"hub":     subscriber,
	"request": keepsRequest,
}

func smallest(c *websocket.Conn, r *http.Request) {
	for m, err := range c.Messages(context.Background()) {
		if err != nil || c.Write(context.Background(), m.Type, m.Data) != nil {
			return
		}
	}
}

func read(c *websocket.Conn, r *http.Request) {
	defer c.CloseNow()
	ctx := r.Context()
	for {
		typ, data, err := c.Read(ctx)
		if err != nil {
			return
		}
		if err := c.Write(ctx, typ, data); err != nil {
			log.Print(err)
			return
		}
	}
}

func logging(c *websocket.Conn, r *http.Request) {
	defer c.CloseNow()
	ctx, who := r.Context(), r.RemoteAddr
	for m, err := range c.Messages(ctx) {
		if err != nil {
			if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
				log.Printf("%s: %v", who, err)
			}
			return
		}
		if err := c.Write(ctx, m.Type, m.Data); err != nil {
			log.Printf("%s: %v", who, err)
			return
		}
	}
}

func keepsRequest(c *websocket.Conn, r *http.Request) {
	defer c.CloseNow()
	for m, err := range c.Messages(r.Context()) {
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), m.Type, m.Data); err != nil {
			return
		}
	}
}

// Of the hub that subscriber uses. A room has 100 connections, because each
// message goes to the whole room.
var (
	rooms  = hub.New(nil)
	joined atomic.Int64
)

// subscriber is the handler of hub's package page, in rooms.
func subscriber(c *websocket.Conn, r *http.Request) {
	ctx, room := r.Context(), names[joined.Add(1)/100%int64(len(names))]
	s := rooms.Join(c)
	defer s.Leave()
	if err := s.Subscribe(ctx, room); err != nil {
		return
	}
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return
		}
		rooms.Publish(ctx, room, m.Type, m.Data)
	}
}

var names = func() (names [100]string) {
	for i := range names {
		names[i] = "room " + strconv.Itoa(i)
	}
	return names
}()
