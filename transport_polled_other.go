//go:build !linux

package websocket

import (
	"net"
)

// A polledConn is a socket that a poller of our own waits for. This system has
// none.
type polledConn struct{ c *Conn }

func (*polledConn) start()                              {}
func (*polledConn) wake()                               {}
func (*polledConn) read(*receiver, []byte) (int, error) { return 0, errNotNow }
func (*polledConn) write([]byte) (int, error)           { return 0, errNotNow }
func (*polledConn) writeBoth(_, _ []byte) (int, error)  { return 0, errNotNow }
func (*polledConn) tryWrite([]byte) int                 { return 0 }

// A polledGroup is the pollers of a server: none.
type polledGroup struct{}

// A stepper does the work of a polledConn.
type stepper interface{ Step() (again bool) }

func (*polledGroup) adopt(*connConfig, *polledConn, stepper) {}

func asPolled(*Conn) rawSocket { return nil }

func isPolled(net.Conn) bool { return false }
