package docs_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

// The code up to the mark is in deployment.md too, letter by letter.

// serveUntil serves until ctx ends, and then closes all connections.
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
	// The first takes no new connections, and waits for requests in progress;
	// it does not know those that were upgraded. The second closes these, and
	// waits for their clients' answers and for serve.
	return errors.Join(s.Shutdown(bound), ws.Shutdown(bound))
}

// The mark: end of the code in deployment.md.

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

// Where something waits for the program to end, it waits longer than the
// program takes, and the ingress cuts no sooner than nginx.
func TestDeploymentTimes(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	number := func(page, pattern string) int {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(page)
		if m == nil {
			t.Fatalf("there is no %s", pattern)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	page, tutorial := read("deployment.md"), read("tutorial.md")
	const bound = `context\.Background\(\), (\d+)\*time\.Second`
	takes := number(page, bound)
	for what, waits := range map[string]int{
		"systemd":    number(page, `TimeoutStopSec=(\d+)`),
		"Kubernetes": number(page, `terminationGracePeriodSeconds: (\d+)`) - number(page, `sleep: \{seconds: (\d+)\}`),
		"Fly.io":     number(page, `kill_timeout = "(\d+)s"`),
	} {
		if waits <= takes {
			t.Errorf("%s waits %d s, and the program takes up to %d", what, waits, takes)
		}
	}
	if waits, takes := number(tutorial, `TimeoutStopSec=(\d+)`), number(tutorial, bound); waits <= takes {
		t.Errorf("the tutorial's unit waits %d s, and its program takes up to %d", waits, takes)
	}
	if nginx, ingress := number(page, `proxy_read_timeout (\d+)s`), number(page, `proxy-read-timeout: "(\d+)"`); ingress != nginx {
		t.Errorf("nginx cuts after %d s, the ingress after %d", nginx, ingress)
	}
}
