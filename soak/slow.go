package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/seed70bc5565/websocket"
)

// A slowCase is one message to a peer that takes it slowly, and answers each
// ping as soon as it gets to it. Such a peer is alive: the heartbeat must not
// give it up.
type slowCase struct {
	size, rate int // bytes, and bytes a second
}

// slowCases last longer than the interval and the timeout of the heartbeat,
// which have their defaults.
var slowCases = []slowCase{{5_000_000, 80_000}, {3_000_000, 60_000}}

// runSlow runs all cases at once.
func runSlow(cases []slowCase) error {
	errs := make([]error, len(cases))
	var all sync.WaitGroup
	for i, c := range cases {
		all.Go(func() {
			if err := c.run(); err != nil {
				errs[i] = fmt.Errorf("%d bytes at %d a second: %w", c.size, c.rate, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (sc slowCase) run() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	server := &http.Server{Handler: websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		ended := c.CloseRead(context.Background())
		err := c.Write(context.Background(), websocket.MessageBinary, make([]byte, sc.size))
		<-ended.Done()
		if _, _, readErr := c.Read(context.Background()); err == nil && websocket.CloseStatus(readErr) != websocket.StatusNormalClosure {
			err = readErr
		}
		sent <- err
	}, nil)}
	go server.Serve(ln)
	defer server.Close()
	received := sc.receive(ln.Addr().String())
	return errors.Join(received, <-sent)
}

// receive is the peer: it takes the message, and closes.
func (sc slowCase) receive(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", addr)
	in := bufio.NewReaderSize(&slowReader{Reader: conn, rate: sc.rate}, 1024)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	for {
		op, payload, err := readFrame(in)
		if err != nil {
			return err
		}
		switch op {
		case 9:
			conn.Write(maskedFrame(10, payload))
		case 2:
			if len(payload) != sc.size {
				return fmt.Errorf("%d bytes came", len(payload))
			}
			conn.Write(maskedFrame(8, []byte{1000 >> 8, 1000 & 0xff}))
		case 8:
			return nil
		}
	}
}

// readFrame reads a frame from a server.
func readFrame(in *bufio.Reader) (op byte, payload []byte, err error) {
	var head [10]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1])
	switch n {
	case 126:
		_, err = io.ReadFull(in, head[2:4])
		n = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		_, err = io.ReadFull(in, head[2:10])
		n = binary.BigEndian.Uint64(head[2:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(in, payload)
	return head[0] & 15, payload, err
}

// maskedFrame returns a short frame from a client, with a masking key of zeros.
func maskedFrame(op byte, payload []byte) []byte {
	return append([]byte{0x80 | op, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
}

// A slowReader reads no faster than rate bytes a second.
type slowReader struct {
	io.Reader
	rate int
}

func (r *slowReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p[:min(len(p), r.rate/20)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(r.rate))
	return n, err
}
