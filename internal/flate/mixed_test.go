package flate

import (
	"bytes"
	"fmt"
	"testing"
)

// TestEncoderMixed has an encoder of each window do all it can, in random
// order. It sends messages of every kind and size, some of which are refused.
// It sends streams in pieces, and messages that came into the window by another
// way. Its messages inflate with no more than its window and what was sent. An
// encoder that does the same sends the same, whatever others leave in the pools
// meanwhile.
func TestEncoderMixed(t *testing.T) {
	steps := 150
	if testing.Short() || lighter == 1 {
		steps = 40
	}
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		for _, takeover := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/%t", bits, takeover), func(t *testing.T) {
				rnd := newRand(uint64(2*bits) + uint64(len(t.Name())))
				a, b := NewEncoder(bits, takeover), NewEncoder(bits, takeover)
				peer := &receiver{bits: bits, keep: takeover}
				d := NewDecoder(bits, takeover)
				var last []byte
				kinds := map[string]int{}
				for step := range steps {
					size := rnd.IntN(1 << (2 + rnd.IntN(bits)))
					msg := corpora[rnd.IntN(len(corpora))].make(uint64(rnd.IntN(9)), size)
					if rnd.IntN(3) == 0 { // like the last one
						msg = append(msg[:len(msg)/2:len(msg)/2], last...)
					}
					if rnd.IntN(20) == 0 {
						msg = corpora[rnd.IntN(len(corpora))].make(uint64(step), 100_000)
					}
					last = msg[:min(len(msg), 1<<bits)]

					how := rnd.IntN(4)
					seed := rnd.Uint64()
					do := func(e *Encoder) (out []byte, kind string) {
						rnd := newRand(seed)
						switch how {
						case 0:
							for left := msg; ; {
								n := min(len(left), rnd.IntN(1+2*streamBlock))
								out = e.AppendChunk(out, left[:n], n == len(left))
								if left = left[n:]; len(left) == 0 {
									return out, "stream"
								}
							}
						case 1:
							if !takeover {
								return nil, "nothing"
							}
							other := NewEncoder(MinWindowBits+rnd.IntN(bits-MinWindowBits+1), false)
							out, ok := other.AppendMessage(nil, msg)
							if ok {
								e.Learn(msg)
								return out, "learnt"
							}
							return nil, "plain"
						}
						out, ok := e.AppendMessage(nil, msg)
						if ok {
							return out, "message"
						}
						return nil, "plain"
					}

					got, kind := do(a)
					kinds[kind]++
					if got != nil {
						if err := peer.check(got, msg); err != nil {
							t.Fatalf("step %d, %s of %d bytes: %v", step, kind, len(msg), err)
						}
						if back, err := d.AppendMessage(nil, got, -1); err != nil || !bytes.Equal(back, msg) {
							t.Fatalf("step %d, %s of %d bytes: the decoder got %d bytes, %v", step, kind, len(msg), len(back), err)
						}
					}
					// The bytes that others leave behind resemble the next
					// ones, at other places.
					for k := range 3 {
						dirt := NewEncoder(MinWindowBits+rnd.IntN(8), k%2 == 0)
						other := append(randomData(uint64(step), 1+k), msg...)
						dirt.AppendMessage(nil, other)
						dirt.AppendChunk(nil, other, k == 0)
						dirt.Drop()
					}
					if again, _ := do(b); !bytes.Equal(got, again) {
						t.Fatalf("step %d, %s of %d bytes: %d bytes, and from a twin %d, not the same", step, kind, len(msg), len(got), len(again))
					}
				}
				for _, kind := range []string{"stream", "message", "plain"} {
					if kinds[kind] == 0 {
						t.Errorf("no %s among %v: that tests too little", kind, kinds)
					}
				}
			})
		}
	}
}
