package websocket

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
)

// An EventHandler is what a program keeps for one connection of a [Server] that
// [Events] made. No two of its methods run at the same time.
//
// A method may block. That holds up its own connection only. While it blocks it
// has a goroutine. A panic in a method, or in a callback of the options, closes
// the connection with StatusInternalError, and is reported as [NewServer]
// reports it.
type EventHandler interface {
	// Message is called with each message, in order. m.Data is valid until
	// Message returns. Until then it may be changed, and passed to Write.
	Message(m Message)

	// Close is called once, after the last message, when the connection is
	// over. err is what [Conn.Read] would return. It matches [io.EOF] if the
	// peer closed the connection in an orderly way, and [net.ErrClosed] if this
	// side did. [CloseStatus] knows the code of the peer's close frame.
	Close(err error)
}

// Events returns a [Server] that has no goroutine for a connection on which
// nothing happens. It upgrades every request as [Accept] does, and calls open.
// The EventHandler that open returns then gets what arrives.
//
// On Linux, an idle connection over plain TCP or a Unix socket costs a Conn, a
// descriptor and the EventHandler. That is about a fifth of what it costs with
// [NewServer]. A few goroutines wait for all of them. Elsewhere, and with TLS,
// each connection has a goroutine that reads. Handlers see no difference.
//
// The goroutine of the request calls open, before ServeHTTP returns. The
// function may use c: it may write, set limits, join a hub, keep c in the
// EventHandler. It must not keep r. After open has returned, the context of r
// still ends with the connection. Its values stay valid only straight behind
// net/http, or with ServerOptions.Detach, because a router may reuse them. If
// open returns nil, or panics, the connection is closed.
//
// The methods of c that read return an error: what arrives goes to the
// EventHandler. The read deadline has no effect. Everything else is as with
// [NewServer], including heartbeats and [Server.Shutdown].
//
// Events panics if open is nil or a field of opts is invalid.
func Events(open func(c *Conn, r *http.Request) EventHandler, opts *ServerOptions) *Server {
	if open == nil {
		panic("websocket: Events: open is nil")
	}
	s := checkedServer(opts)
	s.events = &eventGroup{open: open}
	return s
}

// An eventGroup is what a Server made by Events has for all its connections.
type eventGroup struct {
	open   func(c *Conn, r *http.Request) EventHandler // immutable
	polled polledGroup                                 // has its own locks
}

// An eventConn is a connection whose messages go to an EventHandler.
//
// Its fields have one owner at a time. Until opened is set, that is the
// goroutine of the request. Then it is the step that runs, or the goroutine
// that reads.
type eventConn struct {
	polledConn // zero where a goroutine reads, except for c

	s       *Server // immutable
	handler EventHandler
	server  *http.Server // the one whose request this was, or nil
	opened  atomic.Bool
	closed  bool // Close of the handler was called
}

// serveEvents takes over the connection of cfg, whose handshake is done. The
// place that is reserved for it is given back when it has ended. It returns
// before that, except over HTTP/2: values then last as long as the connection.
func (s *Server) serveEvents(cfg *connConfig, r *http.Request, values context.Context, lasting bool) {
	stays := http2StreamOf(cfg) != nil
	lasting = lasting || stays
	e := &eventConn{s: s}
	s.events.polled.adopt(cfg, &e.polledConn, e)
	e.server, _ = r.Context().Value(http.ServerContextKey).(*http.Server)
	c := cfg.start()
	if e.c == nil { // else asPolled has set it
		e.c = c
	}
	c.r.taken.Store(true)
	c.life.away.Store(true) // until open has returned
	polled := c.t.polled()
	if polled != nil {
		polled.start()
	}
	if down, ended := s.live.add(c); down {
		go s.turnAway(c, ended)
		return
	}
	var kept *keptValues
	if !lasting {
		kept = &keptValues{Context: values}
		values = kept
	}
	e.open(r.WithContext(&connContext{values: values, c: c}))
	if kept != nil {
		kept.drop()
	}
	c.life.away.Store(false)
	e.opened.Store(true)
	switch {
	case polled != nil:
		polled.wake()
	case stays:
		e.run()
	default:
		go e.run()
	}
}

// open calls the program's function.
func (e *eventConn) open(r *http.Request) {
	defer e.recovered()
	if e.handler = e.s.events.open(e.c, r); e.handler == nil {
		e.c.postClose(closedNormally) // unless open has closed it
	}
}

// recovered is deferred around calls of the program's functions.
func (e *eventConn) recovered() {
	if reportedPanic(e.c, e.server, recover()) {
		e.c.postClose(closedForPanic)
	}
}

// next is Conn.borrowOwn.
func (e *eventConn) next(l *lease, now bool) (m Message, err error) {
	defer e.recovered()
	err = errCallbackPanicked
	m, err = e.c.borrowOwn(l, now)
	return m, err
}

// message hands over m.
func (e *eventConn) message(m Message) {
	defer e.c.life.away.Store(false)
	defer e.recovered()
	e.c.life.away.Store(true)
	e.handler.Message(m)
}

// finish tells the handler that the connection is over, once.
func (e *eventConn) finish() {
	if e.closed {
		return
	}
	e.closed = true
	defer e.s.live.release(e.c)
	if e.handler != nil {
		defer e.recovered()
		e.handler.Close(e.c.life.reason())
	}
}

// run is the goroutine that reads, where there is no poller.
func (e *eventConn) run() {
	defer e.finish()
	var l lease
	for {
		m, err := e.next(&l, false)
		switch {
		case err == errCallbackPanicked:
		case err != nil:
			e.c.giveBack(&l)
			<-e.c.life.closed()
			return
		case e.handler != nil:
			e.message(m)
		}
	}
}

// stepMessages is how many messages one step hands over before other
// connections have their turn.
const stepMessages = 64

// Step implements stepper: it hands over what has arrived, where there is a
// poller. It reports whether more may be there.
func (e *eventConn) Step() (again bool) {
	if !e.opened.Load() {
		return false
	}
	var l lease
	defer e.c.giveBack(&l)
	for range stepMessages {
		m, err := e.next(&l, true)
		switch {
		case err == errCallbackPanicked:
		case err == errNotNow:
			return false
		case err != nil:
			if e.c.life.at().isClosed() {
				e.finish()
			}
			return false // the end of the transport wakes us
		case e.handler != nil:
			e.message(m)
		}
	}
	return true
}

// keptValues is a context whose values are not looked at any more after drop. A
// router may have given them to another request.
type keptValues struct {
	context.Context
	looks sync.WaitGroup // those in progress, on goroutines that open has started
	mu    sync.Mutex     // guards gone
	gone  bool           // no look begins any more
}

func (k *keptValues) drop() {
	k.mu.Lock()
	k.gone = true
	k.mu.Unlock()
	k.looks.Wait()
}

func (k *keptValues) Value(key any) any {
	k.mu.Lock()
	gone := k.gone
	if !gone {
		k.looks.Add(1)
	}
	k.mu.Unlock()
	if gone {
		return nil
	}
	defer k.looks.Done()
	return k.Context.Value(key)
}
