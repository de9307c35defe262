// Package field has the grammar of the header fields that the opening handshake
// reads, and the rules for origins. It knows strings only.
//
// A field may stand on several lines, which together are one list (RFC 9110,
// section 5.3). A list may have empty elements (RFC 2616, section 2.1, which
// RFC 6455 uses).
package field

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// tokenBytes has a bit for each byte of ASCII that may be in a token (RFC 2616,
// section 2.2).
var tokenBytes = func() (bits [2]uint64) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
		bits[c/64] |= 1 << (c % 64)
	}
	return bits
}()

// isTokenByte reports whether c may be in a token.
func isTokenByte(c byte) bool { return c < 0x80 && tokenBytes[c/64]>>(c%64)&1 != 0 }

// IsToken reports whether s is a token.
func IsToken(s string) bool { return s != "" && tokenLen(s) == len(s) }

// tokenLen returns the length of the token that s begins with.
func tokenLen(s string) int {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return i
		}
	}
	return len(s)
}

// ValidValue reports whether s may be sent as the value of a header field: no
// control characters but the tab (RFC 9110, section 5.5).
func ValidValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// TrimSpace returns s without the spaces and tabs around it.
func TrimSpace(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// spellings has the fields of the handshake whose names the RFC spells in
// another way than package net/http.
var spellings = [...][2]string{
	{"Sec-Websocket-Key", "Sec-WebSocket-Key"},
	{"Sec-Websocket-Version", "Sec-WebSocket-Version"},
	{"Sec-Websocket-Protocol", "Sec-WebSocket-Protocol"},
	{"Sec-Websocket-Extensions", "Sec-WebSocket-Extensions"},
}

// SpellAsRFC gives the handshake's fields in h the spelling of the RFC.
// net/http sends a key of a map as it is written there. Names of fields have no
// case, but some servers compare the bytes.
func SpellAsRFC(h map[string][]string) {
	for _, name := range spellings {
		if v, ok := h[name[0]]; ok {
			delete(h, name[0])
			h[name[1]] = v
		}
	}
}

// EqualFold is strings.EqualFold for ASCII. Unicode knows letters beyond ASCII
// that fold to ASCII ones: they must not match in the name of a host.
func EqualFold(s, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range len(s) {
		if lower(s[i]) != lower(t[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// HasToken reports whether token, which is in lower case, is in the list of
// tokens, without regard to case.
func HasToken(values []string, token string) bool {
	for _, rest := range values {
		for more := true; more; {
			var element string
			element, rest, more = strings.Cut(rest, ",")
			if EqualFold(TrimSpace(element), token) {
				return true
			}
		}
	}
	return false
}

// MaxElements is how many elements a list of the peer's may have, and an
// extension parameters. Each takes many times the memory of the two bytes that
// it is made of, before anything is known of who sent it.
const MaxElements = 100

// WithoutBlank returns the lines of a field that say something. Some servers
// and proxies send a field without a value where they mean none.
func WithoutBlank(values []string) []string {
	isBlank := func(s string) bool { return TrimSpace(s) == "" }
	if !slices.ContainsFunc(values, isBlank) {
		return values
	}
	return slices.DeleteFunc(slices.Clone(values), isBlank) // the header is not ours
}

var (
	errElements = fmt.Errorf("the list has more than %d elements", MaxElements)
	// ErrDuplicate is in the error for a list that names an element twice.
	ErrDuplicate = errors.New("an element stands more than once")
)

// ParseTokens parses a list of tokens. Unlike the list rule itself it refuses
// duplicates: Sec-WebSocket-Protocol is the one field that it is for, whose
// elements "MUST all be unique strings" (section 4.1).
func ParseTokens(values []string) ([]string, error) {
	var tokens []string
	for _, rest := range values {
		for more := true; more; {
			var element string
			element, rest, more = strings.Cut(rest, ",")
			switch element = TrimSpace(element); {
			case element == "": // the list rule lets an element be empty
			case !IsToken(element):
				return nil, fmt.Errorf("%s is not a token", Quote(element))
			case len(tokens) == MaxElements:
				return nil, errElements
			default:
				tokens = append(tokens, element)
			}
		}
	}
	if d, ok := Duplicate(tokens); ok {
		return nil, fmt.Errorf("%w: %s", ErrDuplicate, Quote(d))
	}
	return tokens, nil
}

// Duplicate returns an element that list has more than once.
func Duplicate(list []string) (string, bool) {
	if len(list) < 8 {
		for i, s := range list {
			for _, t := range list[:i] {
				if s == t {
					return s, true
				}
			}
		}
		return "", false
	}
	return duplicateOfMany(list)
}

// duplicateOfMany is Duplicate for a long list. It is apart because a map takes
// much of the stack.
//
//go:noinline
func duplicateOfMany(list []string) (string, bool) {
	seen := make(map[string]struct{}, len(list))
	for _, s := range list {
		if _, ok := seen[s]; ok {
			return s, true
		}
		seen[s] = struct{}{}
	}
	return "", false
}

// An Extension is an element of Sec-WebSocket-Extensions (section 9.1): offered
// by a client, or agreed to by a server.
type Extension struct {
	Name   string
	Params []Param
}

// A Param is a parameter of an Extension. Its value is a token, or "" if it has
// none.
type Param struct {
	Name, Value string
}

// ParseExtensions parses the lines of Sec-WebSocket-Extensions. A value that
// does not conform to the grammar fails the handshake (section 9.1).
func ParseExtensions(values []string) ([]Extension, error) {
	var list []Extension
	for _, s := range values {
		for {
			s = strings.TrimLeft(s, " \t,")
			if s == "" {
				break
			}
			ext, n, err := parseExtension(s)
			if err != nil {
				return nil, err
			}
			if len(list) == MaxElements {
				return nil, errElements
			}
			list = append(list, ext)
			if s = s[n:]; s != "" && s[0] != ',' {
				return nil, fmt.Errorf("a comma is expected at %s", Quote(s))
			}
		}
	}
	return list, nil
}

// parseExtension parses the extension at the begin of s, up to a comma or the
// end if it is well formed.
func parseExtension(s string) (ext Extension, n int, err error) {
	rest := s
	if ext.Name, rest, err = cutToken(rest); err != nil {
		return Extension{}, 0, err
	}
	for strings.HasPrefix(rest, ";") {
		if len(ext.Params) == MaxElements {
			return Extension{}, 0, errElements
		}
		var p Param
		if p.Name, rest, err = cutToken(skipSpace(rest[1:])); err != nil {
			return Extension{}, 0, err
		}
		if strings.HasPrefix(rest, "=") {
			rest = skipSpace(rest[1:])
			if strings.HasPrefix(rest, `"`) {
				p.Value, rest, err = cutQuoted(rest)
			} else {
				p.Value, rest, err = cutToken(rest)
			}
			if err != nil {
				return Extension{}, 0, err
			}
		}
		ext.Params = append(ext.Params, p)
	}
	return ext, len(s) - len(rest), nil
}

// cutToken cuts a token, and the spaces behind it, off s.
func cutToken(s string) (token, rest string, err error) {
	n := tokenLen(s)
	if n == 0 {
		return "", "", fmt.Errorf("a token is expected at %s", Quote(s))
	}
	return s[:n], skipSpace(s[n:]), nil
}

// cutQuoted cuts a quoted string, and the spaces behind it, off s. Its content
// must be a token: "the value after quoted-string unescaping MUST conform to
// the 'token' ABNF" (section 9.1).
func cutQuoted(s string) (value, rest string, err error) {
	var unescaped []byte
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			if !IsToken(string(unescaped)) {
				return "", "", fmt.Errorf("the quoted value %s is not a token", Quote(string(unescaped)))
			}
			return string(unescaped), skipSpace(s[i+1:]), nil
		case c == '\\' && i+1 < len(s):
			i++
			unescaped = append(unescaped, s[i])
		default:
			unescaped = append(unescaped, c)
		}
	}
	return "", "", fmt.Errorf("the quoted string does not end: %s", Quote(s))
}

func skipSpace(s string) string { return strings.TrimLeft(s, " \t") }

// AppendExtensions appends list as the value of one Sec-WebSocket-Extensions
// line.
func AppendExtensions(dst []byte, list []Extension) []byte {
	for i, ext := range list {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, ext.Name...)
		for _, p := range ext.Params {
			dst = append(dst, "; "...)
			dst = append(dst, p.Name...)
			if p.Value != "" {
				dst = append(dst, '=')
				dst = append(dst, p.Value...)
			}
		}
	}
	return dst
}

// Quote makes what a peer sent fit for an error: on one line, and not long. It
// keeps 64 bytes of s. Each of them takes up to four bytes in the result, as
// \x80 does.
func Quote(s string) string { return QuoteUpTo(s, 64) }

// QuoteUpTo is Quote with a limit of most bytes.
func QuoteUpTo(s string, most int) string {
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
