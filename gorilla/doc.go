// Package websocket has the API of github.com/gorilla/websocket 1.5.3 over the
// connections of this module. A program written for that package moves over
// when it changes its import path:
//
//	import "github.com/seed70bc5565/websocket/gorilla"
//
// What it gains:
//
//   - Any number of goroutines may write at the same time. Their messages leave
//     the process together, in few system calls.
//   - A read deadline that passes breaks nothing: a later read goes on where
//     the last one stopped, even inside a message.
//   - What a peer may not do (RFC 6455) ends the connection with the right
//     close code. Text from a peer is UTF-8.
//   - An idle connection holds no buffer. ReadBufferSize and WriteBufferPool
//     are accepted and not needed.
//   - A read after an error returns that error, as often as it is called.
//
// This stays as it was: handlers run inside the reading call. A ping is
// answered and a close frame echoed by default. Nothing is limited, compressed
// or pinged unless the program asks for it. The page docs/migrating.md of the
// repository lists each difference.
//
// [Conn.Native] and [FromNative] go between the two APIs, so that a program can
// move to the package [github.com/seed70bc5565/websocket] piece by piece.
package websocket
