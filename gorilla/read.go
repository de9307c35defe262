package websocket

import (
	"context"
	"encoding/json"
	"io"
	"strings"
)

// background bounds nothing: deadlines are those of the connection.
var background = context.Background()

// ReadMessage reads one message. p is the caller's.
//
// An error says why the connection is over: a *[CloseError], [ErrReadLimit], or
// the error of a handler or of the transport. Each later call returns it again.
// Only after the read deadline can reading go on (see [Conn.SetReadDeadline]).
func (c *Conn) ReadMessage() (messageType int, p []byte, err error) {
	if err := c.beginRead(); err != nil {
		return noMessage, nil, err
	}
	typ, p, err := c.ws.Read(background)
	if err != nil {
		return noMessage, nil, c.readFailed(err)
	}
	return int(typ), p, nil
}

// NextReader waits for a message and returns a reader of its content, which
// returns [io.EOF] at its end. It discards what is left of the message before:
// the reader of that one is at its end from then on.
//
// Errors are those of [Conn.ReadMessage].
func (c *Conn) NextReader() (messageType int, r io.Reader, err error) {
	if err := c.beginRead(); err != nil {
		return noMessage, nil, err
	}
	messageType, r, err = c.in.NextReader()
	if err != nil {
		return noMessage, nil, c.readFailed(err)
	}
	return messageType, r, nil
}

// beginRead returns why reads fail, or nil.
func (c *Conn) beginRead() error {
	if f := c.failed.Load(); f != nil {
		return f.err
	}
	return nil
}

// readFailed returns what a read returns that failed with err.
func (c *Conn) readFailed(err error) error {
	if f := c.failed.Load(); f != nil {
		return f.err // a handler's, or an earlier one
	}
	err, sticks := c.readError(err)
	if sticks {
		c.fail(err)
		return c.failed.Load().err
	}
	return err
}

// ReadJSON reads one message and decodes the JSON value that it begins with
// into v, as [json.Decoder.Decode] does. The rest behind the value is
// discarded.
func (c *Conn) ReadJSON(v interface{}) error {
	_, r, err := c.NextReader()
	if err != nil {
		return err
	}
	err = json.NewDecoder(r).Decode(v)
	if err == io.EOF {
		return io.ErrUnexpectedEOF // the message is empty
	}
	return err
}

// ReadJSON reads a message of c as JSON.
//
// Deprecated: use [Conn.ReadJSON].
func ReadJSON(c *Conn, v interface{}) error { return c.ReadJSON(v) }

// JoinMessages returns a reader of the content of all messages, each followed
// by term. It is for one goroutine at a time. Its errors are those of
// [Conn.NextReader].
func JoinMessages(c *Conn, term string) io.Reader { return &joiner{c: c, term: term} }

type joiner struct {
	c    *Conn
	term string
	cur  io.Reader // of the message in progress and its end; nil: none
}

func (j *joiner) Read(p []byte) (int, error) {
	if j.cur == nil {
		_, r, err := j.c.NextReader()
		if err != nil {
			return 0, err
		}
		j.cur = r
		if j.term != "" {
			j.cur = io.MultiReader(r, strings.NewReader(j.term))
		}
	}
	n, err := j.cur.Read(p)
	if err == io.EOF {
		j.cur, err = nil, nil
	}
	return n, err
}
