//go:build linux

package websocket

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A packet is read whole, whatever the reader asks for: a socket of packets
// drops what does not fit.
func TestUnixPacket(t *testing.T) {
	for _, client := range []bool{false, true} {
		l, err := net.Listen("unixpacket", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Skip(err)
		}
		defer l.Close()
		theirs, err := net.Dial("unixpacket", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ours, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		ours.SetDeadline(time.Now().Add(time.Minute))
		theirs.SetDeadline(time.Now().Add(time.Minute))
		role := wstest.Client
		if client {
			role = wstest.Server
		}
		c := newConn(connConfig{transport: ours, client: client, readLimit: -1})
		defer c.CloseNow()
		p := wstest.NewPeer(t, theirs, role)
		defer p.Close()
		for _, size := range []int{1, 17, 100, 5000, 100_000} {
			want := strings.Repeat("x", size)
			p.WriteFrames(text(want))
			if _, got, err := c.Read(context.Background()); string(got) != want || err != nil {
				t.Fatalf("Read of %d bytes = %d bytes, %v", size, len(got), err)
			}
		}
	}
}
