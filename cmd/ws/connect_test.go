package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed70bc5565/websocket"
)

// The input and the output.
func TestPipe(t *testing.T) {
	url := serve(t, echo, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
	long := strings.Repeat("0123456789", 20_000)
	for name, tt := range map[string]struct {
		stdin string
		args  string
		out   string
	}{
		"one line":           {"hi\n", "-n 1", "hi\n"},
		"no line end":        {"hi", "-n 1", "hi\n"},
		"empty messages":     {"\n\n", "-n 2", "\n\n"},
		"lines of Windows":   {"a\r\nb\r\n", "-n 2", "a\nb\n"},
		"end of stdin":       {"a\nb\nc\n", "--linger 10ms", "a\nb\nc\n"},
		"nothing":            {"", "--linger 10ms", ""},
		"long":               {long, "-n 1", long + "\n"},
		"compressed":         {long, "-z -n 1", long + "\n"},
		"small windows":      {long, "--window-send 9 --window-receive 9 -n 1", long + "\n"},
		"no takeover":        {"a\na\n", "--no-takeover --compress-from 0 -n 2", "a\na\n"},
		"JSON":               {`{"a":1}`, "-j -n 1", "{\n  \"a\": 1\n}\n"},
		"no JSON":            {`{"a":`, "-j -n 1", "{\"a\":\n"},
		"empty and JSON":     {"\n", "-j -n 1", "\n"},
		"binary":             {"a\xff\n", "-b -n 1", "61ff\n"},
		"binary as base64":   {"abc\n", "-b -n 1 --binary-as base64", "YWJj\n"},
		"binary as it is":    {"abc\n\xff\n", "-b -n 2 --binary-as raw", "abc\xff"},
		"binary as dump":     {"abc\n", "-b -n 1 --binary-as dump", "binary, 3 bytes\n00000000  61 62 63                                          |abc|\n"},
		"hex":                {"61 62:63\n", "--hex -n 1", "616263\n"},
		"whole":              {"a\nb\n", "--whole -n 1 -0", "a\nb\n\x00"},
		"zero bytes":         {"a\nb\x00c\x00", "-0 -n 2", "a\nb\x00c\x00"},
		"not printed":        {"a\n", "--send-only -n 1", ""},
		"controls in a pipe": {"\x1b[2J\n", "-n 1", "\x1b[2J\n"},
		"URL without scheme": {"hi\n", "-n 1 " + strings.TrimPrefix(url, "ws://"), "hi\n"},
	} {
		t.Run(name, func(t *testing.T) {
			args := strings.Fields(tt.args)
			if !strings.Contains(tt.args, "127.0.0.1") {
				args = append(args, url)
			}
			ws(t, tt.stdin, args...).want(t, exitOK, tt.out, `(?m)^connected to 127\.0\.0\.1:[^$]*^closed: 1000 \(normal closure\)$`)
		})
	}
}

func TestInputThatCannotBeSent(t *testing.T) {
	url := serve(t, echo, nil)
	ws(t, "\xff\n", "--linger", "10ms", url).want(t, exitFailed, "", `message 1 of stdin is not UTF-8: send it with -b`)
	ws(t, "6\n", "--hex", url).want(t, exitFailed, "", `message 1 of stdin: it is not pairs of hex digits`)
}

// How a connection ends decides the exit code, and is always said.
func TestEndings(t *testing.T) {
	closes := func(code websocket.StatusCode, reason string) func(*websocket.Conn, *http.Request) {
		return func(c *websocket.Conn, r *http.Request) {
			c.Write(r.Context(), websocket.MessageText, []byte("last words"))
			c.Close(code, reason)
		}
	}
	for name, tt := range map[string]struct {
		serve func(*websocket.Conn, *http.Request)
		args  string
		code  int
		err   string
	}{
		"normal":     {closes(1000, "done"), "-r", exitOK, `closed by the peer: 1000 \(normal closure\) "done"`},
		"going away": {closes(1001, ""), "-r", exitOK, `closed by the peer: 1001 \(going away\)`},
		"no code":    {closes(1005, ""), "-r", exitOK, `closed by the peer: 1005 \(no code\)`},
		"policy":     {closes(1008, "go away"), "-r", exitCloseCode, `closed by the peer: 1008 \(policy violation\) "go away"`},
		"private":    {closes(4321, "\x1b"), "-r", exitCloseCode, `closed by the peer: 4321 \(private code\) "\\x1b"`},
		"dropped": {func(c *websocket.Conn, r *http.Request) {
			c.Write(r.Context(), websocket.MessageText, []byte("last words"))
			c.CloseNow()
		}, "-r", exitBroken, `closed: 1006 \(no close frame\): .*`},
		"fewer than -n": {closes(1000, ""), "-r -n 2", exitMissing, `ws: 1 of 2 messages came`},
		"time is up": {func(c *websocket.Conn, r *http.Request) {
			c.Write(r.Context(), websocket.MessageText, []byte("last words"))
			<-c.CloseRead(r.Context()).Done()
		}, "-r -t 500ms", exitOK, `closed: 1000 \(normal closure\)`},
		"too big": {func(c *websocket.Conn, r *http.Request) {
			c.Write(r.Context(), websocket.MessageText, []byte("last words"))
			c.Write(r.Context(), websocket.MessageText, make([]byte, 100))
			<-c.CloseRead(r.Context()).Done()
		}, "-r --max-message 50", exitBroken, `closed: 1009 \(message too big\)[^:]*: .*`},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, tt.serve, nil)
			ws(t, "", append(strings.Fields(tt.args), url)...).want(t, tt.code, "last words\n", `(?m)^`+tt.err+`$`)
		})
	}
}

// A peer that breaks the protocol is told so, and the user too.
func TestPeerBreaksProtocol(t *testing.T) {
	url := rawServer(t, func(c net.Conn, r *bufio.Reader) {
		c.Write(appendFrame(nil, 0xf1, nil, []byte("x")))
		io.Copy(io.Discard, r)
	})
	ws(t, "", "-r", url).want(t, exitBroken, "", `closed: 1002 \(protocol error\) .*reserved bit`)
}

// rawServer accepts handshakes by hand, and gives the connection to talk.
func rawServer(t *testing.T, talk func(net.Conn, *bufio.Reader)) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			acceptKey(r.Header.Get("Sec-WebSocket-Key")))
		talk(c, rw.Reader)
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

// An interruption closes with 1001.
func TestInterrupted(t *testing.T) {
	got := make(chan websocket.StatusCode, 1)
	url := serve(t, func(c *websocket.Conn, r *http.Request) {
		_, _, err := c.Read(r.Context())
		got <- websocket.CloseStatus(err)
	}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	stdin, keep := io.Pipe()
	defer keep.Close()
	p := start(ctx, stdin, url)
	p.err.wait(t, "connected to")
	cancel()
	if code := <-p.code; code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	if code := <-got; code != websocket.StatusGoingAway {
		t.Errorf("the server got %d", code)
	}
}

func TestSave(t *testing.T) {
	url := serve(t, echo, nil)
	dir := t.TempDir()
	ws(t, "abc\ndef\n", "-b", "-n", "2", "-o", filepath.Join(dir, "all"), url).want(t, exitOK, "", "closed")
	ws(t, "abc\ndef\n", "-b", "-n", "2", "--save", filepath.Join(dir, "m-%02d"), url).want(t, exitOK, "", `binary, 3 bytes: saved as .*m-02`)
	for name, want := range map[string]string{"all": "abcdef", "m-01": "abc", "m-02": "def"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); string(b) != want || err != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	ws(t, "abc\n", "-b", "-n", "1", "-o", filepath.Join(dir, "none", "m-%d"), url).want(t, exitFailed, "", `(?m)^ws: .*no such file`)
}

// The fields that options put into the handshake.
func TestHandshakeOptions(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := serve(t, func(c *websocket.Conn, r *http.Request) {
		text := fmt.Sprintf("%s %s [%s] %s %s %s", r.Host, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Origin"), r.Header["X-A"], c.Subprotocol())
		c.Write(r.Context(), websocket.MessageText, []byte(text))
	}, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"chat", "v2"}})
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--host", "h.example"}, "h.example / []  [] "},
		{[]string{"--host", "h", "--bearer", "secret"}, "h / [Bearer secret]  [] "},
		{[]string{"--host", "h", "--bearer", "@" + token}, "h / [Bearer from a file]  [] "},
		{[]string{"--host", "h", "--origin", "https://page.example"}, "h / [] https://page.example [] "},
		{[]string{"--host", "h", "-H", "X-A: 1:2", "--header", "x-a:3"}, "h / []  [1:2 3] "},
		{[]string{"--host", "h", "-s", "v9", "-s", "v2"}, "h / []  [] v2"},
	} {
		ws(t, "", append(tt.args, "-r", url)...).want(t, exitOK, tt.want+"\n", "closed by the peer: 1000")
	}
	ws(t, "", "-v", "-r", "-s", "chat", url).want(t, exitOK, strings.TrimPrefix(url, "ws://")+" / []  [] chat\n",
		`(?s)HTTP/1.1 101 Switching Protocols\n.*Sec-Websocket-Protocol: chat\n.*connected to .*, subprotocol chat\n.*received 1 messages`)
	ws(t, "", "-r", "--bearer", "@"+token+".none", url).want(t, exitFailed, "", `--bearer: .*no such file`)
}

// A compression that the server does not want is said.
func TestCompressionDeclined(t *testing.T) {
	ws(t, "", "-z", "-r", "-t", "10ms", serve(t, echo, nil)).want(t, exitOK, "", `no compression \(the server does not want it\)`)
	ws(t, "", "-z", "-r", "-t", "10ms", serve(t, echo, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})).
		want(t, exitOK, "", `connected to .*, permessage-deflate`)
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Skip(err)
	}
	s := &http.Server{Handler: websocket.Handler(echo, nil)}
	go s.Serve(ln)
	defer s.Close()
	ws(t, "hi\n", "-n", "1", "--unix", path, "ws://localhost/chat").want(t, exitOK, "hi\n", "connected to "+path)
	ws(t, "hi\n", "-n", "1", "--unix", path+"x", "ws://localhost/chat").want(t, exitUnreachable, "", "There is no socket at this path.")
}

// tlsServer starts a server with TLS, and writes its certificate to a file.
func tlsServer(t *testing.T, config *tls.Config) (url, ca string) {
	s := httptest.NewUnstartedServer(websocket.Handler(echo, nil))
	s.Config.ErrorLog = discardLog
	s.TLS = config
	s.StartTLS()
	t.Cleanup(s.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, ca, "CERTIFICATE", s.Certificate().Raw)
	return "wss" + strings.TrimPrefix(s.URL, "https"), ca
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := pem.Encode(f, &pem.Block{Type: kind, Bytes: der}); err != nil {
		t.Fatal(err)
	}
}

func TestTLS(t *testing.T) {
	url, ca := tlsServer(t, nil)
	ws(t, "hi\n", "-n", "1", "--ca", ca, url).want(t, exitOK, "hi\n", "closed: 1000")
	ws(t, "hi\n", "-n", "1", "-k", url).want(t, exitOK, "hi\n", "closed: 1000")
	ws(t, "hi\n", "-n", "1", url).want(t, exitUnreachable, "", `The authority of the certificate is not known: name it with --ca`)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "wss://"))
	ws(t, "hi\n", "-n", "1", "--ca", ca, "wss://localhost:"+port).want(t, exitUnreachable, "", `The certificate is for another name`)
	ws(t, "hi\n", "-n", "1", "--ca", ca+"x", url).want(t, exitFailed, "", `--ca: .*no such file`)
	ws(t, "hi\n", "-n", "1", "ws"+strings.TrimPrefix(url, "wss")).want(t, exitRefused, "", `The server speaks TLS: use wss in place of ws`)
	ws(t, "hi\n", "-n", "1", "wss"+strings.TrimPrefix(serve(t, echo, nil), "ws")).want(t, exitUnreachable, "", `The server does not speak TLS: use ws`)
}

func TestClientCertificate(t *testing.T) {
	pair, err := selfSigned(testTime())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	url, ca := tlsServer(t, &tls.Config{ClientAuth: tls.RequireAnyClientCert, ClientCAs: pool})
	file := filepath.Join(t.TempDir(), "client.pem")
	writePEM(t, file, "CERTIFICATE", pair.Certificate[0])
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, file, "PRIVATE KEY", key)
	ws(t, "hi\n", "-n", "1", "--ca", ca, "--cert", file, url).want(t, exitOK, "hi\n", "closed: 1000")
	ws(t, "hi\n", "-n", "1", "--ca", ca, url).want(t, exitUnreachable, "", `it may want a client's certificate \(--cert\)`)
	ws(t, "hi\n", "-n", "1", "--ca", ca, "--cert", ca, url).want(t, exitFailed, "", `--cert: `)
}

// A proxyServer is an HTTP proxy that knows CONNECT only.
func proxyServer(t *testing.T, secure bool) (url, ca string, asked func() []string) {
	var mu sync.Mutex
	var targets []string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		targets = append(targets, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
		mu.Unlock()
		if r.Header.Get("Proxy-Authorization") == "" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer to.Close()
		w.WriteHeader(http.StatusOK)
		from, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer from.Close()
		go func() {
			io.Copy(to, rw) // net/http may have read the first byte
			to.(*net.TCPConn).CloseWrite()
		}()
		io.Copy(from, to)
	})
	var s *httptest.Server
	if secure {
		s = httptest.NewTLSServer(handler)
		ca = filepath.Join(t.TempDir(), "proxy.pem")
		writePEM(t, ca, "CERTIFICATE", s.Certificate().Raw)
	} else {
		s = httptest.NewServer(handler)
	}
	t.Cleanup(s.Close)
	return s.URL, ca, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return targets
	}
}

func TestProxy(t *testing.T) {
	url := serve(t, echo, nil)
	secureURL, ca := tlsServer(t, nil)
	proxy, _, asked := proxyServer(t, false)
	withUser := strings.Replace(proxy, "://", "://name:word@", 1)
	ws(t, "hi\n", "-n", "1", "--proxy", withUser, url).want(t, exitOK, "hi\n", "closed: 1000")
	ws(t, "hi\n", "-n", "1", "--proxy", withUser, "--ca", ca, "--frames", secureURL).want(t, exitOK, "hi\n", `opcode=1 text length=2 "hi"`)
	if got, want := asked()[0], "CONNECT "+strings.TrimPrefix(url, "ws://")+" Basic bmFtZTp3b3Jk"; got != want {
		t.Errorf("the proxy was asked for %q, not %q", got, want)
	}
	ws(t, "hi\n", "-n", "1", "--proxy", proxy, url).want(t, exitUnreachable, "", "The HTTP proxy wants credentials: put them into its URL")
	ws(t, "hi\n", "-n", "1", "--proxy", withUser, "ws://"+closedPort(t)).want(t, exitUnreachable, "", "The proxy could not open a tunnel")
	ws(t, "hi\n", "-n", "1", "--proxy", "http://"+closedPort(t), url).want(t, exitUnreachable, "", "the proxy: .*refused")

	secure, ca, _ := proxyServer(t, true)
	ws(t, "hi\n", "-n", "1", "--ca", ca, "--proxy", strings.Replace(secure, "://", "://name:word@", 1), url).want(t, exitOK, "hi\n", "closed: 1000")
}

// closedPort returns an address at which nothing listens.
func closedPort(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// A SOCKS5 proxy, byte by byte (RFC 1928 and RFC 1929).
func TestSOCKS(t *testing.T) {
	url := serve(t, echo, nil)
	target := strings.TrimPrefix(url, "ws://")
	for name, tt := range map[string]struct {
		user  string
		steps []string // what the proxy expects and answers, in turn
		code  int
		err   string
	}{
		"no login": {"", []string{"\x05\x01\x00", "\x05\x00", "REQUEST", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"}, exitOK, "closed: 1000"},
		"login":    {"me:pw@", []string{"\x05\x01\x02", "\x05\x02", "\x01\x02me\x02pw", "\x01\x00", "REQUEST", "\x05\x00\x00\x03\x01x\x00\x00"}, exitOK, "closed: 1000"},
		"IPv6":     {"", []string{"\x05\x01\x00", "\x05\x00", "REQUEST", "\x05\x00\x00\x04" + strings.Repeat("\x00", 18)}, exitOK, "closed: 1000"},
		"wrong login": {"me:pw@", []string{"\x05\x01\x02", "\x05\x02", "\x01\x02me\x02pw", "\x01\x01"}, exitUnreachable,
			"the proxy: it does not accept the name"},
		"wants a login": {"", []string{"\x05\x01\x00", "\x05\xff"}, exitUnreachable, "it does not take this way to log in"},
		"refused":       {"", []string{"\x05\x01\x00", "\x05\x00", "REQUEST", "\x05\x05\x00\x01"}, exitUnreachable, "the proxy: the connection is refused"},
		"cut off":       {"", []string{"\x05\x01\x00", "\x05\x00", "REQUEST", "\x05\x00\x00"}, exitUnreachable, "the proxy: .*EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			host, port, _ := net.SplitHostPort(target)
			var number int
			fmt.Sscan(port, &number)
			request := "\x05\x01\x00\x03" + string(rune(len(host))) + host + string([]byte{byte(number >> 8), byte(number)})
			go func() {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				for i := 0; i < len(tt.steps); i += 2 {
					want := strings.Replace(tt.steps[i], "REQUEST", request, 1)
					got := make([]byte, len(want))
					if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
						t.Errorf("the proxy got %q, want %q (%v)", got, want, err)
						return
					}
					io.WriteString(c, tt.steps[i+1])
				}
				if tt.code != exitOK {
					return
				}
				to, err := net.Dial("tcp", target)
				if err != nil {
					t.Error(err)
					return
				}
				defer to.Close()
				go io.Copy(to, c)
				io.Copy(c, to)
			}()
			r := ws(t, "hi\n", "-n", "1", "--proxy", "socks5://"+tt.user+ln.Addr().String(), url)
			out := ""
			if tt.code == exitOK {
				out = "hi\n"
			}
			r.want(t, tt.code, out, tt.err)
		})
	}
}

// A message that goes to a terminal does nothing to it, and JSON has colours.
func TestTerminalOutput(t *testing.T) {
	var out bytes.Buffer
	c := &console{out: &out, err: io.Discard, inTerminal: true, outTerminal: true, colour: true}
	o, err := (outputFlags{json: true}).open(c, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		typ  websocket.MessageType
		data string
		want string
	}{
		{websocket.MessageText, "a\x1b[2J\nb", cyan + "< " + plain + "a\\x1b[2J\n  b\n"},
		{websocket.MessageText, "[1]", cyan + "< " + plain + "[\n    " + yellow + "1" + plain + "\n  ]\n"},
		{websocket.MessageBinary, "\x1b", cyan + "< " + plain + "binary, 1 bytes\n  00000000  1b                                                |.|\n"},
	} {
		out.Reset()
		if err := o.message(m.typ, []byte(m.data)); err != nil || out.String() != m.want {
			t.Errorf("%q: %q, want %q (%v)", m.data, out.String(), m.want, err)
		}
	}
}
