//go:build !unix

package websocket

// A rawConn exists on Unix only; elsewhere there is none.
type rawConn struct{}

func newRawSocket(*Conn) rawSocket { return nil }

func (*rawConn) read([]byte) (int, error) { panic("unreachable") }

func (*rawConn) tryWrite([]byte) int { panic("unreachable") }

func (*rawConn) write(_, _ []byte) (int, error) { panic("unreachable") }
