package load

import (
	"bytes"
	"errors"
	"testing"
)

func TestNextFrame(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 300)
	for _, f := range []struct {
		name    string
		opcode  byte
		payload []byte
	}{
		{"empty text", 1, nil}, {"binary", 2, []byte("hello")}, {"ping", 9, []byte("1234")}, {"pong", 10, nil},
		{"close", 8, []byte{3, 232}}, {"125", 2, long[:125]}, {"126", 2, long[:126]}, {"long", 2, long},
		{"longest", 2, bytes.Repeat([]byte("y"), swarmLimit)},
	} {
		wire := append(serverHeader(f.opcode, len(f.payload)), f.payload...)
		// Every truncation that a test can afford says that more is needed.
		for n := 0; n < len(wire); n += 1 + n/64 {
			if _, _, k, err := nextFrame(wire[:n]); k != 0 || err != nil {
				t.Errorf("%s: %d of %d bytes make %d, %v", f.name, n, len(wire), k, err)
			}
		}
		opcode, payload, n, err := nextFrame(append(wire, "behind"...))
		if opcode != f.opcode || !bytes.Equal(payload, f.payload) || n != len(wire) || err != nil {
			t.Errorf("%s: opcode %d, %d bytes of payload, length %d, %v", f.name, opcode, len(payload), n, err)
		}
	}
	for name, wire := range map[string][]byte{
		"fragment":      {0x02, 0},
		"continuation":  {0x80, 0},
		"reserved bit":  {0xc2, 0},
		"opcode 3":      {0x83, 0},
		"opcode 11":     {0x8b, 0},
		"masked":        {0x82, 0x81, 1, 2, 3, 4, 5},
		"long ping":     {0x89, 126, 0, 126},
		"not shortest":  {0x82, 126, 0, 125},
		"above limit":   {0x82, 126, 0x40, 0x01},
		"64-bit length": {0x82, 127},
	} {
		if _, _, _, err := nextFrame(wire); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTick(t *testing.T) {
	for _, n := range []int{12, 512} {
		b := AppendTick([]byte("before"), 4294967295, n)
		if got, ok := parseTick(b[6:]); len(b) != 6+n || got != 4294967295 || !ok {
			t.Errorf("%q: %d, %v", b, got, ok)
		}
	}
	for _, b := range []string{"", "#0000000001", "#000000000x ", "#4294967296 ", "x0000000001 "} {
		if tick, ok := parseTick([]byte(b)); ok {
			t.Errorf("%q is tick %d", b, tick)
		}
	}
}
