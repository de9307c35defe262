package websocket

import (
	"math"
	"slices"
	"testing"
)

// What a header may say, and when. Each row is a conversation: all headers but
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
		// What the read limit does not count.
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

// What a sendHalf makes, a recvHalf of the other side takes.
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
