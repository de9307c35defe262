package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A small soak: both rounds, a second each.
func TestSoak(t *testing.T) {
	if err := soak(20, time.Second, time.Second, 5*time.Millisecond, 1); err != nil {
		t.Error(err)
	}
}

// A slow peer gets its message.
func TestSlow(t *testing.T) {
	if err := runSlow([]slowCase{{100_000, 2_000_000}, {1000, 100_000}}); err != nil {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	rng := seeded(1, 2)
	for range 200 {
		typ, msg := makeMessage(rng, nil, size(rng))
		if err := check(msg); err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		msg[rng.IntN(len(msg))] ^= 1
		if check(msg) == nil {
			t.Fatal("a bit that was turned is not noticed")
		}
		if check(msg[:sumLength-1]) == nil {
			t.Fatal("a message that is too short is not noticed")
		}
	}
}

func TestDisconnected(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, true},
		{fmt.Errorf("read: %w", io.ErrUnexpectedEOF), true},
		{fmt.Errorf("read: %w", net.ErrClosed), true},
		{fmt.Errorf("read: %w", websocket.CloseError{Code: 1001}), true},
		{fmt.Errorf("read: %w", websocket.CloseError{Code: 1002}), false},
		{wrongError{io.EOF}, false},
		{errors.New("reserved bit set"), false},
		{websocket.ErrMessageTooBig, false},
	} {
		if got := disconnected(test.err); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}

func TestExceeds(t *testing.T) {
	before := footprint{goroutines: 10, files: 10, heap: 1 << 20, rss: 50 << 20}
	if err := before.exceeds(before); err != nil {
		t.Error(err)
	}
	for what, f := range map[string]footprint{
		"goroutines": {goroutines: 15, files: 10, heap: 1 << 20, rss: 50 << 20},
		"files":      {goroutines: 10, files: 15, heap: 1 << 20, rss: 50 << 20},
		"heap":       {goroutines: 10, files: 10, heap: 10 << 20, rss: 50 << 20},
		"resident":   {goroutines: 10, files: 10, heap: 1 << 20, rss: 99 << 20},
	} {
		if err := f.exceeds(before); err == nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
