package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A deadline for reads and writes costs less than a context for each call. A read that meets it loses nothing.
func ExampleConn_SetDeadline() {
	c, end := connect(echo)
	defer end()
	ctx := context.Background()

	c.SetDeadline(time.Now().Add(-time.Second))
	_, _, err := c.Read(ctx)
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))

	c.SetDeadline(time.Now().Add(time.Minute))
	c.Write(ctx, websocket.MessageText, []byte("still here"))
	_, data, err := c.Read(ctx)
	fmt.Printf("%s %v\n", data, err)
	// Output:
	// true
	// still here <nil>
}

// A write that meets its deadline before the first byte is out sends nothing, and the connection lives on.
func ExampleConn_SetWriteDeadline() {
	c, end := connect(echo)
	defer end()
	ctx := context.Background()

	c.SetWriteDeadline(time.Now().Add(-time.Second))
	err := c.Write(ctx, websocket.MessageText, []byte("too late"))
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))

	c.SetWriteDeadline(time.Time{}) // none
	c.Write(ctx, websocket.MessageText, []byte("in time"))
	_, data, err := c.Read(ctx)
	fmt.Printf("%s %v\n", data, err)
	// Output:
	// true
	// in time <nil>
}

// The addresses are those of the transport.
func ExampleConn_LocalAddr() {
	c, end := connect(func(c *websocket.Conn, r *http.Request) {
		same := c.RemoteAddr().String() == r.RemoteAddr
		c.Write(r.Context(), websocket.MessageText, fmt.Appendf(nil, "%s, %t", c.RemoteAddr().Network(), same))
		c.Read(r.Context())
	})
	defer end()
	_, data, _ := c.Read(context.Background())
	fmt.Println(c.LocalAddr().(*net.TCPAddr).IP.IsLoopback())
	fmt.Println(string(data))
	// Output:
	// true
	// tcp, true
}

// Whoever comes when there are enough connections is told when to come again.
func ExampleAcceptOptions_maxConnections() {
	s := httptest.NewServer(websocket.Handler(echo, &websocket.AcceptOptions{MaxConnections: 1}))
	defer s.Close()
	ctx := context.Background()

	first, _, err := websocket.Dial(ctx, s.URL, nil)
	if err != nil {
		panic(err)
	}
	defer first.CloseNow()

	_, _, err = websocket.Dial(ctx, s.URL, nil)
	var refused *websocket.HandshakeError
	if errors.As(err, &refused) {
		fmt.Println(refused.StatusCode, refused.Header.Get("Retry-After") != "")
	}
	// Output: 503 true
}

// A public feed that knows no cookies may let the pages of every site connect.
func ExampleAcceptOptions_insecureSkipVerify() {
	s := httptest.NewServer(websocket.Handler(echo, &websocket.AcceptOptions{InsecureSkipVerify: true}))
	defer s.Close()
	c, _, err := websocket.Dial(context.Background(), s.URL, &websocket.DialOptions{
		HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}},
	})
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	fmt.Println("connected")
	// Output: connected
}

// A server that only hands text on may leave the check to those who read it.
func ExampleAcceptOptions_skipUTF8Validation() {
	s := httptest.NewServer(websocket.Handler(echo, &websocket.AcceptOptions{SkipUTF8Validation: true}))
	defer s.Close()
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, s.URL, &websocket.DialOptions{SkipUTF8Validation: true})
	if err != nil {
		panic(err)
	}
	defer c.CloseNow()
	c.Write(ctx, websocket.MessageText, []byte("caf\xe9")) // Latin-1
	_, data, err := c.Read(ctx)
	fmt.Printf("%q %v\n", data, err)
	// Output: "caf\xe9" <nil>
}
