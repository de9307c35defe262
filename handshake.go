package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed70bc5565/websocket/internal/field"
)

// The opening handshake: what both sides know, the server's half, then the
// client's.

const (
	// keySize is the length of a Sec-WebSocket-Key: 16 bytes in base64 (section
	// 4.1).
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

	// pseudoProtocol is where net/http puts the :protocol of an extended
	// CONNECT.
	pseudoProtocol = ":protocol"
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

// appendAccept appends the Sec-WebSocket-Accept for key: the base64 of the
// SHA-1 of key and GUID (section 4.2.2).
func appendAccept(dst []byte, key string) []byte {
	n := len(dst)
	dst = append(append(dst, key...), acceptGUID...)
	sum := sha1.Sum(dst[n:])
	return base64.StdEncoding.AppendEncode(dst[:n], sum[:])
}

// validKey reports whether s is the base64 of 16 bytes.
func validKey(s string) bool {
	if len(s) != keySize || s[keySize-2:] != "==" {
		return false
	}
	for i := range keySize - 2 {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '/':
		default:
			return false
		}
	}
	return true
}

// retryAfter is after how many seconds a client may come back that was refused
// with status 503.
const retryAfter = "5"

// A refusal is why a server does not accept a request. It has the status of the
// response, and the text that both its body and the error of Accept hold.
type refusal struct {
	status int
	reason string
	header http.Header // of the response, in addition; or nil
	detail error       // what the error of Accept says instead, because it is not for a stranger; or nil
}

// refuse is not inlined, to keep the frames of its callers small: see
// acceptance.
//
//go:noinline
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

// refusalType is the Content-Type of a refusal that has none of its own.
const refusalType = "text/plain; charset=utf-8"

// body returns the body of the response. A response with status 304 has none
// (RFC 9110, section 15.4.5).
func (e *refusal) body() string {
	if e.status == http.StatusNotModified {
		return ""
	}
	return e.reason + "\n"
}

// refuseSettings refuses a request because the server's own options are
// invalid. Only the error of Accept says how.
func refuseSettings(err error) *refusal {
	no := refuse(http.StatusInternalServerError, "the server's options for WebSocket are invalid")
	no.detail = err
	return no
}

// setHeader sets what the response needs in addition to its status and body.
// The argument http1 is false where the connection has no header of its own
// (RFC 9113, section 8.2.2).
func (e *refusal) setHeader(h http.Header, http1 bool) {
	for name, values := range e.header {
		if field.IsToken(name) && !isHandshakeField(name) && !isFramingField(name) {
			h[http.CanonicalHeaderKey(name)] = values
		}
	}
	if http1 {
		h["Connection"] = []string{"close"}
	}
	switch e.status {
	case http.StatusMethodNotAllowed:
		h["Allow"] = []string{http.MethodGet} // RFC 9110, section 15.5.6
	case http.StatusUpgradeRequired:
		h[sentVersion] = []string{"13"} // section 4.4
		if http1 {
			// RFC 9110, sections 15.5.22 and 7.8: the response names the
			// protocol, and who sends Upgrade names it in Connection.
			h["Upgrade"] = []string{"websocket"}
			h["Connection"] = []string{"close", "Upgrade"}
		}
	case http.StatusServiceUnavailable:
		h["Retry-After"] = []string{retryAfter} // RFC 9110, section 15.6.4
	}
}

// An upgrade is what the two sides have agreed on.
type upgrade struct {
	http2       bool   // by an extended CONNECT (RFC 8441); else by Upgrade
	key         string // "" over HTTP/2
	subprotocol string
	extensions  []field.Extension
	deflate     *deflateParams // nil: no compression
}

// checkRequest decides on the opening handshake of a client: what HTTP/1.1 and
// HTTP/2 have in common (section 4.2.1, and 4.2.2 up to its response).
func checkRequest(r *http.Request, opts *AcceptOptions) (up upgrade, no *refusal) {
	no = up.check(r, opts)
	return up, no
}

// check is checkRequest. Its frame is small: see acceptance.
func (up *upgrade) check(r *http.Request, opts *AcceptOptions) (no *refusal) {
	if up.http2 = r.ProtoMajor >= 2 && r.Method == http.MethodConnect; up.http2 {
		no = checkConnect(r)
	} else {
		up.key, no = checkUpgrade(r)
	}
	if no != nil {
		return no
	}
	var subprotocols []string
	if v, ok := r.Header[fieldProtocol]; ok {
		var err error
		if subprotocols, err = field.ParseTokens(v); err != nil {
			return refuse(http.StatusBadRequest, "invalid Sec-WebSocket-Protocol: %v", err)
		}
	}
	deflate, err := checkAcceptOptions(opts)
	if err != nil {
		return refuseSettings(err)
	}
	if v, ok := r.Header[fieldExtensions]; ok {
		offers, err := field.ParseExtensions(v)
		if err != nil {
			return refuse(http.StatusBadRequest, "invalid Sec-WebSocket-Extensions: %v", err)
		}
		up.acceptExtensions(offers, deflate)
	}
	if err := checkRequestOrigin(r, opts); err != nil {
		return refuse(http.StatusForbidden, "%v", err)
	}
	up.subprotocol = chooseSubprotocol(opts.Subprotocols, subprotocols)
	return nil
}

// checkUpgrade checks what only a handshake over HTTP/1.1 has, and returns its
// key.
func checkUpgrade(r *http.Request) (key string, no *refusal) {
	if r.Method != http.MethodGet {
		return "", refuse(http.StatusMethodNotAllowed, "the method of a WebSocket handshake is GET, not %s", field.Quote(r.Method))
	}
	switch {
	case len(r.Header["Upgrade"]) == 0:
		return "", refuse(http.StatusUpgradeRequired, "this is not a WebSocket handshake: there is no Upgrade header")
	case !field.HasToken(r.Header["Upgrade"], "websocket"):
		return "", refuse(http.StatusUpgradeRequired, "the Upgrade header does not name websocket: %s", field.Quote(strings.Join(r.Header["Upgrade"], ", ")))
	case !field.HasToken(r.Header["Connection"], "upgrade"):
		return "", refuse(http.StatusUpgradeRequired, "the Connection header does not name Upgrade: %s", field.Quote(strings.Join(r.Header["Connection"], ", ")))
	}
	if no := checkVersion(r); no != nil {
		return "", no
	}
	switch {
	case !r.ProtoAtLeast(1, 1):
		return "", refuse(http.StatusBadRequest, "the handshake needs HTTP/1.1 or later, not %s", field.Quote(r.Proto))
	case r.Host == "":
		return "", refuse(http.StatusBadRequest, "there is no Host header")
	case r.ContentLength != 0: // -1 if it is chunked
		// Its bytes would be taken for frames.
		return "", refuse(http.StatusBadRequest, "a handshake has no body")
	}
	switch keys := r.Header[fieldKey]; {
	case len(keys) == 0:
		return "", refuse(http.StatusBadRequest, "there is no Sec-WebSocket-Key header")
	case len(keys) > 1:
		return "", refuse(http.StatusBadRequest, "Sec-WebSocket-Key stands more than once") // section 11.3.1
	default:
		if key = field.TrimSpace(keys[0]); !validKey(key) {
			return "", refuse(http.StatusBadRequest, "the Sec-WebSocket-Key %s is not the base64 of 16 bytes", field.Quote(key))
		}
	}
	return key, nil
}

// checkConnect checks what only a handshake over HTTP/2 has (RFC 8441, sections
// 4 and 5). "The Sec-WebSocket-Key and Sec-WebSocket-Accept header fields are
// not used", and neither are Upgrade and Connection.
func checkConnect(r *http.Request) *refusal {
	switch v := r.Header[pseudoProtocol]; {
	case len(v) == 0:
		return refuse(http.StatusBadRequest, "this CONNECT is not a WebSocket handshake: it has no :protocol")
	case len(v) != 1 || !field.EqualFold(v[0], "websocket"):
		// RFC 9220, section 3, names the status.
		return refuse(http.StatusNotImplemented, "the :protocol is not websocket: %s", field.Quote(strings.Join(v, ", ")))
	}
	if no := checkVersion(r); no != nil {
		return no
	}
	switch {
	case r.Host == "":
		return refuse(http.StatusBadRequest, "there is no :authority")
	case r.ContentLength > 0:
		// The HTTP server would end the stream behind it.
		return refuse(http.StatusBadRequest, "an extended CONNECT has no Content-Length")
	}
	return nil
}

// checkVersion checks the version. A header that is missing or stands twice is
// no better than one with another version.
func checkVersion(r *http.Request) *refusal {
	if v := r.Header[fieldVersion]; len(v) != 1 || field.TrimSpace(v[0]) != "13" {
		return refuse(http.StatusUpgradeRequired, "the Sec-WebSocket-Version must be 13, not %s", field.Quote(strings.Join(v, ", ")))
	}
	return nil
}

// checkAcceptOptions returns an error that names the first invalid field.
func checkAcceptOptions(opts *AcceptOptions) (deflateConfig, error) {
	deflate, err := newDeflateConfig(opts.CompressionMode, opts.CompressionSendWindowBits, opts.CompressionReceiveWindowBits)
	if err != nil {
		return deflateConfig{}, fmt.Errorf("invalid AcceptOptions: %w", err)
	}
	if err := field.CheckPatterns(opts.OriginPatterns); err != nil {
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
		err = field.CheckOrigin(r.Header["Origin"], r.Host, opts.OriginPatterns)
	}
	if opts.CheckOrigin == nil {
		return err
	}
	if opts.CheckOrigin(r, err == nil) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("the origin %s is not allowed", field.Quote(strings.Join(r.Header["Origin"], ", ")))
	}
	return err
}

// checkSubprotocols checks the names of an options struct (section 4.1):
// tokens, each once.
func checkSubprotocols(names []string) error {
	for _, name := range names {
		if !field.IsToken(name) {
			return fmt.Errorf("%s is not a token", field.Quote(name))
		}
	}
	if d, ok := field.Duplicate(names); ok {
		return fmt.Errorf("%w: %s", field.ErrDuplicate, field.Quote(d))
	}
	return nil
}

// chooseSubprotocol returns the first of the server's subprotocols that the
// client offered, or "". Names are compared as they are: no RFC folds their
// case.
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

// acceptExtensions is the server's half of the negotiation (section 9.1). The
// answer declines an unknown extension by leaving it out.
func (up *upgrade) acceptExtensions(offers []field.Extension, deflate deflateConfig) {
	if agreed, answer, ok := acceptDeflate(offers, deflate); ok {
		up.deflate = &agreed
		up.extensions = []field.Extension{answer}
	}
}

// appendResponse appends the server's handshake (section 4.2.2). The fields in
// extra are those of the application. Those that would be malformed on the wire
// are left out. So are those that say what the handshake itself says.
func appendResponse(dst []byte, up *upgrade, extra http.Header) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = appendAccept(dst, up.key)
	dst = append(dst, "\r\n"...)
	if up.subprotocol != "" {
		dst = append(dst, "Sec-WebSocket-Protocol: "...)
		dst = append(dst, up.subprotocol...)
		dst = append(dst, "\r\n"...)
	}
	if len(up.extensions) > 0 {
		dst = up.appendExtensions(dst)
	}
	if len(extra) > 0 {
		dst = appendFields(dst, extra)
	}
	return append(dst, "\r\n"...)
}

// appendExtensions appends the field of the extensions.
//
//go:noinline
func (up *upgrade) appendExtensions(dst []byte) []byte {
	dst = append(dst, "Sec-WebSocket-Extensions: "...)
	dst = field.AppendExtensions(dst, up.extensions)
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
	if !up.http2 {
		h["Upgrade"] = []string{"websocket"}
		h["Connection"] = []string{"Upgrade"}
		h[sentAccept] = []string{string(appendAccept(nil, up.key))}
	}
	if up.subprotocol != "" {
		h[sentProtocol] = []string{up.subprotocol}
	}
	if len(up.extensions) > 0 {
		h[sentExtensions] = []string{string(field.AppendExtensions(nil, up.extensions))}
	}
}

// appendFields appends the fields of the application to the handshake.
func appendFields(dst []byte, extra http.Header) []byte {
	for name, values := range extra {
		if !field.IsToken(name) || isHandshakeField(name) || isFramingField(name) {
			continue
		}
		for _, value := range values {
			if !field.ValidValue(value) {
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

// isHandshakeField reports whether the header field belongs to the handshake,
// and so to this package.
func isHandshakeField(name string) bool {
	const prefix = "Sec-WebSocket-"
	return field.EqualFold(name, "Upgrade") || field.EqualFold(name, "Connection") ||
		len(name) >= len(prefix) && field.EqualFold(name[:len(prefix)], prefix)
}

// isFramingField reports whether the header field says where an HTTP message
// ends. A 101 response has no content (RFC 9112, section 6.3).
func isFramingField(name string) bool {
	return field.EqualFold(name, "Content-Length") || field.EqualFold(name, "Transfer-Encoding") || field.EqualFold(name, "Trailer")
}

// The client's half of the opening handshake: what it sends, and what it makes
// of the answer.

// parseURL parses the URL of a server (section 3) into the one that net/http is
// asked for.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The text of a *url.Error holds the whole URL, and so its password.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("invalid URL: %w", err)
	}
	if !fromWebSocketScheme(u) {
		return nil, fmt.Errorf("the scheme of the URL is %s: it must be ws, wss, http or https", field.Quote(u.Scheme))
	}
	if u.Hostname() == "" {
		return nil, errors.New("the URL has no host")
	}
	// "Fragment identifiers are meaningless in the context of WebSocket URIs
	// and MUST NOT be used on these URIs." (section 3)
	if strings.Contains(raw, "#") {
		return nil, errors.New("the URL has a fragment")
	}
	if err := checkQuery(u); err != nil {
		return nil, err
	}
	return u, nil
}

// checkQuery checks the query of a URL: "If any of the components are invalid,
// the client MUST fail" (section 4.1). The package net/http sends a query as it
// stands. A space in it would end the target of the request.
func checkQuery(u *url.URL) error {
	for i := range len(u.RawQuery) {
		if c := u.RawQuery[i]; c <= ' ' || c >= 0x7f {
			return fmt.Errorf("the query of the URL has an invalid byte: it must be written %%%02X", c)
		}
	}
	return nil
}

// fromWebSocketScheme turns the schemes ws and wss of u into those of HTTP. It
// reports whether u then has a scheme of HTTP.
func fromWebSocketScheme(u *url.URL) bool {
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	case "http", "https":
	default:
		return false
	}
	return true
}

// requestHeader returns the header of the client's handshake (section 4.1).
// That is a copy of the user's header, checked, and the handshake's own fields.
func requestHeader(opts *DialOptions, key string, offered []field.Extension) (http.Header, error) {
	h := make(http.Header, len(opts.HTTPHeader)+6)
	for name, values := range opts.HTTPHeader {
		switch {
		case !field.IsToken(name):
			return nil, fmt.Errorf("invalid name in HTTPHeader: %s", field.Quote(name))
		case field.EqualFold(name, fieldProtocol):
			return nil, errors.New("Sec-WebSocket-Protocol in HTTPHeader: it is set by DialOptions.Subprotocols")
		case field.EqualFold(name, "Host"):
			return nil, errors.New("field Host in HTTPHeader: it is set by DialOptions.Host")
		case isHandshakeField(name):
			return nil, fmt.Errorf("%s in HTTPHeader: it belongs to the handshake", name)
		}
		for _, value := range values {
			if !field.ValidValue(value) {
				return nil, fmt.Errorf("invalid value of %s in HTTPHeader: it has a control character", name) // it may be a secret
			}
		}
		h[name] = append([]string(nil), values...)
	}
	if !validHost(opts.Host) {
		return nil, fmt.Errorf("invalid DialOptions.Host: %s", field.Quote(opts.Host))
	}
	if err := checkSubprotocols(opts.Subprotocols); err != nil {
		return nil, fmt.Errorf("invalid DialOptions.Subprotocols: %w", err)
	}
	h["Upgrade"] = []string{"websocket"}
	h["Connection"] = []string{"Upgrade"}
	h[fieldVersion] = []string{"13"}
	h[fieldKey] = []string{key}
	if len(opts.Subprotocols) > 0 {
		h[fieldProtocol] = []string{strings.Join(opts.Subprotocols, ", ")}
	}
	if len(offered) > 0 {
		h[fieldExtensions] = []string{string(field.AppendExtensions(nil, offered))}
	}
	return h, nil
}

// validHost reports whether s may be the value of a Host field: no spaces,
// control characters, or characters that end a host within a URL. "" means the
// URL's.
func validHost(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || strings.IndexByte("\"#/<>?@\\^`{|}", c) >= 0 {
			return false
		}
	}
	return true
}

// offerExtensions is the client's half: what its request offers.
func offerExtensions(deflate deflateConfig) []field.Extension {
	var list []field.Extension
	for _, offer := range deflate.offers() {
		list = append(list, offer.extension())
	}
	return list
}

// checkResponse decides on the server's handshake (section 4.1, from "Once the
// client's opening handshake has been sent").
func checkResponse(resp *http.Response, opts *DialOptions, key string, deflate deflateConfig) (upgrade, error) {
	up := upgrade{key: key}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return up, fmt.Errorf("the server answered with status %d %s, not 101", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	if v := resp.Header["Upgrade"]; len(v) != 1 || !field.EqualFold(field.TrimSpace(v[0]), "websocket") {
		return up, fmt.Errorf("the Upgrade header of the response is not websocket: %s", field.Quote(strings.Join(v, ", ")))
	}
	if v := resp.Header["Connection"]; len(v) == 0 && resp.Close {
		// net/http takes the header out of the response, and ends the
		// connection.
		return up, errors.New("the Connection header of the response says close: net/http has closed the connection")
	} else if !field.HasToken(v, "upgrade") {
		return up, fmt.Errorf("the Connection header of the response does not name Upgrade: %s", field.Quote(strings.Join(v, ", ")))
	}
	switch v := resp.Header[fieldAccept]; {
	case len(v) == 0:
		return up, errors.New("the response has no Sec-WebSocket-Accept header")
	case len(v) > 1 || field.TrimSpace(v[0]) != string(appendAccept(nil, key)):
		return up, fmt.Errorf("the Sec-WebSocket-Accept header of the response is wrong: %s", field.Quote(strings.Join(v, ", ")))
	}
	if v, ok := resp.Header[fieldExtensions]; ok {
		var err error
		if up.extensions, err = field.ParseExtensions(v); err != nil {
			return up, fmt.Errorf("invalid Sec-WebSocket-Extensions in the response: %w", err)
		}
		if err = checkExtensions(up.extensions, offerExtensions(deflate)); err != nil {
			return up, err
		}
		if err = up.agreeExtensions(deflate); err != nil {
			return up, err
		}
	}
	if v := field.WithoutBlank(resp.Header[fieldProtocol]); len(v) > 0 {
		if len(v) != 1 { // section 11.3.4
			return up, errors.New("Sec-WebSocket-Protocol stands more than once in the response")
		}
		if up.subprotocol = chooseSubprotocol([]string{field.TrimSpace(v[0])}, opts.Subprotocols); up.subprotocol == "" {
			return up, fmt.Errorf("the server uses the subprotocol %s, which was not offered", field.Quote(v[0]))
		}
	}
	return up, nil
}

// checkExtensions decides on what the server agreed to. If the response uses
// "an extension that was not present in the client's handshake", the client
// MUST fail the connection (section 4.1).
func checkExtensions(agreed, offered []field.Extension) error {
	for _, a := range agreed {
		known := false
		for _, o := range offered {
			known = known || field.EqualFold(a.Name, o.Name)
		}
		if !known {
			return fmt.Errorf("the server uses the extension %s, which was not offered", field.Quote(a.Name))
		}
	}
	return nil
}

// agreeExtensions takes note of what the server agreed to, all of which was
// offered.
func (up *upgrade) agreeExtensions(deflate deflateConfig) error {
	for _, ext := range up.extensions {
		// RFC 7692, section 5: one extension of a kind.
		if up.deflate != nil {
			return fmt.Errorf("the server uses the extension %s twice", field.Quote(ext.Name))
		}
		agreed, err := deflate.agree(ext.Params)
		if err != nil {
			return fmt.Errorf("the server's answer for the extension %s: %w", field.Quote(ext.Name), err)
		}
		up.deflate = &agreed
	}
	return nil
}
