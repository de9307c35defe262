package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

// patience bounds each test's waits.
const patience = 30 * time.Second

// echo sends back what comes. A message "close CODE" makes it close the
// connection, and "write N" makes it send N bytes.
func echo(c *websocket.Conn) error {
	defer c.CloseNow()
	ctx := context.Background()
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return err
		}
		var n int
		switch {
		case m.Type == websocket.MessageText && scan(m.Data, "close %d", &n):
			return c.Close(websocket.StatusCode(n), "as asked")
		case m.Type == websocket.MessageText && scan(m.Data, "write %d", &n):
			err = c.Write(ctx, websocket.MessageBinary, make([]byte, n))
		default:
			err = c.Write(ctx, m.Type, m.Data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func scan(data []byte, format string, n *int) bool {
	_, err := fmt.Sscanf(string(data), format, n)
	return err == nil
}

// checkEcho exchanges messages of all kinds with a peer that runs echo, and
// leaves the connection open.
func checkEcho(t *testing.T, c *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, m := range []struct {
		typ  websocket.MessageType
		data []byte
	}{
		{websocket.MessageText, []byte("hello")},
		{websocket.MessageText, nil},
		{websocket.MessageBinary, bytes.Repeat([]byte{0, 1, 2, 0xff}, 250_000)},
		{websocket.MessageText, []byte(strings.Repeat("ä word ", 20_000))},
	} {
		written := make(chan error, 1)
		go func() { written <- c.Write(ctx, m.typ, m.data) }()
		typ, data, err := c.Read(ctx)
		if err != nil || typ != m.typ || !bytes.Equal(data, m.data) {
			t.Fatalf("%d bytes came back as %v, %d bytes, %v", len(m.data), typ, len(data), err)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	}
	// A message in fragments, and a ping between messages.
	w, err := c.Writer(ctx, websocket.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"one ", "two ", "three"} {
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, data, err := c.Read(ctx); string(data) != "one two three" || err != nil {
		t.Fatalf("got %q, %v", data, err)
	}
	read := make(chan error, 1)
	go func() {
		_, data, err := c.Read(ctx)
		if err == nil && string(data) != "after the ping" {
			err = fmt.Errorf("got %q", data)
		}
		read <- err
	}()
	if err := c.Ping(ctx); err != nil {
		t.Fatal("Ping:", err)
	}
	if err := c.Write(ctx, websocket.MessageText, []byte("after the ping")); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
}

// checkEnd ends a connection to a peer that runs echo in one of three ways.
func checkEnd(t *testing.T, c *websocket.Conn, how string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	switch how {
	case "close":
		if err := c.Close(3001, "enough"); err != nil {
			t.Error("Close:", err)
		}
	case "closed":
		if err := c.Write(ctx, websocket.MessageText, []byte("close 4002")); err != nil {
			t.Error(err)
		}
		_, _, err := c.Read(ctx)
		if websocket.CloseStatus(err) != 4002 || !strings.Contains(err.Error(), "as asked") {
			t.Error("Read:", err)
		}
	case "too big":
		c.SetReadLimit(1000)
		if err := c.Write(ctx, websocket.MessageText, []byte("write 1001")); err != nil {
			t.Error(err)
		}
		if _, _, err := c.Read(ctx); !errors.Is(err, websocket.ErrMessageTooBig) {
			t.Error("Read:", err)
		}
	}
	if _, _, err := c.Read(ctx); err == nil {
		t.Error("a read after the end has no error")
	}
}

var ends = []string{"close", "closed", "too big"}

// wantEnd waits for what served, the peer's echo, returned.
func wantEnd(t *testing.T, served <-chan error, how string) {
	t.Helper()
	want := map[string]websocket.StatusCode{"close": 3001, "closed": 4002, "too big": websocket.StatusMessageTooBig}[how]
	select {
	case err := <-served:
		// An orderly close ends the range of Messages without an error.
		if code := websocket.CloseStatus(err); err != nil && code != want {
			t.Errorf("the peer ended with %v, want %v", err, want)
		}
	case <-time.After(patience):
		t.Error("the peer has not ended")
	}
}
