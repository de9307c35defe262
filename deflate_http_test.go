package websocket

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Options that no endpoint can have are told as such before anything is agreed on, whatever the other side offers.
func TestCompressionOptionsInvalid(t *testing.T) {
	tests := []struct {
		mode       CompressionMode
		send, recv int
		names      string
	}{
		{CompressionContextTakeover, 7, 0, "CompressionSendWindowBits is 7"},
		{CompressionContextTakeover, 16, 0, "CompressionSendWindowBits is 16"},
		{CompressionNoContextTakeover, -1, 15, "CompressionSendWindowBits is -1"},
		{CompressionContextTakeover, 0, 1, "CompressionReceiveWindowBits is 1"},
		{CompressionDisabled, 8, 99, "CompressionReceiveWindowBits is 99"},
		{3, 0, 0, "CompressionMode is 3"},
		{-1, 0, 0, "CompressionMode is -1"},
	}
	for _, tt := range tests {
		var acceptErr error
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, acceptErr = Accept(w, r, &AcceptOptions{CompressionMode: tt.mode, CompressionSendWindowBits: tt.send, CompressionReceiveWindowBits: tt.recv})
		}), false)
		for _, mode := range []CompressionMode{CompressionDisabled, CompressionContextTakeover} {
			acceptErr = nil
			_, resp, err := Dial(t.Context(), wsURL(s), &DialOptions{CompressionMode: mode})
			if err == nil || resp == nil || resp.StatusCode != http.StatusInternalServerError {
				t.Errorf("%+v, mode %d: Dial = %v, %v, want status 500", tt, mode, resp, err)
			}
			if acceptErr == nil || !strings.Contains(acceptErr.Error(), tt.names) {
				t.Errorf("%+v, mode %d: Accept = %v", tt, mode, acceptErr)
			}
		}

		asked := false
		s = newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked = true }), false)
		_, _, err := Dial(t.Context(), wsURL(s), &DialOptions{CompressionMode: tt.mode, CompressionSendWindowBits: tt.send, CompressionReceiveWindowBits: tt.recv})
		if err == nil || !strings.Contains(err.Error(), tt.names) || asked {
			t.Errorf("%+v: Dial = %v, the server was asked: %v", tt, err, asked)
		}
	}
}

// Every mode of either side with windows from one end of the range to the other, over HTTP: messages that refer to
// each other as far back as is allowed pass both ways.
func TestCompressionOverHTTP(t *testing.T) {
	modes := []CompressionMode{CompressionDisabled, CompressionContextTakeover, CompressionNoContextTakeover}
	bits := []int{0, 8, 12}
	if testing.Short() || raceEnabled {
		bits = []int{0, 9}
	}
	// Longer than any window, and of pieces that come again at distances from short to nearly the window.
	var msg []byte
	for i := range 2000 {
		msg = fmt.Appendf(msg, "%d and %d, ", i%700, i%90)
	}
	for _, serverMode := range modes {
		for _, send := range bits {
			for _, recv := range bits {
				s := newServer(t, Handler(serveEcho, &AcceptOptions{CompressionMode: serverMode, CompressionSendWindowBits: send, CompressionReceiveWindowBits: recv}), false)
				for _, clientMode := range modes {
					for _, clientSend := range bits {
						for _, clientRecv := range bits {
							c, resp, err := Dial(t.Context(), wsURL(s), &DialOptions{CompressionMode: clientMode, CompressionSendWindowBits: clientSend, CompressionReceiveWindowBits: clientRecv})
							if err != nil {
								t.Fatal(err)
							}
							answer := resp.Header.Get(fieldExtensions)
							name := fmt.Sprintf("server %d %d %d, client %d %d %d, agreed %q", serverMode, send, recv, clientMode, clientSend, clientRecv, answer)
							if want := serverMode != CompressionDisabled && clientMode != CompressionDisabled; (answer != "") != want || (c.deflate != nil) != want {
								t.Errorf("%s: compressed %v, want %v", name, c.deflate != nil, want)
							}
							for i := range 3 {
								m := msg[i*20:]
								if err := c.Write(t.Context(), MessageText, m); err != nil {
									t.Fatalf("%s: %v", name, err)
								}
								if _, got, err := c.Read(t.Context()); err != nil || !bytes.Equal(got, m) {
									t.Fatalf("%s: message %d: %d bytes of %d, %v", name, i, len(got), len(m), err)
								}
							}
							c.CloseNow()
						}
					}
				}
			}
		}
	}
}

// A server's answer that no offer of the client's allows fails the handshake, before a message can be misread.
func TestCompressionAnswerRefused(t *testing.T) {
	answers := map[string]DialOptions{
		"permessage-deflate":                                              {},
		"permessage-deflate ":                                             {CompressionMode: CompressionNoContextTakeover},
		"permessage-deflate; server_max_window_bits=10":                   {CompressionMode: CompressionContextTakeover, CompressionReceiveWindowBits: 9},
		"permessage-deflate; client_max_window_bits":                      {CompressionMode: CompressionContextTakeover},
		"permessage-deflate; client_max_window_bits=16":                   {CompressionMode: CompressionContextTakeover},
		"permessage-deflate; server_no_context_takeover=1":                {CompressionMode: CompressionContextTakeover},
		"permessage-deflate; unheard_of":                                  {CompressionMode: CompressionContextTakeover},
		"permessage-deflate, permessage-deflate":                          {CompressionMode: CompressionContextTakeover},
		"permessage-bzip2":                                                {CompressionMode: CompressionContextTakeover},
		`permessage-deflate; server_max_window_bits=""`:                   {CompressionMode: CompressionContextTakeover},
		"permessage-deflate; server_max_window_bits=9 10":                 {CompressionMode: CompressionContextTakeover},
		"permessage-deflate; client_max_window_bits=9; server_max_window": {CompressionMode: CompressionContextTakeover},
	}
	for answer, opts := range answers {
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Extensions: %s\r\n\r\n",
				appendAccept(nil, r.Header.Get(fieldKey)), answer)
		}), false)
		c, _, err := Dial(context.Background(), wsURL(s), &opts)
		if err == nil {
			t.Errorf("%s: the client with %+v takes it", answer, opts)
			c.CloseNow()
		}
	}
}
