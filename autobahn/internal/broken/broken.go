// Package broken is an echo peer that breaks one rule, chosen by name. It
// judges the judges: the official suite and ours must give such a peer the
// same verdicts.
package broken

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Faults are the names of the rules that a peer may break, with what each
// stands for. Some are allowed, though few peers do them.
var Faults = []struct{ Name, Words string }{
	{"none", "breaks no rule"},
	{"no-echo", "echoes nothing"},
	{"echo-as-binary", "echoes text as binary"},
	{"echo-as-text", "echoes binary as text"},
	{"echo-changed", "changes the first byte of an echo"},
	{"echo-cut", "leaves out the last byte of an echo"},
	{"echo-twice", "echoes twice"},
	{"echo-fragmented", "echoes in fragments of 100 bytes (no rule)"},
	{"echo-bytewise", "writes byte by byte (no rule)"},
	{"echo-rsv1", "sets RSV1 on an echo"},
	{"echo-rsv3", "sets RSV3 on an echo"},
	{"echo-opcode", "echoes with opcode 3"},
	{"echo-long-length", "writes every length in 64 bits"},
	{"echo-continuation", "begins an echo with a continuation"},
	{"echo-unfinished", "ends no message: FIN is never set"},
	{"wrong-masking", "masks as a server, does not as a client"},
	{"no-pong", "answers no ping"},
	{"pong-empty", "leaves the payload out of a pong"},
	{"pong-twice", "answers each ping twice"},
	{"pong-last", "answers only every second ping (no rule)"},
	{"pong-for-pong", "answers a pong with a pong"},
	{"pong-after-message", "answers a ping between fragments after the message"},
	{"pong-late", "answers a ping after 1.7 s (no rule)"},
	{"pong-fragmented", "sends pongs without FIN"},
	{"ping-first", "sends a ping before each echo (no rule)"},
	{"accept-rsv", "does not look at the reserved bits"},
	{"accept-opcodes", "skips frames of reserved opcodes"},
	{"accept-control-opcodes", "skips control frames of reserved opcodes"},
	{"accept-fragmented-control", "takes control frames without FIN"},
	{"accept-long-control", "takes control frames of more than 125 bytes"},
	{"accept-stray-continuation", "skips continuations of nothing"},
	{"accept-interleaved", "takes a new message inside another"},
	{"accept-not-utf8", "takes text that is not UTF-8"},
	{"utf8-late", "looks whether text is UTF-8 when the message has ended (no rule)"},
	{"utf8-frame-end", "looks whether text is UTF-8 at the end of each frame (no rule)"},
	{"utf8-per-frame", "demands that each fragment be UTF-8 by itself"},
	{"utf8-surrogates", "takes surrogates in text"},
	{"utf8-no-specials", "takes U+FFFE and U+FFFF for errors"},
	{"utf8-overlong", "takes overlong NUL and slash in text"},
	{"utf8-replaced", "echoes text with what is not UTF-8 replaced"},
	{"close-silent", "ends TCP in place of an answer to a close frame (a SHOULD)"},
	{"close-lingers", "never ends TCP"},
	{"close-ignored", "ignores close frames"},
	{"close-slow", "answers a close frame after 1.7 s"},
	{"close-empty", "answers with an empty close frame (no rule)"},
	{"close-1001", "answers with 1001"},
	{"close-1005", "answers with 1005"},
	{"close-999", "answers with 999"},
	{"close-bad-reason", "answers with a reason that is not UTF-8"},
	{"close-one-byte", "answers with a close frame of one byte"},
	{"close-twice", "answers with two close frames"},
	{"close-echo-codes", "answers with whatever code it was sent"},
	{"close-accept-short", "takes close frames of one byte"},
	{"close-accept-reason", "takes reasons that are not UTF-8"},
	{"close-accept-codes", "takes codes that must not be sent"},
	{"close-refuse-private", "takes codes from 3000 on for errors"},
	{"close-refuse-all", "answers every close frame with 1002"},
	{"close-first", "closes by itself after each echo"},
	{"close-at-once", "closes by itself before anything"},
	{"drop-at-once", "ends TCP behind the handshake"},
	{"echo-after-close", "echoes what comes behind a close frame"},
	{"pong-after-close", "answers a ping behind a close frame"},
	{"message-before-close", "sends a message of its own before its close frame"},
	{"error-1000", "closes with 1000 whatever is wrong"},
	{"error-1002", "closes with 1002 where 1007 is due"},
	{"error-1007", "closes with 1007 where 1002 is due"},
	{"error-1011", "closes with 1011 whatever is wrong"},
	{"error-drop", "ends TCP without a close frame when something is wrong (no rule)"},
	{"error-late", "fails only after 1.7 s"},
	{"limit-65535", "takes no frames of 64 KiB and more"},
	{"no-fragments", "takes no fragmented messages"},
	{"handshake-accept", "sends a wrong Sec-WebSocket-Accept, a client a key of 3 bytes"},
	{"handshake-status", "answers with status 200, a client asks for version 8.5"},
	{"no-deflate", "does not do permessage-deflate (no rule)"},
	{"deflate-plain", "does not compress its echoes (no rule)"},
	{"deflate-broken", "compresses to what cannot be decompressed"},
	{"deflate-rsv-all", "sets RSV1 on continuations"},
	{"deflate-other", "changes what it compresses"},
	{"deflate-unasked", "has RSV1 set, though nothing was negotiated"},
	{"deflate-params", "answers with a parameter that there is not"},
	{"deflate-context-kept", "keeps its context, though it said that it would not"},
	{"deflate-context-lost", "forgets the context of its peer, though it did not say so"},
	{"deflate-control", "sets RSV1 on control frames, though they are not compressed"},
	{"message-first", "sends a message of its own behind the handshake (no rule)"},
	{"echo-fragment-opcode", "gives each fragment of an echo the opcode of the message"},
	{"echo-not-empty", "echoes no empty messages"},
	{"few-fragments", "takes at most eight fragments"},
	{"no-empty-fragments", "takes empty fragments for errors"},
	{"ping-in-message", "takes a ping between fragments for an error"},
	{"pong-cut", "leaves the last byte of a long pong out"},
	{"length-signed", "takes the longest lengths of 16 bits for negative ones"},
	{"close-in-message", "takes no close frame between fragments"},
	{"close-fragmented", "answers with a close frame without FIN"},
	{"close-long", "answers with a close frame of 126 bytes"},
	{"close-reset", "ends TCP with a reset (no rule)"},
	{"message-after-close", "sends a message behind its close frame"},
	{"handshake-http10", "speaks HTTP/1.0"},
	{"handshake-upgrade", "leaves the field Upgrade out"},
}

const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

type peer struct {
	conn     net.Conn
	br       *bufio.Reader
	fault    string
	server   bool
	deflate  bool
	pongs    [][]byte // kept back
	pings    int
	closed   bool   // a close frame was sent
	received bool   // a close frame was received
	counted  int    // what a flood has sent
	context  []byte // what it compressed before
	wrong    bool   // the last header has the wrong mask, or a length that is not minimal
}

func (p *peer) is(faults ...string) bool { return slices.Contains(faults, p.fault) }

// Serve serves one connection.
func Serve(conn net.Conn, fault string) {
	defer conn.Close()
	p := &peer{conn: conn, br: bufio.NewReader(conn), fault: fault, server: true}
	req, err := readHead(p.br)
	if err != nil {
		return
	}
	if !takes(p, requestRules, req) {
		io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		p.end()
		return
	}
	accept := acceptOf(req.first("Sec-WebSocket-Key"))
	if p.is("handshake-accept") {
		accept = "AAAAAAAAAAAAAAAAAAAAAAAAAAA="
	}
	if p.is("handshake-status") {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return
	}
	extension := ""
	if p.deflates(req) && !p.is("no-deflate", "deflate-unasked") {
		p.deflate = true
		extension = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
		if p.is("deflate-context-lost") {
			extension = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n"
		}
		if p.is("answer-client-window") {
			extension = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=15\r\n"
		}
		if p.is("offer-takeover-ignored") {
			extension = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"
		}
		if p.is("deflate-params") {
			extension = "Sec-WebSocket-Extensions: permessage-deflate; window=9\r\n"
		}
	}
	if p.is("answer-protocol") && req.first("Sec-WebSocket-Protocol") != "" {
		extension += "Sec-WebSocket-Protocol: x-other\r\n"
	}
	io.WriteString(conn, p.handshake(fmt.Sprintf("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n", accept, extension)))
	p.run()
}

// handshake changes a right head as the fault wants it.
func (p *peer) handshake(head string) string {
	switch p.fault {
	case "handshake-http10":
		return strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1)
	case "handshake-upgrade":
		return strings.Replace(head, "Upgrade: websocket\r\n", "", 1)
	}
	return head
}

func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + guid))
	return base64.StdEncoding.EncodeToString(sum[:])
}

const clientKey = "dGhlIHNhbXBsZSBub25jZQ=="

// dial opens a client's connection.
func dial(u, fault string, quiet bool) (*peer, error) {
	target, err := url.Parse(u)
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", target.Host)
	if err != nil {
		return nil, err
	}
	if quiet {
		fault = "none"
	}
	p := &peer{conn: conn, br: bufio.NewReader(conn), fault: fault}
	key, version := clientKey, "13"
	if p.is("handshake-accept") {
		key = "AAAA"
	}
	if p.is("handshake-status") {
		version = "8.5"
	}
	offer := ""
	if !p.is("no-deflate", "deflate-unasked") {
		offer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits\r\n"
		if p.is("deflate-context-lost") {
			offer = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; client_max_window_bits\r\n"
		}
		if p.is("deflate-params") {
			offer = "Sec-WebSocket-Extensions: permessage-deflate; window=9\r\n"
		}
	}
	io.WriteString(conn, p.handshake(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: %s\r\n%s\r\n",
		target.RequestURI(), target.Host, key, version, offer)))
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(p.br, nil)
	conn.SetReadDeadline(time.Time{})
	if err != nil || !takes(p, answerRules, resp) {
		conn.Close()
		return nil, fmt.Errorf("the handshake failed: %w", err)
	}
	p.deflate = strings.Contains(resp.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
	return p, nil
}

// RunClient runs all cases of the fuzzing server at u, and asks it for its
// report.
func RunClient(u, agent, fault string) error {
	count, err := dial(u+"/getCaseCount", fault, true)
	if err != nil {
		return err
	}
	_, _, _, payload, err := count.readFrame()
	count.conn.Close()
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(payload)))
	if err != nil {
		return err
	}
	for i := 1; i <= n; i++ {
		RunCase(fmt.Sprintf("%s/runCase?case=%d&agent=%s", u, i, url.QueryEscape(agent)), fault)
	}
	p, err := dial(u+"/updateReports?agent="+url.QueryEscape(agent), fault, true)
	if err != nil {
		return err
	}
	p.run()
	p.conn.Close()
	return nil
}

// RunCase runs the case at u.
func RunCase(u, fault string) error {
	p, err := dial(u, fault, false)
	if err != nil {
		return err
	}
	defer p.conn.Close()
	p.run()
	return nil
}

// readFrame reads a frame; its payload is unmasked.
func (p *peer) readFrame() (fin bool, rsv, opcode byte, payload []byte, err error) {
	fin, rsv, opcode, n, key, err := p.readHeader()
	if err != nil {
		return
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(p.br, payload)
	unmask(payload, key, 0)
	return fin, rsv, opcode, payload, err
}

func unmask(b []byte, key []byte, pos int) {
	for i := range b {
		if key != nil {
			b[i] ^= key[(pos+i)&3]
		}
	}
}

func (p *peer) readHeader() (fin bool, rsv, opcode byte, n int, key []byte, err error) {
	var h [8]byte
	if _, err = io.ReadFull(p.br, h[:2]); err != nil {
		return
	}
	fin, rsv, opcode = h[0]&128 != 0, h[0]>>4&7, h[0]&15
	p.wrong = false
	isMasked := h[1]&128 != 0
	switch n = int(h[1] & 127); n {
	case 126:
		if _, err = io.ReadFull(p.br, h[:2]); err != nil {
			return
		}
		n = int(binary.BigEndian.Uint16(h[:]))
		if p.is("length-signed") {
			n = int(int16(binary.BigEndian.Uint16(h[:])))
		}
		p.wrong = n < 126 && !p.is("accept-length-16", "length-signed")
	case 127:
		if _, err = io.ReadFull(p.br, h[:8]); err != nil {
			return
		}
		long := binary.BigEndian.Uint64(h[:])
		p.wrong = long < 65536 && !p.is("accept-length-64")
		if p.is("accept-length-sign") {
			long &^= 1 << 63
		}
		switch {
		case long>>63 != 0:
			n = -1
		case long > math.MaxInt: // an int may have 32 bits
			n = math.MaxInt
		default:
			n = int(long)
		}
	}
	if isMasked != p.server && !p.is("accept-unmasked", "accept-masked") {
		p.wrong = true
	}
	if isMasked {
		key = make([]byte, 4)
		_, err = io.ReadFull(p.br, key)
	}
	return
}

func (p *peer) write(fin bool, rsv, opcode byte, payload []byte) {
	if opcode >= 8 && p.deflate && p.is("deflate-control") {
		rsv = 4
	}
	b0 := opcode | rsv<<4
	if fin {
		b0 |= 128
	}
	isMasked := !p.server != p.is("wrong-masking")
	b1 := byte(0)
	if isMasked {
		b1 = 128
	}
	b := []byte{b0}
	switch n := len(payload); {
	case n > 65535 || p.is("echo-long-length") && opcode < 8:
		b = binary.BigEndian.AppendUint64(append(b, b1|127), uint64(n))
	case n > 125:
		b = binary.BigEndian.AppendUint16(append(b, b1|126), uint16(n))
	default:
		b = append(b, b1|byte(n))
	}
	if isMasked {
		key := []byte{1, 2, 3, 4}
		b = append(b, key...)
		payload = bytes.Clone(payload)
		unmask(payload, key, 0)
	}
	b = append(b, payload...)
	if !p.is("echo-bytewise") || len(b) > 5000 {
		p.conn.Write(b)
		return
	}
	for i := range b {
		p.conn.Write(b[i : i+1])
	}
}

func closePayload(code int) []byte { return []byte{byte(code >> 8), byte(code)} }

// fail fails the connection. It returns true: there is nothing more to do.
func (p *peer) fail(code int) bool {
	switch p.fault {
	case "error-drop":
		return true
	case "error-1000":
		code = 1000
	case "error-1002":
		code = 1002
	case "error-1007":
		code = 1007
	case "error-1011":
		code = 1011
	case "error-late":
		time.Sleep(1700 * time.Millisecond)
	}
	if !p.closed {
		p.sendClose(closePayload(code))
	}
	if !p.server {
		// The server ends TCP.
		p.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		io.Copy(io.Discard, p.br)
		return true
	}
	p.end()
	return true
}

// end ends TCP so that nothing sent is lost.
func (p *peer) end() {
	if p.is("close-lingers") {
		time.Sleep(5 * time.Second)
		return
	}
	if tcp, ok := p.conn.(*net.TCPConn); ok {
		if p.is("close-reset") {
			time.Sleep(50 * time.Millisecond) // a reset may overtake what was sent
			tcp.SetLinger(0)
			return
		}
		tcp.CloseWrite()
		p.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		io.Copy(io.Discard, p.br)
	}
}

func (p *peer) sendClose(payload []byte) {
	p.closed = true
	switch p.fault {
	case "close-empty":
		payload = nil
	case "close-1001":
		payload = closePayload(1001)
	case "close-1005":
		payload = closePayload(1005)
	case "close-999":
		payload = closePayload(999)
	case "close-bad-reason":
		payload = append(closePayload(1000), 0xed, 0xa0, 0x80)
	case "close-one-byte":
		payload = []byte{3}
	case "close-long":
		payload = append(closePayload(1000), bytes.Repeat([]byte("x"), 124)...)
	case "message-before-close":
		p.write(true, 0, 1, []byte("bye"))
	case "close-slow":
		time.Sleep(1700 * time.Millisecond)
	}
	p.write(!p.is("close-fragmented"), 0, 8, payload)
	if p.is("close-twice") {
		p.write(true, 0, 8, payload)
	}
	if p.is("message-after-close") {
		p.write(true, 0, 1, []byte("bye"))
	}
}

func (p *peer) run() {
	if p.is("drop-at-once") {
		return
	}
	if p.is("close-at-once") {
		p.sendClose(closePayload(1000))
	}
	if p.is("message-first") {
		p.write(true, 0, 1, []byte("welcome"))
	}
	var (
		inMessage, compressed bool
		opcode                byte
		message               []byte
		count                 int // the fragments of message
	)
	for {
		fin, rsv, op, n, key, err := p.readHeader()
		if err != nil {
			p.gone()
			return
		}
		if p.wrong {
			p.fail(1002)
			return
		}
		if n > 125 && p.is("limit-125") {
			p.fail(1011)
			return
		}
		if n < 0 || n >= 65536 && p.is("limit-65535") {
			p.fail(1009)
			return
		}
		rsvAllowed := p.deflate && rsv == 4 && (op == 1 || op == 2) || p.deflate && rsv == 6 && p.is("accept-rsv-both") ||
			op == 0 && p.is("accept-rsv-continuation") || op >= 8 && p.is("accept-rsv-control")
		if rsv != 0 && !rsvAllowed && !p.is("accept-rsv") {
			p.fail(1002)
			return
		}
		if op >= 8 {
			if inMessage && (op == 9 && p.is("ping-in-message") || op == 8 && p.is("close-in-message")) {
				p.fail(1002)
				return
			}
			if p.control(fin, op, n, key) {
				return
			}
			continue
		}
		if op > 2 {
			if p.is("accept-opcodes") {
				p.br.Discard(n)
				continue
			}
			p.fail(1002)
			return
		}
		if op == 0 && !inMessage {
			if p.is("accept-stray-continuation") {
				p.br.Discard(n)
				continue
			}
			p.fail(1002)
			return
		}
		if op != 0 && inMessage && !p.is("accept-interleaved") {
			p.fail(1002)
			return
		}
		if !fin && p.is("no-fragments") {
			p.fail(1003)
			return
		}
		if op != 0 {
			inMessage, opcode, compressed, message, count = true, op, rsv&4 != 0 && p.deflate, message[:0], 0
		}
		if count++; count > 8 && p.is("few-fragments") || n == 0 && !(fin && op != 0) && p.is("no-empty-fragments") {
			p.fail(1002)
			return
		}
		if op == 0 && p.floods("flood-fragments", 1000) || op != 0 && p.floods("flood-messages", 1000) {
			p.fail(1011)
			return
		}
		if p.deflate && !compressed && p.is("inflate-only") {
			p.fail(1002)
			return
		}
		check := opcode == 1 && !compressed && !p.is("accept-not-utf8", "utf8-replaced")
		start := len(message)
		for left := n; left > 0; {
			chunk := make([]byte, min(left, 64<<10))
			m, err := p.br.Read(chunk)
			if err != nil {
				p.gone()
				return
			}
			unmask(chunk[:m], key, n-left)
			message = append(message, chunk[:m]...)
			left -= m
			if check && !p.is("utf8-late", "utf8-frame-end", "utf8-per-frame") && !p.textSoFar(message) {
				p.fail(1007)
				return
			}
		}
		if check && (p.is("utf8-frame-end") && !p.textSoFar(message) || p.is("utf8-per-frame") && !utf8.Valid(message[start:])) {
			p.fail(1007)
			return
		}
		if !fin {
			continue
		}
		inMessage = false
		if check && !p.text(message) && !(p.is("utf8-open-end") && p.textSoFar(message)) {
			p.fail(1007)
			return
		}
		payload := message
		if compressed {
			r := flate.NewReader(io.MultiReader(bytes.NewReader(message), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
			payload, err = p.inflate(r)
			switch {
			case err != nil && p.is("inflate-raw"):
				payload = message
			case err != nil || p.refusesBlocks(message) || opcode == 1 && !utf8.Valid(payload) && !p.is("inflate-no-utf8", "accept-not-utf8"):
				p.fail(1007)
				return
			case len(payload) > limit:
				p.fail(1009)
				return
			}
		}
		if p.is("utf8-replaced") && opcode == 1 {
			payload = bytes.ToValidUTF8(payload, []byte("\ufffd"))
		}
		if p.received && !p.is("echo-after-close") {
			continue
		}
		if p.is("bom-stripped") {
			payload = bytes.TrimPrefix(payload, []byte("\ufeff"))
		}
		if p.is("echo-lost") && p.br.Buffered() > 0 {
			continue
		}
		p.echo(opcode, payload)
		for _, pong := range p.pongs {
			p.write(true, 0, 10, pong)
		}
		p.pongs = nil
		if p.is("close-first") && !p.closed {
			p.sendClose(closePayload(1000))
		}
	}
}

// limit is the longest message that the peer decompresses.
const limit = 64 << 20

func (p *peer) inflate(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if len(b) > limit && p.is("bomb-taken") {
		n, err := io.Copy(io.Discard, r)
		return []byte(fmt.Sprint(n, " more bytes")), err
	}
	return b, err
}

// gone is called once the other side has ended TCP.
func (p *peer) gone() {
	if p.is("half-open-stays") {
		time.Sleep(5 * time.Second)
	}
}

func (p *peer) echo(opcode byte, payload []byte) {
	if len(payload) == 0 && p.is("echo-not-empty") {
		return
	}
	payload = bytes.Clone(payload)
	var rsv byte
	compress := p.deflate && !p.is("deflate-plain")
	switch p.fault {
	case "no-echo":
		return
	case "echo-as-binary":
		opcode = 2
	case "echo-as-text":
		opcode = 1
	case "echo-changed":
		if len(payload) > 0 {
			payload[0] ^= 1
		}
	case "echo-cut":
		payload = payload[:max(0, len(payload)-1)]
	case "echo-rsv1":
		rsv = 4
		compress = false
	case "echo-rsv3":
		rsv = 1
	case "echo-opcode":
		opcode = 3
	case "echo-continuation":
		opcode = 0
	case "ping-first":
		p.write(true, 0, 9, []byte("are you there?"))
	case "deflate-other":
		if p.deflate && len(payload) > 0 {
			payload[0] ^= 1
		}
	case "deflate-unasked":
		rsv = 4
	}
	if compress {
		var buf bytes.Buffer
		w, _ := flate.NewWriterDict(&buf, flate.BestSpeed, p.context)
		if p.is("deflate-context-kept") {
			p.context = append(p.context, payload...)
			p.context = p.context[max(0, len(p.context)-1<<15):]
		}
		w.Write(payload)
		w.Flush()
		payload = bytes.TrimSuffix(buf.Bytes(), []byte{0, 0, 0xff, 0xff})
		rsv |= 4
		if p.is("deflate-broken") {
			payload = append([]byte{0xff, 0xff}, payload...)
		}
	}
	size := len(payload)
	if p.is("echo-fragmented", "echo-fragment-opcode") {
		size = 100
	}
	if p.is("deflate-rsv-all") && p.deflate {
		size = 4
	}
	times := 1
	if p.is("echo-twice") {
		times = 2
	}
	for range times {
		op, r := opcode, rsv
		for rest := payload; ; {
			n := min(size, len(rest))
			p.write(n == len(rest) && !p.is("echo-unfinished"), r, op, rest[:n])
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
			if !p.is("echo-fragment-opcode") {
				op = 0
			}
			if !p.is("deflate-rsv-all") {
				r = 0
			}
		}
	}
}

// control takes a control frame. It reports whether the connection is at its
// end.
func (p *peer) control(fin bool, op byte, n int, key []byte) bool {
	if !fin && !p.is("accept-fragmented-control") || n > 125 && !p.is("accept-long-control") {
		return p.fail(1002)
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(p.br, payload); err != nil {
		return true
	}
	unmask(payload, key, 0)
	switch op {
	case 8:
		return p.closeReceived(payload)
	case 9:
		p.ping(payload)
	case 10:
		if p.floods("flood-pongs", 100) {
			return p.fail(1011)
		}
		if p.is("pong-for-pong") {
			p.write(true, 0, 10, payload)
		}
	default:
		return !p.is("accept-control-opcodes") && p.fail(1002)
	}
	return false
}

func (p *peer) ping(payload []byte) {
	p.pings++
	if p.floods("flood-pings", 1000) {
		p.sendClose(closePayload(1011))
		return
	}
	if p.received && !p.is("pong-after-close") {
		return
	}
	switch p.fault {
	case "no-pong":
		return
	case "pong-empty":
		payload = nil
	case "pong-cut":
		payload = payload[:min(len(payload), 124)]
	case "pong-twice":
		p.write(true, 0, 10, payload)
	case "pong-last":
		if p.pings%2 == 0 {
			return
		}
	case "pong-after-message":
		p.pongs = append(p.pongs, payload)
		return
	case "pong-late":
		time.Sleep(1700 * time.Millisecond)
	}
	p.write(!p.is("pong-fragmented"), 0, 10, payload)
}

func (p *peer) closeReceived(payload []byte) bool {
	if p.is("close-ignored") {
		return false
	}
	again := p.received
	p.received = true
	if p.closed { // the answer to ours
		if !again {
			p.end()
		}
		return true
	}
	code := 1000
	switch {
	case len(payload) == 1:
		if !p.is("close-accept-short") {
			return p.fail(1002)
		}
	case len(payload) >= 2:
		code = int(payload[0])<<8 | int(payload[1])
		bad := code < 1000 || code >= 1004 && code <= 1006 || code >= 1015 && code < 3000 || code >= 5000
		switch {
		case code >= 1012 && code <= 1014 && p.is("close-refuse-new"):
			return p.fail(1002)
		case code < 1000 && p.is("close-accept-low"), code == 1015 && p.is("close-accept-1015"),
			code > 1015 && code < 3000 && p.is("close-accept-unassigned"):
			code = 1000
		case bad && p.is("close-echo-codes"):
		case bad && p.is("close-accept-codes"):
			code = 1000
		case bad:
			return p.fail(1002)
		}
		if code >= 3000 && p.is("close-refuse-private") {
			return p.fail(1002)
		}
		if !utf8.Valid(payload[2:]) && !p.is("close-accept-reason") {
			return p.fail(1007)
		}
	}
	if p.is("close-silent") {
		return true
	}
	if p.is("close-refuse-all") {
		return p.fail(1002)
	}
	if p.is("close-checks-behind") {
		p.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, rsv, op, _, err := p.readFrame(); err == nil && (rsv != 0 || op > 10) {
			return p.fail(1002)
		}
	}
	if p.is("echo-after-close", "pong-after-close") {
		// The peer answers the frames behind the close frame before it answers
		// that.
		p.conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		for {
			_, _, op, behind, err := p.readFrame()
			if err != nil {
				break
			}
			switch {
			case op == 9 && p.is("pong-after-close"):
				p.write(true, 0, 10, behind)
			case op == 1 && p.is("echo-after-close"):
				p.write(true, 0, 1, behind)
			}
		}
	}
	p.sendClose(closePayload(code))
	if p.server {
		p.end()
	} else {
		p.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		io.Copy(io.Discard, p.br)
	}
	return true
}

// text reports whether b is text to this peer.
func (p *peer) text(b []byte) bool {
	switch p.fault {
	case "utf8-surrogates":
		for i := 0; i+2 < len(b); i++ {
			if b[i] == 0xed && b[i+1] >= 0xa0 && b[i+1] <= 0xbf {
				b = append(append(bytes.Clone(b[:i]), "abc"...), b[i+3:]...)
			}
		}
	case "utf8-overlong":
		for _, long := range []string{"\xc0\x80", "\xc0\xaf", "\xe0\x80\x80", "\xe0\x80\xaf", "\xf0\x80\x80\x80", "\xf0\x80\x80\xaf"} {
			b = bytes.ReplaceAll(b, []byte(long), []byte("/"))
		}
	case "utf8-no-specials":
		if bytes.ContainsRune(b, 0xfffe) || bytes.ContainsRune(b, 0xffff) {
			return false
		}
	}
	return utf8.Valid(b)
}

// textSoFar reports whether b can still become text.
func (p *peer) textSoFar(b []byte) bool {
	if p.text(b) {
		return true
	}
	for i := 1; i <= 3 && i <= len(b); i++ {
		tail := b[len(b)-i:]
		if utf8.RuneStart(tail[0]) {
			lenient := p.is("utf8-surrogates") && tail[0] == 0xed || p.is("utf8-overlong") && (tail[0] == 0xc0 || tail[0] == 0xe0 || tail[0] == 0xf0)
			return (!utf8.FullRune(tail) || lenient) && p.text(b[:len(b)-i])
		}
	}
	return false
}
