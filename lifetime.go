package websocket

import (
	"context"
	"errors"
	"log"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// lifetime is how a connection comes to its end: it has one state and one
// reason.
//
// The state says how far the closing handshake and the end of the transport
// have come. The reason says why the connection is over: reads and writes fail
// with it. The first reason sticks.
//
// Each end takes the same way. First over gives the reason. Then a close frame
// tells the peer, if it can still be told. Last, end closes the transport and
// tells all that wait for it.
type lifetime struct {
	state atomic.Uint32          // a closeState. Written with mu, by moveLocked
	away  atomic.Bool            // the reading goroutine is in a callback. Written by it
	why   atomic.Pointer[reason] // nil until the connection is over. Set once, by over

	mu    sync.Mutex // guards what follows; never held across I/O or a wait
	onEnd func()     // called when the transport is closed
	made  *ending    // see endingLocked
}

// A reason is why a connection is over. It is immutable.
type reason struct {
	err    error // what reads and writes fail with. It tells what ended the connection: see endOf
	posted bool  // postClose began it: it may be that no goroutine reads the answer
}

// An ending is what a lifetime needs when a goroutine waits for the end, or
// when the end has begun. A connection that is idle mostly has none.
// lifetime.mu guards it.
type ending struct {
	done      chan struct{}   // closed when the transport is; nil until a goroutine waits for that
	closeRead context.Context // what CloseRead returned
	broke     error           // what came in place of the answer to this side's close frame
	lost      error           // see lifetime.lost
	frame     error           // of package gorilla: what the first close frame says, see noteFrame
	grace     *time.Timer     // ends the connection: see endInTimeLocked
}

// endingLocked returns the ending, which it makes if there is none.
func (l *lifetime) endingLocked() *ending {
	if l.made == nil {
		l.made = new(ending)
	}
	return l.made
}

// at returns the state.
func (l *lifetime) at() closeState { return closeState(l.state.Load()) }

// isOver reports whether there is a reason.
func (l *lifetime) isOver() bool { return l.why.Load() != nil }

// reason returns the error with which reads and writes fail, or nil.
func (l *lifetime) reason() error {
	if why := l.why.Load(); why != nil {
		return why.err
	}
	return nil
}

// over makes err the reason, unless there is one. It returns the reason that
// sticks, and whether that is err.
func (l *lifetime) over(err error) (cause error, first bool) {
	first = l.why.CompareAndSwap(nil, &reason{err: err})
	return l.reason(), first
}

// begin is over for a close of this side. If a write has found the transport
// broken before, that is the reason.
func (l *lifetime) begin(cause error, posted bool) (first bool) {
	if lost := l.lost(); lost != nil {
		cause = lost
	}
	return l.why.CompareAndSwap(nil, &reason{cause, posted})
}

// move notes a step of the closing and returns the new state.
func (l *lifetime) move(e closeEvent) closeState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moveLocked(e)
}

func (l *lifetime) moveLocked(e closeEvent) closeState {
	next := l.at().after(e)
	l.state.Store(uint32(next))
	return next
}

// end closes the transport, the first time that it is called. The argument err
// is the reason, unless there is one. It may be nil only if there is one.
// Everything that waits for the connection returns. It reports whether this
// call ended it.
func (c *Conn) end(err error) bool {
	l := &c.life
	if err != nil {
		l.over(err)
	}
	l.mu.Lock()
	if l.at().isEnding() {
		l.mu.Unlock()
		return false
	}
	l.moveLocked(transportEnds)
	if l.made != nil && l.made.grace != nil {
		l.made.grace.Stop()
	}
	if c.beat.timer != nil {
		c.beat.timer.Stop() // the next look of a wheel does nothing
	}
	l.mu.Unlock()

	c.t.end()
	c.w.stop(l.reason())
	if c.r.turn.TryLock() { // else the reader in progress does it
		c.r.finish()
		c.r.turn.Unlock()
	}
	l.mu.Lock()
	l.moveLocked(transportClosed)
	if l.made != nil && l.made.done != nil {
		close(l.made.done)
	}
	onEnd := l.onEnd
	l.onEnd = nil
	l.mu.Unlock()
	if onEnd != nil {
		onEnd()
	}
	c.traceEnd()
	if x := c.t.polled(); x != nil {
		x.wake()
	}
	return true
}

// endInTimeLocked has the connection end when the close timeout is over, unless
// a timer runs already. Without a close timeout it does nothing.
func (c *Conn) endInTimeLocked(cause error) {
	e := c.life.endingLocked()
	if e.grace == nil && c.closeTimeout >= 0 {
		e.grace = time.AfterFunc(c.closeTimeout, func() { c.end(cause) })
	}
}

// writeBroke is told of an error of the transport that ended the writing half.
// It returns the error for its writer. The peer may have said why, in a close
// frame that is still to be read. The reading half gets the time for it that
// Close would take. Without a close timeout it goes on until the transport
// fails there too.
func (c *Conn) writeBroke(err error) error {
	l := &c.life
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at().isEnding() {
		return toWriters(l.reason())
	}
	if e := l.endingLocked(); e.lost == nil && !l.isOver() {
		e.lost = err
	}
	c.endInTimeLocked(err)
	return err
}

// lost returns the error of the write that has found the transport broken while
// the connection was not over, or nil.
func (l *lifetime) lost() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made == nil {
		return nil
	}
	return l.made.lost
}

// outcome reports whether the closing handshake was completed, and if it was
// not, what came in place of the answer.
func (l *lifetime) outcome() (answered bool, broke error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made != nil {
		broke = l.made.broke
	}
	return broke == nil && l.at().isAnswered(), broke
}

// breaks notes what came in place of the answer to this side's close frame.
func (l *lifetime) breaks(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.endingLocked(); e.broke == nil {
		e.broke = err
	}
}

// onEnd arranges that f runs, once, when the connection has ended (the
// transport is closed), or at once if it has. Functions run in the order of
// these calls.
func (c *Conn) onEnd(f func()) {
	l := &c.life
	l.mu.Lock()
	closed := l.at().isClosed()
	if earlier := l.onEnd; !closed && earlier != nil {
		l.onEnd = func() { earlier(); f() }
	} else if !closed {
		l.onEnd = f
	}
	l.mu.Unlock()
	if closed {
		f()
	}
}

// closed returns a channel that is closed when the transport is.
func (l *lifetime) closed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.endingLocked()
	if e.done == nil {
		e.done = make(chan struct{})
		if l.at().isClosed() {
			close(e.done)
		}
	}
	return e.done
}

// interrupted returns what a call is told whose ctx ended, or whose deadline
// passed (err). Where the connection is over it is told why, because that may
// be why ctx ended.
func (l *lifetime) interrupted(op string, ctx context.Context, err error) error {
	// The call that could not be interrupted learns that it was, not what came
	// of it.
	ended := ctx.Err() != nil || err != nil
	if cause := l.reason(); cause != nil && !(ended && cause == errNotInterrupted) {
		if op == "read" {
			return cause
		}
		return toWriters(cause)
	}
	if ctxErr := ctx.Err(); ctxErr != nil {
		err = ctxErr
	}
	if err == nil {
		err = context.Canceled // a context that the application made itself, which is done and does not say why
	}
	return apiError(op, err)
}

// noteFrame is told of a close frame where package gorilla has the handshake in
// its own hands. The first one says how the connection ends.
func (l *lifetime) noteFrame(says error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.endingLocked(); e.frame == nil {
		e.frame = says
	}
}

// frame returns what noteFrame was told of first, or nil.
func (l *lifetime) frame() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made == nil {
		return nil
	}
	return l.made.frame
}

// contain is deferred where a goroutine of the library closes c. Such a
// goroutine may run a callback of the options that panics. It ends the
// connection.
func contain(c *Conn, server *http.Server) {
	if reportedPanic(c, server, recover()) {
		c.CloseNow()
	}
}

// reportedPanic reports whether there was a panic, with v. It logs as net/http
// does for a handler: not if v is http.ErrAbortHandler.
func reportedPanic(c *Conn, server *http.Server, v any) bool {
	if v == nil || v == http.ErrAbortHandler {
		return v != nil
	}
	stack := make([]byte, 64<<10)
	stack = stack[:runtime.Stack(stack, false)]
	logf := log.Printf
	if server != nil && server.ErrorLog != nil {
		logf = server.ErrorLog.Printf
	}
	logf("http: panic serving %v: %v\n%s", c.RemoteAddr(), v, stack)
	return true
}

// errCallbackPanicked is what a read of the library returns if OnPingReceived
// or OnPongReceived has panicked. The connection then has to be closed, and
// read on.
var errCallbackPanicked = errors.New("a callback has panicked")
