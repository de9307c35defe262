package apitest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Sizes of windows that are none, in an offer and in an answer, over HTTP: a
// server goes on without compression, a client refuses.
func TestHostileWindowBits(t *testing.T) {
	mode := websocket.CompressionContextTakeover
	for _, bits := range []string{"0", "1", "7", "16", "31", "255", "256", "264", "08", "-9", "%2b9", "9.0", "0x9", "1e1", "ten",
		"4294967305", "18446744073709551625", strings.Repeat("9", 1000), strings.Repeat("0", 1000) + "9"} {
		for _, side := range []string{"server", "client"} {
			value := fmt.Sprintf("permessage-deflate; %s_max_window_bits=%s", side, bits)
			s := newServer(t, websocket.Handler(serveEcho, &websocket.AcceptOptions{CompressionMode: mode}), false)
			// The client of another library that offers value.
			tr := roundTripper(func(r *http.Request) (*http.Response, error) {
				r.Header.Set("Sec-WebSocket-Extensions", value)
				return http.DefaultTransport.RoundTrip(r)
			})
			c, resp, err := websocket.Dial(t.Context(), wsURL(s), &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}})
			if err != nil || resp.Header["Sec-Websocket-Extensions"] != nil {
				t.Errorf("the offer %.60q: %v", value, err)
			} else {
				checkEcho(t, c)
			}
			client := pipeServer(t, asIs, func(p *wstest.Peer) {
				p.ServerHandshake("Sec-WebSocket-Extensions: " + value)
				p.WantEnd()
			})
			if c, _, err := websocket.Dial(t.Context(), "ws://example.com/", &websocket.DialOptions{HTTPClient: client, CompressionMode: mode}); c != nil || err == nil {
				t.Errorf("the answer %.60q is taken", value)
			} else if len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		}
	}
}
