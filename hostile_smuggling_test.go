package websocket

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
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

// Requests and responses hidden behind others. What a client makes of a 101 that is wrong is in
// TestWrongResponseOverHTTP and TestCheckResponse, of the fields of an application in FuzzResponse.

// A request behind one that is refused, or in its body, is not served: to a proxy in front it may have looked like
// frames. A 101 comes only when the connection is one of WebSocket from there on.
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

// No status but 101 makes a connection, however right the rest of the response is, and no second response does.
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

// lineBreaks are what can end a line, or a string, for somebody on the way.
var lineBreaks = []string{"\r\n", "\n", "\r", "\x00", "\r\n\r\n", "\x0b", "\u2028"}

// eachString calls f with each copy of opts in which one string, wherever it is, has become s. It finds new fields by
// itself; those that it does not know how to fill fail the test.
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
		case reflect.TypeFor[*http.Client]():
		default:
			switch field.Type.Kind() {
			case reflect.Bool, reflect.Int, reflect.Int64, reflect.Func:
			default:
				t.Errorf("%s is a %v: what could it smuggle?", field.Name, field.Type)
			}
		}
	}
}

// smuggled reports whether head has a line that begins with X-Smuggled, or more than one end.
func smuggled(head string) bool {
	lines := strings.FieldsFunc(head, func(r rune) bool { return r == '\r' || r == '\n' })
	for _, line := range lines {
		if strings.HasPrefix(line, "X-Smuggled") {
			return true
		}
	}
	return strings.ContainsAny(strings.ReplaceAll(head, "\r\n", ""), "\r\n\x00\x0b") || strings.Count(head, "\r\n\r\n") != 1
}

// No string that an application passes in breaks out of the place where it goes: into the request of a client.
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

// The same for the response of a server: of its options, and of the header that the handler has set.
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
		conn, err := accept(&hijacker{ResponseWriter: w, conn: near}, r, &opts)
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
