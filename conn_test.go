package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

// tcpPair returns the two ends of a connection over the loopback interface: a real socket, with all fast paths.
func tcpPair(t testing.TB) (server, client *Conn) {
	t.Helper()
	return tcpPairOf(t, connConfig{})
}

// tcpPairOf is tcpPair for endpoints with the options of cfg.
func tcpPairOf(t testing.TB, cfg connConfig) (server, client *Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	out, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	cfg.transport = in
	server = newConn(cfg)
	cfg.transport, cfg.client = out, true
	client = newConn(cfg)
	t.Cleanup(func() {
		server.CloseNow()
		client.CloseNow()
	})
	return server, client
}

// echo answers every message with itself until the connection ends.
func echo(c *Conn) error {
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			return err
		}
		if err := c.Write(context.Background(), m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// Every size class of buffer, and the sizes around each, over a real socket.
func TestEchoSizesTCP(t *testing.T) {
	server, client := tcpPair(t)
	done := make(chan error, 1)
	go func() { done <- echo(server) }()

	ctx := context.Background()
	var buf []byte
	for _, size := range []int{0, 1, 15, 16, 17, 125, 126, 127, 4081, 4082, 4095, 4096, 4097, 16 << 10, 32<<10 - 8, 32 << 10, 65535, 65536, 128<<10 + 1, 1 << 20} {
		msg := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for range 3 {
			if err := client.Write(ctx, MessageText, msg); err != nil {
				t.Fatalf("write %d: %v", size, err)
			}
			typ, got, err := client.ReadInto(ctx, buf)
			if err != nil || typ != MessageText || !bytes.Equal(got, msg) {
				t.Fatalf("size %d: got type %v, %d bytes, error %v", size, typ, len(got), err)
			}
			buf = got
		}
	}
	if err := client.Close(StatusNormalClosure, "bye"); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("echo: %v", err)
	}
	if _, _, err := server.Read(ctx); CloseStatus(err) != StatusNormalClosure || !errors.Is(err, io.EOF) {
		t.Errorf("server's read after the close: %v", err)
	}
	if _, _, err := client.Read(ctx); !errors.Is(err, net.ErrClosed) {
		t.Errorf("client's read after the close: %v", err)
	}
}

// Many messages sent at once: replies gather and all arrive, in order.
func TestEchoPipelinedTCP(t *testing.T) {
	server, client := tcpPair(t)
	done := make(chan error, 1)
	go func() { done <- echo(server) }()
	ctx := context.Background()
	const n = 10000
	go func() {
		for i := range n {
			client.Write(ctx, MessageBinary, bytes.Repeat([]byte{byte(i)}, i%700))
		}
	}()
	for i := range n {
		_, got, err := client.Read(ctx)
		if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, i%700)) {
			t.Fatalf("message %d: %d bytes, %v", i, len(got), err)
		}
	}
	client.Close(StatusNormalClosure, "")
	<-done
}

// A message in many small frames is collected in a number of steps that grows with the logarithm of its size.
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
