package suite

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// directWrite is how much the session's goroutine writes itself: what a socket
// buffer takes at once.
const directWrite = 16 << 10

// A writer sends in the background what could make the session wait: long
// frames and those in many TCP writes. The order of the calls is kept.
type writer struct {
	conn net.Conn
	mu   sync.Mutex
	jobs []func() error // owned by mu
	busy bool           // owned by mu: a goroutine is at work
	left int            // owned by mu: bytes that write was given and has not sent
	idle chan struct{}  // owned by mu: closed when there is no goroutine
	sent atomic.Int64   // when the last TCP write ended, in Unix nanoseconds
}

func newWriter(conn net.Conn) *writer { return &writer{conn: conn} }

func (w *writer) add(job func() error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jobs = append(w.jobs, job)
	if !w.busy {
		w.busy = true
		w.idle = make(chan struct{})
		go w.work()
	}
}

func (w *writer) work() {
	for {
		w.mu.Lock()
		if len(w.jobs) == 0 {
			w.busy = false
			close(w.idle)
			w.mu.Unlock()
			return
		}
		job := w.jobs[0]
		w.jobs = w.jobs[1:]
		w.mu.Unlock()
		if job() != nil { // the peer is gone: the reading end will see it
			w.mu.Lock()
			w.jobs = nil
			w.mu.Unlock()
		}
	}
}

// writeNow sends b, in this goroutine if it is short. It returns a slice to use
// in place of b.
func (w *writer) writeNow(b []byte) []byte {
	w.mu.Lock()
	busy := w.busy
	w.mu.Unlock()
	if !busy && len(b) <= directWrite {
		w.send(b)
		return b[:0]
	}
	w.write(b, 0)
	return nil
}

// send is a TCP write.
func (w *writer) send(b []byte) (int, error) {
	n, err := w.conn.Write(b)
	if n > 0 {
		w.sent.Store(time.Now().UnixNano())
	}
	return n, err
}

// idleSince is when the last TCP write ended.
func (w *writer) idleSince() time.Time { return time.Unix(0, w.sent.Load()) }

// backlog is how many bytes of what write was given wait.
func (w *writer) backlog() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.left
}

// write sends b in TCP writes of chop bytes, or in one if chop is 0. It keeps
// b.
func (w *writer) write(b []byte, chop int) {
	size := len(b)
	w.mu.Lock()
	w.left += size
	w.mu.Unlock()
	w.add(func() error {
		defer func() {
			w.mu.Lock()
			w.left -= size
			w.mu.Unlock()
		}()
		for len(b) > 0 {
			n := len(b)
			if chop > 0 {
				n = min(n, chop)
			}
			if _, err := w.send(b[:n]); err != nil {
				return err
			}
			b = b[n:]
		}
		return nil
	})
}

// long sends a long frame, whose payload is made piece by piece. It returns the
// masking key.
func (w *writer) long(f *frame, client bool) []byte {
	const piece = 128 << 10
	header := appendHeader(nil, f.opcode, !f.more, f.rsv, uint64(f.repeat), 0, client)
	var key []byte
	if client {
		key = binary.BigEndian.AppendUint32(nil, rand.Uint32())
		header = append(header, key...)
	}
	n := f.repeat
	w.add(func() error {
		// Blocks of whole patterns and whole keys are all alike.
		block := len(f.payload) * 4
		block *= max(1, piece/block)
		buf := header
		for len(buf) < len(header)+block {
			buf = append(buf, f.payload...)
		}
		if client {
			maskBytes(buf[len(header):], key, 0)
		}
		if _, err := w.send(buf[:len(header)+min(n, block)]); err != nil {
			return err
		}
		for n -= min(n, block); n > 0; n -= min(n, block) {
			if _, err := w.send(buf[len(header) : len(header)+min(n, block)]); err != nil {
				return err
			}
		}
		return nil
	})
	return key
}

// finish lets short rests go out, and ends TCP.
func (w *writer) finish(conn net.Conn) {
	w.mu.Lock()
	idle := w.idle
	if !w.busy {
		idle = nil
	}
	w.mu.Unlock()
	if idle != nil {
		timer := time.NewTimer(200 * time.Millisecond)
		select {
		case <-idle:
		case <-timer.C:
		}
		timer.Stop()
	}
	conn.Close()
	if idle != nil {
		<-idle
	}
}
