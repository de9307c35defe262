package hub

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A client is the raw peer of a connection, and what the server has for it.
type client struct {
	*wstest.Peer
	server *netfake.Conn // the server's end of the transport
	conn   *websocket.Conn
	s      *Subscriber
}

// upgrade returns a request for a connection, with more headers.
func upgrade(tb testing.TB, headers ...string) *http.Request {
	tb.Helper()
	const head = "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	text := head + strings.Join(append(headers, "", ""), "\r\n")
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// connect makes a connection over a fake transport. A goroutine reads from it
// and leaves when it ends, as the function that serves it would.
func connect(t *testing.T, h *Hub, pipe netfake.Options, opts *websocket.AcceptOptions) *client {
	t.Helper()
	ours, theirs := netfake.Pipe(pipe)
	p := wstest.NewPeer(t, theirs, wstest.Client)
	if opts == nil {
		opts = &websocket.AcceptOptions{PingInterval: -1} // the peer answers nothing by itself
	}
	head := make(chan string)
	go func() { head <- p.ReadHead() }()
	c, err := websocket.Accept(&hijacker{conn: ours}, upgrade(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	<-head
	s := h.Join(c)
	go func() {
		defer s.Leave()
		for _, err := range c.Messages(context.Background()) {
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { c.CloseNow(); p.Close() })
	return &client{Peer: p, server: ours, conn: c, s: s}
}

// join is connect with defaults, and subscribes to topics.
func join(t *testing.T, h *Hub, topics ...string) *client {
	t.Helper()
	c := connect(t, h, netfake.Options{}, nil)
	if err := c.s.Subscribe(t.Context(), topics...); err != nil {
		t.Fatal(err)
	}
	return c
}

// resume subscribes to x behind after, on a goroutine of its own.
func (c *client) resume(t *testing.T, after Position) <-chan SubscribeResult {
	started := make(chan SubscribeResult, 1)
	go func() {
		st, err := c.s.SubscribeFrom(t.Context(), "x", SubscribeOptions{After: after})
		if err != nil {
			t.Error(err)
		}
		started <- st
	}()
	return started
}

// want reads text messages.
func (c *client) want(texts ...string) {
	for _, text := range texts {
		c.WantFrame(wstest.Text, text)
	}
}

type hijacker struct {
	conn   net.Conn
	header http.Header
}

func (h *hijacker) Header() http.Header {
	if h.header == nil {
		h.header = http.Header{}
	}
	return h.header
}
func (h *hijacker) WriteHeader(int)           {}
func (h *hijacker) Write([]byte) (int, error) { return 0, errors.New("the request was refused") }

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h.conn.SetDeadline(time.Time{})
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// publish publishes texts.
func publish(t *testing.T, h *Hub, topic string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := h.Publish(t.Context(), topic, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
}
