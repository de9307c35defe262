package field

import (
	"net/url"
	"strings"
	"testing"
)

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
		// Texts that a parser of URLs may take for the host.
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
		// Origins of programs that put the scheme of their URL there.
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
		if err := CheckOrigin([]string{tt.origin}, tt.host, nil); !matches(err, tt.err) {
			t.Errorf("origin %q at %q: got the error %v, want %q", tt.origin, tt.host, err, tt.err)
		}
	}
	if err := CheckOrigin(nil, "example.com", nil); err != nil {
		t.Errorf("no origin: %v", err)
	}
	if err := CheckOrigin([]string{"http://example.com", "http://example.com"}, "example.com", nil); !matches(err, "several Origin headers") {
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
		{"file://", []string{""}, refused}, // what an unset variable, split at its commas, yields
		{"file://", []string{"*"}, ""},
	}
	for _, tt := range tests {
		if err := CheckOrigin([]string{tt.origin}, "own.example", tt.patterns); !matches(err, tt.err) {
			t.Errorf("origin %q with the patterns %q: got the error %v, want %q", tt.origin, tt.patterns, err, tt.err)
		}
	}
}

func TestCheckPatterns(t *testing.T) {
	for pattern, want := range map[string]string{
		"example.com": "", "*.example.com:*": "", "https://[a-c].example.com": "", "HTTPS://Example.com": "", "null": "", "": "",
		"[\\[]::1]:8080": "", "file://": "", `\*.example.com`: "", "[^a]": "",
		"[a":                     "syntax error",
		"https://example.com/":   "no path",
		"example.com/x":          "no path",
		" example.com":           `has the character ' '`,
		"a.example.com,b.com":    `has the character ','`,
		"example.com\t":          `has the character '\t'`,
		"https://b\u00fccher.de": `has the character 'ü': browsers write`,
		"b\u00fccher.de":         `has the character 'ü': browsers write`,
	} {
		if err := CheckPatterns([]string{"good.example", pattern}); !matches(err, want) {
			t.Errorf("%q: got the error %v, want %q", pattern, err, want)
		}
	}
}

// FuzzOrigin checks that an origin passes only if a parser of URLs finds the
// request's host in it too.
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
		if CheckOrigin([]string{o}, host, nil) != nil {
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
