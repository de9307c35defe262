// Package httpfake has servers, clients and requests of HTTP for tests of
// handshakes.
package httpfake

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// DiscardLog is for servers whose errors a test expects.
var DiscardLog = log.New(io.Discard, "", 0)

// NewServer serves h until the test ends, and drops the errors that it logs.
func NewServer(t *testing.T, h http.Handler, secure bool) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = DiscardLog
	if secure {
		s.EnableHTTP2 = true // a client that may use HTTP/2 must not for a handshake
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// URL is the address of s, as a WebSocket URL.
func URL(s *httptest.Server) string { return "ws" + strings.TrimPrefix(s.URL, "http") }

// A RoundTripper is a function that answers requests.
type RoundTripper func(*http.Request) (*http.Response, error)

func (f RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// NewClient returns a client whose connections are pipes, wrapped by wrap, to
// serve.
func NewClient(t *testing.T, wrap func(net.Conn) net.Conn, serve func(p *wstest.Peer)) *http.Client {
	var wg sync.WaitGroup
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := netfake.Pipe(netfake.Options{})
		wg.Go(func() {
			defer far.Close()
			serve(wstest.NewPeer(t, far, wstest.Server))
		})
		return wrap(near), nil
	}}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		wg.Wait()
	})
	return &http.Client{Transport: tr}
}
