package apitest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A request that comes byte by byte is ended by the ReadHeaderTimeout of the
// HTTP server.
func TestHostileSlowRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipeListener{Conns: make(chan net.Conn), Closed: make(chan struct{})}
		server := &http.Server{ReadHeaderTimeout: 10 * time.Second, ErrorLog: discardLog,
			Handler: websocket.Handler(func(*websocket.Conn, *http.Request) { t.Error("serve was called") }, nil)}
		go server.Serve(l)
		defer server.Close()
		conn, err := l.Dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		dribbling := start(func() error { dribble(conn, []byte(wstest.Request("/", "example.com"))); return nil })
		got, err := io.ReadAll(conn)
		if d := time.Since(begin); d > 11*time.Second || bytes.Contains(got, []byte(" 101 ")) {
			t.Errorf("got %q, %v after %v", got, err, d)
		}
		conn.Close()
		<-dribbling
	})
}

// The context of Dial and the timeout of the HTTP client end a response that
// comes byte by byte, or has no end. Nothing is left of it.
func TestHostileSlowResponse(t *testing.T) {
	for name, answer := range map[string]func(p *wstest.Peer){
		"silent":       func(p *wstest.Peer) {},
		"byte by byte": func(p *wstest.Peer) { dribble(p.Conn, []byte(wstest.Response(wstest.SampleKey))) },
		"no end": func(p *wstest.Peer) {
			p.TryWrite([]byte("HTTP/1.1 101 Switching Protocols\r\n"))
			for range 1000 {
				if _, err := p.TryWrite([]byte("X: y\r\n")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
		"informational for ever": func(p *wstest.Peer) {
			for range 1000 {
				if _, err := p.TryWrite([]byte("HTTP/1.1 103 Early Hints\r\n\r\n")); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		},
	} {
		for _, by := range []string{"context", "client"} {
			t.Run(name+", "+by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client := pipeServer(t, asIs, func(p *wstest.Peer) {
						p.ReadRequest()
						answer(p)
						p.WantEnd()
					})
					ctx := context.Background()
					if by == "context" {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, 20*time.Second)
						defer cancel()
					} else {
						client.Timeout = 20 * time.Second
					}
					begin := time.Now()
					c, _, err := websocket.Dial(ctx, "ws://example.com/", &websocket.DialOptions{HTTPClient: client})
					if d := time.Since(begin); c != nil || !errors.Is(err, context.DeadlineExceeded) || d != 20*time.Second {
						t.Errorf("got %v, %v after %v", c, err, d)
					}
				})
			})
		}
	}
}
