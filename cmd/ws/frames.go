package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/seed70bc5565/websocket"
)

// A frame is the header of a frame (RFC 6455, section 5.2), and the beginning
// of its payload, unmasked.
type frame struct {
	sent   bool // by this side
	fin    bool
	rsv    byte // RSV1, RSV2 and RSV3, as the bits 4, 2 and 1
	opcode byte
	masked bool
	key    [4]byte
	length uint64
	start  []byte // of the payload: all of it in a control frame
}

const (
	opcodeText   = 1
	opcodeBinary = 2
	opcodeClose  = 8
	opcodePing   = 9
	opcodePong   = 10
)

var opcodeNames = [16]string{0: "continuation", opcodeText: "text", opcodeBinary: "binary", opcodeClose: "close", opcodePing: "ping", opcodePong: "pong"}

func (f frame) control() bool { return f.opcode >= 8 }

// closeFrame returns what the payload of a close frame says.
func (f frame) closeFrame() (code websocket.StatusCode, reason string) {
	if len(f.start) < 2 {
		return websocket.StatusNoStatusRcvd, ""
	}
	return websocket.StatusCode(binary.BigEndian.Uint16(f.start)), string(f.start[2:])
}

// String returns the frame as --frames shows it, in one line.
func (f frame) String() string {
	var b strings.Builder
	b.WriteString("< ")
	if f.sent {
		b.Reset()
		b.WriteString("> ")
	}
	name := opcodeNames[f.opcode]
	if name == "" {
		name = "reserved"
	}
	fmt.Fprintf(&b, "FIN=%d RSV=%03b opcode=%d %s", bit(f.fin), f.rsv, f.opcode, name)
	if f.masked {
		fmt.Fprintf(&b, " mask=%x", f.key)
	}
	fmt.Fprintf(&b, " length=%d", f.length)
	if f.opcode == opcodeClose && f.length > 0 {
		return b.String() + " " + closeText(f.closeFrame())
	}
	if len(f.start) == 0 {
		return b.String()
	}
	b.WriteString(" ")
	if f.rsv&4 != 0 {
		b.WriteString("compressed ")
	}
	if text := strings.TrimSuffix(string(f.start), tornRune(f.start)); f.rsv == 0 && f.opcode != opcodeBinary && utf8.ValidString(text) {
		b.WriteString(quoted(text))
	} else {
		fmt.Fprintf(&b, "%x", f.start)
	}
	if uint64(len(f.start)) < f.length {
		b.WriteString("...")
	}
	return b.String()
}

// quoted quotes text for one line: JSON between backquotes, as it stands, and
// where that does not do, as a Go string.
func quoted(text string) string {
	if strings.Contains(text, `"`) && strconv.CanBackquote(text) && sanitize(text) == text {
		return "`" + text + "`"
	}
	return strconv.Quote(text)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// tornRune returns the bytes at the end of p that begin a character which p
// does not finish.
func tornRune(p []byte) string {
	for i := len(p) - 1; i >= 0 && i >= len(p)-utf8.UTFMax; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				return string(p[i:])
			}
			break
		}
	}
	return ""
}

// shownPayload is how many bytes of a data frame's payload a frame keeps.
const shownPayload = 60

// A frameParser finds the frames in one direction of a connection. It judges
// nothing, so that it shows what is wrong.
type frameParser struct {
	sent   bool
	emit   func(frame) // called as soon as the header and the start of the payload are there
	head   []byte      // of the frame that is arriving, until emit
	remain uint64      // bytes of payload that follow, after emit
}

// feed takes the next bytes.
func (p *frameParser) feed(b []byte) {
	for len(b) > 0 {
		if p.remain > 0 {
			n := min(uint64(len(b)), p.remain)
			p.remain -= n
			b = b[n:]
			continue
		}
		need := p.need()
		if n := min(need-len(p.head), len(b)); n > 0 {
			p.head = append(p.head, b[:n]...)
			b = b[n:]
		}
		if p.need() == len(p.head) {
			f, size := p.parse()
			p.remain = f.length - uint64(len(p.head)-size)
			p.head = p.head[:0]
			p.emit(f)
		}
	}
}

// need returns how many bytes head must have for the next step.
func (p *frameParser) need() int {
	if len(p.head) < 2 {
		return 2
	}
	size := headerSize(p.head)
	if len(p.head) < size {
		return size
	}
	length := payloadLength(p.head)
	if p.head[0]&8 == 0 || length > 125 {
		length = min(length, shownPayload)
	}
	return size + int(length)
}

// parse returns the frame of head, and the size of its header.
func (p *frameParser) parse() (frame, int) {
	h := p.head
	size := headerSize(h)
	f := frame{sent: p.sent, fin: h[0]&0x80 != 0, rsv: h[0] >> 4 & 7, opcode: h[0] & 15, masked: h[1]&0x80 != 0,
		length: payloadLength(h), start: bytes.Clone(h[size:])}
	if f.masked {
		copy(f.key[:], h[size-4:size])
		for i := range f.start {
			f.start[i] ^= f.key[i&3]
		}
	}
	return f, size
}

func headerSize(h []byte) int {
	size := 2
	switch h[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if h[1]&0x80 != 0 {
		size += 4
	}
	return size
}

func payloadLength(h []byte) uint64 {
	switch n := h[1] & 0x7f; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		return binary.BigEndian.Uint64(h[2:])
	default:
		return uint64(n)
	}
}

// A tracer shows the frames of a connection, and knows how it was closed. Its
// methods may be called concurrently.
type tracer struct {
	mu            sync.Mutex  // guards what follows
	show          func(frame) // nil: none are shown yet
	early         []frame     // have come before show
	closeSent     *closeSeen
	closeReceived *closeSeen
	receivedFirst bool // the peer's close frame came before that of this side left
	in, out       counts
	compressed    bool   // at least one message was
	agreed        string // the extensions
}

// counts are those of one direction, after the handshake.
type counts struct{ frames, messages, wire int64 }

type closeSeen struct {
	code   websocket.StatusCode
	reason string
}

// client returns c as a client's transport that t follows.
func (t *tracer) client(c net.Conn) net.Conn { return newTracedConn(c, t, true) }

func (t *tracer) frame(f frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := &t.in
	if f.sent {
		n = &t.out
	}
	n.frames++
	if f.fin && !f.control() {
		n.messages++
	}
	t.compressed = t.compressed || f.rsv&4 != 0
	if f.opcode == opcodeClose {
		code, reason := f.closeFrame()
		if seen := (&closeSeen{code, reason}); f.sent && t.closeSent == nil {
			t.closeSent = seen
		} else if !f.sent && t.closeReceived == nil {
			t.closeReceived, t.receivedFirst = seen, t.closeSent == nil
		}
	}
	switch {
	case t.show != nil:
		t.show(f)
	case len(t.early) < earlyFrames:
		t.early = append(t.early, f)
	}
}

// earlyFrames bounds the frames that are kept for begin.
const earlyFrames = 1000

// begin shows the frames that have passed, and those that will. It may be
// called late, so that frames are shown behind what is said of the handshake.
func (t *tracer) begin(show func(frame)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.early {
		show(f)
	}
	t.show, t.early = show, nil
}

// answered is told of the head of the response.
func (t *tracer) answered(head []byte) {
	var values []string
	for _, line := range strings.Split(string(head), "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Sec-WebSocket-Extensions") {
			values = append(values, strings.TrimSpace(value))
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.agreed = strings.Join(values, ", ")
}

// extensions returns the Sec-WebSocket-Extensions of the response.
func (t *tracer) extensions() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.agreed
}

func (t *tracer) bytes(sent bool, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if sent {
		t.out.wire += int64(n)
	} else {
		t.in.wire += int64(n)
	}
}

// summary returns both counts.
func (t *tracer) summary() (in, out counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.in, t.out
}

// A tracedConn is a transport that tells a tracer of the frames on it. Before
// them it follows the HTTP handshake, and waits for a response with the
// status 101.
type tracedConn struct {
	net.Conn
	t      *tracer
	client bool // this side is

	mu       sync.Mutex // guards what follows; a frame is shown under it
	upgraded bool
	response []byte // the head of the response, as far as it has passed
	request  []byte // a server's: what the client has sent, head included
	in, out  frameParser
}

// maxHead bounds the head of a request or a response that is followed, in
// bytes.
const maxHead = 1 << 20

func newTracedConn(c net.Conn, t *tracer, client bool) *tracedConn {
	return &tracedConn{Conn: c, t: t, client: client,
		in: frameParser{emit: t.frame}, out: frameParser{emit: t.frame, sent: true}}
}

func (c *tracedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.mu.Lock()
		c.passedLocked(false, p[:n])
		c.mu.Unlock()
	}
	return n, err
}

func (c *tracedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.passedLocked(true, p) // before it is written, so that an answer is never shown first
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// CloseWrite ends the sending direction, if the transport can.
func (c *tracedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// passedLocked follows p on its way.
func (c *tracedConn) passedLocked(sent bool, p []byte) {
	if c.upgraded {
		c.framesLocked(sent, p)
		return
	}
	if sent == c.client { // a request, or what follows it
		if c.client {
			c.response = c.response[:0]
		} else if len(c.request) < maxHead {
			c.request = append(c.request, p...)
		}
		return
	}
	if len(c.response) >= maxHead {
		return
	}
	c.response = append(c.response, p...)
	head, after, ok := bytes.Cut(c.response, []byte("\r\n\r\n"))
	if !ok {
		return
	}
	if _, status, _ := bytes.Cut(head, []byte(" ")); !bytes.HasPrefix(status, []byte("101")) {
		if !c.client { // another request may follow
			c.request, c.response = c.request[:0], c.response[:0]
		}
		return
	}
	c.upgraded = true
	c.t.answered(head)
	c.framesLocked(sent, after)
	if _, early, ok := bytes.Cut(c.request, []byte("\r\n\r\n")); ok {
		c.framesLocked(!sent, early)
	}
	c.request, c.response = nil, nil
}

func (c *tracedConn) framesLocked(sent bool, p []byte) {
	if len(p) == 0 {
		return
	}
	c.t.bytes(sent, len(p))
	if sent {
		c.out.feed(p)
	} else {
		c.in.feed(p)
	}
}

// A tracedListener makes the connections of a server traced ones.
type tracedListener struct {
	net.Listener
	tracer func(net.Conn) *tracer
}

func (l tracedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newTracedConn(c, l.tracer(c), false), nil
}
