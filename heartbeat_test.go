package websocket

import (
	"errors"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A peer that answers lives, one that does not is given up: at the moments that the options say.
func TestHeartbeat(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		begin := time.Now()
		read := start(p.readError)
		var last time.Time
		for i := range 4 {
			f := p.ReadFrame()
			if f.Op != wstest.Ping {
				t.Fatalf("got %v, want a ping", f)
			}
			silent := time.Since(last)
			if i == 0 {
				silent = time.Since(begin)
				if silent < 15*time.Second || silent > 30*time.Second {
					t.Errorf("the first ping came after %v", silent)
				}
			} else if silent != 30*time.Second {
				t.Errorf("ping %d came %v after the one before", i, silent)
			}
			last = time.Now()
			if i == 3 {
				break
			}
			time.Sleep(time.Millisecond)
			p.WriteFrame(wstest.Pong, string(f.Payload))
			if !running(read) {
				t.Fatalf("Read = %v", <-read)
			}
			if rtt := p.c.RoundTripTime(); rtt != time.Millisecond {
				t.Errorf("the round trip took %v", rtt)
			}
		}
		if err := <-read; !errors.Is(err, ErrPongTimeout) {
			t.Errorf("Read = %v, want ErrPongTimeout", err)
		}
		if d := time.Since(last); d != 10*time.Second {
			t.Errorf("given up after %v", d)
		}
		p.WantClose(int(StatusInternalError))
		p.WantEnd()
	})
}
