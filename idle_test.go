//go:build unix

package websocket

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

// What an idle connection of an echo server keeps: a stack of 2 KiB, the smallest there is, though each has read and written; and little beside it. A frame that grows on
// the way down to the system call, or a buffer that is kept, shows here. To find out which function grows the stack, stop in runtime.copystack with a debugger.
func TestIdleMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("frames are larger under the race detector")
	}
	const conns = 400
	server := httptest.NewServer(Handler(func(c *Conn, _ *http.Request) {
		for m, err := range c.Messages(context.Background()) {
			if err != nil || c.Write(context.Background(), m.Type, m.Data) != nil {
				return
			}
		}
	}, nil))
	defer server.Close()

	exchange := func() net.Conn {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		p := wstest.NewPeer(t, conn, wstest.Client)
		p.ClientHandshake("/", "example.com")
		p.WriteFrame(wstest.Text, "hello")
		p.WantFrame(wstest.Text, "hello")
		return conn
	}
	for range 20 {
		exchange() // what is set up once is not a connection's
	}
	measure := func() (stack, heap uint64) {
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.StackInuse, m.HeapAlloc
	}
	stack, heap := measure()
	all := make([]net.Conn, 0, conns)
	for range conns {
		all = append(all, exchange())
	}
	stack2, heap2 := measure()
	perConn := func(before, after uint64) float64 { return (float64(after) - float64(before)) / conns }
	if got := perConn(stack, stack2); got > 3000 {
		t.Errorf("%.0f bytes of stack a connection", got)
	}
	// The clients' ends are in it, too.
	if got := perConn(heap, heap2); got > 4000 {
		t.Errorf("%.0f bytes of heap a connection", got)
	}
	t.Logf("a connection: %.0f bytes of stack, %.0f of heap with both ends", perConn(stack, stack2), perConn(heap, heap2))
	for _, conn := range all {
		conn.Close()
	}
}
