package wstest

import (
	"bytes"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket/internal/faultconn"
	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A Transport says how one end of a connection in memory behaves. The zero
// value is an end like that of a socket. Its writes wait in a buffer of 64 KiB
// until the other end reads them. A Write waits while that is full.
//
// The fields that count or delay calls apply from the end of the opening
// handshake on. A call that fails because its deadline has passed before it
// began does not count.
type Transport struct {
	// Buffer is how many bytes this end may write ahead of the other end's
	// reads. Default: 64 KiB.
	Buffer int
	// ReadMax is the most bytes that one Read returns, as over a network that
	// delivers little pieces. Default: no bound.
	ReadMax int
	// Delay is how long each Write takes, as over a slow network. A write
	// deadline that comes first ends the wait, and nothing has been written.
	Delay time.Duration
	// Fault is what happens at the call FaultAt, and after it. Default:
	// nothing.
	Fault Fault
	// FaultAt is the index of the call that Fault strikes. Reads and Writes
	// count together, from 0, in the order in which they begin.
	FaultAt int
}

// A Fault is what a [Transport] does at a chosen call.
type Fault int

const (
	// NoFault is no fault.
	NoFault Fault = iota
	// Fail fails the call and each later call of its direction with ErrFault.
	Fail
	// Short moves half of the bytes of the call, and returns ErrFault with
	// them. Each later call of its direction fails with ErrFault.
	Short
	// Reset fails the call and each later call at both ends with ECONNRESET, as
	// a TCP reset does.
	Reset
	// HalfClose ends one direction: the Read returns io.EOF, or the Write fails
	// with EPIPE, and so does each later call of its direction.
	HalfClose
	// Silence makes this end vanish without telling the other, as a peer whose
	// cable is pulled. From the call on, Writes succeed and their bytes are
	// lost, and Reads wait for their deadline. The other end hears nothing
	// more.
	Silence
)

// ErrFault is the error of calls that [Fail] and [Short] strike.
var ErrFault = faultconn.Err

var faultKinds = map[Fault]faultconn.Kind{
	Fail: faultconn.Fail, Short: faultconn.Short, Reset: faultconn.Reset, HalfClose: faultconn.HalfClose,
}

// NetPipe returns the two ends of a transport in memory, as [net.Pipe] does. It
// is for programs that do the opening handshake on a net.Conn by themselves.
//
// Calls count, and are delayed, from the moment on at which an end has seen the
// empty line that ends the response of the handshake.
func NetPipe(client, server Transport) (clientEnd, serverEnd net.Conn) {
	a, b := newPipe(client, server)
	return a, b
}

func newPipe(client, server Transport) (a, b *end) {
	ca, cb := netfake.Pipe(netfake.Options{
		A: netfake.End{Buffer: client.Buffer, ReadMax: client.ReadMax},
		B: netfake.End{Buffer: server.Buffer, ReadMax: server.ReadMax},
	})
	return newEnd(ca, client, true), newEnd(cb, server, false)
}

// An end is one end of a transport.
type end struct {
	*netfake.Conn
	opts  Transport
	fault *faultconn.Conn // nil: no fault of that package
	void  *netfake.Conn   // what a silent end reads from: nothing comes

	mu            sync.Mutex // guards what follows; held for a few instructions
	reads         bool       // the response passes in Read, else in Write
	head          []byte     // the last bytes of the response so far
	armed         bool       // the response has passed
	calls         int        // since then, if the fault is Silence
	silent        bool
	closed        bool
	readDeadline  time.Time
	writeDeadline time.Time
	moved         chan struct{} // closed when writeDeadline moves or the end is closed
}

func newEnd(conn *netfake.Conn, opts Transport, reads bool) *end {
	e := &end{Conn: conn, opts: opts, reads: reads, moved: make(chan struct{})}
	if kind, ok := faultKinds[opts.Fault]; ok {
		e.fault = faultconn.NewUnarmed(conn, faultconn.Plan{Kind: kind, At: opts.FaultAt})
	}
	e.void, _ = netfake.Pipe(netfake.Options{})
	return e
}

// Read implements net.Conn.
func (e *end) Read(p []byte) (int, error) {
	e.mu.Lock()
	late := passed(e.readDeadline)
	e.mu.Unlock()
	if late {
		return e.Conn.Read(p)
	}
	if e.count() {
		return e.void.Read(p)
	}
	var n int
	var err error
	if e.fault != nil {
		n, err = e.fault.Read(p)
	} else {
		n, err = e.Conn.Read(p)
	}
	if e.isSilent() && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
		return e.void.Read(p) // what came meanwhile is lost
	}
	if e.reads {
		e.look(p[:n])
	}
	return n, err
}

// Write implements net.Conn.
func (e *end) Write(p []byte) (int, error) {
	if err := e.delay(); err != nil {
		return 0, e.opError("write", err)
	}
	if e.count() {
		if e.isClosed() {
			return 0, e.opError("write", net.ErrClosed)
		}
		return len(p), nil
	}
	var n int
	var err error
	if e.fault != nil {
		n, err = e.fault.Write(p)
	} else {
		n, err = e.Conn.Write(p)
	}
	if !e.reads {
		e.look(p[:n])
	}
	return n, err
}

// count counts a call. It reports whether the end is silent.
func (e *end) count() (silent bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.opts.Fault != Silence || !e.armed {
		return false
	}
	e.silent = e.silent || e.calls == e.opts.FaultAt
	e.calls++
	return e.silent
}

func (e *end) isSilent() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.silent
}

func (e *end) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

func (e *end) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "fake", Source: e.LocalAddr(), Addr: e.RemoteAddr(), Err: err}
}

// look arms the end when the head of the response has passed.
func (e *end) look(p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.armed {
		return
	}
	e.head = append(e.head, p...)
	if e.armed = bytes.Contains(e.head, []byte("\r\n\r\n")); e.armed {
		e.head = nil
		if e.fault != nil {
			e.fault.Arm()
		}
		return
	}
	e.head = e.head[max(0, len(e.head)-3):]
}

// delay takes the time of a Write.
func (e *end) delay() error {
	e.mu.Lock()
	wait := e.opts.Delay
	if !e.armed {
		wait = 0
	}
	e.mu.Unlock()
	for due := time.Now().Add(wait); wait > 0; {
		e.mu.Lock()
		deadline, closed, moved := e.writeDeadline, e.closed, e.moved
		e.mu.Unlock()
		now := time.Now()
		switch {
		case closed:
			return net.ErrClosed
		case passed(deadline):
			return os.ErrDeadlineExceeded
		case !now.Before(due):
			return nil
		}
		next := due
		if !deadline.IsZero() && deadline.Before(due) {
			next = deadline
		}
		timer := time.NewTimer(next.Sub(now))
		select {
		case <-timer.C:
		case <-moved:
		}
		timer.Stop()
	}
	return nil
}

func passed(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

// SetDeadline implements net.Conn.
func (e *end) SetDeadline(t time.Time) error {
	return errors.Join(e.SetReadDeadline(t), e.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (e *end) SetReadDeadline(t time.Time) error {
	e.mu.Lock()
	e.readDeadline = t
	e.mu.Unlock()
	e.void.SetReadDeadline(t)
	return e.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (e *end) SetWriteDeadline(t time.Time) error {
	e.mu.Lock()
	e.writeDeadline = t
	e.wakeLocked()
	e.mu.Unlock()
	return e.Conn.SetWriteDeadline(t)
}

// wakeLocked wakes the Writes that are delayed.
func (e *end) wakeLocked() {
	close(e.moved)
	e.moved = make(chan struct{})
}

// CloseWrite ends the sending direction.
func (e *end) CloseWrite() error {
	if e.isSilent() {
		return nil
	}
	return e.Conn.CloseWrite()
}

// Reset closes this end, and the calls of both ends fail with ECONNRESET.
func (e *end) Reset() {
	e.mu.Lock()
	e.closed = true
	e.wakeLocked()
	e.mu.Unlock()
	e.void.Close()
	e.Conn.Reset()
}

// Close implements net.Conn. The other end of a silent one does not hear of it.
func (e *end) Close() error {
	e.mu.Lock()
	silent, again := e.silent, e.closed
	e.closed = true
	e.wakeLocked()
	e.mu.Unlock()
	e.void.Close()
	if silent && !again {
		e.Conn.SetDeadline(time.Unix(1, 0)) // ends a Read that began before the silence
		return nil
	}
	return e.Conn.Close()
}
