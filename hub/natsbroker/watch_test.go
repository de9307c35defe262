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

	"github.com/seed70bc5565/websocket/hub/internal/brokertest"
)

// Servers that take no message of the watch, and work all the same.
func TestWorks(t *testing.T) {
	denied, _ := configured(t, `authorization { users: [ { user: "u", password: "p", permissions: {
		publish: { deny: ["websocket.topic_epochs.clock"] } } } ] }`)
	args := denied.Args
	denied.Args = func(port, dir string) []string { return append(args(port, dir), "-js", "-sd", dir) }
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
		"no permission": {kind: denied},
		// One server keeps them alone, and is away. Another one keeps the class.
		"no epochs": {jetKind, func(js jetstream.JetStream, c jetstream.StreamConfig) error {
			return js.DeleteStream(t.Context(), c.Name)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := brokertest.Start(t, tt.kind)
			opts := &JetStreamOptions{Options: Options{Connection: []nats.Option{nats.UserInfo("u", "p")}}}
			b, err := newJetStream("nats://"+e.Addr, opts, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
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
	b, err := newJetStream("nats://"+e.Addr, nil, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
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

// The server does not permit the broker's own call any more. That it does not
// come says nothing of a server that is cut off.
func TestCallTakenAway(t *testing.T) {
	for _, what := range []string{"subscribe", "publish"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			config := `authorization { users: [ { user: "u", password: "p", permissions: { ` + what + `: { deny: ["%s"] } } } ] }
				jetstream { store_dir: "` + t.TempDir() + `" }`
			k, rewrite := configured(t, fmt.Sprintf(config, "none"))
			e := brokertest.Start(t, k)
			opts := &JetStreamOptions{Options: Options{Connection: []nats.Option{nats.UserInfo("u", "p")}}}
			b, err := newJetStream("nats://"+e.Addr, opts, 100*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
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
