package suite

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"sync"
)

const windowSize = 1 << 15

// A deflate is permessage-deflate on one connection (RFC 7692).
type deflate struct {
	params deflateParams
	out    compressor
	in     decompressor
}

// newDeflate sets up what was negotiated, for the end that the suite is.
func newDeflate(p deflateParams, server bool) *deflate {
	d := &deflate{params: p}
	d.out.bits, d.in.bits = bitsOr15(p.clientBits), bitsOr15(p.serverBits)
	d.out.reset, d.in.reset = p.clientNoContext, p.serverNoContext
	if server {
		d.out.bits, d.in.bits = d.in.bits, d.out.bits
		d.out.reset, d.in.reset = d.in.reset, d.out.reset
	}
	return d
}

func bitsOr15(n int) int {
	if n == 0 {
		return 15
	}
	return n
}

var writers = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.DefaultCompression)
	return w
}}

// A compressor compresses the messages that the suite sends.
type compressor struct {
	bits  int
	reset bool // no context takeover
	w     *flate.Writer
	buf   bytes.Buffer
}

var syncMark = []byte{0, 0, 0xff, 0xff}

// message compresses one message. The result is good until the next call.
func (c *compressor) message(b []byte) []byte {
	c.buf.Reset()
	if c.bits < 15 {
		// compress/flate knows no smaller windows. Pieces as long as the
		// window, each without what was before it, hold to it.
		w := writers.Get().(*flate.Writer)
		defer writers.Put(w)
		w.Reset(&c.buf)
		for size := 1 << c.bits; ; {
			n := min(size, len(b))
			w.Write(b[:n])
			w.Flush()
			if b = b[n:]; len(b) == 0 {
				break
			}
			w.Reset(&c.buf)
		}
		return cutMark(c.buf.Bytes())
	}
	if c.reset {
		w := writers.Get().(*flate.Writer)
		defer writers.Put(w)
		w.Reset(&c.buf)
		w.Write(b)
		w.Flush()
		return cutMark(c.buf.Bytes())
	}
	if c.w == nil {
		c.w = writers.Get().(*flate.Writer)
		c.w.Reset(&c.buf)
	}
	c.w.Write(b)
	c.w.Flush()
	return cutMark(c.buf.Bytes())
}

func cutMark(b []byte) []byte { return bytes.TrimSuffix(b, syncMark) }

// A decompressor decompresses the messages of the peer, and holds it to its
// window.
type decompressor struct {
	bits   int
	reset  bool
	window []byte // the last bytes of the messages before, if they matter
	r      io.ReadCloser
	in     bytes.Reader
	buf    []byte
	tail   []byte

	// expect, if set, names the place of the coming message in a cycle, and its
	// text. A message whose compressed form is that of the same place before
	// needs no decompressing again.
	expect func() (place int, plain []byte, ok bool)
	memory map[int][]byte
	known  bool // the last message was one of those
}

var errWindow = errors.New("it refers to more than its window holds")

// message decompresses one message. The result is good until the next call.
func (d *decompressor) message(b []byte) ([]byte, error) {
	d.known = false
	place, plain, cyclic := 0, []byte(nil), false
	if d.expect != nil {
		if place, plain, cyclic = d.expect(); cyclic && bytes.Equal(d.memory[place], b) && d.memory[place] != nil {
			d.known = true
			d.keep(plain)
			return plain, nil
		}
	}
	out, err := d.inflate(b)
	if err != nil {
		return nil, err
	}
	if cyclic && bytes.Equal(out, plain) {
		if d.memory == nil {
			d.memory = map[int][]byte{}
		}
		d.memory[place] = append(d.memory[place][:0], b...)
	}
	d.keep(out)
	return out, nil
}

func (d *decompressor) keep(out []byte) {
	if d.reset {
		return
	}
	if len(out) >= windowSize {
		d.window = append(d.window[:0], out[len(out)-windowSize:]...)
		return
	}
	if n := len(d.window) + len(out) - windowSize; n > 0 {
		d.window = append(d.window[:0], d.window[n:]...)
	}
	d.window = append(d.window, out...)
}

func (d *decompressor) inflate(b []byte) ([]byte, error) {
	if d.bits < 15 {
		if far := farthest(b); far > 1<<d.bits {
			return nil, fmt.Errorf("%w: %d bytes back with %d bits", errWindow, far, d.bits)
		}
	}
	// The mark that the sender took off, and an end for compress/flate.
	d.tail = append(append(d.tail[:0], b...), 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)
	d.in.Reset(d.tail)
	if d.r == nil {
		d.r = flate.NewReaderDict(&d.in, d.window)
	}
	d.buf = d.buf[:0]
	window := d.window
	for {
		d.r.(flate.Resetter).Reset(&d.in, window)
		if err := d.readAll(); err != nil {
			return nil, err
		}
		if d.in.Len() == 0 {
			return d.buf, nil
		}
		// A block said that it is the last: the next bytes begin a new one (RFC
		// 7692, section 7.2.3.4).
		if window = append(append([]byte(nil), d.window...), d.buf...); len(window) > windowSize {
			window = window[len(window)-windowSize:]
		}
	}
}

func (d *decompressor) readAll() error {
	for {
		if len(d.buf) == cap(d.buf) {
			d.buf = append(d.buf, 0)[:len(d.buf)]
		}
		n, err := d.r.Read(d.buf[len(d.buf):cap(d.buf)])
		d.buf = d.buf[:len(d.buf)+n]
		if len(d.buf) > longestMessage {
			return errors.New("it is longer than 64 MiB")
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
