package websocket

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// NetConn makes a stream of bytes of the messages: their limits do not show,
// and its end is io.EOF itself.
func TestNetConn(t *testing.T) {
	for _, typ := range []MessageType{MessageText, MessageBinary} {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{readLimit: 10}, netfake.Options{Buffer: 4 << 20})
			nc := NetConn(context.Background(), p.c, typ)
			op := wstest.Opcode(typ)

			if n, err := nc.Write([]byte("hello")); n != 5 || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
			p.WantFrame(op, "hello")
			if n, err := nc.Write(nil); n != 0 || err != nil {
				t.Fatalf("Write of nothing = %d, %v", n, err)
			}
			p.ReadFrame()
			if nc.LocalAddr() != p.ours.LocalAddr() || nc.RemoteAddr() != p.ours.RemoteAddr() {
				t.Errorf("addresses %v, %v", nc.LocalAddr(), nc.RemoteAddr())
			}

			long := strings.Repeat("long ", 500_000) // longer than any default limit
			p.WriteFrames(fin(op, "one "), fin(op, ""), first(op, "tw"), ping("p"), cont("o "), fin(op, long+"\n"))
			p.WriteClose(1000, "")
			p.theirs.CloseWrite()
			r := bufio.NewReader(nc)
			line, err := r.ReadString('\n')
			if err != nil || line != "one two "+long+"\n" {
				t.Fatalf("read %s, %v", wstest.Quote([]byte(line)), err)
			}
			for range 2 {
				if n, err := nc.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("at the end Read = %d, %v; want io.EOF itself", n, err)
				}
				if n, err := nc.Read(nil); n != 0 || err != io.EOF {
					t.Errorf("at the end Read of nothing = %d, %v; want io.EOF itself", n, err)
				}
			}
			p.WantFrame(wstest.Pong, "p")
			if _, err := nc.Write([]byte("x")); err == nil {
				t.Error("Write succeeds on a connection that is over")
			}
		})
	}
}

func TestNetConnEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(p *pair, nc net.Conn)
		want error // io.EOF means io.EOF itself
	}{
		{"peer closed with 1000", func(p *pair, nc net.Conn) { p.WriteClose(1000, ""); p.Close() }, io.EOF},
		{"peer closed with 1001", func(p *pair, nc net.Conn) { p.WriteClose(1001, ""); p.Close() }, io.EOF},
		{"peer closed with 1011", func(p *pair, nc net.Conn) { p.WriteClose(1011, ""); p.Close() }, CloseError{Code: 1011}},
		{"transport ended", func(p *pair, nc net.Conn) { p.Close() }, io.ErrUnexpectedEOF},
		{"transport ended in a message", func(p *pair, nc net.Conn) { p.WriteFrames(first(wstest.Binary, "")); p.Close() }, io.ErrUnexpectedEOF},
		{"closed here", func(p *pair, nc net.Conn) { nc.Close() }, net.ErrClosed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				p := newPair(t, client, connConfig{}, netfake.Options{})
				nc := NetConn(context.Background(), p.c, MessageBinary)
				test.end(p, nc)
				for range 2 {
					_, err := nc.Read(make([]byte, 1))
					if test.want == io.EOF && err != io.EOF || !errors.Is(err, test.want) {
						t.Errorf("Read = %v, want %v", err, test.want)
					}
					if test.want != io.EOF && errors.Is(err, io.EOF) {
						t.Errorf("Read = %v, which is io.EOF", err)
					}
				}
			})
		})
	}
	t.Run("Close sends 1000", func(t *testing.T) {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{}, netfake.Options{})
			closed := start(NetConn(context.Background(), p.c, MessageBinary).Close)
			p.WantClose(1000)
			p.WriteClose(1000, "")
			p.Close()
			if err := <-closed; err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("wrong type", func(t *testing.T) {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{}, netfake.Options{})
			nc := NetConn(context.Background(), p.c, MessageBinary)
			p.WriteFrame(wstest.Text, "text")
			read := start(func() error { _, err := nc.Read(make([]byte, 1)); return err })
			p.WantClose(1003)
			p.WriteClose(1003, "")
			p.Close()
			if err := <-read; err == nil {
				t.Error("Read succeeds")
			}
		})
	})
}

// Deadlines are those of a net.Conn: a read that meets one can be repeated, at
// any byte.
func TestNetConnDeadlines(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		nc := NetConn(context.Background(), p.c, MessageBinary)
		timedOut := func(err error) bool {
			var ne net.Error
			return errors.Is(err, os.ErrDeadlineExceeded) && errors.As(err, &ne) && ne.Timeout()
		}
		var got []byte
		b := make([]byte, 10)
		for _, c := range p.Encode(first(wstest.Binary, "hel"), ping(""), cont("lo"), binaryF(" world")) {
			nc.SetReadDeadline(time.Now().Add(time.Second))
			if n, err := nc.Read(b); n != 0 || !timedOut(err) {
				t.Fatalf("Read = %d, %v; want a timeout that is a net.Error", n, err)
			}
			p.WriteRaw([]byte{c})
			nc.SetReadDeadline(time.Now().Add(time.Second))
			for {
				n, err := nc.Read(b)
				got = append(got, b[:n]...)
				if err == nil {
					continue
				}
				if !timedOut(err) {
					t.Fatal(err)
				}
				break
			}
		}
		if string(got) != "hello world" {
			t.Errorf("read %q", got)
		}
		nc.SetDeadline(time.Now().Add(-1))
		if n, err := nc.Write([]byte("x")); n != 0 || !timedOut(err) {
			t.Errorf("Write = %d, %v", n, err)
		}
		nc.SetDeadline(time.Time{})
		if n, err := nc.Write([]byte("y")); n != 1 || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
		p.WantFrame(wstest.Pong, "")
		p.WantFrame(wstest.Binary, "y")
	})
}

// The end of NetConn's context ends its reads and writes.
func TestNetConnContext(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		ctx, cancel := context.WithCancel(context.Background())
		p := newPair(t, client, connConfig{}, netfake.Options{})
		nc := NetConn(ctx, p.c, MessageBinary)
		read := start(func() error { _, err := nc.Read(make([]byte, 1)); return err })
		if !running(read) {
			t.Fatal(<-read)
		}
		cancel()
		if err := <-read; !errors.Is(err, context.Canceled) {
			t.Errorf("Read = %v", err)
		}
		if _, err := nc.Write(nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Write = %v", err)
		}
	})
}

// Any number of goroutines may read from a NetConn, as from any net.Conn:
// nothing is lost, and no read fails.
func TestNetConnConcurrentReaders(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{Buffer: 100})
		nc := NetConn(context.Background(), p.c, MessageBinary)
		var mu sync.Mutex
		total := 0
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				b := make([]byte, 7)
				for {
					n, err := nc.Read(b)
					mu.Lock()
					total += n
					mu.Unlock()
					if err != nil {
						if err != io.EOF {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		const n = 300
		for i := range n {
			p.WriteFrame(wstest.Binary, strings.Repeat("x", i))
		}
		p.WriteClose(1000, "")
		p.WantClose(1000)
		p.Close()
		wg.Wait()
		if want := n * (n - 1) / 2; total != want {
			t.Errorf("%d bytes arrived, want %d", total, want)
		}
	})
}

// The error of a deadline is a net.Error whose Timeout is true, as net.Conn
// promises.
func TestNetConnTimeoutError(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := stalledPair(t, client, connConfig{})
		nc := NetConn(context.Background(), p.c, MessageBinary)
		nc.SetDeadline(time.Now().Add(time.Second))
		for range 2 {
			_, err := nc.Read(make([]byte, 1))
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read: %#v", err)
			}
			_, err = nc.Write(make([]byte, 1))
			if ne, ok := err.(net.Error); !ok || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Write: %#v", err)
			}
		}
	})
}

// Close after the peer has closed in an orderly way is no error, as with other
// net.Conns.
func TestNetConnCloseAfterPeer(t *testing.T) {
	for code, ok := range map[int]bool{1000: true, 1001: true, 0: true, 1011: false} {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{}, netfake.Options{})
			nc := NetConn(context.Background(), p.c, MessageBinary)
			p.WriteClose(code, "")
			if client {
				p.theirs.CloseWrite()
			}
			nc.Read(make([]byte, 1))
			if err := nc.Close(); (err == nil) != ok {
				t.Errorf("after %d: Close = %v", code, err)
			}
		})
	}
}

// A Read of a NetConn that refuses a message ends by its context, whatever the
// peer does with the close frame.
func TestNetConnWrongTypeContext(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		nc := NetConn(ctx, p.c, MessageBinary)
		p.WriteFrames(fin(wstest.Text, "text"))
		start := time.Now()
		if _, err := nc.Read(make([]byte, 10)); err == nil {
			t.Error("Read of a message of the other type succeeds")
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("Read took %v, its context 200ms", took)
		}
	})
}

// So it does by the read deadline.
func TestNetConnWrongTypeDeadline(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		nc := NetConn(context.Background(), p.c, MessageBinary)
		nc.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		p.WriteFrames(fin(wstest.Text, "text"))
		start := time.Now()
		if _, err := nc.Read(make([]byte, 10)); err == nil {
			t.Error("Read of a message of the other type succeeds")
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("Read took %v, its deadline 200ms", took)
		}
	})
}
