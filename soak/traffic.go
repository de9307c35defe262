package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"io"
	mrand "math/rand/v2"
	"strings"

	"github.com/seed70bc5565/websocket"
)

// A message is eight hexadecimal digits, the CRC-32 of the rest, and the rest:
// text and binary alike. The server sends each back in one way or another; both
// sides check what they receive.

const sumLength = 8

var noise = func() []byte {
	b := make([]byte, 1<<20)
	rand.Read(b)
	return b
}()

var words = []byte(strings.Repeat(`{"id":4711,"name":"sensor ☃","unit":"°C","value":21.5},`, 1<<20/50))

// makeMessage returns a message of about n bytes: text that compresses, or
// binary that does not.
func makeMessage(rng *mrand.Rand, dst []byte, n int) (websocket.MessageType, []byte) {
	typ, from := websocket.MessageText, words
	if rng.IntN(2) == 0 {
		typ, from = websocket.MessageBinary, noise
	}
	at := rng.IntN(len(from) - n)
	body := from[at : at+n]
	if typ == websocket.MessageText {
		body = bytes.ToValidUTF8(body, []byte("?"))
	}
	dst = fmt.Appendf(dst[:0], "%08x", crc32.ChecksumIEEE(body))
	return typ, append(dst, body...)
}

// check returns an error unless msg is one that makeMessage has made.
func check(msg []byte) error {
	if len(msg) < sumLength {
		return fmt.Errorf("a message of %d bytes", len(msg))
	}
	if want := fmt.Sprintf("%08x", crc32.ChecksumIEEE(msg[sumLength:])); want != string(msg[:sumLength]) {
		return fmt.Errorf("a message of %d bytes with the checksum %q, which is %s", len(msg), msg[:sumLength], want)
	}
	return nil
}

// size returns how long a message must be: mostly short, now and then some 100
// KB.
func size(rng *mrand.Rand) int {
	switch n := rng.IntN(100); {
	case n < 60:
		return rng.IntN(200)
	case n < 90:
		return rng.IntN(4 << 10)
	case n < 99:
		return rng.IntN(30 << 10)
	}
	return rng.IntN(300 << 10)
}

// send sends msg in one of the ways that there are.
func send(ctx context.Context, c *websocket.Conn, rng *mrand.Rand, typ websocket.MessageType, msg []byte) error {
	switch rng.IntN(6) {
	case 0:
		w, err := c.Writer(ctx, typ)
		if err != nil {
			return err
		}
		for len(msg) > 0 && err == nil {
			n := min(len(msg), 1+rng.IntN(9000))
			_, err = w.Write(msg[:n])
			msg = msg[n:]
		}
		if closeErr := w.Close(); err == nil {
			err = closeErr
		}
		return err
	case 1:
		m, err := websocket.NewPreparedMessage(typ, msg)
		if err != nil {
			return err
		}
		return c.WritePrepared(ctx, m)
	case 2:
		return c.WriteUncompressed(ctx, typ, msg)
	}
	return c.Write(ctx, typ, msg)
}

// receive receives a message in one of the ways that there are, and checks it.
// It uses and returns buf.
func receive(ctx context.Context, c *websocket.Conn, rng *mrand.Rand, buf []byte) (websocket.MessageType, []byte, error) {
	var typ websocket.MessageType
	var err error
	switch rng.IntN(4) {
	case 0:
		var r io.Reader
		if typ, r, err = c.Reader(ctx); err == nil {
			b := bytes.NewBuffer(buf[:0])
			_, err = b.ReadFrom(r)
			buf = b.Bytes()
		}
	case 1:
		typ, buf, err = c.Read(ctx)
	case 2:
		err = io.EOF // the range ends without an error
		for m, readErr := range c.Messages(ctx) {
			typ, buf, err = m.Type, append(buf[:0], m.Data...), readErr
			break
		}
	default:
		typ, buf, err = c.ReadInto(ctx, buf)
	}
	if err != nil {
		return 0, buf, err
	}
	if err := check(buf); err != nil {
		return 0, buf, wrongError{err}
	}
	return typ, buf, nil
}

// A wrongError is one that no disconnect explains.
type wrongError struct{ error }

// seeded returns a source of its own for each user of it.
func seeded(seed, user uint64) *mrand.Rand {
	return mrand.New(mrand.NewPCG(seed, user))
}
