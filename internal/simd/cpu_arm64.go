//go:build !purego

package simd

// HasVectors is true: the vector instructions (NEON) are a part of every
// processor that Go supports as arm64. It is a variable only for the tests of
// the Go code that replaces the assembly elsewhere.
var HasVectors = true
