package websocket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// A refusalTest is a request that no server accepts, and the response to it.
type refusalTest struct {
	name, line string // the line of a good request that begins with name is replaced
	status     int
	body       string
}

func refusals() []refusalTest {
	const lost = "Sec-WebSocket-"
	return []refusalTest{
		{"GET", "POST /chat HTTP/1.1", 405, "is GET, not \"POST\""},
		{"GET", "HEAD /chat HTTP/1.1", 405, "is GET, not \"HEAD\""},
		{"GET", "CONNECT example.com:80 HTTP/1.1", 405, "is GET, not \"CONNECT\""},

		{"Upgrade", "", 426, "there is no Upgrade header"},
		{"Upgrade", "Upgrade: h2c", 426, `Upgrade header does not name websocket: "h2c"`},
		{"Upgrade", "Upgrade: websockets", 426, "does not name websocket"},
		{"Upgrade", "Upgrade: web, socket", 426, "does not name websocket"},
		{"Upgrade", "Upgrade:", 426, "does not name websocket"},
		{"Connection", "", 426, "Connection header does not name Upgrade"},
		{"Connection", "Connection: keep-alive", 426, `does not name Upgrade: "keep-alive"`},
		{"Connection", "Connection: notupgradeable", 426, "does not name Upgrade"},

		{lost + "Version", "", 426, `Sec-WebSocket-Version must be 13, not ""`},
		{lost + "Version", lost + "Version: 8", 426, `must be 13, not "8"`},
		{lost + "Version", lost + "Version: 13, 8", 426, "must be 13"},
		{lost + "Version", lost + "Version: 013", 426, "must be 13"},
		{lost + "Version", lost + "Version: 13\nSec-WebSocket-Version: 8", 426, "must be 13"},
		{lost + "Version", lost + "Version: 13\nSec-WebSocket-Version: 13", 426, "must be 13"}, // section 11.3.5

		{"GET", "GET /chat HTTP/1.0", 400, `HTTP/1.1 or later, not "HTTP/1.0"`},
		{"Host", "", 400, "no Host header"},
		{"Content-Length", "Content-Length: 5", 400, "a handshake has no body"},
		{"Transfer-Encoding", "Transfer-Encoding: chunked", 400, "a handshake has no body"},
		{lost + "Key", "", 400, "no Sec-WebSocket-Key header"},
		{lost + "Key", lost + "Key: " + wstest.SampleKey + "\n" + lost + "Key: " + wstest.SampleKey, 400, "Sec-WebSocket-Key stands more than once"},
		{lost + "Key", lost + "Key:", 400, `Sec-WebSocket-Key "" is not the base64 of 16 bytes`},
		{lost + "Key", lost + "Key: dGhlIHNhbXBsZSBub25jZQ", 400, "is not the base64 of 16 bytes"},             // no padding
		{lost + "Key", lost + "Key: dGhlIHNhbXBsZSBub25jZTE=", 400, "is not the base64 of 16 bytes"},           // 17 bytes
		{lost + "Key", lost + "Key: dGhlIHNhbXBsZSBub25j", 400, "is not the base64 of 16 bytes"},               // 15 bytes
		{lost + "Key", lost + "Key: dGhlIHNhbXBsZSBub25jZTEx", 400, "is not the base64 of 16 bytes"},           // 18 bytes in 24 digits
		{lost + "Key", lost + "Key: dGhlIHNhbXBsZSBub25!ZQ==", 400, "is not the base64 of 16 bytes"},           // a foreign digit
		{lost + "Key", lost + "Key: dGhlIHNhbXBsZSBub25-ZQ==", 400, "is not the base64 of 16 bytes"},           // a digit of URLs
		{lost + "Key", lost + "Key: " + strings.Repeat("A", 1000), 400, `A"... is not the base64 of 16 bytes`}, // errors are short
		{lost + "Key", lost + "Key: " + wstest.SampleKey + ", " + wstest.SampleKey, 400, "is not the base64 of 16 bytes"},
		{lost + "Protocol", lost + "Protocol: a b", 400, `invalid Sec-WebSocket-Protocol: "a b" is not a token`},
		{lost + "Protocol", lost + "Protocol: a, a", 400, "invalid Sec-WebSocket-Protocol"},
		{lost + "Protocol", lost + "Protocol: a\nSec-WebSocket-Protocol: a", 400, "invalid Sec-WebSocket-Protocol"},
		{lost + "Extensions", lost + "Extensions: foo;", 400, "invalid Sec-WebSocket-Extensions: a token is expected"},

		{"Origin", "Origin: https://evil.example", 403, `the origin "https://evil.example" is not allowed for the host "example.com"`},
		{"Origin", "Origin: null", 403, `the origin "null" is not allowed`},
		{"Origin", "Origin: <script>", 403, `the origin "<script>" is invalid`},
		{"Origin", "Origin: http://example.com\nOrigin: http://example.com", 403, "several Origin headers"},

		{"", "", 501, "no http.Hijacker"}, // a good request, but a recorder cannot be hijacked
	}
}

func TestAcceptRefusals(t *testing.T) {
	for _, tt := range refusals() {
		t.Run(tt.name+" as "+tt.line, func(t *testing.T) {
			text := goodRequest
			if tt.name != "" {
				text = edit(text, tt.name, tt.line)
			}
			w := httptest.NewRecorder()
			w.Header().Set("Content-Length", "1")
			_, err := accept(w, request(t, text+"\n"), nil)
			resp := w.Result()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.status || !strings.Contains(string(body), tt.body) {
				t.Errorf("got %d %q, want %d with %q", resp.StatusCode, body, tt.status, tt.body)
			}
			want := "websocket: " + strings.TrimSuffix(string(body), "\n")
			if tt.status == 501 {
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
			switch tt.status {
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

// handlerPeer serves serve and returns a raw client that has done its
// handshake, and what the server logs.
func handlerPeer(t *testing.T, serve func(*Conn, *http.Request)) (p *wstest.Peer, logged func() string) {
	t.Helper()
	var out bytes.Buffer
	done := make(chan struct{})
	s := httptest.NewUnstartedServer(Handler(func(c *Conn, r *http.Request) {
		// The context ends when everything else is done.
		context.AfterFunc(r.Context(), func() { close(done) })
		serve(c, r)
	}, nil))
	s.Config.ErrorLog = log.New(&out, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p = wstest.NewPeer(t, conn, wstest.Client)
	p.ClientHandshake("/", "example.com")
	return p, func() string {
		<-done
		return out.String()
	}
}

func TestHandlerPanic(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  string
	}{
		{"boom", ": boom\n"},
		{fmt.Errorf("an error"), ": an error\n"},
		{http.ErrAbortHandler, ""},
	} {
		p, logged := handlerPeer(t, func(*Conn, *http.Request) { panic(tt.value) })
		p.WantClose(int(StatusInternalError))
		p.WriteClose(int(StatusInternalError), "")
		p.WantEnd()
		got := logged()
		if tt.want == "" && got != "" || tt.want != "" && !strings.HasPrefix(got, "http: panic serving "+p.Conn.LocalAddr().String()+tt.want+"goroutine ") {
			t.Errorf("panic(%v): the log is %.200q", tt.value, got)
		}
		if tt.want != "" && !strings.Contains(got, "TestHandlerPanic") {
			t.Errorf("panic(%v): the place of the panic is not in the log: %s", tt.value, got)
		}
	}
}

// When serve returns, the connection ends. If serve has closed it, that was it.
func TestHandlerReturns(t *testing.T) {
	for _, tt := range []struct {
		serve func(*Conn, *http.Request)
		code  int
	}{
		{func(*Conn, *http.Request) {}, 1000},
		{func(c *Conn, _ *http.Request) { c.Close(4000, "") }, 4000},
		{func(c *Conn, _ *http.Request) { runtime.Goexit() }, 1000},
	} {
		p, logged := handlerPeer(t, tt.serve)
		p.WantClose(tt.code)
		p.WriteClose(tt.code, "")
		p.WantEnd()
		if s := logged(); s != "" {
			t.Errorf("the log is %q", s)
		}
	}
	p, _ := handlerPeer(t, func(c *Conn, _ *http.Request) { c.CloseNow() })
	p.WantEnd()
}

// The context of the request has its values, and lives as long as the
// connection.
func TestHandlerContext(t *testing.T) {
	type key struct{}
	returned := make(chan struct{})
	result := make(chan error, 1)
	h := NewServer(func(c *Conn, r *http.Request) {
		<-returned
		ctx := r.Context()
		if ctx.Value(key{}) != "value" || ctx.Value(http.ServerContextKey) == nil {
			t.Errorf("the values are gone: %v", ctx)
		}
		if err := ctx.Err(); err != nil {
			t.Errorf("the context has ended with the handler: %v", err)
		}
		if _, ok := ctx.Deadline(); ok {
			t.Error("the context has a deadline")
		}
		if r.URL.Path != "/path" || r.Host != "example.com" {
			t.Errorf("got the request %v", r)
		}
		go c.Read(context.Background()) // notices that the peer is gone
		<-ctx.Done()
		result <- ctx.Err()
	}, &ServerOptions{Detach: (*http.Request).Context})
	conn := rawServer(t, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), key{}, "value"), time.Hour)
		h.ServeHTTP(w, r.WithContext(ctx))
		cancel()
		close(returned)
	})
	wstest.NewPeer(t, conn, wstest.Client).ClientHandshake("/path", "example.com")
	conn.Close()
	if err := <-result; err != context.Canceled {
		t.Errorf("the context ended with %v", err)
	}
}

// The context that no caller asked for until the connection had ended has ended
// too. So has one that was derived from it.
func TestHandlerContextAfterTheEnd(t *testing.T) {
	result := make(chan []error, 1)
	h := Handler(func(c *Conn, r *http.Request) {
		c.CloseNow()
		child, cancel := context.WithCancel(r.Context())
		defer cancel()
		result <- []error{r.Context().Err(), child.Err(), context.Cause(child)}
	}, nil)
	wstest.NewPeer(t, rawServer(t, h.ServeHTTP), wstest.Client).ClientHandshake("/", "example.com")
	for _, err := range <-result {
		if err != context.Canceled {
			t.Errorf("got %v", err)
		}
	}
}

// CloseRead with the request's context, which it is the first to use.
func TestHandlerCloseRead(t *testing.T) {
	ended := make(chan struct{})
	h := Handler(func(c *Conn, r *http.Request) {
		ctx := c.CloseRead(r.Context())
		if err := c.Write(ctx, MessageText, []byte("a")); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		close(ended)
	}, nil)
	p := wstest.NewPeer(t, rawServer(t, h.ServeHTTP), wstest.Client)
	p.ClientHandshake("/", "example.com")
	p.WantFrame(wstest.Text, "a")
	p.WriteClose(1000, "")
	p.WantClose(1000)
	<-ended
}

// While serve runs, nothing of net/http is kept; and once it has dropped the
// request, neither is that.
func TestServeHTTPFreesMemory(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testServeHTTPFreesMemory(t, false) })
	t.Run("with Detach", func(t *testing.T) { testServeHTTPFreesMemory(t, true) })
}

func testServeHTTPFreesMemory(t *testing.T, wrapped bool) {
	all := map[string]func() bool{}
	returned := make(chan struct{})
	result := make(chan string, 1)
	var opts ServerOptions
	if wrapped {
		opts.Detach = (*http.Request).Context
	}
	h := NewServer(func(c *Conn, r *http.Request) {
		<-returned
		p := weak.Make(r)
		all["the request of serve"] = func() bool { return p.Value() != nil }
		var left []string
		for i := 0; i == 0 || i < 50 && len(left) > 0; i++ { // net/http is still at its return
			left = left[:0]
			runtime.GC()
			for name, inMemory := range all {
				if inMemory() {
					left = append(left, name)
				}
			}
		}
		result <- strings.Join(left, ", ")
		c.Read(context.Background())
	}, &opts)
	conn := rawServer(t, func(w http.ResponseWriter, r *http.Request) {
		pr := weak.Make(r)
		all["the request"] = func() bool { return pr.Value() != nil }
		if wrapped {
			ww := &hijackerOnly{w}
			pw := weak.Make(ww)
			all["the ResponseWriter"] = func() bool { return pw.Value() != nil }
			w = ww
		}
		h.ServeHTTP(w, r)
		close(returned)
	})
	wstest.NewPeer(t, conn, wstest.Client).ClientHandshake("/", "example.com")
	if left := <-result; left != "" {
		t.Errorf("still in memory: %s", left)
	}
}

type hijackerOnly struct{ http.ResponseWriter }

func (h *hijackerOnly) Unwrap() http.ResponseWriter { return h.ResponseWriter }

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

// A refused request does not reach serve.
func TestHandlerRefuses(t *testing.T) {
	h := Handler(func(*Conn, *http.Request) { t.Error("serve was called") }, nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 426 {
		t.Errorf("got %d", w.Code)
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

// byRequest is a Configure that decides by the path and the offer.
func byRequest(r *http.Request, opts *AcceptOptions) error {
	switch r.URL.Path {
	case "/private":
		return &HandshakeError{StatusCode: 401, Body: []byte("who are you?\n"), Header: http.Header{"Www-Authenticate": {"Basic"}, "Upgrade": {"x"}, "Content-Length": {"1"}}}
	case "/moved":
		return &HandshakeError{StatusCode: 307, Header: http.Header{"Location": {"/elsewhere"}}}
	case "/odd":
		return &HandshakeError{StatusCode: 101}
	case "/secret":
		return errors.New("the database says no")
	case "/invalid":
		opts.ReadLimit, opts.OriginPatterns = 1, []string{"["}
	case "/small":
		opts.ReadLimit, opts.CompressionMode = 3, CompressionNoContextTakeover
	}
	if i := slices.IndexFunc(Subprotocols(r), func(s string) bool { return strings.HasPrefix(s, "chat.") }); i >= 0 {
		opts.Subprotocols = Subprotocols(r)[i : i+1]
	}
	return nil
}

// What Configure decides holds through all doors of a server, for its request
// only.
func TestConfigure(t *testing.T) {
	opts := &AcceptOptions{Configure: byRequest}
	doors := map[string]func(far net.Conn) (stop func()){
		"Accept": func(far net.Conn) func() {
			l := &pipeListener{Conns: make(chan net.Conn, 1), Closed: make(chan struct{})}
			l.Conns <- far
			s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c, err := Accept(w, r, opts); err == nil {
					serveEcho(c, r)
				} else if r.URL.Path == "/secret" && !strings.Contains(err.Error(), "database") {
					t.Errorf("got the error %v", err)
				}
			})}
			go s.Serve(l)
			return func() { s.Close() }
		},
		"Handler": func(far net.Conn) func() {
			l := &pipeListener{Conns: make(chan net.Conn, 1), Closed: make(chan struct{})}
			l.Conns <- far
			s := &http.Server{Handler: Handler(serveEcho, opts)}
			go s.Serve(l)
			return func() { s.Close() }
		},
		"AcceptConn": func(far net.Conn) func() {
			go func() {
				c, r, err := AcceptConn(context.Background(), far, opts)
				if err == nil {
					serveEcho(c, r)
				} else if r.URL.Path == "/secret" && !strings.Contains(err.Error(), "database") {
					t.Errorf("got the error %v", err)
				}
			}()
			return func() {}
		},
	}
	for name, door := range doors {
		for _, tt := range []struct {
			path   string
			status int
			body   string
			header string
		}{
			{"/private", 401, "who are you?\n", "Www-Authenticate"},
			{"/moved", 307, "Temporary Redirect\n", "Location"},
			{"/odd", 403, "the server refuses the request\n", ""},
			{"/secret", 403, "the server refuses the request\n", ""},
			{"/invalid", 500, "the server's options for WebSocket are invalid\n", ""},
			{"/small", 101, "", ""},
			{"/", 101, "", ""},
		} {
			t.Run(name+tt.path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					near, far := netfake.Pipe(netfake.Options{})
					stop := door(far)
					defer func() { stop(); near.Close(); time.Sleep(time.Minute) }()
					c, resp, err := DialConn(t.Context(), near, "ws://example.com"+tt.path, &DialOptions{Subprotocols: []string{"x", "chat.2", "chat.1"}, CompressionMode: CompressionContextTakeover})
					if resp == nil || resp.StatusCode != tt.status {
						t.Fatalf("got %v, %v", resp, err)
					}
					if tt.status != 101 {
						body, _ := io.ReadAll(resp.Body)
						if string(body) != tt.body || tt.header != "" && resp.Header.Get(tt.header) == "" {
							t.Errorf("got %q, %v", body, resp.Header)
						}
						return
					}
					state := c.ConnectionState()
					want := ""
					if tt.path == "/small" {
						want = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
					}
					if state.Subprotocol != "chat.2" || state.Extensions != want || state.Proto != "HTTP/1.1" || state.TLS != nil {
						t.Errorf("got %+v", state)
					}
					c.Write(t.Context(), MessageText, []byte("long"))
					_, data, err := c.Read(t.Context())
					if tt.path == "/small" && CloseStatus(err) != StatusMessageTooBig || tt.path == "/" && string(data) != "long" {
						t.Errorf("got %q, %v", data, err)
					}
					c.CloseNow()
				})
			})
		}
	}
	if opts.ReadLimit != 0 || opts.Subprotocols != nil {
		t.Errorf("the caller's options are changed: %+v", opts)
	}
}

func TestSubprotocols(t *testing.T) {
	for _, tt := range []struct{ lines, want []string }{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{"a, b"}, []string{"a", "b"}},
		{[]string{"a", "b,,c"}, []string{"a", "b", "c"}},
		{[]string{"a b"}, nil},
		{[]string{"a, a"}, nil},
	} {
		r := &http.Request{Header: http.Header{"Sec-Websocket-Protocol": tt.lines}}
		if got := Subprotocols(r); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.lines, got, tt.want)
		}
	}
}

// A blockedContext has a value that is looked at for as long as the test wants.
type blockedContext struct {
	context.Context
	entered, release chan struct{}
}

func (x blockedContext) Value(key any) any {
	if key != "key" {
		return x.Context.Value(key)
	}
	close(x.entered)
	<-x.release
	return "value"
}

type noEvents struct{}

func (noEvents) Message(Message) {}
func (noEvents) Close(error)     {}

// While a goroutine that open has started looks at a value, ServeHTTP does not
// return: a router could give the values to another request.
func TestEventsValuesInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		values := blockedContext{context.Background(), make(chan struct{}), make(chan struct{})}
		var value any
		looked := make(chan struct{})
		s := Events(func(c *Conn, r *http.Request) EventHandler {
			go func() {
				value = r.Context().Value("key")
				close(looked)
			}()
			<-values.entered
			return noEvents{}
		}, nil)
		near, far := netfake.Pipe(netfake.Options{})
		defer far.Close()
		served := start(func() error {
			s.ServeHTTP(&hijacker{ResponseWriter: httptest.NewRecorder(), Conn: near}, request(t, goodRequest+"\n").WithContext(values))
			return nil
		})
		wstest.NewPeer(t, far, wstest.Client).ReadHead()
		if !running(served) {
			t.Error("ServeHTTP returns while a value is looked at")
		}
		close(values.release)
		<-served
		if <-looked; value != "value" {
			t.Errorf("the value is %v", value)
		}
		s.Close()
	})
}
