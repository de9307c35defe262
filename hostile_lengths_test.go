package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// The tests in the files hostile_*_test.go are named for the class of flaw that each is to find, where a peer means
// harm. What a well-meant peer may do wrong is in the other files; where those settle a class, the comments here say
// so.

// Lengths at which an implementation with too short an integer, or a sum that overflows, goes wrong: on every opcode,
// in both roles, without a byte of the payload. Run it as a 32-bit program too (make cross).
func TestHostileLength(t *testing.T) {
	lengths := []uint64{1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 5, 1 << 62, 1<<63 - 1, 1 << 63, 1<<63 + 5, 1<<64 - 125, 1<<64 - 1}
	for op := range wstest.Opcode(16) {
		t.Run(op.String(), func(t *testing.T) {
			for _, length := range lengths {
				for _, limit := range []int64{0, -1} {
					bothRoles(t, func(t *testing.T, client bool) {
						for how := range reads {
							checkLength(t, op, length, limit, client, how)
						}
					})
				}
			}
		})
	}
}

// checkLength sends the header of a frame that declares length, as a continuation inside a message of 5 bytes.
func checkLength(t *testing.T, op wstest.Opcode, length uint64, limit int64, client bool, how int) {
	t.Helper()
	code := 0 // of our close frame; 0: the length is fine, and the payload waited for
	switch {
	case length >= 1<<63, op > wstest.Binary:
		code = 1002
	case limit == 0, op == wstest.Continuation && length > 1<<63-1-5:
		code = 1009
	}
	p := newPair(t, client, connConfig{readLimit: limit}, netfake.Options{})
	if op == wstest.Continuation {
		p.WriteFrames(first(wstest.Binary, "hello"))
	}
	f := fin(op, "")
	f.Declare = length
	what := fmt.Sprintf("%v of %d bytes, limit %d, client %v, reading way %d", op, length, limit, client, how)
	took := allocated(func() {
		p.WriteFrames(f)
		read := start(func() error { _, _, err := reads[how](p.c); return err })
		if code == 0 {
			if !running(read) {
				t.Fatalf("%s: %v, want that the payload is waited for", what, <-read)
			}
			p.theirs.CloseWrite()
			if err := <-read; !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %v, want io.ErrUnexpectedEOF", what, err)
			}
			return
		}
		p.WantClose(code)
		p.Close()
		if err := <-read; errors.Is(err, ErrMessageTooBig) != (code == 1009) || err == nil || CloseStatus(err) != -1 {
			t.Errorf("%s: %v, for the close code %d", what, err, code)
		}
	})
	if took > 256<<10 {
		t.Errorf("%s: took %d KiB", what, took>>10)
	}
}

// What no peer may send is refused when its header is there, even if its payload comes in drops.
func TestHostileOpcodeHugePayload(t *testing.T) {
	for _, op := range []wstest.Opcode{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		bothRoles(t, func(t *testing.T, client bool) {
			p := newPair(t, client, connConfig{readLimit: -1}, netfake.Options{Buffer: 1})
			f := fin(op, "")
			f.Declare = 1 << 40
			b := p.Encode(f)
			read := start(p.readError)
			for i := range b {
				if !running(read) {
					t.Fatalf("opcode %d: refused before its header was there: %v", op, <-read)
				}
				p.WriteRaw(b[i : i+1])
			}
			p.WantClose(1002)
			p.Close()
			<-read
		})
	}
}

// A length that the read limit refuses is refused on the header as well while a message is discarded: one that was
// left to be skipped, and those that come while the connection is being closed.
func TestHostileLengthOfDiscarded(t *testing.T) {
	f := cont("")
	f.Declare = 1 << 40
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		p.WriteFrames(first(wstest.Text, "left"), f)
		if _, _, err := p.c.Reader(context.Background()); err != nil {
			t.Fatal(err)
		}
		read := start(p.readError)
		p.WantClose(1009)
		p.Close()
		if err := <-read; !errors.Is(err, ErrMessageTooBig) {
			t.Errorf("Read = %v", err)
		}
	})
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{}, netfake.Options{})
		done := start(func() error { return p.c.Close(StatusNormalClosure, "") })
		p.WantClose(1000)
		p.WriteFrames(first(wstest.Text, "late"), f)
		synctest.Wait()
		if err := <-done; !errors.Is(err, ErrMessageTooBig) {
			t.Errorf("Close = %v", err)
		}
	})
}
