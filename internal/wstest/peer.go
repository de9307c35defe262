package wstest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Peer is one end of a connection, driven by a test step by step. Its methods
// fail the test when they do not meet what they want; they must be called from
// the goroutine that runs the test.
//
// It answers nothing by itself, and keeps no bytes: what it has not been asked
// to read is still in Conn.
type Peer struct {
	Conn net.Conn
	// Role is the side that this peer plays.
	Role Role
	// Timeout bounds each read and write: 30 s unless set. In a
	// testing/synctest bubble it takes no real time.
	Timeout time.Duration

	t testing.TB
}

// NewPeer returns a peer that plays role at its end of a connection.
func NewPeer(t testing.TB, conn net.Conn, role Role) *Peer {
	return &Peer{Conn: conn, Role: role, Timeout: 30 * time.Second, t: t}
}

// With returns a copy of p that fails another test, such as a subtest.
func (p *Peer) With(t testing.TB) *Peer {
	q := *p
	q.t = t
	return &q
}

// WriteRaw writes bytes as they are, in one Write.
func (p *Peer) WriteRaw(b []byte) {
	p.t.Helper()
	p.Conn.SetWriteDeadline(time.Now().Add(p.Timeout))
	if n, err := p.Conn.Write(b); err != nil {
		p.t.Fatalf("%v: writing %s: %d bytes taken, then %v", p.Role, Quote(b), n, err)
	}
}

// WritePieces writes bytes in pieces of n, each in a Write of its own, one
// after another.
func (p *Peer) WritePieces(b []byte, n int) {
	p.t.Helper()
	for len(b) > 0 {
		k := min(n, len(b))
		p.WriteRaw(b[:k])
		b = b[k:]
	}
}

// TryWrite writes bytes as far as the other end takes them, and does not mind
// if it does not.
func (p *Peer) TryWrite(b []byte) (int, error) {
	p.Conn.SetWriteDeadline(time.Now().Add(p.Timeout))
	return p.Conn.Write(b)
}

// Encode returns frames as p writes them.
func (p *Peer) Encode(frames ...Frame) []byte { return Encode(p.Role, frames...) }

// WriteFrames writes frames, all in one Write.
func (p *Peer) WriteFrames(frames ...Frame) {
	p.t.Helper()
	p.WriteRaw(p.Encode(frames...))
}

// WriteFrame writes a frame with FIN set.
func (p *Peer) WriteFrame(op Opcode, payload string) {
	p.t.Helper()
	p.WriteFrames(Final(op, payload))
}

// WriteClose writes a close frame. Code 0 gives one without a payload.
func (p *Peer) WriteClose(code int, reason string) {
	p.t.Helper()
	p.WriteFrames(CloseFrame(code, reason))
}

// ReadFrame reads the next frame and fails the test if there is none or if it
// breaks a rule that holds for every frame.
func (p *Peer) ReadFrame() Frame {
	p.t.Helper()
	return p.readFrame("a frame")
}

func (p *Peer) readFrame(want string) Frame {
	p.t.Helper()
	p.Conn.SetReadDeadline(time.Now().Add(p.Timeout))
	f, err := ReadFrame(p.Conn)
	if err != nil {
		p.t.Fatalf("%v: got %s, want %s", p.Role, describe(err), want)
	}
	if err := f.Check(p.Role.Other()); err != nil {
		p.t.Fatalf("%v: got a bad %v: %v; want %s", p.Role, f, err, want)
	}
	return f
}

func describe(err error) string {
	switch {
	case err == io.EOF:
		return "the end of the stream"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "nothing in time"
	}
	return "the error " + err.Error()
}

// WantFrame reads a frame and fails the test unless it is this one, with FIN
// set.
func (p *Peer) WantFrame(op Opcode, payload string) {
	p.t.Helper()
	want := Final(op, payload)
	got := p.readFrame(want.String())
	if got.Op != op || !got.Fin || string(got.Payload) != payload {
		p.t.Fatalf("%v: got %v, want %v", p.Role, got, want)
	}
}

// WantMessage reads a message, in one frame or more, with no control frames
// between.
func (p *Peer) WantMessage(op Opcode, payload string) {
	p.t.Helper()
	want := op.String() + " message " + Quote([]byte(payload))
	var got []byte
	for first := true; ; first = false {
		f := p.readFrame(want)
		wantOp := Continuation
		if first {
			wantOp = op
		}
		if f.Op != wantOp {
			p.t.Fatalf("%v: got %v, want a %v frame of the %s", p.Role, f, wantOp, want)
		}
		got = append(got, f.Payload...)
		if f.Fin {
			break
		}
	}
	if !bytes.Equal(got, []byte(payload)) {
		p.t.Fatalf("%v: got %v message %s, want %s", p.Role, op, Quote(got), want)
	}
}

// WantClose reads a close frame and fails the test unless its code is one of
// codes; 1005 stands for no code. It returns the reason.
func (p *Peer) WantClose(codes ...int) string {
	p.t.Helper()
	want := CloseFrame(codes[0], "").String() + " of any reason"
	f := p.readFrame(want)
	if f.Op != Close {
		p.t.Fatalf("%v: got %v, want %s", p.Role, f, want)
	}
	for _, code := range codes {
		if CloseCode(f.Payload) == code {
			if len(f.Payload) < 2 {
				return ""
			}
			return string(f.Payload[2:])
		}
	}
	p.t.Fatalf("%v: got %v, want one of the codes %v", p.Role, f, codes)
	return ""
}

// WantEOF fails the test unless the other end has closed the connection in good
// order and sent nothing more.
func (p *Peer) WantEOF() {
	p.t.Helper()
	p.wantEnd(false)
}

// WantEnd is like WantEOF but takes a reset for an answer too.
func (p *Peer) WantEnd() {
	p.t.Helper()
	p.wantEnd(true)
}

func (p *Peer) wantEnd(reset bool) {
	p.t.Helper()
	p.Conn.SetReadDeadline(time.Now().Add(p.Timeout))
	f, err := ReadFrame(p.Conn)
	switch {
	case err == nil:
		p.t.Fatalf("%v: got %v, want the end of the stream", p.Role, f)
	case err == io.EOF, reset && errors.Is(err, syscall.ECONNRESET):
	default:
		p.t.Fatalf("%v: got %s, want the end of the stream", p.Role, describe(err))
	}
}

// WantIdle fails the test if the other end has sent anything, or closed. It
// must be called in a testing/synctest bubble, where it lets a nanosecond pass.
// By then all other goroutines of the bubble have done what they had to do.
func (p *Peer) WantIdle() {
	p.t.Helper()
	p.Conn.SetReadDeadline(time.Now().Add(time.Nanosecond))
	b := make([]byte, 1)
	_, err := io.ReadFull(p.Conn, b)
	if err == nil {
		f, err := ReadFrame(io.MultiReader(bytes.NewReader(b), p.Conn))
		if err != nil {
			p.t.Fatalf("%v: got a part of a frame, its first byte %#02x, want nothing", p.Role, b)
		}
		p.t.Fatalf("%v: got %v, want nothing", p.Role, f)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("%v: got %s, want nothing", p.Role, describe(err))
	}
}

// Close closes the connection.
func (p *Peer) Close() { p.Conn.Close() }

// ReadHead reads the head of an HTTP message, up to and with its empty line,
// and no byte more.
func (p *Peer) ReadHead() string {
	p.t.Helper()
	p.Conn.SetReadDeadline(time.Now().Add(p.Timeout))
	var head strings.Builder
	b := make([]byte, 1)
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		if _, err := io.ReadFull(p.Conn, b); err != nil {
			p.t.Fatalf("%v: got %q and then %s, want the head of an HTTP message", p.Role, head.String(), describe(err))
		}
		head.Write(b)
	}
	return head.String()
}
