package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"log"
	"net/http"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// The closing handshake that this side begins (section 7.1.2). A close frame
// goes out, and one comes in. Then the server ends TCP at once, and the client
// waits for that.
func TestCloseHandshake(t *testing.T) {
	tests := []struct {
		code   StatusCode
		reason string
		answer int
	}{
		{StatusNormalClosure, "", 1000},
		{StatusNormalClosure, "bye", 1000},
		{StatusGoingAway, strings.Repeat("x", 123), 1001},
		{StatusInternalError, "sorry", 0},
		{StatusNoStatusRcvd, "", 0},
		{3000, "é", 3000},
		{4999, "", 1000},
		{1014, "", 1014},
	}
	for _, test := range tests {
		for _, reading := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/reading %v", test.code, reading), func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					p := newPair(t, client, connConfig{}, netfake.Options{})
					var read <-chan error
					if reading {
						read = start(p.readError)
						synctest.Wait()
					}
					begin := time.Now()
					closed := start(func() error { return p.c.Close(test.code, test.reason) })
					if reason := p.WantClose(int(test.code)); reason != test.reason {
						t.Errorf("reason %q, want %q", reason, test.reason)
					}
					if !running(closed) {
						t.Fatalf("Close does not wait for the answer: %v", <-closed)
					}
					// Close reads and drops the messages before the answer. It
					// answers no pings any more.
					late := frames(text("late"), ping("late"), first(wstest.Text, "late"))
					p.WriteFrames(late...)
					p.WriteFrames(wstest.CloseFrame(test.answer, ""))
					if client {
						if !running(closed) {
							t.Fatalf("a client does not wait for the server to end TCP: %v", <-closed)
						}
						p.WantIdle()
						p.Close()
					} else {
						p.WantEOF()
					}
					if err := <-closed; err != nil {
						t.Errorf("Close = %v", err)
					}
					if d := time.Since(begin); d > time.Millisecond {
						t.Errorf("Close took %v", d)
					}
					if reading {
						if err := <-read; err == nil {
							t.Error("Read goes on")
						}
					}
					if err := p.c.Close(StatusNormalClosure, ""); !errors.Is(err, net.ErrClosed) {
						t.Errorf("a second Close = %v", err)
					}
					if err := p.c.CloseNow(); !errors.Is(err, net.ErrClosed) {
						t.Errorf("CloseNow after Close = %v", err)
					}
				})
			})
		}
	}
}

// Messages that come before the answer go to a reader in progress, or nowhere:
// they do not disturb the handshake.
func TestCloseWhileReading(t *testing.T) {
	lates := map[string][]wstest.Frame{
		"nothing":           nil,
		"a ping":            frames(ping("late")),
		"part of a message": frames(first(wstest.Text, "late")),
		"a message":         frames(text("late")),
		"messages":          frames(text("late"), ping("late"), text("later")),
		"many messages":     frames(text(strings.Repeat("late", 100)), binaryF(""), ping("late"), text(strings.Repeat("late", 2000)), text("")),
	}
	for name, late := range lates {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				read := start(p.readError)
				synctest.Wait()
				closed := start(func() error { return p.c.Close(StatusNormalClosure, "") })
				p.WantClose(1000)
				p.WriteFrames(append(late[:len(late):len(late)], closing(1000, ""))...)
				p.theirs.CloseWrite()
				if err := <-closed; err != nil {
					t.Errorf("Close = %v", err)
				}
				if err := <-read; !errors.Is(err, net.ErrClosed) {
					t.Errorf("Read = %v", err)
				}
				p.WantEOF()
			})
		})
	}
}

// Close and Read return within the close timeout, whatever the peer does.
func TestCloseIsBounded(t *testing.T) {
	peers := []struct {
		name string
		act  func(p *pair) // on a goroutine of its own, until the transport fails
	}{
		{"silent", func(p *pair) {}},
		{"reads, but does not answer", func(p *pair) { io.Copy(io.Discard, p.theirs) }},
		{"writes and does not read", func(p *pair) {
			for {
				if _, err := p.TryWrite(p.Encode(text("hello"), ping("p"))); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}},
		{"writes one endless message", func(p *pair) {
			p.TryWrite(p.Encode(first(wstest.Text, "")))
			for {
				if _, err := p.TryWrite(p.Encode(moreCont("more"))); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}},
		{"dribbles", func(p *pair) {
			b := p.Encode(text(strings.Repeat("x", 100)), closing(1000, ""))
			for i := range b {
				if _, err := p.TryWrite(b[i : i+1]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}},
		{"answers with half a close frame", func(p *pair) { b := p.Encode(closing(1000, "")); p.TryWrite(b[:len(b)-1]) }},
		{"answers and does not end TCP", func(p *pair) { p.TryWrite(p.Encode(closing(1000, ""))) }},
		{"answers and goes on", func(p *pair) {
			p.TryWrite(p.Encode(closing(1000, "")))
			for {
				if _, err := p.TryWrite(p.Encode(text("hello"))); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}},
		{"breaks the protocol", func(p *pair) { p.TryWrite(p.Encode(fin(3, ""))) }},
		{"sends too much", func(p *pair) { f := binaryF(""); f.Declare = 1 << 40; p.TryWrite(p.Encode(f)) }},
		{"ends TCP", func(p *pair) { p.theirs.Close() }},
		{"ends half of TCP", func(p *pair) { p.theirs.CloseWrite() }},
		{"resets TCP", func(p *pair) { p.theirs.Reset() }},
	}
	states := []struct {
		name string
		do   func(p *pair) // on a goroutine of its own, before
	}{
		{"idle", func(p *pair) {}},
		{"read in progress", func(p *pair) { p.readError() }},
		{"write in progress", func(p *pair) { p.c.Write(context.Background(), MessageText, make([]byte, 1000)) }},
		{"long write in progress", func(p *pair) { p.c.Write(context.Background(), MessageText, make([]byte, 100_000)) }},
		{"writer open", func(p *pair) {
			w, err := p.c.Writer(context.Background(), MessageText)
			if err == nil {
				w.Write(make([]byte, 10_000))
				<-p.c.life.closed()
				w.Close()
			}
		}},
		{"ping in progress", func(p *pair) { p.c.Ping(context.Background()) }},
		{"half a message read", func(p *pair) {
			if _, r, err := p.c.Reader(context.Background()); err == nil {
				r.Read(make([]byte, 1))
			}
		}},
	}
	for _, peer := range peers {
		for _, state := range states {
			for _, timeout := range []time.Duration{0, 100 * time.Millisecond, 20 * time.Second} {
				t.Run(fmt.Sprintf("%s/%s/%v", peer.name, state.name, timeout), func(t *testing.T) {
					bothRoles(t, func(t *testing.T, client bool) {
						p := newPair(t, client, connConfig{closeTimeout: timeout}, netfake.Options{A: netfake.End{Buffer: 20}})
						var wg sync.WaitGroup
						wg.Go(func() { state.do(p) })
						synctest.Wait()
						wg.Go(func() { peer.act(p) })

						want := timeout
						if timeout == 0 {
							want = 5 * time.Second
						}
						begin := time.Now()
						p.c.Close(StatusNormalClosure, "bye")
						if d := time.Since(begin); d > want {
							t.Errorf("Close took %v, want %v at most", d, want)
						}
						if err := p.readError(); err == nil || time.Since(begin) > want {
							t.Errorf("Read returned %v after %v", err, time.Since(begin))
						}
						if err := p.c.Write(context.Background(), MessageText, nil); err == nil {
							t.Error("Write succeeds")
						}
						if _, err := p.ours.Write(nil); !errors.Is(err, net.ErrClosed) {
							t.Errorf("the transport is not closed: %v", err)
						}
						p.theirs.Close()
						wg.Wait() // nothing is left behind
					})
				})
			}
		}
	}
}

// The error of Close tells whether the peer answered.
func TestCloseError(t *testing.T) {
	tests := []struct {
		name string
		peer func(p *pair)
		is   error
	}{
		{"answer", func(p *pair) { p.WriteClose(1000, ""); p.Close() }, nil},
		{"another code in the answer", func(p *pair) { p.WriteClose(4000, "no"); p.Close() }, nil},
		{"no answer", func(p *pair) {}, context.DeadlineExceeded},
		{"end of TCP without an answer", func(p *pair) { p.Close() }, io.ErrUnexpectedEOF},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				closed := start(func() error { return p.c.Close(StatusNormalClosure, "") })
				p.WantClose(1000)
				test.peer(p)
				if err := <-closed; !errors.Is(err, test.is) {
					t.Errorf("Close = %v, want %v", err, test.is)
				}
			})
		})
	}
}

// A Close that has begun before the goroutine of CloseRead gets to read is not
// cut short by it.
func TestCloseReadBehindClose(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 1}})
		closed := start(func() error { return p.c.Close(StatusPolicyViolation, "") })
		synctest.Wait() // it waits for room
		ctx := p.c.CloseRead(t.Context())
		synctest.Wait()
		if ctx.Err() != nil {
			t.Error("the context has ended before the connection")
		}
		p.WantClose(1008)
		p.WriteClose(1008, "")
		p.Close()
		if err := <-closed; err != nil {
			t.Errorf("Close = %v", err)
		}
		<-ctx.Done()
	})
}

// Close refuses a code that must not be sent (section 7.4), and closes the
// connection all the same.
func TestCloseArguments(t *testing.T) {
	tests := []struct {
		code   StatusCode
		reason string
	}{
		{0, ""}, {-1, ""}, {999, ""}, {1004, ""}, {1005, "reason"}, {1006, ""}, {1015, ""}, {1016, ""}, {2999, ""}, {5000, ""}, {65536 + 1000, ""},
		{1000, strings.Repeat("x", 124)}, {1000, "\xff"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%d %.10q", test.code, test.reason), func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				closed := start(func() error { return p.c.Close(test.code, test.reason) })
				p.WantClose(1011)
				p.WriteClose(1011, "")
				p.Close()
				if err := <-closed; err == nil {
					t.Error("Close succeeds")
				}
			})
		})
	}
}

// Both ends may begin at the same time: each takes the other's close frame for
// the answer.
func TestCloseFromBothEnds(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		p.WriteClose(1001, "mine")
		closed := start(func() error { return p.c.Close(StatusNormalClosure, "yours") })
		p.WantClose(1000)
		p.theirs.CloseWrite()
		p.WantEOF()
		if err := <-closed; err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

// Close and CloseNow may be called by any goroutine, at any time, any number of
// times. All calls return, and one close frame at most goes out.
func TestCloseManyTimes(t *testing.T) {
	for seed := range 20 {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{}, netfake.Options{})
			begin := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() { p.readError() })
			for i := range 12 {
				wg.Go(func() {
					time.Sleep(time.Duration((seed*7+i*5)%9) * time.Millisecond)
					switch (seed + i) % 5 {
					case 0:
						p.c.CloseNow()
					case 1:
						p.c.Write(context.Background(), MessageText, []byte("a"))
					default:
						p.c.Close(StatusNormalClosure, "")
					}
				})
			}
			closes := 0
			for {
				f, err := wstest.ReadFrame(p.theirs)
				if err != nil {
					break
				}
				if closes > 0 {
					t.Errorf("got %v after the close frame", f)
				}
				if f.Op == wstest.Close {
					closes++
				}
			}
			wg.Wait()
			if d := time.Since(begin); d > 6*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// CloseNow ends all that waits, at once.
func TestCloseNow(t *testing.T) {
	ctx := context.Background()
	calls := map[string]func(p *pair) error{
		"Read":        func(p *pair) error { return p.readError() },
		"ReadInto":    func(p *pair) error { _, _, err := p.c.ReadInto(ctx, nil); return err },
		"Reader":      func(p *pair) error { _, _, err := p.c.Reader(ctx); return err },
		"Write":       func(p *pair) error { return p.c.Write(ctx, MessageText, make([]byte, 100)) },
		"long Write":  func(p *pair) error { return p.c.Write(ctx, MessageText, make([]byte, 100_000)) },
		"Ping":        func(p *pair) error { return p.c.Ping(ctx) },
		"CloseRead":   func(p *pair) error { <-p.c.CloseRead(ctx).Done(); return net.ErrClosed },
		"NetConn":     func(p *pair) error { _, err := NetConn(ctx, p.c, MessageText).Read(make([]byte, 1)); return err },
		"second Read": func(p *pair) error { go p.readError(); time.Sleep(time.Nanosecond); return p.readError() },
		"Close": func(p *pair) error {
			if err := p.c.Close(StatusNormalClosure, ""); err == nil {
				return errors.New("no error, though there was no answer")
			}
			return net.ErrClosed
		},
		"second Write": func(p *pair) error {
			go p.c.Write(ctx, MessageText, make([]byte, 10_000))
			time.Sleep(time.Nanosecond)
			return p.c.Write(ctx, MessageText, make([]byte, 10_000))
		},
		"second Writer": func(p *pair) error {
			p.c.Writer(ctx, MessageText)
			_, err := p.c.Writer(ctx, MessageText)
			return err
		},
		"Messages": func(p *pair) error {
			for _, err := range p.c.Messages(ctx) {
				return err
			}
			return nil
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 3}})
				done := start(func() error { return call(p) })
				synctest.Wait()
				time.Sleep(time.Millisecond)
				if !running(done) {
					t.Fatalf("it does not wait: %v", <-done)
				}
				begin := time.Now()
				if err := p.c.CloseNow(); err != nil && name != "Close" {
					t.Errorf("CloseNow = %v", err)
				}
				if err := <-done; !errors.Is(err, net.ErrClosed) {
					t.Errorf("it fails with %v, want net.ErrClosed", err)
				}
				if d := time.Since(begin); d > 10*time.Millisecond {
					t.Errorf("it took %v", d)
				}
				if err := p.c.CloseNow(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("a second CloseNow = %v", err)
				}
			})
		})
	}
}

// Close sends its frame behind all that was written, gathered replies too.
func TestCloseFlushes(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		var send []wstest.Frame
		for range 20 {
			send = append(send, ping("p"), text("hello"))
		}
		p.WriteFrames(send...)
		for range 10 {
			if err := echoes["Read"](p.c); err != nil {
				t.Fatal(err)
			}
		}
		closed := start(func() error { return p.c.Close(StatusNormalClosure, "") })
		for range 10 {
			p.WantFrame(wstest.Pong, "p")
			p.WantFrame(wstest.Text, "hello")
		}
		p.WantClose(1000)
		p.WriteClose(1000, "")
		p.theirs.CloseWrite()
		p.WantEOF()
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// CloseNow makes an attempt to send the replies that gathered: a transport that
// takes bytes gets them all.
func TestCloseNowFlushes(t *testing.T) {
	for range 20 {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{}, netfake.Options{})
			p.WriteFrames(text("1"), text("2"), text("3"))
			for range 2 {
				if err := echoes["Read"](p.c); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.c.CloseNow(); err != nil {
				t.Error(err)
			}
			p.WantFrame(wstest.Text, "1")
			p.WantFrame(wstest.Text, "2")
			p.WantEOF()
		})
	}
}

// CloseNow makes its attempt for frames that gathered behind a writer which
// lets others run first, too: that writer does not use the wire.
func TestCloseNowFlushesBehindYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // else the yield is over too soon
	for _, link := range links {
		t.Run(link.name, func(t *testing.T) {
			lost := 0
			for range 20 {
				ours, theirs := link.make(t)
				c := newConn(connConfig{transport: ours, pingInterval: -1})
				c.w.alone = 0 // it has met others
				wrote := start(func() error {
					defer c.CloseNow()
					return c.Write(context.Background(), MessageText, []byte("last"))
				})
				c.Write(context.Background(), MessageText, []byte("first"))
				if err := <-wrote; err == nil {
					got, _ := io.ReadAll(theirs)
					if !bytes.Contains(got, []byte("last")) {
						lost++
					}
				}
				theirs.Close()
			}
			// The scheduler may let the second write run while the first is in its
			// system call, in place of the yield. Such a one may be lost.
			if lost > 10 {
				t.Errorf("%d of 20 messages are lost, though Write returned nil", lost)
			}
		})
	}
}

// A peer that ends its half of TCP, without a close frame, still gets the
// replies to what it had sent.
func TestRepliesAfterHalfClose(t *testing.T) {
	for range 20 {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{}, netfake.Options{})
			p.WriteFrames(text("1"), ping("2"), text("3"), ping("4"))
			p.theirs.CloseWrite()
			var err error
			for err == nil {
				err = echoes["Read"](p.c)
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("Read = %v", err)
			}
			p.WantFrame(wstest.Text, "1")
			p.WantFrame(wstest.Pong, "2")
			p.WantFrame(wstest.Text, "3")
			p.WantFrame(wstest.Pong, "4")
			p.WantEOF()
		})
	}
}

// The peer's close frame ends writing as well as reading, and gives writers its
// code.
func TestPeerCloses(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		ping := start(func() error { return p.c.Ping(context.Background()) })
		read := start(p.readError)
		p.ReadFrame()
		p.WriteFrames(text("not read by anybody else"), closing(4001, "enough"))
		p.WantClose(4001)
		p.Close()
		for what, err := range map[string]error{
			"Read":  <-read,
			"Ping":  <-ping,
			"Write": p.c.Write(context.Background(), MessageText, nil),
		} {
			var ce CloseError
			if !errors.As(err, &ce) || ce.Code != 4001 || ce.Reason != "enough" {
				t.Errorf("%s = %v, want close 4001 \"enough\"", what, err)
			}
		}
		if err := p.c.Close(StatusNormalClosure, ""); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close = %v, want net.ErrClosed", err)
		}
	})
}

// A peer that closes and does not end TCP does not hold up this side for long.
func TestPeerClosesAndStays(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		begin := time.Now()
		p.WriteClose(1000, "")
		if err := p.readError(); CloseStatus(err) != StatusNormalClosure {
			t.Errorf("Read = %v", err)
		}
		d := time.Since(begin)
		if !client && d != 0 {
			t.Errorf("a server took %v to end TCP, want none", d)
		}
		if d > 5*time.Second {
			t.Errorf("a client waited for %v", d)
		}
		p.WantClose(1000)
		p.WantEOF()
	})
}

// onEnd runs once, when the transport is closed, however the connection ends.
func TestOnEnd(t *testing.T) {
	ends := map[string]func(p *pair){
		"CloseNow":      func(p *pair) { p.c.CloseNow(); p.c.CloseNow() },
		"Close":         func(p *pair) { p.c.Close(StatusNormalClosure, "") },
		"peer closed":   func(p *pair) { p.WriteClose(1000, ""); p.readError() },
		"TCP ended":     func(p *pair) { p.Close(); p.readError() },
		"TCP was reset": func(p *pair) { p.theirs.Reset(); p.readError() },
		"bad frame":     func(p *pair) { p.WriteFrame(3, ""); p.readError() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				n := 0
				p.c.onEnd(func() { n++ })
				synctest.Wait()
				if n != 0 {
					t.Fatal("onEnd runs early")
				}
				end(p)
				synctest.Wait()
				if n != 1 {
					t.Errorf("onEnd ran %d times", n)
				}
				if _, err := p.ours.Write(nil); !errors.Is(err, net.ErrClosed) {
					t.Errorf("the transport is not closed: %v", err)
				}
			})
		})
	}
}

// CloseRead answers pings and ends with the connection; a data message is more
// than it is for.
func TestCloseRead(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		parent, cancel := context.WithCancel(context.WithValue(context.Background(), ctxKey{}, "value"))
		defer cancel()
		p := newPair(t, client, connConfig{}, netfake.Options{})
		ctx := p.c.CloseRead(parent)
		if ctx.Value(ctxKey{}) != "value" {
			t.Error("the context is not a child of the caller's")
		}
		if again := p.c.CloseRead(parent); again != ctx {
			t.Error("a second CloseRead gives another context")
		}
		p.WriteFrame(wstest.Ping, "p")
		p.WantFrame(wstest.Pong, "p")
		if err := p.c.Write(ctx, MessageText, []byte("a")); err != nil {
			t.Error(err)
		}
		p.WantFrame(wstest.Text, "a")
		ping := start(func() error { return p.c.Ping(ctx) })
		f := p.ReadFrame()
		p.WriteFrame(wstest.Pong, string(f.Payload))
		if err := <-ping; err != nil {
			t.Errorf("Ping = %v", err)
		}
		if ctx.Err() != nil {
			t.Fatal("the context has ended")
		}
		p.WriteClose(1000, "")
		p.WantClose(1000)
		p.Close()
		<-ctx.Done()
	})
	t.Run("message", func(t *testing.T) {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{}, netfake.Options{})
			ctx := p.c.CloseRead(context.Background())
			p.WriteFrame(wstest.Text, "unexpected")
			p.WantClose(1008)
			p.WriteClose(1008, "")
			p.Close()
			<-ctx.Done()
		})
	})
	t.Run("end of the parent", func(t *testing.T) {
		bothRoles(t, func(t *testing.T, client bool) {
			parent, cancel := context.WithCancel(context.Background())
			p := newPair(t, client, connConfig{}, netfake.Options{})
			ctx := p.c.CloseRead(parent)
			cancel()
			<-ctx.Done()
			synctest.Wait()
			if err := p.c.Write(context.Background(), MessageText, nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Write = %v, want net.ErrClosed", err)
			}
		})
	})
}

// A callback that panics on the goroutine of CloseRead ends the connection, not
// the process: the peer chooses what callbacks get. One that panics once more,
// while that connection is being closed, ends it at once.
func TestCloseReadCallbackPanics(t *testing.T) {
	for name, frame := range map[string]wstest.Frame{"OnPing": ping("a"), "OnPong": pong("a")} {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				var logged strings.Builder
				server := &http.Server{ErrorLog: log.New(&logged, "", 0)}
				p := newPair(t, client, connConfig{
					onPing: func(context.Context, []byte) bool { panic("ping") },
					onPong: func(context.Context, []byte) { panic("pong") },
				}, netfake.Options{})
				ctx := p.c.CloseRead(context.WithValue(context.Background(), http.ServerContextKey, server))
				p.WriteFrames(frame)
				p.WantClose(1011)
				p.WriteClose(1011, "")
				p.Close()
				<-ctx.Done()
				if e := p.c.End(); e.Cause != EndByClose || e.Code != StatusInternalError || !errors.Is(e.Err, net.ErrClosed) || !strings.Contains(e.Err.Error(), "panicked") {
					t.Errorf("End = %v, %v", e, e.Err)
				}
				if !strings.Contains(logged.String(), "panic serving") {
					t.Errorf("logged %q", logged.String())
				}
			})
		})
	}
	t.Run("twice", func(t *testing.T) {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{onPing: func(context.Context, []byte) bool { panic(http.ErrAbortHandler) }}, netfake.Options{})
			ctx := p.c.CloseRead(context.Background())
			p.WriteFrames(ping("a"))
			p.WantClose(1011)
			p.WriteFrames(ping("b"))
			synctest.Wait()
			if ctx.Err() == nil || !p.c.life.at().isClosed() {
				t.Error("the connection is not over")
			}
		})
	})
}

type ctxKey struct{}

// Two ends close at the same time, with more under way than the transport
// holds. Each reads while its own close frame waits, or both would wait for
// ever.
func TestCloseBothEndsStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netfake.Pipe(netfake.Options{Buffer: 64})
		ends := [2]*Conn{newConn(connConfig{transport: a}), newConn(connConfig{transport: b, client: true})}
		var writers, closers sync.WaitGroup
		for _, c := range ends {
			writers.Go(func() { c.Write(context.Background(), MessageBinary, make([]byte, 3000)) })
			writers.Go(func() { c.Write(context.Background(), MessageBinary, make([]byte, 30000)) })
		}
		synctest.Wait() // all are stuck
		begin := time.Now()
		for i, c := range ends {
			closers.Go(func() {
				if err := c.Close(StatusNormalClosure, ""); err != nil {
					t.Errorf("end %d: %v", i, err)
				}
			})
		}
		closers.Wait()
		writers.Wait()
		if took := time.Since(begin); took > 0 {
			t.Errorf("closing took %v", took)
		}
	})
}

// A read that answers a close frame, or a breach of the protocol, does so
// within its bounds. Its deadline and its context bound that. The peer here
// takes nothing, or does not end TCP.
func TestReadBoundsHoldWhileClosing(t *testing.T) {
	bounds := map[string]func(c *Conn) error{
		"deadline": func(c *Conn) error {
			c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			_, _, err := c.Read(context.Background())
			return err
		},
		"deadline, Reader": func(c *Conn) error {
			c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			_, _, err := c.Reader(context.Background())
			return err
		},
		"deadline, set later": func(c *Conn) error {
			timer := time.AfterFunc(50*time.Millisecond, func() { c.SetReadDeadline(time.Now().Add(150 * time.Millisecond)) })
			defer timer.Stop()
			_, _, err := c.Read(context.Background())
			return err
		},
		"deadline, brought forward": func(c *Conn) error {
			c.SetReadDeadline(time.Now().Add(time.Hour))
			timer := time.AfterFunc(50*time.Millisecond, func() { c.SetReadDeadline(time.Now().Add(150 * time.Millisecond)) })
			defer timer.Stop()
			_, _, err := c.Read(context.Background())
			return err
		},
		"context": func(c *Conn) error {
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			_, _, err := c.Read(ctx)
			return err
		},
	}
	for name, read := range bounds {
		for what, f := range map[string]wstest.Frame{"close frame": closing(1000, ""), "breach": {Op: 3, Fin: true}} {
			for _, stalled := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/stalled %v", name, what, stalled), func(t *testing.T) {
					bothRoles(t, func(t *testing.T, client bool) {
						p := newPair(t, client, connConfig{}, netfake.Options{})
						if stalled {
							p = stalledPair(t, client, connConfig{})
						}
						p.WriteFrames(f)
						begin := time.Now()
						if err := read(p.c); err == nil || errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("Read = %v", err)
						}
						if d := time.Since(begin); d > 210*time.Millisecond {
							t.Errorf("Read took %v, its bound is 200ms", d)
						}
					})
				})
			}
		}
	}
}

// With a read deadline that has passed, what has come is still answered.
func TestPeerClosesAfterReadDeadline(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		p.WriteFrames(text(""), closing(4001, ""))
		p.wantRead(t, MessageText, "")
		p.c.SetReadDeadline(time.Now().Add(-time.Second))
		if _, _, err := p.c.Read(context.Background()); CloseStatus(err) != 4001 {
			t.Errorf("Read = %v", err)
		}
		p.WantClose(4001)
	})
}

// The read deadline is no bound of Close, which has its own, wherever it is
// set.
func TestReadDeadlineDuringClose(t *testing.T) {
	for _, reading := range []bool{false, true} {
		t.Run(fmt.Sprintf("reading %v", reading), func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				if reading {
					p.c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
					read := start(p.readError)
					defer func() { <-read }()
				}
				closed := start(func() error { return p.c.Close(StatusNormalClosure, "") })
				p.WantClose(1000)
				p.c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
				time.Sleep(500 * time.Millisecond)
				p.WriteFrames(closing(1000, ""))
				p.theirs.CloseWrite()
				if err := <-closed; err != nil {
					t.Errorf("Close = %v", err)
				}
			})
		})
	}
}

// CloseRead reads for the library: no deadline of reads ends it.
func TestCloseReadAndDeadline(t *testing.T) {
	for name, set := range map[string]func(c *Conn) context.Context{
		"before": func(c *Conn) context.Context {
			c.SetReadDeadline(time.Now().Add(time.Second))
			return c.CloseRead(context.Background())
		},
		"after": func(c *Conn) context.Context {
			ctx := c.CloseRead(context.Background())
			synctest.Wait()
			c.SetReadDeadline(time.Now().Add(time.Second))
			return ctx
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				ctx := set(p.c)
				time.Sleep(2 * time.Second)
				if ctx.Err() != nil {
					t.Fatal("the connection has ended")
				}
				p.WriteFrames(ping("p"))
				p.WantFrame(wstest.Pong, "p")
			})
		})
	}
}

// A Write in progress keeps its deadline when a Close begins.
func TestCloseKeepsWriteDeadline(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := stalledPair(t, client, connConfig{closeTimeout: time.Hour})
		p.c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		begin := time.Now()
		written := start(func() error { return p.c.Write(context.Background(), MessageBinary, make([]byte, 1<<20)) })
		synctest.Wait()
		closed := start(func() error { return p.c.Close(StatusNormalClosure, "") })
		<-written
		if d := time.Since(begin); d > 210*time.Millisecond {
			t.Errorf("Write took %v, its deadline was in 200ms", d)
		}
		p.c.CloseNow()
		<-closed
	})
}

// Close succeeds only if the peer got the close frame: the peer's own may come
// while ours is stuck.
func TestCloseStuckBehindPeers(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := stalledPair(t, client, connConfig{})
		closed := start(func() error { return p.c.Close(StatusNormalClosure, "") })
		synctest.Wait()
		p.WriteFrames(closing(4001, ""))
		if err := <-closed; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close = %v", err)
		}
	})
}

// The bound of a read ends that read, not a Close that waits behind a message.
// The message and the close frame arrive, whichever goroutine reads the peer's
// close frame.
func TestReadBoundDuringStuckClose(t *testing.T) {
	message := strings.Repeat("m", 50_000)
	for name, read := range map[string]func(c *Conn) error{
		"context": func(c *Conn) error {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			_, _, err := c.Read(ctx)
			return err
		},
		"deadline": func(c *Conn) error {
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			_, _, err := c.Read(context.Background())
			return err
		},
		"none": func(c *Conn) error {
			_, _, err := c.Read(context.Background())
			return err
		},
	} {
		for _, shutdown := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/shutdown %v", name, shutdown), func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 1000}})
					written := start(func() error { return p.c.Write(context.Background(), MessageText, []byte(message)) })
					synctest.Wait()
					begin := time.Now()
					reading := start(func() error { return read(p.c) })
					synctest.Wait()
					var closed <-chan error
					if shutdown {
						p.c.postClose(shutDown(StatusGoingAway, ""))
					} else {
						closed = start(func() error { return p.c.Close(StatusGoingAway, "") })
					}
					synctest.Wait()
					p.WriteFrames(closing(4001, ""))
					if name != "none" {
						if err := <-reading; err == nil {
							t.Error("Read = nil")
						}
						if d := time.Since(begin); d > 100*time.Millisecond {
							t.Errorf("Read took %v", d)
						}
					}
					time.Sleep(time.Second)
					if f := p.ReadFrame(); string(f.Payload) != message {
						t.Errorf("%d bytes of the message", len(f.Payload))
					}
					p.WantClose(1001)
					p.theirs.CloseWrite()
					if err := <-written; err != nil {
						t.Errorf("Write = %v", err)
					}
					if !shutdown {
						if err := <-closed; err != nil {
							t.Errorf("Close = %v", err)
						}
					}
					<-p.c.life.closed()
					if d := time.Since(begin); d > 1200*time.Millisecond {
						t.Errorf("the connection ended after %v", d)
					}
					if name == "none" {
						<-reading
					}
				})
			})
		}
	}
}

// To writes and pings a connection that is over is a closed one, whatever ended
// it. The error says why.
func TestWriteAfterEnd(t *testing.T) {
	ends := map[string]struct {
		end func(p *pair)
		why func(err error) bool
	}{
		"the peer closes":  {func(p *pair) { p.WriteFrames(closing(4001, "bye")) }, func(err error) bool { return CloseStatus(err) == 4001 }},
		"an orderly close": {func(p *pair) { p.WriteFrames(closing(1000, "")) }, func(err error) bool { return errors.Is(err, io.EOF) }},
		"a breach":         {func(p *pair) { p.WriteFrames(wstest.Frame{Op: 3, Fin: true}) }, func(err error) bool { return strings.Contains(err.Error(), "opcode") }},
		"an abrupt end":    {func(p *pair) { p.theirs.CloseWrite() }, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
	}
	calls := map[string]func(c *Conn) error{
		"Write":       func(c *Conn) error { return c.Write(context.Background(), MessageText, []byte("hello")) },
		"Write, long": func(c *Conn) error { return c.Write(context.Background(), MessageText, make([]byte, 1<<17)) },
		"Writer":      func(c *Conn) error { _, err := c.Writer(context.Background(), MessageText); return err },
		"Ping":        func(c *Conn) error { return c.Ping(context.Background()) },
		"WritePrepared": func(c *Conn) error {
			m, _ := NewPreparedMessage(MessageText, []byte("hello"))
			return c.WritePrepared(context.Background(), m)
		},
		"Write, ended context": func(c *Conn) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return c.Write(ctx, MessageText, nil)
		},
	}
	for endName, end := range ends {
		t.Run(endName, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				waiting := start(func() error { return p.c.Ping(context.Background()) })
				p.ReadFrame()
				end.end(p)
				if client {
					p.theirs.CloseWrite()
				}
				read := p.readError()
				if errors.Is(read, net.ErrClosed) || !end.why(read) {
					t.Errorf("Read = %v", read)
				}
				for name, call := range calls {
					if err := call(p.c); !errors.Is(err, net.ErrClosed) || !end.why(err) {
						t.Errorf("%s = %v", name, err)
					}
				}
				if err := <-waiting; !errors.Is(err, net.ErrClosed) || !end.why(err) {
					t.Errorf("Ping in progress = %v", err)
				}
			})
		})
	}
}

// The number of a close frame that breaks the protocol is in the error.
func TestInvalidCloseCode(t *testing.T) {
	tests := []struct {
		name string
		f    wstest.Frame
		code StatusCode
		sent int
	}{
		{"1005", closing(1005, ""), 1005, 1002},
		{"1006", closing(1006, "gone"), 1006, 1002},
		{"1015", closing(1015, ""), 1015, 1002},
		{"0", wstest.Final(wstest.Close, "\x00\x00"), 0, 1002},
		{"5000", closing(5000, ""), 5000, 1002},
		{"long reason", wstest.Final(wstest.Close, "\x0f\xa1"+strings.Repeat("x", 124)), 4001, 1002},
		{"very long reason", wstest.Final(wstest.Close, "\x0f\xa1"+strings.Repeat("x", 70000)), 4001, 1002},
		{"reason not UTF-8", wstest.Final(wstest.Close, "\x0f\xa1\xff"), 4001, 1007},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				go p.TryWrite(p.Encode(test.f))
				read := start(p.readError)
				p.WantClose(test.sent)
				p.theirs.Close()
				err := <-read
				if !strings.Contains(err.Error(), fmt.Sprintf("code %d", test.code)) {
					t.Errorf("Read = %v, does not name code %d", err, test.code)
				}
				if errors.Is(err, io.EOF) || CloseStatus(err) != -1 {
					t.Errorf("Read = %v", err)
				}
			})
		})
	}
}

// A transport that cannot close one direction alone is not closed upon unread
// input. That would reset a socket, and the peer would not see the close frame.
func TestFailWithoutHalfClose(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		ours, theirs := netfake.Pipe(netfake.Options{})
		role := wstest.Client
		if client {
			role = wstest.Server
		}
		c := newConn(connConfig{transport: struct{ net.Conn }{ours}, client: client})
		defer c.CloseNow()
		p := wstest.NewPeer(t, theirs, role)
		p.WriteFrames(wstest.Frame{Op: 3, Fin: true})
		read := start(func() error { _, _, err := c.Read(context.Background()); return err })
		p.WantClose(1002)
		if !running(read) {
			t.Error("the connection is closed before the peer has ended it")
		}
		p.Close()
		<-read
	})
}

// Over such a transport a client may answer the close frame and wait for the
// end of TCP. The Autobahn suite waits half a second. The server ends it sooner.
func TestFailWithoutHalfCloseEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := netfake.Pipe(netfake.Options{})
		c := newConn(connConfig{transport: struct{ net.Conn }{ours}})
		defer c.CloseNow()
		p := wstest.NewPeer(t, theirs, wstest.Client)
		begin := time.Now()
		p.WriteFrames(wstest.Frame{Op: 3, Fin: true})
		go c.Read(context.Background())
		p.WantClose(1002)
		p.WriteFrames(wstest.CloseFrame(1002, ""))
		p.WantEOF()
		if d := time.Since(begin); d != lingerTimeout/4 {
			t.Errorf("the server has ended TCP after %v", d)
		}
	})
}

// The context of CloseRead bounds the closing that an unexpected message
// causes.
func TestCloseReadContextDuringClose(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{pingInterval: -1}, netfake.Options{})
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		begin := time.Now()
		p.c.CloseRead(ctx)
		p.WriteFrames(text("unexpected"))
		<-p.c.life.closed()
		if d := time.Since(begin); d > 210*time.Millisecond {
			t.Errorf("the connection ended after %v, its context after 200ms", d)
		}
	})
}

// errors.As finds a CloseError by value and by pointer: the compiler takes
// both, so both are true.
func TestCloseErrorAsPointer(t *testing.T) {
	want := CloseError{Code: 4001, Reason: "why"}
	for _, err := range []error{want, fmt.Errorf("read: %w", want), closedInside{want}, &want, fmt.Errorf("read: %w", &want)} {
		if CloseStatus(err) != 4001 {
			t.Errorf("%v: the code is %v", err, CloseStatus(err))
		}
		var v CloseError
		if !errors.As(err, &v) || v != want {
			t.Errorf("%v by value: %v", err, v)
		}
		var p *CloseError
		if !errors.As(err, &p) || *p != want {
			t.Errorf("%v by pointer: %v", err, p)
		}
	}
}

// CloseNow, and the end of the transport, cut a Close short that waits for a
// write in progress.
func TestCloseBehindStalledWriteIsCutShort(t *testing.T) {
	for _, size := range []int{10, 100_000} {
		for name, end := range map[string]func(p *pair){
			"CloseNow": func(p *pair) { p.c.CloseNow() },
			"reset":    func(p *pair) { p.theirs.Reset() },
			"end":      func(p *pair) { p.theirs.Close() },
		} {
			t.Run(fmt.Sprintf("%s/%d", name, size), func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					p := stalledPair(t, client, connConfig{closeTimeout: time.Hour})
					write := start(func() error { return p.c.Write(context.Background(), MessageText, make([]byte, size)) })
					running(write)
					begin := time.Now()
					closed := start(func() error { return p.c.Close(StatusNormalClosure, "") })
					time.Sleep(time.Second)
					end(p)
					if err := <-closed; err == nil {
						t.Error("Close = nil")
					}
					if d := time.Since(begin); d != time.Second {
						t.Errorf("Close took %v", d)
					}
					if err := <-write; err == nil {
						t.Error("Write = nil")
					}
				})
			})
		}
	}
}

// The peer's close frame comes while ours is on its way: ours still goes out
// whole, and Close succeeds.
func TestCloseFramesCross(t *testing.T) {
	for _, reading := range []bool{false, true} {
		t.Run(fmt.Sprintf("reading %v", reading), func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := stalledPair(t, client, connConfig{})
				var read <-chan error
				if reading {
					read = start(p.readError)
					running(read)
				}
				closed := start(func() error { return p.c.Close(StatusGoingAway, "ours") })
				running(closed)
				p.WriteClose(1000, "theirs")
				if !running(closed) {
					t.Errorf("Close = %v, before its frame is out", <-closed)
				}
				p.WantFrame(wstest.Text, "full")
				if reason := p.WantClose(1001); reason != "ours" {
					t.Errorf("reason %q", reason)
				}
				if client {
					p.Close()
				} else {
					p.WantEOF()
				}
				if err := <-closed; err != nil {
					t.Errorf("Close = %v", err)
				}
				if reading {
					if err := <-read; !errors.Is(err, net.ErrClosed) {
						t.Errorf("Read = %v", err)
					}
				}
			})
		})
	}
}

// A deadline that has passed, of reads or of writes, does not keep Close from
// its handshake: its own timeout bounds it.
func TestCloseAfterDeadline(t *testing.T) {
	for name, set := range map[string]func(c *Conn, t time.Time) error{
		"read": (*Conn).SetReadDeadline, "write": (*Conn).SetWriteDeadline, "both": (*Conn).SetDeadline,
	} {
		for _, d := range []time.Duration{-time.Second, time.Second} {
			t.Run(fmt.Sprintf("%s/%v", name, d), func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					p := newPair(t, client, connConfig{}, netfake.Options{})
					set(p.c, time.Now().Add(d))
					closed := start(func() error { return p.c.Close(StatusNormalClosure, "") })
					time.Sleep(2 * time.Second)
					p.WantClose(1000)
					p.WriteClose(1000, "")
					if client {
						p.Close()
					}
					if err := <-closed; err != nil {
						t.Errorf("Close = %v", err)
					}
				})
			})
		}
	}
}

// CloseNow sends the frames that have gathered, though the context of an
// earlier write has ended.
func TestCloseNowFlushesAfterEndedContext(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		ctx, cancel := context.WithCancel(context.Background())
		p.c.Write(ctx, MessageText, []byte("one"))
		cancel()
		synctest.Wait()
		p.c.w.mu.Lock()
		p.c.w.appendControlLocked(opPing, nil, true) // gathered, and no flusher on its way
		p.c.w.mu.Unlock()
		p.c.CloseNow()
		p.WantFrame(wstest.Text, "one")
		p.WantFrame(wstest.Ping, "")
	})
}

// crypto/tls says goodbye when it is closed. A peer that takes nothing must not
// make Close and CloseNow wait for that.
func TestCloseStalledTLS(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		for name, end := range map[string]struct {
			f    func(c *Conn) error
			want time.Duration
		}{
			"Close":    {func(c *Conn) error { return c.Close(StatusNormalClosure, "") }, 5 * time.Second},
			"CloseNow": {(*Conn).CloseNow, 0},
		} {
			p, fill := tlsPair(t, client, connConfig{}, 1000)
			fill()
			begin := time.Now()
			end.f(p.c)
			if d := time.Since(begin); d > end.want+100*time.Millisecond {
				t.Errorf("%s took %v, want %v", name, d, end.want)
			}
		}
	})
}
