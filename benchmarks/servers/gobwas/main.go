// Command gobwas serves github.com/gobwas/ws to the benchmarks. It uses the
// zero-copy upgrade on a bare listener, or net/http with -http. Frames come
// through a buffered reader. Payloads are unmasked in place, in a pooled buffer
// with room for the header. Each message is one write.
package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() { kit.Main(kit.Server{Handler: handler, Serve: serve, Broadcast: broadcast}) }

type conn struct {
	c  net.Conn
	mu *sync.Mutex
}

func (c conn) Write(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := kit.GetBuffer()
	defer b.Put()
	w := bytes.NewBuffer(b.B)
	ws.WriteHeader(w, ws.Header{Fin: true, OpCode: ws.OpBinary, Length: int64(len(p))})
	w.Write(p)
	b.B = w.Bytes()
	_, err := c.c.Write(b.B)
	return err
}

func handler(o *kit.Options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		go run(o, c, rw.Reader)
	})
}

func serve(o *kit.Options, c net.Conn) {
	if _, err := ws.Upgrade(c); err != nil {
		c.Close()
		return
	}
	run(o, c, bufio.NewReaderSize(c, 4096))
}

// maxHeader is the most bytes of a frame header that a server sends.
const maxHeader = 10

func run(o *kit.Options, c net.Conn, br *bufio.Reader) {
	defer c.Close()
	cn := conn{c, new(sync.Mutex)}
	if !o.Echo {
		o.Add(cn)
	}
	header := make([]byte, 0, ws.MaxHeaderSize)
	for {
		h, err := ws.ReadHeaderBuffer(br, header[:ws.MaxHeaderSize-2])
		if err != nil {
			return
		}
		if err := ws.CheckHeader(h, ws.StateServerSide); err != nil {
			return
		}
		b := kit.GetBuffer()
		b.B = slices.Grow(b.B, maxHeader+int(h.Length))[:maxHeader+int(h.Length)]
		payload := b.B[maxHeader:]
		if _, err := io.ReadFull(br, payload); err != nil {
			return
		}
		ws.Cipher(payload, h.Mask, 0)
		if o.Validate && h.OpCode == ws.OpText && !utf8.Valid(payload) {
			return
		}
		switch {
		case h.OpCode.IsControl():
			return
		case o.Echo:
			h.Masked = false
			start := maxHeader - ws.HeaderSize(h)
			w := front{b.B[start:start]}
			ws.WriteHeader(&w, h)
			_, err = c.Write(b.B[start:])
		default:
			o.Triggered(cn)
		}
		b.Put()
		if err != nil {
			return
		}
	}
}

// front collects a header in the free bytes in front of a payload.
type front struct{ b []byte }

func (f *front) Write(p []byte) (int, error) {
	f.b = append(f.b, p...)
	return len(p), nil
}

func broadcast(conns []kit.Conn, payload []byte, queued int) {
	frame := ws.MustCompileFrame(ws.NewBinaryFrame(payload))
	for _, c := range conns {
		c := c.(conn)
		for range queued {
			c.mu.Lock()
			c.c.Write(frame)
			c.mu.Unlock()
		}
	}
}
