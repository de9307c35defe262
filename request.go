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
// section 5). The field Host is no part of r.Header: its first value is r.Host.
// It returns how often Host stands there.
//
// Its frame is small, because below it the map allocates: see acceptance.
func parseFields(r *http.Request, lines string) (hosts int, err error) {
	n := strings.Count(lines, "\n") - 1
	r.Header = make(http.Header, n)
	values := make([]string, n) // one allocation for all fields
	for ; len(values) > 0; values = values[1:] {
		var name string
		if name, values[0], lines, err = parseField(lines); err != nil {
			return 0, err
		}
		switch held := r.Header[name]; {
		case name == "Host":
			if hosts++; hosts == 1 {
				r.Host = values[0]
			}
		case held != nil:
			r.Header[name] = append(held, values[0])
		default:
			r.Header[name] = values[:1:1]
		}
	}
	return hosts, nil
}

// parseField parses the line of the header that lines begins with. It returns what is
// behind that line.
func parseField(lines string) (name, value, rest string, err error) {
	line, rest := cutLine(lines)
	name, value, ok := strings.Cut(line, ":")
	if !ok || !field.IsToken(name) {
		return "", "", "", malformed("a line of the header is %s", line)
	}
	if value = field.TrimSpace(value); !field.ValidValue(value) {
		return "", "", "", malformed("the header %s has control characters", name)
	}
	return canonicalName(name), value, rest, nil
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

// parseHost checks r.Host. The header had it so many times. A host in
// the target takes its place (RFC 9112, sections 3.2 and 3.2.2).
func parseHost(r *http.Request, times int) error {
	switch {
	case times > 1:
		return errors.New("there is more than one Host header")
	case !isHost(r.Host):
		return malformed("the Host header is %s", r.Host)
	case times == 0 && r.ProtoMajor == 1 && r.ProtoMinor > 0:
		return errors.New("there is no Host header")
	}
	if r.URL.Host != "" {
		r.Host = r.URL.Host
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
