// Package wsjson reads and writes JSON messages.
package wsjson

import (
	"context"
	"errors"

	"github.com/seed70bc5565/websocket"
)

// Read reads one message from c and unmarshals it into v.
func Read(ctx context.Context, c *websocket.Conn, v any) error { return errors.New("not implemented") }

// Write marshals v and writes it to c as one text message.
func Write(ctx context.Context, c *websocket.Conn, v any) error { return errors.New("not implemented") }
