package docs_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/wstest"
)

// The code up to the mark is in slow-clients.md too, letter by letter.

func serveNews(h *hub.Hub) *websocket.Server {
	return websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		s := h.Join(c)
		defer s.Leave()
		if err := s.Subscribe(r.Context(), "news"); err != nil {
			return
		}
		<-c.CloseRead(r.Context()).Done() // the client sends nothing
	}, nil)
}

type room struct {
	mu      sync.Mutex
	members map[*member]bool
}

type member struct {
	queue chan *websocket.PreparedMessage
	gone  context.CancelFunc
}

func (r *room) serve(c *websocket.Conn, req *http.Request) {
	ctx, cancel := context.WithCancel(c.CloseRead(req.Context()))
	defer cancel()
	m := &member{queue: make(chan *websocket.PreparedMessage, 256), gone: cancel}
	r.mu.Lock()
	r.members[m] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.members, m)
		r.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return // serve's end closes the connection
		case message := <-m.queue:
			if err := c.WritePrepared(ctx, message); err != nil {
				return
			}
		}
	}
}

func (r *room) broadcast(data []byte) error {
	message, err := websocket.NewPreparedMessage(websocket.MessageText, data)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for m := range r.members {
		select {
		case m.queue <- message:
		default:
			m.gone() // its queue is full: it does not keep up
		}
	}
	return nil
}

// The mark: end of the code in slow-clients.md.

// One client reads nothing. The others get every message, and the one that is
// too slow is let go.
func TestSlowClients(t *testing.T) {
	const messages, size = 2000, 4000
	data := func(n int) []byte { return fmt.Appendf(nil, "%d %s", n, strings.Repeat("x", size)) }
	test := func(t *testing.T, handler http.Handler, ready func() int, broadcast func([]byte) error) {
		synctest.Test(t, func(t *testing.T) {
			s := wstest.NewServer(t, handler)
			dial := func() *websocket.Conn {
				c, _, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{HTTPClient: s.Client()})
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			slow, quick := dial(), dial()
			defer slow.CloseNow()
			synctest.Wait()
			if n := ready(); n != 2 {
				t.Fatalf("%d members", n)
			}
			for n := range messages {
				if err := broadcast(data(n)); err != nil {
					t.Fatal(err)
				}
				if _, got, err := quick.Read(t.Context()); err != nil || string(got) != string(data(n)) {
					t.Fatalf("message %d: %.10q, %v", n, got, err)
				}
			}
			synctest.Wait()
			if n := ready(); n != 1 {
				t.Errorf("%d members are left: the slow one should have been let go", n)
			}
			quick.CloseNow()
			synctest.Wait()
		})
	}
	t.Run("hub", func(t *testing.T) {
		h := hub.New(nil)
		test(t, serveNews(h), func() int { return h.Stats().Subscribers }, func(b []byte) error {
			return h.Publish(t.Context(), "news", websocket.MessageText, b)
		})
	})
	t.Run("queues", func(t *testing.T) {
		r := &room{members: map[*member]bool{}}
		test(t, websocket.Handler(r.serve, nil), func() int {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.members)
		}, r.broadcast)
	})
}
