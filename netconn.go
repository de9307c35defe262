package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/seed70bc5565/websocket/internal/wait"
)

// NetConn returns c as a [net.Conn], for protocols that want a stream of bytes.
// Each Write sends one message of type typ. Read returns the content of the
// messages that come in, one after the other. It switches the read limit of c
// off, because a stream has no messages.
//
// A message of the other type closes the connection with StatusUnsupportedData.
// When the peer closes the connection in an orderly way (StatusNormalClosure,
// StatusGoingAway, or no code), Read returns [io.EOF] itself. Close closes c
// with StatusNormalClosure. The deadlines are those of c: a read that meets one
// loses nothing. When ctx ends, reads and writes fail.
//
// It differs from other net.Conns in one respect: a deadline that cuts a Write
// inside its message ends the connection. The rest of the message could not be
// sent later.
func NetConn(ctx context.Context, c *Conn, typ MessageType) net.Conn {
	c.SetReadLimit(-1)
	return &netConn{c: c, ctx: ctx, typ: typ}
}

// NetConnSize is [NetConn] with a bound on the size of its messages, in bytes.
// A longer Write sends several messages. A message that arrives and is longer
// ends the connection, as [Conn.SetReadLimit] says. Peers that have a read
// limit need such a bound. If size is zero or negative, there is no bound.
func NetConnSize(ctx context.Context, c *Conn, typ MessageType, size int) net.Conn {
	if size <= 0 {
		return NetConn(ctx, c, typ)
	}
	c.SetReadLimit(int64(size))
	return &netConn{c: c, ctx: ctx, typ: typ, size: size}
}

type netConn struct {
	c   *Conn
	ctx context.Context
	typ MessageType

	size int // the most bytes of a message that is written; 0: any

	turn wait.Turn // held by the Read that owns cur
	cur  io.Reader // of the message in progress, or nil
}

func (n *netConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		if errors.Is(n.c.life.reason(), io.EOF) {
			return 0, io.EOF // as coder/websocket does; some look for the end so
		}
		return 0, nil
	}
	if n.turn.Lock(n.ctx) != nil {
		return 0, n.error("read", n.c.interrupted("read", n.ctx, nil))
	}
	defer n.turn.Unlock()
	for {
		if n.cur == nil {
			if err := n.nextMessage(); err != nil {
				return 0, n.error("read", err)
			}
		}
		k, err := n.cur.Read(p)
		if err == io.EOF {
			n.cur, err = nil, nil
		} else if errors.Is(err, errStaleReader) {
			n.cur = nil // another goroutine reads from c too
		}
		if k > 0 || err != nil {
			return k, n.error("read", err)
		}
	}
}

// nextMessage waits for a message.
func (n *netConn) nextMessage() error {
	typ, r, err := n.c.Reader(n.ctx)
	if err != nil {
		return err
	}
	if typ != n.typ {
		n.c.refuse(n.ctx, StatusUnsupportedData, "unexpected message type")
		return fmt.Errorf("websocket: message of type %v in a stream of %v", typ, n.typ)
	}
	n.cur = r
	return nil
}

// error turns an orderly end into io.EOF itself, as callers of a net.Conn
// compare, and the end of a deadline into a net.Error.
func (n *netConn) error(op string, err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &net.OpError{Op: op, Net: "websocket", Source: n.LocalAddr(), Addr: n.RemoteAddr(), Err: os.ErrDeadlineExceeded}
	}
	return err
}

func (n *netConn) Write(p []byte) (written int, err error) {
	for n.size > 0 && len(p)-written > n.size {
		if err := n.c.Write(n.ctx, n.typ, p[written:written+n.size]); err != nil {
			return written, n.error("write", err)
		}
		written += n.size
	}
	if err := n.c.Write(n.ctx, n.typ, p[written:]); err != nil {
		return written, n.error("write", err)
	}
	return len(p), nil
}

// Close implements net.Conn. When the peer has closed the connection in an
// orderly way nothing is left to do, and nothing went wrong.
func (n *netConn) Close() error {
	err := n.c.Close(StatusNormalClosure, "")
	if errors.Is(err, net.ErrClosed) && errors.Is(n.c.life.reason(), io.EOF) {
		return nil
	}
	return err
}

func (n *netConn) LocalAddr() net.Addr                { return n.c.LocalAddr() }
func (n *netConn) RemoteAddr() net.Addr               { return n.c.RemoteAddr() }
func (n *netConn) SetDeadline(t time.Time) error      { return n.c.SetDeadline(t) }
func (n *netConn) SetReadDeadline(t time.Time) error  { return n.c.SetReadDeadline(t) }
func (n *netConn) SetWriteDeadline(t time.Time) error { return n.c.SetWriteDeadline(t) }
