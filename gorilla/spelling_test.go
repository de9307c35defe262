package websocket_test

import (
	"bufio"
	"net"
	"strings"
	"testing"

	websocket "github.com/seed70bc5565/websocket/gorilla"
)

// Servers that look for the names of fields byte by byte find them.
func TestDialSpelling(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	request := make(chan string, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			close(request)
			return
		}
		defer conn.Close()
		var lines strings.Builder
		in := bufio.NewScanner(conn)
		for in.Scan() && in.Text() != "" {
			lines.WriteString(in.Text() + "\n")
		}
		request <- lines.String()
	}()
	d := websocket.Dialer{Subprotocols: []string{"chat"}, EnableCompression: true}
	if _, _, err := d.Dial("ws://"+ln.Addr().String(), nil); err == nil {
		t.Error("Dial succeeds")
	}
	got := <-request
	for _, name := range []string{"Sec-WebSocket-Key: ", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: "} {
		if !strings.Contains(got, "\n"+name) {
			t.Errorf("no %q in\n%s", name, got)
		}
	}
}
