// Package websocket implements the WebSocket protocol ([RFC 6455]) for servers
// and clients. It requires nothing but the standard library.
//
// A server makes connections with [Handler], or with [Accept] in a handler of
// its own. A client makes them with [Dial]. Each side then has a [Conn], and
// sends messages on it at any time. Package wsjson reads and writes messages
// that are JSON values.
//
// The API has all of github.com/coder/websocket v1.8, and more. A program
// written for that package builds after its import path is changed.
//
// # Concurrency
//
// All methods of Conn may be called by any number of goroutines at the same
// time, Close and CloseNow at any moment. Messages are never interleaved. If
// several goroutines read, each message goes to one of them, and which one is
// not defined. So a program usually has one goroutine that reads.
//
// A Conn starts goroutines of its own only for moments. One runs when its timer
// fires. Another writes frames that no other goroutine is about to write. The
// reading goroutine handles pings, pongs and the peer's close frame. A program
// that expects no messages calls [Conn.CloseRead], which reads for it. A
// program that neither reads nor calls CloseRead answers no pings, and does not
// notice when the peer closes. A peer that sends heartbeats then takes it for
// dead.
//
// # Heartbeats
//
// Networks drop connections without telling the endpoints. So each side watches
// its peer by default. A peer shows life when bytes arrive from it, and when it
// takes bytes.
//
// A peer that shows no life for PingInterval gets a ping. If it shows no life
// for PongTimeout after that, the connection is over: calls return an error
// that matches [ErrPongTimeout]. A timer looks four times in an interval, so
// both moments come up to a quarter of PingInterval late. With the defaults, 30
// and 10 seconds:
//
//	30 to 37.5 s  after the last sign of life the ping leaves
//	40 to 47.5 s  after the last sign of life the peer is given up
//
// The first interval is shortened at random, by half at most, so that
// connections made together do not ping together. A peer that is silent from
// the handshake on gets its ping after 15 to 30 s. It is given up after 25 to
// 40 s.
//
// These two rules hold only while a goroutine reads. If a program does not read
// for an hour, they do not end its connection. Pings also keep proxies from
// ending a connection that is idle.
//
// A third rule needs no reader. If frames wait to be written, and the peer
// takes no byte for PingInterval and PongTimeout together, the peer is given
// up. That is after 40 to 47.5 s. Each arrival of bytes from the peer starts
// that time anew, unless pongs for its pings are among the frames that wait.
// The rule holds for every write, short or long, with or without a context.
//
// On Linux the send queue of the socket (SIOCOUTQ) tells which bytes the peer
// has taken. Elsewhere bytes count as taken when a write of the transport has
// accepted them. Long writes go out in pieces of 16 KiB there.
//
// [Conn.RoundTripTime] returns how long the last ping took.
//
// # Reading
//
// [Conn.Read] returns a message in memory of its own, and [Conn.ReadInto] in
// the caller's. [Conn.Messages] lends each message for one step of a range
// loop. [Conn.Reader] streams a message. Messages allocates nothing per
// message, and neither does ReadInto if the message fits. Text is checked to be
// UTF-8.
//
// A read whose context ends, or that meets the read deadline, loses nothing,
// not even in the middle of a message. The connection stays open, and the next
// read goes on where this one stopped.
//
// # Writing
//
// [Conn.Write] sends a message as one frame, [Conn.Writer] streams one, and
// [Conn.WritePrepared] sends a [PreparedMessage] that is encoded once for many
// connections. A write whose context ends before its first byte is out sends
// nothing, and leaves the connection as it was. A write that is cut short
// inside a frame ends the connection, because nothing can follow half a frame.
//
// While the reading goroutine has more messages in its buffer, the answers to
// them are gathered, and go out with one system call. WriteBufferLimit in the
// options bounds the bytes that wait to be written. A writer past that bound
// waits until there is room, or its context ends. So a peer that does not read
// slows down the goroutines that write to it, and costs no more memory than the
// bound.
//
// # Closing
//
// [Conn.Close] performs the closing handshake. It sends a close frame with a
// [StatusCode] and a reason, and waits for the peer's close frame. It never
// takes longer than the close timeout (CloseTimeout in the options), whatever
// the peer does. [Conn.CloseNow] ends the connection at once; deferred, it
// makes sure that nothing is left behind. When the peer closes, reads answer
// its close frame by themselves and return a [CloseError].
//
// [Server.Shutdown] closes all connections of a [Handler], spread over time,
// and waits for them.
//
// A peer that breaks the protocol gets a close frame with code 1002, and the
// connection ends. Text that is not UTF-8 gets code 1007, a message past the
// read limit 1009, and a message with too many empty frames 1008.
//
// When a connection has ended, every later read returns the same error, and
// writes fail. [NetConn] returns a connection as a [net.Conn], whose Read
// returns io.EOF itself after an orderly close.
//
// # Errors
//
// Errors are classified with [errors.Is] and [errors.As], never by comparing
// them or their texts:
//
//	errors.Is(err, io.EOF)              the peer closed the connection in an orderly way (1000, 1001, or no code)
//	errors.As(err, &closeError)         the peer closed it, with the code and reason of this [CloseError]; see also CloseStatus
//	errors.Is(err, net.ErrClosed)       after a read: this side closed it, with Close or CloseNow, or by a write that was cut
//	                                    short; after a write or a ping: the connection is over, whatever ended it
//	errors.Is(err, io.ErrUnexpectedEOF) the connection ended without a close frame, or inside a message
//	errors.As(err, &protocolError)      the peer broke the protocol or a limit: this [ProtocolError] has the close code that told it so
//	errors.Is(err, ErrMessageTooBig)    the peer sent a message past the read limit
//	errors.Is(err, ErrPongTimeout)      the heartbeat gave the peer up
//	errors.Is(err, ctx.Err())           the context ended: after a read, the connection lives on
//	errors.Is(err, os.ErrDeadlineExceeded)
//	                                    the deadline passed: after a read, the connection lives on
//
// Anything else is an error of the network. [Conn.End] says the same without an
// error at hand: what ended the connection, and with which code. [CloseStatus]
// returns the code of the peer's close frame, or -1 for an error that has none.
// [Conn.Messages] ends without an error where the error of a read would match
// io.EOF.
//
// If a server refused the handshake, the error of Dial wraps a
// [HandshakeError], which has the HTTP status.
//
// # Watching
//
// [Conn.Stats] and [Server.Stats] count messages, bytes and connections. A
// [Trace] in the options is told when a handshake is accepted or refused. It is
// also told when a connection ends and why, and when a write is slow. The
// library itself writes no log.
//
// # Reconnecting
//
// A [Redialer] dials again whenever a connection has ended, with random waits
// that grow, until its context ends or an error is final.
//
// # Compression
//
// Messages are compressed with permessage-deflate (RFC 7692) if both sides ask
// for it: see [CompressionMode]. It is off by default. Secrets must not be
// compressed together with text that an attacker chooses: send them with
// [Conn.WriteUncompressed].
//
// # Limits and defaults
//
// In [AcceptOptions] and [DialOptions] zero means the default, and a negative
// number no limit:
//
//	ReadLimit         1 MiB   of a message, after decompression; past it, close code 1009
//	WriteBufferLimit  64 KiB  of frames that wait to be written
//	CloseTimeout      5 s     for Close
//	PingInterval      30 s    without a sign of life, before a ping is sent
//	PongTimeout       10 s    more, before the peer is given up
//	MaxConnections    none    at a time, of a Server: see ServerOptions
//
// A control frame has at most 125 bytes of payload, the reason of a close frame
// at most 123 (RFC 6455, section 5.5).
//
// The read limit also bounds what an unfinished message may cost. A message may
// come in frames of any size. Before its last frame it may have 1,024 frames
// without payload, and one more for each byte of the message. The next one is
// refused with close code 1008. A compressed message may have 16 times the read
// limit on the wire, and 64 KiB more. Past that, it is refused with close code
// 1009.
//
// There is no limit on the time between messages, as long as the peer answers
// pings. To set one, use a context or [Conn.SetReadDeadline]. A write waits for
// a peer that takes nothing until its context ends, or the write deadline
// passes, or the heartbeat gives the peer up. The heartbeat does not give up a
// peer while bytes arrive from it, unless pongs for its pings are among the
// frames that wait.
//
// A server lets a browser's page connect only if the page came from the same
// host, unless AcceptOptions.OriginPatterns says otherwise (section 10.2).
//
// [RFC 6455]: https://www.rfc-editor.org/rfc/rfc6455
package websocket
