package websocket

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lifetime is how a connection comes to its end.
type lifetime struct {
	c *Conn // immutable: what ends with it

	isOver   atomic.Bool // cause is set
	isClosed atomic.Bool // the transport is closed

	mu     sync.Mutex // guards what follows; never held across I/O or a wait
	state  closeState
	local  bool    // this side began the closing: Close or CloseNow was called
	posted bool    // by postClose: nobody may be there to read the answer
	cause  error   // why the connection is over, as reads and writes return it; the first one sticks
	onEnd  func()  // called when the transport is closed
	made   *ending // see endingLocked
}

// An ending is what a lifetime needs when a goroutine waits for the end, or when the end has begun. A connection that
// is idle mostly has none. lifetime.mu guards it.
type ending struct {
	done      chan struct{}   // closed when the transport is; nil until a goroutine waits for that
	closeRead context.Context // what CloseRead returned
	broke     error           // what ended the transport, when that was not the closing handshake
	grace     *time.Timer     // ends the connection: see writeBroke and postClose
}

// endingLocked returns the ending, which it makes if there is none.
func (l *lifetime) endingLocked() *ending {
	if l.made == nil {
		l.made = new(ending)
	}
	return l.made
}

// onEnd arranges that f runs, once, when the connection has ended (the transport is closed), or at once if it has. Functions run
// in the order of these calls.
func (c *Conn) onEnd(f func()) {
	l := &c.life
	l.mu.Lock()
	closed := l.isClosed.Load()
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
		if l.isClosed.Load() {
			close(e.done)
		}
	}
	return e.done
}

// over makes err the reason why the connection is over, if there is none yet, and returns the one that is.
func (l *lifetime) over(err error) (cause error, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return l.cause, false
	}
	l.cause = err
	l.isOver.Store(err != nil)
	return err, true
}

// reason returns why the connection is over, or nil.
func (l *lifetime) reason() error {
	if !l.isOver.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// isEnding reports whether the transport is closed, or about to be.
func (l *lifetime) isEnding() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == stateEnded || l.state == stateBroken
}

// move notes a step of the closing and returns the new state.
func (l *lifetime) move(e closeEvent) closeState {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = l.state.after(e)
	return l.state
}

// begin marks the closing as this side's, because of cause, unless the connection is over already or being closed.
func (l *lifetime) begin(cause *localEnd) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.local || l.cause != nil {
		return false
	}
	l.local = true
	l.cause = cause
	l.isOver.Store(true)
	return true
}

// end closes the transport, the first time that it is called; cause is why, if there is no earlier reason. Everything
// that waits for the connection returns. It reports whether this call ended it.
func (c *Conn) end(cause error) bool {
	l := &c.life
	cause, _ = l.over(cause)
	l.mu.Lock()
	if l.state == stateEnded || l.state == stateBroken {
		l.mu.Unlock()
		return false
	}
	l.state = l.state.after(transportClosed)
	if l.made != nil && l.made.grace != nil {
		l.made.grace.Stop()
	}
	if c.beat.timer != nil {
		c.beat.timer.Stop() // the timer of a poller ends with its socket
	}
	l.mu.Unlock()

	c.t.end()
	c.w.stop(cause)
	if c.r.turn.TryLock() { // else the reader in progress does it
		c.r.finish()
		c.r.turn.Unlock()
	}
	l.mu.Lock()
	l.isClosed.Store(true)
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

// writeBroke is told of an error of the transport's that ended the writing half, and returns what its writer is to be
// told. The peer may have said why, in a close frame that is still to be read: the reading half gets the time for it
// that Close would take. Without a close timeout it goes on until the transport fails there too.
func (l *lifetime) writeBroke(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == stateEnded || l.state == stateBroken {
		return toWriters(l.cause)
	}
	l.endInTimeLocked(err)
	return err
}

// endInTimeLocked has the connection end because of cause when the close timeout is over, unless a timer runs already.
func (l *lifetime) endInTimeLocked(cause error) {
	c, e := l.c, l.endingLocked()
	if e.grace == nil && c.closeTimeout >= 0 {
		e.grace = time.AfterFunc(c.closeTimeout, func() { c.end(cause) })
	}
}

// isPosted reports whether the closing was begun by postClose.
func (l *lifetime) isPosted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.posted
}

// outcome reports whether the closing handshake was completed, and if it was not, what broke it.
func (l *lifetime) outcome() (answered bool, broke error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	broke = l.endingLocked().broke
	return broke == nil && (l.state == stateBoth || l.state == stateEnded), broke
}

// breaks notes what ended the transport in place of the closing handshake.
func (l *lifetime) breaks(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.endingLocked(); e.broke == nil {
		e.broke = err
	}
}

// end is Conn.end.
func (l *lifetime) end(cause error) bool { return l.c.end(cause) }

// interrupted returns what a call is told whose ctx ended, or whose deadline
// passed (err). Where the connection is over it is told why, because that may be
// why ctx ended.
func (l *lifetime) interrupted(op string, ctx context.Context, err error) error {
	// The call that could not be interrupted learns that it was, not what came of it.
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
		err = context.Canceled // a context of the application's own make, which is done and does not say why
	}
	return apiError(op, err)
}
