package flate

import "math"

// An Encoder compresses the messages of one direction of one connection.
//
// Between messages it holds nothing without context takeover. With it, it holds
// the last bytes that the peer's window holds: at most 2^windowBits, half of
// that for 2^12. From 2^13 on it also holds a table of hints into them, at most
// 8 KB. Both grow with the bytes seen. Its methods must not be called at the
// same time. The output depends on nothing but the calls' arguments and order.
type Encoder struct {
	bits   uint8
	past   *past   // nil without context takeover
	stream *stream // the message being streamed, nil between messages
}

// NewEncoder returns an Encoder whose distances stay within 2^windowBits bytes,
// windowBits from [MinWindowBits] to [MaxWindowBits]. With takeover messages
// refer to those before them (RFC 7692 section 7.1.1); without it each message
// stands alone.
func NewEncoder(windowBits int, takeover bool) *Encoder {
	if windowBits < MinWindowBits || windowBits > MaxWindowBits {
		panic("flate: window bits out of range")
	}
	e := &Encoder{bits: uint8(windowBits)}
	if takeover {
		e.past = &past{}
	}
	return e
}

// AppendMessage appends the compressed form of msg to dst and returns the
// extended slice, which may be a new one. The last four bytes of the flush that
// ends it, 00 00 FF FF, are left off (RFC 7692 section 7.2.1).
//
// If that would not be shorter than msg, AppendMessage returns dst and false.
// It never is for an empty message. The message must be sent as it is, and
// does not enter the window. The bytes of dst's array behind dst are
// overwritten then too. No message may be in the making through
// [Encoder.AppendChunk].
func (e *Encoder) AppendMessage(dst, msg []byte) (out []byte, ok bool) {
	if len(msg) == 0 {
		return dst, false
	}
	s := getScratch()
	w := bitWriter{out: dst}
	ok = s.compress(&w, e.past, e.bits, msg, len(dst)+len(msg))
	putScratch(s)
	if !ok {
		return dst, false
	}
	w.flush()
	return w.out, true
}

// AppendChunk compresses a message piece by piece. chunk is the next part of
// the message. AppendChunk appends to dst what can be sent of the message so
// far. It returns the extended slice, which may be a new one. All of it appears
// with the last call for the message, which has final set; before, up to 8 KB
// may be held back. Unlike AppendMessage it compresses what does not become
// smaller too; such data grows by five bytes in 64 KB or less. An empty message
// becomes the byte 00 (RFC 7692 section 7.2.3.6).
func (e *Encoder) AppendChunk(dst, chunk []byte, final bool) []byte {
	t := e.stream
	if t == nil {
		t = getStream()
		e.stream = t
	}
	p := e.past
	if p == nil {
		p = &t.past
	}
	w := bitWriter{out: dst, acc: t.acc, n: t.n}
	for {
		// Short chunks gather into a block worth its header.
		piece := chunk
		if len(t.pending) > 0 || len(chunk) < streamBlock && !final {
			n := min(len(chunk), streamBlock-len(t.pending))
			t.pending = append(t.pending, chunk[:n]...)
			chunk = chunk[n:]
			if len(t.pending) < streamBlock && !final {
				break
			}
			piece = t.pending
		} else {
			chunk = nil
		}
		if len(piece) > 0 {
			s := getScratch()
			s.compress(&w, p, e.bits, piece, math.MaxInt)
			putScratch(s)
		}
		t.pending = t.pending[:0]
		if len(chunk) == 0 {
			break
		}
	}
	if final {
		w.flush()
		putStream(t)
		e.stream = nil
	} else {
		t.acc, t.n = w.acc, w.n
	}
	return w.out
}

// Drop gives back the memory that a message which will not be finished has
// taken, if there is one. The Encoder is of no more use.
func (e *Encoder) Drop() {
	if e.stream != nil {
		putStream(e.stream)
		e.stream = nil
	}
}

// Learn tells e that msg reached the peer's window by another way. An Encoder
// without context takeover, and with a window no greater than this one's, has
// compressed msg. It was sent in place of what AppendMessage would have given.
func (e *Encoder) Learn(msg []byte) {
	if e.past == nil {
		return
	}
	msg = msg[max(0, len(msg)-1<<e.bits):]
	if keptTable(e.bits) > 0 {
		f := e.past.finder(e.bits, len(msg), nil)
		f.index(msg)
	}
	e.past.add(msg, e.bits)
}

// compress appends msg to w as blocks and makes it the past of what comes next.
// Where w.out would grow to limit bytes it stops, leaves the past as it was,
// and returns false.
func (s *scratch) compress(w *bitWriter, p *past, bits uint8, msg []byte, limit int) bool {
	f := p.finder(bits, len(msg), &s.table)
	buf, start := msg, 0
	// A message that is short compared with the window is put behind its past
	// at once: the search has one piece to look at.
	together := p != nil && len(msg) <= 1<<bits/4
	if together {
		p.history.add(msg, bits)
		buf, start = p.buf, len(p.buf)-len(msg)
		f.hist = nil
		f.base -= uint16(start)
	}
	for at := start; at < len(buf); {
		end := f.parse(&s.block, buf, at, min(len(buf), at+maxStored))
		if !s.block.write(w, buf[at:end], limit) {
			if together {
				p.buf = p.buf[:start]
			}
			return false
		}
		at = end
	}
	if together {
		p.pos += uint16(len(msg))
	} else {
		p.add(msg, bits)
	}
	return true
}

// flush appends an empty stored block less its LEN and NLEN, which are the 00
// 00 FF FF that RFC 7692 section 7.2.1 leaves off.
func (w *bitWriter) flush() {
	w.put(0, 3)
	w.align()
}

// past is what one message hands to the next: under context takeover, or within
// a streamed message.
type past struct {
	history
	table []uint16 // see finder
	pos   uint16   // position of the byte that comes next
}

// finder returns a finder for the n bytes that come next. It works in spare
// where no table is kept: for a nil past, which is without memory, and for a
// small window.
func (p *past) finder(bits uint8, n int, spare *[maxTable]uint16) finder {
	f := finder{window: 1 << bits}
	if p == nil {
		t := spare[:tableSize(n, maxTable)]
		clear(t)
		f.setTable(t)
		return f
	}
	f.hist, f.base = p.buf, p.pos
	switch kept := keptTable(bits); {
	case kept == 0:
		t := spare[:tableSize(len(p.buf)+n, maxTable)]
		clear(t)
		f.setTable(t)
	default:
		size := tableSize(len(p.buf)+n, kept)
		if size <= len(p.table) {
			f.setTable(p.table)
			return f
		}
		if size <= cap(p.table) { // of a stream that was used before
			p.table = p.table[:size]
			clear(p.table)
		} else {
			p.table = make([]uint16, size)
		}
		f.setTable(p.table)
	}
	// Index anew the bytes that a smaller table, or none, could not hold.
	f.base -= uint16(len(p.buf))
	f.index(p.buf)
	f.base = p.pos
	return f
}

// add makes msg, which went into the window, the past of what comes next.
func (p *past) add(msg []byte, bits uint8) {
	if p == nil {
		return
	}
	p.history.add(msg, bits)
	p.pos += uint16(len(msg))
}
