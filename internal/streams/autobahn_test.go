package streams

import (
	"context"
	"flag"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/autobahn/suite"
)

// full asks for all 517 cases of the Autobahn suite, and those beyond it:
// go test -run Autobahn -timeout 30m -args -full
var full = flag.Bool("full", false, "run all Autobahn cases through each door")

// cases are those that each door carries. The cases that not names do not
// concern the door.
func cases(t *testing.T, not string) []*suite.Case {
	t.Helper()
	all := append(slices.Clip(suite.Cases()), suite.Beyond()...)
	include := ""
	if !*full {
		include = "1.*.1-2,2.1-6,3.1-2,4.1.3,5.1-3,6.2.1,6.6.1-2,7.1.1-2,7.3.2,7.9.1,9.1.1,12.1.2,13.3.1"
	}
	chosen, err := suite.Select(all, include, not)
	if err != nil {
		t.Fatal(err)
	}
	return chosen
}

var autobahnOptions = websocket.AcceptOptions{
	ReadLimit:       32 << 20,
	CompressionMode: websocket.CompressionContextTakeover,
}

// notFastHTTP are requests that fasthttp judges itself. It accepts
// Transfer-Encoding with Content-Length (b.8.24). It answers 431 to a field of
// 4 KiB, which is its default ReadBufferSize (b.8.31).
const notFastHTTP = "b.8.24,b.8.31"

// autobahnEcho sends back all that comes.
func autobahnEcho(c *websocket.Conn) {
	defer c.CloseNow()
	for m, err := range c.Messages(context.Background()) {
		if err != nil || c.Write(context.Background(), m.Type, m.Data) != nil {
			return
		}
	}
}

// The Autobahn cases reach the server through fasthttp and fiber.
func TestAutobahnFastHTTP(t *testing.T) {
	for _, door := range doors {
		t.Run(door.name, func(t *testing.T) {
			addr := listen(t, door.serve(&autobahnOptions, func(c *websocket.Conn, _ *http.Request) { autobahnEcho(c) }))
			suite.Server(t, "ws://"+addr, suite.WithCases(cases(t, notFastHTTP)))
		})
	}
}

// Each Autobahn case is a channel of one SSH connection.
func TestAutobahnSSH(t *testing.T) {
	near, far := tcpPair(t)
	client, channels, _ := sshPair(t, near, far)
	go func() {
		for conn := range channels {
			go func() {
				c, _, err := websocket.AcceptConn(context.Background(), conn, &autobahnOptions)
				if err == nil {
					autobahnEcho(c)
				}
			}()
		}
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go throughChannel(client, conn)
		}
	}()
	suite.Server(t, "ws://"+l.Addr().String(), suite.WithCases(cases(t, "")))
}

// throughChannel sends what comes on conn through a channel of its own, and
// back.
func throughChannel(client *ssh.Client, conn net.Conn) {
	defer conn.Close()
	channel, requests, err := client.OpenChannel("websocket", nil)
	if err != nil {
		return
	}
	defer channel.Close()
	go ssh.DiscardRequests(requests)
	go func() {
		io.Copy(channel, conn)
		channel.CloseWrite()
	}()
	io.Copy(conn, channel)
}
