package websocket

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

func TestShutdown(t *testing.T) {
	s := Handler(serveEcho, nil)
	p := wstest.NewPeer(t, rawServer(t, s.ServeHTTP), wstest.Client)
	p.ClientHandshake("/", "example.com")
	if n := s.Connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := start(func() error { return s.Shutdown(ctx) })
	p.WantClose(int(StatusGoingAway))
	p.WriteClose(int(StatusGoingAway), "")
	p.WantEOF()
	if err := <-done; err != nil || s.Connections() != 0 {
		t.Errorf("Shutdown = %v with %d connections left", err, s.Connections())
	}
	_, resp, err := Dial(ctx, newServer(t, s, false).URL, nil)
	if resp == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "5" {
		t.Errorf("after Shutdown: got %v, %v", resp, err)
	}
}
