package websocket

import (
	"io"
	"strings"
	"testing"
	"time"
)

// A write over TLS that was cut short ruins the stream of records. No alert
// follows it: the peer would take that for a forgery.
func TestCutWriteOverTLS(t *testing.T) {
	ours, theirs := tlsLink(t)
	c := newConn(connConfig{transport: ours, pingInterval: -1})
	c.t.conn.SetWriteDeadline(time.Unix(1, 0))
	if _, err := c.t.write([]byte("x")); err == nil {
		t.Fatal("a write after the deadline succeeds")
	}
	c.CloseNow()
	if _, err := io.ReadAll(theirs); err != nil && strings.Contains(err.Error(), "bad record") {
		t.Errorf("the peer reads: %v", err)
	}
}
