package main

import (
	"fmt"
	"math"
	"math/bits"
	"strings"
	"time"
)

// A histogram counts durations in buckets that are at most 1/32 wide. The zero
// value is empty.
type histogram struct {
	counts   [buckets]int64
	n        int64
	sum      float64 // ns
	min, max time.Duration
}

const (
	subBits = 5 // 32 buckets for each power of two
	buckets = (64 - subBits) << subBits
)

func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return shift<<subBits + int(v>>shift)
}

// bucketStart is the least duration of bucket i.
func bucketStart(i int) time.Duration {
	if i < 2<<subBits {
		return time.Duration(i)
	}
	shift := i>>subBits - 1
	return time.Duration(uint64(i-shift<<subBits) << shift)
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.n++
	h.sum += float64(d)
}

func (h *histogram) merge(o *histogram) {
	if o.n == 0 {
		return
	}
	if h.n == 0 || o.min < h.min {
		h.min = o.min
	}
	h.max = max(h.max, o.max)
	h.n += o.n
	h.sum += o.sum
	for i, n := range o.counts {
		h.counts[i] += n
	}
}

func (h *histogram) mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.n))
}

// percentile returns the duration that p percent do not exceed, or one at most
// 1/32 longer.
func (h *histogram) percentile(p float64) time.Duration {
	rank := max(int64(math.Ceil(p/100*float64(h.n))), 1)
	var seen int64
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			if i+1 == buckets {
				return h.max
			}
			return max(min(bucketStart(i+1)-1, h.max), h.min)
		}
	}
	return h.max
}

// String draws the histogram: one line for each step, which are powers of two,
// or their quarters if all is close.
func (h *histogram) String() string {
	if h.n == 0 {
		return ""
	}
	first, last := bucketOf(h.min), bucketOf(h.max)
	step := 1 << subBits
	for step > 4 && (last-first)/step < 6 {
		step /= 2
	}
	for (last-first)/step > 20 {
		step *= 2
	}
	var rows []int64
	from := first - first%step
	for start := from; start <= last; start += step {
		var n int64
		for i := start; i < min(start+step, buckets); i++ {
			n += h.counts[i]
		}
		rows = append(rows, n)
	}
	var most int64
	for _, n := range rows {
		most = max(most, n)
	}
	var b strings.Builder
	for i, n := range rows {
		bar := strings.Repeat("#", int(math.Ceil(40*float64(n)/float64(most))))
		upper := bucketStart(min(from+(i+1)*step, buckets-1))
		fmt.Fprintf(&b, "  < %-9s %9s  %s\n", short(upper), thousands(n), bar)
	}
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "  \n", "\n")
}

// A latency is the summary of a histogram in JSON: microseconds.
type latency struct {
	Min  float64 `json:"min_us"`
	Mean float64 `json:"mean_us"`
	P50  float64 `json:"p50_us"`
	P90  float64 `json:"p90_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p99.9_us"`
	Max  float64 `json:"max_us"`
}

func (h *histogram) latency() latency {
	us := func(d time.Duration) float64 { return math.Round(float64(d)/10) / 100 }
	return latency{us(h.min), us(h.mean()), us(h.percentile(50)), us(h.percentile(90)), us(h.percentile(99)), us(h.percentile(99.9)), us(h.max)}
}

// summary is the same for people.
func (h *histogram) summary() string {
	return fmt.Sprintf("min %s, mean %s, 50%% %s, 90%% %s, 99%% %s, 99.9%% %s, max %s", short(h.min), short(h.mean()),
		short(h.percentile(50)), short(h.percentile(90)), short(h.percentile(99)), short(h.percentile(99.9)), short(h.max))
}
