package websocket

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket/internal/field"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

var foldedLine = regexp.MustCompile(`\n[ \t]`)

// naiveRequest parses with net/http, and then refuses what a server of net/http
// refuses, what is folded, and repeated lengths. It returns the length of the
// request too.
func naiveRequest(data []byte) (r *http.Request, n int, ok bool) {
	from := bytes.NewReader(data)
	br := bufio.NewReaderSize(from, 1<<20)
	r, err := http.ReadRequest(br)
	if err != nil {
		return nil, 0, false
	}
	n = len(data) - from.Len() - br.Buffered()
	head := string(data[:n])
	for name, values := range r.Header {
		for _, v := range values {
			if !field.ValidValue(v) {
				return nil, 0, false
			}
		}
		if !field.IsToken(name) {
			return nil, 0, false
		}
	}
	hosts := regexp.MustCompile(`(?i)\nhost:[ \t]*(.*?)[ \t]*\r?\n`).FindAllStringSubmatch(head, -1)
	lengths := regexp.MustCompile(`(?i)\ncontent-length:`).FindAllString(head, -1)
	switch {
	case foldedLine.MatchString(head), len(hosts) > 1, len(lengths) > 1:
		return nil, 0, false
	case len(hosts) == 0 && r.ProtoMajor == 1 && r.ProtoMinor > 0:
		return nil, 0, false
	case len(hosts) == 1 && regexp.MustCompile(`[^-0-9A-Za-z!$%&()*+,.:;=\[\]'_~]`).MatchString(hosts[0][1]):
		return nil, 0, false
	}
	return r, n, true
}

// parseRequest finds the end of a request where net/http does, accepts what a
// server of net/http accepts, and reads the same out of it.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(wstest.Request("/", "example.com")))
	f.Add([]byte("GET / HTTP/1.1\nHost: a\n\nrest"))
	f.Add([]byte("\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n \r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n"))
	f.Add([]byte("GET http://b/c?d HTTP/1.1\r\nHost: a\r\nx: 1\r\nX: 2\r\nX:3\t\r\n\r\n"))
	f.Add([]byte("CONNECT b:443 HTTP/1.1\r\nHost: a\r\nCookie: a=b; c\r\nsec-websocket-key: \x80\r\n\r\n"))
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a/b\r\nPragma: no-cache\r\nConnection: close\r\n\r\n"))
	f.Add([]byte(strings.Repeat("\x83", 1000) + "\n\n")) // each byte takes four in the error
	f.Fuzz(func(t *testing.T, data []byte) {
		want, n, ok := naiveRequest(data)
		end := headEnd(data)
		if end == 0 {
			if ok {
				t.Fatalf("%q: the end is not found", data)
			}
			return
		}
		r := new(http.Request)
		err := parseRequest(r, data[:end])
		if r.ContentLength < 0 {
			return // net/http knows one transfer encoding, in HTTP/1.1; AcceptConn refuses each body
		}
		if (err == nil) != ok {
			t.Fatalf("%q: got %v, want %v", data, err, ok)
		}
		if err != nil {
			if limit := 64 + len(field.Quote(strings.Repeat("\x80", len(data)))); len(err.Error()) > limit {
				t.Errorf("%q: the error is longer than %d bytes: %v", data, limit, err)
			}
			return
		}
		if want.Method == "PRI" {
			return // net/http says that there is a body: the preface of HTTP/2
		}
		if end != n {
			t.Errorf("%q: the rest is %q, want %q", data, data[end:], data[n:])
		}
		if want.Header.Get("Pragma") == "no-cache" && r.Header["Cache-Control"] == nil {
			delete(want.Header, "Cache-Control") // net/http has set it
		}
		if r.Method != want.Method || r.ContentLength != want.ContentLength || r.RequestURI != want.RequestURI || r.Host != want.Host || r.Proto != want.Proto ||
			r.ProtoMajor != want.ProtoMajor || r.ProtoMinor != want.ProtoMinor ||
			!reflect.DeepEqual(r.Header, want.Header) || !reflect.DeepEqual(r.URL, want.URL) {
			t.Errorf("%q: got  %+v\nwant %+v", data, r, want)
		}
	})
}

// The values of a field share no memory with those of the next one.
func TestParseRequestFields(t *testing.T) {
	r := new(http.Request)
	if err := parseRequest(r, []byte("GET / HTTP/1.1\r\nHost: a\r\nB: 1\r\nC: 2\r\nb: 3\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	r.Header.Add("B", "4")
	r.Header.Add("C", "5")
	if want := (http.Header{"B": {"1", "3", "4"}, "C": {"2", "5"}}); !reflect.DeepEqual(r.Header, want) {
		t.Errorf("got %v, want %v", r.Header, want)
	}
	if body, err := io.ReadAll(r.Body); len(body) > 0 || err != nil || r.Context() != context.Background() {
		t.Errorf("the body is %q, %v; the context %v", body, err, r.Context())
	}
}

var benchmarkHead = []byte(wstest.Request("/chat", "example.com", "Origin: https://example.com", "User-Agent: "+strings.Repeat("x", 80),
	"Accept-Encoding: gzip, deflate, br", "Accept-Language: en", "Cache-Control: no-cache", "Pragma: no-cache",
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))

func BenchmarkParseRequest(b *testing.B) {
	b.Run("here", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := parseRequest(new(http.Request), benchmarkHead); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("net/http", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(benchmarkHead))); err != nil {
				b.Fatal(err)
			}
		}
	})
}
