package suite_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/autobahn/suite"
)

func echo(ctx context.Context, c *websocket.Conn) error {
	defer c.CloseNow()
	for {
		typ, msg, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if err := c.Write(ctx, typ, msg); err != nil {
			return err
		}
	}
}

// quick is what go test has the time for: no case that pauses, and of the long
// ones a few.
func quick(t *testing.T) []*suite.Case {
	cases, err := suite.Select(suite.Cases(), "", "6.4.*,5.19-20,9.1.5-6,9.2.5-6,9.3.1-3,9.4.1-3,9.5.1-3,9.6.1-3,9.7.3-6,9.8.3-6,12.*.2-18,13.*.2-18")
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

func TestServer(t *testing.T) {
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) { echo(r.Context(), c) },
		&websocket.AcceptOptions{ReadLimit: 32 << 20, CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: 1}))
	defer server.Close()
	suite.Server(t, "ws"+strings.TrimPrefix(server.URL, "http"), suite.WithCases(quick(t)))
}

func TestClient(t *testing.T) {
	suite.Client(t, func(url string) error {
		c, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{ReadLimit: 32 << 20,
			CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: 1,
			CompressionSendWindowBits: 15})
		if err != nil {
			return err
		}
		echo(t.Context(), c)
		return nil
	}, suite.WithCases(quick(t)))
}

func TestServerThatIsNot(t *testing.T) {
	if _, err := suite.TestServer(t.Context(), "http://127.0.0.1/", suite.Options{}); err == nil {
		t.Error("an http URL is taken")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if _, err := suite.TestServer(t.Context(), "ws://"+ln.Addr().String(), suite.Options{}); err == nil {
		t.Error("no error though nothing listens")
	}
}
