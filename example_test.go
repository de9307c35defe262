package websocket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/seed70bc5565/websocket"
)

// connect serves one connection with serve, on a server of its own, and returns the client's end of it. end closes
// that, and returns when serve has returned.
func connect(serve func(c *websocket.Conn, r *http.Request)) (c *websocket.Conn, end func()) {
	returned := make(chan struct{})
	s := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		defer close(returned)
		serve(c, r)
	}, nil))
	c, _, err := websocket.Dial(context.Background(), s.URL, nil)
	if err != nil {
		panic(err)
	}
	return c, func() {
		c.CloseNow()
		<-returned
		s.Close()
	}
}

// greet sends one message and closes the connection.
func greet(c *websocket.Conn, r *http.Request) {
	c.Write(r.Context(), websocket.MessageText, []byte("hello"))
	c.Close(websocket.StatusNormalClosure, "that was all")
}

// echo sends everything back.
func echo(c *websocket.Conn, r *http.Request) {
	for m, err := range c.Messages(r.Context()) {
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), m.Type, m.Data); err != nil {
			return
		}
	}
}

// printMessages prints what comes in, until the peer closes.
func printMessages(c *websocket.Conn, r *http.Request) {
	for m, err := range c.Messages(r.Context()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%v: %s\n", m.Type, m.Data)
	}
	fmt.Println("closed by the peer")
}

func ExampleConn_Read() {
	c, end := connect(greet)
	defer end()

	typ, data, err := c.Read(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v: %s\n", typ, data)
	// Output: MessageText: hello
}

// A read whose context ends loses nothing: the next one goes on.
func ExampleConn_Read_cancelled() {
	c, end := connect(echo)
	defer end()

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, _, err := c.Read(ctx) // nothing has been sent yet
	fmt.Println(errors.Is(err, context.DeadlineExceeded))

	if err := c.Write(context.Background(), websocket.MessageText, []byte("still here")); err != nil {
		fmt.Println(err)
		return
	}
	_, data, err := c.Read(context.Background())
	fmt.Printf("%s %v\n", data, err)
	// Output:
	// true
	// still here <nil>
}

// One buffer serves for all messages; it grows to the longest of them.
func ExampleConn_ReadInto() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		for _, word := range []string{"one", "two", "three"} {
			c.Write(r.Context(), websocket.MessageText, []byte(word))
		}
		c.Close(websocket.StatusNormalClosure, "")
	})
	defer end()

	buf := make([]byte, 0, 1024)
	for {
		_, data, err := c.ReadInto(context.Background(), buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", data)
		buf = data
	}
	// Output:
	// one
	// two
	// three
}

// A long message is read as a stream, and never in memory as a whole.
func ExampleConn_Reader() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		c.Write(r.Context(), websocket.MessageBinary, make([]byte, 1<<20))
		c.Close(websocket.StatusNormalClosure, "")
	})
	defer end()

	typ, r, err := c.Reader(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := io.Copy(io.Discard, r)
	fmt.Println(typ, n, err)
	// Output: MessageBinary 1048576 <nil>
}

// The range ends when the peer closes the connection in order. m.Data is lent for one step.
func ExampleConn_Messages() {
	c, end := connect(greet)
	defer end()

	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%v: %s\n", m.Type, m.Data)
	}
	fmt.Println("closed")
	// Output:
	// MessageText: hello
	// closed
}

func ExampleConn_Write() {
	c, end := connect(printMessages)
	defer end()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		fmt.Println(err)
		return
	}
	c.Close(websocket.StatusNormalClosure, "")
	end()
	// Output:
	// MessageText: hello
	// closed by the peer
}

// Compression is off unless both sides ask for it. A secret is sent without it.
func ExampleConn_WriteUncompressed() {
	s := httptest.NewServer(websocket.Handler(echo, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover}))
	defer s.Close()
	c, _, err := websocket.Dial(context.Background(), s.URL, &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()

	for _, write := range []func(context.Context, websocket.MessageType, []byte) error{c.Write, c.WriteUncompressed} {
		if err := write(context.Background(), websocket.MessageText, bytes.Repeat([]byte("ab"), 1000)); err != nil {
			fmt.Println(err)
			return
		}
		_, data, err := c.Read(context.Background())
		fmt.Println(len(data), err)
	}
	// Output:
	// 2000 <nil>
	// 2000 <nil>
}

// A message of unknown length is written as a stream.
func ExampleConn_Writer() {
	c, end := connect(printMessages)
	defer end()

	w, err := c.Writer(context.Background(), websocket.MessageText)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 3 {
		fmt.Fprintf(w, "%d;", i)
	}
	if err := w.Close(); err != nil { // sends the end of the message
		fmt.Println(err)
		return
	}
	c.Close(websocket.StatusNormalClosure, "")
	end()
	// Output:
	// MessageText: 0;1;2;
	// closed by the peer
}

// A message for many connections is encoded once. Several go out together.
func ExampleConn_WritePrepared() {
	m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte("news"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		c, end := connect(printMessages)
		if err := c.WritePrepared(context.Background(), m); err != nil {
			fmt.Println(err)
		}
		c.Close(websocket.StatusNormalClosure, "")
		end()
	}
	// Output:
	// MessageText: news
	// closed by the peer
	// MessageText: news
	// closed by the peer
}

// The pong is read by whoever reads: here by CloseRead.
func ExampleConn_Ping() {
	c, end := connect(echo)
	defer end()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c.CloseRead(ctx)
	if err := c.Ping(ctx); err != nil {
		fmt.Println("the peer has vanished:", err)
		return
	}
	fmt.Println("the peer answers")
	// Output: the peer answers
}

func ExampleConn_Close() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		_, _, err := c.Read(r.Context())
		fmt.Println(err)
	})
	defer end()

	// A deferred CloseNow cleans up on every way out; on this one it has nothing left to do.
	defer c.CloseNow()

	err := c.Close(websocket.StatusGoingAway, "restarting")
	end()
	fmt.Println(err)
	// Output:
	// websocket: closed by the peer: 1001 StatusGoingAway: "restarting"
	// <nil>
}

// A connection that only sends: the context ends when the peer is gone.
func ExampleConn_CloseRead() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		c.Close(websocket.StatusNormalClosure, "seen enough")
	})
	defer end()

	ctx := c.CloseRead(context.Background())
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.Write(ctx, websocket.MessageText, []byte("tick"))
		case <-ctx.Done():
			fmt.Println("nobody listens any more")
			return
		}
	}
	// Output: nobody listens any more
}

func ExampleConn_SetReadLimit() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		c.SetReadLimit(10)
		_, _, err := c.Read(r.Context())
		fmt.Println("server:", errors.Is(err, websocket.ErrMessageTooBig))
	})
	defer end()

	if err := c.Write(context.Background(), websocket.MessageText, []byte("more than ten bytes")); err != nil {
		fmt.Println(err)
		return
	}
	_, _, err := c.Read(context.Background())
	end()
	fmt.Println("client:", websocket.CloseStatus(err))
	// Output:
	// server: true
	// client: StatusMessageTooBig
}

// A deadline is the cheap alternative to a context for each call.
func ExampleConn_SetReadDeadline() {
	c, end := connect(echo)
	defer end()

	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, _, err := c.Read(context.Background())
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))

	c.SetReadDeadline(time.Time{}) // none: the connection can be used as before
	c.Write(context.Background(), websocket.MessageText, []byte("hello"))
	_, data, err := c.Read(context.Background())
	fmt.Printf("%s %v\n", data, err)
	// Output:
	// true
	// hello <nil>
}

// A protocol that is made for streams runs over a WebSocket.
func ExampleNetConn() {
	c, end := connect(echo)
	defer end()

	stream := websocket.NetConn(context.Background(), c, websocket.MessageBinary)
	defer stream.Close()
	fmt.Fprintf(stream, "one ")
	fmt.Fprintf(stream, "stream")
	buf := make([]byte, len("one stream"))
	_, err := io.ReadFull(stream, buf) // not one message, but as many as it takes
	fmt.Printf("%s %v\n", buf, err)
	// Output: one stream <nil>
}

// CloseStatus is short for errors.As where the code is all that matters.
func ExampleCloseStatus() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		c.Close(websocket.StatusTryAgainLater, "overloaded")
	})
	defer end()

	_, _, err := c.Read(context.Background())
	switch websocket.CloseStatus(err) {
	case websocket.StatusTryAgainLater, websocket.StatusServiceRestart:
		fmt.Println("reconnect in a moment")
	case -1:
		fmt.Println("no close frame:", err)
	}
	// Output: reconnect in a moment
}

// What the peer said when it closed the connection.
func ExampleCloseError() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		c.Close(websocket.StatusPolicyViolation, "not on Sundays")
	})
	defer end()

	_, _, err := c.Read(context.Background())
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		fmt.Printf("%d, %s\n", closed.Code, closed.Reason)
	}
	fmt.Println("in order:", errors.Is(err, io.EOF))
	// Output:
	// 1008, not on Sundays
	// in order: false
}

// An orderly end, with StatusNormalClosure, StatusGoingAway or no code at all, matches io.EOF.
func ExampleCloseError_normal() {
	c, end := connect(greet)
	defer end()

	for {
		_, data, err := c.Read(context.Background())
		if errors.Is(err, io.EOF) {
			fmt.Println("the peer is done")
			return
		}
		if err != nil {
			fmt.Println("broken:", err)
			return
		}
		fmt.Printf("%s\n", data)
	}
	// Output:
	// hello
	// the peer is done
}

// Calls on a connection that this side has closed match net.ErrClosed.
func ExampleConn_CloseNow() {
	c, end := connect(echo)
	defer end()

	c.CloseNow()
	_, _, err := c.Read(context.Background())
	fmt.Println(errors.Is(err, net.ErrClosed))
	err = c.Write(context.Background(), websocket.MessageText, nil)
	fmt.Println(errors.Is(err, net.ErrClosed))
	// Output:
	// true
	// true
}

// The peer broke off in the middle of things: there was no close frame.
func Example_abruptEnd() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) { c.CloseNow() })
	defer end()

	_, _, err := c.Read(context.Background())
	fmt.Println(errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF))
	// Output: true false
}
