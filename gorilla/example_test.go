package websocket_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	native "github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/gorilla"
)

// A server and a client as they are written for gorilla/websocket. Only the
// import is another.
func Example() {
	upgrader := websocket.Upgrader{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the client has been answered
		}
		defer conn.Close()
		for {
			messageType, p, err := conn.ReadMessage()
			if err != nil {
				return
			}
			if err := conn.WriteMessage(messageType, p); err != nil {
				return
			}
		}
	}))
	defer server.Close()

	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := conn.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	_, p, err := conn.ReadMessage()
	fmt.Printf("%s %v\n", p, err)

	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second)); err != nil {
		log.Fatal(err)
	}
	_, _, err = conn.ReadMessage()
	fmt.Println(websocket.IsCloseError(err, websocket.CloseNormalClosure))
	// Output:
	// hello <nil>
	// true
}

// A program moves to the API of this module piece by piece. The old code
// upgrades the connection, and new code reads it.
func ExampleConn_Native() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		for m, err := range conn.Native().Messages(r.Context()) {
			if err != nil || conn.WriteMessage(websocket.TextMessage, m.Data) != nil {
				return
			}
		}
	}))
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, _, err := native.Dial(ctx, "ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, native.MessageText, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	_, p, err := c.Read(ctx)
	fmt.Printf("%s %v\n", p, err)
	// Output: hello <nil>
}

// Old code gets a connection that new code has made.
func ExampleFromNative() {
	server := httptest.NewServer(native.Handler(func(c *native.Conn, r *http.Request) {
		conn := websocket.FromNative(c)
		for {
			messageType, p, err := conn.ReadMessage()
			if err != nil || conn.WriteMessage(messageType, p) != nil {
				return
			}
		}
	}, nil))
	defer server.Close()

	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := conn.WriteJSON("hello"); err != nil {
		log.Fatal(err)
	}
	var text string
	err = conn.ReadJSON(&text)
	fmt.Println(text, err)
	// Output: hello <nil>
}
