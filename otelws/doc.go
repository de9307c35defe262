// Package otelws reports WebSocket connections to OpenTelemetry: a span for
// each opening handshake, and metrics of handshakes and connections. It uses
// the API of OpenTelemetry only, so that the program chooses the SDK and its
// exporters.
//
//	observer, err := otelws.ForServer(nil)
//	...
//	s := websocket.NewServer(serve, &websocket.ServerOptions{
//		AcceptOptions: websocket.AcceptOptions{Trace: observer.Trace()},
//	})
//
// [ForClient] is the same for the options of Dial.
//
// # Metrics
//
// Names and attributes are those of the semantic conventions, where these have
// some. For connections they have none. In the names below, role is server or
// client.
//
//	http.<role>.request.duration             s             handshakes, accepted and refused
//	websocket.<role>.active_connections      {connection}  connections that are open
//	websocket.<role>.connection.duration     s             connections that have ended, by
//	                                                       websocket.end.cause, websocket.end.by, websocket.close.code, error.type
//	websocket.<role>.messages                {message}     messages, by network.io.direction
//	websocket.<role>.payload                 By            their bytes, uncompressed, by network.io.direction
//	websocket.<role>.io                      By            bytes of frames, by network.io.direction
//	websocket.<role>.slow_writes             {write}       writes that took 100 ms or more
//
// A program that measures all HTTP requests already, as otelhttp does, has
// http.<role>.request.duration twice: Options.NoHTTPMetrics leaves it to the
// other. The duration of a WebSocket request in such a middleware may be that
// of the connection.
//
// The peer chooses its close codes, of which there may be some thousands. An
// SDK bounds how many series a metric has.
//
// # Spans
//
// The span of a handshake ends with the handshake: it does not last as long as
// the connection. On a server it is a child of the span of the request's
// context, or of the one that the client has sent. On a client it is a child of
// the span of Dial's context, and is sent to the server.
//
// No span is made for messages. A program that wants some starts them with
// [Observer.StartMessage]: each has a trace of its own, and a link to the
// handshake of its connection.
package otelws
