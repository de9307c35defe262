package websocket

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

func TestAcceptKey(t *testing.T) {
	// The example of section 1.3.
	if got, want := string(appendAccept([]byte("x"), "dGhlIHNhbXBsZSBub25jZQ==")), "xs3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHasToken(t *testing.T) {
	tests := []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"upgrade"}, true},
		{[]string{"Upgrade"}, true},
		{[]string{"UPGRADE"}, true},
		{[]string{" \tUpgrade\t "}, true},
		{[]string{"keep-alive, Upgrade"}, true},
		{[]string{"Upgrade,keep-alive"}, true},
		{[]string{",,Upgrade"}, true},
		{[]string{"keep-alive", "Upgrade"}, true},
		{[]string{"keep-alive, TE", "close ,Upgrade , x"}, true},
		{[]string{"notupgradeable"}, false},
		{[]string{"upgradeable"}, false},
		{[]string{"notupgrade"}, false},
		{[]string{"not upgrade"}, false},
		{[]string{"upgrade upgrade"}, false},
		{[]string{`"upgrade"`}, false},
		{[]string{"upgrade;q=1"}, false},
		{[]string{"up,grade"}, false},
		{[]string{"up", "grade"}, false},
		{[]string{"up\u212arade"}, false},
	}
	for _, tt := range tests {
		if got := hasToken(tt.lines, "upgrade"); got != tt.want {
			t.Errorf("hasToken(%q): got %v, want %v", tt.lines, got, tt.want)
		}
	}
	if hasToken([]string{"web\u017focket"}, "websocket") { // the long s folds to s in Unicode
		t.Error("a letter beyond ASCII matched")
	}
}

func TestParseTokens(t *testing.T) {
	tests := []struct {
		lines []string
		want  []string
		err   string
	}{
		{[]string{"chat"}, []string{"chat"}, ""},
		{[]string{"chat, superchat"}, []string{"chat", "superchat"}, ""},
		{[]string{"chat", "superchat,v2.x"}, []string{"chat", "superchat", "v2.x"}, ""},
		{[]string{",chat,,\tsuperchat ,"}, []string{"chat", "superchat"}, ""},
		{[]string{"chat, Chat"}, []string{"chat", "Chat"}, ""},
		{[]string{""}, nil, ""}, // says nothing
		{[]string{" , "}, nil, ""},
		{[]string{"chat, chat"}, nil, `more than once: "chat"`},
		{[]string{"chat", "chat"}, nil, `more than once: "chat"`},
		{[]string{"a,b,c,d,e,f,g,h,i,a"}, nil, `more than once: "a"`},
		{[]string{"a b"}, nil, `"a b" is not a token`},
		{[]string{"a/b"}, nil, `"a/b" is not a token`},
		{[]string{`"chat"`}, nil, "is not a token"},
		{[]string{"ch\u00e4t"}, nil, "is not a token"},
		{[]string{"chat\x00"}, nil, "is not a token"},
		{[]string{"chat\x7f"}, nil, "is not a token"},
		{[]string{distinctTokens(maxElements), ", ,"}, strings.Split(strings.TrimSuffix(distinctTokens(maxElements), ", "), ", "), ""},
		{[]string{distinctTokens(maxElements), "chat"}, nil, "more than 100 elements"},
	}
	for _, tt := range tests {
		got, err := parseTokens(tt.lines)
		if !reflect.DeepEqual(got, tt.want) || !matches(err, tt.err) {
			t.Errorf("parseTokens(%q): got %q, %v, want %q and the error %q", tt.lines, got, err, tt.want, tt.err)
		}
	}
}

// matches reports whether err says want; there must be none if want is "".
func matches(err error, want string) bool {
	if err == nil || want == "" {
		return err == nil && want == ""
	}
	return strings.Contains(err.Error(), want)
}

func TestParseExtensions(t *testing.T) {
	tests := []struct {
		lines []string
		want  string // as appendExtensions writes it
		err   string
	}{
		{[]string{"foo"}, "foo", ""},
		{[]string{"permessage-deflate; client_max_window_bits"}, "permessage-deflate; client_max_window_bits", ""},
		{[]string{"foo, bar; baz=2"}, "foo, bar; baz=2", ""},                // section 9.1
		{[]string{"foo", "bar; baz=2"}, "foo, bar; baz=2", ""},              // section 9.1: the same
		{[]string{`bar;baz="2"`}, "bar; baz=2", ""},                         // a quoted token
		{[]string{`bar;baz="\2\3"`}, "bar; baz=23", ""},                     // quoted pairs
		{[]string{" foo ;\ta = 1 ; b , , c "}, "foo; a=1; b, c", ""},        // implied white space
		{[]string{"foo; a=1; a=2, foo"}, "foo; a=1; a=2, foo", ""},          // what repetition means is the extension's matter
		{[]string{`foo; a="b,c"`}, "", `value "b,c" is not a token`},        // the comma does not end the element
		{[]string{`foo; a=""`}, "", `value "" is not a token`},              //
		{[]string{`foo; a="b`}, "", "string does not end"},                  //
		{[]string{`foo; a="b\`}, "", "string does not end"},                 //
		{[]string{`foo; a="b\"`}, "", "string does not end"},                //
		{[]string{`foo; a="`, `"`}, "", "string does not end"},              // a string does not go on in the next line
		{[]string{`foo; a="b"c`}, "", `a comma is expected at "c"`},         //
		{[]string{"foo bar"}, "", `a comma is expected at "bar"`},           //
		{[]string{"foo=1"}, "", `a comma is expected at "=1"`},              //
		{[]string{"foo;"}, "", `a token is expected at ""`},                 //
		{[]string{"foo; ;a"}, "", `a token is expected at ";a"`},            //
		{[]string{"foo; a="}, "", `a token is expected at ""`},              //
		{[]string{"foo; a=,b"}, "", `a token is expected at ",b"`},          //
		{[]string{"; a"}, "", `a token is expected at "; a"`},               //
		{[]string{`"foo"`}, "", "a token is expected"},                      //
		{[]string{"f\u00f6o"}, "", "a comma is expected"},                   //
		{[]string{""}, "", ""},                                              // says nothing
		{[]string{" ,", ","}, "", ""},                                       //
		{[]string{strings.Repeat("x", 200) + "/"}, "", `expected at "/"`},   //
		{[]string{"/" + strings.Repeat("x", 200)}, "", `xxx"...`},           // errors are short
		{[]string{"foo", "bar/"}, "", "a comma is expected"},                //
		{[]string{"foo; a\r\nSet-Cookie: x"}, "", "a comma is expected at"}, //
		{[]string{strings.Repeat("a,", 100)}, strings.Repeat("a, ", 99) + "a", ""},
		{[]string{strings.Repeat("a,", 100), "b"}, "", "more than 100 elements"},
		{[]string{"a" + strings.Repeat("; b", 100)}, "a" + strings.Repeat("; b", 100), ""},
		{[]string{"a" + strings.Repeat("; b", 101)}, "", "more than 100 elements"},
	}
	for _, tt := range tests {
		list, err := parseExtensions(tt.lines)
		got := string(appendExtensions(nil, list))
		if got != tt.want || !matches(err, tt.err) {
			t.Errorf("parseExtensions(%q): got %q, %v, want %q and the error %q", tt.lines, got, err, tt.want, tt.err)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("parseExtensions(%.20q): an error of %d bytes", tt.lines, len(err.Error()))
		}
	}
}

func FuzzExtensions(f *testing.F) {
	for _, s := range []string{"foo, bar; baz=2", `bar;baz="2"`, "permessage-deflate; client_max_window_bits, x", `a;b="\"`, ";,="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseExtensions([]string{s})
		if err != nil {
			if len(list) != 0 {
				t.Fatalf("%q: a list with the error %v", s, err)
			}
			return
		}
		written := string(appendExtensions(nil, list))
		again, err := parseExtensions([]string{written})
		if err != nil || !reflect.DeepEqual(list, again) {
			t.Fatalf("%q: written as %q, read as %v, %v, want %v", s, written, again, err, list)
		}
		for _, ext := range list {
			for _, p := range ext.params {
				if !isToken(p.name) || p.value != "" && !isToken(p.value) {
					t.Fatalf("%q: parameter %q", s, p)
				}
			}
			if !isToken(ext.name) {
				t.Fatalf("%q: name %q", s, ext.name)
			}
		}
	})
}

// FuzzTokens compares the lists of tokens with the most naive reading of them.
func FuzzTokens(f *testing.F) {
	for _, s := range []string{"keep-alive, Upgrade", ",,upgrade,", "upgrade upgrade", "a,b,a", "notupgradeable"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		var elements []string
		for _, e := range strings.Split(a+","+b, ",") {
			if e = strings.Trim(e, " \t"); e != "" {
				elements = append(elements, e)
			}
		}
		has, valid, seen := false, len(elements) > 0 && len(elements) <= maxElements, map[string]bool{}
		for _, e := range elements {
			has = has || asciiLower(e) == "upgrade"
			valid = valid && !seen[e] && strings.Trim(e, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~") == "" &&
				!strings.ContainsAny(e, "()<>@,;:\\\"/[]?={} \t") && isPrintableASCII(e)
			seen[e] = true
		}
		if got := hasToken([]string{a, b}, "upgrade"); got != has {
			t.Errorf("hasToken(%q, %q): got %v", a, b, got)
		}
		got, err := parseTokens([]string{a, b})
		if (err == nil) != valid || valid && !reflect.DeepEqual(got, elements) {
			t.Errorf("parseTokens(%q, %q): got %q, %v, want %q, %v", a, b, got, err, elements, valid)
		}
	})
}

func asciiLower(s string) string {
	return string(bytes.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, []byte(s)))
}

func isPrintableASCII(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

func TestCheckOrigin(t *testing.T) {
	const refused = "is not allowed for the host"
	tests := []struct {
		origin, host string
		err          string
	}{
		// The same host.
		{"http://example.com", "example.com", ""},
		{"https://example.com", "example.com", ""}, // a proxy may have taken TLS off
		{"http://example.com:8080", "example.com:8080", ""},
		{"http://127.0.0.1:8080", "127.0.0.1:8080", ""},
		{"http://[::1]:8080", "[::1]:8080", ""},
		{"http://[::1]", "[::1]", ""},
		{"http://localhost/", "localhost", ""}, // not an origin, but sent by clients that are no browsers
		// Case, and punycode, which browsers write.
		{"http://Example.COM", "eXample.com", ""},
		{"HTTP://example.com", "example.com", ""},
		{"https://xn--bcher-kva.example", "xn--bcher-kva.example", ""},
		{"https://b\u00fccher.example", "xn--bcher-kva.example", "is invalid"},
		{"https://\u212aube.example", "kube.example", "is invalid"}, // the Kelvin sign folds to k
		// Default ports: that of the origin's scheme on both sides.
		{"http://example.com:80", "example.com", ""},
		{"http://example.com", "example.com:80", ""},
		{"https://example.com:443", "example.com", ""},
		{"https://example.com", "example.com:443", ""},
		{"https://example.com", "example.com:80", refused},
		{"http://example.com", "example.com:443", refused},
		{"http://example.com:443", "example.com", refused},
		{"https://example.com:80", "example.com", refused},
		// Other ports.
		{"http://example.com", "example.com:8080", refused},
		{"http://example.com:8080", "example.com", refused},
		{"http://example.com:8080", "example.com:8081", refused},
		{"http://example.com:80", "example.com:8080", refused},
		{"http://example.com:080", "example.com", ""},
		{"http://example.com:65616", "example.com:80", "is invalid"}, // 65616 is 80 modulo 2^16
		{"http://example.com:0", "example.com", "is invalid"},
		{"http://example.com:", "example.com", "is invalid"},
		{"http://example.com:+80", "example.com", "is invalid"},
		{"http://example.com:-80", "example.com", "is invalid"},
		{"http://example.com:8 0", "example.com:80", "is invalid"},
		{"http://example.com:80:80", "example.com", "is invalid"},
		{"http://example.com:http", "example.com", "is invalid"},
		// Suffix, prefix, subdomain.
		{"http://evilexample.com", "example.com", refused},
		{"http://example.com.evil.com", "example.com", refused},
		{"http://www.example.com", "example.com", refused},
		{"http://example.com", "www.example.com", refused},
		{"http://com", "example.com", refused},
		{"http://example.co", "example.com", refused},
		{"http://example.com.", "example.com", refused},
		{"http://example.com", "example.com.", refused},
		{"http://example.com.", "example.com.", ""},
		// What a parser of URLs may take for the host.
		{"http://example.com@evil.com", "example.com", "is invalid"},
		{"http://evil.com@example.com", "example.com", "is invalid"},
		{"http://example.com:80@evil.com", "example.com", "is invalid"},
		{"http://evil.com/example.com", "example.com", "is invalid"},
		{"http://evil.com//example.com", "example.com", "is invalid"},
		{"http://evil.com\\example.com", "example.com", "is invalid"},
		{"http://evil.com?example.com", "example.com", "is invalid"},
		{"http://evil.com#example.com", "example.com", "is invalid"},
		{"http://evil.com#@example.com", "example.com", "is invalid"},
		{"http://example.com%00.evil.com", "example.com", "is invalid"},
		{"http://example.com%2eevil.com", "example.com", "is invalid"},
		{"http://example.com evil.com", "example.com", "is invalid"},
		{"http://example.com, http://evil.com", "example.com", "is invalid"},
		{"http://evil.com http://example.com", "example.com", "is invalid"}, // a list of RFC 6454, section 7.1
		{"http://[::1", "[::1]", "is invalid"},
		{"http://[]", "[]", "is invalid"},
		{"http://[::1]x", "[::1]", "is invalid"},
		{"http://[example.com]", "example.com", "is invalid"},
		{"http://::1", "[::1]", "is invalid"},
		{"http://[::1%25eth0]", "[::1]", refused},
		{"http://[fe80::1%25eth0]:80", "[fe80::1%25eth0]", ""},
		{"http://[fe80::1%25]", "[fe80::1%25]", "is invalid"},
		{"http://[fe80::1%eth0]", "[fe80::1%eth0]", "is invalid"},
		{"http://[fe80::1%25a/b]", "[fe80::1%25a/b]", "is invalid"},
		{"http://[fe80::1%25a%25b]", "[fe80::1%25a%25b]", "is invalid"},
		{"http://[0]:1", "[0]:1", "is invalid"},
		{"http://[.]", "[.]", "is invalid"},
		{"http://[:]", "[:]", "is invalid"},
		{"http://[abc]", "[abc]", "is invalid"},
		{"http://[1::2::3]", "[1::2::3]", "is invalid"},
		{"http://[127.0.0.1]", "[127.0.0.1]", "is invalid"},
		{"http://[12345::1]", "[12345::1]", "is invalid"},
		{"http://[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]", ""},
		// What programs send that put the scheme of their URL there.
		{"wss://example.com", "example.com", ""},
		{"ws://example.com:8080", "example.com:8080", ""},
		{"WSS://example.com:443", "example.com", ""},
		{"ws://example.com", "example.com:80", ""},
		{"ws://example.com", "example.com:443", refused},
		{"wss://example.com", "example.com:80", refused},
		{"wss://evil.example", "example.com", refused},
		{"ws://", "example.com", "is invalid"},
		{"wss://example.com/x", "example.com", "is invalid"},
		// No origin of a page on a host.
		{"null", "null", `"null" is not allowed`},
		{"null", "example.com", `"null" is not allowed`},
		{"Null", "example.com", "is invalid"},
		{"", "example.com", "is invalid"},
		{"example.com", "example.com", "is invalid"},
		{"//example.com", "example.com", "is invalid"},
		{"://example.com", "example.com", "is invalid"},
		{"http:example.com", "example.com", "is invalid"},
		{"http:/example.com", "example.com", "is invalid"},
		{"http://", "example.com", "is invalid"},
		{"http:///", "example.com", "is invalid"},
		{"1http://example.com", "example.com", "is invalid"},
		{"ht tp://example.com", "example.com", "is invalid"},
		{"ftp://example.com", "example.com", refused},
		{"chrome-extension://example.com", "example.com", refused},
		{"file://", "example.com", refused},
		{"http://example.com", "", refused},
		{"http://", "", "is invalid"},
		{"http://x@example.com", "x@example.com", "is invalid"},
		{"https://example.com/x", "example.com/x", "is invalid"},
		{"ftp://example.com", "ftp://example.com", refused},
		{"http://example.com", "example.com/x", refused},
		{"http://example.com", "example.com:x", refused},
	}
	for _, tt := range tests {
		if err := checkOrigin([]string{tt.origin}, tt.host, nil); !matches(err, tt.err) {
			t.Errorf("origin %q at %q: got the error %v, want %q", tt.origin, tt.host, err, tt.err)
		}
	}
	if err := checkOrigin(nil, "example.com", nil); err != nil {
		t.Errorf("no origin: %v", err)
	}
	if err := checkOrigin([]string{"http://example.com", "http://example.com"}, "example.com", nil); !matches(err, "several Origin headers") {
		t.Errorf("two origins: got the error %v", err)
	}
}

func TestOriginPatterns(t *testing.T) {
	const refused = "is not allowed for the host"
	tests := []struct {
		origin   string
		patterns []string
		err      string
	}{
		{"https://example.com", []string{"example.com"}, ""},
		{"http://EXAMPLE.com", []string{"Example.Com"}, ""},
		{"https://a.example.com", []string{"x", "*.example.com"}, ""},
		{"https://a.b.example.com", []string{"*.example.com"}, ""},
		{"https://example.com", []string{"*.example.com"}, refused},
		{"https://a.example.com", []string{"example.com"}, refused},
		{"https://a.example.com.evil.com", []string{"*.example.com"}, refused},
		{"https://evilexample.com", []string{"*.example.com", "example.com"}, refused},
		{"https://example.com:8080", []string{"example.com"}, refused},
		{"https://example.com:8080", []string{"example.com:8080"}, ""},
		{"https://example.com:8080", []string{"example.com:*"}, ""},
		{"https://example.com", []string{"https://example.com"}, ""},
		{"http://example.com", []string{"https://example.com"}, refused},
		{"HTTPS://example.com", []string{"https://*.com"}, ""},
		{"chrome-extension://abcdef", []string{"chrome-extension://abcdef"}, ""},
		{"file://", []string{"file://"}, ""},
		{"https://example.com/", []string{"example.com"}, ""},
		{"null", []string{"*", "n*", "nul[l]", "NULL", "*://*"}, `"null" is not allowed`},
		{"null", []string{"*.example.com", "null"}, ""},
		{"wss://a.example.com", []string{"https://*.example.com"}, ""},
		{"https://a.example.com", []string{"wss://*.example.com"}, ""},
		{"ws://a.example.com", []string{"https://*.example.com"}, refused},
		{"ws://a.example.com", []string{"HTTP://*.example.com"}, ""},
		{"ws://a.example.com", []string{"a.example.com"}, ""},
		{"https://x@example.com", []string{"*", "*://*"}, "is invalid"},
		{"https://example.com", []string{"*"}, ""},
		{"https://example.com", []string{""}, refused},
	}
	for _, tt := range tests {
		if err := checkOrigin([]string{tt.origin}, "own.example", tt.patterns); !matches(err, tt.err) {
			t.Errorf("origin %q with the patterns %q: got the error %v, want %q", tt.origin, tt.patterns, err, tt.err)
		}
	}
}

// FuzzOrigin checks that an origin passes only if a parser of URLs finds the request's host in it too.
func FuzzOrigin(f *testing.F) {
	f.Add("http://example.com", "example.com")
	f.Add("https://example.com:443", "EXAMPLE.com")
	f.Add("http://[::1]:8080", "[::1]:8080")
	f.Add("http://example.com@evil.com", "example.com")
	f.Add("http://[0]:1", "[0]:1")
	f.Add("wss://[fe80::1%25eth0]:443", "[fe80::1%25eth0]")
	f.Add("ws://[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]")
	f.Fuzz(func(t *testing.T, o, host string) {
		if isOriginOf(o, host) {
			if parsed, err := parseOrigin(o); err != nil || !parsed.matchesHost(host) {
				t.Fatalf("%q passes for %q unparsed, but not parsed: %v", o, host, err)
			}
		}
		if checkOrigin([]string{o}, host, nil) != nil {
			return
		}
		u, err := url.Parse(o)
		if err != nil {
			t.Fatalf("%q passes, but url.Parse says %v", o, err)
		}
		h, err := url.Parse(u.Scheme + "://" + host)
		if err != nil {
			t.Fatalf("%q passes at %q, but url.Parse says %v", o, host, err)
		}
		port := func(u *url.URL) string {
			if p := strings.TrimLeft(u.Port(), "0"); p != "" {
				return p
			}
			return map[string]string{"http": "80", "https": "443", "ws": "80", "wss": "443"}[u.Scheme]
		}
		if !strings.EqualFold(u.Hostname(), h.Hostname()) || port(u) != port(h) || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q passes at %q: %#v", o, host, u)
		}
	})
}

// request parses the text of a request, whose lines end in LF here.
func request(t testing.TB, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n"))))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return r
}

const goodRequest = `GET /chat HTTP/1.1
Host: example.com
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Version: 13
`

// edit replaces the line of text that begins with name, adds it if there is none, or takes it away if line is "".
func edit(text, name, line string) string {
	var b strings.Builder
	found := false
	for _, l := range strings.SplitAfter(text, "\n") {
		if strings.HasPrefix(l, name) {
			found = true
			if l = line; l != "" {
				l += "\n"
			}
		}
		b.WriteString(l)
	}
	if !found {
		b.WriteString(line + "\n")
	}
	return b.String()
}

func TestSubprotocolChoice(t *testing.T) {
	tests := []struct {
		server []string
		client string // header lines
		want   string
		status int
		err    string
	}{
		{nil, "", "", 0, ""},
		{[]string{"chat"}, "", "", 0, ""},
		{nil, "Sec-WebSocket-Protocol: chat", "", 0, ""},
		{[]string{"chat"}, "Sec-WebSocket-Protocol: chat", "chat", 0, ""},
		{[]string{"v2", "v1"}, "Sec-WebSocket-Protocol: v1, v2", "v2", 0, ""}, // the server's order
		{[]string{"v3", "v1"}, "Sec-WebSocket-Protocol: v1, v2", "v1", 0, ""},
		{[]string{"v3"}, "Sec-WebSocket-Protocol: v1\nSec-WebSocket-Protocol: v2, v3", "v3", 0, ""},
		{[]string{"Chat"}, "Sec-WebSocket-Protocol: chat", "", 0, ""},
		{[]string{"cha"}, "Sec-WebSocket-Protocol: chat", "", 0, ""},
		{nil, "Sec-WebSocket-Protocol: chat, chat", "", 400, `more than once: "chat"`},
		{nil, "Sec-WebSocket-Protocol: a b", "", 400, `"a b" is not a token`},
		{[]string{"chat"}, "Sec-WebSocket-Protocol:", "", 0, ""},
		{[]string{"a b"}, "", "", 500, `AcceptOptions.Subprotocols: "a b" is not a token`},
		{[]string{"a\r\nX: y"}, "", "", 500, "is not a token"},
		{[]string{""}, "", "", 500, `"" is not a token`},
		{[]string{"a", "b", "a"}, "", "", 500, `more than once: "a"`},
	}
	for _, tt := range tests {
		up, no := checkRequest(request(t, edit(goodRequest, "Sec-WebSocket-Protocol", tt.client)+"\n"), &AcceptOptions{Subprotocols: tt.server})
		status, err := 0, error(nil)
		if no != nil {
			status, err = no.status, no
		}
		if up.subprotocol != tt.want || status != tt.status || !matches(err, tt.err) {
			t.Errorf("server %q, client %q: got %q, %d %v, want %q, %d %q", tt.server, tt.client, up.subprotocol, status, err, tt.want, tt.status, tt.err)
		}
	}
}

func TestAppendResponse(t *testing.T) {
	up := upgrade{key: wstest.SampleKey, subprotocol: "chat", extensions: []extension{{"foo", []extensionParam{{"a", "1"}}}}}
	const want = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: foo; a=1\r\n\r\n"
	if got := string(appendResponse(nil, up, nil)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzResponse checks that no header of the application can change the response into another.
func FuzzResponse(f *testing.F) {
	for _, name := range []string{"Set-Cookie", "X-A\r\nX-B", "upgrade", "CONNECTION", "Sec-WebSocket-Accept", "sec-websocket-protocol", "Content-Length", "Transfer-encoding", "", "X:", " X"} {
		f.Add(name, "1", "chat")
	}
	f.Add("X-A", "a\r\nX-B: b", "")
	f.Add("X-A", "a\x00\x7f\n", "")
	f.Fuzz(func(t *testing.T, name, value, subprotocol string) {
		up := upgrade{key: wstest.SampleKey}
		if isToken(subprotocol) {
			up.subprotocol = subprotocol
		}
		b := appendResponse(nil, up, http.Header{name: {value}})
		br := bufio.NewReader(bytes.NewReader(b))
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if rest, _ := io.ReadAll(br); len(rest) > 0 || resp.ContentLength != 0 {
			t.Fatalf("%q: a body of %d bytes, %q behind it", b, resp.ContentLength, rest)
		}
		opts := &DialOptions{}
		if up.subprotocol != "" {
			opts.Subprotocols = []string{up.subprotocol}
		}
		if got, err := checkResponse(resp, opts, up.key, deflateConfig{}); err != nil || got.subprotocol != up.subprotocol {
			t.Fatalf("%q: got %v, %v", b, got, err)
		}
		for _, own := range []string{"Upgrade", "Connection", fieldAccept, fieldProtocol} {
			resp.Header.Del(own)
		}
		if len(resp.Header) > 1 || len(resp.Header) == 1 && resp.Header.Get(name) != strings.Trim(value, " \t") {
			t.Fatalf("%q: has the fields %v", b, resp.Header)
		}
	})
}

// FuzzRequest gives a server arbitrary requests: it must accept exactly those that a naive reading of the RFC allows.
func FuzzRequest(f *testing.F) {
	for _, lines := range []string{"", "Origin: http://example.com", "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: foo; a=1",
		"Connection: keep-alive", "Sec-WebSocket-Key: x", "Upgrade: h2c", "Content-Length: 3"} {
		f.Add("GET", "websocket", "Upgrade", wstest.SampleKey, "13", lines)
	}
	f.Fuzz(func(t *testing.T, method, up, connection, key, version, lines string) {
		text := method + " / HTTP/1.1\r\nHost: example.com\r\nUpgrade: " + up + "\r\nConnection: " + connection +
			"\r\nSec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Version: " + version + "\r\n" + lines + "\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		got, no := checkRequest(r, &AcceptOptions{})
		if no != nil {
			if no.status < 400 || no.status > 499 || no.reason == "" || strings.ContainsAny(no.reason, "\r\n") || len(no.reason) > 500 {
				t.Fatalf("%q: refused with %d %q", text, no.status, no.reason)
			}
			return
		}
		list := func(name string) string { return "," + strings.Join(r.Header[name], ",") + "," }
		for _, want := range []struct{ name, token string }{{"Upgrade", "websocket"}, {"Connection", "upgrade"}} {
			s := strings.NewReplacer(" ", "", "\t", "").Replace(list(want.name))
			if !strings.Contains(strings.ToLower(s), ","+want.token+",") {
				t.Fatalf("%q: accepted without %s", text, want.token)
			}
		}
		if r.Method != "GET" || len(r.Header[fieldKey]) != 1 || len(got.key) != 24 || !strings.HasSuffix(got.key, "==") ||
			fmt.Sprint(r.Header[fieldVersion]) != "[13]" || r.ContentLength != 0 || len(r.Header["Origin"]) > 1 {
			t.Fatalf("%q: accepted", text)
		}
	})
}

// Headers may be long. That it is read in linear time shows in that the test ends.
func TestAbsurdHeaders(t *testing.T) {
	const n = 1 << 18
	var distinct []string
	for i := range 30_000 {
		distinct = append(distinct, fmt.Sprint(i))
	}
	for name, value := range map[string]string{
		"commas":            strings.Repeat(",", n),
		"tokens":            strings.Join(distinct, ","),
		"the same token":    strings.Repeat("a,", n/2),
		"quotes":            `a;b="` + strings.Repeat(`\"`, n/2),
		"parameters":        "a" + strings.Repeat(";b", n/2),
		"quoted parameters": "a" + strings.Repeat(`;b="c"`, n/6),
		"long":              strings.Repeat("a", n),
		"spaces":            strings.Repeat(" ", n) + "a",
		"spaces inside":     "a" + strings.Repeat(" ;a", n/3) + strings.Repeat(" ", n) + "=",
		"stars":             "http://" + strings.Repeat("a", n),
	} {
		for _, field := range []string{"Upgrade", "Connection", fieldKey, fieldVersion, fieldProtocol, fieldExtensions, "Origin"} {
			r := request(t, goodRequest+"\n")
			r.Header[field] = []string{value, value}
			_, no := checkRequest(r, &AcceptOptions{Subprotocols: distinct[:20], OriginPatterns: []string{"*a*a*a*b"}})
			if no != nil && len(no.reason) > 500 {
				t.Errorf("%s in %s: a reason of %d bytes", name, field, len(no.reason))
			}
		}
	}
}

func TestRequestHeaderErrors(t *testing.T) {
	header := func(name, value string) *DialOptions { return &DialOptions{HTTPHeader: http.Header{name: {value}}} }
	tests := []struct {
		opts *DialOptions
		err  string
	}{
		{header("X-A", "a\r\nX-B: b"), "invalid value of X-A"},
		{header("X-A", "a\nb"), "invalid value of X-A"},
		{header("X-A", "a\rb"), "invalid value of X-A"},
		{header("X-A", "a\x00b"), "invalid value of X-A"},
		{header("X-A", "a\x7fb"), "invalid value of X-A"},
		{header("X-A", "a\tb \u00e4"), ""},
		{header("X-A\r\nX-B", "b"), "invalid name"},
		{header("X A", "b"), "invalid name"},
		{header("X-A:", "b"), "invalid name"},
		{header("", "b"), "invalid name"},
		{header("X-\u00c4", "b"), "invalid name"},
		{header("Upgrade", "websocket"), "Upgrade in HTTPHeader"},
		{header("upgrade", "websocket"), "upgrade in HTTPHeader"},
		{header("Connection", "close"), "Connection in HTTPHeader"},
		{header("Sec-WebSocket-Key", wstest.SampleKey), "Sec-WebSocket-Key in HTTPHeader"},
		{header("Sec-Websocket-Version", "13"), "Sec-Websocket-Version in HTTPHeader"},
		{header("SEC-WEBSOCKET-EXTENSIONS", "x"), "in HTTPHeader"},
		{header("Sec-WebSocket-Protocol", "chat"), "DialOptions.Subprotocols"},
		{header("Host", "example.com"), "DialOptions.Host"},
		{header("Sec-WebSocket", "x"), ""},
		{&DialOptions{Host: "example.com\r\nX-A: b"}, "DialOptions.Host"},
		{&DialOptions{Host: "exam ple.com"}, "DialOptions.Host"},
		{&DialOptions{Host: "example.com/x"}, "DialOptions.Host"},
		{&DialOptions{Host: "user@example.com"}, "DialOptions.Host"},
		{&DialOptions{Host: "example.com\x00"}, "DialOptions.Host"},
		{&DialOptions{Host: "[::1]:8080"}, ""},
		{&DialOptions{Host: "b\u00fccher.example"}, ""},
		{&DialOptions{Subprotocols: []string{"a", "b"}}, ""},
		{&DialOptions{Subprotocols: []string{"a b"}}, `Subprotocols: "a b" is not a token`},
		{&DialOptions{Subprotocols: []string{"a,b"}}, "is not a token"},
		{&DialOptions{Subprotocols: []string{"a\r\nX-B: b"}}, "is not a token"},
		{&DialOptions{Subprotocols: []string{""}}, "is not a token"},
		{&DialOptions{Subprotocols: []string{"a", "a"}}, `more than once: "a"`},
	}
	for _, tt := range tests {
		if _, err := requestHeader(tt.opts, wstest.SampleKey, nil); !matches(err, tt.err) {
			t.Errorf("%+v: got the error %v, want %q", tt.opts, err, tt.err)
		}
	}
}

func TestRequestHeader(t *testing.T) {
	opts := &DialOptions{HTTPHeader: http.Header{"X-A": {"1", "2"}}, Subprotocols: []string{"v2", "v1"}}
	got, err := requestHeader(opts, wstest.SampleKey, []extension{{"foo", []extensionParam{{"a", ""}}}})
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{}
	for name, value := range map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": wstest.SampleKey, "Sec-WebSocket-Protocol": "v2, v1", "Sec-WebSocket-Extensions": "foo; a"} {
		want.Set(name, value)
	}
	want["X-A"] = []string{"1", "2"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	got["X-A"][0] = "changed"
	if opts.HTTPHeader["X-A"][0] != "1" || len(opts.HTTPHeader) != 1 {
		t.Errorf("the caller's header has become %v", opts.HTTPHeader)
	}
}

func TestParseURL(t *testing.T) {
	tests := []struct{ raw, want, err string }{
		{"ws://example.com", "http://example.com", ""},
		{"wss://example.com/a?b=c", "https://example.com/a?b=c", ""},
		{"http://example.com:8080/%23", "http://example.com:8080/%23", ""},
		{"https://u:p@example.com/", "https://u:p@example.com/", ""},
		{"WS://example.com", "http://example.com", ""},
		{"ws://[::1]:8080/", "http://[::1]:8080/", ""},
		{"ws://example.com/#frag", "", "the URL has a fragment"},
		{"ws://example.com/#", "", "the URL has a fragment"},
		{"ftp://example.com", "", `scheme of the URL is "ftp"`},
		{"example.com", "", `scheme of the URL is ""`},
		{"//example.com", "", `scheme of the URL is ""`},
		{"", "", `scheme of the URL is ""`},
		{"ws:///path", "", "no host"},
		{"ws://:8080/path", "", "no host"},
		{"ws:opaque", "", "no host"},
		{"ws://example.com/\r\nX: y", "", "invalid URL"},
		{"ws://example.com:port/", "", "invalid URL"},
		{"ws://us er:secret@example.com/", "", "invalid URL"},
		{"ws://example.com/a b\u00e9", "http://example.com/a%20b%C3%A9", ""}, // a path is escaped
		{"ws://example.com/?a=%20b|{c}", "http://example.com/?a=%20b|{c}", ""},
		{"ws://example.com/?a HTTP/1.1", "", "the query of the URL"},
		{"ws://example.com/?a=\u00e9", "", "the query of the URL"},
	}
	for _, tt := range tests {
		u, err := parseURL(tt.raw)
		got := ""
		if err == nil {
			got = u.String()
		}
		if got != tt.want || !matches(err, tt.err) {
			t.Errorf("parseURL(%q): got %q, %v, want %q and the error %q", tt.raw, got, err, tt.want, tt.err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("parseURL(%q): the error tells the password: %v", tt.raw, err)
		}
	}
}

func TestCheckResponse(t *testing.T) {
	const good = "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n"
	tests := []struct {
		name, line string // replaces the line that begins with name
		offer      []string
		want       string
		err        string
	}{
		{"", "", nil, "", ""},
		{"HTTP/1.1", "HTTP/1.1 200 OK", nil, "", "status 200 OK, not 101"},
		{"HTTP/1.1", "HTTP/1.1 403 No", nil, "", "status 403 Forbidden, not 101"},
		{"Upgrade", "", nil, "", `Upgrade header of the response is not websocket: ""`},
		{"Upgrade", "Upgrade: WebSocket", nil, "", ""}, // "an ASCII case-insensitive match"
		{"Upgrade", "Upgrade: websockets", nil, "", "Upgrade header"},
		{"Upgrade", "Upgrade: h2c", nil, "", "Upgrade header"},
		{"Upgrade", "Upgrade: websocket, h2c", nil, "", "Upgrade header"},
		{"Upgrade", "Upgrade: websocket\nUpgrade: h2c", nil, "", "Upgrade header"},
		{"Connection", "", nil, "", "Connection header"},
		{"Connection", "Connection: keep-alive, upGrade", nil, "", ""}, // "a token that is an ASCII case-insensitive match"
		{"Connection", "Connection: keep-alive\nConnection: x,Upgrade", nil, "", ""},
		{"Connection", "Connection: notupgradeable", nil, "", "Connection header"},
		{"Connection", "Connection: close", nil, "", "says close"},
		{"Sec-WebSocket-Accept", "", nil, "", "no Sec-WebSocket-Accept"},
		{"Sec-WebSocket-Accept", "Sec-WebSocket-Accept:  s3pPLMBiTxaQ9kYGzzhZRbK+xOo= ", nil, "", ""}, // "ignoring any leading and trailing whitespace"
		{"Sec-WebSocket-Accept", "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", nil, "", "Sec-WebSocket-Accept header of the response is wrong"},
		{"Sec-WebSocket-Accept", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo", nil, "", "is wrong"},
		{"Sec-WebSocket-Accept", "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==", nil, "", "is wrong"},
		{"Sec-WebSocket-Accept", "Sec-WebSocket-Accept:", nil, "", "is wrong"},
		{"Sec-WebSocket-Accept", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", nil, "", "is wrong"}, // section 11.3.3
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: v1", []string{"v2", "v1"}, "v1", ""},
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: v1", nil, "", `subprotocol "v1", which was not offered`},
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: v3", []string{"v2", "v1"}, "", "was not offered"},
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: V1", []string{"v1"}, "", "was not offered"},
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: v1, v2", []string{"v2", "v1"}, "", "was not offered"},
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: v1\nSec-WebSocket-Protocol: v2", []string{"v2", "v1"}, "", "more than once"},
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol:", []string{"v1"}, "", ""}, // an empty field says nothing
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol:", nil, "", ""},
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: \nSec-WebSocket-Protocol:", nil, "", ""},
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol:\nSec-WebSocket-Protocol: v1", []string{"v1"}, "", "more than once"},
		{"Sec-WebSocket-Protocol", "", []string{"v1"}, "", ""}, // a server may choose none
		{"Sec-WebSocket-Extensions", "Sec-WebSocket-Extensions: foo", nil, "", `extension "foo", which was not offered`},
		{"Sec-WebSocket-Extensions", "Sec-WebSocket-Extensions: permessage-deflate; x=1", nil, "", `extension "permessage-deflate", which was not offered`},
		{"Sec-WebSocket-Extensions", "Sec-WebSocket-Extensions: foo;", nil, "", "invalid Sec-WebSocket-Extensions"},
		{"Sec-WebSocket-Extensions", "Sec-WebSocket-Extensions:", nil, "", ""}, // an empty field says nothing
		{"Sec-WebSocket-Extensions", "Sec-WebSocket-Extensions: ,", nil, "", ""},
		{"Connection", "Connection: close, Upgrade", nil, "", "says close: net/http has closed the connection"},
		{"Connection", "Connection: Upgrade\nConnection: Close", nil, "", "says close"},
	}
	for _, tt := range tests {
		text := good
		if tt.name != "" {
			text = edit(good, tt.name, tt.line)
		}
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n")+"\r\n")), nil)
		if err != nil {
			t.Fatalf("%q: %v", tt.line, err)
		}
		up, err := checkResponse(resp, &DialOptions{Subprotocols: tt.offer}, wstest.SampleKey, deflateConfig{})
		if !matches(err, tt.err) || up.subprotocol != tt.want {
			t.Errorf("%s -> %q, offer %q: got %q, %v, want %q and the error %q", tt.name, tt.line, tt.offer, up.subprotocol, err, tt.want, tt.err)
		}
	}
}

func TestCheckExtensions(t *testing.T) {
	list := func(s string) []extension {
		exts, _ := parseExtensions([]string{s})
		return exts
	}
	for _, tt := range []struct{ agreed, offered, err string }{
		{"", "", ""},
		{"", "a, b", ""},
		{"b; x=1", "a, b", ""},
		{"b, a", "a, b", ""},
		{"a, c", "a, b", `extension "c", which was not offered`},
		{"c", "", `extension "c", which was not offered`},
	} {
		if err := checkExtensions(list(tt.agreed), list(tt.offered)); !matches(err, tt.err) {
			t.Errorf("%q of %q: got the error %v, want %q", tt.agreed, tt.offered, err, tt.err)
		}
	}
}
