package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A peer that pings shows life, whatever it does with the answers: one that takes none of them is given up all the
// same, and one that is only slow is not.

// sending sends f once a second, on a goroutine. What it returns is to be called at last: it ends the connection.
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

// writing writes short messages without a bound, on a goroutine, until that fails.
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

// However much has gathered: it is written in pieces, so that what the peer takes is seen.
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

// What the application has bounded ends when it says so, if that is sooner.
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

// No peer is judged where the options say so, nor one that takes nothing, but sends messages and does not ping.
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

// The same over real sockets, where what the socket did not take at once goes back to what has gathered.
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
