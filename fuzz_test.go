package websocket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// FuzzHeader: what parses comes back when it is appended again. No prefix of a
// header parses as one. parseHeader agrees with the codec of wstest.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{
		"", "\x81", "\x81\x00", "\x81\x7d", "\x81\x7e\x00\x7d", "\x81\x7e\x00\x7e", "\x81\x7e\xff\xff", "\x01\x7f\x00\x00\x00\x00\x00\x00\xff\xff",
		"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00",
		"\x81\x85\x37\xfa\x21\x3d", "\x89\xfe\x12\x34\x01\x02\x03\x04", "\xff\xff\x00\x00\x00\x00\x00\x01\x00\x00\xff\xfe\xfd\xfc", "\xf8\x80\x00\x00\x00\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := parseHeader(b)
		var pe ProtocolError
		switch {
		case err != nil:
			if n != 0 || !errors.As(err, &pe) || pe.Code != StatusProtocolError {
				t.Fatalf("parseHeader(% x) = %d, %v; want 0 and a protocol error", b, n, err)
			}
			return
		case n == 0:
			if len(b) >= maxHeaderSize {
				t.Fatalf("parseHeader(% x) takes no header from %d bytes", b, len(b))
			}
			return
		case n < 2 || n > maxHeaderSize || n > len(b) || h.length < 0:
			t.Fatalf("parseHeader(% x) = %+v, %d", b, h, n)
		}
		if h.length <= 0xffff && beginsWhole(b) != (h.length <= int64(len(b)-n)) {
			t.Fatalf("beginsWhole(% x) = %v, header %+v of %d bytes", b, beginsWhole(b), h, n)
		}
		if got := appendHeader([]byte("x"), h); !bytes.Equal(got[1:], b[:n]) {
			t.Fatalf("appendHeader(%+v) = % x, want % x", h, got[1:], b[:n])
		}
		for i := range n {
			if _, m, err := parseHeader(b[:i]); m != 0 || err != nil {
				t.Fatalf("parseHeader(% x), cut after %d bytes = %d, %v", b, i, m, err)
			}
		}
		if h.length <= 1<<12 {
			frame, err := wstest.ReadFrame(io.MultiReader(bytes.NewReader(b[:n]), bytes.NewReader(make([]byte, h.length))))
			if err != nil {
				t.Fatal(err)
			}
			key := uint32(frame.Key[0]) | uint32(frame.Key[1])<<8 | uint32(frame.Key[2])<<16 | uint32(frame.Key[3])<<24
			if frame.Fin != h.fin || frame.RSV<<4 != h.rsv || opcode(frame.Op) != h.opcode || (frame.Mask == wstest.Masked) != h.masked ||
				key != h.key || int64(len(frame.Payload)) != h.length {
				t.Fatalf("parseHeader(% x) = %+v, the twin says %v (masking %v, key % x)", b, h, frame, frame.Mask, frame.Key)
			}
		}
	})
}

// FuzzClosePayload: what parses comes back when it is appended again, and both
// refuse what the twin refuses.
func FuzzClosePayload(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("\x03"))
	for code := range 5002 {
		if code < 2 || code >= 998 && code <= 1017 || code%1000 <= 1 || code%1000 == 999 {
			f.Add([]byte(wstest.ClosePayload(code, "")))
		}
	}
	f.Add([]byte(wstest.ClosePayload(65535, "")))
	f.Add([]byte(wstest.ClosePayload(1000, "bye")))
	f.Add([]byte(wstest.ClosePayload(1000, "\xed\xa0\x80")))
	f.Add([]byte(wstest.ClosePayload(4000, strings.Repeat("é", 61)+"x")))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > maxControlPayload {
			return // recvHalf refuses the header
		}
		twin := wstest.Decode(wstest.Encode(wstest.Server, wstest.Final(wstest.Close, string(p))), wstest.Rules{Sender: wstest.Server})
		code, reason, err := parseClosePayload(p)
		if err != nil {
			var pe ProtocolError
			if !errors.As(err, &pe) || int(pe.Code) != twin.Code {
				t.Fatalf("parseClosePayload(%q) fails with %v, the twin with %d %s", p, err, twin.Code, twin.Why)
			}
			return
		}
		if !twin.Closed || int(code) != wstest.CloseCode(p) {
			t.Fatalf("parseClosePayload(%q) = %v, the twin: %+v", p, code, twin)
		}
		got, err := appendClosePayload([]byte("x"), code, reason)
		if err != nil || !bytes.Equal(got[1:], p) {
			t.Fatalf("appendClosePayload(%v) = %q, %v; want %q", code, got, err, p)
		}
	})
}

// streamSetup is how FuzzStream and TestRandomStreams set a Conn up.
type streamSetup struct {
	client, skipUTF8 bool
	pieces           []byte                                   // lengths of the writes, in turn; 0 means all that is left
	buffer           int                                      // of the transport towards the Conn
	how              byte                                     // of reading: see reads
	link             func(*testing.T) (ours, theirs net.Conn) // nil: a fake
}

const streamReadLimit = 2000

// checkStream feeds a stream to a Conn and compares what comes of it with what
// the twin makes of it.
func checkStream(t *testing.T, stream []byte, s streamSetup) {
	t.Helper()
	rules := wstest.Rules{Sender: wstest.Client, ReadLimit: streamReadLimit, SkipUTF8: s.skipUTF8}
	if s.client {
		rules.Sender = wstest.Server
	}
	want := wstest.Decode(stream, rules)
	describe := func() string {
		return fmt.Sprintf("stream % x\n%+v\nthe twin says %d %s, closed %v, rest %d, %v",
			stream[:min(len(stream), 300)], s, want.Code, want.Why, want.Closed, want.Rest, want.Events)
	}

	var ours, theirs net.Conn
	if s.link != nil {
		ours, theirs = s.link(t)
	} else {
		ours, theirs = netfake.Pipe(netfake.Options{A: netfake.End{Buffer: 1 << 20}, B: netfake.End{Buffer: s.buffer}})
	}
	var events []wstest.Event
	c := newConn(connConfig{transport: ours, client: s.client, skipUTF8: s.skipUTF8, readLimit: streamReadLimit,
		onPing: func(_ context.Context, p []byte) bool {
			events = append(events, wstest.Event{Op: wstest.Ping, Payload: string(p)})
			return true
		},
		onPong: func(_ context.Context, p []byte) {
			events = append(events, wstest.Event{Op: wstest.Pong, Payload: string(p)})
		},
	})

	// The peer's two halves.
	go func() {
		left := stream
		for i := 0; len(left) > 0; i++ {
			n := len(left)
			if len(s.pieces) > 0 {
				if k := int(s.pieces[i%len(s.pieces)]); k > 0 {
					n = min(n, k)
				}
			}
			if _, err := theirs.Write(left[:n]); err != nil {
				break // the Conn is done
			}
			left = left[n:]
		}
		theirs.(interface{ CloseWrite() error }).CloseWrite()
	}()
	var pongs []string
	var closes []wstest.Frame
	var frameErr error
	peerDone := make(chan struct{})
	go func() {
		defer close(peerDone)
		for {
			f, err := wstest.ReadFrame(theirs)
			if err == io.EOF || len(closes) > 0 && errors.Is(err, syscall.ECONNRESET) {
				return
			}
			if err == nil {
				err = f.Check(rules.Sender.Other())
			}
			if err == nil && len(closes) > 0 {
				err = fmt.Errorf("%v after the close frame", f)
			}
			switch {
			case err != nil:
			case f.Op == wstest.Pong:
				pongs = append(pongs, string(f.Payload))
			case f.Op == wstest.Close:
				closes = append(closes, f)
			default:
				err = fmt.Errorf("unasked for %v", f)
			}
			if err != nil {
				frameErr = err
				return
			}
		}
	}()

	var err error
	for err == nil {
		var typ MessageType
		var p []byte
		typ, p, err = reads[int(s.how)%len(reads)](c)
		if err == nil {
			events = append(events, wstest.Event{Op: wstest.Opcode(typ), Payload: string(p)})
		}
	}
	if _, _, again := c.Read(context.Background()); again == nil || again.Error() != err.Error() {
		t.Errorf("the first error was %v, the second %v\n%s", err, again, describe())
	}
	c.CloseNow()
	<-peerDone
	theirs.Close()

	// What the reader saw.
	wantEvents := want.Events
	if want.Closed {
		wantEvents = wantEvents[:len(wantEvents)-1]
	}
	if len(events) != len(wantEvents) {
		t.Fatalf("got the events %v\n%s", events, describe())
	}
	var wantPongs []string
	for i, e := range wantEvents {
		if events[i] != e {
			t.Fatalf("event %d is %v, want %v\n%s", i, events[i], e, describe())
		}
		if e.Op == wstest.Ping {
			wantPongs = append(wantPongs, e.Payload)
		}
	}
	var ce CloseError
	switch isClose := errors.As(err, &ce); {
	case want.Closed:
		p := []byte(want.Events[len(want.Events)-1].Payload)
		reason := ""
		if len(p) > 2 {
			reason = string(p[2:])
		}
		if !isClose || int(ce.Code) != wstest.CloseCode(p) || ce.Reason != reason {
			t.Errorf("got the error %v, want close %d %q\n%s", err, wstest.CloseCode(p), reason, describe())
		}
	case isClose:
		t.Errorf("got the error %v without a close frame\n%s", err, describe())
	case want.Code == 1009 && !errors.Is(err, ErrMessageTooBig):
		t.Errorf("got the error %v, want ErrMessageTooBig\n%s", err, describe())
	case want.Code == 0 && !errors.Is(err, io.ErrUnexpectedEOF):
		t.Errorf("got the error %v, want io.ErrUnexpectedEOF\n%s", err, describe())
	case want.Code != 0 && errors.Is(err, io.ErrUnexpectedEOF):
		t.Errorf("got the error %v, want one that names the fault\n%s", err, describe())
	}

	// What the peer saw.
	if frameErr != nil {
		t.Errorf("the peer got a bad frame: %v\n%s", frameErr, describe())
	}
	if strings.Join(pongs, "|") != strings.Join(wantPongs, "|") {
		t.Errorf("the peer got the pongs %q\n%s", pongs, describe())
	}
	wantCode := want.Code
	if want.Closed {
		wantCode = wstest.CloseCode([]byte(want.Events[len(want.Events)-1].Payload))
	}
	switch {
	case wantCode == 0 && len(closes) != 0:
		t.Errorf("the peer got %v\n%s", closes[0], describe())
	case wantCode != 0 && len(closes) != 1:
		t.Errorf("the peer got %d close frames, want one with %d\n%s", len(closes), wantCode, describe())
	case wantCode != 0 && wstest.CloseCode(closes[0].Payload) != wantCode:
		t.Errorf("the peer got %v, want the code %d\n%s", closes[0], wantCode, describe())
	}
}

// reads are the ways to read a message.
var reads = []func(*Conn) (MessageType, []byte, error){
	func(c *Conn) (MessageType, []byte, error) { return c.Read(context.Background()) },
	func(c *Conn) (MessageType, []byte, error) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		return c.ReadInto(ctx, make([]byte, 0, 64))
	},
	func(c *Conn) (MessageType, []byte, error) {
		typ, r, err := c.Reader(context.Background())
		if err != nil {
			return 0, nil, err
		}
		p, err := io.ReadAll(r)
		return typ, p, err
	},
	func(c *Conn) (MessageType, []byte, error) {
		typ, r, err := c.Reader(context.Background())
		if err != nil {
			return 0, nil, err
		}
		var p []byte
		for b := make([]byte, 3); ; {
			n, err := r.Read(b[:1+len(p)%3])
			p = append(p, b[:n]...)
			if err == io.EOF {
				return typ, p, nil
			}
			if err != nil {
				return typ, p, err
			}
		}
	},
	func(c *Conn) (MessageType, []byte, error) {
		for m, err := range c.Messages(context.Background()) {
			return m.Type, bytes.Clone(m.Data), err // m.Data is lent for this step only
		}
		return 0, nil, ended(c)
	},
}

// FuzzStream: arbitrary bytes in arbitrary pieces.
func FuzzStream(f *testing.F) {
	for _, tc := range autobahnCases() {
		if s := wstest.Encode(wstest.Client, tc.send...); len(s) < 1000 {
			f.Add(s, false, false, []byte{byte(len(s)) % 7}, byte(len(s)))
			f.Add(wstest.Encode(wstest.Server, tc.send...), true, false, []byte{byte(len(s)) % 5, 2, 0}, byte(len(s)))
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, client, skipUTF8 bool, pieces []byte, how byte) {
		if len(stream) > 1<<15 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			checkStream(t, stream, streamSetup{client: client, skipUTF8: skipUTF8, pieces: pieces, how: how, buffer: 1 + int(how)*4})
		})
	})
}

// The same with streams that are made of frames, most of them right: they get
// further than arbitrary bytes do.
func TestRandomStreams(t *testing.T) {
	n := 4000
	if testing.Short() {
		n = 400
	}
	for seed := range n {
		rnd := rand.New(rand.NewPCG(uint64(seed), 6455))
		setup := streamSetup{client: rnd.IntN(2) == 0, skipUTF8: rnd.IntN(4) == 0, how: byte(rnd.IntN(256)), buffer: 1 + rnd.IntN(5000)}
		for range rnd.IntN(4) {
			setup.pieces = append(setup.pieces, byte(rnd.IntN(40)*rnd.IntN(7)))
		}
		sender := wstest.Client
		if setup.client {
			sender = wstest.Server
		}
		stream := randomStream(rnd, sender)
		synctest.Test(t, func(t *testing.T) { checkStream(t, stream, setup) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// And over real sockets.
func TestRandomStreamsSockets(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 30
	}
	for _, l := range links {
		if l.bubble {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			for seed := range n {
				rnd := rand.New(rand.NewPCG(uint64(seed), 7692))
				setup := streamSetup{client: rnd.IntN(2) == 0, skipUTF8: rnd.IntN(4) == 0, how: byte(rnd.IntN(256)), link: l.make}
				for range rnd.IntN(4) {
					setup.pieces = append(setup.pieces, byte(rnd.IntN(40)*rnd.IntN(7)))
				}
				sender := wstest.Client
				if setup.client {
					sender = wstest.Server
				}
				checkStream(t, randomStream(rnd, sender), setup)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// randomStream returns some frames; about one in thirty breaks a rule, and
// sometimes the end is cut off.
func randomStream(rnd *rand.Rand, sender wstest.Role) []byte {
	oneIn := func(n int) bool { return rnd.IntN(n) == 0 }
	payload := func() []byte {
		if oneIn(4) {
			return nil
		}
		p := []byte(strings.Repeat([]string{"a", "é", "€", "😀", "mixed é€😀 "}[rnd.IntN(5)], rnd.IntN(40)))
		if oneIn(12) {
			p = append(p, strings.Repeat("long ", rnd.IntN(500))...)
		}
		if oneIn(20) && len(p) > 0 {
			p = p[:rnd.IntN(len(p))] // perhaps inside a code point
		}
		if oneIn(60) && len(p) > 0 {
			p[rnd.IntN(len(p))] = byte(rnd.IntN(256))
		}
		return p
	}
	var stream []byte
	open := false
	for range 1 + rnd.IntN(20) {
		f := wstest.Frame{Fin: true, Payload: payload()}
		for i := range f.Key {
			f.Key[i] = byte(rnd.IntN(256))
		}
		switch k := rnd.IntN(10); {
		case k < 2:
			f.Op = []wstest.Opcode{wstest.Ping, wstest.Pong}[k]
			f.Payload = f.Payload[:min(len(f.Payload), 125)]
		case k == 2 && oneIn(4):
			f.Op = wstest.Close
			if oneIn(4) {
				f.Payload = f.Payload[:min(len(f.Payload), 125)]
			} else {
				codes := []int{1000, 1001, 1005, 1006, 1011, 1015, 1016, 2999, 3000, 4999, 5000}
				reason := f.Payload[:min(len(f.Payload), 123)]
				f.Payload = []byte(wstest.ClosePayload(codes[rnd.IntN(len(codes))], string(reason)))
			}
		default:
			f.Op = []wstest.Opcode{wstest.Text, wstest.Text, wstest.Binary}[rnd.IntN(3)]
			if open {
				f.Op = wstest.Continuation
			}
			f.Fin = oneIn(2)
			open = !f.Fin
		}
		if oneIn(30) {
			switch rnd.IntN(7) {
			case 0:
				f.RSV = byte(1 + rnd.IntN(7))
			case 1:
				f.Op = wstest.Opcode(rnd.IntN(16))
			case 2:
				f.Fin = !f.Fin
			case 3:
				f.Mask = wstest.Masked
				if sender == wstest.Client {
					f.Mask = wstest.Unmasked
				}
			case 4:
				f.LenForm = 16
			case 5:
				f.LenForm = 64
			case 6:
				f.Declare = 1 << rnd.IntN(64)
			}
		}
		stream = f.Append(stream, sender)
	}
	if oneIn(3) {
		stream = stream[:rnd.IntN(len(stream)+1)]
	}
	return stream
}

// A URL that Dial takes makes a request that is one, and that names the target
// of the URL. Nothing of it gets out of its place.
func FuzzURL(f *testing.F) {
	for _, s := range []string{
		"ws://example.com/", "wss://user:pass@example.com:8443/a/b?c=d", "http://[::1]:80",
		"ws://example.com/ HTTP/1.1\r\nX: y",
		"ws://exa\r\nmple.com/", "ws://example.com/?a b", "ws://example.com/?\x00", "ws://example.com#x",
		"ws://example.com/%0d%0aX:y",
		"ws:example.com", "ws://",
		"//example.com", "ws://example.com:port/", "ws://\u00e9xample.com/\u00e9?\u00e9",
		"ws://example.com?", "ws://[fe80::1%25eth0]/", "ws://example.com/%zz", "ws://a@b@c/",
		"ws://example.com\\@evil.example/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := parseURL(raw)
		if err != nil {
			if s := err.Error(); u != nil || strings.ContainsAny(s, "\r\n\x00") {
				t.Errorf("%q: %v, %q", raw, u, s)
			}
			return
		}
		var b bytes.Buffer
		req := &http.Request{Method: "GET", URL: u, Header: http.Header{}, Host: ""}
		if err := req.Write(&b); err != nil {
			return // net/http refuses it
		}
		got, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b.Bytes())))
		if err != nil {
			t.Fatalf("%q makes a request that is none: %q: %v", raw, b.Bytes(), err)
		}
		if got.RequestURI != u.RequestURI() || len(got.Header) > 2 || bytes.Count(b.Bytes(), []byte("\r\n\r\n")) != 1 {
			t.Errorf("%q makes %q, want the target %q", raw, b.Bytes(), u.RequestURI())
		}
	})
}

// A streamConn is a transport from which a fixed stream comes, in pieces, and
// that takes all that is written.
type streamConn struct {
	stream []byte
	piece  int
}

func (c *streamConn) Read(p []byte) (int, error) {
	if len(c.stream) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.stream)
	c.stream = c.stream[n:]
	return n, nil
}
func (c *streamConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *streamConn) Close() error                     { return nil }
func (c *streamConn) LocalAddr() net.Addr              { return nil }
func (c *streamConn) RemoteAddr() net.Addr             { return nil }
func (c *streamConn) SetDeadline(time.Time) error      { return nil }
func (c *streamConn) SetReadDeadline(time.Time) error  { return nil }
func (c *streamConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzDeflatedMessages gives a connection any bytes as the payloads of
// compressed messages. The fragments have any size, and so have the pieces in
// which the transport gives them. A message is read whole, as a stream, lent,
// or in one piece. Each way of reading returns the same messages and then
// fails, within the limit. No pooled buffer is left behind.
func FuzzDeflatedMessages(f *testing.F) {
	for _, msg := range []string{"", "Hello", "Hello, hello, hello", string(bytes.Repeat([]byte("0123456789 "), 2000))} {
		payload := deflated(f, []byte(msg))
		f.Add(payload, byte(0), byte(7), byte(200))
		f.Add(append(payload, payload...), byte(3), byte(1), byte(3))
		f.Add(payload[:len(payload)/2], byte(1), byte(255), byte(100))
	}
	f.Fuzz(func(t *testing.T, payload []byte, mode, fragment, piece byte) {
		text, takeover := mode&1 != 0, mode&2 != 0
		op := wstest.Binary
		if text {
			op = wstest.Text
		}
		// The payload comes twice: what one message leaves behind is what the
		// next one refers to.
		var stream []byte
		for range 2 {
			rest, first := payload, true
			for first || len(rest) > 0 {
				n := min(len(rest), 1+int(fragment)*8)
				frame := wstest.Frame{Op: wstest.Continuation, Fin: n == len(rest), Payload: rest[:n]}
				if first {
					frame.Op, frame.RSV = op, rsv1
				}
				stream = frame.Append(stream, wstest.Client)
				rest, first = rest[n:], false
			}
		}
		params := deflateParams{serverBits: 15, clientBits: 15, clientNoTakeover: !takeover}
		const limit = 1 << 16
		read := func(piece int, next func(c *Conn) ([]byte, error)) (msgs [][]byte, err error) {
			defer buffersReturn(t)()
			c := newConn(connConfig{
				transport: &streamConn{bytes.Clone(stream), piece}, deflate: &params, readLimit: limit,
				pingInterval: -1, pongTimeout: -1,
			})
			defer c.CloseNow()
			for {
				msg, err := next(c)
				if err != nil {
					return msgs, err
				}
				if len(msg) > limit {
					t.Fatalf("a message of %d bytes", len(msg))
				}
				msgs = append(msgs, bytes.Clone(msg))
			}
		}
		ctx := context.Background()
		whole := func(c *Conn) ([]byte, error) {
			_, msg, err := c.Read(ctx)
			return msg, err
		}
		want, wantErr := read(len(stream)+1, whole)
		for name, next := range map[string]func(c *Conn) ([]byte, error){
			"in pieces": whole,
			"lent": func(c *Conn) (msg []byte, err error) {
				err = io.EOF
				for m, readErr := range c.Messages(ctx) {
					msg, err = bytes.Clone(m.Data), readErr
					break
				}
				return msg, err
			},
			"streamed": func(c *Conn) ([]byte, error) {
				_, r, err := c.Reader(ctx)
				if err != nil {
					return nil, err
				}
				var msg []byte
				b := make([]byte, 1+int(piece)*3)
				for {
					n, err := r.Read(b)
					if msg = append(msg, b[:n]...); err == io.EOF {
						return msg, nil
					} else if err != nil {
						return nil, err
					}
				}
			},
		} {
			got, err := read(1+int(piece)*5, next)
			same := len(got) == len(want)
			for i := range got {
				same = same && bytes.Equal(got[i], want[i])
			}
			if !same || errors.Is(err, io.ErrUnexpectedEOF) != errors.Is(wantErr, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %d messages, then %v; whole: %d, then %v", name, len(got), err, len(want), wantErr)
			}
		}
	})
}
