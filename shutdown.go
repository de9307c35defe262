package websocket

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Shutdown ends the server in a polite way. From now on requests are refused
// with status 503 and a Retry-After header. Each connection is closed with
// StatusGoingAway. Shutdown closes 1000 of them a second, so that their clients
// do not all come back at the same moment. It closes more a second if that
// would take longer than 10 seconds, or than half the time that is left until
// ctx's deadline. Each then has its CloseTimeout, and none waits for another.
//
// For serve it is as if [Conn.Close] had been called: writes fail, and so do
// reads. Only a message that is on its way to a read in progress still arrives.
// The context of its request ends with the connection, not before.
//
// Shutdown returns nil when all connections have ended and serve has returned
// for each of them. When ctx ends first, the connections that are left are
// ended as [Server.Close] does it, and the error is ctx.Err().
//
// [http.Server.Shutdown] does not know of WebSocket connections. It calls
// Shutdown if that was registered with [http.Server.RegisterOnShutdown], but
// does not wait for it: the program has to.
//
// Shutdown may be called at any time, more than once, and from several
// goroutines, but not by serve, which it waits for. The server cannot be used
// again.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.ShutdownWith(ctx, StatusGoingAway, "")
}

// ShutdownWith is Shutdown with the caller's code and reason, such as
// StatusServiceRestart. [Conn.Close] says which codes and reasons are valid. If
// they are invalid, that is the error, and the server goes on.
//
// Of several calls the first decides for the connections that are in their
// handshake.
func (s *Server) ShutdownWith(ctx context.Context, code StatusCode, reason string) error {
	if _, err := appendClosePayload(nil, code, reason); err != nil {
		return apiError("shutdown", err)
	}
	conns := s.live.stopWith(code, reason)
	gone := s.live.gone()
	if closeSlowly(ctx, conns, gone, code, reason) {
		select {
		case <-gone:
			return nil
		default:
		}
		select {
		case <-gone:
			return nil
		case <-ctx.Done():
		}
	}
	s.Close()
	return ctx.Err()
}

// Close ends the server and all its connections at once, without closing
// handshakes, as [Conn.CloseNow] does it. Requests are refused from now on. It
// does not wait for serve to return. The error is nil.
//
// Close may be called at any time, more than once, also while Shutdown is at
// work.
func (s *Server) Close() error {
	conns := s.live.stop()
	work := make(chan *Conn)
	var workers sync.WaitGroup
	for range min(len(conns), closers) {
		workers.Go(func() {
			for c := range work {
				c.closeNowFor(serverClosed)
			}
		})
	}
	for _, c := range conns {
		work <- c
	}
	close(work)
	workers.Wait()
	return nil
}

// Connections returns how many connections the server has: those in the
// handshake and those for which serve has not returned.
func (s *Server) Connections() int {
	l := &s.live
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// Adopt makes c, which was made by [Accept], [AcceptConn] or [NewConn], a
// connection of the server, until c has ended: Connections, All, Shutdown and
// Close know it. The goroutine of the caller goes on serving c.
//
// The error matches [http.ErrServerClosed] if the server was shut down. It is
// another one if the server has MaxConnections, or has c already. After an
// error c is as it was: the caller closes it.
//
// The zero Server has no serve and no options, and can adopt.
func (s *Server) Adopt(c *Conn) error {
	if err := s.live.adopt(c, s.opts.MaxConnections); err != nil {
		return fmt.Errorf("websocket: adopt: %w", err)
	}
	c.onEnd(func() { s.live.release(c) })
	return nil
}

// All returns an iterator over the connections that the server has when the
// range begins, in no order. Those in the handshake are not among them. The
// body of the loop may end connections, and call all methods of the server
// except Shutdown.
func (s *Server) All() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		s.live.mu.Lock()
		conns := s.live.listLocked()
		s.live.mu.Unlock()
		for _, c := range conns {
			if !yield(c) {
				return
			}
		}
	}
}

const (
	// shutdownRate is how many connections are closed in a second when nothing
	// demands more.
	shutdownRate = 1000
	// shutdownSpread is the longest time over which connections are closed.
	shutdownSpread = 10 * time.Second
	// shutdownStep is the time between two batches.
	shutdownStep = 10 * time.Millisecond
	// closers is how many goroutines end connections at once. A TLS connection
	// whose peer takes nothing needs some milliseconds.
	closers = 64
	// attendants is how many goroutines at most read from connections that are
	// being closed and that no other goroutine reads.
	attendants = 1024
)

// spread returns over what time n connections are closed, if there is so much
// left for all that Shutdown does.
func spread(n int, left time.Duration) time.Duration {
	return min(time.Duration(n)*time.Second/shutdownRate, shutdownSpread, left/2)
}

// closeSlowly closes conns over time, until there are none left: gone is closed
// then. It does not wait for the peers, and reports whether it got through
// before ctx ended.
func closeSlowly(ctx context.Context, conns []*Conn, gone <-chan struct{}, code StatusCode, reason string) bool {
	left := time.Duration(math.MaxInt64)
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	steps := max(1, int(spread(len(conns), left)/shutdownStep))
	cause := shutDown(code, reason)
	var attending atomic.Int32
	var ticker *time.Ticker
	for step := range steps {
		if step > 0 {
			if ticker == nil {
				ticker = time.NewTicker(shutdownStep)
				defer ticker.Stop()
			}
			select {
			case <-gone:
				return true
			case <-ctx.Done():
				return false
			case <-ticker.C:
			}
		}
		for _, c := range conns[len(conns)*step/steps : len(conns)*(step+1)/steps] {
			if !c.postClose(cause) || attending.Load() >= attendants {
				continue // serve reads, or will when it returns, or the close timeout ends the connection
			}
			attending.Add(1)
			go func() {
				defer attending.Add(-1)
				defer contain(c, nil)
				c.awaitClose(context.Background())
			}()
		}
	}
	return true
}

// turnAway ends a connection that was in its handshake when the server was shut
// down. The application has not seen it yet.
func (s *Server) turnAway(c *Conn, ended bool) {
	defer s.live.release(c)
	defer contain(c, nil)
	if ended {
		c.closeNowFor(serverClosed)
	} else {
		_ = c.closeFor(shutDown(s.live.farewell()))
	}
}

// A connSet is the connections of a Server.
type connSet struct {
	wheel wheel // of those with the options of the Server. It has its own lock

	mu     sync.Mutex         // guards what follows; never held across I/O or a wait
	n      int                // with those in the handshake
	others map[*Conn]struct{} // that are not in the wheel
	down   bool               // no more connections
	code   StatusCode         // of the close frames that end those in their handshake; set with down
	why    string             // their reason
	ended  bool               // Close was called
	empty  chan struct{}      // made by the first Shutdown; closed when n is 0, which then stays so

	counts connCounts
}

// reserve takes a place for a connection, of which there are limit (0: any
// number), or returns why it may not be.
func (l *connSet) reserve(limit int) *refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.down:
		return refuse(http.StatusServiceUnavailable, "the server is shutting down")
	case limit > 0 && l.n >= limit:
		return refuse(http.StatusServiceUnavailable, "the server has as many connections as it takes")
	}
	l.n++
	return nil
}

// adopt is reserve and add for a connection that is made already.
func (l *connSet) adopt(c *Conn, limit int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, twice := l.others[c]
	twice = twice || l.wheel.has(c)
	switch {
	case l.down:
		return http.ErrServerClosed
	case twice:
		return errors.New("the server has the connection already")
	case limit > 0 && l.n >= limit:
		return errors.New("the server has as many connections as it takes")
	}
	l.n++
	l.enterLocked(c)
	l.counts.accepted++
	return nil
}

// add makes c the connection of a place. It reports whether the server was shut
// down meanwhile, and whether it was closed. Then only the caller closes c,
// though Close still ends it.
func (l *connSet) add(c *Conn) (down, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enterLocked(c)
	l.counts.accepted++
	return l.down, l.ended
}

// stopWith lets no more connections in, and returns those that there are.
func (l *connSet) stopWith(code StatusCode, reason string) []*Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.down {
		l.down, l.code, l.why = true, code, reason
	}
	return l.listLocked()
}

// stop is stopWith for Close.
func (l *connSet) stop() []*Conn {
	conns := l.stopWith(StatusGoingAway, "")
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	return conns
}

// farewell returns the code and the reason of the close frame for a connection
// that was in its handshake.
func (l *connSet) farewell() (code StatusCode, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.code, l.why
}

// enterLocked takes c in.
func (l *connSet) enterLocked(c *Conn) {
	if c.wheel == &l.wheel {
		l.wheel.enter(c)
		return
	}
	if l.others == nil {
		l.others = make(map[*Conn]struct{})
	}
	l.others[c] = struct{}{}
}

// openLocked returns how many connections there are without those in the
// handshake.
func (l *connSet) openLocked() int { return l.wheel.count() + len(l.others) }

func (l *connSet) listLocked() []*Conn {
	conns := l.wheel.appendTo(make([]*Conn, 0, l.openLocked()))
	for c := range l.others {
		conns = append(conns, c)
	}
	return conns
}

// gone returns a channel that is closed when all places are free. No more
// connections are let in by now.
func (l *connSet) gone() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.empty == nil {
		l.empty = make(chan struct{})
		if l.n == 0 {
			close(l.empty)
		}
	}
	return l.empty
}

// release gives a place back; c is its connection, or nil.
func (l *connSet) release(c *Conn) {
	var last lastCounts
	if c != nil {
		last.takeEnd(c)
		c.publishIdle()
		c.traffic(&last.received, &last.sent)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c != nil {
		l.countEndLocked(&last)
	}
	if c == nil || !l.wheel.leave(c) {
		delete(l.others, c)
	}
	l.n--
	if l.n == 0 && l.empty != nil {
		close(l.empty)
	}
}

// countRefused counts a request that was refused with err.
func (l *connSet) countRefused(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts.refused == nil {
		l.counts.refused = map[int]int64{}
	}
	l.counts.refused[refusalStatus(err)]++
}

// countEndLocked counts a connection that has ended.
func (l *connSet) countEndLocked(last *lastCounts) {
	if l.counts.ended == nil {
		l.counts.ended = map[EndCount]int64{}
	}
	l.counts.ended[last.end]++
	l.counts.received.add(last.received)
	l.counts.sent.add(last.sent)
}
