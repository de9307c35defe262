package jsconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"syscall"
	"syscall/js"
	"time"
)

const (
	// bufferLimit is how many bytes may wait in the object to be sent before a
	// Write waits.
	bufferLimit = 256 << 10
	// pollInterval is how often such a Write looks again: the object has no
	// event for that.
	pollInterval = 2 * time.Millisecond
)

// A Conn is a net.Conn over a WebSocket object. It carries the frames of a
// client in one direction and those of a server in the other. Pings that are
// written to it are dropped.
type Conn struct {
	ws            js.Value
	local, remote addr
	handlers      []js.Func // released at the end

	writing sync.Mutex // held by the Write that owns decoder
	decoder decoder

	mu      sync.Mutex    // guards what follows; held for a few instructions
	changed chan struct{} // closed at the next change; made by those who wait
	opened  bool
	failed  bool     // an error event came
	failure string   // what it said, if anything
	frames  [][]byte // what came and is not read
	ended   bool     // the object is closed: the end of file behind frames
	closed  bool     // Close was called

	readDeadline, writeDeadline time.Time
}

// Dial makes a WebSocket object for a URL, and waits until it is open.
func Dial(ctx context.Context, u *url.URL, subprotocols []string) (*Conn, error) {
	constructor := js.Global().Get("WebSocket")
	if constructor.Type() != js.TypeFunction {
		return nil, errors.New("this platform has no WebSocket object: Node has one from version 22 on")
	}
	list := make([]any, len(subprotocols))
	for i, name := range subprotocols {
		list[i] = name
	}
	ws, err := try(func() js.Value { return constructor.New(u.String(), list) })
	if err != nil {
		return nil, fmt.Errorf("the browser refuses to connect: %w", err)
	}
	ws.Set("binaryType", "arraybuffer")
	c := &Conn{ws: ws, local: "browser", remote: addr(u.Host)}
	c.handle("onopen", func(js.Value) { c.opened = true })
	c.handle("onerror", func(event js.Value) {
		c.failed = true // Node 20 has no close event behind it, if the object was not open
		if text := event.Get("message"); text.Type() == js.TypeString {
			c.failure = text.String()
		}
	})
	c.handle("onmessage", func(event js.Value) {
		if !c.closed {
			c.frames = append(c.frames, receive(event.Get("data")))
		}
	})
	c.handle("onclose", func(event js.Value) {
		// 1006 is what browsers call the end without a close frame.
		if code := event.Get("code").Int(); code != 1006 && !c.closed {
			c.frames = append(c.frames, closeFrame(code, event.Get("reason").String()))
		}
		c.ended = true
		c.release()
	})
	if err := c.awaitOpen(ctx, u.Host); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// awaitOpen waits until the object is open, or never will be.
func (c *Conn) awaitOpen(ctx context.Context, host string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.opened && !c.failed && !c.ended && ctx.Err() == nil {
		c.waitLocked(ctx.Done(), 0)
	}
	switch {
	case c.opened:
		return nil
	case c.failure != "":
		return fmt.Errorf("the browser could not connect to %s: %s", host, c.failure)
	case c.failed, c.ended:
		return fmt.Errorf("the browser could not connect to %s; its console may say why, a program is not told", host)
	}
	return ctx.Err()
}

// handle makes f the handler of an event. f runs under the lock.
func (c *Conn) handle(event string, f func(event js.Value)) {
	handler := js.FuncOf(func(_ js.Value, args []js.Value) any {
		c.mu.Lock()
		defer c.mu.Unlock()
		f(args[0])
		c.signalLocked()
		return nil
	})
	c.handlers = append(c.handlers, handler)
	c.ws.Set(event, handler)
}

// release gives the handlers back: no event follows the close event.
func (c *Conn) release() {
	for _, handler := range c.handlers {
		handler.Release()
	}
	c.handlers = nil
}

// try returns the exception that f throws as an error.
func try(f func() js.Value) (v js.Value, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case js.Error:
			err = r
		default:
			panic(r)
		}
	}()
	return f(), nil
}

// receive returns a frame with the data of a message event.
func receive(data js.Value) []byte {
	if data.Type() == js.TypeString {
		text := data.String()
		frame, payload := newFrame(opText, len(text))
		copy(payload, text)
		return frame
	}
	array := js.Global().Get("Uint8Array").New(data)
	frame, payload := newFrame(opBinary, array.Length())
	js.CopyBytesToGo(payload, array)
	return frame
}

// send gives a message to the object.
func (c *Conn) send(m message) error {
	switch m.opcode {
	case opText, opBinary:
		_, err := try(func() js.Value {
			data := js.Global().Get("Uint8Array").New(len(m.payload))
			js.CopyBytesToJS(data, m.payload)
			if m.opcode == opText {
				// A js.Value of a Go string would lose a leading byte order
				// mark.
				options := map[string]any{"fatal": true, "ignoreBOM": true}
				data = js.Global().Get("TextDecoder").New("utf-8", options).Call("decode", data)
			}
			return c.ws.Call("send", data)
		})
		return err
	case opClose:
		code, reason := parseClose(m.payload)
		c.closeObject(code, reason)
	}
	return nil
}

// closeObject begins the closing handshake of the object, unless it has begun.
// Code 1005 sends none. The lock is not held: some platforms call handlers
// meanwhile.
func (c *Conn) closeObject(code int, reason string) {
	_, err := try(func() js.Value {
		if code == 1005 {
			return c.ws.Call("close")
		}
		return c.ws.Call("close", code, reason)
	})
	if err != nil { // a reason that the browser does not take
		try(func() js.Value { return c.ws.Call("close") })
	}
}

// Subprotocol returns the subprotocol that the server chose, or "".
func (c *Conn) Subprotocol() string { return c.ws.Get("protocol").String() }

// Extensions returns the field that says how the object compresses messages, or
// "". Frames that the Conn carries are not compressed.
func (c *Conn) Extensions() string { return c.ws.Get("extensions").String() }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.opError("read", net.ErrClosed)
		case len(p) == 0:
			return 0, nil
		case passed(c.readDeadline):
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		case len(c.frames) > 0:
			n := copy(p, c.frames[0])
			if c.frames[0] = c.frames[0][n:]; len(c.frames[0]) == 0 {
				c.frames[0] = nil
				c.frames = c.frames[1:]
			}
			return n, nil
		case c.ended:
			return 0, io.EOF
		}
		c.waitUntilLocked(c.readDeadline, 0)
	}
}

// Write implements net.Conn. It waits while the object has too much to send.
// After that it takes all of p at once.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.awaitRoom(); err != nil {
		return 0, c.opError("write", err)
	}
	for n < len(p) {
		m, k, complete, err := c.decoder.next(p[n:])
		n += k
		if err == nil && complete {
			if m.opcode != opClose && c.hasEnded() {
				err = syscall.EPIPE
			} else {
				err = c.send(m)
			}
		}
		if err != nil {
			return n, c.opError("write", err)
		}
	}
	return n, nil
}

// awaitRoom waits until the object takes more.
func (c *Conn) awaitRoom() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return net.ErrClosed
		case passed(c.writeDeadline):
			return os.ErrDeadlineExceeded
		case c.ended, c.ws.Get("bufferedAmount").Int() <= bufferLimit:
			return nil
		}
		c.waitUntilLocked(c.writeDeadline, pollInterval)
	}
}

func (c *Conn) hasEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// Close implements net.Conn. A browser cannot end a connection without a
// closing handshake: that goes on behind Close, and sends no code.
func (c *Conn) Close() error {
	c.mu.Lock()
	again, ended := c.closed, c.ended
	c.closed = true
	c.frames = nil
	c.signalLocked()
	c.mu.Unlock()
	if again {
		return c.opError("close", net.ErrClosed)
	}
	if !ended {
		c.closeObject(1005, "")
	}
	return nil
}

// waitUntilLocked waits for a change, until a deadline at most, and for no
// longer than poll if that is not 0. It gives the lock up meanwhile.
func (c *Conn) waitUntilLocked(deadline time.Time, poll time.Duration) {
	wait := poll
	if !deadline.IsZero() {
		if left := max(time.Until(deadline), 1); wait == 0 || left < wait {
			wait = left
		}
	}
	c.waitLocked(nil, wait)
}

// waitLocked waits for a change, for done, or for a time if that is not 0. It
// gives the lock up meanwhile.
func (c *Conn) waitLocked(done <-chan struct{}, limit time.Duration) {
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	changed := c.changed
	c.mu.Unlock()
	defer c.mu.Lock()
	var expired <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-changed:
	case <-done:
	case <-expired:
	}
}

// signalLocked wakes all who wait.
func (c *Conn) signalLocked() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

func passed(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.set(func() { c.readDeadline, c.writeDeadline = t, t })
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.set(func() { c.readDeadline = t }) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.set(func() { c.writeDeadline = t }) }

func (c *Conn) set(f func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	f()
	c.signalLocked()
	return nil
}

// LocalAddr implements net.Conn. A browser does not tell the address.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn. It is the host of the URL.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

type addr string

func (addr) Network() string  { return "websocket" }
func (a addr) String() string { return string(a) }

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "websocket", Source: c.local, Addr: c.remote, Err: err}
}
