package docs_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

// The code up to the mark is in ways-to-serve.md too, letter by letter.

func countAccept(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered the request
	}
	defer c.CloseNow()
	ctx, total := r.Context(), 0
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return
		}
		total += len(m.Data)
		if err := c.Write(ctx, m.Type, fmt.Append(nil, total)); err != nil {
			return
		}
	}
}

func countHandler() *websocket.Server {
	return websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		ctx, total := r.Context(), 0
		for m, err := range c.Messages(ctx) {
			if err != nil {
				return
			}
			total += len(m.Data)
			if err := c.Write(ctx, m.Type, fmt.Append(nil, total)); err != nil {
				return
			}
		}
	}, nil)
}

type counter struct {
	c     *websocket.Conn
	total int
}

func (h *counter) Message(m websocket.Message) {
	h.total += len(m.Data)
	// A write fails when the connection is over, and Close is called then.
	_ = h.c.Write(context.Background(), m.Type, fmt.Append(nil, h.total))
}

func (h *counter) Close(err error) {} // leave a hub, log err

func countEvents() *websocket.Server {
	return websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
		return &counter{c: c}
	}, nil)
}

// The mark: end of the code in ways-to-serve.md.

func TestWaysToServe(t *testing.T) {
	for name, handler := range map[string]http.Handler{
		"Accept": http.HandlerFunc(countAccept), "Handler": countHandler(), "Events": countEvents(),
	} {
		s := httptest.NewServer(handler)
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, _, err := websocket.Dial(ctx, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		for _, want := range []string{"3", "6"} {
			if err := c.Write(ctx, websocket.MessageText, []byte("abc")); err != nil {
				t.Fatal(err)
			}
			if _, got, err := c.Read(ctx); string(got) != want || err != nil {
				t.Errorf("%s: got %q, %v, want %s", name, got, err, want)
			}
		}
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
