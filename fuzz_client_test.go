package websocket

import (
	"bufio"
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A URL that Dial takes makes a request that is one, for the target that the URL names: nothing of it gets out of its
// place.
func FuzzURL(f *testing.F) {
	for _, s := range []string{
		"ws://example.com/", "wss://user:pass@example.com:8443/a/b?c=d", "http://[::1]:80",
		"ws://example.com/ HTTP/1.1\r\nX: y",
		"ws://exa\r\nmple.com/", "ws://example.com/?a b", "ws://example.com/?\x00", "ws://example.com#x",
		"ws://example.com/%0d%0aX:y",
		"ws:example.com", "ws://",
		"//example.com", "ws://example.com:port/", "ws://\u00e9xample.com/\u00e9?\u00e9",
		"ws://example.com?", "ws://[fe80::1%25eth0]/", "ws://example.com/%zz", "ws://a@b@c/",
		"ws://example.com\\@evil.example/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := parseURL(raw)
		if err != nil {
			if s := err.Error(); u != nil || strings.ContainsAny(s, "\r\n\x00") {
				t.Errorf("%q: %v, %q", raw, u, s)
			}
			return
		}
		var b bytes.Buffer
		req := &http.Request{Method: "GET", URL: u, Header: http.Header{}, Host: ""}
		if err := req.Write(&b); err != nil {
			return // net/http refuses it
		}
		got, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b.Bytes())))
		if err != nil {
			t.Fatalf("%q makes a request that is none: %q: %v", raw, b.Bytes(), err)
		}
		if got.RequestURI != u.RequestURI() || len(got.Header) > 2 || bytes.Count(b.Bytes(), []byte("\r\n\r\n")) != 1 {
			t.Errorf("%q makes %q, want the target %q", raw, b.Bytes(), u.RequestURI())
		}
	})
}

// No Retry-After makes a wait that is negative, and a number is one of seconds.
func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", " 5 ", "-1", "+1", "1.5", "9223372036", "9223372037",
		"99999999999999999999",
		"Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 9999 07:28:00 GMT", "Wed, 21 Oct 0000 07:28:00 GMT"} {
		f.Add(s, "", int64(0))
		f.Add(s, "Wed, 21 Oct 2015 07:27:00 GMT", int64(1<<40))
	}
	f.Fuzz(func(t *testing.T, value, date string, now int64) {
		h := http.Header{"Retry-After": {value}, "Date": {date}}
		at := time.Unix(now%(1<<36), 0)
		got := parseRetryAfter(h, at)
		if got < 0 {
			t.Errorf("%q, %q at %v: %v", value, date, at, got)
		}
		seconds := strings.Trim(value, " \t")
		if n, err := strconv.ParseUint(seconds, 10, 33); err == nil && got != time.Duration(n)*time.Second {
			t.Errorf("%q: %v", value, got)
		}
	})
}
