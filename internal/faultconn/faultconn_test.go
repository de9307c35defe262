package faultconn

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
)

// The effect of each kind of fault on a call, on the next one of its direction,
// and on the other direction.
func TestKinds(t *testing.T) {
	for _, test := range []struct {
		kind                          Kind
		readN, writeN                 int
		readErr, nextRead             error
		writeErr, nextWrite           error
		writeAfterRead, readAfterFail error
	}{
		{Fail, 0, 0, Err, Err, Err, Err, nil, nil},
		{Short, 2, 2, Err, Err, Err, Err, nil, nil},
		{Reset, 0, 0, syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET},
		{HalfClose, 0, 0, io.EOF, io.EOF, syscall.EPIPE, syscall.EPIPE, nil, nil},
		{Timeout, 0, 2, os.ErrDeadlineExceeded, nil, os.ErrDeadlineExceeded, nil, nil, nil},
		{Delay, 4, 4, nil, nil, nil, nil, nil, nil},
	} {
		t.Run(test.kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := func(what string, got, want error) {
					t.Helper()
					if !errors.Is(got, want) || (got == nil) != (want == nil) {
						t.Errorf("%s: %v, want %v", what, got, want)
					}
				}
				b := make([]byte, 4)

				c, peer := pipe(Plan{Kind: test.kind, At: 1})
				_, err := c.Read(b[:1])
				is("the read before", err, nil)
				start := time.Now()
				n, err := c.Read(b)
				if n != test.readN {
					t.Errorf("%d bytes read", n)
				}
				is("read", err, test.readErr)
				if slept := time.Since(start); (slept == DelayTime) != (test.kind == Delay) {
					t.Errorf("read took %v", slept)
				}
				_, err = c.Read(b)
				is("next read", err, test.nextRead)
				_, err = c.Write(b)
				is("write after that", err, test.writeAfterRead)
				_, err = peer.Read(make([]byte, 1))
				is("the peer's read", err, test.writeAfterRead)
				if !c.Struck() {
					t.Error("not struck")
				}

				c, peer = pipe(Plan{Kind: test.kind})
				n, err = c.Write(b)
				if n != test.writeN {
					t.Errorf("%d bytes written", n)
				}
				is("write", err, test.writeErr)
				_, err = c.Write(b)
				is("next write", err, test.nextWrite)
				_, err = c.Read(b)
				is("read after that", err, test.readAfterFail)
				peer.Close()
			})
		})
	}
}

func pipe(plan Plan) (*Conn, net.Conn) {
	a, b := netfake.Pipe(netfake.Options{})
	b.Write([]byte("hello, world"))
	return New(a, plan), b
}

func TestNotStruck(t *testing.T) {
	c, peer := pipe(Plan{At: 3, ReadMax: 2})
	b := make([]byte, 10)
	for range 3 {
		if n, err := c.Read(b); n != 2 || err != nil {
			t.Fatalf("read %d, %v", n, err)
		}
	}
	if c.Struck() {
		t.Error("struck too early")
	}
	if _, err := c.Read(b); !errors.Is(err, Err) || !c.Struck() {
		t.Errorf("the fourth read: %v", err)
	}
	c = NewUnarmed(peer, Plan{})
	if _, err := c.Write(b); err != nil || c.Struck() {
		t.Errorf("a write before Arm: %v", err)
	}
	c.Arm()
	if _, err := c.Write(b); !errors.Is(err, Err) {
		t.Errorf("a write after Arm: %v", err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Errorf("CloseWrite: %v", err)
	}
	if err := New(noHalves{peer}, Plan{}).CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("CloseWrite of a connection that has none: %v", err)
	}
}

type noHalves struct{ net.Conn }
