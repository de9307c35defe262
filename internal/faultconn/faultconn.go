// Package faultconn provides a net.Conn that fails at a chosen call, for tests.
// A test runs an exchange again and again, with a fault at the first, second,
// third call. It stops when the exchange completes without the fault.
//
// It works in a testing/synctest bubble if the connection under it does, such
// as one of package netfake.
package faultconn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Kind says what a fault does to the Read or the Write that it strikes, and
// to those after it.
type Kind int

const (
	// Fail fails the call with Err before it moves anything, and so every later
	// call of its direction.
	Fail Kind = iota
	// Short moves half of what it was asked to, and returns that together with
	// Err. The contracts of io.Reader and io.Writer allow it. Each later call
	// of its direction fails with Err.
	Short
	// Reset fails the call and every later one with ECONNRESET, and the peer's
	// calls too, as a TCP reset does.
	Reset
	// HalfClose ends one direction: a Read returns io.EOF, a Write EPIPE, from
	// now on.
	HalfClose
	// Timeout fails this call alone, with an error that matches
	// os.ErrDeadlineExceeded though no deadline has passed. A Write has moved
	// half by then.
	Timeout
	// Delay sleeps for DelayTime before the call, which then goes on as if
	// nothing had been.
	Delay
)

// Kinds are all kinds of faults.
var Kinds = []Kind{Fail, Short, Reset, HalfClose, Timeout, Delay}

func (k Kind) String() string {
	return [...]string{"fail", "short", "reset", "half-close", "timeout", "delay"}[k]
}

// Err is what calls fail with where nothing better is said.
var Err = errors.New("injected fault")

// DelayTime is how long Delay sleeps.
const DelayTime = 3 * time.Second

// A Plan says when a Conn fails, and how.
type Plan struct {
	Kind Kind
	// At is the index of the call that is struck: Reads and Writes count
	// together, from 0, in the order in which they begin.
	At int
	// ReadMax is the most bytes that a Read returns. Default: no bound.
	ReadMax int
}

// A Conn is a connection with a fault.
type Conn struct {
	net.Conn
	plan Plan

	mu       sync.Mutex // guards what follows; held for a few instructions
	armed    bool
	calls    int
	struck   bool
	readErr  error // of all later calls
	writeErr error
}

// New returns conn with the fault that plan describes. Calls count from now on.
func New(conn net.Conn, plan Plan) *Conn {
	return &Conn{Conn: conn, plan: plan, armed: true}
}

// NewUnarmed is New, but calls count only when Arm has been called.
func NewUnarmed(conn net.Conn, plan Plan) *Conn { return &Conn{Conn: conn, plan: plan} }

// Arm makes calls count from now on.
func (c *Conn) Arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = true
}

// Struck reports whether the fault has happened.
func (c *Conn) Struck() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.struck
}

// A reset is what a connection can do that imitates one, such as netfake's.
type resetter interface{ Reset() }

// begin counts a call. It returns whether the fault strikes the call, and the
// error that the direction had before. The argument sticky points to that
// error, which is also the error of the direction from now on.
func (c *Conn) begin(sticky *error, after error) (strike bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *sticky != nil {
		return false, *sticky
	}
	if !c.armed {
		return false, nil
	}
	strike = c.calls == c.plan.At
	c.calls++
	if !strike {
		return false, nil
	}
	c.struck = true
	switch c.plan.Kind {
	case Fail, Short:
		*sticky = Err
	case HalfClose:
		*sticky = after
	case Reset:
		c.readErr, c.writeErr = syscall.ECONNRESET, syscall.ECONNRESET
	}
	return true, *sticky
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if c.plan.ReadMax > 0 && len(p) > c.plan.ReadMax {
		p = p[:c.plan.ReadMax]
	}
	strike, err := c.begin(&c.readErr, io.EOF)
	if !strike {
		if err != nil {
			return 0, c.wrap("read", err)
		}
		return c.Conn.Read(p)
	}
	switch c.plan.Kind {
	case Short:
		n, readErr := c.Conn.Read(p[:(len(p)+1)/2])
		if readErr != nil {
			err = readErr
		}
		return n, c.wrap("read", err)
	case Timeout:
		return 0, c.wrap("read", os.ErrDeadlineExceeded)
	case Delay:
		time.Sleep(DelayTime)
		return c.Conn.Read(p)
	}
	c.reset()
	return 0, c.wrap("read", err)
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	strike, err := c.begin(&c.writeErr, syscall.EPIPE)
	if !strike {
		if err != nil {
			return 0, c.wrap("write", err)
		}
		return c.Conn.Write(p)
	}
	switch c.plan.Kind {
	case Short, Timeout:
		n, writeErr := c.Conn.Write(p[:len(p)/2])
		switch {
		case writeErr != nil:
			err = writeErr
		case c.plan.Kind == Timeout:
			err = os.ErrDeadlineExceeded
		}
		return n, c.wrap("write", err)
	case Delay:
		time.Sleep(DelayTime)
		return c.Conn.Write(p)
	}
	c.reset()
	return 0, c.wrap("write", err)
}

// reset passes a reset on to the peer.
func (c *Conn) reset() {
	if r, ok := c.Conn.(resetter); ok && c.plan.Kind == Reset {
		r.Reset()
	}
}

// CloseWrite ends the sending direction, if the connection can.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return fmt.Errorf("CloseWrite of a %T: %w", c.Conn, errors.ErrUnsupported)
}

// wrap gives errors the form that package net's have. io.EOF stays as it is.
func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "fault", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
