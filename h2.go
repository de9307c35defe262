package websocket

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// Connections over HTTP/2 (RFC 8441): each is a stream, which a client opens by
// an extended CONNECT. They take the path of HTTP/1.1 except for what stands
// here.

// acceptHTTP2 is what accept does for a request that checkConnect let pass.
func acceptHTTP2(w http.ResponseWriter, r *http.Request, up upgrade, opts *AcceptOptions) (*connConfig, error) {
	// Frames bypass what is wrapped around net/http's ResponseWriter, as they
	// do when a connection of HTTP/1.1 is taken over: middleware might compress
	// them.
	out, ok := innermost(w)
	if !ok {
		no := refuse(http.StatusNotImplemented, "the HTTP server cannot send frames at once (no http.Flusher)")
		no.detail = fmt.Errorf("%s: %T hides it and has no method Unwrap", no.reason, out)
		return nil, sendRefusal(w, r, no)
	}
	if err := begunHTTP2(out); err != nil {
		return nil, err
	}
	stream := newHTTP2Stream(r.Body, out)
	// The timeouts of the http.Server do not concern the connection. Where
	// there are none to take back, that is no reason to fail.
	_ = stream.ctl.SetReadDeadline(time.Time{})
	_ = stream.ctl.SetWriteDeadline(time.Time{})
	up.setHeader(w.Header())
	up.setHeader(out.Header()) // the same map, except behind middleware that has its own
	w.WriteHeader(http.StatusOK)
	if err := stream.ctl.Flush(); err != nil {
		return nil, fmt.Errorf("websocket: sending the handshake: %w", err)
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		local = unknownAddr{}
	}
	conn := newBodyConn(stream, local, peerAddr(r.RemoteAddr))
	conn.settled = stream.idle
	cfg := opts.connConfig(&http2Conn{conn, stream}, &up)
	cfg.proto, cfg.tls = r.Proto, r.TLS
	return cfg, nil
}

// http2StreamOf returns the stream below a connection, or nil if it has a
// connection of its own.
func http2StreamOf(cfg *connConfig) *http2Stream {
	if c, ok := cfg.transport.(*http2Conn); ok {
		return c.stream
	}
	return nil
}

// innermost returns the ResponseWriter at the bottom of w: that of the HTTP
// server. A wrapper has a method Unwrap, or what it wraps in an exported field.
// The result ok is false where the server's own cannot be reached, or cannot
// flush.
func innermost(w http.ResponseWriter) (out http.ResponseWriter, ok bool) {
	for range wrapperDepth {
		if u, ok := w.(unwrapper); ok {
			w = u.Unwrap()
			continue
		}
		if isHTTPServers(w) {
			break
		}
		v := wrapped(reflect.ValueOf(w))
		if !v.IsValid() {
			break // of another HTTP server
		}
		if !v.CanInterface() {
			return w, false
		}
		inner, ok := v.Interface().(http.ResponseWriter)
		if !ok {
			return w, false
		}
		w = inner
	}
	switch w.(type) {
	case http.Flusher, interface{ FlushError() error }:
		return w, true
	}
	return w, false
}

// begunHTTP2 is response.begun for net/http's ResponseWriter of HTTP/2.
func begunHTTP2(out http.ResponseWriter) error {
	v := reflect.ValueOf(out)
	if v.Kind() == reflect.Pointer { // a struct from Go 1.27 on
		v = v.Elem()
	}
	if !isHTTPServers(out) || v.Kind() != reflect.Struct {
		return nil
	}
	state := v.FieldByName("rws")
	if state.Kind() != reflect.Pointer || state.IsNil() {
		return nil
	}
	return response{state.Elem()}.begun(&streamWrote)
}

// isHTTPServers reports whether net/http's server for HTTP/2 made w.
func isHTTPServers(w http.ResponseWriter) bool {
	t := reflect.TypeOf(w)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t != nil && t.PkgPath() == "net/http" && strings.HasPrefix(t.Name(), "http2")
}

// peerAddr returns the address that an HTTP server tells of a client.
func peerAddr(s string) net.Addr {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return net.TCPAddrFromAddrPort(a)
	}
	return namedAddr(s)
}

// A namedAddr is the address of a client that has no port, such as one of a
// Unix socket.
type namedAddr string

func (a namedAddr) Network() string { return "http2" }
func (a namedAddr) String() string  { return string(a) }

// withoutBody returns r for the function that serves a connection over HTTP/2:
// the body is the connection's.
func withoutBody(r *http.Request) *http.Request {
	r = r.WithContext(r.Context())
	r.Body, r.ContentLength = http.NoBody, 0
	return r
}
