// Command rawtcp is the floor of the benchmarks. It is a bare listener that
// parses only the lengths of frames. It answers all frames that it has read
// with one write. It neither unmasks nor checks anything, so that its answers
// have the right lengths and wrong contents. No library that keeps the protocol
// and writes from Go can be much cheaper.
package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"net"

	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

func main() { kit.Main(kit.Server{Serve: serve, Broadcast: broadcast}) }

type conn struct{ c net.Conn }

// Write sends one frame with one write: net.Conn lets any number of goroutines
// do so.
func (c conn) Write(p []byte) error {
	b := kit.GetBuffer()
	defer b.Put()
	b.B = append(appendHeader(b.B, 0x82, len(p)), p...)
	_, err := c.c.Write(b.B)
	return err
}

func serve(o *kit.Options, c net.Conn) {
	defer c.Close()
	buf := make([]byte, 256)
	n := 0
	for bytes.Index(buf[:n], []byte("\r\n\r\n")) < 0 {
		if n == len(buf) {
			return
		}
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		n += m
	}
	if _, err := c.Write(answer(buf[:n])); err != nil {
		return
	}
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

func answer(request []byte) []byte {
	_, rest, _ := bytes.Cut(request, []byte("Sec-WebSocket-Key: "))
	key, _, _ := bytes.Cut(rest, []byte("\r\n"))
	sum := sha1.Sum(append(key[:len(key):len(key)], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
}

// key is the length of a masking key, which an answer does not have.
const key = 4

// echo moves the complete frames in buf together, as answers without masking
// keys, and writes them at once.
func echo(c net.Conn, buf []byte) {
	n := 0
	for {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		n += m
		full := n == len(buf)
		in, out := 0, key // the first frame's payload stays where it is
		for {
			header, length := parse(buf[in:n])
			if header == 0 || in+header+length > n {
				break
			}
			first := buf[in]
			payload := buf[in+header : in+header+length]
			out = len(appendHeader(buf[:out], first, length)) // shorter than the frame's own by the key
			if in > 0 {
				copy(buf[out:], payload)
			}
			out += length
			in += header + length
		}
		if in > 0 {
			if _, err := c.Write(buf[key:out]); err != nil {
				return
			}
			n = copy(buf, buf[in:n])
		}
		if full {
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

// parse returns the lengths of the header and the payload of the frame that b
// starts with; 0 if b is too short to tell.
func parse(b []byte) (header, length int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch n := int(b[1] & 0x7f); {
	case n < 126:
		return 6, n
	case n == 126 && len(b) >= 4:
		return 8, int(binary.BigEndian.Uint16(b[2:]))
	case n == 127 && len(b) >= 10:
		return 14, int(binary.BigEndian.Uint64(b[2:]))
	}
	return 0, 0
}

func appendHeader(b []byte, first byte, n int) []byte {
	switch {
	case n < 126:
		return append(b, first, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, first, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, first, 127), uint64(n))
}

func broadcast(conns []kit.Conn, payload []byte, queued int) {
	frame := append(appendHeader(nil, 0x82, len(payload)), payload...)
	frames := bytes.Repeat(frame, queued)
	for _, c := range conns {
		c.(conn).c.Write(frames)
	}
}
