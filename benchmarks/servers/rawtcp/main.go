// Command rawtcp is the floor of the benchmarks for servers that have a
// goroutine for each connection. It is a bare listener that parses only the
// lengths of frames. It answers all frames that it has read with one write. No
// library that keeps the protocol and writes from Go can be much cheaper.
package main

import (
	"bytes"
	"net"

	"github.com/seed70bc5565/websocket/benchmarks/servers/internal/raw"
	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() { kit.Main(kit.Server{Serve: serve, Broadcast: broadcast}) }

type conn struct{ c net.Conn }

// Write sends one frame with one write: net.Conn lets any number of goroutines
// do so.
func (c conn) Write(p []byte) error {
	b := kit.GetBuffer()
	defer b.Put()
	b.B = raw.AppendMessage(b.B, p)
	_, err := c.c.Write(b.B)
	return err
}

func serve(o *kit.Options, c net.Conn) {
	defer c.Close()
	if err := raw.Handshake(c); err != nil {
		return
	}
	buf := make([]byte, 256)
	if o.Echo {
		echo(c, buf)
		return
	}
	o.Add(conn{c})
	for {
		if _, err := c.Read(buf); err != nil { // a trigger is one frame
			return
		}
		o.Triggered(conn{c})
	}
}

// echo answers all whole frames in buf with one write.
func echo(c net.Conn, buf []byte) {
	n := 0
	for {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		n += m
		full := n == len(buf)
		if answers, used := raw.Echo(buf[:n]); used > 0 {
			if _, err := c.Write(answers); err != nil {
				return
			}
			n = copy(buf, buf[used:n])
		}
		if full {
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

func broadcast(conns []kit.Conn, payload []byte, queued int) {
	frames := bytes.Repeat(raw.AppendMessage(nil, payload), queued)
	for _, c := range conns {
		c.(conn).c.Write(frames)
	}
}
