package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
)

// serve is an echo server on l. When stop ends it closes every connection with
// StatusGoingAway, and returns.
func serve(stop context.Context, l net.Listener) error {
	var open sync.WaitGroup
	echo := func(w http.ResponseWriter, r *http.Request) {
		// net/http no longer counts a connection that was upgraded. Until then
		// it does, so Shutdown waits for this line.
		open.Add(1)
		defer open.Done()
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // the client has been told
		}
		defer c.Close(websocket.StatusNormalClosure, "")
		goAway := context.AfterFunc(stop, func() { c.Close(websocket.StatusGoingAway, "the server is stopping") })
		defer goAway()
		for m, err := range c.Messages(context.Background()) {
			if err != nil {
				return
			}
			if err := c.Write(context.Background(), m.Type, m.Data); err != nil {
				return
			}
		}
	}
	s := &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	// Shutdown waits up to 7 s for a connection that has sent nothing yet.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := s.Shutdown(ctx) // no new connections from here on
	open.Wait()
	return err
}
