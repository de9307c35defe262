package websocket

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

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
