package micro

import (
	"bufio"
	"context"
	"io"
	"slices"
	"sync"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"

	"github.com/seed70bc5565/websocket"
)

// must stops a benchmark whose library does not even start.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var libraries = []library{
	{
		name: "ours",
		read: func(f *feed) (total int64) {
			c := must(acceptOurs(f))
			for m, err := range c.Messages(context.Background()) {
				if err != nil {
					return total
				}
				total += int64(len(m.Data))
			}
			return total
		},
		writer: func(f *feed) func([]byte) error {
			c := must(acceptOurs(f))
			ctx := context.Background()
			return func(p []byte) error { return c.Write(ctx, websocket.MessageBinary, p) }
		},
	},
	{
		name: "gorilla",
		read: func(f *feed) (total int64) {
			c := must(upgradeGorilla(f))
			buf := make([]byte, 64<<10)
			for {
				_, r, err := c.NextReader()
				if err != nil {
					return total
				}
				total += drain(r, buf)
			}
		},
		writer: func(f *feed) func([]byte) error {
			c := must(upgradeGorilla(f))
			return func(p []byte) error { return c.WriteMessage(gorilla.BinaryMessage, p) }
		},
	},
	{
		name: "coder",
		read: func(f *feed) (total int64) {
			c := must(acceptCoder(f))
			buf := make([]byte, 64<<10)
			for {
				_, r, err := c.Reader(context.Background())
				if err != nil {
					return total
				}
				total += drain(r, buf)
			}
		},
		writer: func(f *feed) func([]byte) error {
			c := must(acceptCoder(f))
			ctx := context.Background()
			return func(p []byte) error { return c.Write(ctx, coder.MessageBinary, p) }
		},
	},
	{
		name: "gobwas",
		read: func(f *feed) (total int64) {
			br := bufio.NewReaderSize(f, 4096)
			header := make([]byte, 0, ws.MaxHeaderSize)
			var payload []byte
			for {
				h, err := ws.ReadHeaderBuffer(br, header[:ws.MaxHeaderSize-2])
				if err != nil || ws.CheckHeader(h, ws.StateServerSide) != nil {
					return total
				}
				payload = slices.Grow(payload[:0], int(h.Length))[:h.Length]
				if _, err := io.ReadFull(br, payload); err != nil {
					return total
				}
				ws.Cipher(payload, h.Mask, 0)
				total += h.Length
			}
		},
		writer: func(f *feed) func([]byte) error {
			return func(p []byte) error {
				return ws.WriteFrame(f, ws.NewFrame(ws.OpBinary, true, p))
			}
		},
	},
	{
		name: "gws",
		read: func(f *feed) int64 {
			e := &gwsEvents{}
			c := must(gws.NewUpgrader(e, nil).Upgrade(upgrade(f)))
			c.ReadLoop()
			return e.total
		},
		writer: func(f *feed) func([]byte) error {
			c := must(gws.NewUpgrader(&gwsEvents{}, nil).Upgrade(upgrade(f)))
			return func(p []byte) error { return c.WriteMessage(gws.OpcodeBinary, p) }
		},
	},
}

var gorillaUpgrader = gorilla.Upgrader{WriteBufferPool: &sync.Pool{}, WriteBufferSize: 4096}

func upgradeGorilla(f *feed) (*gorilla.Conn, error) {
	w, r := upgrade(f)
	return gorillaUpgrader.Upgrade(w, r, nil)
}

func acceptOurs(f *feed) (*websocket.Conn, error) {
	w, r := upgrade(f)
	return websocket.Accept(w, r, nil)
}

func acceptCoder(f *feed) (*coder.Conn, error) {
	w, r := upgrade(f)
	c, err := coder.Accept(w, r, nil)
	if err == nil {
		c.SetReadLimit(-1)
	}
	return c, err
}

// drain reads a message into buf, again and again.
func drain(r io.Reader, buf []byte) (total int64) {
	for {
		n, err := r.Read(buf)
		total += int64(n)
		if err != nil {
			return total
		}
	}
}

type gwsEvents struct {
	gws.BuiltinEventHandler
	total int64
}

func (e *gwsEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	e.total += int64(m.Data.Len())
	m.Close()
}
