package behaviour

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/seed70bc5565/websocket"
)

// NetConn passes the tests that package net has for its own conns. Its doc
// states the one difference: a deadline that cuts a Write inside its message
// ends the connection. PresentTimeout and FutureTimeout go on after a deadline,
// so they pass or fail with where it falls.
func TestNetConn(t *testing.T) {
	for run, always := range map[string]bool{
		"^(BasicIO|PingPong|RacyRead|RacyWrite|ReadTimeout|WriteTimeout|PastTimeout|CloseTimeout|ConcurrentMethods)$": true,
		"^(PresentTimeout|FutureTimeout)$": false,
	} {
		cmd := exec.Command(os.Args[0], "-test.v", "-test.run", "^TestNetConnAlone$/"+run)
		cmd.Env = append(os.Environ(), "NETTEST_ALONE=1")
		out, err := cmd.CombinedOutput()
		if err != nil && (always || !bytes.Contains(out, []byte("a write was cut short"))) {
			t.Errorf("%s: %v\n%s", run, err, out)
		}
	}
}

func TestNetConnAlone(t *testing.T) {
	if os.Getenv("NETTEST_ALONE") == "" {
		t.Skip("run by TestNetConn")
	}
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		ctx, cancel := context.WithCancel(context.Background())
		accepted := make(chan *websocket.Conn, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
			<-ctx.Done()
		}))
		client, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(server.URL, "http"), nil)
		if err != nil {
			cancel()
			server.Close()
			return nil, nil, nil, err
		}
		served := <-accepted
		if served == nil {
			cancel()
			server.Close()
			return nil, nil, nil, errors.New("the handshake failed")
		}
		stop = func() {
			cancel()
			client.CloseNow()
			served.CloseNow()
			server.Close()
		}
		return websocket.NetConn(ctx, served, websocket.MessageBinary), websocket.NetConn(ctx, client, websocket.MessageBinary), stop, nil
	})
}
