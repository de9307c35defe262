package main

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket/benchmarks/servers/internal/raw"
	"github.com/seed70bc5565/websocket/benchmarks/servers/kit"
)

// upgraded returns the client's end of a connection that serve has accepted.
func upgraded(t *testing.T, o *kit.Options) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			serve(o, c)
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	var answer []byte
	for b := make([]byte, 1); !bytes.HasSuffix(answer, []byte("\r\n\r\n")); {
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		answer = append(answer, b...)
	}
	if !bytes.Contains(answer, []byte("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) {
		t.Fatalf("%q", answer)
	}
	return c
}

// frame returns a masked frame whose payload has n bytes of the value b.
func frame(n int, b byte) []byte {
	payload := bytes.Repeat([]byte{b}, n)
	header := raw.AppendMessage(nil, payload)
	header = header[:len(header)-n]
	header[1] |= 0x80
	return append(append(header, 1, 2, 3, 4), payload...)
}

// A client that sends much more than the sockets hold gets all of it back, in
// order, though it begins to read late. So do frames that come in pieces.
func TestEchoInPieces(t *testing.T) {
	for _, c := range []struct{ frames, size, piece int }{
		{200, 100, 1},
		{64, 1 << 20, 1 << 20},
		{64, 70_000, 4097},
		{2000, 5000, 1 << 20},
	} {
		conn := upgraded(t, &kit.Options{Echo: true})
		var in, want []byte
		for i := range c.frames {
			in = append(in, frame(c.size, byte(i))...)
			want = raw.AppendMessage(want, bytes.Repeat([]byte{byte(i)}, c.size))
		}
		sent := make(chan error, 1)
		late := make(chan struct{})
		go func() {
			defer close(sent)
			for n := 0; len(in) > 0; n++ {
				m := min(c.piece, len(in))
				if n == 5 {
					close(late)
				}
				if _, err := conn.Write(in[:m]); err != nil {
					sent <- err
					return
				}
				in = in[m:]
			}
		}()
		<-late
		got := make([]byte, len(want))
		if n, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%+v: %v after %d bytes of %d", c, err, n, len(want))
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}

// A writer that waits for room in the socket goes on when there is room, and
// ends when the connection does.
func TestPush(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.SetDeadline(time.Now().Add(30 * time.Second))
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := descriptor(nc.(*net.TCPConn))
	nc.Close()
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{fd: fd, push: newPush(new(kit.Options))}
	if err := pollers()[0].add(c); err != nil {
		t.Fatal(err)
	}

	const frames, size = 40, 1 << 20
	sent := make(chan error, 1)
	write := func() {
		for range frames {
			if err := c.Write(make([]byte, size)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}
	go write()
	if _, err := io.CopyN(io.Discard, client, frames*int64(len(raw.AppendMessage(nil, make([]byte, size))))); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	go write()
	if _, err := io.CopyN(io.Discard, client, size); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if err := <-sent; err == nil {
		t.Error("all was written to a connection that was closed")
	}
}
