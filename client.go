package websocket

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// DialOptions are the options of [Dial]. The zero value, and a nil pointer, hold the defaults.
type DialOptions struct {
	HTTPClient   *http.Client
	HTTPHeader   http.Header
	Host         string
	Subprotocols []string

	CompressionMode      CompressionMode
	CompressionThreshold int

	OnPingReceived func(ctx context.Context, payload []byte) bool
	OnPongReceived func(ctx context.Context, payload []byte)

	// ReadLimit is the most bytes a message may have. Default 1 MiB; negative: no limit.
	ReadLimit int64
	// WriteBufferLimit bounds the frames that wait to be written, in bytes. Default 64 KiB.
	WriteBufferLimit int
	// CloseTimeout bounds Conn.Close. Default 5 s.
	CloseTimeout time.Duration
	// SkipUTF8Validation delivers text messages that are not UTF-8.
	SkipUTF8Validation bool
}

// Dial opens a WebSocket connection.
func Dial(ctx context.Context, url string, opts *DialOptions) (*Conn, *http.Response, error) {
	return nil, nil, errors.New("not implemented")
}
