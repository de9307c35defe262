package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A streamConn is a transport from which a fixed stream comes, in pieces, and that takes all that is written.
type streamConn struct {
	stream []byte
	piece  int
}

func (c *streamConn) Read(p []byte) (int, error) {
	if len(c.stream) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.stream)
	c.stream = c.stream[n:]
	return n, nil
}
func (c *streamConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *streamConn) Close() error                     { return nil }
func (c *streamConn) LocalAddr() net.Addr              { return nil }
func (c *streamConn) RemoteAddr() net.Addr             { return nil }
func (c *streamConn) SetDeadline(time.Time) error      { return nil }
func (c *streamConn) SetReadDeadline(time.Time) error  { return nil }
func (c *streamConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzDeflatedMessages gives a connection any bytes as the payloads of compressed messages, in fragments of any size,
// over a transport that gives them in pieces of any size. Whole, as a stream, lent and in one piece: each way of
// reading returns the same messages and then fails, within the limit, and nothing is left of the pools.
func FuzzDeflatedMessages(f *testing.F) {
	for _, msg := range []string{"", "Hello", "Hello, hello, hello", string(bytes.Repeat([]byte("0123456789 "), 2000))} {
		payload := deflated(f, []byte(msg))
		f.Add(payload, byte(0), byte(7), byte(200))
		f.Add(append(payload, payload...), byte(3), byte(1), byte(3))
		f.Add(payload[:len(payload)/2], byte(1), byte(255), byte(100))
	}
	f.Fuzz(func(t *testing.T, payload []byte, mode, fragment, piece byte) {
		text, takeover := mode&1 != 0, mode&2 != 0
		op := wstest.Binary
		if text {
			op = wstest.Text
		}
		// The payload comes twice: what one message leaves behind is what the next one refers to.
		var stream []byte
		for range 2 {
			rest, first := payload, true
			for first || len(rest) > 0 {
				n := min(len(rest), 1+int(fragment)*8)
				frame := wstest.Frame{Op: wstest.Continuation, Fin: n == len(rest), Payload: rest[:n]}
				if first {
					frame.Op, frame.RSV = op, rsv1
				}
				stream = frame.Append(stream, wstest.Client)
				rest, first = rest[n:], false
			}
		}
		params := deflateParams{serverBits: 15, clientBits: 15, clientNoTakeover: !takeover}
		const limit = 1 << 16
		read := func(piece int, next func(c *Conn) ([]byte, error)) (msgs [][]byte, err error) {
			defer buffersReturn(t)()
			c := newConn(connConfig{
				transport: &streamConn{bytes.Clone(stream), piece}, deflate: &params, readLimit: limit,
				pingInterval: -1, pongTimeout: -1,
			})
			defer c.CloseNow()
			for {
				msg, err := next(c)
				if err != nil {
					return msgs, err
				}
				if len(msg) > limit {
					t.Fatalf("a message of %d bytes", len(msg))
				}
				msgs = append(msgs, bytes.Clone(msg))
			}
		}
		ctx := context.Background()
		whole := func(c *Conn) ([]byte, error) {
			_, msg, err := c.Read(ctx)
			return msg, err
		}
		want, wantErr := read(len(stream)+1, whole)
		for name, next := range map[string]func(c *Conn) ([]byte, error){
			"in pieces": whole,
			"lent": func(c *Conn) (msg []byte, err error) {
				err = io.EOF
				for m, readErr := range c.Messages(ctx) {
					msg, err = bytes.Clone(m.Data), readErr
					break
				}
				return msg, err
			},
			"streamed": func(c *Conn) ([]byte, error) {
				_, r, err := c.Reader(ctx)
				if err != nil {
					return nil, err
				}
				var msg []byte
				b := make([]byte, 1+int(piece)*3)
				for {
					n, err := r.Read(b)
					if msg = append(msg, b[:n]...); err == io.EOF {
						return msg, nil
					} else if err != nil {
						return nil, err
					}
				}
			},
		} {
			got, err := read(1+int(piece)*5, next)
			same := len(got) == len(want)
			for i := range got {
				same = same && bytes.Equal(got[i], want[i])
			}
			if !same || errors.Is(err, io.ErrUnexpectedEOF) != errors.Is(wantErr, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %d messages, then %v; whole: %d, then %v", name, len(got), err, len(want), wantErr)
			}
		}
	})
}
