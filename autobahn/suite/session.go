package suite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"
	"unicode/utf8"
)

// The limits of the original in addition to those of the cases.
const (
	openingLimit = 5 * time.Second // for the opening handshake
	closingLimit = time.Second     // for the answer to a close frame
	dropLimit    = time.Second     // for a server to end TCP after the close frames
	// straggling ends what the original would wait for without end.
	straggling = 2 * time.Second
	// longestMessage is what a peer may send before it is cut off: more than
	// the suite sends to be echoed.
	longestMessage = 64 << 20
	// silence ends a case whose limit is far off: the peer has sent and taken
	// nothing for so long.
	silence = 30 * time.Second
)

// The most that a session keeps of a peer that floods it. All are more than any
// case expects, so they change no verdict.
const (
	mostEvents  = 2000    // events
	mostKept    = 4 << 20 // bytes of a message, and of all events together
	mostBacklog = 1 << 20 // bytes that wait to be written, before pongs are left out
)

type state int

const (
	stateOpen    state = iota
	stateClosing       // the suite has sent a close frame
	stateClosed        // the suite has ended TCP
)

// A session is one connection, on which a case is played. One goroutine
// reads, judges and keeps the time; a writer sends what would make it wait.
type session struct {
	c      *Case
	conn   net.Conn
	server bool // the suite is the server, its peer the client
	state  state
	opened bool
	player player
	comp   *deflate // nil unless negotiated

	closedByMe, failedByMe, droppedByMe, clean      bool
	closeTimedOut, dropTimedOut, openTimedOut       bool
	remoteCode, localCode                           int // -1: none
	remoteReason, localReason                       string
	handshakeError                                  error
	behavior, behaviorClose, explanation, closeNote string
	received                                        []event
	kept                                            int // bytes of received
	uncleanReason                                   string

	timers     []timer
	closeTimer *timer
	deadline   time.Time
	started    time.Time
	opening    time.Time
	lastRead   time.Time

	out []byte // what the current turn sends
	// The frame that is sent in parts: its key, and how much of it is sent.
	partKey []byte
	partPos int

	w   *writer
	log wirelog

	in parser
}

// A timer fires once. The session's goroutine owns all of them.
type timer struct {
	at   time.Time
	fire func()
}

func newSession(c *Case, conn net.Conn, server bool) *session {
	s := &session{c: c, conn: conn, server: server, remoteCode: -1, localCode: -1, started: time.Now(), w: newWriter(conn)}
	if c.play != nil {
		s.player = c.play()
	}
	s.log.off = false
	return s
}

// run plays the case on the opened connection, whose first bytes may be in
// early. It returns once TCP has ended.
func (s *session) run(early []byte) {
	s.opened = true
	s.opening = time.Now()
	s.after(s.longest(), s.drop)
	// A write to a peer that does not read keeps the timers waiting.
	stuck := time.AfterFunc(s.longest()+time.Second, func() { s.conn.Close() })
	declined := s.c.deflate != nil && s.comp == nil
	if declined && (s.c.beyond == nil || !s.c.beyond.either) {
		s.behavior, s.explanation = Unimplemented, "permessage-deflate was not negotiated."
		s.closeWith(1000)
	} else if s.player != nil {
		s.log.off = s.c.noLog
		s.player.open(s)
	} else {
		s.playFrom(0)
	}
	s.flush()
	if b := s.c.beyond; b != nil && b.hold > 0 {
		time.Sleep(b.hold)
	}
	if len(early) > 0 {
		s.take(early)
		s.flush()
	}
	s.read()
	if !stuck.Stop() {
		s.droppedByMe, s.uncleanReason = true, "peer did not read"
	}
	s.w.finish(s.conn)
	if !s.clean && s.uncleanReason == "" && !s.droppedByMe {
		s.uncleanReason = "peer dropped the TCP connection without previous WebSocket closing handshake"
	}
}

// longest is a time in which the session has surely ended.
func (s *session) longest() time.Duration {
	d := s.c.limit + 10*time.Second
	for _, st := range s.c.script {
		d += st.pause
	}
	return d
}

var readBuffers = make(chan []byte, 64)

func (s *session) read() {
	var buf []byte
	select {
	case buf = <-readBuffers:
	default:
		buf = make([]byte, 64<<10)
	}
	defer func() {
		select {
		case readBuffers <- buf:
		default:
		}
	}()
	for s.state != stateClosed {
		at := s.nextTimer()
		if !at.Equal(s.deadline) {
			s.deadline = at
			s.conn.SetReadDeadline(at)
		}
		n, err := s.conn.Read(buf)
		if n > 0 {
			s.lastRead = time.Now()
			s.log.octets(&s.log.rxOctets, "RO", buf[:n])
			s.take(buf[:n])
			s.flush()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.fireTimers()
			s.flush()
			continue
		}
		if err != nil {
			return
		}
	}
}

// after calls fire once d has passed.
func (s *session) after(d time.Duration, fire func()) {
	s.timers = append(s.timers, timer{time.Now().Add(d), fire})
}

// watchSilence ends a case once the peer has sent and taken nothing for too
// long.
func (s *session) watchSilence() {
	last := s.lastRead
	if sent := s.w.idleSince(); sent.After(last) {
		last = sent
	}
	if left := silence - time.Since(last); left > 0 {
		s.after(left, s.watchSilence)
		return
	}
	s.explanation = fmt.Sprintf("The peer was silent for %v.", silence)
	s.fail(1001, "Going Away")
}

func (s *session) nextTimer() time.Time {
	var at time.Time
	for i := range s.timers {
		if at.IsZero() || s.timers[i].at.Before(at) {
			at = s.timers[i].at
		}
	}
	if s.closeTimer != nil && (at.IsZero() || s.closeTimer.at.Before(at)) {
		at = s.closeTimer.at
	}
	return at
}

func (s *session) fireTimers() {
	now := time.Now()
	for i := 0; i < len(s.timers) && s.state != stateClosed; {
		if t := s.timers[i]; !t.at.After(now) {
			s.timers = append(s.timers[:i], s.timers[i+1:]...)
			t.fire()
			i = 0
			continue
		}
		i++
	}
	if t := s.closeTimer; t != nil && !t.at.After(now) && s.state != stateClosed {
		s.closeTimer = nil
		t.fire()
	}
}

// playFrom plays the script from step i on, up to the next pause.
func (s *session) playFrom(i int) {
	for ; i < len(s.c.script); i++ {
		st := &s.c.script[i]
		if st.pause > 0 {
			s.log.add("CT", st.pause.Seconds(), nullable(st.tag))
			s.after(st.pause, func() { s.resume(i) })
			return
		}
		s.play(st)
	}
	s.setLimit()
}

// resume plays step i, whose pause is over.
func (s *session) resume(i int) {
	st := &s.c.script[i]
	s.log.add("CTE", nullable(st.tag))
	if st.tag != "" {
		if s.state != stateOpen {
			return
		}
		s.received = append(s.received, passed(st.tag))
	}
	s.play(st)
	s.playFrom(i + 1)
}

func (s *session) play(st *step) {
	if st.part != nil {
		s.sendPart(st.part)
	}
	for i := range st.frames {
		f := &st.frames[i]
		if st.close && i == len(st.frames)-1 {
			s.sendClose(f)
			continue
		}
		s.send(f, st.chop, st.sync)
	}
}

func (s *session) setLimit() {
	if s.c.limit == 0 {
		return
	}
	if s.c.limit > silence {
		s.lastRead = time.Now()
		s.after(silence, s.watchSilence)
	}
	if s.c.atLimit == killAtLimit {
		s.log.add("KL", s.c.limit.Seconds())
		s.after(s.c.limit, func() {
			s.log.add("KLE")
			s.fail(1001, "Going Away")
		})
		return
	}
	s.log.add("TI", s.c.limit.Seconds())
	s.after(s.c.limit, func() {
		s.log.add("TIE")
		s.sendClose(&frame{opcode: opClose})
	})
}

// send sends f. Frames of one turn share a TCP write unless they are chopped or
// synced.
func (s *session) send(f *frame, chop int, sync bool) {
	if f.repeat > 1<<17 && chop == 0 {
		s.flush()
		key := s.w.long(f, !s.server)
		s.log.frame(true, f.opcode, !f.more, f.rsv, f.len(), []byte(f.payload[:min(len(f.payload), 64)]), key)
		return
	}
	if chop > 0 || sync {
		s.flush()
	}
	start := len(s.out)
	var key []byte
	s.out, key = appendFrame(s.out, f, !s.server)
	if !s.log.off {
		s.log.frame(true, f.opcode, !f.more, f.rsv, f.len(), []byte(f.payload[:min(len(f.payload), 64)]), key)
		s.log.octets(&s.log.txOctets, "TO", s.out[start:])
	}
	s.log.txFrames[f.opcode&15]++
	if chop > 0 || sync {
		s.w.write(s.out, chop)
		s.out = nil
	}
}

// appendBytes adds a frame with the payload b to what the turn sends.
func (s *session) appendBytes(opcode, rsv byte, b []byte, more bool) {
	s.log.txFrames[opcode]++
	s.out = appendHeader(s.out, opcode, !more, rsv, uint64(len(b)), 0, !s.server)
	if s.server {
		s.out = append(s.out, b...)
		return
	}
	var key [4]byte
	binary.BigEndian.PutUint32(key[:], rand.Uint32())
	s.out = append(s.out, key[:]...)
	start := len(s.out)
	s.out = append(s.out, b...)
	maskBytes(s.out[start:], key[:], 0)
}

// sendPart sends a piece of a frame. One without a length continues the frame
// of the last one.
func (s *session) sendPart(p *part) {
	start := len(s.out)
	if p.whole > 0 {
		f := frame{opcode: opText, more: true, length: uint64(p.whole)}
		s.out, s.partKey = appendFrame(s.out, &f, !s.server)
		s.partPos = 0
		s.log.frame(true, opText, false, 0, p.whole, []byte(p.payload), s.partKey)
		s.log.txFrames[opText]++
	}
	n := len(s.out)
	s.out = append(s.out, p.payload...)
	if s.partKey != nil {
		s.partPos = maskBytes(s.out[n:], s.partKey, s.partPos)
	}
	s.log.octets(&s.log.txOctets, "TO", s.out[start:])
	s.flush()
}

func (s *session) flush() {
	if len(s.out) == 0 {
		return
	}
	s.out = s.w.writeNow(s.out)
}

// sendClose begins the closing handshake, unless it has begun.
func (s *session) sendClose(f *frame) {
	if s.state != stateOpen {
		return
	}
	s.localCode, s.localReason = splitClose([]byte(f.payload))
	s.send(f, 0, false)
	s.state = stateClosing
	s.closedByMe = true
	s.closeTimer = &timer{time.Now().Add(closingLimit), func() {
		s.clean = false
		s.closeTimedOut = true
		s.uncleanReason = "peer did not respond (in time) in closing handshake"
		s.drop()
	}}
}

func (s *session) closeWith(code int) {
	f := closeFrame(code, "")
	s.sendClose(&f)
}

// fail fails the connection, as RFC 6455, section 7.1.7, has it.
func (s *session) fail(code int, reason string) {
	if s.state == stateClosed {
		return
	}
	s.failedByMe = true
	if s.state == stateClosing {
		s.drop()
		return
	}
	f := closeFrame(code, reason)
	s.sendClose(&f)
}

// drop ends TCP.
func (s *session) drop() {
	if s.state == stateClosed {
		return
	}
	s.flush()
	s.droppedByMe = true
	s.state = stateClosed
}

func splitClose(payload []byte) (int, string) {
	if len(payload) < 2 {
		return -1, ""
	}
	return int(payload[0])<<8 | int(payload[1]), string(payload[2:])
}

// A parser holds what is known of the frame and the message that the peer is
// sending. It reads on after a violation, as far as it can, because the peer's
// close frame is still to come.
type parser struct {
	header     []byte
	inFrame    bool
	fin        bool
	rsv        byte
	opcode     byte
	masked     bool
	key        [4]byte
	left       uint64
	pos        int
	control    []byte
	inMessage  bool
	binary     bool
	compressed bool
	payload    []byte
	length     int
	utf8       utf8Checker
	sample     []byte // the first bytes of a data frame, for the log
	frameLen   int
}

// take takes bytes of the peer; it unmasks them in place.
func (s *session) take(b []byte) {
	p := &s.in
	for s.state != stateClosed {
		if !p.inFrame {
			need := p.headerLen() - len(p.header)
			for need > 0 && len(b) > 0 {
				n := min(need, len(b))
				p.header = append(p.header, b[:n]...)
				b = b[n:]
				need = p.headerLen() - len(p.header)
			}
			if need > 0 {
				return
			}
			s.beginFrame()
			p.header = p.header[:0]
			if p.left > 0 {
				continue
			}
		}
		n := int(min(uint64(len(b)), p.left))
		if n > 0 {
			chunk := b[:n]
			b = b[n:]
			if p.masked {
				p.pos = maskBytes(chunk, p.key[:], p.pos)
			}
			p.left -= uint64(n)
			s.frameData(chunk)
		}
		if p.left > 0 {
			return
		}
		p.inFrame = false
		s.endFrame()
		if len(b) == 0 && len(p.header) == 0 {
			return
		}
	}
}

func (p *parser) headerLen() int {
	if len(p.header) < 2 {
		return 2
	}
	n := 2
	switch p.header[1] & 127 {
	case 126:
		n = 4
	case 127:
		n = 10
	}
	if p.header[1]&128 != 0 {
		n += 4
	}
	return n
}

func (s *session) beginFrame() {
	p := &s.in
	h := p.header
	p.inFrame, p.pos, p.frameLen, p.sample = true, 0, 0, p.sample[:0]
	p.fin, p.rsv, p.opcode, p.masked = h[0]&128 != 0, h[0]>>4&7, h[0]&15, h[1]&128 != 0
	p.left = uint64(h[1] & 127)
	short := p.left
	rest := h[2:]
	violation := func(format string, args ...any) {
		s.fail(1002, fmt.Sprintf(format, args...))
	}
	s.checkFlags(int(short), violation)
	switch short {
	case 126:
		p.left = uint64(rest[0])<<8 | uint64(rest[1])
		rest = rest[2:]
		if p.left < 126 {
			violation("the length is not minimal")
		}
	case 127:
		p.left = 0
		for _, b := range rest[:8] {
			p.left = p.left<<8 | uint64(b)
		}
		rest = rest[8:]
		if p.left>>63 != 0 {
			violation("the length has 64 bits")
		}
		if p.left < 65536 {
			violation("the length is not minimal")
		}
	}
	if p.masked {
		copy(p.key[:], rest)
	}
	if p.opcode >= 8 {
		p.control = p.control[:0]
		return
	}
	if !p.inMessage {
		p.inMessage = true
		p.binary = p.opcode == opBinary
		p.compressed = s.comp != nil && p.rsv == 4
		p.payload, p.length = p.payload[:0], 0
		p.utf8 = utf8Checker{on: p.opcode == opText}
	}
}

// checkFlags checks the first two bytes of a header, of which short is the 7-bit
// length.
func (s *session) checkFlags(short int, violation func(format string, args ...any)) {
	p := &s.in
	if p.rsv != 0 && (s.comp == nil || p.rsv != 4) {
		violation("RSV is %d", p.rsv)
	}
	if s.server && !p.masked {
		violation("a frame of the client is not masked")
	}
	if !s.server && p.masked {
		violation("a frame of the server is masked")
	}
	if p.opcode >= 8 {
		if !p.fin {
			violation("a control frame is fragmented")
		}
		if short > 125 {
			violation("a control frame is longer than 125 bytes")
		}
		if p.opcode > opPong {
			violation("opcode %d is reserved", p.opcode)
		}
		if p.opcode == opClose && short == 1 {
			violation("a close frame has one byte")
		}
		if s.comp != nil && p.rsv == 4 {
			violation("a control frame is compressed")
		}
	} else {
		if p.opcode > opBinary {
			violation("opcode %d is reserved", p.opcode)
		}
		if !p.inMessage && p.opcode == opContinuation {
			violation("there is no message to continue")
		}
		if p.inMessage && p.opcode != opContinuation {
			violation("a message begins inside another")
		}
		if s.comp != nil && p.rsv == 4 && p.inMessage {
			violation("RSV1 is set on a continuation")
		}
	}
}

func (s *session) frameData(b []byte) {
	p := &s.in
	p.frameLen += len(b)
	if p.opcode >= 8 {
		if len(p.control) < 1<<16 {
			p.control = append(p.control, b...)
		}
		return
	}
	if !s.log.off && len(p.sample) < 64 {
		p.sample = append(p.sample, b[:min(len(b), 64)]...)
	}
	if s.failedByMe {
		return
	}
	p.length += len(b)
	if p.length > longestMessage {
		s.fail(1009, "the message is too long")
		return
	}
	if p.compressed {
		if p.length > mostKept {
			s.fail(1009, "the message is too long")
			return
		}
		p.payload = append(p.payload, b...)
		return
	}
	if !p.utf8.add(b) {
		s.fail(1007, "a text message is not UTF-8")
		return
	}
	if s.player == nil || s.player.keeps() {
		p.payload = append(p.payload, b[:min(len(b), mostKept-len(p.payload))]...)
	}
}

func (s *session) endFrame() {
	p := &s.in
	s.log.rxFrames[p.opcode]++
	if !s.log.off {
		sample := p.sample
		if p.opcode >= 8 {
			sample = p.control
		}
		var key []byte
		if p.masked {
			key = p.key[:]
		}
		s.log.frame(false, p.opcode, p.fin, p.rsv, p.frameLen, sample, key)
	}
	switch p.opcode {
	case opClose:
		s.closeReceived(p.control)
	case opPing:
		if s.state == stateOpen && s.w.backlog() < mostBacklog {
			s.send(&frame{opcode: opPong, payload: string(p.control)}, 0, false)
		}
	case opPong:
		s.note(event{kind: "pong", data: p.control})
	default:
		if p.opcode < 8 && p.fin {
			p.inMessage = false
			s.endMessage()
		}
	}
}

func (s *session) endMessage() {
	p := &s.in
	payload, length := p.payload, p.length
	if p.compressed && !s.failedByMe {
		var err error
		if payload, err = s.comp.in.message(payload); err != nil {
			// The original's connection breaks down here: no close frame,
			// nothing said.
			s.explanation = fmt.Sprintf("A message cannot be decompressed: %v.", err)
			s.behavior = Failed
			s.drop()
			s.droppedByMe = false
			return
		}
		length = len(payload)
		if !s.comp.in.known && !p.utf8.add(payload) {
			s.fail(1007, "a text message is not UTF-8")
		}
	}
	if !(p.compressed && s.comp.in.known) && !p.utf8.end() {
		s.fail(1007, "a text message ends inside a code point")
	}
	if s.failedByMe {
		return
	}
	if s.player != nil {
		if s.behavior != Unimplemented { // else the player has not begun
			s.player.message(s, payload, length, p.binary)
		}
		return
	}
	s.note(event{kind: "message", data: payload, binary: p.binary})
}

// note notes an event, whose data it copies, and closes once it was the last of
// those expected, whichever are.
func (s *session) note(e event) {
	if s.player != nil || len(s.received) >= mostEvents {
		return
	}
	e.data = e.data[:min(len(e.data), mostKept-s.kept)]
	s.kept += len(e.data)
	s.received = append(s.received, event{e.kind, bytes.Clone(e.data), e.binary})
	if s.c.nonStrict != nil || s.c.closesNever || !s.c.closing.byMe {
		return // the original wants all expectations met at once, which two different ones never are
	}
	if equalEvents(s.received, s.c.ok) {
		s.closeWith(s.c.closing.codes[0])
	}
}

func (s *session) closeReceived(payload []byte) {
	code, reason := splitClose(payload)
	s.remoteCode = code
	registered := 1011 // the last code that the original takes: what came later is judged by the cases beyond it
	if s.c.beyond != nil {
		registered = 1014
	}
	if code >= 0 && (code < 1000 || code >= 1004 && code <= 1006 || code > registered && code <= 2999 || code >= 5000) {
		s.fail(1002, fmt.Sprintf("the close code %d is invalid", code))
	}
	if !utf8.ValidString(reason) {
		s.fail(1007, "the reason is not UTF-8")
	}
	s.remoteReason = reason
	switch s.state {
	case stateClosing:
		again := s.clean
		s.clean = true
		if s.server {
			s.drop()
			return
		}
		if again {
			return
		}
		s.closeTimer = &timer{time.Now().Add(dropLimit), func() {
			s.clean = false
			s.dropTimedOut = true
			s.uncleanReason = "server did not drop TCP connection (in time)"
			s.drop()
		}}
	case stateOpen:
		s.clean = true
		f := closeFrame(1000, "")
		s.localCode = 1000
		s.send(&f, 0, false)
		s.state = stateClosing
		if s.server {
			s.drop()
			return
		}
		s.after(straggling, s.drop) // the original waits for the case's limit, or without end
	}
}

// A utf8Checker checks a text that comes in pieces.
type utf8Checker struct {
	on   bool
	bad  bool
	rest [4]byte
	n    int // bytes of an unfinished code point in rest
}

// add reports whether the text is UTF-8 so far. It fails at the first byte that
// no continuation can mend.
func (u *utf8Checker) add(b []byte) bool {
	if !u.on || u.bad {
		return !u.bad
	}
	for u.n > 0 && len(b) > 0 {
		u.rest[u.n] = b[0]
		u.n++
		b = b[1:]
		if utf8.FullRune(u.rest[:u.n]) {
			if r, size := utf8.DecodeRune(u.rest[:u.n]); r == utf8.RuneError && size == 1 {
				u.bad = true
				return false
			}
			u.n = 0
		}
	}
	// The last code point may be unfinished.
	tail := len(b)
	for i := 1; i <= 3 && i <= len(b); i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				tail = len(b) - i
			}
			break
		}
	}
	if !utf8.Valid(b[:tail]) {
		u.bad = true
		return false
	}
	u.n += copy(u.rest[u.n:], b[tail:])
	return true
}

func (u *utf8Checker) end() bool { return !u.on || !u.bad && u.n == 0 }
