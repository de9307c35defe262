package websocket

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket/internal/bufpool"
)

// A bodyConn is a net.Conn over a stream that cannot be interrupted. The stream
// is one of HTTP/2, or the body of a 101 response whose HTTP client does not
// give away its connection. Every read and write of the body runs on a
// goroutine, which lives until the body returns. That is slower than a
// connection.
type bodyConn struct {
	body          io.ReadWriteCloser
	local, remote net.Addr

	closeOnce sync.Once
	closeErr  error
	closed    chan struct{}

	readDeadline, writeDeadline deadline

	// reading is held by the Read that owns the fields of this group.
	reading chan struct{}
	small   [bodySmall]byte
	large   []byte        // from the pool, while much comes at once; else nil
	buf     []byte        // small or large: what the read of the body that is pending, or the last, reads into
	full    bool          // the last read of the body filled buf
	unread  []byte        // the part of buf that is not delivered
	readErr error         // sticks
	pending bool          // a read of the body runs, and owns buf
	result  chan ioResult // of that read

	// writing is held by the Write that owns the fields of this group. A Write
	// that gives up while the body still writes leaves it broken.
	writing chan struct{}
	broken  error // sticks
	written chan ioResult

	// settled is nil, or closed when no call of the body is in progress after
	// Close. Immutable once there is a Conn.
	settled <-chan struct{}
}

type ioResult struct {
	n   int
	err error
}

// bodySmall is how much an idle connection waits with.
const bodySmall = 128

func newBodyConn(body io.ReadWriteCloser, local, remote net.Addr) *bodyConn {
	return &bodyConn{
		body:    body,
		local:   local,
		remote:  remote,
		closed:  make(chan struct{}),
		reading: make(chan struct{}, 1),
		result:  make(chan ioResult, 1),
		writing: make(chan struct{}, 1),
		written: make(chan ioResult, 1),
	}
}

// acquire takes a semaphore, unless the connection is closed or the deadline
// has passed.
func (c *bodyConn) acquire(sem chan struct{}, expired <-chan struct{}) error {
	if err := c.ended(expired); err != nil {
		return err
	}
	select {
	case sem <- struct{}{}:
		return nil
	case <-c.closed:
		return net.ErrClosed
	case <-expired:
		return os.ErrDeadlineExceeded
	}
}

func (c *bodyConn) ended(expired <-chan struct{}) error {
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	select {
	case <-expired:
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

// Read implements net.Conn. A Read that ends at its deadline loses nothing:
// what the body returns later is for the next.
func (c *bodyConn) Read(p []byte) (int, error) {
	expired := c.readDeadline.passed()
	if err := c.acquire(c.reading, expired); err != nil {
		return 0, err
	}
	defer func() { <-c.reading }()
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.unread) == 0 && c.readErr == nil {
		if !c.pending {
			if c.buf = c.small[:]; c.full && c.large == nil {
				c.large = bufpool.GetBody() // more is there, it seems
			}
			if c.large != nil {
				c.buf = c.large
			}
			c.pending = true
			go c.readBody(c.buf)
		}
		select {
		case r := <-c.result:
			c.pending = false
			c.unread, c.readErr, c.full = c.buf[:r.n], r.err, r.n == len(c.buf)
			if errors.Is(r.err, os.ErrDeadlineExceeded) {
				// It does not stick: callers that get it take the connection
				// for one that lives.
				c.readErr = nil
				if r.n == 0 {
					return 0, r.err
				}
			}
		case <-c.closed:
			c.settle(expired)
			return 0, net.ErrClosed
		case <-expired:
			return 0, os.ErrDeadlineExceeded
		}
	}
	if len(c.unread) == 0 {
		return 0, c.readErr
	}
	n := copy(p, c.unread)
	if c.unread = c.unread[n:]; len(c.unread) == 0 && c.large != nil && !c.full {
		bufpool.PutBody(c.large)
		c.large = nil
	}
	return n, nil
}

// settle waits until no call of the body is in progress, or until the deadline.
func (c *bodyConn) settle(expired <-chan struct{}) {
	if c.settled == nil {
		return
	}
	select {
	case <-c.settled:
	case <-expired:
	}
}

// readBody reads at least a byte, or gives up on a body that returns nothing
// over and over.
func (c *bodyConn) readBody(buf []byte) {
	for range maxEmptyReads {
		if n, err := c.body.Read(buf); n > 0 || err != nil {
			c.result <- ioResult{n, err}
			return
		}
	}
	c.result <- ioResult{0, io.ErrNoProgress}
}

// Write implements net.Conn. When it ends at its deadline, an unknown part of p
// is on its way. Every later Write fails then, as with a tls.Conn. This one
// goes on for writeGrace behind the deadline.
func (c *bodyConn) Write(p []byte) (int, error) {
	expired := c.writeDeadline.passed()
	if err := c.acquire(c.writing, expired); err != nil {
		return 0, err
	}
	defer func() { <-c.writing }()
	if c.broken != nil {
		return 0, c.broken
	}
	var out []byte // p is the caller's again when Write returns
	if len(p) <= bufpool.Body {
		out = append(bufpool.GetBody()[:0], p...)
	} else {
		out = append(out, p...)
	}
	go c.writeBody(out)
	select {
	case r := <-c.written:
		return c.wrote(r, out)
	case <-c.closed:
		c.broken = net.ErrClosed
		return 0, c.broken
	case <-expired:
	}
	// The body may have taken p. The peer may even have answered, which may be
	// why the caller gives up. To wait a little for the result costs less than
	// the connection.
	timer := time.NewTimer(writeGrace)
	defer timer.Stop()
	select {
	case r := <-c.written:
		return c.wrote(r, out)
	case <-c.closed:
		c.broken = net.ErrClosed
	case <-timer.C:
		c.broken = os.ErrDeadlineExceeded
	}
	return 0, c.broken
}

// writeGrace is how long a Write goes on behind its deadline.
const writeGrace = interruptGrace

// wrote returns what a write of out to the body returned.
func (c *bodyConn) wrote(r ioResult, out []byte) (int, error) {
	if r.err == nil && r.n < len(out) {
		r.err = io.ErrShortWrite
	}
	if r.err == nil { // else the body may go on reading it
		bufpool.PutBody(out)
	}
	c.broken = r.err
	return r.n, r.err
}

func (c *bodyConn) writeBody(p []byte) {
	n, err := c.body.Write(p)
	c.written <- ioResult{n, err}
}

// Close implements net.Conn. It closes the body, which must end its reads and
// writes.
func (c *bodyConn) Close() error {
	c.closeOnce.Do(func() {
		close(c.closed)
		c.closeErr = c.body.Close()
		c.readDeadline.set(time.Time{})
		c.writeDeadline.set(time.Time{})
	})
	return c.closeErr
}

func (c *bodyConn) LocalAddr() net.Addr  { return c.local }
func (c *bodyConn) RemoteAddr() net.Addr { return c.remote }

func (c *bodyConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *bodyConn) SetReadDeadline(t time.Time) error  { return c.setDeadline(&c.readDeadline, t) }
func (c *bodyConn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeDeadline, t) }

func (c *bodyConn) setDeadline(d *deadline, t time.Time) error {
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	d.set(t)
	return nil
}

// A deadline closes a channel when a time that may be moved has come. The zero
// value has no time.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	ch    chan struct{} // replaced only when it is closed, or about to be
}

// passed returns the channel, which stays the right one while the deadline is
// ahead, wherever it is moved.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channelLocked()
}

func (d *deadline) channelLocked() chan struct{} {
	if d.ch == nil {
		d.ch = make(chan struct{})
	}
	return d.ch
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		if !d.timer.Stop() {
			d.ch = nil // the timer has it
		}
		d.timer = nil
	}
	if d.ch != nil {
		select {
		case <-d.ch:
			d.ch = nil
		default:
		}
	}
	if t.IsZero() {
		return
	}
	ch := d.channelLocked()
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, func() { close(ch) })
	} else {
		close(ch)
	}
}

// unknownAddr is the address of a connection that the HTTP client does not
// show.
type unknownAddr struct{}

func (unknownAddr) Network() string { return "websocket" }
func (unknownAddr) String() string  { return "unknown" }
