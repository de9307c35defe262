package websocket_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/gorilla"
)

// temporary is net.Error with the method that is deprecated there.
type temporary interface {
	Timeout() bool
	Temporary() bool
}

// readAll reads until an error, which it sends.
func readAll(c *websocket.Conn) <-chan error {
	errs := make(chan error, 1)
	go func() {
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				errs <- err
				return
			}
		}
	}()
	return errs
}

func TestDefaultPingHandler(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		readAll(c)
		pongs := make(chan string, 1)
		peer.SetPongHandler(func(data string) error { pongs <- data; return nil })
		if err := peer.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		readAll(peer)
		if got := <-pongs; got != "are you there" {
			t.Fatal(got)
		}
	})
}

// Programs wrap the handler that is there.
func TestWrappedPingHandler(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		pings, pongs := make(chan string, 1), make(chan string, 1)
		inner := c.PingHandler()
		c.SetPingHandler(func(data string) error {
			c.SetReadDeadline(time.Now().Add(patience))
			pings <- data
			return inner(data)
		})
		readAll(c)
		peer.SetPongHandler(func(data string) error { pongs <- data; return nil })
		peer.WriteMessage(websocket.PingMessage, []byte("x"))
		readAll(peer)
		if a, b := <-pings, <-pongs; a != "x" || b != "x" {
			t.Fatal(a, b)
		}
		c.SetPingHandler(nil)
		peer.WriteMessage(websocket.PingMessage, []byte("y"))
		if b := <-pongs; b != "y" {
			t.Fatal(b)
		}
	})
}

// The error of a handler ends reading, and nothing else.
// A pong whose time runs out while another frame is written does not end
// reading. Programs copy gorilla's own handler, which asks Temporary.
func TestPongThatMustWait(t *testing.T) {
	c, _ := plainPair(t)
	done := make(chan error, 1)
	go func() { done <- c.WriteMessage(websocket.BinaryMessage, make([]byte, 16<<20)) }() // the peer does not read
	var err error
	for err == nil {
		err = c.WriteControl(websocket.PongMessage, nil, time.Now().Add(20*time.Millisecond))
	}
	for _, err := range []error{err, c.WriteControl(websocket.PongMessage, nil, time.Now().Add(-time.Second))} {
		if ne, ok := err.(temporary); !ok || !ne.Timeout() || !ne.Temporary() {
			t.Errorf("WriteControl = %v, want a temporary net.Error", err)
		}
	}
	if err := c.PingHandler()("x"); err != nil {
		t.Errorf("the default handler = %v", err)
	}
	c.SetWriteDeadline(time.Now())
	if ne, ok := (<-done).(temporary); !ok || !ne.Timeout() || ne.Temporary() {
		t.Errorf("WriteMessage = %v, want a net.Error that stays", err)
	}
}

// A handler may return the error of its WriteControl. Reads that fail with it
// are over: it is no longer temporary.
func TestTemporaryErrorOfHandler(t *testing.T) {
	c, peer := plainPair(t)
	c.SetPingHandler(func(string) error {
		return c.WriteControl(websocket.PongMessage, nil, time.Now().Add(-time.Second))
	})
	peer.WriteMessage(websocket.PingMessage, nil)
	for range 2 {
		_, _, err := c.ReadMessage()
		if ne, ok := err.(temporary); !ok || !ne.Timeout() || ne.Temporary() || err.Error() != "websocket: write timeout" {
			t.Errorf("ReadMessage = %v", err)
		}
	}
}

func TestHandlerError(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		boom := errors.New("boom")
		c.SetPongHandler(func(string) error { return boom })
		send(t, peer, websocket.TextMessage, "before")
		peer.WriteControl(websocket.PongMessage, nil, time.Time{})
		send(t, peer, websocket.TextMessage, "behind")
		expect(t, c, websocket.TextMessage, "before")
		for range 3 {
			if _, _, err := c.ReadMessage(); err != boom {
				t.Fatal(err)
			}
		}
		send(t, c, websocket.TextMessage, "still here")
		expect(t, peer, websocket.TextMessage, "still here")
	})
}

func TestDefaultCloseHandler(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		err := peer.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4000, "bye"), time.Now().Add(patience))
		if err != nil {
			t.Fatal(err)
		}
		if err := peer.WriteMessage(websocket.TextMessage, nil); err != websocket.ErrCloseSent {
			t.Fatal(err)
		}
		if _, err := peer.NextWriter(websocket.TextMessage); err != websocket.ErrCloseSent {
			t.Fatal(err)
		}
		_, _, err = c.ReadMessage()
		if ce, ok := err.(*websocket.CloseError); !ok || *ce != (websocket.CloseError{Code: 4000, Text: "bye"}) {
			t.Fatalf("%T %v", err, err)
		}
		if err := c.WriteMessage(websocket.TextMessage, nil); err != websocket.ErrCloseSent {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, _, err := peer.ReadMessage(); !websocket.IsCloseError(err, 4000) {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 4*time.Second { // the close timeout is 5 s
			t.Errorf("the answer took %v: nobody is to wait for the end of TCP", took)
		}
	})
}

// A close handler that does not answer leaves the connection writable.
func TestOwnCloseHandler(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		var code int
		c.SetCloseHandler(func(got int, text string) error { code = got; return nil })
		peer.WriteControl(websocket.CloseMessage, nil, time.Time{})
		if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) || code != websocket.CloseNoStatusReceived {
			t.Fatal(err, code)
		}
		send(t, c, websocket.TextMessage, "the rest")
		expect(t, peer, websocket.TextMessage, "the rest")
		c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Time{})
		if _, _, err := peer.ReadMessage(); !websocket.IsCloseError(err, 1000) {
			t.Fatal(err)
		}
	})
}

func TestCloseHandlerError(t *testing.T) {
	server, client := plainPair(t)
	boom := errors.New("boom")
	server.SetCloseHandler(func(int, string) error { return boom })
	client.WriteControl(websocket.CloseMessage, nil, time.Time{})
	for range 2 {
		if _, _, err := server.ReadMessage(); err != boom {
			t.Fatal(err)
		}
	}
}

// A handler may close the connection that calls it.
func TestCloseInHandler(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		c.SetPingHandler(func(string) error { return c.Close() })
		peer.WriteControl(websocket.PingMessage, nil, time.Time{})
		if _, _, err := c.ReadMessage(); err == nil {
			t.Fatal("no error")
		}
		if _, _, err := peer.ReadMessage(); err == nil {
			t.Fatal("no error")
		}
	})
}

// io.EOF of a handler is what reads return, except inside a message, where it
// would say that the message is whole.
func TestHandlerReturnsEOF(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		w, err := peer.NextWriter(websocket.BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(make([]byte, 5000)) // a fragment
		c.SetPingHandler(func(string) error { return io.EOF })
		_, r, err := c.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		if err := peer.WriteControl(websocket.PingMessage, nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := io.ReadAll(r); !websocket.IsCloseError(err, websocket.CloseAbnormalClosure) {
				t.Error(err)
			}
		}
		for range 2 {
			if _, _, err := c.ReadMessage(); err != io.EOF {
				t.Error(err)
			}
		}
	})
}
