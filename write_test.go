package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// frameSize is the size of a frame that the Conn sends.
func (p *pair) frameSize(payload int) int {
	n := 2 + payload
	switch {
	case payload > 65535:
		n += 8
	case payload > 125:
		n += 2
	}
	if p.client {
		n += 4
	}
	return n
}

// Every message is one frame, in the shortest form, masked as the role demands;
// a short one is one write.
func TestWrite(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{Buffer: 4 << 20})
		for _, size := range []int{0, 1, 2, 124, 125, 126, 127, 1000, 4000, 4096, 4097, 65535, 65536, 65537, 1<<20 + 1, 3 << 20} {
			for _, typ := range []MessageType{MessageText, MessageBinary} {
				msg := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
				keep := string(msg)
				writes := p.ours.Stats().Writes
				if err := p.c.Write(context.Background(), typ, msg); err != nil {
					t.Fatal(err)
				}
				if string(msg) != keep {
					t.Fatalf("Write of %d bytes has changed the caller's slice", size)
				}
				if got := p.theirs.Buffered(); got < size+2 {
					t.Fatalf("Write of %d bytes returned when %d were on the wire", size, got)
				}
				if writes = p.ours.Stats().Writes - writes; writes != 1 && size <= 4<<10 {
					t.Errorf("message of %d bytes took %d writes", size, writes)
				}
				p.WantFrame(wstest.Opcode(typ), keep)
			}
		}
		if err := p.c.Write(context.Background(), MessageType(3), nil); err == nil {
			t.Error("Write takes a message type that does not exist")
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := p.c.Write(ctx, MessageText, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Write with an ended context: %v", err)
		}
		p.WantIdle()
	})
}

// Any number of goroutines may write: no frames are interleaved, none is lost,
// and those of one goroutine stay in order.
func TestConcurrentWriters(t *testing.T) {
	for _, c := range []struct{ buffer, limit int }{{1 << 20, 1000}, {100, 1000}, {100, 0}, {7, 1000}, {7, -1}} {
		t.Run(fmt.Sprintf("buffer %d, limit %d", c.buffer, c.limit), func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{writeBufferLimit: c.limit}, netfake.Options{Buffer: c.buffer})
				const writers, messages = 12, 20
				pm, err := NewPreparedMessage(MessageText, []byte("prepared"))
				if err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				for i := range writers {
					wg.Go(func() {
						ctx, cancel := context.WithCancel(context.Background())
						defer cancel()
						for j := range messages {
							msg := fmt.Sprintf("%d %d %s", i, j, strings.Repeat("x", (i*j*37)%5000))
							var err error
							switch (i + j) % 4 {
							case 0:
								err = p.c.Write(ctx, MessageText, []byte(msg))
							case 1:
								err = p.c.Write(context.Background(), MessageText, []byte(msg))
							case 2:
								w, werr := p.c.Writer(ctx, MessageText)
								if werr != nil {
									t.Error(werr)
									return
								}
								w.Write([]byte(msg[:len(msg)/2]))
								w.Write([]byte(msg[len(msg)/2:]))
								err = w.Close()
							case 3:
								err = p.c.Write(ctx, MessageText, []byte(msg))
								if err == nil {
									err = p.c.WritePrepared(ctx, pm)
								}
							}
							if err != nil {
								t.Error(err)
								return
							}
						}
					})
				}
				next := make([]int, writers)
				prepared := 0
				for got := 0; got < writers*messages; {
					var msg []byte
					for {
						f := p.ReadFrame()
						if want := wstest.Text; len(msg) > 0 && f.Op == want || f.Op > want {
							t.Fatalf("got %v inside a message", f)
						}
						msg = append(msg, f.Payload...)
						if f.Fin {
							break
						}
					}
					if string(msg) == "prepared" {
						prepared++
						continue
					}
					got++
					var i, j int
					if _, err := fmt.Sscan(string(msg), &i, &j); err != nil || next[i] != j {
						t.Fatalf("got message %d of writer %d (%v), want %d", j, i, err, next[i])
					}
					if want := (i * j * 37) % 5000; len(msg) != len(fmt.Sprintf("%d %d ", i, j))+want {
						t.Fatalf("message %d of writer %d has %d bytes", j, i, len(msg))
					}
					next[i]++
				}
				for prepared < writers*messages/4 {
					p.WantFrame(wstest.Text, "prepared")
					prepared++
				}
				wg.Wait()
				p.WantIdle()
			})
		})
	}
}

// A write that is given up before the first byte of its frame is out was never
// made, and the connection lives on. One that is cut inside its frame ends the
// connection.
func TestWriteGivenUp(t *testing.T) {
	giveUp := []struct {
		name  string
		write func(c *Conn, msg string) error // gives up after a second
		err   error
	}{
		{"context", func(c *Conn, msg string) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return c.Write(ctx, MessageText, []byte(msg))
		}, context.DeadlineExceeded},
		{"cancelled", func(c *Conn, msg string) error {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			return c.Write(ctx, MessageText, []byte(msg))
		}, context.Canceled},
		{"deadline", func(c *Conn, msg string) error {
			c.SetWriteDeadline(time.Now().Add(time.Second))
			defer c.SetWriteDeadline(time.Time{})
			return c.Write(context.Background(), MessageText, []byte(msg))
		}, os.ErrDeadlineExceeded},
		{"deadline set meanwhile", func(c *Conn, msg string) error {
			time.AfterFunc(time.Millisecond, func() { c.SetWriteDeadline(time.Now().Add(time.Second - time.Millisecond)) })
			defer c.SetWriteDeadline(time.Time{})
			return c.Write(context.Background(), MessageText, []byte(msg))
		}, os.ErrDeadlineExceeded},
	}
	for _, test := range giveUp {
		for _, size := range []int{10, 100, 5000, 100_000} {
			t.Run(fmt.Sprintf("%s/%d/nothing out", test.name, size), func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					first := strings.Repeat("1", 50)
					room := (&pair{client: client}).frameSize(len(first))
					p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: room}})
					if err := p.c.Write(context.Background(), MessageText, []byte(first)); err != nil {
						t.Fatal(err)
					}
					begin := time.Now()
					if err := test.write(p.c, strings.Repeat("2", size)); !errors.Is(err, test.err) {
						t.Fatalf("Write = %v, want %v", err, test.err)
					}
					if d := time.Since(begin); d != time.Second {
						t.Errorf("Write took %v, want 1s", d)
					}
					p.WantFrame(wstest.Text, first)
					p.WantIdle()
					if err := p.c.Write(context.Background(), MessageText, []byte("3")); err != nil {
						t.Fatalf("the next Write: %v", err)
					}
					p.WantFrame(wstest.Text, "3")
					p.WriteFrame(wstest.Ping, "p")
					read := start(p.readError)
					p.WantFrame(wstest.Pong, "p")
					p.c.CloseNow()
					<-read
				})
			})
			t.Run(fmt.Sprintf("%s/%d/cut", test.name, size), func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 9}})
					read := start(p.readError)
					err := test.write(p.c, strings.Repeat("2", size))
					if !errors.Is(err, test.err) {
						t.Fatalf("Write = %v, want %v", err, test.err)
					}
					for range 3 {
						again := p.c.Write(context.Background(), MessageText, []byte("3"))
						if again == nil {
							t.Fatal("a Write after one that was cut short succeeds")
						}
					}
					if err := <-read; err == nil {
						t.Error("Read goes on")
					}
					if n := p.theirs.Buffered(); n != 9 {
						t.Errorf("%d bytes are on the wire, want 9", n)
					}
					if _, err := p.theirs.Read(make([]byte, 100)); err != nil {
						t.Error(err)
					}
					p.WantEOF()
				})
			})
		}
	}
}

// Writers that find the buffer at its bound wait, each for its own context;
// what is given up was never sent, all else arrives.
func TestWriteBufferLimit(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		const limit = 1000
		p := newPair(t, client, connConfig{writeBufferLimit: limit}, netfake.Options{A: netfake.End{Buffer: 9}})
		blocked := start(func() error { return p.c.Write(context.Background(), MessageText, []byte("the first one")) })
		if !running(blocked) {
			t.Fatal("a Write into a full transport returns")
		}
		const writers = 100
		var wg sync.WaitGroup
		errs := make([]error, writers)
		for i := range writers {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				errs[i] = p.c.Write(ctx, MessageText, fmt.Appendf(nil, "message %02d %s", i, strings.Repeat("x", 30)))
			})
		}
		wg.Wait()
		taken := 0
		for i, err := range errs {
			if err == nil {
				taken++
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("writer %d: %v", i, err)
			}
		}
		if size := p.frameSize(41); taken > limit/size || taken < limit/(size+maxHeaderSize) {
			t.Errorf("%d messages of %d bytes were taken with a limit of %d", taken, size, limit)
		}
		p.WantFrame(wstest.Text, "the first one")
		for range taken {
			f := p.ReadFrame()
			var i int
			if _, err := fmt.Sscanf(string(f.Payload), "message %d", &i); err != nil || errs[i] != nil {
				t.Errorf("got %v, whose Write failed with %v", f, errs[i])
			}
		}
		if err := <-blocked; err != nil {
			t.Error(err)
		}
		p.WantIdle()
		if err := p.c.Write(context.Background(), MessageText, []byte("9")); err != nil {
			t.Error(err)
		}
		p.WantFrame(wstest.Text, "9")
	})
}

// A negative limit is none: writers never wait for more than the wire.
func TestWriteBufferUnlimited(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{writeBufferLimit: -1}, netfake.Options{A: netfake.End{Buffer: 9}})
		blocked := start(func() error { return p.c.Write(context.Background(), MessageText, []byte("the first one")) })
		running(blocked)
		const n = 1000
		msg := strings.Repeat("0123456789", 100)
		for range n {
			if err := p.c.Write(context.Background(), MessageText, []byte(msg)); err != nil {
				t.Fatal(err)
			}
		}
		p.WantFrame(wstest.Text, "the first one")
		for range n {
			p.WantFrame(wstest.Text, msg)
		}
		if err := <-blocked; err != nil {
			t.Error(err)
		}
		p.WantIdle()
	})
}

// The memory of a Conn whose peer does not read is bounded, however many write.
func TestStalledPeerTakesNoMemory(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 9}})
		blocked := start(func() error { return p.c.Write(context.Background(), MessageText, []byte("the first one")) })
		running(blocked)
		msg := make([]byte, 1000)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		got := allocated(func() {
			for {
				if err := p.c.Write(ctx, MessageBinary, msg); err != nil {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					return
				}
			}
		})
		if got > 1<<20 {
			t.Errorf("%d KiB were allocated for messages that cannot be sent", got>>10)
		}
		p.c.CloseNow()
		<-blocked
	})
}

func TestWriter(t *testing.T) {
	ctx := context.Background()
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{Buffer: 1 << 20})
		for _, parts := range [][]string{nil, {""}, {"hello"}, {"hel", "", "lo"}, {strings.Repeat("x", 10_000)}, strings.SplitAfter(strings.Repeat("streaming ", 20_000), " ")} {
			w, err := p.c.Writer(ctx, MessageText)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range parts {
				if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
					t.Fatalf("Write = %d, %v; want %d", n, err, len(part))
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			p.WantMessage(wstest.Text, strings.Join(parts, ""))
			if n, err := w.Write([]byte("x")); n != 0 || err == nil {
				t.Errorf("Write after Close = %d, %v", n, err)
			}
			if err := w.Close(); err == nil {
				t.Error("a second Close succeeds")
			}
		}
		// Errors do not leave the connection locked.
		if _, err := p.c.Writer(ctx, MessageType(0)); err == nil {
			t.Error("Writer takes a message type that does not exist")
		}
		if err := p.c.Write(ctx, MessageText, []byte("a")); err != nil {
			t.Error(err)
		}
		p.WantFrame(wstest.Text, "a")
		p.WantIdle()
	})
}

// While a Writer's message is unfinished other messages wait, and control
// frames do not.
func TestWriterInterleaved(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		ctx := context.Background()
		p := newPair(t, client, connConfig{}, netfake.Options{Buffer: 1 << 20})
		read := start(p.readError)
		w, err := p.c.Writer(ctx, MessageText)
		if err != nil {
			t.Fatal(err)
		}
		long := strings.Repeat("x", 20_000)
		if _, err := w.Write([]byte(long)); err != nil {
			t.Fatal(err)
		}
		write := start(func() error { return p.c.Write(ctx, MessageText, []byte("other")) })
		writer := start(func() error {
			w, err := p.c.Writer(ctx, MessageText)
			if err == nil {
				err = w.Close()
			}
			return err
		})
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := p.c.Write(short, MessageText, []byte("given up")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Write while a Writer is open: %v", err)
		}
		if !running(write) || !running(writer) {
			t.Fatal("another message does not wait for the Writer")
		}
		p.WriteFrame(wstest.Ping, "p")
		ping := start(func() error { return p.c.Ping(ctx) })
		synctest.Wait()
		var message []byte
		pongs, pings := 0, 0
		for pongs == 0 || pings == 0 {
			switch f := p.ReadFrame(); f.Op {
			case wstest.Pong:
				pongs++
			case wstest.Ping:
				pings++
				p.WriteFrame(wstest.Pong, string(f.Payload))
			default:
				if f.Fin {
					t.Fatalf("got %v", f)
				}
				message = append(message, f.Payload...)
			}
		}
		if err := <-ping; err != nil {
			t.Error(err)
		}
		w.Write([]byte("end"))
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		for {
			f := p.ReadFrame()
			message = append(message, f.Payload...)
			if f.Fin {
				break
			}
		}
		if string(message) != long+"end" {
			t.Errorf("got %s", wstest.Quote(message))
		}
		if err := <-write; err != nil {
			t.Error(err)
		}
		if err := <-writer; err != nil {
			t.Error(err)
		}
		if a, b := p.ReadFrame(), p.ReadFrame(); len(a.Payload)+len(b.Payload) != len("other") {
			t.Errorf("got %v and %v", a, b)
		}
		p.c.CloseNow()
		<-read
	})
}

// A Writer whose context ends before anything was sent has sent nothing. Once a
// fragment is out the connection ends with it, because the message can never be
// finished.
func TestWriterCancelled(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{Buffer: 1 << 20})
		ctx, cancel := context.WithCancel(context.Background())
		w, err := p.c.Writer(ctx, MessageText)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("short"))
		cancel()
		if err := w.Close(); !errors.Is(err, context.Canceled) {
			t.Errorf("Close = %v", err)
		}
		p.WantIdle()
		if err := p.c.Write(context.Background(), MessageText, []byte("a")); err != nil {
			t.Fatal(err)
		}
		p.WantFrame(wstest.Text, "a")

		ctx, cancel = context.WithCancel(context.Background())
		w, err = p.c.Writer(ctx, MessageText)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(make([]byte, 20_000))
		p.ReadFrame()
		cancel()
		if _, err := w.Write([]byte("more")); !errors.Is(err, context.Canceled) {
			t.Errorf("Write = %v", err)
		}
		if err := w.Close(); !errors.Is(err, context.Canceled) {
			t.Errorf("Close = %v", err)
		}
		if err := p.c.Write(context.Background(), MessageText, []byte("a")); err == nil {
			t.Error("another message follows one that was not finished")
		}
	})
}

// Replies to messages that came together go out together.
func TestAutoCork(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{Buffer: 1 << 20})
		const n = 500
		var send []wstest.Frame
		for i := range n {
			send = append(send, text(fmt.Sprintf("%03d", i)))
		}
		p.WriteFrames(send...)
		loop := start(func() error {
			for {
				if err := echoes["Read"](p.c); err != nil {
					return err
				}
			}
		})
		for i := range n {
			p.WantFrame(wstest.Text, fmt.Sprintf("%03d", i))
		}
		if writes := p.ours.Stats().Writes; writes >= n/2 {
			t.Errorf("%d replies took %d writes", n, writes)
		}
		// A message that comes alone is answered at once.
		for range 3 {
			writes := p.ours.Stats().Writes
			p.WriteFrame(wstest.Text, "one")
			p.WantFrame(wstest.Text, "one")
			if writes = p.ours.Stats().Writes - writes; writes != 1 {
				t.Errorf("one reply took %d writes", writes)
			}
		}
		p.c.CloseNow()
		<-loop
	})
}

// A reply that gathers, because more messages are at hand, is never stranded:
// it goes out though the handler does nothing more.
func TestReplyIsNotStranded(t *testing.T) {
	tests := []struct {
		name  string
		send  []wstest.Frame
		serve func(c *Conn)
		want  []wstest.Frame
	}{
		{"one of three messages", frames(text("1"), text("2"), text("3")), func(c *Conn) { echoes["Read"](c) }, frames(text("1"))},
		{"two of three messages", frames(text("1"), text("2"), text("3")), func(c *Conn) { echoes["Read"](c); echoes["Read"](c) }, frames(text("1"), text("2"))},
		{"from a Reader that is not read", frames(text("1"), text("2"), text("3")), func(c *Conn) {
			c.Reader(context.Background())
			c.Write(context.Background(), MessageText, []byte("reply"))
		}, frames(text("reply"))},
		{"from Messages", frames(text("1"), text("2"), text("3")), func(c *Conn) {
			for m := range c.Messages(context.Background()) {
				c.Write(context.Background(), m.Type, m.Data)
				break
			}
		}, frames(text("1"))},
		{"pongs before the message", frames(ping("1"), ping("2"), text("3"), ping("4"), text("5")), func(c *Conn) { c.Read(context.Background()) },
			frames(pong("1"), pong("2"))},
		{"pongs and a reply", frames(ping("1"), text("2"), text("3")), func(c *Conn) { echoes["Read"](c) }, frames(pong("1"), text("2"))},
		{"a pong inside a message", frames(first(wstest.Text, "1"), ping("p"), cont("2"), text("3")), func(c *Conn) { c.Read(context.Background()) }, frames(pong("p"))},
		{"a pong inside a message that is not finished", frames(first(wstest.Text, "1"), ping("p")), func(c *Conn) { c.Read(context.Background()) }, frames(pong("p"))},
	}
	for _, test := range tests {
		for _, cut := range []string{"one packet", "one packet and a half"} {
			t.Run(test.name+"/"+cut, func(t *testing.T) {
				bothRoles(t, func(t *testing.T, client bool) {
					p := newPair(t, client, connConfig{}, netfake.Options{})
					b := p.Encode(test.send...)
					if cut != "one packet" {
						f := binaryF("more that does not come to its end")
						if last := test.send[len(test.send)-1]; last.Op == wstest.Ping {
							f.Op = wstest.Continuation
						}
						more := p.Encode(f)
						b = append(b, more[:len(more)-3]...)
					}
					p.WriteRaw(b)
					stop := make(chan struct{})
					t.Cleanup(func() { close(stop) })
					go func() {
						test.serve(p.c)
						<-stop // no more calls
					}()
					for _, f := range test.want {
						p.WantFrame(f.Op, string(f.Payload))
					}
					p.WantIdle()
				})
			})
		}
	}
}

// writeFragment writes fragmentSize+1 bytes to w, which sends all but the last,
// in a frame that is not too long to gather.
func writeFragment(w io.Writer) error {
	_, err := io.WriteString(w, "a")
	if err == nil {
		_, err = io.WriteString(w, strings.Repeat("a", fragmentSize))
	}
	return err
}

// A write that is given up restores the state before it, but not the state of
// the writers that have gone on meanwhile. A message that was begun behind it
// goes on with continuation frames. A message that was finished behind it is
// not continued.
func TestGivenUpWriteLeavesFragmentsAlone(t *testing.T) {
	giveUp := map[string]func(c *Conn, ctx context.Context) error{
		"short": func(c *Conn, ctx context.Context) error { return c.Write(ctx, MessageText, []byte("given up")) },
		"long":  func(c *Conn, ctx context.Context) error { return c.Write(ctx, MessageText, make([]byte, 50_000)) },
		"ping":  func(c *Conn, ctx context.Context) error { return c.Ping(ctx) },
	}
	for name, write := range giveUp {
		t.Run(name+"/before a message", func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := stalledPair(t, client, connConfig{})
				ctx, cancel := context.WithCancel(context.Background())
				given := start(func() error { return write(p.c, ctx) })
				running(given)
				w, err := p.c.Writer(context.Background(), MessageText)
				if err != nil {
					t.Fatal(err)
				}
				if err := writeFragment(w); err != nil {
					t.Fatal(err)
				}
				cancel()
				if err := <-given; !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				done := start(w.Close)
				p.WantFrame(wstest.Text, "full")
				p.WantMessage(wstest.Text, strings.Repeat("a", fragmentSize+1))
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
	t.Run("ping/inside a message", func(t *testing.T) {
		bothRoles(t, func(t *testing.T, client bool) {
			p := stalledPair(t, client, connConfig{})
			p.WantFrame(wstest.Text, "full")
			w, err := p.c.Writer(context.Background(), MessageText)
			if err != nil {
				t.Fatal(err)
			}
			begun := start(func() error { return writeFragment(w) })
			if f := p.ReadFrame(); f.Fin || f.Op != wstest.Text || <-begun != nil {
				t.Fatalf("got %v", f)
			}
			p.c.t.conn.Write(make([]byte, p.frameSize(len("full")))) // the transport is full again
			ctx, cancel := context.WithCancel(context.Background())
			given := start(func() error { return p.c.Ping(ctx) })
			running(given)
			if err := w.Close(); err != nil { // gathers
				t.Fatal(err)
			}
			cancel()
			<-given
			next := start(func() error { return p.c.Write(context.Background(), MessageText, []byte("next")) })
			io.ReadFull(p.theirs, make([]byte, p.frameSize(len("full"))))
			if f := p.ReadFrame(); f.Op != wstest.Continuation || !f.Fin {
				t.Fatalf("got %v", f)
			}
			p.WantFrame(wstest.Text, "next")
			if err := <-next; err != nil {
				t.Error(err)
			}
		})
	})
}

// A writer that waits for the wire has frames of others. They go out, though it
// must then wait for another's message.
func TestGatheredGoesOutWhenItsWriterMustWait(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := stalledPair(t, client, connConfig{})
		one := start(func() error { return p.c.Write(context.Background(), MessageText, []byte("one")) })
		running(one)
		long := start(func() error { return p.c.Write(context.Background(), MessageText, make([]byte, gatherMax+1)) })
		running(long)
		if err := p.c.Write(context.Background(), MessageText, []byte("two")); err != nil {
			t.Fatal(err)
		}
		w, err := p.c.Writer(context.Background(), MessageText)
		if err != nil {
			t.Fatal(err)
		}
		p.WantFrame(wstest.Text, "full")
		p.WantFrame(wstest.Text, "one")
		p.WantFrame(wstest.Text, "two")
		if !running(long) {
			t.Fatal("a message goes out while another is not finished")
		}
		closed := start(w.Close)
		p.WantFrame(wstest.Text, "")
		p.WantFrame(wstest.Text, string(make([]byte, gatherMax+1)))
		<-closed
	})
}

// A long message goes out behind however much has gathered.
func TestLongMessageBehindMuchGathered(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := stalledPair(t, client, connConfig{writeBufferLimit: -1})
		one := start(func() error { return p.c.Write(context.Background(), MessageText, []byte("one")) })
		running(one)
		long := start(func() error { return p.c.Write(context.Background(), MessageText, make([]byte, 300_000)) })
		running(long)
		small := strings.Repeat("s", 4000)
		for range 50 {
			if err := p.c.Write(context.Background(), MessageText, []byte(small)); err != nil {
				t.Fatal(err)
			}
		}
		p.WantFrame(wstest.Text, "full")
		p.WantFrame(wstest.Text, "one")
		for range 50 {
			p.WantFrame(wstest.Text, small)
		}
		p.WantFrame(wstest.Text, string(make([]byte, 300_000)))
	})
}

// Only the write that was cut short is told of its context or deadline. To all
// other calls the connection is over: an error that matched theirs would tell a
// reader that it may go on.
func TestCutWriteEndsOtherCalls(t *testing.T) {
	cut := map[string]func(c *Conn) error{
		"context": func(c *Conn) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return c.Write(ctx, MessageText, []byte("cut short"))
		},
		"deadline": func(c *Conn) error {
			c.SetWriteDeadline(time.Now().Add(time.Second))
			return c.Write(context.Background(), MessageText, []byte("cut short"))
		},
		"writer": func(c *Conn) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			w, err := c.Writer(ctx, MessageText)
			if err != nil {
				return err
			}
			w.Write(make([]byte, 10_000))
			return w.Close()
		},
	}
	for name, cut := range cut {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 9}})
				read := start(p.readError)
				if err := cut(p.c); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the write = %v", err)
				}
				for call, err := range map[string]error{
					"Read in progress": <-read,
					"Read":             p.readError(),
					"Write":            p.c.Write(context.Background(), MessageText, nil),
					"Ping":             p.c.Ping(context.Background()),
				} {
					if !errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("%s = %v, want an error that matches net.ErrClosed alone", call, err)
					}
				}
			})
		})
	}
}

// A transport that a cut write ruins, as crypto/tls is, must not be given a
// write whose time is over already.
func TestWriteAfterDeadlineTLS(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p, _ := tlsPair(t, client, connConfig{}, 1000)
		for _, size := range []int{1, 5000} {
			p.c.SetWriteDeadline(time.Now().Add(-time.Second))
			if err := p.c.Write(context.Background(), MessageText, make([]byte, size)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Write = %v", err)
			}
			p.c.SetWriteDeadline(time.Time{})
			done := start(func() error { return p.c.Write(context.Background(), MessageText, []byte("next")) })
			p.WantFrame(wstest.Text, "next")
			if err := <-done; err != nil {
				t.Errorf("the next Write = %v", err)
			}
		}
	})
}

// Replies gather only while the reader has messages at hand, not while it waits
// for the rest of what it has begun.
func TestWriteIsNotGatheredWhileReaderWaits(t *testing.T) {
	for name, begun := range map[string][]wstest.Frame{
		"pong":     frames(wstest.Final(wstest.Pong, "unsolicited")),
		"fragment": frames(first(wstest.Text, "a")),
	} {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{Buffer: 1}})
				p.WriteFrames(append(frames(text("one")), begun...)...)
				p.wantRead(t, MessageText, "one")
				read := start(p.readError)
				running(read)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if err := p.c.Write(ctx, MessageText, []byte("two")); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Write into a full transport = %v, want a deadline's error", err)
				}
				p.c.CloseNow()
				<-read
			})
		})
	}
}

// muteContext is done and does not say why, against the rules of
// context.Context.
type muteContext struct{ context.Context }

func (c muteContext) Err() error { return nil }

// No call takes a context that breaks the rules for success, or breaks down.
func TestMuteContext(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := stalledPair(t, client, connConfig{writeBufferLimit: 1})
		done, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, cancel)
		ctx := muteContext{done}
		read := start(p.readError)
		running(read)
		long := start(func() error { return p.c.Write(context.Background(), MessageText, make([]byte, 10_000)) })
		running(long)
		calls := map[string]<-chan error{
			"Read":       start(func() error { _, _, err := p.c.Read(ctx); return err }),
			"long Write": start(func() error { return p.c.Write(ctx, MessageText, make([]byte, 10_000)) }),
			"Ping":       start(func() error { return p.c.Ping(ctx) }),
		}
		for name, call := range calls {
			if err := <-call; !errors.Is(err, context.Canceled) {
				t.Errorf("%s = %v", name, err)
			}
		}
		p.c.CloseNow()
		<-read
		<-long
	})
}
