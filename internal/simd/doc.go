// Package simd is the assembly of the library: what masks payloads, and what
// checks that text is UTF-8. The Go that does the same elsewhere is its
// callers': mask.go of package websocket, and package utf8.
//
// The build tag purego leaves the assembly out.
package simd
