package suite

import (
	"bytes"
	"compress/flate"
	"fmt"
	"sync"
	"time"
)

// The tables of groups 12 and 13: permessage-deflate.

// A deflateCase says how the extension is negotiated.
type deflateCase struct {
	offers []deflateParams // what a server gets
	// answers are what a client is asked for, the best first. The first that
	// its offer allows is taken.
	answers []deflateParams
}

// deflateSizes are the 18 cases of each group.
var deflateSizes = []struct {
	size     int
	fragment int // 0: a frame a message
	limit    time.Duration
}{
	{16, 0, 60}, {64, 0, 60}, {256, 0, 120}, {1024, 0, 240}, {4096, 0, 480}, {8192, 0, 480}, {16384, 0, 480}, {32768, 0, 480}, {65536, 0, 480}, {131072, 0, 480},
	{8192, 256, 480}, {16384, 256, 480}, {32768, 256, 480}, {65536, 256, 480}, {131072, 256, 480}, {131072, 1024, 480}, {131072, 4096, 480}, {131072, 32768, 480},
}

// extra are the parameters of groups 13.1 to 13.7. A server is offered them for
// its own messages, and a client is asked for them.
var extra = [][]struct {
	noContext bool
	bits      int
}{
	{{}},
	{{noContext: true}},
	{{bits: 9}},
	{{bits: 15}},
	{{true, 9}},
	{{true, 15}},
	{{true, 9}, {true, 0}, {false, 0}},
}

func deflateCases() []*Case {
	var cases []*Case
	group := func(prefix, words string, data *dataset, d *deflateCase) {
		for i, size := range deflateSizes {
			sends := fmt.Sprintf("1000 compressed messages of %d (%s), each once the one before came back", size.size, data.name)
			if size.fragment > 0 {
				sends += fmt.Sprintf(", in fragments of %d bytes", size.fragment)
			}
			cases = append(cases, &Case{ID: fmt.Sprintf("%s.%d", prefix, 1+i), Sends: sends + ". " + words,
				Expects: fmt.Sprintf("All come back as they were within %v. UNIMPLEMENTED: permessage-deflate was not negotiated.", size.limit*time.Second),
				closing: closeNormally, limit: size.limit * time.Second, atLimit: closeAtLimit, deflate: d, untimed: true, noLog: true,
				play: func() player { return &deflateTrips{data: data, size: size.size, fragment: size.fragment, left: 1000} }})
		}
	}
	plain := deflateParams{clientNoContext: true, clientBitsAllowed: true}
	for i, data := range []*dataset{jsonData, bitmapData, proseData, htmlData, pdfData} {
		group(fmt.Sprintf("12.%d", 1+i), "The plain offer.", data, &deflateCase{offers: []deflateParams{plain}, answers: []deflateParams{{}}})
	}
	for i, params := range extra {
		d := new(deflateCase)
		for _, p := range params {
			offer := plain
			offer.serverNoContext, offer.serverBits = p.noContext, p.bits
			d.offers = append(d.offers, offer)
			d.answers = append(d.answers, deflateParams{clientNoContext: p.noContext, clientBits: p.bits})
		}
		group(fmt.Sprintf("13.%d", 1+i), fmt.Sprintf("A server is offered: %s. A client is asked for: %s.", offerHeader(d.offers), offerHeader(d.answers)), jsonData, d)
	}
	return cases
}

// accept chooses the answer to a client's offers.
func (d *deflateCase) accept(offers []deflateParams) (deflateParams, bool) {
	for _, want := range d.answers {
		for _, o := range offers {
			if want.clientBits > 0 && !o.clientBitsAllowed {
				continue
			}
			answer := want
			answer.serverNoContext, answer.serverBits = o.serverNoContext, o.serverBits
			return answer, true
		}
	}
	return deflateParams{}, false
}

// deflateTrips sends a compressed message when the one before came back.
type deflateTrips struct {
	data     *dataset
	size     int // in bytes, or in code points if the data is text
	fragment int
	left     int
	at       int // where in the data the next message begins
	sent     int // messages
	plain    []byte
	place    int
	cyclic   bool
}

func (t *deflateTrips) keeps() bool { return true }

func (t *deflateTrips) open(s *session) {
	t.data.load()
	s.behavior, s.explanation = Failed, "Not all messages came back."
	s.comp.in.expect = func() (int, []byte, bool) { return t.place, t.plain, t.cyclic }
	s.setLimit()
	t.next(s)
}

func (t *deflateTrips) next(s *session) {
	t.left--
	t.place = t.at
	t.plain = t.data.slice(t.at, t.size)
	t.at = (t.at + t.size) % t.data.size
	// Long slices come round often. Once the window is full of the same bytes
	// as the time before, so is what is sent.
	t.cyclic = t.size >= 4096 && t.sent*t.size >= windowSize
	var z []byte
	if t.size >= 4096 && s.comp.out.bits == 15 {
		z = compressedSlice(t.data, t.place, t.size, t.sent, s.comp.out.reset)
	} else {
		z = s.comp.out.message(t.plain)
	}
	t.sent++
	f := frame{opcode: opText, rsv: 4}
	if t.data.binary {
		f.opcode = opBinary
	}
	if t.fragment == 0 || len(z) <= t.fragment {
		s.appendBytes(f.opcode, f.rsv, z, false)
		return
	}
	for more := true; more; { // cut as fragments does
		n := min(len(z), t.fragment)
		more = n == t.fragment
		s.appendBytes(f.opcode, f.rsv, z[:n], more)
		z = z[n:]
		f.opcode, f.rsv = opContinuation, 0
	}
}

func (t *deflateTrips) message(s *session, payload []byte, _ int, binary bool) {
	if !s.in.compressed && !s.comp.in.reset {
		// The window does not hold this message: what the peer sends next need
		// not come round.
		s.comp.in.expect = nil
	}
	same := s.in.compressed && s.comp.in.known || bytes.Equal(payload, t.plain)
	switch {
	case binary != t.data.binary:
		s.behavior, s.explanation = Failed, "A message came back with the other type."
	case !same:
		s.behavior, s.explanation = Failed, fmt.Sprintf("A message came back as another, with %d bytes after %d.", len(payload), len(t.plain))
	case t.left > 0:
		t.next(s)
		return
	default:
		s.behavior, s.explanation = OK, "All messages came back in time."
	}
	s.log.off = false
	s.closeWith(1000)
}

// compressedSlices remembers the compressed form of long slices: what it is
// depends on the slice and on the bytes of the window before it.
var compressedSlices sync.Map // of sliceKey to []byte

type sliceKey struct {
	data              *dataset
	place, size, back int
}

// compressedSlice compresses the sent'th message of size, which begins at
// place.
func compressedSlice(d *dataset, place, size, sent int, reset bool) []byte {
	back := min(sent*size, windowSize)
	if reset {
		back = 0
	}
	key := sliceKey{d, place, size, back}
	if z, ok := compressedSlices.Load(key); ok {
		return z.([]byte)
	}
	var buf bytes.Buffer
	if back == 0 {
		w := writers.Get().(*flate.Writer)
		defer writers.Put(w)
		w.Reset(&buf)
		w.Write(d.slice(place, size))
		w.Flush()
	} else {
		// back is in code points if the data is text: then the window has a
		// little more.
		window := d.slice((place-back+d.size)%d.size, back)
		if len(window) > windowSize {
			window = window[len(window)-windowSize:]
		}
		w, err := flate.NewWriterDict(&buf, flate.DefaultCompression, window)
		if err != nil {
			panic(err)
		}
		w.Write(d.slice(place, size))
		w.Flush()
	}
	z := bytes.Clone(cutMark(buf.Bytes()))
	compressedSlices.Store(key, z)
	return z
}
