package apitest

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

func TestNetConnSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := netfake.Pipe(netfake.Options{})
		c, _ := websocket.NewConn(far, nil)
		p := wstest.NewPeer(t, near, wstest.Client)
		nc := websocket.NetConnSize(t.Context(), c, websocket.MessageBinary, 10)
		for _, size := range []int{0, 1, 10, 11, 20, 25} {
			done := start(func() error {
				n, err := nc.Write([]byte(strings.Repeat("x", size)))
				if n != size {
					t.Errorf("Write returned %d of %d", n, size)
				}
				return err
			})
			for left := size; ; left -= 10 {
				p.WantFrame(wstest.Binary, strings.Repeat("x", min(left, 10)))
				if left <= 10 {
					break
				}
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		p.WriteFrame(wstest.Binary, "0123456789")
		if got, err := io.ReadAll(io.LimitReader(nc, 10)); string(got) != "0123456789" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		p.WriteFrame(wstest.Binary, "0123456789a")
		go p.WantClose(1009)
		if _, err := io.ReadAll(nc); !errors.Is(err, websocket.ErrMessageTooBig) {
			t.Errorf("got %v", err)
		}
		nc.Close()
		p.Close()
	})
}
