package websocket

import "math"

// Defaults of the options that AcceptOptions and DialOptions share.
const (
	defaultReadLimit        = 1 << 20 // bytes
	defaultWriteBufferLimit = 64 << 10
	defaultCloseTimeout     = 5e9 // a time.Duration: 5 s
	defaultPingInterval     = 30e9
	defaultPongTimeout      = 10e9
)

// orDefault applies the rule of the options: zero is the default. A negative
// value stays as it is: no limit.
func orDefault[T ~int | ~int64](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// clamp32 returns the int32 that is closest to n.
func clamp32(n int) int32 { return int32(max(math.MinInt32, min(n, math.MaxInt32))) }
