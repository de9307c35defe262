package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/relay"
)

// A reverse proxy that counts the messages of the clients.
func Example() {
	backend := httptest.NewServer(websocket.Handler(echo, nil))
	defer backend.Close()

	var messages atomic.Int64
	count := &relay.Options{ToServer: func(_ context.Context, m *websocket.Message) error {
		messages.Add(1)
		return nil
	}}
	proxy := httptest.NewServer(websocket.Handler(func(client *websocket.Conn, r *http.Request) {
		server, _, err := websocket.Dial(r.Context(), backend.URL+r.URL.RequestURI(), nil)
		if err != nil {
			client.Close(websocket.StatusBadGateway, "the server cannot be reached")
			return
		}
		relay.Run(r.Context(), client, server, count) // an error tells which side failed: log it
	}, nil))
	defer proxy.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, proxy.URL+"/room", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, text := range []string{"one", "two"} {
		c.Write(ctx, websocket.MessageText, []byte(text))
		_, reply, _ := c.Read(ctx)
		fmt.Println(string(reply))
	}
	c.Close(websocket.StatusNormalClosure, "")
	fmt.Println(messages.Load(), "messages")
	// Output:
	// one
	// two
	// 2 messages
}

// Messages can be changed, dropped, or end the relay with a close code.
func ExampleOptions() {
	opts := &relay.Options{ToServer: func(_ context.Context, m *websocket.Message) error {
		switch {
		case m.Type == websocket.MessageBinary:
			return websocket.CloseError{Code: websocket.StatusUnsupportedData, Reason: "text only"}
		case string(m.Data) == "noise":
			m.Type = 0 // dropped
		default:
			m.Data = append(m.Data, " (by the proxy)"...)
		}
		return nil
	}, ToClient: func(_ context.Context, m *websocket.Message) error {
		m.Data = bytes.ToUpper(m.Data)
		return nil
	}}
	m := websocket.Message{Type: websocket.MessageText, Data: []byte("hello")}
	err := opts.ToServer(context.Background(), &m)
	fmt.Println(string(m.Data), err)
	err = opts.ToClient(context.Background(), &m)
	fmt.Println(string(m.Data), err)
	// Output:
	// hello (by the proxy) <nil>
	// HELLO (BY THE PROXY) <nil>
}

func echo(c *websocket.Conn, r *http.Request) {
	for m, err := range c.Messages(r.Context()) {
		if err != nil || c.Write(r.Context(), m.Type, m.Data) != nil {
			return
		}
	}
}
