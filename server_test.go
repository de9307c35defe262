package websocket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

func TestAcceptRefusals(t *testing.T) {
	for _, tt := range refusals() {
		t.Run(tt.Name+" as "+tt.Line, func(t *testing.T) {
			text := goodRequest
			if tt.Name != "" {
				text = edit(text, tt.Name, tt.Line)
			}
			w := httptest.NewRecorder()
			w.Header().Set("Content-Length", "1")
			_, err := accept(w, request(t, text+"\n"), nil)
			resp := w.Result()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.Status || !strings.Contains(string(body), tt.Body) {
				t.Errorf("got %d %q, want %d with %q", resp.StatusCode, body, tt.Status, tt.Body)
			}
			want := "websocket: " + strings.TrimSuffix(string(body), "\n")
			if tt.Status == 501 {
				want += ": *httptest.ResponseRecorder has neither a method Hijack nor Unwrap"
			}
			if err == nil || err.Error() != want {
				t.Errorf("got the error %q, and the body %q", err, body)
			}
			if bytes.Count(body, []byte("\n")) != 1 {
				t.Errorf("the body is not one line: %q", body)
			}
			header := http.Header{
				"Connection":             {"close"},
				"Content-Type":           {"text/plain; charset=utf-8"},
				"X-Content-Type-Options": {"nosniff"},
			}
			switch tt.Status {
			case 405:
				header["Allow"] = []string{"GET"}
			case 426:
				header["Upgrade"] = []string{"websocket"}
				header["Connection"] = []string{"close", "Upgrade"}
				header["Sec-WebSocket-Version"] = []string{"13"}
			}
			if !reflect.DeepEqual(resp.Header, header) {
				t.Errorf("got the header %v, want %v", resp.Header, header)
			}
		})
	}
}

// Where an earlier check fails, what a later one would find does not matter.
func TestAcceptOrder(t *testing.T) {
	text := "POST / HTTP/1.0\nHost: \nUpgrade: x\nConnection: x\nSec-WebSocket-Version: 8\nOrigin: null\n"
	for _, step := range []struct {
		name, line string
		status     int
	}{
		{"", "", 405},
		{"POST", "GET / HTTP/1.0", 426},
		{"Upgrade", "Upgrade: websocket", 426},
		{"Connection", "Connection: upgrade", 426},
		{"Sec-WebSocket-Version", "Sec-WebSocket-Version: 13", 400},
		{"GET", "GET / HTTP/1.1", 400},
		{"Host", "Host: example.com", 400},
		{"Sec-WebSocket-Key", "Sec-WebSocket-Key: " + wstest.SampleKey, 403},
		{"Origin", "Origin: http://example.com", 501},
	} {
		if step.name != "" {
			text = edit(text, step.name, step.line)
		}
		w := httptest.NewRecorder()
		if _, err := accept(w, request(t, text+"\n"), nil); err == nil || w.Code != step.status {
			t.Errorf("after %q: got %d, %v, want %d", step.line, w.Code, err, step.status)
		}
	}
}

func TestAcceptHTTP2(t *testing.T) {
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	w := httptest.NewRecorder()
	if _, err := accept(w, r, nil); err == nil || w.Code != 426 {
		t.Errorf("got %d, %v", w.Code, err)
	}
	// RFC 9113, section 8.2.2: no fields that are specific to a connection.
	if w.Header()["Connection"] != nil || w.Header()["Upgrade"] != nil {
		t.Errorf("got the header %v", w.Header())
	}
}

type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestAcceptResponse(t *testing.T) {
	synctest.Test(t, testAcceptResponse)
}

func testAcceptResponse(t *testing.T) {
	near, far := netfake.Pipe(netfake.Options{})
	defer far.Close()
	h := &hijacker{ResponseWriter: httptest.NewRecorder(), Conn: near, Buffered: "frames", Unread: "x"}
	hdr := h.Header()
	hdr["Set-Cookie"] = []string{"a=1", "b=2", "c=3\r\nX-Smuggled: 1", "d=4\x00"}
	hdr["X-Own"] = []string{"yes"}
	hdr["Date"] = nil
	hdr["X-Bad\r\nX-Smuggled"] = []string{"1"}
	hdr["X Space"] = []string{"1"}
	hdr["Trailer:X"] = []string{"1"}
	for _, name := range []string{"Upgrade", "Connection", "connection", "Sec-WebSocket-Accept", "Sec-Websocket-Protocol", "Sec-WebSocket-Extensions",
		"Content-Length", "Transfer-Encoding", "content-length", "Trailer"} {
		hdr[name] = []string{"smuggled"}
	}
	opts := &AcceptOptions{
		Subprotocols:       []string{"v2", "v1"},
		ReadLimit:          1,
		WriteBufferLimit:   2,
		CloseTimeout:       3,
		SkipUTF8Validation: true,
		OnPingReceived:     func(context.Context, []byte) bool { return true },
		OnPongReceived:     func(context.Context, []byte) {},
	}
	before := *opts
	r := request(t, edit(goodRequest, "Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: v1, v2")+"\n")
	near.SetDeadline(time.Unix(1, 0)) // as if a timeout of the HTTP server had been left behind
	cfg, err := accept(wrapper{wrapper{h}}, r, opts)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.transport != near || cfg.client || string(cfg.received) != "frames" || cfg.subprotocol != "v2" ||
		cfg.readLimit != 1 || cfg.writeBufferLimit != 2 || cfg.closeTimeout != 3 || !cfg.skipUTF8 || cfg.onPing == nil || cfg.onPong == nil {
		t.Errorf("got %+v", cfg)
	}
	if s := near.Stats(); s.Writes != 1 {
		t.Errorf("the response took %d writes", s.Writes)
	}
	before.OnPingReceived, before.OnPongReceived, opts.OnPingReceived, opts.OnPongReceived = nil, nil, nil, nil
	if !reflect.DeepEqual(before, *opts) {
		t.Errorf("the caller's options have become %+v", *opts)
	}
	br := bufio.NewReader(far)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{
		"Upgrade":                {"websocket"},
		"Connection":             {"Upgrade"},
		"Sec-Websocket-Accept":   {"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		"Sec-Websocket-Protocol": {"v2"},
		"Set-Cookie":             {"a=1", "b=2"},
		"X-Own":                  {"yes"},
	}
	if resp.StatusCode != 101 || !reflect.DeepEqual(resp.Header, want) || br.Buffered() > 0 {
		t.Errorf("got %d %v and %d bytes more, want 101 %v", resp.StatusCode, resp.Header, br.Buffered(), want)
	}
	// No deadline is left.
	time.Sleep(time.Hour)
	for _, write := range []bool{false, true} {
		if write {
			_, err = near.Write([]byte("x"))
		} else {
			far.Write([]byte("x"))
			_, err = near.Read(make([]byte, 1))
		}
		if err != nil {
			t.Errorf("the connection after the handshake: %v", err)
		}
	}
}

func TestAcceptConnectionFails(t *testing.T) {
	near, far := netfake.Pipe(netfake.Options{})
	far.Close()
	_, err := accept(&hijacker{ResponseWriter: httptest.NewRecorder(), Conn: near}, request(t, goodRequest+"\n"), nil)
	if !matches(err, "websocket: sending the handshake") {
		t.Errorf("got the error %v", err)
	}
	if near.Stats().Closes == 0 {
		t.Error("the connection was not closed")
	}

	w := httptest.NewRecorder()
	secret := errors.New("the disk is full")
	_, err = accept(&hijacker{ResponseWriter: w, Err: secret}, request(t, goodRequest+"\n"), nil)
	if !errors.Is(err, secret) || w.Code != 500 || strings.Contains(w.Body.String(), "disk") {
		t.Errorf("a Hijack that fails: got %v, %d %q", err, w.Code, w.Body)
	}

	w = httptest.NewRecorder()
	_, err = accept(&hijacker{ResponseWriter: w, Err: http.ErrHijacked}, request(t, goodRequest+"\n"), nil)
	if !errors.Is(err, http.ErrHijacked) || w.Body.Len() > 0 {
		t.Errorf("a connection that is hijacked: got %v, %q", err, w.Body)
	}
}

// The bound of the response holds on a conn that heeds no deadline, too.
func TestAcceptResponseIsBounded(t *testing.T) {
	for _, kind := range foreignKinds {
		for _, gorilla := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				near, far := netfake.Pipe(netfake.Options{Buffer: 1}) // its peer reads nothing
				defer far.Close()
				conn, start := kind.wrap(near), time.Now()
				var err error
				if gorilla {
					h, status, reason := bridgeCheck(request(t, goodRequest+"\n"), false)
					if status != 0 {
						t.Fatal(reason)
					}
					_, err = h.Respond(conn, nil, "", nil, 0)
				} else {
					_, err = accept(&hijacker{ResponseWriter: httptest.NewRecorder(), Conn: conn}, request(t, goodRequest+"\n"), nil)
				}
				if took := time.Since(start); err == nil || took > responseTimeout {
					t.Errorf("%s, gorilla %v: got the error %v after %v", kind.name, gorilla, err, took)
				}
			})
		}
	}
}

// Bytes that arrive in the same packet as the request, or behind it, are frames
// and not lost.
func TestAcceptKeepsBytes(t *testing.T) {
	for _, early := range []int{0, 1, 100, 3000} {
		got := make(chan string, 1)
		data := strings.Repeat("x", early) + "behind"
		conn := rawServer(t, func(w http.ResponseWriter, r *http.Request) {
			cfg, err := accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer cfg.transport.Close()
			rest, _ := io.ReadAll(io.LimitReader(cfg.transport, int64(len(data)-len(cfg.received))))
			got <- string(cfg.received) + string(rest)
		})
		io.WriteString(conn, wstest.Request("/", "example.com")+data[:early])
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatalf("got %v, %v", resp, err)
		}
		io.WriteString(conn, data[early:])
		if s := <-got; s != data {
			t.Errorf("%d bytes early: got %d of %d bytes", early, len(s), len(data))
		}
	}
}

// The timeouts of the HTTP server end with the handshake.
func TestAcceptClearsTimeouts(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.SetReadDeadline(time.Unix(1, 0))
		rc.SetWriteDeadline(time.Unix(1, 0))
		cfg, err := accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer cfg.transport.Close()
		io.CopyN(cfg.transport, cfg.transport, 4)
	}))
	s.Config.ReadTimeout, s.Config.WriteTimeout = time.Minute, time.Minute
	s.Start()
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	io.WriteString(conn, wstest.Request("/", "example.com"))
	br := bufio.NewReader(conn)
	if _, err := http.ReadResponse(br, nil); err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "ping")
	if got, err := io.ReadAll(br); string(got) != "ping" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Refusals through net/http itself.
func TestRefusalOverTCP(t *testing.T) {
	result := make(chan error, 1)
	for _, tt := range []struct {
		request string
		status  int
	}{
		{"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 426},
		{"PUT / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n\r\nhi", 405},
		{"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 400}, // no Host: net/http refuses by itself
		{wstest.Request("/", "example.com", "Origin: http://evil.com"), 403},
	} {
		conn := rawServer(t, func(w http.ResponseWriter, r *http.Request) {
			_, err := accept(w, r, nil)
			result <- err
		})
		io.WriteString(conn, tt.request)
		br := bufio.NewReader(conn)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode != tt.status || !resp.Close || err != nil {
			t.Errorf("%q: got %d, close %v, %v, want %d", tt.request, resp.StatusCode, resp.Close, err, tt.status)
		}
		if _, err := br.ReadByte(); err != io.EOF {
			t.Errorf("%q: the connection goes on: %v", tt.request, err)
		}
		if tt.status == 400 {
			continue
		}
		if err := <-result; err == nil || err.Error()+"\n" != "websocket: "+string(body) {
			t.Errorf("%q: got %q and the error %v", tt.request, body, err)
		}
	}
}

// A handler within http.TimeoutHandler cannot be hijacked: it says so.
func TestAcceptWithoutHijacker(t *testing.T) {
	s := httptest.NewServer(http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accept(w, r, nil)
	}), time.Minute, "late"))
	defer s.Close()
	_, resp, err := Dial(t.Context(), s.URL, nil)
	if resp == nil || resp.StatusCode != 501 || !matches(err, "status 501 Not Implemented, not 101") {
		t.Errorf("got %v, %v", resp, err)
	}
}

func TestHandlerCopiesOptions(t *testing.T) {
	opts := &AcceptOptions{Subprotocols: []string{"a"}, ReadLimit: 5}
	s := Handler(func(*Conn, *http.Request) {}, opts)
	opts.ReadLimit = 6
	if s.opts.ReadLimit != 5 || !reflect.DeepEqual(s.opts.Subprotocols, []string{"a"}) {
		t.Errorf("got %+v", s.opts)
	}
}

// Settings that are invalid are found when the server is made, not by its first
// visitor.
func TestNewServerInvalid(t *testing.T) {
	serve := func(*Conn, *http.Request) {}
	for want, opts := range map[string]AcceptOptions{
		"AcceptOptions.OriginPatterns: \"[a\"":                      {OriginPatterns: []string{"*.example.com", "[a"}},
		"AcceptOptions.OriginPatterns: \"https://example.com/\"":    {OriginPatterns: []string{"https://example.com/"}},
		"AcceptOptions.OriginPatterns: \"example.com/path\"":        {OriginPatterns: []string{"example.com/path"}},
		"AcceptOptions.Subprotocols: \"a b\" is not a token":        {Subprotocols: []string{"v1", "a b"}},
		"AcceptOptions.Subprotocols: an element stands more":        {Subprotocols: []string{"v1", "v1"}},
		"AcceptOptions: CompressionMode is 7":                       {CompressionMode: 7},
		"AcceptOptions: CompressionSendWindowBits is 16":            {CompressionSendWindowBits: 16},
		"AcceptOptions: CompressionReceiveWindowBits is 7: it must": {CompressionReceiveWindowBits: 7},
	} {
		for door, panics := range map[string]func(){
			"Handler":   func() { Handler(serve, &opts) },
			"NewServer": func() { NewServer(serve, &ServerOptions{AcceptOptions: opts}) },
		} {
			if got := panicked(panics); !strings.Contains(got, "websocket: NewServer: invalid "+want) {
				t.Errorf("%s with %+v: got the panic %q, want %q", door, opts, got, want)
			}
		}

		// Accept tells the caller, not the client.
		for _, line := range []string{"", "Origin: http://example.com", "Origin: https://evil.example"} {
			w := httptest.NewRecorder()
			_, err := accept(w, request(t, edit(goodRequest, "Origin", line)+"\n"), &opts)
			if w.Code != 500 || w.Body.String() != "the server's options for WebSocket are invalid\n" || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Accept with %+v: got %d %q, %v, want the error %q", opts, w.Code, w.Body, err, want)
			}
		}
	}
	if got := panicked(func() { NewServer(nil, nil) }); got != "websocket: NewServer: serve is nil" {
		t.Errorf("serve is nil: got the panic %q", got)
	}
	if got := panicked(func() { Handler(nil, nil) }); got != "websocket: NewServer: serve is nil" {
		t.Errorf("serve is nil: got the panic %q", got)
	}
	near, far := netfake.Pipe(netfake.Options{})
	defer far.Close()
	var zero Server
	if got := panicked(func() {
		zero.ServeHTTP(&hijacker{ResponseWriter: httptest.NewRecorder(), Conn: near}, request(t, goodRequest+"\n"))
	}); !strings.Contains(got, "NewServer did not make") || zero.Connections() != 0 {
		t.Errorf("a zero Server: got the panic %q, %d connections", got, zero.Connections())
	}
}

// panicked returns the text of the panic of f, or "".
func panicked(f func()) (text string) {
	defer func() {
		if v := recover(); v != nil {
			text = fmt.Sprint(v)
		}
	}()
	f()
	return ""
}

// CheckOrigin has the last word on each request.
func TestCheckOriginOption(t *testing.T) {
	for _, tt := range []struct {
		lines    string
		patterns []string
		insecure bool
		allowed  bool // what CheckOrigin is told
		says     bool
		err      string
	}{
		{"", nil, false, true, true, ""},
		{"", nil, false, true, false, `the origin "" is not allowed`},
		{"Origin: http://example.com", nil, false, true, true, ""},
		{"Origin: http://example.com", nil, false, true, false, `the origin "http://example.com" is not allowed`},
		{"Origin: https://other.example/path", nil, false, false, true, ""}, // no origin, and yet
		{"Origin: https://other.example/path", nil, false, false, false, "is invalid"},
		{"Origin: null", nil, false, false, true, ""},
		{"Origin: null", []string{"null"}, false, true, true, ""},
		{"Origin: https://a.example", []string{"a.example"}, false, true, true, ""},
		{"Origin: https://a.example", []string{"a.example"}, false, true, false, "is not allowed"},
		{"Origin: https://b.example", []string{"a.example"}, false, false, false, "is not allowed for the host"},
		{"Origin: https://b.example", nil, true, true, true, ""},
		{"Origin: https://b.example", nil, true, true, false, "is not allowed"},
		{"Origin: a\nOrigin: b", nil, false, false, true, ""},
	} {
		asked := 0
		opts := &AcceptOptions{OriginPatterns: tt.patterns, InsecureSkipVerify: tt.insecure, CheckOrigin: func(r *http.Request, allowed bool) bool {
			asked++
			if r.Host != "example.com" || allowed != tt.allowed {
				t.Errorf("%q: CheckOrigin got the host %q and allowed %v", tt.lines, r.Host, allowed)
			}
			return tt.says
		}}
		_, no := checkRequest(request(t, edit(goodRequest, "Origin", tt.lines)+"\n"), opts)
		switch {
		case asked != 1:
			t.Errorf("%q: CheckOrigin was asked %d times", tt.lines, asked)
		case tt.err == "" && no != nil, tt.err != "" && (no == nil || no.status != 403 || !strings.Contains(no.reason, tt.err)):
			t.Errorf("%q: got %v, want %q", tt.lines, no, tt.err)
		}
	}
}

func BenchmarkAccept(b *testing.B) {
	text := edit(goodRequest, "Origin", "Origin: http://example.com")
	text = edit(text, "Sec-WebSocket-Extensions", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
	r := request(b, text+"\n")
	conn := discardConn{}
	rw := bufio.NewReadWriter(bufio.NewReader(strings.NewReader("")), bufio.NewWriter(io.Discard))
	w := benchHijacker{http.Header{}, conn, rw}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := accept(w, r, nil); err != nil {
			b.Fatal(err)
		}
	}
}

type benchHijacker struct {
	header http.Header
	conn   net.Conn
	rw     *bufio.ReadWriter
}

func (h benchHijacker) Header() http.Header                          { return h.header }
func (h benchHijacker) Write(p []byte) (int, error)                  { return len(p), nil }
func (h benchHijacker) WriteHeader(int)                              {}
func (h benchHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, h.rw, nil }

type discardConn struct{ net.Conn }

func (discardConn) Write(p []byte) (int, error)      { return len(p), nil }
func (discardConn) SetReadDeadline(time.Time) error  { return nil }
func (discardConn) SetWriteDeadline(time.Time) error { return nil }
