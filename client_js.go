package websocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed70bc5565/websocket/internal/jsconn"
)

// In a browser, and in Node, Dial uses the platform's WebSocket object. A
// jsconn.Conn makes a transport of it, which carries frames, so that all of
// Conn works as elsewhere.

// platformDials reports whether the platform's object makes the connection. A
// transport or a dialer that the program sets is used as elsewhere.
func platformDials(client *http.Client) bool {
	if client == nil {
		client = http.DefaultClient
	}
	transport := client.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	t, ok := transport.(*http.Transport)
	//lint:ignore SA1019 who sets the old fields has a dialer too
	return ok && t.DialContext == nil && t.DialTLSContext == nil && t.Dial == nil && t.DialTLS == nil
}

// dialPlatform is dial through the platform's object. u has a scheme of HTTP.
func dialPlatform(ctx context.Context, u *url.URL, opts *DialOptions) (connConfig, *http.Response, error) {
	if names := notInBrowser(opts); len(names) > 0 {
		err := fmt.Errorf("a browser cannot honour DialOptions.%s", strings.Join(names, ", DialOptions."))
		return connConfig{}, nil, argumentError{err}
	}
	if client := opts.HTTPClient; client != nil && client.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, client.Timeout)
		defer cancel()
	}
	target := *u
	target.Scheme = "ws" + strings.TrimPrefix(u.Scheme, "http")
	conn, err := jsconn.Dial(ctx, &target, opts.Subprotocols)
	if err != nil {
		return connConfig{}, nil, err
	}
	subprotocol := conn.Subprotocol()
	resp := &http.Response{
		Status:     "101 Switching Protocols",
		StatusCode: http.StatusSwitchingProtocols,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     http.Header{},
		Body:       http.NoBody,
	}
	if subprotocol != "" {
		resp.Header.Set("Sec-WebSocket-Protocol", subprotocol)
	}
	extensions := conn.Extensions()
	if extensions != "" {
		resp.Header.Set("Sec-WebSocket-Extensions", extensions)
	}
	below, _ := agreedDeflate(extensions) // what it cannot parse is not told
	return connConfig{
		proto:            protoNone,
		deflateBelow:     below,
		transport:        conn,
		client:           true,
		subprotocol:      subprotocol,
		readLimit:        opts.ReadLimit,
		writeBufferLimit: opts.WriteBufferLimit,
		closeTimeout:     opts.CloseTimeout,
		pingInterval:     -1, // a page cannot ping
		pongTimeout:      -1,
		skipUTF8:         true, // the browser has validated it
	}, resp, nil
}

// notInBrowser names the options that are set and that the platform's object
// has nothing for.
func notInBrowser(o *DialOptions) (names []string) {
	for _, option := range []struct {
		name string
		set  bool
	}{
		{"HTTPHeader", len(o.HTTPHeader) > 0},
		{"Host", o.Host != ""},
		{"HTTPClient.Jar", o.HTTPClient != nil && o.HTTPClient.Jar != nil},
		{"HTTPClient.Transport.TLSClientConfig", hasTLSConfig(o.HTTPClient)},
		{"CompressionThreshold", o.CompressionThreshold != 0},
		{"CompressionSendWindowBits", o.CompressionSendWindowBits != 0},
		{"CompressionReceiveWindowBits", o.CompressionReceiveWindowBits != 0},
		{"OnPingReceived", o.OnPingReceived != nil},
		{"OnPongReceived", o.OnPongReceived != nil},
		{"PingInterval", o.PingInterval > 0},
		{"PongTimeout", o.PongTimeout > 0},
	} {
		if option.set {
			names = append(names, option.name)
		}
	}
	return names
}

// hasTLSConfig reports whether a client has a configuration of TLS of its own.
func hasTLSConfig(client *http.Client) bool {
	if client == nil || client.Transport == nil || client.Transport == http.DefaultTransport {
		return false
	}
	t, ok := client.Transport.(*http.Transport)
	return ok && t.TLSClientConfig != nil
}

// platformPings returns why conn has no pings, or nil.
func platformPings(conn net.Conn) error {
	if _, ok := conn.(*jsconn.Conn); ok {
		return errors.New("a browser gives programs no pings; it answers those of the server")
	}
	return nil
}

// platformSends returns why a close frame with code cannot be sent through
// conn, or nil.
func platformSends(conn net.Conn, code StatusCode) error {
	if _, ok := conn.(*jsconn.Conn); !ok || code == StatusNoStatusRcvd || jsconn.CanSend(int(code)) {
		return nil
	}
	return fmt.Errorf("a browser sends the close codes 1000 and 3000 to 4999 only: %d was left out", int(code))
}
