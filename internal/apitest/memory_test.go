//go:build unix

package apitest

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/internal/wstest"
	"github.com/seed70bc5565/websocket/wsjson"
)

// idleHandlers are handlers as people write them.
var idleHandlers = []struct {
	name  string
	serve func(c *websocket.Conn, r *http.Request)
}{
	{"Messages", func(c *websocket.Conn, r *http.Request) {
		for m, err := range c.Messages(context.Background()) {
			if err != nil || c.Write(context.Background(), m.Type, m.Data) != nil {
				return
			}
		}
	}},
	{"Switch", func(c *websocket.Conn, r *http.Request) {
		defer c.CloseNow()
		for m, err := range c.Messages(r.Context()) {
			switch {
			case errors.Is(err, websocket.ErrMessageTooBig):
				c.Close(websocket.StatusMessageTooBig, "at most 1 MiB")
				return
			case err != nil:
				return
			}
			switch m.Type {
			case websocket.MessageText, websocket.MessageBinary:
				if err := c.Write(r.Context(), m.Type, m.Data); err != nil {
					return
				}
			}
		}
	}},
	{"Context", func(c *websocket.Conn, r *http.Request) {
		defer c.CloseNow()
		ctx := r.Context()
		for m, err := range c.Messages(ctx) {
			switch {
			case errors.Is(err, websocket.ErrMessageTooBig):
				c.Close(websocket.StatusMessageTooBig, "at most 1 MiB")
				return
			case err != nil:
				return
			}
			switch m.Type {
			case websocket.MessageText, websocket.MessageBinary:
				if err := c.Write(ctx, m.Type, m.Data); err != nil {
					return
				}
			}
		}
	}},
	{"Log", func(c *websocket.Conn, r *http.Request) {
		defer c.CloseNow()
		for m, err := range c.Messages(r.Context()) {
			if err != nil {
				logger.Printf("%s: %v", r.RemoteAddr, err)
				return
			}
			if err := c.Write(r.Context(), m.Type, m.Data); err != nil {
				return
			}
		}
	}},
	{"LogSwitch", func(c *websocket.Conn, r *http.Request) {
		defer c.CloseNow()
		ctx := r.Context()
		for m, err := range c.Messages(ctx) {
			switch {
			case errors.Is(err, websocket.ErrMessageTooBig):
				c.Close(websocket.StatusMessageTooBig, "at most 1 MiB")
				return
			case err != nil:
				logger.Printf("read from %v: %v", c.RemoteAddr(), err)
				return
			}
			if err := c.Write(ctx, m.Type, m.Data); err != nil {
				logger.Printf("write to %v: %v", c.RemoteAddr(), err)
				return
			}
		}
	}},
	{"Read", func(c *websocket.Conn, r *http.Request) {
		defer c.CloseNow()
		ctx := r.Context()
		for {
			typ, p, err := c.Read(ctx)
			if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
				return
			}
			if err != nil {
				logger.Printf("%s: %v", r.RemoteAddr, err)
				return
			}
			if err := c.Write(ctx, typ, p); err != nil {
				return
			}
		}
	}},
	{"Timeout", func(c *websocket.Conn, r *http.Request) {
		defer c.CloseNow()
		ctx := r.Context()
		for m, err := range c.Messages(ctx) {
			if err != nil {
				return
			}
			wctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			err := c.Write(wctx, m.Type, m.Data)
			cancel()
			if err != nil {
				return
			}
		}
	}},
	{"JSON", func(c *websocket.Conn, r *http.Request) {
		defer c.CloseNow()
		for {
			var v struct{ Text string }
			if err := wsjson.Read(r.Context(), c, &v); err != nil {
				return
			}
			if err := wsjson.Write(r.Context(), c, v); err != nil {
				return
			}
		}
	}},
	{"Streams", func(c *websocket.Conn, r *http.Request) {
		defer c.CloseNow()
		for {
			typ, from, err := c.Reader(r.Context())
			if err != nil {
				return
			}
			to, err := c.Writer(r.Context(), typ)
			if err != nil {
				return
			}
			if _, err := io.Copy(to, from); err != nil {
				return
			}
			if err := to.Close(); err != nil {
				return
			}
		}
	}},
	{"Hub", func(c *websocket.Conn, r *http.Request) {
		s := idleHub.Join(c)
		defer s.Leave()
		if err := s.Subscribe(r.Context(), "news"); err != nil {
			return
		}
		for m, err := range c.Messages(r.Context()) {
			if err != nil {
				return
			}
			idleHub.Publish(r.Context(), "news", m.Type, m.Data)
		}
	}},
}

var (
	idleHub = hub.New(nil)
	logger  = log.New(io.Discard, "", log.LstdFlags)
)

// BenchmarkIdleMemory reports what an idle connection of an echo server keeps
// after GC. That is a stack of 2 KiB, the smallest there is, though each has
// read and written. In addition there is a little heap (the client's end is in
// it, too). A frame that grows on the way down to the system call shows here,
// and so does a buffer that is kept. It fails for the handlers in smallStack. To
// find the function that grows the stack, stop in runtime.copystack with a
// debugger.
func BenchmarkIdleMemory(b *testing.B) {
	for _, h := range idleHandlers {
		b.Run(h.name, func(b *testing.B) {
			stack := idleMemory(b, websocket.Handler(h.serve, nil))
			if small := slices.Contains(smallStack, h.name); small && stack > 3<<10 && !wstest.RaceEnabled {
				b.Errorf("%.0f bytes of stack for each connection: most of them had to grow from 2 KiB", stack)
			}
		})
	}
	b.Run("Events", func(b *testing.B) {
		idleMemory(b, websocket.Events(func(c *websocket.Conn, r *http.Request) websocket.EventHandler {
			return events{message: func(m websocket.Message) { c.Write(context.Background(), m.Type, m.Data) }}
		}, nil))
	})
}

// smallStack are the names of idleHandlers that stay within a stack of 2 KiB.
var smallStack = []string{"Messages", "Switch", "Context", "Log", "LogSwitch", "Read", "Streams", "Hub"}

// idleMemory returns the bytes of stack for each connection.
func idleMemory(b *testing.B, handler *websocket.Server) float64 {
	const conns = 400
	const text = `{"Text":"hello"}`
	server := httptest.NewServer(handler)
	defer server.Close()

	exchange := func() net.Conn {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		p := wstest.NewPeer(b, conn, wstest.Client)
		p.ClientHandshake("/", "example.com")
		p.WriteFrame(wstest.Text, text)
		if f := p.ReadFrame(); !strings.HasPrefix(string(f.Payload), text) {
			b.Fatalf("%+v", f)
		}
		return conn
	}
	// Memory that is set up once does not belong to a connection. And the
	// runtime begins stacks with what goroutines needed on average when it last
	// collected. That is here as in a server that has had connections for a
	// while.
	for range conns {
		exchange()
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
	handler.Shutdown(context.Background())
	return (float64(stack2) - float64(stack)) / conns
}
