package websocket

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A writesFail is a transport whose writes fail.
type writesFail struct{ net.Conn }

func (writesFail) Write([]byte) (int, error) { return 0, errors.New("broken") }

// A write that breaks the transport leaves the peer's close frame to be read,
// for the close timeout. Without one there is no bound.
func TestGraceAfterBrokenWrite(t *testing.T) {
	for name, test := range map[string]struct {
		timeout, after time.Duration
		code           StatusCode
	}{
		"in time":    {time.Second, 900 * time.Millisecond, 4001},
		"too late":   {time.Second, 1100 * time.Millisecond, -1},
		"no timeout": {-1, time.Hour, 4001},
	} {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				p.c = newConn(connConfig{transport: writesFail{p.ours}, client: client, closeTimeout: test.timeout, pingInterval: -1})
				if err := p.c.Write(context.Background(), MessageText, []byte("hello")); err == nil {
					t.Fatal("Write succeeds")
				}
				read := start(p.readError)
				synctest.Wait()
				time.Sleep(test.after)
				p.TryWrite(p.Encode(closing(4001, "")))
				p.theirs.CloseWrite()
				if err := <-read; CloseStatus(err) != test.code {
					t.Errorf("Read = %v", err)
				}
			})
		})
	}
}
