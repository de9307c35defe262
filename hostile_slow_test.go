package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Peers that are slow on purpose. Those that refuse a handshake and stall, and those that are slow while the
// connection is being closed, are in TestDialRefusalStalls and TestCloseIsBounded.

// dribble writes b to conn, one byte a second, until conn takes no more.
func dribble(conn net.Conn, b []byte) {
	for i := range b {
		if _, err := conn.Write(b[i : i+1]); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// A request that comes byte by byte is ended by the ReadHeaderTimeout of the HTTP server.
func TestHostileSlowRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipeListener{make(chan net.Conn), make(chan struct{})}
		server := &http.Server{ReadHeaderTimeout: 10 * time.Second, ErrorLog: discardLog,
			Handler: Handler(func(*Conn, *http.Request) { t.Error("serve was called") }, nil)}
		go server.Serve(l)
		defer server.Close()
		conn, err := l.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		dribbling := start(func() error { dribble(conn, []byte(wstest.Request("/", "example.com"))); return nil })
		got, err := io.ReadAll(conn)
		if d := time.Since(begin); d > 11*time.Second || bytes.Contains(got, []byte(" 101 ")) {
			t.Errorf("got %q, %v after %v", got, err, d)
		}
		conn.Close()
		<-dribbling
	})
}

// A response that comes byte by byte, or has no end, is ended by the context of Dial and by the timeout of the HTTP
// client, and nothing is left of it.
func TestHostileSlowResponse(t *testing.T) {
	for name, answer := range map[string]func(p *wstest.Peer){
		"silent":       func(p *wstest.Peer) {},
		"byte by byte": func(p *wstest.Peer) { dribble(p.Conn, []byte(wstest.Response(wstest.SampleKey))) },
		"no end": func(p *wstest.Peer) {
			p.TryWrite([]byte("HTTP/1.1 101 Switching Protocols\r\n"))
			for range 1000 {
				if _, err := p.TryWrite([]byte("X: y\r\n")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
		"informational for ever": func(p *wstest.Peer) {
			for range 1000 {
				if _, err := p.TryWrite([]byte("HTTP/1.1 103 Early Hints\r\n\r\n")); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		},
	} {
		for _, by := range []string{"context", "client"} {
			t.Run(name+", "+by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client := pipeServer(t, asIs, func(p *wstest.Peer) {
						p.ReadRequest()
						answer(p)
						p.WantEnd()
					})
					ctx := context.Background()
					if by == "context" {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, 20*time.Second)
						defer cancel()
					} else {
						client.Timeout = 20 * time.Second
					}
					begin := time.Now()
					c, _, err := Dial(ctx, "ws://example.com/", &DialOptions{HTTPClient: client})
					if d := time.Since(begin); c != nil || !errors.Is(err, context.DeadlineExceeded) || d != 20*time.Second {
						t.Errorf("got %v, %v after %v", c, err, d)
					}
				})
			})
		}
	}
}

// Frames that come byte by byte: a read ends at the moment that its context or its deadline says, wherever in a frame
// that is, and the next one goes on from there.
func TestHostileSlowFrame(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	tests := []struct {
		name string
		send []wstest.Frame
		want int // bytes of the message
	}{
		{"header", frames(binaryF(long)), len(long)},
		{"payload", frames(text(strings.Repeat("\u20ac", 41))), 123},
		{"fragments", frames(first(wstest.Text, "a"), moreCont("b"), moreCont("c"), moreCont("d"), cont("e")), 5},
		{"control frame", frames(ping(strings.Repeat("p", 125)), text("at last")), 7},
		{"compressed", []wstest.Frame{compressedFrame(deflated(t, bytes.Repeat([]byte("compressible "), 100)))}, 1300},
	}
	const patience = 7 * time.Second
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				for _, by := range []string{"context", "deadline"} {
					p := newPair(t, client, connConfig{deflate: &alone}, netfake.Options{})
					stream := p.Encode(test.send...)
					slow := min(len(stream)-1, 200)
					dribbling := start(func() error {
						dribble(p.theirs, stream[:slow])
						_, err := p.theirs.Write(stream[slow:])
						return err
					})
					for gaveUp := 0; ; gaveUp++ {
						ctx, cancel := context.WithCancel(context.Background())
						if by == "context" {
							ctx, cancel = context.WithTimeout(context.Background(), patience)
						} else {
							p.c.SetReadDeadline(time.Now().Add(patience))
						}
						begin := time.Now()
						_, got, err := p.c.Read(ctx)
						cancel()
						if err == nil {
							if len(got) != test.want || gaveUp < slow/8 {
								t.Errorf("%d bytes of %d, after %d reads were given up", len(got), test.want, gaveUp)
							}
							break
						}
						if d := time.Since(begin); !isTimeout(err) || d != patience {
							t.Fatalf("by its %s: %v after %v", by, err, d)
						}
					}
					if err := <-dribbling; err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// A message that never ends: the application's bound on the whole of it holds, however steadily it grows.
func TestHostileSlowBody(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		for _, how := range []string{"Read", "Reader", "Messages", "NetConn"} {
			p := newPair(t, client, connConfig{readLimit: -1}, netfake.Options{})
			f := binaryF("")
			f.Declare = 1 << 60
			p.WriteRaw(p.Encode(f))
			dribbling := start(func() error { dribble(p.theirs, make([]byte, 1000)); return nil })
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			begin := time.Now()
			var err error
			switch how {
			case "Read":
				_, _, err = p.c.Read(ctx)
			case "Reader":
				var r io.Reader
				if _, r, err = p.c.Reader(ctx); err == nil {
					_, err = io.Copy(io.Discard, r)
				}
			case "Messages":
				for _, err = range p.c.Messages(ctx) {
				}
			case "NetConn":
				_, err = io.Copy(io.Discard, NetConn(ctx, p.c, MessageBinary))
			}
			cancel()
			if d := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || d != time.Minute {
				t.Errorf("%s: %v after %v", how, err, d)
			}
			p.c.CloseNow()
			<-dribbling
		}
	})
}

// What comes byte by byte is parsed, unmasked, validated and inflated once: bytes that wait for others are not gone
// over again for each. That shows in one call of the transport for each byte, in memory that does not depend on the
// cuts, and in that the test ends: work of the square of these sizes takes much longer.
func TestHostileSlowParsing(t *testing.T) {
	n := 210_000
	if raceEnabled {
		n = 21_000
	}
	noise := make([]byte, n)
	for x, i := uint32(1), 0; i < n; i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	var pings []wstest.Frame
	for range n / 200 {
		pings = append(pings, ping(strings.Repeat("p", 125)))
	}
	tests := []struct {
		name string
		send []wstest.Frame
		want int
	}{
		{"binary", frames(binaryF(string(noise))), n},
		{"text", frames(text(strings.Repeat("\u20ac", n/3))), n},
		{"fragments", wstest.Fragments(wstest.Text, strings.Split(strings.Repeat("x", n/5), "")...), n / 5},
		{"pings", append(pings, text("x")), 1},
		{"compressed", []wstest.Frame{{Fin: true, RSV: rsv1, Op: wstest.Binary, Payload: deflated(t, noise)}}, n},
		{"compressed, heads of blocks", []wstest.Frame{{Fin: true, RSV: rsv1, Op: wstest.Binary,
			Payload: append(bytes.Repeat(emptyDynamic, n/len(emptyDynamic)/10), deflated(t, noise)...)}}, n},
	}
	for _, test := range tests {
		for how := range reads {
			for _, client := range []bool{false, true} {
				sender := wstest.Client
				if client {
					sender = wstest.Server
				}
				stream := wstest.Encode(sender, test.send...)
				transport := &dropConn{data: stream}
				c := newConn(connConfig{transport: transport, client: client, deflate: &alone})
				var got []byte
				var err error
				took := allocated(func() { _, got, err = reads[how](c) })
				if err != nil || len(got) != test.want {
					t.Errorf("%s, way %d: %d bytes, %v", test.name, how, len(got), err)
				}
				if transport.calls > len(stream)+1 {
					t.Errorf("%s, way %d: %d calls of Read for %d bytes", test.name, how, transport.calls, len(stream))
				}
				if took > uint64(16*n) {
					t.Errorf("%s, way %d: %d KiB were allocated for %d", test.name, how, took>>10, n>>10)
				}
				c.CloseNow()
			}
		}
	}
}

// A dropConn hands out its data one byte at a time, and takes whatever is written.
type dropConn struct {
	loopConn
	data  []byte
	calls int
}

func (c *dropConn) Read(p []byte) (int, error) {
	c.calls++
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:1], c.data)
	c.data = c.data[n:]
	return n, nil
}
