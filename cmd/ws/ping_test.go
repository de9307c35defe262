package main

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
)

func matches(pattern, s string) bool { return regexp.MustCompile(pattern).MatchString(s) }

func TestPing(t *testing.T) {
	url := serve(t, func(c *websocket.Conn, r *http.Request) {
		c.Write(r.Context(), websocket.MessageText, []byte("a message that nobody wants"))
		echo(c, r)
	}, nil)
	r := ws(t, "", "ping", "-n", "3", "-i", "1ms", url)
	if r.code != exitOK || !matches(`(?s)^pong 1: \S+\npong 2: \S+\npong 3: \S+\n3 pings, 3 pongs\nmin \S+, mean .*#`, r.out) || !matches(`handshake \S+\nclosed: 1000`, r.err) {
		t.Errorf("%+v", r)
	}
	r = ws(t, "", "ping", "-n", "3", "-i", "1ms", "--json", url)
	var result pingResult
	if err := json.Unmarshal([]byte(r.out), &result); err != nil || result.Sent != 3 || result.Received != 3 || result.Latency == nil || result.Latency.P50 <= 0 ||
		result.Latency.Max < result.Latency.Min || result.Handshake <= 0 || result.URL != url {
		t.Errorf("%+v: %v", r, err)
	}
}

func TestPingUnanswered(t *testing.T) {
	url := serve(t, echo, &websocket.AcceptOptions{OnPingReceived: func(context.Context, []byte) bool { return false }})
	ws(t, "", "ping", "-n", "2", "-i", "1ms", "-w", "20ms", url).want(t, exitMissing, "2 pings, 0 pongs\n", `(?m)^pong 2 did not come within 20ms$`)
}

func TestPingEnds(t *testing.T) {
	url := serve(t, func(c *websocket.Conn, r *http.Request) { c.Close(4000, "no pings here") }, nil)
	r := ws(t, "", "ping", "-q", url)
	if r.code != exitCloseCode || !matches(`closed by the peer: 4000 \(private code\) "no pings here"`, r.err) {
		t.Errorf("%+v", r)
	}
	ws(t, "", "ping", "ws://"+closedPort(t)).want(t, exitUnreachable, "", "No program listens")

	// Ctrl-C shows the result.
	ctx, interrupt := context.WithCancel(t.Context())
	p := start(ctx, strings.NewReader(""), "ping", "-i", "1ms", serve(t, echo, nil))
	p.out.wait(t, "pong 3: ")
	interrupt()
	if code := <-p.code; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	p.out.wait(t, `(\d+) pings, \d+ pongs\nmin`)
}
