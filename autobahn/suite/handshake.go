package suite

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + guid))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// request is the opening handshake of a case against the server at u.
func request(u *url.URL, extensions string) (req, key string) {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	key = base64.StdEncoding.EncodeToString(nonce)
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\n", u.RequestURI())
	fmt.Fprintf(&b, "User-Agent: websocket-autobahn\r\nHost: %s\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n", u.Host)
	fmt.Fprintf(&b, "Pragma: no-cache\r\nCache-Control: no-cache\r\nSec-WebSocket-Key: %s\r\n", key)
	if extensions != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Extensions: %s\r\n", extensions)
	}
	b.WriteString("Sec-WebSocket-Version: 13\r\n\r\n")
	return b.String(), key
}

// handshakeAsClient opens the connection. It returns the bytes that came behind
// the answer.
func (s *session) handshakeAsClient(req, key string) (early []byte, request, response string, err error) {
	s.conn.SetDeadline(time.Now().Add(openingLimit))
	s.log.octets(&s.log.txOctets, "TO", []byte(req))
	if _, err := io.WriteString(s.conn, req); err != nil {
		return nil, req, "", err
	}
	head, rest, err := readHead(s.conn)
	if len(head) > 0 {
		s.log.octets(&s.log.rxOctets, "RO", head)
	}
	if err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			s.openTimedOut = true
			s.droppedByMe = true
			s.uncleanReason = "peer did not finish (in time) the opening handshake"
		}
		return nil, req, string(head), fmt.Errorf("no answer to the request: %w", err)
	}
	s.conn.SetDeadline(time.Time{})
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: "GET"})
	if err != nil {
		return nil, req, string(head), err
	}
	return rest, req, string(head), s.checkResponse(resp, key)
}

func (s *session) checkResponse(resp *http.Response, key string) error {
	if !resp.ProtoAtLeast(1, 1) {
		return fmt.Errorf("the version is %s", resp.Proto)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the status is %s", resp.Status)
	}
	if !strings.EqualFold(strings.TrimSpace(resp.Header.Get("Upgrade")), "websocket") {
		return fmt.Errorf("the Upgrade field is %q", resp.Header.Get("Upgrade"))
	}
	if !hasToken(resp.Header, "Connection", "upgrade") {
		return fmt.Errorf("the Connection field is %q", resp.Header.Get("Connection"))
	}
	accepts := resp.Header.Values("Sec-Websocket-Accept")
	if len(accepts) != 1 || strings.TrimSpace(accepts[0]) != acceptOf(key) {
		return fmt.Errorf("Sec-WebSocket-Accept is %q", accepts)
	}
	if p := resp.Header.Values("Sec-Websocket-Protocol"); len(p) > 0 && (len(p) > 1 || s.c.beyond == nil || !slices.Contains(s.c.beyond.offered, p[0])) {
		return fmt.Errorf("the server chose the subprotocol %q, which was not offered", p)
	}
	extensions := strings.Join(resp.Header.Values("Sec-Websocket-Extensions"), ",")
	if strings.TrimSpace(extensions) == "" {
		return nil
	}
	var offers []deflateParams
	if s.c.deflate != nil {
		offers = s.c.deflate.offers
	}
	answered, err := parseDeflate(extensions, true)
	if err != nil {
		return err
	}
	if len(offers) == 0 || len(answered) != 1 {
		return fmt.Errorf("the server answers with extensions that it was not offered: %q", extensions)
	}
	if o, a := offers[0], answered[0]; s.c.beyond != nil && len(offers) == 1 {
		if a.clientBitsAllowed && !o.clientBitsAllowed {
			return fmt.Errorf("the server was not offered client_max_window_bits, and answers %q", extensions)
		}
		if o.serverBits > 0 && (a.serverBits == 0 || a.serverBits > o.serverBits) {
			return fmt.Errorf("the server accepts server_max_window_bits=%d, and answers %q", o.serverBits, extensions)
		}
		if o.serverNoContext && !a.serverNoContext {
			return fmt.Errorf("the server accepts server_no_context_takeover, and answers %q", extensions)
		}
	}
	s.comp = newDeflate(answered[0], false)
	return nil
}

// readHead reads the head of a message of HTTP, and what else came with it.
func readHead(r io.Reader) (head, rest []byte, err error) {
	buf := make([]byte, 0, 4096)
	for {
		if i := bytes.Index(buf, []byte("\r\n\r\n")); i >= 0 {
			return buf[:i+4], buf[i+4:], nil
		}
		if len(buf) > 64<<10 {
			return buf, nil, fmt.Errorf("the header is longer than 64 KiB")
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil && n == 0 {
			return buf, nil, err
		}
	}
}

func hasToken(h http.Header, name, token string) bool {
	for _, v := range h.Values(name) {
		for _, t := range strings.Split(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// checkRequest says what is wrong with a client's request.
func checkRequest(r *http.Request) error {
	key := r.Header.Values("Sec-Websocket-Key")
	switch {
	case r.Method != http.MethodGet:
		return fmt.Errorf("the method is %s", r.Method)
	case !r.ProtoAtLeast(1, 1):
		return fmt.Errorf("the version is %s", r.Proto)
	case !hasToken(r.Header, "Upgrade", "websocket"):
		return fmt.Errorf("the Upgrade field is %q", r.Header.Get("Upgrade"))
	case !hasToken(r.Header, "Connection", "upgrade"):
		return fmt.Errorf("the Connection field is %q", r.Header.Get("Connection"))
	case len(r.Header.Values("Sec-Websocket-Version")) != 1 || strings.TrimSpace(r.Header.Get("Sec-Websocket-Version")) != "13":
		return fmt.Errorf("the Sec-WebSocket-Version field is %q", r.Header.Values("Sec-Websocket-Version"))
	case len(key) != 1:
		return fmt.Errorf("there are %d fields Sec-WebSocket-Key", len(key))
	}
	if nonce, err := base64.StdEncoding.DecodeString(strings.TrimSpace(key[0])); err != nil || len(nonce) != 16 {
		return fmt.Errorf("Sec-WebSocket-Key %q is not 16 bytes in base64", key[0])
	}
	return nil
}

// response accepts a client's request.
func response(r *http.Request, extensions string) string {
	var b strings.Builder
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nServer: websocket-autobahn\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n")
	fmt.Fprintf(&b, "Sec-WebSocket-Accept: %s\r\n", acceptOf(strings.TrimSpace(r.Header.Get("Sec-Websocket-Key"))))
	if extensions != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Extensions: %s\r\n", extensions)
	}
	b.WriteString("\r\n")
	return b.String()
}
