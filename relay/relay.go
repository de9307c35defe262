// Package relay forwards messages between two WebSocket connections: it is the
// middle of a reverse proxy that counts, changes or refuses messages.
package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/seed70bc5565/websocket"
)

// Options are the options of [Run]. A nil pointer and the zero value forward
// all messages as they are. The struct is only read.
type Options struct {
	// ToServer is called with each message of the client before it is
	// forwarded, and ToClient with each of the server. They may change m.Type
	// and m.Data, in place too, and keep neither when they return. A Type of 0
	// drops the message.
	//
	// An error ends the relay, and Run returns it wrapped. Both connections are
	// then closed with the code and the reason of the [websocket.CloseError] in
	// its chain, or with StatusInternalError if there is none.
	//
	// One goroutine calls ToServer and another calls ToClient. ctx ends when
	// the relay does. If a hook panics, both connections are closed with
	// StatusInternalError, and Run panics with the same value.
	ToServer, ToClient func(ctx context.Context, m *websocket.Message) error
}

// Run forwards messages in both directions until one of the connections or ctx
// ends. Then both are closed, and Run returns. The connection client leads to
// the client that the relay serves, and the connection server to the server
// that the relay has dialed.
//
// A message is read whole, so the read limits of the connections bound the
// memory. It is written before the next one of its direction is read. So a slow
// receiver makes the sender wait. Meanwhile the sender's pings wait too.
//
// Each connection answers its own pings and has its own heartbeat, compression
// and limits. So a fault of one side is found on that side.
//
// When one peer closes, the other is sent the same code and reason, behind the
// messages that came before. When the connection of the client ends in another
// way, the server is sent StatusGoingAway. When that of the server does, the
// client is sent StatusBadGateway. A message past a read limit is
// StatusMessageTooBig for both. The end of ctx is StatusGoingAway for both. The
// context may be the context of the request that a [websocket.Handler] passes
// to serve, which ends with the connection.
//
// The error is nil after an orderly end: a peer closed its connection with
// StatusNormalClosure, StatusGoingAway, or no code. It matches ctx.Err() if ctx
// has ended. Otherwise it tells which connection ended, and wraps why. No other
// goroutine may read from the connections while Run is in progress; writing and
// closing are allowed.
func Run(ctx context.Context, client, server *websocket.Conn, opts *Options) error {
	if opts == nil {
		opts = &Options{}
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	defer client.CloseNow()
	defer server.CloseNow()
	ends := make(chan end, 2)
	go func() { ends <- forward(working, client, server, opts.ToServer) }()
	go func() { ends <- forward(working, server, client, opts.ToClient) }()
	first := <-ends
	stop()
	second := <-ends

	if second.panicked != nil {
		first = second
	}
	// ctx may end because a connection has: that of a Handler's request does.
	// Then the connection is the reason.
	if err := ctx.Err(); err != nil && errors.Is(first.err, err) && !errors.Is(second.err, err) {
		first = second
	}
	if err := ctx.Err(); err != nil && errors.Is(first.err, err) && !first.ofHook {
		closeBoth(client, server, websocket.CloseError{Code: websocket.StatusGoingAway})
		return fmt.Errorf("relay: %w", err)
	}
	if first.ofHook {
		closing := websocket.CloseError{Code: websocket.StatusInternalError}
		errors.As(first.err, &closing)
		closeBoth(client, server, closing)
		if first.panicked != nil {
			panic(first.panicked)
		}
		return fmt.Errorf("relay: %w", first.err)
	}
	if first.ofWrite {
		first.err = lastError(first.conn, first.err)
	}
	name, other, code := "client", server, websocket.StatusGoingAway
	if first.conn == server {
		name, other, code = "server", client, websocket.StatusBadGateway
	}
	closing := websocket.CloseError{Code: code}
	if !errors.As(first.err, &closing) && errors.Is(first.err, websocket.ErrMessageTooBig) {
		closing.Code = websocket.StatusMessageTooBig
	}
	other.Close(closing.Code, closing.Reason)
	if errors.Is(first.err, io.EOF) {
		return nil
	}
	return fmt.Errorf("relay: the connection of the %s: %w", name, first.err)
}

// An end is why one direction is over.
type end struct {
	conn    *websocket.Conn // that failed
	err     error
	ofWrite bool // then a read may tell more
	ofHook  bool

	panicked any // what the hook panicked with
}

var errHookPanicked = errors.New("a hook has panicked")

// keptBuffer is the most capacity that is kept for the next message, in bytes.
const keptBuffer = 64 << 10

// forward passes messages on until it fails.
func forward(ctx context.Context, from, to *websocket.Conn, hook func(context.Context, *websocket.Message) error) (e end) {
	defer func() {
		if v := recover(); v != nil {
			e = end{conn: from, err: errHookPanicked, ofHook: true, panicked: v}
		}
	}()
	var buf []byte
	for {
		typ, data, err := from.ReadInto(ctx, buf)
		if err != nil {
			return end{conn: from, err: err}
		}
		if buf = data; cap(buf) > keptBuffer {
			buf = nil
		}
		m := websocket.Message{Type: typ, Data: data}
		if hook != nil {
			if err := hook(ctx, &m); err != nil {
				return end{conn: from, err: err, ofHook: true}
			}
			if m.Type == 0 {
				continue
			}
		}
		if err := to.Write(ctx, m.Type, m.Data); err != nil {
			return end{conn: to, err: err, ofWrite: true}
		}
	}
}

// reasonTimeout bounds the search for the reason of a failed write.
const reasonTimeout = 5 * time.Second

// lastError returns why conn, to which a write has failed, is over: its peer
// may have said so. Messages that are still to be read are discarded.
func lastError(conn *websocket.Conn, writeErr error) error {
	ctx, cancel := context.WithTimeout(context.Background(), reasonTimeout)
	defer cancel()
	var buf []byte
	for {
		_, data, err := conn.ReadInto(ctx, buf)
		if err != nil {
			if ctx.Err() != nil {
				return writeErr
			}
			return err
		}
		buf = data
	}
}

// closeBoth closes both connections at the same time. Their callbacks may panic
// while Close reads. They do so on the goroutine of Run.
func closeBoth(client, server *websocket.Conn, closing websocket.CloseError) {
	panicked := make(chan any, 2)
	end := func(c *websocket.Conn) {
		defer func() { panicked <- recover() }()
		c.Close(closing.Code, closing.Reason)
	}
	go end(client)
	end(server)
	if v := cmp.Or(<-panicked, <-panicked); v != nil {
		panic(v)
	}
}
