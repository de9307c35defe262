package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/faultconn"
	"github.com/seed70bc5565/websocket/internal/field"
	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/poison"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

func TestAcceptKey(t *testing.T) {
	// The example of section 1.3.
	if got, want := string(appendAccept([]byte("x"), "dGhlIHNhbXBsZSBub25jZQ==")), "xs3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
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
	up := upgrade{key: wstest.SampleKey, subprotocol: "chat", extensions: []field.Extension{{Name: "foo", Params: []field.Param{{Name: "a", Value: "1"}}}}}
	const want = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: foo; a=1\r\n\r\n"
	if got := string(appendResponse(nil, &up, nil)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzResponse checks that no header of the application can change the response
// into another.
func FuzzResponse(f *testing.F) {
	for _, name := range []string{"Set-Cookie", "X-A\r\nX-B", "upgrade", "CONNECTION", "Sec-WebSocket-Accept", "sec-websocket-protocol", "Content-Length", "Transfer-encoding", "", "X:", " X"} {
		f.Add(name, "1", "chat")
	}
	f.Add("X-A", "a\r\nX-B: b", "")
	f.Add("X-A", "a\x00\x7f\n", "")
	f.Fuzz(func(t *testing.T, name, value, subprotocol string) {
		up := upgrade{key: wstest.SampleKey}
		if field.IsToken(subprotocol) {
			up.subprotocol = subprotocol
		}
		b := appendResponse(nil, &up, http.Header{name: {value}})
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

// FuzzRequest gives a server arbitrary requests: it must accept exactly those
// that a naive reading of the RFC allows.
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

// Headers may be long. That it is read in linear time shows in that the test
// ends.
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
	got, err := requestHeader(opts, wstest.SampleKey, []field.Extension{{Name: "foo", Params: []field.Param{{Name: "a", Value: ""}}}})
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
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol:\nSec-WebSocket-Protocol: v1", []string{"v1"}, "v1", ""},
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: v1\nSec-WebSocket-Protocol: ", []string{"v1"}, "v1", ""},
		{"Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: v1\nSec-WebSocket-Protocol: v1", []string{"v1"}, "", "more than once"},
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
	list := func(s string) []field.Extension {
		exts, _ := field.ParseExtensions([]string{s})
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

// The opening handshake among the other things that HTTP does.

// "The nonce MUST be selected randomly for each connection" (section 4.1): the
// request that follows a redirect has one of its own.
func TestRedirectHasItsOwnKey(t *testing.T) {
	var keys []string
	mux := http.NewServeMux()
	mux.HandleFunc("/a", func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Sec-WebSocket-Key"))
		http.Redirect(w, r, "/b", http.StatusFound)
	})
	mux.HandleFunc("/b", func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Sec-WebSocket-Key"))
		http.Redirect(w, r, "/c", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/c", func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Sec-WebSocket-Key"))
		if c, err := Accept(w, r, nil); err == nil {
			serveEcho(c, r)
		}
	})
	s := newServer(t, mux, false)
	c, _, err := Dial(t.Context(), wsURL(s)+"/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	checkEcho(t, c)
	if len(keys) != 3 || !validKey(keys[1]) || keys[0] == keys[1] || keys[1] == keys[2] || keys[0] == keys[2] {
		t.Errorf("the keys are %q", keys)
	}
}

// A client that dials wss is not led to ws, unless the HTTP client's own
// CheckRedirect says so. Headers that are secrets would go with the request.
func TestRedirectFromSecure(t *testing.T) {
	asked := 0
	plain := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if c, err := Accept(w, r, nil); err == nil {
			serveEcho(c, r)
		}
	}), false)
	for _, target := range []string{plain.URL, wsURL(plain)} {
		secure := newServer(t, http.RedirectHandler(target, http.StatusFound), true)
		client := secure.Client()
		_, resp, err := Dial(t.Context(), wsURL(secure), &DialOptions{HTTPClient: client})
		if !matches(err, "redirect from wss to ws") || asked != 0 || resp == nil || resp.StatusCode != 302 {
			t.Errorf("%s: got %v, %v, and %d requests", target, resp, err, asked)
		}
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
		c, _, err := Dial(t.Context(), wsURL(secure), &DialOptions{HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		checkEcho(t, c)
		asked = 0
	}
}

// A connection that has served other requests is upgraded. Then it knows
// nothing of the timeouts that the HTTP server and the HTTP client have for
// connections.
func TestUpgradeOfUsedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipeListener{Conns: make(chan net.Conn), Closed: make(chan struct{})}
		handler := Handler(serveEcho, &AcceptOptions{PingInterval: -1}) // the client does not read for hours
		server := &http.Server{
			ReadTimeout: time.Second, ReadHeaderTimeout: time.Second, WriteTimeout: time.Second, IdleTimeout: 10 * time.Second,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/ws" {
					handler.ServeHTTP(w, r)
					return
				}
				io.WriteString(w, "page")
			}),
		}
		go server.Serve(l)
		defer server.Close()
		tr := &http.Transport{DialContext: l.Dial, IdleConnTimeout: time.Second, ResponseHeaderTimeout: time.Second}
		client := &http.Client{Transport: tr, Timeout: time.Second}
		for range 3 { // the HTTP client keeps connections that may be upgraded apart from those of other requests
			if _, resp, err := Dial(t.Context(), "ws://example.com/", &DialOptions{HTTPClient: client}); resp == nil || resp.StatusCode != 200 || err == nil {
				t.Fatalf("got %v, %v", resp, err)
			}
			synctest.Wait() // until the connection is idle
		}
		reused := false
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }})
		cfg, _, err := dial(ctx, "ws://example.com/ws", &DialOptions{HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		if _, through := cfg.transport.(*bodyConn); through || !reused {
			t.Errorf("the transport is a %T, reused %v", cfg.transport, reused)
		}
		c := newConn(cfg)
		for range 3 {
			time.Sleep(time.Hour)
			if err := c.Write(t.Context(), MessageText, []byte("still there?")); err != nil {
				t.Fatal(err)
			}
			if _, got, err := c.Read(t.Context()); err != nil || string(got) != "still there?" {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		checkEcho(t, c)
	})
}

// A connection that serves a page, then an upgrade with frames right behind it.
func TestUpgradeAfterPage(t *testing.T) {
	h := Handler(serveEcho, nil)
	conn := rawServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			h.ServeHTTP(w, r)
		}
	})
	frame := wstest.Encode(wstest.Client, wstest.Final(wstest.Text, "early"))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"+wstest.Request("/ws", "example.com")+string(frame))
	br := bufio.NewReader(conn)
	for _, status := range []int{200, 101} {
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != status {
			t.Fatalf("got %v, %v, want %d", resp, err, status)
		}
	}
	got := make([]byte, 7)
	if _, err := io.ReadFull(br, got); err != nil || string(got) != "\x81\x05early" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Through a reverse proxy, over HTTP and HTTPS.
func TestReverseProxy(t *testing.T) {
	backend := newServer(t, Handler(serveEcho, &AcceptOptions{Subprotocols: []string{"v1"}}), false)
	target, _ := url.Parse(backend.URL)
	for _, secure := range []bool{false, true} {
		proxy := newServer(t, &httputil.ReverseProxy{ErrorLog: discardLog, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}, secure)
		c, _, err := Dial(t.Context(), wsURL(proxy), &DialOptions{HTTPClient: proxy.Client(), Subprotocols: []string{"v1"}})
		if err != nil {
			t.Fatal(err)
		}
		if c.Subprotocol() != "v1" {
			t.Errorf("the subprotocol is %q", c.Subprotocol())
		}
		checkEcho(t, c)
		_, resp, err := Dial(t.Context(), wsURL(proxy), &DialOptions{HTTPClient: proxy.Client(), HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
		if resp == nil || resp.StatusCode != 403 || err == nil {
			t.Errorf("a refusal through the proxy: %v, %v", resp, err)
		}
	}
}

// HTTP/2 has no Upgrade: a server says so, and a client that can speak nothing
// else says so.
func TestHTTP2(t *testing.T) {
	s := newServer(t, Handler(func(*Conn, *http.Request) { t.Error("serve was called") }, nil), true)
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != 426 || !reflect.DeepEqual(resp.Header["Sec-Websocket-Version"], []string{"13"}) {
		t.Errorf("got %v", resp)
	}
	h2 := new(http.Protocols)
	h2.SetUnencryptedHTTP2(true)
	plain := httptest.NewUnstartedServer(s.Config.Handler)
	plain.Config.Protocols = h2
	plain.Start()
	defer plain.Close()
	tr := &http.Transport{Protocols: h2}
	defer tr.CloseIdleConnections()
	if c, _, err := Dial(t.Context(), plain.URL, &DialOptions{HTTPClient: &http.Client{Transport: tr}}); c != nil || !matches(err, "websocket: dial: ") {
		t.Errorf("got %v, %v", c, err)
	}
}

// Whatever is wrong with the response, its connection is closed, at once. A 101
// ends with its header, whatever that says of a body.
func TestWrongResponseOverHTTP(t *testing.T) {
	for _, tt := range []struct{ name, line, err string }{
		{"Upgrade", "", "the Upgrade header"},
		{"Upgrade", "Upgrade: h2c", "the Upgrade header"},
		{"Connection", "", "the Connection header"},
		{"Connection", "Connection: close", "the Connection header"},
		{"Connection", "Connection: keep-alive", "the Connection header"},
		{"Sec-WebSocket-Accept", "", "no Sec-WebSocket-Accept"},
		{"Sec-WebSocket-Accept", "Sec-WebSocket-Accept: x", "the Sec-WebSocket-Accept header of the response is wrong"},
		{"Upgrade", "Upgrade: websocket\nSec-WebSocket-Protocol: v1", `the subprotocol "v1"`},
		{"Upgrade", "Upgrade: websocket\nSec-WebSocket-Extensions: permessage-deflate", `the extension "permessage-deflate"`},
		{"HTTP/1.1", "HTTP/1.0 200 OK\nContent-Length: 0", "status 200 OK, not 101"},
		{"HTTP/1.1", "RTSP/1.0 101 Switching Protocols", "malformed HTTP version"},
		{"Upgrade", "Upgrade: websocket\nContent-Length: 1", ""},
		{"Upgrade", "Upgrade: websocket\nTransfer-Encoding: chunked", ""},
		{"HTTP/1.1", "HTTP/1.1 103 Early Hints\n\nHTTP/1.1 101 Switching Protocols", ""},
	} {
		t.Run(tt.name+" as "+tt.line, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := pipeServer(t, asIs, func(p *wstest.Peer) {
					key := p.ReadRequest().Header.Get("Sec-WebSocket-Key")
					text := edit(strings.ReplaceAll(wstest.Response(key), "\r\n", "\n"), tt.name, tt.line)
					p.WriteRaw([]byte(strings.ReplaceAll(text, "\n", "\r\n") + "\x81\x01x"))
					p.WantEnd()
				})
				start := time.Now()
				c, _, err := Dial(t.Context(), "ws://example.com/", &DialOptions{HTTPClient: client})
				if !matches(err, tt.err) || time.Since(start) > 0 {
					t.Errorf("got the error %v after %v, want %q", err, time.Since(start), tt.err)
				}
				if c == nil {
					return
				}
				if _, got, err := c.Read(t.Context()); err != nil || string(got) != "x" {
					t.Errorf("got %q, %v", got, err)
				}
				c.CloseNow()
			})
		})
	}
}

// A hookContext never ends, though it could. It counts what waits for its end.
type hookContext struct {
	context.Context
	done  chan struct{}
	hooks map[*int]bool
}

func (c hookContext) Done() <-chan struct{} { return c.done }

func (c hookContext) AfterFunc(func()) (stop func() bool) {
	hook := new(int)
	c.hooks[hook] = true
	return func() bool {
		delete(c.hooks, hook)
		return true
	}
}

// However Dial ends, nothing of it stays on the context of the caller, who may
// use the same one for ever.
func TestDialLeavesContext(t *testing.T) {
	s := newServer(t, Handler(serveEcho, nil), false)
	for _, timeout := range []time.Duration{0, time.Minute} {
		for name, opts := range map[string]*DialOptions{
			"success":      {},
			"refusal":      {HTTPHeader: http.Header{"Origin": {"null"}}},
			"no transport": {HTTPClient: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, io.EOF })}},
		} {
			if opts.HTTPClient == nil {
				opts.HTTPClient = &http.Client{}
			}
			opts.HTTPClient.Timeout = timeout
			ctx := hookContext{context.Background(), make(chan struct{}), map[*int]bool{}}
			c, _, err := Dial(ctx, s.URL, opts)
			if len(ctx.hooks) != 0 || (err == nil) != (name == "success") {
				t.Errorf("%s, timeout %v: %d hooks on the context, %v", name, timeout, len(ctx.hooks), err)
			}
			if c != nil {
				c.CloseNow()
			}
		}
	}
}

// A body that cannot be written is closed.
func TestUnwritableBodyIsClosed(t *testing.T) {
	near, far := netfake.Pipe(netfake.Options{})
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(wstest.Response(r.Header.Get("Sec-WebSocket-Key")))), r)
		resp.Body = struct{ io.ReadCloser }{near}
		return resp, err
	})}
	if _, _, err := Dial(t.Context(), "ws://example.com", &DialOptions{HTTPClient: client}); !matches(err, "it cannot be written") {
		t.Errorf("got the error %v", err)
	}
	wstest.NewPeer(t, far, wstest.Server).WantEnd()
}

// The names of the handshake's fields are sent as RFC 6455 spells them, in the
// request that follows a redirect too.
func TestDialSpelling(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS ", secure), func(t *testing.T) {
			s := httptest.NewUnstartedServer(nil)
			if secure {
				s.StartTLS() // for its certificate
			}
			defer s.Close()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if secure {
				l = tls.NewListener(l, s.TLS)
			}
			defer l.Close()
			scheme := map[bool]string{false: "ws", true: "wss"}[secure]
			heads := make(chan string, 3)
			go func() {
				for _, answer := range []string{
					"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
					"HTTP/1.1 307 See\r\nLocation: " + scheme + "://" + l.Addr().String() + "/c\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
					"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
				} {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					heads <- wstest.NewPeer(t, conn, wstest.Server).ReadHead()
					io.WriteString(conn, answer)
					conn.Close()
				}
			}()
			Dial(t.Context(), scheme+"://"+l.Addr().String()+"/a", &DialOptions{
				HTTPClient: s.Client(), Subprotocols: []string{"v1"}, CompressionMode: CompressionContextTakeover,
			})
			for i := range 3 {
				head := <-heads
				for _, name := range []string{"Key", "Version", "Protocol", "Extensions"} {
					if strings.Count(head, "\r\nSec-WebSocket-"+name+": ") != 1 {
						t.Errorf("request %d has not one Sec-WebSocket-%s:\n%s", i, name, head)
					}
				}
				if strings.Contains(head, "Sec-Websocket-") {
					t.Errorf("request %d:\n%s", i, head)
				}
			}
		})
	}
}

func TestAcceptSpelling(t *testing.T) {
	opts := &AcceptOptions{Subprotocols: []string{"v1"}, CompressionMode: CompressionContextTakeover}
	for _, tt := range []struct {
		request string
		fields  []string
	}{
		{wstest.Request("/", "example.com", "Sec-WebSocket-Protocol: v1", "Sec-WebSocket-Extensions: permessage-deflate"),
			[]string{"Accept", "Protocol", "Extensions"}},
		{"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", []string{"Version"}},
	} {
		for _, wrapped := range []bool{false, true} {
			conn := rawServer(t, func(w http.ResponseWriter, r *http.Request) {
				if wrapped {
					w = wrapper{w}
				}
				if c, err := Accept(w, r, opts); err == nil {
					c.CloseNow()
				}
			})
			io.WriteString(conn, tt.request)
			head := wstest.NewPeer(t, conn, wstest.Client).ReadHead()
			for _, name := range tt.fields {
				if strings.Count(head, "\r\nSec-WebSocket-"+name+": ") != 1 {
					t.Errorf("wrapped %v: the response has not one Sec-WebSocket-%s:\n%s", wrapped, name, head)
				}
			}
			if strings.Contains(head, "Sec-Websocket-") {
				t.Errorf("wrapped %v: the response:\n%s", wrapped, head)
			}
		}
	}
}

// A RoundTripper sees the Host that http.NewRequest sets.
func TestDialHostForRoundTripper(t *testing.T) {
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/end" {
			http.Redirect(w, r, "ws://"+r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()+"/end", http.StatusFound)
		}
	}), false)
	host := s.Listener.Addr().String()
	for option, want := range map[string][]string{"": {host, host}, "other.example": {"other.example", host}} {
		var got []string
		client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			got = append(got, r.Host)
			return http.DefaultTransport.RoundTrip(r)
		})}
		Dial(t.Context(), wsURL(s), &DialOptions{HTTPClient: client, Host: option})
		if !slices.Equal(got, want) {
			t.Errorf("Host %q: the RoundTripper saw %q, want %q", option, got, want)
		}
	}
	req, err := http.NewRequest("GET", "http://example.com:/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := requestHost(&url.URL{Host: "example.com:"}); got != req.Host {
		t.Errorf("got %q, want %q", got, req.Host)
	}
}

// A 101 that asks to close as well: net/http edits the header and ends the
// connection. The error says so. A request that does it is accepted.
func TestUpgradeAndClose(t *testing.T) {
	for _, lines := range []string{"Upgrade, close", "close, upgrade", "Upgrade\r\nConnection: close", "close"} {
		s := rawResponder(t, func(key string) string {
			return strings.Replace(wstest.Response(key), "Connection: Upgrade", "Connection: "+lines, 1)
		})
		_, resp, err := Dial(t.Context(), "ws://"+s, nil)
		var he *HandshakeError
		if resp == nil || !errors.As(err, &he) || he.StatusCode != 101 || !matches(err, "the Connection header of the response says close") {
			t.Errorf("%q: got the error %v", lines, err)
		}
	}
	p := wstest.NewPeer(t, rawServer(t, Handler(serveEcho, nil).ServeHTTP), wstest.Client)
	p.WriteRaw([]byte(strings.Replace(wstest.Request("/", "example.com"), "Connection: Upgrade", "Connection: close, Upgrade", 1)))
	if head := p.ReadHead(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Errorf("a request that says close and Upgrade: got\n%s", head)
	}
	p.WriteFrame(wstest.Text, "x")
	p.WantFrame(wstest.Text, "x")
}

// rawResponder answers one handshake with what answer makes of its key, and
// returns its address.
func rawResponder(t *testing.T, answer func(key string) string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		io.WriteString(conn, answer(r.Header.Get("Sec-WebSocket-Key")))
		io.Copy(io.Discard, conn)
		conn.Close()
	}()
	return l.Addr().String()
}

// An HTTP proxy that does not upgrade a plain request is named in the error,
// with what to do.
func TestDialThroughProxyThatDoesNotUpgrade(t *testing.T) {
	for _, status := range []int{200, 400, 426, 502} {
		proxy := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }), false)
		u, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("user", "secret")
		for _, tt := range []struct {
			transport http.RoundTripper
			named     bool
		}{
			{&http.Transport{Proxy: http.ProxyURL(u)}, true},
			{&http.Transport{}, false},
		} {
			_, _, err := Dial(t.Context(), "ws://"+u.Host+"/", &DialOptions{HTTPClient: &http.Client{Transport: tt.transport}})
			named := err != nil && strings.Contains(err.Error(), "through the HTTP proxy "+u.Host+", which must upgrade a plain request: use wss, or")
			var he *HandshakeError
			if named != tt.named || !errors.As(err, &he) || he.StatusCode != status || strings.Contains(err.Error(), "secret") {
				t.Errorf("status %d, through a proxy %v: got the error %v", status, tt.named, err)
			}
		}
	}
}

// So is one that ends the connection in place of an answer, answers something
// else than HTTP, or sends its client in circles.
func TestDialThroughProxyThatDoesNotAnswer(t *testing.T) {
	for _, answer := range []string{"", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: http://a.example/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					io.WriteString(conn, answer)
				}
				conn.Close()
			}
		}()
		dial := func(addr string) error {
			u := &url.URL{Scheme: "http", Host: addr, User: url.UserPassword("user", "secret")}
			transport := &http.Transport{Proxy: http.ProxyURL(u)}
			_, _, err := Dial(t.Context(), "ws://server.example/", &DialOptions{HTTPClient: &http.Client{Transport: transport}})
			return err
		}
		addr := l.Addr().String()
		err = dial(addr)
		if !matches(err, "through the HTTP proxy "+addr+", which must upgrade a plain request: use wss, or") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got the error %v", answer, err)
		}
		l.Close()
		// net/http names a proxy that cannot be reached: it is not the upgrade
		// that fails.
		if err := dial(addr); !matches(err, "proxyconnect") || strings.Contains(err.Error(), "upgrade") {
			t.Errorf("no proxy there: got the error %v", err)
		}
	}
}

// A HandshakeError is in the chain of Dial's error if, and only if, there was a
// response.
func TestHandshakeError(t *testing.T) {
	respond := func(status int, contentType, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("X-A", "1")
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
	const plain = "text/plain; charset=utf-8"
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		name    string
		handler http.Handler
		status  int
		body    string
		text    string // what the error ends with
	}{
		{"plain text", respond(403, plain, "no\nand no again"), 403, "no\nand no again", `not 101: "no"`},
		{"upper case", respond(403, "TEXT/Plain", "no"), 403, "no", `not 101: "no"`},
		{"control characters", respond(500, plain, "a\x1b[31mb\r\n"), 500, "a\x1b[31mb\r\n", `not 101: "a\x1b[31mb"`},
		{"long", respond(500, plain, long), 500, long, `: "` + long[:200] + `"...`},
		{"empty", respond(404, plain, ""), 404, "", "status 404 Not Found, not 101"},
		{"another type", respond(502, "text/html", "<html>"), 502, "<html>", "status 502 Bad Gateway, not 101"},
		{"a type that only begins so", respond(502, "text/plainer", "x"), 502, "x", "status 502 Bad Gateway, not 101"},
		{"wrong 101", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nX-A: 1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
			conn.Close()
		}), 101, "", "the response has no Sec-WebSocket-Accept header"},
	} {
		s := newServer(t, tt.handler, false)
		_, resp, err := Dial(t.Context(), s.URL, nil)
		var he *HandshakeError
		if !errors.As(err, &he) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if he.StatusCode != tt.status || he.Header.Get("X-A") != "1" || string(he.Body) != tt.body || resp.StatusCode != tt.status {
			t.Errorf("%s: got %d %v %q", tt.name, he.StatusCode, he.Header, he.Body)
		}
		if !strings.HasSuffix(err.Error(), tt.text) || !strings.HasPrefix(err.Error(), "websocket: dial: ") {
			t.Errorf("%s: %v, want it to end with %s", tt.name, err, tt.text)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != tt.body || err != nil {
			t.Errorf("%s: the response has the body %q, %v", tt.name, body, err)
		}
	}

	secure := newServer(t, http.RedirectHandler("http://localhost:1/", http.StatusFound), true)
	_, _, err := Dial(t.Context(), wsURL(secure), &DialOptions{HTTPClient: secure.Client()})
	var he *HandshakeError
	if !errors.As(err, &he) || he.StatusCode != 302 || he.Header.Get("Location") == "" {
		t.Errorf("a redirect that is not followed: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	for _, err := range []error{
		dialError(ctx, "ws://localhost:1/", nil),
		dialError(t.Context(), "ftp://localhost/", nil),
		dialError(t.Context(), "ws://localhost/", &DialOptions{HTTPClient: &http.Client{Transport: roundTripper(
			func(*http.Request) (*http.Response, error) { return nil, errRefused })}}),
	} {
		if err == nil || errors.As(err, &he) {
			t.Errorf("without a response: %v", err)
		}
	}
	if text := (&HandshakeError{}).Error(); text == "" {
		t.Error("the zero value has no text")
	}
}

func dialError(ctx context.Context, url string, opts *DialOptions) error {
	_, _, err := Dial(ctx, url, opts)
	return err
}

// Handshakes with headers that are too many, too long or not made of what
// headers are made of. What single fields may hold is in TestAcceptRefusals and
// TestCheckResponse, long ones of a request in TestAbsurdHeaders.

// serveOn serves requests on the connections that dial returns, and fails the
// test if a handler panics.
func serveOn(t *testing.T, server *http.Server) (dial func() *netfake.Conn, stop func()) {
	l := &pipeListener{Conns: make(chan net.Conn), Closed: make(chan struct{})}
	var logged bytes.Buffer
	server.ErrorLog = log.New(&logged, "", 0)
	done := make(chan struct{})
	go func() {
		server.Serve(l)
		close(done)
	}()
	dial = func() *netfake.Conn {
		conn, _ := l.Dial(t.Context(), "", "")
		return conn.(*netfake.Conn)
	}
	return dial, func() {
		server.Close()
		<-done
		time.Sleep(time.Minute) // net/http takes its time to close a connection that it refused
		if strings.Contains(logged.String(), "panic") {
			t.Errorf("the server has logged %s", logged.String())
		}
	}
}

// exchange sends a request and returns the response: nil if the server has just
// closed.
func exchange(t *testing.T, conn net.Conn, request string) (*http.Response, string) {
	t.Helper()
	sent := start(func() error { _, err := io.WriteString(conn, request); return err })
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	body := ""
	if err == nil && resp.StatusCode != 101 {
		b, _ := io.ReadAll(resp.Body)
		body = string(b)
	}
	conn.Close()
	<-sent
	if err != nil {
		return nil, ""
	}
	return resp, body
}

// Hundreds of header fields, of whatever name, are read and refused, or not, as
// one is. So are thousands, unless net/http refuses them by itself: since Go
// 1.27 it takes 500 by default.
func TestHostileHeaderFlood(t *testing.T) {
	for _, n := range []int{400, 2000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) { testHostileHeaderFlood(t, n) })
	}
}

func testHostileHeaderFlood(t *testing.T, n int) {
	lines := func(format string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(format, "%d", strconv.Itoa(i)) + "\r\n")
		}
		return b.String()
	}
	for _, test := range []struct {
		name, lines string
		status      int // 0: refused by net/http, in whatever way
	}{
		{"others", lines("X-%d: %d"), 101},
		{"the same", lines("X-A: %d"), 101},
		{"cookies", lines("Cookie: c%d=%d"), 101},
		{"subprotocols", lines("Sec-WebSocket-Protocol: p%d, "), 400},
		{"the same subprotocol", lines("Sec-WebSocket-Protocol: p"), 400},
		{"extensions", lines("Sec-WebSocket-Extensions: e%d; p%d=%d; q=\"x\""), 400},
		{"offers", lines("Sec-WebSocket-Extensions: permessage-deflate; p%d"), 400},
		{"origins", lines("Origin: http://example.com"), 403},
		{"keys", lines("Sec-WebSocket-Key: " + wstest.SampleKey), 400},
		{"versions", lines("Sec-WebSocket-Version: 13"), 426},
		{"upgrades", lines("Upgrade: x%d/1"), 101},
		{"connections", lines("Connection: x%d"), 101},
		{"hosts", lines("Host: h%d"), 0},
		{"lengths", lines("Content-Length: 0"), 101}, // one and the same
		{"different lengths", lines("Content-Length: %d"), 0},
		{"1 MB", "X-A: " + strings.Repeat("a", 1<<20+8192) + "\r\n", 0},
		{"1 MB of name", strings.Repeat("a", 1<<20+8192) + ": x\r\n", 0},
		{"1 MB of subprotocol", "Sec-WebSocket-Protocol: " + strings.Repeat("a", 1<<20-8192) + "\r\n", 101},
		{"1 MB of origin", "Origin: http://" + strings.Repeat("a", 1<<20-8192) + "\r\n", 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mode := CompressionContextTakeover
				dial, stop := serveOn(t, &http.Server{Handler: Handler(serveEcho, &AcceptOptions{
					Subprotocols: []string{"p" + strconv.Itoa(n-1)}, CompressionMode: mode, OriginPatterns: []string{"*.example.com"}})})
				defer stop()
				request := strings.TrimSuffix(wstest.Request("/", "example.com"), "\r\n") + test.lines + "\r\n"
				resp, body := exchange(t, dial(), request)
				if test.status == 0 {
					if resp != nil && resp.StatusCode < 400 {
						t.Errorf("got %v", resp.Status)
					}
					return
				}
				if n > 500 && resp != nil && resp.StatusCode == http.StatusRequestHeaderFieldsTooLarge {
					return
				}
				if resp == nil || resp.StatusCode != test.status || len(body) > 500 {
					t.Errorf("got %v, %.600q, want %d", resp, body, test.status)
				}
			})
		})
	}
}

// A request and a response whose header has no end are given up at the limit
// that net/http has. That holds though they come byte by byte: 20 MB take no
// more than that.
func TestHostileHeaderNoEnd(t *testing.T) {
	const most = 64 << 10
	write := func(conn net.Conn, begin string) (taken int) {
		n, err := io.WriteString(conn, begin)
		b := []byte("X-Endless: ")
		for i := 0; err == nil && n < 20_000_000; i++ {
			_, err = conn.Write(b[i%len(b) : i%len(b)+1])
			n++
			if i == len(b)-1 {
				b = []byte("a")
			}
		}
		return n
	}
	synctest.Test(t, func(t *testing.T) {
		dial, stop := serveOn(t, &http.Server{MaxHeaderBytes: most, Handler: Handler(serveEcho, nil)})
		defer stop()
		conn := dial()
		var got []byte
		reading := start(func() error { var err error; got, err = io.ReadAll(conn); return err })
		if n := write(conn, strings.TrimSuffix(wstest.Request("/", "example.com"), "\r\n")); n > most+netfake.DefaultBuffer+8192 {
			t.Errorf("a server has taken %d bytes of a header for a limit of %d", n, most)
		}
		conn.Close()
		<-reading
		if bytes.Contains(got, []byte(" 101 ")) {
			t.Errorf("got %q", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		taken := 0
		client := pipeServer(t, asIs, func(p *wstest.Peer) {
			key := p.ReadRequest().Header.Get("Sec-WebSocket-Key")
			taken = write(p.Conn, strings.TrimSuffix(wstest.Response(key), "\r\n"))
		})
		client.Transport.(*http.Transport).MaxResponseHeaderBytes = most
		c, _, err := Dial(t.Context(), "ws://example.com/", &DialOptions{HTTPClient: client})
		synctest.Wait()
		if c != nil || err == nil || taken > most+netfake.DefaultBuffer+8192 {
			t.Errorf("got %v, %v, and a client has taken %d bytes of a header for a limit of %d", c, err, taken, most)
		}
	})
}

// Memory grows no faster than a header does, and what errors say of it is
// short, in a request and in a response.
func TestHostileHeaderLong(t *testing.T) {
	makers := map[string]func(n int) string{
		"commas":     func(n int) string { return strings.Repeat(",", n) },
		"spaces":     func(n int) string { return "a" + strings.Repeat(" ", n) + "b" },
		"tokens":     func(n int) string { return strings.Repeat("a,", n/2) },
		"distinct":   func(n int) string { return distinctTokens(n / 8) },
		"parameters": func(n int) string { return "a" + strings.Repeat(";b=1", n/4) },
		"quotes":     func(n int) string { return `permessage-deflate;a="` + strings.Repeat(`\"`, n/2) },
		"offers":     func(n int) string { return strings.Repeat("permessage-deflate; x=1, ", n/25) },
		"good offers": func(n int) string {
			return strings.Repeat("permessage-deflate; client_max_window_bits, ", n/44)
		},
		"long":      func(n int) string { return strings.Repeat("a", n) },
		"not ASCII": func(n int) string { return strings.Repeat("\xff", n) },
	}
	mode := CompressionContextTakeover
	deflate, err := newDeflateConfig(mode, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	check := map[string]func(field, value string) string{
		"request": func(field, value string) string {
			r := request(t, goodRequest+"\n")
			r.Header[field] = []string{value}
			if _, no := checkRequest(r, &AcceptOptions{CompressionMode: mode, Subprotocols: []string{"x", "y"}, OriginPatterns: []string{"*a*b"}}); no != nil {
				return no.reason
			}
			return ""
		},
		"response": func(field, value string) string {
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(wstest.Response(wstest.SampleKey))), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Header[field] = []string{value}
			if _, err := checkResponse(resp, &DialOptions{Subprotocols: []string{"x", "y"}}, wstest.SampleKey, deflate); err != nil {
				return err.Error()
			}
			return ""
		},
	}
	for name, maker := range makers {
		for where, check := range check {
			for _, field := range []string{"Upgrade", "Connection", fieldKey, fieldVersion, fieldAccept, fieldProtocol, fieldExtensions, "Origin"} {
				const n = 50_000
				var took [2]uint64
				for i, value := range []string{maker(n), maker(4 * n)} {
					took[i] = allocated(func() {
						if reason := check(field, value); len(reason) > 500 {
							t.Errorf("%s of %s in the %s: an error of %d bytes", name, field, where, len(reason))
						}
					})
				}
				if most := uint64(16 * 4 * n); took[1] > 6*took[0]+64<<10 || took[1] > most {
					t.Errorf("%s of %s in the %s: %d bytes took %d, 4 times as many %d", name, field, where, n, took[0], took[1])
				}
			}
		}
	}
}

// distinctTokens is a list of n tokens, all different.
func distinctTokens(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "t%05d, ", i)
	}
	return b.String()
}

// Control characters and bytes beyond ASCII, within each field of the handshake
// that counts. No upgrade comes of it on either side. What is said of it is one
// line of text.
func TestHostileHeaderBytes(t *testing.T) {
	var bad []byte
	for b := range 256 {
		if b < ' ' || b >= 0x7f {
			bad = append(bad, byte(b))
		}
	}
	inside := func(line string, b byte) string { // in the middle of the value
		at := strings.Index(line, ": ") + 2
		at += (len(line) - at) / 2
		return line[:at] + string([]byte{b}) + line[at:]
	}
	onlyText := func(s string) bool {
		return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd })
	}
	requestLines := []string{"Host: example.com", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: " + wstest.SampleKey, "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate",
		"Origin: http://example.com"}
	synctest.Test(t, func(t *testing.T) {
		dial, stop := serveOn(t, &http.Server{Handler: Handler(serveEcho, nil)})
		defer stop()
		for i, line := range requestLines {
			for _, b := range bad {
				lines := append([]string(nil), requestLines...)
				lines[i] = inside(line, b)
				resp, body := exchange(t, dial(), "GET / HTTP/1.1\r\n"+strings.Join(lines, "\r\n")+"\r\n\r\n")
				if resp == nil || resp.StatusCode < 400 || resp.StatusCode > 499 || !onlyText(strings.TrimSuffix(body, "\n")) {
					t.Errorf("%q: got %v, %q", lines[i], resp, body)
				}
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		answer := ""
		client := pipeServer(t, asIs, func(p *wstest.Peer) {
			key := p.ReadRequest().Header.Get("Sec-WebSocket-Key")
			p.WriteRaw([]byte(strings.ReplaceAll(answer, "KEY", wstest.AcceptKey(key))))
			p.WantEnd()
		})
		lines := []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: KEY", "Sec-WebSocket-Protocol: chat",
			"Sec-WebSocket-Extensions: permessage-deflate"}
		for i, line := range lines {
			for _, b := range bad {
				if i == 2 { // not in the middle of the placeholder
					line = "Sec-WebSocket-Accept: KEYKEY"
				}
				edited := append([]string(nil), lines...)
				edited[i] = inside(line, b)
				answer = "HTTP/1.1 101 Switching Protocols\r\n" + strings.Join(edited, "\r\n") + "\r\n\r\n"
				begin := time.Now()
				c, _, err := Dial(t.Context(), "ws://example.com/", &DialOptions{HTTPClient: client, Subprotocols: []string{"chat"},
					CompressionMode: CompressionContextTakeover})
				if c != nil || err == nil || !onlyText(err.Error()) || time.Since(begin) > 0 {
					t.Errorf("%q: got %v, %q", edited[i], c, err)
				}
			}
		}
	})
}

// Requests and responses hidden behind others. What a client makes of a 101
// that is wrong is in TestWrongResponseOverHTTP and TestCheckResponse, of the
// fields of an application in FuzzResponse.

// A request behind one that is refused, or in its body, is not served: to a
// proxy in front it may have looked like frames. A 101 comes only when the
// connection is one of WebSocket from there on.
func TestHostileSmuggledRequest(t *testing.T) {
	const admin = "GET /admin HTTP/1.1\r\nHost: example.com\r\n\r\n"
	good := wstest.Request("/ws", "example.com")
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, test := range []struct{ name, request string }{
		{"version", replace("Version: 13", "Version: 777")},
		{"no version", replace("Sec-WebSocket-Version: 13\r\n", "")},
		{"key", replace(wstest.SampleKey, "x")},
		{"origin", wstest.Request("/ws", "example.com", "Origin: http://evil.example")},
		{"subprotocol", wstest.Request("/ws", "example.com", "Sec-WebSocket-Protocol: a b")},
		{"extension", wstest.Request("/ws", "example.com", "Sec-WebSocket-Extensions: ;")},
		{"no Upgrade", replace("Upgrade: websocket\r\n", "")},
		{"another Upgrade", replace("Upgrade: websocket", "Upgrade: h2c")},
		{"no Connection", replace("Connection: Upgrade\r\n", "Connection: keep-alive\r\n")},
		{"method", replace("GET /ws", "POST /ws")},
		{"HEAD", replace("GET /ws", "HEAD /ws")},
		{"HTTP/1.0", replace("HTTP/1.1", "HTTP/1.0")},
		{"HTTP/1.0, kept alive", strings.Replace(replace("HTTP/1.1", "HTTP/1.0"), "Connection: Upgrade", "Connection: Upgrade, keep-alive", 1)},
		{"a body", wstest.Request("/ws", "example.com", fmt.Sprintf("Content-Length: %d", len(admin)))},
		{"a body, in part", wstest.Request("/ws", "example.com", "Content-Length: 1") + "x"},
		{"a chunked body", wstest.Request("/ws", "example.com", "Transfer-Encoding: chunked") + "0\r\n\r\n"},
		{"a chunked body and a length", wstest.Request("/ws", "example.com", "Transfer-Encoding: chunked", "Content-Length: 5") + "0\r\n\r\n"},
		{"a body that waits", wstest.Request("/ws", "example.com", "Content-Length: 5", "Expect: 100-continue")},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mux := http.NewServeMux()
				mux.Handle("/ws", Handler(func(*Conn, *http.Request) { t.Error("there is a connection") }, nil))
				mux.HandleFunc("/admin", func(http.ResponseWriter, *http.Request) { t.Error("the request behind was served") })
				dial, stop := serveOn(t, &http.Server{Handler: mux})
				defer stop()
				conn := dial()
				sent := start(func() error { _, err := io.WriteString(conn, test.request+admin); return err })
				got, err := io.ReadAll(conn) // to the end of the connection
				if err != nil || bytes.Contains(got, []byte(" 101 ")) || bytes.Count(got, []byte("HTTP/1.1 ")) != 1 {
					t.Errorf("got %q, %v", got, err)
				}
				conn.Close()
				<-sent
			})
		})
	}
	t.Run("behind an upgrade", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.Handle("/ws", Handler(serveEcho, nil))
			mux.HandleFunc("/admin", func(http.ResponseWriter, *http.Request) { t.Error("the request behind was served") })
			dial, stop := serveOn(t, &http.Server{Handler: mux})
			defer stop()
			p := wstest.NewPeer(t, dial(), wstest.Client)
			p.WriteRaw([]byte(good + admin))
			if head := p.ReadHead(); !strings.Contains(head, " 101 ") {
				t.Fatalf("got %q", head)
			}
			p.WantClose(1002) // "G" is no begin of a frame
			p.Close()
		})
	})
}

// No status but 101 makes a connection, however right the rest of the response
// is, and no second response does.
func TestHostileStatus(t *testing.T) {
	for status := 100; status <= 999; status++ {
		if status > 110 && status%100 > 10 {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			client := pipeServer(t, asIs, func(p *wstest.Peer) {
				key := p.ReadRequest().Header.Get("Sec-WebSocket-Key")
				response := strings.Replace(wstest.Response(key), "101 Switching Protocols", fmt.Sprint(status, " X"), 1)
				p.TryWrite([]byte(response + "\x81\x01x"))
				time.Sleep(time.Second)
			})
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			c, _, err := Dial(t.Context(), "ws://example.com/", &DialOptions{HTTPClient: client})
			if (c != nil) != (status == 101) || (err == nil) != (status == 101) {
				t.Errorf("%d: got %v, %v", status, c, err)
			}
			if c != nil {
				c.CloseNow()
			}
			client.CloseIdleConnections()
			time.Sleep(time.Minute)
		})
	}
}

// lineBreaks are what can end a line, or a string, in a program on the way.
var lineBreaks = []string{"\r\n", "\n", "\r", "\x00", "\r\n\r\n", "\x0b", "\u2028"}

// eachString calls f with each copy of opts in which one string, wherever it
// is, has become s. It finds new fields by itself; those that it does not know
// how to fill fail the test.
func eachString[O any](t *testing.T, opts O, s string, f func(field string, opts O)) {
	t.Helper()
	typ := reflect.TypeFor[O]()
	for i := range typ.NumField() {
		field := typ.Field(i)
		changed := opts
		v := reflect.ValueOf(&changed).Elem().Field(i)
		switch field.Type {
		case reflect.TypeFor[string]():
			v.SetString(s)
			f(field.Name, changed)
		case reflect.TypeFor[[]string]():
			v.Set(reflect.ValueOf([]string{"chat", s}))
			f(field.Name, changed)
		case reflect.TypeFor[http.Header]():
			v.Set(reflect.ValueOf(http.Header{s: {"x"}}))
			f(field.Name+", name", changed)
			v.Set(reflect.ValueOf(http.Header{"X-Own": {"a", s}}))
			f(field.Name+", value", changed)
		case reflect.TypeFor[*http.Client](), reflect.TypeFor[*Trace]():
		default:
			switch field.Type.Kind() {
			case reflect.Bool, reflect.Int, reflect.Int64, reflect.Func:
			default:
				t.Errorf("%s is a %v: what could it smuggle?", field.Name, field.Type)
			}
		}
	}
}

// No string that an application passes in breaks out of the place where it
// goes: into the request of a client.
func TestHostileStringsOfDial(t *testing.T) {
	check := func(t *testing.T, what, url string, opts DialOptions) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			client := pipeServer(t, asIs, func(p *wstest.Peer) {
				head := p.ReadHead()
				p.WantIdle()
				if line, _, _ := strings.Cut(head, "\r\n"); smuggled(head) || strings.Count(line, " ") != 2 {
					t.Errorf("%s: sent %q", what, head)
				}
			})
			opts.HTTPClient = client
			c, _, err := Dial(t.Context(), url, &opts)
			if c != nil || err == nil {
				t.Errorf("%s: got %v, %v", what, c, err)
			} else if strings.ContainsAny(err.Error(), "\r\n\x00") {
				t.Errorf("%s: the error is not one line: %q", what, err)
			}
		})
	}
	for _, br := range lineBreaks {
		s := "x" + br + "X-Smuggled: 1"
		const good = "ws://example.com/"
		eachString(t, DialOptions{}, s, func(field string, opts DialOptions) {
			check(t, fmt.Sprintf("%s with %q", field, br), good, opts)
		})
		for _, url := range []string{
			"ws://example.com/" + s, "ws://example.com/?" + s, "ws://" + s + "/", "ws://example.com/#" + s, "ws" + s + "://example.com/",
			"ws://" + s + "@example.com/", "ws://example.com:80" + s + "/", "ws://[::1%25" + s + "]/",
			"ws://example.com/x%0d%0aX-Smuggled:%201", "ws://example.com/?x%0d%0aX-Smuggled:%201", "ws://u%0d%0aX-Smuggled:1@example.com/",
			"ws://example.com%0d%0aX-Smuggled:%201/", "ws://example.com/ HTTP/1.1" + br + "X-Smuggled: 1",
			"ws://example.com/? HTTP/1.1", "ws://example.com/x HTTP/1.1",
		} {
			check(t, fmt.Sprintf("%q", url), url, DialOptions{})
		}
	}
}

// The same for the response of a server: of its options, and of the header that
// the handler has set.
func TestHostileStringsOfAccept(t *testing.T) {
	check := func(what string, header http.Header, opts AcceptOptions) {
		t.Helper()
		near, far := netfake.Pipe(netfake.Options{})
		defer far.Close()
		w := httptest.NewRecorder()
		for name, values := range header {
			w.Header()[name] = values
		}
		r := request(t, goodRequest+"Sec-WebSocket-Protocol: x, chat\nOrigin: http://other.example\n\n")
		conn, err := accept(&hijacker{ResponseWriter: w, Conn: near}, r, &opts)
		if err != nil {
			body := strings.TrimPrefix(err.Error(), "websocket: ")
			if w.Code == 500 {
				body = "the server's options for WebSocket are invalid" // a stranger learns no more
			}
			if strings.ContainsAny(err.Error(), "\r\n\x00") || w.Body.String() != body+"\n" {
				t.Errorf("%s: the error is %q, the body %q", what, err, w.Body)
			}
			return
		}
		conn.transport.Close()
		head, err := io.ReadAll(far)
		if err != nil || smuggled(string(head)) {
			t.Errorf("%s: sent %q, %v", what, head, err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" {
			t.Errorf("%s: %v, %v", what, resp, err)
		}
	}
	for _, br := range lineBreaks {
		s := "x" + br + "X-Smuggled: 1"
		eachString(t, AcceptOptions{InsecureSkipVerify: true}, s, func(field string, opts AcceptOptions) {
			check(fmt.Sprintf("%s with %q", field, br), nil, opts)
			opts.InsecureSkipVerify = false
			check(fmt.Sprintf("%s with %q, refused", field, br), nil, opts)
		})
		opts := AcceptOptions{InsecureSkipVerify: true}
		check(fmt.Sprintf("the name of a field with %q", br), http.Header{s: {"1"}}, opts)
		check(fmt.Sprintf("the value of a field with %q", br), http.Header{"X-Own": {"a", s}, "Set-Cookie": {s}}, opts)
		for _, name := range []string{"Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Content-Length", "Transfer-Encoding"} {
			check(fmt.Sprintf("%s with %q", name, br), http.Header{name: {s, "5"}}, opts)
		}
	}
}

// The opening handshake over a transport that fails at its n-th call, and an
// echo behind it. The transport stands in front of the client or of the server.
// Dial returns a connection or an error, never both or none, and leaves nothing
// behind; a handler is called once at most.
func TestHandshakeFaults(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		for _, mode := range []CompressionMode{CompressionDisabled, CompressionContextTakeover} {
			for _, kind := range faultconn.Kinds {
				t.Run(fmt.Sprintf("%s/%v/%v", side, mode, kind), func(t *testing.T) {
					if !poison.On { // else buffers are counted
						t.Parallel()
					}
					failed := 0
					for _, readMax := range []int{0, 11} {
						for at := 0; ; at++ {
							plan := faultconn.Plan{Kind: kind, At: at, ReadMax: readMax}
							met, dialErr := runHandshakeFault(t, side == "client", mode, plan)
							if dialErr != nil {
								failed++
							}
							if t.Failed() {
								t.Fatalf("at call %d, reads of %d", at, readMax)
							}
							if !met {
								break
							}
						}
					}
					if failed == 0 && kind != faultconn.Delay {
						t.Error("no handshake failed: that tests nothing")
					}
				})
			}
		}
	}
}

// runHandshakeFault runs one handshake and an echo, and reports whether they
// met the fault, and the error of Dial.
func runHandshakeFault(t *testing.T, atClient bool, mode CompressionMode, plan faultconn.Plan) (met bool, dialErr error) {
	synctest.Test(t, func(t *testing.T) {
		defer buffersReturn(t)()
		var fault *faultconn.Conn
		var both []*netfake.Conn // the ends of the transport
		accepted := 0
		l := &pipeListener{Conns: make(chan net.Conn), Closed: make(chan struct{})}
		dials := 0
		dialer := func(context.Context, string, string) (net.Conn, error) {
			near, far := netfake.Pipe(netfake.Options{})
			dials++
			both = append(both, near, far)
			var client, server net.Conn = near, far
			if atClient {
				fault = faultconn.New(near, plan)
				client = fault
			} else {
				fault = faultconn.New(far, plan)
				server = fault
			}
			l.Conns <- server
			return client, nil
		}
		var mu sync.Mutex
		var served []error
		var serving sync.WaitGroup
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			serving.Add(1)
			defer serving.Done()
			c, err := Accept(w, r, &AcceptOptions{CompressionMode: mode, CompressionThreshold: -1})
			if err == nil {
				accepted++
				err = echo(c)
				c.CloseNow()
			} else if !strings.HasPrefix(err.Error(), "websocket: ") || c != nil {
				t.Errorf("Accept = %v, %v", c, err)
			}
			mu.Lock()
			served = append(served, err)
			mu.Unlock()
		})
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 20 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
		go server.Serve(l)
		tr := &http.Transport{DialContext: dialer}

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, resp, err := Dial(ctx, "ws://example.com/", &DialOptions{
			HTTPClient: &http.Client{Transport: tr}, CompressionMode: mode, CompressionThreshold: -1,
		})
		dialErr = err
		switch {
		case (c == nil) != (err != nil):
			t.Errorf("Dial = %v, %v", c, err)
		case err != nil && !strings.HasPrefix(err.Error(), "websocket: dial: "):
			t.Errorf("Dial's error does not say whose it is: %v", err)
		case err != nil && errors.Is(err, io.EOF) && atClient && plan.Kind != faultconn.HalfClose && plan.Kind != faultconn.Timeout:
			t.Errorf("Dial's error is the end of the connection: %v", err)
		case err != nil && atClient && plan.Kind == faultconn.Fail && plan.ReadMax == 0 && !errors.Is(err, faultconn.Err):
			// With half of a response net/http tells of that in its place.
			t.Errorf("Dial's error does not match the transport's: %v", err)
		case err == nil && (resp == nil || resp.StatusCode != http.StatusSwitchingProtocols):
			t.Errorf("Dial's response: %v", resp)
		}
		if c != nil {
			e := &end{t: t, c: c, side: "client", kind: plan.Kind, shorter: 1}
			for _, n := range []int{5, 6000} {
				e.write(e.text(n))
				e.read(e.text(n))
			}
			e.close()
			if e.failed != nil && (fault == nil || !fault.Struck() || plan.Kind == faultconn.Delay) {
				t.Errorf("without a fault: %v", e.failed)
			}
			c.CloseNow()
		}
		tr.CloseIdleConnections()
		server.Close()
		serving.Wait()
		time.Sleep(time.Minute) // timers of net/http
		synctest.Wait()
		if len(served) > 1 || dials != 1 {
			t.Errorf("%d dials, %d handlers: %v", dials, len(served), served)
		}
		for i, conn := range both {
			if conn.SetReadDeadline(time.Time{}) == nil {
				t.Errorf("end %d of the transport is not closed: Dial %v, handlers %v", i, dialErr, served)
			}
		}
		if dialErr != nil && accepted > 0 && !atClient && (plan.Kind == faultconn.Fail || plan.Kind == faultconn.Timeout) {
			t.Errorf("the response did not get out, and Accept returned a connection: Dial %v, handlers %v", dialErr, served)
		}
		met = fault.Struck()
		if !met && (dialErr != nil || len(served) != 1 || served[0] != nil) {
			t.Errorf("without a fault: Dial %v, handlers %v", dialErr, served)
		}
	})
	return met, dialErr
}

// Cross-site hijacking, over HTTP: a page of another site must not get a
// connection, by whatever its origin looks like. Many more spellings are in
// TestCheckOrigin and TestOriginPatterns.
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
		{"a forwarded host proves nothing", []string{"Origin: https://evil.example", "X-Forwarded-Host: evil.example",
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

// A URL that Dial takes makes a request that is one, and that names the target
// of the URL. Nothing of it gets out of its place.
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

// validKey agrees with package base64.
func TestValidKey(t *testing.T) {
	keys := []string{"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZ===", "dGhlIHNhbXBsZSBub25jZQA="}
	for i := range keySize {
		for c := range 256 {
			key := []byte("dGhlIHNhbXBsZSBub25jZQ==")
			key[i] = byte(c)
			keys = append(keys, string(key))
		}
	}
	for _, key := range keys {
		out, err := base64.StdEncoding.DecodeString(key)
		if got, want := validKey(key), err == nil && len(out) == 16 && len(key) == keySize; got != want {
			t.Errorf("validKey(%q) = %v, want %v", key, got, want)
		}
	}
}
