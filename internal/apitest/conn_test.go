package apitest

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
)

// The state tells TLS, whichever transport is on top of it.
func TestConnectionStateTLS(t *testing.T) {
	states := make(chan websocket.ConnectionState, 1)
	s := httptest.NewUnstartedServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		states <- c.ConnectionState()
		serveEcho(c, r)
	}, nil))
	s.StartTLS()
	defer s.Close()
	for _, wrap := range []bool{false, true} {
		client := s.Client()
		if wrap {
			client = &http.Client{Transport: unknownTripper{client.Transport}}
		}
		c, _, err := websocket.Dial(t.Context(), s.URL, &websocket.DialOptions{HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range []websocket.ConnectionState{c.ConnectionState(), <-states} {
			if state.TLS == nil || state.TLS.Version < tls.VersionTLS12 || state.Proto != "HTTP/1.1" {
				t.Errorf("wrapped %v: got %+v", wrap, state)
			}
		}
		checkEcho(t, c)
	}
	near, _ := netfake.Pipe(netfake.Options{})
	c, _ := websocket.NewConn(near, &websocket.ConnOptions{Subprotocol: "x", Extensions: "permessage-deflate; client_max_window_bits=9; server_max_window_bits=15"})
	if got, want := c.ConnectionState(), (websocket.ConnectionState{Subprotocol: "x", Extensions: "permessage-deflate; client_max_window_bits=9"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	c.CloseNow()
}

// unknownTripper hides the connection from Dial.
type unknownTripper struct{ http.RoundTripper }

func (u unknownTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := u.RoundTripper.RoundTrip(r.WithContext(context.WithoutCancel(context.Background())))
	if err == nil {
		resp.Body = struct{ io.ReadWriteCloser }{resp.Body.(io.ReadWriteCloser)}
	}
	return resp, err
}
