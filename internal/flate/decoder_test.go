package flate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/seed70bc5565/websocket/internal/poison"
)

// readAll inflates a message with Read, giving it in pieces of pieceIn bytes
// and asking for pieceOut at a time.
func readAll(d *Decoder, payload []byte, pieceIn, pieceOut int) ([]byte, error) {
	var msg []byte
	p := make([]byte, pieceOut)
	for {
		src := payload[:min(pieceIn, len(payload))]
		final := len(src) == len(payload)
		n, used, err := d.Read(p, src, final)
		msg = append(msg, p[:n]...)
		payload = payload[used:]
		if err == io.EOF {
			if len(payload) != 0 {
				return nil, fmt.Errorf("%d bytes of payload left at the end", len(payload))
			}
			return msg, nil
		}
		if err != nil {
			return msg, err
		}
		if n == 0 && used == 0 && (len(src) > 0 || final) {
			return nil, fmt.Errorf("no progress")
		}
	}
}

// appendAll inflates a message with AppendChunk in pieces.
func appendAll(d *Decoder, dst, payload []byte, piece, limit int) ([]byte, error) {
	for {
		src := payload[:min(piece, len(payload))]
		payload = payload[len(src):]
		var err error
		dst, err = d.AppendChunk(dst, src, len(payload) == 0, limit)
		if err != nil || len(payload) == 0 {
			return dst, err
		}
	}
}

// stdPayload compresses msg with compress/flate as a permessage-deflate
// endpoint that uses it would.
func stdPayload(msg []byte, level int) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, level)
	w.Write(msg)
	w.Flush()
	return b.Bytes()[:b.Len()-4]
}

// sameAsNaive inflates payload in every way and compares result and verdict
// with naiveInflate's.
func sameAsNaive(payload, history []byte, bits int) error {
	want, wantErr := naiveInflate(payload, history, 1<<bits)
	check := func(how string, got []byte, err error) error {
		switch {
		case wantErr != nil && err == nil:
			return fmt.Errorf("%s: no error, want %v", how, wantErr)
		case wantErr == nil && err != nil:
			return fmt.Errorf("%s: %v", how, err)
		case err != nil && !errors.Is(err, ErrCorrupt):
			return fmt.Errorf("%s: %v is not ErrCorrupt", how, err)
		case err == nil && !bytes.Equal(got, want):
			return fmt.Errorf("%s: wrong message", how)
		}
		return nil
	}
	newDecoder := func() *Decoder {
		d := NewDecoder(bits, true)
		d.past.add(history[:len(history)/3], 1<<bits) // in two steps: the ring may have gone round
		d.past.add(history[len(history)/3:], 1<<bits)
		return d
	}
	got, err := newDecoder().AppendMessage([]byte("before"), payload, -1)
	if err := check("AppendMessage", bytes.TrimPrefix(got, []byte("before")), err); err != nil {
		return err
	}
	// A buffer that is just large enough, and one that is too small.
	if wantErr == nil {
		got, err = newDecoder().AppendMessage(make([]byte, 0, len(want)), payload, len(want))
		if err := check("AppendMessage up to the limit", got, err); err != nil {
			return err
		}
		if len(want) > 0 {
			if _, err = newDecoder().AppendMessage(nil, payload, len(want)-1); err != ErrTooLarge {
				return fmt.Errorf("AppendMessage past the limit: %v", err)
			}
		}
	}
	for _, piece := range []int{1, 2, 3, 7, 20, 1000} {
		got, err = appendAll(newDecoder(), nil, payload, piece, -1)
		if err := check(fmt.Sprintf("AppendChunk, %d at a time", piece), got, err); err != nil {
			return err
		}
		got, err = readAll(newDecoder(), payload, piece, 1+1000/piece)
		if err := check(fmt.Sprintf("Read, %d at a time", piece), got, err); err != nil {
			return err
		}
	}
	return nil
}

func TestDecoderSizes(t *testing.T) {
	all := append(corpora[:len(corpora):len(corpora)], moreCorpora...)
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			long := c.make(1, 70000)
			e := NewEncoder(15, false)
			for size := 0; size <= 70000; {
				msg := long[:size]
				payloads := [][]byte{e.AppendChunk(nil, msg, true)}
				if size%10 == 0 {
					payloads = append(payloads, stdPayload(msg, size/10%11-2)) // all levels, HuffmanOnly included
				}
				for _, p := range payloads {
					if err := sameAsNaive(p, nil, 15); err != nil {
						t.Fatalf("%d bytes: %v", size, err)
					}
				}
				if size < 300 {
					size += 1 + 12*lighter
				} else {
					size += size
				}
			}
		})
	}
}

// TestDecoderTakeover sends messages that refer to the whole of the window, and
// only to it.
func TestDecoderTakeover(t *testing.T) {
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			t.Parallel()
			rnd := newRand(uint64(bits))
			e := NewEncoder(bits, true)
			d := NewDecoder(bits, true)
			all := append(corpora[:len(corpora):len(corpora)], moreCorpora...)
			for i := range 1500 - 1200*lighter {
				msg := all[rnd.IntN(len(all))].make(uint64(rnd.IntN(60)), rnd.IntN(1<<rnd.IntN(14)))
				var got []byte
				var err error
				payload, ok := e.AppendMessage(nil, msg)
				if !ok {
					continue
				}
				switch i % 3 {
				case 0:
					got, err = d.AppendMessage(nil, payload, len(msg))
				case 1:
					got, err = readAll(d, payload, 1+rnd.IntN(500), 1+rnd.IntN(500))
				default:
					got, err = appendAll(d, nil, payload, 1+rnd.IntN(500), -1)
				}
				if err != nil || !bytes.Equal(got, msg) {
					t.Fatalf("message %d, %d bytes: %v", i, len(msg), err)
				}
				if d.in != nil {
					t.Fatal("working memory is kept between messages")
				}
				if n := cap(d.past.buf); n > 1<<bits {
					t.Fatalf("%d bytes kept for a window of %d", n, 1<<bits)
				}
			}
		})
	}
}

// TestDecoderExamples goes through the examples of RFC 7692 section 7.2.3.
func TestDecoderExamples(t *testing.T) {
	tests := []struct {
		name    string
		payload []byte
		want    string
	}{
		{"7.2.3.1 one block", []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}, "Hello"},
		{"7.2.3.2 with the window of the one before", []byte{0xf2, 0x00, 0x11, 0x00, 0x00}, "Hello"},
		{"7.2.3.3 a stored block", []byte{0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00}, "Hello"},
		{"7.2.3.4 BFINAL", []byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00}, "Hello"},
		{"7.2.3.5 two blocks", []byte{0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00}, "Hello"},
		{"7.2.3.6 an empty message", []byte{0x00}, ""},
		{"BFINAL and the window lives on", []byte{0xf2, 0x00, 0x11, 0x00, 0x00}, "Hello"},
		// Not in the RFC.
		{"no bytes at all", nil, ""},
		{"BFINAL and nothing behind it", []byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}, "Hello"},
		{"BFINAL on the last block", []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x04}, "Hello"},
	}
	d, history := NewDecoder(15, true), []byte(nil)
	for _, test := range tests {
		got, err := d.AppendMessage(nil, test.payload, -1)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
		if err := sameAsNaive(test.payload, history, 15); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		history = append(history, got...)
	}
}

// TestDecoderLimit: a bomb takes no more memory than the limit and what an
// inflater takes.
func TestDecoderLimit(t *testing.T) {
	bomb := NewEncoder(15, false).AppendChunk(nil, make([]byte, 16<<20), true)
	const limit = 1 << 20
	for _, piece := range []int{len(bomb), 100} {
		got, err := appendAll(NewDecoder(15, false), nil, bomb, piece, limit)
		if err != ErrTooLarge {
			t.Fatalf("%d at a time: %v", piece, err)
		}
		if cap(got) > limit+limit/8 {
			t.Errorf("%d at a time: %d bytes for a limit of %d", piece, cap(got), limit)
		}
	}
	// Read gives no more than is asked for, and stops anywhere.
	d := NewDecoder(15, false)
	p := make([]byte, 1000)
	sum, src := 0, bomb
	for range 10 {
		n, used, err := d.Read(p, src, true)
		if err != nil || n != len(p) {
			t.Fatal(n, err)
		}
		src = src[used:]
		sum += n
	}
	if used := len(bomb) - len(src); used > 200 {
		t.Errorf("%d bytes of payload were used for %d of the message", used, sum)
	}
}

// TestDecoderMemory holds Decoder to what its comment promises.
func TestDecoderMemory(t *testing.T) {
	payload, _ := NewEncoder(15, false).AppendMessage(nil, jsonText(1, 300))
	d := NewDecoder(15, false)
	d.AppendMessage(nil, payload, -1)
	if d.past != nil || d.in != nil {
		t.Error("without takeover something stays behind")
	}
	d = NewDecoder(15, true)
	d.AppendMessage(nil, payload, -1)
	if n := cap(d.past.buf); n > 1024 {
		t.Errorf("%d bytes are kept of 300", n)
	}
}

func TestDecoderAllocs(t *testing.T) {
	if lighter == 1 || poison.On {
		t.Skip("under the race detector sync.Pool forgets at random; poisoned pools note who takes what")
	}
	for _, takeover := range []bool{false, true} {
		e, d := NewEncoder(15, takeover), NewDecoder(15, takeover)
		var payloads [][]byte
		for i := range 200 {
			payloads = append(payloads, e.AppendChunk(nil, corpora[i%len(corpora)].make(uint64(i), 100+i*20), true))
		}
		buf := make([]byte, 0, 8<<10)
		i := 0
		run := func() {
			var err error
			if i%2 == 0 {
				_, err = d.AppendMessage(buf, payloads[i], -1)
			} else {
				_, _, err = d.Read(buf[:cap(buf)], payloads[i], true)
			}
			if i++; err != nil && err != io.EOF {
				t.Fatal(err)
			}
		}
		for range 99 {
			run()
		}
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("takeover %t: %v allocations a message", takeover, n)
		}
	}
}

// FuzzDecoder compares with the naive inflater, and what is accepted with
// compress/flate too.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}, []byte(nil), uint8(15))
	f.Add([]byte{0xf2, 0x00, 0x11, 0x00, 0x00}, []byte("Hello"), uint8(8))
	f.Add([]byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00}, []byte(nil), uint8(9))
	f.Add(stdPayload(jsonText(1, 500), 9), []byte(nil), uint8(10))
	f.Add(stdPayload(binaryData(1, 2000), 6), htmlText(1, 500), uint8(11))
	f.Add(stdPayload(randomData(1, 100), -2), []byte(nil), uint8(12))
	f.Fuzz(func(t *testing.T, payload, history []byte, bits uint8) {
		b := MinWindowBits + int(bits)%(MaxWindowBits-MinWindowBits+1)
		if err := sameAsNaive(payload, history, b); err != nil {
			t.Fatal(err)
		}
		msg, err := naiveInflate(payload, history, 1<<b)
		if err != nil {
			return
		}
		// compress/flate stops at a final block; but as far as it goes it
		// agrees.
		var std stdInflater
		got, _ := std.inflate(payload, history)
		if !bytes.HasPrefix(msg, got) {
			t.Fatal("compress/flate inflates it to something else")
		}
	})
}
