package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// The opening handshake: what both sides know, and the server's half. The client's is in handshake_client.go.

const (
	// keySize is the length of a Sec-WebSocket-Key: 16 bytes in base64 (section 4.1).
	keySize = 24
	// acceptGUID is what the server appends to the key (section 1.3).
	acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// The fields of the handshake as net/http spells the keys of what it has read.
const (
	fieldKey        = "Sec-Websocket-Key"
	fieldAccept     = "Sec-Websocket-Accept"
	fieldVersion    = "Sec-Websocket-Version"
	fieldProtocol   = "Sec-Websocket-Protocol"
	fieldExtensions = "Sec-Websocket-Extensions"
)

// The fields of the handshake as this side sends them, in the spelling of the
// RFC.
const (
	sentKey        = "Sec-WebSocket-Key"
	sentAccept     = "Sec-WebSocket-Accept"
	sentVersion    = "Sec-WebSocket-Version"
	sentProtocol   = "Sec-WebSocket-Protocol"
	sentExtensions = "Sec-WebSocket-Extensions"
)

// appendAccept appends the Sec-WebSocket-Accept for key: the base64 of the SHA-1 of key and GUID (section 4.2.2).
func appendAccept(dst []byte, key string) []byte {
	in := append(make([]byte, 0, keySize+len(acceptGUID)), key...)
	sum := sha1.Sum(append(in, acceptGUID...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// validKey reports whether s is the base64 of 16 bytes.
func validKey(s string) bool {
	if len(s) != keySize {
		return false
	}
	var out [keySize/4*3 + 2]byte
	n, err := base64.StdEncoding.Decode(out[:], []byte(s))
	return err == nil && n == 16
}

// retryAfter is after how many seconds a client may come back that was refused with status 503.
const retryAfter = "5"

// A refusal is why a server does not accept a request: the status of its response, and the text that both its body
// and the error of Accept hold.
type refusal struct {
	status int
	reason string
	detail error // what the error of Accept says instead, because it is not for a stranger; or nil
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, reason: fmt.Sprintf(format, args...)}
}

func (e *refusal) Error() string {
	if e.detail != nil {
		return e.detail.Error()
	}
	return e.reason
}

func (e *refusal) Unwrap() error { return e.detail }

// refuseSettings refuses a request because the server's own options are
// invalid. Only the error of Accept says how.
func refuseSettings(err error) *refusal {
	no := refuse(http.StatusInternalServerError, "the server's options for WebSocket are invalid")
	no.detail = err
	return no
}

// setHeader sets what the response needs beside its status and body. http1 is false where the connection has no
// header of its own (RFC 9113, section 8.2.2).
func (e *refusal) setHeader(h http.Header, http1 bool) {
	if http1 {
		h["Connection"] = []string{"close"}
	}
	switch e.status {
	case http.StatusMethodNotAllowed:
		h["Allow"] = []string{http.MethodGet} // RFC 9110, section 15.5.6
	case http.StatusUpgradeRequired:
		h[sentVersion] = []string{"13"} // section 4.4
		if http1 {
			// RFC 9110, sections 15.5.22 and 7.8: the response names the protocol, and who sends Upgrade names it in
			// Connection.
			h["Upgrade"] = []string{"websocket"}
			h["Connection"] = []string{"close", "Upgrade"}
		}
	case http.StatusServiceUnavailable:
		h["Retry-After"] = []string{retryAfter} // RFC 9110, section 15.6.4
	}
}

// An upgrade is what the two sides have agreed on.
type upgrade struct {
	key         string
	subprotocol string
	extensions  []extension
	deflate     *deflateParams // nil: no compression
}

// checkRequest decides on the opening handshake of a client (section 4.2.1, and 4.2.2 up to its response).
func checkRequest(r *http.Request, opts *AcceptOptions) (upgrade, *refusal) {
	var up upgrade
	if r.Method != http.MethodGet {
		return up, refuse(http.StatusMethodNotAllowed, "the method of a WebSocket handshake is GET, not %s", quote(r.Method))
	}
	switch {
	case len(r.Header["Upgrade"]) == 0:
		return up, refuse(http.StatusUpgradeRequired, "this is not a WebSocket handshake: there is no Upgrade header")
	case !hasToken(r.Header["Upgrade"], "websocket"):
		return up, refuse(http.StatusUpgradeRequired, "the Upgrade header does not name websocket: %s", quote(strings.Join(r.Header["Upgrade"], ", ")))
	case !hasToken(r.Header["Connection"], "upgrade"):
		return up, refuse(http.StatusUpgradeRequired, "the Connection header does not name Upgrade: %s", quote(strings.Join(r.Header["Connection"], ", ")))
	}
	// A header that is missing or stands twice is no better than one with another version.
	if v := r.Header[fieldVersion]; len(v) != 1 || trimSpace(v[0]) != "13" {
		return up, refuse(http.StatusUpgradeRequired, "the Sec-WebSocket-Version must be 13, not %s", quote(strings.Join(v, ", ")))
	}
	switch {
	case !r.ProtoAtLeast(1, 1):
		return up, refuse(http.StatusBadRequest, "the handshake needs HTTP/1.1 or later, not %s", quote(r.Proto))
	case r.Host == "":
		return up, refuse(http.StatusBadRequest, "there is no Host header")
	case r.ContentLength != 0: // -1 if it is chunked
		// Its bytes would be taken for frames.
		return up, refuse(http.StatusBadRequest, "a handshake has no body")
	}
	switch keys := r.Header[fieldKey]; {
	case len(keys) == 0:
		return up, refuse(http.StatusBadRequest, "there is no Sec-WebSocket-Key header")
	case len(keys) > 1:
		return up, refuse(http.StatusBadRequest, "Sec-WebSocket-Key stands more than once") // section 11.3.1
	default:
		if up.key = trimSpace(keys[0]); !validKey(up.key) {
			return up, refuse(http.StatusBadRequest, "the Sec-WebSocket-Key %s is not the base64 of 16 bytes", quote(up.key))
		}
	}
	var subprotocols []string
	if v, ok := r.Header[fieldProtocol]; ok {
		var err error
		if subprotocols, err = parseTokens(v); err != nil {
			return up, refuse(http.StatusBadRequest, "invalid Sec-WebSocket-Protocol: %v", err)
		}
	}
	deflate, err := checkAcceptOptions(opts)
	if err != nil {
		return up, refuseSettings(err)
	}
	if v, ok := r.Header[fieldExtensions]; ok {
		offers, err := parseExtensions(v)
		if err != nil {
			return up, refuse(http.StatusBadRequest, "invalid Sec-WebSocket-Extensions: %v", err)
		}
		up.acceptExtensions(offers, deflate)
	}
	if err := checkRequestOrigin(r, opts); err != nil {
		return up, refuse(http.StatusForbidden, "%v", err)
	}
	up.subprotocol = chooseSubprotocol(opts.Subprotocols, subprotocols)
	return up, nil
}

// checkAcceptOptions returns an error that names the first invalid field.
func checkAcceptOptions(opts *AcceptOptions) (deflateConfig, error) {
	deflate, err := newDeflateConfig(opts.CompressionMode, opts.CompressionSendWindowBits, opts.CompressionReceiveWindowBits)
	if err != nil {
		return deflateConfig{}, fmt.Errorf("invalid AcceptOptions: %w", err)
	}
	if err := checkPatterns(opts.OriginPatterns); err != nil {
		return deflateConfig{}, fmt.Errorf("invalid AcceptOptions.OriginPatterns: %w", err)
	}
	if err := checkSubprotocols(opts.Subprotocols); err != nil {
		return deflateConfig{}, fmt.Errorf("invalid AcceptOptions.Subprotocols: %w", err)
	}
	return deflate, nil
}

// checkRequestOrigin decides whether the page that r comes from may connect.
func checkRequestOrigin(r *http.Request, opts *AcceptOptions) error {
	var err error
	if !opts.InsecureSkipVerify {
		err = checkOrigin(r.Header["Origin"], r.Host, opts.OriginPatterns)
	}
	if opts.CheckOrigin == nil {
		return err
	}
	if opts.CheckOrigin(r, err == nil) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("the origin %s is not allowed", quote(strings.Join(r.Header["Origin"], ", ")))
	}
	return err
}

// checkSubprotocols checks the names of an options struct (section 4.1): tokens, each once.
func checkSubprotocols(names []string) error {
	for _, name := range names {
		if !isToken(name) {
			return fmt.Errorf("%s is not a token", quote(name))
		}
	}
	if d, ok := duplicate(names); ok {
		return fmt.Errorf("%w: %s", errDuplicate, quote(d))
	}
	return nil
}

// chooseSubprotocol returns the first of the server's that the client offered, or "". Names are compared as they are:
// no RFC folds their case.
func chooseSubprotocol(preferred, offered []string) string {
	if len(offered) == 0 {
		return ""
	}
	for _, p := range preferred {
		for _, o := range offered {
			if p == o {
				return p
			}
		}
	}
	return ""
}

// acceptExtensions is the server's half of the negotiation (section 9.1). What is not known is declined by saying
// nothing about it.
func (up *upgrade) acceptExtensions(offers []extension, deflate deflateConfig) {
	if agreed, answer, ok := acceptDeflate(offers, deflate); ok {
		up.deflate = &agreed
		up.extensions = []extension{answer}
	}
}

// appendResponse appends the server's handshake (section 4.2.2). extra are fields of the application: those that
// would be malformed on the wire, and those that say what the handshake itself says, are left out.
func appendResponse(dst []byte, up upgrade, extra http.Header) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = appendAccept(dst, up.key)
	dst = append(dst, "\r\n"...)
	if up.subprotocol != "" {
		dst = append(dst, "Sec-WebSocket-Protocol: "...)
		dst = append(dst, up.subprotocol...)
		dst = append(dst, "\r\n"...)
	}
	if len(up.extensions) > 0 {
		dst = append(dst, "Sec-WebSocket-Extensions: "...)
		dst = appendExtensions(dst, up.extensions)
		dst = append(dst, "\r\n"...)
	}
	if len(extra) > 0 {
		dst = appendFields(dst, extra)
	}
	return append(dst, "\r\n"...)
}

// setHeader sets the fields of the server's handshake in h, and takes out those
// of the application that say what the handshake itself says.
func (up *upgrade) setHeader(h http.Header) {
	for name := range h {
		if isHandshakeField(name) || isFramingField(name) {
			delete(h, name)
		}
	}
	h["Upgrade"] = []string{"websocket"}
	h["Connection"] = []string{"Upgrade"}
	h[sentAccept] = []string{string(appendAccept(nil, up.key))}
	if up.subprotocol != "" {
		h[sentProtocol] = []string{up.subprotocol}
	}
	if len(up.extensions) > 0 {
		h[sentExtensions] = []string{string(appendExtensions(nil, up.extensions))}
	}
}

// appendFields appends the fields of the application to the handshake.
func appendFields(dst []byte, extra http.Header) []byte {
	for name, values := range extra {
		if !isToken(name) || isHandshakeField(name) || isFramingField(name) {
			continue
		}
		for _, value := range values {
			if !validFieldValue(value) {
				continue
			}
			dst = append(dst, name...)
			dst = append(dst, ": "...)
			dst = append(dst, value...)
			dst = append(dst, "\r\n"...)
		}
	}
	return dst
}

// isHandshakeField reports whether the header field belongs to the handshake, and so to this package.
func isHandshakeField(name string) bool {
	const prefix = "Sec-WebSocket-"
	return equalFold(name, "Upgrade") || equalFold(name, "Connection") ||
		len(name) >= len(prefix) && equalFold(name[:len(prefix)], prefix)
}

// isFramingField reports whether the header field says where an HTTP message ends. A 101 response has no content (RFC
// 9112, section 6.3).
func isFramingField(name string) bool {
	return equalFold(name, "Content-Length") || equalFold(name, "Transfer-Encoding") || equalFold(name, "Trailer")
}
