package websocket

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// eachLink runs f over each kind of transport in both roles, without a bubble.
func eachLink(t *testing.T, cfg connConfig, f func(t *testing.T, p *pair)) {
	for _, l := range links {
		for _, client := range []bool{false, true} {
			role, theirs := "server", wstest.Client
			if client {
				role, theirs = "client", wstest.Server
			}
			t.Run(l.name+"/"+role, func(t *testing.T) {
				a, b := l.make(t)
				cfg := cfg
				cfg.transport, cfg.client, cfg.pingInterval = a, client, -1
				p := &pair{c: newConn(cfg), client: client, Peer: wstest.NewPeer(t, b, theirs)}
				t.Cleanup(func() { p.c.CloseNow(); p.Close() })
				f(t, p)
			})
		}
	}
}

func wantTraffic(t *testing.T, what string, got, want Traffic) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

// A message counts as soon as a read returns it, and while another read waits.
func TestStatsReceived(t *testing.T) {
	eachLink(t, connConfig{}, func(t *testing.T, p *pair) {
		var want Traffic
		write := func(frames ...wstest.Frame) {
			b := p.Encode(frames...)
			want.Wire += int64(len(b))
			p.WriteRaw(b)
		}
		began := p.c.Stats().Began
		if age := time.Since(began); age < 0 || age > time.Minute {
			t.Errorf("began %v ago", age)
		}
		write(wstest.Final(wstest.Text, "hello"))
		if _, b, err := p.c.Read(t.Context()); string(b) != "hello" {
			t.Fatal(err)
		}
		want.Messages, want.Payload = 1, 5
		wantTraffic(t, "a message", p.c.Stats().Received, want)

		// Fragments, with a ping between them, read by a messageReader.
		write(wstest.First(wstest.Binary, "abc"), wstest.Final(wstest.Ping, "!"), wstest.Final(wstest.Continuation, "de"))
		_, r, err := p.c.Reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); string(b) != "abcde" {
			t.Fatal(err)
		}
		want.Messages, want.Payload, want.Control = 2, 10, 1
		wantTraffic(t, "fragments", p.c.Stats().Received, want)

		// A reader that is left behind, and a long message.
		long := strings.Repeat("x", 100_000)
		b := p.Encode(wstest.Final(wstest.Text, "left"), wstest.Final(wstest.Text, long))
		want.Wire += int64(len(b))
		go p.WriteRaw(b)
		if _, _, err := p.c.Reader(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, b, err := p.c.Read(t.Context()); string(b) != long {
			t.Fatal(err)
		}
		want.Messages, want.Payload = 4, want.Payload+4+int64(len(long))
		wantTraffic(t, "one left, and a long one", p.c.Stats().Received, want)

		// While another goroutine reads.
		read := start(p.readError)
		write(wstest.Final(wstest.Text, "1"), wstest.Final(wstest.Pong, ""), wstest.Final(wstest.Text, "2"))
		want.Messages, want.Payload, want.Control = want.Messages+2, want.Payload+2, want.Control+1
		await(t, func() bool { return p.c.Stats().Received == want })

		// The end.
		write(wstest.Final(wstest.Text, "3"), wstest.CloseFrame(1000, ""))
		want.Messages, want.Payload, want.Control = want.Messages+1, want.Payload+1, want.Control+1
		if err := <-read; !errors.Is(err, io.EOF) {
			t.Errorf("Read = %v", err)
		}
		wantTraffic(t, "after the end", p.c.Stats().Received, want)
		if s := p.c.Stats(); !s.Began.Equal(began) {
			t.Errorf("began %v, and then %v", began, s.Began)
		}
	})
}

// A message that no read returns, because this side is closing, is not counted:
// neither as one, nor by its bytes. Those on the wire are.
func TestStatsDiscarded(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		closed := start(func() error { return p.c.Close(StatusNormalClosure, "") })
		p.WantClose(1000)
		b := p.Encode(text("late"), first(wstest.Binary, "later"), ping(""), cont("still"), wstest.CloseFrame(1000, ""))
		p.WriteRaw(b)
		p.Close()
		if err := <-closed; err != nil {
			t.Errorf("Close = %v", err)
		}
		wantTraffic(t, "after the end", p.c.Stats().Received, Traffic{Control: 2, Wire: int64(len(b))})
	})
}

// All writes count, of each kind.
func TestStatsSent(t *testing.T) {
	eachLink(t, connConfig{}, func(t *testing.T, p *pair) {
		got := make(chan int64)
		go func() {
			n, _ := io.Copy(io.Discard, p.Conn)
			got <- n
		}()
		prepared, err := NewPreparedMessage(MessageText, []byte("prepared"))
		long := make([]byte, 50_000)
		for _, write := range []func(c *Conn) error{
			func(c *Conn) error { return err },
			func(c *Conn) error { return c.Write(t.Context(), MessageText, []byte("hello")) },
			func(c *Conn) error { return c.Write(t.Context(), MessageBinary, long) },
			func(c *Conn) error { return c.WritePrepared(t.Context(), prepared, prepared) },
			func(c *Conn) error {
				w, err := c.Writer(t.Context(), MessageText)
				if err != nil {
					return err
				}
				w.Write(long)
				w.Write([]byte("end"))
				return w.Close()
			},
		} {
			if err := write(p.c); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		pinged := start(func() error { return p.c.Ping(ctx) })
		await(t, func() bool { return p.c.Stats().Sent.Control == 1 })
		cancel()
		<-pinged
		s := p.c.Stats()
		want := Traffic{Messages: 5, Payload: 5 + 2*50_000 + 2*8 + 3, Control: 1, Wire: s.Sent.Wire}
		wantTraffic(t, "sent", s.Sent, want)
		if s.Waiting != 0 {
			t.Errorf("%d bytes wait", s.Waiting)
		}
		p.c.CloseNow()
		if n := <-got; n != s.Sent.Wire {
			t.Errorf("the peer got %d bytes, Wire is %d", n, s.Sent.Wire)
		}
	})
}

// A message that was given up before its first byte was out is not counted.
func TestStatsGivenUp(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{pingInterval: -1}, netfake.Options{A: netfake.End{Buffer: 8}})
		first := start(func() error { return p.c.Write(t.Context(), MessageText, []byte("takes the room, and the wire")) })
		synctest.Wait()
		before := p.c.Stats().Sent
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.c.Write(ctx, MessageBinary, make([]byte, 10_000)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Write = %v", err)
		}
		wantTraffic(t, "given up", p.c.Stats().Sent, before)
		p.ReadFrame()
		if err := <-first; err != nil {
			t.Errorf("Write = %v", err)
		}
	})
}

// Stats may be asked for while all else goes on. It takes no message from a
// reader, and counts do not decrease.
func TestStatsConcurrent(t *testing.T) {
	eachLink(t, connConfig{}, func(t *testing.T, p *pair) {
		const n = 2000
		done := make(chan struct{})
		var watchers sync.WaitGroup
		for range 3 {
			watchers.Go(func() {
				var last Stats
				for {
					s := p.c.Stats()
					if s.Received.Messages < last.Received.Messages || s.Received.Payload < last.Received.Payload ||
						s.Received.Wire < last.Received.Wire || s.Sent.Messages < last.Sent.Messages {
						t.Errorf("%+v, and then %+v", last, s)
						return
					}
					last = s
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		go io.Copy(io.Discard, p.Conn)
		wrote := start(func() error {
			for range n {
				p.WriteFrame(wstest.Text, "message")
			}
			return nil
		})
		for range n {
			if _, _, err := p.c.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := p.c.Write(t.Context(), MessageText, []byte("answer")); err != nil {
				t.Fatal(err)
			}
		}
		<-wrote
		close(done)
		watchers.Wait()
		s := p.c.Stats()
		if s.Received.Messages != n || s.Received.Payload != 7*n || s.Sent.Messages != n || s.Sent.Payload != 6*n {
			t.Errorf("at the end: %+v", s)
		}
	})
}
