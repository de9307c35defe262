//go:build !linux

package poller

// Supported reports whether this system has an implementation.
const Supported = false
