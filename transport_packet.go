package websocket

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
)

// A packetConn makes a stream of a Unix socket that keeps the boundaries of
// packets ("unixpacket"). A read of the socket into less than the next packet
// would lose the rest of it.
type packetConn struct {
	*net.UnixConn
	buf  []byte // owner: the reader; made by the first Read
	rest []byte // of buf: what has come and is not read yet
}

// maxPacket is more than a packet has: 208 KiB are Linux's default limit.
const maxPacket = 256 << 10

var errPacketTooLong = errors.New("packet of 256 KiB or more on a unixpacket socket")

// asStream returns conn, or what replaces it. That is a stream if conn
// is a socket of packets, and a bodyConn if conn is TLS over a transport of a
// foreign type. The package crypto/tls keeps an error for good that is not a
// timeout by its own rules. So its reads are not interrupted there, but left
// behind.
func asStream(conn net.Conn) net.Conn {
	switch c := conn.(type) {
	case *net.UnixConn:
		if addr := c.LocalAddr(); addr != nil && addr.Network() != "unix" {
			return &packetConn{UnixConn: c}
		}
	case *tls.Conn:
		if !honoursDeadlines(c) {
			return overForeign(c, c)
		}
	}
	return conn
}

// tlsState returns the state of the TLS connection that conn is, or stands on
// as overForeign does it; nil: there is none.
func tlsState(conn net.Conn) *tls.ConnectionState {
	below := any(conn)
	if b, ok := conn.(*bodyConn); ok {
		below = b.body
	}
	t, ok := below.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil
	}
	state := t.ConnectionState()
	return &state
}

// overForeign returns c, which stands on a transport of a foreign type, as a
// stream. from yields the bytes that c receives.
func overForeign(c *tls.Conn, from io.Reader) *bodyConn {
	return newBodyConn(tlsBody{c, from}, c.LocalAddr(), c.RemoteAddr())
}

// A tlsBody is a TLS connection whose Close is bounded.
type tlsBody struct {
	*tls.Conn
	from io.Reader
}

func (b tlsBody) Read(p []byte) (int, error) { return b.from.Read(p) }

func (b tlsBody) Close() error {
	closeTLS(b.Conn)
	return nil
}

// A switchedConn is a connection of a foreign type after a 101 response. The
// body first holds what the HTTP client has read beyond the response. Then it
// reads from conn.
type switchedConn struct {
	net.Conn
	body io.Reader
}

func (c *switchedConn) Read(p []byte) (int, error) { return c.body.Read(p) }

func (p *packetConn) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		if p.buf == nil {
			p.buf = make([]byte, maxPacket)
		}
		n, err := p.UnixConn.Read(p.buf)
		if err != nil {
			return 0, err
		}
		if n == len(p.buf) {
			return 0, errPacketTooLong
		}
		p.rest = p.buf[:n]
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
