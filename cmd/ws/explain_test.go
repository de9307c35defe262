package main

import (
	"crypto/sha1"
	"encoding/base64"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
)

var discardLog = log.New(io.Discard, "", 0)

func testTime() time.Time { return time.Now() }

func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Every status that docs/handshake-errors.md knows has a sentence here, and no
// other.
func TestStatusSentences(t *testing.T) {
	page, err := os.ReadFile("../../docs/handshake-errors.md")
	if err != nil {
		t.Fatal(err)
	}
	on := map[int]bool{}
	for _, m := range regexp.MustCompile(`(?m)^### (\d{3}) `).FindAllStringSubmatch(string(page), -1) {
		status, _ := strconv.Atoi(m[1])
		on[status] = true
		if statusSentences[status] == "" {
			t.Errorf("there is no sentence for %d", status)
		}
	}
	for status := range statusSentences {
		if !on[status] {
			t.Errorf("the page does not know %d", status)
		}
	}
	for status, texts := range refusalTexts {
		for _, text := range texts {
			if !strings.Contains(string(page), text.part) {
				t.Errorf("the page does not have the text %q of %d", text.part, status)
			}
		}
	}
}

// What a server answers, and what ws says of it.
func TestRefusals(t *testing.T) {
	answer := func(status int, header, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name, value, _ := strings.Cut(header, ": ")
			if name != "" {
				w.Header().Set(name, value)
			}
			if status == http.StatusSwitchingProtocols {
				w.Header().Set("Upgrade", "websocket")
				w.Header().Set("Connection", "Upgrade")
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
	var noUpgrade http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Upgrade") // as a proxy would
		websocket.Handler(echo, nil).ServeHTTP(w, r)
	})
	for name, tt := range map[string]struct {
		handler http.Handler
		args    string
		err     string
	}{
		"origin": {websocket.Handler(echo, nil), "--origin https://a.example",
			`(?s)^ws: the server answered with status 403 Forbidden, not 101: ".*a.example.*"\n    The server does not let pages of this origin connect`},
		"null origin":      {websocket.Handler(echo, nil), "--origin null", "no page without an origin of its own"},
		"a page":           {answer(200, "", "<html>"), "", "does not know WebSocket"},
		"unauthorized":     {answer(401, "", ""), "", "status 401 Unauthorized.*\n.*wants credentials: try --bearer"},
		"forbidden":        {answer(403, "", ""), "", "does not admit this client"},
		"not found":        {answer(404, "Content-Type: text/plain", "404 page not found\n"), "", "404 page not found.*\n.*path is wrong"},
		"teapot":           {answer(418, "", ""), "", "no valid handshake"},
		"no upgrade":       {noUpgrade, "", "drops the Upgrade header"},
		"bad gateway":      {answer(502, "", ""), "", "The proxy could not talk"},
		"insufficient":     {answer(507, "", ""), "", "The program of the server failed"},
		"full":             {websocket.NewServer(echo, &websocket.ServerOptions{MaxConnections: 1}), "FULL", "as many connections as it takes"},
		"no accept header": {answer(101, "", ""), "", "answers 101 to every request"},
		"controls": {answer(400, "Content-Type: text/plain", "\x1b[2J"), "",
			`400 Bad Request, not 101: "\\x1b\[2J"`},
		"subprotocol": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Sec-WebSocket-Accept", acceptKey(r.Header.Get("Sec-WebSocket-Key")))
			answer(101, "Sec-WebSocket-Protocol: other", "").ServeHTTP(w, r)
		}), "-s mine", "must choose one of the subprotocols"},
		"extension": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Sec-WebSocket-Accept", acceptKey(r.Header.Get("Sec-WebSocket-Key")))
			answer(101, "Sec-WebSocket-Extensions: permessage-foo", "").ServeHTTP(w, r)
		}), "", "extensions that do not fit the offer"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(tt.handler)
			defer s.Close()
			url := "ws" + strings.TrimPrefix(s.URL, "http")
			args := strings.Fields(tt.args)
			if tt.args == "FULL" {
				c, _, err := websocket.Dial(t.Context(), url, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer c.CloseNow()
				args = nil
			}
			ws(t, "", append(args, url)...).want(t, exitRefused, "", tt.err)
		})
	}
}

// No answer at all.
func TestUnreachable(t *testing.T) {
	// raw starts a server that does this with each connection.
	raw := func(serve func(net.Conn)) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					serve(c)
				}()
			}
		}()
		return ln.Addr().String()
	}
	readHead := func(c net.Conn) { c.Read(make([]byte, 4096)) }
	for name, tt := range map[string]struct{ args, err string }{
		"nobody":     {"ws://" + closedPort(t), "refused\n    No program listens"},
		"no answer":  {"--connect-timeout 50ms ws://" + raw(func(c net.Conn) { io.Copy(io.Discard, c) }), "No answer in time"},
		"TLS silent": {"--connect-timeout 50ms wss://" + raw(func(c net.Conn) { io.Copy(io.Discard, c) }), "No answer in time"},
		"end":        {"ws://" + raw(readHead), "ended the connection: it may want wss"},
		"other protocol": {"ws://" + raw(func(c net.Conn) {
			io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n")
			readHead(c)
		}), "does not speak HTTP/1.1"},
		"redirect": {"ws://" + raw(func(c net.Conn) {
			readHead(c)
			io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: ftp://other/\r\nContent-Length: 0\r\n\r\n")
			readHead(c)
		}), "ws: unsupported protocol scheme"},
		"name": {"ws://no-such-host.invalid/", "The name of the host is wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			ws(t, "", strings.Fields(tt.args)...).want(t, exitUnreachable, "", tt.err)
		})
	}
}
