package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A peer that has vanished: its host takes some bytes into buffers that nobody empties, and nothing ever comes. Each
// call notices within the bound that was given to it, to the moment, and the connection can be ended at once then.
func TestPeerVanishes(t *testing.T) {
	const buffer = 1000
	const bound = 7 * time.Second
	in7s := func() context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		time.AfterFunc(time.Hour, cancel)
		return ctx
	}
	text := make([]byte, 300)
	long := make([]byte, 100_000)
	background := context.Background()
	tests := []struct {
		name  string
		cfg   connConfig
		do    func(c *Conn) error
		after time.Duration
		want  error
	}{
		{"Read, context", connConfig{}, func(c *Conn) error {
			_, _, err := c.Read(in7s())
			return err
		}, bound, context.DeadlineExceeded},
		{"Read, deadline", connConfig{}, func(c *Conn) error {
			c.SetReadDeadline(time.Now().Add(bound))
			_, _, err := c.Read(background)
			return err
		}, bound, os.ErrDeadlineExceeded},
		{"Messages, context", connConfig{}, func(c *Conn) (err error) {
			for _, err = range c.Messages(in7s()) {
			}
			return err
		}, bound, context.DeadlineExceeded},
		{"NetConn, deadline", connConfig{}, func(c *Conn) error {
			n := NetConn(background, c, MessageBinary)
			n.SetReadDeadline(time.Now().Add(bound))
			_, err := n.Read(make([]byte, 10))
			return err
		}, bound, os.ErrDeadlineExceeded},
		{"Read, heartbeat", connConfig{pingInterval: 12 * time.Second, pongTimeout: 3 * time.Second}, func(c *Conn) error {
			_, _, err := c.Read(background)
			return err
		}, 15 * time.Second, ErrPongTimeout},
		{"Messages, heartbeat behind a write that is stuck", connConfig{}, func(c *Conn) (err error) {
			go func() {
				for c.Write(background, MessageText, text) == nil {
				}
			}()
			for _, err = range c.Messages(background) {
			}
			return err
		}, 40 * time.Second, ErrPongTimeout},
		{"Read, default heartbeat", connConfig{}, func(c *Conn) error {
			_, _, err := c.Read(background)
			return err
		}, 40 * time.Second, ErrPongTimeout},
		{"short Writes, context", connConfig{}, func(c *Conn) error {
			ctx := in7s()
			for {
				if err := c.Write(ctx, MessageText, text); err != nil {
					return err
				}
			}
		}, bound, context.DeadlineExceeded},
		{"short Writes, deadline", connConfig{}, func(c *Conn) error {
			c.SetWriteDeadline(time.Now().Add(bound))
			for {
				if err := c.Write(background, MessageText, text); err != nil {
					return err
				}
			}
		}, bound, os.ErrDeadlineExceeded},
		{"long Write, context", connConfig{}, func(c *Conn) error {
			return c.Write(in7s(), MessageText, long)
		}, bound, context.DeadlineExceeded},
		{"Write behind one that is stuck, context", connConfig{}, func(c *Conn) error {
			go c.Write(background, MessageText, long)
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(background, bound-time.Second)
			defer cancel()
			return c.Write(ctx, MessageText, long)
		}, bound, context.DeadlineExceeded},
		{"Writer, context", connConfig{}, func(c *Conn) error {
			w, err := c.Writer(in7s(), MessageText)
			for err == nil {
				_, err = w.Write(text)
			}
			w.Close()
			return err
		}, bound, context.DeadlineExceeded},
		{"Ping, context", connConfig{}, func(c *Conn) error {
			go c.Read(background)
			return c.Ping(in7s())
		}, bound, context.DeadlineExceeded},
		{"Ping past the buffer, context", connConfig{}, func(c *Conn) error {
			go c.Write(background, MessageText, long)
			go c.Read(background)
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(background, bound-time.Second)
			defer cancel()
			return c.Ping(ctx)
		}, bound, context.DeadlineExceeded},
		{"Close", connConfig{}, func(c *Conn) error {
			return c.Close(StatusNormalClosure, "bye")
		}, 5 * time.Second, context.DeadlineExceeded},
		{"Close, own timeout", connConfig{closeTimeout: 3 * time.Second}, func(c *Conn) error {
			return c.Close(StatusNormalClosure, "bye")
		}, 3 * time.Second, context.DeadlineExceeded},
		{"Close behind a write that is stuck", connConfig{}, func(c *Conn) error {
			go c.Write(background, MessageText, long)
			time.Sleep(time.Second)
			return c.Close(StatusNormalClosure, "bye")
		}, 6 * time.Second, context.DeadlineExceeded},
		{"Close of a reader in progress", connConfig{}, func(c *Conn) error {
			done := start(func() error { _, _, err := c.Read(background); return err })
			time.Sleep(time.Second)
			c.Close(StatusNormalClosure, "bye")
			return <-done
		}, 6 * time.Second, net.ErrClosed},
		{"CloseNow", connConfig{}, func(c *Conn) error {
			done := start(func() error { _, _, err := c.Read(background); return err })
			go c.Write(background, MessageText, long)
			time.Sleep(time.Second)
			if err := c.CloseNow(); err != nil {
				t.Errorf("CloseNow = %v", err)
			}
			return <-done
		}, time.Second, net.ErrClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				defer buffersReturn(t)()
				ours, _ := netfake.Pipe(netfake.Options{Buffer: buffer})
				cfg := test.cfg
				cfg.transport, cfg.client = ours, client
				c := newConn(cfg)
				begun := time.Now()
				err := test.do(c)
				took := time.Since(begun)
				least := test.after
				most := test.after + 2*time.Millisecond
				if test.want == ErrPongTimeout {
					least /= 2 // pings are staggered
					most = test.after * 5 / 4
				}
				if took < least || took > most {
					t.Errorf("noticed after %v, want %v", took, test.after)
				}
				if !errors.Is(err, test.want) || errors.Is(err, io.EOF) {
					t.Errorf("error %v, want one that matches %v", err, test.want)
				}
				begun = time.Now()
				c.CloseNow()
				if took := time.Since(begun); took > 10*time.Millisecond {
					t.Errorf("CloseNow took %v", took)
				}
				time.Sleep(time.Second) // until those that were interrupted have ended
			})
		})
	}
}
