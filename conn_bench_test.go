package websocket

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"
)

// A loopConn gives the same bytes over and over, and swallows what is written: what is measured is the library alone.
type loopConn struct {
	net.Conn
	data []byte
	at   int
}

func (l *loopConn) Read(p []byte) (int, error) {
	n := copy(p, l.data[l.at:])
	if l.at += n; l.at == len(l.data) {
		l.at = 0
	}
	return n, nil
}

func (l *loopConn) Write(p []byte) (int, error)        { return len(p), nil }
func (l *loopConn) Close() error                       { return nil }
func (l *loopConn) SetReadDeadline(t time.Time) error  { return nil }
func (l *loopConn) SetWriteDeadline(t time.Time) error { return nil }

// loopOf returns a loopConn that gives masked or unmasked frames of size bytes each.
func loopOf(op opcode, size int, masked bool) *loopConn {
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = "text that is ASCII "[i%19]
	}
	h := header{headerBits{fin: true, opcode: op, masked: masked}, 0x9c41a2f7, int64(size)}
	frame := appendHeader(nil, h)
	frame = append(frame, payload...)
	if masked {
		mask(frame[len(frame)-size:], h.key)
	}
	var data []byte
	for len(data) < 64<<10 || len(data) < 2*len(frame) {
		data = append(data, frame...)
	}
	return &loopConn{data: data}
}

var benchSizes = []int{128, 4 << 10, 64 << 10, 1 << 20}

func benchRead(b *testing.B, op opcode, read func(b *testing.B, c *Conn)) {
	for _, client := range []bool{false, true} {
		for _, size := range benchSizes {
			role := "server"
			if client {
				role = "client"
			}
			b.Run(fmt.Sprintf("%s/%d", role, size), func(b *testing.B) {
				c := newConn(connConfig{transport: loopOf(op, size, !client), client: client})
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				read(b, c)
			})
		}
	}
}

func BenchmarkReadInto(b *testing.B) {
	benchRead(b, opBinary, func(b *testing.B, c *Conn) {
		var buf []byte
		for b.Loop() {
			_, got, err := c.ReadInto(context.Background(), buf)
			if err != nil {
				b.Fatal(err)
			}
			buf = got
		}
	})
}

func BenchmarkMessages(b *testing.B) {
	for name, op := range map[string]opcode{"text": opText, "binary": opBinary} {
		b.Run(name, func(b *testing.B) {
			benchRead(b, op, func(b *testing.B, c *Conn) {
				for _, err := range c.Messages(context.Background()) {
					if err != nil {
						b.Fatal(err)
					}
					if !b.Loop() {
						break
					}
				}
			})
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, role := range []string{"server", "client"} {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("%s/%d", role, size), func(b *testing.B) {
				c := newConn(connConfig{transport: &loopConn{}, client: role == "client"})
				msg := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if err := c.Write(context.Background(), MessageBinary, msg); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// Replies gather while messages are at hand: this is what one of a burst costs.
func BenchmarkEcho(b *testing.B) {
	for _, size := range benchSizes[:2] {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c := newConn(connConfig{transport: loopOf(opBinary, size, true)})
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for m, err := range c.Messages(context.Background()) {
				if err == nil {
					err = c.Write(context.Background(), m.Type, m.Data)
				}
				if err != nil {
					b.Fatal(err)
				}
				if !b.Loop() {
					break
				}
			}
		})
	}
}
