package middleware_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/seed70bc5565/websocket/internal/h2peer"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

func TestMain(m *testing.M) {
	h2peer.WithConnect()
	os.Exit(m.Run())
}

// The same over HTTP/2, where the status is 200 and no connection is taken
// over.
func TestHTTP2(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	for _, s := range setups {
		t.Run(s.name, func(t *testing.T) { testHTTP2(t, s) })
	}
}

func testHTTP2(t *testing.T, s setup) {
	var out, serverLog buffer
	served := make(chan struct{}, 100)
	h := s.handler(&out)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { served <- struct{}{} }()
		h.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(&serverLog, "", 0)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	p, err := h2peer.Dial(server.Listener.Addr().String(), nil, h2peer.Window)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()

	var peers []*wstest.Peer
	const n = 5
	for i := range n {
		ws, err := p.Open(h2peer.Handshake("example.com", fmt.Sprint("/room/r", i), "accept-encoding", "gzip"), false, false)
		if err != nil {
			t.Fatal(err)
		}
		header, err := ws.Header()
		if err != nil {
			t.Fatal(err)
		}
		ws.SetDeadline(time.Now().Add(30 * time.Second))
		if s.fails != "" {
			body, _ := io.ReadAll(ws)
			if header[":status"][0] != "501" || !strings.Contains(string(body), "no http.Flusher") {
				t.Errorf("%v %q", header, body)
			}
			return
		}
		if header[":status"][0] != "200" || s.header != "" && len(header[strings.ToLower(s.header)]) == 0 {
			t.Fatalf("the response: %v", header)
		}
		peers = append(peers, wstest.NewPeer(t, ws, wstest.Client))
	}
	for i, c := range peers {
		for range 2 {
			c.WriteFrame(wstest.Text, "x")
			c.WantFrame(wstest.Text, fmt.Sprint("r", i))
		}
		c.WriteClose(1000, "")
		c.WantClose(1000)
		// A compressor may end what it has not begun, behind the last frame.
	}
	for range n {
		<-served
	}
	if logs := strings.NewReplacer("101", "200", "HTTP/1.1", "HTTP/2.0").Replace(s.logs); !strings.Contains(out.String(), logs) {
		t.Errorf("the log of the middleware is %q, want %q in it", &out, logs)
	}
	if text := serverLog.String(); text != "" {
		t.Errorf("the log of the server is %q", text)
	}
}
