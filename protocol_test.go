package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Headers that are legal, and when. Each row is a conversation: all headers but
// the last are fine, the last is judged as want says.
func TestRecvHalf(t *testing.T) {
	text := header{headerBits: headerBits{fin: true, opcode: opText}, length: 1}
	first := header{headerBits: headerBits{opcode: opText}, length: 1}
	more := header{headerBits: headerBits{opcode: opContinuation}, length: 1}
	last := header{headerBits: headerBits{fin: true, opcode: opContinuation}, length: 1}
	ping := header{headerBits: headerBits{fin: true, opcode: opPing}, length: 125}
	with := func(h header, change func(*header)) header { change(&h); return h }
	rsv := func(h header, bits byte) header { h.rsv = bits; return h }
	size := func(h header, n int64) header { h.length = n; return h }
	repeat := func(h header, n int, first header) []header {
		headers := []header{first}
		for range n {
			headers = append(headers, h)
		}
		return headers
	}

	tests := []struct {
		name    string
		deflate bool
		limit   int64 // 0: none
		headers []header
		want    error
	}{
		{name: "one frame", headers: []header{text, text}},
		// Section 5.4.
		{name: "fragments", headers: []header{first, more, last, text}},
		{name: "ping between fragments", headers: []header{first, ping, last}},
		{name: "continuation of nothing", headers: []header{last}, want: errNothingToContinue},
		{name: "continuation of nothing, not the last", headers: []header{more}, want: errNothingToContinue},
		{name: "continuation of a whole message", headers: []header{text, last}, want: errNothingToContinue},
		{name: "continuation of a finished message", headers: []header{first, last, last}, want: errNothingToContinue},
		{name: "message inside a message", headers: []header{first, text}, want: errMessageUnfinished},
		{name: "fragment of another inside a message", headers: []header{first, more, first}, want: errMessageUnfinished},
		// Section 5.5.
		{name: "fragmented ping", headers: []header{with(ping, func(h *header) { h.fin = false })}, want: errControlFragmented},
		{name: "fragmented close", headers: []header{{headerBits: headerBits{opcode: opClose}}}, want: errControlFragmented},
		{name: "ping of 126 bytes", headers: []header{size(ping, 126)}, want: errControlTooLong},
		{name: "close of 126 bytes", headers: []header{{headerBits: headerBits{fin: true, opcode: opClose}, length: 126}}, want: errControlTooLong},
		{name: "pong of 2^62 bytes", headers: []header{{headerBits: headerBits{fin: true, opcode: opPong}, length: 1 << 62}}, want: errControlTooLong},
		// Section 5.2.
		{name: "opcode 3", headers: []header{{headerBits: headerBits{fin: true, opcode: 3}}}, want: ProtocolError{StatusProtocolError, "frame with reserved opcode 3"}},
		{name: "opcode 7, 2^62 bytes", headers: []header{{headerBits: headerBits{fin: true, opcode: 7}, length: 1 << 62}}, want: ProtocolError{StatusProtocolError, "frame with reserved opcode 7"}},
		{name: "opcode 11", headers: []header{{headerBits: headerBits{fin: true, opcode: 11}}}, want: ProtocolError{StatusProtocolError, "frame with reserved opcode 11"}},
		{name: "opcode 15", headers: []header{{headerBits: headerBits{fin: true, opcode: 15}}}, want: ProtocolError{StatusProtocolError, "frame with reserved opcode 15"}},
		{name: "RSV1", headers: []header{rsv(text, rsv1Bit)}, want: errReservedBits},
		{name: "RSV2", headers: []header{rsv(text, rsv2Bit)}, want: errReservedBits},
		{name: "RSV3", headers: []header{rsv(text, rsv3Bit)}, want: errReservedBits},
		{name: "RSV1 on a ping", headers: []header{rsv(ping, rsv1Bit)}, want: errReservedBits},
		// RFC 7692, section 6: RSV1 marks the first frame of a message, never a
		// control frame nor a continuation.
		{name: "compressed", deflate: true, headers: []header{rsv(text, rsv1Bit), rsv(first, rsv1Bit), more, last, text}},
		{name: "compressed and RSV2", deflate: true, headers: []header{rsv(text, rsv1Bit|rsv2Bit)}, want: errReservedBits},
		{name: "RSV1 on a continuation", deflate: true, headers: []header{rsv(first, rsv1Bit), rsv(last, rsv1Bit)}, want: errReservedBits},
		{name: "RSV1 on a control frame", deflate: true, headers: []header{rsv(ping, rsv1Bit)}, want: errReservedBits},
		// The read limit.
		{name: "as long as the limit", limit: 10, headers: []header{size(text, 10), size(first, 4), size(last, 6), size(text, 10)}},
		{name: "longer than the limit", limit: 10, headers: []header{size(text, 11)}, want: errMessageTooBig},
		{name: "2^63-1 bytes", limit: 10, headers: []header{size(text, math.MaxInt64)}, want: errMessageTooBig},
		{name: "longer than the limit in fragments", limit: 10, headers: []header{size(first, 4), size(more, 6), last}, want: errMessageTooBig},
		{name: "empty fragment at the limit", limit: 10, headers: []header{size(first, 10), size(last, 0)}},
		{name: "more than 2^63 bytes in fragments", headers: []header{size(first, math.MaxInt64), last}, want: errMessageTooBig},
		// The bytes that the read limit does not count.
		{name: "spare frames", headers: append(repeat(size(more, 0), spareFrames-1, size(first, 0)), size(last, 0), text)},
		{name: "too many frames without payload", headers: repeat(size(more, 0), spareFrames, size(first, 0)), want: errEmptyFrames},
		{name: "one more for each byte", limit: 10, headers: append(repeat(size(more, 0), spareFrames+10, size(first, 10)), last), want: errMessageTooBig},
		{name: "too many for the bytes", headers: repeat(size(more, 0), spareFrames+11, size(first, 10)), want: errEmptyFrames},
		{name: "each message by itself", headers: append(repeat(size(more, 0), spareFrames-1, size(first, 0)), last, size(first, 0), last)},
		{name: "pings do not count", headers: append(repeat(size(ping, 0), 2*spareFrames, size(first, 0)), last)},
		{name: "as long as a compressed message may be", deflate: true, limit: 10, headers: []header{rsv(size(first, 10*deflateExpansion+spareDeflate), rsv1Bit), size(last, 15)}},
		{name: "longer", deflate: true, limit: 10, headers: []header{rsv(size(first, 10*deflateExpansion+spareDeflate), rsv1Bit), size(last, 16)}, want: errMessageTooBig},
		{name: "a compressed message of 2^63-1 bytes", deflate: true, limit: 10, headers: []header{rsv(size(text, math.MaxInt64), rsv1Bit)}, want: errMessageTooBig},
		{name: "the greatest limit", deflate: true, limit: math.MaxInt64, headers: []header{rsv(size(text, math.MaxInt64), rsv1Bit)}},
		{name: "compressed bytes are not counted here", deflate: true, limit: 10, headers: []header{rsv(size(text, 11), rsv1Bit)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, client := range []bool{false, true} {
				s := recvHalf{client: client, deflate: tt.deflate}
				limit := tt.limit
				if limit == 0 {
					limit = -1
				}
				for i, h := range tt.headers {
					h.masked = !client
					want := error(nil)
					if i == len(tt.headers)-1 {
						want = tt.want
					}
					if err := s.judge(h, limit); err != want {
						t.Fatalf("client %v, frame %d: %v, want %v", client, i, err, want)
					}
				}
			}
		})
	}
}

// Section 5.1: "a server MUST close the connection upon receiving a frame that
// is not masked". "A client MUST close a connection if it detects a masked
// frame". Both hold for every opcode.
func TestRecvHalfMasking(t *testing.T) {
	for _, op := range []opcode{opText, opBinary, opClose, opPing, opPong} {
		server, client := recvHalf{}, recvHalf{client: true}
		if err := server.judge(header{headerBits: headerBits{fin: true, opcode: op}}, -1); err != errUnmaskedByClient {
			t.Errorf("server, unmasked %v: %v", op, err)
		}
		if err := client.judge(header{headerBits: headerBits{fin: true, opcode: op, masked: true}}, -1); err != errMaskedByServer {
			t.Errorf("client, masked %v: %v", op, err)
		}
	}
}

// A recvHalf takes all that a sendHalf of the other side makes.
func TestSendHalf(t *testing.T) {
	type frame struct {
		op  opcode
		fin bool
	}
	frames := []frame{{opText, true}, {opBinary, false}, {opPing, true}, {opBinary, false}, {opBinary, true}, {opPong, true}, {opText, false}, {opClose, true}}
	for _, client := range []bool{false, true} {
		send, recv := sendHalf{client: client}, recvHalf{client: !client}
		for i, f := range frames {
			h, err := send.header(f.op, f.fin, 0, i, 7)
			if err != nil {
				t.Fatalf("client %v, frame %d: %v", client, i, err)
			}
			if h.masked != client || h.masked && h.key != 7 {
				t.Errorf("client %v, frame %d: masked %v with %d", client, i, h.masked, h.key)
			}
			if err := recv.judge(h, -1); err != nil {
				t.Errorf("client %v, frame %d: refused: %v", client, i, err)
			}
		}
		// Section 5.5.1: "The application MUST NOT send any more data frames
		// after sending a Close frame."
		for _, op := range []opcode{opText, opPing, opClose} {
			if _, err := send.header(op, true, 0, 0, 0); err != errCloseSent {
				t.Errorf("%v after the close frame: %v", op, err)
			}
		}
	}
}

func TestSendHalfControlTooLong(t *testing.T) {
	s := sendHalf{}
	if _, err := s.header(opPing, true, 0, 126, 0); err == nil {
		t.Error("a ping of 126 bytes was made")
	}
	if _, err := s.header(opPing, false, 0, 0, 0); err == nil {
		t.Error("a fragmented ping was made")
	}
}

func TestCloseState(t *testing.T) {
	const s, r, e, c = closeFrameSent, closeFrameReceived, transportEnds, transportClosed
	tests := []struct {
		name   string
		events []closeEvent
		want   closeState
	}{
		{"nothing", nil, stateOpen},
		{"ours", []closeEvent{s}, stateSent},
		{"theirs", []closeEvent{r}, stateReceived},
		{"ours, theirs", []closeEvent{s, r}, stateBoth},
		{"theirs, ours", []closeEvent{r, s}, stateBoth},
		{"handshake", []closeEvent{s, r, e}, stateEnding},
		{"dropped", []closeEvent{e}, stateBreaking},
		{"ours, dropped", []closeEvent{s, e}, stateBreaking},
		{"theirs, dropped", []closeEvent{r, e}, stateBreaking},
		{"ours twice", []closeEvent{s, s}, stateSent},
		{"theirs twice", []closeEvent{r, r}, stateReceived},
		{"ends twice", []closeEvent{s, r, e, e}, stateEnding},
		{"late frames", []closeEvent{e, s, r}, stateBreaking},
		{"closed after the handshake", []closeEvent{s, r, e, c}, stateEnded},
		{"closed without it", []closeEvent{r, e, c}, stateBroken},
		{"late frames of a closed one", []closeEvent{e, c, s, r, e, c}, stateBroken},
		{"closed, never ended", []closeEvent{c}, stateOpen},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := stateOpen
			for _, ev := range tt.events {
				got = got.after(ev)
			}
			if got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	for state := stateOpen; state <= stateBroken; state++ {
		ending := slices.Contains([]closeState{stateEnding, stateBreaking, stateEnded, stateBroken}, state)
		closed := state == stateEnded || state == stateBroken
		if state.isEnding() != ending || state.isClosed() != closed {
			t.Errorf("state %d: isEnding %v, isClosed %v", state, state.isEnding(), state.isClosed())
		}
		for e := closeFrameSent; e <= transportClosed; e++ {
			if next := state.after(e); next < state {
				t.Errorf("event %d leads back from state %d to %d", e, state, next)
			} else if state.isAnswered() && !next.isAnswered() {
				t.Errorf("event %d in state %d forgets the closing handshake", e, state)
			}
		}
	}
}

// Every rule of RFC 6455 about single frames and their order that Autobahn
// leaves out. Each row is a fault, sent after a good message and a ping, which
// are answered first.
func TestProtocolErrors(t *testing.T) {
	type row struct {
		name   string
		frames []wstest.Frame
		code   int
	}
	masking := func(f wstest.Frame, m wstest.Masking) wstest.Frame { f.Mask = m; return f }
	form := func(f wstest.Frame, bits int) wstest.Frame { f.LenForm = bits; return f }
	declare := func(f wstest.Frame, n uint64) wstest.Frame { f.Declare = n; return f }
	x := func(n int) string { return strings.Repeat("x", n) }

	// "wrong" is replaced by the masking that the peer's role forbids.
	const wrong = wstest.Masking(99)
	tests := []row{
		// 5.1: "a server MUST close a connection upon receiving a frame that is
		// not masked". "A client MUST close a connection if it detects a masked
		// frame". 1002 may be used for both.
		{"masking of text", frames(masking(text("a"), wrong)), 1002},
		{"masking of an empty text", frames(masking(text(""), wrong)), 1002},
		{"masking of binary", frames(masking(binaryF("a"), wrong)), 1002},
		{"masking of a continuation", frames(first(wstest.Text, "a"), masking(cont("b"), wrong)), 1002},
		{"masking of a ping", frames(masking(ping(""), wrong)), 1002},
		{"masking of a pong", frames(masking(pong(""), wrong)), 1002},
		{"masking of a close", frames(masking(closing(1000, ""), wrong)), 1002},
		// 5.2: "the minimal number of bytes MUST be used to encode the length".
		{"16-bit length 0", frames(form(text(""), 16)), 1002},
		{"16-bit length 125", frames(form(text(x(125)), 16)), 1002},
		{"64-bit length 0", frames(form(text(""), 64)), 1002},
		{"64-bit length 126", frames(form(text(x(126)), 64)), 1002},
		{"64-bit length 65535", frames(form(binaryF(x(65535)), 64)), 1002},
		{"16-bit length of a ping", frames(form(ping("a"), 16)), 1002},
		{"64-bit length of a close", frames(form(closing(1000, ""), 64)), 1002},
		// 5.2: "the most significant bit MUST be 0".
		{"length 2^63", frames(declare(binaryF(""), 1<<63)), 1002},
		{"length 2^64-1", frames(declare(binaryF(""), 1<<64-1)), 1002},
		// 5.5: "All control frames MUST have a payload length of 125 bytes or
		// less and MUST NOT be fragmented."
		{"ping of 126", frames(ping(x(126))), 1002},
		{"pong of 126", frames(pong(x(126))), 1002},
		{"close of 65536", frames(declare(closing(1000, ""), 65536)), 1002},
		{"ping of 2^40", frames(declare(ping(""), 1<<40)), 1002},
		{"fragmented ping", frames(first(wstest.Ping, "")), 1002},
		{"fragmented pong", frames(first(wstest.Pong, "")), 1002},
		{"fragmented close", frames(first(wstest.Close, "\x03\xe8")), 1002},
		{"fragmented ping in a message", frames(first(wstest.Text, "a"), first(wstest.Ping, "")), 1002},
		// 5.4: fragments.
		{"text in a text", frames(first(wstest.Text, "a"), text("b")), 1002},
		{"binary in a text", frames(first(wstest.Text, "a"), binaryF("b")), 1002},
		{"text in a binary", frames(first(wstest.Binary, "a"), first(wstest.Text, "b")), 1002},
		{"text after a ping in a text", frames(first(wstest.Text, "a"), ping(""), text("b")), 1002},
		{"continuation after the end", frames(first(wstest.Text, "a"), cont("b"), cont("c")), 1002},
		// 5.5.1
		{"close with half a code", frames(fin(wstest.Close, "\x03")), 1002},
		{"close with the code 1005", frames(closing(1005, "")), 1002},
		{"close with the code 1006", frames(closing(1006, "")), 1002},
		{"close with the code 1015", frames(closing(1015, "")), 1002},
		{"close with a cut reason", frames(closing(1000, "caf\xc3")), 1007},
		// 5.6, 8.1
		{"text ends in a code point", frames(text("\xe2\x82")), 1007},
		{"text ends in a code point, in fragments", frames(first(wstest.Text, "\xe2"), moreCont("\x82"), cont("")), 1007},
		{"continuation of a text", frames(first(wstest.Text, "a"), moreCont("\xff")), 1007},
		{"surrogate over fragments", frames(first(wstest.Text, "\xed"), moreCont("\xa0")), 1007},
	}
	for bits := byte(1); bits <= 7; bits++ {
		// 5.2: "MUST be 0 unless an extension is negotiated"
		name := string('0' + rune(bits))
		tests = append(tests,
			row{"RSV " + name + " on text", frames(rsv(text("a"), bits)), 1002},
			row{"RSV " + name + " on a continuation", frames(first(wstest.Text, "a"), rsv(cont("b"), bits)), 1002},
			row{"RSV " + name + " on a ping", frames(rsv(ping("a"), bits)), 1002},
			row{"RSV " + name + " on a pong", frames(rsv(pong("a"), bits)), 1002},
			row{"RSV " + name + " on a close", frames(rsv(closing(1000, ""), bits)), 1002})
	}
	for op := wstest.Opcode(3); op < 16; op++ {
		if op >= 8 && op <= 10 {
			continue
		}
		tests = append(tests,
			row{op.String(), frames(fin(op, "a")), 1002},
			row{op.String() + " in a message", frames(first(wstest.Text, "a"), fin(op, "b")), 1002})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bothRoles(t, func(t *testing.T, client bool) {
				var pinged []string
				p := newPair(t, client, connConfig{onPing: func(_ context.Context, payload []byte) bool {
					pinged = append(pinged, string(payload))
					return true
				}}, netfake.Options{Buffer: 1 << 20})
				bad := wstest.Masked // to a client
				if !client {
					bad = wstest.Unmasked
				}
				send := frames(text("good"), ping("good"))
				wantPings := 1
				for i, f := range test.frames {
					if f.Mask == wrong {
						f.Mask = bad
					}
					send = append(send, f)
					if i < len(test.frames)-1 && f.Op == wstest.Ping {
						wantPings++
					}
				}
				p.WriteFrames(send...)
				p.wantRead(t, MessageText, "good")
				read := start(p.readError)
				for range wantPings {
					if f := p.ReadFrame(); f.Op != wstest.Pong {
						t.Fatalf("got %v, want a pong", f)
					}
				}
				reason := p.WantClose(test.code)
				if reason == "" {
					t.Error("the close frame does not say what was wrong")
				}
				p.WantEOF()
				p.Close()
				err := <-read
				if CloseStatus(err) != -1 {
					t.Errorf("Read = %v: a CloseError is what the peer said", err)
				}
				if !strings.Contains(err.Error(), reason) {
					t.Errorf("Read fails with %q, which does not say %q", err, reason)
				}
				if len(pinged) != wantPings {
					t.Errorf("OnPing saw %q", pinged)
				}
			})
		})
	}
}

// SkipUTF8Validation delivers any bytes as text, and changes nothing about
// close frames.
func TestSkipUTF8(t *testing.T) {
	bothRoles(t, func(t *testing.T, client bool) {
		p := newPair(t, client, connConfig{skipUTF8: true}, netfake.Options{})
		p.WriteFrames(text("\xff\xfe"), first(wstest.Text, "\xe2"), cont("\x28"), closing(1000, "\xff"))
		p.wantRead(t, MessageText, "\xff\xfe")
		p.wantRead(t, MessageText, "\xe2\x28")
		read := start(p.readError)
		p.WantClose(1007)
		p.Close()
		<-read
	})
}

// The cases of the Autobahn Testsuite, groups 1 to 7 and 10, under their names
// there. The Conn under test is an echo peer that does not know the cases.
// Where the suite is content with less (its verdict NON-STRICT, a dropped
// connection in place of a close frame) these tests are not.

// How the bytes of a case are cut into writes.
const (
	atOnce   = 0  // one write
	byBytes  = 1  // one byte a write
	byFrames = -1 // one frame a write
)

type autobahnCase struct {
	id   string
	send []wstest.Frame
	cut  int // atOnce, byFrames, or the length of the pieces
	// want is what comes back first: echoes and pongs.
	want []wstest.Frame
	// fail is the code of the close frame with which the Conn fails the
	// connection. 0: the connection stands, and the peer closes it with 1000,
	// unless closes is set.
	fail int
	// closes: send holds the peer's close frame; the answer has this code
	// (1005: no code).
	closes int
}

func (tc autobahnCase) run(t *testing.T, client bool, echo echoFunc) {
	t.Helper()
	ours, theirs := fakeLink()
	tc.runOver(t, ours, theirs, client, echo)
}

func (tc autobahnCase) runOver(t *testing.T, ours, theirs net.Conn, client bool, echo echoFunc) {
	ap := newAutobahnPeer(t, ours, theirs, client, echo)
	if tc.cut == byFrames {
		for _, f := range tc.send {
			ap.write(ap.Encode(f))
		}
	} else {
		stream, n := ap.Encode(tc.send...), tc.cut
		if n == atOnce {
			n = len(stream)
		}
		for len(stream) > 0 {
			k := min(n, len(stream))
			ap.write(stream[:k])
			stream = stream[k:]
		}
	}
	for _, f := range tc.want {
		ap.WantMessage(f.Op, string(f.Payload))
	}
	switch {
	case tc.fail != 0:
		ap.wantFail(tc.fail)
	case tc.closes != 0:
		ap.wantClosed(tc.closes)
	default:
		ap.closeNormally()
	}
}

// An autobahnPeer plays the suite against an echo loop around a Conn. Its time
// limit is the suite's: 1 s a step.
type autobahnPeer struct {
	*wstest.Peer
	t      *testing.T
	client bool // the Conn is a client
	echoed chan error
}

// An echoFunc reads one message, in whatever way, and writes it back.
type echoFunc func(c *Conn) error

var echoes = map[string]echoFunc{
	"Read": func(c *Conn) error {
		typ, p, err := c.Read(context.Background())
		if err != nil {
			return err
		}
		return c.Write(context.Background(), typ, p)
	},
	"ReadInto": func(c *Conn) error {
		var buf [100]byte
		typ, p, err := c.ReadInto(context.Background(), buf[:])
		if err != nil {
			return err
		}
		return c.Write(context.Background(), typ, p)
	},
	"Reader": func(c *Conn) error {
		typ, r, err := c.Reader(context.Background())
		if err != nil {
			return err
		}
		p, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		w, err := c.Writer(context.Background(), typ)
		if err != nil {
			return err
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		return w.Close()
	},
	"Messages": func(c *Conn) error {
		for m, err := range c.Messages(context.Background()) {
			if err != nil {
				return err
			}
			if err := c.Write(context.Background(), m.Type, m.Data); err != nil {
				return err
			}
		}
		return ended(c)
	},
}

// ended returns the error behind a range over Messages that ended by itself.
// The range does so when the peer closes the connection in an orderly way.
func ended(c *Conn) error {
	_, _, err := c.Read(context.Background())
	if !errors.Is(err, io.EOF) {
		err = fmt.Errorf("Messages ended without an error, but Read fails: %v", err)
	}
	return err
}

func newAutobahnPeer(t *testing.T, ours, theirs net.Conn, client bool, echo echoFunc) *autobahnPeer {
	t.Helper()
	role := wstest.Client
	if client {
		role = wstest.Server
	}
	ap := &autobahnPeer{Peer: wstest.NewPeer(t, theirs, role), t: t, client: client, echoed: make(chan error, 1)}
	if _, ok := theirs.(*netfake.Conn); ok {
		ap.Timeout = time.Second // exact, in a bubble
	}
	c := newConn(connConfig{transport: ours, client: client})
	go func() {
		var err error
		for err == nil {
			err = echo(c)
		}
		ap.echoed <- err
	}()
	t.Cleanup(func() { c.CloseNow(); theirs.Close() })
	return ap
}

// write writes what the Conn may refuse to take, when it has failed the
// connection already.
func (ap *autobahnPeer) write(b []byte) { ap.TryWrite(b) }

// closeNormally does the close handshake: the suite begins.
func (ap *autobahnPeer) closeNormally() {
	ap.t.Helper()
	ap.WriteClose(1000, "")
	ap.wantClosed(1000)
}

// wantClosed wants the answer to a close frame, then the end of TCP. A server
// ends TCP at once, and a client after its server (RFC 6455, section 7.1.1).
func (ap *autobahnPeer) wantClosed(code int) {
	ap.t.Helper()
	ap.WantClose(code)
	if ap.client {
		ap.WantIdle()
		ap.Close()
	} else {
		ap.WantEOF()
	}
	err := <-ap.echoed
	if got := CloseStatus(err); got == -1 || got != StatusCode(code) {
		ap.t.Errorf("the echo loop ended with %v, want a CloseError with %d", err, code)
	}
}

// wantFail wants the close frame of an endpoint that fails the connection, and
// the end of TCP.
func (ap *autobahnPeer) wantFail(code int) {
	ap.t.Helper()
	ap.WantClose(code)
	ap.write(ap.Encode(wstest.CloseFrame(code, ""))) // the suite answers, if it still can
	ap.WantEOF()
	ap.Close()
	err := <-ap.echoed
	if err == nil || CloseStatus(err) != -1 || errors.Is(err, io.EOF) {
		ap.t.Errorf("the echo loop ended with %v, want an error of its own side", err)
	}
}

func TestAutobahn(t *testing.T) {
	counts := map[string]int{"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "10": 1}
	cases := autobahnCases()
	ids := map[string]bool{}
	for _, tc := range cases {
		ids[tc.id] = true
	}
	for id := range autobahnScripts {
		ids[id] = true
	}
	for id := range ids {
		group, _, _ := strings.Cut(id, ".")
		counts[group]--
	}
	for group, n := range counts {
		if n != 0 {
			t.Errorf("group %s lacks %d cases", group, n)
		}
	}

	for _, client := range []bool{false, true} {
		name := "server"
		if client {
			name = "client"
		}
		t.Run(name, func(t *testing.T) {
			for _, tc := range cases {
				t.Run(tc.id, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { tc.run(t, client, echoes["Read"]) })
				})
			}
			for id, script := range autobahnScripts {
				for how, echo := range echoes {
					t.Run(id+"/"+how, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { script(t, client, echo) })
					})
				}
			}
			// Each case again, cut in other ways than the suite does, and read
			// in other ways.
			t.Run("by bytes", func(t *testing.T) {
				for _, tc := range cases {
					if tc.cut = byBytes; len(wstest.Encode(wstest.Client, tc.send...)) > 4096 {
						tc.cut = 997
					}
					t.Run(tc.id, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { tc.run(t, client, echoes["ReadInto"]) })
					})
				}
			})
			t.Run("by frames", func(t *testing.T) {
				for _, tc := range cases {
					tc.cut = byFrames
					t.Run(tc.id, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { tc.run(t, client, echoes["Reader"]) })
					})
				}
			})
			t.Run("Messages", func(t *testing.T) {
				for _, tc := range cases {
					t.Run(tc.id, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { tc.run(t, client, echoes["Messages"]) })
					})
				}
			})
		})
	}
}

// The same over real sockets, where Conn waits and writes in other ways.
func TestAutobahnSockets(t *testing.T) {
	for _, l := range links {
		if l.bubble {
			continue
		}
		for _, client := range []bool{false, true} {
			for _, tc := range autobahnCases() {
				if tc.cut == byBytes && len(tc.send) > 5 {
					tc.cut = 3
				}
				name := fmt.Sprintf("%s/server/%s", l.name, tc.id)
				if client {
					name = fmt.Sprintf("%s/client/%s", l.name, tc.id)
				}
				t.Run(name, func(t *testing.T) {
					ours, theirs := l.make(t)
					tc.runOver(t, ours, theirs, client, echoes["Read"])
				})
			}
		}
	}
}

const (
	greek   = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5" // 5 code points, 11 bytes
	mixed   = "Hello-µ@ßöäüàá-UTF-8!!"
	beyond  = "\xf4\x90\x80\x80" // U+110000; no code point begins with its first two bytes
	hello   = "Hello, world!"
	pinging = "ping payload"
)

// split cuts s into fragments of n bytes.
func split(op wstest.Opcode, s string, n int) []wstest.Frame {
	var parts []string
	for len(s) > n {
		parts = append(parts, s[:n])
		s = s[n:]
	}
	return wstest.Fragments(op, append(parts, s)...)
}

func autobahnCases() []autobahnCase {
	var cases []autobahnCase
	add := func(tc autobahnCase) { cases = append(cases, tc) }
	// addCuts adds three cases, numbered from n on: at once, a frame a write, a
	// byte a write.
	addCuts := func(group, n int, tc autobahnCase) {
		for i, cut := range []int{atOnce, byFrames, byBytes} {
			tc.id, tc.cut = fmt.Sprintf("%d.%d", group, n+i), cut
			add(tc)
		}
	}

	// 1: the forms of the length.
	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
		cut := atOnce
		if i == 7 {
			cut = 997
		}
		f := text(strings.Repeat("*", n))
		add(autobahnCase{id: fmt.Sprintf("1.1.%d", i+1), send: frames(f), want: frames(f), cut: cut})
		f = binaryF(strings.Repeat("\xfe", n))
		add(autobahnCase{id: fmt.Sprintf("1.2.%d", i+1), send: frames(f), want: frames(f), cut: cut})
	}

	// 2: pings and pongs.
	full := strings.Repeat("\xfe", 125)
	add(autobahnCase{id: "2.1", send: frames(ping("")), want: frames(pong(""))})
	add(autobahnCase{id: "2.2", send: frames(ping(hello)), want: frames(pong(hello))})
	add(autobahnCase{id: "2.3", send: frames(ping("\x00\xff\xfe\xfd\xfc\xfb\x00\xff")), want: frames(pong("\x00\xff\xfe\xfd\xfc\xfb\x00\xff"))})
	add(autobahnCase{id: "2.4", send: frames(ping(full)), want: frames(pong(full))})
	add(autobahnCase{id: "2.5", send: frames(ping(full + "\xfe")), fail: 1002})
	add(autobahnCase{id: "2.6", send: frames(ping(full)), want: frames(pong(full)), cut: byBytes})
	add(autobahnCase{id: "2.7", send: frames(pong(""), closing(1000, "")), closes: 1000})
	add(autobahnCase{id: "2.8", send: frames(pong("unsolicited"), closing(1000, "")), closes: 1000})
	add(autobahnCase{id: "2.9", send: frames(pong("unsolicited"), ping(pinging)), want: frames(pong(pinging))})
	var pings, pongs []wstest.Frame
	for i := range 10 {
		pings = append(pings, ping(fmt.Sprintf("payload-%d", i)))
		pongs = append(pongs, pong(fmt.Sprintf("payload-%d", i)))
	}
	add(autobahnCase{id: "2.10", send: pings, want: pongs})
	add(autobahnCase{id: "2.11", send: pings, want: pongs, cut: byBytes})

	// 3: reserved bits.
	add(autobahnCase{id: "3.1", send: frames(rsv(text(hello), 1)), fail: 1002})
	for i, cut := range []int{atOnce, byFrames, byBytes} {
		add(autobahnCase{id: fmt.Sprintf("3.%d", 2+i), cut: cut, send: frames(text(hello), rsv(text(hello), byte(2+i)), ping("")),
			want: frames(text(hello)), fail: 1002})
	}
	add(autobahnCase{id: "3.5", send: frames(rsv(binaryF(full), 5)), fail: 1002})
	add(autobahnCase{id: "3.6", send: frames(rsv(binaryF(full), 6)), fail: 1002})
	add(autobahnCase{id: "3.7", send: frames(rsv(closing(1000, ""), 7)), fail: 1002})

	// 4: reserved opcodes.
	for i, low := range []wstest.Opcode{3, 11} {
		id := func(n int) string { return fmt.Sprintf("4.%d.%d", i+1, n) }
		add(autobahnCase{id: id(1), send: frames(fin(low, "")), fail: 1002})
		add(autobahnCase{id: id(2), send: frames(fin(low+1, "reserved opcode payload")), fail: 1002})
		add(autobahnCase{id: id(3), send: frames(text(hello), fin(low+2, ""), ping("")), want: frames(text(hello)), fail: 1002})
		add(autobahnCase{id: id(4), send: frames(text(hello), fin(low+3, "reserved opcode payload"), ping("")), want: frames(text(hello)), fail: 1002})
		add(autobahnCase{id: id(5), send: frames(text(hello), fin(low+4, "reserved opcode payload"), ping("")), want: frames(text(hello)), fail: 1002, cut: byBytes})
	}

	// 5: fragments.
	two := wstest.Fragments(wstest.Text, "fragment1", "fragment2")
	whole := text("fragment1fragment2")
	add(autobahnCase{id: "5.1", send: frames(first(wstest.Ping, "fragment1"), cont("fragment2")), fail: 1002})
	add(autobahnCase{id: "5.2", send: frames(first(wstest.Pong, "fragment1"), cont("fragment2")), fail: 1002})
	addCuts(5, 3, autobahnCase{send: two, want: frames(whole)})
	addCuts(5, 6, autobahnCase{send: frames(two[0], ping(pinging), two[1]), want: frames(pong(pinging), whole)})
	addCuts(5, 9, autobahnCase{send: frames(cont("stray"), text(hello)), fail: 1002})
	addCuts(5, 12, autobahnCase{send: frames(moreCont("stray"), text(hello)), fail: 1002})
	add(autobahnCase{id: "5.15", send: frames(two[0], two[1], moreCont("stray"), text(hello)), want: frames(whole), fail: 1002})
	add(autobahnCase{id: "5.16", send: frames(moreCont("stray"), two[0], two[1], moreCont("stray"), two[0], two[1]), fail: 1002})
	add(autobahnCase{id: "5.17", send: frames(cont("stray"), two[0], two[1], cont("stray"), two[0], two[1]), fail: 1002})
	add(autobahnCase{id: "5.18", send: frames(two[0], text("fragment2")), fail: 1002})

	// 6: UTF-8.
	add(autobahnCase{id: "6.1.1", send: frames(text("")), want: frames(text(""))})
	add(autobahnCase{id: "6.1.2", send: wstest.Fragments(wstest.Text, "", "", ""), want: frames(text(""))})
	add(autobahnCase{id: "6.1.3", send: wstest.Fragments(wstest.Text, "", "middle frame payload", ""), want: frames(text("middle frame payload"))})
	add(autobahnCase{id: "6.2.1", send: frames(text(mixed)), want: frames(text(mixed))})
	before, after, _ := strings.Cut(mixed, "ü")
	add(autobahnCase{id: "6.2.2", send: wstest.Fragments(wstest.Text, before, "ü"+after), want: frames(text(mixed))})
	add(autobahnCase{id: "6.2.3", send: split(wstest.Text, mixed, 1), want: frames(text(mixed))})
	add(autobahnCase{id: "6.2.4", send: split(wstest.Text, greek, 1), want: frames(text(greek))})
	bad := greek + "\xed\xa0\x80edited"
	add(autobahnCase{id: "6.3.1", send: frames(text(bad)), fail: 1007})
	add(autobahnCase{id: "6.3.2", send: split(wstest.Text, bad, 1), fail: 1007})
	for _, group := range utf8Groups() {
		for i, s := range group.texts {
			tc := autobahnCase{id: fmt.Sprintf("6.%d.%d", group.number, i+1), send: frames(text(s.text))}
			if s.valid {
				tc.want = frames(text(s.text))
			} else {
				tc.fail = 1007
			}
			add(tc)
		}
	}

	// 7: closing.
	bye := closing(1000, "")
	add(autobahnCase{id: "7.1.1", send: frames(text(hello), bye), want: frames(text(hello)), closes: 1000})
	add(autobahnCase{id: "7.1.2", send: frames(bye, bye), closes: 1000})
	add(autobahnCase{id: "7.1.3", send: frames(bye, ping("")), closes: 1000})
	add(autobahnCase{id: "7.1.4", send: frames(bye, text(hello)), closes: 1000})
	add(autobahnCase{id: "7.1.5", send: frames(two[0], bye, two[1]), closes: 1000})
	big := strings.Repeat("BAsd7&jh23", 256<<10/10)
	add(autobahnCase{id: "7.1.6", send: frames(text(big), text(hello), bye, ping("")), want: frames(text(big), text(hello)), closes: 1000})
	add(autobahnCase{id: "7.3.1", send: frames(fin(wstest.Close, "")), closes: 1005})
	add(autobahnCase{id: "7.3.2", send: frames(fin(wstest.Close, "a")), fail: 1002})
	add(autobahnCase{id: "7.3.3", send: frames(bye), closes: 1000})
	add(autobahnCase{id: "7.3.4", send: frames(closing(1000, hello)), closes: 1000})
	add(autobahnCase{id: "7.3.5", send: frames(closing(1000, strings.Repeat("*", 123))), closes: 1000})
	add(autobahnCase{id: "7.3.6", send: frames(closing(1000, strings.Repeat("*", 124))), fail: 1002})
	add(autobahnCase{id: "7.5.1", send: frames(closing(1000, bad)), fail: 1007})
	for i, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		add(autobahnCase{id: fmt.Sprintf("7.7.%d", i+1), send: frames(closing(code, "")), closes: code})
	}
	for i, code := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		add(autobahnCase{id: fmt.Sprintf("7.9.%d", i+1), send: frames(closing(code, "")), fail: 1002})
	}
	add(autobahnCase{id: "7.13.1", send: frames(closing(5000, "")), fail: 1002})
	add(autobahnCase{id: "7.13.2", send: frames(closing(65535, "")), fail: 1002})

	// 10
	long := strings.Repeat("*", 65536)
	add(autobahnCase{id: "10.1.1", send: split(wstest.Text, long, 1300), want: frames(text(long))})
	return cases
}

// The cases in which time passes between the writes.
var autobahnScripts = map[string]func(*testing.T, bool, echoFunc){
	"5.19": func(t *testing.T, client bool, echo echoFunc) { fivePings(t, client, echo, atOnce) },
	"5.20": func(t *testing.T, client bool, echo echoFunc) { fivePings(t, client, echo, byFrames) },
	"6.4.1": func(t *testing.T, client bool, echo echoFunc) {
		failFast(t, client, echo, true, greek, beyond, "edited")
	},
	"6.4.2": func(t *testing.T, client bool, echo echoFunc) {
		failFast(t, client, echo, true, greek+beyond[:1], beyond[1:2], beyond[2:]+"edited")
	},
	"6.4.3": func(t *testing.T, client bool, echo echoFunc) {
		failFast(t, client, echo, false, greek, beyond, "edited")
	},
	"6.4.4": func(t *testing.T, client bool, echo echoFunc) {
		failFast(t, client, echo, false, greek+beyond[:1], beyond[1:2], beyond[2:]+"edited")
	},
}

func fivePings(t *testing.T, client bool, echo echoFunc, cut int) {
	parts := wstest.Fragments(wstest.Text, "fragment1", "fragment2", "fragment3", "fragment4", "fragment5")
	ours, theirs := fakeLink()
	ap := newAutobahnPeer(t, ours, theirs, client, echo)
	write := func(fs ...wstest.Frame) {
		if cut == atOnce {
			ap.WriteFrames(fs...)
			return
		}
		for _, f := range fs {
			ap.WriteFrames(f)
		}
	}
	write(parts[0], parts[1], ping("pongme 1!"))
	ap.WantFrame(wstest.Pong, "pongme 1!")
	ap.WantIdle()
	time.Sleep(time.Second)
	ap.WantIdle()
	write(parts[2], parts[3], ping("pongme 2!"), parts[4])
	ap.WantFrame(wstest.Pong, "pongme 2!")
	ap.WantMessage(wstest.Text, "fragment1fragment2fragment3fragment4fragment5")
	ap.closeNormally()
}

// failFast sends one text in three parts, as three frames or as three writes of
// one frame. The second makes it invalid.
func failFast(t *testing.T, client bool, echo echoFunc, asFrames bool, parts ...string) {
	ours, theirs := fakeLink()
	ap := newAutobahnPeer(t, ours, theirs, client, echo)
	var writes [][]byte
	if asFrames {
		for _, f := range wstest.Fragments(wstest.Text, parts...) {
			writes = append(writes, ap.Encode(f))
		}
	} else {
		stream := ap.Encode(text(strings.Join(parts, "")))
		end3 := len(stream) - len(parts[2])
		end2 := end3 - len(parts[1])
		writes = [][]byte{stream[:end2], stream[end2:end3], stream[end3:]}
	}
	ap.WriteRaw(writes[0])
	time.Sleep(time.Second)
	ap.WantIdle()
	ap.WriteRaw(writes[1])
	ap.wantFail(1007) // and not a byte of the third part was sent
}

type utf8Text struct {
	text  string
	valid bool
}

type utf8Group struct {
	number int
	texts  []utf8Text
}

// utf8Groups returns groups 6.5 to 6.23, after Markus Kuhn's UTF-8 decoder
// stress test.
func utf8Groups() []utf8Group {
	var groups []utf8Group
	add := func(number int, valid bool, texts ...string) {
		g := utf8Group{number: number}
		for _, s := range texts {
			g.texts = append(g.texts, utf8Text{s, valid})
		}
		groups = append(groups, g)
	}
	add(5, true, "$", "¢", "€", "\U00024B62", greek)

	prefixes := utf8Group{number: 6}
	for n := 1; n <= len(greek); n++ {
		valid := n == 2 || n == 5 || n == 7 || n == 9 || n == 11
		prefixes.texts = append(prefixes.texts, utf8Text{greek[:n], valid})
	}
	groups = append(groups, prefixes)

	add(7, true, "\x00", "\u0080", "\u0800", "\U00010000")
	add(8, false, "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80")
	add(9, true, "\x7f", "\u07ff", "\uffff", "\U0010ffff")
	add(10, false, "\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf")
	groups = append(groups, utf8Group{11, []utf8Text{
		{"\ud7ff", true}, {"\ue000", true}, {"\ufffd", true}, {"\U0010ffff", true}, {beyond, false}}})

	var all strings.Builder
	for c := 0x80; c < 0xbf; c++ {
		all.WriteByte(byte(c))
	}
	add(12, false, "\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80",
		"\x80\xbf\x80\xbf\x80\xbf", all.String())
	starts := func(from, to int) string {
		var b strings.Builder
		for c := from; c <= to; c++ {
			b.WriteByte(byte(c))
			b.WriteByte(' ')
		}
		return b.String()
	}
	add(13, false, starts(0xc0, 0xdf), starts(0xe0, 0xef), starts(0xf0, 0xf7), starts(0xf8, 0xfb), starts(0xfc, 0xfd))
	short := []string{"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf"}
	add(14, false, short...)
	add(15, false, strings.Join(short, ""))
	add(16, false, "\xfe", "\xff", "\xfe\xfe\xff\xff")
	add(17, false, "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf")
	add(18, false, "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf")
	add(19, false, "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80")
	add(20, false, "\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf")
	add(21, false, "\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
		"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf")

	var nonChars, specials []string
	for plane := rune(0); plane <= 16; plane++ {
		nonChars = append(nonChars, string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	for r := rune(0xfff9); r <= 0xffff; r++ {
		specials = append(specials, string(r))
	}
	add(22, true, nonChars...)
	add(23, true, specials...)
	return groups
}
