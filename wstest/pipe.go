package wstest

import (
	"errors"
	"net/http"
	"testing"

	"github.com/seed70bc5565/websocket"
)

// Options are the options of [Pipe], [ClientWithPeer] and [ServerWithPeer]. A
// nil pointer and the zero value hold the defaults.
type Options struct {
	// Accept are the options of the server's end, and Dial those of the
	// client's end, whose HTTPClient is replaced. Nil means the defaults.
	Accept *websocket.AcceptOptions
	Dial   *websocket.DialOptions
	// ClientTransport and ServerTransport are the two ends of the transport.
	ClientTransport, ServerTransport Transport
}

// Pipe returns the two ends of a new connection, after a real opening handshake
// in memory. opts may be nil. When the test ends, Pipe closes both ends without
// a close frame.
//
// As with every connection, a goroutine must read at each end, so that pings
// and close frames are answered.
func Pipe(t testing.TB, opts *Options) (client, server *websocket.Conn) {
	t.Helper()
	if opts == nil {
		opts = &Options{}
	}
	s, accepted := acceptor(t, opts)
	client, err := s.dial(opts.Dial)
	if err != nil {
		t.Fatal(err)
	}
	return client, <-accepted
}

// acceptor returns a server that accepts connections, and the channel for the
// first of them.
func acceptor(t testing.TB, opts *Options) (*Server, <-chan *websocket.Conn) {
	accepted := make(chan *websocket.Conn, 1)
	s := NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, opts.Accept)
		if err != nil {
			return // the client is told, and fails the test
		}
		t.Cleanup(func() { c.CloseNow() })
		accepted <- c
	}))
	s.ClientTransport, s.ServerTransport = opts.ClientTransport, opts.ServerTransport
	return s, accepted
}

// Dial connects to handler, in memory, and returns the client's end. opts may
// be nil; its HTTPClient is replaced. The request's path is "/". When the test
// ends, Dial closes the connection without a close frame.
//
// A test that needs other paths, several clients, or a refusal makes a
// [Server], and calls websocket.Dial with [Server.Client].
func Dial(t testing.TB, handler http.Handler, opts *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	return NewServer(t, handler).Dial(opts)
}

// ClientWithPeer returns the client's end of a connection, and a Peer that
// plays the server to it. opts may be nil. Its Accept is not used.
//
// The Peer answers no pings: the test does, or sets a negative PingInterval.
func ClientWithPeer(t testing.TB, opts *Options) (*websocket.Conn, *Peer) {
	t.Helper()
	if opts == nil {
		opts = &Options{}
	}
	s := NewServer(t, nil)
	s.ClientTransport, s.ServerTransport = opts.ClientTransport, opts.ServerTransport
	type result struct {
		c   *websocket.Conn
		err error
	}
	dialed := make(chan result, 1)
	go func() {
		c, err := s.dial(opts.Dial)
		dialed <- result{c, err}
	}()
	// A dial that fails before it connects must not leave the test waiting.
	select {
	case r := <-dialed:
		if r.err == nil {
			r.err = errors.New("the client did not wait for the handshake")
		}
		t.Fatal(r.err)
		return nil, nil
	case conn := <-s.peers:
		p := NewPeer(t, conn, ServerRole)
		t.Cleanup(p.Close)
		var lines []string
		if opts.Dial != nil && len(opts.Dial.Subprotocols) > 0 {
			lines = append(lines, "Sec-WebSocket-Protocol: "+opts.Dial.Subprotocols[0])
		}
		p.ServerHandshake(lines...)
		r := <-dialed
		if r.err != nil {
			t.Fatal(r.err)
		}
		return r.c, p
	}
}

// ServerWithPeer returns the server's end of a connection, and a Peer that
// plays the client to it. The Peer sends the opening handshake for "/" with
// more lines of the header, such as "Sec-WebSocket-Protocol: chat". opts may be
// nil. Its Dial is not used.
//
// The Peer answers no pings: the test does, or sets a negative PingInterval.
func ServerWithPeer(t testing.TB, opts *Options, lines ...string) (*websocket.Conn, *Peer) {
	t.Helper()
	if opts == nil {
		opts = &Options{}
	}
	s, accepted := acceptor(t, opts)
	p := s.DialPeer(lines...)
	return <-accepted, p
}
