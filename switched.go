package websocket

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"time"

	"github.com/seed70bc5565/websocket/internal/bridge"
)

// takeConn returns the connection behind the body of a 101 response, with what the HTTP client has read from it
// beyond the response. conn is the one that the client said it uses, or nil. If body is not known to be conn and
// nothing else, the connection is one through body.
func takeConn(body io.ReadWriteCloser, conn net.Conn) (net.Conn, []byte) {
	if b, ok := body.(*bridge.Body); ok {
		return b.Conn, b.Received
	}
	if conn == nil {
		return newBodyConn(body, unknownAddr{}, unknownAddr{}), nil
	}
	through := newBodyConn(body, conn.LocalAddr(), conn.RemoteAddr())
	if !isBodyOf(body, conn) {
		return through, nil
	}
	// Reads of conn fail while its deadline is past, so that only what has been read ahead comes out of body.
	if conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		return through, nil
	}
	var received []byte
	var ok bool
	if honoursDeadlines(conn) {
		received, _ = drain(body)
		ok = true
	} else {
		received, ok = tryDrain(through)
	}
	if err := conn.SetDeadline(time.Time{}); !ok || err != nil {
		return through, received
	}
	return conn, received
}

// isBodyOf reports whether body is net/http's own for a 101 response, over conn. Any other may be there to count or
// change what passes.
func isBodyOf(body io.ReadWriteCloser, conn net.Conn) bool {
	v := reflect.ValueOf(body)
	if v.Kind() != reflect.Pointer || v.Type().Elem().PkgPath() != "net/http" || v.Type().Elem().Kind() != reflect.Struct {
		return false
	}
	f := v.Elem().FieldByName("ReadWriteCloser")
	return f.IsValid() && f.CanInterface() && reflect.TypeOf(conn).Comparable() && f.Interface() == any(conn)
}

// honoursDeadlines reports whether conn is one of the standard library's.
func honoursDeadlines(conn net.Conn) bool {
	switch c := conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case *tls.Conn:
		return honoursDeadlines(c.NetConn())
	}
	return false
}

// drain reads until body fails. An error that lasts comes again with the next read of the connection.
func drain(body io.Reader) (received []byte, err error) {
	buf := make([]byte, 512)
	for {
		n, err := body.Read(buf)
		received = append(received, buf[:n]...)
		if err != nil {
			return received, err
		}
	}
}

// drainTimeout is how long tryDrain waits for a deadline that has passed already. A wait that is too short does no harm.
const drainTimeout = 100 * time.Millisecond

// tryDrain is drain for a connection that may not honour its deadline. ok is false if it does not: then a read of it
// goes on in c, which must be used from now on.
func tryDrain(c *bodyConn) (received []byte, ok bool) {
	c.SetReadDeadline(time.Now().Add(drainTimeout))
	received, err := drain(c)
	c.SetReadDeadline(time.Time{})
	c.staleTimeout = c.pending
	return received, !c.pending && errors.Is(err, os.ErrDeadlineExceeded)
}
