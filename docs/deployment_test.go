package docs_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

// What follows, up to the mark, stands in deployment.md too, letter by letter.

// A hub knows the open connections, and takes leave of them.
type hub struct {
	mu      sync.Mutex
	conns   map[*websocket.Conn]bool
	closing bool
}

// add reports whether c may stay.
func (h *hub) add(c *websocket.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closing {
		h.conns[c] = true
	}
	return !h.closing
}

func (h *hub) remove(c *websocket.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
}

// close closes every connection, all at once: none has to wait for another's peer.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closing = true
	for c := range h.conns {
		go c.Close(websocket.StatusGoingAway, "restarting")
	}
}

func (h *hub) serve(c *websocket.Conn, r *http.Request) {
	if !h.add(c) {
		c.Close(websocket.StatusGoingAway, "restarting")
		return
	}
	defer h.remove(c)
	go heartbeat(r.Context(), c, 30*time.Second, 10*time.Second)
	echo(c, r) // the application
}

// serveUntil serves until ctx ends, and then lets go of everybody.
func serveUntil(ctx context.Context, l net.Listener, h *hub) error {
	var open sync.WaitGroup
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second}
	s.Handler = websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		open.Add(1)
		defer open.Done()
		h.serve(c, r)
	}, nil)
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// Shutdown takes no new connections, and waits for requests in progress; it does not know those that were upgraded.
	bound, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := s.Shutdown(bound)
	h.close()
	open.Wait() // bounded by the close timeout of the connections
	return err
}

// heartbeat pings while the connection lives, and ends it when a pong does not come in time. Somebody must be reading from c.
func heartbeat(ctx context.Context, c *websocket.Conn, every, wait time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		pong, cancel := context.WithTimeout(ctx, wait)
		err := c.Ping(pong)
		cancel()
		if err != nil {
			c.CloseNow()
			return
		}
	}
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
	h := &hub{conns: make(map[*websocket.Conn]bool)}
	done := make(chan error, 1)
	go func() { done <- serveUntil(ctx, l, h) }()
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
	for _, c := range conns {
		_, _, err := c.Read(t.Context())
		var ce websocket.CloseError
		if !errors.As(err, &ce) || ce.Code != websocket.StatusGoingAway || ce.Reason != "restarting" {
			t.Errorf("Read when the server stops: %v", err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(h.conns) != 0 {
		t.Errorf("%d connections left", len(h.conns))
	}
	if h.add(conns[0]) {
		t.Error("a hub that is closing takes another connection")
	}
}

func TestDeploymentHeartbeat(t *testing.T) {
	ended := make(chan error, 1)
	s := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		go heartbeat(r.Context(), c, time.Millisecond, 100*time.Millisecond)
		_, _, err := c.Read(r.Context())
		ended <- err
	}, nil))
	defer s.Close()

	pings := make(chan struct{})
	answer := func(ctx context.Context, payload []byte) bool { pings <- struct{}{}; return true }
	c, _, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{OnPingReceived: answer})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.CloseRead(t.Context())
	for range 5 {
		<-pings
	}
	go func() {
		for range pings { // those that come while it closes
		}
	}()
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	close(pings)
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("a peer that answers: %v", err)
	}

	silent, _, err := websocket.Dial(t.Context(), s.URL, nil) // nobody reads from it, so no ping is answered
	if err != nil {
		t.Fatal(err)
	}
	defer silent.CloseNow()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a peer that does not answer: %v", err)
	}
}
