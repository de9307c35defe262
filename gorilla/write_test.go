package websocket_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/gorilla"
)

// Where gorilla panics: messages of several goroutines, with control frames.
func TestConcurrentWriters(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		const writers, each = 8, 200
		readAll(c) // pongs
		var wg sync.WaitGroup
		for i := range writers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for j := range each {
					text := fmt.Sprintf("%d %d %s", i, j, strings.Repeat("x", j*40))
					var err error
					switch j % 3 {
					case 0:
						err = c.WriteMessage(websocket.TextMessage, []byte(text))
					case 1:
						err = c.WriteJSON(text)
					case 2:
						err = c.WriteControl(websocket.PingMessage, nil, time.Now().Add(patience))
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		for range writers * (each - each/3) {
			if _, _, err := peer.ReadMessage(); err != nil {
				t.Fatal(err)
			}
		}
		wg.Wait()
	})
}

// The next message ends a writer that was left open, and control frames go
// between its fragments.
func TestNextWriter(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		w, err := c.NextWriter(websocket.TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "left open")
		send(t, c, websocket.BinaryMessage, "next")
		expect(t, peer, websocket.TextMessage, "left open")
		expect(t, peer, websocket.BinaryMessage, "next")
		if _, err := w.Write([]byte("late")); err == nil {
			t.Fatal("a writer that was ended takes more")
		}
		if err := w.Close(); err == nil {
			t.Fatal("a writer was closed twice")
		}

		var pings int
		peer.SetPingHandler(func(string) error { pings++; return nil })
		long := strings.Repeat("0123456789", 2000)
		w, _ = c.NextWriter(websocket.TextMessage)
		if n, err := io.Copy(w, io.LimitReader(strings.NewReader(long), 10000)); n != 10000 || err != nil {
			t.Fatal(n, err)
		}
		if err := c.WriteControl(websocket.PingMessage, nil, time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, long[10000:])
		w2, err := c.NextWriter(websocket.BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		w2.Close() // an empty message
		expect(t, peer, websocket.TextMessage, long)
		expect(t, peer, websocket.BinaryMessage, "")
		if pings != 1 {
			t.Fatal(pings)
		}

		w, _ = c.NextWriter(websocket.PingMessage)
		w.Write([]byte("by hand"))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		send(t, c, websocket.TextMessage, "end")
		expect(t, peer, websocket.TextMessage, "end")
		if pings != 2 {
			t.Fatal(pings)
		}
	})
}

// A close frame inside a message ends it: the writer gets ErrCloseSent, the
// peer a CloseError, and no call hangs.
func TestCloseInsideMessage(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		w, _ := c.NextWriter(websocket.BinaryMessage)
		w.Write(make([]byte, 10000))
		c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "hello"), time.Now().Add(patience))
		if err := w.Close(); err != websocket.ErrCloseSent {
			t.Fatal(err)
		}
		_, r, err := peer.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.Copy(io.Discard, r); !websocket.IsCloseError(err, 1000) {
			t.Fatal(err)
		}
		if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 1000) {
			t.Fatal(err)
		}
	})
}

// The write deadline of messages does not concern control frames, which have
// their own.
func TestWriteControlDeadline(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		c.SetWriteDeadline(time.Now().Add(-time.Second))
		err := c.WriteMessage(websocket.TextMessage, []byte("late"))
		if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
			t.Fatalf("%T %v", err, err)
		}
		got := make(chan struct{})
		peer.SetPingHandler(func(string) error { close(got); return nil })
		readAll(peer)
		if err := c.WriteControl(websocket.PingMessage, nil, time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		<-got
		err = c.WriteControl(websocket.PingMessage, nil, time.Now().Add(-time.Second))
		if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
			t.Fatalf("%T %v", err, err)
		}
		c.SetWriteDeadline(time.Time{})
		send(t, c, websocket.TextMessage, "alive")
	})
}

// A peer that takes nothing: the deadline of a write, and that of a control
// frame, hold.
func TestWriteToStalledPeer(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		big := make([]byte, 16<<20)
		done := make(chan error)
		go func() { done <- c.WriteMessage(websocket.BinaryMessage, big) }()
		var err error
		for err == nil {
			err = c.WriteControl(websocket.PingMessage, nil, time.Now().Add(20*time.Millisecond))
		}
		if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
			t.Fatalf("%T %v", err, err)
		}
		c.SetWriteDeadline(time.Now())
		if ne, ok := (<-done).(net.Error); !ok || !ne.Timeout() {
			t.Fatalf("%T %v", err, err)
		}
	})
}

// Errors of timeouts say so, with the words that programs look for. A write
// that has cut a frame is why later ones fail.
func TestTextOfTimeouts(t *testing.T) {
	bothWays(t, func(t *testing.T, c, peer *websocket.Conn) {
		check := func(call string, err error, want string) {
			t.Helper()
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "timeout") {
				t.Errorf("%s = %v, want %s ... timeout", call, err, want)
			}
		}
		past := time.Now().Add(-time.Second)
		c.SetReadDeadline(past)
		_, _, err := c.ReadMessage()
		check("ReadMessage", err, "read tcp 127.0.0.1:")
		c.SetWriteDeadline(past)
		check("WriteMessage", c.WriteMessage(websocket.TextMessage, nil), "write tcp 127.0.0.1:")
		check("WriteMessage of a ping", c.WriteMessage(websocket.PingMessage, nil), "write tcp 127.0.0.1:")
		check("WriteControl", c.WriteControl(websocket.PingMessage, nil, past), "websocket: write timeout")

		c.SetWriteDeadline(time.Time{})
		done := make(chan error)
		go func() { done <- c.WriteMessage(websocket.BinaryMessage, make([]byte, 16<<20)) }()
		for err = nil; err == nil; {
			err = c.WriteControl(websocket.PingMessage, nil, time.Now().Add(20*time.Millisecond))
		}
		check("WriteControl that waits", err, "websocket: write timeout")
		c.SetWriteDeadline(time.Now())
		check("WriteMessage that is cut", <-done, "write tcp 127.0.0.1:")
		check("WriteMessage behind it", c.WriteMessage(websocket.TextMessage, nil), "write tcp 127.0.0.1:")
		check("WriteControl behind it", c.WriteControl(websocket.PingMessage, nil, time.Time{}), "write tcp 127.0.0.1:")
		c.Close()
		check("WriteMessage after Close", c.WriteMessage(websocket.TextMessage, nil), "write tcp 127.0.0.1:")
	})
}

func TestBadArguments(t *testing.T) {
	_, c := plainPair(t)
	for _, typ := range []int{-1, 0, 3, 7, 11} {
		if c.WriteMessage(typ, nil) == nil {
			t.Error(typ)
		}
		if _, err := c.NextWriter(typ); err == nil {
			t.Error(typ)
		}
		if _, err := websocket.NewPreparedMessage(typ, nil); err == nil {
			t.Error(typ)
		}
	}
	if c.WriteControl(websocket.TextMessage, nil, time.Time{}) == nil {
		t.Error("text is no control frame")
	}
	long := make([]byte, 126)
	for _, err := range []error{c.WriteControl(websocket.PingMessage, long, time.Time{}), c.WriteMessage(websocket.PongMessage, long)} {
		if err == nil || err.Error() != "websocket: invalid control frame" { // programs may compare the text
			t.Errorf("a long control frame: %v", err)
		}
	}
	for _, code := range []int{0, 999, 1004, 1006, 1015, 2000, 5000} {
		if c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Time{}) == nil {
			t.Error(code)
		}
	}
	for _, level := range []int{-3, 10} {
		if c.SetCompressionLevel(level) == nil {
			t.Error(level)
		}
	}
	if err := c.WriteJSON(func() {}); err == nil {
		t.Error("a func is no JSON")
	}
	send(t, c, websocket.TextMessage, "all of that changed nothing")
}

func TestPreparedMessage(t *testing.T) {
	for _, compress := range []bool{false, true} {
		server, client := pair(t, &websocket.Upgrader{EnableCompression: compress}, &websocket.Dialer{EnableCompression: true})
		data := bytes.Repeat([]byte("prepared "), 1000)
		pm, err := websocket.NewPreparedMessage(websocket.TextMessage, data)
		if err != nil {
			t.Fatal(err)
		}
		want := string(data)
		clear(data) // it was copied
		ping, err := websocket.NewPreparedMessage(websocket.PingMessage, []byte("p"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			server.EnableWriteCompression(i != 1)
			for _, m := range []*websocket.PreparedMessage{ping, pm} {
				if err := server.WritePreparedMessage(m); err != nil {
					t.Fatal(err)
				}
			}
			var got string
			client.SetPingHandler(func(data string) error { got = data; return nil })
			expect(t, client, websocket.TextMessage, want)
			if got != "p" {
				t.Fatal(got)
			}
		}
	}
}

// countConn counts the bytes that are written.
type countConn struct {
	net.Conn
	n int
}

func (c *countConn) Write(p []byte) (int, error) {
	c.n += len(p)
	return c.Conn.Write(p)
}

// Compression can be switched for each message, and for each way to write.
func TestWriteCompression(t *testing.T) {
	var count *countConn
	d := &websocket.Dialer{EnableCompression: true, NetDial: func(network, addr string) (net.Conn, error) {
		conn, err := net.Dial(network, addr)
		count = &countConn{Conn: conn}
		return count, err
	}}
	server, client := pair(t, &websocket.Upgrader{EnableCompression: true}, d)
	text := strings.Repeat("compress me ", 1000)
	for name, write := range map[string]func() error{
		"message": func() error { return client.WriteMessage(websocket.TextMessage, []byte(text)) },
		"stream": func() error {
			w, err := client.NextWriter(websocket.TextMessage)
			if err != nil {
				return err
			}
			for _, part := range []string{text[:10], text[10:7000], text[7000:]} {
				if _, err := io.WriteString(w, part); err != nil {
					return err
				}
			}
			return w.Close()
		},
	} {
		for _, plain := range []struct {
			name string
			off  func()
			on   func()
		}{
			{"enable", func() { client.EnableWriteCompression(false) }, func() { client.EnableWriteCompression(true) }},
			{"level", func() { client.SetCompressionLevel(0) }, func() { client.SetCompressionLevel(1) }},
		} {
			for _, deflate := range []bool{true, false, true} {
				plain.on()
				if !deflate {
					plain.off()
				}
				count.n = 0
				if err := write(); err != nil {
					t.Fatal(err)
				}
				expect(t, server, websocket.TextMessage, text)
				if got := count.n < len(text)/2; got != deflate {
					t.Errorf("%s, %s: %d bytes, compression %v", name, plain.name, count.n, deflate)
				}
			}
		}
	}
}

// Whether a message is compressed is settled when its writer is made.
func TestWriteCompressionOfWriter(t *testing.T) {
	var count *countConn
	d := &websocket.Dialer{EnableCompression: true, NetDial: func(network, addr string) (net.Conn, error) {
		conn, err := net.Dial(network, addr)
		count = &countConn{Conn: conn}
		return count, err
	}}
	server, client := pair(t, &websocket.Upgrader{EnableCompression: true}, d)
	for _, size := range []int{1000, 10000} { // in one frame, and in fragments
		text := strings.Repeat("x", size)
		for _, deflate := range []bool{true, false} {
			client.EnableWriteCompression(deflate)
			w, err := client.NextWriter(websocket.TextMessage)
			if err != nil {
				t.Fatal(err)
			}
			client.EnableWriteCompression(!deflate)
			count.n = 0
			io.WriteString(w, text)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			expect(t, server, websocket.TextMessage, text)
			if got := count.n < len(text)/2; got != deflate {
				t.Errorf("%d bytes took %d, compression %v", size, count.n, deflate)
			}
		}
	}
}

// Whatever WriteMessage and NextWriter are called for, they end the writer that
// was left open.
func TestWriterEndedByControl(t *testing.T) {
	next := map[string]func(c *websocket.Conn){
		"WriteMessage of a ping":          func(c *websocket.Conn) { c.WriteMessage(websocket.PingMessage, nil) },
		"WriteMessage of a close frame":   func(c *websocket.Conn) { c.WriteMessage(websocket.CloseMessage, nil) },
		"WriteMessage of an unknown type": func(c *websocket.Conn) { c.WriteMessage(3, nil) },
		"NextWriter of a ping":            func(c *websocket.Conn) { c.NextWriter(websocket.PingMessage) },
		"NextWriter of an unknown type":   func(c *websocket.Conn) { c.NextWriter(3) },
	}
	for name, f := range next {
		t.Run(name, func(t *testing.T) {
			c, peer := plainPair(t)
			w, err := c.NextWriter(websocket.TextMessage)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, "first")
			f(c)
			expect(t, peer, websocket.TextMessage, "first")
			if _, err := io.WriteString(w, "more"); err == nil {
				t.Error("the writer is still open")
			}
		})
	}
}
