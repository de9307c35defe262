package websocket

import (
	"net"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/poller"
)

// A poller waits on this link, as with [Events]. Calls that read wait there
// too, so the tests of every link hold for it.
func init() { links = append(links, link{"polled", false, polledLink}) }

func polledLink(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	ours, theirs = tcpLink(t)
	g := &polledGroup{g: poller.NewGroup(10 * time.Millisecond)}
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
