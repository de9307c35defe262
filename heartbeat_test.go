package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A peer that answers lives, one that does not is given up: at the moments that
// the options say.
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
		// The peer may be there all the same: it is told why.
		if reason := p.WantClose(int(StatusInternalError)); reason != "no pong in time" {
			t.Errorf("the reason is %q", reason)
		}
		p.WantEnd()
		for range 2 {
			if _, _, err := p.c.Read(context.Background()); !errors.Is(err, ErrPongTimeout) {
				t.Errorf("a later Read = %v", err)
			}
		}
		if err := p.c.Write(context.Background(), MessageText, nil); !errors.Is(err, ErrPongTimeout) {
			t.Errorf("a later Write = %v", err)
		}
	})
}

// wantPing reads a ping and returns its payload.
func (p *pair) wantPing(t *testing.T) string {
	t.Helper()
	f := p.ReadFrame()
	if f.Op != wstest.Ping {
		t.Fatalf("got %v, want a ping", f)
	}
	return string(f.Payload)
}

// wantQuiet lets d pass and checks that the Conn sends nothing, and lives.
func (p *pair) wantQuiet(t *testing.T, d time.Duration) {
	t.Helper()
	time.Sleep(d)
	p.WantIdle()
	if err := p.c.life.reason(); err != nil {
		t.Fatalf("the connection is over: %v", err)
	}
}

// Every way to read is reading: a dead peer is found, in bounded time.
func TestHeartbeatReaders(t *testing.T) {
	ctx := context.Background()
	for name, read := range map[string]func(c *Conn) error{
		"Read":     func(c *Conn) error { _, _, err := c.Read(ctx); return err },
		"ReadInto": func(c *Conn) error { _, _, err := c.ReadInto(ctx, nil); return err },
		"Reader":   func(c *Conn) error { _, _, err := c.Reader(ctx); return err },
		"inside a message": func(c *Conn) error {
			_, r, err := c.Reader(ctx)
			if err == nil {
				_, err = io.ReadAll(r)
			}
			return err
		},
		"Messages": func(c *Conn) error {
			for _, err := range c.Messages(ctx) {
				return err
			}
			return nil
		},
		"NetConn": func(c *Conn) error {
			_, err := NetConn(ctx, c, MessageText).Read(make([]byte, 1))
			return err
		},
		"CloseRead": func(c *Conn) error {
			<-c.CloseRead(ctx).Done()
			_, _, err := c.Read(ctx)
			return err
		},
		"one second at a time": func(c *Conn) error {
			for {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				_, _, err := c.Read(ctx)
				cancel()
				if !errors.Is(err, context.DeadlineExceeded) {
					return err
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{pingInterval: time.Minute, pongTimeout: 5 * time.Second}, netfake.Options{})
				if name == "inside a message" {
					p.WriteFrames(first(wstest.Text, "abc"))
				}
				begin := time.Now()
				if err := read(p.c); !errors.Is(err, ErrPongTimeout) {
					t.Errorf("the error is %v", err)
				}
				if d := time.Since(begin); d < 30*time.Second || d > 95*time.Second {
					t.Errorf("it took %v", d)
				}
				p.wantPing(t)
			})
		})
	}
}

// Any byte is life: no ping is sent while some come, and one that answers a
// ping with something else lives.
func TestHeartbeatAnyByte(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		read := start(p.readError)
		stream := p.Encode(text(strings.Repeat("x", 200)), ping("p"), first(wstest.Text, "y"))
		for _, b := range stream[:100] {
			p.WriteRaw([]byte{b})
			p.wantQuiet(t, 14*time.Second)
		}
		p.WriteRaw(stream[100:])
		p.WantFrame(wstest.Pong, "p")
		for range 10 {
			// Silence: of 30 s, and of 45 s at most.
			begin := time.Now()
			p.Timeout = time.Minute
			p.wantPing(t)
			if d := time.Since(begin); d < 27*time.Second || d > 45*time.Second {
				t.Errorf("a ping after a silence of %v", d)
			}
			time.Sleep(9 * time.Second)
			p.WriteRaw(p.Encode(cont("z"))[:1]) // a byte of a frame
			p.WriteRaw(p.Encode(cont("z"))[1:])
			p.WriteFrames(first(wstest.Text, "y"))
		}
		if !running(read) {
			t.Errorf("Read = %v", <-read)
		}
		if rtt := p.c.RoundTripTime(); rtt != 0 {
			t.Errorf("without any pong: a round trip of %v", rtt)
		}
		p.c.CloseNow()
		<-read
	})
}

// While no goroutine reads there are no pings and no judgement. Nor are there
// any if a reader leaves between a ping and its pong.
func TestHeartbeatNobodyReads(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		p.wantQuiet(t, time.Hour)
		for _, after := range []time.Duration{0, time.Second, 9999 * time.Millisecond} {
			ctx, cancel := context.WithCancel(context.Background())
			read := start(func() error { _, _, err := p.c.Read(ctx); return err })
			payload := p.wantPing(t)
			time.Sleep(after)
			cancel()
			if err := <-read; !errors.Is(err, context.Canceled) {
				t.Fatalf("Read = %v", err)
			}
			p.WriteFrames(pong(payload), text("hello")) // no reader takes it
			p.wantQuiet(t, time.Hour)
			p.wantRead(t, MessageText, "hello")
			p.wantQuiet(t, time.Hour)
		}
		// The application is slow with what came all at once: a read that needs
		// no more bytes is no reading.
		p.WriteFrames(frames(text("a"), text("b"), text("c"))...)
		for range 3 {
			if _, _, err := p.c.Read(context.Background()); err != nil {
				t.Fatal(err)
			}
			p.wantQuiet(t, time.Hour)
		}
	})
}

// A callback that takes its time is no reading.
func TestHeartbeatCallback(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		slow := func() { time.Sleep(time.Hour) }
		p := newPair(t, client, connConfig{
			onPing: func(context.Context, []byte) bool { slow(); return true },
			onPong: func(context.Context, []byte) { slow() },
		}, netfake.Options{})
		read := start(p.readError)
		for _, f := range frames(ping("a"), pong("b")) {
			p.WriteFrames(f)
			p.wantQuiet(t, time.Hour-time.Minute)
			time.Sleep(time.Minute)
			if f.Op == wstest.Ping {
				p.WantFrame(wstest.Pong, "a")
			}
		}
		p.Timeout = time.Minute
		p.wantPing(t) // and then it is
		if err := <-read; !errors.Is(err, ErrPongTimeout) {
			t.Errorf("Read = %v", err)
		}
	})
}

// Negative options: no pings, or pings that judge no peer.
func TestHeartbeatOff(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{pingInterval: -1}, netfake.Options{})
		read := start(p.readError)
		p.wantQuiet(t, 24*time.Hour)
		p.c.CloseNow()
		<-read

		p = newPair(t, client, connConfig{pingInterval: time.Second, pongTimeout: -1}, netfake.Options{})
		read = start(p.readError)
		p.wantPing(t)
		for i := range 100 {
			begin := time.Now()
			payload := p.wantPing(t)
			if d := time.Since(begin); d != time.Second {
				t.Errorf("a ping %v after the one before", d)
			}
			if i%3 == 0 {
				p.WriteFrame(wstest.Pong, payload)
			}
		}
		if !running(read) {
			t.Errorf("Read = %v", <-read)
		}
		p.c.CloseNow()
		<-read
	})
}

// Times that mean "never" are no reason to give up a peer that sends and takes
// nothing, with a wheel and without.
func TestHeartbeatNever(t *testing.T) {
	const never = math.MaxInt64
	for _, opts := range []AcceptOptions{{PingInterval: never}, {PongTimeout: never}, {PingInterval: never, PongTimeout: never}} {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d %d %v", opts.PingInterval, opts.PongTimeout, own), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if own { // the connection has a timer of its own
						opts.Configure = func(*http.Request, *AcceptOptions) error { return nil }
					}
					ends := make(chan error, 1)
					s := Handler(func(c *Conn, r *http.Request) {
						_, _, err := c.Read(r.Context())
						ends <- err
					}, &opts)
					p := beatServer(t, s)
					go io.Copy(io.Discard, p.Conn)
					time.Sleep(24 * time.Hour)
					select {
					case err := <-ends:
						t.Errorf("Read = %v, want no end", err)
					default:
					}
					s.Close()
				})
			})
		}
	}
}

// The pongs of heartbeats are not the application's; all others are, with
// whatever payload, and measure nothing.
func TestHeartbeatPongs(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		var got []string
		p := newPair(t, client, connConfig{
			onPong: func(_ context.Context, payload []byte) { got = append(got, string(payload)) },
		}, netfake.Options{})
		read := start(p.readError)
		p.WriteFrames(pong(""), pong("\x00\x00\x00\x00"), pong("unsolicited"))
		synctest.Wait()
		p.Timeout = time.Minute
		payload := p.wantPing(t)
		if n := len(payload); n != 4 {
			t.Errorf("a payload of %d bytes may be one of Ping", n)
		}
		time.Sleep(3 * time.Millisecond)
		p.WriteFrames(pong("xxxx"), pong(payload))
		synctest.Wait()
		if rtt := p.c.RoundTripTime(); rtt != 3*time.Millisecond {
			t.Errorf("the round trip took %v", rtt)
		}
		time.Sleep(time.Second)
		p.WriteFrames(pong(payload)) // once more: now it answers nothing
		synctest.Wait()
		if rtt := p.c.RoundTripTime(); rtt != 3*time.Millisecond {
			t.Errorf("the round trip took %v", rtt)
		}
		if want := []string{"", "\x00\x00\x00\x00", "unsolicited", "xxxx", payload}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the application got the pongs %q, want %q", got, want)
		}
		// Ping measures too; the one that the pong names, not those that it
		// answers along with it.
		pings := []<-chan error{}
		var payloads []string
		for range 3 {
			pings = append(pings, start(func() error { return p.c.Ping(context.Background()) }))
			payloads = append(payloads, string(p.ReadFrame().Payload))
			time.Sleep(time.Millisecond)
		}
		p.WriteFrames(pong(payloads[1]))
		for _, ping := range pings[:2] {
			if err := <-ping; err != nil {
				t.Error(err)
			}
		}
		if rtt := p.c.RoundTripTime(); rtt != 2*time.Millisecond {
			t.Errorf("the round trip of Ping took %v", rtt)
		}
		p.c.CloseNow()
		<-pings[2]
		<-read
	})
}

// A pong that has left long ago does not wait again when 2 GiB have gathered
// behind it.
func TestHeartbeatFarFromPong(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 100}})
		read := start(p.readError)
		p.WriteFrames(ping("a"))
		p.WantFrame(wstest.Pong, "a")
		w := &p.c.w
		for range 3 {
			w.mu.Lock()
			w.end = w.end.plus(1 << 30) // as if so much had been written
			w.unlock()
			w.waits(&p.c.beat.mark)
		}
		written := start(func() error { return p.c.Write(context.Background(), MessageText, make([]byte, 1000)) })
		synctest.Wait()
		if waits, pong := w.waits(&p.c.beat.mark); !waits || pong {
			t.Errorf("frames wait: %v, a pong: %v", waits, pong)
		}
		p.c.CloseNow()
		<-written
		<-read
	})
}

// takeSlowly reads a message of n bytes as the peer, a piece at a time, with a
// pause behind each.
func (p *pair) takeSlowly(t *testing.T, n int, pause time.Duration) {
	t.Helper()
	p.theirs.SetReadDeadline(time.Time{})
	for n = p.frameSize(n); n > 0; {
		k := min(n, pieceSize+100)
		if _, err := io.ReadFull(p.theirs, make([]byte, k)); err != nil {
			t.Fatal(err)
		}
		n -= k
		time.Sleep(pause)
	}
}

// A peer that takes a long payload slowly is alive: the ping cannot leave
// before it. Once it has the ping, it is given up after PingInterval and
// PongTimeout without a byte.
func TestHeartbeatBehindLongWrite(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 100}})
		read := start(p.readError)
		payload := make([]byte, 1_000_000)
		write := start(func() error { return p.c.Write(context.Background(), MessageBinary, payload) })
		p.takeSlowly(t, len(payload), 20*time.Second)
		if err := <-write; err != nil {
			t.Error(err)
		}
		begin := time.Now()
		p.wantPing(t)
		if err := <-read; !errors.Is(err, ErrPongTimeout) {
			t.Errorf("Read = %v", err)
		}
		if d := time.Since(begin); d < 15*time.Second || d > 50*time.Second {
			t.Errorf("given up %v after the ping has left", d)
		}
	})
}

// However often the readers change while a ping cannot leave: there is one.
func TestHeartbeatOnePingWaits(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 100}})
		payload := make([]byte, 500_000)
		write := start(func() error { return p.c.Write(context.Background(), MessageBinary, payload) })
		read := start(func() error {
			for range 9 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				_, _, err := p.c.Read(ctx)
				cancel()
				if !errors.Is(err, context.DeadlineExceeded) {
					return fmt.Errorf("Read = %w", err)
				}
				time.Sleep(time.Minute)
			}
			return nil
		})
		p.takeSlowly(t, len(payload), 35*time.Second)
		p.wantPing(t)
		p.WantIdle()
		if err := <-write; err != nil {
			t.Error(err)
		}
		if err := <-read; err != nil {
			t.Error(err)
		}
		read = start(p.readError) // and another when that has left
		p.Timeout = time.Minute
		p.wantPing(t)
		p.c.CloseNow()
		<-read
	})
}

// A ping that the transport does not take holds nothing up.
func TestHeartbeatPingStuck(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 106}})
		payload := make([]byte, 104)
		if client {
			payload = payload[4:]
		}
		if err := p.c.Write(context.Background(), MessageBinary, payload); err != nil || p.theirs.Buffered() != 106 {
			t.Fatalf("Write = %v, with %d bytes in the transport", err, p.theirs.Buffered())
		}
		begin := time.Now()
		if err := p.readError(); !errors.Is(err, ErrPongTimeout) {
			t.Errorf("Read = %v", err)
		}
		if d := time.Since(begin); d < 25*time.Second || d > 40*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// A peer that takes nothing at all, though there is little to take, is as dead
// as one that does not answer.
func TestHeartbeatPeerTakesNothing(t *testing.T) {
	for _, limit := range []int{0, 500, -1} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				cfg := connConfig{writeBufferLimit: limit}
				p := newPair(t, client, cfg, netfake.Options{A: netfake.End{Buffer: 100}})
				begin := time.Now()
				read := start(p.readError)
				var writes []<-chan error
				for range 20 {
					writes = append(writes, start(func() error {
						return p.c.Write(context.Background(), MessageText, make([]byte, 90))
					}))
				}
				if err := <-read; !errors.Is(err, ErrPongTimeout) {
					t.Errorf("Read = %v", err)
				}
				if d := time.Since(begin); d < 25*time.Second || d > 50*time.Second {
					t.Errorf("it took %v", d)
				}
				for _, write := range writes {
					<-write
				}
			})
		})
	}
}

// The timer ends with the connection, and says nothing while it is being
// closed.
func TestHeartbeatEnds(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		for name, end := range map[string]func(p *pair){
			"CloseNow": func(p *pair) { p.c.CloseNow() },
			"Close": func(p *pair) {
				done := start(func() error { return p.c.Close(StatusNormalClosure, "") })
				p.WantClose(1000)
				p.wantNothingBut(t, 40*time.Second, done)
			},
			"peer": func(p *pair) {
				read := start(p.readError)
				p.Close()
				<-read
			},
		} {
			p := newPair(t, client, connConfig{closeTimeout: time.Minute}, netfake.Options{})
			end(p)
			p.c.life.mu.Lock()
			if p.c.beat.timer.Stop() {
				t.Errorf("%s: the timer goes on", name)
			}
			p.c.life.mu.Unlock()
		}
	})
}

// wantNothingBut lets d pass, in which the Conn sends nothing, and then closes
// the connection to end what is done.
func (p *pair) wantNothingBut(t *testing.T, d time.Duration, done <-chan error) {
	t.Helper()
	time.Sleep(d)
	p.WantIdle()
	p.Close()
	<-done
}

// Connections that were made at once do not ping at once.
func TestHeartbeatStagger(t *testing.T) {
	for _, busy := range []bool{false, true} {
		bothRoles(t, func(t *testing.T, client bool) { testHeartbeatStagger(t, client, busy) })
	}
}

func testHeartbeatStagger(t *testing.T, client, busy bool) {
	begin := time.Now()
	at := map[time.Duration]bool{}
	var early, late int
	var reads []<-chan error
	var pairs []*pair
	const n = 200
	for range n {
		p := newPair(t, client, connConfig{pongTimeout: -1, pingInterval: 8 * time.Second}, netfake.Options{})
		pairs = append(pairs, p)
		reads = append(reads, start(p.readError))
	}
	seen := make(chan time.Duration, n)
	least, most := 4*time.Second, 8*time.Second
	if busy { // a byte each at the same moment does not change that
		least, most = 8*time.Second, 10*time.Second
	}
	for _, p := range pairs {
		if busy {
			p.WriteFrame(wstest.Text, "")
		}
		go func() {
			wstest.ReadFrame(p.theirs)
			seen <- time.Since(begin)
		}()
	}
	for range n {
		d := <-seen
		at[d] = true
		if d < least || d > most {
			t.Errorf("the first ping came after %v", d)
		}
		if d < least+(most-least)/4 {
			early++
		}
		if d > most-(most-least)/4 {
			late++
		}
	}
	if len(at) < n-5 || early < n/10 || late < n/10 {
		t.Errorf("%d pings at %d different moments, %d of them early and %d late", n, len(at), early, late)
	}
	for i, p := range pairs {
		p.c.CloseNow()
		<-reads[i]
	}
}

// Over real sockets, with and without TLS: the peers of a pair find each other
// alive, and a peer that never answers dead.
func TestHeartbeatSockets(t *testing.T) {
	cfg := connConfig{pingInterval: time.Millisecond, pongTimeout: 20 * time.Second}
	server, client := tcpPairOf(t, cfg)
	for _, c := range []*Conn{server, client} {
		c.CloseRead(context.Background())
	}
	for _, c := range []*Conn{server, client} {
		if c.RoundTripTime() == 0 {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			for c.RoundTripTime() == 0 && ctx.Err() == nil {
				c.Ping(ctx) // lets time pass
			}
			cancel()
		}
		if rtt := c.RoundTripTime(); rtt <= 0 || rtt > 20*time.Second {
			t.Errorf("a round trip of %v", rtt)
		}
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dead, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(connConfig{transport: in, pingInterval: time.Millisecond, pongTimeout: time.Millisecond})
	if _, _, err := c.Read(context.Background()); !errors.Is(err, ErrPongTimeout) {
		t.Errorf("Read = %v", err)
	}
	p := wstest.NewPeer(t, dead, wstest.Client)
	for f := p.ReadFrame(); f.Op != wstest.Close; f = p.ReadFrame() {
		if f.Op != wstest.Ping {
			t.Errorf("got %v", f)
		}
	}
	p.WantEnd()
}

// heartbeatBounds are the moments at which the heartbeat acts by default, as
// the pages say them. The first three count from the last sign of life, the
// next two from the handshake of a peer that has sent nothing since.
var heartbeatBounds = map[string]string{
	"ping":          "30 to 37.5 s",
	"end":           "40 to 47.5 s",
	"takes nothing": "40 to 47.5 s",
	"first ping":    "15 to 30 s",
	"first end":     "25 to 40 s",
}

// TestHeartbeatBounds measures those moments: all of them lie within the
// bounds, and both bounds are come near.
func TestHeartbeatBounds(t *testing.T) {
	const n = 300
	moments := map[string]func(t *testing.T, client bool) []time.Duration{
		"first ping": func(t *testing.T, client bool) []time.Duration {
			return eachPair(t, n, client, netfake.Options{}, func(p *pair, _ int) (begin time.Time) {
				begin = time.Now()
				go p.readError()
				wstest.ReadFrame(p.theirs)
				return begin
			})
		},
		"first end": func(t *testing.T, client bool) []time.Duration {
			return eachPair(t, n, client, netfake.Options{}, func(p *pair, _ int) (begin time.Time) {
				begin = time.Now()
				p.readError()
				return begin
			})
		},
		"ping": func(t *testing.T, client bool) []time.Duration {
			return eachPair(t, n, client, netfake.Options{}, func(p *pair, i int) (begin time.Time) {
				go p.readError()
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				begin = time.Now()
				p.WriteFrame(wstest.Text, "")
				wstest.ReadFrame(p.theirs)
				return begin
			})
		},
		"end": func(t *testing.T, client bool) []time.Duration {
			return eachPair(t, n, client, netfake.Options{}, func(p *pair, i int) (begin time.Time) {
				read := start(p.readError)
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				begin = time.Now()
				p.WriteFrame(wstest.Text, "")
				<-read
				return begin
			})
		},
		"takes nothing": func(t *testing.T, client bool) []time.Duration { // without a reader
			return eachPair(t, n, client, netfake.Options{A: netfake.End{Buffer: 100}}, func(p *pair, i int) (begin time.Time) {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				begin = time.Now()
				if err := p.c.Write(context.Background(), MessageText, make([]byte, 100_000)); !errors.Is(err, ErrPongTimeout) {
					t.Errorf("Write = %v", err)
				}
				return begin
			})
		},
	}
	for name, measure := range moments {
		var least, most float64
		if _, err := fmt.Sscanf(heartbeatBounds[name], "%g to %g s", &least, &most); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				took := measure(t, client)
				first, last := slices.Min(took).Seconds(), slices.Max(took).Seconds()
				if near := (most - least) / 10; first < least || first > least+near || last > most || last < most-near {
					t.Errorf("after %.1f to %.1f s, want %s", first, last, heartbeatBounds[name])
				}
			})
		})
	}
}

// The pages say those moments.
func TestHeartbeatPages(t *testing.T) {
	for file, moments := range map[string][]string{
		"doc.go":             {"ping", "end", "first ping", "first end", "takes nothing"},
		"README.md":          {"ping", "end"},
		"SECURITY.md":        {"ping", "end", "first ping", "first end"},
		"docs/how-to.md":     {"ping", "end", "first ping", "first end"},
		"docs/deployment.md": {"ping", "end"},
		"docs/security.md":   {"ping", "end"},
		"docs/migrating.md":  {"ping", "end"},
		"docs/tutorial.md":   {"ping"},
	} {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(strings.ReplaceAll(string(page), "//", " ")), " ")
		for _, name := range moments {
			if !strings.Contains(text, heartbeatBounds[name]) {
				t.Errorf("%s does not say %q", file, heartbeatBounds[name])
			}
		}
	}
}

// eachPair runs do for n pairs at once, and returns how long each took from the
// moment that do returns.
func eachPair(t *testing.T, n int, client bool, opts netfake.Options, do func(p *pair, i int) time.Time) []time.Duration {
	took := make([]time.Duration, n)
	var all sync.WaitGroup
	for i := range n {
		p := newPair(t, client, connConfig{}, opts)
		all.Go(func() { took[i] = time.Since(do(p, i)) })
	}
	all.Wait()
	return took
}

// Peers that are slow in every way, but answer a ping in time once they have
// it, are never given up. That holds whatever this side reads, writes and gives
// up meanwhile. When one falls silent it is found.
func TestHeartbeatRandomPeers(t *testing.T) {
	sessions := 40
	if testing.Short() || raceEnabled {
		sessions = 12
	}
	for n := range sessions {
		synctest.Test(t, func(t *testing.T) { heartbeatSession(t, n) })
	}
}

func heartbeatSession(t *testing.T, n int) {
	seed := rand.New(rand.NewPCG(uint64(n), 11))
	interval := time.Duration(1+seed.IntN(60)) * time.Second
	timeout := time.Duration(1+seed.IntN(30)) * time.Second
	client := n%2 == 0
	ours, theirs := netfake.Pipe(netfake.Options{Buffer: 64 << seed.IntN(6)})
	c := newConn(connConfig{transport: ours, client: client, pingInterval: interval, pongTimeout: timeout, readLimit: -1})
	role := wstest.Client
	if client {
		role = wstest.Server
	}
	ctx, cancel := context.WithCancel(context.Background())
	turn := make(chan struct{}, 1) // whose it is to write, of the peer
	var all sync.WaitGroup
	silent := make(chan struct{}) // closed when the peer falls silent
	var pings atomic.Int32

	// The peer reads, at times only after a while, and answers pings, at times
	// only after a while.
	all.Go(func() {
		rng := rand.New(rand.NewPCG(uint64(n), 12))
		for {
			f, err := wstest.ReadFrame(theirs)
			if err != nil {
				return
			}
			within := func(part int64) time.Duration { return time.Duration(rng.Int64N(int64(timeout) / part)) }
			if f.Op != wstest.Ping {
				if rng.IntN(30) == 0 {
					time.Sleep(within(10))
				}
				continue
			}
			pings.Add(1)
			time.Sleep(within(2))
			select {
			case <-silent:
				continue
			default:
			}
			turn <- struct{}{}
			theirs.Write(wstest.Encode(role, pong(string(f.Payload))))
			<-turn
		}
	})
	// It sends something now and then, whole or in two parts.
	all.Go(func() {
		rng := rand.New(rand.NewPCG(uint64(n), 13))
		for {
			time.Sleep(time.Duration(rng.Int64N(3 * int64(interval))))
			select {
			case <-silent:
				return
			default:
			}
			b := wstest.Encode(role, binaryF(string(make([]byte, rng.IntN(300)))))
			at := rng.IntN(len(b))
			turn <- struct{}{}
			theirs.Write(b[:at])
			if rng.IntN(4) == 0 {
				time.Sleep(time.Duration(rng.Int64N(int64(timeout) / 2)))
			}
			theirs.Write(b[at:])
			<-turn
		}
	})
	// This side writes, short and long, and gives some up.
	for w := range 3 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(n), uint64(20+w)))
			for ctx.Err() == nil && c.life.reason() == nil {
				time.Sleep(time.Duration(rng.Int64N(2 * int64(interval))))
				size := rng.IntN(200)
				if rng.IntN(4) == 0 {
					size = 5000 + rng.IntN(50_000)
				}
				c.Write(ctx, MessageBinary, make([]byte, size))
			}
		})
	}
	// It reads, mostly; at times it does something else.
	rng := rand.New(rand.NewPCG(uint64(n), 14))
	reads := func(d time.Duration) error {
		for end := time.Now().Add(d); time.Now().Before(end); {
			ctx, cancel := context.WithTimeout(ctx, time.Duration(1+rng.Int64N(2*int64(interval))))
			_, _, err := c.Read(ctx)
			cancel()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			if rng.IntN(5) == 0 {
				// Not for long: the peer may wait for this side to read before
				// it takes more.
				time.Sleep(time.Duration(rng.Int64N(int64(interval) / 4)))
			}
		}
		return nil
	}
	if err := reads(200 * interval); err != nil {
		t.Errorf("session %d (interval %v, timeout %v, client %v): a peer that lives: %v", n, interval, timeout, client, err)
	}
	if pings.Load() == 0 {
		t.Errorf("session %d: no pings", n)
	}
	close(silent)
	begin := time.Now()
	for {
		_, _, err := c.Read(ctx)
		if err == nil {
			continue // what was on its way
		}
		if !errors.Is(err, ErrPongTimeout) {
			t.Errorf("session %d: a peer that is silent: %v", n, err)
		}
		break
	}
	// It takes what is written all the same, so that its pings may have to wait
	// for long messages, once.
	if d := time.Since(begin); d > 3*interval+4*timeout {
		t.Errorf("session %d (interval %v, timeout %v): found after %v", n, interval, timeout, d)
	}
	cancel()
	c.CloseNow()
	theirs.Close()
	all.Wait()
	if err := c.life.reason(); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("session %d: the reason is %v", n, err)
	}
}

// A peer that pings shows life, whatever it does with the answers. One that
// takes none of them is given up all the same. One that is only slow is not.

// sending sends f once a second, on a goroutine. The test calls the result at
// the end: it ends the connection.
func (p *pair) sending(f wstest.Frame) (stop func()) {
	p.theirs.SetWriteDeadline(time.Time{})
	done := start(func() error {
		for {
			if _, err := p.theirs.Write(p.Encode(f)); err != nil {
				return nil
			}
			time.Sleep(time.Second)
		}
	})
	return func() {
		p.c.CloseNow()
		p.theirs.Close()
		<-done
	}
}

// pinging is sending of pings.
func (p *pair) pinging() (stop func()) { return p.sending(ping(strings.Repeat("x", 125))) }

// writing writes short messages without a bound, on a goroutine, until that
// fails.
func (p *pair) writing() {
	go func() {
		for p.c.Write(context.Background(), MessageBinary, make([]byte, 1000)) == nil {
		}
	}()
}

// By default, whatever is written meanwhile.
func TestHostilePingsHeldUp(t *testing.T) {
	background := context.Background()
	for name, do := range map[string]func(p *pair){
		"nothing is written": func(p *pair) {},
		"short messages":     func(p *pair) { p.writing() },
		"streamed": func(p *pair) {
			go func() {
				w, err := p.c.Writer(background, MessageBinary)
				for err == nil {
					_, err = w.Write(make([]byte, 1000))
				}
				w.Close()
			}()
		},
		"many writers": func(p *pair) {
			for range 100 {
				p.writing()
			}
		},
		"writers that give up behind it": func(p *pair) {
			p.writing()
			go func() {
				time.Sleep(time.Second)
				for p.c.life.reason() == nil {
					ctx, cancel := context.WithTimeout(background, time.Second)
					p.c.Write(ctx, MessageText, make([]byte, 5000))
					cancel()
				}
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 200}})
				begin := time.Now()
				defer p.pinging()()
				do(p)
				ctx, cancel := context.WithTimeout(background, time.Hour)
				defer cancel()
				_, _, err := p.c.Read(ctx)
				if !errors.Is(err, ErrPongTimeout) || err.Error() != errTakesNothing.Error() {
					t.Errorf("Read = %v, want ErrPongTimeout", err)
				}
				if d := time.Since(begin); d < 40*time.Second || d > 80*time.Second {
					t.Errorf("given up after %v", d)
				}
				if err := p.c.Write(background, MessageText, nil); !errors.Is(err, ErrPongTimeout) {
					t.Errorf("a later Write = %v", err)
				}
			})
		})
	}
}

// However much has gathered: it is written in pieces, so that what the peer
// takes is seen.
func TestHostilePingsHeldUpByMuch(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 200}})
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		for range 60 {
			p.writing()
		}
		time.Sleep(time.Second)
		n := p.theirs.Buffered() + 1000
		if _, err := io.ReadFull(p.theirs, make([]byte, n)); err != nil { // the first message; now the rest is written
			t.Fatal(err)
		}
		begin := time.Now()
		defer p.pinging()()
		_, _, err := p.c.Read(ctx)
		if d := time.Since(begin); !errors.Is(err, ErrPongTimeout) || d < 40*time.Second || d > 50*time.Second {
			t.Errorf("Read = %v after %v", err, d)
		}
	})
}

// wantAlive lets d pass, in which the connection must not end.
func (p *pair) wantAlive(t *testing.T, d time.Duration) {
	t.Helper()
	time.Sleep(d)
	if err := p.c.life.reason(); err != nil {
		t.Fatalf("the connection is over: %v", err)
	}
}

// A peer that takes 16 KiB in 40 seconds, a bit at a time, is slow, not dead.
func TestHeldUpSlowly(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		for _, size := range []int{450, 9000} { // a second, and each 20 seconds
			p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 200}})
			for range 80 { // all that may gather gathers
				p.writing()
			}
			read := start(p.readError)
			stop := p.pinging()
			for range 1000 {
				p.wantAlive(t, time.Duration(size/450)*time.Second)
				if _, err := io.ReadFull(p.theirs, make([]byte, size)); err != nil {
					t.Fatal(err)
				}
			}
			stop()
			<-read
		}
	})
}

// One that reads on just in time lives, however often it does so.
func TestHeldUpJustInTime(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 200}})
		read := start(p.readError)
		stop := p.pinging()
		for range 20 {
			p.wantAlive(t, 39*time.Second)
			for n := 0; n < 39; n++ {
				p.ReadFrame()
			}
		}
		stop()
		<-read
	})
}

// A bound of the application ends the call, if that is sooner.
func TestHeldUpByBoundedWrite(t *testing.T) {
	background := context.Background()
	const bound = 35 * time.Second
	for name, write := range map[string]func(c *Conn) error{
		"context": func(c *Conn) error {
			ctx, cancel := context.WithTimeout(background, bound)
			defer cancel()
			return c.Write(ctx, MessageText, make([]byte, 1000))
		},
		"deadline": func(c *Conn) error {
			c.SetWriteDeadline(time.Now().Add(bound))
			return c.Write(background, MessageText, make([]byte, 1000))
		},
		"long": func(c *Conn) error {
			ctx, cancel := context.WithTimeout(background, bound)
			defer cancel()
			return c.Write(ctx, MessageText, make([]byte, 5000))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 200}})
				begin := time.Now()
				read := start(p.readError)
				defer p.pinging()()
				if err := write(p.c); err == nil || errors.Is(err, ErrPongTimeout) || time.Since(begin) != bound {
					t.Errorf("Write = %v after %v", err, time.Since(begin))
				}
				if err := <-read; errors.Is(err, ErrPongTimeout) {
					t.Errorf("Read = %v", err)
				}
			})
		})
	}
}

// No peer is judged where the options say so, nor one that takes nothing, but
// sends messages and does not ping.
func TestHeldUpNotJudged(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		for _, cfg := range []connConfig{{pongTimeout: -1}, {pingInterval: -1}} {
			p := newPair(t, client, cfg, netfake.Options{A: netfake.End{Buffer: 200}})
			read := start(p.readError)
			stop := p.pinging()
			p.wantAlive(t, time.Hour)
			stop()
			<-read
		}
		p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 200}})
		p.WriteFrames(ping("p"))
		stop := p.sending(text("uploads"))
		p.wantRead(t, MessageText, "uploads")
		p.WantFrame(wstest.Pong, "p") // now no pong is owed
		p.writing()
		read := start(func() error {
			for {
				if _, _, err := p.c.Read(context.Background()); err != nil {
					return err
				}
			}
		})
		p.wantAlive(t, time.Hour)
		stop()
		<-read
	})
}

// The same over real sockets, where what the socket did not take at once goes
// back to what has gathered.
func TestHostilePingsHeldUpSockets(t *testing.T) {
	const soon = 100 * time.Millisecond
	cfg := connConfig{pingInterval: soon, pongTimeout: soon, closeTimeout: time.Second}
	onSockets(t, cfg, func(t *testing.T, p *pair) {
		flooded := p.flood(bytes.Repeat(p.Encode(ping(strings.Repeat("x", 125))), 100))
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if _, _, err := p.c.Read(ctx); !errors.Is(err, ErrPongTimeout) {
			t.Errorf("Read = %v, want ErrPongTimeout", err)
		}
		p.c.CloseNow()
		<-flooded
	})
}

// A peer that has vanished: its host takes some bytes into buffers that no
// program empties, and nothing ever comes. Each call notices within the bound
// that was given to it, to the moment, and the connection can be ended at once
// then.
func TestPeerVanishes(t *testing.T) {
	const buffer = 1000
	const bound = 7 * time.Second
	in7s := func() context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		time.AfterFunc(time.Hour, cancel)
		return ctx
	}
	text := make([]byte, 300)
	long := make([]byte, 100_000)
	background := context.Background()
	tests := []struct {
		name  string
		cfg   connConfig
		do    func(c *Conn) error
		after time.Duration
		want  error
	}{
		{"Read, context", connConfig{}, func(c *Conn) error {
			_, _, err := c.Read(in7s())
			return err
		}, bound, context.DeadlineExceeded},
		{"Read, deadline", connConfig{}, func(c *Conn) error {
			c.SetReadDeadline(time.Now().Add(bound))
			_, _, err := c.Read(background)
			return err
		}, bound, os.ErrDeadlineExceeded},
		{"Messages, context", connConfig{}, func(c *Conn) (err error) {
			for _, err = range c.Messages(in7s()) {
			}
			return err
		}, bound, context.DeadlineExceeded},
		{"NetConn, deadline", connConfig{}, func(c *Conn) error {
			n := NetConn(background, c, MessageBinary)
			n.SetReadDeadline(time.Now().Add(bound))
			_, err := n.Read(make([]byte, 10))
			return err
		}, bound, os.ErrDeadlineExceeded},
		{"Read, heartbeat", connConfig{pingInterval: 12 * time.Second, pongTimeout: 3 * time.Second}, func(c *Conn) error {
			_, _, err := c.Read(background)
			return err
		}, 15 * time.Second, ErrPongTimeout},
		{"Messages, heartbeat behind a write that is stuck", connConfig{}, func(c *Conn) (err error) {
			go func() {
				for c.Write(background, MessageText, text) == nil {
				}
			}()
			for _, err = range c.Messages(background) {
			}
			return err
		}, 40 * time.Second, ErrPongTimeout},
		{"Read, default heartbeat", connConfig{}, func(c *Conn) error {
			_, _, err := c.Read(background)
			return err
		}, 40 * time.Second, ErrPongTimeout},
		{"short Writes, context", connConfig{}, func(c *Conn) error {
			ctx := in7s()
			for {
				if err := c.Write(ctx, MessageText, text); err != nil {
					return err
				}
			}
		}, bound, context.DeadlineExceeded},
		{"short Writes, deadline", connConfig{}, func(c *Conn) error {
			c.SetWriteDeadline(time.Now().Add(bound))
			for {
				if err := c.Write(background, MessageText, text); err != nil {
					return err
				}
			}
		}, bound, os.ErrDeadlineExceeded},
		{"long Write, context", connConfig{}, func(c *Conn) error {
			return c.Write(in7s(), MessageText, long)
		}, bound, context.DeadlineExceeded},
		{"Write behind one that is stuck, context", connConfig{}, func(c *Conn) error {
			go c.Write(background, MessageText, long)
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(background, bound-time.Second)
			defer cancel()
			return c.Write(ctx, MessageText, long)
		}, bound, context.DeadlineExceeded},
		{"Writer, context", connConfig{}, func(c *Conn) error {
			w, err := c.Writer(in7s(), MessageText)
			for err == nil {
				_, err = w.Write(text)
			}
			w.Close()
			return err
		}, bound, context.DeadlineExceeded},
		{"Ping, context", connConfig{}, func(c *Conn) error {
			go c.Read(background)
			return c.Ping(in7s())
		}, bound, context.DeadlineExceeded},
		{"Ping past the buffer, context", connConfig{}, func(c *Conn) error {
			go c.Write(background, MessageText, long)
			go c.Read(background)
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(background, bound-time.Second)
			defer cancel()
			return c.Ping(ctx)
		}, bound, context.DeadlineExceeded},
		{"Close", connConfig{}, func(c *Conn) error {
			return c.Close(StatusNormalClosure, "bye")
		}, 5 * time.Second, context.DeadlineExceeded},
		{"Close, own timeout", connConfig{closeTimeout: 3 * time.Second}, func(c *Conn) error {
			return c.Close(StatusNormalClosure, "bye")
		}, 3 * time.Second, context.DeadlineExceeded},
		{"Close behind a write that is stuck", connConfig{}, func(c *Conn) error {
			go c.Write(background, MessageText, long)
			time.Sleep(time.Second)
			return c.Close(StatusNormalClosure, "bye")
		}, 6 * time.Second, context.DeadlineExceeded},
		{"Close of a reader in progress", connConfig{}, func(c *Conn) error {
			done := start(func() error { _, _, err := c.Read(background); return err })
			time.Sleep(time.Second)
			c.Close(StatusNormalClosure, "bye")
			return <-done
		}, 6 * time.Second, net.ErrClosed},
		{"CloseNow", connConfig{}, func(c *Conn) error {
			done := start(func() error { _, _, err := c.Read(background); return err })
			go c.Write(background, MessageText, long)
			time.Sleep(time.Second)
			if err := c.CloseNow(); err != nil {
				t.Errorf("CloseNow = %v", err)
			}
			return <-done
		}, time.Second, net.ErrClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				defer buffersReturn(t)()
				ours, _ := netfake.Pipe(netfake.Options{Buffer: buffer})
				cfg := test.cfg
				cfg.transport, cfg.client = ours, client
				c := newConn(cfg)
				begun := time.Now()
				err := test.do(c)
				took := time.Since(begun)
				least := test.after
				most := test.after + 2*time.Millisecond
				if test.want == ErrPongTimeout {
					least /= 2 // pings are staggered
					most = test.after * 5 / 4
				}
				if took < least || took > most {
					t.Errorf("noticed after %v, want %v", took, test.after)
				}
				if !errors.Is(err, test.want) || errors.Is(err, io.EOF) {
					t.Errorf("error %v, want one that matches %v", err, test.want)
				}
				begun = time.Now()
				c.CloseNow()
				if took := time.Since(begun); took > 10*time.Millisecond {
					t.Errorf("CloseNow took %v", took)
				}
				time.Sleep(time.Second) // until those that were interrupted have ended
			})
		})
	}
}
