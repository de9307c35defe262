package flate

import (
	"bytes"
	"testing"

	"github.com/seed70bc5565/websocket/internal/poison"
)

// What stays behind between messages: in the pools, in the window, in memory.

// TestEncoderDeterministic has two encoders do the same while others use the
// pools in between.
func TestEncoderDeterministic(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		a, b := NewEncoder(13, takeover), NewEncoder(13, takeover)
		rnd := newRand(1)
		for i := range 300 {
			size := rnd.IntN(1 << rnd.IntN(15))
			msg := corpora[rnd.IntN(len(corpora))].make(uint64(i), size)
			cut := rnd.IntN(size + 1)
			dirt := NewEncoder(15, i%2 == 0)
			one := func(e *Encoder) []byte {
				var out []byte
				if i%3 == 0 {
					out = e.AppendChunk(out, msg[:cut], false)
					return e.AppendChunk(out, msg[cut:], true)
				}
				out, _ = e.AppendMessage(out, msg)
				return out
			}
			x := one(a)
			for k := range 3 {
				// Much like msg, so that what it leaves in the pools could well
				// be of use.
				other := append(randomData(uint64(i), k), msg...)
				for at := k; at < len(other); at += 40 {
					other[at]++
				}
				dirt.AppendMessage(nil, other)
				dirt.AppendChunk(nil, other, true)
			}
			if y := one(b); !bytes.Equal(x, y) {
				t.Fatalf("takeover %t, message %d: %d and %d bytes, not the same", takeover, i, len(x), len(y))
			}
		}
	}
}

// TestEncoderPlain: what is refused leaves no trace in the window.
func TestEncoderPlain(t *testing.T) {
	e := NewEncoder(15, true)
	r := &receiver{bits: 15, keep: true}
	for i := range 20 {
		noise := randomData(uint64(i), 5000)
		if _, ok := e.AppendMessage(nil, noise); ok {
			t.Fatal("noise was compressed")
		}
		msg := append(jsonText(uint64(i), 500), noise[:100]...)
		out, ok := e.AppendMessage(nil, msg)
		if !ok {
			t.Fatal("JSON was not compressed")
		}
		if err := r.check(out, msg); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

// TestEncoderMemory holds Encoder to what its comment promises.
func TestEncoderMemory(t *testing.T) {
	e := NewEncoder(15, false)
	e.AppendMessage(nil, jsonText(1, 5000))
	e.AppendChunk(nil, jsonText(1, 5000), true)
	if e.past != nil || e.stream != nil {
		t.Error("without takeover something stays behind")
	}
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		e := NewEncoder(bits, true)
		e.AppendMessage(nil, jsonText(1, 300))
		small := keptHistory(min(uint8(bits), smallWindow)) // taken in one step
		if h, n := cap(e.past.buf), 2*len(e.past.table); h > max(1024, small) || n > 1024 {
			t.Errorf("window %d: %d bytes of history and %d of hints after 300 bytes", 1<<bits, h, n)
		}
		for i := range 200 {
			e.AppendMessage(nil, jsonText(uint64(i), 3000))
		}
		if h, n := cap(e.past.buf), 2*len(e.past.table); h > keptHistory(uint8(bits)) || n > min(1<<bits/2, 8<<10) {
			t.Errorf("window %d: %d bytes of history and %d of hints", 1<<bits, h, n)
		}
		if n := len(e.past.buf); n < keptHistory(uint8(bits))*7/8 {
			t.Errorf("window %d: only %d bytes of history are kept", 1<<bits, n)
		}
	}
}

func TestEncoderAllocs(t *testing.T) {
	if lighter == 1 || poison.On {
		t.Skip("under the race detector sync.Pool forgets at random; poisoned pools note who takes what")
	}
	for _, takeover := range []bool{false, true} {
		e := NewEncoder(15, takeover)
		dst := make([]byte, 0, 64<<10)
		msgs := make([][]byte, 64)
		for i := range msgs {
			msgs[i] = corpora[i%len(corpora)].make(uint64(i), 100+i*50)
		}
		i := 0
		run := func() {
			msg := msgs[i%len(msgs)]
			i++
			e.AppendMessage(dst, msg)
			e.AppendChunk(dst, msg[:len(msg)/2], false)
			e.AppendChunk(dst, msg[len(msg)/2:], true)
		}
		for range 100 {
			run()
		}
		if n := testing.AllocsPerRun(200, run); n != 0 {
			t.Errorf("takeover %t: %v allocations a message", takeover, n)
		}
	}
}

// TestFinderClean: what the pools' last users left behind must not be of any
// use, or the output would depend on it.
func TestFinderClean(t *testing.T) {
	var spare [maxTable]uint16
	used := past{table: make([]uint16, 1024)}
	for _, table := range [][]uint16{spare[:], used.table} {
		for i := range table {
			table[i] = 1
		}
	}
	used.table = used.table[:0]
	for _, from := range []struct {
		p    *past
		bits uint8
	}{{nil, 15}, {&used, 15}, {&past{}, smallWindow}} {
		for i := range spare {
			spare[i] = 1
		}
		f := from.p.finder(from.bits, 400, &spare)
		if len(f.table) != 512 {
			t.Errorf("%d hints for 400 bytes", len(f.table))
		}
		for _, pos := range f.table {
			if pos != 0 {
				t.Fatal("a new table holds old hints")
			}
		}
	}
}
