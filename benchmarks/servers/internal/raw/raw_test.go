package raw

import (
	"bytes"
	"testing"
)

// frame returns a masked frame whose payload has n bytes of the value b.
func frame(n int, b byte) []byte {
	f := appendHeader(nil, 0x82, n)
	f[1] |= 0x80
	f = append(f, 1, 2, 3, 4)
	return append(f, bytes.Repeat([]byte{b}, n)...)
}

func TestEcho(t *testing.T) {
	for _, sizes := range [][]int{{}, {0}, {1}, {125}, {126}, {65535}, {65536}, {128, 128, 128}, {0, 70000, 5, 300}} {
		for _, cut := range []int{0, 1, 3, 7} {
			var in, want []byte
			for i, n := range sizes {
				in = append(in, frame(n, byte(i))...)
				want = AppendMessage(want, bytes.Repeat([]byte{byte(i)}, n))
			}
			whole := len(in)
			in = append(in, frame(130, 9)[:cut]...)
			answers, used := Echo(in)
			if used != whole || !bytes.Equal(answers, want) {
				t.Errorf("%v and %d bytes: %d bytes used of %d, %d bytes of answers, want %d", sizes, cut, used, whole, len(answers), len(want))
			}
			if rest := in[used:]; !bytes.Equal(rest, frame(130, 9)[:cut]) {
				t.Errorf("%v: the rest is %x", sizes, rest)
			}
		}
	}
}

func TestSize(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65535, 65536} {
		f := frame(n, 0)
		if got := Size(f); got != len(f) {
			t.Errorf("Size is %d for a frame of %d bytes", got, len(f))
		}
		if got := Size(f[:1]); got != 0 {
			t.Errorf("Size is %d for one byte", got)
		}
	}
}
