package websocket

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Cross-site hijacking, over HTTP: a page of another site must not get a connection, by whatever its origin looks
// like. Many more spellings are in TestCheckOrigin and TestOriginPatterns.
func TestHostileOrigin(t *testing.T) {
	const host = "example.com"
	pattern := []string{"*.example.org", "https://app.example.net:8443"}
	for _, test := range []struct {
		class    string
		lines    []string
		patterns []string
		ok       bool
	}{
		{"same", []string{"Origin: https://example.com"}, nil, true},
		{"missing", nil, nil, true}, // no browser's page
		{"missing, patterns", nil, pattern, true},
		{"missing, but there is a Referer", []string{"Referer: https://evil.example/"}, nil, true},
		{"null", []string{"Origin: null"}, nil, false},
		{"null, other patterns", []string{"Origin: null"}, []string{"*", "n*", "nul?"}, false},
		{"null, its own pattern", []string{"Origin: null"}, []string{"null"}, true},
		{"the scheme of WebSocket, another host", []string{"Origin: wss://evil.example"}, nil, false},
		{"empty", []string{"Origin:"}, nil, false},
		{"another", []string{"Origin: https://evil.example"}, nil, false},
		{"several, the first is good", []string{"Origin: https://example.com", "Origin: https://evil.example"}, nil, false},
		{"several, the last is good", []string{"Origin: https://evil.example", "Origin: https://example.com"}, nil, false},
		{"several in one", []string{"Origin: https://example.com https://evil.example"}, nil, false},
		{"several in one, with a comma", []string{"Origin: https://example.com, https://evil.example"}, nil, false},
		{"suffix", []string{"Origin: https://evilexample.com"}, nil, false},
		{"prefix", []string{"Origin: https://example.com.evil.example"}, nil, false},
		{"subdomain", []string{"Origin: https://evil.example.com"}, nil, false},
		{"parent", []string{"Origin: https://com"}, nil, false},
		{"userinfo", []string{"Origin: https://example.com@evil.example"}, nil, false},
		{"userinfo with a port", []string{"Origin: https://example.com:443@evil.example"}, nil, false},
		{"userinfo of the host", []string{"Origin: https://evil.example@example.com"}, nil, false},
		{"path", []string{"Origin: https://evil.example/example.com"}, nil, false},
		{"path of the host", []string{"Origin: https://example.com/evil"}, nil, false},
		{"query", []string{"Origin: https://evil.example?example.com"}, nil, false},
		{"fragment", []string{"Origin: https://evil.example#example.com"}, nil, false},
		{"backslash", []string{`Origin: https://evil.example\example.com`}, nil, false},
		{"another port", []string{"Origin: https://example.com:8443"}, nil, false},
		{"port of the other scheme", []string{"Origin: http://example.com:443"}, nil, false},
		{"default port", []string{"Origin: https://example.com:443"}, nil, true},
		{"port modulo 2^16", []string{"Origin: https://example.com:65979"}, nil, false},
		{"scheme", []string{"Origin: ftp://example.com"}, nil, false},
		{"extension", []string{"Origin: chrome-extension://example.com"}, nil, false},
		{"file", []string{"Origin: file://example.com"}, nil, false},
		{"no scheme", []string{"Origin: example.com"}, nil, false},
		{"case", []string{"Origin: HTTPS://EXAMPLE.com"}, nil, true},
		{"dot at the end", []string{"Origin: https://example.com."}, nil, false},
		{"IDN that folds to ASCII", []string{"Origin: https://example.co\u217f"}, nil, false},
		{"IDN of a letter that looks alike", []string{"Origin: https://ex\u0430mple.com"}, nil, false},
		{"punycode of another", []string{"Origin: https://xn--exmple-4nf.com"}, nil, false},
		{"percent", []string{"Origin: https://example%2ecom"}, nil, false},
		{"a forwarded host is nobody's word", []string{"Origin: https://evil.example", "X-Forwarded-Host: evil.example",
			"Forwarded: host=evil.example", "X-Original-Host: evil.example"}, nil, false},
		{"the field of old drafts", []string{"Sec-WebSocket-Origin: https://example.com", "Origin: https://evil.example"}, nil, false},
		{"pattern", []string{"Origin: https://a.example.org"}, pattern, true},
		{"pattern, apex", []string{"Origin: https://example.org"}, pattern, false},
		{"pattern, suffix", []string{"Origin: https://evilexample.org"}, pattern, false},
		{"pattern, prefix", []string{"Origin: https://a.example.org.evil.example"}, pattern, false},
		{"pattern, userinfo", []string{"Origin: https://a.example.org@evil.example"}, pattern, false},
		{"pattern, path", []string{"Origin: https://evil.example/a.example.org"}, pattern, false},
		{"pattern, port", []string{"Origin: https://a.example.org:8080"}, pattern, false},
		{"pattern, scheme", []string{"Origin: http://app.example.net:8443"}, pattern, false},
		{"pattern, scheme and port", []string{"Origin: https://app.example.net:8443"}, pattern, true},
		{"pattern, no origin's own", []string{"Origin: https://"}, []string{"*"}, false},
	} {
		t.Run(test.class, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var served atomic.Int64
				dial, stop := serveOn(t, &http.Server{Handler: Handler(func(*Conn, *http.Request) { served.Add(1) },
					&AcceptOptions{OriginPatterns: test.patterns})})
				resp, body := exchange(t, dial(), wstest.Request("/", host, test.lines...))
				stop()
				switch {
				case resp == nil:
					t.Error("there is no response")
				case test.ok:
					if resp.StatusCode != 101 || served.Load() != 1 {
						t.Errorf("got %v, %q, served %d times", resp.Status, body, served.Load())
					}
				case resp.StatusCode != 403 || served.Load() != 0 || !resp.Close || strings.Contains(body, "<"):
					t.Errorf("got %v, %q, close %v, served %d times; want 403", resp.Status, body, resp.Close, served.Load())
				}
			})
		})
	}
}
