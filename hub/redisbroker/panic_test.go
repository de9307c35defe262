package redisbroker

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// A function in the options of the client that panics costs one attempt, not
// the process.
func TestOptionPanics(t *testing.T) {
	e := brokertest.Start(t, kind)
	var armed atomic.Int64
	fail := func() {
		if armed.Add(-1) >= 0 {
			panic("boom")
		}
	}
	for name, options := range map[string]*redis.Options{
		"Dialer": {Addr: e.Addr, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			fail()
			return net.Dial(network, addr)
		}},
		"OnConnect":           {Addr: e.Addr, OnConnect: func(context.Context, *redis.Conn) error { fail(); return nil }},
		"CredentialsProvider": {Addr: e.Addr, CredentialsProvider: func() (string, string) { fail(); return "", "" }},
	} {
		t.Run(name, func(t *testing.T) {
			armed.Store(2)
			b := New(options, nil)
			defer b.Close()
			publishOnce := func() error {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				return b.Publish(ctx, hub.Publication{Topic: "x", Payload: []byte("m")})
			}
			t.Logf("Publish: %v", publishOnce())
			if err := b.Subscribe(t.Context(), []string{"x"}); err != nil {
				t.Error(err)
			}
			eventually(t, "no message", func() bool {
				if publishOnce() != nil {
					return false
				}
				for len(b.events) > 0 {
					if next(t, b).Kind == hub.BrokerMessage {
						return true
					}
				}
				return false
			})
		})
	}
}
