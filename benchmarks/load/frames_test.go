package load

import (
	"slices"
	"testing"
)

// Pings between the messages are answered, however they come in pieces.
func TestCheckerPings(t *testing.T) {
	payload := []byte("payload")
	message := slices.Concat(serverHeader(2, len(payload)), payload)
	stream := slices.Concat([]byte{pingByte, 4, 1, 2, 3, 4}, message, message, []byte{pingByte, 0}, message)
	for size := 1; size <= len(stream); size++ {
		c := checker{header: message[:2], payload: payload, sample: 1}
		got := 0
		for piece := range slices.Chunk(stream, size) {
			got += c.take(piece)
		}
		if got != 3 || c.pos != 0 || c.ping != 0 {
			t.Errorf("pieces of %d: %d messages", size, got)
		}
		pongs := len(appendMasked(appendMasked(nil, 10, []byte{1, 2, 3, 4}), 10, nil))
		if len(c.answers) != pongs {
			t.Errorf("pieces of %d: %d bytes of pongs, want %d", size, len(c.answers), pongs)
		}
	}
	c := checker{header: message[:2], payload: payload, sample: 1}
	if c.take([]byte{0x8a, 0}) != -1 {
		t.Error("a pong that nothing asked for is taken")
	}
}
