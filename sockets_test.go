package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

// What the fake transport cannot show: the paths that Conn takes on real sockets. These tests run in real time; none
// depends on how fast.

// onSockets runs f for each kind of socket and both roles.
func onSockets(t *testing.T, cfg connConfig, f func(t *testing.T, p *pair)) {
	for _, l := range links {
		if l.bubble {
			continue
		}
		for _, client := range []bool{false, true} {
			role := "server"
			if client {
				role = "client"
			}
			t.Run(l.name+"/"+role, func(t *testing.T) {
				ours, theirs := l.make(t)
				cfg := cfg
				cfg.transport, cfg.client = ours, client
				p := &pair{c: newConn(cfg), client: client, Peer: wstest.NewPeer(t, theirs, wstest.Server)}
				if !client {
					p.Role = wstest.Client
				}
				t.Cleanup(func() { p.c.CloseNow(); p.Close() })
				f(t, p)
			})
		}
	}
}

// A Read that is cancelled, at whatever moment, loses nothing.
func TestReadCancelledSockets(t *testing.T) {
	send := frames(text("€uro"), first(wstest.Text, "frag€"), ping("between"), moreCont(""), cont("ment"), binaryF(strings.Repeat("0123456789", 30)), text("end"))
	want := "€uro|frag€ment|" + strings.Repeat("0123456789", 30) + "|end"
	for _, how := range []string{"cancel", "deadline"} {
		t.Run(how, func(t *testing.T) {
			onSockets(t, connConfig{}, func(t *testing.T, p *pair) {
				var got []string
				for i, b := range p.Encode(send...) {
					p.WriteRaw([]byte{b})
					ctx, cancel := context.WithCancel(context.Background())
					wantErr := context.Canceled
					if how == "cancel" {
						go cancel()
					} else {
						wantErr = os.ErrDeadlineExceeded
						go p.c.SetReadDeadline(time.Now())
					}
					for {
						_, data, err := p.c.Read(ctx)
						if err != nil {
							if !errors.Is(err, wantErr) {
								t.Fatalf("after byte %d: %v, want %v", i, err, wantErr)
							}
							break
						}
						got = append(got, string(data))
					}
					cancel()
					p.c.SetReadDeadline(time.Time{})
				}
				for len(got) < strings.Count(want, "|")+1 {
					_, data, err := p.c.Read(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, string(data))
				}
				if all := strings.Join(got, "|"); all != want {
					t.Errorf("got %q, want %q", all, want)
				}
				p.WantFrame(wstest.Pong, "between")
			})
		})
	}
}

// Frames of any number of writers, short and long, do not mix, while the peer reads slowly and pings.
func TestConcurrentWritersSockets(t *testing.T) {
	onSockets(t, connConfig{writeBufferLimit: 20_000}, func(t *testing.T, p *pair) {
		const writers, messages = 8, 60
		read := start(p.readError)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for j := range messages {
					msg := bytes.Repeat([]byte{'a' + byte(i)}, 1+(i*j*7919)%90_000/(1+j%5*100))
					if err := p.c.Write(context.Background(), MessageBinary, fmt.Appendf(nil, "%d %d %s", i, j, msg)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		next := make([]int, writers)
		pongs := 0
		p.WriteFrame(wstest.Ping, "p")
		for n := 0; n < writers*messages; {
			f := p.ReadFrame()
			if f.Op == wstest.Pong {
				pongs++
				p.WriteFrame(wstest.Ping, "p")
				continue
			}
			n++
			head, body, _ := bytes.Cut(f.Payload, []byte{' '})
			num, body, _ := bytes.Cut(body, []byte{' '})
			i, j := int(head[0]-'0'), 0
			fmt.Sscan(string(num), &j)
			if f.Op != wstest.Binary || !f.Fin || i >= writers || j != next[i] || len(bytes.Trim(body, string(rune('a'+i)))) != 0 {
				t.Fatalf("got %v, want message %d of its writer", f, next[i])
			}
			next[i]++
		}
		wg.Wait()
		if pongs == 0 {
			p.WantFrame(wstest.Pong, "p")
		}
		p.c.CloseNow()
		<-read
	})
}

// Close and CloseNow end, and with them all that waits, though the peer neither reads nor writes.
func TestCloseStalledSockets(t *testing.T) {
	for _, end := range []string{"Close", "CloseNow"} {
		t.Run(end, func(t *testing.T) {
			onSockets(t, connConfig{closeTimeout: 20 * time.Millisecond}, func(t *testing.T, p *pair) {
				var wg sync.WaitGroup
				var blocked sync.WaitGroup
				blocked.Add(1)
				wg.Go(func() { p.readError() })
				wg.Go(func() {
					msg := make([]byte, 1<<20)
					p.c.Write(context.Background(), MessageBinary, msg[:1])
					blocked.Done()
					for p.c.Write(context.Background(), MessageBinary, msg) == nil {
					}
				})
				wg.Go(func() { p.c.Ping(context.Background()) })
				blocked.Wait()
				if end == "Close" {
					p.c.Close(StatusNormalClosure, "")
				} else {
					p.c.CloseNow()
				}
				wg.Wait()
				if err := p.readError(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Read = %v", err)
				}
			})
		})
	}
}

// A context and a deadline cut writes that the socket does not take, and nothing hangs.
func TestWriteGivenUpSockets(t *testing.T) {
	for _, how := range []string{"context", "deadline"} {
		t.Run(how, func(t *testing.T) {
			onSockets(t, connConfig{}, func(t *testing.T, p *pair) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				want := context.DeadlineExceeded
				if how == "context" {
					ctx, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
					defer cancel()
				} else {
					p.c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
					want = os.ErrDeadlineExceeded
				}
				msg := make([]byte, 1<<20)
				begin := time.Now()
				var err error
				for err == nil {
					err = p.c.Write(ctx, MessageBinary, msg)
				}
				if d := time.Since(begin); d > 4*time.Second { // crypto/tls waits for 5 s to say goodbye
					t.Errorf("Write took %v with a limit of 20ms", d)
				}
				if !errors.Is(err, want) {
					t.Errorf("Write = %v, want %v", err, want)
				}
			})
		})
	}
}

// A connection that the peer has reset ends with just that, however many bytes came before.
func TestResetBehindMessageSockets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("not every system delivers what came before a reset")
	}
	for size := range 20 {
		t.Run(fmt.Sprintf("%d bytes", size+6), func(t *testing.T) {
			ours, theirs := tcpLink(t)
			p := wstest.NewPeer(t, theirs, wstest.Client)
			c := newConn(connConfig{transport: ours})
			defer c.CloseNow()
			p.WriteFrames(text(strings.Repeat("x", size)))
			theirs.(*net.TCPConn).SetLinger(0)
			theirs.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if _, msg, err := c.Read(ctx); err != nil || len(msg) != size {
				t.Fatalf("Read = %q, %v", msg, err)
			}
			if _, _, err := c.Read(ctx); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the next Read = %v, want a reset", err)
			}
		})
	}
}
