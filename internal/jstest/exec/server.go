//go:build !js

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/seed70bc5565/websocket"
)

// behaviours adds what the tests connect to. Tests ask by connections only,
// because Go's net/http has no network in Node.
func behaviours(mux *http.ServeMux) {
	opts := &websocket.AcceptOptions{ReadLimit: -1, CompressionMode: websocket.CompressionContextTakeover}
	handle := func(path string, opts *websocket.AcceptOptions, serve func(c *websocket.Conn, r *http.Request)) {
		mux.Handle(path, websocket.Handler(serve, opts))
	}
	handle("/echo", opts, func(c *websocket.Conn, r *http.Request) {
		for m, err := range c.Messages(r.Context()) {
			if err != nil || c.Write(r.Context(), m.Type, m.Data) != nil {
				return
			}
		}
	})
	handle("/chat", &websocket.AcceptOptions{Subprotocols: []string{"chat"}}, func(c *websocket.Conn, r *http.Request) {
		c.Write(r.Context(), websocket.MessageText, []byte(c.Subprotocol()))
		c.CloseRead(r.Context())
		<-c.CloseRead(r.Context()).Done()
	})
	// Closes at once, with the code and the reason of the query.
	handle("/close", opts, func(c *websocket.Conn, r *http.Request) {
		code, _ := strconv.Atoi(r.FormValue("code"))
		if code == 0 {
			c.CloseNow()
			return
		}
		c.Close(websocket.StatusCode(code), r.FormValue("reason"))
	})
	// Pings, and tells that the pong has come.
	handle("/ping", opts, func(c *websocket.Conn, r *http.Request) {
		ctx := c.CloseRead(r.Context())
		if c.Ping(ctx) == nil {
			c.Write(ctx, websocket.MessageText, []byte("pong"))
		}
		<-ctx.Done()
	})
	// Sends as many messages as the query says, of a KiB.
	handle("/burst", opts, func(c *websocket.Conn, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		data := make([]byte, 1024)
		for range n {
			if c.Write(r.Context(), websocket.MessageBinary, data) != nil {
				return
			}
		}
		c.Close(websocket.StatusNormalClosure, "")
	})
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	mux.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })

	var seen signals
	// Reads until the connection ends, and notes how.
	handle("/watch", opts, func(c *websocket.Conn, r *http.Request) {
		for {
			_, _, err := c.Read(r.Context())
			if err == nil {
				continue
			}
			var ce websocket.CloseError
			text := "no close frame"
			if errors.As(err, &ce) {
				text = fmt.Sprintf("%d %s", int(ce.Code), ce.Reason)
			}
			seen.get(r.FormValue("id")) <- strings.TrimSpace(text)
			return
		}
	})
	// Tells how the connection of /watch with the same id ended.
	handle("/seen", opts, func(c *websocket.Conn, r *http.Request) {
		ctx := c.CloseRead(r.Context())
		select {
		case text := <-seen.get(r.FormValue("id")):
			c.Write(ctx, websocket.MessageText, []byte(text))
			<-ctx.Done()
		case <-ctx.Done():
		}
	})
	// Reads nothing before a connection of /go with the same id comes. Then it
	// counts the bytes until the message "end".
	handle("/stall", opts, func(c *websocket.Conn, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		<-seen.get(r.FormValue("id"))
		total := 0
		for {
			_, data, err := c.Read(ctx)
			if err != nil {
				return
			}
			if string(data) == "end" {
				c.Write(ctx, websocket.MessageText, []byte(strconv.Itoa(total)))
				continue
			}
			total += len(data)
		}
	})
	handle("/go", opts, func(c *websocket.Conn, r *http.Request) { seen.get(r.FormValue("id")) <- "" })
}

// signals are channels with room for one text, by name.
type signals struct {
	mu sync.Mutex
	m  map[string]chan string
}

func (s *signals) get(id string) chan string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]chan string{}
	}
	if s.m[id] == nil {
		s.m[id] = make(chan string, 1)
	}
	return s.m[id]
}
