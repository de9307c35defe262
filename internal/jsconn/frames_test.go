package jsconn

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

// The bytes of a client become the same messages, however they are cut into
// pieces.
func TestDecoder(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	var stream []byte
	var want []string
	add := func(text string, frames ...wstest.Frame) {
		stream = append(stream, wstest.Encode(wstest.Client, frames...)...)
		want = append(want, text)
	}
	add("1 Hello", wstest.Final(wstest.Text, "Hello"))
	add("2 ", wstest.Final(wstest.Binary, ""))
	add("2 "+long[:126], wstest.Final(wstest.Binary, long[:126]))
	add("1 "+long, wstest.Final(wstest.Text, long))
	parts := wstest.Fragments(wstest.Text, "Hel", "", "lo", "!")
	add("9 ping", append(slices.Clone(parts[:2]), wstest.Final(wstest.Ping, "ping"))...)
	add("1 Hello!", parts[2:]...)
	add("8 \x03\xe8bye", wstest.CloseFrame(1000, "bye"))
	for _, size := range []int{1, 2, 3, 7, 1000, len(stream)} {
		var d decoder
		var got []string
		for p := range slices.Chunk(stream, size) {
			for len(p) > 0 {
				m, n, complete, err := d.next(p)
				if err != nil {
					t.Fatal(err)
				}
				p = p[n:]
				if complete {
					got = append(got, fmt.Sprintf("%d %s", m.opcode, m.payload))
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d bytes: %d messages, want %d", size, len(got), len(want))
		}
	}
}

func TestDecoderRefuses(t *testing.T) {
	for name, frame := range map[string]wstest.Frame{
		"unmasked":                {Fin: true, Op: wstest.Text, Mask: wstest.Unmasked, Payload: []byte("123456")},
		"reserved bit":            {Fin: true, Op: wstest.Text, RSV: 4},
		"continuation of nothing": {Fin: true, Op: wstest.Continuation},
	} {
		var d decoder
		if _, _, _, err := d.next(frame.Append(nil, wstest.Client)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Delivered messages have the form of a server's frames.
func TestFrames(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		frame, payload := newFrame(opBinary, n)
		for i := range payload {
			payload[i] = byte(i)
		}
		r := bytes.NewReader(frame)
		f, err := wstest.ReadFrame(r)
		if err == nil {
			err = f.Check(wstest.Server)
		}
		if err != nil || !f.Fin || f.Op != wstest.Binary || !bytes.Equal(f.Payload, payload) || r.Len() != 0 {
			t.Errorf("%d bytes: %v, %v", n, f, err)
		}
	}
	for code, want := range map[int]string{1005: "", 1000: "\x03\xe8why", 4999: "\x13\x87why"} {
		reason := "why"
		if code == 1005 {
			reason = ""
		}
		f, err := wstest.ReadFrame(bytes.NewReader(closeFrame(code, reason)))
		if err != nil || f.Op != wstest.Close || string(f.Payload) != want || f.Check(wstest.Server) != nil {
			t.Errorf("close frame with %d: %v, %v", code, f, err)
		}
	}
}

// Only the codes that a browser lets a page send are sent; a reason needs one.
func TestParseClose(t *testing.T) {
	for code, want := range map[int]int{0: 1005, 1000: 1000, 1001: 1005, 1009: 1005, 1011: 1005, 2999: 1005, 3000: 3000, 4999: 4999, 5000: 1005} {
		payload := []byte(wstest.ClosePayload(code, "why"))
		if code == 0 {
			payload = nil
		}
		got, reason := parseClose(payload)
		if got != want || (reason == "why") != (want != 1005) {
			t.Errorf("%d becomes %d %q, want %d", code, got, reason, want)
		}
	}
}
