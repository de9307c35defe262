package websocket

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/faultconn"
	"github.com/seed70bc5565/websocket/internal/field"
	"github.com/seed70bc5565/websocket/internal/httpfake"
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

// A connection that has served other requests is upgraded. Then it does not
// know the timeouts that the HTTP server and the HTTP client have for
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

// Handshakes with headers that are too many, too long or not made of what
// headers are made of. TestAcceptRefusals and TestCheckResponse try the values
// of single fields, TestAbsurdHeaders long ones of a request.

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

// No string that an application passes in breaks out of the place where it
// goes. It goes into the response of a server, from its options and from the
// header that the handler has set.
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
	for _, br := range httpfake.LineBreaks {
		s := "x" + br + "X-Smuggled: 1"
		httpfake.EachString(t, AcceptOptions{InsecureSkipVerify: true}, s, reflect.TypeFor[*Trace](), func(field string, opts AcceptOptions) {
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
// echo behind it. The transport is that of the client or of the server. Dial
// returns a connection or an error, never both or none, and leaves nothing
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

// A URL that Dial takes makes a request that is one, and that names the target
// of the URL. No part of it gets out of its place.
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
