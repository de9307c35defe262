package docs_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

// What follows, up to the mark, stands in deployment.md too, letter by letter.

// serveUntil serves until ctx ends, and then lets go of everybody.
func serveUntil(ctx context.Context, l net.Listener, serve func(c *websocket.Conn, r *http.Request)) error {
	ws := websocket.Handler(serve, nil)
	s := &http.Server{Handler: ws, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	bound, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	// The first takes no new connections, and waits for requests in progress; it does not know those that were upgraded.
	// The second closes these, and waits for their clients' answers and for serve.
	return errors.Join(s.Shutdown(bound), ws.Shutdown(bound))
}

// The mark: here ends what stands in deployment.md.

func TestDeploymentHasTheCodeTestedHere(t *testing.T) {
	page, err := os.ReadFile("deployment.md")
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile("deployment_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, ok := strings.Cut(string(src), "letter by letter.\n\n")
	code, _, found := strings.Cut(code, "\n// The mark: ")
	if !ok || !found {
		t.Fatal("the marks are not there")
	}
	if !strings.Contains(string(page), "```go\n"+code+"```\n") {
		t.Error("deployment.md does not have the code as it stands in this file")
	}
}

func TestDeploymentServeUntil(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var served atomic.Int32
	done := make(chan error, 1)
	go func() {
		done <- serveUntil(ctx, l, func(c *websocket.Conn, r *http.Request) {
			echo(c, r)
			served.Add(1)
		})
	}()
	var conns []*websocket.Conn
	for range 3 {
		c, _, err := websocket.Dial(t.Context(), "ws://"+l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if err := c.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	stop()
	var readers sync.WaitGroup
	for _, c := range conns {
		readers.Go(func() {
			if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("Read when the server stops: %v", err)
			}
		})
	}
	readers.Wait()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := served.Load(); n != 3 {
		t.Errorf("serve has returned %d times before serveUntil did", n)
	}
}
