package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
)

// startServer runs the server as the program does, and returns the URL it
// prints and what stops it and waits for it.
func startServer(t *testing.T) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "localhost:0", "", nil, w) }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(line, "Listening on %s", &url); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return url, func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	}
}

func TestClientAndServer(t *testing.T) {
	url, stop := startServer(t)
	defer stop()
	var out bytes.Buffer
	lines := "one\n\ndrei: größer\n"
	if err := run(t.Context(), "", url, strings.NewReader(lines), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != lines {
		t.Errorf("the client printed %q, want %q", out.String(), lines)
	}
}

func TestServerGoesAway(t *testing.T) {
	url, stop := startServer(t)
	c, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	// An answer shows that the server has the connection in hand.
	if err := c.Write(t.Context(), websocket.MessageBinary, []byte{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if typ, data, err := c.Read(t.Context()); typ != websocket.MessageBinary || !bytes.Equal(data, []byte{1, 2, 3}) || err != nil {
		t.Fatalf("echo: %v, %v, %v", typ, data, err)
	}
	status := make(chan websocket.StatusCode, 1)
	go func() {
		_, _, err := c.Read(t.Context())
		status <- websocket.CloseStatus(err)
	}()
	stop()
	if got := <-status; got != websocket.StatusGoingAway {
		t.Errorf("closed with %v, want StatusGoingAway", got)
	}
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = run(t.Context(), l.Addr().String(), "", nil, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("run with a port that is taken: %v", err)
	}
}
