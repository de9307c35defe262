// Package raw is what the floors of the benchmarks have in common. They parse
// only the lengths of frames. They neither unmask nor check anything, so that
// their answers have the right lengths and wrong contents.
package raw

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
)

// Handshake reads a request from c, and accepts it whatever it is. The client
// sends nothing more before it has the answer.
func Handshake(c net.Conn) error {
	buf := make([]byte, 256)
	n := 0
	for !bytes.Contains(buf[:n], []byte("\r\n\r\n")) {
		if n == len(buf) {
			return io.ErrShortBuffer
		}
		m, err := c.Read(buf[n:])
		if err != nil {
			return err
		}
		n += m
	}
	_, err := c.Write(answer(buf[:n]))
	return err
}

func answer(request []byte) []byte {
	_, rest, _ := bytes.Cut(request, []byte("Sec-WebSocket-Key: "))
	key, _, _ := bytes.Cut(rest, []byte("\r\n"))
	sum := sha1.Sum(append(key[:len(key):len(key)], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
}

// key is the length of a masking key, which an answer does not have.
const key = 4

// Echo turns the whole frames that b starts with into answers without masking
// keys. The answers overwrite the frames. It returns them, and the number of
// bytes that the frames had.
func Echo(b []byte) (answers []byte, used int) {
	in, out := 0, key // the first frame's payload stays where it is
	for {
		header, length := parse(b[in:])
		if header == 0 || in+header+length > len(b) {
			break
		}
		first := b[in]
		payload := b[in+header : in+header+length]
		out = len(appendHeader(b[:out], first, length)) // shorter than the frame's own by the key
		if in > 0 {
			copy(b[out:], payload)
		}
		out += length
		in += header + length
	}
	if in == 0 {
		return nil, 0
	}
	return b[key:out], in
}

// Size returns the length of the frame that b starts with, or 0 if b is too
// short to tell.
func Size(b []byte) int {
	header, length := parse(b)
	return header + length
}

// parse returns the lengths of the header and the payload of the frame that b
// starts with; 0 if b is too short to tell.
func parse(b []byte) (header, length int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch n := int(b[1] & 0x7f); {
	case n < 126:
		return 6, n
	case n == 126 && len(b) >= 4:
		return 8, int(binary.BigEndian.Uint16(b[2:]))
	case n == 127 && len(b) >= 10:
		return 14, int(binary.BigEndian.Uint64(b[2:]))
	}
	return 0, 0
}

// AppendMessage appends a binary message to b, as a server sends it.
func AppendMessage(b, payload []byte) []byte {
	return append(appendHeader(b, 0x82, len(payload)), payload...)
}

func appendHeader(b []byte, first byte, n int) []byte {
	switch {
	case n < 126:
		return append(b, first, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, first, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, first, 127), uint64(n))
}
