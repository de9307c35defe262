// Package backoff says how long a client waits before it dials again.
package backoff

import (
	"math"
	"math/bits"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Backoff says how long to wait before the next attempt. The wait is a random
// time below a ceiling that doubles with each failure ("full jitter"). So
// clients that lost their server together do not come back together.
type Backoff struct {
	Base     time.Duration // ceiling of the first wait; not positive: no wait
	Max      time.Duration // of all ceilings; negative: no limit
	Failures int           // in a row
}

// Fail counts a failure, and returns the wait that follows it. random is
// uniform over all values.
func (b *Backoff) Fail(random uint64) time.Duration {
	b.Failures++
	below, _ := bits.Mul64(random, uint64(b.Ceiling()))
	return time.Duration(below)
}

// Ceiling returns the bound of the wait that the last failure led to.
func (b *Backoff) Ceiling() time.Duration {
	limit := b.Max
	if limit < 0 {
		limit = math.MaxInt64
	}
	d := max(b.Base, 0)
	for i := 1; i < b.Failures && d > 0 && d < limit; i++ {
		if d > math.MaxInt64/2 {
			return limit
		}
		d *= 2
	}
	return min(d, limit)
}

// AddWaits returns a+b, neither of which is negative, or the longest duration
// if that is longer.
func AddWaits(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// ParseRetryAfter returns how long the server asks to wait, from now on: a
// number of seconds or a date (RFC 9110, section 10.2.3). A date is compared
// with the server's own clock, if the response has its Date. 0 if there is no
// Retry-After, or none that can be read.
func ParseRetryAfter(h http.Header, now time.Time) time.Duration {
	v := h["Retry-After"]
	if len(v) != 1 {
		return 0
	}
	s := strings.Trim(v[0], " \t")
	if isDigits(s) {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n > int64(math.MaxInt64/time.Second) {
			return math.MaxInt64
		}
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return max(at.Sub(now), 0)
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
