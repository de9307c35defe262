package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 1000, time.Millisecond, time.Hour, math.MaxInt64} {
		i := bucketOf(d)
		if i < 0 || i >= buckets || bucketStart(i) > d || i+1 < buckets && bucketStart(i+1) <= d && bucketStart(i+1) > 0 {
			t.Errorf("%d is in bucket %d, which begins at %d", d, i, bucketStart(i))
		}
	}
	for i := 1; i <= bucketOf(math.MaxInt64); i++ {
		if got := bucketOf(bucketStart(i)); got != i || bucketOf(bucketStart(i)-1) != i-1 {
			t.Fatalf("bucket %d begins at %d, which is in %d", i, bucketStart(i), got)
		}
	}
}

// The percentiles are those of the sorted durations, except for the width of a
// bucket.
func TestPercentiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 10, 1000} {
		var whole, a, b histogram
		var all []time.Duration
		for i := range n {
			d := time.Duration(math.Exp(random.Float64()*20)) + 1
			all = append(all, d)
			whole.add(d)
			if i%2 == 0 {
				a.add(d)
			} else {
				b.add(d)
			}
		}
		a.merge(&b)
		slices.Sort(all)
		for _, p := range []float64{0, 1, 50, 90, 99, 99.9, 100} {
			want := all[max(int(math.Ceil(p/100*float64(n)))-1, 0)]
			if got := whole.percentile(p); got < want || float64(got) > float64(want)*33/32+1 {
				t.Errorf("%d durations: %v %% do not exceed %d, want %d", n, p, got, want)
			}
			if a.percentile(p) != whole.percentile(p) {
				t.Errorf("merged: %v, want %v", a.percentile(p), whole.percentile(p))
			}
		}
		if whole.min != all[0] || whole.max != all[n-1] || a.mean() != whole.mean() || a.n != whole.n {
			t.Errorf("min %d, max %d, mean %d and %d", whole.min, whole.max, whole.mean(), a.mean())
		}
	}
}

func TestHistogramString(t *testing.T) {
	var h histogram
	if h.String() != "" {
		t.Error("an empty histogram shows something")
	}
	for i := range 1000 {
		h.add(time.Duration(i) * time.Microsecond)
	}
	h.add(time.Second)
	lines := strings.Split(h.String(), "\n")
	if len(lines) > 24 || !strings.Contains(h.String(), strings.Repeat("#", 40)) || strings.Contains(h.String(), strings.Repeat("#", 41)) {
		t.Errorf("\n%s", h.String())
	}
	var n int64
	for _, line := range lines {
		var digits int64
		for _, c := range strings.Fields(line)[2] {
			if c != ',' {
				digits = digits*10 + int64(c-'0')
			}
		}
		n += digits
	}
	if n != h.n {
		t.Errorf("the lines have %d of %d durations:\n%s", n, h.n, h.String())
	}
}
