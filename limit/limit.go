// Package limit bounds what clients may send, in messages and bytes a second,
// and how many connections each may have.
//
// A [Limiter] is for one connection, or is shared by those of one user.
// [Connections] counts connections by a key, such as the address or the user. A
// connection that exceeds a limit is closed with a code that says so, and a
// hook is called.
package limit

import (
	"context"
	"fmt"
	"iter"
	"math"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A Rate bounds how much may come: PerSecond in the long run, and Burst at
// once. It is a token bucket, which is full at the beginning. The zero Rate is
// no limit.
type Rate struct {
	// PerSecond is how much comes back in a second. Zero or negative: no limit.
	PerSecond float64
	// Burst is the most that may come at once. It is at least 1. Default:
	// PerSecond.
	Burst float64
}

// Limits are what a [Limiter] allows. The zero value allows everything.
type Limits struct {
	// Messages bounds the number of messages.
	Messages Rate
	// Bytes bounds the bytes of their payload, after decompression. A message
	// that is longer than the burst is never allowed. The read limit of the
	// connection bounds a message before it is complete.
	Bytes Rate

	// Code and Reason go into the close frame of a connection that exceeds a
	// limit. Default: StatusPolicyViolation, and a reason that names the limit.
	// They must be valid for [websocket.Conn.Close].
	Code   websocket.StatusCode
	Reason string

	// OnExceeded is called for each message that exceeds a limit, by the
	// goroutine that calls the Limiter. It may be nil.
	OnExceeded func(e *ExceededError)
}

// An ExceededError says which limit a message has exceeded. With [errors.As] it
// matches a [websocket.CloseError], which has the code and the reason for the
// peer.
type ExceededError struct {
	What  string // "messages" or "bytes"
	Limit Rate   // what was allowed
	Size  int    // of the message, in bytes
	close websocket.CloseError
}

// Error returns a text that names the limit.
func (e *ExceededError) Error() string {
	return fmt.Sprintf("limit: more than %v %s a second (burst %v)", e.Limit.PerSecond, e.What, e.Limit.Burst)
}

// As sets target to the [websocket.CloseError] that e matches, by value or by
// pointer.
func (e *ExceededError) As(target any) bool { return e.close.As(target) }

// A Limiter counts messages. Its methods may be called concurrently, and
// several connections may share it: then the limits hold for all of them
// together.
type Limiter struct {
	limits Limits

	mu       sync.Mutex // guards what follows
	messages bucket
	bytes    bucket
}

// New returns a Limiter with full bursts.
func New(limits Limits) *Limiter {
	now := time.Now()
	l := &Limiter{limits: limits}
	l.limits.Messages, l.limits.Bytes = limits.Messages.withDefaults(), limits.Bytes.withDefaults()
	if l.limits.Code == 0 {
		l.limits.Code = websocket.StatusPolicyViolation
	}
	l.messages, l.bytes = newBucket(l.limits.Messages, now), newBucket(l.limits.Bytes, now)
	return l
}

// Check counts a message of size bytes. If the message exceeds a limit, the
// error is an *[ExceededError], and the message is not counted. The caller then
// closes the connection. Hooks of package relay can call Check.
func (l *Limiter) Check(size int) error {
	now := time.Now()
	l.mu.Lock()
	e := l.checkLocked(size, now)
	l.mu.Unlock()
	if e == nil {
		return nil
	}
	if l.limits.OnExceeded != nil {
		l.limits.OnExceeded(e)
	}
	return e
}

// checkLocked is Check at a time.
func (l *Limiter) checkLocked(size int, now time.Time) *ExceededError {
	l.messages.refill(now)
	l.bytes.refill(now)
	e := &ExceededError{Size: size}
	switch {
	case !l.messages.has(1):
		e.What, e.Limit = "messages", l.limits.Messages
	case !l.bytes.has(float64(size)):
		e.What, e.Limit = "bytes", l.limits.Bytes
	default:
		l.messages.take(1)
		l.bytes.take(float64(size))
		return nil
	}
	e.close = websocket.CloseError{Code: l.limits.Code, Reason: l.limits.Reason}
	if e.close.Reason == "" {
		e.close.Reason = fmt.Sprintf("more than %v %s a second", e.Limit.PerSecond, e.What)
	}
	return e
}

// Messages is [websocket.Conn.Messages] with limits. A message that exceeds one
// is not delivered: c is closed, and the *[ExceededError] is the last step of
// the range. Closing waits for the peer, as [websocket.Conn.Close] does.
func (l *Limiter) Messages(ctx context.Context, c *websocket.Conn) iter.Seq2[websocket.Message, error] {
	return func(yield func(websocket.Message, error) bool) {
		for m, err := range c.Messages(ctx) {
			if err == nil {
				err = l.Check(len(m.Data))
			}
			if err != nil {
				if e, ok := err.(*ExceededError); ok {
					c.Close(e.close.Code, e.close.Reason)
				}
				yield(websocket.Message{}, err)
				return
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (r Rate) withDefaults() Rate {
	if r.PerSecond <= 0 || math.IsNaN(r.PerSecond) {
		return Rate{}
	}
	if r.Burst <= 0 || math.IsNaN(r.Burst) {
		r.Burst = r.PerSecond
	}
	r.Burst = max(r.Burst, 1)
	return r
}

// A bucket holds what may still come at once. One without a rate is never
// empty.
type bucket struct {
	rate  Rate
	level float64
	at    time.Time // of level
}

func newBucket(rate Rate, now time.Time) bucket { return bucket{rate, rate.Burst, now} }

func (b *bucket) refill(now time.Time) {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.level = min(b.level+passed*b.rate.PerSecond, b.rate.Burst)
		b.at = now
	}
}

// slack is what arithmetic may lose.
const slack = 1e-9

func (b *bucket) has(n float64) bool { return b.rate.PerSecond == 0 || b.level >= n-slack*max(n, 1) }

func (b *bucket) take(n float64) { b.level -= n }
