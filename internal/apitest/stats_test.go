package apitest

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
)

func wantTraffic(t *testing.T, what string, got, want websocket.Traffic) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

// Of compressed messages the bytes are counted before and after.
func TestStatsCompressed(t *testing.T) {
	for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		synctest.Test(t, func(t *testing.T) {
			near, far := netfake.Pipe(netfake.Options{})
			accepted := make(chan *websocket.Conn, 1)
			go func() {
				c, _, err := websocket.AcceptConn(t.Context(), near, &websocket.AcceptOptions{CompressionMode: mode})
				if err != nil {
					t.Error(err)
				}
				accepted <- c
			}()
			c, _, err := websocket.DialConn(t.Context(), far, "ws://example.com/", &websocket.DialOptions{CompressionMode: mode})
			if err != nil {
				t.Fatal(err)
			}
			s := <-accepted
			defer c.CloseNow()
			defer s.CloseNow()
			text := []byte(strings.Repeat("all the same ", 1000))
			prepared, _ := websocket.NewPreparedMessage(websocket.MessageText, text)
			sent := start(func() error {
				c.Write(t.Context(), websocket.MessageText, text)
				c.Write(t.Context(), websocket.MessageText, []byte("short"))
				c.WriteUncompressed(t.Context(), websocket.MessageText, text)
				c.WritePrepared(t.Context(), prepared)
				w, err := c.Writer(t.Context(), websocket.MessageText)
				if err != nil {
					return err
				}
				for range 5 {
					w.Write(text)
				}
				return w.Close()
			})
			for i := range 5 {
				if i == 4 { // streamed
					_, r, err := s.Reader(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					io.Copy(io.Discard, r)
				} else if _, _, err := s.Read(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			out, in := c.Stats().Sent, s.Stats().Received
			n := int64(len(text))
			want := websocket.Traffic{Messages: 5, Payload: 5 + 8*n, Compressed: 7 * n, CompressedTo: out.CompressedTo, Wire: out.Wire}
			wantTraffic(t, "sent", out, want)
			wantTraffic(t, "received", in, want)
			if out.CompressedTo < 20 || out.CompressedTo > n {
				t.Errorf("%d bytes became %d", out.Compressed, out.CompressedTo)
			}
		})
	}
}
