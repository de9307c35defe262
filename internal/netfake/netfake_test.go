package netfake

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var _ net.Conn = (*Conn)(nil)

func TestReadWrite(t *testing.T) {
	a, b := Pipe(Options{})
	for _, dir := range []struct{ from, to *Conn }{{a, b}, {b, a}} {
		if n, err := dir.from.Write([]byte("hello")); n != 5 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		if got := dir.to.Buffered(); got != 5 {
			t.Fatalf("Buffered = %d, want 5", got)
		}
		p := make([]byte, 3)
		for _, want := range []string{"hel", "lo"} {
			n, err := dir.to.Read(p)
			if err != nil || string(p[:n]) != want {
				t.Fatalf("Read = %q, %v; want %q", p[:n], err, want)
			}
		}
	}
	if a.LocalAddr() != b.RemoteAddr() || a.LocalAddr() == b.LocalAddr() {
		t.Errorf("addresses: a %v -> %v, b %v -> %v", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
	}
}

// A write blocks while the buffer is full and goes on when the peer reads, at
// every size of buffer.
func TestWriteBlocksWhenFull(t *testing.T) {
	for _, size := range []int{1, 2, 3, 7, 100, 101} {
		synctest.Test(t, func(t *testing.T) {
			a, b := Pipe(Options{Buffer: size})
			msg := bytes.Repeat([]byte("0123456789"), 10)
			done := false
			go func() {
				if n, err := a.Write(msg); n != len(msg) || err != nil {
					t.Errorf("Write = %d, %v", n, err)
				}
				done = true
			}()
			synctest.Wait()
			if want := min(size, len(msg)); b.Buffered() != want {
				t.Errorf("buffer of %d: %d bytes buffered, want %d", size, b.Buffered(), want)
			}
			if done != (size >= len(msg)) {
				t.Errorf("buffer of %d: write of %d bytes returned: %v", size, len(msg), done)
			}
			got := make([]byte, len(msg))
			if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, msg) {
				t.Errorf("buffer of %d: read %q, %v", size, got, err)
			}
			synctest.Wait()
			if !done {
				t.Errorf("buffer of %d: write did not return", size)
			}
		})
	}
}

// Writes of several goroutines do not interleave, even when each has to wait
// for room.
func TestWritesDoNotInterleave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(Options{Buffer: 3})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() { a.Write(bytes.Repeat([]byte{'a' + byte(i)}, 10)) })
		}
		got := make([]byte, 80)
		if _, err := io.ReadFull(b, got); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		for i := 0; i < 80; i += 10 {
			if !bytes.Equal(got[i:i+10], bytes.Repeat(got[i:i+1], 10)) {
				t.Fatalf("interleaved: %q", got)
			}
		}
	})
}

func TestDeadlines(t *testing.T) {
	tests := []struct {
		name     string
		deadline time.Duration // from now
		first    bool          // set before the call, not while it blocks
	}{
		{"past, before the call", -1, true},
		{"past, during the call", -1, false},
		{"now, during the call", 0, false},
		{"future, before the call", time.Minute, true},
		{"future, during the call", time.Minute, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := Pipe(Options{Buffer: 4})
				// check runs a call that blocks until its deadline.
				check := func(what string, set func(time.Time) error, call func() (int, error), wantN int) {
					t.Helper()
					begin := time.Now()
					at := begin.Add(test.deadline)
					if test.first {
						set(at)
					}
					done := make(chan struct{})
					go func() {
						defer close(done)
						n, err := call()
						var ne net.Error
						if n != wantN || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
							t.Errorf("%s = %d, %v; want %d and a timeout", what, n, err, wantN)
						}
					}()
					synctest.Wait()
					if !test.first {
						set(at)
					}
					<-done
					if got, want := time.Since(begin), max(test.deadline, 0); got != want {
						t.Errorf("%s took %v, want %v", what, got, want)
					}
					set(time.Time{})
				}
				check("Read", a.SetReadDeadline, func() (int, error) { return a.Read(make([]byte, 1)) }, 0)
				wantN := 4 // what the buffer holds is written, and said
				if test.first && test.deadline <= 0 {
					wantN = 0
				}
				check("Write", a.SetWriteDeadline, func() (int, error) { return a.Write([]byte("123456")) }, wantN)

				// Nothing is lost: what was written arrives, and both
				// directions go on.
				if wantN > 0 {
					got := make([]byte, wantN)
					if _, err := io.ReadFull(b, got); err != nil || string(got) != "1234" {
						t.Errorf("after the deadline: read %q, %v", got, err)
					}
				}
				if _, err := a.Write([]byte("go")); err != nil {
					t.Errorf("Write after the deadline was cleared: %v", err)
				}
				b.Write([]byte("on"))
				p := make([]byte, 8)
				if n, err := a.Read(p); err != nil || string(p[:n]) != "on" {
					t.Errorf("Read after the deadline was cleared: %q, %v", p[:n], err)
				}
			})
		})
	}
}

// As with sockets, a passed deadline comes before buffered bytes, and does not
// lose them.
func TestDeadlineKeepsBytes(t *testing.T) {
	a, b := Pipe(Options{})
	a.Write([]byte("x"))
	b.SetDeadline(time.Now().Add(-time.Second))
	if n, err := b.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Read = %d, %v; want a timeout", n, err)
	}
	b.SetDeadline(time.Time{})
	if n, err := b.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Fatalf("Read = %d, %v; want the byte", n, err)
	}
}

func TestEnds(t *testing.T) {
	type step struct {
		name string
		call func() error
		want error // by errors.Is
	}
	read := func(c *Conn) func() error {
		return func() error { _, err := c.Read(make([]byte, 1)); return err }
	}
	write := func(c *Conn) func() error { return func() error { _, err := c.Write([]byte("x")); return err } }
	tests := []struct {
		name  string
		end   func(a *Conn)
		steps func(a, b *Conn) []step
	}{
		{"close", func(a *Conn) { a.Close() }, func(a, b *Conn) []step {
			return []step{
				{"peer reads what was buffered", read(b), nil},
				{"peer reads the end", read(b), io.EOF},
				{"peer reads the end again", read(b), io.EOF},
				{"peer writes", write(b), syscall.EPIPE},
				{"own read", read(a), net.ErrClosed},
				{"own write", write(a), net.ErrClosed},
				{"own close", a.Close, net.ErrClosed},
				{"own deadline", func() error { return a.SetDeadline(time.Time{}) }, net.ErrClosed},
				{"peer closes", b.Close, nil},
			}
		}},
		{"close write", func(a *Conn) { a.CloseWrite() }, func(a, b *Conn) []step {
			return []step{
				{"peer reads what was buffered", read(b), nil},
				{"peer reads the end", read(b), io.EOF},
				{"peer writes", write(b), nil},
				{"own read", read(a), nil},
				{"own write", write(a), syscall.EPIPE},
				{"own close", a.Close, nil},
			}
		}},
		{"reset", func(a *Conn) { a.Reset() }, func(a, b *Conn) []step {
			return []step{
				{"peer reads", read(b), syscall.ECONNRESET},
				{"peer writes", write(b), syscall.ECONNRESET},
				{"own read", read(a), net.ErrClosed},
				{"own write", write(a), net.ErrClosed},
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := Pipe(Options{})
				a.Write([]byte("x"))
				test.end(a)
				for _, s := range test.steps(a, b) {
					if err := s.call(); !errors.Is(err, s.want) {
						t.Errorf("%s: %v, want %v", s.name, err, s.want)
					}
				}
			})
		})
	}
}

// Blocked calls on both sides wake when either end goes.
func TestEndsWakeBlockedCalls(t *testing.T) {
	tests := []struct {
		name                         string
		end                          func(a *Conn)
		aRead, aWrite, bRead, bWrite error
	}{
		{"close", func(a *Conn) { a.Close() }, net.ErrClosed, net.ErrClosed, nil, syscall.EPIPE},
		{"reset", func(a *Conn) { a.Reset() }, net.ErrClosed, net.ErrClosed, syscall.ECONNRESET, syscall.ECONNRESET},
	}
	for _, test := range tests {
		for _, blocked := range []string{"reads", "writes"} {
			t.Run(test.name+"/"+blocked, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := Pipe(Options{Buffer: 2})
					call := func(what string, f func([]byte) (int, error), n int, want error) {
						_, err := f(make([]byte, n))
						if want == nil {
							want = io.EOF // b reads the end of file
						}
						if !errors.Is(err, want) {
							t.Errorf("%s: %v, want %v", what, err, want)
						}
					}
					if blocked == "reads" {
						go call("a.Read", a.Read, 1, test.aRead)
						go call("b.Read", b.Read, 1, test.bRead)
					} else {
						go call("a.Write", a.Write, 9, test.aWrite)
						go call("b.Write", b.Write, 9, test.bWrite)
					}
					synctest.Wait()
					test.end(a)
				})
			})
		}
	}
}

func TestOptionsAndStats(t *testing.T) {
	var seen []string
	a, b := Pipe(Options{
		A: End{OnWrite: func(p []byte) { seen = append(seen, string(p)) }},
		B: End{ReadMax: 2, Buffer: 1},
	})
	a.Write([]byte("abc"))
	a.Write([]byte("defgh"))
	p := make([]byte, 8)
	for _, want := range []string{"ab", "cd", "ef", "gh"} {
		if n, err := b.Read(p); err != nil || string(p[:n]) != want {
			t.Errorf("Read = %q, %v; want %q", p[:n], err, want)
		}
	}
	if len(seen) != 2 || seen[0] != "abc" || seen[1] != "defgh" {
		t.Errorf("OnWrite saw %q", seen)
	}
	a.SetReadDeadline(time.Time{})
	a.SetDeadline(time.Time{})
	b.SetWriteDeadline(time.Now().Add(-1))
	if n, _ := b.Write([]byte("xy")); n != 0 {
		t.Errorf("Write past its deadline took %d bytes", n)
	}
	if got, want := a.Stats(), (Stats{Writes: 2, BytesWritten: 8, MaxWrite: 5, ReadDeadlines: 2, WriteDeadlines: 1}); got != want {
		t.Errorf("a.Stats() = %+v, want %+v", got, want)
	}
	if got, want := b.Stats(), (Stats{Reads: 4, Writes: 1, BytesRead: 8, MaxWrite: 2, WriteDeadlines: 1}); got != want {
		t.Errorf("b.Stats() = %+v, want %+v", got, want)
	}
}
