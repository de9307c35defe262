package websocket_test

import (
	"context"
	"testing"
	"time"

	native "github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/gorilla"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// The two APIs speak side by side over one connection.
func TestNative(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		ws := c.Native()
		if err := ws.Write(ctx, native.MessageText, []byte("native")); err != nil {
			t.Fatal(err)
		}
		send(t, c, websocket.TextMessage, "gorilla")
		expect(t, peer, websocket.TextMessage, "native")
		expect(t, peer, websocket.TextMessage, "gorilla")
		send(t, peer, websocket.TextMessage, "1")
		send(t, peer, websocket.TextMessage, "2")
		expect(t, c, websocket.TextMessage, "1")
		if _, p, err := ws.Read(ctx); string(p) != "2" || err != nil {
			t.Fatal(p, err)
		}
	})
}

func TestFromNative(t *testing.T) {
	url := serve(t, &websocket.Upgrader{}, func(c *websocket.Conn) {
		c.WriteControl(websocket.PingMessage, []byte("p"), time.Time{})
		for {
			typ, p, err := c.ReadMessage()
			if err != nil {
				if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
					t.Error(err)
				}
				return
			}
			c.WriteMessage(typ, p)
		}
	})
	ws, _, err := native.Dial(context.Background(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := websocket.FromNative(ws)
	defer c.Close()
	if c.Native() != ws {
		t.Error("another connection")
	}
	var ping string
	c.SetPingHandler(func(data string) error { ping = data; return nil })
	send(t, c, websocket.TextMessage, "hello")
	expect(t, c, websocket.TextMessage, "hello")
	if ping != "p" {
		t.Error(ping)
	}
	c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""))
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Error(err)
	}
}

// Replies gather while the reader has more at hand. They are out before the
// program lays hands on the transport.
func TestNetConnBehindReply(t *testing.T) {
	for name, end := range map[string]func(c *websocket.Conn) error{
		"NetConn":        func(c *websocket.Conn) error { return c.NetConn().Close() },
		"UnderlyingConn": func(c *websocket.Conn) error { return c.UnderlyingConn().Close() },
		"Close":          func(c *websocket.Conn) error { return c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			server, client := plainPair(t)
			// Both messages in one segment, of which one read gets all.
			if _, err := client.NetConn().Write([]byte("\x81\x81\x00\x00\x00\x00a\x81\x81\x00\x00\x00\x00b")); err != nil {
				t.Fatal(err)
			}
			expect(t, server, websocket.TextMessage, "a")
			send(t, server, websocket.TextMessage, "reply")
			end(server)
			expect(t, client, websocket.TextMessage, "reply")
		})
	}
}

// A message allocates its bytes, when they are read, and nothing else.
func TestAllocations(t *testing.T) {
	if wstest.RaceEnabled {
		t.Skip("pools forget under the race detector")
	}
	server, client := plainPair(t)
	message := make([]byte, 1000)
	pm, _ := websocket.NewPreparedMessage(websocket.TextMessage, message)
	for name, f := range map[string]func() error{
		"WriteMessage":         func() error { return server.WriteMessage(websocket.BinaryMessage, message) },
		"WritePreparedMessage": func() error { return server.WritePreparedMessage(pm) },
		"SetWriteDeadline":     func() error { return server.SetWriteDeadline(time.Now().Add(patience)) },
		"SetReadDeadline":      func() error { return server.SetReadDeadline(time.Now().Add(patience)) },
	} {
		if n := testing.AllocsPerRun(100, func() {
			if err := f(); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	for range 202 { // what was written above
		client.ReadMessage()
	}
	if n := testing.AllocsPerRun(100, func() {
		server.WriteMessage(websocket.BinaryMessage, message)
		if _, p, err := client.ReadMessage(); len(p) != len(message) || err != nil {
			t.Fatal(len(p), err)
		}
	}); n > 1 {
		t.Errorf("ReadMessage allocates %v times", n)
	}
}
