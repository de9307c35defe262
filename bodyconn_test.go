package websocket

import (
	"bytes"
	"context"
	"errors"
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

// bodyPipe returns a bodyConn and the far end of its body. The body is an
// io.ReadWriteCloser and nothing else: it has no deadlines.
func bodyPipe() (*bodyConn, net.Conn) {
	near, far := net.Pipe()
	return newBodyConn(struct{ io.ReadWriteCloser }{near}, unknownAddr{}, unknownAddr{}), far
}

func TestBodyConnRoundTrip(t *testing.T) {
	c, far := bodyPipe()
	go io.Copy(far, far)
	data := strings.Repeat("0123456789", 10_000)
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := 0; i < len(data); i += 7000 {
			if n, err := c.Write([]byte(data[i:min(i+7000, len(data))])); err != nil {
				t.Errorf("Write: %d, %v", n, err)
			}
		}
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != data {
		t.Errorf("got %v, equal: %v", err, string(got) == data)
	}
	<-written
	far.Close()
	for range 2 { // sticks
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("Read: got %d, %v", n, err)
		}
	}
	if c.LocalAddr().String() != "unknown" || c.RemoteAddr().Network() != "websocket" {
		t.Errorf("addresses %v, %v", c.LocalAddr(), c.RemoteAddr())
	}
	c.Close()
}

func TestBodyConnReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := bodyPipe()
		defer c.Close()
		defer far.Close()
		buf := make([]byte, 8)
		start := time.Now()
		for i := range 3 { // each Read finds the same pending read of the body
			c.SetReadDeadline(time.Now().Add(time.Second))
			if n, err := c.Read(buf); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("Read: got %d, %v", n, err)
			}
			if d := time.Since(start); d != time.Duration(i+1)*time.Second {
				t.Fatalf("the deadline came after %v", d)
			}
		}
		// The next Read returns the bytes that came while no goroutine read.
		if _, err := far.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(buf); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Read with a deadline that has passed: got %d, %v", n, err)
		}
		c.SetReadDeadline(time.Time{})
		for _, want := range []string{"hel", "lo"} {
			if n, err := c.Read(buf[:3]); string(buf[:n]) != want || err != nil {
				t.Fatalf("Read: got %q, %v, want %q", buf[:n], err, want)
			}
		}
		// A deadline that is set, moved or taken away during a Read counts.
		read := make(chan error, 1)
		go func() {
			_, err := c.Read(buf)
			read <- err
		}()
		synctest.Wait()
		c.SetReadDeadline(time.Now().Add(time.Hour))
		time.Sleep(time.Minute)
		c.SetReadDeadline(time.Time{})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		select {
		case err := <-read:
			t.Fatalf("Read returned: %v", err)
		default:
		}
		c.SetReadDeadline(time.Unix(1, 0))
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Read: %v", err)
		}
		c.SetReadDeadline(time.Unix(2, 0))
		c.SetReadDeadline(time.Now().Add(time.Hour))
		go far.Write([]byte("again"))
		if n, err := c.Read(buf); string(buf[:n]) != "again" || err != nil {
			t.Fatalf("Read after the deadline was moved ahead: got %q, %v", buf[:n], err)
		}
	})
}

func TestBodyConnWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := bodyPipe()
		defer far.Close()
		p := []byte("hello")
		c.SetWriteDeadline(time.Now().Add(time.Second))
		start := time.Now()
		if _, err := c.Write(p); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second+writeGrace {
			t.Fatalf("Write: %v after %v", err, time.Since(start))
		}
		copy(p, "XXXXX") // p is ours again, whatever the body still writes
		c.SetWriteDeadline(time.Time{})
		if n, err := c.Write(p); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a Write after one that was cut: got %d, %v", n, err)
		}
		got := make([]byte, 8)
		if n, err := far.Read(got); string(got[:n]) != "hello" || err != nil {
			t.Fatalf("the peer got %q, %v", got[:n], err)
		}
		c.Close()
	})
}

// A slowBody has taken what is written to it some time before its Write
// returns.
type slowBody struct{ io.ReadWriteCloser }

func (b slowBody) Write(p []byte) (int, error) {
	n, err := b.ReadWriteCloser.Write(p)
	time.Sleep(writeGrace / 2)
	return n, err
}

// A context that ends when the peer has answered, and the write of the body has
// not returned yet, cuts nothing.
func TestBodyConnAnswered(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := &pair{client: client}
		p.ours, p.theirs = netfake.Pipe(netfake.Options{})
		role := wstest.Client
		if client {
			role = wstest.Server
		}
		p.Peer = wstest.NewPeer(t, p.theirs, role)
		p.c = newConn(connConfig{transport: newBodyConn(slowBody{p.ours}, unknownAddr{}, unknownAddr{}), client: client})
		defer p.c.CloseNow()
		ctx, cancel := context.WithCancel(context.Background())
		written := start(func() error { return p.c.Write(ctx, MessageText, []byte("hi")) })
		p.WantFrame(wstest.Text, "hi")
		p.WriteFrames(text("hi"))
		p.wantRead(t, MessageText, "hi")
		cancel()
		if err := <-written; err != nil {
			t.Errorf("Write = %v", err)
		}
		closed := start(func() error { return p.c.Close(StatusNormalClosure, "") })
		p.WantClose(1000)
		p.WriteClose(1000, "")
		if !client {
			p.WantEnd()
		}
		p.theirs.Close()
		if err := <-closed; err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

func TestBodyConnClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := bodyPipe()
		defer far.Close()
		c.SetDeadline(time.Now().Add(time.Hour))
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Read: %v", err)
				}
			})
			wg.Go(func() {
				if _, err := c.Write(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Write: %v", err)
				}
			})
		}
		synctest.Wait()
		for range 2 {
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		wg.Wait()
		if err := c.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetDeadline: %v", err)
		}
		// The bubble ends only when the goroutines that read and wrote the body
		// have ended.
	})
}

// A body is not a net.Conn: it may return nothing, or data and an error at
// once.
type scriptedBody struct {
	bytes.Buffer
	reads []func(p []byte) (int, error)
}

func (b *scriptedBody) Read(p []byte) (int, error) {
	f := b.reads[0]
	if len(b.reads) > 1 {
		b.reads = b.reads[1:]
	}
	return f(p)
}

func (b *scriptedBody) Write(p []byte) (int, error) { return len(p) - 1, nil }
func (b *scriptedBody) Close() error                { return errors.New("cannot close") }

func TestBodyConnOddBodies(t *testing.T) {
	nothing := func(p []byte) (int, error) { return 0, nil }
	last := func(p []byte) (int, error) { return copy(p, "ab"), io.ErrUnexpectedEOF }
	c := newBodyConn(&scriptedBody{reads: []func([]byte) (int, error){nothing, nothing, last}}, nil, nil)
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("Read of nothing: %d, %v", n, err)
	}
	if got, err := io.ReadAll(c); string(got) != "ab" || err != io.ErrUnexpectedEOF {
		t.Errorf("got %q, %v", got, err)
	}
	for range 2 {
		if n, err := c.Write([]byte("abc")); err != io.ErrShortWrite {
			t.Errorf("a short write: %d, %v", n, err)
		}
	}
	for range 2 {
		if err := c.Close(); !matches(err, "cannot close") {
			t.Errorf("Close: %v", err)
		}
	}
	c = newBodyConn(&scriptedBody{reads: []func([]byte) (int, error){nothing}}, nil, nil)
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.ErrNoProgress {
		t.Errorf("a body that returns nothing: %d, %v", n, err)
	}
}

// A RoundTripper that gives a connection as the body is asked for its
// addresses.
func TestBodyThatIsConn(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	conn, _ := takeConn(a, nil)
	defer conn.Close()
	if conn.LocalAddr().Network() != "pipe" || conn.RemoteAddr().Network() != "pipe" {
		t.Errorf("addresses %v, %v", conn.LocalAddr(), conn.RemoteAddr())
	}
}
