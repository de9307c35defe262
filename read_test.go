package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A Read that is cancelled while it waits costs nothing: the next one gets the
// message.
func TestReadCancelledBetweenMessages(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		for i := range 3 {
			ctx, cancel := context.WithCancel(context.Background())
			read := start(func() error { _, _, err := p.c.Read(ctx); return err })
			if !running(read) {
				t.Fatalf("Read does not wait: %v", <-read)
			}
			cancel()
			if err := <-read; !errors.Is(err, context.Canceled) {
				t.Fatalf("Read = %v, want context.Canceled", err)
			}
			ctx, cancel = context.WithTimeout(context.Background(), time.Second)
			if _, _, err := p.c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Read = %v, want context.DeadlineExceeded", err)
			}
			cancel()
			msg := fmt.Sprint("message ", i)
			p.WriteFrame(wstest.Text, msg)
			p.wantRead(t, MessageText, msg)
			p.WantIdle()
		}
	})
}

// A Read that is cancelled at any byte of the stream loses nothing: the next
// one goes on where it stood.
func TestReadCancelledInsideMessage(t *testing.T) {
	reads := map[string]func(*Conn, context.Context) (MessageType, []byte, error){
		"Read":     func(c *Conn, ctx context.Context) (MessageType, []byte, error) { return c.Read(ctx) },
		"ReadInto": func(c *Conn, ctx context.Context) (MessageType, []byte, error) { return c.ReadInto(ctx, nil) },
		"ReadInto a buffer that is used again": func() func(*Conn, context.Context) (MessageType, []byte, error) {
			buf := make([]byte, 300)
			return func(c *Conn, ctx context.Context) (MessageType, []byte, error) {
				clear(buf) // it is the caller's between calls
				return c.ReadInto(ctx, buf)
			}
		}(),
		"Messages": func(c *Conn, ctx context.Context) (MessageType, []byte, error) {
			for m, err := range c.Messages(ctx) {
				return m.Type, append([]byte(nil), m.Data...), err
			}
			return 0, nil, errors.New("nothing")
		},
	}
	long := strings.Repeat("0123456789", 20)
	send := frames(text("€uro"), first(wstest.Text, "frag€"), ping("between"), moreCont(""), cont("ment"), binaryF(long), text(""), text("end"))
	want := []Message{{MessageText, []byte("€uro")}, {MessageText, []byte("frag€ment")}, {MessageBinary, []byte(long)}, {MessageText, nil}, {MessageText, []byte("end")}}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				var got []Message
				for i, b := range p.Encode(send...) {
					p.WriteRaw([]byte{b})
					// Read all that there is, and be cancelled while waiting
					// for more.
					for {
						ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
						typ, data, err := read(p.c, ctx)
						cancel()
						if err == nil {
							got = append(got, Message{typ, append([]byte(nil), data...)})
							continue
						}
						if !errors.Is(err, context.DeadlineExceeded) {
							t.Fatalf("after byte %d: %v", i, err)
						}
						break
					}
				}
				if len(got) != len(want) {
					t.Fatalf("got %d messages, want %d: %q", len(got), len(want), got)
				}
				for i := range want {
					if got[i].Type != want[i].Type || !bytes.Equal(got[i].Data, want[i].Data) {
						t.Errorf("message %d is %v %q, want %v %q", i, got[i].Type, got[i].Data, want[i].Type, want[i].Data)
					}
				}
				p.WantFrame(wstest.Pong, "between")
			})
		})
	}
}

// A context that has ended already reads nothing, and loses nothing.
func TestReadWithEndedContext(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		p.WriteFrame(wstest.Text, "a")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for range 2 {
			if _, _, err := p.c.Read(ctx); !errors.Is(err, context.Canceled) {
				t.Fatalf("Read = %v, want context.Canceled", err)
			}
			if _, _, err := p.c.Reader(ctx); !errors.Is(err, context.Canceled) {
				t.Fatalf("Reader = %v, want context.Canceled", err)
			}
		}
		p.wantRead(t, MessageText, "a")
		p.WriteFrame(wstest.Text, "b")
		p.wantRead(t, MessageText, "b")
	})
}

// A context that ends after its Read has returned does not touch later ones.
func TestReadContextEndsLater(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		ctx, cancel := context.WithCancel(context.Background())
		p.WriteFrame(wstest.Text, "a")
		if _, _, err := p.c.Read(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		read := start(func() error { _, _, err := p.c.Read(context.Background()); return err })
		if !running(read) {
			t.Fatalf("Read with another context does not wait: %v", <-read)
		}
		p.WriteFrame(wstest.Text, "b")
		if err := <-read; err != nil {
			t.Errorf("Read = %v", err)
		}
	})
}

// A read deadline ends reads in progress and later ones, loses nothing, and is
// lifted by another.
func TestReadDeadline(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{pingInterval: -1}, netfake.Options{}) // the peer answers nothing
		stream := p.Encode(text("hello"))
		p.WriteRaw(stream[:len(stream)-2])

		begin := time.Now()
		read := start(func() error { _, _, err := p.c.Read(context.Background()); return err })
		if !running(read) {
			t.Fatalf("Read does not wait: %v", <-read)
		}
		p.c.SetReadDeadline(time.Now().Add(time.Second))
		for i := range 3 {
			err := <-read
			var timeout interface{ Timeout() bool }
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Fatalf("Read %d past its deadline = %v, want os.ErrDeadlineExceeded", i, err)
			}
			if d := time.Since(begin); d != time.Second {
				t.Errorf("Read %d returned after %v, want 1s", i, d)
			}
			read = start(func() error { _, _, err := p.c.Read(context.Background()); return err })
		}
		<-read
		// A context that ends earlier comes first; one that ends later does not
		// put the deadline off.
		p.c.SetReadDeadline(time.Now().Add(time.Minute))
		for _, limit := range []time.Duration{time.Second, time.Hour} {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			begin, want := time.Now(), context.DeadlineExceeded
			if limit == time.Hour {
				want = os.ErrDeadlineExceeded
			}
			if _, _, err := p.c.Read(ctx); !errors.Is(err, want) {
				t.Errorf("Read = %v, want %v", err, want)
			}
			if d := time.Since(begin); d > time.Minute {
				t.Errorf("Read returned after %v", d)
			}
			cancel()
		}
		p.c.SetReadDeadline(time.Time{})
		p.WriteRaw(stream[len(stream)-2:])
		p.wantRead(t, MessageText, "hello")

		// Writing has a deadline of its own.
		p.c.SetReadDeadline(time.Now().Add(-1))
		if err := p.c.Write(context.Background(), MessageText, []byte("a")); err != nil {
			t.Errorf("Write past the read deadline: %v", err)
		}
		p.WantFrame(wstest.Text, "a")
	})
}

// The next read discards the part of a message that the caller left unread. The
// frames in between are answered, and the text is still checked, but not kept.
func TestAbandonedMessage(t *testing.T) {
	tests := []struct {
		name   string
		frames []wstest.Frame
		read   int // bytes that are read of it
	}{
		{"one frame", frames(text("hello world")), 3},
		{"nothing read", frames(text("hello world")), 0},
		{"all bytes read, but not the end", frames(text("hello world")), 11},
		{"all of the first fragment", frames(first(wstest.Text, "hello"), cont(" world")), 5},
		{"fragments", frames(first(wstest.Text, "hello"), moreCont(" "), cont("world")), 3},
		{"a ping between", frames(first(wstest.Text, "hello"), ping("p"), cont("world")), 3},
		{"longer than any buffer", frames(text(strings.Repeat("x", 300_000))), 3},
		{"a code point cut by the reader", frames(text("€€€")), 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{Buffer: 1 << 20})
				for range 2 {
					p.WriteFrames(test.frames...)
					p.WriteFrame(wstest.Binary, "next")
					_, r, err := p.c.Reader(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(r, make([]byte, test.read)); err != nil {
						t.Fatal(err)
					}
					p.wantRead(t, MessageBinary, "next")
					// The old reader is of no more use, and takes nothing from
					// others.
					p.WriteFrame(wstest.Text, "after")
					if n, err := r.Read(make([]byte, 10)); n != 0 || err == nil {
						t.Errorf("a reader that was left behind reads %d bytes, %v", n, err)
					}
					p.wantRead(t, MessageText, "after")
				}
				for _, f := range test.frames {
					if f.Op == wstest.Ping {
						p.WantFrame(wstest.Pong, string(f.Payload))
						p.WantFrame(wstest.Pong, string(f.Payload))
					}
				}
				p.WantIdle()
			})
		})
	}
	t.Run("its text is checked", func(t *testing.T) {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{}, netfake.Options{})
			p.WriteFrames(first(wstest.Text, "hello"), cont(" \xff"), text("next"))
			if _, _, err := p.c.Reader(context.Background()); err != nil {
				t.Fatal(err)
			}
			read := start(p.readError)
			p.WantClose(1007)
			p.Close()
			<-read
		})
	})
	t.Run("memory", func(t *testing.T) {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{readLimit: -1}, netfake.Options{})
			const size = 16 << 20
			chunk := make([]byte, 64<<10)
			f := binaryF("")
			f.Declare = size
			p.WriteRaw(p.Encode(f))
			_, r, err := p.c.Reader(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			read := start(func() error { _, _, err := p.c.Read(context.Background()); return err })
			got := allocated(func() {
				for range size / len(chunk) {
					p.WriteRaw(chunk)
				}
				p.WriteFrame(wstest.Text, "next")
				if err := <-read; err != nil {
					t.Error(err)
				}
			})
			if got > 2<<20 {
				t.Errorf("discarding %d MiB allocated %d KiB", size>>20, got>>10)
			}
			_ = r
		})
	})
}

// The end of a context in the middle of a message that a Reader streams leaves
// the connection whole.
func TestReaderCancelled(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		stream := p.Encode(text("hello"), binaryF("next"))
		cut := len(p.Encode(text("hel")))
		p.WriteRaw(stream[:cut])
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, r, err := p.c.Reader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix("hello", string(got)) {
			t.Fatalf("read %q, %v", got, err)
		}
		p.WriteRaw(stream[cut:])
		p.wantRead(t, MessageBinary, "next")
	})
}

// A message that the transport cuts short is never taken for a whole one.
func TestTruncatedMessage(t *testing.T) {
	stream := frames(first(wstest.Text, "hello"), cont(" world"))
	bothRoles(t, func(t *testing.T, client bool) {
		for _, mode := range []string{"Read", "ReadInto", "Reader"} {
			total := len(newPair(t, client, connConfig{}, netfake.Options{}).Encode(stream...))
			for cut := range total {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				p.WriteRaw(p.Encode(stream...)[:cut])
				p.theirs.CloseWrite()
				var err error
				switch mode {
				case "Read":
					_, _, err = p.c.Read(context.Background())
				case "ReadInto":
					_, _, err = p.c.ReadInto(context.Background(), make([]byte, 0, 100))
				case "Reader":
					var r io.Reader
					if _, r, err = p.c.Reader(context.Background()); err == nil {
						_, err = io.ReadAll(r)
					}
				}
				if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
					t.Errorf("%s, cut after %d bytes: %v, want io.ErrUnexpectedEOF", mode, cut, err)
				}
				p.c.CloseNow()
			}
		}
	})
}

// The read limit counts the bytes of a message over all its frames and is
// applied to headers: no payload is awaited.
func TestReadLimit(t *testing.T) {
	header := func(f wstest.Frame, length uint64) wstest.Frame {
		f.Payload, f.Declare = nil, length
		return f
	}
	x := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name   string
		option int64 // of connConfig
		set    int64 // by SetReadLimit, if not 0
		frames []wstest.Frame
		ok     bool
	}{
		{"default, 1 MiB", 0, 0, frames(binaryF(x(1 << 20))), true},
		{"default, 1 MiB and 1", 0, 0, frames(header(binaryF(""), 1<<20+1)), false},
		{"default, 1 MiB in fragments", 0, 0, frames(first(wstest.Binary, x(1<<19)), cont(x(1<<19))), true},
		{"default, 1 MiB and 1 in fragments", 0, 0, frames(first(wstest.Binary, x(1<<19)), header(cont(""), 1<<19+1)), false},
		{"default, the longest frame there is", 0, 0, frames(header(binaryF(""), 1<<63-1)), false},
		{"sum past 2^63", 0, 0, frames(first(wstest.Binary, "x"), header(cont(""), 1<<63-1)), false},
		{"option", 10, 0, frames(binaryF(x(10))), true},
		{"option, beyond", 10, 0, frames(header(binaryF(""), 11)), false},
		{"option, beyond, in many fragments", 10, 0, frames(first(wstest.Text, x(4)), moreCont(x(6)), moreCont(""), header(cont(""), 1)), false},
		{"option, empty fragments", 10, 0, frames(first(wstest.Text, x(10)), moreCont(""), cont("")), true},
		{"option, none", -1, 0, frames(binaryF(x(1<<20 + 1))), true},
		{"SetReadLimit", 0, 10, frames(text(x(10))), true},
		{"SetReadLimit, beyond", 0, 10, frames(header(text(""), 11)), false},
		{"SetReadLimit, none", 10, -1, frames(text(x(1 << 20))), true},
		{"control frames do not count", 10, 0, frames(first(wstest.Text, x(5)), ping(x(125)), cont(x(5))), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{readLimit: test.option}, netfake.Options{Buffer: 2 << 20})
				if test.set != 0 {
					p.c.SetReadLimit(test.set)
				}
				p.WriteFrames(test.frames...)
				if test.ok {
					_, _, err := p.c.Read(context.Background())
					if err != nil {
						t.Errorf("Read = %v", err)
					}
					return
				}
				read := start(p.readError)
				p.WantClose(1009)
				p.WantEOF()
				p.Close()
				if err := <-read; !errors.Is(err, ErrMessageTooBig) {
					t.Errorf("Read = %v, want ErrMessageTooBig", err)
				}
			})
		})
	}
}

// Without a limit a header can declare any length: memory is taken for bytes
// that came, not for those promised.
func TestDeclaredLengthTakesNoMemory(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{readLimit: -1}, netfake.Options{})
		f := binaryF("")
		f.Declare = 1 << 62
		got := allocated(func() {
			p.WriteRaw(p.Encode(f))
			p.WriteRaw(make([]byte, 10_000))
			p.theirs.CloseWrite()
			if err := p.readError(); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("Read = %v, want io.ErrUnexpectedEOF", err)
			}
		})
		if got > 1<<20 {
			t.Errorf("10,000 bytes of a frame that declares 2^62 took %d KiB", got>>10)
		}
	})
}

func TestReader(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{ReadMax: 3}})
		p.WriteFrames(text(""), first(wstest.Binary, "hel"), moreCont(""), ping("p"), cont("lo"), text("next"))
		for _, want := range []Message{{MessageText, nil}, {MessageBinary, []byte("hello")}, {MessageText, []byte("next")}} {
			typ, r, err := p.c.Reader(context.Background())
			if err != nil || typ != want.Type {
				t.Fatalf("Reader = %v, %v; want %v", typ, err, want.Type)
			}
			if n, err := r.Read(nil); n != 0 || err != nil && err != io.EOF {
				t.Errorf("Read of nothing = %d, %v", n, err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, want.Data) {
				t.Errorf("read %q, %v; want %q", got, err, want.Data)
			}
			for range 2 {
				if n, err := r.Read(make([]byte, 10)); n != 0 || err != io.EOF {
					t.Errorf("past the end of the message: %d, %v", n, err)
				}
			}
		}
		p.WantFrame(wstest.Pong, "p")
	})
}

// A reader that was left behind takes nothing from the message that another one
// reads.
func TestStaleReader(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		p.WriteFrames(text("first"), first(wstest.Text, "sec"), cont("ond"), text("third"))
		_, old, err := p.c.Reader(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 2)
		if _, err := io.ReadFull(old, b); err != nil || string(b) != "fi" {
			t.Fatalf("read %q, %v", b, err)
		}
		_, r, err := p.c.Reader(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for range 3 {
			n, err := r.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b[:n]...)
			if n, err := old.Read(b); n != 0 || err == nil || err == io.EOF {
				t.Errorf("the old reader reads %d bytes, %v; want an error that is not the end of the message", n, err)
			}
		}
		rest, err := io.ReadAll(r)
		if got = append(got, rest...); err != nil || string(got) != "second" {
			t.Errorf("read %q, %v", got, err)
		}
		p.wantRead(t, MessageText, "third")
	})
}

// A reader that has returned the last byte of its message is at its end,
// although another message is read before it says so.
func TestReaderReadToItsEnd(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		p.WriteFrames(first(wstest.Text, "fir"), cont("st"), text("second"))
		_, r, err := p.c.Reader(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		p.wantRead(t, MessageText, "second")
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("Read = %d, %v; want io.EOF", n, err)
		}
	})
}

// A Reader delivers bytes as they come: it does not wait for the end of a
// frame, or of the message.
func TestReaderStreams(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		stream := p.Encode(first(wstest.Text, "hello"), cont("world"))
		cut := len(p.Encode(first(wstest.Text, "hel")))
		p.WriteRaw(stream[:cut])
		_, r, err := p.c.Reader(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := r.Read(b)
		if n == 0 || err != nil || !strings.HasPrefix("hello", string(b[:n])) {
			t.Fatalf("Read = %q, %v", b[:n], err)
		}
		p.WriteRaw(stream[cut:])
		rest, err := io.ReadAll(r)
		if err != nil || string(b[:n])+string(rest) != "helloworld" {
			t.Errorf("read %q and %q, %v", b[:n], rest, err)
		}
	})
}

// Read gives a slice that is the caller's; ReadInto fills the caller's buffer,
// and outgrows it when it must.
func TestReadInto(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{Buffer: 1 << 20})
		long := strings.Repeat("long ", 20_000)
		p.WriteFrames(text("one"), text("two"), text("three"), text(""), binaryF(long), text("six"))
		_, one, err1 := p.c.Read(context.Background())
		_, two, err2 := p.c.Read(context.Background())
		if string(one) != "one" || string(two) != "two" || err1 != nil || err2 != nil {
			t.Fatalf("Read %q, %v and %q, %v", one, err1, two, err2)
		}
		buf := []byte("xxxxxxxx")
		_, three, err := p.c.ReadInto(context.Background(), buf)
		if err != nil || string(three) != "three" || &three[0] != &buf[0] {
			t.Errorf("ReadInto = %q, %v; in the caller's buffer: %v", three, err, &three[0] == &buf[0])
		}
		if _, four, err := p.c.ReadInto(context.Background(), buf); err != nil || len(four) != 0 {
			t.Errorf("ReadInto = %q, %v", four, err)
		}
		_, five, err := p.c.ReadInto(context.Background(), buf)
		if err != nil || string(five) != long {
			t.Errorf("ReadInto = %s, %v", wstest.Quote(five), err)
		}
		_, six, err := p.c.ReadInto(context.Background(), five)
		if err != nil || string(six) != "six" || &six[0] != &five[0] {
			t.Errorf("ReadInto = %q, %v", six, err)
		}
		if string(one) != "one" || string(two) != "two" {
			t.Errorf("later reads changed what Read gave: %q, %q", one, two)
		}
	})
}

func TestMessages(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		var send []wstest.Frame
		for i := range 10 {
			send = append(send, text(fmt.Sprint("message ", i)))
		}
		p.WriteFrames(send...)
		i := 0
		for range 2 { // leaving the loop loses nothing
			for m, err := range p.c.Messages(context.Background()) {
				if err != nil || m.Type != MessageText || string(m.Data) != fmt.Sprint("message ", i) {
					t.Fatalf("message %d is %v %q, %v", i, m.Type, m.Data, err)
				}
				if i++; i%5 == 0 {
					break
				}
			}
		}
		// A cancelled context ends the loop, not the connection.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		n := 0
		for m, err := range p.c.Messages(ctx) {
			if n++; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, %v", m, err)
			}
		}
		if n != 1 {
			t.Errorf("the loop ran %d times, want once, with the error", n)
		}
		p.WriteFrame(wstest.Binary, "last")
		p.wantRead(t, MessageBinary, "last")
		// An orderly end ends the loop too, without an error; any other end is
		// its last step.
		p.WriteFrame(wstest.Text, "one")
		p.WriteClose(1000, "")
		p.theirs.CloseWrite()
		n = 0
		for m, err := range p.c.Messages(context.Background()) {
			if n++; err != nil || string(m.Data) != "one" {
				t.Errorf("got %v, %v", m, err)
			}
		}
		if err := p.readError(); n != 1 || CloseStatus(err) != StatusNormalClosure {
			t.Errorf("the loop ran %d times, then Read = %v", n, err)
		}
	})
}

// Readers take turns: each message goes to one of them.
func TestConcurrentReaders(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{A: netfake.End{ReadMax: 7}})
		const readers, messages = 8, 400
		var mu sync.Mutex
		seen := map[string]int{}
		var wg sync.WaitGroup
		for range readers {
			wg.Go(func() {
				for {
					_, b, err := p.c.Read(context.Background())
					if err != nil {
						return
					}
					mu.Lock()
					seen[string(b)]++
					mu.Unlock()
				}
			})
		}
		for i := range messages {
			p.WriteFrames(wstest.Fragments(wstest.Text, "message ", fmt.Sprint(i))...)
		}
		p.WriteClose(1000, "")
		p.WantClose(1000)
		p.Close()
		wg.Wait()
		for i := range messages {
			if n := seen[fmt.Sprint("message ", i)]; n != 1 {
				t.Errorf("message %d was read %d times", i, n)
			}
		}
		if len(seen) != messages {
			t.Errorf("%d different messages were read, want %d", len(seen), messages)
		}
	})
}

// A reader that waits for its turn heeds its context.
func TestReadWaitsForItsTurn(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		read := start(func() error { _, _, err := p.c.Read(context.Background()); return err })
		running(read)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, _, err := p.c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Read = %v, want context.DeadlineExceeded", err)
		}
		p.WriteFrame(wstest.Text, "a")
		if err := <-read; err != nil {
			t.Errorf("the first reader: %v", err)
		}
	})
}

// After CloseRead the other reading methods fail at once; one in progress goes
// on.
func TestReadAfterCloseRead(t *testing.T) {
	ctx := context.Background()
	reads := map[string]func(c *Conn) error{
		"Read":     func(c *Conn) error { _, _, err := c.Read(ctx); return err },
		"ReadInto": func(c *Conn) error { _, _, err := c.ReadInto(ctx, nil); return err },
		"Reader":   func(c *Conn) error { _, _, err := c.Reader(ctx); return err },
		"Messages": func(c *Conn) (err error) {
			for _, err = range c.Messages(ctx) {
			}
			return err
		},
		"NetConn": func(c *Conn) error { _, err := NetConn(ctx, c, MessageText).Read(make([]byte, 1)); return err },
	}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				before := start(func() error { return read(p.c) })
				synctest.Wait()
				over := p.c.CloseRead(ctx)
				behind := start(func() error { return read(p.c) })
				synctest.Wait()
				if running(behind) {
					t.Fatal("it waits")
				}
				if err := <-behind; err == nil || !strings.Contains(err.Error(), "CloseRead") {
					t.Errorf("%v", err)
				}
				if !running(before) {
					t.Errorf("the read in progress ended: %v", <-before)
				}
				p.WriteFrames(closing(4001, ""))
				p.theirs.CloseWrite()
				<-before
				<-over.Done()
				if err := read(p.c); CloseStatus(err) != 4001 {
					t.Errorf("after the end: %v", err)
				}
			})
		})
	}
}

// Growth never overflows an int, however long a message is.
func TestMoreRoom(t *testing.T) {
	const most = math.MaxInt
	for _, test := range []struct{ n, least, want int }{
		{0, 100, 100}, {10, 100, 100}, {100, 100, 200},
		{most / 4, 1, most / 4 * 2}, {most / 3, 1, most / 3 * 2},
		{most/3 + 2, 1, most - most/3 - 2}, {most / 2, 1, most - most/2}, {most/2 + 1, 1, most/2 + 0}, {most - 1, 100, 1}, {most, 100, 0},
	} {
		if got := moreRoom(test.n, test.least); got != test.want || got < 0 || test.n+got < 0 {
			t.Errorf("moreRoom(%d, %d) = %d, want %d", test.n, test.least, got, test.want)
		}
	}
}

// A message in many small frames is collected in a number of steps that grows
// with the logarithm of its size.
func TestReadFragmentsGrowth(t *testing.T) {
	const frames = 1 << 14
	data := appendHeader(nil, header{headerBits: headerBits{opcode: opBinary}, length: 64})
	data = append(data, make([]byte, 64)...)
	for i := range frames {
		data = appendHeader(data, header{headerBits: headerBits{opcode: opContinuation, fin: i == frames-1}, length: 64})
		data = append(data, make([]byte, 64)...)
	}
	c := newConn(connConfig{transport: &loopConn{data: data}, client: true, readLimit: -1})
	grown := 0
	var last *byte
	if err := c.beginRead(context.Background()); err != nil {
		t.Fatal(err)
	}
	var dst []byte
	for {
		if c.r.remain == 0 {
			if c.r.opcode != opContinuation && c.r.fin {
				break
			}
			if err := c.nextFrame(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if len(dst) == cap(dst) {
			dst = c.r.grow(dst, false)
		}
		n, err := c.readPayload(context.Background(), dst[len(dst):cap(dst)])
		if err != nil {
			t.Fatal(err)
		}
		dst = dst[:len(dst)+n]
		if &dst[0] != last {
			last = &dst[0]
			grown++
		}
	}
	if len(dst) != 64*(frames+1) || grown > 20 {
		t.Errorf("%d bytes, moved %d times", len(dst), grown)
	}
}

// The reader of a message that a later call began to discard does not go on
// behind the gap.
func TestReaderAfterCancelledDiscard(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		p.WriteFrames(first(wstest.Text, "0123456789"))
		_, r, err := p.c.Reader(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, _, err := p.c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		p.WriteFrames(cont("the rest"), text("next"))
		if b, err := io.ReadAll(r); err == nil || len(b) > 0 {
			t.Errorf("a reader whose message was left returns %q, %v", b, err)
		}
		p.wantRead(t, MessageText, "next")
	})
}
