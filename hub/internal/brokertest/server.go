//go:build unix

package brokertest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
)

// patience is how long anything may take.
const patience = time.Minute

// A server serves connections: each subscribes to the topic in its URL, and
// publishes there what it gets.
type server struct {
	url    string
	events chan string // of its broker

	hub    *hub.Hub // nil if the server is the second process
	close  func()
	signal func(os.Signal) error // sends a signal to the second process
}

// newServer starts a server in this process.
func newServer(kind Kind, addr string, event func(string)) *server {
	b, closeBroker := kind.Connect(addr)
	h := hub.New(&hub.Options{
		Broker:        b,
		QueueMessages: -1,
		QueueBytes:    -1,
		HistoryOf: func(topic string) hub.History {
			if strings.HasPrefix(topic, "kept") {
				return hub.History{Messages: 1000}
			}
			return hub.History{}
		},
		Encode: func(dst []byte, m hub.Message) []byte {
			return fmt.Appendf(dst, "%s %s", m.Position, m.Data)
		},
		PresenceOf: func(topic string) bool { return topic == presenceTopic },
		OnBroker:   func(ev hub.BrokerEvent) { event(ev.Kind.String()) },
	})
	web := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		s := h.JoinAs(c, hub.Member{ID: r.FormValue("user")})
		defer s.Leave()
		topic, last := r.FormValue("topic"), r.FormValue("last")
		after, err := hub.ParsePosition(last)
		if err == nil {
			var st hub.SubscribeResult
			st, err = s.SubscribeFrom(r.Context(), topic, hub.SubscribeOptions{After: after})
			if err == nil {
				// Behind what was replayed, because Greet would come before the
				// subscription holds.
				s.Send(websocket.MessageText, fmt.Appendf(nil, "%t %d", st.Complete, st.Messages))
			}
		}
		if err != nil {
			c.Close(websocket.StatusInternalError, err.Error())
			return
		}
		for m, err := range c.Messages(context.Background()) {
			if err != nil {
				return
			}
			if string(m.Data) == "sync" {
				s.Send(m.Type, m.Data)
				continue
			}
			if err := h.Publish(context.Background(), topic, m.Type, m.Data); err != nil {
				s.Send(websocket.MessageText, []byte("failed"))
			}
		}
	}, nil))
	return &server{
		url: "ws" + strings.TrimPrefix(web.URL, "http"),
		hub: h,
		close: func() {
			h.Close()
			closeBroker()
			web.Close()
		},
	}
}

// startServer starts a server for the time of the test.
func startServer(t *testing.T, e *Engine) *server {
	events := make(chan string, 100)
	s := newServer(e.kind, e.Addr, func(ev string) { events <- ev })
	s.events = events
	t.Cleanup(s.close)
	return s
}

// wantEvent waits for an event of the server's broker.
func (s *server) wantEvent(t *testing.T, want hub.BrokerEventKind) {
	t.Helper()
	select {
	case got := <-s.events:
		if got != want.String() {
			t.Fatalf("event %s, want %s", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("no event, want %s", want)
	}
}

// A client is a connection to a server.
type client struct {
	t    *testing.T
	c    *websocket.Conn
	last hub.Position // of the last message
}

// dial connects to a server. It returns when the subscription holds.
func dial(t *testing.T, s *server, topic string, last hub.Position) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, s.url+"?topic="+url.QueryEscape(topic)+"&last="+last.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return &client{t: t, c: c}
}

// join is dial for a client that has no message of the topic.
func join(t *testing.T, s *server, topic string) *client {
	t.Helper()
	c := dial(t, s, topic, hub.Position{})
	c.wantStart("false 0")
	return c
}

func (c *client) read() (websocket.MessageType, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	typ, data, err := c.c.Read(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return typ, string(data)
}

func (c *client) wantStart(want string) {
	c.t.Helper()
	if _, got := c.read(); got != want {
		c.t.Fatalf("the server said %q, want %q", got, want)
	}
}

// sync returns when what the client has sent is published: a message may come
// back before Publish has returned.
func (c *client) sync() {
	c.t.Helper()
	c.send(websocket.MessageText, "sync")
	c.wantStart("sync")
}

func (c *client) send(typ websocket.MessageType, text string) {
	c.t.Helper()
	if err := c.c.Write(c.t.Context(), typ, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// message reads a message of the topic.
func (c *client) message() (typ websocket.MessageType, text string) {
	c.t.Helper()
	typ, data := c.read()
	pos, text, ok := strings.Cut(data, " ")
	at, err := hub.ParsePosition(pos)
	if !ok || err != nil {
		c.t.Fatalf("got %q", data)
	}
	c.last = at
	return typ, text
}

func (c *client) want(texts ...string) {
	c.t.Helper()
	for _, text := range texts {
		if _, got := c.message(); got != text {
			c.t.Fatalf("got %q, want %q", got, text)
		}
	}
}
