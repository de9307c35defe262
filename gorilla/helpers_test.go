package websocket_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/gorilla"
)

// patience bounds what should happen at once.
const patience = time.Minute

// serve starts a server that upgrades each request with u, and gives the
// connection to handle, which stays in the handler. It returns the ws URL.
func serve(t testing.TB, u *websocket.Upgrader, handle func(c *websocket.Conn)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		handle(c)
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

// dial opens a connection that is closed at the end of the test.
func dial(t testing.TB, d *websocket.Dialer, url string) *websocket.Conn {
	t.Helper()
	c, _, err := d.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	return c
}

// pair returns the two ends of a connection: the server's handler stays until
// the end of the test.
func pair(t testing.TB, u *websocket.Upgrader, d *websocket.Dialer) (server, client *websocket.Conn) {
	t.Helper()
	conns, done := make(chan *websocket.Conn, 1), make(chan struct{})
	url := serve(t, u, func(c *websocket.Conn) {
		conns <- c
		<-done
	})
	client = dial(t, d, url)
	t.Cleanup(func() { close(done) })
	server = <-conns
	server.SetReadDeadline(time.Now().Add(patience))
	return server, client
}

// plainPair is a pair without options.
func plainPair(t testing.TB) (server, client *websocket.Conn) {
	t.Helper()
	return pair(t, &websocket.Upgrader{}, &websocket.Dialer{})
}

// bothWays runs f with each end of a connection as the one under test.
func bothWays(t *testing.T, f func(t *testing.T, c, peer *websocket.Conn)) {
	t.Run("server", func(t *testing.T) {
		server, client := plainPair(t)
		f(t, server, client)
	})
	t.Run("client", func(t *testing.T) {
		server, client := plainPair(t)
		f(t, client, server)
	})
}

// expect reads one message and compares it.
func expect(t testing.TB, c *websocket.Conn, typ int, text string) {
	t.Helper()
	gotType, p, err := c.ReadMessage()
	if err != nil || gotType != typ || string(p) != text {
		t.Fatalf("ReadMessage: %d, %.100q, %v; want %d, %.100q", gotType, p, err, typ, text)
	}
}

// send writes one message.
func send(t testing.TB, c *websocket.Conn, typ int, text string) {
	t.Helper()
	if err := c.WriteMessage(typ, []byte(text)); err != nil {
		t.Fatalf("WriteMessage: %v", err)
	}
}
