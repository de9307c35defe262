package httpfake

import (
	"bytes"
	"context"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
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

// ServeOn serves requests on the connections that dial returns, and fails the
// test if a handler panics.
func ServeOn(t *testing.T, server *http.Server) (dial func() *netfake.Conn, stop func()) {
	l := &Listener{Conns: make(chan net.Conn), Closed: make(chan struct{})}
	var logged bytes.Buffer
	server.ErrorLog = log.New(&logged, "", 0)
	done := make(chan struct{})
	go func() {
		server.Serve(l)
		close(done)
	}()
	dial = func() *netfake.Conn {
		conn, _ := l.Dial(t.Context(), "", "")
		return conn.(*netfake.Conn)
	}
	return dial, func() {
		server.Close()
		<-done
		time.Sleep(time.Minute) // net/http takes its time to close a connection that it refused
		if strings.Contains(logged.String(), "panic") {
			t.Errorf("the server has logged %s", logged.String())
		}
	}
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
