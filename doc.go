// Package websocket implements the WebSocket protocol ([RFC 6455]) for servers
// and clients. It requires nothing but the standard library.
//
// A server makes connections with [Handler], or with [Accept] in a handler of
// its own. A client makes them with [Dial]. Both have a [Conn] then, on which
// either side sends messages at any time. Package wsjson has messages that are
// JSON values.
//
// The API is that of github.com/coder/websocket v1.8 and more. A program
// written for that package builds after its import path is changed.
//
// # Concurrency
//
// All methods of Conn may be called by any number of goroutines at the same
// time, Close and CloseNow at any moment. Messages are never interleaved.
// Readers take turns. Which of them gets a message is not defined. So one
// goroutine that reads is the usual arrangement.
//
// A Conn has a goroutine of its own only for moments. One is that of its timer,
// when a ping is due. The other writes what no other goroutine is there to
// write. The reading goroutine handles pings, pongs and the peer's close frame.
// A program that expects no messages calls [Conn.CloseRead], which reads for
// it. A program that does neither does not notice the peer's end, and answers
// no pings. To a peer that has heartbeats it looks dead.
//
// # Heartbeats
//
// Networks drop connections without a word. So each side watches its peer, by
// default. A peer shows life when bytes arrive from it, and when it takes
// bytes.
//
// A peer that shows no life for PingInterval gets a ping. If it then shows none
// for PongTimeout either, the connection is over: calls return an error that
// matches [ErrPongTimeout]. A timer looks four times in an interval, so both
// moments come up to a quarter of PingInterval late. With the defaults, 30 and
// 10 seconds:
//
//	30 to 37.5 s  after the last sign of life the ping leaves
//	40 to 47.5 s  after the last sign of life the peer is given up
//
// The first interval is shortened at random, by half at most, so that
// connections made together do not ping together. A peer that is silent from
// the handshake on gets its ping after 15 to 30 s. It is given up after 25 to
// 40 s.
//
// These two rules hold only while a goroutine reads. A program that is busy
// elsewhere for an hour finds the connection as it was. Pings also keep proxies
// from ending a connection that is idle.
//
// A third rule needs no reader. Frames wait to be written, and the peer takes
// nothing of them for PingInterval and PongTimeout. Then it is given up, after
// 40 to 47.5 s. Data that arrives from it meanwhile excuses it, but its pings
// do not where their pongs are among those frames. Any write is judged so,
// short or long, and with a context too.
//
// On Linux the send queue of the socket tells what a peer has taken (SIOCOUTQ).
// Elsewhere a peer has taken what a write of the transport has accepted. Long
// writes go out in pieces of 16 KiB there.
//
// [Conn.RoundTripTime] is what the last ping measured.
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
// not even in the middle of a message. The connection lives on, and the next
// read goes on where this one stood.
//
// # Writing
//
// [Conn.Write] sends a message as one frame, [Conn.Writer] streams one, and
// [Conn.WritePrepared] sends a [PreparedMessage] that is encoded once for many
// connections. A write whose context ends before its first byte is out sends
// nothing, and leaves the connection as it was. A write that is cut short
// inside a frame ends the connection, because nothing can follow half a frame.
//
// While a reader has more messages at hand, the answers to them are gathered
// and go out with one system call. What waits to be written is bounded
// (WriteBufferLimit in the options): past that, writers wait, until their
// context ends. So a peer that does not read slows down the goroutines that
// write to it, and costs no more memory than the bound.
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
// A peer that breaks the protocol gets a close frame with the code 1002, and
// the connection ends. The code is 1007 for text that is not UTF-8, and 1009
// for a message past the read limit. It is 1008 for a message in too many empty
// frames.
//
// Whatever ended a connection, every later read returns that error, and writes
// fail too. [NetConn] is a connection as a [net.Conn]: its Read returns io.EOF
// itself after an orderly close.
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
// returns the code of the peer's close frame, or -1 for errors that tell of
// none. [Conn.Messages] ends without an error where a read's would match
// io.EOF.
//
// A [HandshakeError] in the chain of Dial's error tells the HTTP status with
// which a server refused.
//
// # Watching
//
// [Conn.Stats] and [Server.Stats] count. A [Trace] in the options is told when
// a handshake is accepted or refused. It is also told when a connection ends
// and why, and when a write is slow. The library itself writes no log.
//
// # Reconnecting
//
// A [Redialer] dials again whenever a connection has ended, with random waits
// that grow, until its context ends or an error is final.
//
// # Compression
//
// Messages are compressed with permessage-deflate (RFC 7692) if both sides ask
// for it: see [CompressionMode]. It is off by default. Secrets that must not be
// compressed together with text that an attacker chooses are sent with
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
// The read limit bounds what a message may cost before it is there, too. A
// message may come in frames as small as its sender likes. The frames without
// payload before the last frame are bounded: 1,024, and one more for each byte
// of the message. The next one is refused with close code 1008. A compressed
// message may have 16 times as many bytes on the wire as the limit allows of it
// inflated, and 64 KiB more. Past that, it is refused with close code 1009.
//
// There is no limit on the time between messages, as long as the peer answers
// pings. To set one, use a context or [Conn.SetReadDeadline]. A write waits for
// a peer that takes nothing until its context ends, or the write deadline
// passes, or the heartbeat gives the peer up. The heartbeat does not while data
// arrives from a peer that does not ping.
//
// A server lets a browser's page connect only if the page came from the same
// host, unless AcceptOptions.OriginPatterns says otherwise (section 10.2).
//
// [RFC 6455]: https://www.rfc-editor.org/rfc/rfc6455
package websocket
