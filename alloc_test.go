package websocket

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/poison"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A replay is a transport that gives the same bytes for ever and takes all that
// is written. It allocates nothing.
type replay struct {
	stream []byte
	pos    int
	most   int // bytes a Read returns; 0: no bound
}

func (r *replay) Read(p []byte) (int, error) {
	if r.most > 0 && len(p) > r.most {
		p = p[:r.most]
	}
	n := copy(p, r.stream[r.pos:])
	r.pos = (r.pos + n) % len(r.stream)
	return n, nil
}
func (r *replay) Write(p []byte) (int, error)      { return len(p), nil }
func (r *replay) Close() error                     { return nil }
func (r *replay) LocalAddr() net.Addr              { return nil }
func (r *replay) RemoteAddr() net.Addr             { return nil }
func (r *replay) SetDeadline(time.Time) error      { return nil }
func (r *replay) SetReadDeadline(time.Time) error  { return nil }
func (r *replay) SetWriteDeadline(time.Time) error { return nil }

// Reading and writing messages allocates nothing, with a context that cannot
// end and with one that can and is used again.
func TestAllocs(t *testing.T) {
	if raceEnabled || poison.On {
		t.Skip("pools forget under the race detector, and note who takes what where they are poisoned")
	}
	cancellable, cancel := context.WithCancel(context.Background())
	defer cancel()
	timed, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	contexts := []struct {
		name string
		ctx  context.Context
	}{{"background", context.Background()}, {"cancellable", cancellable}, {"timed", timed}}

	for _, client := range []bool{false, true} {
		role, sender := "server", wstest.Client
		if client {
			role, sender = "client", wstest.Server
		}
		for _, size := range []int{0, 10, 100, 1000, 10_000, 100_000} {
			msg := make([]byte, size)
			whole := wstest.Encode(sender, binaryF(string(msg)))
			fragmented := wstest.Encode(sender, first(wstest.Text, string(msg[:size/2])), cont(string(msg[size/2:])))
			pinged := append(wstest.Encode(sender, ping("ping")), whole...)
			streams := map[string][]byte{"whole": whole, "fragmented": fragmented, "pinged": pinged}
			for _, context := range contexts {
				ctx := context.ctx
				count := func(name string, c *Conn, f func() error) {
					t.Helper()
					for range 20 { // let pools and buffers find their size
						if err := f(); err != nil {
							t.Fatal(err)
						}
					}
					var err error
					got := testing.AllocsPerRun(200, func() {
						if e := f(); e != nil {
							err = e
						}
					})
					if err != nil {
						t.Fatal(err)
					}
					if got != 0 {
						t.Errorf("%s of %d bytes, %s, %s context: %v allocations a message", name, size, role, context.name, got)
					}
					c.CloseNow()
				}
				for name, stream := range streams {
					c := newConn(connConfig{transport: &replay{stream: stream}, client: client})
					buf := make([]byte, size)
					count("ReadInto, "+name, c, func() error {
						_, b, err := c.ReadInto(ctx, buf)
						if err == nil && len(b) != size {
							err = fmt.Errorf("read %d bytes", len(b))
						}
						return err
					})
				}
				c := newConn(connConfig{transport: &replay{stream: whole, most: 1000}, client: client})
				buf := make([]byte, size)
				count("ReadInto in pieces", c, func() error { _, _, err := c.ReadInto(ctx, buf); return err })

				// One range is one call: count over its steps, less what
				// beginning it takes.
				steps := func(n int) float64 {
					c := newConn(connConfig{transport: &replay{stream: whole}, client: client})
					defer c.CloseNow()
					run := func() {
						i := 0
						for m, err := range c.Messages(ctx) {
							if err != nil || len(m.Data) != size {
								t.Fatal(err, len(m.Data))
							}
							if i++; i == n {
								break
							}
						}
					}
					run()
					return testing.AllocsPerRun(20, run)
				}
				if one, many := steps(1), steps(101); many > one {
					t.Errorf("Messages of %d bytes, %s, %s context: %v allocations for 100 messages", size, role, context.name, many-one)
				}

				c = newConn(connConfig{transport: &replay{stream: whole}, client: client})
				count("Write", c, func() error { return c.Write(ctx, MessageBinary, msg) })
				pm, err := NewPreparedMessage(MessageBinary, msg)
				if err != nil {
					t.Fatal(err)
				}
				c = newConn(connConfig{transport: &replay{stream: whole}, client: client})
				count("WritePrepared", c, func() error { return c.WritePrepared(ctx, pm) })

				c = newConn(connConfig{transport: &replay{stream: whole}, client: client})
				buf = make([]byte, size)
				count("echo", c, func() error {
					typ, b, err := c.ReadInto(ctx, buf)
					if err != nil {
						return err
					}
					return c.Write(ctx, typ, b)
				})
			}
		}
	}
}
