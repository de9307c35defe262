package websocket_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/gorilla"
)

func TestEcho(t *testing.T) {
	for _, compress := range []bool{false, true} {
		url := serve(t, &websocket.Upgrader{EnableCompression: compress}, func(c *websocket.Conn) {
			for {
				typ, p, err := c.ReadMessage()
				if err != nil {
					return
				}
				if err := c.WriteMessage(typ, p); err != nil {
					t.Error(err)
					return
				}
			}
		})
		c := dial(t, &websocket.Dialer{EnableCompression: compress}, url)
		for _, text := range []string{"", "a", strings.Repeat("hello ", 20000)} {
			for _, typ := range []int{websocket.TextMessage, websocket.BinaryMessage} {
				send(t, c, typ, text)
				expect(t, c, typ, text)
			}
		}
		if err := c.WriteJSON(map[string]int{"a": 1}); err != nil {
			t.Fatal(err)
		}
		var v struct{ A int }
		if err := c.ReadJSON(&v); err != nil || v.A != 1 {
			t.Fatal(v, err)
		}
	}
}

// A deadline that has passed breaks nothing, between messages and inside one,
// for each way to read.
func TestReadDeadlineLosesNothing(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		for range 3 {
			c.SetReadDeadline(time.Now())
			_, _, err := c.ReadMessage()
			var ne net.Error
			if !errors.As(err, &ne) || !ne.Timeout() {
				t.Fatalf("%T %v: not a timeout", err, err)
			}
			if _, ok := err.(net.Error); !ok {
				t.Fatalf("%T is no net.Error itself", err)
			}
		}
		c.SetReadDeadline(time.Now().Add(patience))
		send(t, peer, websocket.TextMessage, "alive")
		expect(t, c, websocket.TextMessage, "alive")

		w, err := peer.NextWriter(websocket.TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		first := strings.Repeat("x", 5000)
		io.WriteString(w, first) // more than the writer gathers
		_, r, err := c.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(first))
		if _, err := io.ReadFull(r, got); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now())
		if _, err := r.Read(got); err == nil || !err.(net.Error).Timeout() {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(patience))
		io.WriteString(w, "end")
		w.Close()
		if rest, err := io.ReadAll(r); err != nil || string(rest) != "end" {
			t.Fatalf("%q, %v", rest, err)
		}
	})
}

func TestReadAfterError(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		peer.Close()
		_, _, first := c.ReadMessage()
		for range 2000 {
			if typ, p, err := c.ReadMessage(); err != first || typ != -1 || p != nil {
				t.Fatal(typ, p, err, first)
			}
			if _, _, err := c.NextReader(); err != first {
				t.Fatal(err)
			}
		}
	})
}

func TestAbruptEnd(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		w, _ := peer.NextWriter(websocket.BinaryMessage)
		w.Write(make([]byte, 10000))
		_, r, err := c.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		peer.Close()
		_, err = io.Copy(io.Discard, r)
		check := func(err error) {
			t.Helper()
			ce, ok := err.(*websocket.CloseError)
			if !ok || ce.Code != websocket.CloseAbnormalClosure || err.Error() != "websocket: close 1006 (abnormal closure): unexpected EOF" {
				t.Fatalf("%T %v", err, err)
			}
			if !websocket.IsUnexpectedCloseError(err, websocket.CloseGoingAway) || !websocket.IsCloseError(err, 1006) {
				t.Fatal(err)
			}
		}
		check(err)
		_, _, err = c.ReadMessage()
		check(err)
	})
}

func TestReadLimit(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		c.SetReadLimit(100)
		send(t, peer, websocket.TextMessage, strings.Repeat("a", 100))
		expect(t, c, websocket.TextMessage, strings.Repeat("a", 100))
		send(t, peer, websocket.TextMessage, strings.Repeat("a", 101))
		go peer.ReadMessage()
		for range 3 {
			if _, _, err := c.ReadMessage(); err != websocket.ErrReadLimit {
				t.Fatal(err)
			}
		}
		if err := c.WriteMessage(websocket.TextMessage, nil); err != websocket.ErrCloseSent {
			t.Fatal(err)
		}
	})
}

// There is no limit unless the program sets one, and 0 takes it away again.
func TestNoReadLimit(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		long := strings.Repeat("a", 3<<20)
		go peer.WriteMessage(websocket.TextMessage, []byte(long))
		expect(t, c, websocket.TextMessage, long)
		c.SetReadLimit(10)
		c.SetReadLimit(0)
		go peer.WriteMessage(websocket.TextMessage, []byte(long))
		expect(t, c, websocket.TextMessage, long)
	})
}

// A reader is at its end when the next message was asked for.
func TestStaleReader(t *testing.T) {
	server, client := plainPair(t)
	send(t, client, websocket.TextMessage, "first")
	send(t, client, websocket.TextMessage, "second")
	send(t, client, websocket.TextMessage, "third")
	_, r, err := server.NextReader()
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 2)
	if n, err := r.Read(p); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	_, r2, err := server.NextReader()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(p); n != 0 || err != io.EOF {
		t.Fatal(n, err)
	}
	expect(t, server, websocket.TextMessage, "third") // r2 was not read
	if n, err := r2.Read(p); n != 0 || err != io.EOF {
		t.Fatal(n, err)
	}
}

// So it is when there is no next message: the error is NextReader's.
func TestStaleReaderAfterError(t *testing.T) {
	server, client := plainPair(t)
	w, err := client.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(make([]byte, 5000)) // a fragment
	client.WriteControl(websocket.CloseMessage, nil, time.Time{})
	_, r, err := server.NextReader()
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 2)
	if n, err := r.Read(p); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if _, _, err := server.NextReader(); !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
		t.Fatal(err)
	}
	if n, err := r.Read(p); n != 0 || err != io.EOF {
		t.Fatal(n, err)
	}
}

func TestJoinMessages(t *testing.T) {
	server, client := plainPair(t)
	go func() {
		for _, text := range []string{"a", "", "bc"} {
			client.WriteMessage(websocket.TextMessage, []byte(text))
		}
		client.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Time{})
	}()
	p, err := io.ReadAll(websocket.JoinMessages(server, "\n"))
	if string(p) != "a\n\nbc\n" || !websocket.IsCloseError(err, 1000) {
		t.Fatalf("%q %v", p, err)
	}
}

func TestReadJSONOfNothing(t *testing.T) {
	server, client := plainPair(t)
	send(t, client, websocket.TextMessage, "")
	var v any
	if err := server.ReadJSON(&v); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	send(t, client, websocket.TextMessage, `{"a":1} and more`)
	if err := server.ReadJSON(&v); err != nil {
		t.Fatal(err)
	}
	send(t, client, websocket.TextMessage, "next")
	expect(t, server, websocket.TextMessage, "next")
}

// A close by this side ends its own reads as a closed net.Conn does.
func TestReadAfterClose(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		errs := make(chan error)
		go func() {
			_, _, err := c.ReadMessage()
			errs <- err
		}()
		time.Sleep(time.Millisecond) // either order will do
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		err := <-errs
		if _, ok := err.(*net.OpError); !ok || !errors.Is(err, net.ErrClosed) {
			t.Fatalf("%T %v", err, err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		if err := c.WriteMessage(websocket.TextMessage, nil); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	})
}

// A breach by the peer is told with a close frame, so writes fail as after one.
func TestWriteAfterProtocolError(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		if _, err := peer.NetConn().Write([]byte{0x83, 0x00}); err != nil { // no opcode is 3
			t.Fatal(err)
		}
		go peer.ReadMessage() // it answers
		if _, _, err := c.ReadMessage(); err == nil {
			t.Fatal("no error")
		}
		if err := c.WriteMessage(websocket.TextMessage, nil); err != websocket.ErrCloseSent {
			t.Error(err)
		}
	})
}

// The first Close returns nil, also behind the end of the connection.
func TestCloseAfterEnd(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		peer.Close()
		if _, _, err := c.ReadMessage(); err == nil {
			t.Fatal("no error")
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if err := c.SetWriteDeadline(time.Time{}); err != nil {
			t.Error(err)
		}
		var oe *net.OpError
		if err := c.SetReadDeadline(time.Time{}); !errors.As(err, &oe) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%T %v", err, err)
		}
	})
}

// A reset is a *net.OpError with the addresses, as package net has it.
func TestReset(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		peer.NetConn().(*net.TCPConn).SetLinger(0)
		peer.NetConn().Close()
		_, _, err := c.ReadMessage()
		oe, ok := err.(*net.OpError)
		if !ok || oe.Op != "read" || oe.Addr.String() != c.RemoteAddr().String() || !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("%T %v", err, err)
		}
	})
}
