package websocket

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	native "github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/bridge"
)

// WriteMessage sends one message: in one frame, whatever its length. data is
// the caller's again when it returns.
//
// The error is [ErrCloseSent] after a close frame was sent, and a [net.Error]
// after the write deadline.
func (c *Conn) WriteMessage(messageType int, data []byte) error {
	err := c.beginWrite()
	switch {
	case !isData(messageType):
		return c.writeControlMessage(messageType, data)
	case err != nil:
		return err
	}
	return c.writeError(c.send(messageType, data, c.deflates()))
}

// send sends one message of data.
func (c *Conn) send(messageType int, data []byte, deflate bool) error {
	if deflate {
		return c.ws.Write(background, native.MessageType(messageType), data)
	}
	return c.ws.WriteUncompressed(background, native.MessageType(messageType), data)
}

// beginWrite ends the message of a writer that was left open.
func (c *Conn) beginWrite() error {
	if c.open.Load() {
		c.mu.Lock()
		c.endWriterLocked()
		c.mu.Unlock()
	}
	if c.closeSent.Load() {
		return ErrCloseSent
	}
	return nil
}

// endWriterLocked closes the writer that was left open.
func (c *Conn) endWriterLocked() {
	if w := c.writer; w != nil {
		_ = w.closeLocked() // its error sticks to the writer
	}
}

// writeControlMessage sends a control frame under the write deadline.
func (c *Conn) writeControlMessage(messageType int, data []byte) error {
	var deadline time.Time
	if nanos := c.deadline.Load(); nanos != 0 {
		deadline = time.Unix(0, nanos)
	}
	err := c.WriteControl(messageType, data, deadline)
	if e, ok := err.(*timeoutError); ok && e.temporary {
		return c.transportError("write", e) // as of any other message
	}
	return err
}

// WriteControl sends a control frame: [CloseMessage], [PingMessage] or
// [PongMessage]. It returns when the frame has been passed to the network
// connection, or fails with a [net.Error] at the deadline; the zero time means
// never. The deadline of [Conn.SetWriteDeadline] does not concern it.
//
// data has at most 125 bytes. The payload of a close frame is checked. A code
// that must not be in one (RFC 6455, section 7.4) is an error, and nothing is
// sent. After a close frame writes fail with [ErrCloseSent].
func (c *Conn) WriteControl(messageType int, data []byte, deadline time.Time) error {
	switch {
	case !isControl(messageType):
		return errBadMessageType
	case len(data) > 125:
		return errControlTooLong
	case !deadline.IsZero() && !time.Now().Before(deadline):
		return errWriteTimeout
	case c.closeSent.Load():
		return ErrCloseSent
	case messageType != CloseMessage:
		return c.controlError(c.in.WriteControl(byte(messageType), data, deadline))
	}
	if !c.closeSent.CompareAndSwap(false, true) {
		return ErrCloseSent
	}
	err := c.in.WriteControl(CloseMessage, data, deadline)
	if err != nil {
		c.closeSent.Store(false)
	}
	return c.controlError(err)
}

// buffers holds what messages are gathered in.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// keepBuffer is the largest buffer that buffers keeps.
const keepBuffer = 64 << 10

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= keepBuffer {
		b.Reset()
		buffers.Put(b)
	}
}

// WriteJSON sends the JSON of v, and a newline, as a text message. If v has no
// JSON nothing is sent.
func (c *Conn) WriteJSON(v interface{}) error {
	b := buffers.Get().(*bytes.Buffer)
	defer putBuffer(b)
	if err := json.NewEncoder(b).Encode(v); err != nil {
		return err
	}
	return c.WriteMessage(TextMessage, b.Bytes())
}

// WriteJSON sends v as JSON.
//
// Deprecated: use [Conn.WriteJSON].
func WriteJSON(c *Conn, v interface{}) error { return c.WriteJSON(v) }

// NextWriter returns a writer for one message, which the writer's Close ends.
// Close sends a message that is no longer than WriteBufferSize (4096 bytes by
// default) in one frame. A longer message leaves in fragments as it grows.
//
// The next message ends a writer that was left open, as if it had been closed.
// So do control frames, except those of [Conn.WriteControl].
func (c *Conn) NextWriter(messageType int) (io.WriteCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endWriterLocked()
	switch {
	case !isData(messageType) && !isControl(messageType):
		return nil, errBadMessageType
	case c.closeSent.Load():
		return nil, ErrCloseSent
	}
	w := &messageWriter{c: c, messageType: messageType, deflate: c.deflates()}
	c.writer = w
	c.open.Store(true)
	return w, nil
}

// A messageWriter sends one message. Its fields are guarded by Conn.mu.
type messageWriter struct {
	c           *Conn
	messageType int
	deflate     bool          // compress it
	buf         *bytes.Buffer // what has gathered; nil before the first write
	stream      bridge.Writer // of the native connection, once a fragment was sent
	err         error
}

// Write implements io.Writer.
func (w *messageWriter) Write(p []byte) (int, error) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if fits, err := w.gather(len(p)); err != nil {
		return 0, err
	} else if !fits {
		return w.pass(p)
	}
	return w.buf.Write(p)
}

// WriteString implements io.StringWriter.
func (w *messageWriter) WriteString(s string) (int, error) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if fits, err := w.gather(len(s)); err != nil {
		return 0, err
	} else if !fits {
		return w.pass([]byte(s))
	}
	return w.buf.WriteString(s)
}

// gather prepares for n more bytes, and reports whether the buffer takes them.
func (w *messageWriter) gather(n int) (fits bool, err error) {
	switch {
	case w.err != nil:
		return false, w.err
	case w.buf == nil:
		w.buf = buffers.Get().(*bytes.Buffer)
	}
	if isControl(w.messageType) {
		if w.buf.Len()+n > 125 {
			return false, w.end(errControlTooLong)
		}
		return true, nil
	}
	return w.buf.Len()+n <= w.c.bufSize, nil
}

// pass sends what has gathered, and p, as fragments.
func (w *messageWriter) pass(p []byte) (int, error) {
	if w.stream == nil {
		stream, err := w.c.in.Writer(w.messageType, w.deflate)
		if err != nil {
			return 0, w.fail(err)
		}
		w.stream = stream
	}
	if _, err := w.stream.Write(w.buf.Bytes()); err != nil {
		return 0, w.fail(err)
	}
	w.buf.Reset()
	n, err := w.stream.Write(p)
	if err == nil {
		err = w.stream.Flush()
	}
	return n, w.fail(err)
}

// Close sends the end of the message.
func (w *messageWriter) Close() error {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.closeLocked()
}

// closeLocked sends the end of the message.
func (w *messageWriter) closeLocked() error {
	if w.err != nil {
		return w.err
	}
	var data []byte
	if w.buf != nil {
		data = w.buf.Bytes()
	}
	var err error
	switch {
	case w.stream != nil:
		_, err = w.stream.Write(data)
		if closeErr := w.stream.Close(); err == nil {
			err = closeErr
		}
		err = w.c.writeError(err)
		w.stream = nil
	case isControl(w.messageType):
		err = w.c.writeControlMessage(w.messageType, data)
	default:
		err = w.c.writeError(w.c.send(w.messageType, data, w.deflate))
	}
	if err != nil {
		return w.end(err)
	}
	w.end(errWriterClosed)
	return nil
}

// fail ends the writer with an error of the native connection's, if it is one.
func (w *messageWriter) fail(err error) error {
	if err == nil {
		return nil
	}
	return w.end(w.c.writeError(err))
}

// end makes err what the writer returns from now on.
func (w *messageWriter) end(err error) error {
	w.err = err
	if w.stream != nil {
		_ = w.stream.Close() // it must be closed after an error too
		w.stream = nil
	}
	if w.buf != nil {
		putBuffer(w.buf)
		w.buf = nil
	}
	if w.c.writer == w {
		w.c.writer = nil
		w.c.open.Store(false)
	}
	return err
}

// A PreparedMessage is a message that is sent to many connections. It is
// compressed once for all of them. It may be used concurrently.
type PreparedMessage struct {
	messageType int
	data        []byte // immutable

	once     sync.Once
	deflated *native.PreparedMessage // made by once
}

// NewPreparedMessage prepares a message. It copies data. The error is that of
// an unknown messageType, or of a control frame that is too long.
func NewPreparedMessage(messageType int, data []byte) (*PreparedMessage, error) {
	switch {
	case !isData(messageType) && !isControl(messageType):
		return nil, errBadMessageType
	case isControl(messageType) && len(data) > 125:
		return nil, errControlTooLong
	}
	return &PreparedMessage{messageType: messageType, data: append([]byte(nil), data...)}, nil
}

// WritePreparedMessage sends pm as [Conn.WriteMessage] would.
func (c *Conn) WritePreparedMessage(pm *PreparedMessage) error {
	if !isData(pm.messageType) || !c.deflates() {
		return c.WriteMessage(pm.messageType, pm.data)
	}
	if err := c.beginWrite(); err != nil {
		return err
	}
	pm.once.Do(func() {
		var err error
		pm.deflated, err = native.NewPreparedMessage(native.MessageType(pm.messageType), pm.data)
		if err != nil {
			panic(fmt.Sprintf("websocket: %v", err)) // the type is one of data
		}
	})
	return c.writeError(c.ws.WritePrepared(background, pm.deflated))
}

// A BufferPool is a pool of write buffers, such as *[sync.Pool]. This package
// has its own, and calls neither method.
type BufferPool interface {
	// Get returns a value, or nil.
	Get() interface{}
	// Put takes a value.
	Put(interface{})
}
