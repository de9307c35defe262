package websocket

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// AcceptOptions are the options of [Accept] and [Handler]. The zero value, and a nil pointer, hold the defaults.
type AcceptOptions struct {
	// Subprotocols the server speaks, in its order of preference.
	Subprotocols []string
	// InsecureSkipVerify accepts any origin.
	InsecureSkipVerify bool
	// OriginPatterns are the hosts, beside the request's own, whose pages may connect.
	OriginPatterns []string

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

// Accept upgrades an HTTP request to a WebSocket connection.
func Accept(w http.ResponseWriter, r *http.Request, opts *AcceptOptions) (*Conn, error) {
	return nil, errors.New("not implemented")
}

// A Server is the http.Handler that [Handler] returns.
type Server struct{}

// Handler returns an http.Handler that upgrades each request and runs serve for it on a goroutine of its own.
func Handler(serve func(c *Conn, r *http.Request), opts *AcceptOptions) *Server {
	return &Server{}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {}
