// Package wstest helps to test programs that use WebSockets. It needs no port,
// and the test controls the time. A test can make peers and networks misbehave.
//
//	func TestGreeting(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			c := wstest.Dial(t, newHandler(), nil)
//			_, data, err := c.Read(t.Context())
//			...
//		})
//	}
//
// The program under test may be:
//   - a handler: [Dial] connects to it, and [Server] serves it to clients that
//     dial by themselves, such as a websocket.Redialer;
//   - a function of a connection: [Pipe] makes a connection with two ends;
//   - either, against a peer that breaks the rules: [ClientWithPeer],
//     [ServerWithPeer], [Server.DialPeer] and [Server.AcceptPeer] give a
//     [Peer], which writes any frame and says which frame it wants.
//
// Every connection is made by a real opening handshake, over a transport in
// memory that has buffers as a socket has. A [Transport] makes it slow, short
// of bytes, cut at a chosen call, or silent.
//
// All of it works in a bubble of [testing/synctest], where a timeout of an hour
// takes no time. There, a test must make its handlers, servers and connections
// inside the bubble. They end with the test: a handler may sleep for an hour at
// that moment, and finds its connection broken then.
//
// Functions and methods that take a [testing.TB], or belong to what was made
// with one, fail the test when they cannot do what they should. Call them from
// the goroutine that runs the test, as [testing.T.FailNow] demands.
package wstest
