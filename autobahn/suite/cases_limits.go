package suite

import (
	"fmt"
	"time"
)

// The tables of group 9: long messages, many fragments, many small writes, many
// round trips.

const (
	textPattern   = "BAsd7&jh23"
	binaryPattern = "\x00\xfe\x23\xfa\xf0"
)

func limitCases() []*Case {
	var cases []*Case
	add := func(id, sends string, limit time.Duration, play func() player) {
		cases = append(cases, &Case{ID: id, Sends: sends, Expects: fmt.Sprintf("The message comes back within %v. Its type and length are looked at.", limit),
			closing: closeNormally, limit: limit, atLimit: closeAtLimit, untimed: true, noLog: true, play: play})
	}
	type kind struct {
		words   string
		opcode  byte
		pattern string
	}
	kinds := []kind{{"text", opText, textPattern}, {"binary", opBinary, binaryPattern}}

	for i, k := range kinds {
		for j, size := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20} {
			limit := 100 * time.Second
			if j < 2 || i == 1 && j < 4 {
				limit = 10 * time.Second
			}
			add(fmt.Sprintf("9.%d.%d", 1+i, 1+j), fmt.Sprintf("A %s message of %d bytes.", k.words, size), limit,
				func() player { return &echoOnce{frame: frame{opcode: k.opcode, payload: k.pattern, repeat: size}} })
		}
	}
	for i, k := range kinds {
		for j := range 9 {
			fragment := 64 << (2 * j)
			add(fmt.Sprintf("9.%d.%d", 3+i, 1+j), fmt.Sprintf("A %s message of 4 MiB in fragments of %d bytes.", k.words, fragment), 100*time.Second,
				func() player {
					pattern := "*"
					return &echoOnce{frame: frame{opcode: k.opcode, payload: pattern, repeat: 4 << 20}, fragment: fragment}
				})
		}
	}
	for i, k := range kinds {
		for j := range 6 {
			chop := 64 << j
			add(fmt.Sprintf("9.%d.%d", 5+i, 1+j), fmt.Sprintf("A %s message of 1 MiB in TCP writes of %d bytes.", k.words, chop), 1000*time.Second,
				func() player {
					return &echoOnce{frame: frame{opcode: k.opcode, payload: k.pattern, repeat: 1 << 20}, chop: chop}
				})
		}
	}
	for i, k := range kinds {
		for j, size := range []int{0, 16, 64, 256, 1024, 4096} {
			limit := []time.Duration{60, 60, 60, 120, 240, 480}[j] * time.Second
			pattern := "*"
			if i == 1 {
				pattern = "\xfe"
			}
			add(fmt.Sprintf("9.%d.%d", 7+i, 1+j), fmt.Sprintf("1000 %s messages of %d bytes, each once the one before came back.", k.words, size), limit,
				func() player {
					return &roundTrips{frame: frame{opcode: k.opcode, payload: pattern, repeat: size}, left: 1000}
				})
			if size == 0 {
				cases[len(cases)-1].play = func() player { return &roundTrips{frame: frame{opcode: k.opcode}, left: 1000} }
			}
		}
	}
	return cases
}

// echoOnce sends one long message.
type echoOnce struct {
	frame    frame
	fragment int
	chop     int
}

func (e *echoOnce) keeps() bool { return false }

func (e *echoOnce) open(s *session) {
	s.behavior, s.explanation = Failed, "The message did not come back."
	f := e.frame
	switch {
	case e.fragment > 0:
		s.w.add(func() error { return e.writeFragments(s) })
	default:
		s.send(&f, e.chop, false)
	}
	s.setLimit()
}

// writeFragments gathers small fragments in writes of 64 KiB and more. It cuts
// as fragments does.
func (e *echoOnce) writeFragments(s *session) error {
	var buf []byte
	f := e.frame
	whole := e.frame.repeat <= e.fragment
	for left := e.frame.repeat; ; {
		f.repeat = min(left, e.fragment)
		left -= f.repeat
		f.more = f.repeat == e.fragment && !whole
		if f.repeat == 0 {
			f.payload = ""
		}
		buf, _ = appendFrame(buf, &f, !s.server)
		f.opcode = opContinuation
		if len(buf) >= 64<<10 || !f.more {
			if _, err := s.w.send(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		if !f.more {
			return nil
		}
	}
}

func (e *echoOnce) message(s *session, _ []byte, length int, binary bool) {
	switch {
	case binary != (e.frame.opcode == opBinary):
		s.explanation = "The message came back with the other type."
	case length != e.frame.repeat:
		s.explanation = fmt.Sprintf("The message came back with %d bytes, not %d.", length, e.frame.repeat)
	default:
		s.behavior, s.explanation = OK, fmt.Sprintf("The message came back after %v.", time.Since(s.opening).Round(time.Millisecond))
	}
	s.log.off = false
	s.closeWith(1000)
}

// roundTrips sends a message when the one before came back.
type roundTrips struct {
	frame frame
	left  int
}

func (r *roundTrips) keeps() bool { return false }

func (r *roundTrips) open(s *session) {
	s.behavior, s.explanation = Failed, "Not all messages came back."
	s.setLimit()
	r.next(s)
}

func (r *roundTrips) next(s *session) {
	r.left--
	s.send(&r.frame, 0, false)
}

func (r *roundTrips) message(s *session, _ []byte, length int, binary bool) {
	if binary == (r.frame.opcode == opBinary) && length == r.frame.len() {
		if r.left > 0 {
			r.next(s)
			return
		}
		s.behavior, s.explanation = OK, "All messages came back in time."
	} else {
		s.behavior, s.explanation = Failed, fmt.Sprintf("A message came back as another (binary: %v, %d bytes).", binary, length)
	}
	s.log.off = false
	s.closeWith(1000)
}
