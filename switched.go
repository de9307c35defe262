package websocket

import (
	"crypto/tls"
	"io"
	"net"
	"reflect"
	"time"

	"github.com/seed70bc5565/websocket/internal/bridge"
)

// takeConn returns the connection behind the body of a 101 response, with what
// the HTTP client has read from it beyond the response. The argument conn is
// the one that the client said it uses, or nil. If body is not known to be conn
// and nothing else, or conn has no deadlines, the connection is one through
// body.
func takeConn(body io.ReadWriteCloser, conn net.Conn) (net.Conn, []byte) {
	if b, ok := body.(*bridge.Body); ok {
		return b.Conn, b.Received
	}
	if conn == nil {
		// A RoundTripper of the program may give a connection as the body.
		if c, ok := body.(net.Conn); ok {
			return newBodyConn(body, c.LocalAddr(), c.RemoteAddr()), nil
		}
		return newBodyConn(body, unknownAddr{}, unknownAddr{}), nil
	}
	through := newBodyConn(body, conn.LocalAddr(), conn.RemoteAddr())
	if !isBodyOf(body, conn) {
		return through, nil
	}
	if !honoursDeadlines(conn) {
		// No deadline in the past, which it may not survive.
		if c, ok := conn.(*tls.Conn); ok {
			return overForeign(c, body), nil
		}
		if conn.SetDeadline(time.Time{}) != nil {
			return through, nil
		}
		return &switchedConn{conn, body}, nil
	}
	// Reads of conn fail while its deadline is past, so that only what has been
	// read ahead comes out of body.
	if conn.SetReadDeadline(past) != nil {
		return through, nil
	}
	received, _ := drain(body)
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return through, received
	}
	return conn, received
}

// isBodyOf reports whether body is net/http's own for a 101 response, over
// conn. Any other may be there to count or change what passes.
func isBodyOf(body io.ReadWriteCloser, conn net.Conn) bool {
	v := reflect.ValueOf(body)
	if v.Kind() != reflect.Pointer || v.Type().Elem().PkgPath() != "net/http" || v.Type().Elem().Kind() != reflect.Struct {
		return false
	}
	f := v.Elem().FieldByName("ReadWriteCloser")
	return f.IsValid() && f.CanInterface() && reflect.TypeOf(conn).Comparable() && f.Interface() == any(conn)
}

// drain reads until body fails. An error that lasts comes again with the next
// read of the connection.
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
