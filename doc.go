// Package websocket implements the WebSocket protocol (RFC 6455) for servers and clients
// with nothing but the standard library.
package websocket
