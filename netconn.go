package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// NetConn returns c as a [net.Conn], for protocols that want a stream of bytes. Each Write sends one message of type typ; Read returns the
// content of the messages that come in, one after the other. It sets c's read limit to none, for a stream has no messages.
//
// A message of the other type closes the connection with StatusUnsupportedData. When the peer closes the connection in an orderly way (StatusNormalClosure,
// StatusGoingAway, or no code), Read returns [io.EOF] itself. Close closes c with StatusNormalClosure. The deadlines are those of c: a read that meets one
// loses nothing. When ctx ends, reads and writes fail.
func NetConn(ctx context.Context, c *Conn, typ MessageType) net.Conn {
	c.SetReadLimit(-1)
	return &netConn{c: c, ctx: ctx, typ: typ}
}

type netConn struct {
	c   *Conn
	ctx context.Context
	typ MessageType

	mu  sync.Mutex // guards cur; not held across I/O
	cur io.Reader  // of the message in progress, or nil
}

func (n *netConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		r, err := n.message()
		if err != nil {
			return 0, err
		}
		k, err := r.Read(p)
		if err == io.EOF {
			n.mu.Lock()
			if n.cur == r {
				n.cur = nil
			}
			n.mu.Unlock()
			err = nil
		}
		if k > 0 || err != nil {
			return k, n.readError(err)
		}
	}
}

// message returns the reader of the message in progress, or of the next one.
func (n *netConn) message() (io.Reader, error) {
	n.mu.Lock()
	cur := n.cur
	n.mu.Unlock()
	if cur != nil {
		return cur, nil
	}
	typ, r, err := n.c.Reader(n.ctx)
	if err != nil {
		return nil, n.readError(err)
	}
	if typ != n.typ {
		err := fmt.Errorf("websocket: message of type %v in a stream of %v", typ, n.typ)
		n.c.Close(StatusUnsupportedData, "unexpected message type")
		return nil, err
	}
	n.mu.Lock()
	n.cur = r
	n.mu.Unlock()
	return r, nil
}

// readError turns an orderly end into io.EOF itself, as callers of a net.Conn compare.
func (n *netConn) readError(err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return err
}

func (n *netConn) Write(p []byte) (int, error) {
	if err := n.c.Write(n.ctx, n.typ, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (n *netConn) Close() error                       { return n.c.Close(StatusNormalClosure, "") }
func (n *netConn) LocalAddr() net.Addr                { return n.c.LocalAddr() }
func (n *netConn) RemoteAddr() net.Addr               { return n.c.RemoteAddr() }
func (n *netConn) SetDeadline(t time.Time) error      { return n.c.SetDeadline(t) }
func (n *netConn) SetReadDeadline(t time.Time) error  { return n.c.SetReadDeadline(t) }
func (n *netConn) SetWriteDeadline(t time.Time) error { return n.c.SetWriteDeadline(t) }
