package websocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// waiters are the ways in which a writer that waits for the wire can leave
// without taking it.
var waiters = map[string]struct {
	write func(c *Conn) error
	leave func(c *Conn) // makes the waiter leave; nil: the close frame does
}{
	"close frame": {write: func(c *Conn) error {
		return c.Write(context.Background(), MessageBinary, make([]byte, 8<<10))
	}},
	"fragment": {write: func(c *Conn) error {
		w, err := c.Writer(context.Background(), MessageBinary)
		if err == nil {
			w.Write(make([]byte, 8<<10))
			err = w.Close()
		}
		return err
	}},
	"context": {write: func(c *Conn) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return c.Write(ctx, MessageBinary, make([]byte, 8<<10))
	}, leave: func(*Conn) { time.Sleep(time.Second) }},
	"panic": {write: func(c *Conn) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		ctx := &panickyContext{Context: context.Background(), done: make(chan struct{})}
		time.AfterFunc(time.Second, func() { close(ctx.done) })
		return c.Write(ctx, MessageBinary, make([]byte, 8<<10))
	}, leave: func(*Conn) { time.Sleep(time.Second) }},
}

// A panickyContext panics in Err once it has ended.
type panickyContext struct {
	context.Context
	done chan struct{}
}

func (c *panickyContext) Done() <-chan struct{} { return c.done }

func (c *panickyContext) Err() error {
	select {
	case <-c.done:
		panic("Err")
	default:
		return nil
	}
}

// A writer that waited for the wire may leave it untaken at the moment it has
// become free. What gathered meanwhile is not stranded, nor the close frame.
func TestWaiterLeaves(t *testing.T) {
	for name, waiter := range waiters {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{pingInterval: -1}, netfake.Options{A: netfake.End{Buffer: 100}})
				long := make([]byte, 20_000)
				closed := start(func() error {
					if err := p.c.Write(context.Background(), MessageBinary, long); err != nil {
						return err
					}
					return p.c.Close(StatusNormalClosure, "")
				})
				synctest.Wait()
				if err := p.c.Write(context.Background(), MessageText, []byte("gathered")); err != nil {
					t.Fatal(err)
				}
				waiting := start(func() error { return waiter.write(p.c) })
				synctest.Wait()
				if waiter.leave != nil {
					waiter.leave(p.c)
					if err := <-waiting; err == nil {
						t.Error("the waiting write succeeds")
					}
				}
				p.WantFrame(wstest.Binary, string(long))
				p.WantFrame(wstest.Text, "gathered")
				if waiter.leave == nil {
					// It may have got its message in before the close frame.
					f := p.ReadFrame()
					for f.Op == wstest.Binary || f.Op == wstest.Continuation {
						f = p.ReadFrame()
					}
					if f.Op != wstest.Close {
						t.Fatalf("got %v, want the close frame", f)
					}
					<-waiting
				} else {
					p.WantClose(1000)
				}
				p.WriteFrames(wstest.CloseFrame(1000, ""))
				p.Close()
				if err := <-closed; err != nil {
					t.Errorf("Close = %v", err)
				}
			})
		})
	}
}

// A panickyConn panics in its Write when it is told to.
type panickyConn struct {
	net.Conn
	panics bool
}

func (c *panickyConn) Write(p []byte) (int, error) {
	if c.panics {
		panic("Write")
	}
	return c.Conn.Write(p)
}

// A transport whose Write panics ends the connection: others that write are
// told, and do not wait for the wire for ever.
func TestWritePanics(t *testing.T) {
	for _, size := range []int{10, 10_000} {
		synctest.Test(t, func(t *testing.T) {
			a, b := netfake.Pipe(netfake.Options{})
			defer b.Close()
			conn := &panickyConn{Conn: a}
			c := newConn(connConfig{transport: conn, pingInterval: -1})
			conn.panics = true
			func() {
				defer func() {
					if recover() == nil {
						t.Error("Write does not panic")
					}
				}()
				c.Write(context.Background(), MessageText, make([]byte, size))
			}()
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if err := c.Write(ctx, MessageText, make([]byte, size)); err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a later Write = %v", err)
			}
			c.CloseNow()
		})
	}
}
