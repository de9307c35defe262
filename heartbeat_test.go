package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// Any byte is life: no ping is sent while some come, and one that answers a ping with something else lives.
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

// While nobody reads there are no pings and no judgement; nor if a reader leaves between a ping and its pong.
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
			p.WriteFrames(pong(payload), text("hello")) // nobody takes it
			p.wantQuiet(t, time.Hour)
			p.wantRead(t, MessageText, "hello")
			p.wantQuiet(t, time.Hour)
		}
		// The application is slow with what came all at once: a read that needs no more bytes is no reading.
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

// Negative options: no pings, or pings that judge nobody.
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

// The pongs of heartbeats are not the application's; all others are, with whatever payload, and measure nothing.
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
		// Ping measures too; the one that the pong names, not those that it answers along with it.
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

// takeSlowly reads a message of n bytes as the peer, a piece at a time, with a pause behind each.
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

// A peer that takes a long payload slowly is alive: the ping cannot leave before it. Once it has the ping, it is given
// up after PingInterval and PongTimeout without a byte.
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

// A peer that takes nothing at all, though there is little to take, is as dead as one that does not answer.
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

// The timer ends with the connection, and says nothing while it is being closed.
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

// wantNothingBut lets d pass, in which the Conn sends nothing, and then closes the connection to end what is done.
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

// Over real sockets, with and without TLS: the peers of a pair find each other alive, and a peer that never answers
// dead.
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

// TestHeartbeatBounds measures those moments: all of them lie within the bounds,
// and both bounds are come near.
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
