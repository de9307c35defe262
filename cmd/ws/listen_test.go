package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed70bc5565/websocket"
)

// listen starts "ws listen", and returns its URL.
func listen(t *testing.T, stdin io.Reader, args ...string) (*process, string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	p := start(ctx, stdin, append([]string{"listen"}, args...)...)
	t.Cleanup(stop)
	return p, p.err.wait(t, `listening on (\S+)`)[1]
}

func dialTest(t *testing.T, url string, opts *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func wantMessage(t *testing.T, c *websocket.Conn, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, data, err := c.Read(ctx)
	if err != nil || string(data) != want {
		t.Fatalf("read %q, %v; want %q", data, err, want)
	}
}

func TestListenEcho(t *testing.T) {
	p, url := listen(t, strings.NewReader(""), "-z", "-s", "chat", "-v", "localhost:0")
	ws(t, "a\nb\n", "-z", "-s", "chat", "-n", "2", url+"room?x=1").want(t, exitOK, "a\nb\n", "subprotocol chat, permessage-deflate")
	p.err.wait(t, `(?s)#1 GET /room\?x=1 HTTP/1.1\nHost: .*\n#1 /room\?x=1 from 127.0.0.1:\d+, subprotocol chat, permessage-deflate.*\n#1 closed by the peer: 1000`)
	p.out.wait(t, "^a\nb\n$")
	ws(t, "", "--origin", "https://a.example", url).want(t, exitRefused, "", "does not let pages of this origin connect")
	p.err.wait(t, `#2 / from 127.0.0.1:\d+ refused: .*a.example`)
}

// An interruption closes all connections with 1001, and waits for them.
func TestListenInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	p := start(ctx, strings.NewReader(""), "listen", "localhost:0")
	url := p.err.wait(t, `listening on (\S+)`)[1]
	c := dialTest(t, url, nil)
	p.err.wait(t, "#1 / from")
	interrupt()
	_, _, err := c.Read(t.Context())
	if websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the client got %v", err)
	}
	if code := <-p.code; code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	if _, _, err := websocket.Dial(t.Context(), url, nil); err == nil {
		t.Error("the server still accepts")
	}
}

func TestListenBroadcast(t *testing.T) {
	stdin, operator := io.Pipe()
	defer operator.Close()
	p, url := listen(t, stdin, "--broadcast", "localhost:0")
	a, b, c := dialTest(t, url, nil), dialTest(t, url, nil), dialTest(t, url, nil)
	for _, number := range []string{"#1", "#2", "#3"} {
		p.err.wait(t, number+" / from")
	}
	if err := a.Write(t.Context(), websocket.MessageText, []byte("from a")); err != nil {
		t.Fatal(err)
	}
	wantMessage(t, b, "from a")
	wantMessage(t, c, "from a")
	io.WriteString(operator, "to all\n")
	for _, conn := range []*websocket.Conn{a, b, c} {
		wantMessage(t, conn, "to all")
	}
	p.out.wait(t, "^from a\n$")
}

func TestListenTLS(t *testing.T) {
	_, url := listen(t, strings.NewReader(""), "--tls", "localhost:0")
	if !strings.HasPrefix(url, "wss://") {
		t.Error(url)
	}
	ws(t, "hi\n", "-k", "-n", "1", url).want(t, exitOK, "hi\n", "closed: 1000")
}

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	_, url := listen(t, strings.NewReader(""), "unix:"+path)
	ws(t, "hi\n", "-n", "1", "--unix", path, url).want(t, exitOK, "hi\n", "closed: 1000")
}

func TestListenURL(t *testing.T) {
	for address, want := range map[string]string{
		"localhost:0": `^ws://(127\.0\.0\.1|\[::1\]):\d+/$`, "0": `^ws://(127\.0\.0\.1|\[::1\]):\d+/$`, ":0": `^ws://localhost:\d+/$`,
	} {
		ln, err := listenOn(address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if got := listenURL("ws", ln.Addr()); !matches(want, got) {
			t.Errorf("%s: %s", address, got)
		}
	}
	ws(t, "", "listen", "localhost:-1").want(t, exitFailed, "", "^ws: listen tcp")
}

// A slow connection is dropped from a broadcast, and the others do not wait.
func TestListenBroadcastSlow(t *testing.T) {
	p, url := listen(t, strings.NewReader(""), "--broadcast", "-q", "localhost:0")
	a, fast := dialTest(t, url, nil), dialTest(t, url, &websocket.DialOptions{ReadLimit: 4 << 20})
	dialTest(t, url, nil) // reads nothing
	for _, number := range []string{"#1", "#2", "#3"} {
		p.err.wait(t, number+" / from")
	}
	big := make([]byte, 1<<20)
	for i := 0; ; i++ {
		if i > 2000 {
			t.Fatal("the slow connection is not dropped")
		}
		if err := a.Write(t.Context(), websocket.MessageBinary, big); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, _, err := fast.Read(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(p.err.String(), "#3 is too slow for the broadcast") {
			return
		}
	}
}

func scriptFile(t *testing.T, text string) string {
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestListenScript(t *testing.T) {
	for name, tt := range map[string]struct {
		script      string
		stdin, args string
		client      result // out, err and code of the client
		code        int    // of the server
		log         string
	}{
		"answers": {"# a login\nexpect {\"id\":(\\d+),.*\"login\"\nsend {\"id\":$1,\"cost\":\"$$5\"}\nbinary 00 ff\nclose 4001 bye",
			"{\"id\":7,\"do\":\"login\"}\n", "", result{"{\"id\":7,\"cost\":\"$5\"}\n00ff\n", `4001 \(private code\) "bye"`, exitCloseCode}, exitOK, `#1 closed: 4001`},
		"something else": {"expect ^hello$", "good bye\n", "", result{"", `closed by the peer: 1008 \(policy violation\) "not what the script expects"`, exitCloseCode},
			exitMissing, `#1 line 1 of the script: not what the script expects: "good bye" does not match \^hello\$`},
		"echo and repeat": {"send again\necho 1\nrepeat 2", "a\nb\nc\n", "", result{"again\na\nagain\nb\nagain\nc\n", `closed by the peer: 1000`, exitOK}, exitOK, "#1 closed: 1000"},
		"drop":            {"send last\ndrop", "", "-r", result{"last\n", `1006 \(no close frame\)`, exitBroken}, exitOK, "#1 closed: 1006"},
		"refuse":          {"refuse 429 slow down", "", "", result{"", `429 Too Many Requests, not 101: "slow down"`, exitRefused}, exitOK, "#1 / from .* refused with 429 by the script"},
		"ping and wait":   {"ping\nwait 10ms\nexpect a\nsend ok", "a\n", "", result{"ok\n", "closed by the peer: 1000", exitOK}, exitOK, "#1 closed: 1000"},
		"binary":          {"expect ^00ff$", "00ff\n", "--hex", result{"", "closed by the peer: 1000", exitOK}, exitOK, "#1 closed: 1000"},
		"for ever":        {"send tick\nrepeat", "", "-r -n 3", result{"tick\ntick\ntick\n", "closed: 1000", exitOK}, exitOK, "#1 closed by the peer: 1000"},
		"long wait":       {"wait 1h", "", "-r -t 10ms", result{"", "closed: 1000", exitOK}, exitOK, "#1 closed by the peer: 1000"},
		"client goes":     {"expect a\nexpect b", "a\n", "--linger 1ms", result{"", "closed: 1000", exitOK}, exitOK, "#1 closed by the peer: 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			p, url := listen(t, strings.NewReader(""), "--once", "--script", scriptFile(t, tt.script), "localhost:0")
			args := []string{"--linger", "30s"}
			ws(t, tt.stdin, append(append(args, strings.Fields(tt.args)...), url)...).want(t, tt.client.code, tt.client.out, tt.client.err)
			p.err.wait(t, tt.log)
			if code := <-p.code; code != tt.code {
				t.Errorf("the server ended with %d, want %d; it said\n%s", code, tt.code, p.err)
			}
		})
	}
}

func TestParseScript(t *testing.T) {
	for text, want := range map[string]string{
		"say hello":              `line 1: there is no step "say"`,
		"send a\n\nexpect (":     "line 3: error parsing regexp",
		"binary 0":               "line 1: it is not pairs of hex digits",
		"wait soon":              "line 1: wait needs a time",
		"echo 0":                 "line 1: echo takes a number",
		"repeat x":               "line 1: repeat takes a number",
		"close 999":              "line 1: a close code is",
		"close 1006":             "line 1: a close code is",
		"close 1005 x":           "line 1: without a code there is no reason",
		"drop now":               "line 1: drop stands alone",
		"send a\nrefuse 403":     "line 2: refuse is the first step",
		"refuse 99":              "line 1: refuse is the first step",
		"# nothing\n\n\t \nping": "",
		"close":                  "",
		"refuse 403 get out":     "",
	} {
		_, err := parseScript(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	ws(t, "", "listen", "--script", scriptFile(t, "dance"), ":0").want(t, exitUsage, "", `line 1: there is no step "dance"`)
}

// --once admits one connection only.
func TestListenOnce(t *testing.T) {
	p, url := listen(t, strings.NewReader(""), "--once", "localhost:0")
	c := dialTest(t, url, nil)
	_, _, err := websocket.Dial(t.Context(), url, nil)
	var refused *websocket.HandshakeError
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the second connection: %v", err)
	}
	c.Close(4000, "")
	if code := <-p.code; code != exitCloseCode {
		t.Errorf("exit code %d", code)
	}
}
