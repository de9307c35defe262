package field

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// An origin is the serialisation of an origin, taken apart (RFC 6454, section
// 6.2): scheme "://" host [ ":" port ].
type origin struct {
	scheme   string
	hostport string // as it was written
	host     string // "" only with a scheme whose pages have no host, such as file
	port     int    // 0 if there was none
}

var errOrigin = errors.New("it is not scheme://host[:port]")

// parseOrigin parses the value of an Origin field. It is stricter than a parser
// of URLs. An origin has no userinfo, path, query or fragment. So nothing but
// the host can stand where the host is looked for. A lone slash behind it is
// let pass: clients that are not browsers send it.
func parseOrigin(s string) (origin, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) {
		return origin{}, errOrigin
	}
	o := origin{scheme: strings.ToLower(scheme), hostport: strings.TrimSuffix(rest, "/")}
	if o.hostport == "" && defaultPort(o.scheme) == 0 {
		return o, nil
	}
	if o.host, o.port, ok = splitHostPort(o.hostport); !ok {
		return origin{}, errOrigin
	}
	return o, nil
}

// isScheme reports whether s is the scheme of a URL (RFC 3986, section 3.1).
func isScheme(s string) bool {
	for i := range len(s) {
		switch c := lower(s[i]); {
		case 'a' <= c && c <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// splitHostPort splits host [ ":" port ]. A host is a name of unreserved ASCII
// characters, because browsers write other characters in punycode. Or it is an
// IP address, in brackets if it is version 6. The port is 0 if there is none.
func splitHostPort(s string) (host string, port int, ok bool) {
	n := 0
	if strings.HasPrefix(s, "[") {
		if n = strings.IndexByte(s, ']') + 1; n == 0 || !isAddress6(s[1:n-1]) {
			return "", 0, false
		}
	} else {
		for n < len(s) && isNameByte(s[n]) {
			n++
		}
	}
	host, rest := s[:n], s[n:]
	if host == "" {
		return "", 0, false
	}
	if rest == "" {
		return host, 0, true
	}
	if rest[0] != ':' || len(rest) < 2 || rest[1] == '+' {
		return "", 0, false
	}
	p, err := strconv.ParseUint(rest[1:], 10, 16)
	if err != nil || p == 0 {
		return "", 0, false
	}
	return host, int(p), true
}

func isNameByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '-' || c == '.' || c == '_' || c == '~'
}

// isAddress6 reports whether s may be between the brackets of a host. That is
// an IP address of version 6 (RFC 3986, section 3.2.2), with or without a zone
// (RFC 6874). A zone has unreserved characters here.
func isAddress6(s string) bool {
	address, zone, hasZone := strings.Cut(s, "%25")
	for i := range len(zone) {
		if !isNameByte(zone[i]) {
			return false
		}
	}
	a, err := netip.ParseAddr(address)
	return err == nil && a.Is6() && a.Zone() == "" && (zone != "") == hasZone
}

// defaultPort returns the port that a URL of the scheme means when it has none;
// 0 if the scheme is neither HTTP's nor WebSocket's.
func defaultPort(scheme string) int {
	switch httpScheme(scheme) {
	case "http":
		return 80
	case "https":
		return 443
	}
	return 0
}

// httpScheme returns http for ws, and https for wss. Programs that are not
// browsers send an origin with the scheme of the URL that they dial; no page
// can.
func httpScheme(scheme string) string {
	switch scheme {
	case "ws":
		return "http"
	case "wss":
		return "https"
	}
	return scheme
}

// matchesHost reports whether o is the origin of pages at host, the value of a
// Host field.
//
// The request's own scheme is not known: a proxy may have taken TLS off. It is
// taken to be the origin's. So a port that is not written is the default port
// of the origin's scheme, on both sides. https://example.com is not the origin
// of example.com:80.
func (o origin) matchesHost(host string) bool {
	port := defaultPort(o.scheme)
	if port == 0 {
		return false
	}
	h, p, ok := splitHostPort(host)
	if !ok || !EqualFold(o.host, h) {
		return false
	}
	op := o.port
	if op == 0 {
		op = port
	}
	if p == 0 {
		p = port
	}
	return op == p
}

// nullOrigin is the origin of sandboxed and local pages, whatever their site.
const nullOrigin = "null"

// matchesPattern reports whether pattern, in the syntax of [path.Match],
// matches o's host and port as they were written. If the pattern has a scheme,
// it matches scheme, host and port. Case does not matter. An empty pattern
// matches nothing, not the files that have no host either.
func (o origin) matchesPattern(pattern string) bool {
	if pattern == "" {
		return false
	}
	target := o.hostport
	if scheme, rest, ok := strings.Cut(pattern, "://"); ok {
		target = httpScheme(o.scheme) + "://" + target
		pattern = httpScheme(strings.ToLower(scheme)) + "://" + rest
	}
	ok, _ := path.Match(strings.ToLower(pattern), strings.ToLower(target)) // see CheckPatterns
	return ok
}

// CheckPatterns checks the patterns of an options struct: each can match.
func CheckPatterns(patterns []string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("%q: %w", pattern, err)
		}
		hostport := pattern
		if _, rest, ok := strings.Cut(pattern, "://"); ok {
			hostport = rest
		}
		if strings.Contains(hostport, "/") {
			return fmt.Errorf("%q: an origin has no path, and no slash at its end", pattern)
		}
		for _, c := range pattern {
			switch {
			case c >= 0x80:
				return fmt.Errorf("%q has the character %q: browsers write such a host in ASCII (xn--…)", pattern, c)
			case c <= ' ' || c == 0x7f || c == ',':
				return fmt.Errorf("%q has the character %q: no origin has it", pattern, c)
			}
		}
	}
	return nil
}

// CheckOrigin decides whether a page may connect (RFC 6455, sections 4.2.2 and
// 10.2). values are the lines of Origin. Clients that are not browsers send
// none, and pass.
func CheckOrigin(values []string, host string, patterns []string) error {
	switch {
	case len(values) == 0:
		return nil
	case len(values) > 1:
		return errors.New("there are several Origin headers")
	case values[0] == nullOrigin: // it can be any page: nothing but its own name stands for it
		if slices.Contains(patterns, nullOrigin) {
			return nil
		}
		return errors.New(`the origin "null" is not allowed`)
	}
	if isOriginOf(values[0], host) {
		return nil
	}
	return checkOtherOrigin(values[0], host, patterns)
}

// isOriginOf reports whether s is the origin of pages at host, written as
// browsers write it. This is the common case, in which s need not be taken
// apart. False says nothing.
func isOriginOf(s, host string) bool {
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(s, "http://")
	}
	if !ok || rest != host {
		return false
	}
	_, _, ok = splitHostPort(host)
	return ok
}

// checkOtherOrigin is CheckOrigin for an origin that must be taken apart.
func checkOtherOrigin(s, host string, patterns []string) error {
	o, err := parseOrigin(s)
	if err != nil {
		return fmt.Errorf("the origin %s is invalid: %w", Quote(s), err)
	}
	if o.matchesHost(host) {
		return nil
	}
	for _, pattern := range patterns {
		if o.matchesPattern(pattern) {
			return nil
		}
	}
	return fmt.Errorf("the origin %s is not allowed for the host %s", Quote(s), Quote(host))
}
