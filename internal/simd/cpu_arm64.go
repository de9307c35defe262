//go:build !purego

package simd

// HasVectors is true: the vector instructions (NEON) are a part of every
// processor that Go supports as arm64. It is a variable only for the tests of
// the Go that stands in elsewhere.
var HasVectors = true
