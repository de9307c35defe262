package h2peer

import (
	"context"
	"flag"
	"net"
	"net/http"
	"testing"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/autobahn/suite"
)

// full asks for all 517 cases: go test -run Autobahn -timeout 30m . -args -full
var full = flag.Bool("full", false, "run all cases of the Autobahn suite")

// The Autobahn cases through a tunnel: the suite speaks HTTP/1.1 to it, and it
// speaks HTTP/2 to our server. Cases about the handshake itself are not among
// them.
func TestAutobahn(t *testing.T) {
	if !*full {
		tunnelCases(t, 1, "1.*,2.*,3.*,4.*,5.*,6.1-5.*,7.*,9.1-2.1-2,10.*,12.1-2.1-4,13.*.1", "")
		return
	}
	// As in autobahn/doors_test.go only shorter echoes are compressed. Long
	// ones are compressed behind other doors, by the same calls.
	const shorter = "12.*.1-7,13.*.1-7"
	tunnelCases(t, 1, shorter, "")
	tunnelCases(t, 1<<30, "", shorter)
}

// tunnelCases runs cases. Echoes of at least threshold bytes are compressed.
func tunnelCases(t *testing.T, threshold int, include, exclude string) {
	cases, err := suite.Select(suite.Cases(), include, exclude)
	if err != nil {
		t.Fatal(err)
	}
	opts := &websocket.AcceptOptions{ReadLimit: 32 << 20, CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: threshold}
	srv := serve(t, false, websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		defer c.CloseNow()
		for m, err := range c.Messages(context.Background()) {
			if err != nil || c.Write(context.Background(), m.Type, m.Data) != nil {
				return
			}
		}
	}, opts))
	p := srv.peer(t, 1<<20)
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
			go p.Tunnel(conn)
		}
	}()
	suite.Server(t, "ws://"+l.Addr().String()+"/", suite.WithCases(cases))
	if p.GoneAway() {
		t.Error("one of the cases has ended the HTTP/2 connection")
	}
	t.Logf("%d cases", len(cases))
}
