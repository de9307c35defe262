package interop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// patience bounds every connection of these tests: what has not happened by
// then never will.
const patience = 30 * time.Second

// A peer is one library, in both roles.
type peer struct {
	name string
	// lacks says which abilities the library's own API does not have. A
	// scenario that needs one is skipped, by name and with the reason.
	lacks map[ability]string
	// handler serves WebSockets: serve gets each connection and owns it until
	// it returns.
	handler func(o options, serve func(conn)) http.Handler
	// dial opens a connection to a ws or wss URL. The connection ends with ctx,
	// or its own patience.
	dial func(ctx context.Context, url string, o options) (conn, error)
}

// An ability is something that not every library can do through its API.
type ability int

const (
	sendFragments    ability = iota // send a message in several frames
	receiveFragments                // join a message of several frames
	chooseCloseCode                 // send a close code and reason of the caller's choice
	reportCloseCode                 // report the code and reason of a received close frame
	closeWithoutCode                // send a close frame that has no code
	observePong                     // report a received pong
	answerClose                     // wait for the peer's close frame after having sent one
	compress                        // negotiate permessage-deflate
)

// options are what both ends of a scenario agree on.
type options struct {
	subprotocols []string
	tls          *tls.Config // the client's
	// compression is what both ends are set to. A library that cannot keep the
	// context between messages negotiates that it does not.
	compression compression
	windowBits  int // of both directions, for the libraries that let one choose; 0: 15
}

type compression int

const (
	compressionOff compression = iota
	compressionNoContextTakeover
	compressionContextTakeover
)

type message struct {
	text bool
	data []byte
}

// A conn is one end of a connection, in the terms that all libraries share.
type conn interface {
	// Read returns the next message, or a *closed when the peer's close frame
	// came.
	Read() (message, error)
	// Write sends one message.
	Write(m message) error
	// WriteFragments sends one message in at least as many frames as there are
	// parts, where the API lets one.
	WriteFragments(text bool, parts [][]byte) error
	// Ping sends pings and returns when their pongs have come. Both ends must
	// be in Read meanwhile.
	Ping() error
	// Close sends a close frame, waits for the peer's where the library can,
	// and ends the connection. The code 1005 means a close frame without a
	// code. No goroutine may be in Read.
	Close(code int, reason string) error
	Subprotocol() string
	// End lets go of the connection, in whatever state it is.
	End()
}

// closed is the error of a Read that met a close frame.
type closed struct {
	code   int
	reason string
}

func (c *closed) Error() string { return fmt.Sprintf("closed with %d %q", c.code, c.reason) }

var errLacking = errors.New("the library cannot do this: the scenario should have been skipped")

// pingPayloads are what the pings of peers carry whose API lets one choose.
var pingPayloads = [][]byte{nil, []byte("hello"), make([]byte, 125)}

// awaitPong waits until pongs delivers want.
func awaitPong(pongs <-chan string, want []byte) error {
	select {
	case got := <-pongs:
		if got != string(want) {
			return fmt.Errorf("pong carries %q, want %q", got, want)
		}
		return nil
	case <-time.After(patience):
		return errors.New("no pong came")
	}
}

// peers are all libraries, ours among them: it must understand itself too.
var peers = []peer{ours, coderPeer, gorillaPeer, gobwasPeer, gwsPeer, xnetPeer}
