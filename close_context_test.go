package websocket

import (
	"context"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A Read of a NetConn that refuses a message ends by its context, whatever the
// peer does with the close frame.
func TestNetConnWrongTypeContext(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		nc := NetConn(ctx, p.c, MessageBinary)
		p.WriteFrames(fin(wstest.Text, "text"))
		start := time.Now()
		if _, err := nc.Read(make([]byte, 10)); err == nil {
			t.Error("Read of a message of the other type succeeds")
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("Read took %v, its context 200ms", took)
		}
	})
}

// So it does by the read deadline.
func TestNetConnWrongTypeDeadline(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		nc := NetConn(context.Background(), p.c, MessageBinary)
		nc.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		p.WriteFrames(fin(wstest.Text, "text"))
		start := time.Now()
		if _, err := nc.Read(make([]byte, 10)); err == nil {
			t.Error("Read of a message of the other type succeeds")
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("Read took %v, its deadline 200ms", took)
		}
	})
}
