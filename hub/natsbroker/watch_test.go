//go:build unix

package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// Servers that take no message of the watch, and work all the same.
func TestWorks(t *testing.T) {
	denied, _ := configured(t, `authorization { users: [ { user: "u", password: "p", permissions: {
		publish: { deny: ["websocket.topic_epochs.clock"] } } } ] }`)
	for name, tt := range map[string]struct {
		kind   brokertest.Kind
		change func(jetstream.JetStream, jetstream.StreamConfig) error // of the stream of epochs
	}{
		"takes": {kind: jetKind},
		"no room": {jetKind, func(js jetstream.JetStream, c jetstream.StreamConfig) error {
			c.MaxMsgs, c.Discard = 1, jetstream.DiscardNew
			_, err := js.UpdateStream(t.Context(), c)
			return err
		}},
		"no permission": {kind: withJetStream(denied)},
		// One server keeps them alone, and is away. Another one keeps the
		// class.
		"no epochs": {jetKind, func(js jetstream.JetStream, c jetstream.StreamConfig) error {
			return js.DeleteStream(t.Context(), c.Name)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := brokertest.Start(t, tt.kind)
			opts := &JetStreamOptions{Options: Options{Connection: []nats.Option{nats.UserInfo("u", "p")}}}
			b := connectEvery(t, "nats://"+e.Addr, opts, time.Second)
			b.mustPublish(t, "x", "m")
			s := b.live()
			if tt.change != nil {
				epochs, err := s.js.Stream(t.Context(), b.streamName("epochs"))
				if err != nil {
					t.Fatal(err)
				}
				if err := tt.change(s.js, epochs.CachedInfo().Config); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 3 {
				if !b.works(s) {
					t.Errorf("look %d: the session would move", i)
				}
			}
			if b.live() != s {
				t.Error("the session has moved")
			}
		})
	}
}

// The watch begins a session after one that has ended.
func TestSessionAgain(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	b := connectEvery(t, "nats://"+e.Addr, nil, 20*time.Millisecond)
	b.mustPublish(t, "x", "m")
	first := b.live()
	first.close()
	eventually(t, "no other session", func() error {
		if s := b.live(); s == nil || s == first {
			return errors.New("none")
		}
		return nil
	})
}

// A session that the watch has left goes to another server: one of the URL, also
// if that has an order, or one that the connection knows from its server.
func TestLeave(t *testing.T) {
	secret := kind
	secret.Args = func(port, dir string) []string { return append(kind.Args(port, dir), "--user", "u", "--pass", "p") }
	addrs, _ := split(t, secret, 2)
	for name, url := range map[string]string{
		"order": "nats://u:p@" + addrs[0] + ", nats://u:p@" + addrs[1],
		"known": "u:p@" + addrs[0],
	} {
		t.Run(name, func(t *testing.T) {
			opts := &JetStreamOptions{Options: Options{Connection: []nats.Option{nats.DontRandomize()}}}
			b := connectEvery(t, url, opts, time.Hour)
			begin := func() *session {
				t.Helper()
				s := &session{ready: make(chan struct{})}
				t.Cleanup(s.close)
				if b.dial(s); s.err != nil {
					t.Fatal(s.err)
				}
				return s
			}
			eventually(t, "the connection knows one server", func() error {
				if known := b.connection().Servers(); len(known) < 2 {
					return fmt.Errorf("%q", known)
				}
				return nil
			})
			s := begin()
			for range 3 {
				left := s.conn.ConnectedServerName()
				b.leave(s)
				if s = begin(); s.conn.ConnectedServerName() == left {
					t.Errorf("it went to %s again", left)
				}
			}
			begin()
			if s.over() {
				t.Error("it ended with a connection that it did not take")
			}
		})
	}
}

// The server does not permit the broker's own call any more. That it does not
// come is no sign of a server that is cut off.
func TestCallTakenAway(t *testing.T) {
	for _, what := range []string{"subscribe", "publish"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			config := `authorization { users: [ { user: "u", password: "p", permissions: { ` + what + `: { deny: ["%s"] } } } ] }
				jetstream { store_dir: "` + t.TempDir() + `" }`
			k, rewrite := configured(t, fmt.Sprintf(config, "none"))
			e := brokertest.Start(t, k)
			opts := &JetStreamOptions{Options: Options{Connection: []nats.Option{nats.UserInfo("u", "p")}}}
			b := connectEvery(t, "nats://"+e.Addr, opts, 100*time.Millisecond)
			b.mustPublish(t, "x", "m")
			hears := func(want bool) {
				t.Helper()
				eventually(t, "the broker does not notice", func() error {
					if got := b.watch.heard.Load(); got != want {
						return fmt.Errorf("the call may come: %t", got)
					}
					return nil
				})
			}
			hears(true)
			rewrite(fmt.Sprintf(config, "websocket.topic_alive.>"))
			if err := e.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			hears(false)
		})
	}
}

// A call that does not come says that messages of this process may be missing:
// it hears the beats of the others alone. Another session, or another
// connection that receives, has calls of its own.
func TestCallMissed(t *testing.T) {
	e := brokertest.Start(t, jetKind)
	b := connectEvery(t, "nats://"+e.Addr, nil, time.Hour) // the test is in place of the watch
	call := func(want uint64) {
		t.Helper()
		b.mustPublish(t, "x", "m") // there is a session
		s := b.live()
		if err := s.conn.Publish(b.watch.call, b.nextCall(s)); err != nil {
			t.Fatal(err)
		}
		if s.calls != want {
			t.Errorf("call %d, want %d", s.calls, want)
		}
		eventually(t, "no call", func() error {
			if !b.watch.echoed.Swap(false) {
				return errors.New("it did not come")
			}
			return nil
		})
	}
	wants := func(missed bool) {
		t.Helper()
		for _, want := range []hub.BrokerEventKind{hub.BrokerLost, hub.BrokerRecovered} {
			if ev := next(t, b.Broker); ev.Kind != want || want == hub.BrokerLost && errors.Is(ev.Err, errMissedBeat) != missed {
				t.Errorf("%+v, want %v", ev, want)
			}
		}
	}
	call(1)
	call(2)
	b.live().calls++ // is lost
	call(4)
	wants(true)
	call(5)
	b.end(b.live())
	call(1)
	call(2)
	b.connection().ForceReconnect()
	wants(false)
	call(1)
	call(2)
	if ev, ok := b.backlog.take(); ok {
		t.Errorf("%+v", ev)
	}
}

// Errors that say that another server may do better.
func TestIsUnavailable(t *testing.T) {
	api := func(code jetstream.ErrorCode) error {
		return fmt.Errorf("the epoch: %w", &jetstream.APIError{Code: 503, ErrorCode: code})
	}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errNotOurs, false},
		{api(10023), false}, // insufficient resources
		{api(clusterNotAvailable), true},
		{api(jetstream.JSErrCodeJetStreamNotEnabled), true},
		{api(jetstream.JSErrCodeJetStreamNotEnabledForAccount), true},
		{jetstream.ErrNoStreamResponse, true},
		{nats.ErrNoResponders, true},
		{nats.ErrConnectionClosed, true},
		{context.DeadlineExceeded, true},
	} {
		if got := isUnavailable(tt.err); got != tt.want {
			t.Errorf("%v: %t", tt.err, got)
		}
	}
}
