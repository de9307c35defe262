package wstest

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	internal "github.com/seed70bc5565/websocket/internal/wstest"
)

// A Role is the side that a [Peer] plays.
type Role int

// The two sides. A client masks the frames that it sends, a server does not
// (RFC 6455, section 5.1).
const (
	ClientRole Role = iota
	ServerRole
)

// peerTimeout bounds each read and each write of a Peer. In a bubble of
// testing/synctest it takes no real time.
const peerTimeout = 30 * time.Second

// A Peer is one end of a connection that a test drives frame by frame. It
// answers nothing by itself, no ping and no close frame. It does not read
// ahead. Its frames are encoded and decoded by code of its own, not by the
// library's, so that a fault there does not hide itself.
//
// Each method that reads or writes waits up to 30 seconds, and then fails the
// test. A Peer is for one goroutine, the one that runs the test.
type Peer struct {
	// Conn is the connection that the Peer uses. A test may read bytes from it
	// and write bytes to it, but not set the field.
	Conn net.Conn

	p *internal.Peer
	t testing.TB
}

// NewPeer returns a Peer that plays role at its end of conn, from the handshake
// on. Call [Peer.ClientHandshake] or [Peer.ServerHandshake] first, if the
// handshake has not been done. The deadlines of conn must work.
func NewPeer(t testing.TB, conn net.Conn, role Role) *Peer {
	p := internal.NewPeer(t, conn, internal.Role(role))
	p.Timeout = peerTimeout
	return &Peer{conn, p, t}
}

// ClientHandshake sends the opening handshake of a client for a path, with more
// lines of the header, such as "Origin: http://example.com". It fails the test
// unless the answer is a right 101 (section 4.1).
func (p *Peer) ClientHandshake(path string, lines ...string) *http.Response {
	p.t.Helper()
	return p.p.ClientHandshake(path, host, lines...)
}

// ServerHandshake reads the opening handshake of a client, and accepts it with
// more lines of the header, such as "Sec-WebSocket-Protocol: chat". It fails
// the test unless a server must accept the request (section 4.2.1).
func (p *Peer) ServerHandshake(lines ...string) *http.Request {
	p.t.Helper()
	return p.p.ServerHandshake(lines...)
}

// WriteRaw writes bytes as they are, in one Write of the connection.
func (p *Peer) WriteRaw(b []byte) {
	p.t.Helper()
	p.p.WriteRaw(b)
}

// Encode returns frames as p writes them.
func (p *Peer) Encode(frames ...Frame) []byte {
	list := make([]internal.Frame, len(frames))
	for i, f := range frames {
		list[i] = f.internal()
	}
	return p.p.Encode(list...)
}

// WriteFrames writes frames, all in one Write of the connection.
func (p *Peer) WriteFrames(frames ...Frame) {
	p.t.Helper()
	p.p.WriteRaw(p.Encode(frames...))
}

// WriteFrame writes a frame with FIN set: a whole message, or a control frame.
func (p *Peer) WriteFrame(op Opcode, payload string) {
	p.t.Helper()
	p.p.WriteFrame(internal.Opcode(op), payload)
}

// WriteClose writes a close frame. See [CloseFrame].
func (p *Peer) WriteClose(code websocket.StatusCode, reason string) {
	p.t.Helper()
	p.p.WriteClose(int(code), reason)
}

// ReadFrame reads the next frame. It fails the test if there is none, or if
// the frame breaks a rule that holds for every frame.
func (p *Peer) ReadFrame() Frame {
	p.t.Helper()
	return fromInternal(p.p.ReadFrame())
}

// WantFrame reads a frame. It fails the test unless the frame has this opcode
// and payload, and FIN set.
func (p *Peer) WantFrame(op Opcode, payload string) {
	p.t.Helper()
	p.p.WantFrame(internal.Opcode(op), payload)
}

// WantMessage reads a message, in one frame or more. It fails the test unless
// the message has this type and payload. A control frame between the fragments
// fails the test too.
func (p *Peer) WantMessage(op Opcode, payload string) {
	p.t.Helper()
	p.p.WantMessage(internal.Opcode(op), payload)
}

// WantClose reads a close frame, and returns its reason. It fails the test
// unless the code is this one. 1005 stands for a close frame without a code.
func (p *Peer) WantClose(code websocket.StatusCode) (reason string) {
	p.t.Helper()
	return p.p.WantClose(int(code))
}

// WantEnd fails the test unless the other end has closed the transport, and
// sent nothing more. A reset counts as an end.
func (p *Peer) WantEnd() {
	p.t.Helper()
	p.p.WantEnd()
}

// WantIdle fails the test if the other end has sent anything, or closed the
// transport. It works only in a bubble of testing/synctest, where it lets a
// nanosecond pass: until then the other goroutines have done all they could.
func (p *Peer) WantIdle() {
	p.t.Helper()
	p.p.WantIdle()
}

// Close closes the transport without a close frame, as a program that crashes
// does.
func (p *Peer) Close() { p.p.Close() }
