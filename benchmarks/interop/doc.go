// Package interop holds the tests that let this library's client and server
// talk to those of the other Go libraries. Every peer runs in both directions,
// over ws and wss.
package interop
