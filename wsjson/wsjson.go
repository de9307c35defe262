// Package wsjson reads and writes JSON messages.
package wsjson

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/bridge"
)

// Read reads one message from c, of either type, and unmarshals it into v. A
// message that is not JSON, or does not fit v, closes the connection with
// StatusInvalidFramePayloadData. Other errors are those of
// [websocket.Conn.Read].
func Read(ctx context.Context, c *websocket.Conn, v any) error {
	_, data, err := c.Read(ctx)
	if err != nil {
		return fmt.Errorf("wsjson: %w", err)
	}
	return unmarshal(ctx, c, data, v)
}

func unmarshal(ctx context.Context, c *websocket.Conn, data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		bridge.Of(c).Refuse(ctx, int(websocket.StatusInvalidFramePayloadData), "message is not the expected JSON")
		return fmt.Errorf("wsjson: unmarshal: %w", err)
	}
	return nil
}

// Messages returns an iterator over the messages that come in, each
// unmarshalled into a T of its own. An error is the last step; it is that of
// Read. The range ends without an error where that of [websocket.Conn.Messages]
// does.
func Messages[T any](ctx context.Context, c *websocket.Conn) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for m, err := range c.Messages(ctx) {
			var v T
			if err != nil {
				err = fmt.Errorf("wsjson: %w", err)
			} else {
				err = unmarshal(ctx, c, m.Data, &v)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// Write marshals v and writes it to c as one text message. If v cannot be
// marshaled, Write returns an error and sends nothing. Other errors are those
// of [websocket.Conn.Write].
func Write(ctx context.Context, c *websocket.Conn, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("wsjson: marshal: %w", err)
	}
	if err := c.Write(ctx, websocket.MessageText, data); err != nil {
		return fmt.Errorf("wsjson: %w", err)
	}
	return nil
}
