package suite

import (
	"bytes"
	"compress/flate"
	"fmt"
	"strings"
	"time"
)

// A beyondCase is what a case beyond the original has of its own.
type beyondCase struct {
	notFor string // "server" or "client": the peer that the case does not speak about
	// request changes a request for a server under test, and refused says that
	// the answer must not be 101. With neither set the opening handshake is the
	// usual one.
	request func(req string) string
	refused bool
	offered []string // the subprotocols of the request
	either  bool     // 101 is as good as a refusal
	// response changes the answer to a client under test, which must give up
	// the connection.
	response func(resp string) string
	hold     time.Duration // the suite reads nothing for so long
	halfOpen bool          // the suite ends its side of TCP behind the script
}

var allBeyond = beyondCases()

// Beyond returns the cases that the original does not have. Their ids begin
// with "b". They must not be changed.
func Beyond() []*Case { return allBeyond }

func beyondCases() []*Case {
	var cases []*Case
	section, n := 0, 0
	add := func(c Case) *Case {
		n++
		c.ID = fmt.Sprintf("b.%d.%d", section, n)
		if c.limit == 0 {
			c.limit = oneSecond
		}
		if c.beyond == nil {
			c.beyond = &beyondCase{}
		}
		cases = append(cases, &c)
		return &c
	}
	begin := func() { section++; n = 0 }
	refuses := func(sends string, codes []int, f ...frame) *Case {
		return add(Case{Sends: sends, Expects: fmt.Sprintf("The peer fails the connection: a close frame with %v, or the end of TCP. No echo.", codes),
			script: oneWrite(f...), closing: closing{codes: codes}})
	}
	echoes := func(sends string, e event, f ...frame) *Case {
		return add(Case{Sends: sends, Expects: wordEchoed, script: oneWrite(f...), ok: []event{e}, closing: closeNormally})
	}
	protocolError := []int{1002}

	// b.1: masking (RFC 6455, section 5.1).
	begin()
	wrong := func(f frame, m masking) frame { f.mask = m; return f }
	for _, f := range []struct {
		words string
		frame frame
	}{{"text message", text(hello)}, {"ping", ping(hello)}, {"close frame", closeFrame(1000, "")}} {
		refuses("As a client: an unmasked "+f.words+".", protocolError, wrong(f.frame, unmasked)).beyond.notFor = "client"
		refuses("As a server: a masked "+f.words+".", protocolError, wrong(f.frame, masked)).beyond.notFor = "server"
	}

	// b.2: lengths (section 5.2).
	begin()
	long := func(f frame, n int) frame { f.longLength = n; return f }
	refuses("A text message of 5 bytes whose length is written in 16 bits.", protocolError, long(text("hello"), 2))
	refuses("A text message of 5 bytes whose length is written in 64 bits.", protocolError, long(text("hello"), 8))
	refuses("A binary message of 65535 bytes whose length is written in 64 bits.", protocolError, long(binFrame(strings.Repeat("x", 65535)), 8))
	refuses("A ping of 5 bytes whose length is written in 16 bits.", protocolError, long(ping("hello"), 2))
	refuses("A ping of 5 bytes whose length is written in 64 bits.", protocolError, long(ping("hello"), 8))
	refuses("A binary frame whose length has all 64 bits set.", []int{1002, 1009}, frame{opcode: opBinary, payload: "x", length: 1<<64 - 1})
	refuses("A binary frame whose length has bit 63 set.", []int{1002, 1009}, frame{opcode: opBinary, payload: "x", length: 1 << 63})
	c := refuses("A binary frame that claims 2^63-1 bytes.", []int{1002, 1009}, frame{opcode: opBinary, payload: "x", length: 1<<63 - 1})
	c.informational = true
	c.Expects = "The peer may fail the connection with 1009, or wait for the bytes."
	refuses("Two fragments, the second claims 2^63-1 bytes.", []int{1002, 1009}, first(binFrame("x")), frame{payload: "x", length: 1<<63 - 1}).informational = true
	echoes("A text message of 126 bytes.", message(strings.Repeat("x", 126)), text(strings.Repeat("x", 126)))

	// b.3: close codes (section 7.4 and the IANA registry).
	begin()
	for _, code := range []int{1012, 1013, 1014} {
		add(Case{Sends: fmt.Sprintf("A close frame with %d, which is registered.", code), Expects: "A close frame with the same code, 1000 or none comes back. NON-STRICT: 1002.",
			script: []step{{frames: []frame{closeFrame(code, "")}, close: true}}, closing: closing{byMe: true, codes: []int{1000, code}, clean: true}, closesNever: true})
	}
	for _, code := range []int{1, 1015, 1017, 1999, 2500} {
		add(Case{Sends: fmt.Sprintf("A close frame with %d, which must not be sent.", code), Expects: word1002,
			script: []step{{frames: []frame{closeFrame(code, "")}, close: true}}, closing: closing{byMe: true, codes: protocolError}, closesNever: true, codeFails: true})
	}
	add(Case{Sends: "A close frame whose reason ends inside a code point.", Expects: word1007,
		script: []step{{frames: []frame{closeFrame(1000, "\xe2\x82")}, close: true}}, closing: closing{byMe: true, codes: []int{1002, 1007}}, closesNever: true, codeFails: true})
	refuses("A close frame in two fragments.", protocolError, first(closeFrame(1000, "")), cont("reason"))

	// b.4: what stands behind a close frame, and inside messages.
	begin()
	behind := func(sends string, f ...frame) {
		add(Case{Sends: sends, Expects: "One close frame comes back, and nothing else.", script: []step{{frames: []frame{closeFrame(1000, "")}, close: true}, {frames: f}},
			closing: closeNormally, closesNever: true, codeFails: true})
	}
	behind("A close frame, and behind it 1000 text messages.", repeated(text(hello), 1000)...)
	behind("A close frame, and behind it frames that break every rule.", withRSV(text("\xff"), 7), first(ping("")), frame{opcode: 15})
	behind("A close frame, and behind it 64 KiB of text.", text(strings.Repeat("x", 1<<16)))
	echoes("A text message whose fragments split every code point, with pings between.", message("\u20ac\u20ac"),
		first(text("\xe2")), pong(""), first(cont("\x82\xac\xe2\x82")), pong(""), cont("\xac"))
	add(Case{Sends: "Two text messages and a close frame in one TCP write.", Expects: "Both come back before the close frame. NON-STRICT: fewer.",
		script: []step{{frames: []frame{text("1"), text("2"), closeFrame(1000, "")}, close: true}}, ok: []event{message("1"), message("2")}, fewer: true,
		closing: closeNormally, closesNever: true})
	refuses("A text message that begins with UTF-8 and stops inside a code point; a ping behind it.", []int{1007}, text("\u20ac\xe2\x82"), ping(""))
	echoes("A byte order mark.", message("\ufeffx"), text("\ufeffx"))

	// b.5: floods.
	begin()
	c = echoes("A text message of 20000 fragments, all empty but the last.", message(hello), append(append([]frame{first(text(""))}, repeated(first(cont("")), 20000)...), cont(hello))...)
	c.Expects = "The message comes back, or the peer gives up the connection with 1002, 1008 or 1009."
	c.limit, c.tolerates = 10*oneSecond, []int{1002, 1008, 1009}
	c = add(Case{Sends: "20000 pings of 125 bytes; the suite reads nothing for a second. Then a text message.", limit: 10 * oneSecond,
		Expects: "The connection is alive afterwards: the message comes back, with or without pongs. Or the peer gives up with 1008 or 1009.",
		closing: closeNormally, beyond: &beyondCase{hold: oneSecond}, tolerates: []int{1008, 1009}})
	c.play = func() player {
		return &alive{frames: append(repeated(ping(strings.Repeat("p", 125)), 20000), text(hello))}
	}
	c = add(Case{Sends: "5000 messages of 1 KiB; the suite reads nothing for a second.", limit: 10 * oneSecond,
		Expects: "The last message comes back, or the peer gives up with 1008.", closing: closeNormally, beyond: &beyondCase{hold: oneSecond}, tolerates: []int{1008}})
	c.play = func() player {
		return &alive{frames: append(repeated(text(strings.Repeat("m", 1024)), 5000), text(hello))}
	}
	c = echoes("1000 unasked pongs, and a text message.", message(hello), append(repeated(pong("nobody asked"), 1000), text(hello))...)
	c.limit = 5 * oneSecond

	// b.6: TCP that is half open.
	begin()
	half := func(sends string, f ...frame) {
		c := add(Case{Sends: sends, Expects: "The peer ends TCP as well.", script: oneWrite(f...), limit: 3 * oneSecond, closing: closing{codes: []int{1000, 1001, 1002, 1006, 1011}},
			beyond: &beyondCase{halfOpen: true}})
		c.play = func() player { return &halfOpen{c.script[0].frames} }
	}
	half("Nothing; the suite ends its side of TCP.")
	half("A first fragment; the suite ends its side of TCP.", first(text("x")))
	half("A part of a frame; the suite ends its side of TCP.", frame{opcode: opText, payload: "x", length: 10})

	// b.7: compression (RFC 7692).
	begin()
	plain := &deflateCase{offers: []deflateParams{{clientNoContext: true}}, answers: []deflateParams{{clientNoContext: true}}}
	z := func(s string) string { return string(compressed([]byte(s))) }
	squeezed := func(f frame, s string) frame { f.payload, f.rsv = z(s), 4; return f }
	deflated := func(c *Case) *Case { c.deflate = plain; return c }
	deflated(refuses("RSV1 on a continuation.", protocolError, first(squeezed(text(""), hello)), withRSV(cont("x"), 4)))
	deflated(refuses("RSV1 on a ping.", protocolError, withRSV(ping(""), 4)))
	deflated(refuses("RSV1 and RSV2 on a message.", protocolError, withRSV(text(z(hello)), 6)))
	deflated(refuses("A compressed message that cannot be decompressed.", []int{1002, 1003, 1007, 1011}, withRSV(text("\xff\xff\xff\xff"), 4)))
	deflated(refuses("A compressed text message that is not UTF-8.", []int{1007}, squeezed(text(""), greek+surrogate)))
	deflated(refuses("A reference to before the first byte.", []int{1002, 1003, 1007, 1011}, withRSV(text("\x02\x13\x00\x00"), 4)))
	deflated(echoes("A compressed empty message.", message(""), withRSV(text("\x00"), 4)))
	deflated(echoes("A message that is not compressed, though it could be.", message(hello), text(hello)))
	deflated(echoes("A compressed message whose only block is marked as the last.", message("Hello"), withRSV(text("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), 4)))
	deflated(echoes("A compressed message in one block without compression.", message("Hello"), withRSV(text("\x00\x05\x00\xfa\xffHello\x00"), 4)))
	deflated(echoes("A compressed message in fragments of one byte.", message(hello), fragments(withRSV(text(z(hello)), 4), 1)...))
	deflated(echoes("A compressed message in two blocks, an empty one between.", message("HelloHello"), withRSV(text("\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff\xf2\x48\xcd\xc9\xc9\x07\x00"), 4)))
	c = deflated(add(Case{Sends: "A compressed message of 512 KiB that decompresses to 512 MiB.", limit: 20 * oneSecond, untimed: true, noLog: true,
		Expects: "The peer gives up the connection, 1009 being the code for it.", closing: closing{codes: []int{1009, 1008, 1011, 1002}}}))
	c.play = func() player { return &bomb{} }
	// Offers that must be declined: the answer names no extension (section
	// 7.1).
	for _, params := range []string{"unknown", "server_no_context_takeover=1", "client_no_context_takeover=1", "server_max_window_bits", "server_max_window_bits=7",
		"server_max_window_bits=16", "client_max_window_bits=7", "client_max_window_bits=16", "server_max_window_bits=010", "server_no_context_takeover; server_no_context_takeover"} {
		add(Case{Sends: "The offer permessage-deflate; " + params + ".", Expects: "The connection is opened without the extension, or refused.",
			script: oneWrite(text(hello)), ok: []event{message(hello)}, closing: closeNormally,
			beyond: &beyondCase{notFor: "client", either: true, request: addHeader("Sec-WebSocket-Extensions: permessage-deflate; " + params)}})
	}

	// Offers that are accepted only with the same parameter in the answer
	// (sections 7.1.1.1 and 7.1.2.1).
	for _, o := range []deflateParams{{serverBits: 9}, {serverNoContext: true}} {
		add(Case{Sends: "The offer " + o.String() + ".", Expects: "The answer holds the parameter, or no extension. " + wordEchoed,
			script: oneWrite(text(hello)), ok: []event{message(hello)}, closing: closeNormally,
			deflate: &deflateCase{offers: []deflateParams{o}}, beyond: &beyondCase{notFor: "client", either: true}})
	}

	// b.8: requests of a client (RFC 6455, section 4.2.1; RFC 9112).
	begin()
	request := func(sends string, change func(string) string) *Case {
		return add(Case{Sends: "A request: " + sends, Expects: "The server refuses it: any status but 101, or the end of TCP.",
			closing: closeNormally, beyond: &beyondCase{notFor: "client", request: change, refused: true}})
	}
	request("no Sec-WebSocket-Version.", dropHeader("Sec-WebSocket-Version"))
	request("Sec-WebSocket-Version 8.", setHeader("Sec-WebSocket-Version", "8"))
	request("Sec-WebSocket-Version 14.", setHeader("Sec-WebSocket-Version", "14"))
	request("Sec-WebSocket-Version thirteen.", setHeader("Sec-WebSocket-Version", "thirteen"))
	request("Sec-WebSocket-Version twice, 13 and 8.", addHeader("Sec-WebSocket-Version: 8"))
	request("no Sec-WebSocket-Key.", dropHeader("Sec-WebSocket-Key"))
	request("an empty Sec-WebSocket-Key.", setHeader("Sec-WebSocket-Key", ""))
	request("a Sec-WebSocket-Key of 15 bytes.", setHeader("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAA"))
	request("a Sec-WebSocket-Key of 17 bytes.", setHeader("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAAA="))
	request("a Sec-WebSocket-Key that is not base64.", setHeader("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!=="))
	request("two fields Sec-WebSocket-Key.", addHeader("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="))
	request("no Upgrade.", dropHeader("Upgrade"))
	request("Upgrade: h2c.", setHeader("Upgrade", "h2c"))
	request("Upgrade: websockets.", setHeader("Upgrade", "websockets"))
	request("no Connection.", dropHeader("Connection"))
	request("Connection: keep-alive.", setHeader("Connection", "keep-alive"))
	request("the method POST.", func(req string) string { return strings.Replace(req, "GET ", "POST ", 1) })
	request("HTTP/1.0.", func(req string) string { return strings.Replace(req, "HTTP/1.1", "HTTP/1.0", 1) })
	request("no Host.", dropHeader("Host"))
	request("two fields Host.", addHeader("Host: other.example"))
	request("a space in front of a colon.", addHeader("X-Space : x"))
	request("a NUL in a field.", addHeader("X-Nul: a\x00b"))
	request("a name that is no token.", addHeader("X(y): x"))
	request("Transfer-Encoding and Content-Length at once.", func(req string) string {
		return addHeader("Transfer-Encoding: chunked\r\nContent-Length: 5")(req) + "0\r\n\r\n"
	})
	opens := func(sends string, change func(string) string) *Case {
		return add(Case{Sends: "A request: " + sends, Expects: "The server accepts it. " + wordEchoed, script: oneWrite(text(hello)), ok: []event{message(hello)},
			closing: closeNormally, beyond: &beyondCase{notFor: "client", request: change}})
	}
	opens("Upgrade: WEBSOCKET.", setHeader("Upgrade", "WEBSOCKET"))
	opens("Connection: keep-alive, Upgrade.", setHeader("Connection", "keep-alive, Upgrade"))
	opens("two fields Connection.", func(req string) string { return addHeader("Connection: keep-alive")(req) })
	opens("names in lower case.", func(req string) string {
		head, rest, _ := strings.Cut(req, "\r\n")
		lines := strings.Split(rest, "\r\n")
		for i, l := range lines {
			if name, value, ok := strings.Cut(l, ":"); ok {
				lines[i] = strings.ToLower(name) + ":" + value
			}
		}
		return head + "\r\n" + strings.Join(lines, "\r\n")
	})
	opens("an extension that there is not.", addHeader("Sec-WebSocket-Extensions: x-unknown; a=1"))
	c = opens("subprotocols, which the server need not know.", addHeader("Sec-WebSocket-Protocol: x-one, x-two"))
	c.beyond.either, c.beyond.offered = true, []string{"x-one", "x-two"}
	opens("a field of 4 KiB.", addHeader("X-Long: "+strings.Repeat("x", 4096)))
	smuggled := opens("a frame behind it in the same TCP write.", nil)
	smuggled.Expects, smuggled.informational = "The RFC lets a client send only after the answer. A server may take it or refuse it.", true
	body := request("a body, which is a request of its own.", func(req string) string {
		return addHeader("Content-Length: 28")(req) + "GET / HTTP/1.1\r\nHost: other\r\n"
	})
	body.Expects, body.informational, body.beyond.either = "The server should refuse a body.", true, true
	smuggled.beyond.request = func(req string) string {
		f := text(hello)
		b, _ := appendFrame(nil, &f, true)
		return req + string(b)
	}

	// b.9: answers of a server (section 4.1).
	begin()
	answer := func(sends string, change func(string) string) {
		add(Case{Sends: "An answer: " + sends, Expects: "The client gives up the connection: it ends TCP, and sends no message.",
			beyond: &beyondCase{notFor: "server", response: change}, closing: closing{codes: []int{1002, 1010}}})
	}
	answer("a wrong Sec-WebSocket-Accept.", setHeader("Sec-WebSocket-Accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="))
	answer("no Sec-WebSocket-Accept.", dropHeader("Sec-WebSocket-Accept"))
	answer("no Upgrade.", dropHeader("Upgrade"))
	answer("Upgrade: h2c.", setHeader("Upgrade", "h2c"))
	answer("no Connection.", dropHeader("Connection"))
	answer("Connection: close.", setHeader("Connection", "close"))
	answer("the status 200.", func(r string) string {
		return addHeader("Content-Length: 0")(setHeader("Connection", "close")(strings.Replace(r, "101 Switching Protocols", "200 OK", 1)))
	})
	answer("an extension that was not offered.", addHeader("Sec-WebSocket-Extensions: x-unknown"))
	answer("permessage-deflate with a parameter that there is not.", addHeader("Sec-WebSocket-Extensions: permessage-deflate; x=1"))
	answer("permessage-deflate twice.", addHeader("Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate"))
	answer("permessage-deflate with windows of 7 bits.", addHeader("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7"))
	answer("a subprotocol that was not offered.", addHeader("Sec-WebSocket-Protocol: x-unknown"))
	return cases
}

func repeated(f frame, n int) []frame {
	all := make([]frame, n)
	for i := range all {
		all[i] = f
	}
	return all
}

func compressed(b []byte) []byte {
	var buf bytes.Buffer
	w, _ := flate.NewWriter(&buf, flate.DefaultCompression)
	w.Write(b)
	w.Flush()
	return cutMark(buf.Bytes())
}

// The changes of a head: of a request or an answer.

func addHeader(line string) func(string) string {
	return func(head string) string { return strings.Replace(head, "\r\n\r\n", "\r\n"+line+"\r\n\r\n", 1) }
}

func dropHeader(name string) func(string) string {
	return func(head string) string {
		lines := strings.Split(head, "\r\n")
		kept := lines[:0]
		for _, l := range lines {
			if !strings.HasPrefix(l, name+":") {
				kept = append(kept, l)
			}
		}
		return strings.Join(kept, "\r\n")
	}
}

func setHeader(name, value string) func(string) string {
	return func(head string) string { return addHeader(name + ": " + value)(dropHeader(name)(head)) }
}

// judgeRequest judges a server by its answer to a request. It reports whether
// the case goes on.
func (s *session) judgeRequest(response string, err error) (open bool) {
	b := s.c.beyond
	accepted := strings.HasPrefix(response, "HTTP/1.1 101")
	if accepted && err == nil && !b.refused {
		return true
	}
	s.behaviorClose, s.closeNote = OK, "There was no connection to close."
	status, _, _ := strings.Cut(response, "\r\n")
	if status == "" {
		status = "the end of TCP"
	}
	switch {
	case b.refused && !accepted, b.either && !accepted:
		s.behavior, s.explanation = OK, "The server refused: "+status+"."
	case b.refused && accepted && !b.either:
		s.behavior, s.explanation = Failed, "The server accepted the request."
	default:
		s.behavior, s.explanation = Failed, fmt.Sprintf("The server answered with %s: %v.", status, err)
	}
	if s.openTimedOut && !s.c.informational {
		s.behavior, s.explanation = Failed, "The server did not answer in time."
	}
	if s.c.informational {
		s.behavior, s.behaviorClose = Informational, Informational
	}
	return false
}

// judgeRefusal judges a client that got a wrong answer.
func (s *session) judgeRefusal() {
	s.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	buf := make([]byte, 4096)
	var got []byte
	var err error
	for err == nil && len(got) < 1<<16 {
		var n int
		n, err = s.conn.Read(buf)
		got = append(got, buf[:n]...)
	}
	s.behaviorClose, s.closeNote = OK, "The client ended TCP."
	if ne, ok := err.(interface{ Timeout() bool }); ok && ne.Timeout() {
		s.behaviorClose, s.closeNote = Failed, "The client did not end TCP within 2 s."
	}
	switch {
	case len(got) == 0 || got[0]&15 == opClose:
		s.behavior, s.explanation = OK, "The client sent no message."
	default:
		s.behavior, s.explanation = Failed, "The client took the answer for a right one."
	}
}

// alive sends frames, and waits for the echo of the last one.
type alive struct{ frames []frame }

func (a *alive) keeps() bool { return true }

func (a *alive) open(s *session) {
	s.behavior, s.explanation = Failed, "The last message did not come back."
	s.log.off = true
	var b []byte
	for i := range a.frames {
		b, _ = appendFrame(b, &a.frames[i], !s.server)
	}
	s.w.write(b, 0)
	s.setLimit()
}

func (a *alive) message(s *session, payload []byte, _ int, _ bool) {
	if string(payload) == hello {
		s.behavior, s.explanation = OK, "The last message came back."
		s.log.off = false
		s.closeWith(1000)
	}
}

// halfOpen sends frames and ends its side of TCP.
type halfOpen struct{ frames []frame }

func (h *halfOpen) keeps() bool { return false }

func (h *halfOpen) open(s *session) {
	s.behavior, s.explanation = OK, "The peer ended TCP."
	for i := range h.frames {
		s.send(&h.frames[i], 0, false)
	}
	s.flush()
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
	s.after(s.c.limit, func() {
		s.behavior, s.explanation = Failed, fmt.Sprintf("The peer did not end TCP within %v.", s.c.limit)
		s.drop()
	})
}

func (h *halfOpen) message(*session, []byte, int, bool) {}

// bomb sends a message that is much longer than what is sent of it.
type bomb struct{}

func (bomb) keeps() bool { return false }

func (bomb) open(s *session) {
	s.behavior, s.explanation = OK, "The peer gave up the connection."
	f := frame{opcode: opBinary, rsv: 4, payload: string(bombPayload())}
	s.send(&f, 0, false)
	s.setLimit()
}

// bombPayload is 512 MiB of zeros: one long run, over and over.
func bombPayload() []byte {
	var buf bytes.Buffer
	w, _ := flate.NewWriter(&buf, flate.BestCompression)
	zeros := make([]byte, 1<<20)
	w.Write(zeros)
	w.Flush()
	head := buf.Len()
	w.Write(zeros)
	w.Flush()
	again := bytes.Clone(buf.Bytes()[head:])
	return cutMark(append(buf.Bytes()[:head:head], bytes.Repeat(again, 511)...))
}

func (bomb) message(s *session, _ []byte, length int, _ bool) {
	s.behavior, s.explanation = Failed, fmt.Sprintf("The peer took it: %d bytes came back.", length)
	s.closeWith(1000)
}
