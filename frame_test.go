package websocket

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Section 5.2: "Payload length: 7 bits, 7+16 bits, or 7+64 bits ... the minimal
// number of bytes MUST be used to encode the length".
func TestHeaderWireForm(t *testing.T) {
	const key = 0x04030201 // 01 02 03 04 on the wire
	tests := []struct {
		name string
		h    header
		wire []byte
	}{
		{"empty text", header{headerBits: headerBits{fin: true, opcode: opText}}, []byte{0x81, 0}},
		{"first fragment", header{headerBits: headerBits{opcode: opBinary}, length: 3}, []byte{0x02, 3}},
		{"last fragment", header{headerBits: headerBits{fin: true, opcode: opContinuation}, length: 125}, []byte{0x80, 125}},
		{"16-bit length, shortest", header{headerBits: headerBits{fin: true, opcode: opText}, length: 126}, []byte{0x81, 126, 0, 126}},
		{"16-bit length, longest", header{headerBits: headerBits{fin: true, opcode: opText}, length: 65535}, []byte{0x81, 126, 0xff, 0xff}},
		{"64-bit length, shortest", header{headerBits: headerBits{fin: true, opcode: opText}, length: 65536}, []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
		{"64-bit length, past 32 bits", header{headerBits: headerBits{fin: true, opcode: opText}, length: 1 << 32}, []byte{0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0}},
		{"64-bit length, longest", header{headerBits: headerBits{fin: true, opcode: opText}, length: 1<<63 - 1}, []byte{0x81, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{"masked ping", header{headerBits: headerBits{fin: true, opcode: opPing, masked: true}, key: key, length: 2}, []byte{0x89, 0x82, 1, 2, 3, 4}},
		{"masked, 16-bit length", header{headerBits: headerBits{fin: true, opcode: opBinary, masked: true}, key: key, length: 256}, []byte{0x82, 0xfe, 1, 0, 1, 2, 3, 4}},
		{"masked, 64-bit length", header{headerBits: headerBits{opcode: opText, masked: true}, key: key, length: 65536}, []byte{0x01, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4}},
		{"RSV1", header{headerBits: headerBits{fin: true, rsv: rsv1Bit, opcode: opText}}, []byte{0xc1, 0}},
		{"RSV2", header{headerBits: headerBits{fin: true, rsv: rsv2Bit, opcode: opText}}, []byte{0xa1, 0}},
		{"RSV3", header{headerBits: headerBits{fin: true, rsv: rsv3Bit, opcode: opText}}, []byte{0x91, 0}},
		{"reserved opcode", header{headerBits: headerBits{fin: true, opcode: 15}}, []byte{0x8f, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if whole := append(bytes.Clone(tt.wire), make([]byte, tt.h.length&0xffff)...); tt.h.length <= 0xffff {
				for i := range whole {
					if n, _ := wholeFrame(whole[:i]); n > 0 {
						t.Errorf("%d bytes of %d are taken for a whole frame", i, len(whole))
					}
				}
				for _, b := range [][]byte{whole, append(whole, 0x81)} {
					if n, size := wholeFrame(b); n != len(tt.wire) || size != int(tt.h.length) {
						t.Errorf("wholeFrame = %d, %d, want %d, %d", n, size, len(tt.wire), tt.h.length)
					}
				}
			}
			if got := appendHeader([]byte{'x'}, tt.h); !bytes.Equal(got[1:], tt.wire) || got[0] != 'x' {
				t.Errorf("appendHeader = % x, want % x behind what was there", got, tt.wire)
			}
			h, n, err := parseHeader(append(bytes.Clone(tt.wire), "payload"...))
			if h != tt.h || n != len(tt.wire) || err != nil {
				t.Errorf("parseHeader = %+v, %d, %v", h, n, err)
			}
			for i := range tt.wire {
				if h, n, err := parseHeader(tt.wire[:i]); h != (header{}) || n != 0 || err != nil {
					t.Errorf("of the first %d bytes: parseHeader = %+v, %d, %v, want a request for more", i, h, n, err)
				}
			}
			if len(tt.wire) > maxHeaderSize {
				t.Errorf("%d bytes: more than maxHeaderSize", len(tt.wire))
			}
		})
	}
}

func TestHeaderRefused(t *testing.T) {
	tests := []struct {
		name string
		wire []byte
		want error
	}{
		{"125 in 16 bits", []byte{0x81, 126, 0, 125}, errLengthNotMinimal},
		{"0 in 16 bits", []byte{0x81, 126, 0, 0}, errLengthNotMinimal},
		{"65535 in 64 bits", []byte{0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, errLengthNotMinimal},
		{"0 in 64 bits", []byte{0x81, 127, 0, 0, 0, 0, 0, 0, 0, 0}, errLengthNotMinimal},
		{"masked, 1 in 64 bits, key still to come", []byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 1}, errLengthNotMinimal},
		// "the most significant bit MUST be 0"
		{"2^63", []byte{0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, errLengthTooLarge},
		{"2^64-1", []byte{0x81, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, errLengthTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := parseHeader(tt.wire); err != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// FuzzHeader: what parses comes back when it is appended again. No prefix of a
// header parses as one. parseHeader agrees with the codec of wstest.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{
		"", "\x81", "\x81\x00", "\x81\x7d", "\x81\x7e\x00\x7d", "\x81\x7e\x00\x7e", "\x81\x7e\xff\xff", "\x01\x7f\x00\x00\x00\x00\x00\x00\xff\xff",
		"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00",
		"\x81\x85\x37\xfa\x21\x3d", "\x89\xfe\x12\x34\x01\x02\x03\x04", "\xff\xff\x00\x00\x00\x00\x00\x01\x00\x00\xff\xfe\xfd\xfc", "\xf8\x80\x00\x00\x00\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := parseHeader(b)
		var pe ProtocolError
		switch {
		case err != nil:
			if n != 0 || !errors.As(err, &pe) || pe.Code != StatusProtocolError {
				t.Fatalf("parseHeader(% x) = %d, %v; want 0 and a protocol error", b, n, err)
			}
			if n, _ := wholeFrame(b); n != 0 {
				t.Fatalf("wholeFrame(% x) takes what parseHeader refuses", b)
			}
			return
		case n == 0:
			if len(b) >= maxHeaderSize {
				t.Fatalf("parseHeader(% x) takes no header from %d bytes", b, len(b))
			}
			return
		case n < 2 || n > maxHeaderSize || n > len(b) || h.length < 0:
			t.Fatalf("parseHeader(% x) = %+v, %d", b, h, n)
		}
		wantN, wantSize := n, int(h.length)
		if h.length > 0xffff || h.length > int64(len(b)-n) {
			wantN, wantSize = 0, 0
		}
		if gotN, gotSize := wholeFrame(b); gotN != wantN || gotSize != wantSize {
			t.Fatalf("wholeFrame(% x) = %d, %d; header %+v of %d bytes", b, gotN, gotSize, h, n)
		}
		if got := appendHeader([]byte("x"), h); !bytes.Equal(got[1:], b[:n]) {
			t.Fatalf("appendHeader(%+v) = % x, want % x", h, got[1:], b[:n])
		}
		for i := range n {
			if _, m, err := parseHeader(b[:i]); m != 0 || err != nil {
				t.Fatalf("parseHeader(% x), cut after %d bytes = %d, %v", b, i, m, err)
			}
		}
		if h.length <= 1<<12 {
			frame, err := wstest.ReadFrame(io.MultiReader(bytes.NewReader(b[:n]), bytes.NewReader(make([]byte, h.length))))
			if err != nil {
				t.Fatal(err)
			}
			key := uint32(frame.Key[0]) | uint32(frame.Key[1])<<8 | uint32(frame.Key[2])<<16 | uint32(frame.Key[3])<<24
			if frame.Fin != h.fin || frame.RSV<<4 != h.rsv || opcode(frame.Op) != h.opcode || (frame.Mask == wstest.Masked) != h.masked ||
				key != h.key || int64(len(frame.Payload)) != h.length {
				t.Fatalf("parseHeader(% x) = %+v, the twin says %v (masking %v, key % x)", b, h, frame, frame.Mask, frame.Key)
			}
		}
	})
}
