package websocket

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"testing"
)

// A tally counts the writes and the frames it gets.
type tally struct {
	replay
	writes int
	data   []byte
}

func (t *tally) Write(p []byte) (int, error) {
	t.writes++
	t.data = append(t.data, p...)
	return len(p), nil
}

// Many writers on one processor, over a transport that never makes them wait: they still combine. One writer alone is
// not held back: what it writes is out before Write returns.
func TestWritersCombine(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const writers, messages = 16, 400
	out := &tally{}
	c := newConn(connConfig{transport: out})
	msg := bytes.Repeat([]byte("m"), 100)
	write := func() {
		if err := c.Write(context.Background(), MessageBinary, msg); err != nil {
			t.Error(err)
		}
	}
	for i := range messages {
		if write(); out.writes != i+1 {
			t.Fatalf("%d writes after message %d", out.writes, i+1)
		}
	}
	*out = tally{}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range messages {
				write()
			}
		})
	}
	wg.Wait()
	if out.writes > writers*messages/4 {
		t.Errorf("%d writes of %d messages", out.writes, writers*messages)
	}
	frame := appendHeader(nil, header{headerBits: headerBits{fin: true, opcode: opBinary}, length: int64(len(msg))})
	if want := bytes.Repeat(append(frame, msg...), writers*messages); !bytes.Equal(out.data, want) {
		t.Errorf("%d bytes are out, want %d of whole frames", len(out.data), len(want))
	}
}
