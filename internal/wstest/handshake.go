package wstest

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strings"
)

// SampleKey is the Sec-WebSocket-Key of the example in RFC 6455, section 1.3.
const SampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// AcceptKey returns the Sec-WebSocket-Accept that answers key (section 4.2.2).
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Request returns the opening handshake of a client for a path and a host, with
// further header lines such as "Origin: http://example.com".
func Request(path, host string, lines ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + SampleKey + "\r\nSec-WebSocket-Version: 13\r\n" + joinLines(lines) + "\r\n"
}

// Response returns the 101 of a server that answers key, with further header
// lines.
func Response(key string, lines ...string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + AcceptKey(key) + "\r\n" + joinLines(lines) + "\r\n"
}

func joinLines(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	return b.String()
}

// ClientHandshake sends the opening handshake of a client and reads the answer.
// It fails the test unless that is a right 101 (section 4.1).
func (p *Peer) ClientHandshake(path, host string, lines ...string) *http.Response {
	p.t.Helper()
	p.WriteRaw([]byte(Request(path, host, lines...)))
	head := p.ReadHead()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head)), nil)
	if err != nil {
		p.t.Fatalf("%v: got the answer %q: %v", p.Role, head, err)
	}
	if resp.StatusCode != 101 || !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") ||
		!strings.EqualFold(resp.Header.Get("Connection"), "upgrade") ||
		resp.Header.Get("Sec-WebSocket-Accept") != AcceptKey(SampleKey) {
		p.t.Fatalf("%v: got the answer %q, want a 101 that accepts the key %s with %s", p.Role, head, SampleKey, AcceptKey(SampleKey))
	}
	return resp
}

// ServerHandshake reads the opening handshake of a client and accepts it. It
// fails the test unless the request is one that a server must accept (section
// 4.1).
func (p *Peer) ServerHandshake(lines ...string) *http.Request {
	p.t.Helper()
	req := p.ReadRequest()
	p.WriteRaw([]byte(Response(req.Header.Get("Sec-WebSocket-Key"), lines...)))
	return req
}

// ReadRequest reads the opening handshake of a client and fails the test unless
// it is a right one.
func (p *Peer) ReadRequest() *http.Request {
	p.t.Helper()
	head := p.ReadHead()
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		p.t.Fatalf("%v: got the request %q: %v", p.Role, head, err)
	}
	key, err := base64.StdEncoding.DecodeString(req.Header.Get("Sec-WebSocket-Key"))
	if err != nil || len(key) != 16 || len(req.Header["Sec-Websocket-Key"]) != 1 ||
		req.Method != "GET" || !req.ProtoAtLeast(1, 1) || req.Host == "" ||
		!strings.EqualFold(req.Header.Get("Upgrade"), "websocket") ||
		!strings.EqualFold(req.Header.Get("Connection"), "upgrade") ||
		req.Header.Get("Sec-WebSocket-Version") != "13" {
		p.t.Fatalf("%v: got the request %q, want an opening handshake", p.Role, head)
	}
	return req
}
