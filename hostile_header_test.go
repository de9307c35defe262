package websocket

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// Handshakes with headers that are too many, too long or not made of what headers are made of. What single fields may
// hold is in TestAcceptRefusals and TestCheckResponse, long ones of a request in TestAbsurdHeaders.

// serveOn serves requests on the connections that dial returns, and fails the test if a handler panics.
func serveOn(t *testing.T, server *http.Server) (dial func() *netfake.Conn, stop func()) {
	l := &pipeListener{make(chan net.Conn), make(chan struct{})}
	var logged bytes.Buffer
	server.ErrorLog = log.New(&logged, "", 0)
	done := make(chan struct{})
	go func() {
		server.Serve(l)
		close(done)
	}()
	dial = func() *netfake.Conn {
		conn, _ := l.dial(t.Context(), "", "")
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

// exchange sends a request and returns the response: nil if the server has just closed.
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

// Hundreds of header fields, of whatever name, are read and refused, or not, as one is. So are thousands, unless
// net/http refuses them by itself: since Go 1.27 it takes 500 by default.
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

// A request and a response whose header has no end are given up at the limit that net/http has for them, though they
// come byte by byte: 20 MB take no more than that.
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

// Memory grows no faster than a header does, and what errors say of it is short, in a request and in a response.
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

// Control characters and bytes beyond ASCII, within each field of the handshake that counts: no upgrade comes of it
// on either side, and what is said of it is one line of text.
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
