package websocket_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed70bc5565/websocket/gorilla"
)

// handshake returns a valid request.
func handshake() *http.Request {
	r := httptest.NewRequest("GET", "http://example.com/", nil)
	for field, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		r.Header.Set(field, value)
	}
	return r
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(r *http.Request)
		status int
		reason string
	}{
		{"no Connection", func(r *http.Request) { r.Header.Del("Connection") }, 400, "'Connection'"},
		{"no Upgrade", func(r *http.Request) { r.Header.Del("Upgrade") }, 400, "'Upgrade'"},
		{"POST", func(r *http.Request) { r.Method = "POST" }, 405, "GET"},
		{"version", func(r *http.Request) { r.Header.Set("Sec-Websocket-Version", "8") }, 400, "version"},
		{"no key", func(r *http.Request) { r.Header.Del("Sec-Websocket-Key") }, 400, "'Sec-WebSocket-Key'"},
		{"short key", func(r *http.Request) { r.Header.Set("Sec-Websocket-Key", "YQ==") }, 400, "'Sec-WebSocket-Key'"},
		{"foreign origin", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403, "origin"},
		{"broken origin", func(r *http.Request) { r.Header.Set("Origin", "://") }, 403, "origin"},
		{"body", func(r *http.Request) { r.ContentLength = 5 }, 400, "body"},
		{"no hijacker", func(r *http.Request) {}, 500, "http.Hijacker"},
	} {
		r := handshake()
		tt.change(r)
		w := httptest.NewRecorder()
		_, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if he, ok := err.(websocket.HandshakeError); !ok || !strings.Contains(he.Error(), tt.reason) {
			t.Errorf("%s: %T %v", tt.name, err, err)
		}
		if w.Code != tt.status || w.Header().Get("Sec-Websocket-Version") != "13" {
			t.Errorf("%s: %v", tt.name, w)
		}

		var status int
		var reason error
		u := &websocket.Upgrader{Error: func(_ http.ResponseWriter, _ *http.Request, s int, err error) { status, reason = s, err }}
		if _, err := u.Upgrade(httptest.NewRecorder(), r, nil); err != reason || status != tt.status {
			t.Errorf("%s: %d %v", tt.name, status, reason)
		}

		w = httptest.NewRecorder()
		if _, err := websocket.Upgrade(w, r, nil, 0, 0); err == nil || w.Body.Len() > 0 {
			t.Errorf("%s: Upgrade answered by itself", tt.name)
		}
	}
	if _, err := (&websocket.Upgrader{}).Upgrade(httptest.NewRecorder(), handshake(), http.Header{"Sec-Websocket-Extensions": {"x"}}); err == nil {
		t.Error("an extension of the program's own")
	}
}

func TestOrigins(t *testing.T) {
	for origin, ok := range map[string]bool{
		"": true, "http://example.com": true, "https://EXAMPLE.com": true, "http://example.com:81": false, "null": false, "https://evil.example": false,
	} {
		r := handshake()
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		w := httptest.NewRecorder()
		_, _ = (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if refused := w.Code == http.StatusForbidden; refused == ok {
			t.Errorf("%q: %d", origin, w.Code)
		}
		w = httptest.NewRecorder()
		_, _ = (&websocket.Upgrader{CheckOrigin: func(r *http.Request) bool { return false }}).Upgrade(w, r, nil)
		if w.Code != http.StatusForbidden {
			t.Errorf("%q: CheckOrigin was not heeded", origin)
		}
	}
}

func TestResponseHeader(t *testing.T) {
	for _, tt := range []struct {
		ours   []string
		header http.Header
		want   string
	}{
		{[]string{"b", "a"}, nil, "b"},
		{[]string{"x"}, nil, ""},
		{[]string{}, http.Header{"Sec-Websocket-Protocol": {"a"}}, ""},
		{nil, http.Header{"Sec-Websocket-Protocol": {"a"}}, "a"},
		{nil, nil, ""},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if got := websocket.Subprotocols(r); !slices.Equal(got, []string{"a", "b"}) || !websocket.IsWebSocketUpgrade(r) {
				t.Error(got)
			}
			w.Header().Set("X-Of-The-Writer", "stays behind")
			header := tt.header.Clone()
			if header == nil {
				header = http.Header{}
			}
			header.Set("X-More", "yes")
			c, err := (&websocket.Upgrader{Subprotocols: tt.ours, WriteBufferPool: &sync.Pool{}}).Upgrade(w, r, header)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.WriteMessage(websocket.TextMessage, []byte(c.Subprotocol()))
		}))
		c, resp, err := websocket.DefaultDialer.Dial("ws"+s.URL[4:], http.Header{"Sec-WebSocket-Protocol": {"a, b"}})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, c, websocket.TextMessage, tt.want)
		if c.Subprotocol() != tt.want || resp.Header.Get("X-More") != "yes" || resp.Header.Get("X-Of-The-Writer") != "" {
			t.Errorf("%q, %v", c.Subprotocol(), resp.Header)
		}
		if p, err := io.ReadAll(resp.Body); len(p) > 0 || err != nil {
			t.Error(p, err)
		}
		c.Close()
		s.Close()
	}
}

// Kubernetes speaks subprotocols whose names are no tokens.
func TestSubprotocolThatIsNoToken(t *testing.T) {
	const name = "SPDY/3.1+portforward.k8s.io"
	server, client := pair(t, &websocket.Upgrader{Subprotocols: []string{name}}, &websocket.Dialer{Subprotocols: []string{"other", name}})
	if server.Subprotocol() != name || client.Subprotocol() != name {
		t.Errorf("%q %q", server.Subprotocol(), client.Subprotocol())
	}
	send(t, client, websocket.TextMessage, "hello")
	expect(t, server, websocket.TextMessage, "hello")
	_, client = pair(t, &websocket.Upgrader{}, &websocket.Dialer{Subprotocols: []string{name, name}})
	if client.Subprotocol() != "" {
		t.Error(client.Subprotocol())
	}
}

// Requests that gorilla upgrades and a strict server refuses: clients and
// proxies in the field send them.
func TestLooseRequests(t *testing.T) {
	for name, change := range map[string]func(r *http.Request){
		"HTTP/1.0":          func(r *http.Request) { r.Proto, r.ProtoMinor = "HTTP/1.0", 0 },
		"no Host":           func(r *http.Request) { r.Host = "" },
		"versions":          func(r *http.Request) { r.Header.Set("Sec-Websocket-Version", "13, 8, 7") },
		"version twice":     func(r *http.Request) { r.Header.Add("Sec-Websocket-Version", "13") },
		"key twice":         func(r *http.Request) { r.Header.Add("Sec-Websocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==") },
		"extension, no end": func(r *http.Request) { r.Header.Set("Sec-Websocket-Extensions", "permessage-deflate;") },
		"extension, no value": func(r *http.Request) {
			r.Header.Set("Sec-Websocket-Extensions", "permessage-deflate; client_max_window_bits=")
		},
		"subprotocols twice":     func(r *http.Request) { r.Header.Set("Sec-Websocket-Protocol", "a, a") },
		"subprotocols of spaces": func(r *http.Request) { r.Header.Set("Sec-Websocket-Protocol", "a b") },
	} {
		ours, theirs := net.Pipe()
		w := hijacked{httptest.NewRecorder(), ours}
		r := handshake()
		change(r)
		before := r.Header.Clone()
		answer := make(chan *http.Response)
		go func() {
			resp, _ := http.ReadResponse(bufio.NewReader(theirs), nil)
			answer <- resp
		}()
		c, err := (&websocket.Upgrader{EnableCompression: true}).Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			ours.Close()
		} else {
			c.Close()
		}
		if resp := <-answer; err == nil && (resp == nil || resp.StatusCode != 101 || resp.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
			t.Errorf("%s: got %v", name, resp)
		}
		if !reflect.DeepEqual(r.Header, before) {
			t.Errorf("%s: the request's header has become %v", name, r.Header)
		}
		theirs.Close()
	}
}

// A request made by hand, without what every server fills in, is upgraded as
// gorilla does.
func TestHandmadeRequest(t *testing.T) {
	r := handshake()
	r = &http.Request{Method: "GET", URL: &url.URL{Path: "/"}, Header: r.Header}
	_, err := (&websocket.Upgrader{}).Upgrade(httptest.NewRecorder(), r, nil)
	if err == nil || !strings.Contains(err.Error(), "http.Hijacker") {
		t.Error(err)
	}
}

// A value of the response header that has a line break is sent with a space in
// its place, as gorilla does. It is not left out, and makes no field of its
// own.
func TestResponseHeaderControls(t *testing.T) {
	header := http.Header{"X-Evil": {"a\r\nSet-Cookie: evil=1", "b\x00c\td\x7fe"}, "X-Good": {"good"}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := (&websocket.Upgrader{}).Upgrade(w, r, header); err == nil {
			c.Close()
		}
	}))
	defer s.Close()
	c, resp, err := websocket.DefaultDialer.Dial("ws"+s.URL[4:], nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got := resp.Header["X-Evil"]; !slices.Equal(got, []string{"a  Set-Cookie: evil=1", "b c d e"}) || resp.Header.Get("X-Good") != "good" || resp.Header["Set-Cookie"] != nil {
		t.Errorf("%q", resp.Header)
	}
	if header["X-Evil"][0] != "a\r\nSet-Cookie: evil=1" {
		t.Error("the caller's header was changed")
	}
}

// The field counts, also without a value.
func TestResponseHeaderExtensions(t *testing.T) {
	_, err := (&websocket.Upgrader{}).Upgrade(httptest.NewRecorder(), handshake(), http.Header{"Sec-Websocket-Extensions": {}})
	if err == nil || !strings.Contains(err.Error(), "Sec-WebSocket-Extensions") {
		t.Error(err)
	}
}

// failedHijack is a ResponseWriter whose Hijack fails.
type failedHijack struct {
	http.ResponseWriter
	err error
}

func (f failedHijack) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, f.err }

// unwritable is a connection whose writes fail.
type unwritable struct {
	net.Conn
	err error
}

func (c unwritable) Write([]byte) (int, error) { return 0, c.err }

// The reason of Upgrade is the error of Hijack, and its error that of the
// write, as they stand.
func TestUpgradeErrorsOfConnection(t *testing.T) {
	for _, err := range []error{errors.New("gone"), fmt.Errorf("middleware: %w", http.ErrNotSupported)} {
		_, got := (&websocket.Upgrader{}).Upgrade(failedHijack{httptest.NewRecorder(), err}, handshake(), nil)
		if got == nil || got.Error() != err.Error() {
			t.Errorf("%v, want %v", got, err)
		}
	}
	for _, err := range []error{errors.New("broken"), &net.OpError{Op: "write", Err: os.ErrDeadlineExceeded}} {
		ours, theirs := net.Pipe()
		_, got := (&websocket.Upgrader{}).Upgrade(hijacked{httptest.NewRecorder(), unwritable{ours, err}}, handshake(), nil)
		if got != err {
			t.Errorf("%T %v, want %v", got, got, err)
		}
		theirs.Close()
	}
}
