package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A broker with JetStream has two connections, which may be at different
// servers of a cluster. Servers that lose each other do not tell their clients.
// So the server of the session may not reach JetStream, while others do. And
// the one that brings messages may not be where JetStream is.
//
// A server that is cut off answers questions all the same, some for ever: it
// was the leader of a stream, or of the cluster. It takes no message, because
// most of the others have to agree. So only a message is a proof, or an answer
// of a stream that one server keeps alone.

// A watch is what watchServers knows.
type watch struct {
	call   string      // immutable: the subject of the broker's own call
	echoed atomic.Bool // the call came back since the watch looked last
	heard  atomic.Bool // the call ever came back, and the server has not refused it since
}

// watchServers is the goroutine that moves a connection to another server. It
// moves the session if JetStream does not work there. It moves the connection
// that receives if that does not bring what the session publishes.
func (j *JetStream) watchServers() {
	ticker := time.NewTicker(j.every)
	defer ticker.Stop()
	var last *session
	broken, called := 0, 0
	for {
		select {
		case <-ticker.C:
		case <-j.done:
			return
		}
		s := j.live()
		if s == nil {
			j.again()
			continue
		}
		if s != last {
			last, broken, called = s, 0, 0
		}
		if j.watch.echoed.Swap(false) {
			called = 0
		}
		if !j.works(s) {
			if broken++; broken == 2 {
				j.leave(s)
			}
			continue
		}
		broken = 0
		conn := j.connection()
		switch {
		case !conn.IsConnected():
			called = 0
		case !j.watch.heard.Load():
			j.call() // a connection hears itself even if its server is cut off
		case called == 2:
			// Which of the two is cut off?
			if j.takes(s) {
				conn.ForceReconnect() // fails if it is closed: there will be another
			} else {
				j.leave(s)
			}
			called = 0
		case s.conn.Publish(j.watch.call, j.nextCall(s)) == nil:
			called++
		}
	}
}

// call publishes the broker's own call through the connection that receives it.
func (j *JetStream) call() {
	ctx, cancel := context.WithTimeout(context.Background(), j.every)
	defer cancel()
	j.publish(ctx, j.watch.call, nil) // the next tick tries again if it fails
}

// nextCall returns the text of the next call through a session. It is that of a
// beat, so the hub is told of one that was missed. Messages that this process
// published through the session may be missing, too. A connection that has
// connected again gets calls with another id, because the hub was told.
func (j *JetStream) nextCall(s *session) []byte {
	j.mu.Lock()
	id := j.id
	j.mu.Unlock()
	if s.calls == 0 || s.listener != id {
		s.caller, s.listener, s.calls = newID(), id, 0
	}
	s.calls++
	return fmt.Appendf(nil, "%s %d", s.caller, s.calls)
}

// leave ends a session whose server is cut off. The next one goes to another
// server, if there is one.
func (j *JetStream) leave(s *session) {
	left := s.conn.ConnectedServerId()
	j.smu.Lock()
	if left != "" {
		j.left = left
	}
	j.smu.Unlock()
	j.end(s)
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

// again begins a session after one that has ended, unless another goroutine has
// begun one. A process that only receives may ask for nothing meanwhile, and
// the connection that receives is watched through a session.
func (j *JetStream) again() {
	ctx, cancel := context.WithTimeout(context.Background(), j.every)
	defer cancel()
	for _, c := range j.classes() {
		if s, _, _ := j.open(ctx, c); s == nil {
			return // the next tick tries again
		}
	}
}

// works reports whether JetStream works where the session is.
func (j *JetStream) works(s *session) bool {
	return s.took.Swap(false) || !s.denied.Load() && j.takes(s) || j.answers(s, s.shouldTake())
}

// takes reports whether JetStream takes a message there, or says why it does
// not: it may have no room.
func (j *JetStream) takes(s *session) bool {
	ctx, cancel := context.WithTimeout(context.Background(), j.every)
	defer cancel()
	_, err := s.js.Publish(ctx, j.clockSubject(), nil)
	return !isUnavailable(err)
}

// shouldTake reports whether there is a server that takes a message of the
// watch: the server permits it, and the broker could open a class. If JetStream
// was not there to open one, another server may have it.
func (s *session) shouldTake() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expects && !s.denied.Load()
}

// refused notes what the server of a session does not permit.
func (j *JetStream) refused(s *session, err error) {
	m := refusedPublish.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
	case m[1] == j.clockSubject():
		s.denied.Store(true)
	default:
		j.watch.refuses(m[1])
	}
}

// refuses notes that the server does not permit the broker's own call, if
// subject is that.
func (w *watch) refuses(subject string) {
	if subject == w.call {
		w.heard.Store(false)
	}
}

// classes returns those that were asked for.
func (j *JetStream) classes() []class {
	j.smu.Lock()
	defer j.smu.Unlock()
	return slices.Clone(j.asked)
}

// answers reports whether any stream answers in time. If alone, only those
// count that one server keeps.
func (j *JetStream) answers(s *session, alone bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), j.every)
	defer cancel()
	classes := j.classes()
	answers := make(chan bool, len(classes))
	for _, c := range classes {
		go func() {
			stream, err := s.js.Stream(ctx, j.streamName(c.String()))
			if err != nil {
				answers <- !alone && errors.Is(err, jetstream.ErrStreamNotFound)
				return
			}
			info := stream.CachedInfo()
			hasLeader := info.Cluster == nil || info.Cluster.Leader != ""
			answers <- hasLeader && (!alone || info.Config.Replicas <= 1)
		}()
	}
	for range classes {
		if <-answers {
			return true
		}
	}
	return false
}
