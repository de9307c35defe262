// Package interop holds the tests that let this library's client and server
// talk to those of the other Go libraries: every peer, in both directions, over
// ws and wss.
package interop
