package apitest

import (
	"context"
	"testing"

	"github.com/seed70bc5565/websocket"
)

// readAll is a serve that reads until the connection ends.
func readAll(ctx context.Context, c *websocket.Conn) error {
	for {
		if _, _, err := c.Read(ctx); err != nil {
			return err
		}
	}
}

// The zero value, and arguments that cannot work, are told so, and not tried
// again.
func TestRedialerBadArguments(t *testing.T) {
	for _, tt := range []struct {
		r     *websocket.Redialer
		ctx   context.Context
		serve func(context.Context, *websocket.Conn) error
		want  string
	}{
		{&websocket.Redialer{}, t.Context(), readAll, "the scheme of the URL"},
		{&websocket.Redialer{URL: "ws://example.com", Options: &websocket.DialOptions{Host: "\n"}}, t.Context(), readAll, "invalid DialOptions.Host"},
		{&websocket.Redialer{URL: "ws://example.com"}, nil, readAll, "websocket: redial: the context is nil"},
		{&websocket.Redialer{URL: "ws://example.com"}, t.Context(), nil, "websocket: redial: serve is nil"},
	} {
		if err := tt.r.Run(tt.ctx, tt.serve); !matches(err, tt.want) {
			t.Errorf("Run = %v, want %q", err, tt.want)
		}
	}
}

func TestRedialStateString(t *testing.T) {
	for s, want := range map[websocket.RedialState]string{0: "RedialState(0)", 1: "dialing", 2: "connected", 3: "waiting", 4: "stopped", 5: "RedialState(5)"} {
		if s.String() != want {
			t.Errorf("%d: %s", int(s), s)
		}
	}
}
