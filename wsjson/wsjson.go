// Package wsjson reads and writes JSON messages.
package wsjson

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/bridge"
)

// Read reads one message from c, of either type, and unmarshals it into v. A message that is not JSON, or does not
// fit v, closes the connection with StatusInvalidFramePayloadData; other errors are those of [websocket.Conn.Read].
func Read(ctx context.Context, c *websocket.Conn, v any) error {
	_, data, err := c.Read(ctx)
	if err != nil {
		return fmt.Errorf("wsjson: %w", err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		bridge.Of(c).Refuse(ctx, int(websocket.StatusInvalidFramePayloadData), "message is not the expected JSON")
		return fmt.Errorf("wsjson: unmarshal: %w", err)
	}
	return nil
}

// Write marshals v and writes it to c as one text message. What cannot be marshaled is an error and sends nothing.
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
