// Package streams tests connections on the streams of other modules: channels
// of SSH, streams of QUIC, and what fasthttp and fiber hand over. It has tests
// only.
package streams
