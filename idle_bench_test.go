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

// BenchmarkIdleMemory reports what an idle connection of an echo server keeps after GC: a stack of 2 KiB, the smallest
// there is, though each has read and written, and little heap beside it (the client's end is in it, too). A frame that
// grows on the way down to the system call, or a buffer that is kept, shows here. To find out which function grows the
// stack, stop in runtime.copystack with a debugger.
func BenchmarkIdleMemory(b *testing.B) {
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
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		p := wstest.NewPeer(b, conn, wstest.Client)
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
	b.ReportMetric((float64(stack2)-float64(stack))/conns, "stack-B/conn")
	b.ReportMetric((float64(heap2)-float64(heap))/conns, "heap-B/conn")
	b.ReportMetric(0, "ns/op")
	for _, conn := range all {
		conn.Close()
	}
}
