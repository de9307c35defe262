package natsbroker

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A broker with JetStream has two connections, which may be at different
// servers of a cluster. Servers that lose each other do not tell their clients.
// So the server of the session may not reach JetStream, while others do. And
// the one that brings messages may not be where JetStream is.

// A watch is what watchServers knows.
type watch struct {
	call   string      // immutable: the subject of the broker's own call
	echoed atomic.Bool // the call came back since the watch looked last
	heard  atomic.Bool // the call ever came back: the server permits it
}

// watchServers is the goroutine that moves a connection to another server. It
// moves the session if JetStream does not answer there. It moves the connection
// that receives if that does not bring what the session publishes.
func (j *JetStream) watchServers() {
	ticker := time.NewTicker(j.every)
	defer ticker.Stop()
	var last *session
	unanswered, called := 0, 0
	for {
		select {
		case <-ticker.C:
		case <-j.done:
			return
		}
		s := j.live()
		if s != last {
			last, unanswered, called = s, 0, 0
		}
		if j.watch.echoed.Swap(false) {
			called = 0
		}
		if s == nil || !s.isUsed() {
			continue
		}
		if !s.answers(j.every) {
			if unanswered++; unanswered == 2 {
				j.end(s)
			}
			continue
		}
		unanswered = 0
		conn := j.connection()
		switch {
		case !conn.IsConnected():
			called = 0
		case called == 2:
			// A leader that is cut off answers for a while, and takes nothing.
			if j.takes(s) {
				conn.ForceReconnect() // fails if it is closed: there will be another
			} else {
				j.end(s)
			}
			called = 0
		case s.conn.Publish(j.watch.call, nil) == nil && j.watch.heard.Load():
			called++
		}
	}
}

// live returns the session, or nil if there is none.
func (j *JetStream) live() *session {
	j.smu.Lock()
	s := j.current
	j.smu.Unlock()
	if s == nil || !s.isReady() || s.over() {
		return nil
	}
	return s
}

// takes reports whether JetStream takes a message there.
func (j *JetStream) takes(s *session) bool {
	ctx, cancel := context.WithTimeout(context.Background(), j.every)
	defer cancel()
	_, err := s.js.Publish(ctx, j.clockSubject(), nil)
	return err == nil
}

// streams returns the names of the streams that were asked for.
func (s *session) streams() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.names)
}

func (s *session) isUsed() bool { return len(s.streams()) > 0 }

// answers reports whether any stream answers in time.
func (s *session) answers(timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	names := s.streams()
	answers := make(chan error, len(names))
	for _, name := range names {
		go func() {
			_, err := s.js.Stream(ctx, name)
			answers <- err
		}()
	}
	for range names {
		if err := <-answers; err == nil || errors.Is(err, jetstream.ErrStreamNotFound) {
			return true
		}
	}
	return false
}
