package backoff

import (
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestBackoffCeilings(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		base, max time.Duration
		want      []time.Duration
	}{
		{500 * ms, 30 * time.Second, []time.Duration{500 * ms, 1000 * ms, 2000 * ms, 4000 * ms, 8000 * ms, 16000 * ms, 30000 * ms, 30000 * ms}},
		{time.Second, time.Second, []time.Duration{time.Second, time.Second}},
		{2 * time.Second, time.Second, []time.Duration{time.Second, time.Second}},
		{-1, time.Second, []time.Duration{0, 0, 0}},
		{math.MaxInt64 / 3, -1, []time.Duration{math.MaxInt64 / 3, math.MaxInt64 / 3 * 2, math.MaxInt64, math.MaxInt64}},
		{math.MaxInt64 / 3, math.MaxInt64 - 1, []time.Duration{math.MaxInt64 / 3, math.MaxInt64 / 3 * 2, math.MaxInt64 - 1}},
	} {
		low, high := Backoff{Base: tt.base, Max: tt.max}, Backoff{Base: tt.base, Max: tt.max}
		for i, want := range tt.want {
			// The least and the greatest random value span the whole range
			// below the ceiling.
			if got := low.Fail(0); got != 0 {
				t.Errorf("%v to %v, failure %d: the shortest wait is %v", tt.base, tt.max, i+1, got)
			}
			if got := high.Fail(math.MaxUint64); got != max(want-1, 0) {
				t.Errorf("%v to %v, failure %d: the longest wait is %v, want just under %v", tt.base, tt.max, i+1, got, want)
			}
		}
	}
	long := Backoff{Base: 1, Max: time.Hour, Failures: math.MaxInt - 1}
	if long.Fail(0); long.Ceiling() != time.Hour {
		t.Errorf("after very many failures the ceiling is %v", long.Ceiling())
	}
}

// Full jitter: waits are spread evenly over the whole range, those after the
// first failure too.
func TestBackoffSpread(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for failures := range 3 {
		var tenths [10]int
		for range 10_000 {
			b := Backoff{Base: time.Second, Max: time.Minute, Failures: failures}
			d := b.Fail(random.Uint64())
			tenths[10*d/b.Ceiling()]++
		}
		for i, n := range tenths {
			if n < 900 || n > 1100 {
				t.Errorf("failure %d: %d of 10000 waits in the tenth %d", failures+1, n, i)
			}
		}
	}
}

func TestAddWaits(t *testing.T) {
	for _, tt := range [][3]time.Duration{{1, 2, 3}, {math.MaxInt64, 1, math.MaxInt64}, {1, math.MaxInt64, math.MaxInt64}, {math.MaxInt64, 0, math.MaxInt64}} {
		if got := AddWaits(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%v + %v = %v", tt[0], tt[1], got)
		}
	}
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	later := now.Add(90 * time.Second)
	for _, tt := range []struct {
		name string
		h    http.Header
		want time.Duration
	}{
		{"none", http.Header{}, 0},
		{"seconds", http.Header{"Retry-After": {"120"}}, 2 * time.Minute},
		{"spaces", http.Header{"Retry-After": {" 120\t"}}, 2 * time.Minute},
		{"zero", http.Header{"Retry-After": {"0"}}, 0},
		{"more than a duration holds", http.Header{"Retry-After": {"9223372037"}}, math.MaxInt64},
		{"more than an int64 holds", http.Header{"Retry-After": {"99999999999999999999"}}, math.MaxInt64},
		{"negative", http.Header{"Retry-After": {"-1"}}, 0},
		{"a sign", http.Header{"Retry-After": {"+1"}}, 0},
		{"a fraction", http.Header{"Retry-After": {"1.5"}}, 0},
		{"empty", http.Header{"Retry-After": {""}}, 0},
		{"twice", http.Header{"Retry-After": {"1", "2"}}, 0},
		{"date", http.Header{"Retry-After": {later.Format(http.TimeFormat)}}, 90 * time.Second},
		{"date, RFC 850", http.Header{"Retry-After": {later.Format("Monday, 02-Jan-06 15:04:05 GMT")}}, 90 * time.Second},
		{"date, asctime", http.Header{"Retry-After": {later.Format(time.ANSIC)}}, 90 * time.Second},
		{"date in the past", http.Header{"Retry-After": {now.Add(-time.Hour).Format(http.TimeFormat)}}, 0},
		// The server's clock is a day ahead of ours.
		{"date, by the server's clock", http.Header{
			"Date":        {now.Add(24 * time.Hour).Format(http.TimeFormat)},
			"Retry-After": {later.Add(24 * time.Hour).Format(http.TimeFormat)},
		}, 90 * time.Second},
		{"date, and a Date that is none", http.Header{
			"Date":        {"yesterday"},
			"Retry-After": {later.Format(http.TimeFormat)},
		}, 90 * time.Second},
	} {
		if got := ParseRetryAfter(tt.h, now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// No Retry-After makes a wait that is negative, and a number is one of seconds.
func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", " 5 ", "-1", "+1", "1.5", "9223372036", "9223372037",
		"99999999999999999999",
		"Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 9999 07:28:00 GMT", "Wed, 21 Oct 0000 07:28:00 GMT"} {
		f.Add(s, "", int64(0))
		f.Add(s, "Wed, 21 Oct 2015 07:27:00 GMT", int64(1<<40))
	}
	f.Fuzz(func(t *testing.T, value, date string, now int64) {
		h := http.Header{"Retry-After": {value}, "Date": {date}}
		at := time.Unix(now%(1<<36), 0)
		got := ParseRetryAfter(h, at)
		if got < 0 {
			t.Errorf("%q, %q at %v: %v", value, date, at, got)
		}
		seconds := strings.Trim(value, " \t")
		if n, err := strconv.ParseUint(seconds, 10, 33); err == nil && got != time.Duration(n)*time.Second {
			t.Errorf("%q: %v", value, got)
		}
	})
}
