package websocket

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// The client's half of the opening handshake: what it sends, and what it makes of the answer.

// parseURL parses the URL of a server (section 3) into the one that net/http is asked for.
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
		return nil, fmt.Errorf("the scheme of the URL is %s: it must be ws, wss, http or https", quote(u.Scheme))
	}
	if u.Hostname() == "" {
		return nil, errors.New("the URL has no host")
	}
	// "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT be used on these URIs."
	// (section 3)
	if strings.Contains(raw, "#") {
		return nil, errors.New("the URL has a fragment")
	}
	if err := checkQuery(u); err != nil {
		return nil, err
	}
	return u, nil
}

// checkQuery checks the query of a URL: "If any of the components are invalid, the client MUST fail" (section 4.1).
// net/http sends a query as it stands: a space in it would end the target of the request.
func checkQuery(u *url.URL) error {
	for i := range len(u.RawQuery) {
		if c := u.RawQuery[i]; c <= ' ' || c >= 0x7f {
			return fmt.Errorf("the query of the URL has an invalid byte: it must be written %%%02X", c)
		}
	}
	return nil
}

// fromWebSocketScheme turns the schemes ws and wss of u into those of HTTP. It reports whether u then has one of HTTP's.
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

// requestHeader returns the header of the client's handshake (section 4.1): a copy of the user's, checked, and the
// handshake's own fields.
func requestHeader(opts *DialOptions, key string, offered []extension) (http.Header, error) {
	h := make(http.Header, len(opts.HTTPHeader)+6)
	for name, values := range opts.HTTPHeader {
		switch {
		case !isToken(name):
			return nil, fmt.Errorf("invalid name in HTTPHeader: %s", quote(name))
		case equalFold(name, fieldProtocol):
			return nil, errors.New("Sec-WebSocket-Protocol in HTTPHeader: it is set by DialOptions.Subprotocols")
		case equalFold(name, "Host"):
			return nil, errors.New("field Host in HTTPHeader: it is set by DialOptions.Host")
		case isHandshakeField(name):
			return nil, fmt.Errorf("%s in HTTPHeader: it belongs to the handshake", name)
		}
		for _, value := range values {
			if !validFieldValue(value) {
				return nil, fmt.Errorf("invalid value of %s in HTTPHeader: it has a control character", name) // it may be a secret
			}
		}
		h[name] = append([]string(nil), values...)
	}
	if !validHost(opts.Host) {
		return nil, fmt.Errorf("invalid DialOptions.Host: %s", quote(opts.Host))
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
		h[fieldExtensions] = []string{string(appendExtensions(nil, offered))}
	}
	return h, nil
}

// spellAsRFC gives the fields of the handshake in h the spelling of the RFC.
// net/http sends a key of a map as it is written there. Names of fields have no
// case, but some servers compare the bytes.
func spellAsRFC(h http.Header) {
	for _, name := range [...][2]string{{fieldKey, sentKey}, {fieldVersion, sentVersion}, {fieldProtocol, sentProtocol}, {fieldExtensions, sentExtensions}} {
		if v, ok := h[name[0]]; ok {
			delete(h, name[0])
			h[name[1]] = v
		}
	}
}

// validHost reports whether s may be the value of a Host field: no spaces, control characters, or characters that end
// a host within a URL. "" means the URL's.
func validHost(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || strings.IndexByte("\"#/<>?@\\^`{|}", c) >= 0 {
			return false
		}
	}
	return true
}

// offerExtensions is the client's half: what its request offers.
func offerExtensions(deflate deflateConfig) []extension {
	var list []extension
	for _, offer := range deflate.offers() {
		list = append(list, offer.extension())
	}
	return list
}

// checkResponse decides on the server's handshake (section 4.1, from "Once the client's opening handshake has been sent").
func checkResponse(resp *http.Response, opts *DialOptions, key string, deflate deflateConfig) (upgrade, error) {
	up := upgrade{key: key}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return up, fmt.Errorf("the server answered with status %d %s, not 101", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	if v := resp.Header["Upgrade"]; len(v) != 1 || !equalFold(trimSpace(v[0]), "websocket") {
		return up, fmt.Errorf("the Upgrade header of the response is not websocket: %s", quote(strings.Join(v, ", ")))
	}
	if v := resp.Header["Connection"]; len(v) == 0 && resp.Close {
		// net/http takes the header out of the response, and ends the connection.
		return up, errors.New("the Connection header of the response says close: net/http has closed the connection")
	} else if !hasToken(v, "upgrade") {
		return up, fmt.Errorf("the Connection header of the response does not name Upgrade: %s", quote(strings.Join(v, ", ")))
	}
	switch v := resp.Header[fieldAccept]; {
	case len(v) == 0:
		return up, errors.New("the response has no Sec-WebSocket-Accept header")
	case len(v) > 1 || trimSpace(v[0]) != string(appendAccept(nil, key)):
		return up, fmt.Errorf("the Sec-WebSocket-Accept header of the response is wrong: %s", quote(strings.Join(v, ", ")))
	}
	if v, ok := resp.Header[fieldExtensions]; ok {
		var err error
		if up.extensions, err = parseExtensions(v); err != nil {
			return up, fmt.Errorf("invalid Sec-WebSocket-Extensions in the response: %w", err)
		}
		if err = checkExtensions(up.extensions, offerExtensions(deflate)); err != nil {
			return up, err
		}
		if err = up.agreeExtensions(deflate); err != nil {
			return up, err
		}
	}
	if v := resp.Header[fieldProtocol]; !isBlank(v) {
		if len(v) != 1 { // section 11.3.4
			return up, errors.New("Sec-WebSocket-Protocol stands more than once in the response")
		}
		if up.subprotocol = chooseSubprotocol([]string{trimSpace(v[0])}, opts.Subprotocols); up.subprotocol == "" {
			return up, fmt.Errorf("the server uses the subprotocol %s, which was not offered", quote(v[0]))
		}
	}
	return up, nil
}

// checkExtensions decides on what the server agreed to: "If the response includes a |Sec-WebSocket-Extensions| header field and this header field
// indicates the use of an extension that was not present in the client's handshake, the client MUST fail the connection" (section 4.1).
func checkExtensions(agreed, offered []extension) error {
	for _, a := range agreed {
		known := false
		for _, o := range offered {
			known = known || equalFold(a.name, o.name)
		}
		if !known {
			return fmt.Errorf("the server uses the extension %s, which was not offered", quote(a.name))
		}
	}
	return nil
}

// agreeExtensions takes note of what the server agreed to, all of which was offered.
func (up *upgrade) agreeExtensions(deflate deflateConfig) error {
	for _, ext := range up.extensions {
		// RFC 7692, section 5: one extension of a kind.
		if up.deflate != nil {
			return fmt.Errorf("the server uses the extension %s twice", quote(ext.name))
		}
		agreed, err := deflate.agree(ext.params)
		if err != nil {
			return fmt.Errorf("the server's answer for the extension %s: %w", quote(ext.name), err)
		}
		up.deflate = &agreed
	}
	return nil
}
