package httpfake

import (
	"context"
	"net"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A Listener accepts the connections that Dial makes.
type Listener struct {
	Conns  chan net.Conn
	Closed chan struct{}
}

// Accept waits for a connection in Conns.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.Conns:
		return c, nil
	case <-l.Closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (l *Listener) Close() error {
	close(l.Closed)
	return nil
}

// Addr returns an address that means nothing.
func (l *Listener) Addr() net.Addr { return netfake.Addr("listener") }

// Dial gives one end of a pipe to Accept and returns the other. It suits
// http.Transport.DialContext.
func (l *Listener) Dial(context.Context, string, string) (net.Conn, error) {
	near, far := netfake.Pipe(netfake.Options{})
	l.Conns <- far
	return near, nil
}

// AsIs is a wrap of NewClient that changes nothing.
func AsIs(c net.Conn) net.Conn { return c }

// Dribble writes b to conn, one byte a second, until conn takes no more.
func Dribble(conn net.Conn, b []byte) {
	for i := range b {
		if _, err := conn.Write(b[i : i+1]); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}
