package websocket

import (
	"errors"
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

// asStream returns conn, or a stream in its place if it is a socket of packets.
func asStream(conn net.Conn) net.Conn {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return conn
	}
	if addr := u.LocalAddr(); addr == nil || addr.Network() == "unix" {
		return conn
	}
	return &packetConn{UnixConn: u}
}

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
