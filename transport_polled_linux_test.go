package websocket

import (
	"net"
	"testing"
)

// A poller waits on this link, as with [Events]. Calls that read wait there
// too, so the tests of every link hold for it.
func init() { links = append(links, link{"polled", false, polledLink}) }

func polledLink(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	ours, theirs = tcpLink(t)
	g := new(polledGroup)
	cfg, x := connConfig{transport: ours}, new(polledConn)
	g.adopt(&cfg, x, noSteps{x})
	if cfg.transport != x {
		t.Fatal("the poller did not take the socket")
	}
	x.start()
	t.Cleanup(func() { x.Close() })
	return x, theirs
}

// noSteps does nothing when a socket is readable: calls that read wait for it.
type noSteps struct{ *polledConn }

func (noSteps) Step() bool { return false }
