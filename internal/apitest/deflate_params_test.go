package apitest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
)

// Options that no endpoint can have are told as such before anything is agreed
// on, whatever the other side offers.
func TestCompressionOptionsInvalid(t *testing.T) {
	tests := []struct {
		mode       websocket.CompressionMode
		send, recv int
		names      string
	}{
		{websocket.CompressionContextTakeover, 7, 0, "CompressionSendWindowBits is 7"},
		{websocket.CompressionContextTakeover, 16, 0, "CompressionSendWindowBits is 16"},
		{websocket.CompressionNoContextTakeover, -1, 15, "CompressionSendWindowBits is -1"},
		{websocket.CompressionContextTakeover, 0, 1, "CompressionReceiveWindowBits is 1"},
		{websocket.CompressionDisabled, 8, 99, "CompressionReceiveWindowBits is 99"},
		{3, 0, 0, "CompressionMode is 3"},
		{-1, 0, 0, "CompressionMode is -1"},
	}
	for _, tt := range tests {
		var acceptErr error
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, acceptErr = websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: tt.mode, CompressionSendWindowBits: tt.send, CompressionReceiveWindowBits: tt.recv})
		}), false)
		for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
			acceptErr = nil
			_, resp, err := websocket.Dial(t.Context(), wsURL(s), &websocket.DialOptions{CompressionMode: mode})
			if err == nil || resp == nil || resp.StatusCode != http.StatusInternalServerError {
				t.Errorf("%+v, mode %d: Dial = %v, %v, want status 500", tt, mode, resp, err)
			}
			if acceptErr == nil || !strings.Contains(acceptErr.Error(), tt.names) {
				t.Errorf("%+v, mode %d: Accept = %v", tt, mode, acceptErr)
			}
		}

		asked := false
		s = newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked = true }), false)
		_, _, err := websocket.Dial(t.Context(), wsURL(s), &websocket.DialOptions{CompressionMode: tt.mode, CompressionSendWindowBits: tt.send, CompressionReceiveWindowBits: tt.recv})
		if err == nil || !strings.Contains(err.Error(), tt.names) || asked {
			t.Errorf("%+v: Dial = %v, the server was asked: %v", tt, err, asked)
		}
	}
}
