package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/seed70bc5565/websocket/internal/field"
)

// The grammar of a request without a body (RFC 9112), for AcceptConn. It is
// that of a server of net/http, without what a client of today does not send:
// folded lines and repeated lengths. The function http.ReadRequest would accept
// more than such a server does.

// headEnd returns the length of b up to the first empty line and with it, or 0.
// A line may end in LF alone (RFC 9112, section 2.2).
func headEnd(b []byte) int {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return 0
		}
		at += i + 1
		switch rest := b[at:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return at + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return at + 2
		}
	}
}

// parseRequest parses head, which ends with the first empty line, into r. Of a
// body it only tells that there is one, by r.ContentLength.
func parseRequest(r *http.Request, head []byte) error {
	line, rest := cutLine(string(head))
	if err := parseRequestLine(r, line); err != nil {
		return err
	}
	hosts, err := parseFields(r, rest)
	if err != nil {
		return err
	}
	if err := parseHost(r, hosts); err != nil {
		return err
	}
	r.Body = http.NoBody
	return parseLength(r)
}

// cutLine returns the first line of s without its end, and what is behind it.
func cutLine(s string) (line, rest string) {
	line, rest, _ = strings.Cut(s, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

// parseRequestLine parses the method, the target and the version (RFC 9112,
// section 3).
func parseRequestLine(r *http.Request, line string) error {
	method, rest, _ := strings.Cut(line, " ")
	target, proto, _ := strings.Cut(rest, " ")
	var ok bool
	var err error
	if r.ProtoMajor, r.ProtoMinor, ok = http.ParseHTTPVersion(proto); !ok || !field.IsToken(method) {
		return malformed("its first line is %s", line)
	}
	r.Method, r.RequestURI, r.Proto = method, target, proto
	authority := method == http.MethodConnect && !strings.HasPrefix(target, "/")
	if authority {
		target = "http://" + target
	}
	if r.URL, err = url.ParseRequestURI(target); err != nil {
		return malformed("its target is %s", r.RequestURI)
	}
	if authority {
		r.URL.Scheme = ""
	}
	return nil
}

// parseFields parses the lines of the header up to the empty one (RFC 9112,
// section 5). The values of Host are returned, and are no part of r.Header.
func parseFields(r *http.Request, lines string) (hosts []string, err error) {
	n := strings.Count(lines, "\n") - 1
	r.Header = make(http.Header, n)
	values := make([]string, n) // one allocation for all fields
	for i := 0; ; i++ {
		var line string
		if line, lines = cutLine(lines); line == "" {
			return hosts, nil
		}
		name, value, err := parseField(line)
		if err != nil {
			return nil, err
		}
		values[i] = value
		switch held := r.Header[name]; {
		case name == "Host":
			hosts = append(hosts, value)
		case held != nil:
			r.Header[name] = append(held, value)
		default:
			r.Header[name] = values[i : i+1 : i+1]
		}
	}
}

// parseField parses a line of the header.
func parseField(line string) (name, value string, err error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !field.IsToken(name) {
		return "", "", malformed("a line of the header is %s", line)
	}
	if value = field.TrimSpace(value); !field.ValidValue(value) {
		return "", "", malformed("the header %s has control characters", name)
	}
	return canonicalName(name), value, nil
}

// malformed returns the error for what is not HTTP. It is apart, to keep small
// frames on the stack: see acceptance.
//
//go:noinline
func malformed(format, what string) error { return fmt.Errorf(format, field.Quote(what)) }

// canonicalName spells name as package net/http does.
func canonicalName(name string) string {
	if len(name) > len("sec-") && name[3] == '-' {
		// net/http would allocate each of them.
		for _, known := range [...]string{fieldKey, fieldVersion, fieldProtocol, fieldExtensions} {
			if field.EqualFold(name, known) {
				return known
			}
		}
	}
	return http.CanonicalHeaderKey(name)
}

// parseHost sets r.Host, of which hosts are the fields (RFC 9112, sections 3.2
// and 3.2.2).
func parseHost(r *http.Request, hosts []string) error {
	switch {
	case len(hosts) > 1:
		return errors.New("there is more than one Host header")
	case len(hosts) == 1 && !isHost(hosts[0]):
		return malformed("the Host header is %s", hosts[0])
	case len(hosts) == 0 && r.ProtoMajor == 1 && r.ProtoMinor > 0:
		return errors.New("there is no Host header")
	}
	if r.Host = r.URL.Host; r.Host == "" && len(hosts) == 1 {
		r.Host = hosts[0]
	}
	return nil
}

// isHost reports whether s has only bytes that may be in a host and a port
// (RFC 3986, section 3.2.2).
func isHost(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!$%&'()*+,-.:;=[]_~", c) < 0:
			return false
		}
	}
	return true
}

// parseLength sets r.ContentLength: -1 says that there is a body of unknown
// length (RFC 9112, section 6.3).
func parseLength(r *http.Request) error {
	lengths := r.Header["Content-Length"]
	switch {
	case r.Header["Transfer-Encoding"] != nil:
		r.ContentLength = -1
	case len(lengths) > 1:
		return errors.New("there is more than one Content-Length header")
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil {
			return malformed("the Content-Length header is %s", lengths[0])
		}
		r.ContentLength = int64(n)
	}
	return nil
}
