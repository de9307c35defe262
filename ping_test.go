package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Ping returns when its pong is read: not upon the pong of another ping, nor
// upon an unsolicited one.
func TestPing(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		read := start(p.readError)
		for range 3 {
			ping := start(func() error { return p.c.Ping(context.Background()) })
			f := p.ReadFrame()
			if f.Op != wstest.Ping {
				t.Fatalf("got %v, want a ping", f)
			}
			p.WriteFrames(pong(""), pong("something"), pong(string(f.Payload)+"x"), text("a"))
			if !running(ping) {
				t.Fatalf("Ping takes another pong for its own: %v", <-ping)
			}
			p.WriteFrame(wstest.Pong, string(f.Payload))
			if err := <-ping; err != nil {
				t.Fatal(err)
			}
		}
		// A pong that does not come.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := p.c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("Ping = %v after %v", err, time.Since(begin))
		}
		if err := p.c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ping with an ended context = %v", err)
		}
		late := p.ReadFrame()
		p.WantIdle()
		p.WriteFrame(wstest.Pong, string(late.Payload)) // too late, and of no harm
		ping := start(func() error { return p.c.Ping(context.Background()) })
		p.WriteFrame(wstest.Pong, string(p.ReadFrame().Payload))
		if err := <-ping; err != nil {
			t.Error(err)
		}
		// The end of the connection.
		ping = start(func() error { return p.c.Ping(context.Background()) })
		p.ReadFrame()
		p.Close()
		if err := <-ping; err == nil {
			t.Error("Ping succeeds on a connection that ended")
		}
		<-read
	})
}

// Many pings at once: each has its own pong, and one pong may answer for those
// before it (section 5.5.3).
func TestConcurrentPings(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		read := start(p.readError)
		const n = 20
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				if err := p.c.Ping(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		payloads := map[string]bool{}
		var last string
		for i := range n {
			f := p.ReadFrame()
			last = string(f.Payload)
			payloads[last] = true
			if i < n/2 {
				p.WriteFrame(wstest.Pong, last)
			}
		}
		if len(payloads) != n {
			t.Errorf("%d pings had %d different payloads", n, len(payloads))
		}
		p.WriteFrame(wstest.Pong, last)
		// Frames are in the order of the calls' numbers, or not: answer all of
		// them.
		for payload := range payloads {
			p.WriteFrame(wstest.Pong, payload)
		}
		wg.Wait()
		p.c.CloseNow()
		<-read
	})
}

// A peer may answer only the latest of several pings (section 5.5.3); a pong
// that answers none of them answers nothing.
func TestPongForSeveralPings(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		read := start(p.readError)
		var pings []<-chan error
		var payloads []string
		for range 3 {
			pings = append(pings, start(func() error { return p.c.Ping(context.Background()) }))
			payloads = append(payloads, string(p.ReadFrame().Payload))
		}
		n := len(payloads[0])
		p.WriteFrames(pong(strings.Repeat("\xff", n)), pong(strings.Repeat("\x00", n)))
		for i := range pings {
			if !running(pings[i]) {
				t.Fatalf("ping %d takes an unsolicited pong for its own: %v", i, <-pings[i])
			}
		}
		p.WriteFrame(wstest.Pong, payloads[1])
		for i := range 2 {
			if err := <-pings[i]; err != nil {
				t.Error(err)
			}
		}
		if !running(pings[2]) {
			t.Fatalf("a pong answers a later ping: %v", <-pings[2])
		}
		p.WriteFrame(wstest.Pong, payloads[2])
		if err := <-pings[2]; err != nil {
			t.Error(err)
		}
		p.c.CloseNow()
		<-read
	})
}

// OnPingReceived sees every ping and can keep the pong back; OnPongReceived
// sees every pong. They get a payload that is theirs during the call, and the
// connection can be used in them.
func TestPingCallbacks(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		var got []string
		var p *pair
		p = newPair(t, client, connConfig{
			onPing: func(ctx context.Context, payload []byte) bool {
				got = append(got, "ping "+string(payload))
				if err := p.c.Write(context.Background(), MessageText, []byte("from the callback")); err != nil {
					t.Error(err)
				}
				return string(payload) != "quiet"
			},
			onPong: func(ctx context.Context, payload []byte) { got = append(got, "pong "+string(payload)) },
		}, netfake.Options{})
		p.WriteFrames(ping("1"), ping("quiet"), pong("2"), ping(""), pong(""), text("end"))
		p.wantRead(t, MessageText, "end")
		if want := "ping 1|ping quiet|pong 2|ping |pong "; strings.Join(got, "|") != want {
			t.Errorf("got %q, want %q", strings.Join(got, "|"), want)
		}
		var replies []string
		for range 5 {
			f := p.ReadFrame()
			replies = append(replies, f.String())
		}
		if all := strings.Join(replies, "|"); strings.Count(all, "from the callback") != 3 ||
			!strings.Contains(all, `pong frame "1"`) || !strings.Contains(all, `pong frame ""`) {
			t.Errorf("got the replies %s", all)
		}
		p.WantIdle()
	})
}

// A callback that panics leaves the connection to be read by others, whichever
// method called it.
func TestPingCallbackPanics(t *testing.T) {
	ctx := context.Background()
	var fragment io.Reader
	reads := map[string]func(c *Conn) error{
		"Read":     func(c *Conn) error { _, _, err := c.Read(ctx); return err },
		"ReadInto": func(c *Conn) error { _, _, err := c.ReadInto(ctx, nil); return err },
		"Reader":   func(c *Conn) error { _, _, err := c.Reader(ctx); return err },
		"Reader's Read": func(c *Conn) (err error) {
			_, fragment, err = c.Reader(ctx)
			if err == nil {
				_, err = io.ReadAll(fragment)
			}
			return err
		},
		"Messages": func(c *Conn) error {
			for _, err := range c.Messages(ctx) {
				return err
			}
			return nil
		},
		"Close": func(c *Conn) error { return c.Close(StatusNormalClosure, "") },
	}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{
					onPing: func(context.Context, []byte) bool { panic("ping") },
					onPong: func(context.Context, []byte) { panic("pong") },
				}, netfake.Options{})
				panics := func() (v any) {
					defer func() { v = recover() }()
					return read(p.c)
				}
				p.WriteFrames(ping("a"))
				if v := panics(); v != "ping" {
					t.Errorf("with a callback that panics: %v", v)
				}
				if name != "Close" {
					p.WriteFrames(first(wstest.Text, "b"), pong("c"), cont("d"))
					p.wantTurn(t)
					if v := panics(); v != "pong" && name != "Reader" {
						t.Errorf("with a callback that panics inside a message: %v", v)
					}
				}
				p.wantTurn(t)
			})
		})
	}
}

// wantTurn checks that no goroutine holds the reader's turn.
func (p *pair) wantTurn(t *testing.T) {
	t.Helper()
	if !p.c.r.turn.TryLock() {
		t.Fatal("the reader's turn is still taken")
	}
	p.c.r.turn.Unlock()
}

// Every ping is answered, in order, with its own payload, while the peer reads.
func TestPongs(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		read := start(p.readError)
		var send []wstest.Frame
		for i := range 200 {
			send = append(send, ping(fmt.Sprint("ping ", i)))
			if i%3 == 0 {
				send = append(send, text("between"))
			}
		}
		p.WriteFrames(send...)
		for i := range 200 {
			p.WantFrame(wstest.Pong, fmt.Sprint("ping ", i))
		}
		p.WantIdle()
		p.c.CloseNow()
		<-read
	})
}

// A peer that floods with pings and does not read takes no memory, and does not
// keep the Conn from reading. When it reads at last it gets the pongs that
// found room, in order, and the latest.
func TestPingFlood(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{writeBufferLimit: 2000}, netfake.Options{A: netfake.End{Buffer: 50}})
		read := start(func() error { _, _, err := p.c.Read(context.Background()); return err })
		const n = 20_000
		payload := func(i int) string { return fmt.Sprintf("%05d %s", i, strings.Repeat("x", 100)) }
		frames := make([][]byte, n)
		for i := range frames {
			frames[i] = p.Encode(ping(payload(i)))
		}
		got := allocated(func() {
			for _, f := range frames {
				p.WriteRaw(f)
			}
			p.WriteFrame(wstest.Text, "the end")
			if err := <-read; err != nil {
				t.Errorf("Read = %v", err)
			}
		})
		if got > 1<<20 {
			t.Errorf("%d pings of 106 bytes took %d KiB", n, got>>10)
		}
		synctest.Wait()
		last, pongs := -1, 0
		for last != n-1 {
			f := p.ReadFrame()
			var i int
			if _, err := fmt.Sscanf(string(f.Payload), "%d", &i); err != nil || f.Op != wstest.Pong || i <= last || string(f.Payload) != payload(i) {
				t.Fatalf("got %v after the pong of ping %d", f, last)
			}
			last = i
			pongs++
		}
		// The limit is that of what gathers; as much again may be on the wire
		// meanwhile.
		if pongs < 10 || pongs > 2*2000/len(payload(0))+1 {
			t.Errorf("%d pongs were kept with a limit of 2000 bytes", pongs)
		}
		p.WantIdle()
		// And then everything is as before.
		p.WriteFrames(ping("a"), ping("b"), text("c"))
		p.wantRead(t, MessageText, "c")
		p.WantFrame(wstest.Pong, "a")
		p.WantFrame(wstest.Pong, "b")
	})
}

// A callback that blocks keeps no pong back to a ping before it.
func TestCallbackBlocksAfterPong(t *testing.T) {
	for _, second := range []wstest.Frame{ping("b"), {Op: wstest.Pong, Fin: true, Payload: []byte("b")}} {
		bothRoles(t, func(t *testing.T, client bool) {
			release := make(chan struct{})
			block := func() { <-release }
			p := newPair(t, client, connConfig{pingInterval: -1,
				onPing: func(_ context.Context, payload []byte) bool {
					if string(payload) == "b" {
						block()
					}
					return true
				},
				onPong: func(context.Context, []byte) { block() },
			}, netfake.Options{})
			read := start(p.readError)
			p.WriteRaw(p.Encode(ping("a"), second))
			p.WantFrame(wstest.Pong, "a")
			close(release)
			p.c.CloseNow()
			<-read
		})
	}
}

// A panic of OnPing inside a message takes with it what was collected of that.
// The rest is not taken for a message.
func TestOnPingPanicsInsideMessage(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{pingInterval: -1, onPing: func(context.Context, []byte) bool { panic("OnPing") }}, netfake.Options{})
		p.WriteFrames(first(wstest.Text, "one "), ping(""), cont("message"), text("next"))
		func() {
			defer func() { recover() }()
			p.readError()
		}()
		read := start(func() error {
			_, data, err := p.c.Read(context.Background())
			if err == nil {
				t.Errorf("Read returns %q", data)
			}
			return err
		})
		p.WantClose(1011)
		p.theirs.CloseWrite()
		if err := <-read; err == nil || CloseStatus(err) != -1 {
			t.Errorf("Read = %v", err)
		}
	})
}

// A message of which a Reader has returned a part, or that is about to begin,
// is none the worse for it.
func TestOnPingPanicsAndReader(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{pingInterval: -1, onPing: func(context.Context, []byte) bool { panic("OnPing") }}, netfake.Options{})
		p.WriteFrames(ping(""), first(wstest.Text, "one "), ping(""), cont("message"), ping(""), text("next"))
		var r io.Reader
		var got []byte
		for r == nil || len(got) < len("one message") {
			func() {
				defer func() { recover() }()
				if r == nil {
					_, r, _ = p.c.Reader(context.Background())
					return
				}
				b := make([]byte, 20)
				n, err := r.Read(b)
				if got = append(got, b[:n]...); err != nil {
					t.Fatal(err)
				}
			}()
		}
		if string(got) != "one message" {
			t.Errorf("the Reader returns %q", got)
		}
		func() {
			defer func() { recover() }()
			p.readError()
		}()
		p.wantRead(t, MessageText, "next")
	})
}

// A panic of OnPing does not keep the pongs to earlier pings back.
func TestOnPingPanicsAfterPong(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{pingInterval: -1, onPing: func(_ context.Context, payload []byte) bool {
			if string(payload) == "panic" {
				panic("OnPing")
			}
			return true
		}}, netfake.Options{})
		p.WriteRaw(p.Encode(ping("first"), ping("panic")))
		func() {
			defer func() { recover() }()
			p.readError()
		}()
		p.WantFrame(wstest.Pong, "first")
	})
}

// Pings are answered however small the buffer is.
func TestPongWithSmallBuffer(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{writeBufferLimit: 1}, netfake.Options{})
		read := start(p.readError)
		for i := range 3 {
			payload := strings.Repeat("p", 60*i)
			p.WriteFrame(wstest.Ping, payload)
			p.WantFrame(wstest.Pong, payload)
		}
		p.c.CloseNow()
		<-read
	})
}

// A write deadline that an earlier write has left behind is not one for pongs,
// nor for replies that gather.
func TestPongAfterWriteDeadline(t *testing.T) {
	check := func(t *testing.T, p *wstest.Peer, c *Conn) {
		read := start(func() error { _, _, err := c.Read(context.Background()); return err })
		for range 3 {
			c.SetWriteDeadline(time.Now().Add(-time.Second))
			p.WriteFrame(wstest.Ping, "p")
			p.WantFrame(wstest.Pong, "p")
		}
		for owned := true; owned; runtime.Gosched() { // a writer that has not left the wire yet would take the message along
			c.w.mu.Lock()
			owned = c.w.owned
			c.w.mu.Unlock()
		}
		c.SetWriteDeadline(time.Now().Add(-time.Second))
		if err := c.Write(context.Background(), MessageText, nil); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write = %v", err)
		}
		c.SetWriteDeadline(time.Time{})
		if err := c.Write(context.Background(), MessageText, nil); err != nil {
			t.Errorf("Write = %v", err)
		}
		p.WantFrame(wstest.Text, "")
		c.CloseNow()
		<-read
	}
	for _, link := range links {
		t.Run(link.name, func(t *testing.T) {
			ours, theirs := link.make(t)
			c := newConn(connConfig{transport: ours})
			defer c.CloseNow()
			check(t, wstest.NewPeer(t, theirs, wstest.Client), c)
		})
	}
}
