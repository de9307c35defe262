package websocket

import (
	"errors"
	"io"
	"net"
	"time"
)

// controlWait is how long the default handlers wait for the transport to take
// their frames.
const controlWait = time.Second

// PingHandler returns the current ping handler.
func (c *Conn) PingHandler() func(appData string) error {
	if h := c.ping.Load(); h != nil {
		return *h
	}
	return c.answerPing
}

// SetPingHandler sets the function that a reading call calls with the payload
// of each ping. nil sets the default, which answers with a pong. An error of h
// ends reading: the call in progress and all later ones return it.
func (c *Conn) SetPingHandler(h func(appData string) error) {
	if h == nil {
		c.ping.Store(nil)
		return
	}
	c.ping.Store(&h)
}

// PongHandler returns the current pong handler.
func (c *Conn) PongHandler() func(appData string) error {
	if h := c.pong.Load(); h != nil {
		return *h
	}
	return func(string) error { return nil }
}

// SetPongHandler sets the function that is called with the payload of each
// pong, inside a reading call. nil sets the default, which does nothing. An
// error of h ends reading, as with [Conn.SetPingHandler].
func (c *Conn) SetPongHandler(h func(appData string) error) {
	if h == nil {
		c.pong.Store(nil)
		return
	}
	c.pong.Store(&h)
}

// CloseHandler returns the current close handler.
func (c *Conn) CloseHandler() func(code int, text string) error {
	if h := c.closed.Load(); h != nil {
		return *h
	}
	return c.echoClose
}

// SetCloseHandler sets the function that is called with the code and the text
// of the peer's close frame, inside a reading call. The code is
// [CloseNoStatusReceived] if the frame had none. nil sets the default, which
// answers with a close frame of the same code. The read then fails with a
// *[CloseError], or with the error of h.
func (c *Conn) SetCloseHandler(h func(code int, text string) error) {
	if h == nil {
		c.closed.Store(nil)
		return
	}
	c.closed.Store(&h)
}

// answerPing is the default ping handler for those who call it: the connection
// answers by itself where no handler does.
func (c *Conn) answerPing(appData string) error {
	err := c.WriteControl(PongMessage, []byte(appData), time.Now().Add(controlWait))
	if errors.Is(err, ErrCloseSent) || isTimeout(err) || errors.Is(err, net.ErrClosed) {
		return nil // the read tells what is wrong
	}
	return err
}

// echoClose is the default close handler (RFC 6455, section 5.5.1).
func (c *Conn) echoClose(code int, _ string) error {
	_ = c.WriteControl(CloseMessage, FormatCloseMessage(code, ""), time.Now().Add(controlWait)) // the peer may be gone
	return nil
}

// handlers is the Conn as the one who deals with control frames.
type handlers Conn

func (h *handlers) Ping(payload []byte) (answer bool, err error) {
	f := h.ping.Load()
	if f == nil {
		return true, nil
	}
	return false, insideMessage((*Conn)(h).fail((*f)(string(payload))))
}

func (h *handlers) Pong(payload []byte) error {
	f := h.pong.Load()
	if f == nil {
		return nil
	}
	return insideMessage((*Conn)(h).fail((*f)(string(payload))))
}

func (h *handlers) Close(code int, reason string) error {
	c := (*Conn)(h)
	if err := c.CloseHandler()(code, reason); err != nil {
		return insideMessage(c.fail(err))
	}
	return c.fail(&CloseError{Code: code, Text: reason})
}

func (h *handlers) Failed() error { return insideMessage((*Conn)(h).beginRead()) }

func (h *handlers) ReadFailed(err error) error { return insideMessage((*Conn)(h).readFailed(err)) }

// insideMessage returns what the reader of a message returns for err. io.EOF
// would say that the message is whole.
func insideMessage(err error) error {
	if err == io.EOF {
		return errAbnormal
	}
	return err
}

// fail makes err, if it is not nil, the reason why reads fail, and returns it.
// Reads that fail do so for ever, so it is not temporary any more.
func (c *Conn) fail(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(temporaryError); ok && e.Temporary() {
		err = lastingError{e}
	}
	c.failed.CompareAndSwap(nil, &failure{err})
	return err
}

// A temporaryError is a net.Error with the method that is deprecated there.
type temporaryError interface {
	error
	Timeout() bool
	Temporary() bool
}

// A lastingError is a net.Error that is not temporary.
type lastingError struct{ err temporaryError }

func (e lastingError) Error() string   { return e.err.Error() }
func (e lastingError) Unwrap() error   { return e.err }
func (e lastingError) Timeout() bool   { return e.err.Timeout() }
func (e lastingError) Temporary() bool { return false }
