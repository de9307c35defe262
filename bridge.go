package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/seed70bc5565/websocket/internal/bridge"
	"github.com/seed70bc5565/websocket/internal/field"
)

// This file gives the package gorilla the functions that the public API lacks.

var _ = bridge.Provide(bridge.Root{
	Of:    func(c any) bridge.Conn { return (*bridged)(c.(*Conn)) },
	Check: bridgeCheck,
})

// bridged is a Conn as the package gorilla sees it.
type bridged Conn

func (b *bridged) Transport() net.Conn {
	b.drain(false)
	return b.t.conn
}

func (b *bridged) Handle(h bridge.Handler) {
	own, agreed := *b.settings, *b.agreement
	own.door = h
	agreed.settings = &own
	b.agreement = &agreed
}

func (b *bridged) Deflates() bool { return b.deflate != nil }

func (b *bridged) WriteControl(op byte, payload []byte, deadline time.Time) error {
	c := (*Conn)(b)
	if opcode(op) == opClose {
		code, reason, err := parseClosePayload(payload)
		if err != nil {
			return fmt.Errorf("websocket: invalid close frame: %w", err)
		}
		c.life.noteFrame(closedWith(code, reason)) // before the answer comes
	}
	ctx := context.Background()
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	err := c.w.send(ctx, &outgoing{op: opcode(op), fin: true, direct: true, payload: payload})
	if err == nil && opcode(op) == opClose {
		c.life.move(closeFrameSent)
		c.w.mu.Lock()
		if c.w.errLocked() == nil {
			c.w.restLocked().err = errClosed
		}
		c.w.news = true // nothing that waits can be sent any more
		c.w.unlock()
	}
	return err
}

func (b *bridged) NextReader() (typ int, r io.Reader, err error) {
	_, nr, err := (*Conn)(b).Reader(context.Background())
	if err != nil {
		return 0, nil, err
	}
	m := nr.(*messageReader)
	return int(m.typ), (*bridgedReader)(m), nil
}

// bridgedReader is a messageReader as the package gorilla sees it.
type bridgedReader messageReader

func (b *bridgedReader) Read(p []byte) (int, error) {
	m := (*messageReader)(b)
	if err := m.c.door.Failed(); err != nil && m.err == nil {
		if m.isStale() {
			return 0, io.EOF
		}
		return 0, err
	}
	n, err := m.Read(p)
	switch {
	case err == nil || err == io.EOF:
	case errors.Is(err, errStaleReader):
		err = io.EOF
	default:
		err = m.c.door.ReadFailed(err)
	}
	return n, err
}

func (b *bridged) Writer(typ int, compress bool) (bridge.Writer, error) {
	c := (*Conn)(b)
	op, err := MessageType(typ).opcode()
	if err != nil {
		return nil, err
	}
	m := &messageWriter{c: c, ctx: context.Background(), op: op}
	if compress {
		m.z = c.deflate
	}
	if err := m.open(); err != nil {
		return nil, err
	}
	return (*bridgedWriter)(m), nil
}

// bridgedWriter is a messageWriter as the package gorilla sees it.
type bridgedWriter messageWriter

func (b *bridgedWriter) Write(p []byte) (int, error) { return (*messageWriter)(b).Write(p) }
func (b *bridgedWriter) Close() error                { return (*messageWriter)(b).Close() }

func (b *bridgedWriter) Flush() error {
	m := (*messageWriter)(b)
	if m.err != nil || m.z != nil || len(m.buf) == 0 {
		return m.err
	}
	err := m.send(m.buf, false)
	m.buf = m.buf[:0]
	return err
}

func (b *bridged) Refuse(ctx context.Context, code int, reason string) {
	(*Conn)(b).refuse(ctx, StatusCode(code), reason)
}

// drainTime bounds Drain.
const drainTime = 10 * time.Millisecond

func (b *bridged) Drain() { b.drain(true) }

// drain is Drain. If all is not set it does not wait for a write that another
// call has begun.
func (b *bridged) drain(all bool) {
	w := &b.w
	w.mu.Lock()
	defer w.unlock()
	if w.errLocked() != nil || w.owned && !all {
		return
	}
	w.tryWriteLocked() // at once, where the transport can
	if w.errLocked() != nil || len(w.buf) == 0 && !w.owned {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	for w.errLocked() == nil && (len(w.buf) > 0 || w.owned) {
		if w.waitLocked(ctx, time.Time{}) != nil {
			return
		}
	}
}

// A bridgeHandshake is a request that was accepted.
type bridgeHandshake struct {
	up    upgrade
	trace *tracing // or nil
}

func (h *bridgeHandshake) Observe(ctx context.Context, trace any) {
	h.trace = newTracing(trace.(*Trace), ctx)
}

func bridgeCheck(r *http.Request, compress bool) (bridge.Handshake, int, string) {
	opts := AcceptOptions{InsecureSkipVerify: true}
	if compress {
		opts.CompressionMode = CompressionNoContextTakeover
	}
	up, no := checkRequest(asGorillaReads(r), &opts)
	if no != nil {
		return nil, no.status, no.reason
	}
	return &bridgeHandshake{up: up}, 0, ""
}

// asGorillaReads returns r as checkRequest is to see it. The library gorilla
// takes requests that this package refuses, and programs in the field send
// them. Such a request comes over HTTP/1.0, or has no Host, a list of versions,
// a second key, or extensions that cannot be parsed. The names of subprotocols
// are the caller's matter. There are some in use that are no tokens.
func asGorillaReads(r *http.Request) *http.Request {
	h := r.Header
	if _, err := field.ParseExtensions(h[fieldExtensions]); err == nil && len(h[fieldProtocol]) == 0 && len(h[fieldKey]) == 1 &&
		len(h[fieldVersion]) == 1 && h[fieldVersion][0] == "13" && r.ProtoAtLeast(1, 1) && r.Host != "" {
		return r
	} else if h = maps.Clone(h); err != nil {
		delete(h, fieldExtensions)
	}
	delete(h, fieldProtocol)
	if len(h[fieldKey]) > 1 {
		h[fieldKey] = h[fieldKey][:1]
	}
	if field.HasToken(h[fieldVersion], "13") {
		h[fieldVersion] = []string{"13"}
	}
	read := &http.Request{Method: r.Method, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor, Proto: r.Proto, Host: r.Host,
		ContentLength: r.ContentLength, Header: h}
	if !r.ProtoAtLeast(1, 1) {
		read.ProtoMajor, read.ProtoMinor = 1, 1
	}
	if r.Host == "" {
		read.Host = "localhost"
	}
	return read
}

func (h *bridgeHandshake) Respond(conn net.Conn, buffers *bufio.ReadWriter, subprotocol string, header http.Header, timeout time.Duration) (any, error) {
	h.up.subprotocol = subprotocol
	if !field.ValidValue(subprotocol) {
		return nil, fmt.Errorf("websocket: the subprotocol %s cannot stand in a header", field.Quote(subprotocol))
	}
	if timeout <= 0 {
		timeout = responseTimeout
	}
	cfg := &connConfig{
		transport:    conn,
		received:     takeBuffered(buffers),
		subprotocol:  subprotocol,
		deflate:      h.up.deflate,
		readLimit:    -1,
		pingInterval: -1,
		trace:        h.trace,
	}
	if err := writeResponse(conn, appendResponse(availableBuffer(buffers), &h.up, header), timeout); err != nil {
		return nil, fmt.Errorf("websocket: sending the handshake: %w", err)
	}
	return cfg.start(), nil
}
