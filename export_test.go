package websocket

import "net"

// NewTestConn lets tests of other packages have a Conn without a handshake.
func NewTestConn(transport net.Conn, client bool) *Conn {
	return newConn(connConfig{transport: transport, client: client})
}
