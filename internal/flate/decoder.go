package flate

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// ErrTooLarge is what [Decoder.AppendChunk] returns for a message that inflates
// to more bytes than allowed.
var ErrTooLarge = errors.New("the message inflates to more bytes than allowed")

// ErrCorrupt is in every error (see [errors.Is]) that says that a message is
// not one of permessage-deflate.
var ErrCorrupt = errors.New("corrupt deflate data")

// The errors of a message.
var (
	errBlockType  = corrupt("block type 3")
	errStored     = corrupt("the length of a stored block differs from its complement")
	errCodeCounts = corrupt("more codes than there are symbols")
	errCodeLens   = corrupt("impossible code lengths")
	errCode       = corrupt("bits that are no symbol's code")
	errDistance   = corrupt("a distance beyond the window or the start of the data")
	errEnd        = corrupt("the message does not end with an empty stored block")
)

func corrupt(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }

// A Decoder inflates the messages of one direction of one connection.
//
// Between messages it holds nothing without context takeover. With it, it holds
// at most the last 2^windowBits bytes of what has been inflated. Its memory
// grows with the bytes seen. Its methods must not be called at the same time.
// After any error but [io.EOF] it is of no more use: what the sender's window
// holds is then unknown.
//
// It is as strict as RFC 1951 and RFC 7692 allow. Codes must use all of their
// space, except for one code of one bit, and no distance codes at all.
// Distances stay within the negotiated window and the data seen. A message ends
// with an empty stored block less its last four bytes. Blocks with BFINAL set
// are taken anywhere (RFC 7692 section 7.2.3.4); the next block then begins
// with the next byte. It takes two things that others take too and that leave
// no doubt. One is a message that ends with a block that has BFINAL set. The
// other is an empty message of no bytes at all.
type Decoder struct {
	bits uint8
	past *ring     // nil without context takeover
	in   *inflater // the message being inflated, nil between messages
}

// NewDecoder returns a Decoder that takes distances of up to 2^windowBits
// bytes, windowBits from [MinWindowBits] to [MaxWindowBits]. With takeover
// messages may refer to those before them.
func NewDecoder(windowBits int, takeover bool) *Decoder {
	if windowBits < MinWindowBits || windowBits > MaxWindowBits {
		panic("flate: window bits out of range")
	}
	d := &Decoder{bits: uint8(windowBits)}
	if takeover {
		d.past = &ring{}
	}
	return d
}

// AppendMessage appends the message that payload inflates to to dst. It returns
// the extended slice, which may be a new one. The payload is what the sender
// sent, without the 00 00 FF FF that it left off. A message of more than limit
// bytes is refused with [ErrTooLarge]; a negative limit is none. See
// AppendChunk.
func (d *Decoder) AppendMessage(dst, payload []byte, limit int) ([]byte, error) {
	return d.AppendChunk(dst, payload, true, limit)
}

// AppendChunk inflates a message piece by piece. It appends to dst what the
// next piece of its payload inflates to. It returns the extended slice, which
// may be a new one. final says that this piece, which may be empty, is the
// last. From one call to the next dst must still end with what the message has
// inflated to before.
//
// A message of more than limit bytes in all is refused with [ErrTooLarge]
// before memory is taken for the rest; a negative limit is none. A payload that
// is not one of permessage-deflate is refused with an error that is
// [ErrCorrupt]. The slice returned with an error is dst, extended by an
// unspecified part of the message.
func (d *Decoder) AppendChunk(dst, chunk []byte, final bool, limit int) ([]byte, error) {
	z := d.start()
	base := len(dst) - z.total
	if limit < 0 {
		limit = math.MaxInt - base
	}
	limit = max(limit, z.total)
	z.src = chunk
	for {
		if len(dst) == cap(dst) || cap(dst)-len(dst) < min(2*len(z.src), limit-z.total) {
			dst = growMessage(dst, base, len(z.src), limit)
		}
		room := dst[:min(cap(dst), base+limit)]
		n, err := z.run(room, len(dst), base, d.past)
		dst = room[:n]
		z.total = n - base
		switch {
		case err == errFull && z.total < limit:
			dst = growMessage(dst, base, len(z.src), limit)
			continue
		case err == errFull:
			err = ErrTooLarge
		case err == errInput && !final:
			return dst, nil
		case err == errInput && z.finish():
			continue
		case err == errInput && z.ended():
			err = nil
			if d.past != nil {
				d.past.add(dst[base:], 1<<d.bits)
			}
		case err == errInput:
			err = errEnd
		}
		d.release()
		return dst, err
	}
}

// Read inflates a message as a stream. src is the next piece of its payload.
// Read fills p with what comes next of the message. It returns how many bytes
// it wrote to p, and how many it used of src. final says that src is the last
// piece. It returns when p is full or src is used up. When the message has
// ended it returns [io.EOF], and the next call begins a new message. Each
// message is inflated either by AppendChunk or by Read.
func (d *Decoder) Read(p, src []byte, final bool) (n, used int, err error) {
	z := d.start()
	past := d.past
	if past == nil {
		past = &z.past
	}
	if !z.tail {
		z.src = src
	}
	for {
		at := n
		n, err = z.run(p, n, at, past)
		past.add(p[at:n], 1<<d.bits)
		if err == errInput && final {
			if z.finish() {
				continue
			}
			err = errEnd
			if z.ended() {
				err = io.EOF
			}
		}
		used = len(src)
		if !z.tail {
			used -= len(z.src)
			z.src = nil // the caller's again
		}
		if err == errFull || err == errInput {
			return n, used, nil
		}
		d.release()
		return n, used, err
	}
}

// start returns the state of the message under way, or of a new one.
func (d *Decoder) start() *inflater {
	if d.in == nil {
		d.in = getInflater()
		d.in.window = 1 << d.bits
	}
	return d.in
}

// Drop gives back the memory that a message which will not be finished has
// taken, if there is one. The Decoder is of no more use.
func (d *Decoder) Drop() {
	if d.in != nil {
		d.release()
	}
}

func (d *Decoder) release() {
	putInflater(d.in)
	d.in = nil
}

// growMessage makes room in dst, whose message began at base, for at least one
// byte more. The message may have limit bytes. n is the length of the input at
// hand: most messages inflate to a few times as much. Beyond that the room
// doubles, so that it is the data that has arrived which takes memory.
func growMessage(dst []byte, base, n, limit int) []byte {
	more := max(512, 4*n, len(dst)-base)
	more = min(more, limit-(len(dst)-base))
	if more <= cap(dst)-len(dst) {
		return dst
	}
	return append(slices.Grow([]byte(nil), len(dst)+more), dst...)
}
