package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// The body of a range over Messages may use the connection in every way,
// reading too. The message that it was lent stays as it is until the step ends.
// No message is lost or read twice.
func TestMessagesBodyReads(t *testing.T) {
	ctx := context.Background()
	bodies := map[string]func(c *Conn) (string, error){
		"Read":     func(c *Conn) (string, error) { _, b, err := c.Read(ctx); return string(b), err },
		"ReadInto": func(c *Conn) (string, error) { _, b, err := c.ReadInto(ctx, make([]byte, 3)); return string(b), err },
		"Reader": func(c *Conn) (string, error) {
			_, r, err := c.Reader(ctx)
			if err != nil {
				return "", err
			}
			b, err := io.ReadAll(r)
			return string(b), err
		},
		"Messages": func(c *Conn) (string, error) {
			for m, err := range c.Messages(ctx) {
				return string(m.Data), err
			}
			return "", io.EOF
		},
		"Messages, twice": func(c *Conn) (string, error) {
			var s string
			for outer, err := range c.Messages(ctx) {
				if err != nil {
					return "", err
				}
				keep := string(outer.Data)
				for inner, err := range c.Messages(ctx) {
					if err != nil {
						return "", err
					}
					s = keep + "+" + string(inner.Data)
					break
				}
				if string(outer.Data) != keep {
					return "", fmt.Errorf("the second range's message has changed")
				}
				break
			}
			return s, nil
		},
		"Write and Read": func(c *Conn) (string, error) {
			if err := c.Write(ctx, MessageText, []byte("reply")); err != nil {
				return "", err
			}
			_, b, err := c.Read(ctx)
			return string(b), err
		},
	}
	sizes := map[string]func(i int) int{
		"short":    func(i int) int { return i % 9 },
		"middling": func(i int) int { return 20 + i*13%300 },
		"long":     func(i int) int { return i * 1237 % 9000 },
	}
	for body, read := range bodies {
		for name, size := range sizes {
			for _, max := range []int{0, 5, 100} {
				t.Run(fmt.Sprintf("%s/%s/reads of %d", body, name, max), func(t *testing.T) {
					bothRoles(t, func(t *testing.T, client bool) {
						p := newPair(t, client, connConfig{}, netfake.Options{Buffer: 4 << 20, A: netfake.End{ReadMax: max}})
						const n = 40
						var send []wstest.Frame
						var want []string
						for i := range n {
							msg := strings.Repeat(string(rune('a'+i%26)), size(i)) + fmt.Sprint(i)
							want = append(want, msg)
							if i%5 == 3 {
								send = append(send, first(wstest.Text, msg[:len(msg)/2]), ping(""), cont(msg[len(msg)/2:]))
							} else {
								send = append(send, text(msg))
							}
						}
						p.WriteFrames(send...)
						p.WriteClose(1000, "")
						p.theirs.CloseWrite()
						var got []string
						for m, err := range p.c.Messages(ctx) {
							if err != nil {
								t.Fatal(err)
							}
							keep := string(m.Data)
							got = append(got, keep)
							if len(got)%2 == 1 && len(got) < n-3 {
								s, err := read(p.c)
								if err != nil {
									t.Fatal(err)
								}
								got = append(got, strings.Split(s, "+")...)
							}
							if string(m.Data) != keep {
								t.Fatalf("the message %s has become %s", wstest.Quote([]byte(keep)), wstest.Quote(m.Data))
							}
							clear(m.Data) // it may be changed
						}
						if strings.Join(got, "|") != strings.Join(want, "|") {
							t.Errorf("got %d messages, want %d; the first: %s", len(got), len(want), wstest.Quote([]byte(strings.Join(got, "|"))))
						}
					})
				})
			}
		}
	}
}

// A message that was lent stays as it is even when the connection ends within
// the step, and other connections use the pools.
func TestMessagesConnectionEnds(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		msg := strings.Repeat("lent ", 300)
		p := newPair(t, client, connConfig{}, netfake.Options{})
		p.WriteFrames(text(msg), text("more"))
		for m, err := range p.c.Messages(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			p.c.CloseNow()
			for range 20 {
				q := newPair(t, client, connConfig{}, netfake.Options{})
				q.WriteFrame(wstest.Binary, strings.Repeat("other", 500))
				q.wantRead(t, MessageBinary, strings.Repeat("other", 500))
				if err := q.c.Write(context.Background(), MessageBinary, make([]byte, 2000)); err != nil {
					t.Fatal(err)
				}
			}
			if string(m.Data) != msg {
				t.Fatalf("the message has become %s", wstest.Quote(m.Data))
			}
			break
		}
	})
}

// Messages reads a long message where the one before it was long too into one
// buffer. It loses nothing where its context cuts that short at any place, and
// whatever reads on.
func TestMessagesLongSockets(t *testing.T) {
	onSockets(t, connConfig{}, func(t *testing.T, p *pair) {
		for _, size := range []int{5000, 64 << 10, 128 << 10} {
			payload := []byte(strings.Repeat("€uro ", size/7+1)[:size/7*7])
			wire := p.Encode(text(string(payload)))
			begin := func() {
				go p.WriteRaw(wire)
				for m, err := range p.c.Messages(context.Background()) {
					if err != nil || !bytes.Equal(m.Data, payload) {
						t.Fatalf("the first of %d bytes: %d bytes, %v", len(payload), len(m.Data), err)
					}
					break
				}
			}
			check := func(how string, cut int, got []byte, err error) {
				t.Helper()
				if err != nil || !bytes.Equal(got, payload) {
					t.Fatalf("%s after a cut at %d of %d: %d bytes, %v", how, cut, len(wire), len(got), err)
				}
			}
			for i, cut := range []int{1, 9, 20, 31, 1000, len(wire) / 2, len(wire) - 10, len(wire) - 1} {
				begin()
				p.WriteRaw(wire[:cut])
				ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
				for m, err := range p.c.Messages(ctx) {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Fatalf("Messages over half a message: %d bytes, %v", len(m.Data), err)
					}
				}
				cancel()
				go p.WriteRaw(append(wire[cut:len(wire):len(wire)], p.Encode(text("next"))...))
				switch i % 3 {
				case 0:
					for m, err := range p.c.Messages(context.Background()) {
						check("Messages", cut, m.Data, err)
						break
					}
				case 1:
					_, got, err := p.c.Read(context.Background())
					check("Read", cut, got, err)
				case 2:
					_, r, err := p.c.Reader(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(r)
					check("Reader", cut, got, err)
				}
				if _, got, err := p.c.Read(context.Background()); err != nil || string(got) != "next" {
					t.Fatalf("the next message: %q, %v", got, err)
				}
			}
		}
	})
}

// A long message, read where it is, fails with its first byte that is no UTF-8,
// before its end has come. Close in the middle of one reads on to the end.
func TestMessagesLongEndsSockets(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	next := func(c *Conn) (err error) {
		for _, err = range c.Messages(context.Background()) {
			return err
		}
		return nil
	}
	onSockets(t, connConfig{}, func(t *testing.T, p *pair) {
		p.WriteFrames(text(long))
		if err := next(p.c); err != nil {
			t.Fatal(err)
		}
		bad := p.Encode(text(long + "\xff" + long))
		p.WriteRaw(bad[:len(bad)-50_000])
		if err := next(p.c); CloseStatus(err) != -1 || err == nil || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("Messages of bad text = %v", err)
		}
	})
	onSockets(t, connConfig{}, func(t *testing.T, p *pair) {
		p.WriteFrames(text(long))
		if err := next(p.c); err != nil {
			t.Fatal(err)
		}
		wire := p.Encode(text(long))
		p.WriteRaw(wire[:50_000])
		read := start(func() error {
			for m, err := range p.c.Messages(context.Background()) {
				if err == nil && string(m.Data) != long { // a reader that was in it may get it
					return fmt.Errorf("a message of %d bytes", len(m.Data))
				}
			}
			return nil
		})
		closed := start(func() error { return p.c.Close(StatusNormalClosure, "") })
		for p.ReadFrame().Op != wstest.Close {
		}
		p.WriteRaw(wire[50_000:])
		p.WriteFrames(wstest.CloseFrame(1000, ""))
		if err := <-closed; err != nil {
			t.Errorf("Close = %v", err)
		}
		if err := <-read; err != nil {
			t.Errorf("Messages while this side closes: %v", err)
		}
	})
}

// A drained is a transport from which nothing comes any more. It takes all that
// is written.
type drained struct{ replay }

func (*drained) Read([]byte) (int, error) { return 0, io.EOF }

// borrowNext takes a message that is one whole frame and follows another. All
// else is left to nextMessage and borrowMessage, which judge it.
func TestBorrowNext(t *testing.T) {
	masked := func(f wstest.Frame) []byte { return f.Append(nil, wstest.Client) }
	text200 := text(strings.Repeat("ä", 100))
	tests := []struct {
		name   string
		stream []byte
		cfg    connConfig
		want   string // "" if it is left alone
	}{
		{"text", masked(text("hello")), connConfig{}, "hello"},
		{"binary", masked(wstest.Final(wstest.Binary, "\xff\x00")), connConfig{}, "\xff\x00"},
		{"16-bit length", masked(text200), connConfig{}, strings.Repeat("ä", 100)},
		{"and a part of the next", append(masked(text200), 0x81), connConfig{}, strings.Repeat("ä", 100)},
		{"of a server", text200.Append(nil, wstest.Server), connConfig{client: true}, strings.Repeat("ä", 100)},
		{"as long as the limit", masked(text("12345")), connConfig{readLimit: 5}, "12345"},
		{"longer than the limit", masked(text("123456")), connConfig{readLimit: 5}, ""},
		{"no limit", masked(text("123456")), connConfig{readLimit: -1}, "123456"},
		{"not UTF-8", masked(text("abc\xff")), connConfig{}, ""},
		{"not UTF-8, of a server", text("abc\xff").Append(nil, wstest.Server), connConfig{client: true}, ""},
		{"not UTF-8, which is not checked", masked(text("abc\xff")), connConfig{skipUTF8: true}, "abc\xff"},
		{"empty", masked(text("")), connConfig{}, ""},
		{"not masked", text("hello").Append(nil, wstest.Server), connConfig{}, ""},
		{"masked by a server", masked(text("hello")), connConfig{client: true}, ""},
		{"fragment", masked(first(wstest.Text, "hello")), connConfig{}, ""},
		{"continuation", masked(cont("hello")), connConfig{}, ""},
		{"ping", masked(ping("hello")), connConfig{}, ""},
		{"reserved bit", append([]byte{0xc1}, masked(text("hello"))[1:]...), connConfig{}, ""},
		{"not whole", masked(text200)[:200], connConfig{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			peer := wstest.Client
			if tt.cfg.client {
				peer = wstest.Server
			}
			before := wstest.Final(wstest.Binary, "1").Append(nil, peer)
			tt.cfg.transport, tt.cfg.received = &drained{}, append(before, tt.stream...)
			c := newConn(tt.cfg)
			defer c.CloseNow()
			var l lease
			if m, err := c.borrow(t.Context(), &l); err != nil || string(m.Data) != "1" {
				t.Fatalf("the message before is %q, %v", m.Data, err)
			}
			c.r.turn.Lock(t.Context())
			defer c.giveBack(&l)
			defer c.endRead()
			half := c.r.half
			m, ok := c.borrowNext(&l)
			if ok != (tt.want != "") || string(m.Data) != tt.want {
				t.Fatalf("borrowNext = %q, %v, want %q", m.Data, ok, tt.want)
			}
			if !ok {
				if !bytes.Equal(c.r.in.unread(), tt.stream) || c.r.half != half || c.r.message != 1 {
					t.Error("something has changed, though it is left alone")
				}
				return
			}
			if c.r.message != 2 || int(c.r.payload) != 1+len(tt.want) || c.r.in.lent != &l || c.r.in.buffered() > 1 {
				t.Errorf("%d messages of %d bytes are counted, %d bytes are left", c.r.message, c.r.payload, c.r.in.buffered())
			}
		})
	}
}

// Messages, which takes whole frames by a short way, yields what Read returns,
// which does not. They count the same, and end for the same reason. So they do
// where each message after every one's is read in the body of the loop.
func FuzzMessages(f *testing.F) {
	masked := func(frames ...wstest.Frame) (b []byte) {
		for _, f := range frames {
			b = f.Append(b, wstest.Client)
		}
		return b
	}
	f.Add(masked(text("one"), text(strings.Repeat("ä", 100)), ping("p"), text(""), text("last")), false, int64(0), 0)
	f.Add(masked(text("one"), first(wstest.Text, "tw"), ping("p"), cont("o"), text("three")), false, int64(3), 0)
	f.Add(masked(text("one"), text("tw\xff"), text("three")), false, int64(0), 0)
	f.Add(masked(text("one"), first(wstest.Text, "tw"), text("three")), false, int64(0), 0)
	f.Add(text("one").Append(text("two").Append(nil, wstest.Server), wstest.Server), true, int64(0), 0)
	f.Add(masked(text("one"), text("two"), text("three"), text("four"), text("five"), text("six")), false, int64(0), 2)
	f.Add(masked(text("one"), text("two"), ping("p"), text("three"), text("four")), false, int64(0), 1)
	f.Fuzz(func(t *testing.T, stream []byte, client bool, limit int64, every int) {
		open := func() *Conn {
			return newConn(connConfig{transport: &drained{}, received: bytes.Clone(stream), client: client, readLimit: limit, closeTimeout: -1})
		}
		fast, naive := open(), open()
		defer fast.CloseNow()
		defer naive.CloseNow()
		ctx := t.Context()
		step := 0
		for m, err := range fast.Messages(ctx) {
			typ, data, want := naive.Read(ctx)
			if err == nil && (want != nil || typ != m.Type || !bytes.Equal(data, m.Data)) {
				t.Fatalf("Messages lends %v %q, Read returns %v %q, %v", m.Type, m.Data, typ, data, want)
			}
			if err != nil && (want == nil || err.Error() != want.Error()) {
				t.Fatalf("Messages ends with %v, Read with %q, %v", err, data, want)
			}
			if step++; err == nil && every > 0 && step%every == 0 {
				_, inBody, err := fast.Read(ctx)
				_, data, want := naive.Read(ctx)
				if !bytes.Equal(inBody, data) || (err == nil) != (want == nil) {
					t.Fatalf("Read in the body returns %q, %v, without a loop %q, %v", inBody, err, data, want)
				}
			}
		}
		_, _, err := fast.Read(ctx)
		_, _, want := naive.Read(ctx)
		if err == nil || want == nil || err.Error() != want.Error() {
			t.Fatalf("after Messages Read returns %v, want %v", err, want)
		}
		got, all := fast.Stats(), naive.Stats()
		if got.Received != all.Received {
			t.Errorf("received %+v, want %+v", got.Received, all.Received)
		}
	})
}
