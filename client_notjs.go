//go:build !js

package websocket

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
)

// Only js/wasm has a WebSocket object of the platform: see client_js.go.

func platformDials(*http.Client) bool { return false }

func dialPlatform(context.Context, *url.URL, *DialOptions) (connConfig, *http.Response, error) {
	return connConfig{}, nil, errors.ErrUnsupported
}

func platformPings(net.Conn) error { return nil }

func platformSends(net.Conn, StatusCode) error { return nil }
