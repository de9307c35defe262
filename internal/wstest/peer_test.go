package wstest

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed70bc5565/websocket/internal/netfake"
)

// A failer is a testing.TB that keeps the message of a failure.
type failer struct {
	testing.TB
	message string
}

func (f *failer) Helper() {}
func (f *failer) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// Each expectation holds when it should, and fails with a message that names
// what came and what was wanted when not.
func TestExpectations(t *testing.T) {
	frames := func(fs ...Frame) func(*netfake.Conn) {
		return func(c *netfake.Conn) { c.Write(Encode(Server, fs...)) }
	}
	raw := func(s string) func(*netfake.Conn) { return func(c *netfake.Conn) { c.Write([]byte(s)) } }
	end := func(c *netfake.Conn) { c.Close() }
	nothing := func(c *netfake.Conn) {}

	tests := []struct {
		name string
		send func(*netfake.Conn)
		want func(*Peer)
		fail string // parts of the message, separated by a bar; empty if it must hold
	}{
		{"frame", frames(Final(Text, "a")), func(p *Peer) { p.WantFrame(Text, "a") }, ""},
		{"other payload", frames(Final(Text, "a")), func(p *Peer) { p.WantFrame(Text, "b") }, `got text frame "a"|want text frame "b"`},
		{"other opcode", frames(Final(Text, "a")), func(p *Peer) { p.WantFrame(Binary, "a") }, "got text|want binary"},
		{"not final", frames(First(Text, "a")), func(p *Peer) { p.WantFrame(Text, "a") }, "FIN clear"},
		{"end for a frame", end, func(p *Peer) { p.WantFrame(Text, "a") }, "got the end|want text"},
		{"nothing for a frame", nothing, func(p *Peer) { p.WantFrame(Text, "a") }, "got nothing in time|want text"},
		{"masked", frames(Frame{Fin: true, Op: Text, Mask: Masked}), func(p *Peer) { p.WantFrame(Text, "") }, "a server's frame is masked"},
		{"long form", frames(Frame{Fin: true, Op: Text, LenForm: 16}), func(p *Peer) { p.WantFrame(Text, "") }, "16-bit form"},
		{"message", frames(Fragments(Text, "a", "", "b")...), func(p *Peer) { p.WantMessage(Text, "ab") }, ""},
		{"other message", frames(Fragments(Text, "a", "", "b")...), func(p *Peer) { p.WantMessage(Text, "abc") }, `got text message "ab"|want text message "abc"`},
		{"ping in a message", frames(First(Text, "a"), Final(Ping, "")), func(p *Peer) { p.WantMessage(Text, "ab") }, "got ping|continuation"},
		{"close", frames(CloseFrame(1002, "bad")), func(p *Peer) { p.WantClose(1002, 1007) }, ""},
		{"close without code", frames(CloseFrame(0, "")), func(p *Peer) { p.WantClose(1000, 1005) }, ""},
		{"other close", frames(CloseFrame(1002, "bad")), func(p *Peer) { p.WantClose(1007) }, `got close frame 1002 "bad"|1007`},
		{"text for close", frames(Final(Text, "a")), func(p *Peer) { p.WantClose(1007) }, `got text frame "a"|want close frame 1007`},
		{"end", end, func(p *Peer) { p.WantEOF() }, ""},
		{"nothing for the end", nothing, func(p *Peer) { p.WantEOF() }, "got nothing in time|want the end"},
		{"frame for the end", frames(Final(Text, "a")), func(p *Peer) { p.WantEOF() }, `got text frame "a"|want the end`},
		{"part of a frame for the end", func(c *netfake.Conn) { raw("\x81")(c); c.Close() }, func(p *Peer) { p.WantEOF() }, "unexpected EOF|want the end"},
		{"reset for the end", func(c *netfake.Conn) { c.Reset() }, func(p *Peer) { p.WantEOF() }, "reset|want the end"},
		{"reset", func(c *netfake.Conn) { c.Reset() }, func(p *Peer) { p.WantEnd() }, ""},
		{"idle", nothing, func(p *Peer) { p.WantIdle() }, ""},
		{"not idle", frames(Final(Text, "a")), func(p *Peer) { p.WantIdle() }, `got text frame "a"|want nothing`},
		{"not quite idle", raw("\x81"), func(p *Peer) { p.WantIdle() }, "got a part of a frame|0x81"},
		{"closed for idle", end, func(p *Peer) { p.WantIdle() }, "got the end|want nothing"},
		{"write", nothing, func(p *Peer) { p.WritePieces([]byte("hello"), 2) }, ""},
		{"write to nobody", end, func(p *Peer) { p.WriteFrame(Text, "") }, "writing|0 bytes taken"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := netfake.Pipe(netfake.Options{})
				f := &failer{TB: t}
				p := NewPeer(f, b, Client)
				test.send(a)
				done := make(chan bool, 1)
				go func() {
					held := false
					defer func() { done <- held }()
					test.want(p)
					held = true
				}()
				held := <-done
				switch {
				case held && test.fail != "":
					t.Error("it held")
				case !held && test.fail == "":
					t.Errorf("it failed: %s", f.message)
				case !held:
					for _, part := range strings.Split(test.fail, "|") {
						if !strings.Contains(f.message, part) {
							t.Errorf("message %q lacks %q", f.message, part)
						}
					}
				}
			})
		})
	}
}

func TestHandshakes(t *testing.T) {
	// The example of RFC 6455, section 1.3.
	if got := AcceptKey(SampleKey); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("AcceptKey = %q", got)
	}
	synctest.Test(t, func(t *testing.T) {
		a, b := netfake.Pipe(netfake.Options{})
		client, server := NewPeer(t, a, Client), NewPeer(t, b, Server)
		done := make(chan *http.Request)
		go func() { done <- server.ServerHandshake("Sec-WebSocket-Protocol: chat") }()
		resp := client.ClientHandshake("/path?q", "example.com", "Origin: http://example.com")
		if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "chat" {
			t.Errorf("subprotocol %q", got)
		}
		if req := <-done; req.Host != "example.com" || req.URL.String() != "/path?q" || req.Header.Get("Origin") == "" {
			t.Errorf("request %+v", req)
		}
		// No byte of the stream behind the handshake is taken with it.
		server.WriteFrame(Text, "hello")
		client.WantFrame(Text, "hello")
		client.WantIdle()
	})
}
